"""Rows of pixel values for MSA: gathering, centring and scaling, and sums that do not depend on their order."""

import numpy as np

from imagic4d_core.kernels._jit import LANES, kernel


@kernel(fastmath=LANES)
def gather_rows(flat, index, out, sums):
    """Take pixels of images: ``out[i, p] = flat[i, index[p]]``; `sums` gets the sum and the sum of squares of each row.

    Parameters
    ----------
    flat : ndarray, shape (n, box), float32
    index : ndarray, shape (P,), int64
    out : ndarray, shape (n, P), float32
    sums : ndarray, shape (n, 2), float64
    """
    for i in range(flat.shape[0]):
        total = 0.0
        square = 0.0
        for p in range(index.size):
            value = flat[i, index[p]]
            out[i, p] = value
            wide = np.float64(value)
            total += wide
            square += wide * wide
        sums[i, 0] = total
        sums[i, 1] = square


@kernel(fastmath=LANES)
def row_sums(rows, sums):
    """Sum and sum of squares of each row: `rows` (n, P) float32, `sums` (n, 2) float64."""
    for i in range(rows.shape[0]):
        total = 0.0
        square = 0.0
        for p in range(rows.shape[1]):
            wide = np.float64(rows[i, p])
            total += wide
            square += wide * wide
        sums[i, 0] = total
        sums[i, 1] = square


@kernel(fastmath=LANES)
def centre_rows(rows, factor, centre, scale, weight, energy):
    """``rows[i, p] = weight[i] * scale[p] * (factor[i] * rows[i, p] - centre[p])`` in place; `energy` gets sums of squares.

    Parameters
    ----------
    rows : ndarray, shape (n, P), float32
    factor, weight : ndarray, shape (n,), float32
    centre, scale : ndarray, shape (P,), float32
    energy : ndarray, shape (n,), float64
    """
    for i in range(rows.shape[0]):
        f = factor[i]
        w = weight[i]
        square = 0.0
        for p in range(centre.size):
            value = (rows[i, p] * f - centre[p]) * scale[p] * w
            rows[i, p] = value
            wide = np.float64(value)
            square += wide * wide
        energy[i] = square


@kernel
def add_rounded(total, part, magic):
    """Add `part` to `total`, each value rounded to a multiple of the quantum that `magic` = 1.5 * 2^52 quanta stands for.

    Sums of such multiples are exact in float64 while they stay below 2^53 quanta, so their order does not matter.

    Parameters
    ----------
    total : ndarray, shape (a, b), float64
    part : ndarray, shape (a, b), float32 or float64
    magic : float
    """
    for i in range(part.shape[0]):
        for j in range(part.shape[1]):
            total[i, j] += (np.float64(part[i, j]) + magic) - magic


@kernel
def column_sums(rows, weight, sums):
    """Sums over rows: ``sums[0] = sum of weight * row``, ``sums[1] = sum of row * row``.

    Parameters
    ----------
    rows : ndarray, shape (n, P), float32
    weight : ndarray, shape (n,), float32
    sums : ndarray, shape (2, P), float64
        Overwritten.
    """
    sums[:] = 0.0
    for i in range(rows.shape[0]):
        w = np.float64(weight[i])
        for p in range(rows.shape[1]):
            value = np.float64(rows[i, p])
            sums[0, p] += w * value
            sums[1, p] += value * value


def warmup() -> None:
    """Compile all of them."""
    flat = np.ones((2, 3), np.float32)
    index = np.arange(3)
    out, sums, energy = np.empty_like(flat), np.empty((2, 2)), np.empty(2)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    gather_rows(flat, index, out, sums)
    row_sums(flat, sums)
    centre_rows(out, one[:2], zero, one, one[:2], energy)
    for part in (flat, flat.astype(np.float64)):
        add_rounded(np.zeros((2, 3)), part, 1.0)
        add_rounded(np.zeros((4, 6))[1:3, 2:5], part, 1.0)
    column_sums(flat, one[:2], np.empty((2, 3)))
