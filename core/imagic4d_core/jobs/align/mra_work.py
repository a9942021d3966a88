"""The steps of a multi-reference alignment over blocks of images: search, judgement, evidence, references without a fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.evidence import DECOYS, FOLDS, Evidence, sampled, weigh
from imagic4d_core.align.references import PlaneReferences, decoys, masked, prepare, ring_mask
from imagic4d_core.align.search import ORDERS, Aligned, Scores, Search, make_bank, plan, search_block, settle
from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.jobs.align.aligning import BLOCK, Images, open_square, same_box
from imagic4d_core.parallel import Comm, map_blocks
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.units import Frequency, in_pixels

CORRELATIONS = {"ccf": 0.0, "mcf": 0.5}
TOO_FAR = ("leave", "limit")
#: Frequencies of search and refinement when nothing is said, fractions of Nyquist.
SEARCH_LIMIT, REFINE_LIMIT = 0.5, 0.8
#: Bytes of the references in memory at a time.
BANK_BYTES = 1 << 28
#: Fixed point of class sums made anew.
UNIT = 2.0**24


@dataclass
class References:
    """The references as they stand in the file."""

    path: str
    images: NDArray[np.float32]
    headers: NDArray

    @property
    def ref3d(self) -> NDArray[np.int32]:
        """3D membership of each."""
        return Poses.from_headers(self.headers).ref3d


def read_references(spec: str, images: Images) -> References:
    """Read references and check them against the images (InputError, MismatchError)."""
    with open_square(spec, "references") as stack:
        same_box(images.pixels, stack)
        data = stack.read()
        flat = np.flatnonzero(np.ptp(data.reshape(len(data), -1), axis=1) == 0)
        if len(flat) == len(data):
            raise InputError(f"{stack.path}: all references are constant; pictures are needed")
        return References(str(stack.path), data, stack.headers())


@dataclass
class Work:
    """The steps of an alignment over blocks of images."""

    images: Images
    search: Search
    mask: NDArray[np.float32]
    outer: float
    r_local: int
    leave: bool
    comm: Comm
    threads: int

    def prepared(self, pictures: NDArray[np.float32]) -> PlaneReferences:
        """References."""
        return self._ready(masked(pictures, self.mask), self.r_local)

    def with_decoys(self, pictures: NDArray[np.float32], seed: int) -> PlaneReferences:
        """References, and `DECOYS` sets of decoys behind them, for a search."""
        inside = masked(pictures, self.mask)
        return self._ready(np.concatenate([inside, *decoys(inside, self.mask, seed, DECOYS)]), None)

    def _ready(self, inside: NDArray[np.float32], r_local: int | None) -> PlaneReferences:
        how = self.search
        return prepare(inside, how.sampler, r_local, radius=self.outer, amplitude_filter=how.amplitude_filter)

    def _search(self, spectra: NDArray[np.complex64], rows: NDArray[np.int64], first: int, bank: Any) -> Scores:
        return search_block(spectra, self.images.start.select(rows), self.images.before.select(rows), bank, self.search, first)

    def _chunk(self) -> int:
        """References whose bank keeps to the memory."""
        sampler = self.search.sampler
        return max(1, BANK_BYTES // (len(self.search.trial) * sampler.n_alpha * sampler.r_max * 8))

    def scores(
        self, ready: list[PlaneReferences], folds: NDArray[np.int32], allowed: NDArray[np.bool_],
        progress: Callable[[int, int], None] | None,
    ) -> dict[int, Scores]:  # fmt: skip
        """The best few references of this rank's images, by first image of each block; rows are its active images."""
        blocks = self.comm.blocks(self.images.n, BLOCK)
        out: dict[int, Scores] = {}
        for fold, references in enumerate(ready):
            for first in range(0, len(references), self._chunk()):
                part = slice(first, first + self._chunk())
                some = PlaneReferences(references.lines[part], references.grids[part], references.oversampling, references.radius)
                bank = make_bank(some, self.search)

                def run(span: tuple[int, int], bound: tuple[Any, ...] = (fold, first, bank)) -> tuple[int, Scores | None]:
                    fold, first, bank = bound
                    rows = self.rows(*span, fold, folds)
                    if not len(rows):
                        return span[0], None
                    found = self._search(self.images.spectra(*span)[rows - span[0]], rows, first, bank)
                    found.score[~np.take_along_axis(allowed[rows], found.column, 1)] = -np.inf
                    return span[0], found.best()

                for a, found in map_blocks(run, blocks, self.threads, None):
                    if found is not None:
                        key = a * len(ready) + fold
                        out[key] = out[key].beside(found).best() if key in out else found
        return out

    def rows(self, a: int, b: int, fold: int, folds: NDArray[np.int32]) -> NDArray[np.int64]:
        """Active images of a fold in a block."""
        return a + np.flatnonzero(self.images.active[a:b] & (folds[a:b] == fold))

    def settle(
        self, a: int, b: int, scores: dict[int, Scores], ready: list[PlaneReferences], folds: NDArray[np.int32]
    ) -> tuple[Aligned, NDArray[np.int64]]:
        """What was found for the active images of a block."""
        spectra = self.images.spectra(a, b)
        parts, places = [], []
        for fold, references in enumerate(ready):
            rows = self.rows(a, b, fold, folds)
            if len(rows):
                found = settle(
                    spectra[rows - a], self.images.start.select(rows), self.images.before.select(rows),
                    scores[a * len(ready) + fold], references, self.search, leave=self.leave,
                )  # fmt: skip
                parts.append(found)
                places.append(rows - a)
        return Aligned.joined(parts), np.concatenate(places) if places else np.zeros(0, np.int64)

    def evidence(
        self, sets: list[NDArray[np.float32]], folds: NDArray[np.int32], allowed: NDArray[np.bool_], most: int, seed: int
    ) -> Evidence:
        """References against decoys, on evenly spaced images."""
        sample = sampled(self.images.active, most)
        k = allowed.shape[1]
        found: list[Any] = []
        for fold, pictures in enumerate(sets):
            both = self.with_decoys(pictures, seed)
            # blocks of sampled images, not samples of blocks: products of a few rows would be slow
            mine = np.flatnonzero(sample & (folds == fold))
            for first in range(0, len(both), self._chunk()):
                part = slice(first, first + self._chunk())
                bank = make_bank(PlaneReferences(both.lines[part], both.grids[part], both.oversampling, both.radius), self.search)

                def run(span: tuple[int, int], bound: tuple[Any, ...] = (mine, first, bank)) -> list[Any]:
                    mine, first, bank = bound
                    rows = mine[slice(*span)]
                    spectra = np.concatenate([self.images.spectra(int(i), int(i) + 1) for i in rows])
                    block = self._search(spectra, rows, first, bank)
                    score = block.score[..., 0].reshape(len(rows), -1, bank.count).max(1)  # over hands
                    may = np.tile(allowed[rows], (1, 1 + DECOYS))[:, first : first + bank.count]
                    return [(int(r), first, s) for r, s in zip(rows, np.where(may, score, -np.inf), strict=True)]

                for items in map_blocks(run, self.comm.blocks(len(mine), BLOCK), self.threads, None):
                    found += items
        place = np.cumsum(sample) - 1
        table = np.full((int(sample.sum()), k * (1 + DECOYS)), -np.inf, np.float32)
        for items in self.comm.allgather(found):
            for row, first, score in items:
                table[place[row], first : first + len(score)] = score
        return weigh(table[:, :k], table[:, k:].reshape(-1, DECOYS, k))

    def without_folds(self, number: NDArray[np.int64], folds: NDArray[np.int32], refs: References) -> list[NDArray[np.float32]]:
        """The references made anew as means of their members, for every fold without it."""
        k, box = len(refs.images), self.images.images.lines
        blocks = self.comm.blocks(self.images.n, BLOCK)
        sums = np.zeros((FOLDS, k, box, box), np.int64)
        counts = np.zeros((FOLDS, k), np.int64)
        level = max(float(np.abs(refs.images).max()), 1e-30)
        for a, b in blocks:
            data = self.images.images.read(a, b)
            for i in range(a, b):
                if number[i] > 0 and self.images.active[i]:
                    value = np.clip(data[i - a].astype(np.float64) / level, -1e9, 1e9)
                    sums[folds[i], number[i] - 1] += np.rint(value * UNIT).astype(np.int64)
                    counts[folds[i], number[i] - 1] += 1
        sums, counts = self.comm.allreduce(sums), self.comm.allreduce(counts)
        whole = sums.sum(0) / np.maximum(counts.sum(0), 1)[:, None, None]
        for j in range(k):
            x, y = whole[j].ravel() - whole[j].mean(), refs.images[j].ravel() - refs.images[j].mean(dtype=np.float64)
            likeness = float(x @ y / np.sqrt(max((x @ x) * (y @ y), 1e-300)))
            if likeness < 0.7:
                raise MismatchError(
                    f"{refs.path}: reference {j + 1} does not look like the mean of the images that are said to be in it "
                    f"(correlation {likeness:.2f}), so it cannot be made without each; give other references, or --no-safe"
                )
        scale = level / UNIT
        out = []
        for fold in range(FOLDS):
            rest, left = sums.sum(0) - sums[fold], counts.sum(0) - counts[fold]
            out.append((rest * (scale / np.maximum(left, 1)[:, None, None])).astype(np.float32))
        return out


