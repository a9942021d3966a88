"""Multi-reference alignment: every image to the reference it resembles most."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.evidence import FOLDS, SAMPLE, SAMPLE_SAFE, Evidence, own_classes
from imagic4d_core.align.search import Aligned
from imagic4d_core.errors import MismatchError, check_word
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.align.aligning import Images, collected
from imagic4d_core.jobs.align.mra_work import References, make_work, read_references
from imagic4d_core.parallel import SERIAL, Comm, thread_count

USES = ("all", "own-ref3d")


@dataclass
class MraSummary:
    """What an alignment found."""

    images: int
    references: int
    aligned: int
    mirrored: int
    unshifted: int
    score: float
    angle_rms: float
    shift_rms: float
    sizes: list[int]
    numbers_3d: list[int]
    sizes_3d: list[int]
    moved_3d: float
    evidence: Evidence | None = None
    own_word: str | None = None
    safe: bool = False
    warnings: list[str] = field(default_factory=list)
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__ | {"evidence": self.evidence and self.evidence.as_dict()}

    def lines(self) -> list[str]:
        """For people."""
        out = [
            f"{self.output}: {self.aligned} of {self.images} images aligned to {self.references} references, "
            f"mean correlation {self.score:.3f}, {self.mirrored} mirrored"
        ]
        out.append(f"  moved since the start: rms {self.angle_rms:.1f} degrees, {self.shift_rms:.2f} pixels")
        used = sum(1 for n in self.sizes if n)
        if self.references > 1 and used:
            out.append(f"  {used} references used, {min(n for n in self.sizes if n)} to {max(self.sizes)} images each")
        if self.unshifted:
            out.append(f"  {self.unshifted} images left unshifted: their motif would move farther than the largest shift")
        if len(self.numbers_3d) > 1:
            sizes = ", ".join(f"3D {k}: {n}" for k, n in zip(self.numbers_3d, self.sizes_3d, strict=True))
            out.append(f"  {sizes}; {100 * self.moved_3d:.1f} % changed 3D")
        if self.evidence is not None:
            out.append(self.evidence.line("a"))
        return out + [f"  WARNING: {text}" for text in self.warnings]


def mra(
    src: str,
    references: str,
    dst: str,
    *,
    use: str = "all",
    safe: bool = False,
    from_originals: str | None = None,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    loc: Locations | None = None,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **how: Any,
) -> MraSummary:
    """Align images to references, each to the one it resembles most.

    Parameters
    ----------
    src : path
        Images, square. The shift still to be applied (words 80, 81) belongs to the start.
    references : path
    dst : path
        The images, each moved by one interpolation of its stored pixels.
    from_originals : path, optional
        Images that those of `src` were made of by the moves in its words 116 to 118 and 92: pixels are compared and taken from
        here, and the alignment goes on from there.
    use : {"all", "own-ref3d"}
        Every image takes the best of all references, and its 3D membership where there are several 3Ds; or only references
        of its own 3D compete.
    safe : bool
        Guards against alignment to noise, see `align.evidence`.
    weigh_ctf : bool
        Weigh images by their CTF (words 25 to 27, 101, 102), with this `amplitude_contrast`.
    loc : Locations, optional
        Images to be aligned.
    seed : int
        Of the decoys and the folds.
    **how
        See `jobs.align.mra_work.make_work`.

    Returns
    -------
    MraSummary

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_word("choice of references", use, USES)
    check_output(dst, overwrite)
    n_threads = thread_count(threads)
    with Images.open(src, from_originals, loc, amplitude_contrast if weigh_ctf else None) as images:
        refs = read_references(references, images)
        work = make_work(images, comm, n_threads, **how)
        allowed = _allowed(use, images, refs)

        own = own_classes(images.headers, refs.headers)
        sets, folds = [refs.images], np.zeros(images.n, np.int32)
        if safe and own is not None:
            folds = fold_of(seed, FOLDS, np.arange(images.n)) - 1
            sets = work.without_folds(own[1], folds, refs)
        summary = _summary(images, refs, safe, own)
        evidence = work.evidence(sets, folds, allowed, SAMPLE_SAFE if safe else SAMPLE, seed)
        summary.evidence = evidence
        if safe:
            keep = np.full(allowed.shape[1], evidence.found)
            keep[evidence.poor] = False
            # the same for all images stays one row in memory
            allowed = np.broadcast_to(allowed[0] & keep, allowed.shape) if use == "all" else allowed & keep
        _warn(summary, images, evidence)

        ready = [work.prepared(images) for images in sets]
        scores = work.scores(ready, folds, allowed, progress)

        def found(a: int, b: int) -> tuple[Aligned, NDArray[np.int64]]:
            return work.settle(a, b, scores, ready, folds)

        several = len(np.unique(refs.ref3d[refs.ref3d > 0])) > 1

        def mark(headers: NDArray, rows: NDArray[np.int64], aligned: Aligned) -> None:
            headers["CCC"][rows], headers["REF"][rows] = aligned.ccc, aligned.ref + 1
            at = rows[aligned.ref >= 0]
            if use == "all" and several:
                headers["REF3DOLD"][at] = headers["REF3D"][at]
                headers["REF3D"][at] = refs.ref3d[aligned.ref[aligned.ref >= 0]]
            if several:
                headers["CCC3D"][at] = aligned.ccc[aligned.ref >= 0]

        parts = images.write(dst, found, mark, comm=comm, threads=n_threads, overwrite=overwrite, progress=progress)
        _complete(summary, images, parts, refs, use, several, comm)
    summary.output = os.fspath(dst)
    return summary


