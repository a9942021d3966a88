"""Weighted reconstructions of several volumes at once: one pass over the slices for a mean and all eigenvolumes.

Grid, halo and stencil (3 cells wide) are those of `kernels.gridding`. Every cell holds, side by side, the numerators of q volumes
(real, imaginary) and the upper triangle of their q x q weights, row by row: ``2 q + q (q + 1) / 2`` fixed-point integers. Integer
sums do not depend on their order.
"""

import math

import numpy as np

from imagic4d_core.kernels._jit import kernel
from imagic4d_core.kernels.gridding import LEFT, TABLE_STEPS, _chord


@kernel
def _weights(table, t, out):
    """Three stencil weights at table position t (in rows)."""
    row = int(t)
    frac = t - row
    for j in range(3):
        low = table[4 * row + j]
        out[j] = low + frac * (table[4 * row + 4 + j] - low)


@kernel
def insert_components(sums, shape, os, table, kx, ky, values, gains, powers, matrices, z, zz, sets, scale, density):
    """Add the slices of images to the sums of q volumes.

    Parameters
    ----------
    sums : int64 (sets, Z * X * Y, 2 q + q (q + 1) / 2)
        In place, units of 1 / `scale`.
    shape : int64 (3,)
        (Z, X, Y).
    os : float
        Grid cells per Fourier pixel.
    table : float32
        Stencil table of width 3.
    kx, ky : int32 (P,)
        Fourier pixels of the slices, ky >= 0, one of each Friedel pair.
    values : float32 (n, P, 2)
        Spectra.
    gains, powers : float32 (n, P)
        Weights of numerator and denominator: ``w c`` and ``w c^2`` of a transfer c.
    matrices : float64 (n, 3, 3)
    z : float64 (n, q)
        Weight of each image in the numerator of each volume.
    zz : float64 (n, q (q + 1) / 2)
        Weight of each image in the upper triangle of the denominators.
    sets : int64 (n,)
        Sum each image goes into; below 0: none.
    scale : float
        Fixed-point units per unit, a power of two.
    density : float
        Extra weight ``(|k| + 0.5) * density``, as in `gridding.insert_slices`.
    """
    sx = shape[2]
    sz = shape[1] * sx
    reach = shape[0] // 2
    q, t = z.shape[1], zz.shape[1]
    m = 2 * q + t
    value = np.empty(m, np.float64)
    wz, wx, wy = np.empty(3, np.float64), np.empty(3, np.float64), np.empty(3, np.float64)
    for i in range(values.shape[0]):
        s = sets[i]
        if s < 0:
            continue
        m00, m01, m02 = os * matrices[i, 0, 0], os * matrices[i, 0, 1], os * matrices[i, 0, 2]
        m10, m11, m12 = os * matrices[i, 1, 0], os * matrices[i, 1, 1], os * matrices[i, 1, 2]
        for p in range(kx.shape[0]):
            x, y = kx[p], ky[p]
            px, py, pz = x * m00 + y * m10, x * m01 + y * m11, x * m02 + y * m12
            sign = 1.0
            if py < 0.0:
                px, py, pz, sign = -px, -py, -pz, -1.0
            px, py, pz = px - 1.5, py - 1.5, pz - 1.5
            fx, fy, fz = math.floor(px), math.floor(py), math.floor(pz)
            base = (int(fz) + 1 + reach) * sz + (int(fx) + 1 + reach) * sx + int(fy) + 1 + LEFT
            _weights(table, (pz - fz) * TABLE_STEPS, wz)
            _weights(table, (px - fx) * TABLE_STEPS, wx)
            _weights(table, (py - fy) * TABLE_STEPS, wy)
            f = scale * density * (math.sqrt(x * x + y * y) + 0.5)
            re, im = values[i, p, 0] * gains[i, p] * f, values[i, p, 1] * gains[i, p] * f * sign
            power = powers[i, p] * f
            for k in range(q):
                value[2 * k] = z[i, k] * re
                value[2 * k + 1] = z[i, k] * im
            for k in range(t):
                value[2 * q + k] = zz[i, k] * power
            for a in range(3):
                for b in range(3):
                    at = base + a * sz + b * sx
                    for c in range(3):
                        w = wz[a] * wx[b] * wy[c]
                        for k in range(m):
                            sums[s, at + c, k] += np.int64(w * value[k])


