"""im4d threed-copy."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("threed-copy")
@opt.src
@opt.dst
@opt.loc
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str, loc: Any) -> None:
    """Copy volumes, with their headers.

    As copy, but locations count volumes: NAME,3,5 and --loc 3-5,9,20- select them, OUTPUT,2 replaces volumes from 2 on in an
    existing file or adds to its end; it changes in one step or not at all.

    \b
    Examples:
      im4d threed-copy volumes.hed second.mrc --loc 2
      im4d threed-copy better.hed volumes,3

    See also: copy, convert, info.
    """
    from imagic4d_core.jobs.copying import copy_volumes

    run.report(copy_volumes(src, dst, loc=loc, **run.job_kwargs()))