def _allowed(use: str, images: Images, refs: References) -> NDArray[np.bool_]:
    """Which references each image may take, shape (n, k); constant references nobody."""
    usable = np.ptp(refs.images.reshape(len(refs.images), -1), axis=1) > 0
    out = np.broadcast_to(usable, (images.n, len(usable)))
    if use == "all":
        return out
    mine, theirs = Poses.from_headers(images.headers).ref3d, refs.ref3d
    if not (theirs > 0).any():
        raise MismatchError(
            f"{refs.path}: references have no 3D membership (word 51), and own-ref3d needs it; "
            "make them with im4d forward, or use --references all"
        )
    out = (mine[:, None] == theirs) & usable & (mine[:, None] > 0)
    lost = np.flatnonzero(images.active & ~out.any(1))
    if len(lost):
        raise MismatchError(
            f"{images.images.path}: image {lost[0] + 1} has 3D membership {mine[lost[0]]}, but {refs.path} has references of "
            f"3D {', '.join(map(str, np.unique(theirs[theirs > 0])))} only; use --references all"
        )
    return out


def _summary(images: Images, refs: References, safe: bool, own: tuple[str, Any] | None) -> MraSummary:
    return MraSummary(
        images=images.n, references=len(refs.images), aligned=0, mirrored=0, unshifted=0, score=0.0, angle_rms=0.0, shift_rms=0.0,
        sizes=[], numbers_3d=[], sizes_3d=[], moved_3d=0.0, own_word=None if own is None else own[0], safe=safe,
    )  # fmt: skip


def _warn(summary: MraSummary, images: Images, evidence: Evidence) -> None:
    """Say what speaks against the alignment."""
    word = {"CLASSNO": "108", "REF": "107"}.get(summary.own_word or "")
    if word and not summary.safe:
        summary.warnings.append(
            f"the references are sums of these very images (their word {word}): each image is drawn to its own noise; use --safe"
        )
    if evidence.few:
        act = "nothing was aligned" if summary.safe else "look at the result"
        summary.warnings.append(f"{evidence.images} images are too few to tell whether they show the references: {act}")
    elif not evidence.found:
        act = (
            "nothing was aligned"
            if summary.safe
            else "the averages will show the references whatever the images hold; use --safe"
        )
        summary.warnings.append(f"the images show no sign of the references, they could be noise: {act}")
    elif evidence.poor:
        names = ", ".join(str(k + 1) for k in evidence.poor)
        act = "left out" if summary.safe else "use --safe to leave them out"
        summary.warnings.append(f"no sign of reference {names} in the images: {act}")


def _complete(
    summary: MraSummary, images: Images, parts: list[tuple[NDArray[np.int64], Aligned]], refs: References, use: str,
    several: bool, comm: Comm,
) -> None:  # fmt: skip
    """Fill in the summary, the same on every rank."""
    rows, aligned = collected(comm, parts)
    ok = aligned.ref >= 0
    rows, aligned = rows[ok], aligned.select(ok)
    summary.aligned = len(rows)
    summary.sizes = np.bincount(aligned.ref, minlength=len(refs.images)).tolist()
    if len(rows):
        run = images.start.select(rows).inverse().then(aligned.maps)
        summary.mirrored = int((np.linalg.det(images.before.select(rows).then(run).linear) < 0).sum())
        summary.unshifted = int(aligned.still.sum())
        summary.score = float(aligned.ccc.mean())
        summary.angle_rms = float(np.sqrt((np.rad2deg(run.parts()[0]) ** 2).mean()))
        summary.shift_rms = float(np.sqrt((run.offset**2).sum(1).mean()))
    if several:
        numbers = np.unique(refs.ref3d[refs.ref3d > 0])
        old = Poses.from_headers(images.headers).ref3d[rows]
        new = refs.ref3d[aligned.ref] if use == "all" else old
        summary.numbers_3d, summary.sizes_3d = numbers.tolist(), [int((new == k).sum()) for k in numbers]
        summary.moved_3d = float((new != old)[old > 0].mean()) if (old > 0).any() else 0.0
