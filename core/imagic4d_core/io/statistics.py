"""Statistics of images on their way into a file.

Sums are defined to the last bit, so that they do not depend on how many images come together, on threads, or on who adds: the
densities of an image are dealt to `LANES` float64 sums by turns, which are then folded. Small files are summed by numpy; where
much is to be written (`worth_compiling`), jobs bring in the compiled twin (`kernels.statistics.use`), which gives the same bits.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: Sums that run side by side, a power of two.
LANES = 256
#: What is left after folding by halves is added up one by one.
LAST = 32
#: Densities worked on at a time: half a megabyte of float64 stays in the cache.
PIECE = 1 << 16

#: Bytes that numpy sums up in about the time in which the compiler is loaded.
WORTH = 1 << 28

#: ``sums(rows, out)`` for float32 rows: as `sum_rows`, once a job has brought it in.
compiled: Callable[[NDArray[np.float32], NDArray[np.float64]], None] | None = None


def worth_compiling(size: int) -> bool:
    """Whether a job that writes `size` bytes of densities gains by `kernels.statistics.use`: loading the compiler takes time."""
    return compiled is None and (size >= WORTH or "numba" in sys.modules)


def image_statistics(images: NDArray) -> NDArray[np.float64]:
    """Mean, variance, minimum and maximum of each image; of complex densities, those of the amplitudes.

    Parameters
    ----------
    images : ndarray, shape (n, lines, pixels), any type of density

    Returns
    -------
    ndarray, shape (n, 4), float64
        Sums are taken in float64, the variance about the mean. Each row depends on the densities of its image only, bit for bit.
    """
    out = np.empty((len(images), 4))
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    if rows.dtype.kind == "c":
        rows = np.abs(rows)
    if compiled is not None and rows.dtype == np.float32:
        compiled(rows, out)
    else:
        sum_rows(rows, out)
    return out


def sum_rows(rows: NDArray, out: NDArray[np.float64]) -> None:
    """Mean, variance, minimum, maximum of each row (n, size) into out (n, 4)."""
    size = rows.shape[1]
    step = max(1, PIECE // size)
    # one row of lanes carries the sums on from piece to piece, and zeros fill up the last lanes
    scratch = np.zeros((min(step, len(rows)), LANES + -(-min(PIECE, size) // LANES) * LANES))
    for start in range(0, len(rows), step):
        some, words = rows[start : start + step], out[start : start + step]
        mean = _lane_sums(some, scratch, None) / size
        words[:, 0], words[:, 1] = mean, _lane_sums(some, scratch, mean) / size
        words[:, 2], words[:, 3] = some.min(1), some.max(1)


def _lane_sums(rows: NDArray, scratch: NDArray[np.float64], mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Sum of the densities of each row, or of their squared differences from its mean."""
    lanes: NDArray[np.float64] | float = 0.0
    work = scratch[: len(rows)]
    for start in range(0, rows.shape[1], PIECE):
        piece = rows[:, start : start + PIECE]
        x = work[:, LANES : LANES + piece.shape[1]]
        x[:] = piece
        if mean is not None:
            x -= mean[:, None]
            x *= x
        work[:, :LANES] = lanes
        work[:, LANES + piece.shape[1] :] = 0.0
        # along the middle axis numpy adds one set of lanes after the other, in order
        lanes = np.add.reduce(work.reshape(len(work), -1, LANES), axis=1)
    width = LANES
    while width > LAST:
        width //= 2
        lanes[:, :width] += lanes[:, width : 2 * width]
    return np.add.accumulate(lanes[:, :LAST], axis=1)[:, -1]


def volume_statistics(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics of volumes from those of their sections.

    Parameters
    ----------
    images : ndarray, shape (volumes, sections, 4)
        As `image_statistics` gives them.

    Returns
    -------
    ndarray, shape (volumes, 4)
    """
    mean = images[:, :, 0].mean(1)
    var = (images[:, :, 1] + np.square(images[:, :, 0] - mean[:, None])).mean(1)
    return np.stack([mean, var, images[:, :, 2].min(1), images[:, :, 3].max(1)], -1)
