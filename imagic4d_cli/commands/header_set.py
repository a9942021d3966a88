"""im4d header set."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header set")
@opt.source("src", "IMAGES", help="Images or volumes whose headers change.")
@opt.dst_optional
@opt.assignments
@opt.loc
@opt.counted
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str | None, assignments: tuple[str, ...], loc: Any, what: str | None) -> None:
    """Set header words.

    WORD is a name or a number. VALUE is a number, a text (NAME, HISTORY), or a formula of header words as they were before,
    with LOC for the location: CLASSNO=REF3D, ALPHA="(ALPHA + 90) % 360". With --loc only some images change; of a volume all
    sections do. Words that follow from the file itself (sizes, counts, type) cannot be set. Setting one of words 80 to 93
    marks them as ours.

    Without OUTPUT the headers of IMAGES are replaced in one step; with it a new file is made that shares the densities (a
    hard link). MRC files keep pose words only.

    \b
    Examples:
      im4d header set images.hed REF3D=2 --loc 1-50
      im4d header set images.hed checked.hed ACTIVE=-1 NAME="left out" --loc 7,9
      im4d header set images.hed "REF3D=1 + (LOC > 500)"

    See also: header show, header wipe, header plt-in.
    """
    from imagic4d_core.jobs.files.headers import set_headers

    run.report(set_headers(src, dst, assignments=assignments, loc=loc, what=what, **run.job_kwargs("overwrite")))
