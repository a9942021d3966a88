"""The only door to scipy.fft.

Convention: arrays are real-space objects centred at index ``N // 2``. Spectra are in numpy's order (frequency 0 at
index 0), complex64, and have the phase of an object whose centre is at index 0, so a centred real symmetric
object has a real spectrum.
"""

from collections.abc import Sequence

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
    out = np.zeros(f.shape[:-d] + (*new[:-1], new[-1] // 2 + 1), dtype=f.dtype)
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
