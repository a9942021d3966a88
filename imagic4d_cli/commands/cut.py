"""im4d cut and threed-cut."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_BORDER = types.Words("fill", "error", "skip")


@pair("cut", "threed-cut")
@opt.src
@opt.dst
@opt.loc
@opt.box
@opt.option("--at", type=types.NUMBERS, metavar="X,Y[,Z]", help="Centre of the window, counted from 1; default: the centre.")
@opt.option("--coordinates", type=types.FileName((".plt", ".txt", ".star")), metavar="FILE", help="Centres of many windows.")
@opt.fill
@opt.option("--border", type=_BORDER, default="fill", help="Windows partly outside: fill them, stop, or leave them out.")
@opt.common
@pass_run
def cli(
    run: Run, src: str, dst: str, loc: Any, box: Any, at: Any, coordinates: str | None, fill: Any, border: str, unit: str
) -> None:
    """Cut windows out of {images}, or pad them.

    The centre of the window, by default that of the {image}, comes to index N // 2 of the new box; a box larger than the {image}
    pads it with --fill. With --coordinates one window is cut around every centre in a file (IMAGIC's APERIODIC): a PLT or text
    file of lines "x y" (line and pixel; of volumes "x y z"), counted from 1, with the location in front where the input holds
    several {images}; for micrographs also a STAR file with rlnCoordinateX and rlnCoordinateY. Only what lies in the windows is
    read.

    Windows partly outside are filled (--border fill), and counted in the report; "error" refuses them, "skip" leaves them out.
    The density type is kept. Header words written: 16, 17 and 12, the first pixel's place in the old {image}, and 109, its
    location; with coordinates also 70, 71, 72 and 73 (number and centre in the micrograph, location of the micrograph); of images
    with a pose 80 and 81, which follow a window off the centre.

    \b
    [images] Examples:
      im4d cut particles.hed small.hed --box 64
      im4d cut particles.hed padded.hed --box 160,128 --fill mean
      im4d cut micrograph.mrc particles.hed --coordinates picks.star --box 200 --border skip

    \b
    [volumes] Examples:
      im4d threed-cut map.mrc lobe.hed --at 40,52,33 --box 32
      im4d threed-cut volumes.hed padded.hed --box 128 --fill 0

    [images] See also: threed-cut, blow-up.

    [volumes] See also: cut, threed-blowup.
    """
    from imagic4d_core.jobs.images.cutting import cut

    run.report(
        cut(src, dst, unit=unit, loc=loc, box=box, at=at, coordinates=coordinates, fill=fill, border=border, **run.job_kwargs())
    )
