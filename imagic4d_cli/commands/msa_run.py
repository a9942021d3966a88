"""im4d msa run."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_METRIC = types.Words(
    "modulation", "euclidean", "chi-square", imagic={"EUCLIDIAN": "euclidean", "CHISQUARE": "chi-square"}
)  # fmt: skip
_INVARIANT = types.Words("none", "rotation", "rotation-shift")
_SOLVER = types.Words("auto", "covariance", "gram", "krylov")


@click.command("msa run")
@opt.source("src", "IMAGES", help="Images or volumes.")
@opt.target("root", "ROOT", "Root name of the files to write.")
@opt.option("--eigenimages", type=types.Count(1), default=25, metavar="K", help="Number of eigenimages (factors).")
@opt.option("--metric", type=_METRIC, default="modulation", help="Distance between images.")
@opt.mask_file
@opt.mask_radius
@opt.option("--invariant", type=_INVARIANT, default="none", help="Analyse what this does not change, in place of pixels.")
@opt.option("--reuse", type=types.SOURCE, metavar="ROOT", help="Use the eigenimages, metric and mask of this earlier run.")
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="Write coordinates here in place of into IMAGES.")
@opt.option("--solver", type=_SOLVER, default="auto", help="Way to the eigenimages; auto: the cheapest exact one.")
@opt.option("--passes", type=types.Count(2), default=25, metavar="N", help="Most passes of krylov over the images.")
@opt.common
@pass_run
def cli(run: Run, src: str, root: str, images_out: str | None, **settings: Any) -> None:
    """Find eigenimages of images or volumes, and the coordinates along them.

    Modulation divides every pixel by its standard deviation over the set and suits images of mean zero; euclidean is plain
    principal component analysis; chi-square is correspondence analysis and needs densities that are not negative. Pixels
    above 0.5 in --mask and inside --mask-radius count. Images with word 58 (ACTIVE) below 0 get coordinates but do not
    count. The noise edge says how many factors are more than noise.

    --invariant analyses ring by ring what a rotation (and a shift) does not change: a first pass over images that are not
    aligned. --reuse gives new images coordinates along the eigenimages of an earlier run.

    Written are ROOT.hed (eigenimages, eigenvalue in word 150), ROOT_mean.hed (total average, scale of the metric, mask),
    ROOT.json, ROOT.lis and ROOT.plt (eigenvalues); and the headers of IMAGES, or of --images-out: coordinates in words 131 to
    199, more than 69 in further records, and words 110, 119, 121, 122, 129, 130.

    \b
    Examples:
      im4d msa run aligned.hed msa --mask-radius 0.8
      im4d msa run volumes.hed msa3d --metric euclidean --mask mask.hed --eigenimages 10
      im4d msa run particles.mrcs msa --invariant rotation-shift --images-out particles.hed

    See also: msa classify, msa sum.
    """
    from imagic4d_core.jobs.msa.run import msa_run

    run.report(msa_run(src, root, images_out, **settings, **run.job_kwargs()))
