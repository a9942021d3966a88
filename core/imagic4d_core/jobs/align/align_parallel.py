"""Image i to reference i: between rounds of reconstruction, to the re-projection of the same direction."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.align.centre import shifted
from imagic4d_core.align.evidence import DECOYS, SAMPLE, Evidence, sampled, weigh
from imagic4d_core.align.references import PlaneReferences
from imagic4d_core.align.search import Aligned, Scores, make_bank, search_block, settle
from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.align.aligning import BLOCK, Images, collected, open_square, same_box
from imagic4d_core.jobs.align.mra_work import Work, make_work
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count

#: Pairs compared by one matrix product; all but its diagonal is thrown away.
PAIRS = 8


@dataclass
class ParallelSummary:
    """What a parallel alignment found."""

    images: int
    aligned: int
    mirrored: int
    unshifted: int
    score: float
    angle_rms: float
    shift_rms: float
    evidence: Evidence | None = None
    warnings: list[str] = field(default_factory=list)
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__ | {"evidence": self.evidence and self.evidence.as_dict()}

    def lines(self) -> list[str]:
        """For people."""
        out = [
            f"{self.output}: {self.aligned} of {self.images} images aligned, each to its own reference, "
            f"mean correlation {self.score:.3f}",
            f"  moved since the start: rms {self.angle_rms:.1f} degrees, {self.shift_rms:.2f} pixels",
        ]
        if self.mirrored:
            out.append(f"  {self.mirrored} mirrored")
        if self.unshifted:
            out.append(f"  {self.unshifted} images left unshifted: their motif would move farther than the largest shift")
        if self.evidence is not None:
            out.append(self.evidence.line("their"))
        return out + [f"  WARNING: {text}" for text in self.warnings]


def align_parallel(
    src: str,
    references: str,
    dst: str,
    *,
    mirror: bool = False,
    from_originals: str | None = None,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **how: Any,
) -> ParallelSummary:
    """Align every image to the reference of the same number.

    Parameters
    ----------
    src, references, dst : path
        As many references as images. A shift still to be applied to a reference (words 80, 81: re-projections lie as their
        images do) is applied before.
    mirror : bool
        Mirrored references too.
    from_originals, weigh_ctf, amplitude_contrast, loc
        As in `jobs.align.mra.mra`.
    **how
        See `jobs.align.mra_work.make_work`.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_output(dst, overwrite)
    n_threads = thread_count(threads)
    with (
        Images.open(src, from_originals, loc, amplitude_contrast if weigh_ctf else None) as images,
        open_square(references, "references") as refs,
    ):
        same_box(images.pixels, refs)
        if refs.n_images != images.n:
            raise MismatchError(
                f"{refs.path}: {refs.n_images} references for {images.n} images of {images.images.path}; "
                "one reference for each image is needed, in the same order"
            )
        work = make_work(images, comm, n_threads, mirror=mirror, **how)
        their = refs.headers()
        numbers, waiting = their["REF3D"], Poses.from_headers(their).shift

        def found(a: int, b: int) -> tuple[Aligned, NDArray[np.int64]]:
            rows = a + np.flatnonzero(images.active[a:b])
            spectra = images.spectra(a, b)
            parts = []
            for at in range(0, len(rows), PAIRS):
                some = rows[at : at + PAIRS]
                ready = work.prepared(_centred(refs, some, waiting))
                scores = _diagonal(work, spectra[some - a], some, ready)
                parts.append(
                    settle(
                        spectra[some - a], images.start.select(some), images.before.select(some), scores, ready, work.search,
                        leave=work.leave,
                    )
                )  # fmt: skip
                parts[-1].ref = np.where(parts[-1].ref >= 0, some, -1)
            return Aligned.joined(parts), rows - a

        def mark(headers: NDArray, rows: NDArray[np.int64], aligned: Aligned) -> None:
            headers["CCC"][rows], headers["REF"][rows] = aligned.ccc, aligned.ref + 1
            same = rows[(numbers[aligned.ref] > 0) & (headers["REF3D"][rows] == numbers[aligned.ref])]
            headers["CCC3D"][same] = headers["CCC"][same]

        evidence = _evidence(work, images, refs, waiting)
        parts = images.write(dst, found, mark, comm=comm, threads=n_threads, overwrite=overwrite, progress=progress)
        rows, aligned = collected(comm, parts)
        run = images.start.select(rows).inverse().then(aligned.maps)
        total = images.before.select(rows).then(run)
        summary = ParallelSummary(
            images=images.n, aligned=int((aligned.ref >= 0).sum()), mirrored=int((np.linalg.det(total.linear) < 0).sum()),
            unshifted=int(aligned.still.sum()), score=float(aligned.ccc.mean()),
            angle_rms=float(np.sqrt((np.rad2deg(run.parts()[0]) ** 2).mean())),
            shift_rms=float(np.sqrt((run.offset**2).sum(1).mean())), evidence=evidence, output=os.fspath(dst),
        )  # fmt: skip
        if not evidence.found and not evidence.few:
            summary.warnings.append("the images show no sign of the references, they could be noise")
    return summary


