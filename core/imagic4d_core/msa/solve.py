"""Eigenimages of the objects of a file: three exact or convergent ways, chosen by what they cost.

*covariance*: one pass over the objects adds up P x P cross products by tiles (N P^2 operations), a partial eigen-solver
does the rest. *gram*: for fewer objects than pixels, such as volumes: cross products of objects, over slabs of sections.
*krylov*: for more pixels than a matrix of P x P can hold: block Lanczos, each step a pass over the objects. Sums do not depend
on their order (`sums`), so any number of ranks and threads gives the same bytes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.msa.eigen import Eigen, fix_signs, lanczos, solve_matrix, solve_whole
from imagic4d_core.msa.space import FLOOR, Source, Space
from imagic4d_core.msa.sums import CrossProducts, ExactSum, quantum_for
from imagic4d_core.parallel import Comm, map_blocks

log = logging.getLogger(__name__)

SOLVERS = ("auto", "covariance", "gram", "krylov")
#: Objects in a block; part of the result's definition, as rounding follows the blocks.
BLOCK = 2048
#: Numbers in a block.
BLOCK_VALUES = 1 << 23
#: Most pixels of the covariance way.
MOST_PIXELS = 8192
#: Most objects of the Gram way.
MOST_OBJECTS = 6000
#: Numbers of a slab in the Gram way.
SLAB_VALUES = 1 << 25
#: Multiply-adds below which cross products are made in float64: it costs next to nothing.
SMALL = 2e10
#: Rounding of float32 products, relative to the variance of a pixel, that an eigenvalue may suffer.
SINGLE, ALLOWED = 1e-7, 3e-6
#: Eigenvalues beyond the wanted ones, for the noise edge.
SPARE = 32

T = TypeVar("T")
Progress = Callable[[int, int], None] | None


@dataclass
class Solution:
    """Eigenimages and what belongs to them; complete on rank 0, `space` everywhere.

    Attributes
    ----------
    space : Space
        With centre and scale.
    eigen : Eigen or None
        None on ranks above 0.
    trace : float
        Total variance.
    counted : int
        Active objects that vary.
    solver : str
    passes : int
        Passes over the densities.
    """

    space: Space
    eigen: Eigen | None
    trace: float
    counted: int
    solver: str
    passes: int


def block_size(size: int) -> int:
    """Objects in a block of rows of `size` numbers."""
    return max(1, min(BLOCK, BLOCK_VALUES // max(1, size)))


def choose(source: Source, active: int) -> str:
    """The cheapest solver for a file."""
    size, space = source.space.size, source.space
    slab = source.objects * int(np.prod(space.shape[1:]))
    if space.rings is None and active < size and active <= MOST_OBJECTS and slab <= 2 * SLAB_VALUES:
        return "gram"
    return "covariance" if size <= MOST_PIXELS else "krylov"


def metric_of(
    metric: str, centre0: NDArray, scale0: NDArray, mean: NDArray, variance: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and scale of a metric from moments of ``t = (z - centre0) * scale0``; see `space`.

    Parameters
    ----------
    metric : str
    centre0, scale0 : ndarray, shape (P,)
    mean, variance : ndarray, shape (P,), float64
        Weighted, of t.

    Returns
    -------
    centre, scale : ndarray, shape (P,), float64
        Pixels that never vary get scale 0 with modulation, pixels that are always 0 with chi-square.
    """
    centre = centre0 + mean / scale0
    if metric == "euclidean":
        return centre, np.ones_like(centre)
    if metric == "chi-square":
        good = centre > 1e-7
        return centre, np.where(good, 1.0 / np.sqrt(len(centre) * np.where(good, centre, 1.0)), 0.0)
    sd = np.sqrt(np.maximum(variance, 0.0)) / scale0
    good = sd > 1e-6 * sd.max()
    floor = FLOOR * float(np.median(sd[good])) if good.any() else 1.0
    return centre, np.where(good, 1.0 / np.maximum(sd, floor), 0.0)


