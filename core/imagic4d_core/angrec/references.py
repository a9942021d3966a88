"""Anchor sets made ready for the search: the same mask, the same radial spectrum, one Fourier grid each.

Competition is fair only between references that differ in nothing but their structure (algorithms 2.3): a 3D of more
images, or with a stronger low-pass, would otherwise correlate better with everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.masks.shapes import soft_ball
from imagic4d_core.parallel import map_blocks

PADDING = 2


@dataclass
class References:
    """Fourier grids of anchor 3Ds.

    Attributes
    ----------
    box, r_max : int
        Image size; largest frequency in Fourier pixels.
    ref3d, fold : ndarray, shape (sets,), int
        3D number, and the fold whose images were left out (0: none).
    grids : ndarray, shape (sets, m, m, m // 2 + 1), complex64
        Spectra for `kernels.search.take_linear`.
    oversampling : float
        Cells per Fourier pixel.
    spectrum : ndarray, shape (r_max + 2,), float64
        Power by ring that all grids have (where they were given the same), or their mean.
    """

    box: int
    r_max: int
    ref3d: NDArray[np.int64]
    fold: NDArray[np.int64]
    grids: NDArray[np.complex64]
    oversampling: float
    spectrum: NDArray[np.float64]

    def numbers(self) -> NDArray[np.int64]:
        """The 3D numbers present, ascending."""
        return np.unique(self.ref3d)

    def of_fold(self, fold: int) -> dict[int, int]:
        """3D number -> set, for images of a fold."""
        chosen = np.flatnonzero((self.fold == fold) | (self.fold == 0))
        return {int(self.ref3d[s]): int(s) for s in chosen}


@lru_cache(maxsize=4)
def _linear_correction(small: int, padded: int) -> NDArray[np.float64]:
    """Trilinear interpolation multiplies real space by sinc^2 along each axis: the inverse of that, (small, small, small)."""
    sinc = np.sinc((np.arange(small) - small // 2) / padded) ** 2
    return 1.0 / (sinc[:, None, None] * sinc[:, None] * sinc)


@lru_cache(maxsize=4)
def _cell_shells(m: int, os: float) -> NDArray[np.int64]:
    k = fourier.frequencies(m) * m
    y = np.arange(m // 2 + 1)
    return np.rint(np.sqrt((k**2)[:, None, None] + (k**2)[:, None] + y**2) / os).astype(np.int64)


def prepare_references(
    volumes: Iterable[NDArray[np.float32]],
    ref3d: NDArray[np.int64],
    fold: NDArray[np.int64],
    r_max: int,
    *,
    mask_radius: float | None = None,
    same_spectrum: bool = True,
    spectrum: NDArray[np.float64] | None = None,
    threads: int = 1,
) -> References:
    """Mask volumes, give them their common mean spectrum and transform them.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (n, n, n), float32
    ref3d, fold : ndarray of int, shape (sets,)
    r_max : int
        Largest frequency that will be used, Fourier pixels.
    mask_radius : float, optional
        Soft spherical mask, pixels of the full box.
    same_spectrum : bool
        Scale every shell of every volume to the root mean square over all volumes.
    spectrum : ndarray, shape (r_max + 2,), float64, optional
        Scale to this instead (`References.spectrum` of others with which these are to be compared).
    threads : int

    Returns
    -------
    References
    """
    first, *rest = list(volumes)
    n = first.shape[0]
    small = min(n, fourier.good_size(2 * r_max + 4))
    m = fourier.good_size(PADDING * small)
    shells = _cell_shells(m, m / small)

    def transform(v: NDArray[np.float32]) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
        if small != n:
            v = fourier.centred_irfftn(fourier.crop_rfftn(fourier.centred_rfftn(v, 3), (n,) * 3, (small,) * 3), (small,) * 3)
        if mask_radius is not None:
            v = v * soft_ball(small, mask_radius * small / n, max(1.5, 0.06 * small))
        v = (v * _linear_correction(small, m)).astype(np.float32)
        f = np.ascontiguousarray(fourier.padded_rfft3(v, m, m // 2 + 1).astype(np.complex64))
        power = np.bincount(shells.ravel(), weights=(f.real**2 + f.imag**2).ravel(), minlength=r_max + 2)[: r_max + 2]
        return f, np.asarray(power, np.float64)

    results = [transform(first), *map_blocks(transform, rest, threads)]
    grids = [g for g, _ in results]
    powers = np.array([p for _, p in results])
    for g, p in zip(grids, powers, strict=True):
        if not np.isfinite(p).all():  # a 3D of no images: it must not spoil the common spectrum
            g[:] = 0
            p[:] = 0
    mean = powers.mean(0) if spectrum is None else spectrum
    if same_spectrum and (len(grids) > 1 or spectrum is not None):
        ring = np.minimum(shells, r_max + 1)
        for g, p in zip(grids, powers, strict=True):
            scale = np.sqrt(mean / np.where(p > 0, p, 1.0)) * (p > 0)
            g *= scale.astype(np.float32)[ring]
    numbers, left_out = np.asarray(ref3d, np.int64), np.asarray(fold, np.int64)
    return References(n, r_max, numbers, left_out, np.array(grids), m / small, np.asarray(mean, np.float64))
