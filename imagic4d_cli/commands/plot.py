"""im4d plot."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_WHAT = types.Words("auto", "fsc", "orientations", "sizes", "convergence", "scf")


@click.command("plot")
@opt.source(metavar="INPUT", help="fsc.json or CSV, images, or the folder of a run.")
@opt.target(metavar="[OUTPUT]", help="Picture to write: .png or .svg; without it the plot is text.", required=False)
@opt.option("--kind", type=_WHAT, default="auto", help="What to plot; auto: what the input holds.")
@opt.loc
@opt.pixel_size
@opt.option("--anchors", type=types.SOURCE, metavar="ANCHORS", help="scf: images to correlate the first image with.")
@opt.max_frequency
@opt.amplitude_filter
@opt.as_text
@opt.colour
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str | None, kind: str, loc, text: bool, colour: bool | None, **settings) -> None:
    """Plot FSC curves, orientation maps, class sizes, convergence, SCFs.

    fsc: curves of fsc.json or of a CSV by im4d fsc, with the 0.5, 0.143 and half-bit thresholds. orientations: view
    directions from the headers on two hemispheres in equal-area projection, with their density, for each 3D. sizes: images
    of each 3D, or of each class. convergence: class sizes, moves and resolution against the iteration of a refine run, or
    the stability of a classify2d run. scf: sinogram
    correlation functions of the first image with the others, or with --anchors (at most 12): all lines of one sinogram
    (angles down, 0 to 180 degrees) against all of another (along, 0 to 360), frequencies to --max-frequency (default 0.4),
    amplitudes as --amplitude-filter says; a cross marks the best common line, a circle the one that known Euler angles say.

    Without OUTPUT the plot is drawn in the terminal.

    Header words read: 51 REF3D, 108 CLASSNO, 114 NUMCLS, 65 to 67 Euler angles; for scf also 80 and 81.

    \b
    Examples:
      im4d plot run1/fsc.json fsc.png
      im4d plot run1/fsc.json
      im4d plot run1/images.hed directions.svg --kind orientations
      im4d plot run1 convergence.png
      im4d plot averages.hed scf.png --kind scf --loc 3,7
      im4d plot averages.hed,3 --kind scf --anchors anchors.hed

    See also: report, show, fsc, msa plot, angrec.
    """
    from imagic4d_cli.terminal import drawing
    from imagic4d_core.jobs.report.plotting import plot

    run.report(plot(src, dst, what=kind, locations=loc, **settings, **drawing(text, colour, dst), **run.job_kwargs()))
