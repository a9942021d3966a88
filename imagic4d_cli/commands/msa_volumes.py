"""im4d msa volumes."""

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
@opt.common_serial
@pass_run
def cli(run: Run, root: str, dst: str, component: int, along: tuple[float, ...]) -> None:
    """Make 3Ds along an eigenvolume: the mean plus the eigenvolume times coordinates.

    What images at such coordinates look like, as far as it is linear in them: parts that come and go are shown as they are;
    a part that moves fades at one place and grows at the other. For real 3Ds reconstruct the images near a coordinate
    (excopy --where).

    \b
    Examples:
      im4d msa volumes msa3d motion.hed --component 1
      im4d msa volumes msa3d ends.mrc --component 2 --along=-1.5,1.5
      im4d show motion.hed --output motion.png

    See also: msa projections, msa plot, show.
    """
    from imagic4d_core.jobs.msa.volumes import msa_volumes

    run.report(msa_volumes(root, dst, component=component, at=along, **run.job_kwargs()))
