"""im4d simulate."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_POSITIVE = types.Real(0, min_open=True)


@click.command("simulate")
@opt.source("volumes", "VOLUMES", help="Stack of volumes, or blob models (.json) for exact projections.")
@opt.target("output", "OUT", help="Images to write.")
@opt.option("--images", type=types.Count(1), required=True, metavar="N", help="Number of images.")
@opt.option(
    "--snr", type=_POSITIVE, metavar="X",
    help="Variance of signal over noise, whole box, before shifts; default: no noise, 1 with --averages.",
)  # fmt: skip
@opt.option("--shift-sigma", type=types.Real(0), default=0.0, metavar="PX", help="Standard deviation of shifts, pixels.")
@opt.option("--populations", metavar="LIST", help="Relative sizes of the 3Ds, such as 70,20,10; default: equal.")
@opt.option("--preferred", metavar="F,DEG[,x|y|z]", help="See the share F of the images within DEG degrees of an axis (z).")
@opt.option("--truth", type=types.TARGET, metavar="FILE", help="Write the truth here, and leave the pose words of OUT blank.")
@opt.option("--noise-only", is_flag=True, help="Pure noise, of the level that the SNR would give.")
@opt.option("--contrast-spread", type=types.Real(0), default=0.0, metavar="X", help="Relative spread of the signal's strength.")
@opt.option("--ctf", is_flag=True, help="Draw a defocus for every image and apply the CTF.")
@opt.option("--defocus", default="10000,30000", metavar="LOW,HIGH", help="Range of underfocus, ångström.")
@opt.option("--voltage", type=_POSITIVE, default=300.0, metavar="KV", help="Acceleration voltage, kV.")
@opt.option("--cs", type=types.Real(0), default=2.7, metavar="MM", help="Spherical aberration, mm.")
@opt.option("--amplitude", type=types.Real(0, 1), default=0.1, metavar="X", help="Amplitude contrast, fraction.")
@opt.simulated_averages
@opt.seed
@opt.common
@pass_run
def cli(run: Run, volumes: str, output: str, averages: bool, **settings: Any) -> None:
    """Simulate images with known truth from one or several 3Ds.

    Orientations are uniform unless --preferred says otherwise. The headers carry the truth: Euler angles (words 65 to 67),
    REF3D (51), the shift that centres the image (80, 81), the defocus (25, 26). With --truth they go to a second file that
    shares the densities, and OUT looks like fresh data. The same seed gives the same images for any number of ranks.

    With --averages they are class averages: means of a few images of nearly one view, each with the CTF of its own defocus,
    phases flipped, and an envelope; in coloured noise on a smooth background. Some mix two 3Ds, some are junk: OUT_truth.tsv
    says which.

    \b
    Examples:
      im4d simulate truth.blobs.json images.hed --images 1000 --snr 1 --shift-sigma 2 --truth images_truth.hed --seed 1
      im4d simulate volumes.mrc images.mrcs --images 5000 --snr 0.1 --ctf --defocus 12000,25000
      im4d simulate truth.blobs.json skewed.hed --images 1000 --snr 1 --populations 70,20,10 --preferred 0.5,20
      im4d simulate truth.blobs.json averages.hed --images 500 --averages --junk 0.2 --truth averages_truth.hed --seed 1

    See also: threed-test, compare, forward.
    """
    from imagic4d_core.jobs.truth.simulate import averages_from, simulate

    how = averages_from(averages, **{name: settings.pop(name) for name in opt.AVERAGES})
    run.report(simulate(volumes, output, averages=how, **settings, **run.job_kwargs()))
