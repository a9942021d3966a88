"""The search of an angular reconstitution over all images: directions part by part, images block by block."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates, Choice, HalfPlane, crowding, refine_block, search_block
from imagic4d_core.angrec.halves import half_scores
from imagic4d_core.angrec.polar import PolarSampler
from imagic4d_core.angrec.search import Bank, make_bank
from imagic4d_core.jobs.scheme.angrec.anchors import Anchors
from imagic4d_core.jobs.scheme.angrec.images import Images
from imagic4d_core.parallel import Comm, map_blocks

#: References (3Ds x directions) in memory at a time.
BANK = 16384
#: What travels between ranks, and is put together from parts of the directions.
NAMES = ("score", "noisy", "matrix", "shift", "mean", "sd", "error", "first", "second")


@dataclass
class Search:
    """What is tried with every image, the same for all.

    Attributes
    ----------
    own_only : bool
        Only the image's own 3D is refined, and counts.
    directions : ndarray, shape (d, 3, 3), float64
    sampler : PolarSampler
    variants, scan : ndarray, shape (s, 2), float64
        Shifts tried with all directions; with the best of each 3D only.
    plane : HalfPlane or None
        Frequencies of the local refinement, where there is one.
    max_shift : float
        Pixels.
    object_radius : float
        Fraction of the box.
    noise : float
        Of annealing, standard deviations of an image's scores.
    spread : float
        Handicap of crowded view directions, in the same unit.
    seed : int
    halves : bool
        Score the refined poses over two disjoint halves of the Fourier samples, too.
    """

    own_only: bool
    directions: NDArray[np.float64]
    sampler: PolarSampler
    variants: NDArray[np.float64]
    scan: NDArray[np.float64]
    plane: HalfPlane | None
    max_shift: float
    object_radius: float
    amplitude_filter: float
    noise: float
    spread: float
    seed: int
    halves: bool = False


@dataclass
class _Part:
    """Some of the directions, and their references of one fold."""

    number: int
    directions: NDArray[np.float64]
    share: float
    last: bool
    bank: Bank
    handicap: NDArray[np.float64] | None


def search_images(
    images: Images, anchors: Anchors, search: Search, comm: Comm, threads: int, progress: Callable[[int, int], None] | None
) -> tuple[Candidates, NDArray[np.int64]]:
    """Best pose of every image in every 3D, on every rank, and the images that took part."""
    mine = images.blocks()[comm.rank :: comm.size]
    handicap = _handicap(images, len(anchors.numbers), search)
    results: list[tuple[NDArray[np.int64], Candidates]] = []
    done = 0

    def tick(blocks: int, parts: int) -> None:
        nonlocal done
        done += blocks
        if progress is not None:
            progress(done, len(mine) * parts)

    for q in sorted({q for q, _ in mine}):
        todo = [index for fold, index in mine if fold == q]
        results += zip(todo, _search_fold(images, anchors, q, todo, search, handicap, threads, tick), strict=True)
    found, index = _gather(comm, results, len(images.active), len(anchors.numbers))
    if search.own_only:
        others = (np.arange(len(anchors.numbers)) != images.own[:, None]) & images.active[:, None]
        found.score[others] = found.noisy[others] = -np.inf
    return found, index


def _handicap(images: Images, competitors: int, search: Search) -> NDArray[np.float64] | None:
    """What is taken off the scores of crowded directions, (k, d)."""
    if search.spread <= 0 or not images.posed:
        return None
    views, own = images.matrices[images.active, 2], images.own[images.active]
    crowd = crowding(views, own, search.directions[:, 2], competitors)
    return search.spread * np.log(np.maximum(crowd, 0.3))


def _search_fold(
    images: Images, anchors: Anchors, fold: int, todo: list[NDArray[np.int64]], search: Search,
    handicap: NDArray[np.float64] | None, threads: int, tick: Callable[[int, int], None],
) -> list[Candidates]:  # fmt: skip
    """Candidates of the blocks of one fold: references of one part of the directions at a time are in memory."""
    columns, directions = anchors.of_fold(fold), search.directions
    chunk = max(1, BANK // len(columns))
    starts = range(0, len(directions), chunk)
    results: list[Candidates | None] = [None] * len(todo)
    for number, start in enumerate(starts):
        some = slice(start, start + chunk)
        bank = make_bank(
            anchors.references, columns, directions[some], search.sampler, object_radius=search.object_radius,
            amplitude_filter=search.amplitude_filter,
        )  # fmt: skip
        part = _Part(
            number, directions[some], len(directions[some]) / len(directions), number == len(starts) - 1, bank,
            None if handicap is None else handicap[:, some],
        )  # fmt: skip
        work = partial(_search_block, images=images, anchors=anchors, columns=columns, search=search, part=part)
        results = [*map_blocks(work, list(zip(todo, results, strict=True)), threads)]
        tick(len(todo), len(starts))
    return [r for r in results if r is not None]


def _search_block(
    job: tuple[NDArray[np.int64], Candidates | None], images: Images, anchors: Anchors, columns: list[int], search: Search,
    part: _Part,
) -> Candidates:  # fmt: skip
    """Candidates of a block of images over one part of the directions, and those before it; after the last part, refined."""
    index, before = job
    spectra, transfer = images.spectra(index)
    choice = Choice(search.noise, part.handicap, search.seed, f"angrec/noise/{part.number}", index)
    found = search_block(
        spectra, images.poses.shift[index], part.bank, part.directions, len(columns), search.sampler,
        variants=search.variants, scan=search.scan, choice=choice, max_shift=max(search.max_shift, 1e-9),
        amplitude_filter=search.amplitude_filter, ctf=transfer,
    )  # fmt: skip
    found = _merge(before, found, part.share)
    if not part.last:
        return found
    if part.share < 1:
        found.sd = np.sqrt(np.maximum(found.sd - found.mean**2, 0.0))
    if search.plane is not None:
        known = images.posed and search.noise == 0
        start = (images.own[index], images.matrices[index], images.poses.shift[index]) if known else None
        which = np.broadcast_to(np.array(columns), found.score.shape).copy()
        if search.own_only:
            which[np.arange(len(columns)) != images.own[index][:, None]] = -1
        refine_block(
            spectra, found, anchors.references, which, search.plane, ctf=transfer, start=start, max_shift=search.max_shift
        )
        if search.halves:
            found.first, found.second = half_scores(spectra, found, anchors.references, which, search.plane, transfer)
    return found


def _merge(old: Candidates | None, new: Candidates, share: float) -> Candidates:
    """Candidates over several parts of the directions: the better pose, and pooled mean and mean square.

    `share` is the part's share of all directions.
    """
    if share == 1:
        return new
    new.sd = (new.sd**2 + new.mean**2) * share
    new.mean *= share
    if old is None:
        return new
    better = new.noisy > old.noisy
    for name in ("score", "noisy", "matrix", "shift"):
        a, b = getattr(old, name), getattr(new, name)
        a[better] = b[better]
    old.mean += new.mean
    old.sd += new.sd
    return old


def _gather(
    comm: Comm, results: list[tuple[NDArray[np.int64], Candidates]], n: int, k: int
) -> tuple[Candidates, NDArray[np.int64]]:
    """Candidates of all images on every rank, and which images took part. A few numbers for each image travel, no data."""
    everything = Candidates.empty(n, k)
    for part in comm.allgather([(i, {f: getattr(c, f) for f in NAMES}, c.samples) for i, c in results]):
        for index, values, samples in part:
            for name in NAMES:
                getattr(everything, name)[index] = values[name]
            everything.samples = samples
    return everything, np.flatnonzero(np.isfinite(everything.score).any(1))
