"""Sums over the members of classes, exact whatever their order: terms are rounded to multiples of a power of two."""

import numpy as np

from imagic4d_core.kernels._jit import kernel


@kernel
def add_members(images, place, magic, sums):
    """Add images to the sums of their classes.

    Parameters
    ----------
    images : float32 (n, p)
    place : int64 (n,)
        Row of `sums` for each image, below 0 for none.
    magic : float64 (rows,)
        1.5 * 2**52 quanta: adding and subtracting it rounds to a multiple of the quantum.
    sums : float64 (rows, p)
    """
    for i in range(images.shape[0]):
        r = place[i]
        if r >= 0:
            m = magic[r]
            for j in range(images.shape[1]):
                sums[r, j] += (np.float64(images[i, j]) + m) - m


@kernel
def add_squares(images, place, magic, sums):
    """As `add_members`, of the squared densities."""
    for i in range(images.shape[0]):
        r = place[i]
        if r >= 0:
            m = magic[r]
            for j in range(images.shape[1]):
                x = np.float64(images[i, j])
                sums[r, j] += (x * x + m) - m
