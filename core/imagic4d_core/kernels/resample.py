"""Interpolation at moved positions, in images and volumes: nearest, linear, cubic B-spline.

Position (array indices) of the source for index i of the output: ``matrix i + offset``. A pixel covers half a pixel around its
centre: positions up to half a pixel outside the outermost centres are drawn to them, others get the fill value.
"""

import math

from imagic4d_core.kernels._jit import kernel

#: Pole of the cubic B-spline filter.
POLE = math.sqrt(3.0) - 2.0
#: Terms of the first sum of the filter: POLE ** 16 is below float32.
HORIZON = 16


@kernel
def spline_filter(a, n):
    """B-spline coefficients along the middle axis of ``a`` (outer, n, inner), in place, mirrored at the ends.

    Unser, Aldroubi, Eden, IEEE Trans. Signal Process. 41 (1993) 821, doi:10.1109/78.193220.
    """
    if n < 2:
        return
    inner = a.shape[2]
    z, six = a.dtype.type(POLE), a.dtype.type(6.0)
    last = z / (z * z - a.dtype.type(1.0))
    for o in range(a.shape[0]):
        b = a[o]
        first = b[0].copy()
        for j in range(inner):
            b[0, j] = six * first[j]
        power = six * z
        for k in range(1, HORIZON):
            m = k % (2 * n - 2)
            m = m if m < n else 2 * n - 2 - m
            line = b[m] if m else first
            for j in range(inner):
                b[0, j] += power * line[j]
            power *= z
        for i in range(1, n):
            for j in range(inner):
                b[i, j] = six * b[i, j] + z * b[i - 1, j]
        for j in range(inner):
            b[n - 1, j] = last * (b[n - 1, j] + z * b[n - 2, j])
        for i in range(n - 2, -1, -1):
            for j in range(inner):
                b[i, j] = z * (b[i + 1, j] - b[i, j])


@kernel
def spline_filter_rows(a, n):
    """As `spline_filter`, along the last axis of ``a`` (rows, n)."""
    if n < 2:
        return
    z, six = a.dtype.type(POLE), a.dtype.type(6.0)
    last = z / (z * z - a.dtype.type(1.0))
    for o in range(a.shape[0]):
        b = a[o]
        value, power = b[0], z
        for k in range(1, HORIZON):
            m = k % (2 * n - 2)
            value += power * b[m if m < n else 2 * n - 2 - m]
            power *= z
        value *= six
        b[0] = value
        for i in range(1, n):
            value = six * b[i] + z * value
            b[i] = value
        value = last * (value + z * b[n - 2])
        b[n - 1] = value
        for i in range(n - 2, -1, -1):
            value = z * (value - b[i])
            b[i] = value


@kernel(inline="always")
def _mirror(i, n):
    if n == 1:
        return 0
    period = 2 * n - 2
    i = abs(i) % period
    return i if i < n else period - i


@kernel(inline="always")
def _clamp(x, n):
    return min(max(x, 0.0), n - 1.0)


@kernel
def nearest2(src, out, matrix, offset, fill):
    """Nearest pixel; ``src`` (L, P), ``out`` (l, p), ``matrix`` (2, 2), ``offset`` (2,)."""
    nx, ny = src.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            x = int(math.floor(matrix[0, 0] * i + matrix[0, 1] * j + offset[0] + 0.5))
            y = int(math.floor(matrix[1, 0] * i + matrix[1, 1] * j + offset[1] + 0.5))
            out[i, j] = src[x, y] if 0 <= x < nx and 0 <= y < ny else fill


@kernel
def linear2(src, out, matrix, offset, fill):
    """Bilinear interpolation; shapes as `nearest2`."""
    nx, ny = src.shape
    for i in range(out.shape[0]):
        x0, y0 = matrix[0, 0] * i + offset[0], matrix[1, 0] * i + offset[1]
        for j in range(out.shape[1]):
            x, y = x0 + matrix[0, 1] * j, y0 + matrix[1, 1] * j
            if x < -0.5 or y < -0.5 or x > nx - 0.5 or y > ny - 0.5:
                out[i, j] = fill
                continue
            x, y = _clamp(x, nx), _clamp(y, ny)
            a, b = int(x), int(y)
            u, v = src.dtype.type(x - a), src.dtype.type(y - b)
            c, d = min(a + 1, nx - 1), min(b + 1, ny - 1)
            top = src[a, b] + v * (src[a, d] - src[a, b])
            low = src[c, b] + v * (src[c, d] - src[c, b])
            out[i, j] = top + u * (low - top)


