"""im4d arithmetic and threed-arithmetic."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_OPERATION = types.Words(
    "add", "multiply", "power", "threshold-below", "threshold-above", "binary", "invert", "abs", "square", "sqrt", "exp", "log",
    "log10", "circular-mask", "soft-mask", "mask", "mirror",
    imagic={"CIRC_MASK": "circular-mask", "SOFT": "soft-mask", "INVERT_CONTRAST": "invert", "LN": "log", "MUL": "multiply"},
)  # fmt: skip


@pair("arithmetic", "threed-arithmetic")
@opt.src
@opt.dst
@opt.loc
@opt.option("--operation", type=_OPERATION, help="What to do with every density.")
@opt.option("--value", type=types.Real(), metavar="V", help="The number to add, to multiply by, the power, the threshold.")
@opt.option("--expr", metavar="FORMULA", help="A formula in place of --operation, such as 'clip(a, 0, 5) * 2'.")
@opt.mask_radius
@opt.falloff
@opt.mask_file
@opt.option("--outside", type=types.Words("zero", "mean"), default="zero", help="What densities outside a mask become.")
@opt.axis
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, unit: str, **settings: Any) -> None:
    """Arithmetic with the densities of {images}: constants, thresholds, functions, masks, formulas.

    threshold-below V sets densities below V to V, threshold-above those above V; binary makes 1 above V and 0 elsewhere.
    circular-mask has a step at --mask-radius; soft-mask falls from 1 at --mask-radius to 0 over --falloff (default 0.1 of half
    the box) as a raised cosine; mask takes a file of one {image}. mirror turns the {image} round about its centre: --axis y left
    and right, x top and bottom.

    In --expr, a is the density; x (lines), y (pixels), z (sections) the place from the centre and r the distance from it, in
    pixels; mean, sigma, min, max are those of the {image}; i is the location. Numbers, + - * / // ** %, comparisons,
    and, or, not, x if c else y, and functions such as abs, sqrt, log, exp, sin, cos, clip(a, low, high), where(c, x, y),
    min(a, b), max(a, b), round, floor, sign. Sizes and pixel size stay; statistics (words 18, 19, 22, 23) are set; mirror
    keeps Euler angles, moves (words 53 to 56, 112 to 118) and word 92 right.

    \b
    [images] Examples:
      im4d arithmetic particles.hed bright.hed --operation invert
      im4d arithmetic particles.hed round.hed --operation soft-mask --mask-radius 0.8 --falloff 0.1
      im4d arithmetic particles.hed clipped.hed --expr "clip(a, mean - 3*sigma, mean + 3*sigma)"
      im4d arithmetic particles.hed ramp.hed --expr "a + 0.1*x if r < 30 else 0"

    \b
    [volumes] Examples:
      im4d threed-arithmetic volumes.hed positive.hed --operation threshold-below --value 0
      im4d threed-arithmetic volumes.hed binary.mrc --operation binary --value 0.02
      im4d threed-arithmetic volumes.hed half.hed --expr "where(z > 0, a, 0)"
      im4d threed-arithmetic volumes.hed masked.hed --operation mask --mask mask.hed

    [images] See also: threed-arithmetic, filter.

    [volumes] See also: arithmetic, filter.
    """
    from imagic4d_core.jobs.images.arithmetic import arithmetic

    run.report(arithmetic(src, dst, unit=unit, **settings, **run.job_kwargs()))
