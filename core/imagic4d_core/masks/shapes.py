"""Circular and spherical masks with a hard or a soft edge, in boxes of any shape.

A soft edge falls as a raised cosine from 1 at the radius to 0 at radius + edge, in pixels. The centre is index ``N // 2`` of
every axis.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.units import in_pixels

F = TypeVar("F", np.float32, np.float64)


def axes_of(shape: Sequence[int], dtype: type[np.floating] = np.float32) -> tuple[NDArray[Any], ...]:
    """Coordinates from the centre along each axis of a box, in pixels, shaped to broadcast."""
    d = len(shape)
    return tuple((np.arange(n, dtype=dtype) - n // 2).reshape([-1 if a == k else 1 for k in range(d)])
                 for a, n in enumerate(shape))  # fmt: skip


def distances(shape: Sequence[int], centre: ArrayLike | None = None, dtype: type[np.floating] = np.float32) -> NDArray[Any]:
    """Distance of every pixel from the centre, pixels.

    Parameters
    ----------
    shape : sequence of int
        (lines, pixels) or (sections, lines, pixels), any number of axes.
    centre : array_like, optional
        Place from index ``N // 2``, one number for each axis of `shape`.
    dtype : {numpy.float32, numpy.float64}
        Of the result.
    """
    move = np.zeros(len(shape)) if centre is None else np.asarray(centre, dtype=np.float64)
    squares = [np.square(x - dtype(c)) for x, c in zip(axes_of(shape, dtype), move, strict=True)]
    total = np.zeros(tuple(shape), dtype)
    for square in squares:
        total += square
    return np.sqrt(total, out=total)


def falling(r: NDArray[F], radius: float, edge: float) -> NDArray[F]:
    """1 up to `radius`, raised cosine to 0 over `edge` beyond it; with ``edge=0`` a step (1 at the radius itself)."""
    if edge <= 0:
        return (r <= radius).astype(r.dtype)
    return (0.5 * (1.0 + np.cos(np.pi * np.clip((r - radius) / edge, 0.0, 1.0)))).astype(r.dtype, copy=False)


@lru_cache(maxsize=4)
def _round(shape: tuple[int, ...], radius: float, edge: float) -> NDArray[np.float32]:
    mask = falling(distances(shape), radius, edge)
    mask.setflags(write=False)
    return mask


def round_mask(shape: Sequence[int], radius: float, edge: float = 0.0) -> NDArray[np.float32]:
    """Circular or spherical mask around the centre of a box.

    Parameters
    ----------
    shape : sequence of int
        (lines, pixels) or (sections, lines, pixels).
    radius, edge : float
        Pixels.

    Returns
    -------
    ndarray of `shape`, float32, 0 to 1, read-only
    """
    return _round(tuple(int(n) for n in shape), float(radius), float(edge))


def soft_ball(box: int, radius: float, edge: float) -> NDArray[np.float32]:
    """Spherical mask (box, box, box), read-only; see `round_mask`."""
    return round_mask((box, box, box), radius, edge)


def soft_disc(box: int, radius: float, edge: float) -> NDArray[np.float32]:
    """Circular mask (box, box), read-only; see `round_mask`."""
    return round_mask((box, box), radius, edge)


def resolved(shape: Sequence[int], radius: float | None, falloff: float | None) -> tuple[float, float]:
    """Radius and falloff in pixels of a box.

    Values below 1 are fractions of half the smallest edge. Without a radius the mask touches the box: radius and falloff
    together are half the smallest edge. Without a falloff it is 0.1 of half the edge.

    Raises
    ------
    UsageError
        The radius is 0.
    """
    box = min(shape)
    edge = in_pixels(0.1 if falloff is None else falloff, box)
    if radius is None:
        return max(1.0, box / 2 - edge), edge
    if radius <= 0:
        raise UsageError("a mask of radius 0 keeps nothing: give pixels, or a fraction of half the box")
    return in_pixels(radius, box), edge
