"""im4d center and threed-center."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_CRITERION = types.Words("total-sum", "mass", "object", imagic={"TOTSUM": "total-sum", "MASS": "mass"})


@pair("center", "threed-center")
@opt.src
@opt.dst
@opt.loc
@opt.option("--criterion", type=_CRITERION, default="total-sum", help="Sum, centre of mass, or only what is far off.")
@opt.option("--rounds", type=types.Count(1), default=5, metavar="N", help="How often the centres are found again.")
@opt.max_shift
@opt.max_frequency
@opt.mask_radius
@opt.option("--level", type=types.Real(), metavar="D", help="Mass: only densities above it count; default: mean of the border.")
@opt.option("--whole-pixels", is_flag=True, help="Shift by whole pixels only: nothing is interpolated.")
@opt.interpolation
@opt.fill
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, rounds: int, max_shift: float | None, unit: str, **given: Any) -> None:
    """Center {images}.

    "total-sum" (IMAGIC's TOTSUM): the sum of all {images}, averaged over rotations, is the reference; every {image} is shifted to
    where it correlates best with it, up to --max-shift (default 0.4 of half the box), and the sum is made again, --rounds
    times. "mass": the centre of mass of what is above --level; with --mask-radius only what lies around the centre counts.
    "object" (images): those far off are brought in, those near the centre stay where they are, as in prepare; it is not drawn
    to bright features and smooth backgrounds as the others are. The summary says how many reached --max-shift.
    The centre comes to index N // 2. The original {images} are interpolated once, at the end.

    Header words written: 112, 113 (111 for Z) the shift, 117, 118 (53) all shifts since the original, 104 the correlation
    coefficient with the reference. Shifts still to be applied (80, 81) become less by what was done.

    \b
    [images] Examples:
      im4d center particles.hed centred.hed --max-shift 0.3
      im4d center averages.mrcs centred.hed --criterion mass --mask-radius 0.7 --max-frequency 0.15

    \b
    [volumes] Examples:
      im4d threed-center volumes.hed centred.hed --criterion mass --level 0.01
      im4d threed-center volumes.hed centred.hed --whole-pixels

    [images] See also: threed-center, rotate, prepare.

    [volumes] See also: center, threed-rotate.
    """
    from imagic4d_core.jobs.images.centring import centre

    most = 0.4 if max_shift is None else max_shift
    run.report(centre(src, dst, unit=unit, iterations=rounds, max_shift=most, **given, **run.job_kwargs()))
