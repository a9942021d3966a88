"""References to one another: those that resemble each other come to lie the same way round."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.align.moving import Maps, moved
from imagic4d_core.align.references import masked
from imagic4d_core.align.search import Aligned, Scores, make_bank, search_block, settle
from imagic4d_core.errors import InputError
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.align.aligning import BLOCK, Images
from imagic4d_core.jobs.align.mra_work import Work, make_work
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count

#: No reference moved by more than this: done. Degrees, pixels.
TURNED, SHIFTED = 0.1, 0.02
#: Rounds of rotation and translation where these are searched in turn.
ROUNDS = 3


@dataclass
class RefsSummary:
    """What was found."""

    images: int
    iterations: int
    before: float
    after: float
    mirrored: int
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        flipped = f", {self.mirrored} mirrored" if self.mirrored else ""
        return [
            f"{self.output}: {self.images} references aligned to one another in {self.iterations} iterations{flipped}",
            f"  mean correlation with the sum of the others {self.before:.3f} before, {self.after:.3f} after",
        ]


def align_refs(
    src: str,
    dst: str,
    *,
    iterations: int = 5,
    mirror: bool = False,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **how: Any,
) -> RefsSummary:
    """Align references to one another.

    Every reference is compared with every other; along the tree of greatest resemblance they are brought together, and then
    each is aligned to the sum of all others, in turn, until nothing moves. The reference that resembles the others most stays.

    Parameters
    ----------
    src, dst : path
    iterations : int
        Largest number of rounds.
    mirror : bool
        References may be mirrored.
    loc : Locations, optional
    **how
        See `jobs.align.mra_work.make_work`.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_output(dst, overwrite)
    n_threads = thread_count(threads)
    with Images.open(src, None, loc) as images:
        if images.n < 2:
            raise InputError(f"{images.images.path}: one reference; two at least are needed")
        work = make_work(images, comm, n_threads, mirror=mirror, iterations=ROUNDS, **how)
        group = _Group(work, images)
        before = group.likeness()
        group.grow_tree()
        rounds = 0
        for rounds in range(1, iterations + 1):
            largest = group.round()
            if progress is not None:
                progress(rounds, iterations)
            if largest[0] < TURNED and largest[1] < SHIFTED:
                break
        scores = group.scores()

        def found(a: int, b: int) -> tuple[Aligned, NDArray[np.int64]]:
            n = b - a
            maps = group.maps.select(slice(a, b))
            return Aligned(np.zeros(n, np.int64), maps, scores[a:b], np.zeros(n, bool), np.zeros((n, 2))), np.arange(n)

        def mark(headers: NDArray, rows: NDArray[np.int64], aligned: Aligned) -> None:
            headers["CCC"][rows] = aligned.ccc

        images.write(dst, found, mark, comm=comm, threads=n_threads, overwrite=overwrite)
        total = images.before.then(images.start.inverse().then(group.maps))
        mirrored = int((np.linalg.det(total.linear) < 0).sum())
        return RefsSummary(images.n, rounds, before, float(scores.mean()), mirrored, os.fspath(dst))


