"""Polar sampling of image spectra: half lines of the sinogram's transform, and their angular harmonics.

Line t of n_alpha / 2 lines lies at angle ``360 t / n_alpha`` degrees from the x axis (lines) towards y (pixels); it is the
Fourier transform of the image's projection onto that direction, one line of the sinogram (algorithms 1.5).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier


def line_count(r_max: int, increment: float) -> int:
    """Number of in-plane angles over 360 degrees: as fine as the increment, and enough for frequency `r_max`."""
    wanted = max(360.0 / increment, 2.6 * r_max)
    return 4 * int(np.ceil(wanted / 4))


@dataclass
class PolarSampler:
    """Exact polar samples of image spectra by one matrix product on Fourier-cropped images.

    Attributes
    ----------
    box : int
        Image size in pixels.
    r_max : int
        Largest frequency, Fourier pixels.
    n_alpha : int
        Lines over 360 degrees, a multiple of 4.
    points : ndarray, shape (n_alpha // 2 * r_max, 2), float64
        Frequencies (kx, ky) of the samples, line by line, radii 1..r_max.
    """

    box: int
    r_max: int
    n_alpha: int
    points: NDArray[np.float64] = field(init=False)
    _basis: NDArray[np.float32] = field(init=False)
    _small: int = field(init=False)

    def __post_init__(self) -> None:
        t = np.arange(self.n_alpha // 2) * (2 * np.pi / self.n_alpha)
        r = np.arange(1, self.r_max + 1)
        self.points = np.stack([np.outer(np.cos(t), r).ravel(), np.outer(np.sin(t), r).ravel()], 1)
        n = self._small = min(self.box, fourier.good_size(2 * self.r_max + 4))
        x = np.arange(n) - n // 2
        phase = (self.points[:, :1, None] * x[:, None] + self.points[:, 1:, None] * x) * (-2 * np.pi / n)
        flat = phase.reshape(len(self.points), -1).T
        self._basis = np.concatenate([np.cos(flat), np.sin(flat)], 1).astype(np.float32)

    def sample(self, spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Polar half lines of images.

        Parameters
        ----------
        spectra : ndarray, shape (n, box, box // 2 + 1), complex64
            As of `fourier.centred_rfftn`.

        Returns
        -------
        ndarray, shape (n, n_alpha // 2, r_max), complex64
        """
        n = self._small
        small = fourier.centred_irfftn(fourier.crop_rfftn(spectra, (self.box,) * 2, (n, n)), (n, n))
        out = small.reshape(len(small), -1).astype(np.float32) @ self._basis
        p = len(self.points)
        return (out[:, :p] + 1j * out[:, p:]).reshape(len(small), self.n_alpha // 2, self.r_max).astype(np.complex64)

    def ramps(self, shifts: NDArray[np.float64]) -> NDArray[np.complex64]:
        """Phase factors that apply shifts (n, 2) in pixels: (n, n_alpha // 2, r_max)."""
        angle = (shifts @ self.points.T) * (-2 * np.pi / self.box)
        return np.exp(1j * angle).astype(np.complex64).reshape(len(shifts), self.n_alpha // 2, self.r_max)


def harmonic_count(r_max: int, n_alpha: int, radius: float) -> int:
    """Angular harmonics that an object of `radius` (fraction of the box) can carry at frequency `r_max`."""
    return min(n_alpha // 2 + 1, int(np.ceil(2 * np.pi * r_max * radius)) + 3)


def harmonics(lines: NDArray[np.complex64], count: int) -> NDArray[np.float32]:
    """Angular harmonics of polar half lines.

    The opposite half of the circle is the complex conjugate, so the real function Re + Im (Hartley) over the full circle
    holds everything: real parts have even harmonics only, imaginary parts odd ones, and the correlation over in-plane
    angles of two images is that of these real functions.

    Parameters
    ----------
    lines : ndarray, shape (n, h, r), complex64
    count : int
        Harmonics 0..count-1 are kept.

    Returns
    -------
    ndarray, shape (count, n, 2 r), float32
        Real parts, then imaginary parts.
    """
    full = np.concatenate([lines.real + lines.imag, lines.real - lines.imag], 1)
    f = fourier.line_rfft(full)[:, :count]
    return np.ascontiguousarray(np.concatenate([f.real, f.imag], 2).transpose(1, 0, 2), dtype=np.float32)
