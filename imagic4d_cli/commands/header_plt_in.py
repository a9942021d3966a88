"""im4d header plt-in."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header plt-in")
@opt.source("src", "IMAGES", help="Images or volumes whose headers change.")
@opt.source("plt", "PLT", help="PLT file: plain text, a line for each image.")
@opt.dst_optional
@opt.plt_option
@opt.words
@opt.locations
@opt.loc
@opt.counted
@opt.common_serial
@pass_run
def cli(run: Run, src: str, plt: str, dst: str | None, loc: Any, what: str | None, **settings: Any) -> None:
    """Set header words from a PLT file.

    One line for each image (of --loc), one column for each word; or, with locations in the first column, lines for any images in
    any order. --option says which words, as in header plt-out. Lines that are no numbers are skipped.

    \b
    Examples:
      im4d header plt-in images.hed angles.plt --option EULER
      im4d header plt-in images.hed picked.plt set.hed --option INDEX --word "52;20;107"

    See also: header plt-out, header set.
    """
    from imagic4d_core.jobs.files.header_plt import plt_in

    run.report(plt_in(src, plt, dst, loc=loc, what=what, **settings, **run.job_kwargs("overwrite")))