class _Group:
    """References with their moves so far."""

    def __init__(self, work: Work, images: Images) -> None:
        self.work, self.images = work, images
        data = images.pixels.read(0, images.n)
        spread = data.reshape(images.n, -1).std(1, dtype=np.float64)
        if not (spread > 0).all():
            bad = int(np.flatnonzero(spread == 0)[0])
            raise InputError(f"{images.pixels.path}: reference {bad + 1} is constant; pictures are needed")
        level = data.mean((1, 2), dtype=np.float64)
        self.data = ((data - level[:, None, None]) / spread[:, None, None]).astype(np.float32)
        self.spectra = fourier.centred_rfftn(self.data, 2).astype(np.complex64)
        self.maps = images.start.select(slice(None))

    def shown(self) -> NDArray[np.float64]:
        """The references moved, masked."""
        return masked(moved(self.data, self.maps), self.work.mask).astype(np.float64)

    def scores(self) -> NDArray[np.float64]:
        """Correlation of each with the sum of the others, inside the mask."""
        x = self.shown().reshape(self.images.n, -1)
        rest = x.sum(0) - x
        size = np.sqrt((x * x).sum(1) * (rest * rest).sum(1))
        return (x * rest).sum(1) / np.where(size > 0, size, 1.0)

    def likeness(self) -> float:
        """Mean of `scores`."""
        return float(self.scores().mean())

    def _find(self, index: NDArray[np.int64], start: Maps, pictures: NDArray[np.float32]) -> tuple[Scores, Any]:
        """Search some references in pictures."""
        work = self.work
        ready = work.prepared(pictures)
        before = self.images.before.select(index).then(self.images.start.select(index).inverse().then(start))
        found = search_block(self.spectra[index], start, before, make_bank(ready, work.search), work.search)
        return found, (ready, before)

    def grow_tree(self) -> None:
        """Bring all together along the tree of greatest resemblance."""
        n, work = self.images.n, self.work
        ready = work.prepared(self.data)
        bank = make_bank(ready, work.search)
        start, before = self.images.start, self.images.before

        def compare(span: tuple[int, int]) -> Scores:
            rows = np.arange(*span)
            return search_block(self.spectra[rows], start.select(rows), before.select(rows), bank, work.search)

        blocks = [(a, min(n, a + BLOCK)) for a in range(0, n, BLOCK)]
        parts = map_blocks(compare, blocks, work.threads)
        table = np.concatenate([p.score[..., 0].reshape(len(p.score), -1, n).max(1) for p in parts]).astype(np.float64)
        np.fill_diagonal(table, 0.0)
        both = np.maximum(table, table.T)
        root = int(both.sum(1).argmax())
        inside = np.zeros(n, bool)
        inside[root] = True
        while not inside.all():
            edges = np.where(inside[None, :] & ~inside[:, None], both, -np.inf)
            child, parent = divmod(int(edges.argmax()), n)
            index = np.array([child])
            # at the place where the parent stands now, so that limits of shift hold for the whole way
            picture = moved(self.data[parent][None], self.maps.select([parent]))
            found, (own, was) = self._find(index, self.images.start.select(index), picture)
            result = settle(self.spectra[index], self.images.start.select(index), was, found, own, work.search, leave=False)
            self._take(child, result)
            inside[child] = True

    def _take(self, k: int, result: Aligned) -> None:
        if result.ref[0] >= 0:
            self.maps.linear[k], self.maps.offset[k] = result.maps.linear[0], result.maps.offset[0]

    def round(self) -> tuple[float, float]:
        """Align each to the sum of all others; largest rotation (degrees) and shift (pixels)."""
        turned = shifted = 0.0
        shown = moved(self.data, self.maps).astype(np.float64)
        total = shown.sum(0)
        for k in range(self.images.n):
            index = np.array([k])
            rest = (total - shown[k]).astype(np.float32)[None]
            start = self.images.start.select(index)
            found, (ready, before) = self._find(index, start, rest)
            result = settle(self.spectra[index], start, before, found, ready, self.work.search, leave=False)
            if result.ref[0] < 0:
                continue
            old = self.maps.select(index)
            self._take(k, result)
            step = old.inverse().then(self.maps.select(index))
            new = moved(self.data[k][None], self.maps.select(index))[0].astype(np.float64)
            mask = self.work.mask
            if ((new - shown[k]) * mask * rest[0]).sum() <= 0:  # no better than before
                self.maps.linear[k], self.maps.offset[k] = old.linear[0], old.offset[0]
                continue
            flipped = float(np.linalg.det(step.linear[0])) < 0
            turned = max(turned, 180.0 if flipped else float(np.abs(np.rad2deg(step.parts()[0])).max()))
            shifted = max(shifted, float(np.hypot(*step.offset[0])))
            total += new - shown[k]
            shown[k] = new
        return turned, shifted
