"""im4d msa projections."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("msa projections")
@opt.source("src", "IMAGES", help="Images with Euler angles and shifts, from one consensus 3D.")
@opt.target("root", "ROOT", "Root name of the files to write.")
@opt.option("--eigenvolumes", type=types.Count(1, 16), metavar="K", help="How many; default: those above the noise.")
@opt.mask_file
@opt.mask_radius
@opt.max_frequency
@opt.option("--band", type=types.FREQUENCY, metavar="F", help="Band limit of the analysis; default: where it shows most.")
@opt.option("--ref3d", type=types.Count(1), metavar="N", help="Only images of this 3D (word 51) count.")
@opt.ctf_weights
@opt.option("--states", type=types.Count(0, 24), default=6, metavar="N", help="Tell up to N states apart; 0: do not try.")
@opt.option("--as-membership", is_flag=True, help="The states are the 3D memberships (word 51) from now on.")
@opt.option("--asymmetric", is_flag=True, help="Go on also where the mean 3D is symmetric.")
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="Write coordinates here in place of into IMAGES.")
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, root: str, images_out: str | None, **settings: Any) -> None:
    """Find eigenvolumes of images that are projections, and the coordinates along them.

    MSA in three dimensions: every image is taken as a projection, in its pose, of a mean 3D plus a few eigenvolumes times the
    coordinates of the image. It finds differences too small, and states too rare, for 3Ds that compete. The poses come from one
    3D for all (refine --volumes 1), or from any 3D of a run (--ref3d); poses that are wrong give false eigenvolumes.
    Coordinates are in units of the noise. Eigenvolumes count that vary more than those of imitated images, all of
    the mean 3D with the same views, CTF and noise. --mask (0 to 1) says where images may differ, --mask-radius where the object
    is (0.75). With --weigh-ctf the CTF of words 25 to 27, 101 and 102 counts. A mean 3D with a point group is refused: an image
    of it shows several units at once, and which of the poses that look the same it has is chance.

    Written are ROOT.hed (eigenvolumes: what is added to the mean for a coordinate of 1), ROOT_mean.hed (mean 3D, scale, mask),
    ROOT.json, ROOT.lis and ROOT.plt, as by msa run; and the headers of IMAGES, or of --images-out: coordinates in words 131
    to 199, and the number of the state in word 108. msa classify, msa sum, msa plot and excopy --where go on from there.

    \b
    Examples:
      im4d refine images.hed run1 --volumes 1
      im4d msa projections run1/images.hed msa3d --images-out states.hed --as-membership
      im4d recon states.hed volumes.hed
      im4d msa projections particles.hed msa3d --weigh-ctf --mask domain.mrc --eigenvolumes 2 --states 0

    See also: msa volumes, msa classify, msa run, refine, recon.
    """
    from imagic4d_core.jobs.msa.projections import msa_projections

    run.report(msa_projections(src, root, images_out, **settings, **run.job_kwargs()))
