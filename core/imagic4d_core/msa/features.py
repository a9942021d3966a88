"""What of an image enters MSA: its pixels under a mask, or numbers that rotation (and shift) do not change.

Rotation-invariant: the image is sampled on rings, each ring is Fourier transformed along the angle, and the absolute values are
taken (rotational power spectra; the Fourier transform of each ring's autocorrelation is their square). With shifts, the same is
done on the image's amplitude spectrum, which a shift does not change (Schatz and van Heel, Ultramicroscopy 32 (1990) 255:
invariant classification). A mirrored image has the same numbers. What is left out is the phase between rings, so different
images may share their numbers: meant for a first pass over unaligned images.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier

#: Largest angular order of the rotational spectra.
ORDERS = 48


@dataclass
class RingSpectra:
    """Rotational spectra of images.

    Attributes
    ----------
    lines, pixels : int
        Box of the images.
    radius : float
        Largest ring, pixels (of the amplitude spectrum where `shifts`).
    shifts : bool
        Whether the amplitude spectrum takes the place of the image.
    shape : (int, int, int)
        (1, rings, orders): the numbers of an image as an image, ring by ring, order 0 (the signed ring mean) first.
    """

    lines: int
    pixels: int
    radius: float
    shifts: bool = False
    shape: tuple[int, int, int] = field(init=False)
    valid: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        most = (min(self.lines, self.pixels) - 1) // 2
        rings = np.arange(1, max(1, min(int(self.radius), most)) + 1)
        n = fourier.good_size(int(2 * np.pi * rings[-1]))
        angle = 2 * np.pi * np.arange(n) / n
        x = self.lines // 2 + rings[:, None] * np.cos(angle)
        y = self.pixels // 2 + rings[:, None] * np.sin(angle)
        self._polar = _bilinear(x.ravel(), y.ravel(), self.lines, self.pixels)
        self._points = n
        orders = min(ORDERS, n // 2)
        self.shape = (1, len(rings), orders + 1)
        # a ring of radius r has no detail beyond order 2 pi r / 2; the amplitude spectrum has even orders only
        order = np.arange(orders + 1)
        self.valid = (order <= np.maximum(1, np.pi * rings[:, None])) & ((order % 2 == 0) | (not self.shifts))
        self._weight = (np.sqrt(rings)[:, None] / n * self.valid).astype(np.float32)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers of images.

        Parameters
        ----------
        images : ndarray, shape (n, lines, pixels), float32

        Returns
        -------
        ndarray, shape (n, rings * orders), float32
        """
        if self.shifts:
            mean = images.mean(axis=(1, 2), keepdims=True)
            images = fourier.amplitudes(images - mean)
        flat = np.ascontiguousarray(images.reshape(len(images), -1).T)
        polar = np.ascontiguousarray((self._polar @ flat).T).reshape(len(images), -1, self._points)
        spectrum = fourier.rfftn(polar, 1)[..., : self.shape[2]]
        out = np.abs(spectrum)
        out[..., 0] = spectrum[..., 0].real
        out *= self._weight
        return out.reshape(len(images), -1).astype(np.float32, copy=False)


def _bilinear(x: NDArray, y: NDArray, lines: int, pixels: int) -> Any:
    """Sparse matrix that samples flat images at points (x, y), float32."""
    import scipy.sparse

    i = np.clip(np.floor(x).astype(np.int64), 0, lines - 2)
    j = np.clip(np.floor(y).astype(np.int64), 0, pixels - 2)
    u, v = x - i, y - j
    rows = np.tile(np.arange(len(x)), 4)
    columns = np.concatenate([(i + a) * pixels + j + b for a in (0, 1) for b in (0, 1)])
    values = np.concatenate([(u if a else 1 - u) * (v if b else 1 - v) for a in (0, 1) for b in (0, 1)])
    return scipy.sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=(len(x), lines * pixels))
