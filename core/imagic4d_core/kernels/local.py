"""Local refinement of poses: Gauss-Newton with Levenberg's damping on the correlation of image and central slice.

The model of a shifted image is ``a * S(M)``, S being the slice of the reference's spectrum; unknowns are the scale a,
a small rotation of the view (3) and the shift (2). Gradients of S come from the trilinear interpolation itself.
"""

import math

import numpy as np

from imagic4d_core.kernels._jit import LANES, kernel


@kernel(inline="always")
def _value_gradient(grid, x, y, z, out):
    """Value and derivatives along x, y, z (cells) of the spectrum at a point; out: float64 (8,), re and im by turns."""
    m = grid.shape[0]
    sign = 1.0
    if y < 0.0:
        x, y, z, sign = -x, -y, -z, -1.0
    ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - ix, y - iy, z - iz
    x0, y0, z0 = int(ix) % m, int(iy), int(iz) % m
    x1, z1 = (int(ix) + 1) % m, (int(iz) + 1) % m
    a00, b00 = grid[z0, x0, y0], grid[z0, x0, y0 + 1]
    a01, b01 = grid[z0, x1, y0], grid[z0, x1, y0 + 1]
    a10, b10 = grid[z1, x0, y0], grid[z1, x0, y0 + 1]
    a11, b11 = grid[z1, x1, y0], grid[z1, x1, y0 + 1]
    d00, d01, d10, d11 = b00 - a00, b01 - a01, b10 - a10, b11 - a11
    c00, c01, c10, c11 = a00 + fy * d00, a01 + fy * d01, a10 + fy * d10, a11 + fy * d11
    e0, e1 = c00 + fx * (c01 - c00), c10 + fx * (c11 - c10)
    v = e0 + fz * (e1 - e0)
    dx = (1.0 - fz) * (c01 - c00) + fz * (c11 - c10)
    dy = (1.0 - fz) * (d00 + fx * (d01 - d00)) + fz * (d10 + fx * (d11 - d10))
    dz = e1 - e0
    # at the Friedel mate the value is conjugate, and a derivative changes sign as well
    out[0], out[1] = v.real, sign * v.imag
    out[2], out[3] = sign * dx.real, dx.imag
    out[4], out[5] = sign * dy.real, dy.imag
    out[6], out[7] = sign * dz.real, dz.imag


@kernel(inline="always")
def _normal_equations(image, points, weights, grid, os, mat, shift, box, hess, grad, norms):
    """Normal equations at a pose; `norms` gets <D,S>, <S,S>. Order of unknowns: a, rotation x y z, shift x y."""
    tp = 2.0 * math.pi / box
    o = np.empty(8)
    jr, ji = np.empty(6), np.empty(6)
    hess[:] = 0.0
    grad[:] = 0.0
    for p in range(points.shape[0]):
        kx, ky = points[p, 0], points[p, 1]
        _value_gradient(
            grid,
            os * (mat[0, 0] * kx + mat[1, 0] * ky),
            os * (mat[0, 1] * kx + mat[1, 1] * ky),
            os * (mat[0, 2] * kx + mat[1, 2] * ky),
            o,
        )
        ph = -tp * (kx * shift[0] + ky * shift[1])
        c, s = math.cos(ph), math.sin(ph)
        f = image[p]
        fr, fi = f.real * c - f.imag * s, f.real * s + f.imag * c
        w = weights[p]
        jr[0], ji[0] = o[0], o[1]
        # gradient in the frame of the image; turning by a small vector u moves k to k - u x k
        for part in range(2):
            gx = os * (mat[0, 0] * o[2 + part] + mat[0, 1] * o[4 + part] + mat[0, 2] * o[6 + part])
            gy = os * (mat[1, 0] * o[2 + part] + mat[1, 1] * o[4 + part] + mat[1, 2] * o[6 + part])
            gz = os * (mat[2, 0] * o[2 + part] + mat[2, 1] * o[4 + part] + mat[2, 2] * o[6 + part])
            t = jr if part == 0 else ji
            t[1], t[2], t[3] = -ky * gz, kx * gz, ky * gx - kx * gy
        jr[4], ji[4] = -tp * kx * o[1], tp * kx * o[0]
        jr[5], ji[5] = -tp * ky * o[1], tp * ky * o[0]
        for a in range(6):
            grad[a] += w * (jr[a] * fr + ji[a] * fi)
            for b in range(a + 1):
                hess[a, b] += w * (jr[a] * jr[b] + ji[a] * ji[b])
    norms[0], norms[1] = grad[0], hess[0, 0]


