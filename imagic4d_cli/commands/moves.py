"""im4d moves."""

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("moves")
@opt.source("before", "BEFORE", help="Images with the poses of one iteration.")
@opt.source("after", "AFTER", help="The same images with the poses of the next.")
@opt.option("--halves-before", type=types.SOURCE, metavar="NAME", help="Half-set volumes NAME_a, NAME_b of the first.")
@opt.option("--halves-after", type=types.SOURCE, metavar="NAME", help="Half-set volumes of the second.")
@opt.option("--check", is_flag=True, help="Exit with 1 when not converged.")
@opt.reading
@pass_run
def cli(run: Run, before: str, after: str, halves_before: str | None, halves_after: str | None, check: bool) -> None:
    """Say how far two iterations differ, and whether that is convergence.

    Converged: fewer than 1 % of the images change 3D, the median change of Euler angles is below 1.5 degrees, and
    no FSC 0.5 of half sets moves by a shell or more.

    \b
    Examples:
      im4d moves it7.hed it8.hed --halves-before v7.hed --halves-after v8.hed
      im4d moves it7.hed it8.hed --check -q || echo go on

    See also: refine.
    """
    from imagic4d_core.jobs.scheme.moves import moves

    found = moves(before, after, halves_before=halves_before, halves_after=halves_after)
    run.report(found, ok=found.converged or not check)
