"""im4d header get."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header get")
@opt.source("src", "IMAGES", help="Images or volumes; NAME,3,5 selects locations 3 to 5.")
@opt.word_names
@opt.loc
@opt.counted
@opt.reading
@pass_run
def cli(run: Run, src: str, words: tuple[str, ...], loc: Any, what: str | None) -> None:
    """Print values of header words, for scripts.

    One line for each image or volume, the values in the order of the words, nothing else.

    \b
    Examples:
      im4d header get volumes.hed PIXSIZE --loc 1
      im4d header get images.hed ALPHA BETA GAMMA --loc 3-5

    See also: header show, header set.
    """
    from imagic4d_core.jobs.files.headers import show

    run.report(show(src, words=words, loc=loc, what=what, bare=True))
