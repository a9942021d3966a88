"""Rotate and shift images and volumes, interpolating once."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.parallel import map_blocks
from imagic4d_core.resample.shear import shear_move
from imagic4d_core.resample.shift import can_shift
from imagic4d_core.resample.shift import shift as shifted
from imagic4d_core.resample.window import cut, fill_levels

METHODS = ("spline", "bilinear", "nearest", "fourier")
#: Sections of a volume handed to a thread at a time.
_SLAB = 8


def array_axes(moves: Moves) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices and shifts in the order of array axes: (x, y) stay, (x, y, z) become (z, x, y)."""
    if moves.ndim == 2:
        return moves.matrix, moves.shift
    order = [2, 0, 1]
    return np.ascontiguousarray(moves.matrix[:, order][:, :, order]), np.ascontiguousarray(moves.shift[:, order])


def reflect(data: NDArray) -> NDArray:
    """Turn the y axis (pixels of a line) round about the centre, index N // 2; for even N pixel 0 stays where it is."""
    n = data.shape[-1]
    return np.ascontiguousarray(data[..., (n - n % 2 - np.arange(n)) % n])


def coefficients(data: NDArray, ndim: int) -> NDArray:
    """Cubic B-spline coefficients of objects, shape (n, *box), over the trailing `ndim` axes; a new array."""
    from imagic4d_core.kernels.resample import spline_filter, spline_filter_rows

    out = np.array(data, order="C", copy=True)
    box = out.shape[-ndim:]
    spline_filter_rows(out.reshape(-1, box[-1]), box[-1])
    for axis in range(ndim - 1):
        inner = int(np.prod(box[axis + 1 :]))
        spline_filter(out.reshape(-1, box[axis], inner), box[axis])
    return out


def affine(
    data: NDArray, matrix: NDArray[np.float64], offset: NDArray[np.float64], box: tuple[int, ...], method: str,
    levels: NDArray[np.float64], threads: int = 1,
) -> NDArray:  # fmt: skip
    """Interpolate objects at ``matrix i + offset`` for every index i of a box.

    Parameters
    ----------
    data : ndarray, shape (n, *old box), float32 or float64
    matrix, offset : ndarray, shapes (n, d, d) and (n, d)
        In array axes.
    box : tuple of int, length d
    method : {"spline", "bilinear", "nearest"}
    levels : ndarray, shape (n,)
        For positions outside.
    threads : int
        For volumes, over sections.

    Returns
    -------
    ndarray, shape (n, *box)
    """
    from imagic4d_core.kernels import resample as k

    ndim = len(box)
    table: dict[tuple[str, int], Any] = {
        ("nearest", 2): k.nearest2, ("bilinear", 2): k.linear2, ("spline", 2): k.cubic2,
        ("nearest", 3): k.nearest3, ("bilinear", 3): k.linear3, ("spline", 3): k.cubic3,
    }  # fmt: skip
    kernel = table[method, ndim]
    out = np.empty((len(data), *box), data.dtype)
    for i in range(len(data)):
        one = np.ascontiguousarray(data[i])
        src = coefficients(one[None], ndim)[0] if method == "spline" else one
        args = (src, out[i], np.ascontiguousarray(matrix[i]), np.ascontiguousarray(offset[i]), data.dtype.type(levels[i]))
        if ndim == 2:
            kernel(*args)
        else:
            slabs = [(a, min(a + _SLAB, box[0])) for a in range(0, box[0], _SLAB)]
            map_blocks(_slab(kernel, args), slabs, threads)
    return out


def _slab(kernel: Any, args: tuple) -> Callable[[tuple[int, int]], None]:
    def work(slab: tuple[int, int]) -> None:
        kernel(*args, *slab)

    return work


def whole(moves: Moves) -> NDArray[np.bool_]:
    """Which moves are shifts by whole pixels."""
    still = np.all(np.abs(moves.matrix - np.eye(moves.ndim)) < 1e-12, axis=(1, 2))
    return still & (np.abs(moves.shift - np.rint(moves.shift)) < 1e-6).all(1)


def move(data: NDArray, moves: Moves, *, method: str = "spline", fill: float | str = "edge", threads: int = 1) -> NDArray:
    """Move objects: shift, then rotate, about index N // 2.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32 or float64
        Images or volumes, as many dimensions in the box as the moves have.
    moves : Moves
        One for each object.
    method : {"spline", "bilinear", "nearest", "fourier"}
        Cubic B-spline; linear; next pixel; or three shears for every rotation, by Fourier shifts of lines: exact for what is
        band-limited. Shifts by whole pixels are copies in every method.
    fill : {"edge", "mean"} or float
        Of what comes from outside, see `window.fill_levels`.
    threads : int
        For a volume.

    Returns
    -------
    ndarray, shape and dtype of `data`
    """
    ndim = moves.ndim
    box = data.shape[1:]
    if len(box) != ndim or len(data) != len(moves):
        raise MismatchError(f"{len(moves)} moves in {ndim} dimensions do not fit an array of {data.shape}")
    levels = fill_levels(data, fill, ndim)
    matrix, shift = array_axes(moves)
    easy = whole(moves)
    out = np.empty_like(data)
    for i in np.flatnonzero(easy):
        out[i] = cut(data[i : i + 1], box, [n // 2 - round(k) for n, k in zip(box, shift[i], strict=True)], levels[i])[0]
    if can_shift(box, method):
        still = ~easy & (np.abs(matrix - np.eye(ndim)) < 1e-12).all((1, 2))
        for part in _alike(shift, np.flatnonzero(still)):
            out[part] = shifted(data[part], shift[part.start], method, levels[part])
        easy |= still
    rest = np.flatnonzero(~easy)
    if not len(rest):
        return out
    if method == "fourier":
        for i in rest:
            out[i] = shear_move(data[i], moves.select([int(i)]), float(levels[i]))
        return out
    centre = np.array([n // 2 for n in box], np.float64)
    back = matrix[rest].swapaxes(1, 2)
    offset = centre - shift[rest] - back @ centre
    chosen = data if len(rest) == len(data) else data[rest]
    out[rest] = affine(chosen, back, offset, box, method, levels[rest], threads)
    return out


def _alike(shift: NDArray[np.float64], index: NDArray[np.intp]) -> list[slice]:
    """Runs of neighbours with the same shift."""
    parts: list[slice] = []
    for i in index:
        if parts and parts[-1].stop == i and (shift[i] == shift[i - 1]).all():
            parts[-1] = slice(parts[-1].start, int(i) + 1)
        else:
            parts.append(slice(int(i), int(i) + 1))
    return parts
