"""im4d msa states."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("msa states")
@opt.source("src", "IMAGES", help="Images with poses and 3D memberships.")
@opt.target("out", "OUT", "Write states here in place of into IMAGES.", required=False)
@opt.option("--known/--not-known", default=False, help="States of word 108 anew with the poses of now, as many as there are.")
@opt.option("--states", type=types.Count(2, 24), default=6, metavar="N", help="Most states of a 3D.")
@opt.mask_radius
@opt.ctf_weights
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, out: str | None, **settings: Any) -> None:
    """Tell apart the states of the images of each 3D.

    MSA in three dimensions (msa projections) of the images of every 3D by itself. States are written into word 108 where
    another random start, and the eigenvolumes of either half of the images, give the same ones: each with at least 12 images
    and seven tenths in common. recon --membership states makes 3Ds of them. refine does all this by itself where it may keep
    more 3Ds than it has; with --known it finds the states once more after polishing, as better poses tell more.

    \b
    Examples:
      im4d msa states run1/images.hed states.hed
      im4d recon states.hed volumes.hed --membership states --images-out split.hed
      im4d msa states better_poses.hed again.hed --known

    See also: msa projections, recon, refine.
    """
    from imagic4d_core.jobs.msa.states import msa_states

    run.report(msa_states(src, out, **settings, **run.job_kwargs()))
