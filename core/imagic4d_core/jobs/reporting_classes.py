"""The report of a classify2d run: report.html and averages.png, from the files of its folder."""

import json
from pathlib import Path
from typing import Any

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import atomic_write_text
from imagic4d_core.io.locations import parse_locations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.runfolder import read_journal
from imagic4d_core.jobs.showing import show
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures.classes_page import classes_page

#: Averages on the page.
MOST = 400


def report_classes(rundir: str | Path, *, overwrite: bool = False, comm: Comm = SERIAL) -> None:
    """Write report.html and averages.png of a run; rank 0 works.

    Raises
    ------
    InputError
        No such run in the folder.
    OutputError
    """
    if comm.rank == 0:
        folder = Path(rundir)
        try:
            summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: no finished run of classify2d (summary.json is missing or damaged)") from error
        with open_stack(folder / "averages.hed") as stack:
            shown = min(stack.n_images, MOST)
        picture = folder / "averages.png"
        show(str(folder / "averages.hed"), picture, locations=parse_locations(f"1-{shown}"), overwrite=overwrite)
        page = classes_page(summary, read_journal(folder), picture.read_bytes(), shown)
        atomic_write_text(folder / "report.html", page, overwrite=overwrite)
    comm.barrier()
