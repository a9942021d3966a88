"""Reference-free centring: correlation with the rotational average of the total sum (IMAGIC's CENTER-IMAGE, TOTSUM)."""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier


def rotational_average(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Replace every pixel of an image (n, n) by the mean over its circle around ``n // 2`` (radii rounded to pixels)."""
    n = image.shape[0]
    x = np.arange(n) - n // 2
    r = np.rint(np.hypot(x[:, None], x)).astype(np.int64)
    mean = np.bincount(r.ravel(), weights=image.ravel()) / np.bincount(r.ravel())
    return mean[r].astype(np.float32)


def shifted(spectra: NDArray[np.complex64], shifts: NDArray[np.float64], box: int) -> NDArray[np.complex64]:
    """Half spectra (n, box, box // 2 + 1) of images moved by `shifts` (n, 2), pixels."""
    kx, ky = fourier.frequencies(box), fourier.half_frequencies(box)
    phase = kx[None, :, None] * shifts[:, 0, None, None] + ky * shifts[:, 1, None, None]
    return (spectra * np.exp(-2j * np.pi * phase)).astype(np.complex64)


def shifts_to(
    spectra: NDArray[np.complex64], reference: NDArray[np.float32], max_shift: float, max_frequency: float = 0.5
) -> NDArray[np.float64]:
    """Shifts that bring images onto a reference: place of the highest correlation, to a fraction of a pixel.

    Parameters
    ----------
    spectra : ndarray, shape (n, box, box // 2 + 1), complex64
    reference : ndarray, shape (box, box), float32
    max_shift : float
        Pixels.
    max_frequency : float
        Low-pass, fraction of Nyquist.

    Returns
    -------
    ndarray, shape (n, 2), float64
    """
    box = reference.shape[0]
    kx, ky = fourier.frequencies(box), fourier.half_frequencies(box)
    keep = (np.hypot(kx[:, None], ky) <= max_frequency / 2) & (np.hypot(kx[:, None], ky) > 0)
    f = fourier.centred_rfftn(reference, 2) * keep
    ccf = fourier.centred_irfftn(spectra * np.conj(f), (box, box))
    x = np.arange(box) - box // 2
    inside = np.hypot(x[:, None], x) <= max_shift
    flat = np.where(inside, ccf, -np.inf).reshape(len(ccf), -1).argmax(1)
    ix, iy = np.divmod(flat, box)
    peak = np.stack([x[ix] + _parabola(ccf, ix, iy, 0), x[iy] + _parabola(ccf, ix, iy, 1)], 1)
    return -peak


def _parabola(ccf: NDArray, ix: NDArray, iy: NDArray, axis: int) -> NDArray[np.float64]:
    n = ccf.shape[1]
    k = np.arange(len(ccf))
    dx, dy = (1, 0) if axis == 0 else (0, 1)
    low, mid, high = ccf[k, ix - dx, iy - dy], ccf[k, ix, iy], ccf[k, (ix + dx) % n, (iy + dy) % n]
    bend = low - 2 * mid + high
    return np.clip(np.where(bend < 0, 0.5 * (low - high) / np.where(bend < 0, bend, 1), 0.0), -0.5, 0.5).astype(np.float64)
