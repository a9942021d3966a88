"""im4d incore and threed-menu."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_MODE = types.Words(
    "fourier", "back-transform", "amplitude", "power", "phases", "autocorrelation", "cross-correlation", "rotational-average",
    "radial-curve", "power-curve", "average", "variance", "histogram", "statistics", "local-variance", "symmetrise",
    "gradient", "laplace", "peaks", "sinogram",
    imagic={"FFT": "fourier", "ACF": "autocorrelation", "CCF": "cross-correlation", "ROT_AVERAGE": "rotational-average",
            "POWER_SPECTRUM": "power", "PEAK_SEARCH": "peaks", "SYMMETRIZE": "symmetrise", "SINO": "sinogram"},
)  # fmt: skip


@pair("incore", "threed-menu")
@opt.src
@opt.target("dst", "[OUTPUT]", help="Output; statistics, histogram and peaks need none.", required=False)
@opt.option("--mode", type=_MODE, required=True, help="What to do.")
@opt.loc
@opt.option("--second", type=types.SOURCE, metavar="FILE", help="The other {images} of a cross-correlation, or one for all.")
@opt.option("--window", type=types.RADIUS, metavar="R", help="Radius of the local variance (3 pixels); distance between peaks.")
@opt.symmetry
@opt.interpolation
@opt.number
@opt.option("--bins", type=types.Count(1, 100000), default=32, metavar="N", help="Bins of the histogram.")
@opt.option("--least", type=types.Real(), metavar="D", help="Least density of a peak.")
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str | None, unit: str, **settings: Any) -> None:
    """Transforms, correlation functions, averages, local operations, symmetry, peaks of {images}.

    fourier gives type COMP, frequency 0 in the centre (index N // 2), scaled so that sums of squares stay (Parseval);
    back-transform undoes it; amplitude, power, phases (degrees). autocorrelation and cross-correlation (with --second) are
    correlation coefficients for every shift, the maximum is in word 104; a peak at d says that INPUT is SECOND moved by d.

    rotational-average is the mean by distance from the centre as {image}, radial-curve as a line; power-curve the mean power
    by frequency (end and step in words 28 and 29, 1/Å). average and variance make one {image} of all. statistics prints mean,
    sigma, min, max of each; histogram prints, or gives a line for each {image}; peaks prints the --number highest, or writes a
    PLT file: location, x, y[, z] from the centre, height. local-variance takes a round --window. symmetrise averages over the
    rotations of --symmetry, in {axes} dimensions. sinogram (images only) is the projection to lines, degree by degree (first
    and last angle in words 28 and 29).

    \b
    [images] Examples:
      im4d incore particles.hed spectra.hed --mode power
      im4d incore averages.hed ccf.hed --mode cross-correlation --second reference.hed
      im4d incore ccf.hed peaks.plt --mode peaks --number 1
      im4d incore particles.hed total.hed --mode average

    \b
    [volumes] Examples:
      im4d threed-menu volumes.hed d7.hed --mode symmetrise --symmetry D7
      im4d threed-menu volumes.hed --mode histogram --bins 50
      im4d threed-menu volumes.hed curves.hed --mode power-curve

    [images] See also: threed-menu, two-images, filter, norm-variance.

    [volumes] See also: incore, threed-two-volumes, filter.
    """
    from imagic4d_core.jobs.images.incore import menu

    run.report(menu(src, dst, unit=unit, **settings, **run.job_kwargs()))
