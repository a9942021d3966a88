"""im4d takeover."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("takeover")
@opt.source("src", "IMAGES", help="Images whose densities are wanted.")
@opt.source("poses_from", "POSES", help="As many images, whose poses are wanted.")
@opt.dst
@opt.common_serial
@pass_run
def cli(run: Run, src: str, poses_from: str, dst: str) -> None:
    """Give images the poses that stand in the headers of another file.

    Euler angles, shifts, memberships, scores and active flags are taken over image by image; all other header words
    and the densities (a hard link) are those of IMAGES.

    \b
    Examples:
      im4d takeover averages.hed prepared_posed.hed averages_posed.hed

    See also: angrec, copy.
    """
    from imagic4d_core.jobs.moves import takeover

    run.report(takeover(src, poses_from, dst, **run.job_kwargs("overwrite")))
