"""Loops of the anchor-set search: polar lines out of a Fourier grid, and the running best over in-plane angles."""

import math

import numpy as np

from imagic4d_core.kernels._jit import kernel


@kernel(fastmath=True)
def take_linear(grid, os, matrices, points, out):
    """Values of central slices at given image frequencies, by trilinear interpolation.

    Parameters
    ----------
    grid : complex64 (m, m, m // 2 + 1)
        Spectrum (z, x, y) in numpy's order with ``os`` cells per Fourier pixel, compensated for trilinear interpolation.
    os : float
    matrices : float64 (n, 3, 3)
        Poses (`geometry.euler`).
    points : float64 (p, 2)
        Frequencies (kx, ky) in Fourier pixels; ``os * |k| < m / 2 - 1``.
    out : complex64 (n, p)
    """
    m = grid.shape[0]
    for i in range(matrices.shape[0]):
        a00, a01, a02 = os * matrices[i, 0, 0], os * matrices[i, 0, 1], os * matrices[i, 0, 2]
        a10, a11, a12 = os * matrices[i, 1, 0], os * matrices[i, 1, 1], os * matrices[i, 1, 2]
        for p in range(points.shape[0]):
            kx, ky = points[p, 0], points[p, 1]
            x = a00 * kx + a10 * ky
            y = a01 * kx + a11 * ky
            z = a02 * kx + a12 * ky
            sign = 1.0
            if y < 0.0:
                x, y, z, sign = -x, -y, -z, -1.0
            ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
            fx, fy, fz = x - ix, y - iy, z - iz
            jy = int(iy)
            re = 0.0
            im = 0.0
            for a in range(2):
                wz = fz if a else 1.0 - fz
                jz = (int(iz) + a) % m
                for b in range(2):
                    w = wz * (fx if b else 1.0 - fx)
                    jx = (int(ix) + b) % m
                    lo, hi = grid[jz, jx, jy], grid[jz, jx, jy + 1]
                    re += w * (lo.real + fy * (hi.real - lo.real))
                    im += w * (lo.imag + fy * (hi.imag - lo.imag))
            out[i, p] = complex(re, sign * im)


@kernel
def merge_best(scores, base, best, arg):
    """Running maximum over in-plane angles: ``best``/``arg`` (n,) take over larger values of ``scores`` (angles, n).

    `arg` becomes ``base + angle``; ties stay with the earlier one, so the result does not depend on blocking.
    """
    for q in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            v = scores[q, j]
            if v > best[j]:
                best[j] = v
                arg[j] = base + q


@kernel(fastmath=True)
def scan_shifts(lines, references, which, turns, ramps, best, arg):
    """Best of many trial shifts for images against one reference of each 3D, at one in-plane angle.

    Parameters
    ----------
    lines : complex64 (n, h, r)
        Polar half lines of the images, ``h`` angles over 180 degrees.
    references : complex64 (d, h, r)
        Weighted polar half lines of the references.
    which, turns : int32 (n, k)
        Reference, and in-plane angle in line steps (0 <= turn < 2 h), for each image and 3D: line ``t`` of the image meets
        line ``t - turn`` of the reference.
    ramps : complex64 (s, h, r)
        Phase factors of the shifts.
    best : float32 (n, k)
        Output: scalar product over the full circle.
    arg : int32 (n, k)
        Output: number of the shift.
    """
    n, h, nr = lines.shape
    product = np.empty((h, nr), np.complex64)
    for i in range(n):
        for k in range(which.shape[1]):
            for t in range(h):
                u = t - turns[i, k]
                sign = np.float32(1.0)
                while u < 0:
                    u += h
                    sign = -sign
                for r in range(nr):
                    f, g = lines[i, t, r], references[which[i, k], u, r]
                    gi = sign * g.imag
                    product[t, r] = complex(f.real * g.real + f.imag * gi, f.imag * g.real - f.real * gi)
            top, at = np.float32(-1e30), 0
            for s in range(ramps.shape[0]):
                acc = np.float32(0.0)
                for t in range(h):
                    for r in range(nr):
                        acc += product[t, r].real * ramps[s, t, r].real - product[t, r].imag * ramps[s, t, r].imag
                if acc > top:
                    top, at = acc, s
            best[i, k], arg[i, k] = np.float32(2.0) * top, at
