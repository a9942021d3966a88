"""Statistics of images in two passes over the cache: the compiled twin of `io.statistics.sum_rows`, same bits."""

import math

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io import statistics
from imagic4d_core.io.statistics import LANES, LAST
from imagic4d_core.kernels._jit import kernel


@kernel
def _fold(lanes):
    width = LANES
    while width > LAST:
        width //= 2
        for j in range(width):
            lanes[j] += lanes[width + j]
    total = lanes[0]
    for j in range(1, LAST):
        total += lanes[j]
    return total


@kernel
def _sums(rows, out):
    """Mean, variance, minimum, maximum of each row: float32 (n, size) into float64 (n, 4).

    Lane j adds up the densities j, j + LANES, ...; lanes are folded by halves down to `LAST`, which are added in order.
    """
    lanes = np.empty(LANES, np.float64)
    low = np.empty(LANES, np.float32)
    high = np.empty(LANES, np.float32)
    size = rows.shape[1]
    whole = size // LANES * LANES
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(LANES):
            lanes[j] = 0.0
            low[j] = math.inf
            high[j] = -math.inf
        for k in range(0, whole, LANES):
            part = row[k : k + LANES]
            for j in range(LANES):
                v = part[j]
                lanes[j] += v
                low[j] = v if v < low[j] else low[j]
                high[j] = v if v > high[j] else high[j]
        for j in range(size - whole):
            v = row[whole + j]
            lanes[j] += v
            low[j] = v if v < low[j] else low[j]
            high[j] = v if v > high[j] else high[j]
        mean = _fold(lanes) / size
        width = LANES
        while width > 1:
            width //= 2
            for j in range(width):
                low[j] = low[width + j] if low[width + j] < low[j] else low[j]
                high[j] = high[width + j] if high[width + j] > high[j] else high[j]
        for j in range(LANES):
            lanes[j] = 0.0
        for k in range(0, whole, LANES):
            part = row[k : k + LANES]
            for j in range(LANES):
                d = part[j] - mean
                lanes[j] += d * d
        for j in range(size - whole):
            d = row[whole + j] - mean
            lanes[j] += d * d
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = mean, _fold(lanes) / size, low[0], high[0]


def sum_rows(rows: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """As `io.statistics.sum_rows`, for contiguous float32 rows."""
    _sums(rows, out)
    for i in np.flatnonzero(~np.isfinite(out[:, 0])):  # comparisons pass NaN by
        out[i, 2:] = rows[i].min(), rows[i].max()


def use() -> None:
    """Let files be written with compiled statistics from now on."""
    statistics.compiled = sum_rows


def warmup() -> None:
    """Compile for the type in use."""
    sum_rows(np.zeros((1, 8), np.float32), np.empty((1, 4)))
