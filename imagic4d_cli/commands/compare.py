"""im4d compare."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("compare")
@opt.source("images", "IMAGES")
@opt.source("truth", "TRUTH", help="The same images with the truth in their headers.")
@opt.option("--found-volumes", type=types.SOURCE, metavar="FILE", help="Volumes found, in the order of REF3D.")
@opt.option("--truth-volumes", type=types.SOURCE, metavar="FILE", help="True volumes, or blob models (.json).")
@opt.option("--table", type=types.SOURCE, metavar="FILE", help="Table of simulate --averages: leave junk and mixed ones out.")
@opt.symmetry
@opt.option("--min-ari", type=types.Real(-1, 1), metavar="X", help="Demand this adjusted Rand index, or more.")
@opt.option("--max-pose-error", type=types.Real(0), metavar="DEG", help="Demand this median pose error, or less.")
@opt.option("--min-fsc", type=types.Real(0, 1), metavar="F", help="Demand FSC 0.5 up to this fraction of Nyquist of every 3D.")
@opt.threads
@opt.reading
@pass_run
def cli(run: Run, found_volumes: str | None, **settings: Any) -> None:
    """Score poses, memberships and volumes against known truth.

    Memberships are scored by the adjusted Rand index and by the share of images in the right 3D under the best one-to-one
    matching. Poses are scored, over the images whose membership is right, after every 3D was laid on the truth by one
    rotation and by the hand that fits better: projections alone leave both open. With volumes, each is aligned to the truth
    and their FSC is given. The exit code is 1 when a demand is not met.

    \b
    Examples:
      im4d compare run1/images.hed images_truth.hed
      im4d compare run1/images.hed images_truth.hed --min-ari 0.95 --max-pose-error 3 --json
      im4d compare images.hed images_truth.hed --found-volumes run1/volumes.hed --truth-volumes truth.blobs.json --min-fsc 0.6
      im4d compare run1/images.hed averages_truth.hed --table averages_truth.tsv

    See also: simulate, fsc, refine.
    """
    from imagic4d_core.jobs.truth.compare import compare

    result = compare(**settings, volumes=found_volumes, **run.job_kwargs())
    run.report(result, ok=result is None or result.ok)
