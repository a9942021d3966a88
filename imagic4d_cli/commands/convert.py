"""im4d convert."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("convert")
@opt.src
@opt.dst
@opt.loc
@opt.option(
    "--rows", type=types.Words("centre", "plain", "keep"), default="centre",
    help="Lines between IMAGIC and MRC: flip and keep the centre, only flip, or keep.",
)  # fmt: skip
@opt.option("--type", "type_", type=types.Words("real", "long", "intg", "pack", "comp"), help="Density type of the output.")
@opt.pixel_size
@opt.option("--what", type=types.Words("images", "volumes"), help="Take sections as images, or images as sections of volumes.")
@opt.option("--sections", type=click.IntRange(1), metavar="N", help="Sections of a volume; default: as many as lines.")
@opt.common_serial
@pass_run
def cli(
    run: Run, src: str, dst: str, loc: Any, rows: str, type_: str | None, pixel_size: float | None, what: str | None,
    sections: int | None,
) -> None:  # fmt: skip
    """Convert between IMAGIC and MRC, and from SPIDER.

    Images, volumes and stacks of volumes; the format of the output is decided by its extension. Pixel size, poses, hand and
    centre are kept: IMAGIC has its first line on top, MRC at the bottom, so lines are flipped, and for an even number rolled
    by one, so that the centre stays at pixel N/2 + 1. Some writers (Xmipp, for IMAGIC) do not flip: use --rows keep for their
    files. Poses go into a STAR file beside an MRC file, in RELION's conventions, and come back from there.

    \b
    Examples:
      im4d convert particles.hed particles.mrcs
      im4d convert map.mrc map.hed --pixel-size 2.7
      im4d convert xmipp.hed images.mrcs --rows keep
      im4d convert sections.hed volumes.mrc --what volumes --sections 64

    See also: copy, info, validate.
    """
    from imagic4d_core.jobs.copying import convert

    run.report(
        convert(src, dst, loc=loc, rows=rows, type=type_, pixel_size=pixel_size, what=what, sections=sections, **run.job_kwargs())
    )
