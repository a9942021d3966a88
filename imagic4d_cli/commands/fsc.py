"""im4d fsc."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("fsc")
@opt.source("a", "A")
@opt.source("b", "B")
@opt.option("--output", type=types.TARGET, metavar="FILE", help="Curves as .png, .csv or IMAGIC file.")
@opt.option("--all-pairs", is_flag=True, help="Every object of A with every one of B.")
@opt.option("--mask", type=types.SOURCE, metavar="FILE", help="Mask file, values 0 to 1.")
@opt.mask_radius
@opt.option("--edge", type=types.Real(0), default=5.0, metavar="PX", help="Width of the mask's soft edge, pixels.")
@opt.option("--correct/--no-correct", default=True, help="Take out the mask's own correlation by random phases.")
@opt.symmetry
@opt.option("--extent", type=types.Real(0, 1, min_open=True), default=0.66, metavar="X", help="Object's length / box.")
@opt.pixel_size
@opt.common_serial
@pass_run
def cli(run: Run, a: str, b: str, **settings: Any) -> None:
    """Fourier shell correlation of volumes, ring correlation of images.

    Object k of A is compared with object k of B; a single object with all of the other file. Printed are the frequencies at
    which each curve first falls below 0.5, 0.143, half-bit, one-bit and 3-sigma, in angstrom where the pixel size is known.
    The last three depend on the number of voxels in the shell, on --symmetry and --extent.

    \b
    Examples:
      im4d fsc run1/halves_a.hed run1/halves_b.hed --output fsc.png
      im4d fsc a.mrc b.mrc --mask-radius 0.8 --json
      im4d fsc found.hed truth.hed --all-pairs --output curves.csv

    See also: compare, refine, plot.
    """
    from imagic4d_core.jobs.scheme.fsc import fsc

    run.report(fsc(a, b, **settings, **run.job_kwargs()))
