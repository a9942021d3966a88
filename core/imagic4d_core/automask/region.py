"""From a modulation map to a mask: threshold, largest connected regions, filled, grown, with a soft edge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imagic4d_core.masks.shapes import falling

#: Automatic threshold: standard deviations of the background, or this part of what 80 % of the inside stays below, whichever is
#: more (docs/auto-mask.md).
LEVEL, PART, QUANTILE = 2.4, 0.14, 0.8
#: Cubic angstrom that one dalton of protein fills (partial specific volume 0.73 ml/g).
ANGSTROM3_PER_DALTON = 1.21


def automatic_threshold(modulation: NDArray[np.float32]) -> float:
    """Threshold of a modulation map: clear of the background, and `PART` of the object's own level where there is no noise.

    Comes down from half the maximum, so that it stops at the object and not at what is faint around it: the next level is `PART`
    of the upper quantile of what is above the last, until that changes nothing, and never below `LEVEL`.
    """
    values = np.sort(modulation, axis=None)
    level = max(LEVEL, 0.5 * float(values[-1]))
    for _ in range(200):
        first = int(np.searchsorted(values, level, side="right"))
        if first >= values.size:
            return LEVEL
        new = max(LEVEL, PART * float(values[first + int(QUANTILE * (values.size - first))]))
        if new >= level * 0.9999:
            break
        level = new
    return level


def region(modulation: NDArray[np.float32], threshold: float, components: int = 1, fill: bool = True) -> NDArray[np.bool_]:
    """Pixels above a threshold in the largest connected regions (neighbours share an edge or a face), holes filled.

    Of regions of one size the first in storage order counts as the larger. ``components=0`` keeps all.
    """
    above = modulation > threshold
    if components:
        labels, count = ndimage.label(above)
        if count > components:
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            keep = np.zeros(count + 1, bool)
            keep[np.argsort(-sizes, kind="stable")[:components]] = True
            above = keep[labels]
    return ndimage.binary_fill_holes(above) if fill else above


def threshold_for(
    modulation: NDArray[np.float32], pixels: float, components: int = 1, fill: bool = True
) -> tuple[float, NDArray[np.bool_]]:
    """Threshold at which the region has as many pixels as wanted, and the region.

    Parameters
    ----------
    modulation : ndarray
    pixels : float
        Wanted size.
    components, fill
        As `region`.
    """
    wanted = float(np.clip(pixels, 1, modulation.size))

    def at(level: float) -> NDArray[np.bool_]:
        return region(modulation, level, components, fill)

    return _bisect(at, float(modulation.min()), float(modulation.max()), wanted)


def _bisect(at: Callable[[float], NDArray[np.bool_]], low: float, high: float, wanted: float) -> tuple[float, NDArray[np.bool_]]:
    best_level, best = low, at(low)
    for _ in range(30):
        middle = 0.5 * (low + high)
        found = at(middle)
        size = int(found.sum())
        if abs(size - wanted) < abs(int(best.sum()) - wanted):
            best_level, best = middle, found
        if size == int(wanted) or not low < middle < high:
            break
        low, high = (middle, high) if size > wanted else (low, middle)
    return best_level, best


def soft_mask(inside: NDArray[np.bool_], extend: float = 0.0, falloff: float = 0.0) -> NDArray[np.float32]:
    """A region grown by `extend` pixels, falling by a raised cosine over `falloff` pixels beyond, values 0 to 1."""
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    if extend <= 0 and falloff <= 0:
        return inside.astype(np.float32)
    distance = ndimage.distance_transform_edt(~inside).astype(np.float32)
    return falling(distance, float(extend), float(falloff))


@dataclass
class Shape:
    """How a modulation map becomes a mask.

    Attributes
    ----------
    threshold : float or None
        None: `automatic_threshold`, or what gives as many pixels as `wanted`.
    wanted : float or None
        Pixels inside.
    components, fill
        As `region`.
    extend, falloff : float
        Pixels, as `soft_mask`.
    """

    threshold: float | None
    wanted: float | None
    components: int
    fill: bool
    extend: float
    falloff: float

    def mask(self, modulation: NDArray[np.float32]) -> tuple[float, NDArray[np.bool_], NDArray[np.float32]]:
        """Threshold, region and mask."""
        if self.wanted is not None:
            cut, inside = threshold_for(modulation, self.wanted, self.components, self.fill)
        else:
            cut = automatic_threshold(modulation) if self.threshold is None else self.threshold
            inside = region(modulation, cut, self.components, self.fill)
        return cut, inside, soft_mask(inside, self.extend, self.falloff)
