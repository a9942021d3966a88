"""Gaussians of atoms on a grid, the plain way."""

import numpy as np


def gaussians(shape, places, heights, falls):
    """Sum of ``weight * height * exp(-fall * d^2)`` over all atoms (section, line, pixel, weight) and terms."""
    z, x, y = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    total = np.zeros(shape)
    for pz, px, py, weight in places:
        d2 = (z - pz) ** 2 + (x - px) ** 2 + (y - py) ** 2
        for height, fall in zip(heights, falls, strict=True):
            total += weight * height * np.exp(-fall * d2)
    return total
