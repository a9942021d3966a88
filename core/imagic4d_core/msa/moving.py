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
#: Share of the moves of the pass before below which all wishes are fulfilled at once again.
CALM = 0.8


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
    rivals = _Rivals(len(points))
    while result.passes < passes:
        other, cost = rivals.update(points, now, centres, count, comm, n_threads)
        mine = count[now].astype(np.float64)
        alone = (now < 0) | (mine < 2)
        here = np.where(alone, -1.0, mine / np.maximum(mine - 1, 1) * d2)
        wish = cost < here * (1 - 1e-12)
        # all moved at once may be too much; those nearer to another centre than to their own always lessen the variance
        safe = wish & (cost * (1 + 1.0 / np.maximum(count[other], 1)) < d2)
        # moves of all at once that do not get fewer swing to and fro
        calm = len(result.moved) < 2 or result.moved[-1] < CALM * result.moved[-2]
        for chosen in (*((wish, safe) if calm else ()), _apart(wish, here - cost, now, other)):
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


class _Rivals:
    """For every image the best of the other classes (0 where there is none), and the variance it would add there (or inf).

    Kept from pass to pass: what stays as it was is not looked at again.
    """

    def __init__(self, images: int) -> None:
        self.other, self.cost = np.zeros(images, np.int32), np.full(images, np.inf)
        self.before: tuple[NDArray, NDArray, NDArray] | None = None

    def update(
        self, points: NDArray[np.float64], labels: NDArray[np.int32], centres: NDArray[np.float64], count: NDArray[np.int64],
        comm: Comm, threads: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:  # fmt: skip
        """Bring both up to date with new labels and centres, and return them."""
        everyone = np.arange(len(points))
        changed = np.ones(len(centres), np.bool_)
        again = np.ones(len(points), np.bool_)
        if self.before is not None:
            old_labels, old_centres, old_count = self.before
            changed = (centres != old_centres).any(axis=1) | (count != old_count)
            again = (labels != old_labels) | changed[self.other]
        arg, cost = _nearest_other(points, labels, centres, count, everyone[again], np.arange(len(centres)), comm, threads)
        self.other[again], self.cost[again] = arg, cost
        if not again.all() and changed.any():
            rest = everyone[~again]
            arg, cost = _nearest_other(points, labels, centres, count, rest, np.flatnonzero(changed), comm, threads)
            nearer = (cost < self.cost[rest]) | ((cost == self.cost[rest]) & (arg < self.other[rest]))
            self.other[rest[nearer]], self.cost[rest[nearer]] = arg[nearer], cost[nearer]
        self.before = labels.copy(), centres, count
        return self.other, self.cost


def _nearest_other(
    points: NDArray[np.float64], labels: NDArray[np.int32], centres: NDArray[np.float64], count: NDArray[np.int64],
    rows: NDArray[np.intp], among: NDArray[np.intp], comm: Comm, threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:  # fmt: skip
    """The best of the classes `among`, other than their own, for the images `rows`."""
    middle = centres[among].mean(axis=0)
    columns = Columns(centres[among] - middle, count[among].astype(np.float64), among)
    place = np.full(len(centres) + 1, -1, np.int32)  # the last for label -1
    place[among] = np.arange(len(among))

    def one(span: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.int32], NDArray[np.float64]]:
        mine = rows[slice(*span)]
        own = place[labels[mine]]
        arg, heights, _, _, _ = columns.nearest(points[mine] - middle, np.ones(len(mine)), mine + len(centres), own, 2)
        swap = (heights[:, 1] < heights[:, 0]) | ((heights[:, 1] == heights[:, 0]) & (arg[:, 1] < arg[:, 0]) & (arg[:, 1] >= 0))
        pick = swap.astype(np.intp)[:, None]
        return span, np.take_along_axis(arg, pick, 1)[:, 0], np.take_along_axis(heights, pick, 1)[:, 0]

    other, cost = np.zeros(len(rows), np.int32), np.full(len(rows), np.inf)
    for share in comm.allgather(map_blocks(one, comm.blocks(len(rows), BLOCK), threads)):
        for span, arg, heights in share:
            part = slice(*span)
            other[part], cost[part] = among[np.maximum(arg, 0)], np.where(arg >= 0, heights, np.inf)
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
