"""What comes of the search: the 3D of every image, its pose and scores, and a summary."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates, judge
from imagic4d_core.angrec.weights import Weights
from imagic4d_core.geometry.euler import angular_distance
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.jobs.scheme.angrec.anchors import Anchors
from imagic4d_core.jobs.scheme.angrec.images import Images


@dataclass
class AngrecSummary:
    """What angular reconstitution found; per-3D lists follow `numbers`.

    `included`: share of the images that the anchors were made of which were compared with them, as far as that is known.
    """

    images: int
    numbers: list[int]
    sizes: list[int]
    moved: float
    euler_change: float
    score: float
    confidence: list[float]
    directions: int
    increment: float
    max_frequency: float
    scores_3d: list[float] = field(default_factory=list)
    included: float = 0.0
    warnings: list[str] = field(default_factory=list)
    output: str = ""
    spectrum: NDArray[np.float64] | None = None
    curve: Weights | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {k: v for k, v in self.__dict__.items() if k not in ("spectrum", "curve")}

    def lines(self) -> list[str]:
        """For people."""
        head = (
            f"{self.output}: {self.images} images, {self.directions} directions (increment {self.increment:g} degrees), "
            f"frequencies to {self.max_frequency:.2f} Nyquist"
        )
        rows = [
            f"  3D {k}: {n} images, mean correlation {s:.3f}, mean confidence {c:.2f}"
            for k, n, s, c in zip(self.numbers, self.sizes, self.scores_3d, self.confidence, strict=True)
        ]
        change = f"  {100 * self.moved:.1f} % changed 3D, median change of Euler angles {self.euler_change:.1f} degrees"
        said = [f"  WARNING: {text}" for text in self.warnings]
        return [head, *rows, change, *([] if self.curve is None else [weights_line(self.curve)]), *said]


def weights_line(weights: Weights) -> str:
    """Where weights come from, and which frequencies have what part in the likelihood, for people."""
    line = f"  frequencies weighed from {weights.source}"
    if not np.isfinite(weights.share).all():
        return line
    tenth = np.minimum((weights.frequency * 10).astype(int), 9)
    parts = [f"to {(t + 1) / 10:.1f} Nyquist {100 * weights.share[tenth == t].sum():.0f} %" for t in np.unique(tenth)]
    return f"{line}: {', '.join(parts)}"


def summarise(
    images: Images, after: Poses, index: NDArray[np.int64], numbers: NDArray[np.int64], *, directions: int, increment: float,
    max_frequency: float, spectrum: NDArray[np.float64] | None = None,
) -> AngrecSummary:  # fmt: skip
    """Summary of the images that took part (`index`)."""
    before = images.poses
    sizes = [int((after.ref3d[index] == n).sum()) for n in numbers]

    def means(values: NDArray[np.float64]) -> list[float]:
        mine = [values[index][after.ref3d[index] == n] for n in numbers]
        return [float(v.mean()) if len(v) else 0.0 for v in mine]

    turned = angular_distance(images.matrices[index], after.matrices()[index])
    return AngrecSummary(
        images=len(index), numbers=[int(n) for n in numbers], sizes=sizes,
        moved=float((after.ref3d != before.ref3d)[index].mean()),
        euler_change=float(np.median(turned)), score=float(after.ccc3d[index].mean()), scores_3d=means(after.ccc3d),
        confidence=means(after.confidence), directions=directions, increment=increment, max_frequency=max_frequency,
        spectrum=spectrum,
    )  # fmt: skip


def poses_of(found: Candidates, index: NDArray[np.int64], images: Images, anchors: Anchors, score: str) -> Poses:
    """Poses after the competition; images that took no part keep what they had.

    Parameters
    ----------
    found : Candidates
    index : ndarray of int
        Images that took part.
    images, anchors
    score : {"ccc", "zscore"}
        What 3Ds are compared by.
    """
    numbers = anchors.numbers
    verdict = judge(found, *_levels(found, index, score))
    after = images.poses.copy()
    column = verdict.column[index]
    euler = images.poses.copy()
    euler.set_matrices(found.matrix[np.arange(len(found.score)), verdict.column])
    for name in ("alpha", "beta", "gamma"):
        getattr(after, name)[index] = getattr(euler, name)[index]
    after.shift[index] = found.shift[index, column]
    after.ref3d_old[index] = images.poses.ref3d[index]
    after.ref3d[index] = numbers[column]
    second = verdict.second[index]
    after.ref3d2[index] = np.where(second >= 0, numbers[np.maximum(second, 0)], 0)
    after.ccc3d[index] = found.score[index, column]
    after.errar[index] = 1.0 - found.score[index, column]
    for name in ("zscore", "margin", "confidence"):
        getattr(after, name)[index] = getattr(verdict, name)[index]
    after.eulererr[index] = found.error[index, column]
    after.fold[:] = images.fold
    after.folds[:], after.foldseed[:] = anchors.folds, anchors.seed
    return after


def _levels(
    found: Candidates, index: NDArray[np.int64], score: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centre and scale of each 3D's scores at mismatched directions, and the unit of each image's margins."""
    k = found.score.shape[1]
    mean, sd = found.mean[index], found.sd[index]
    unit = np.zeros(len(found.score))
    unit[index] = np.sqrt((sd**2).mean(1) + mean.var(1))
    if score == "ccc" or not len(index):
        pooled = float(np.sqrt((sd**2).mean())) if len(index) else 1.0
        return np.full(k, float(mean.mean()) if len(index) else 0.0), np.full(k, pooled or 1.0), unit
    scale = np.sqrt((sd**2).mean(0))
    return mean.mean(0), np.where(scale > 0, scale, 1.0), unit
