"""Filter images or volumes in Fourier space."""

import os
from collections.abc import Callable

from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.filters.band import Band, filtered
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images.operating import Operated, inner_threads, open_unit, operate, unit_of
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.units import Frequency, as_fraction


def filter_file(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    low_pass: Frequency | float | str | None = None,
    high_pass: Frequency | float | str | None = None,
    edge: str = "gaussian",
    edge_width: float = 0.05,
    order: int = 8,
    remaining: float = 0.0,
    b_factor: float = 0.0,
    padding: float = 1.0,
    pixel_size: float | None = None,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:
    """Low-, high- or band-pass of images, or of volumes in three dimensions: the file decides.

    Parameters
    ----------
    src, dst : path
    low_pass, high_pass : Frequency, float or str, optional
        Cut-offs: fraction of Nyquist, or ``"12A"``.
    edge : {"gaussian", "butterworth", "cosine", "hard"}
        See `filters.band.lowpass_curve`.
    edge_width : float
        Of the cosine edge, fraction of Nyquist.
    order : int
        Of the Butterworth edge.
    remaining : float
        Transmission that the high-pass leaves at frequency 0.
    b_factor : float
        Angstrom squared; above 0 damps high frequencies, below 0 sharpens.
    padding : float
        Box of the transform over the box of the data.
    pixel_size : float, optional
        Angstrom, in place of the file's.
    loc, overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    UsageError
        No filter, or an empty band.
    InputError
        Angstrom without a pixel size; and as `operate`.
    """
    if not 1 <= padding <= 4:
        raise UsageError(f"padding {padding:g}: give the padded box over the box, 1 to 4")
    unit, size = unit_of(src, loc)
    size = pixel_size or size
    low = None if high_pass is None else as_fraction(high_pass, size)
    high = None if low_pass is None else as_fraction(low_pass, size)
    band = Band(low, high, edge, edge_width, order, remaining, b_factor, size).check()
    with open_unit(src, unit, loc) as stack:
        workers = inner_threads(stack, threads)
    ndim = 3 if unit == "volumes" else 2

    def operation(data: NDArray, headers: NDArray, start: int) -> NDArray:
        return filtered(data, ndim, band.curve, padding, workers)

    return operate(
        src, dst, operation, what=band.text(), unit=unit, loc=loc, overwrite=overwrite, comm=comm, threads=threads,
        progress=progress,
    )  # fmt: skip
