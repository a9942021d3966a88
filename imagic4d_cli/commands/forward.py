"""im4d forward."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_DIRECTIONS = types.Words(
    "asym-triangle", "random", "header", imagic={"ASYM_TRIANGLE": "asym-triangle", "ANGREC_HEADER_VALUES": "header"}
)


@click.command("forward")
@opt.source("src", "VOLUMES", help="Stack of volumes.")
@opt.target("dst", "OUT", help="Projections to write.")
@opt.option("--directions", type=_DIRECTIONS, default="asym-triangle", help="Where to look from.")
@opt.increment
@opt.symmetry
@opt.number
@opt.option("--angles-from", type=types.SOURCE, metavar="IMAGES", help="Project as these images are seen, one for each.")
@opt.option("--fold-mirrors", "mirror", is_flag=True, help="Leave out directions whose mirror view is there.")
@opt.max_frequency
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, increment: float | None, **settings: Any) -> None:
    """Project 3Ds, with the Euler angles and the 3D of each projection in its header.

    Directions cover the asymmetric triangle of the point group evenly, --increment degrees apart (default 10), in-plane
    angle 0; 10 is good for anchor sets, 25 for references of alignment. --directions random makes --number projections of
    each 3D. With --angles-from, projection i is of the 3D of image i, in its orientation and displaced as it is, to be compared
    with it; of leave-out volumes (recon --leave-out) it is the one made without that image.

    \b
    Examples:
      im4d forward volumes.hed anchors.hed --increment 10 --symmetry C1
      im4d forward volumes.mrc refs.mrcs --increment 25 --fold-mirrors
      im4d forward volumes.hed reprojections.hed --angles-from images.hed

    See also: angrec, recon.
    """
    from imagic4d_core.jobs.scheme.forward import forward

    if settings["angles_from"] and settings["directions"] == "asym-triangle":
        settings["directions"] = "header"
    run.report(forward(src, dst, increment=increment or 10.0, **settings, **run.job_kwargs()))
