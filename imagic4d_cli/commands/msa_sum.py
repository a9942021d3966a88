"""im4d msa sum."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("msa sum")
@opt.source("src", "IMAGES", help="The images or volumes that were classified.")
@opt.source("classes", "ROOT.cls", help="Class file of msa classify, or its root name.")
@opt.target("dst", "OUT", "Class averages to write.")
@opt.ignore_worst
@opt.option("--downweight-small", is_flag=True, help="Multiply an average of n members by (n - 1) / n: single ones become zero.")
@opt.option("--variances", type=types.TARGET, metavar="FILE", help="Write the variance of each pixel over the members.")
@opt.option("--halves", type=types.TARGET, metavar="FILE", help="Write averages of every other member, to FILE_a and FILE_b.")
@opt.option("--members", type=types.TARGET, metavar="FILE", help="Write a class file of the members used.")
@opt.option("--vote-3d", "membership", is_flag=True, help="Averages get the 3D membership that most of their members have.")
@opt.common
@pass_run
def cli(run: Run, src: str, classes: str, dst: str, **settings: Any) -> None:
    """Average the members of each class.

    Averages come in the order of the class file. Header words: class number (108), number of members (114, and 59), overall
    quality (115), NAME; pixel size and microscope as in IMAGES. Euler angles are not set. With --ignore-worst the members at
    the end of each list, which contribute most to the variance inside the class, are left out. With --halves the ring
    correlation of the two half averages of each class is reported (--json: of every class); since all members were
    aligned and classified together it is a guide, and no resolution.

    IMAGES is read once, in blocks; where the sums would need more than 1 GB, once for each share of the classes.

    \b
    Examples:
      im4d msa sum images.hed classes.cls averages.hed
      im4d msa sum images.hed classes averages.mrcs --ignore-worst 15 --downweight-small
      im4d msa sum images.hed classes.cls averages.hed --variances var.hed --halves half.hed

    See also: msa classify, angrec, fsc, header takeover.
    """
    from imagic4d_core.jobs.msa.sum import msa_sum

    run.report(msa_sum(src, classes, dst, **settings, **run.job_kwargs()))
