"""im4d info."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli.run import Run, pass_run


@click.command("info")
@opt.srcs
@opt.loc
@opt.option("--statistics", is_flag=True, help="Read all densities: mean, standard deviation, minimum, maximum.")
@opt.reading
@pass_run
def cli(run: Run, srcs: tuple[str, ...], loc: Any, statistics: bool) -> None:
    """Say what is in image and volume files.

    Format, shape, density type, byte order, pixel size, how many headers hold poses and 3D memberships, and every doubt about
    the file with how it was settled. IMAGIC, MRC and SPIDER are recognised by content before extension.

    \b
    Examples:
      im4d info particles.hed
      im4d info --json --statistics maps/*.mrc
      im4d info volumes,2

    See also: validate, convert, show.
    """
    from imagic4d_core.jobs.files.inspecting import info

    found = info(srcs, loc=loc, statistics=statistics, **run.job_kwargs("progress"))
    run.report(found)
    run.fail(found.failures)
