"""im4d pool."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("pool")
@opt.runs
@opt.dst
@opt.volumes_or_auto
@opt.option("--prepared", "images", type=types.SOURCE, metavar="FILE", help="Prepared images; default: those of the first run.")
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="The images with poses and memberships in the 3Ds kept.")
@opt.option("--table", type=types.TARGET, metavar="FILE", help="Scores of all images in all 3Ds, text with tabs.")
@opt.option("--check", is_flag=True, help="Exit code 1 unless every 3D kept was found by another run.")
@opt.option("--at-least", type=types.Count(1), default=1, metavar="N", help="With --check: fewer 3Ds kept are no agreement.")
@opt.increment
@opt.symmetry_wanted
@opt.max_shift
@opt.mask_radius
@opt.ctf_weights
@opt.common
@pass_run
def cli(
    run: Run, runs: tuple[str, ...], dst: str, volumes: int | None, check: bool, at_least: int, images: str | None,
    images_out: str | None, table: str | None, increment: float | None, max_shift: float | None, **common: Any,
) -> None:  # fmt: skip
    """Choose among the 3Ds of several runs those that together explain the images best.

    RUN is a folder of im4d refine (a whole run, or one with --stop-after anneal) of the same images; images with Euler
    angles and memberships; or volumes from elsewhere. All images are scored against all 3Ds, made without them where
    they come from these images. At most --volumes 3Ds are kept, or as many as the cross-validated score needs (auto):
    one half of each image's Fourier samples says which 3D it prefers, the other half how well that fits. Two 3Ds that
    see one structure in the same poses both stay only if another run divided the images between them in the same way.
    OUT gets the 3Ds kept. For each is said which other runs found it: at least 85 % of the images in common, and 85 %
    of these in the same pose within 10 degrees after one rotation, either hand. With --symmetry 3Ds are looked at for a
    point group, and laid on its axes where they have it; files of images are taken to have the group that is named.

    \b
    Examples:
      im4d refine averages.hed s1 --volumes 3 --stop-after anneal --seed 1
      im4d refine averages.hed s2 --volumes 3 --stop-after anneal --seed 2
      im4d pool s1 s2 kept.hed --volumes 3 --images-out posed.hed --table scores.tsv
      im4d pool run1 run2 run3 kept.hed --volumes auto
      im4d refine posed.hed final --start header --as-prepared

    See also: refine, compare, regroup.
    """
    from imagic4d_core.errors import UsageError
    from imagic4d_core.jobs.context import Context
    from imagic4d_core.jobs.scheme.pool import PoolOptions, pool

    if volumes is None:
        raise UsageError("--volumes K is needed: how many 3Ds are to be kept at most, or auto")
    options = PoolOptions(increment=increment or 12.0, max_shift=0.3 if max_shift is None else max_shift, **common)
    context = Context(run.comm, run.threads, run.overwrite, run.progress)
    found = pool(
        runs, dst, volumes=volumes or None, images=images, images_out=images_out, table=table, options=options, context=context
    )
    run.report(found, ok=not check or (found.agreed and len(found.kept) >= at_least))
