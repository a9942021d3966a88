"""Averages over circles and spheres, in real space by distance and in Fourier space by frequency."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.filters.band import frequency_grid
from imagic4d_core.masks.shapes import distances


@lru_cache(maxsize=4)
def _rings(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    ring = np.rint(distances(shape, dtype=np.float64)).astype(np.intp)
    counts = np.bincount(ring.ravel()).astype(np.float64)
    for table in (ring, counts):
        table.setflags(write=False)
    return ring, counts


def rings(shape: Sequence[int]) -> NDArray[np.intp]:
    """Distance of every pixel from the centre, rounded to pixels, shape `shape`."""
    return _rings(tuple(int(n) for n in shape))[0]


def radial_curve(one: NDArray) -> NDArray[np.float64]:
    """Mean of an image or volume over circles or spheres, by distance in pixels: index 0 is the centre."""
    ring, counts = _rings(one.shape)
    return np.bincount(ring.ravel(), weights=one.ravel()) / counts


def rotational_average(one: NDArray) -> NDArray[np.float32]:
    """Every pixel replaced by the mean over its circle or sphere around ``N // 2`` (distances rounded to pixels)."""
    return radial_curve(one)[rings(one.shape)].astype(np.float32)


def shells(shape: Sequence[int]) -> NDArray[np.intp]:
    """Shell of every coefficient of a half spectrum: its frequency in units of 1 / (smallest edge above 1), rounded."""
    edge = min([n for n in shape if n > 1], default=1)
    return np.rint(frequency_grid(shape).astype(np.float64) * (edge / 2)).astype(np.intp)


def power_curve(one: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power by frequency, scaled as `spectra.power`.

    Parameters
    ----------
    one : ndarray, shape (*box), float32

    Returns
    -------
    ndarray, shape (smallest edge // 2 + 1,), float64
        Index k is the frequency k / (smallest edge) in 1/pixel; the box need not be square.
    """
    shape = one.shape
    f = fourier.rfftn(one, one.ndim)
    p = np.square(f.real.astype(np.float64)) + np.square(f.imag.astype(np.float64))
    weight = np.broadcast_to(fourier.half_weights(shape[-1]), f.shape)
    shell = shells(shape).ravel()
    total = np.bincount(shell, weights=(p * weight).ravel()) / one.size
    count = np.bincount(shell, weights=weight.ravel())
    edge = min([n for n in shape if n > 1], default=1)
    return (total / np.maximum(count, 1.0))[: edge // 2 + 1]
