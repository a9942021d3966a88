"""The only door to scipy.fft.

Convention: arrays are real-space objects centred at index ``N // 2``. Spectra are in numpy's order (frequency 0 at
index 0), complex64, and have the phase of an object whose centre is at index 0, so a centred real symmetric
object has a real spectrum.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.fft as _fft
from numpy.typing import NDArray


def _axes(ndim: int) -> tuple[int, ...]:
    return tuple(range(-ndim, 0))


def centred_rfftn(x: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Real FFT over the last `ndim` axes of arrays centred at ``N // 2``.

    Parameters
    ----------
    x : ndarray, shape (..., n1, ..., n_ndim), float32 or float64
    ndim : {1, 2, 3}

    Returns
    -------
    ndarray, shape (..., n1, ..., n_ndim // 2 + 1), complex64 or complex128
    """
    axes = _axes(ndim)
    return _fft.rfftn(_fft.ifftshift(x, axes=axes), axes=axes)


def centred_irfftn(f: NDArray, shape: Sequence[int]) -> NDArray[np.floating]:
    """Inverse of `centred_rfftn`; `shape` is the real-space shape of the last ``len(shape)`` axes."""
    axes = _axes(len(shape))
    return _fft.fftshift(_fft.irfftn(f, s=tuple(shape), axes=axes), axes=axes)


def good_size(n: int) -> int:
    """Smallest even FFT-friendly size >= n."""
    m = _fft.next_fast_len(int(n), real=True)
    while m % 2:
        m = _fft.next_fast_len(m + 1, real=True)
    return m


