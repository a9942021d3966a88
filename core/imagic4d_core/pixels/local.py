"""What depends on the neighbourhood of a pixel: gradient, Laplacian, local variance, peaks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.masks.shapes import round_mask


def _continued(one: NDArray) -> NDArray:
    """The object with its border repeated once on every side."""
    return np.pad(one, 1, mode="edge")


def _neighbours(one: NDArray, axis: int) -> tuple[NDArray, NDArray]:
    wide = _continued(one)
    middle = [slice(1, -1)] * one.ndim
    low, high = middle.copy(), middle.copy()
    low[axis], high[axis] = slice(None, -2), slice(2, None)
    return wide[tuple(low)], wide[tuple(high)]


def gradient(one: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of the gradient, densities per pixel: central differences (half of the outer ones at the border)."""
    total = np.zeros(one.shape, np.float32)
    for axis in range(one.ndim):
        low, high = _neighbours(one, axis)
        total += np.square(0.5 * (high - low))
    return np.sqrt(total)


def laplace(one: NDArray[np.float32]) -> NDArray[np.float32]:
    """Laplacian: sum of the second differences along all axes; the border is repeated outside."""
    total = np.zeros(one.shape, np.float32)
    for axis in range(one.ndim):
        low, high = _neighbours(one, axis)
        total += low + high - 2 * one
    return total


def local_variance(one: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Variance of the densities within a distance of each pixel; the border is continued as in a mirror.

    Parameters
    ----------
    one : ndarray, shape (*box), float32
    radius : float
        Pixels, at least 1 and below half the box.
    """
    reach = int(np.ceil(radius))
    wide = np.pad(one.astype(np.float64) - one.mean(dtype=np.float64), reach, mode="symmetric")
    window = round_mask(wide.shape, radius).astype(np.float64)
    kernel = fourier.centred_rfftn(window / window.sum(), wide.ndim)

    def mean(x: NDArray) -> NDArray:
        return fourier.irfftn(fourier.rfftn(x, x.ndim) * kernel, x.shape)

    variance = mean(np.square(wide)) - np.square(mean(wide))
    middle = tuple(slice(reach, reach + n) for n in one.shape)
    return np.maximum(variance[middle], 0.0).astype(np.float32)


@dataclass(frozen=True)
class Peak:
    """A local maximum.

    Attributes
    ----------
    place : tuple of float
        From the centre ``N // 2``, pixels: (x, y) or (x, y, z), to a fraction of a pixel.
    height : float
        Density of the pixel.
    """

    place: tuple[float, ...]
    height: float


def peaks(one: NDArray[np.float32], number: int, distance: float = 1.0, least: float | None = None) -> list[Peak]:
    """The highest local maxima of an image or volume.

    Parameters
    ----------
    one : ndarray, shape (*box), float32
    number : int
        At most so many.
    distance : float
        No two are nearer than this, pixels.
    least : float, optional
        Least density.

    Returns
    -------
    list of Peak
        Highest first. A maximum is higher than the neighbours before it and at least as high as those behind it, all that touch
        it; a plateau counts once at most. The border counts as if lower pixels were around it; the fraction of a pixel comes
        from parabolas along the axes.
    """
    wide = np.pad(one, 1, mode="constant", constant_values=-np.inf)
    top = np.ones(one.shape, bool) if least is None else one >= least
    for k, step in enumerate(np.ndindex((3,) * one.ndim)):
        if step == (1,) * one.ndim:
            continue
        other = wide[tuple(slice(s, s + n) for s, n in zip(step, one.shape, strict=True))]
        top &= one > other if k < 3**one.ndim // 2 else one >= other
    where = np.argwhere(top)
    order = np.argsort(-one[top], kind="stable")
    found: list[Peak] = []
    taken = np.zeros((0, one.ndim))
    centre = np.array(one.shape) // 2
    for place in where[order]:
        if len(taken) and np.square(taken - place).sum(1).min() < distance**2:
            continue
        taken = np.vstack([taken, place])
        fine = place - centre + np.array([_parabola(one, place, axis) for axis in range(one.ndim)])
        # array axes are ([z,] x, y)
        ordered = fine if one.ndim == 2 else fine[[1, 2, 0]]
        found.append(Peak(tuple(float(v) for v in ordered), float(one[tuple(place)])))
        if len(found) == number:
            break
    return found


def _parabola(one: NDArray[np.float32], place: NDArray[np.intp], axis: int) -> float:
    if not 0 < place[axis] < one.shape[axis] - 1:
        return 0.0
    step = np.zeros(one.ndim, np.intp)
    step[axis] = 1
    low, mid, high = (float(one[tuple(place + k * step)]) for k in (-1, 0, 1))
    bend = low - 2 * mid + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