@kernel
def cubic2(src, out, matrix, offset, fill):
    """Cubic B-spline out of coefficients (`spline_filter` along both axes); shapes as `nearest2`."""
    nx, ny = src.shape
    for i in range(out.shape[0]):
        x0, y0 = matrix[0, 0] * i + offset[0], matrix[1, 0] * i + offset[1]
        for j in range(out.shape[1]):
            x, y = x0 + matrix[0, 1] * j, y0 + matrix[1, 1] * j
            if x < -0.5 or y < -0.5 or x > nx - 0.5 or y > ny - 0.5:
                out[i, j] = fill
                continue
            x, y = _clamp(x, nx), _clamp(y, ny)
            a, b = int(x), int(y)
            u, v = x - a, y - b
            r, s = 1 - u, 1 - v
            p0, p1, p2, p3 = r * r * r / 6, (4 - 3 * u * u * (2 - u)) / 6, (4 - 3 * r * r * (2 - r)) / 6, u * u * u / 6
            q0, q1, q2, q3 = s * s * s / 6, (4 - 3 * v * v * (2 - v)) / 6, (4 - 3 * s * s * (2 - s)) / 6, v * v * v / 6
            if 1 <= a < nx - 2 and 1 <= b < ny - 2:
                k0, k1, k2, k3 = a - 1, a, a + 1, a + 2
                m0, m1, m2, m3 = b - 1, b, b + 1, b + 2
            else:
                k0, k1, k2, k3 = _mirror(a - 1, nx), a, _mirror(a + 1, nx), _mirror(a + 2, nx)
                m0, m1, m2, m3 = _mirror(b - 1, ny), b, _mirror(b + 1, ny), _mirror(b + 2, ny)
            out[i, j] = (
                p0 * (q0 * src[k0, m0] + q1 * src[k0, m1] + q2 * src[k0, m2] + q3 * src[k0, m3])
                + p1 * (q0 * src[k1, m0] + q1 * src[k1, m1] + q2 * src[k1, m2] + q3 * src[k1, m3])
                + p2 * (q0 * src[k2, m0] + q1 * src[k2, m1] + q2 * src[k2, m2] + q3 * src[k2, m3])
                + p3 * (q0 * src[k3, m0] + q1 * src[k3, m1] + q2 * src[k3, m2] + q3 * src[k3, m3])
            )


@kernel
def nearest3(src, out, matrix, offset, fill, first, last):
    """Nearest voxel, sections `first` to `last` of ``out``; ``src`` (Z, L, P), ``matrix`` (3, 3), ``offset`` (3,)."""
    nz, nx, ny = src.shape
    for h in range(first, last):
        for i in range(out.shape[1]):
            z0 = matrix[0, 0] * h + matrix[0, 1] * i + offset[0] + 0.5
            x0 = matrix[1, 0] * h + matrix[1, 1] * i + offset[1] + 0.5
            y0 = matrix[2, 0] * h + matrix[2, 1] * i + offset[2] + 0.5
            for j in range(out.shape[2]):
                z = int(math.floor(z0 + matrix[0, 2] * j))
                x = int(math.floor(x0 + matrix[1, 2] * j))
                y = int(math.floor(y0 + matrix[2, 2] * j))
                inside = 0 <= z < nz and 0 <= x < nx and 0 <= y < ny
                out[h, i, j] = src[z, x, y] if inside else fill


