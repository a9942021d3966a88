"""im4d header takeover."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_WAY = types.Words("images", "class-sums", imagic={"CLASS_SUM_ANGREC": "class-sums"})


@click.command("header takeover")
@opt.source("src", "IMAGES", help="Images that get poses; with class-sums the members of the classes.")
@opt.source("poses_from", "POSES", help="As many images, or class averages, whose poses are wanted.")
@opt.dst_optional
@opt.option("--from", "way", type=_WAY, default="images", help="Image by image, or class averages to members.")
@opt.option(
    "--class-file",
    "classes",
    type=types.FileName((".cls",)),
    metavar="CLS",
    help="Members of classes; default: word 108 of IMAGES.",
)
@opt.option("--originals", is_flag=True, help="IMAGES were not moved as words 116 to 118 say: undo these moves.")
@opt.option("--moves-from", type=types.SOURCE, metavar="FILE", help="Aligned images with moves and classes of the originals.")
@opt.common_serial
@pass_run
def cli(run: Run, src: str, poses_from: str, dst: str | None, **settings: Any) -> None:
    """Give images the poses that stand in the headers of another file.

    Image by image (the default): Euler angles, shifts, memberships, scores and active flags are taken over. With --originals
    POSES are these images moved (aligned, centred, turned): their mirror and moves (words 92 and 116 to 118), as far as they
    are not those of IMAGES, are undone in the poses, which then belong to the pixels of IMAGES.

    From class averages to their members (--from class-sums, IMAGIC's CLASS_SUM_ANGREC): Euler angles (65 to 67), 3D
    membership (51, the old one goes to 57), shift (80, 81), confidence and margin of the average of each member's class. The
    class is word 108 of the member, or stands in a CLS file; the average of a class is the one with that number in word 108,
    or at that location. Members without an average get membership 0; those of an inactive average become inactive (word 58).

    Where IMAGES are the aligned images that were averaged, that is all. Where they are the originals, the mirror (word 92)
    and the moves (words 116 to 118), of their own headers or of --moves-from, are composed with the pose and then cleared, so
    that the originals can be reconstructed as they are.

    All other header words, and the densities (a hard link), are those of IMAGES; without OUTPUT its headers are replaced.

    \b
    Examples:
      im4d header takeover averages.hed prepared_posed.hed averages_posed.hed
      im4d header takeover particles.hed aligned_posed.hed particles_posed.hed --originals
      im4d header takeover aligned.hed averages.hed --from class-sums
      im4d header takeover raw.hed averages.hed raw_posed.hed --from class-sums --moves-from aligned.hed

    See also: angrec, recon, header show, excopy.
    """
    from imagic4d_core.jobs.scheme.takeover import takeover

    run.report(takeover(src, poses_from, dst, **settings, **run.job_kwargs("overwrite")))
