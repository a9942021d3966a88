"""Which images does a 3D explain better than a decoy? The others are in none: junk, or too noisy to tell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: An image is explained for certain if its score rises over that of decoys by so many standard deviations of decoys' scores.
CERTAIN = 4.0
#: How far below the middle of those explained for certain an image may lie, in their standard deviations.
BELOW = 2.5
#: Least share of images explained for certain, below which no image is told from another.
SHARE = 0.2


@dataclass(frozen=True)
class Explained:
    """Which images their 3Ds explain.

    Attributes
    ----------
    images : ndarray of bool, shape (n,)
    threshold : float
        Least rise of the score over a decoy's; -inf where images cannot be told apart.
    """

    images: NDArray[np.bool_]
    threshold: float


def explained(score: F64, decoy: F64) -> Explained:
    """Tell images that 3Ds explain from those that they explain no better than decoys do.

    As target and decoy compete in the search of peptides (Elias, Gygi, Nat. Methods 4, 2007, 207): decoys are the same 3Ds with
    random phases, so that what fits them fits by chance, by the few frequencies that any particle has, or by what searches find
    in noise. Most images are taken to show particles: an image falls out only if its rise lies below that of decoys' scatter
    and clearly below the rise of those that are certain.

    Parameters
    ----------
    score, decoy : ndarray, shape (n,), float64
        Best correlation of each image in any 3D made without it, and in any such 3D with random phases.

    Returns
    -------
    Explained
    """
    rise = score - decoy
    scatter = 1.4826 * float(np.median(np.abs(decoy - np.median(decoy))))
    certain = rise > CERTAIN * scatter
    if certain.sum() < max(3, SHARE * len(rise)):
        return Explained(np.ones(len(rise), bool), -np.inf)
    middle = float(np.median(rise[certain]))
    upper = rise[rise > middle] - middle
    spread = float(np.quantile(upper, 0.6827)) if len(upper) else 0.0
    threshold = min(middle - BELOW * spread, CERTAIN * scatter)
    return Explained(rise >= threshold, threshold)
