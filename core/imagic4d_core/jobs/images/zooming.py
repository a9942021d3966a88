"""Change the sampling of images and volumes: IMAGIC's BLOW-UP."""

import os
from collections.abc import Callable, Sequence

from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.moves import scale_distances
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images.operating import Operated, box_of, open_unit, operate
from imagic4d_core.parallel import SERIAL, Comm, thread_count
from imagic4d_core.resample.window import sides
from imagic4d_core.resample.zoom import plan, zoom


def blow_up(
    src: str | os.PathLike, dst: str | os.PathLike, *, unit: str = "images", loc: Locations | None = None,
    factor: float | None = None, box: Sequence[int] | None = None, pixel_size_out: float | None = None,
    pixel_size: float | None = None, method: str = "fourier", fill: float | str = "edge", overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """Magnify or reduce objects; the centre stays at index N // 2, densities keep their size.

    Pixel size and all distances in the headers (words 53, 80, 81, 111 to 113, 117, 118, in pixels) follow.

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    loc : Locations, optional
    factor : float, optional
        Magnification, above or below 1.
    box : sequence of int, optional
        The new box (lines, pixels[, sections]), or one number for all sides.
    pixel_size_out : float, optional
        Pixel size wanted, angstrom. It is met to 1e-4, with `box` in a box of that size; binning meets what it can and says so.
    pixel_size : float, optional
        Pixel size of the input, in place of what its header says.
    method : {"fourier", "spline", "bilinear", "nearest", "coarse"}
        See `resample.zoom`.
    fill : {"edge", "mean"} or float

    Returns
    -------
    Operated

    Raises
    ------
    UsageError
        Not one of factor, box and pixel size, or nothing is left.
    InputError
        Also: a pixel size is wanted of a file that has none.
    OutputError
    """
    if (factor is not None) + (pixel_size_out is not None or box is not None) != 1:
        raise UsageError("give one of --factor, --box and --pixel-size-out, or the last two together")
    with open_unit(src, unit, loc) as stack:
        old, size = box_of(stack), pixel_size or stack.pixel_size
        path = stack.path
    if pixel_size_out is not None:
        if not size:
            raise InputError(f"{path}: has no pixel size; give it with --pixel-size, or use --factor")
        factor = size / pixel_size_out
    new = None if box is None else sides(box, len(old), "--box")
    z = plan(old, factor=factor, new=new, method=method, exact=pixel_size_out is not None)
    n_threads = thread_count(threads)

    def work(data: NDArray, headers: NDArray, start: int) -> NDArray:
        scale_distances(headers, z.factor)
        return zoom(data, z, method, fill=fill, threads=n_threads if len(old) == 3 else 1)

    done = operate(
        src, dst, work, what=f"magnified {z.factor:.6g} times ({method})", unit=unit, loc=loc, box=z.box,
        pixel_scale=1.0 / z.factor, pixel_size=pixel_size, overwrite=overwrite, comm=comm, threads=threads, progress=progress,
    )  # fmt: skip
    done.values["factor"] = z.factor
    if size:
        done.values["pixel size"] = size / z.factor
        if pixel_size_out is not None and abs(size / z.factor - pixel_size_out) > 1e-4 * pixel_size_out:
            done.notes.append(f"{pixel_size_out:g} A was asked for; {method} takes the nearest that it can")
    return done
