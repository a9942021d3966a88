"""Fourier transforms, spectra and correlation functions of images or volumes.

Spectra are full, with frequency 0 at index ``N // 2`` of every axis, and scaled by 1 / sqrt(number of pixels): sums of squares
are the same in both spaces (Parseval), and white noise has a power spectrum equal to its variance.
"""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier


def _scale(shape: tuple[int, ...]) -> np.float32:
    return np.float32(1.0 / np.sqrt(np.prod(shape, dtype=np.float64)))


def transform(data: NDArray, ndim: int) -> NDArray[np.complex64]:
    """Fourier transform over the last `ndim` axes; shape stays, complex64. The phase origin is the centre."""
    f = fourier.centred_fftn(data, ndim)
    return (f * _scale(data.shape[-ndim:])).astype(np.complex64, copy=False)


def back_transform(spectra: NDArray, ndim: int) -> NDArray[np.complex64]:
    """Inverse of `transform`, complex64."""
    x = fourier.centred_ifftn(spectra, ndim)
    return (x / _scale(spectra.shape[-ndim:])).astype(np.complex64, copy=False)


def amplitudes(data: NDArray, ndim: int) -> NDArray[np.float32]:
    """Absolute values of the transform."""
    return np.abs(transform(data, ndim))


def power(data: NDArray, ndim: int) -> NDArray[np.float32]:
    """Squared absolute values of the transform."""
    f = transform(data, ndim)
    return np.square(f.real) + np.square(f.imag)


def phases(data: NDArray, ndim: int) -> NDArray[np.float32]:
    """Phases of the transform in degrees, -180 to 180."""
    return np.rad2deg(np.angle(transform(data, ndim))).astype(np.float32)


def random_phases(data: NDArray, ndim: int, noise: NDArray, where: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Images or volumes with their own Fourier amplitudes and the phases of white noise.

    Parameters
    ----------
    data : ndarray, shape (..., *box), real
    ndim : {2, 3}
        Axes of the box.
    noise : ndarray, shape of `data`, real
        The spectrum of real noise has the symmetry that a real map needs.
    where : ndarray of bool, shape of a half spectrum, optional
        Coefficients that get new phases; by default all.

    Returns
    -------
    ndarray, shape of `data`, float32
    """
    f, g = fourier.centred_rfftn(data, ndim), fourier.centred_rfftn(noise, ndim)
    size = np.abs(g)
    turned = np.abs(f) * g / np.where(size > 0, size, 1)
    if where is not None:
        turned = np.where(where, turned, f)
    return fourier.centred_irfftn(turned, data.shape[-ndim:]).astype(np.float32)


def cross_correlation(first: NDArray, second: NDArray, ndim: int) -> NDArray[np.float32]:
    """Correlation coefficient for every shift, periodic; a peak at d from the centre: the first is the second moved by d.

    Parameters
    ----------
    first, second : ndarray, shapes (n, *box) and (n or 1, *box)

    Returns
    -------
    ndarray, shape (n, *box), float32, -1 to 1
        0 where one of the two is constant.
    """
    axes = tuple(range(-ndim, 0))
    box = first.shape[-ndim:]
    a = first - first.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    b = second - second.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    # relative to the centre the two origins cancel
    f = fourier.rfftn(a, ndim) * np.conj(fourier.rfftn(b, ndim))
    out = fourier.to_centre(fourier.irfftn(f, box), ndim)
    aa, bb = (np.square(x, dtype=np.float64).sum(axis=axes, keepdims=True) for x in (a, b))
    norm = np.sqrt(aa * bb)
    return (out * np.where(norm > 0, 1.0 / np.where(norm > 0, norm, 1.0), 0.0)).astype(np.float32)


def autocorrelation(data: NDArray, ndim: int) -> NDArray[np.float32]:
    """Correlation coefficient of each object with itself for every shift, periodic: 1 in the centre."""
    return cross_correlation(data, data, ndim)