def make_work(
    images: Images, comm: Comm, threads: int, *, search: str = "together", correlation: str = "ccf", mirror: bool = True,
    max_shift: float | None = None, run_shift: float | None = None, rotation_range: Sequence[float] = (-180.0, 180.0),
    run_range: Sequence[float] = (-180.0, 180.0), radii: Sequence[float] = (0.0, 0.9), increment: float | None = None,
    max_frequency: Frequency | None = None, fine: bool = True, fine_frequency: Frequency | None = None, iterations: int = 1,
    too_far: str = "leave",
) -> Work:  # fmt: skip
    """Settle how images are compared with references.

    Parameters
    ----------
    images : Images
    comm, threads
        As in every job.
    search : {"together", "rotation-first", "translation-first", "rotation", "translation"}
    correlation : {"ccf", "mcf"}
        Plain correlation, or amplitudes of images and references replaced by their square roots.
    mirror : bool
        Mirrored references too.
    max_shift : float, optional
        Largest shift in all, pixels (below 1: fraction of half the box; default 0.2).
    run_shift : float, optional
        Largest shift in this run.
    rotation_range, run_range : (low, high)
        Range of the rotation in all, and in this run, degrees within -180 to 180.
    radii : (inner, outer)
        Part of the references that is compared, pixels (below 1: fractions of half the box).
    increment : float, optional
        Degrees between trial rotations (default 6).
    max_frequency : Frequency, optional
        Limit of the search (default 0.5 Nyquist).
    fine : bool
        Refine the best references locally, to `fine_frequency` (default: `max_frequency`, or 0.8 Nyquist without one).
    iterations : int
        Rounds of rotation and translation, when they are searched in turn.
    too_far : {"leave", "limit"}
        Images whose motif would move farther than the largest shift are left unshifted, or get the best shift within.

    Raises
    ------
    UsageError, InputError
    """
    check_word("search", search, ORDERS)
    check_word("correlation", correlation, CORRELATIONS)
    check_word("answer to a move too far,", too_far, TOO_FAR)
    if iterations < 1:
        raise UsageError(f"{iterations} iterations; at least 1 is needed")
    ranges = [_two(values, "rotation range") for values in (rotation_range, run_range)]
    for low, high in ranges:
        if not -180.0 <= low < high <= 180.0:
            raise UsageError(f"rotation range {low:g},{high:g}: two angles from -180 to 180 are needed, the smaller first")
    box, size = images.pixels.lines, images.images.pixel_size
    inner, outer = (in_pixels(r, box) for r in _two(radii, "radii"))
    if not 0 <= inner < outer:
        raise UsageError(f"radii {radii[0]:g},{radii[1]:g}: the first must be smaller than the second")
    most = (box - 3) // 2
    r_search = min(shells_of(max_frequency or Frequency(SEARCH_LIMIT), box, size) or 2, most)
    r_local = None
    if fine:
        wanted = shells_of(fine_frequency or max_frequency or Frequency(REFINE_LIMIT), box, size) or 2
        r_local = min(max(wanted, r_search), most)
    how = plan(
        box, r_search, r_local, increment=increment or 6.0, max_shift=in_pixels(0.2 if max_shift is None else max_shift, box),
        max_move=None if run_shift is None else in_pixels(run_shift, box), order=search, rounds=iterations, mirror=mirror,
        amplitude_filter=CORRELATIONS[correlation], angles=ranges[0], turns=ranges[1], look_beyond=too_far == "leave",
    )  # fmt: skip
    mask = ring_mask(box, inner, outer)
    return Work(images, how, mask, outer, r_local or r_search, too_far == "leave", comm, threads)


def _two(values: Sequence[float], what: str) -> tuple[float, float]:
    """Exactly two numbers (UsageError)."""
    if len(values) != 2:
        raise UsageError(f"{what} {','.join(f'{v:g}' for v in values)}: two numbers with a comma between are needed")
    return float(values[0]), float(values[1])
