"""Loops of the alignment in the plane: the choice of rotation and shift from tables of scores, and local refinement."""

import math

import numpy as np

from imagic4d_core.kernels._jit import LANES, kernel


@kernel
def pick_limited(scores, copies, present, trial, turns, allowed, room, guard, best, arg):
    """Best rotation and trial shift of each image in each reference, under limits that depend on the image.

    Parameters
    ----------
    scores : float32 (angles, n, k * s)
        Column ``j * s + e`` is reference j moved by trial shift e.
    copies : int
        s.
    present : float64 (n, 2)
        Shift (lines, pixels) that the image has at the start, in the frame that `trial` and `turns` refer to.
    trial : float64 (s, 2)
        Trial shifts after the rotation; the first is zero.
    turns : float64 (angles, 2)
        Cosine and sine of the rotation.
    allowed : bool (n, angles)
        Rotations within the range.
    room : float64 (n,)
        Square of the largest total shift.
    guard : bool (s,)
        Trial shifts beyond the largest shift of this run.
    best : float32 (n, k, 3)
        Output, in place: the best inside the limits, beyond them, and without any shift.
    arg : int32 (n, k, 3)
        Output, in place: ``angle * s + e`` of them.
    """
    for q in range(scores.shape[0]):
        c, sn = turns[q, 0], turns[q, 1]
        for i in range(scores.shape[1]):
            if not allowed[i, q]:
                continue
            for j in range(best.shape[1]):
                for e in range(copies):
                    v = scores[q, i, j * copies + e]
                    if e == 0 and v > best[i, j, 2]:
                        best[i, j, 2], arg[i, j, 2] = v, q * copies
                    if v <= best[i, j, 0] and v <= best[i, j, 1]:
                        continue
                    # the trial shift turned back, added to the present one
                    x = present[i, 0] + c * trial[e, 0] + sn * trial[e, 1]
                    y = present[i, 1] - sn * trial[e, 0] + c * trial[e, 1]
                    far = 1 if guard[e] or (e > 0 and x * x + y * y > room[i]) else 0
                    if v > best[i, j, far]:
                        best[i, j, far], arg[i, j, far] = v, q * copies + e


@kernel
def climb(scores, copies, rotation_first, rounds, guard, start, best, arg):
    """Rotation and shift found by turns: the best of one with the other as it stands, `rounds` times.

    Parameters
    ----------
    scores, copies, guard, best, arg
        As in `pick_limited`; the second of `best` is the shift search with the guarded trial shifts.
    rotation_first : bool
    rounds : int
        0: the rotation alone (or, without `rotation_first`, the shift alone).
    start : int
        Number of the angle to begin with.
    """
    for i in range(scores.shape[1]):
        for j in range(best.shape[1]):
            at, to = start, 0
            for turn in range(max(1, 2 * rounds)):
                if (turn % 2 == 0) == rotation_first:
                    for q in range(scores.shape[0]):
                        if scores[q, i, j * copies + to] > scores[at, i, j * copies + to]:
                            at = q
                    if to == 0:
                        best[i, j, 2], arg[i, j, 2] = scores[at, i, j * copies], at * copies
                else:
                    if turn < 2 and scores[at, i, j * copies] > best[i, j, 2]:
                        best[i, j, 2], arg[i, j, 2] = scores[at, i, j * copies], at * copies
                    far = -1
                    for e in range(copies):
                        v = scores[at, i, j * copies + e]
                        if guard[e]:
                            if far < 0 or v > scores[at, i, j * copies + far]:
                                far = e
                        elif v > scores[at, i, j * copies + to]:
                            to = e
                    if far >= 0:
                        best[i, j, 1], arg[i, j, 1] = scores[at, i, j * copies + far], at * copies + far
            best[i, j, 0], arg[i, j, 0] = scores[at, i, j * copies + to], at * copies + to


