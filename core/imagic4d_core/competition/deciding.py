"""From the table of all 3Ds of all starts to those that are kept, with the evidence for each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.agreement import Match, match, same_poses
from imagic4d_core.competition.choice import Scores, choose, losses

F64 = NDArray[np.float64]
#: Rotations (g, 3, 3) that leave the 3D of a column as it is, in its own frame.
Groups = Callable[[int], F64 | None]


def no_symmetry(column: int) -> None:
    """No 3D is symmetric."""
    return None


#: A 3D of another start is the same one: least Jaccard index of their images, least share of those in common with the same pose.
JACCARD, POSED = 0.85, 0.85
#: Starts are compared by the better fitting images of each 3D, this share of them: junk and mixed averages have no place of
#: their own.
FITTING = 0.7
#: Jaccard index below which poses are not compared.
LOOKED_AT = 0.3
#: Two chosen 3Ds are one structure, in one pose or nearly: share of the images of both whose poses agree.
ALIKE = 0.7
#: A 3D is needed if the cross-validated score falls by so many standard errors without it; one whose images were told apart by
#: other evidence, by so many.
SURE, SURE_TOLD = 3.0, 1.0


@dataclass(frozen=True)
class Kept:
    """One of the chosen 3Ds.

    Attributes
    ----------
    column : int
        Of the table.
    images : int
        That prefer it.
    loss, error : float
        Fall of the cross-validated score without it, and its standard error.
    again : tuple of int
        Other runs that have it, too: the same images in the same poses.
    best : Match
        With the most similar 3D of another run.
    """

    column: int
    images: int
    loss: float
    error: float
    again: tuple[int, ...]
    best: Match


@dataclass
class Decision:
    """What is kept, and why.

    Attributes
    ----------
    kept : list of Kept
    membership : ndarray, shape (n,), int64
        Index into `kept` of every image.
    score, error : float
        Mean cross-validated score of the images among those kept, and its standard error.
    removed : list of (column, why)
    by_number : list of dict
        Where their number was sought: ``volumes``, cross-validated ``score`` of so many, ``gain`` over one fewer and its standard
        ``error``.
    """

    kept: list[Kept]
    membership: NDArray[np.int64]
    score: float
    error: float
    removed: list[tuple[int, str]] = field(default_factory=list)
    by_number: list[dict[str, float]] = field(default_factory=list)

    @property
    def agreed(self) -> bool:
        """Whether every 3D kept was found by another run."""
        return all(k.again for k in self.kept)

    @property
    def columns(self) -> list[int]:
        """Columns of those kept."""
        return [k.column for k in self.kept]


def decide(
    scores: Scores, poses: F64, run: NDArray[np.int64], count: int, groups: Groups = no_symmetry,
    told: NDArray[np.bool_] | None = None,
) -> Decision:  # fmt: skip
    """Choose at most `count` 3Ds, without repeats.

    Parameters
    ----------
    scores : Scores
        Of n images in m 3Ds.
    poses : ndarray, shape (n, m, 3, 3), float64
        Pose of every image in every 3D.
    run : ndarray, shape (m,), int64
        The start that each 3D is from: images and poses agree by themselves inside one.
    count : int
    groups : callable
        Column -> rotations of the point group of its 3D: poses that differ by these are the same.
    told : ndarray of bool, shape (m,), optional
        3Ds whose images were told apart by other evidence than the scores.

    Returns
    -------
    Decision
        Of two 3Ds that see one structure in the same poses both stay only if other starts divided the images between them in the
        same way: a division of copies does not repeat. Others stay if the score falls clearly without them.
    """
    removed: list[tuple[int, str]] = []
    chosen = choose(scores.whole, count)
    while True:
        membership = scores.whole[:, chosen].argmax(1)
        again, best = _found_again(scores.whole, poses, run, chosen, membership, groups)
        loss, error = losses(scores, chosen)
        sure = np.full(len(chosen), SURE) if told is None else np.where(told[chosen], SURE_TOLD, SURE)
        gone = _superfluous(poses, chosen, membership, again, loss, error, sure, groups)
        if gone is None:
            break
        removed.append((chosen[gone[0]], gone[1]))
        chosen = choose(scores.whole, len(chosen) - 1)
    kept = [
        Kept(c, int((membership == j).sum()), float(loss[j]), float(error[j]), again[j], best[j]) for j, c in enumerate(chosen)
    ]
    crossed = scores.crossed(chosen)
    return Decision(kept, membership, float(crossed.mean()), float(crossed.std() / np.sqrt(len(crossed))), removed)


def _found_again(
    table: F64, poses: F64, run: NDArray[np.int64], chosen: list[int], membership: NDArray[np.int64], groups: Groups
) -> tuple[list[tuple[int, ...]], list[Match]]:
    """Other runs that have each chosen 3D: put in its place, one of theirs takes the same images in the same poses.

    A 3D that could stand for two of the chosen is a mixture of them, or from before they were divided: it speaks for neither.
    """
    again: list[list[int]] = [[] for _ in chosen]
    nearest = [Match(0.0, 0.0) for _ in chosen]
    fits = _fitting(table[:, chosen].max(1), membership)
    rivals = []
    for j in range(len(chosen)):
        rest = chosen[:j] + chosen[j + 1 :]
        rivals.append(table[:, rest].max(1) if rest else np.full(len(table), -np.inf))
    for r in np.unique(run):
        others = [int(m) for m in np.flatnonzero(run == r) if m not in chosen]
        stands: dict[int, int] = {}
        for j, c in enumerate(chosen):
            if r == run[c] or not others:
                continue
            mine = fits & (membership == j)
            taken = [fits & (table[:, m] > rivals[j]) for m in others]
            jaccard = [float((mine & t).sum() / max(1, (mine | t).sum())) for t in taken]
            at = int(np.argmax(jaccard))
            if jaccard[at] < LOOKED_AT:
                continue
            m = match(taken[at], mine, poses[:, others[at]], poses[:, c])
            if m.jaccard >= JACCARD and m.posed < POSED and groups(c) is not None:  # mates by symmetry are the same pose
                m = match(taken[at], mine, poses[:, others[at]], poses[:, c], groups(c))
            nearest[j] = max(nearest[j], m, key=lambda x: (x.jaccard * x.posed, x.jaccard))
            if m.jaccard >= JACCARD and m.posed >= POSED:
                stands[j] = others[at]
        for j, other in stands.items():
            if list(stands.values()).count(other) == 1:
                again[j].append(int(r))
    return [tuple(runs) for runs in again], nearest


def _fitting(score: F64, membership: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The better fitting images of each 3D, shape (n,)."""
    out = np.zeros(len(score), bool)
    for j in np.unique(membership):
        mine = np.flatnonzero(membership == j)
        keep = max(1, round(FITTING * len(mine)))
        out[mine[np.argsort(-score[mine], kind="stable")[:keep]]] = True
    return out


