"""im4d rotate and threed-rotate."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run


@pair("rotate", "threed-rotate", images_only=["by_pose"], volumes_only=["angles"])
@opt.src
@opt.dst
@opt.loc
@opt.option("--angle", type=types.Real(), metavar="DEG", help="Angle in degrees, clockwise on the screen (volumes: about Z).")
@opt.option("--angles", type=types.NUMBERS, metavar="A,B,G", help="Euler angles ALPHA,BETA,GAMMA in degrees.")
@opt.option("--shift", type=types.NUMBERS, metavar="X,Y[,Z]", help="Shift before the rotation: lines, pixels, sections.")
@opt.option("--equivalent", type=types.SOURCE, metavar="FILE", help="Take the equivalent moves from this file's headers.")
@opt.option("--by-pose", is_flag=True, help="Take off the pose: shift by words 80 and 81, turn ALPHA to 0.")
@opt.option("--inverse", is_flag=True, help="Undo the move instead.")
@opt.option("--mirrored", is_flag=True, help="Mirror first: turn the pixels of every line round.")
@opt.option("--max-move", type=types.Real(0), metavar="PX", help="Refuse shifts longer than this; 0: no check.")
@opt.interpolation
@opt.fill
@opt.common
@pass_run
def cli(
    run: Run, src: str, dst: str, unit: str, equivalent: str | None, mirrored: bool, by_pose: bool = False,
    angles: Any = None, **given: Any,
) -> None:  # fmt: skip
    """Rotate and shift {images}.

    The move comes from the options; or, with --equivalent, from the headers of another file, one for each {image}: so that moves
    found in several steps are applied to the original {images} in one interpolation (IMAGIC's EQUIV_ROTATION). It shifts first
    and rotates then, about the centre, index N // 2.

    [images] A positive angle turns clockwise on the screen, as words 100, 116 and ALPHA do. --by-pose takes off the pose in the
    plane that the header holds: what is left has ALPHA 0 and no shift to come.

    [volumes] Euler angles turn the volume as a projection with these angles sees it: (A,0,0) turns all sections by A, clockwise
    seen from the top section.

    Header words written: 100, 112, 113 (111 for Z), the last move; 116 to 118 (of volumes 53 to 56, 117, 118), all moves since
    the original, as one, and 92 where that was mirrored before. Poses (65 to 67, 80, 81) go with the pixels. Interpolation
    "fourier" shears lines by phases: exact for what is band-limited, and slower.

    \b
    [images] Examples:
      im4d rotate particles.hed turned.hed --angle 30 --shift 1.5,-2
      im4d rotate particles.hed aligned.hed --equivalent moves.hed --max-move 20
      im4d rotate averages.hed upright.hed --by-pose

    \b
    [volumes] Examples:
      im4d threed-rotate map.mrc turned.hed --angles 30,60,45
      im4d threed-rotate turned.hed back.hed --angles 30,60,45 --inverse

    [images] See also: threed-rotate, center.

    [volumes] See also: rotate, threed-center.
    """
    from imagic4d_core.jobs.images.rotating import rotate

    run.report(
        rotate(
            src, dst, unit=unit, header_of=equivalent, mirrored=mirrored, by_pose=by_pose, angles=angles, **given,
            **run.job_kwargs(),
        )
    )  # fmt: skip
