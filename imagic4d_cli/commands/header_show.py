"""im4d header show."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header show")
@opt.source("src", "IMAGES", help="Images or volumes; NAME,3,5 selects locations 3 to 5.")
@opt.words
@opt.loc
@opt.counted
@opt.reading
@pass_run
def cli(run: Run, src: str, words: tuple[str, ...], loc: Any, what: str | None) -> None:
    """Show header words: all of one image, or some of a whole stack.

    Without --word all words that are not zero, with number and meaning, of location 1 or of those selected. With --word a table,
    one line for each image or volume. Words are named, or numbered from 1 to 256; COOSMSA(3) and 133 are the third coordinate of
    MSA. Words 80 to 93 count only where the file is of im4d. The words of a volume are those of its first section.

    \b
    Examples:
      im4d header show images.hed
      im4d header show images.hed --loc 7
      im4d header show images.hed --word "REF3D;CCC;65" --json
      im4d header show volumes.hed --word REF3D

    See also: header get, header set, header plt-out, info.
    """
    from imagic4d_core.jobs.files.headers import show

    run.report(show(src, words=words, loc=loc, what=what))
