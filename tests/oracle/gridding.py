"""Naive twins of `kernels.gridding`: loops over a full periodic grid, the stencil from its formula, one point at a time."""

import math

import numpy as np


def stencil(u, width, oversampling):
    """Kaiser-Bessel weight at distance u, scaled to unit integral."""
    beta = math.pi * math.sqrt((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8)
    x = 2 * u / width
    if abs(x) > 1:
        return 0.0
    return float(np.i0(beta * math.sqrt(1 - x * x))) * beta / (width * math.sinh(beta))


def cells_of(point, width, oversampling):
    """All (z, x, y) cells around a point given as (x, y, z), with their weights."""
    axes = []
    for c in point:
        low = math.floor(c - width / 2) + 1
        axes.append([(low + d, stencil(c - low - d, width, oversampling)) for d in range(width + 1)])
    for z, wz in axes[2]:
        for x, wx in axes[0]:
            for y, wy in axes[1]:
                yield (z, x, y), wz * wx * wy


def points(box, r_max, oversampling, matrix):
    """(row, column, point) of the half slice, points in cells of the grid, axes (x, y, z)."""
    for kx in range(-r_max, r_max + 1):
        for ky in range(r_max + 1):
            if kx * kx + ky * ky <= r_max * r_max:
                yield kx % box, ky, oversampling * (kx * matrix[0] + ky * matrix[1]), kx


def slice_spectrum(spectrum, box, r_max, oversampling, width, matrix, shift):
    """Half slice of a full periodic spectrum (P, P, P), axes (z, x, y)."""
    size = spectrum.shape[0]
    out = np.zeros((box, box // 2 + 1), np.complex128)
    for row, ky, p, kx in points(box, r_max, oversampling, matrix):
        total = sum(w * spectrum[c[0] % size, c[1] % size, c[2] % size] for c, w in cells_of(p, width, oversampling))
        out[row, ky] = total * np.exp(-2j * np.pi * (kx * shift[0] + ky * shift[1]) / box)
    return out


def insert_slice(size, image, box, r_max, oversampling, width, matrix, shift, density=0.0):
    """Sums on a full grid (size, size, size), both Friedel mates put in: numerator, weight."""
    num, den = np.zeros((size,) * 3, np.complex128), np.zeros((size,) * 3)
    for row, ky, p, kx in points(box, r_max, oversampling, matrix):
        if ky == 0 and kx < 0:
            continue
        value = image[row, ky] * np.exp(-2j * np.pi * (kx * shift[0] + ky * shift[1]) / box)
        extra = density * (math.hypot(kx, ky) + 0.5) if density else 1.0
        if kx == ky == 0:
            extra *= 0.5
        for sign in (1, -1):
            v = value if sign > 0 else np.conj(value)
            for c, w in cells_of(sign * p, width, oversampling):
                at = tuple(i % size for i in c)
                num[at] += extra * w * v
                den[at] += extra * w
    return num, den


def slab_filter(directions, matrix, box, r_max, diameter):
    """Exact filter of one image from all slabs, O(N) a point (Harauz & van Heel 1986), cut at the first zero."""
    out = np.zeros((box, box // 2 + 1))
    for row, ky, p, _ in points(box, r_max, 1.0, matrix):
        u = np.abs(directions @ p) * diameter / box
        out[row, ky] = 1 / max(np.where(u < 1, np.sinc(u), 0.0).sum(), 1.0)
    return out
