"""The report of a classify2d run: report.html and averages.png, from the files of its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import atomic_write_text, check_new
from imagic4d_core.io.locations import parse_locations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.report.showing import show
from imagic4d_core.jobs.runfolder import legible, read_journal
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures.classes_page import classes_page

#: Averages on the page.
MOST = 400


@dataclass
class ClassesReport:
    """What was written."""

    page: str
    picture: str
    classes: int
    images: int

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.page}: report of {self.classes} classes of {self.images} images", f"{self.picture}: the class averages"]


def report_classes(
    rundir: str | Path, *, output: str | Path | None = None, overwrite: bool = False, comm: Comm = SERIAL
) -> ClassesReport | None:
    """Write the page and the picture of the averages; rank 0 works.

    Parameters
    ----------
    rundir : path
    output : path, optional
        The page; the picture gets its name with ``.png``. By default report.html and averages.png in `rundir`.
    overwrite, comm
        As in all jobs.

    Raises
    ------
    InputError
        No such run in the folder.
    OutputError
    """
    if comm.rank:
        comm.barrier()
        return None
    folder = Path(rundir)
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: no finished run of classify2d (summary.json is missing or damaged)") from error
    page = Path(output) if output is not None else folder / "report.html"
    picture = page.with_suffix(".png") if output is not None else folder / "averages.png"
    for path in (page, picture):
        check_new(path, overwrite)
    with open_stack(folder / "averages.hed") as stack:
        shown = min(stack.n_images, MOST)
    show(str(folder / "averages.hed"), picture, locations=parse_locations(f"1-{shown}"), overwrite=overwrite)
    with legible(folder):
        text = classes_page(summary, read_journal(folder), picture.read_bytes(), shown)
        done = ClassesReport(str(page), str(picture), len(summary["sizes"]), int(summary["images"]))
    atomic_write_text(page, text, overwrite=overwrite)
    comm.barrier()
    return done
