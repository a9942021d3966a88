"""im4d chance."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("chance")
@opt.source("src", "IMAGES", help="Images with poses and memberships.")
@opt.increment
@opt.symmetry
@opt.max_shift
@opt.max_frequency
@opt.mask_radius
@opt.ctf_weights
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="Write the images; those that no 3D explains are in none.")
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, increment: float | None, max_shift: float | None, **settings: Any) -> None:
    """Judge whether poses and memberships are above chance.

    Images are compared with 3Ds made without them, and with such 3Ds whose phases were made random. The mean
    difference must reach two standard deviations; memberships from two independent deals of the folds must agree.
    Exit 1 when nothing can be claimed.

    Images that fit no 3D better than they fit random phases, and clearly worse than most, are counted: junk, or particles
    of which too little is seen. In --images-out they have no 3D (word 51 is 0), and recon leaves them out.

    \b
    Examples:
      im4d chance posed.hed
      im4d chance posed.hed --images-out good.hed

    See also: refine, angrec.
    """
    from imagic4d_core.jobs.scheme.chance import chance

    shift = 0.4 if max_shift is None else max_shift
    found = chance(src, increment=increment or 15.0, max_shift=shift, **settings, **run.job_kwargs())
    run.report(found, ok=found.fsc_above_chance and found.membership_above_chance)
