"""im4d warmup."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("warmup")
@opt.reading
@pass_run
def cli(run: Run) -> None:
    """Compile all kernels, so that the next commands start at once.

    Compiled kernels are kept in the folder NUMBA_CACHE_DIR, beside the package, or in the user's cache, whichever can be
    written first. On a cluster call this once after installation.

    \b
    Examples:
      im4d warmup
      im4d warmup --json
    """
    from imagic4d_core.jobs.warming import warmup

    run.report(warmup(**run.job_kwargs("progress")))
