"""im4d norm-variance and threed-norm-variance."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_REGION = types.Words(
    "whole", "circular", "soft", "file", imagic={"WHOLE_IMAGE": "whole", "CIRC_MASK": "circular", "MASK_FILE": "file"}
)


@pair("norm-variance", "threed-norm-variance")
@opt.src
@opt.dst
@opt.loc
@opt.option("--region", type=_REGION, help="Where mean and sigma are taken; default: as the mask options say, else whole.")
@opt.mask_radius
@opt.falloff
@opt.mask_file
@opt.option("--sigma", type=types.Real(0, min_open=True), default=10.0, metavar="S", help="Wanted standard deviation.")
@opt.option(
    "--outliers", type=types.Real(1), metavar="K", help="First set what is beyond K standard deviations (dust) to the mean."
)
@opt.option("--ramp", is_flag=True, help="First take off the best linear function under the mask (uneven background).")
@opt.option("--apply-mask", is_flag=True, help="Multiply by the mask at the end.")
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, unit: str, **settings: Any) -> None:
    """Give {images} mean 0 and a wanted standard deviation, whole or under a mask.

    --region circular and soft use --mask-radius (default: as large as the box allows) and, soft, --falloff: a raised cosine
    from the radius outwards; --mask takes a file of one {image}, 0 to 1. The mask weighs the densities in mean and standard
    deviation; the {image} itself is not cut, unless --apply-mask is given. The default of 10 is IMAGIC's; RELION and im4d
    refine work with 1. --outliers 5 is repeated until nothing is found, at most five times.

    Constant {images} become 0 and inactive (word 58 ACTIVE = -1). Statistics (words 18, 19, 22, 23) are set.

    \b
    [images] Examples:
      im4d norm-variance particles.hed normal.hed
      im4d norm-variance particles.hed normal.hed --region soft --mask-radius 0.9 --falloff 0.2 --sigma 10
      im4d norm-variance particles.mrcs clean.hed --sigma 1 --outliers 5 --ramp

    \b
    [volumes] Examples:
      im4d threed-norm-variance volumes.hed normal.hed --mask mask.hed --sigma 1

    [images] See also: threed-norm-variance, prepare, arithmetic.

    [volumes] See also: norm-variance, threed-arithmetic.
    """
    from imagic4d_core.jobs.images.norm_variance import norm_variance

    run.report(norm_variance(src, dst, unit=unit, **settings, **run.job_kwargs()))
