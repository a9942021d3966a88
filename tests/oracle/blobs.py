"""Naive twins of `models`: one voxel, one pixel at a time."""

import math

import numpy as np


def density(model, x, y, z):
    """Density at a point, pixels from the centre."""
    total = 0.0
    for (bx, by, bz), s, w in zip(model.positions, model.sigma, model.weight, strict=True):
        r2 = (x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2
        total += w * math.exp(-r2 / (2 * s * s)) / (2 * math.pi * s * s) ** 1.5
    return total


def projection_at(model, matrix, shift, px, py, reach=30.0, step=0.25):
    """Line integral of the rotated, displaced density at pixel (px, py) from the centre, by the trapezium rule."""
    total = 0.0
    for z in np.arange(-reach, reach + step, step):
        v = matrix.T @ np.array([px - shift[0], py - shift[1], z])
        total += density(model, *v) * step
    return total
