"""im4d mra."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_USE = types.Words("all", "own-ref3d", imagic={"ALL_REFERENCES": "all", "OWN_REF3D_REFERENCES": "own-ref3d"})


@click.command("mra")
@opt.source("src", "IMAGES", help="Images to be aligned.")
@opt.source("references", "REFERENCES", help="Reference images.")
@opt.target("dst", "OUT", "Aligned images.")
@opt.option("--references", "use", type=_USE, default="all", help="All compete, or those of the image's own 3D (word 51).")
@opt.max_shift
@opt.alignment
@opt.correlation
@opt.mirror
@opt.rounds_in_turn
@opt.option("--safe/--no-safe", default=False, help="Guard against alignment to noise.")
@opt.loc
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, references: str, dst: str, **settings: Any) -> None:
    """Align images to references, each to the one it resembles most.

    Every image is compared with all references at all rotations (--increment, default 6 degrees), shifts up to --max-shift
    (default 0.2 of half the box) and in both hands; the best three references are refined to fractions of a degree and a pixel.
    --search rotation-first and translation-first search in turn, --iterations times. Images whose motif would move farther
    than --max-shift are left unshifted, as in IMAGIC; --too-far limit gives them the best shift within.

    The output is made from the stored pixels by one interpolation with the equivalent rotation and shift. With --from-originals
    the alignment goes on from the moves in the header, and pixels are compared in and taken from that file. Shifts still to be
    applied (words 80, 81) are the start.

    Where references come from several 3Ds, an image takes over the 3D of the best; --references own-ref3d stays within its own.

    Every alignment is tried on random pictures of the same spectrum, with a warning when they do as well. --safe: nothing is then
    aligned, references without a sign in the images are left out, and references that are sums of these very images are made
    anew for each fifth of the images without it.

    Header words read: 51, 58, 80, 81, 92, 107, 108, 116 to 118. Written: 100, 112, 113 (rotation, shift of this run), 116 to
    118 and 92 (all since the original), 104 CCC, 107 REF; with several 3Ds 51 REF3D, 57 REF3DOLD, 50 CCC3D. Known Euler angles
    turn with the pixels.

    \b
    Examples:
      im4d mra particles.hed averages.hed aligned.hed --max-shift 0.3
      im4d mra aligned.hed averages.hed again.hed --from-originals particles.hed --run-shift 0.05 --run-range -10,10 --safe
      mpiexec -n 4 im4d mra particles.hed projections.hed aligned.hed --references own-ref3d --no-mirror

    See also: align-parallel, align-refs, forward.
    """
    from imagic4d_core.jobs.align.mra import mra

    run.report(mra(src, references, dst, **settings, **run.job_kwargs()))
