"""im4d msa volumes."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("msa volumes")
@opt.source("root", "ROOT", help="ROOT of msa projections.")
@opt.target("dst", "OUT", "Stack of volumes to write.")
@opt.option("--component", type=types.Count(1), default=1, metavar="K", help="Number of the eigenvolume.")
@opt.option(
    "--along", type=types.NUMBERS, default="-2,-1,0,1,2", metavar="A,B,...", help="Coordinates, in their standard deviations."
)
@opt.option("--path", type=types.POINTS, metavar="A1,A2;B1,B2;...", help="Points along the first eigenvolumes, instead.")
@opt.option("--number", type=types.Count(2), metavar="N", help="So many 3Ds at equal distances along the way.")
@opt.option("--from-images", type=types.SOURCE, metavar="FILE", help="Reconstruct the images near each place.")
@opt.option("--width", type=types.Real(0, min_open=True), default=0.5, metavar="W", help="Width of a place, standard deviations.")
@opt.ctf_weights
@opt.option("--strip", type=types.TARGET, metavar="FILE", help="Draw the 3Ds side by side (PNG).")
@opt.option("--film", type=types.TARGET, metavar="FILE", help="Draw the 3Ds one after the other (animated PNG).")
@opt.common
@pass_run
def cli(run: Run, root: str, dst: str, along: tuple[float, ...], from_images: str | None, **settings: Any) -> None:
    """Make 3Ds along an eigenvolume, or along a path through the coordinates.

    The mean plus eigenvolumes times coordinates: what images at such coordinates look like, as far as it is linear in them.
    Parts that come and go are shown as they are; a part that moves fades at one place and grows at the other. With --from-images
    (those that msa projections wrote) each 3D is reconstructed from the images near its place, which count with a normal curve
    of --width: a part that moves is then seen to move. Their number is said; each 3D of few images is noisy.

    \b
    Examples:
      im4d msa volumes msa3d motion.hed --component 1 --strip motion.png
      im4d msa volumes msa3d film.hed --along=-2,2 --number 15 --from-images states.hed --film film.png
      im4d msa volumes msa3d ends.mrc --component 2 --along=-1.5,1.5
      im4d msa volumes msa3d round.hed "--path=-1,0;0,1;1,0" --number 9
      im4d show motion.hed --output motion3.png

    See also: msa projections, msa plot, show.
    """
    from imagic4d_core.jobs.msa.volumes import msa_volumes

    run.report(msa_volumes(root, dst, at=along, images=from_images, **settings, **run.job_kwargs()))
