"""im4d plot."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_WHAT = types.Words("auto", "fsc", "orientations", "sizes", "convergence")


@click.command("plot")
@opt.source(metavar="INPUT", help="fsc.json or CSV, images, or the folder of a refine run.")
@opt.target(metavar="OUTPUT", help="Picture to write: .png or .svg.")
@opt.option("--kind", type=_WHAT, default="auto", help="What to plot; auto: what the input holds.")
@opt.pixel_size
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str, kind: str, pixel_size: float | None) -> None:
    """Plot FSC curves, orientation maps, class sizes, convergence.

    fsc: curves of fsc.json or of a CSV by im4d fsc, with the 0.5, 0.143 and half-bit thresholds. orientations: view
    directions from the headers on two hemispheres in equal-area projection, with their density, for each 3D. sizes: images
    of each 3D. convergence: class sizes, moves and resolution against the iteration of a refine run.

    \b
    Examples:
      im4d plot run1/fsc.json fsc.png
      im4d plot run1/images.hed directions.svg --kind orientations
      im4d plot run1 convergence.png

    See also: report, show, fsc.
    """
    from imagic4d_core.jobs.showing import plot

    run.report(plot(src, dst, what=kind, pixel_size=pixel_size, **run.job_kwargs()))
