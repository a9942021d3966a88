"""im4d prepare."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("prepare")
@opt.source("src", "IMAGES", help="Images as they come.")
@opt.dst
@opt.option("--centre/--no-centre", default=True, help="Bring in images that lie far off centre.")
@opt.max_shift
@opt.mask_radius
@opt.option("--invert/--no-invert", default=False, help="Change the sign of densities: protein must be bright.")
@opt.option("--keep-poses/--no-keep-poses", default=False, help="Keep poses and shifts of the headers instead of wiping them.")
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, max_shift: float | None, **settings: Any) -> None:
    """Normalise and centre images for the 4D scheme.

    Every image gets mean 0 and standard deviation 1. Images that lie far off centre are brought in (at most --max-shift,
    default 0.4 of half the box): where a particle lies is told by its mass and by its texture, and what both have in common
    over all images says how far they are off. Images near the centre stay where they are, refine centres them better. The
    summary says how many stayed and how many could not be centred. Pixels are not moved, the shift goes into words 80 and
    81 and is applied by angrec and recon. Constant images are set inactive (word 58).
    With --mask-radius a soft circular mask around the found centre is put on.

    \b
    Examples:
      im4d prepare averages.mrcs prepared.hed
      im4d prepare particles.mrcs prepared.hed --invert --mask-radius 0.9

    See also: refine.
    """
    from imagic4d_core.jobs.images.prepare import prepare

    run.report(prepare(src, dst, max_shift=0.4 if max_shift is None else max_shift, **settings, **run.job_kwargs()))