def crop_rfftn(f: NDArray, shape: Sequence[int], new: Sequence[int]) -> NDArray:
    """Cut or zero-pad half spectra to another real-space size (Fourier interpolation), values unscaled.

    Parameters
    ----------
    f : ndarray, shape (..., n1, ..., n_d // 2 + 1)
        Half spectra as given by `centred_rfftn`.
    shape, new : sequence of int
        Old and new real-space sizes of the last axes. The lone Nyquist plane of an even size is dropped when the
        size changes, so that real objects stay real.
    """
    d = len(shape)
    out = np.zeros((*f.shape[:-d], *new[:-1], new[-1] // 2 + 1), dtype=f.dtype)
    src: list[list[slice]] = []
    dst: list[list[slice]] = []
    for a, (n, m) in enumerate(zip(shape, new, strict=True)):
        k = min(n, m)
        # largest frequency kept: below Nyquist of the smaller grid, or all of it where nothing changes
        if n == m:
            src.append([slice(None)])
            dst.append([slice(None)])
            continue
        h = (k - 1) // 2
        if a == d - 1:
            src.append([slice(0, h + 1)])
            dst.append([slice(0, h + 1)])
        else:
            src.append([slice(0, h + 1), slice(n - h, n)])
            dst.append([slice(0, h + 1), slice(m - h, m)])
    for combo in np.ndindex(*[len(s) for s in src]):
        out[(..., *[dst[a][i] for a, i in enumerate(combo)])] = f[(..., *[src[a][i] for a, i in enumerate(combo)])]
    return out


def rfftn(x: NDArray, ndim: int, *, workers: int = 1) -> NDArray[np.complexfloating]:
    """Real FFT over the last `ndim` axes with the origin at index 0 (no centring); the same bytes for any number of `workers`."""
    return _fft.rfftn(x, axes=_axes(ndim), workers=workers)


def irfftn(f: NDArray, shape: Sequence[int], *, workers: int = 1) -> NDArray[np.floating]:
    """Inverse real FFT over the last ``len(shape)`` axes with the origin at index 0 (no centring)."""
    return _fft.irfftn(f, s=tuple(shape), axes=_axes(len(shape)), workers=workers)


def padded_rfft3(v: NDArray, size: int, keep: int) -> NDArray[np.complexfloating]:
    """Spectrum of a centred cube in a larger box, skipping the lines that hold only padding.

    Parameters
    ----------
    v : ndarray, shape (n, n, n), float32 or float64
    size : int
        Padded size P >= n.
    keep : int
        Columns 0..keep-1 of the half axis are returned, keep <= P // 2 + 1.

    Returns
    -------
    ndarray, shape (P, P, keep), complex64 or complex128
        As `centred_rfftn` of the padded cube.
    """

    def spread(a: NDArray, axis: int) -> NDArray:
        n = a.shape[axis]
        c = n // 2
        shape = list(a.shape)
        shape[axis] = size
        out = np.zeros(shape, a.dtype)
        lead = (slice(None),) * axis
        out[(*lead, slice(0, n - c))] = a[(*lead, slice(c, n))]
        out[(*lead, slice(size - c, size))] = a[(*lead, slice(0, c))]
        return out

    f = _fft.rfft(spread(v, 2), axis=2)[:, :, :keep]
    f = _fft.fft(spread(f, 1), axis=1, overwrite_x=True)
    return _fft.fft(spread(f, 0), axis=0, overwrite_x=True)


def cropped_irfft3(f: NDArray, size: int, box: int) -> NDArray[np.floating]:
    """Inverse of `padded_rfft3`: the central cube of `box` of the padded cube of `size`.

    Parameters
    ----------
    f : ndarray, shape (size, size, keep), complex
        Columns from `keep` on are taken as 0.

    Returns
    -------
    ndarray, shape (box, box, box)
    """

    def centre(a: NDArray, axis: int) -> NDArray:
        c = box // 2
        lead = (slice(None),) * axis
        return np.concatenate([a[(*lead, slice(size - c, size))], a[(*lead, slice(0, box - c))]], axis=axis)

    a = centre(_fft.ifft(f, axis=0), 0)
    a = centre(_fft.ifft(a, axis=1, overwrite_x=True), 1)
    return centre(_fft.irfft(a, n=size, axis=2), 2)


def frequencies(n: int) -> np.ndarray:
    """Frequencies of a full spectrum of `n` samples in cycles per pixel, shape (n,), float64."""
    return _fft.fftfreq(int(n))


def half_frequencies(n: int) -> np.ndarray:
    """Frequencies of a half spectrum of `n` samples in cycles per pixel, shape (n // 2 + 1,), float64."""
    return _fft.rfftfreq(int(n))


@lru_cache(maxsize=8)
def shells(n: int, ndim: int) -> NDArray[np.int64]:
    """Shell of every coefficient of a half spectrum of a square or cube of edge `n`: ``|k|`` in units of 1 / n, rounded.

    Returns
    -------
    ndarray, shape (n, ..., n // 2 + 1), int64, read-only
    """
    axes = [np.rint(frequencies(n) * n)] * (ndim - 1) + [np.rint(half_frequencies(n) * n)]
    square = sum(k * k for k in np.meshgrid(*axes, indexing="ij", sparse=True))
    out = np.rint(np.sqrt(square)).astype(np.int64)
    out.setflags(write=False)
    return out


def half_weights(n: int) -> NDArray[np.float64]:
    """How often each column of a half spectrum of `n` samples stands for a coefficient of the full one, shape (n // 2 + 1,)."""
    column = np.arange(n // 2 + 1)
    return np.where((column == 0) | (2 * column == n), 1.0, 2.0)


def line_rfft(x: NDArray) -> NDArray[np.complexfloating]:
    """Half spectrum along axis 1, origin at index 0."""
    return _fft.rfft(x, axis=1)


def rfft_lines(x: NDArray, axis: int) -> NDArray[np.complexfloating]:
    """Half spectra along one axis, origin at index 0."""
    return _fft.rfft(x, axis=axis)


def irfft_lines(f: NDArray, n: int, axis: int) -> NDArray[np.floating]:
    """Inverse of `rfft_lines`, `n` the real-space length."""
    return _fft.irfft(f, n=n, axis=axis)


def amplitudes(x: NDArray) -> NDArray[np.floating]:
    """Amplitude spectra of images, shape (..., lines, pixels), frequency 0 at index ``N // 2``; a shift does not change them."""
    return np.abs(_fft.fftshift(_fft.fftn(x, axes=(-2, -1)), axes=(-2, -1)))


def centred_fftn(x: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Full complex FFT over the last `ndim` axes, with the origin at index ``N // 2`` in both spaces."""
    axes = _axes(ndim)
    return _fft.fftshift(_fft.fftn(_fft.ifftshift(x, axes=axes), axes=axes), axes=axes)


def centred_ifftn(f: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Inverse of `centred_fftn`."""
    axes = _axes(ndim)
    return _fft.fftshift(_fft.ifftn(_fft.ifftshift(f, axes=axes), axes=axes), axes=axes)


def to_centre(x: NDArray, ndim: int) -> NDArray:
    """Move the origin of the last `ndim` axes from index 0 to index ``N // 2``."""
    return _fft.fftshift(x, axes=_axes(ndim))


def fft_lines(f: NDArray[np.complexfloating], axis: int) -> NDArray[np.complexfloating]:
    """Complex FFT along one axis, origin at index 0."""
    return _fft.fft(f, axis=axis)


def ifft_lines(f: NDArray[np.complexfloating], axis: int) -> NDArray[np.complexfloating]:
    """Inverse of `fft_lines`."""
    return _fft.ifft(f, axis=axis, overwrite_x=True)
