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
@opt.option("--sections", type=types.Count(1), metavar="N", help="Sections of a volume; default: as many as lines.")
@opt.option("--poses", type=types.SOURCE, metavar="FILE", help="Take poses, classes and CTF from this STAR, .cs or .par file.")
@opt.option("--template", type=types.SOURCE, metavar="STAR", help="Write only a STAR file: this one, with the poses of INPUT.")
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str, loc: Any, poses: str | None, template: str | None, **settings: Any) -> None:
    """Convert between IMAGIC, MRC, STAR, SPIDER and EMAN2 HDF; cryoSPARC, FREALIGN and cisTEM in.

    Images, volumes and stacks of volumes; the extension of OUTPUT decides its format: none or .hed IMAGIC; .mrc, .mrcs, .map MRC;
    .star an .mrcs and its STAR file; .spi, .stk, .vol SPIDER; .hdf EMAN2. A list of images (.star of RELION or cisTEM, .cs, .par)
    is an input like any other, of any command: the images it lists, in its order, from one or several stacks. Stacks are looked
    for beside the list, in the folders above it (the project) and in the current one.

    Pixel size, poses, 3D membership, classes, CTF, hand and centre are kept: IMAGIC has its first line on top, MRC at the bottom,
    so lines are flipped, and for an even number rolled by one, so that the centre stays at pixel N/2 + 1. Some writers (Xmipp,
    for IMAGIC) do not flip: use --rows keep for their files. What each format carries, and what not, is in docs/exchange.md.

    With --template results go back into the STAR file that the images came from: no densities are written, and all columns but
    angles, origins, classes and half sets stay. Word 73 of each image says its row.

    Header words read and written: 25-27 and 101, 102 (CTF), 51 (3D), 65-67 (Euler angles), 73 (row of the list), 80, 81 (shifts),
    108 (class), 114 (members of a class average), 123 (pixel size), and those of 79 to 93 that STAR can hold.

    \b
    Examples:
      im4d convert particles.hed particles.star
      im4d convert Refine3D/job019/run_data.star particles.hed
      im4d convert cryosparc_P1_J42_particles.cs particles.hed
      im4d convert stack.mrcs particles.hed --poses run1_1_r1.par --pixel-size 1.06
      im4d convert images.hed results.star --template Refine3D/job019/run_data.star
      im4d convert map.mrc map.hed --pixel-size 2.7
      im4d convert xmipp.hed images.mrcs --rows keep
      im4d convert sections.hed volumes.mrc --what volumes --sections 64

    See also: copy, info, validate.
    """
    from imagic4d_core.jobs.files.converting import convert, convert_list

    settings["type"] = settings.pop("type_")
    if template:
        run.report(convert_list(src, dst, template=template, loc=loc, **run.job_kwargs()))
    else:
        run.report(convert(src, dst, loc=loc, poses=poses, **settings, **run.job_kwargs()))
