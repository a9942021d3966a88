"""im4d chance."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("chance")
@opt.source("src", "IMAGES", help="Images with poses and memberships.")
@opt.increment
@opt.symmetry
@opt.max_shift
@opt.max_frequency
@opt.mask_radius
@opt.ctf_weights
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, increment: float | None, max_shift: float | None, **settings: Any) -> None:
    """Judge whether poses and memberships are above chance.

    Images are compared with 3Ds made without them, and with such 3Ds whose phases were made random. The mean
    difference must reach one standard deviation; memberships from two independent deals of the folds must agree.
    Exit 1 when nothing can be claimed.

    \b
    Examples:
      im4d chance posed.hed

    See also: refine, angrec.
    """
    from imagic4d_core.jobs.scheme.chance import chance

    shift = 0.4 if max_shift is None else max_shift
    found = chance(src, increment=increment or 15.0, max_shift=shift, **settings, **run.job_kwargs())
    run.report(found, ok=found.fsc_above_chance and found.membership_above_chance)
