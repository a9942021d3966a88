"""FSC inside cones: how much the agreement of two half maps depends on direction.

The conical FSC takes the Fourier samples within 20 degrees of an axis (Tan et al., Nat. Methods 14, 2017, 793-796). The conical
FSC area ratio, cFAR, is the smallest area under such a curve over the largest: 1 where all directions are alike; below 0.5 is
commonly taken for a sign of preferred views.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.fourier import centred_rfftn, crop_rfftn, frequencies, half_frequencies, half_weights, shells
from imagic4d_core.fsc import common_box
from imagic4d_core.views.sampling import half_shell

F64 = NDArray[np.float64]

#: Half the opening of a cone, degrees; axes over half the sphere.
OPENING, AXES = 20.0, 150
#: Lowest shell that counts: below, a cone holds too few samples. Most shells that are looked at.
FIRST, LAST = 2, 48
#: Curves end where the FSC over all directions falls below this.
LEVEL = 0.143


@dataclass(frozen=True)
class Conical:
    """Conical FSC of two half maps.

    Attributes
    ----------
    cfar : float
    worst, best : ndarray, shape (3,), float64
        Axes of the smallest and largest area.
    curves : ndarray, shape (axes, shells), float64
        By Fourier pixel, from 0.
    """

    cfar: float
    worst: F64
    best: F64
    curves: F64


def conical_fsc(a: NDArray, b: NDArray) -> Conical:
    """Compare two half maps in cones.

    Parameters
    ----------
    a, b : ndarray, shape (n, n, n), real

    Returns
    -------
    Conical
        `cfar` is NaN where the maps agree nowhere; curves are 0 in shells of which a cone holds no sample.

    Raises
    ------
    MismatchError
        Shapes that differ or are not cubic.
    """
    box = common_box(a, b)
    size = min(box, 2 * LAST)
    f, g = (crop_rfftn(centred_rfftn(v, 3), (box,) * 3, (size,) * 3) for v in (a, b))
    index = shells(size, 3)
    weight = np.broadcast_to(half_weights(size), index.shape)
    use = (index > 0) & (index < size // 2)
    radius = index[use]
    cross = (weight * (f * g.conj()).real)[use].astype(np.float64)
    power = [(weight * np.abs(x) ** 2)[use].astype(np.float64) for x in (f, g)]
    full, half = frequencies(size), half_frequencies(size)
    where = np.stack(np.broadcast_arrays(full[None, :, None], half[None, None, :], full[:, None, None]), -1)[use]
    where /= np.linalg.norm(where, axis=1, keepdims=True)

    def curve(part: NDArray[np.bool_] | slice) -> F64:
        sums = [np.bincount(radius[part], x[part], minlength=size // 2) for x in (cross, *power)]
        return np.asarray(sums[0] / np.maximum(np.sqrt(sums[1] * sums[2]), 1e-30))

    below = np.flatnonzero(curve(slice(None))[FIRST:] < LEVEL)
    last = FIRST + (int(below[0]) if len(below) else size // 2 - FIRST)
    axes = half_shell(AXES)
    curves = np.stack([curve(np.abs(where @ axis) > np.cos(np.deg2rad(OPENING))) for axis in axes])
    band = curves[:, FIRST:last]
    # a cone may hold no sample of the lowest shells
    area = np.clip(band, 0.0, 1.0).sum(1) / np.maximum((band != 0).sum(1), 1)
    worst, best = int(area.argmin()), int(area.argmax())
    ratio = float(area[worst] / area[best]) if area[best] > 0 else float("nan")
    return Conical(ratio, axes[worst], axes[best], curves)
