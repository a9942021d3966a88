"""Naive twin of `fsc`: a loop over all points of the full spectrum."""

import itertools
import math

import numpy as np


def fsc_loop(a, b):
    """FSC and number of points per shell 0 to n // 2."""
    n = a.shape[0]
    fa, fb = np.fft.fftn(a.astype(np.float64)), np.fft.fftn(b.astype(np.float64))
    cross, pa, pb, count = ([0.0] * (n // 2 + 1) for _ in range(4))
    for index in itertools.product(range(n), repeat=a.ndim):
        k = [i if i <= (n - 1) // 2 else i - n for i in index]
        r = round(math.sqrt(sum(q * q for q in k)))
        if r <= n // 2:
            cross[r] += (fa[index] * np.conj(fb[index])).real
            pa[r] += abs(fa[index]) ** 2
            pb[r] += abs(fb[index]) ** 2
            count[r] += 1
    return np.array([c / math.sqrt(x * y) for c, x, y in zip(cross, pa, pb, strict=True)]), np.array(count)
