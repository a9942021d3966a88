"""Windows of images and volumes: cutting, padding, and the value that fills what is not there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError


def edge_mean(data: NDArray, ndim: int) -> NDArray:
    """Mean of the outermost pixels (voxels) of each object; axes of length 1 have no ends.

    Parameters
    ----------
    data : ndarray, shape (n, *box)
    ndim : {2, 3}
        Length of the box.

    Returns
    -------
    ndarray, shape (n,), float64 or complex128
    """
    n = len(data)
    wide = np.complex128 if data.dtype.kind == "c" else np.float64
    total, count = np.zeros(n, wide), 0
    rest = data.reshape(n, *data.shape[-ndim:])
    long = [axis for axis in range(1, ndim + 1) if rest.shape[axis] > 1]  # a line has two ends
    if not long:
        return rest.reshape(n, -1)[:, 0].astype(wide)
    for axis in long:
        lead = (slice(None),) * axis
        for face in (0, -1):
            part = rest[(*lead, face)].reshape(n, -1)
            total += part.sum(1, dtype=wide)
            count += part.shape[1]
        if rest.shape[axis] <= 2:  # nothing lies between the faces
            break
        rest = rest[(*lead, slice(1, -1))]
    return total / count


def fill_levels(data: NDArray, fill: float | str, ndim: int) -> NDArray:
    """The value that fills in for pixels outside, for each object.

    Parameters
    ----------
    data : ndarray, shape (n, *box)
    fill : {"edge", "mean"} or float
        Mean of the outermost pixels, mean of all, or the value itself.
    ndim : {2, 3}

    Returns
    -------
    ndarray, shape (n,), float64 or complex128
    """
    if fill == "edge":
        return edge_mean(data, ndim)
    if fill == "mean":
        wide: Any = np.complex128 if data.dtype.kind == "c" else np.float64
        return data.reshape(len(data), -1).mean(1, dtype=wide)
    return np.full(len(data), float(fill))


def spans(box: Sequence[int], size: Sequence[int], centre: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """First and last + 1 index of a window on each axis; they may lie outside.

    Parameters
    ----------
    box, size : sequence of int
        Of the image and of the window.
    centre : sequence of int, optional
        0-based index that becomes index ``size // 2``; default: ``box // 2``.
    """
    middle = [n // 2 for n in box] if centre is None else centre
    return [(c - m // 2, c - m // 2 + m) for c, m in zip(middle, size, strict=True)]


def place(part: NDArray, at: Sequence[int], size: Sequence[int], levels: NDArray) -> NDArray:
    """Objects in a larger box that is filled elsewhere.

    Parameters
    ----------
    part : ndarray, shape (n, *inner)
    at : sequence of int
        Index in the new box of the first pixel of `part`, per axis.
    size : sequence of int
        The new box.
    levels : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n, *size), dtype of `part`; integer types are rounded to
    """
    inner = part.shape[1:]
    if tuple(inner) == tuple(size):
        return part
    values = np.rint(levels) if part.dtype.kind in "iu" else levels
    out = np.empty((len(part), *size), part.dtype)
    out[:] = values.astype(part.dtype).reshape(-1, *(1,) * len(size))
    out[(slice(None), *[slice(a, a + k) for a, k in zip(at, inner, strict=True)])] = part
    return out


def cut(data: NDArray, size: Sequence[int], centre: Sequence[int] | None = None, fill: float | str = "edge") -> NDArray:
    """Cut a window out of every object, or pad it; the centre goes to the centre, index N // 2.

    Parameters
    ----------
    data : ndarray, shape (n, *box)
    size : sequence of int, length 2 or 3
    centre : sequence of int, optional
        0-based index of the new centre in the old box.
    fill : {"edge", "mean"} or float
        Of what lies outside; `fill_levels` of the part that lies inside (of the object where no part does).

    Returns
    -------
    ndarray, shape (n, *size)
    """
    ndim = len(size)
    box = data.shape[-ndim:]
    where = spans(box, size, centre)
    inside = [(min(max(a, 0), n), max(min(b, n), 0)) for (a, b), n in zip(where, box, strict=True)]
    part = data[(slice(None), *[slice(a, max(a, b)) for a, b in inside])]
    if part.shape[1:] == tuple(size):
        return np.ascontiguousarray(part)
    if 0 in part.shape[1:]:
        return place(data[(slice(None), *[slice(0, 0)] * ndim)], [0] * ndim, size, fill_levels(data, fill, ndim))
    at = [a - w[0] for (a, _), w in zip(inside, where, strict=True)]
    return place(part, at, size, fill_levels(part, fill, ndim))


def sides(given: Sequence[float], ndim: int, what: str) -> tuple:
    """Values for array axes out of (lines, pixels[, sections]) as given on the command line; one number counts for all.

    Raises
    ------
    UsageError
        Another number of values.
    """
    if len(given) == 1:
        given = tuple(given) * ndim
    if len(given) != ndim:
        names = "lines, pixels" if ndim == 2 else "lines, pixels, sections"
        raise UsageError(f"{what} {','.join(f'{v:g}' for v in given)}: {ndim} numbers are needed here ({names}), or one for all")
    return tuple(given) if ndim == 2 else (given[2], given[0], given[1])