@kernel
def fold_components(sums, shape, q, unit, out):
    """Fixed-point sums as floats with Friedel mates added, as `gridding.fold_rows` and `close_edges`.

    Parameters
    ----------
    sums : int64 (Z * X * Y, m)
    shape : int64 (3,)
    q : int
        Volumes; the first 2 q numbers of a cell are real and imaginary parts.
    unit : float
        Value of one fixed-point unit.
    out : float64 (Z, X, Y - LEFT, m)
        Zeroed by the caller; cells outside the ball that slices reach are not visited.
    """
    nz, nx, ny = shape[0], shape[1], shape[2]
    for z in range(nz):
        for x in range(nx):
            at = (z * nx + x) * ny + LEFT
            mate = ((nz - 1 - z) * nx + nx - 1 - x) * ny + LEFT
            c2 = (z - nz // 2) ** 2 + (x - nx // 2) ** 2
            for y in range(min(ny - LEFT, _chord((nz // 2 + 2) ** 2, c2))):
                for k in range(sums.shape[1]):
                    v = sums[at + y, k]
                    if y <= LEFT:
                        v += -sums[mate - y, k] if k < 2 * q and k % 2 else sums[mate - y, k]
                    out[z, x, y, k] = v * unit


@kernel
def weight_means(cells, q, os, means, counts):
    """Mean weight of each volume by shell of Fourier pixels.

    Parameters
    ----------
    cells : float64 (Z, X, Y, 2 q + q (q + 1) / 2)
        Made by `fold_components`.
    q : int
    os : float
    means : float64 (q, shells)
        Output: means of the diagonal of the weights.
    counts : float64 (shells,)
        Output.
    """
    reach = cells.shape[0] // 2
    for z in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            for y in range(cells.shape[2]):
                s = int(math.sqrt((z - reach) ** 2 + (x - reach) ** 2 + y * y) / os + 0.5)
                if s < counts.shape[0]:
                    f = 1.0 if y == 0 else 2.0
                    counts[s] += f
                    at = 2 * q
                    for k in range(q):
                        means[k, s] += f * cells[z, x, y, at]
                        at += q - k
    for s in range(counts.shape[0]):
        for k in range(q):
            means[k, s] /= max(counts[s], 1.0)


@kernel
def solve_components(cells, q, os, limit, extra, out):
    """Spectra of q volumes: in each cell the solution of ``(D + diag(extra)) e = n``, by Cholesky factors.

    Parameters
    ----------
    cells : float64 (Z, X, Y, 2 q + q (q + 1) / 2)
        Made by `fold_components`: n (complex) and the upper triangle of D.
    q : int
    os : float
        Grid cells per Fourier pixel.
    limit : float
        Cells beyond this radius stay 0.
    extra : float64 (q, shells)
        Added to the diagonal, by shell; above 0.
    out : float32 (q, P, P, keep, 2)
        Zeroed by the caller.
    """
    size = out.shape[1]
    reach = cells.shape[0] // 2
    top = min(reach, size // 2 - 1)
    low = np.zeros((q, q), np.float64)
    re, im = np.zeros(q, np.float64), np.zeros(q, np.float64)
    for z in range(-top, top + 1):
        for x in range(-top, top + 1):
            for y in range(min(top + 1, out.shape[3], cells.shape[2], _chord(limit * limit, z * z + x * x))):
                r = math.sqrt(z * z + x * x + y * y)
                if r > limit:
                    continue
                s = min(int(r / os + 0.5), extra.shape[1] - 1)
                c = cells[z + reach, x + reach, y]
                at = 2 * q
                for k in range(q):
                    for j in range(k, q):
                        low[j, k] = c[at]
                        at += 1
                    low[k, k] += extra[k, s]
                good = True
                for k in range(q):
                    for j in range(k, q):
                        v = low[j, k]
                        for b in range(k):
                            v -= low[j, b] * low[k, b]
                        if j == k:
                            if not v > 0.0:
                                good = False
                                break
                            low[k, k] = math.sqrt(v)
                        else:
                            low[j, k] = v / low[k, k]
                    if not good:
                        break
                if not good:
                    continue
                for k in range(q):
                    vr, vi = c[2 * k], c[2 * k + 1]
                    for b in range(k):
                        vr -= low[k, b] * re[b]
                        vi -= low[k, b] * im[b]
                    re[k], im[k] = vr / low[k, k], vi / low[k, k]
                for k in range(q - 1, -1, -1):
                    vr, vi = re[k], im[k]
                    for b in range(k + 1, q):
                        vr -= low[b, k] * re[b]
                        vi -= low[b, k] * im[b]
                    re[k], im[k] = vr / low[k, k], vi / low[k, k]
                for k in range(q):
                    out[k, z % size, x % size, y, 0] = re[k]
                    out[k, z % size, x % size, y, 1] = im[k]
