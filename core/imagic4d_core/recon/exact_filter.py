"""Exact filters for general geometry (Harauz & van Heel, Optik 73 (1986) 146) and filtered back-projection.

An object of diameter D gives every projection i a central slab in Fourier space with profile sinc(D k.d_i). At point k of
slice i the filter is one over the sum of the slabs of all projections there. The sum, cut at the profiles' first
zero, is the local density of slices; it is made once on a 3D grid and sampled on the slices, O(N n^2) in place of
O(N^2 n^2).

Back-projection of the filtered images is done in Fourier space, by the stencil of `kernels.gridding`: its adjoint
relation to projection is exact up to the stencil's accuracy.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import UsageError
from imagic4d_core.kernels import gridding
from imagic4d_core.recon.fourier import Accumulator

#: Grid cells per Fourier pixel of the slab sum.
SLAB_SAMPLING = 2.0
#: Integral of sinc between its first zeros: the width of a slab in units of 1 / D.
SLAB_INTEGRAL = 1.1789797444721675


def diameter(object_size: float, box: int) -> float:
    """Object diameter in pixels from IMAGIC's object size (fraction of the box, 0.1 to 1).

    Raises
    ------
    UsageError
        Out of range.
    """
    if not 0.05 <= object_size <= 1.5:
        raise UsageError(f"object size {object_size} is out of range: 1 fills the box, 0.1 to 1 make sense")
    return object_size * box


def slab_sum(matrices: ArrayLike, box: int, r_max: int, diameter_px: float, symmetry: ArrayLike | None = None) -> NDArray:
    """Sum of the slabs of all projections on a 3D grid.

    Parameters
    ----------
    matrices : array_like, shape (n, 3, 3)
    box, r_max : int
    diameter_px : float
        Object diameter D in pixels.
    symmetry : array_like, shape (g, 3, 3), optional
        Rotations of the point group.

    Returns
    -------
    ndarray, shape (Z, X, Y), float32
        Cells (z, x, y >= 0), `SLAB_SAMPLING` to a Fourier pixel.
    """
    d = np.asarray(matrices, dtype=np.float64).reshape(-1, 3, 3)[:, 2]
    if symmetry is not None:
        d = np.concatenate([d @ g for g in np.asarray(symmetry, dtype=np.float64)])
    reach = int(np.ceil(SLAB_SAMPLING * r_max)) + 2
    weight = np.zeros((2 * reach + 1, 2 * reach + 1, reach + 1), np.float32)
    gridding.add_slabs(np.ascontiguousarray(d), SLAB_SAMPLING, box / diameter_px, weight)
    return weight


def exact_filters(weight: NDArray[np.float32], matrices: ArrayLike, size: int, r_max: int) -> NDArray[np.float32]:
    """Exact filters of images, (n, size, size // 2 + 1), from a `slab_sum`; 0 beyond `r_max`."""
    m = np.ascontiguousarray(matrices, dtype=np.float64).reshape(-1, 3, 3)
    out = np.zeros((len(m), size, size // 2 + 1), np.float32)
    gridding.sample_filter(weight, SLAB_SAMPLING, m, r_max, 1.0, out)
    return out


def back_projection_factor(acc: Accumulator, diameter_px: float) -> float:
    """Factor for `Accumulator.finalise` that turns the sum of filtered slices into the object's grey values."""
    return acc.grid.oversampling**3 * SLAB_INTEGRAL * acc.grid.box / diameter_px


def reconstruct(
    images: NDArray[np.float32],
    matrices: ArrayLike,
    shifts: ArrayLike | None = None,
    *,
    object_size: float = 0.8,
    r_max: int | None = None,
    symmetry: ArrayLike | None = None,
    **finish: Any,
) -> NDArray[np.float32]:
    """Exact-filter back-projection of images in memory.

    Parameters
    ----------
    images : ndarray, shape (n, box, box), float32
    matrices : array_like, shape (n, 3, 3)
    shifts : array_like, shape (n, 2), optional
        To be applied to the images, pixels.
    object_size : float
        Object diameter as a fraction of the box.
    finish
        Keywords of `Accumulator.finalise`.

    Returns
    -------
    ndarray, shape (box, box, box), float32
    """
    box = images.shape[-1]
    d = diameter(object_size, box)
    m = np.asarray(matrices, dtype=np.float64)
    rms = float(np.sqrt(np.mean(np.square(images), dtype=np.float64)))
    acc = Accumulator(1, box, r_max, amplitude=rms, symmetry=symmetry, even_density=False)
    weight = slab_sum(m, box, acc.grid.r_max, d, symmetry)
    for start in range(0, len(images), 128):
        part = slice(start, start + 128)
        f = fourier.centred_rfftn(images[part], 2)
        h = exact_filters(weight, m[part], box, acc.grid.r_max)
        acc.insert(f, m[part], np.zeros(len(f), np.int64), shifts=None if shifts is None else np.asarray(shifts)[part], ctf=h)
    return acc.finalise(acc.united([0]), factor=back_projection_factor(acc, d), **finish)
