"""im4d report."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("report")
@opt.source("rundir", "RUNDIR", "Folder of a refine or classify2d run.")
@opt.option("--truth", type=types.SOURCE, metavar="IMAGES", help="Images with the true poses and memberships in their headers.")
@opt.option("--truth-volumes", type=types.SOURCE, metavar="VOLUMES", help="The true volumes, to be laid on the 3Ds.")
@opt.option("--output", type=types.FileName((".html",)), metavar="HTML", help="The page; default: RUNDIR/report.html.")
@opt.common_serial
@pass_run
def cli(run: Run, rundir: str, truth: str | None, truth_volumes: str | None, output: str | None) -> None:
    """Write the HTML report of a run, and its summary picture.

    One page that needs no network: the 3Ds, FSC curves, class sizes and moves by iteration, orientation maps, images beside
    their re-projections, confidence, events and settings; with known truth, the 3Ds beside it. Tables are sorted by a click
    on a column's head; without JavaScript the page reads the same. A PNG of the same name shows the run at a glance. Files
    that are missing from RUNDIR are named on the page. Of a classify2d run: class averages, stability, settings.

    \b
    Examples:
      im4d report run1
      im4d report run1 --truth truth.hed --truth-volumes models.hed --output run1.html

    See also: refine, compare, plot, show.
    """
    from imagic4d_core.jobs.report.reporting import report

    run.report(report(rundir, truth=truth, truth_volumes=truth_volumes, output=output, **run.job_kwargs()))
