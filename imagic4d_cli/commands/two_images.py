"""im4d two-images and threed-two-volumes."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_OPERATION = types.Words(
    "add", "subtract", "multiply", "divide", "min", "max", "correlation", "phase-residual",
    imagic={"MUL": "multiply", "SUB": "subtract", "DIV": "divide", "CCC": "correlation", "MINIMUM": "min", "MAXIMUM": "max"},
)  # fmt: skip


@pair("two-images", "threed-two-volumes")
@opt.source("first", "FIRST", help="First file; the output has its headers.")
@opt.source("second", "SECOND", help="Second file: as many {images} as the first, or one for all.")
@opt.target("dst", "[OUTPUT]", help="Output; comparisons need none.", required=False)
@opt.option("--operation", type=_OPERATION, required=True, help="What to do with each two {images}.")
@opt.option("--fit", is_flag=True, help="Scale the second by least squares (factor and offset) to the first, before.")
@opt.mask_file
@opt.mask_radius
@opt.max_frequency
@opt.loc
@opt.common
@pass_run
def cli(run: Run, first: str, second: str, dst: str | None, unit: str, **settings: Any) -> None:
    """Combine two files of {images} pixel by pixel, or compare them.

    A single second {image}, such as a mask or a reference, serves all of the first file. A quotient is 0 where the second
    density is 0. With --fit the second is scaled to the first by least squares; --mask or --mask-radius say where that and
    the correlation look. The phase residual is the amplitude-weighted mean phase difference in degrees up to
    --max-frequency: 0 for the same phases, 104 for unrelated ones.

    Comparisons are printed; with an OUTPUT a copy of the first file has the correlation in word 104 (CCC), or the phase
    residual in word 20 (USER1). --loc selects from the first file, SECOND,3 from the second.

    \b
    [images] Examples:
      im4d two-images particles.hed mask.hed masked.hed --operation multiply
      im4d two-images particles.hed projections.hed rest.hed --operation subtract --fit --mask-radius 0.9
      im4d two-images averages.hed projections.hed --operation correlation --json

    \b
    [volumes] Examples:
      im4d threed-two-volumes volumes.hed volumes.hed,1 differences.hed --operation subtract --fit
      im4d threed-two-volumes halves_a.hed halves_b.hed --operation phase-residual --max-frequency 10A

    [images] See also: threed-two-volumes, arithmetic, fsc.

    [volumes] See also: two-images, threed-arithmetic, fsc.
    """
    from imagic4d_core.jobs.images.two_images import two_images

    run.report(two_images(first, second, dst, unit=unit, **settings, **run.job_kwargs()))
