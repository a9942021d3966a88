"""From the table of all 3Ds of all starts to those that are kept, with the evidence for each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.agreement import Match, jaccard, match, same_poses
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
#: A 3D could stand for two: least share of the images of both that it takes, and of either's that have the same poses there.
COVERS, SHARED = 0.8, 0.6
#: Two 3Ds that other runs found as well are surely two if one in their place loses so many standard errors of the score.
CLEAR = 12.0
#: A 3D of junk: other starts gather the same images (least Jaccard index), but not in the same poses (greatest share).
JUNK_SHARED, JUNK_POSED = 0.7, 0.35
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
    nearest : int
        Its column; -1: there is none.
    """

    column: int
    images: int
    loss: float
    error: float
    again: tuple[int, ...]
    best: Match
    nearest: int = -1

    @property
    def like_junk(self) -> bool:
        """Whether starts gather these images, but see no structure in them that they agree on."""
        return not self.again and self.best.jaccard >= JUNK_SHARED and self.best.posed < JUNK_POSED


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
        """Whether every 3D kept, but for those of junk, was found by another run; there is one at least."""
        return all(k.again or k.like_junk for k in self.kept) and self.particles > 0

    @property
    def particles(self) -> int:
        """Number of 3Ds that are not of junk."""
        return sum(not k.like_junk for k in self.kept)

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
        3Ds stay if the score falls clearly without them. Two that are one structure may both stay: see `for_both`.
    """
    removed: list[tuple[int, str]] = []
    chosen = choose(scores.whole, count)
    while True:
        found = evaluate(scores, poses, run, chosen, groups)
        gone = _superfluous(found, told)
        if gone is None:
            return replace(found, removed=removed)
        removed.append((chosen[gone[0]], gone[1]))
        chosen = choose(scores.whole, len(chosen) - 1)


def evaluate(scores: Scores, poses: F64, run: NDArray[np.int64], chosen: list[int], groups: Groups = no_symmetry) -> Decision:
    """What speaks for these 3Ds; parameters as of `decide`."""
    membership = scores.whole[:, chosen].argmax(1)
    again, best = _found_again(scores.whole, poses, run, chosen, membership, groups)
    loss, error = losses(scores, chosen)
    kept = [
        Kept(c, int((membership == j).sum()), float(loss[j]), float(error[j]), again[j], *best[j]) for j, c in enumerate(chosen)
    ]
    crossed = scores.crossed(chosen)
    return Decision(kept, membership, float(crossed.mean()), float(crossed.std() / np.sqrt(len(crossed))))


def _found_again(
    table: F64, poses: F64, run: NDArray[np.int64], chosen: list[int], membership: NDArray[np.int64], groups: Groups
) -> tuple[list[tuple[int, ...]], list[tuple[Match, int]]]:
    """Other runs that have each chosen 3D: put in its place, one of theirs takes the same images in the same poses.

    And the most similar 3D of any other run, with its column.

    A 3D that could stand for two of the chosen is a mixture of them, or from before they were divided: it speaks for neither.
    """
    again: list[list[int]] = [[] for _ in chosen]
    nearest = [(Match(0.0, 0.0), -1) for _ in chosen]
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
            common = [jaccard(mine, t) for t in taken]
            at = int(np.argmax(common))
            if common[at] < LOOKED_AT:
                continue
            m = match(taken[at], mine, poses[:, others[at]], poses[:, c])
            if m.jaccard >= JACCARD and m.posed < POSED and groups(c) is not None:  # mates by symmetry are the same pose
                m = match(taken[at], mine, poses[:, others[at]], poses[:, c], groups(c))
            nearest[j] = max(nearest[j], (m, others[at]), key=lambda x: (x[0].jaccard * x[0].posed, x[0].jaccard))
            if m.jaccard >= JACCARD and m.posed >= POSED:
                stands[j] = others[at]
        for j, other in stands.items():
            if list(stands.values()).count(other) == 1:
                again[j].append(int(r))
    return [tuple(runs) for runs in again], nearest


def compared_anew(
    decision: Decision, scores: Scores, poses: F64, run: NDArray[np.int64], groups: Groups, columns: set[int]
) -> Decision:
    """The same choice; of some columns it is looked anew which runs have them, as other poses count as the same now."""
    again, best = _found_again(scores.whole, poses, run, decision.columns, decision.membership, groups)
    kept = [
        replace(k, again=a, best=b[0], nearest=b[1]) if k.column in columns else k
        for k, a, b in zip(decision.kept, again, best, strict=True)
    ]
    return replace(decision, kept=kept)


def _fitting(score: F64, membership: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The better fitting images of each 3D, shape (n,)."""
    out = np.zeros(len(score), bool)
    for j in np.unique(membership):
        mine = np.flatnonzero(membership == j)
        keep = max(1, round(FITTING * len(mine)))
        out[mine[np.argsort(-score[mine], kind="stable")[:keep]]] = True
    return out


