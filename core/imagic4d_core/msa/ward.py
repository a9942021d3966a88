"""Ward's hierarchical ascendant classification, exact, by rounds of reciprocal nearest neighbours.

Two clusters that are each other's nearest may be merged at once, whatever else is merged: Ward's heights are reducible, so the
tree is that of the greedy algorithm (Bruynooghe 1977; Murtagh 1983). Memory is linear in the number of objects: only centres are
kept.

Nearest clusters are found by matrix products in single precision, which yield lower bounds; everything within reach is evaluated
again in double precision, and every comparison that shapes the tree is of such values. Each cluster keeps a short list of its
nearest ones with a bound for all others, so that most clusters outlive many rounds without a new search. Blocks of clusters that
a bound rules out are not multiplied at all. None of this changes the tree, which is the same to the last bit for any number of
ranks and threads.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.kernels import ward as loops
from imagic4d_core.msa.tree import Tree
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count

#: Columns in a block, queries in a task.
WIDTH, TASK = 512, 256
#: Clusters that each list holds.
DEPTH = 16


@dataclass
class Work:
    """What a classification did.

    Attributes
    ----------
    rounds : int
    pairs : int
        Pairs evaluated in single precision, by this rank.
    exact : int
        Searches that needed double precision throughout.
    searches : int
        Rows searched, by all ranks.
    seconds : float
        In `search`, over the threads of this rank.
    """

    rounds: int = 0
    pairs: int = 0
    exact: int = 0
    searches: int = 0
    seconds: float = 0.0


class Columns:
    """Cluster centres laid out for `kernels.ward.search`.

    Parameters
    ----------
    centres : ndarray, shape (n, d), float64
    sizes : ndarray, shape (n,), float64
    number : ndarray, shape (n,), int64
        Numbers that decide ties.
    """

    def __init__(self, centres: NDArray[np.float64], sizes: NDArray[np.float64], number: NDArray[np.int64]):
        n, d = centres.shape
        self.centres, self.inv, self.number = centres, 1.0 / sizes, number
        # products of d + 2 terms, rounded once on the way in, each way of summing allowed for
        self.shrink = 1.0 - (d + 8) * 2.0**-23
        blocks = -(-n // WIDTH)
        table = np.zeros((blocks * WIDTH, d + 2), np.float32)
        table[:n, :d] = centres
        table[:n, d] = np.einsum("ij,ij->i", centres, centres) * self.shrink
        table[:n, d + 1] = 1.0
        self.blocks = np.ascontiguousarray(table.reshape(blocks, WIDTH, d + 2).transpose(0, 2, 1))
        self.inv32 = np.ones((blocks, WIDTH), np.float32)
        self.inv32.reshape(-1)[:n] = self.inv
        starts = np.arange(0, n, WIDTH)
        count = np.diff(np.append(starts, n))
        self.middle = np.add.reduceat(centres, starts, axis=0) / count[:, None]
        off = centres - np.repeat(self.middle, count, axis=0)
        self.radius = np.sqrt(np.maximum.reduceat(np.einsum("ij,ij->i", off, off), starts)) * (1 + 1e-12)
        self.inv_least = np.maximum.reduceat(self.inv, starts).astype(np.float32) * np.float32(1 + 1e-6)

    def nearest(
        self,
        query: NDArray[np.float64],
        sizes: NDArray[np.float64],
        number: NDArray[np.int64],
        own: NDArray[np.int32],
        depth: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], int, int]:
        """The columns of smallest height for some queries.

        Parameters
        ----------
        query : ndarray, shape (m, d), float64
        sizes : ndarray, shape (m,), float64
        number : ndarray, shape (m,), int64
        own : ndarray, shape (m,), int32
            Column to leave out, -1 for none.
        depth : int
            Longest list.

        Returns
        -------
        arg : int32 (m, depth)
        heights : float64 (m, depth)
        bound : float64 (m,)
            Every column that is not listed has at least this height.
        pairs, exact : int
        """
        m, d = query.shape
        inv = 1.0 / sizes
        rows = np.empty((m, d + 2), np.float32)
        rows[:, :d] = -2.0 * query
        rows[:, d] = 1.0
        norm = np.einsum("ij,ij->i", query, query)
        rows[:, d + 1] = norm * self.shrink
        scale = norm[:, None] + np.einsum("ij,ij->i", self.middle, self.middle)
        far = np.sqrt(np.maximum(scale - 2 * (query @ self.middle.T) - 1e-12 * scale, 0)) - self.radius
        lows = (np.square(np.maximum(far, 0)) * (1 - 1e-6)).astype(np.float32)
        order = np.argsort(lows.min(0), kind="stable").astype(np.int32)
        top = np.full((m, depth), np.inf, np.float32)
        arg = np.full((m, depth), -1, np.int32)
        pairs = loops.search(
            rows, inv.astype(np.float32), own, self.blocks, self.inv32, len(self.centres), lows, self.inv_least, order, top, arg
        )
        heights, bound = np.empty((m, depth)), np.empty(m)
        loops.refine(query, inv, number, self.centres, self.inv, self.number, top, arg, heights, bound)
        lost = np.flatnonzero((arg[:, 0] < 0) & np.isfinite(bound))
        for i in lost:
            # many columns within the rounding of single precision: duplicates, or a tight group far from the middle
            arg[i, 0], heights[i, 0] = loops.search_exact(
                query[i], inv[i], number[i], own[i], self.centres, self.inv, self.number
            )
            bound[i] = heights[i, 0]
        return arg, heights, bound, pairs, len(lost)


def spatial_order(points: NDArray[np.float64], leaf: int = WIDTH) -> NDArray[np.intp]:
    """An order in which neighbours stand together: halves along the axis of largest variance, down to `leaf` points."""
    out = np.arange(len(points))
    pieces = [(0, len(points))]
    while pieces:
        a, b = pieces.pop()
        if b - a <= leaf:
            continue
        part = points[out[a:b]]
        axis = int(part.var(axis=0).argmax())
        # whole leaves on the left, so that blocks and leaves coincide
        half = max(leaf, (b - a) // (2 * leaf) * leaf)
        out[a:b] = out[a:b][np.argpartition(part[:, axis], half)]
        pieces += [(a, a + half), (a + half, b)]
    return out


def ward(
    points: ArrayLike, *, depth: int = DEPTH, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tree, Work]:  # fmt: skip
    """Ward's tree of some points.

    Parameters
    ----------
    points : array_like, shape (n, d)
        Coordinates, weighted as they are meant to count. Every rank gives all of them.
    depth : int
        Neighbours remembered for each cluster; changes the time, not the tree.
    comm : Comm
        Rows are searched by all ranks.
    threads : int, optional
    progress : callable, optional
        Called as ``progress(merges, n - 1)``.

    Returns
    -------
    tree : Tree
    work : Work

    Raises
    ------
    InputError
        Fewer than one point, or coordinates that are not finite.
    """
    start = np.array(points, dtype=np.float64, order="C", ndmin=2)
    n, d = start.shape
    if n < 1 or d < 1:
        raise InputError("classification: no objects or no coordinates to classify")
    if not np.isfinite(start).all():
        raise InputError("classification: coordinates that are not finite; run msa run again")
    start -= start.mean(axis=0)
    size = float(np.sqrt(np.square(start).mean()))
    unit = 2.0 ** np.round(np.log2(size)) if size > 0 else 1.0  # single precision must not overflow; exact
    start /= unit
    place = spatial_order(start)
    start = start[place]
    merges, heights, work = _rounds(start, place.astype(np.int64), depth, comm, thread_count(threads), progress)
    return Tree.from_merges(n, merges, heights * unit**2), work


def _rounds(
    centres: NDArray[np.float64], number: NDArray[np.int64], depth: int, comm: Comm, threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], Work]:  # fmt: skip
    n = len(centres)
    work = Work()
    merges, heights = np.empty((n - 1, 2), np.int64), np.empty(n - 1)
    sizes = np.ones(n)
    arg = np.full((n, depth), -1, np.int32)
    listed = np.full((n, depth), np.inf)
    bound = np.zeros(n)
    done = 0
    while done < n - 1:
        wanted = np.flatnonzero(arg[:, 0] < 0)
        if len(wanted):
            _search(centres, sizes, number, wanted, arg, listed, bound, comm, threads, work)
        best, at = np.empty(len(centres)), np.empty(len(centres), np.int32)
        loops.first_of(number, arg, listed, best, at)
        mine = np.arange(len(centres), dtype=np.int32)
        first = mine[(at[at] == mine) & (mine < at)]
        if not len(first):  # rounding of two heights that are equal in theory: the nearest pair of all can always be merged
            i = int(np.lexsort((np.maximum(number, number[at]), np.minimum(number, number[at]), best))[0])
            first = np.array([min(i, at[i])], np.int32)
        second = at[first] if at[at[first[0]]] == first[0] else np.array([max(i, at[i])], np.int32)
        low, high = np.minimum(number[first], number[second]), np.maximum(number[first], number[second])
        turn = np.lexsort((high, low, best[first]))
        first, second, merged = first[turn], second[turn], best[first][turn]
        m = len(first)
        merges[done : done + m, 0], merges[done : done + m, 1] = low[turn], high[turn]
        heights[done : done + m] = merged
        # the merged cluster stands at the place of its first part
        before = sizes.copy()
        total = sizes[first] + sizes[second]
        a, b = sizes[first, None] * centres[first], sizes[second, None] * centres[second]
        flip = (number[first] > number[second])[:, None]  # the sum in an order that does not depend on places
        centres[first] = (np.where(flip, b, a) + np.where(flip, a, b)) / total[:, None]
        sizes[first] = total
        into = mine.copy()
        into[second] = first
        fresh = np.zeros(len(centres), np.bool_)
        fresh[first] = fresh[second] = True
        number[first] = n + done + np.arange(m)
        inv = 1.0 / sizes
        loops.inherit(first, second, merged, before, into, fresh, centres, inv, arg, listed, bound)
        loops.relink(into, fresh, centres, inv, arg, listed, bound)
        keep = into == mine
        moved = np.where(keep, np.cumsum(keep, dtype=np.int32) - 1, -1).astype(np.int32)
        centres, sizes, number, listed, bound = centres[keep], sizes[keep], number[keep], listed[keep], bound[keep]
        arg = arg[keep]
        arg = np.where(arg >= 0, moved[arg], np.int32(-1))
        done += m
        work.rounds += 1
        if progress is not None:
            progress(done, n - 1)
    return merges, heights, work


def _search(
    centres: NDArray[np.float64], sizes: NDArray[np.float64], number: NDArray[np.int64], wanted: NDArray[np.intp],
    arg: NDArray[np.int32], listed: NDArray[np.float64], bound: NDArray[np.float64], comm: Comm, threads: int, work: Work,
) -> None:  # fmt: skip
    """Fill the lists of the clusters in `wanted`, shared out over ranks and threads."""
    columns = Columns(centres, sizes, number)
    depth = arg.shape[1]
    workers = threads * comm.size
    # how the rows are cut changes nothing in the result
    task = max(16, min(TASK, -(-len(wanted) // workers)))

    def one(span: tuple[int, int]) -> tuple:
        begin = time.perf_counter()
        rows = wanted[slice(*span)]
        found = columns.nearest(centres[rows], sizes[rows], number[rows], rows.astype(np.int32), depth)
        return span, *found, time.perf_counter() - begin

    parts = map_blocks(one, comm.blocks(len(wanted), task), threads)
    for part in parts:
        work.pairs += part[4]
        work.seconds += part[6]
    for share in comm.allgather([p[:4] + p[5:6] for p in parts]):
        for span, found, heights, limit, exact in share:
            rows = wanted[slice(*span)]
            arg[rows], listed[rows], bound[rows] = found, heights, limit
            work.exact += exact
    work.searches += len(wanted)


def warmup() -> None:
    """Compile the kernels of classification."""
    ward(np.arange(24.0).reshape(12, 2) ** 1.5, threads=1)
    ward(np.ones((24, 2)), depth=2, threads=1)
