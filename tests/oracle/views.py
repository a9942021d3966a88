"""Naive twins of `views`: loops over points, views and Fourier samples."""

import itertools
import math

import numpy as np


def counts_loop(points, views, group, radius):
    """Views whose central section, one Fourier pixel thick, holds each point of a shell; `group` turns the 3D into itself."""
    out = []
    for p in points:
        hits = 0
        for v, g in itertools.product(views, group):
            mate = g.T @ v
            hits += abs(sum(a * b for a, b in zip(p, mate, strict=True))) * radius < 0.5
        out.append(hits)
    return out


def scf_star_loop(counts):
    """SCF* of counts: the mean of the reciprocals, and what points without a view take off."""
    seen = [c for c in counts if c]
    mean = sum(counts) / len(counts)
    scf = 1 / (sum(1 / c for c in seen) / len(seen) * mean)
    return scf / (1 + (len(counts) - len(seen)) / len(seen) * mean * scf / 2)


def cone_loop(a, b, axis, opening):
    """FSC by Fourier pixel of the samples within `opening` degrees of an axis (x, y, z) or its opposite."""
    n = a.shape[0]
    fa, fb = np.fft.fftn(a.astype(np.float64)), np.fft.fftn(b.astype(np.float64))
    sums = np.zeros((3, n // 2))
    for z, x, y in itertools.product(range(n), repeat=3):
        k = [q if q <= (n - 1) // 2 else q - n for q in (x, y, z)]
        length = math.sqrt(sum(q * q for q in k))
        r = round(length)
        outside = abs(sum(p * q for p, q in zip(k, axis, strict=True))) <= length * math.cos(math.radians(opening))
        if not 0 < r < n // 2 or outside:
            continue
        f, g = fa[z, x, y], fb[z, x, y]
        sums[:, r] += (f * np.conj(g)).real, abs(f) ** 2, abs(g) ** 2
    return sums[0] / np.maximum(np.sqrt(sums[1] * sums[2]), 1e-30)
