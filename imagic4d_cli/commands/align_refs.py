"""im4d align-refs."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("align-refs")
@opt.source("src", "REFERENCES", help="References, such as class averages.")
@opt.target("dst", "OUT", "Aligned references.")
@opt.max_shift
@opt.how_aligned
@opt.correlation
@opt.mirror_if_asked
@opt.option("--iterations", type=types.Count(1), default=5, metavar="N", help="Most rounds.")
@opt.loc
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, **settings: Any) -> None:
    """Align references to one another.

    Every reference is compared with every other and brought to the one it resembles most; then each in turn is aligned to the
    sum of all others, up to --iterations times, until none moves by more than 0.1 degrees and 0.02 pixels. The reference that
    resembles the others most keeps its place. Search and limits are those of mra.

    Header words read: 58, 80, 81, 92, 116 to 118. Written: 100, 112, 113 (rotation, shift of this run), 116 to 118 and 92 (all
    since the original), 104 correlation with the sum of the others. Known Euler angles turn with the pixels.

    \b
    Examples:
      im4d align-refs averages.hed aligned.hed
      im4d align-refs averages.hed aligned.hed --max-shift 0.3 --mirror --iterations 10

    See also: mra, align-parallel.
    """
    from imagic4d_core.jobs.align.align_refs import align_refs

    run.report(align_refs(src, dst, **settings, **run.job_kwargs()))
