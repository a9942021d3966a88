"""Whether images bear witness to the references they are aligned with, and references made without an image's own noise.

Noise aligned to a picture gives the picture back (Henderson, PNAS 110 (2013) 18037, doi:10.1073/pnas.1314449110, and
references therein). Two guards: every reference competes with a decoy of the same mask and spectrum but random phases, which
noise prefers as often; and references that are sums of the same images are made anew, for every fold of the images without it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: References count as seen in the images when more of these prefer a reference to all its decoys than this share, by so many
#: standard deviations. Chance is 1 / (1 + decoys) for the average picture, and up to this for pictures of few details.
CHANCE, ENOUGH = 0.35, 3.1
#: Decoys of each reference, and images looked at.
DECOYS = 5
SAMPLE = 64
SAMPLE_SAFE = 512
#: With fewer images even all of them would prove nothing.
FEWEST = 6
#: A single reference of at least this many of those is judged by itself, and left out below this share.
OWN_SAMPLE, POOR = 24, 0.25
FOLDS = 5


@dataclass
class Evidence:
    """How references do against decoys.

    Attributes
    ----------
    images : int
        Images looked at.
    wins : float
        Share of them that prefer a reference to every decoy of five sets; by chance a sixth.
    z : float
        `wins` above `CHANCE`, in standard deviations.
    poor : list of int
        0-based numbers of references that do no better than their decoys.
    """

    images: int
    wins: float
    z: float
    poor: list[int]

    @property
    def few(self) -> bool:
        """Whether there were too few images to tell."""
        return self.images < FEWEST

    @property
    def found(self) -> bool:
        """Whether the images show the references."""
        return self.z >= ENOUGH

    def line(self, which: str) -> str:
        """For people; `which` reference an image is to prefer."""
        return f"  {100 * self.wins:.0f} % of {self.images} images prefer {which} reference to random pictures (noise: 17 %)"

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return {"images": self.images, "wins": self.wins, "z": self.z, "poor": [k + 1 for k in self.poor]}


def weigh(target: NDArray[np.floating], decoy: NDArray[np.floating]) -> Evidence:
    """Judge the best scores of images in references and in their decoys.

    Parameters
    ----------
    target : ndarray, shape (n, k)
        -inf where a reference is not allowed.
    decoy : ndarray, shape (n, sets, k)
    """
    a, b = target.max(1).astype(np.float64), decoy.max(2).astype(np.float64)
    use = np.isfinite(a) & np.isfinite(b).all(1)
    a, b, n = a[use], b[use], int(use.sum())
    if n < 2 or not (a > 0).any():
        return Evidence(n, 0.0, 0.0, [])
    won = (a[:, None] > b).all(1)
    wins = float(won.mean())
    poor = []
    mine, theirs = target.argmax(1)[use], decoy.max(1).argmax(1)[use]
    for j in range(target.shape[1]):
        right, wrong = int((won & (mine == j)).sum()), int((~won & (theirs == j)).sum())
        if right + wrong >= OWN_SAMPLE and right < POOR * (right + wrong):
            poor.append(j)
    return Evidence(n, wins, float((wins - CHANCE) / np.sqrt(CHANCE * (1 - CHANCE) / n)), poor)


def sampled(active: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Evenly spaced active images, at most so many."""
    index = np.flatnonzero(active)
    if len(index) > most:
        index = index[(np.arange(most) * len(index)) // most]
    out = np.zeros(len(active), bool)
    out[index] = True
    return out


def own_classes(headers: NDArray, references: NDArray) -> tuple[str, NDArray[np.int64]] | None:
    """Which reference each image was summed into, when the references look like sums of these very images.

    Word 108 (class) of the images is asked, then word 107 (reference): every reference must say how many were summed (words 59
    or 114), every image's number must be that of a reference or 0, and none may have fewer images than it says.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    references : ndarray, shape (k,), `HEADER_DTYPE`

    Returns
    -------
    word, number : str, ndarray of int, shape (n,)
        1-based, 0: none. None: they do not look like it.
    """
    summed = np.maximum(references["NALISUM"], np.rint(references["NUMCLS"])).astype(np.int64)
    if not (summed > 0).all():
        return None
    for word in ("CLASSNO", "REF"):
        number = np.rint(headers[word]).astype(np.int64)
        if (number < 0).any() or (number > len(references)).any() or not (number > 0).any():
            continue
        if (np.bincount(number, minlength=len(references) + 1)[1:] >= summed).all():
            return word, number
    return None
