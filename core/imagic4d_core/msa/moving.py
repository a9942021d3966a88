"""Moving elements between classes after hierarchical classification (van Heel 1984, Ultramicroscopy 13:165).

A merge in a tree is never undone, so that some images end up in a class that is not the best for them. Each is moved to the class
where it adds the least variance, ``n_b / (n_b + 1) |x - c_b|^2``, if that is less than what it adds where it is,
``n_a / (n_a - 1) |x - c_a|^2``. All images are judged by the same centres, then all centres are made anew, until nothing moves.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.msa.ward import Columns
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count

#: Images judged together; fixed, so that the same products are formed for any number of ranks.
BLOCK = 2048
#: Most passes.
PASSES = 50


@dataclass
class Moved:
    """What moving elements did.

    Attributes
    ----------
    labels : ndarray, shape (n,), int32
    passes : int
    moved : list of int
        Images moved in each pass.
    before, after : float
        Sum of squared distances from the class centres.
    """

    labels: NDArray[np.int32]
    passes: int = 0
    moved: list[int] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0


def centres_of(
    points: NDArray[np.float64], labels: NDArray[np.int32], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Class centres, shape (classes, d), and numbers of members; label -1 is in no class."""
    used = labels >= 0
    mine, rows = labels[used], points if used.all() else points[used]
    count = np.bincount(mine, minlength=classes)
    sums = np.stack([np.bincount(mine, weights=rows[:, k], minlength=classes) for k in range(points.shape[1])], axis=1)
    return sums / np.maximum(count, 1)[:, None], count


def squared_distances(
    points: NDArray[np.float64], labels: NDArray[np.int32], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distance of every image from the centre of its class, 0 for label -1."""
    out = np.zeros(len(points))
    for a in range(0, len(points), BLOCK):
        rows = slice(a, a + BLOCK)
        off = points[rows] - centres[labels[rows]]
        out[rows] = np.where(labels[rows] >= 0, np.einsum("ij,ij->i", off, off), 0.0)
    return out


def move_elements(
    points: NDArray[np.float64], labels: NDArray[np.int32], classes: int, *, passes: int = PASSES, comm: Comm = SERIAL,
    threads: int | None = None,
) -> Moved:  # fmt: skip
    """Move images between classes until the variance inside them does not get less.

    Parameters
    ----------
    points : ndarray, shape (n, d), float64
    labels : ndarray, shape (n,), int32
        Classes from 0 on; -1 stays out. No class becomes empty.
    classes : int
    passes : int
        Most passes.
    comm, threads
        As every job.

    Returns
    -------
    Moved
    """
    now = np.array(labels, dtype=np.int32)
    centres, count = centres_of(points, now, classes)
    d2 = squared_distances(points, now, centres)
    result = Moved(now, before=float(d2.sum()), after=float(d2.sum()))
    if classes < 2:
        return result
    n_threads = thread_count(threads)
    while result.passes < passes:
        other, cost = _rivals(points, now, centres, count, comm, n_threads)
        mine = count[now].astype(np.float64)
        alone = (now < 0) | (mine < 2)
        here = np.where(alone, -1.0, mine / np.maximum(mine - 1, 1) * d2)
        wish = cost < here * (1 - 1e-12)
        # all moved at once may be too much; those nearer to another centre than to their own always lessen the variance
        safe = wish & (cost * (1 + 1.0 / np.maximum(count[other], 1)) < d2)
        for chosen in (wish, safe, _apart(wish, here - cost, now, other)):
            trial = _moved(now, other, chosen, d2, count)
            if (trial == now).all():
                continue
            new_centres, new_count = centres_of(points, trial, classes)
            new_d2 = squared_distances(points, trial, new_centres)
            if new_d2.sum() < result.after * (1 - 1e-13):
                result.moved.append(int((trial != now).sum()))
                now, centres, count, d2 = trial, new_centres, new_count, new_d2
                result.labels, result.after = now, float(d2.sum())
                result.passes += 1
                break
        else:
            break
    return result


def _rivals(
    points: NDArray[np.float64], labels: NDArray[np.int32], centres: NDArray[np.float64], count: NDArray[np.int64], comm: Comm,
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:  # fmt: skip
    """For every image the best of the other classes (0 where there is none), and the variance it would add there (or inf)."""
    middle = centres.mean(axis=0)
    columns = Columns(centres - middle, count.astype(np.float64), np.arange(len(centres)))

    def one(span: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.int32], NDArray[np.float64]]:
        rows = np.arange(*span)
        own = np.ascontiguousarray(labels[rows])
        arg, heights, _, _, _ = columns.nearest(points[rows] - middle, np.ones(len(rows)), rows + len(centres), own, 2)
        swap = (heights[:, 1] < heights[:, 0]) | ((heights[:, 1] == heights[:, 0]) & (arg[:, 1] < arg[:, 0]) & (arg[:, 1] >= 0))
        pick = swap.astype(np.intp)[:, None]
        return span, np.take_along_axis(arg, pick, 1)[:, 0], np.take_along_axis(heights, pick, 1)[:, 0]

    other, cost = np.zeros(len(points), np.int32), np.full(len(points), np.inf)
    for share in comm.allgather(map_blocks(one, comm.blocks(len(points), BLOCK), threads)):
        for span, arg, heights in share:
            rows = slice(*span)
            other[rows], cost[rows] = np.maximum(arg, 0), np.where(arg >= 0, heights, np.inf)
    return other, cost


def _apart(
    wish: NDArray[np.bool_], gain: NDArray[np.float64], labels: NDArray[np.int32], other: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """The best moves that do not touch a class twice: each of them lessens the variance by its gain, whatever the others do."""
    out, touched = np.zeros(len(wish), np.bool_), set[int]()
    candidates = np.flatnonzero(wish)
    for k in candidates[np.argsort(-gain[candidates], kind="stable")].tolist():
        pair = {int(labels[k]), int(other[k])}
        if not touched & pair:
            out[k] = True
            touched |= pair
    return out


def _moved(
    labels: NDArray[np.int32], other: NDArray[np.int32], chosen: NDArray[np.bool_], d2: NDArray[np.float64],
    count: NDArray[np.int64],
) -> NDArray[np.int32]:  # fmt: skip
    """Labels after the moves; the image nearest to the centre stays in a class that all want to leave."""
    out = labels.copy()
    leaving = np.bincount(labels[chosen], minlength=len(count))
    for k in np.flatnonzero((leaving > 0) & (leaving >= count)):
        members = np.flatnonzero(labels == k)
        chosen = chosen.copy()
        chosen[members[np.argmin(d2[members])]] = False
    out[chosen] = other[chosen]
    return out