@kernel(inline="always")
def _fit(image, points, grid, os, tp, angle, sx, sy, phases, hess, grad):
    """Normal equations of (scale, angle, shift x, shift y); ``grad[0]`` is <D,S>, ``hess[0, 0]`` <S,S>."""
    m = grid.shape[0]
    c, s = math.cos(angle), math.sin(angle)
    # frequencies are whole numbers: the phases of a shift come from two short tables
    top = phases.shape[0] // 2
    for k in range(-top, top + 1):
        phases[k + top, 0], phases[k + top, 1] = math.cos(tp * k * sx), -math.sin(tp * k * sx)
        phases[k + top, 2], phases[k + top, 3] = math.cos(tp * k * sy), -math.sin(tp * k * sy)
    h00 = h10 = h11 = h20 = h21 = h22 = h30 = h31 = h32 = h33 = 0.0
    g0 = g1 = g2 = g3 = 0.0
    for p in range(points.shape[0]):
        kx, ky = points[p, 0], points[p, 1]
        x, y = c * kx - s * ky, s * kx + c * ky
        tx, ty = x, y
        sign = 1.0
        if y < 0.0:
            x, y, sign = -x, -y, -1.0
        x *= os
        y *= os
        ix, iy = math.floor(x), math.floor(y)
        fx, fy = x - ix, y - iy
        x0, y0 = int(ix), int(iy)
        x0 = x0 if x0 >= 0 else x0 + m
        x1 = x0 + 1 if x0 + 1 < m else 0
        a0, b0, a1, b1 = grid[x0, y0], grid[x0, y0 + 1], grid[x1, y0], grid[x1, y0 + 1]
        d0r, d0i, d1r, d1i = b0.real - a0.real, b0.imag - a0.imag, b1.real - a1.real, b1.imag - a1.imag
        c0r, c0i, c1r, c1i = a0.real + fy * d0r, a0.imag + fy * d0i, a1.real + fy * d1r, a1.imag + fy * d1i
        # at the Friedel mate the value is conjugate, and a derivative changes sign as well
        vr, vi = c0r + fx * (c1r - c0r), sign * (c0i + fx * (c1i - c0i))
        gxr, gxi = sign * os * (c1r - c0r), os * (c1i - c0i)
        gyr, gyi = sign * os * (d0r + fx * (d1r - d0r)), os * (d0i + fx * (d1i - d0i))
        i, j = int(kx) + top, int(ky) + top
        pc = phases[i, 0] * phases[j, 2] - phases[i, 1] * phases[j, 3]
        ps = phases[i, 0] * phases[j, 3] + phases[i, 1] * phases[j, 2]
        f = image[p]
        fr, fi = f.real * pc - f.imag * ps, f.real * ps + f.imag * pc
        ar, ai = gyr * tx - gxr * ty, gyi * tx - gxi * ty
        xr, xi = -tp * kx * vi, tp * kx * vr
        yr, yi = -tp * ky * vi, tp * ky * vr
        g0 += vr * fr + vi * fi
        g1 += ar * fr + ai * fi
        g2 += xr * fr + xi * fi
        g3 += yr * fr + yi * fi
        h00 += vr * vr + vi * vi
        h10 += ar * vr + ai * vi
        h11 += ar * ar + ai * ai
        h21 += xr * ar + xi * ai
        h22 += xr * xr + xi * xi
        h31 += yr * ar + yi * ai
        h32 += yr * xr + yi * xi
        h33 += yr * yr + yi * yi
    # derivatives along shifts are a quarter wave from the value: h20 and h30 vanish
    hess[0, 0], hess[1, 0], hess[1, 1], hess[2, 0], hess[2, 1], hess[2, 2] = h00, h10, h11, h20, h21, h22
    hess[3, 0], hess[3, 1], hess[3, 2], hess[3, 3] = h30, h31, h32, h33
    grad[0], grad[1], grad[2], grad[3] = g0, g1, g2, g3