@kernel(inline="always")
def _turn(u, mat, out):
    """out = exp(u) mat, u a rotation vector in radians."""
    th = math.sqrt(u[0] ** 2 + u[1] ** 2 + u[2] ** 2)
    if th < 1e-12:
        a, b = 1.0, 0.5
    else:
        a, b = math.sin(th) / th, (1.0 - math.cos(th)) / th**2
    k = np.zeros((3, 3))
    k[0, 1], k[0, 2], k[1, 0], k[1, 2], k[2, 0], k[2, 1] = -u[2], u[1], u[2], -u[0], -u[1], u[0]
    e = np.eye(3)
    for i in range(3):
        for j in range(3):
            kk = 0.0
            for m in range(3):
                kk += k[i, m] * k[m, j]
            e[i, j] += a * k[i, j] + b * kk
    for i in range(3):
        for j in range(3):
            v = 0.0
            for m in range(3):
                v += e[i, m] * mat[m, j]
            out[i, j] = v


@kernel(inline="always")
def refine_pose(image, points, weights, grid, os, box, mat, shift, limits, out):
    """Improve one pose in place.

    Parameters
    ----------
    image : complex64 (p,)
        Spectrum of the image at `points`.
    points : float64 (p, 2)
        Frequencies (kx, ky) of a half plane, Fourier pixels.
    weights : float64 (p,)
    grid, os
        As in `kernels.search.take_linear`.
    box : int
    mat : float64 (3, 3)
        Pose; improved in place.
    shift : float64 (2,)
        Shift to be applied to the image, pixels; improved in place.
    limits : float64 (4,)
        Largest step in radians and in pixels, number of steps, largest |shift|.
    out : float64 (5,)
        <D,S>/|S|; |D|; scale a; variance of the rotation (radians^2, sum over 3 axes, unit noise); same of the shift.
    """
    h, g, n = np.zeros((6, 6)), np.zeros(6), np.zeros(2)
    h2, g2, n2 = np.zeros((6, 6)), np.zeros(6), np.zeros(2)
    full, m2, s2 = np.zeros((6, 6)), np.zeros((3, 3)), np.zeros(2)
    rhs = np.zeros(6)
    tiny = 1e-30
    _normal_equations(image, points, weights, grid, os, mat, shift, box, h, g, n)
    score = n[0] / math.sqrt(n[1] + tiny)
    damping = 1e-2
    for _ in range(int(limits[2])):
        a = n[0] / (n[1] + tiny)
        trace = 0.0
        for i in range(6):
            trace += h[i, i]
            rhs[i] = g[i] - a * h[i, 0]
            for j in range(6):
                full[i, j] = h[i, j] if i >= j else h[j, i]
        if not (trace > 0.0 and trace < 1e300) or abs(a) < 1e-20:
            break
        for i in range(6):
            full[i, i] = full[i, i] * (1.0 + damping) + 1e-12 * trace
        d = np.linalg.solve(full, rhs)
        rot = math.sqrt(d[1] ** 2 + d[2] ** 2 + d[3] ** 2) / abs(a)
        mov = math.sqrt(d[4] ** 2 + d[5] ** 2) / abs(a)
        f = 1.0 / a
        if rot > limits[0]:
            f *= limits[0] / rot
        if mov * abs(f * a) > limits[1]:
            f *= limits[1] / (mov * abs(f * a))
        _turn(f * d[1:4], mat, m2)
        s2[0], s2[1] = shift[0] + f * d[4], shift[1] + f * d[5]
        better = False
        if math.sqrt(s2[0] ** 2 + s2[1] ** 2) <= limits[3]:
            _normal_equations(image, points, weights, grid, os, m2, s2, box, h2, g2, n2)
            trial = n2[0] / math.sqrt(n2[1] + tiny)
            better = trial > score
        if better:
            mat[:] = m2
            shift[:] = s2
            h[:] = h2
            g[:] = g2
            n[:] = n2
            score = trial
            damping *= 0.3
            if rot < 0.003 and mov < 0.02:
                break
        else:
            damping *= 8.0
            if damping > 100.0:
                break
    a = n[0] / (n[1] + tiny)
    out[0], out[2] = score, a
    power = 0.0
    for p in range(points.shape[0]):
        power += weights[p] * (image[p].real ** 2 + image[p].imag ** 2)
    out[1] = math.sqrt(power)
    trace = 0.0
    for i in range(6):
        trace += h[i, i]
        for j in range(6):
            full[i, j] = h[i, j] if i >= j else h[j, i]
    for i in range(6):
        full[i, i] += 1e-9 * trace + tiny
    inverse = np.linalg.inv(full)
    out[3] = (inverse[1, 1] + inverse[2, 2] + inverse[3, 3]) / (a * a + tiny)
    out[4] = (inverse[4, 4] + inverse[5, 5]) / (a * a + tiny)


@kernel(fastmath=LANES)
def refine_poses(images, points, weights, grids, which, os, box, mats, shifts, limits, out):
    """`refine_pose` for images (n, p) against ``grids[which[i]]``; mats (n, 3, 3), shifts (n, 2), out (n, 5)."""
    for i in range(images.shape[0]):
        refine_pose(images[i], points, weights, grids[which[i]], os, box, mats[i], shifts[i], limits, out[i])
