"""Shifts, axis by axis: the same results as the interpolation kernels, without compiled code."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Largest side up to which a spline shift is done by matrices, for images and volumes: beyond, the kernels are faster.
MATRIX_SIDE = {2: 256, 3: 512}
#: Pixels shifted at a time, so that they stay in the cache.
CHUNK = 1 << 17

Taps = tuple[int, float, slice]


def can_shift(box: tuple[int, ...], method: str) -> bool:
    """Whether `shift` knows how; else the kernels of `kernels.resample` do it."""
    return method in ("bilinear", "nearest") or (method == "spline" and max(box) <= MATRIX_SIDE[len(box)])


def _positions(n: int, distance: float) -> tuple[NDArray[np.float64], slice]:
    """Where each index comes from, drawn to the ends; and the indices that lie inside, half a pixel beyond the ends included."""
    at = np.arange(n) - distance
    inside = np.flatnonzero((at >= -0.5) & (at <= n - 0.5))
    return np.clip(at, 0, n - 1), slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _two_taps(n: int, distance: float, method: str) -> Taps:
    """Offset of the first of two neighbours, weight of the second, and the indices that come from inside."""
    if method == "nearest":
        step = math.floor(-distance + 0.5)
        return step, 0.0, slice(max(0, min(n, -step)), max(0, min(n, n - step)))
    step = math.floor(-distance)
    inside = slice(max(0, min(n, math.ceil(distance - 0.5))), max(0, min(n, math.floor(n - 0.5 + distance) + 1)))
    return step, -distance - step, inside


@lru_cache(maxsize=8)
def _prefilter(n: int) -> NDArray[np.float64]:
    """Matrix that gives cubic B-spline coefficients, mirrored at the ends."""
    if n == 1:
        return np.ones((1, 1))
    a = np.zeros((n, n))
    for i in range(n):
        a[i, i] += 4 / 6
        for j in (i - 1, i + 1):
            m = abs(j) if j < n else 2 * n - 2 - j
            a[i, m] += 1 / 6
    return np.asarray(np.linalg.inv(a), np.float64)


def _matrix(n: int, distance: float) -> tuple[NDArray[np.float32], slice]:
    """Spline shift of a line as a matrix (n, n), and the indices that lie inside."""
    at, inside = _positions(n, distance)
    p = _prefilter(n)
    base = np.minimum(np.floor(at).astype(np.intp), max(0, n - 1))
    t = at - base
    s = 1 - t
    out = np.zeros((n, n))
    for k, w in zip((-1, 0, 1, 2), (s**3, 4 - 3 * t * t * (2 - t), 4 - 3 * s * s * (2 - s), t**3), strict=True):
        m = np.abs(base + k)
        if n > 1:
            m = m % (2 * n - 2)
            m = np.where(m < n, m, 2 * n - 2 - m)
        else:
            m = np.zeros_like(m)
        out += (w / 6)[:, None] * p[m]
    return out.astype(np.float32), inside


def _tap(x: NDArray, axis: int, taps: Taps, levels: NDArray) -> NDArray:
    """Shift one axis of objects (n, ...) by two taps."""
    step, weight, inside = taps
    n = x.shape[axis]
    lead = (slice(None),) * axis
    out = np.empty_like(x)
    first, last = max(0, -step), max(0, min(n, n - (1 if weight else 0) - step))
    if last > first:
        part = out[(*lead, slice(first, last))]
        np.multiply(x[(*lead, slice(first + step, last + step))], x.dtype.type(1 - weight), out=part)
        if weight:
            part += x[(*lead, slice(first + step + 1, last + step + 1))] * x.dtype.type(weight)
    for i in [*range(inside.start, min(first, inside.stop)), *range(max(last, inside.start), inside.stop)]:
        out[(*lead, i)] = x[(*lead, 0 if i < first else n - 1)]  # half a pixel beyond the ends
    return _filled(out, axis, inside, levels)


def _filled(out: NDArray, axis: int, inside: slice, levels: NDArray) -> NDArray:
    lead = (slice(None),) * axis
    value = levels.astype(out.dtype).reshape(-1, *(1,) * (out.ndim - 1))
    if inside.start > 0 or inside.stop <= inside.start:
        out[(*lead, slice(0, inside.start if inside.stop > inside.start else None))] = value
    if inside.stop < out.shape[axis]:
        out[(*lead, slice(inside.stop, None))] = value
    return out


def shift(data: NDArray, distance: NDArray[np.float64], method: str, levels: NDArray) -> NDArray:
    """Shift objects, all by the same distance.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32 or float64
    distance : ndarray, shape (d,)
        Pixels, array axes.
    method : {"spline", "bilinear", "nearest"}
    levels : ndarray, shape (n,)
        What comes from outside.

    Returns
    -------
    ndarray, shape (n, *box)
    """
    box = data.shape[1:]
    if method == "spline":
        return _by_matrices(data, distance, levels)
    taps = [_two_taps(n, float(s), method) for n, s in zip(box, distance, strict=True)]
    if len(box) == 2:
        out, some = np.empty_like(data), max(1, CHUNK // (box[0] * box[1]))
        for k in range(0, len(data), some):
            part = slice(k, k + some)
            out[part] = _tap(_tap(data[part], 1, taps[0], levels[part]), 2, taps[1], levels[part])
        return out
    out = np.empty_like(data)
    step, weight, inside = taps[0]
    end = box[0] - 1
    for z in range(box[0]):  # section by section, in the cache
        if not inside.start <= z < inside.stop:
            out[:, z] = levels.astype(data.dtype)[:, None, None]
            continue
        section = data[:, min(max(z + step, 0), end)]
        if weight:
            section = section * data.dtype.type(1 - weight)
            section += data[:, min(max(z + step + 1, 0), end)] * data.dtype.type(weight)
        out[:, z] = _tap(_tap(section, 1, taps[1], levels), 2, taps[2], levels)
    return out


def _by_matrices(data: NDArray, distance: NDArray[np.float64], levels: NDArray) -> NDArray:
    n, *box = data.shape
    out = data
    for axis in range(len(box), 0, -1):
        if abs(distance[axis - 1]) < 1e-9:
            continue
        matrix, inside = _matrix(box[axis - 1], float(distance[axis - 1]))
        matrix = matrix.astype(data.dtype)
        if axis == len(box):
            out = np.matmul(out.reshape(n, -1, box[-1]), matrix.T).reshape(data.shape)
        else:
            rest = int(np.prod(box[axis:]))
            out = np.matmul(matrix, out.reshape(-1, box[axis - 1], rest)).reshape(data.shape)
        out = _filled(out, axis, inside, levels)
    return out if out is not data else data.copy()
