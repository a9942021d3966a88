"""Statistics of densities: of images on their way into a file, and under weights.

Sums are defined to the last bit, so that they do not depend on how many images come together, on threads, ranks, or on the
processor: a level near the mean is taken off the densities, which are then dealt to `LANES` float32 sums by turns; the lanes are
added up in float64, and so are the sums of pieces of `PIECE` densities.

The level is the density nearest to the mean in a sixteenth of the image; differences of whole numbers are whole numbers then, and
those of a constant are 0. The mean of a sixteenth is within four standard deviations of the mean of all, wherever it lies
(Cauchy and Schwarz), and the nearest density within as many again, so that little is lost when the level is taken into account.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Densities worked on at a time: they and their differences from the level stay in the cache.
PIECE = 1 << 18
#: Sums that run side by side.
LANES = 1024
#: Part of an image from which the level is taken.
PART = 16
#: Mean squares about the level that float32 can hold with all their digits; others are added up in float64.
LEAST, MOST = 1e-25, 1e25


def pieces(count: int, size: int, most: int = PIECE) -> Iterator[tuple[slice, slice]]:
    """Cut `count` rows of `size` values into pieces (rows, columns) of at most `most` values: several rows, or a part of one."""
    step = max(1, most // max(1, size))
    for row in range(0, count, step):
        for column in range(0, size, most):
            yield slice(row, row + step), slice(column, min(size, column + most))


def image_statistics(images: NDArray) -> NDArray[np.float64]:
    """Mean, variance, minimum and maximum of each image; of complex densities, those of the amplitudes.

    Parameters
    ----------
    images : ndarray, shape (n, lines, pixels), any type of density

    Returns
    -------
    ndarray, shape (n, 4), float64
        Mean to about 1e-7 standard deviations, variance to about 1e-7 of itself. Each row depends on the densities of its image
        only, bit for bit.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    if rows.dtype.kind == "c":
        rows = np.abs(rows)
    out = np.empty((len(rows), 4))
    out[:, :2] = moments(rows)
    with np.errstate(invalid="ignore"):  # NaN
        out[:, 2], out[:, 3] = rows.min(axis=1), rows.max(axis=1)
    return out


def moments(rows: NDArray, weights: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Mean and variance of each row, under weights.

    Parameters
    ----------
    rows : ndarray, shape (n, size), any real type
    weights : ndarray, shape (size,), optional
        0 to 1; default: all 1. Where all are 0, mean and variance are 0.

    Returns
    -------
    ndarray, shape (n, 2), float64
        Precision as `image_statistics`.
    """
    count, size = rows.shape
    total, seen = _part(weights, size)
    if total <= 0:
        return np.zeros((count, 2))
    sums = np.zeros((2, count))
    together = max(1, PIECE // size)
    lanes = min(LANES, size)
    scratch = np.zeros((1 if weights is None else 2, min(count, together), -(-min(size, PIECE) // lanes) * lanes), np.float32)
    with np.errstate(all="ignore"):
        level = _level(rows[:, seen], None if weights is None else weights[seen])
        for row in range(0, count, together):
            some = slice(row, min(count, row + together))
            _sums(rows[some], weights, level[some], scratch[:, : some.stop - row], sums[:, some])
        first, second = sums / total
        out = np.stack([level + first, np.maximum(second - np.square(first), 0.0)], axis=1)
        for k in np.flatnonzero(~((second > LEAST) & (second < MOST))):
            out[k] = _slow(rows[k], weights, total)
    return out


def _part(weights: NDArray[np.float32] | None, size: int) -> tuple[float, slice]:
    """Sum of the weights, and the sixteenth of a row that has most of it."""
    length = -(-size // PART)
    if weights is None:
        return float(size), slice(0, length)
    parts = np.add.reduceat(weights, np.arange(0, size, length), dtype=np.float64)
    start = int(np.argmax(parts)) * length
    return float(parts.sum()), slice(start, start + length)


def _level(rows: NDArray, weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The density of each row that is nearest to its mean."""
    if weights is None:
        mean = np.add.reduce(rows, axis=1, dtype=np.float64) / rows.shape[1]
    else:
        mean = np.add.reduce(rows * weights, axis=1, dtype=np.float64) / np.add.reduce(weights, dtype=np.float64)
    distance = np.abs(rows - mean.astype(np.float32)[:, None])
    if weights is not None:
        distance[:, weights <= 0] = np.inf
    return rows[np.arange(len(rows)), distance.argmin(axis=1)].astype(np.float32)


def _sums(
    rows: NDArray, weights: NDArray[np.float32] | None, level: NDArray[np.float32], scratch: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add the differences from the level, and their squares, to sums, shape (2, n)."""
    lanes = min(LANES, rows.shape[1])
    for start in range(0, rows.shape[1], PIECE):
        piece = rows[:, start : start + PIECE]
        width = piece.shape[1]
        # scratch beyond the piece stays 0 or is made so: it fills up the last lanes
        used = scratch[..., : -(-width // lanes) * lanes]
        used[..., width:] = 0.0
        x = y = used[0]
        np.subtract(piece, level[:, None], out=x[:, :width])
        if weights is not None:
            y = used[1]
            np.multiply(x[:, :width], weights[start : start + PIECE], out=y[:, :width])
        for total, square in ((sums[0], False), (sums[1], True)):
            if square:
                np.multiply(x, y, out=y)
            total += np.add.reduce(np.add.reduce(y.reshape(len(y), -1, lanes), axis=1), axis=1, dtype=np.float64)


def _slow(row: NDArray, weights: NDArray[np.float32] | None, total: float) -> tuple[float, float]:
    """Mean and variance in float64: of constant rows, of densities that are very large or very small, or not finite."""
    if (row == row[0]).all():
        return float(row[0]), 0.0  # no sum
    mean = square = 0.0
    for centred in (False, True):
        for start in range(0, len(row), PIECE):
            x = row[start : start + PIECE].astype(np.float64)
            w = 1.0 if weights is None else weights[start : start + PIECE]
            if centred:
                square += float(np.sum(np.square(x - mean) * w)) / total
            else:
                mean += float(np.sum(x * w)) / total
    return mean, square


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
