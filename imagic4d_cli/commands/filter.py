"""im4d filter."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_EDGE = types.Words("gaussian", "butterworth", "cosine", "hard", imagic={"SOFT": "cosine", "SHARP": "hard"})
_CUT = "fraction of Nyquist, or 12A in ångström."


@click.command("filter")
@opt.src
@opt.dst
@opt.loc
@opt.option("--low-pass", type=types.FREQUENCY, metavar="F", help=f"Take away what is finer than this: {_CUT}")
@opt.option("--high-pass", type=types.FREQUENCY, metavar="F", help=f"Take away what is coarser than this: {_CUT}")
@opt.option(
    "--edge-shape",
    "edge",
    type=_EDGE,
    default="gaussian",
    help="How the filter falls; all but hard pass one half at the cut-off.",
)
@opt.option("--edge-width", type=types.Real(0, 2), default=0.05, metavar="F", help="Width of the cosine edge, of Nyquist.")
@opt.option("--order", type=types.Count(1, 100), default=8, metavar="N", help="Of the Butterworth edge; more is steeper.")
@opt.option("--remaining", type=types.Real(0, 1), default=0.0, metavar="T", help="What the high-pass leaves at frequency 0.")
@opt.option("--b-factor", type=types.Real(), default=0.0, metavar="A2", help="B-factor in Å²: above 0 damps, below 0 sharpens.")
@opt.option("--padding", type=types.Real(1, 4), default=1.0, metavar="X", help="Continue the borders as in a mirror, to X boxes.")
@opt.pixel_size
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, **settings: Any) -> None:
    """Filter images or volumes: low-, high- and band-pass, B-factor.

    The file decides: images are filtered in two dimensions, volumes in three. --low-pass and --high-pass together are a
    band-pass. The Gaussian, Butterworth and cosine edges let one half through at the cut-off; the hard edge is a step.
    Frequencies count from 0 to 1 = Nyquist along every axis, in cycles per pixel, so boxes need not be square. The high-pass
    takes the mean away; --remaining 0.01 leaves one per cent of it and of what is near it (IMAGIC's remaining low-frequency
    transmission). --b-factor multiplies by exp(-B/4 s^2), s in 1/Å. With --padding 2 the filter does not see the jump from one
    border to the opposite one.

    Ångström need a pixel size, from the header or by --pixel-size. Statistics (words 18, 19, 22, 23) are set; other words stay.

    \b
    Examples:
      im4d filter particles.hed smooth.hed --low-pass 0.5
      im4d filter particles.hed band.hed --high-pass 200A --low-pass 12A --pixel-size 3.6
      im4d filter volumes.hed sharp.mrc --b-factor -120 --low-pass 4A --edge-shape cosine
      im4d filter particles.hed flat.hed --high-pass 0.03 --remaining 0.005 --edge-shape butterworth

    See also: fsc, prepare.
    """
    from imagic4d_core.jobs.images.filtering import filter_file

    run.report(filter_file(src, dst, **settings, **run.job_kwargs()))
