"""im4d header wipe."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("header wipe")
@opt.source("src", "IMAGES", help="Images or volumes whose headers are cleared.")
@opt.dst_optional
@opt.words_to_wipe
@opt.loc
@opt.counted
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str | None, words: tuple[str, ...], loc: Any, what: str | None) -> None:
    """Clear header words.

    --word takes groups and single words: ALL (everything but what the file needs, creation time, statistics, NAME and pixel
    size), SHIFT (rotations and shifts: 53, 80, 81, 92, 100, 111 to 113, 116 to 118), EULER (54 to 56, 65 to 67, 85, 105, 126
    to 128), THREED (51, 50, 57, 106 and our scores), MSA (108, 110, 114, 115, 119 to 122, 129 to 199), MRA (104, 107),
    HISTORY.

    \b
    Examples:
      im4d header wipe images.hed --word SHIFT
      im4d header wipe images.hed clean.hed --word "EULER;THREED;CCC"

    See also: header set, header show.
    """
    from imagic4d_core.jobs.files.headers import wipe_headers

    run.report(wipe_headers(src, dst, words=words, loc=loc, what=what, **run.job_kwargs("overwrite")))
