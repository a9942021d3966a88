"""Rows of pixel values by numpy: what `kernels.rows` does, for so little data that loading compiled loops would take longer.

Loading the compiler and its cached code costs about 0.6 s of CPU time, numpy some nanoseconds more for each value. `loops_for`
chooses by the amount of data alone, so that the result does not depend on ranks and threads. `add_rounded` gives the same bits
both ways; the other sums are made in another order and may differ in their last digit.
"""

import sys
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

#: Values from which on compiled loops pay.
MANY = 1 << 26
#: Values made float64 at a time: they stay in the cache.
STRIP = 1 << 17


def loops_for(values: int) -> ModuleType:
    """`kernels.rows` for much data, this module for little: they have the same functions."""
    if values < MANY:
        return sys.modules[__name__]
    from imagic4d_core.kernels import rows

    return rows


def _strips(array: NDArray) -> list[slice]:
    step = max(1, STRIP // max(1, array.shape[1]))
    return [slice(a, a + step) for a in range(0, len(array), step)]


def gather_rows(flat: NDArray, index: NDArray, out: NDArray, sums: NDArray) -> None:
    """Take pixels of images: ``out[i, p] = flat[i, index[p]]``; `sums` gets the sum and the sum of squares of each row."""
    np.take(flat, index, axis=1, out=out, mode="clip")
    row_sums(out, sums)


def row_sums(rows: NDArray, sums: NDArray) -> None:
    """Sum and sum of squares of each row: `rows` (n, P) float32, `sums` (n, 2) float64."""
    with np.errstate(invalid="ignore"):  # what is not finite is found by its sum
        for some in _strips(rows):
            wide = rows[some].astype(np.float64)
            sums[some, 0] = wide.sum(axis=1)
            sums[some, 1] = np.einsum("ij,ij->i", wide, wide)


def centre_rows(rows: NDArray, factor: NDArray, centre: NDArray, scale: NDArray, weight: NDArray, energy: NDArray) -> None:
    """``rows = weight * scale * (factor * rows - centre)`` in place; `energy` gets sums of squares."""
    scaled, stretched, weighted = (bool((values != 1).any()) for values in (factor, scale, weight))
    for some in _strips(rows):
        part = rows[some]
        if scaled:
            part *= factor[some, None]
        part -= centre
        if stretched:
            part *= scale
        if weighted:
            part *= weight[some, None]
        wide = part.astype(np.float64)
        energy[some] = np.einsum("ij,ij->i", wide, wide)


def add_rounded(total: NDArray, part: NDArray, magic: float) -> None:
    """Add `part` to `total`, each value rounded to a multiple of the quantum that `magic` = 1.5 * 2^52 quanta stands for."""
    for some in _strips(part):
        one = part[some].astype(np.float64)
        one += magic
        one -= magic
        total[some] += one


def column_sums(rows: NDArray, weight: NDArray, sums: NDArray) -> None:
    """Sums over rows: ``sums[0] = sum of weight * row``, ``sums[1] = sum of row * row``."""
    sums[:] = 0.0
    for some in _strips(rows):
        wide = rows[some].astype(np.float64)
        sums[0] += weight[some].astype(np.float64) @ wide
        sums[1] += np.einsum("ij,ij->j", wide, wide)
