"""Statistics of densities: of images on their way into a file, and under weights.

Sums of densities and of their squares are scalar products of `LANES` densities at a time in float32, which are added up in
float64: they depend on the densities of one image only, not on how many images come together, on threads or on ranks. Where the
mean is large against the standard deviation, squares lose digits when that of the mean is taken off; then a level near the mean
is taken off the densities first.

The level is the density nearest to the mean in a sixteenth of the image; differences of whole numbers are whole numbers then, and
those of a constant are 0. The mean of a sixteenth is within four standard deviations of the mean of all, wherever it lies
(Cauchy and Schwarz), and the nearest density within as many again, so that little is lost when the level is taken into account.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Densities worked on at a time where they are changed: they stay in the cache.
PIECE = 1 << 18
#: Densities in a scalar product.
LANES = 1024
#: Part of an image from which the level is taken.
PART = 16
#: Square of the mean over the variance up to which no level is needed.
STEEP = 1.0
#: Mean squares that float32 can hold with all their digits; others are added up in float64.
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
    total = float(size) if weights is None else float(np.add.reduce(weights, dtype=np.float64))
    if total <= 0:
        return np.zeros((count, 2))
    out = np.empty((count, 2))
    rest = np.arange(count)
    with np.errstate(all="ignore"):
        if rows.dtype == np.float32:
            first, second = _sums(rows, weights, None) / total
            out[:, 0], out[:, 1] = first, second - np.square(first)
            rest = np.flatnonzero(~(_held(second) & (np.square(first) <= STEEP * out[:, 1])))
        together = max(1, PIECE // size)
        for k in range(0, len(rest), together):
            some = rest[k : k + together]
            # one row may be a large volume: not copied
            these = rows[some] if len(some) > 1 else rows[some[0] : some[0] + 1]
            level = _level(these, weights)
            first, second = _sums(these, weights, level) / total
            out[some, 0], out[some, 1] = level + first, np.maximum(second - np.square(first), 0.0)
            for j in np.flatnonzero(~_held(second)):
                out[some[j]] = _slow(these[j], weights, total)
    return out


def _held(square: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (square > LEAST) & (square < MOST)


def _level(rows: NDArray, weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """The density of each row that is nearest to the mean of a sixteenth of it, that with most of the weights."""
    length = -(-rows.shape[1] // PART)
    if weights is None:
        rows = rows[:, :length]
        mean = np.add.reduce(rows, axis=1, dtype=np.float64) / length
    else:
        start = length * int(np.argmax(np.add.reduceat(weights, np.arange(0, len(weights), length), dtype=np.float64)))
        rows, weights = rows[:, start : start + length], weights[start : start + length]
        mean = np.add.reduce(rows * weights, axis=1, dtype=np.float64) / np.add.reduce(weights, dtype=np.float64)
    distance = np.abs(rows - mean.astype(np.float32)[:, None])
    if weights is not None:
        distance[:, weights <= 0] = np.inf
    return rows[np.arange(len(rows)), distance.argmin(axis=1)].astype(np.float32)


def _sums(rows: NDArray, weights: NDArray[np.float32] | None, level: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Sums of the densities, less the level, and of their squares, under the weights; shape (2, n)."""
    if weights is None and level is None:
        return np.stack([_products(rows, None), _products(rows, rows)])
    sums = np.zeros((2, len(rows)))
    scratch = np.empty((2, max(1, min(rows.size, PIECE))), np.float32)
    for some, part in pieces(*rows.shape):
        x = rows[some, part]
        less, weighted = (memory[: x.size].reshape(x.shape) for memory in scratch)
        if level is not None:
            x = np.subtract(x, level[some, None], out=less)
        y = x if weights is None else np.multiply(x, weights[part], out=weighted)
        sums[0, some] += _products(y, None)
        sums[1, some] += _products(y, x)
    return sums


def _products(a: NDArray[np.float32], b: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """Scalar product of each row of `a` with that of `b`, or with ones."""
    count, size = a.shape
    whole = size // LANES * LANES
    total = np.zeros(count)
    for part, shape in ((slice(0, whole), (count, -1, LANES)), (slice(whole, size), (count, 1, size - whole))):
        if part.stop > part.start:
            x = a[:, part].reshape(shape)
            y = np.ones(x.shape[-1], np.float32) if b is None else b[:, part].reshape(shape)
            total += np.add.reduce(np.vecdot(x, y), axis=1, dtype=np.float64)
    return total


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
