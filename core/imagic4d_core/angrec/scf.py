"""Sinogram correlation functions: every line of one image's sinogram against every line of another's.

Two projections of one 3D share a line in Fourier space, so one line of their sinograms: the SCF is largest where the two angles
meet (van Heel, Ultramicroscopy 21 (1987) 111). Conventions and formulas: algorithms 1.1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier

F64 = NDArray[np.float64]


def half_lines(image: ArrayLike, r_max: int, count: int, shift: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.complex64]:
    """Spectra of the sinogram lines of one square image, over half a turn.

    Parameters
    ----------
    image : array_like, shape (n, n)
    r_max : int
        Frequencies 1..r_max, Fourier pixels.
    count : int
        Lines over 180 degrees; line t lies at ``180 t / count`` degrees from x (lines) towards y (pixels).
    shift : (float, float)
        Moves the image first, (lines, pixels).

    Returns
    -------
    ndarray, shape (count, r_max), complex64
    """
    a = np.asarray(image, dtype=np.float32)
    n = fourier.good_size(2 * r_max + 4)
    if n < len(a):
        a = fourier.centred_irfftn(fourier.crop_rfftn(fourier.centred_rfftn(a, 2), a.shape, (n, n)), (n, n))
    n, box = len(a), len(np.asarray(image))
    x = np.arange(n) - n // 2
    r = np.arange(1, r_max + 1)
    out = np.empty((count, r_max), np.complex64)
    for t in range(count):
        c, s = np.cos(np.pi * t / count), np.sin(np.pi * t / count)
        down, along = (np.exp(-2j * np.pi / n * np.outer(r * d, x)).astype(np.complex64) for d in (c, s))
        out[t] = ((down @ a) * along).sum(1) * np.exp(-2j * np.pi / box * r * (c * shift[0] + s * shift[1]))
    return out


def sinogram(image: ArrayLike) -> NDArray[np.float32]:
    """One-dimensional projections of a square image all around.

    Parameters
    ----------
    image : array_like, shape (n, n)

    Returns
    -------
    ndarray, shape (360, n), float32
        Line t: sums along the normal of the direction ``t`` degrees from x (lines) to y (pixels); the centre is at ``n // 2``.
        Frequencies up to the last below Nyquist.
    """
    a = np.asarray(image, dtype=np.float32)
    n = len(a)
    half = half_lines(a, (n - 1) // 2, 180)
    spectra = np.zeros((360, n // 2 + 1), np.complex64)
    spectra[:, 0] = a.sum(dtype=np.float64)
    spectra[:180, 1 : half.shape[1] + 1], spectra[180:, 1 : half.shape[1] + 1] = half, half.conj()
    turn = np.exp(-2j * np.pi * (n // 2) / n * np.arange(n // 2 + 1))
    return np.ascontiguousarray(fourier.irfftn(spectra * turn, (n,)), dtype=np.float32)


def scf(a: NDArray[np.complex64], b: NDArray[np.complex64], amplitude_filter: float = 0.0) -> F64:
    """Correlation of all lines of two sinograms.

    Parameters
    ----------
    a, b : ndarray, shape (h, r), complex64
        Of `half_lines`.
    amplitude_filter : float
        Amplitudes to the power 1 - p: 0 keeps them, 1 leaves the phases only.

    Returns
    -------
    ndarray, shape (h, 2 h), float64
        Rows: lines of `a` over half a turn; columns: lines of `b` over a whole one. The other half of `a` repeats this one, half
        a turn on in `b`. -1 to 1.
    """

    def unit(lines: NDArray[np.complex64]) -> NDArray[np.complex128]:
        f = lines.astype(np.complex128)
        if amplitude_filter:
            f = f * np.maximum(np.abs(f), 1e-30) ** -amplitude_filter
        return f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-30)

    p, q = unit(a), unit(b)
    rr, ii = p.real @ q.real.T, p.imag @ q.imag.T
    return np.concatenate([rr + ii, rr - ii], axis=1)


@dataclass
class CommonLine:
    """Angles of a common line in two images, degrees, and the correlation there."""

    first: float
    second: float
    value: float


def best_line(c: F64) -> CommonLine:
    """The maximum of an SCF, between its samples by a parabola along each angle."""
    h = len(c)
    i, j = (int(k) for k in np.unravel_index(int(np.argmax(c)), c.shape))

    def at(di: int, dj: int) -> float:
        line, other = i + di, j + dj
        if not 0 <= line < h:  # the opposite ray of both images
            line, other = line % h, other + h
        return float(c[line, other % (2 * h)])

    def top(low: float, high: float) -> float:
        bend = low - 2 * c[i, j] + high
        return 0.5 * (low - high) / bend if bend < 0 else 0.0

    step = 180.0 / h
    first, second = step * (i + top(at(-1, 0), at(1, 0))), step * (j + top(at(0, -1), at(0, 1)))
    return folded(first, second, float(c[i, j]))


def folded(first: float, second: float, value: float = np.nan) -> CommonLine:
    """A pair of angles with the first between 0 and 180."""
    turn = 180.0 * np.floor(first / 180.0)
    return CommonLine(float(first - turn), float((second - turn) % 360.0), value)


def common_line(first: ArrayLike, second: ArrayLike) -> CommonLine | None:
    """Where the common line of two poses lies; None where both look along one direction (within 0.5 degrees), and it is nowhere.

    Parameters
    ----------
    first, second : array_like, shape (3, 3)
        Rotation matrices: rows are the axes of the image and its view direction in the object's frame.
    """
    r = np.asarray(first, dtype=np.float64) @ np.asarray(second, dtype=np.float64).T
    if np.hypot(r[0, 2], r[1, 2]) < np.sin(np.deg2rad(0.5)):
        return None
    return folded(*np.rad2deg([np.arctan2(r[0, 2], -r[1, 2]), np.arctan2(-r[2, 0], r[2, 1])]))
