"""im4d show."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_WHAT = types.Words("auto", "montage", "sections", "projections", "surface")


@click.command("show")
@opt.source(metavar="FILE")
@opt.option("--output", type=types.FileName((".png",)), metavar="PNG", help="Write a PNG; without it the picture is text.")
@opt.loc
@opt.option("--columns", type=types.Count(1), metavar="N", help="Tiles in a row.")
@opt.option("--kind", type=_WHAT, default="auto", help="What to show; auto: all kinds for volumes, a montage for images.")
@opt.words
@opt.as_text
@opt.colour
@opt.common_serial
@pass_run
def cli(run: Run, src: str, output: str | None, loc, kind: str, text: bool, colour: bool | None, **settings) -> None:
    """Show images and volumes as a picture or as text.

    Images come as a montage with their location numbers and, where the headers have them, 3D membership, members of
    the class and CCC, or the header words that --word names. Volumes come as shaded surfaces, three central sections and
    three projections, one row for each. Grey levels run from the 0.5 to the 99.7 percentile. Only what is shown is read.

    \b
    Examples:
      im4d show averages.hed
      im4d show averages.hed --loc 1-20 --columns 10 --output averages.png
      im4d show particles.hed --loc 1-40 --word "DEFOCUS1;CCC" --output particles.png
      im4d show volumes.mrc --kind surface --output surfaces.png

    See also: plot, report, info.
    """
    from imagic4d_cli.terminal import drawing
    from imagic4d_core.jobs.report.showing import show

    how = drawing(text, colour, output)
    run.report(show(src, output, locations=loc, what=kind, **settings, **how, **run.job_kwargs()))
