"""Averages of an image or volume over the rotations of a point group."""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry import symmetry
from imagic4d_core.parallel import map_blocks

_SLAB = 8


def _rotations(group: str, ndim: int) -> NDArray[np.float64]:
    """Rotations of a group in array axes ([z,] x, y), shape (g, d, d); the identity first."""
    kind, _ = symmetry.parse(group)
    if ndim == 2:
        if kind != "C":
            raise UsageError(f"symmetry {group}: images can have Cn only")
        return symmetry.rotations(group)[:, :2, :2]
    order = [2, 0, 1]
    return np.ascontiguousarray(symmetry.rotations(group)[:, order][:, :, order])


def symmetrised(one: NDArray[np.float32], group: str, method: str = "spline", threads: int = 1) -> NDArray[np.float32]:
    """Mean over all rotations of a point group about the centre ``N // 2``.

    Parameters
    ----------
    one : ndarray, shape (lines, pixels) or (sections, lines, pixels), float32
    group : str
        Cn for images; Cn, Dn, T, O, I for volumes, oriented as in `geometry.symmetry`.
    method : {"spline", "bilinear", "nearest"}
        Interpolation.
    threads : int
        For volumes, over sections; the same bytes for any number.

    Returns
    -------
    ndarray, as `one`
        Corners that a rotation brings in from outside the box are left out of the mean.
    """
    # here, because loading the compiler takes longer than most other operations of the same command
    from imagic4d_core.kernels import resample
    from imagic4d_core.resample.move import coefficients

    shape, ndim = one.shape, one.ndim
    src = coefficients(one[None], ndim)[0] if method == "spline" else np.ascontiguousarray(one)
    kernels = {
        "spline": (resample.cubic2, resample.cubic3), "bilinear": (resample.linear2, resample.linear3),
        "nearest": (resample.nearest2, resample.nearest3),
    }  # fmt: skip
    if method not in kernels:
        raise UsageError(f"interpolation {method!r}: {', '.join(kernels)} can symmetrise")
    kernel = kernels[method][ndim - 2]
    centre = np.array([n // 2 for n in shape], np.float64)
    turns = _rotations(group, ndim)
    total = one.astype(np.float32, copy=True)

    def add(span: tuple[int, int]) -> None:
        first, last = span
        turned = np.empty(shape, np.float32) if ndim == 2 else np.empty((last - first, *shape[1:]), np.float32)
        count = np.ones(turned.shape, np.float32)
        part = total if ndim == 2 else total[first:last]
        for matrix in turns[1:]:
            matrix = np.ascontiguousarray(np.where(np.abs(matrix - np.rint(matrix)) < 1e-12, np.rint(matrix), matrix))
            offset = centre - matrix @ centre
            if ndim == 2:
                kernel(src, turned, matrix, offset, np.float32(np.nan))
            else:  # sections from `first` on
                kernel(src, turned, matrix, offset + matrix[:, 0] * first, np.float32(np.nan), 0, last - first)
            inside = ~np.isnan(turned)
            np.add(part, turned, out=part, where=inside)
            count += inside
        part /= count

    planes = shape[0] if ndim == 3 else _SLAB
    map_blocks(add, [(k, min(planes, k + _SLAB)) for k in range(0, planes, _SLAB)], threads if ndim == 3 else 1)
    return total
