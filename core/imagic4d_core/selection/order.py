"""Choosing and ordering objects by number: plain functions of index arrays and header values."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.rng import rng_for

Index = NDArray[np.intp]

OPERATIONS = ("extract", "exclude", "select", "sort", "reverse", "randex")
PARITIES = ("all", "odd", "even")


def of_parity(index: Index, parity: str) -> Index:
    """Those of 0-based `index` whose 1-based location is odd, even, or all."""
    if parity == "all":
        return index
    return index[index % 2 == (0 if parity == "odd" else 1)]


def others(index: Index, count: int) -> Index:
    """All of 0 to `count` - 1 that are not in `index`, in order."""
    keep = np.ones(count, bool)
    keep[index] = False
    return np.flatnonzero(keep)


def sort_by(index: Index, values: ArrayLike, down: bool = False) -> Index:
    """`index` in the order of `values`, shape (len(index),): equal values keep their order, NaN comes last."""
    v = np.asarray(values, dtype=np.float64)
    v = -v if down else v
    return index[np.argsort(v, kind="stable")]


def random_order(index: Index, seed: int) -> Index:
    """`index` shuffled."""
    return index[rng_for(seed, "selection/randex").permutation(len(index))]
