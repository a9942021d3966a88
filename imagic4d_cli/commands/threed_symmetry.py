"""im4d threed-symmetry."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("threed-symmetry")
@opt.source("src", "VOLUMES", help="Volumes, object bright.")
@opt.target("dst", "[OUT]", help="Volumes laid on the standard axes.", required=False)
@opt.symmetry_or_auto
@opt.option("--halves", type=types.SOURCE, metavar="NAME", help="Half-set volumes NAME_a and NAME_b.")
@opt.option("--symmetrise", is_flag=True, help="Average OUT over the group as well.")
@opt.max_frequency
@opt.loc
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str | None, **settings: Any) -> None:
    """Find the point group of volumes and its axes, with the evidence.

    Every volume is compared with itself turned about all axes by all angles (C2 to C12, D2 to D12, T, O, I). Printed are, for
    each angle of the group, the correlation of the volume with itself, the worst of its operations, and what other axes give.
    With --symmetry D7 the question is whether the volumes have it: exit 1, and no OUT, when they do not. OUT has the axes
    of the group where --symmetry of all commands expects them.

    Frequencies up to eight periods across the object are used; a pseudo-symmetry is told from symmetry only where the volume
    shows the difference. --max-frequency goes further, and --halves says how well a true operation would do. Every volume of a
    stack is looked at by itself.

    \b
    Examples:
      im4d threed-symmetry map.mrc
      im4d threed-symmetry run1/volumes.hed d7.hed --symmetry D7 --symmetrise
      im4d threed-symmetry run1/volumes.hed --halves run1/halves --json

    See also: threed-menu, refine, recon.
    """
    from imagic4d_core.jobs.images.symmetry_search import threed_symmetry

    found = threed_symmetry(src, dst, **settings, **run.job_kwargs())
    run.report(found, ok=found.holds)