def _superfluous(found: Decision, told: NDArray[np.bool_] | None) -> tuple[int, str] | None:
    """The chosen 3D without which the score falls least, and why it goes; None if all are needed."""
    if len(found.kept) < 2:
        return None
    for j in sorted(range(len(found.kept)), key=lambda j: found.kept[j].loss):
        k = found.kept[j]
        if k.loss <= (SURE if told is None or not told[k.column] else SURE_TOLD) * k.error:
            return j, f"the score changes by {-k.loss:+.5f} without it, standard error {k.error:.5f}"
    return None


def for_both(scores: Scores, poses: F64, found: Decision, groups: Groups = no_symmetry) -> list[tuple[int, int, int]]:
    """Pairs of 3Ds kept that one 3D could stand for: it takes the images of both, each in the poses that they have there.

    Parameters
    ----------
    scores, poses, groups
        As of `decide`.
    found : Decision

    Returns
    -------
    list of (i, j, column)
        Indices into `found.kept`, of which j's images like i second best or the other way round, and the 3D (one of the two, or
        any) that fits their images best.
    """
    table, chosen = scores.whole, found.columns
    if len(chosen) < 2:
        return []
    second = np.argsort(-table[:, chosen], axis=1, kind="stable")[:, 1]
    pairs = set()
    for j in range(len(chosen)):
        mine = found.membership == j
        i = int(np.bincount(second[mine], minlength=len(chosen)).argmax()) if mine.any() else j
        if i != j:
            pairs.add((min(i, j), max(i, j)))
    out = []
    for i, j in sorted(pairs):
        rest = [c for k, c in enumerate(chosen) if k not in (i, j)]
        rival = table[:, rest].max(1) if rest else np.full(len(table), -np.inf)
        sets = [found.membership == i, found.membership == j]
        both = sets[0] | sets[1]
        able = [
            m for m in range(table.shape[1])
            if m not in rest and (table[both, m] > rival[both]).mean() >= COVERS and all(
                same_poses(poses[mine, m], poses[mine, c], groups(c)) >= SHARED
                for mine, c in zip(sets, (chosen[i], chosen[j]), strict=True) if m != c
            )
        ]  # fmt: skip
        if not able:
            continue
        m = max(able, key=lambda m: (table[both, m].mean(), -m))
        if found.kept[i].again and found.kept[j].again:
            loss = scores.crossed(chosen) - scores.crossed([*rest, m])
            if loss.mean() > CLEAR * loss.std() / np.sqrt(len(loss)):
                continue
        out.append((i, j, m))
    return out


def others(decision: Decision, scores: Scores) -> Decision | None:
    """The most similar 3Ds of other runs in place of those kept, as far as each has one of its own; None where one has not."""
    columns = [k.nearest for k in decision.kept]
    if -1 in columns or len(set(columns)) < len(columns):
        return None
    membership = scores.whole[:, columns].argmax(1)
    sizes = np.bincount(membership, minlength=len(columns))
    kept = [replace(k, column=c, images=int(n)) for k, c, n in zip(decision.kept, columns, sizes, strict=True)]
    return None if sizes.min() == 0 else Decision(kept, membership, decision.score, decision.error)


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