def first_guess(source: Source, most: int = 256) -> tuple[NDArray[np.float32], NDArray[np.float32], float, NDArray[np.float32]]:
    """Provisional centre and scale from a sample, the largest mean square of a number in them, and the sample's rows z."""
    z = source.sample(most)
    mean = z.mean(axis=0, dtype=np.float64)
    variance = np.square(z - mean).mean(axis=0)
    scale = np.ones_like(mean)
    if source.space.metric == "modulation":
        sd = np.sqrt(variance)
        scale = 1.0 / np.maximum(sd, FLOOR * np.median(sd) if np.median(sd) > 0 else max(float(sd.max()), 1e-30))
    elif source.space.metric == "chi-square":
        scale = 1.0 / np.sqrt(len(mean) * np.maximum(mean, 0.01))
    energy = float((variance * scale**2).max())
    return mean.astype(np.float32), scale.astype(np.float32), energy, z


def _check(trace: float, source: Source, counted: int) -> None:
    if counted < 2 or not trace > 0:
        raise InputError(
            f"{source.stack.path}: {counted} active objects vary under the mask"
            f"{'' if counted < 2 else ', and they are all the same'}; MSA needs two that differ"
        )


def solve_covariance(
    source: Source, wanted: int, comm: Comm, threads: int, progress: Progress = None, double: bool | None = None
) -> Solution:
    """One pass of cross products, then the partial eigen-solver on rank 0.

    Parameters
    ----------
    source : Source
    wanted : int
        Eigenimages.
    comm, threads, progress
    double : bool, optional
        Products in float64; None: where they are cheap, or where float32 turns out too coarse.
    """
    size = source.space.size
    centre0, scale0, energy, _ = first_guess(source)
    active = int(source.active.sum())
    wide = active * float(size) ** 2 < SMALL if double is None else double
    expected = energy * active
    blocks = comm.blocks(source.objects, block_size(size))
    passes = 0
    while True:
        products = CrossProducts(size, quantum_for(expected), source.loops)
        # the last three: sum of weights, number of objects, spare
        linear = ExactSum((1, size + 2), quantum_for(active * max(1.0, float(np.sqrt(energy)))), source.loops)

        def add(span: tuple[int, int], products: CrossProducts = products, linear: ExactSum = linear, wide: bool = wide) -> None:
            t, root = source.block(*span, centre0, scale0)
            if not len(t):
                return
            sums = np.empty((2, size))
            source.loops.column_sums(t, root, sums)
            weights = float(np.square(root.astype(np.float64)).sum())
            linear.add(np.concatenate([sums[0], [weights, len(t)]]))
            products.add(t.astype(np.float64) if wide else t)

        map_blocks(add, blocks, threads, progress)
        passes += 1
        first = linear.over(comm)[0]
        total = products.over(comm)
        largest = float(np.diagonal(total).max()) if total is not None else 0.0
        held = comm.bcast((products.held(total), linear.held(first)) if total is not None else None)
        largest = float(comm.bcast(largest))
        if all(held):
            counted = round(float(first[size + 1]))
            solution = comm.bcast(
                None if total is None else alone(_from_products, source, wanted, total, first, centre0, scale0, threads)
            )
            space, eigen, trace, coarse = solution
            _check(trace, source, counted)
            if wide or double is not None or not coarse:
                return Solution(space, eigen, trace, counted, "covariance", passes)
            log.info("small eigenvalues beside large variances: cross products again in double precision")
            wide = True
        else:
            log.info("densities far larger than the sample's: sums again with more room")
        expected, energy = max(expected, largest), max(energy, largest / max(active, 1), float(np.abs(first).max()) / active)


def alone(func: Callable[..., T], *args: Any) -> T:
    """``func(*args)`` with BLAS on one thread: with more, its results could depend on how many."""
    return map_blocks(lambda a: func(*a), [args], 1)[0]


def _from_products(
    source: Source, wanted: int, total: NDArray, first: NDArray, centre0: NDArray, scale0: NDArray, threads: int
) -> tuple[Space, Eigen | None, float, bool]:
    """Space, eigenpairs, trace, and whether float32 products are too coarse for them."""
    size = source.space.size
    weight = float(first[size])
    if not weight > 0:
        return source.space, None, 0.0, False
    mean = first[:size] / weight
    total /= weight
    variance = np.diagonal(total) - mean**2
    centre, scale = metric_of(source.space.metric, centre0.astype(np.float64), scale0.astype(np.float64), mean, variance)
    factor = scale / scale0
    for k in range(0, size, 512):  # in place: the matrix may be the largest thing in memory
        part = total[k : k + 512]
        part -= mean[k : k + 512, None] * mean
        part *= factor[k : k + 512, None] * factor
    trace = float(np.trace(total))
    space = replace(source.space, centre=centre.astype(np.float32), scale=scale.astype(np.float32))
    if not trace > 0:
        return space, None, 0.0, False
    eigen = solve_matrix(total, wanted, SPARE, threads)
    least = float(eigen.values[wanted - 1])
    coarse = SINGLE * float(np.diagonal(total).max()) > ALLOWED * least and least > 1e-9 * eigen.values[0]
    return space, eigen, trace, bool(coarse)


