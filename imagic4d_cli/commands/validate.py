"""im4d validate."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("validate")
@opt.srcs
@opt.option("--densities/--headers-only", default=True, help="Check the densities too: NaN, statistics, contrast.")
@opt.reading
@pass_run
def cli(run: Run, srcs: tuple[str, ...], densities: bool) -> None:
    """Check files against the rules of their format.

    Prints a verdict on each file and what was found. Errors (wrong counts, no machine stamp, one header per volume, NaN
    densities, a truncated file) make it not valid, exit code 1; warnings (old header layout, statistics that do not fit,
    images without contrast) do not. Such files can mostly be read all the same; copy writes them with sound headers.

    \b
    Examples:
      im4d validate particles.hed
      im4d validate --json --headers-only volumes.hed map.mrc

    See also: info, copy.
    """
    from imagic4d_core.jobs.files.inspecting import validate

    summary = validate(srcs, densities=densities, **run.job_kwargs("progress"))
    run.report(summary, ok=summary.valid)
    run.fail(summary.failures)
