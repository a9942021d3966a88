"""Sums of Gaussians of many atoms on a grid."""

import math

import numpy as np

from imagic4d_core.kernels._jit import kernel


@kernel
def add_gaussians(grid, places, heights, falls, reach, first, last):
    """Add the Gaussians of atoms of one kind to sections `first` to `last` of a grid, in place.

    ``grid`` float64 (Z, L, P); ``places`` float64 (n, 4): section, line, pixel, weight; ``heights``, ``falls`` float64 (k,):
    ``height * exp(-fall * d^2)``, d in pixels; ``reach`` pixels from the atom at which the box of its Gaussians ends.
    """
    size = int(2 * reach) + 3
    terms = len(heights)
    ex, ey = np.empty((terms, size)), np.empty((terms, size))
    nx, ny = grid.shape[1:]
    for a in range(len(places)):
        z, x, y = places[a, 0], places[a, 1], places[a, 2]
        z0, z1 = max(first, math.ceil(z - reach)), min(last, math.floor(z + reach) + 1)
        x0, x1 = max(0, math.ceil(x - reach)), min(nx, math.floor(x + reach) + 1)
        y0, y1 = max(0, math.ceil(y - reach)), min(ny, math.floor(y + reach) + 1)
        if z0 >= z1 or x0 >= x1 or y0 >= y1:
            continue
        for t in range(terms):
            for i in range(x0, x1):
                ex[t, i - x0] = math.exp(-falls[t] * (i - x) ** 2)
            for j in range(y0, y1):
                ey[t, j - y0] = math.exp(-falls[t] * (j - y) ** 2)
        for h in range(z0, z1):
            for t in range(terms):
                c = places[a, 3] * heights[t] * math.exp(-falls[t] * (h - z) ** 2)
                for i in range(x0, x1):
                    b = c * ex[t, i - x0]
                    for j in range(y0, y1):
                        grid[h, i, j] += b * ey[t, j - y0]


def warmup() -> None:
    """Compile for the types in use."""
    grid = np.zeros((4, 4, 4))
    add_gaussians(grid, np.ones((1, 4)), np.ones(5), np.ones(5), 1.5, 0, 4)