@kernel(fastmath=LANES)
def refine_moves(images, points, grids, which, os, box, angle, shift, limits, present, most, out):
    """Improve rotations and shifts in place: Gauss-Newton with Levenberg's damping on the correlation with a reference.

    The spectrum of the image, moved by the shift, is compared with ``a * S(R(angle) k)``.

    Parameters
    ----------
    images : complex64 (n, p)
        Spectra of the images at `points`.
    points : float64 (p, 2)
        Frequencies (kx, ky) of a half plane, Fourier pixels.
    grids : complex64 (k, m, m // 2 + 1)
        Spectra of the references with ``os`` cells per Fourier pixel, compensated for bilinear interpolation.
    which : int (n,)
    os : float
    box : int
    angle : float64 (n,)
        Radians; improved in place.
    shift : float64 (n, 2)
        Pixels, made before the rotation; improved in place.
    limits : float64 (4,)
        Largest step in radians and in pixels, number of steps, 1 to leave the angle alone, 2 the shift, 0 neither.
    present : float64 (n, 2)
        Shifts at the start of the run.
    most : float64 (2,)
        Largest shift in all, and from `present`.
    out : float64 (n, 5)
        <D,S>/|S|; |D|; scale a; variances of the angle (radians^2) and of the shift (pixels^2, both directions) for noise of unit
        variance in real and imaginary part.
    """
    tiny = 1e-30
    tp = 2.0 * math.pi / box
    h, g, h2, g2 = np.zeros((4, 4)), np.zeros(4), np.zeros((4, 4)), np.zeros(4)
    full, d = np.zeros((4, 4)), np.zeros(4)
    top = 0
    for p in range(points.shape[0]):
        top = max(top, int(abs(points[p, 0])), int(abs(points[p, 1])))
    phases = np.empty((2 * top + 1, 4))
    for i in range(images.shape[0]):
        grid = grids[which[i]]
        _fit(images[i], points, grid, os, tp, angle[i], shift[i, 0], shift[i, 1], phases, h, g)
        score = g[0] / math.sqrt(h[0, 0] + tiny)
        damping = 1e-3
        for _ in range(int(limits[2])):
            a = g[0] / (h[0, 0] + tiny)
            if not a > 0.0:
                break
            # unknowns scaled by a; the scale itself is free, so the residual is that of the best scale
            for r in range(4):
                for c in range(4):
                    full[r, c] = h[r, c] if r >= c else h[c, r]
            for r in range(4):
                full[r, r] += damping * full[r, r] + tiny
                d[r] = g[r] - a * (h[r, 0] if r > 0 else h[0, 0])
            if limits[3] == 1.0:
                full[1, :], full[:, 1], full[1, 1], d[1] = 0.0, 0.0, 1.0, 0.0
            if limits[3] == 2.0:
                for r in range(2, 4):
                    full[r, :], full[:, r], full[r, r], d[r] = 0.0, 0.0, 1.0, 0.0
            step = np.linalg.solve(full, d) / a
            f = 1.0
            if abs(step[1]) > limits[0]:
                f = limits[0] / abs(step[1])
            length = math.hypot(step[2], step[3])
            if f * length > limits[1]:
                f = limits[1] / length
            t, x, y = angle[i] + f * step[1], shift[i, 0] + f * step[2], shift[i, 1] + f * step[3]
            # a shift that would leave the limits slides along them
            length = math.hypot(x - present[i, 0], y - present[i, 1])
            if length > most[1]:
                x = present[i, 0] + (x - present[i, 0]) * most[1] / length
                y = present[i, 1] + (y - present[i, 1]) * most[1] / length
            length = math.hypot(x, y)
            if length > most[0]:
                x, y = x * most[0] / length, y * most[0] / length
            length = math.hypot(x - shift[i, 0], y - shift[i, 1])
            _fit(images[i], points, grid, os, tp, t, x, y, phases, h2, g2)
            trial = g2[0] / math.sqrt(h2[0, 0] + tiny)
            better = trial > score
            if better:
                angle[i], shift[i, 0], shift[i, 1], score = t, x, y, trial
                h[:] = h2
                g[:] = g2
                damping *= 0.3
                if abs(f * step[1]) < 2e-4 and length < 2e-3:
                    break
            else:
                damping *= 8.0
                # a step this small that does no good: the rest is rounding
                if damping > 100.0 or (abs(f * step[1]) < 1e-3 and length < 1e-2):
                    break
        a = g[0] / (h[0, 0] + tiny)
        power, trace = 0.0, 0.0
        for p in range(points.shape[0]):
            power += images[i, p].real ** 2 + images[i, p].imag ** 2
        for r in range(4):
            trace += h[r, r]
            for c in range(4):
                full[r, c] = h[r, c] if r >= c else h[c, r]
        for r in range(4):
            full[r, r] += 1e-9 * trace + tiny
        inverse = np.linalg.inv(full)
        out[i, 0], out[i, 1], out[i, 2] = score, math.sqrt(power), a
        out[i, 3] = inverse[1, 1] / (a * a + tiny)
        out[i, 4] = (inverse[2, 2] + inverse[3, 3]) / (a * a + tiny)
