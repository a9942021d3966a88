"""Other sampling of images and volumes: Fourier crop and pad, interpolation, binning. The centre stays at index N // 2."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import UsageError
from imagic4d_core.resample.window import cut

#: Pixels transformed at a time, so that spectra stay in the cache.
CHUNK = 1 << 17
#: How near to the wanted one, as a fraction, a factor is taken to be met.
EXACT = 1e-4
#: Binning beside the methods of interpolation.
METHODS = ("fourier", "spline", "bilinear", "nearest", "coarse")


@dataclass(frozen=True)
class Zoom:
    """What becomes of a box.

    Attributes
    ----------
    box : tuple of int
        The new one.
    factor : float
        Magnification: old pixel size over new pixel size.
    padded : tuple of int
        Box before the change: larger than the old one where the factor gives no whole number of pixels otherwise.
    """

    box: tuple[int, ...]
    factor: float
    padded: tuple[int, ...]


def _scaled(box: Sequence[int], factor: float) -> tuple[int, ...]:
    """Sides times a factor, as whole numbers; a side of 1 (spectra) stays."""
    return tuple(math.floor(n * factor + 0.5) if n > 1 else 1 for n in box)


def _exactly(side: int, factor: float) -> int:
    """The smallest box from `side` on that a factor takes to a whole number of pixels; the best one of twice the size, or 128."""
    wide = np.arange(side, max(2 * side, 128) + 1)
    off = np.abs(np.maximum(np.rint(wide * factor), 1) / (wide * factor) - 1)
    return int(wide[np.argmax(off < EXACT)] if off.min() < EXACT else wide[np.argmin(off)])


def plan(
    box: Sequence[int], *, factor: float | None = None, new: Sequence[int] | None = None, method: str = "fourier",
    exact: bool = False,
) -> Zoom:  # fmt: skip
    """Find box and exact magnification.

    Parameters
    ----------
    box : sequence of int
    factor : float, optional
        Magnification wanted. The new box is the nearest whole number of pixels; Fourier crop takes the magnification that fits
        the longest side exactly, binning the next whole number of pixels.
    new : sequence of int, optional
        The new box, in place of a factor.
    method : str
        One of `METHODS`.
    exact : bool
        Keep the factor: Fourier crop pads the box first to one that it takes to a whole number of pixels. `new` may be given
        too; it is cut out of the result, or padded to.

    Raises
    ------
    UsageError
        Sides would be stretched differently, or nothing would be left.
    """
    if new is not None and not exact:
        longest = int(np.argmax(box))
        factor = new[longest] / box[longest]
        if any(abs(n * factor - m) > 0.5 + 1e-9 and (n, m) != (1, 1) for n, m in zip(box, new, strict=True)):
            shapes = [" x ".join(map(str, b)) for b in (box, new)]
            raise UsageError(f"a box of {shapes[0]} cannot become {shapes[1]} by one factor: cut or pad it first (cut --box)")
    assert factor is not None
    side = max(box)
    if method == "coarse":
        step = round(1 / factor)
        if step < 2 or (new is None and abs(step * factor - 1) > 0.01):
            raise UsageError(f"coarse makes pixels larger by a whole number: a factor of {factor:g} does not; give 0.5, 0.25 ...")
        factor = 1.0 / step
        made = tuple(n // step if n > 1 else 1 for n in box)
    elif method == "fourier" and exact:
        side = _exactly(max(box), factor)
        factor = max(1, round(side * factor)) / side
        made = tuple(new) if new is not None else _scaled(box, factor)
    elif method == "fourier":
        longest = int(np.argmax(box))
        factor = max(1, math.floor(box[longest] * factor + 0.5)) / box[longest]
        made = tuple(new) if new is not None else _scaled(box, factor)
    else:
        made = tuple(new) if new is not None else _scaled(box, factor)
    if min(made) < 1 or max(made) < 2:
        raise UsageError(f"a factor of {factor:g} leaves nothing of a box of {' x '.join(map(str, box))}")
    padded = tuple(box)
    if method == "fourier":
        # the smallest boxes that the factor takes to whole numbers
        unit = side // math.gcd(side, round(side * factor))
        padded = tuple(-(-n // unit) * unit if n > 1 else 1 for n in box)
    return Zoom(made, factor, padded)


def fourier_zoom(data: NDArray, z: Zoom, fill: float | str = "edge") -> NDArray:
    """Cut or pad the spectrum: exact for what is band-limited; densities keep their size.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32 or float64
    z : Zoom
    fill : {"edge", "mean"} or float
        Where the box must be padded first.

    Returns
    -------
    ndarray, shape (n, *z.box)
    """
    wide = _scaled(z.padded, z.factor)
    step = max(1, CHUNK // max(int(np.prod(z.padded)), int(np.prod(wide))))
    if len(data) > step:
        out = np.empty((len(data), *z.box), data.dtype)
        for k in range(0, len(data), step):
            out[k : k + step] = fourier_zoom(data[k : k + step], z, fill)
        return out
    x = cut(data, z.padded, None, fill) if z.padded != data.shape[1:] else data
    out = _resampled(x, wide)
    return out if wide == z.box else cut(out, z.box, None, fill)


def _kept(n: int, m: int) -> int | None:
    """Largest frequency kept from `n` to `m` samples: below Nyquist of the smaller number; None for all where nothing changes."""
    return None if n == m else (min(n, m) - 1) // 2


def _resampled(x: NDArray, wide: Sequence[int]) -> NDArray:
    """Objects (n, *box) on another grid, spectra cut or padded axis by axis, so that lines without anything are not transformed.

    As `fourier.crop_rfftn`, with phases that bring the centre from ``n // 2`` to ``m // 2``.
    """
    box = x.shape[1:]
    d = len(box)
    f = fourier.rfft_lines(x, d)
    scale = 1.0
    for axis in range(d, 0, -1):
        n, m = box[axis - 1], wide[axis - 1]
        lead = (slice(None),) * axis
        h = _kept(n, m)
        if axis < d:
            f = fourier.fft_lines(f, axis)
            if h is not None:
                f = np.concatenate([f[(*lead, slice(0, h + 1))], f[(*lead, slice(n - h, n))]], axis)
            k = fourier.frequencies(f.shape[axis]) * f.shape[axis]
        else:
            f = f if h is None else f[(*lead, slice(0, h + 1))]
            k = np.arange(f.shape[axis])
        turn = n // 2 / n - m // 2 / m
        if abs(turn) > 1e-12:
            shape = [-1 if a == axis else 1 for a in range(d + 1)]
            f = f * np.exp(2j * np.pi * turn * k).astype(f.dtype).reshape(shape)
        scale *= m / n
    f *= f.real.dtype.type(scale)
    for axis in range(1, d):
        m = wide[axis - 1]
        h = _kept(box[axis - 1], m)
        if h is not None:
            lead = (slice(None),) * axis
            full = np.zeros((*f.shape[:axis], m, *f.shape[axis + 1 :]), f.dtype)
            full[(*lead, slice(0, h + 1))] = f[(*lead, slice(0, h + 1))]
            if h:
                full[(*lead, slice(m - h, m))] = f[(*lead, slice(h + 1, None))]
            f = full
        f = fourier.ifft_lines(f, axis)
    return fourier.irfft_lines(f, wide[-1], d)


def bin_axis(x: NDArray, axis: int, step: int) -> NDArray:
    """Mean of `step` pixels along an axis, around every `step`-th pixel counted from the centre, N // 2.

    An even number of pixels has no middle one: `step + 1` are taken then, the two outer ones with half the weight. Beyond the
    edge the outermost pixel counts on.
    """
    n = x.shape[axis]
    m = n // step
    lead = (slice(None),) * (axis % x.ndim)
    low = n // 2 - (m // 2) * step - step // 2
    high = low + m * step + 1 - step % 2
    pads = [(0, 0)] * x.ndim
    pads[axis] = (max(0, -low), max(0, high - n))
    if any(pads[axis]):
        x = np.pad(x, pads, mode="edge")
        low += pads[axis][0]
    out: NDArray | None = None
    for j in range(step + 1 - step % 2):
        part = x[(*lead, slice(low + j, low + j + (m - 1) * step + 1, step))]
        half = step % 2 == 0 and j in (0, step)
        weight = x.dtype.type((0.5 if half else 1.0) / step)
        out = part * weight if out is None else out + part * weight
    assert out is not None
    return out


def zoom(data: NDArray, z: Zoom, method: str = "fourier", *, fill: float | str = "edge", threads: int = 1) -> NDArray:
    """Change the sampling of objects.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32 or float64
    z : Zoom
        From `plan`.
    method : {"fourier", "spline", "bilinear", "nearest", "coarse"}
        The interpolations do not low-pass: use them to magnify.
    fill : {"edge", "mean"} or float
    threads : int
        For volumes.

    Returns
    -------
    ndarray, shape (n, *z.box)
    """
    ndim = len(z.box)
    if method == "fourier":
        return fourier_zoom(data, z, fill)
    if method == "coarse":
        step = round(1 / z.factor)
        for axis in range(1, ndim + 1):
            data = bin_axis(data, axis, step) if data.shape[axis] > 1 else data
        return data
    from imagic4d_core.resample.move import affine
    from imagic4d_core.resample.window import fill_levels

    n = len(data)
    old, new = np.array(data.shape[1:]), np.array(z.box)
    matrix = np.tile(np.eye(ndim) / z.factor, (n, 1, 1))
    offset = np.tile(old // 2 - (new // 2) / z.factor, (n, 1))
    return affine(data, matrix, offset, z.box, method, fill_levels(data, fill, ndim), threads)