@kernel
def linear3(src, out, matrix, offset, fill, first, last):
    """Trilinear interpolation; shapes as `nearest3`."""
    nz, nx, ny = src.shape
    for h in range(first, last):
        for i in range(out.shape[1]):
            z0 = matrix[0, 0] * h + matrix[0, 1] * i + offset[0]
            x0 = matrix[1, 0] * h + matrix[1, 1] * i + offset[1]
            y0 = matrix[2, 0] * h + matrix[2, 1] * i + offset[2]
            for j in range(out.shape[2]):
                z, x, y = z0 + matrix[0, 2] * j, x0 + matrix[1, 2] * j, y0 + matrix[2, 2] * j
                if z < -0.5 or x < -0.5 or y < -0.5 or z > nz - 0.5 or x > nx - 0.5 or y > ny - 0.5:
                    out[h, i, j] = fill
                    continue
                z, x, y = _clamp(z, nz), _clamp(x, nx), _clamp(y, ny)
                c, a, b = int(z), int(x), int(y)
                t, u, v = src.dtype.type(z - c), src.dtype.type(x - a), src.dtype.type(y - b)
                c1, a1, b1 = min(c + 1, nz - 1), min(a + 1, nx - 1), min(b + 1, ny - 1)
                p = src[c, a, b] + v * (src[c, a, b1] - src[c, a, b])
                q = src[c, a1, b] + v * (src[c, a1, b1] - src[c, a1, b])
                r = src[c1, a, b] + v * (src[c1, a, b1] - src[c1, a, b])
                s = src[c1, a1, b] + v * (src[c1, a1, b1] - src[c1, a1, b])
                p += u * (q - p)
                r += u * (s - r)
                out[h, i, j] = p + t * (r - p)


@kernel
def cubic3(src, out, matrix, offset, fill, first, last):
    """Cubic B-spline out of coefficients (`spline_filter` along all axes); shapes as `nearest3`."""
    nz, nx, ny = src.shape
    for h in range(first, last):
        for i in range(out.shape[1]):
            z0 = matrix[0, 0] * h + matrix[0, 1] * i + offset[0]
            x0 = matrix[1, 0] * h + matrix[1, 1] * i + offset[1]
            y0 = matrix[2, 0] * h + matrix[2, 1] * i + offset[2]
            for j in range(out.shape[2]):
                z, x, y = z0 + matrix[0, 2] * j, x0 + matrix[1, 2] * j, y0 + matrix[2, 2] * j
                if z < -0.5 or x < -0.5 or y < -0.5 or z > nz - 0.5 or x > nx - 0.5 or y > ny - 0.5:
                    out[h, i, j] = fill
                    continue
                z, x, y = _clamp(z, nz), _clamp(x, nx), _clamp(y, ny)
                c, a, b = int(z), int(x), int(y)
                t, u, v = z - c, x - a, y - b
                w, r, s = 1 - t, 1 - u, 1 - v
                o = (w * w * w / 6, (4 - 3 * t * t * (2 - t)) / 6, (4 - 3 * w * w * (2 - w)) / 6, t * t * t / 6)
                p = (r * r * r / 6, (4 - 3 * u * u * (2 - u)) / 6, (4 - 3 * r * r * (2 - r)) / 6, u * u * u / 6)
                q0, q1, q2, q3 = s * s * s / 6, (4 - 3 * v * v * (2 - v)) / 6, (4 - 3 * s * s * (2 - s)) / 6, v * v * v / 6
                inside = 1 <= c < nz - 2 and 1 <= a < nx - 2 and 1 <= b < ny - 2
                m0, m1, m2, m3 = b - 1, b, b + 1, b + 2
                if not inside:
                    m0, m2, m3 = _mirror(m0, ny), _mirror(m2, ny), _mirror(m3, ny)
                total = 0.0
                for k in range(4):
                    g = c + k - 1
                    if not inside:
                        g = _mirror(g, nz)
                    part = 0.0
                    for m in range(4):
                        e = a + m - 1
                        if not inside:
                            e = _mirror(e, nx)
                        line = src[g, e]
                        part += p[m] * (q0 * line[m0] + q1 * line[m1] + q2 * line[m2] + q3 * line[m3])
                    total += o[k] * part
                out[h, i, j] = total
