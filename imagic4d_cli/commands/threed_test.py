"""im4d threed-test."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_PATTERN = types.Words("blobs")


@click.command("threed-test")
@opt.target(metavar="OUT", help="Stack of volumes to write; OUT.blobs.json is written beside it.")
@opt.number
@opt.size
@opt.option("--pattern", type=_PATTERN, default="blobs", help="Kind of structure: sums of Gaussians.")
@opt.option("--unrelated", is_flag=True, help="Independent structures, in place of variants of one.")
@opt.pixel_size
@opt.seed
@opt.common_serial
@pass_run
def cli(run: Run, dst: str, number: int | None, size: int, pattern: str, unrelated: bool, pixel_size: float | None) -> None:
    """Make test volumes whose projections are known exactly.

    Each volume is a sum of Gaussian blobs, asymmetric, with detail beyond 0.6 Nyquist. Related ones, the default, share a
    core and differ by domains that are added, missing or swung. OUT.blobs.json holds the blobs: `im4d simulate` projects
    them exactly, without interpolation. Default: 3 volumes, 4 A per pixel.

    \b
    Examples:
      im4d threed-test truth.hed --number 3 --size 64 --pattern blobs --seed 1
      im4d threed-test other.mrc --number 2 --unrelated --pixel-size 2.5

    See also: simulate, compare, fsc.
    """
    from imagic4d_core.jobs.modelling import threed_test

    made = threed_test(
        dst, number=number or 3, size=size, pattern=pattern, pixel_size=pixel_size, related=not unrelated, **run.job_kwargs()
    )
    run.report(made)