def _diagonal(work: Work, spectra: NDArray[np.complex64], rows: NDArray[np.int64], ready: PlaneReferences) -> Scores:
    """Scores of each image in its own reference alone (or in those of several sets of references, one behind the other)."""
    images, n = work.images, len(rows)
    bank = make_bank(ready, work.search)
    scores = search_block(spectra, images.start.select(rows), images.before.select(rows), bank, work.search)
    mine = np.arange(n)[:, None] + n * np.arange(scores.score.shape[1] // n)  # of every set, in every hand
    deep = mine[..., None]
    return Scores(
        np.take_along_axis(scores.score, deep, 1), np.take_along_axis(scores.arg, deep, 1),
        np.take_along_axis(scores.flipped, deep, 1), np.take_along_axis(scores.column, mine, 1),
    )  # fmt: skip


def _centred(refs: Stack, rows: NDArray[np.int64], waiting: NDArray[np.float64]) -> NDArray[np.float32]:
    """References of some images, with the shift that was still to be applied to them."""
    pictures = np.concatenate([refs.read(int(i), int(i) + 1) for i in rows])
    if waiting[rows].any():
        box = pictures.shape[1:]
        spectra = fourier.centred_rfftn(pictures, 2).astype(np.complex64)
        pictures = fourier.centred_irfftn(shifted(spectra, waiting[rows], box), box).astype(np.float32)
    return pictures


def _evidence(work: Work, images: Images, refs: Stack, waiting: NDArray[np.float64]) -> Evidence:
    """Own references against their decoys, on evenly spaced images."""
    sample = sampled(images.active, SAMPLE)

    def run(span: tuple[int, int]) -> NDArray[np.float32]:
        a, b = span
        rows = a + np.flatnonzero(sample[a:b])
        out = np.zeros((0, 1 + DECOYS), np.float32)
        for at in range(0, len(rows), PAIRS):
            some = rows[at : at + PAIRS]
            ready = work.with_decoys(_centred(refs, some, waiting), int(some[0]))
            found = _diagonal(work, images.spectra(a, b)[some - a], some, ready)
            out = np.concatenate([out, found.score[..., 0].reshape(len(some), -1, 1 + DECOYS).max(1)])
        return out

    blocks = work.comm.blocks(images.n, BLOCK)
    mine = list(zip(blocks, map_blocks(run, blocks, work.threads), strict=True))
    everything = sorted((item for part in work.comm.allgather(mine) for item in part), key=lambda item: item[0])
    table = np.concatenate([scores for _, scores in everything])
    evidence = weigh(table[:, :1], table[:, 1:, None])
    evidence.poor = []
    return evidence