def solve_krylov(
    source: Source, wanted: int, comm: Comm, threads: int, progress: Progress = None, passes: int = 25, tolerance: float = 1e-3
) -> Solution:
    """Moments in one pass, then block Lanczos; every further pass multiplies the covariance by a block of vectors.

    Parameters
    ----------
    passes : int
        Most passes.
    tolerance : float
        Relative residual to reach; see `eigen.TOLERANCE`.
    """
    size = source.space.size
    centre0, scale0, energy, z = first_guess(source, 1024)
    active = int(source.active.sum())
    blocks = comm.blocks(source.objects, block_size(size))
    expected = active * max(energy, 1e-30)
    while True:
        moments = ExactSum((2, size + 2), quantum_for(max(expected, active)), source.loops)

        def add(span: tuple[int, int], moments: ExactSum = moments) -> None:
            t, root = source.block(*span, centre0, scale0)
            if len(t):
                sums = np.zeros((2, size + 2))
                inner = np.empty((2, size))
                source.loops.column_sums(t, root, inner)
                sums[:, :size] = inner
                sums[:, size] = float(np.square(root.astype(np.float64)).sum())
                sums[:, size + 1] = len(t)
                moments.add(sums)

        map_blocks(add, blocks, threads)
        first = moments.over(comm)
        if moments.held(first):
            break
        expected = float(np.abs(first).max())
    weight, counted = float(first[0, size]), round(float(first[0, size + 1]))
    _check(weight, source, counted)
    mean = first[0, :size] / weight
    variance = first[1, :size] / weight - mean**2
    centre, scale = metric_of(source.space.metric, centre0.astype(np.float64), scale0.astype(np.float64), mean, variance)
    trace = float((variance * (scale / scale0) ** 2).sum())
    _check(trace, source, counted)
    c, s = centre.astype(np.float32), scale.astype(np.float32)
    space = replace(source.space, centre=c, scale=s)
    room = quantum_for(weight * trace)

    def once(v: NDArray[np.float32]) -> NDArray[np.float64]:
        out = ExactSum(v.shape, room, source.loops)

        def work(span: tuple[int, int]) -> None:
            t, _ = source.block(*span, c, s)
            if len(t):
                out.add(t.T @ (t @ v))

        map_blocks(work, blocks, threads)
        return out.over(comm) / weight

    if comm.rank:
        while (v := comm.bcast(None)) is not None:
            once(v)
        return Solution(space, None, trace, counted, "krylov", 0)

    def apply(v: NDArray[np.float32]) -> NDArray[np.float64]:
        return once(comm.bcast(v))

    tell = (lambda calls, worst: progress(calls, passes)) if progress else None
    width = min(size, wanted + 8)
    start = alone(lambda: _sample_vectors((z - c) * s, width))
    eigen = alone(
        lambda: lanczos(
            apply, size, wanted, block=width, spare=SPARE, tolerance=tolerance, most=passes, start=start, progress=tell
        )
    )
    comm.bcast(None)
    return Solution(space, eigen, trace, counted, "krylov", eigen.applications + 1)


