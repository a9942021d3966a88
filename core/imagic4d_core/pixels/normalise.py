"""Mean 0 and a wanted standard deviation under a mask; ramps and outliers taken away (IMAGIC's NORM-VARIANCE)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io.statistics import moments, pieces
from imagic4d_core.masks.shapes import axes_of

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
    """Mean and standard deviation of an array (any shape) under weights of the same shape; see `io.statistics.moments`."""
    mean, variance = moments(np.ascontiguousarray(a).reshape(1, -1), None if mask is None else mask.reshape(-1))[0]
    return float(mean), float(np.sqrt(variance))


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
    rows = data.reshape(len(data), -1)
    weights = None if how.mask is None else how.mask.reshape(-1)
    plane = _Ramp(data.shape[1:], how.mask) if how.ramp else None
    if plane is not None:
        for one in data:
            plane.take_off(one)
    found = moments(rows, weights)
    mean, sd = found[:, 0], np.sqrt(found[:, 1])
    replaced = 0
    if how.outliers is not None:
        for k, one in enumerate(data):
            mean[k], sd[k], count = _without_outliers(one, mean[k], sd[k], how, plane)
            replaced += count
    # no more than what rounding of float32 densities makes of a constant
    flat = sd <= 1e-6 * np.abs(mean)
    scale = np.where(flat, 0.0, how.sigma / np.where(flat, 1.0, sd)).astype(np.float32)
    level = mean.astype(np.float32)
    for some, part in pieces(*rows.shape):
        piece = rows[some, part]
        piece -= level[some, None]
        piece *= scale[some, None]
        if how.masked and weights is not None:
            piece *= weights[part]
    rows[flat] = 0.0  # not -0
    return flat, replaced


def _without_outliers(
    one: NDArray[np.float32], mean: float, sd: float, how: Normalisation, plane: "_Ramp | None"
) -> tuple[float, float, int]:
    """Replace the outliers of an object; its mean and standard deviation then, and how many there were."""
    replaced = 0
    for _ in range(ROUNDS):
        count = _replace(one, mean, (how.outliers or 0.0) * sd)
        replaced += count
        if not count:
            break
        if plane is not None:
            plane.take_off(one)
        mean, sd = weighted_moments(one, how.mask)
    return mean, sd, replaced


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
