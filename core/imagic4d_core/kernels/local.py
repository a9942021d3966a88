"""Local refinement of poses: Gauss-Newton with Levenberg's damping on the correlation of image and central slice.

The model of a shifted image is ``a * C * S(M)``, S being the slice of the reference's spectrum, C the CTF; unknowns are the scale
a, a small rotation of the view (3) and the shift (2). Gradients of S come from the trilinear interpolation itself.
"""

import math

import numpy as np

from imagic4d_core.kernels._jit import LANES, kernel


@kernel(inline="always")
def _normal_equations(image, points, ctf, grid, os, mat, shift, box, phases, hess, grad):
    """Normal equations at a pose; order of unknowns: a, rotation x y z, shift x y. ``grad[0]`` is <D,S>, ``hess[0, 0]`` <S,S>.

    `phases` (2 top + 1, 4) is room for the phases of whole frequencies up to the largest, `top`.
    """
    m = grid.shape[0]
    tp = 2.0 * math.pi / box
    # frequencies are whole numbers: the phases of a shift come from two short tables
    top = phases.shape[0] // 2
    for k in range(-top, top + 1):
        phases[k + top, 0], phases[k + top, 1] = math.cos(tp * k * shift[0]), -math.sin(tp * k * shift[0])
        phases[k + top, 2], phases[k + top, 3] = math.cos(tp * k * shift[1]), -math.sin(tp * k * shift[1])
    m00, m01, m02 = os * mat[0, 0], os * mat[0, 1], os * mat[0, 2]
    m10, m11, m12 = os * mat[1, 0], os * mat[1, 1], os * mat[1, 2]
    m20, m21, m22 = os * mat[2, 0], os * mat[2, 1], os * mat[2, 2]
    g0 = g1 = g2 = g3 = g4 = g5 = 0.0
    h00 = h10 = h11 = h20 = h21 = h22 = h30 = h31 = h32 = h33 = 0.0
    h41 = h42 = h43 = h44 = h51 = h52 = h53 = h54 = h55 = 0.0
    for p in range(points.shape[0]):
        kx, ky, q = points[p, 0], points[p, 1], ctf[p]
        x, y, z = m00 * kx + m10 * ky, m01 * kx + m11 * ky, m02 * kx + m12 * ky
        sign = 1.0
        if y < 0.0:
            x, y, z, sign = -x, -y, -z, -1.0
        ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
        fx, fy, fz = x - ix, y - iy, z - iz
        x0, y0, z0 = int(ix), int(iy), int(iz)
        x0 = x0 if x0 >= 0 else x0 + m
        z0 = z0 if z0 >= 0 else z0 + m
        x1 = x0 + 1 if x0 + 1 < m else 0
        z1 = z0 + 1 if z0 + 1 < m else 0
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
        vr, vi, qs = q * v.real, q * sign * v.imag, q * sign
        dxr, dxi, dyr, dyi, dzr, dzi = qs * dx.real, q * dx.imag, qs * dy.real, q * dy.imag, qs * dz.real, q * dz.imag
        i, j = int(kx) + top, int(ky) + top
        c = phases[i, 0] * phases[j, 2] - phases[i, 1] * phases[j, 3]
        s = phases[i, 0] * phases[j, 3] + phases[i, 1] * phases[j, 2]
        f = image[p]
        fr, fi = f.real * c - f.imag * s, f.real * s + f.imag * c
        # gradient in the frame of the image; turning by a small vector u moves k to k - u x k
        zr, zi = m20 * dxr + m21 * dyr + m22 * dzr, m20 * dxi + m21 * dyi + m22 * dzi
        r1, i1, r2, i2 = -ky * zr, -ky * zi, kx * zr, kx * zi
        r3 = ky * (m00 * dxr + m01 * dyr + m02 * dzr) - kx * (m10 * dxr + m11 * dyr + m12 * dzr)
        i3 = ky * (m00 * dxi + m01 * dyi + m02 * dzi) - kx * (m10 * dxi + m11 * dyi + m12 * dzi)
        r4, i4, r5, i5 = -tp * kx * vi, tp * kx * vr, -tp * ky * vi, tp * ky * vr
        g0 += vr * fr + vi * fi
        g1 += r1 * fr + i1 * fi
        g2 += r2 * fr + i2 * fi
        g3 += r3 * fr + i3 * fi
        g4 += r4 * fr + i4 * fi
        g5 += r5 * fr + i5 * fi
        h00 += vr * vr + vi * vi
        h10 += r1 * vr + i1 * vi
        h11 += r1 * r1 + i1 * i1
        h20 += r2 * vr + i2 * vi
        h21 += r2 * r1 + i2 * i1
        h22 += r2 * r2 + i2 * i2
        h30 += r3 * vr + i3 * vi
        h31 += r3 * r1 + i3 * i1
        h32 += r3 * r2 + i3 * i2
        h33 += r3 * r3 + i3 * i3
        h41 += r4 * r1 + i4 * i1
        h42 += r4 * r2 + i4 * i2
        h43 += r4 * r3 + i4 * i3
        h44 += r4 * r4 + i4 * i4
        h51 += r5 * r1 + i5 * i1
        h52 += r5 * r2 + i5 * i2
        h53 += r5 * r3 + i5 * i3
        h54 += r5 * r4 + i5 * i4
        h55 += r5 * r5 + i5 * i5
    # derivatives along shifts are a quarter wave from the value: hess[4, 0] and hess[5, 0] vanish
    hess[0, 0], hess[1, 0], hess[1, 1], hess[2, 0], hess[2, 1], hess[2, 2] = h00, h10, h11, h20, h21, h22
    hess[3, 0], hess[3, 1], hess[3, 2], hess[3, 3] = h30, h31, h32, h33
    hess[4, 0], hess[4, 1], hess[4, 2], hess[4, 3], hess[4, 4] = 0.0, h41, h42, h43, h44
    hess[5, 0], hess[5, 1], hess[5, 2], hess[5, 3], hess[5, 4], hess[5, 5] = 0.0, h51, h52, h53, h54, h55
    grad[0], grad[1], grad[2], grad[3], grad[4], grad[5] = g0, g1, g2, g3, g4, g5


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
def refine_pose(image, points, ctf, grid, os, box, mat, shift, limits, phases, out):
    """Improve one pose in place.

    Parameters
    ----------
    image : complex64 (p,)
        Spectrum of the image at `points`.
    points : float64 (p, 2)
        Frequencies (kx, ky) of a half plane, Fourier pixels.
    ctf : float32 (p,)
        Contrast transfer: the slice of the reference is multiplied by it.
    grid, os
        As in `kernels.search.take_linear`.
    box : int
    mat : float64 (3, 3)
        Pose; improved in place.
    shift : float64 (2,)
        Shift to be applied to the image, pixels; improved in place.
    limits : float64 (4,)
        Largest step in radians and in pixels, number of steps, largest |shift|.
    phases : float64 (2 top + 1, 4)
        Room, `top` being the largest frequency along an axis.
    out : float64 (5,)
        <D,S>/|S|; |D|; scale a; variance of the rotation (radians^2, sum over 3 axes, unit noise); same of the shift.
    """
    h, g, h2, g2 = np.zeros((6, 6)), np.zeros(6), np.zeros((6, 6)), np.zeros(6)
    full, m2, s2 = np.zeros((6, 6)), np.zeros((3, 3)), np.zeros(2)
    rhs = np.zeros(6)
    tiny = 1e-30
    _normal_equations(image, points, ctf, grid, os, mat, shift, box, phases, h, g)
    score = g[0] / math.sqrt(h[0, 0] + tiny)
    damping = 1e-2
    for _ in range(int(limits[2])):
        a = g[0] / (h[0, 0] + tiny)
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
            _normal_equations(image, points, ctf, grid, os, m2, s2, box, phases, h2, g2)
            trial = g2[0] / math.sqrt(h2[0, 0] + tiny)
            better = trial > score
        if better:
            mat[:] = m2
            shift[:] = s2
            h[:] = h2
            g[:] = g2
            score = trial
            damping *= 0.3
            if rot < 0.003 and mov < 0.02:
                break
        else:
            damping *= 8.0
            if damping > 100.0:
                break
    a = g[0] / (h[0, 0] + tiny)
    out[0], out[2] = score, a
    power = 0.0
    for p in range(points.shape[0]):
        power += image[p].real ** 2 + image[p].imag ** 2
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
def refine_poses(images, points, ctf, grids, which, os, box, mats, shifts, limits, out):
    """`refine_pose` for images (n, p) against ``grids[which[i]]``; mats (n, 3, 3), shifts (n, 2), out (n, 5).

    `ctf` is (n, p), or (1, p) for all images alike.
    """
    top = 0
    for p in range(points.shape[0]):
        top = max(top, int(abs(points[p, 0])), int(abs(points[p, 1])))
    phases = np.empty((2 * top + 1, 4))
    for i in range(images.shape[0]):
        c = ctf[i if ctf.shape[0] > 1 else 0]
        refine_pose(images[i], points, c, grids[which[i]], os, box, mats[i], shifts[i], limits, phases, out[i])
