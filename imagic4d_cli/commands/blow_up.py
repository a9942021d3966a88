"""im4d blow-up and threed-blowup."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_METHOD = types.Words("fourier", "spline", "bilinear", "nearest", "coarse", imagic={"ZOOM": "spline", "COARSE": "coarse"})
_POSITIVE = types.Real(0, min_open=True)


@pair("blow-up", "threed-blowup")
@opt.src
@opt.dst
@opt.loc
@opt.option("--factor", type=_POSITIVE, metavar="F", help="Magnification; below 1 makes {images} smaller.")
@opt.box
@opt.option("--pixel-size-out", type=types.PIXEL_SIZE, metavar="A", help="Pixel size wanted, in ångström.")
@opt.pixel_size
@opt.option("--method", type=_METHOD, default="fourier", help="Fourier crop and pad, interpolation, or binning (coarse).")
@opt.fill
@opt.common
@pass_run
def cli(
    run: Run, src: str, dst: str, loc: Any, factor: float | None, box: Any, pixel_size_out: float | None,
    pixel_size: float | None, method: str, fill: Any, unit: str,
) -> None:  # fmt: skip
    """Magnify or reduce {images}: other pixel size, other box.

    Give one of --factor, --box and --pixel-size-out, or the last two together for {images} of one pixel size and one box. The
    box becomes the nearest whole number of pixels; the centre stays at index N // 2, densities keep their size. Methods:
    "fourier" cuts or pads the spectrum, exact for what is band-limited, with the magnification that the new longest side gives,
    or the pixel size that is asked for (it pads first); "spline", "bilinear" and "nearest" interpolate, for magnification (they
    do not low-pass); "coarse" takes the mean of 2, 3, ... pixels around every second, third, ... one.

    Header words written: 123 (pixel size), and all distances in pixels (53, 80, 81, 111 to 113, 117, 118), which follow it. The
    pixel size that was reached is reported.

    \b
    [images] Examples:
      im4d blow-up particles.hed half.hed --factor 0.5
      im4d blow-up averages.mrcs fine.hed --pixel-size 4.5 --pixel-size-out 3
      im4d blow-up micrograph.mrc view.mrc --factor 0.25 --method coarse

    \b
    [volumes] Examples:
      im4d threed-blowup map.mrc coarse.hed --pixel-size-out 6
      im4d threed-blowup volumes.hed larger.hed --box 96
      im4d threed-blowup emd_1.map one.hed --pixel-size-out 8 --box 48

    [images] See also: threed-blowup, cut.

    [volumes] See also: blow-up, threed-cut.
    """
    from imagic4d_core.jobs.images.zooming import blow_up

    run.report(
        blow_up(
            src, dst, unit=unit, loc=loc, factor=factor, box=box, pixel_size_out=pixel_size_out, pixel_size=pixel_size,
            method=method, fill=fill, **run.job_kwargs(),
        )
    )  # fmt: skip
