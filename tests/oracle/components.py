"""Naive twins of `kernels.components`: one volume and one pair at a time, by the twin of a single insertion."""

import numpy as np
from oracle.gridding import insert_slice


def component_cells(size, images, gains, powers, box, r_max, oversampling, matrices, z, zz, density):
    """Numerators (q, size, size, size) and weights (q, q, size, size, size) on full periodic grids.

    `gains` and `powers` are half spectra; a slice of the weights alone is one whose values are the powers, at a phase of 0.
    """
    q = z.shape[1]
    num = np.zeros((q, size, size, size), np.complex128)
    den = np.zeros((q, q, size, size, size))
    for i in range(len(images)):
        n, _ = insert_slice(size, images[i] * gains[i], box, r_max, oversampling, 3, matrices[i], (0, 0), density)
        d, _ = insert_slice(size, powers[i].astype(complex), box, r_max, oversampling, 3, matrices[i], (0, 0), density)
        for k in range(q):
            num[k] += z[i, k] * n
            for j in range(q):
                den[k, j] += zz[i, k, j] * d.real
    return num, den


def solved(num, den, extra):
    """Cell by cell ``(D + diag(extra)) e = n``: (q, cells) of num (q, cells), den (q, q, cells), extra (q, cells)."""
    out = np.zeros(num.shape, np.complex128)
    for c in range(num.shape[1]):
        out[:, c] = np.linalg.solve(den[:, :, c] + np.diag(extra[:, c]), num[:, c])
    return out