def _superfluous(
    poses: F64, chosen: list[int], membership: NDArray[np.int64], again: list[tuple[int, ...]], loss: F64, error: F64,
    sure: F64, groups: Groups,
) -> tuple[int, str] | None:  # fmt: skip
    """The chosen 3D that goes first, and why; None if all stay."""
    if len(chosen) < 2:
        return None
    order = np.argsort(loss, kind="stable")
    for j in order:
        if loss[j] <= sure[j] * error[j]:
            return int(j), f"the score changes by {-loss[j]:+.5f} without it, standard error {error[j]:.5f}"
    for j in order:
        for i in range(len(chosen)):
            if i == j or (again[i] and again[j]):
                continue
            both = (membership == i) | (membership == j)
            if same_poses(poses[both, chosen[i]], poses[both, chosen[j]], groups(chosen[j])) >= ALIKE:
                return int(j), "it repeats another one: the same structure, and no other start divides the images like this"
    return None


def without(decision: Decision, j: int, scores: Scores, why: str) -> Decision:
    """The same 3Ds but one; its images go to the others."""
    kept = [k for i, k in enumerate(decision.kept) if i != j]
    columns = [k.column for k in kept]
    membership = scores.whole[:, columns].argmax(1)
    loss, error = losses(scores, columns)
    kept = [
        replace(k, images=int((membership == i).sum()), loss=float(loss[i]), error=float(error[i])) for i, k in enumerate(kept)
    ]
    crossed = scores.crossed(columns)
    return Decision(
        kept, membership, float(crossed.mean()), float(crossed.std() / np.sqrt(len(crossed))),
        [*decision.removed, (decision.kept[j].column, why)], decision.by_number,
    )  # fmt: skip


def decide_number(
    scores: Scores, poses: F64, run: NDArray[np.int64], most: int, groups: Groups = no_symmetry,
    told: NDArray[np.bool_] | None = None,
) -> Decision:  # fmt: skip
    """As `decide`, with as many 3Ds as are needed, `most` at the most; `Decision.by_number` has the evidence.

    The number is taken from what is left when all repeats, and all without which the cross-validated score falls by less than
    `SURE` standard errors, are gone.
    """
    found = decide(scores, poses, run, min(most, scores.whole.shape[1]), groups, told)
    before: F64 | None = None
    for k in range(1, min(most, scores.whole.shape[1]) + 1):
        crossed = scores.crossed(choose(scores.whole, k))
        gain = crossed - before if before is not None else crossed
        found.by_number.append({
            "volumes": k, "score": float(crossed.mean()), "gain": float(gain.mean()),
            "error": float(gain.std() / np.sqrt(len(gain))),
        })  # fmt: skip
        before = crossed
    return found
