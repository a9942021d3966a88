"""im4d header plt-out."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header plt-out")
@opt.source("src", "IMAGES", help="Images or volumes; NAME,3,5 selects locations 3 to 5.")
@opt.target("plt", "PLT", "PLT file: plain text, a line for each image.")
@opt.plt_option
@opt.words
@opt.locations
@opt.loc
@opt.counted
@opt.common_serial
@pass_run
def cli(run: Run, src: str, plt: str, loc: Any, what: str | None, **settings: Any) -> None:
    """Write header words to a PLT file.

    One line for each image or volume, blanks between the numbers, the location first. --option says which words: euler (65 to
    67), shift (116 to 118: rotation, X shift, Y shift), msa (108 and two zeros, without locations, as IMAGIC's scripts
    expect), threed (65 to 67 and 51), or index, those of --word. Real numbers have 9 digits, which keeps every bit.

    \b
    Examples:
      im4d header plt-out images.hed angles.plt --option EULER
      im4d header plt-out images.hed ccc.plt --option INDEX --word "104;107" --no-locations

    See also: header plt-in, header show, excopy.
    """
    from imagic4d_core.jobs.files.header_plt import plt_out

    run.report(plt_out(src, plt, loc=loc, what=what, **settings, **run.job_kwargs("overwrite")))
