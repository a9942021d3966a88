"""im4d align-parallel."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("align-parallel")
@opt.source("src", "IMAGES", help="Images to be aligned.")
@opt.source("references", "REFERENCES", help="As many references, in the same order.")
@opt.target("dst", "OUT", "Aligned images.")
@opt.max_shift
@opt.alignment
@opt.correlation
@opt.mirror_if_asked
@opt.rounds_in_turn
@opt.loc
@opt.common
@pass_run
def cli(run: Run, src: str, references: str, dst: str, **settings: Any) -> None:
    """Align image i to reference i.

    Used between rounds of reconstruction: reference i is the re-projection of a 3D in the direction of image i. A shift that
    is still to be applied to it (its words 80, 81, as recon writes them) is applied first. Search, limits and output are
    those of mra. Images are compared with random pictures too, and a warning says when those do as well.

    Header words read: 51, 58, 80, 81, 92, 116 to 118. Written: 100, 112, 113 (rotation, shift of this run), 116 to 118 and 92
    (all since the original), 104 CCC, 107 REF, and 50 CCC3D where image and reference are of one 3D. Known Euler angles turn
    with the pixels.

    \b
    Examples:
      im4d align-parallel posed.hed reprojections.hed aligned.hed --max-shift 0.1 --run-range -10,10
      im4d align-parallel posed.hed reprojections.hed aligned.hed --from-originals particles.hed

    See also: mra, align-refs, forward, recon.
    """
    from imagic4d_core.jobs.align.align_parallel import align_parallel

    run.report(align_parallel(src, references, dst, **settings, **run.job_kwargs()))
