"""im4d msa plot."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_KIND = types.Words("auto", "eigenimages", "spectrum", "map", "dendrogram")


@click.command("msa plot")
@opt.source(metavar="INPUT", help="ROOT of msa run, images with coordinates, or the tree of msa classify (.npz).")
@opt.target(metavar="[OUTPUT]", help="Picture to write (.png); without it the picture is text.", required=False)
@opt.option("--kind", type=_KIND, default="auto", help="What to draw; auto: what the input holds.")
@opt.option("--axes", type=types.Count(1), nargs=2, default=(1, 2), metavar="A B", help="Factors of a map.")
@opt.option("--cut", type=types.Count(1), metavar="N", help="Number of classes at which a dendrogram is cut.")
@opt.as_text
@opt.colour
@opt.common_serial
@pass_run
def cli(
    run: Run, src: str, dst: str | None, kind: str, axes: tuple[int, int], cut: int | None, text: bool, colour: bool | None
) -> None:
    """Draw eigenimages, eigenvalues, factor maps and dendrograms.

    eigenimages: the total average and the eigenimages of ROOT with their per cent of the variance, grey captions for those
    not above the noise; of volumes their three central sections. spectrum: eigenvalues with the noise edge. map: images as
    points along two factors, in the colours of their classes (word 108) or 3Ds (word 51), and beside it averages of images
    that are neighbours. dendrogram: the top of a tree.
    Without OUTPUT the picture is drawn in the terminal.

    \b
    Examples:
      im4d msa plot msa eigenimages.png
      im4d msa plot msa spectrum.png --kind spectrum
      im4d msa plot msa --kind spectrum
      im4d msa plot aligned.hed map.png --axes 1 3
      im4d msa plot classes.npz tree.png --cut 50

    See also: msa run, msa classify, show, plot.
    """
    from imagic4d_cli.terminal import drawing
    from imagic4d_core.jobs.msa.plot import msa_plot

    how = drawing(text, colour, dst)
    run.report(msa_plot(src, dst, what=kind, axes=axes, classes=cut, **how, **run.job_kwargs()))
