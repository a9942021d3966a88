"""im4d regroup."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("regroup")
@opt.source("src", "IMAGES", help="Images with poses and memberships.")
@opt.dst
@opt.volumes
@opt.increment
@opt.symmetry
@opt.max_shift
@opt.max_frequency
@opt.mask_radius
@opt.ctf_weights
@opt.option("--split/--no-split", default=True, help="Try to split 3Ds when fewer than --volumes are left.")
@opt.seed
@opt.common
@pass_run
def cli(
    run: Run, src: str, dst: str, volumes: int | None, increment: float | None, max_shift: float | None, **settings: Any
) -> None:
    """Merge 3Ds that say the same until --volumes are left, and split those that hold two.

    Every move is tried: a 3D is taken away, its images go to their next best 3D, and one iteration shows whether
    the cross-validated score (mean correlation of images with 3Ds made without them) rises. Merging duplicates
    raises it, merging true states lowers it. 3Ds go until --volumes are left; after that only those whose loss
    raises the score.

    \b
    Examples:
      im4d regroup images.hed merged.hed --volumes 3

    See also: angrec, recon, refine.
    """
    from imagic4d_core.errors import UsageError
    from imagic4d_core.jobs.scheme.regroup import regroup

    if volumes is None:
        raise UsageError("--volumes K is needed: how many 3Ds are to be left")
    shift = 0.4 if max_shift is None else max_shift
    run.report(regroup(src, dst, volumes=volumes, increment=increment or 15.0, max_shift=shift, **settings, **run.job_kwargs()))
