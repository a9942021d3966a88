"""What files beside an input say of its symmetry: a RELION job keeps the point group beside its lists and maps."""

import logging
import os
import re
from pathlib import Path

from imagic4d_core.errors import Im4dError, UsageError
from imagic4d_core.geometry.symmetry import canonical
from imagic4d_core.io.locations import split_spec
from imagic4d_core.io.star import read_star
from imagic4d_core.parallel import Comm

log = logging.getLogger(__name__)

_OF_JOB = re.compile(r"(.*)_(data\.star|(half[12]_)?class[0-9]+(_unfil)?\.mrc)")


def symmetry_beside(src: str | os.PathLike) -> tuple[Path, str] | None:
    """The file of sampling of the RELION job that a list or map is of, and the point group that it names; None without one."""
    path = Path(split_spec(src)[0])
    found = _OF_JOB.fullmatch(path.name)
    beside = path.with_name(f"{found[1]}_sampling.star") if found else None
    if beside is None or not beside.is_file():
        return None
    try:
        groups = [t["_rlnSymmetryGroup"] for t in read_star(beside).values() if "_rlnSymmetryGroup" in t]
    except Im4dError:
        return None
    return (beside, groups[0][0]) if groups and groups[0] else None


def warn_of_symmetry(src: str | os.PathLike, symmetry: str, comm: Comm) -> None:
    """Say where the job that an input is of used another group, or another setting of its axes."""
    if comm.rank or symmetry.upper() in ("C1", "AUTO"):
        return
    said = symmetry_beside(src)
    if said is None:
        return
    try:
        theirs = canonical(said[1])
    except UsageError:
        theirs = said[1]
    if theirs not in ("C1", canonical(symmetry)):
        log.warning("%s: %s says %s, and --symmetry is %s: is that meant?", src, said[0].name, said[1], symmetry)