def _sample_vectors(rows: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Leading directions of some rows, shape (P, at most width): where block Lanczos begins."""
    found = solve_whole((rows @ rows.T).astype(np.float64), min(width, len(rows)))
    good = found.values[: found.vectors.shape[1]] > 1e-6 * found.values[0]
    return rows.T @ found.vectors[:, good].astype(np.float32)


def solve_gram(source: Source, wanted: int, comm: Comm, threads: int, progress: Progress = None) -> Solution:
    """Cross products of objects in float64, over slabs of sections: for few objects of many pixels."""
    stack, space = source.stack, source.space
    sections, lines, pixels = space.shape
    factor, weight = _row_factors(source, comm, threads)
    use = np.flatnonzero(source.active & (weight > 0))
    counted, w = len(use), weight[use].astype(np.float64)
    _check(1.0, source, counted)
    w /= w.mean()
    step = max(1, SLAB_VALUES // (counted * lines * pixels))
    slabs = comm.blocks(sections, step)
    inside = space.index // (lines * pixels)

    def slab(span: tuple[int, int]) -> NDArray[np.float64]:
        a, b = span
        index = space.index[(inside >= a) & (inside < b)] - a * lines * pixels
        out = np.empty((counted, len(index)))
        for row, k in enumerate(use):
            out[row] = stack.read(k * sections + a, k * sections + b, finite=False).reshape(-1)[index]
        out *= factor[use, None]
        return out

    def moments(span: tuple[int, int]) -> tuple[int, NDArray, NDArray]:
        z = slab(span)
        mean = w @ z / counted
        return span[0], mean, w @ np.square(z - mean) / counted

    parts = sorted((p for rank in comm.allgather(map_blocks(moments, slabs, threads)) for p in rank), key=lambda p: p[0])
    mean, variance = np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])
    one = np.ones_like(mean)
    centre, scale = metric_of(space.metric, 0.0 * one, one, mean, variance)
    trace = float((variance * scale**2).sum())
    _check(trace, source, counted)
    gram = ExactSum((counted, counted), quantum_for(4 * trace), source.loops)

    def rows(span: tuple[int, int]) -> NDArray[np.float64]:
        here = slice(*np.searchsorted(inside, [span[0], span[1]]))
        return (slab(span) - centre[here]) * scale[here] * np.sqrt(w)[:, None]

    def product(span: tuple[int, int]) -> None:
        y = rows(span)
        gram.add(y @ y.T)

    map_blocks(product, slabs, threads, progress)
    total = gram.over(comm)
    total = (total + total.T) / (2 * counted)
    eigen: Eigen = comm.bcast(alone(lambda: solve_matrix(total, wanted, SPARE, threads)) if comm.rank == 0 else None)
    live = eigen.values[:wanted] > 1e-12 * eigen.values[0]
    size = np.where(live, np.sqrt(counted * np.maximum(eigen.values[:wanted], 1e-300)), np.inf)

    def directions(span: tuple[int, int]) -> tuple[int, NDArray]:
        return span[0], rows(span).T @ (eigen.vectors / size)

    found = comm.gather(map_blocks(directions, slabs, threads))
    space = replace(space, centre=centre.astype(np.float32), scale=scale.astype(np.float32))
    if found is None:
        return Solution(space, None, trace, counted, "gram", 4)
    pieces = sorted((p for rank in found for p in rank), key=lambda p: p[0])
    eigen.vectors = fix_signs(np.concatenate([p[1] for p in pieces]))
    return Solution(space, eigen, trace, counted, "gram", 4)


def _row_factors(source: Source, comm: Comm, threads: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and weight of every object, on every rank; refuses what is not finite."""

    def look(span: tuple[int, int]) -> tuple[int, NDArray, NDArray]:
        rows, sums = source.rows(*span)
        return span[0], *source.factors(span[0], rows, sums)

    mine = map_blocks(look, comm.blocks(source.objects, block_size(int(np.prod(source.space.box)))), threads)
    parts = sorted((p for rank in comm.allgather(mine) for p in rank), key=lambda p: p[0])
    return np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])


def solve(
    source: Source, wanted: int, comm: Comm, threads: int, *, solver: str = "auto", passes: int = 25, progress: Progress = None
) -> Solution:
    """Eigenimages of a source.

    Parameters
    ----------
    source : Source
    wanted : int
        Eigenimages; at most active objects - 1 and pixels.
    comm, threads, progress
    solver : str
        One of `SOLVERS`.
    passes : int
        Most passes of krylov.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        Densities that are not finite, negative ones with chi-square, or nothing that varies.
    """
    name = choose(source, int(source.active.sum())) if solver == "auto" else solver
    if name == "gram":
        return solve_gram(source, wanted, comm, threads, progress)
    if name == "krylov":
        return solve_krylov(source, wanted, comm, threads, progress, passes)
    return solve_covariance(source, wanted, comm, threads, progress)
