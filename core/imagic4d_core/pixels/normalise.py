"""Mean 0 and a wanted standard deviation under a mask; ramps and outliers taken away (IMAGIC's NORM-VARIANCE)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io.statistics import image_statistics
from imagic4d_core.masks.shapes import axes_of

CHUNK = 1 << 16
#: Rounds of the search for outliers: each takes off those that the ones before had hidden.
ROUNDS = 5


@dataclass(frozen=True)
class Normalisation:
    """How to normalise.

    Attributes
    ----------
    sigma : float
        Wanted standard deviation.
    mask : ndarray, shape (*box), float32, or None
        Weights of the densities in mean and standard deviation; None: all alike.
    outliers : float or None
        Densities farther than this many standard deviations from the mean are set to the mean.
    ramp : bool
        Take off the plane (volumes: the linear function) that fits best under the mask.
    masked : bool
        Multiply by the mask at the end.
    """

    sigma: float = 1.0
    mask: NDArray[np.float32] | None = None
    outliers: float | None = None
    ramp: bool = False
    masked: bool = False


def weighted_moments(a: NDArray[np.float32], mask: NDArray[np.float32] | None) -> tuple[float, float]:
    """Mean and standard deviation of an array (any shape) under weights of the same shape; sums in float64."""
    a = np.ascontiguousarray(a).reshape(-1)
    if mask is None:
        mean, variance = image_statistics(a.reshape(1, 1, -1))[0, :2]
        return float(mean), float(np.sqrt(variance))
    w = mask.reshape(-1)
    total = float(w.sum(dtype=np.float64))
    if total <= 0:
        return 0.0, 0.0
    mean = square = 0.0
    for start in range(0, a.size, CHUNK):
        mean += float((a[start : start + CHUNK] * w[start : start + CHUNK]).sum(dtype=np.float64))
    mean /= total
    for start in range(0, a.size, CHUNK):
        x = a[start : start + CHUNK].astype(np.float64)
        x -= mean
        square += float((x * w[start : start + CHUNK]) @ x)
    return mean, float(np.sqrt(square / total))


def normalise(data: NDArray[np.float32], how: Normalisation) -> tuple[NDArray[np.bool_], int]:
    """Normalise objects in place.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32, C-contiguous
    how : Normalisation

    Returns
    -------
    flat : ndarray, shape (n,), bool
        Constant objects: they become 0.
    replaced : int
        Densities that were outliers.
    """
    if how.mask is None and how.outliers is None and not how.ramp:
        return _whole(data, how.sigma), 0
    flat = np.zeros(len(data), bool)
    replaced = 0
    plane = _Ramp(data.shape[1:], how.mask) if how.ramp else None
    for k, one in enumerate(data):
        if plane is not None:
            plane.take_off(one)
        mean, sd = weighted_moments(one, how.mask)
        if how.outliers is not None:
            for _ in range(ROUNDS):
                count = _replace(one, mean, how.outliers * sd)
                replaced += count
                if not count:
                    break
                if plane is not None:
                    plane.take_off(one)
                mean, sd = weighted_moments(one, how.mask)
        flat[k] = bool(_constant(mean, sd))
        if flat[k]:
            one[...] = 0
            continue
        scale = np.float32(how.sigma / sd)
        a = one.reshape(-1)
        m = how.mask.reshape(-1) if how.masked and how.mask is not None else None
        for start in range(0, a.size, CHUNK):
            piece = a[start : start + CHUNK]
            piece -= np.float32(mean)
            piece *= scale
            if m is not None:
                piece *= m[start : start + CHUNK]
    return flat, replaced


def _constant(mean: NDArray[np.float64] | float, sd: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    """Whether a standard deviation is no more than what rounding of float32 densities makes of a constant."""
    return np.asarray(sd) <= 1e-6 * np.abs(mean)


def _whole(data: NDArray[np.float32], sigma: float) -> NDArray[np.bool_]:
    """`normalise` without mask, outliers and ramps: several small objects at a time, in the cache."""
    flat = np.zeros(len(data), bool)
    rows = data.reshape(len(data), -1)
    step = max(1, CHUNK // rows.shape[1])
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        found = image_statistics(some[:, None])
        mean, sd = found[:, 0], np.sqrt(found[:, 1])
        flat[start : start + step] = bad = _constant(mean, sd)
        scale = np.where(bad, 0.0, sigma / np.where(bad, 1.0, sd)).astype(np.float32)[:, None]
        shift = mean.astype(np.float32)[:, None]
        for first in range(0, rows.shape[1], CHUNK):
            piece = some[:, first : first + CHUNK]
            piece -= shift
            piece *= scale
    return flat


def _replace(one: NDArray[np.float32], mean: float, most: float) -> int:
    far = np.abs(one - np.float32(mean)) > most
    count = int(far.sum())
    if count:
        one[far] = mean
    return count


class _Ramp:
    """Least-squares linear function of the coordinates under a mask."""

    def __init__(self, shape: tuple[int, ...], mask: NDArray[np.float32] | None):
        self.axes = [x.astype(np.float64) for x in axes_of(shape)]
        self.mask = mask
        w = np.ones(shape) if mask is None else mask.astype(np.float64)
        basis = [np.ones((1,) * len(shape)), *self.axes]
        self.normal = np.array([[float((w * p * q).sum()) for q in basis] for p in basis])

    def take_off(self, one: NDArray[np.float32]) -> None:
        w = one.astype(np.float64) if self.mask is None else one * self.mask.astype(np.float64)
        right = [float(w.sum())]
        for axis, x in enumerate(self.axes):  # sums along the other axes, then a product of two lines
            others = tuple(b for b in range(w.ndim) if b != axis)
            right.append(float(w.sum(axis=others) @ x.ravel()))
        found = np.linalg.lstsq(self.normal, np.array(right), rcond=1e-12)[0]
        for c, x in zip(found[1:], self.axes, strict=True):
            one -= (c * x).astype(np.float32)
        one -= np.float32(found[0])
