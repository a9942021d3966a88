"""Weights of frequencies of an angular reconstitution: found from its images and anchors, read from a file, written to one."""

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates, HalfPlane
from imagic4d_core.angrec.references import References
from imagic4d_core.angrec.weights import RingSums, Weights, ring_sums, weights_from_images, weights_from_pairs
from imagic4d_core.errors import InputError, OutputError, UsageError
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.scheme.angrec.anchors import Anchors
from imagic4d_core.jobs.scheme.angrec.images import Images
from imagic4d_core.jobs.scheme.angrec.search import Search, search_images
from imagic4d_core.kernels.search import take_linear
from imagic4d_core.parallel import Comm

#: Images of the first search, where poses are not known.
FIRST = 128
COLUMNS = "frequency,image,reference"


def check_weights(weights: str, amplitude_filter: float) -> Weights | None:
    """Refuse what does not go together, and read the file where `weights` is one.

    Raises
    ------
    UsageError, InputError
    """
    if weights == "none":
        return None
    if amplitude_filter > 0:
        raise UsageError("--weighting and --amplitude-filter both weigh frequencies; give one of them")
    return None if weights in ("images", "auto") else read_weights(weights)


def read_weights(path: str) -> Weights:
    """Weights of a CSV file with the columns `COLUMNS`, frequency being a fraction of Nyquist.

    Raises
    ------
    InputError
        No such file, or not such a table.
    """
    try:
        with open(path, encoding="utf-8") as f:
            head, *rows = [line.strip() for line in f if line.strip()] or [""]
        table = np.array([[float(v) for v in row.split(",")] for row in rows], np.float64)
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}); --weighting takes none, images, auto or a CSV file") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path}: no table of numbers; rows of {COLUMNS} are needed") from None
    if head.replace(" ", "") != COLUMNS or table.ndim != 2 or table.shape[1] != 3:
        raise InputError(f"{path}: no weights; the first line must be {COLUMNS}, then three numbers in each row")
    if not np.isfinite(table).all() or (table < 0).any() or (np.diff(table[:, 0]) <= 0).any() or not table[:, 1:].any(0).all():
        raise InputError(f"{path}: frequencies must rise, weights be finite, not negative and not all 0")
    nobody = np.full(len(table), np.nan)
    return Weights(table[:, 0], table[:, 1], table[:, 2], nobody, nobody, source=os.fspath(path))


def write_weights(path: str, weights: Weights, overwrite: bool) -> None:
    """Write what `read_weights` reads, with all digits.

    Raises
    ------
    OutputError
    """
    check_output(path, overwrite)
    rows = zip(weights.frequency, weights.image, weights.reference, strict=True)
    text = "".join(f"{float(f)!r},{float(i)!r},{float(r)!r}\n" for f, i, r in rows)
    try:
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"{COLUMNS}\n{text}")
    except OSError as e:
        raise OutputError(f"{path}: cannot be written ({e.strerror})") from None


def weighted(images: Images, anchors: Anchors, weights: Weights | None) -> tuple[Images, Anchors]:
    """The same with spectra multiplied by the curves."""
    if weights is None:
        return images, anchors
    refs, box = anchors.references, images.stack.lines
    curve = weights.on_references(refs.grids.shape[1], refs.oversampling, box)
    return (
        replace(images, multiplier=weights.on_images(box)),
        replace(anchors, references=replace(refs, grids=refs.grids * curve)),
    )


def find_weights(
    kind: str, images: Images, anchors: Anchors, search: Search, plane: HalfPlane, comm: Comm, threads: int
) -> Weights:
    """Weights of a `kind`: "images", which needs no poses, or "auto".

    Parameters
    ----------
    images, anchors
        Not weighted.
    search : Search
        How poses are looked for where headers have none: without noise, among evenly spaced images.
    plane : HalfPlane
        Frequencies to be weighed.
    """
    box = images.stack.lines
    if kind == "auto" and images.posed and (images.active & (images.own >= 0)).any():
        some = replace(images, active=images.active & (images.own >= 0))
        sums = _sums(some, anchors, some.own, some.matrices, some.poses.shift, plane, comm)
        return weights_from_pairs(sums, box, "images at their poses")
    use = np.flatnonzero(images.active)
    active = np.zeros_like(images.active)
    active[use[np.unique(np.linspace(0, len(use) - 1, min(FIRST, len(use))).round().astype(int))]] = True
    some = replace(images, active=active)
    # any views tell the spectrum of sections: those of the grid in turn
    turn = np.arange(len(active))
    column = turn % len(anchors.numbers)
    views = search.directions[np.linspace(0, len(search.directions) - 1, len(active)).round().astype(int)]
    sums = _sums(some, anchors, column, views, np.zeros((len(active), 2)), plane, comm)
    first = weights_from_images(sums, box, "spectra of images and anchors")
    if kind == "images":
        return first
    found, _ = search_images(
        *weighted(some, anchors, first), replace(search, noise=0.0, spread=0.0, halves=False), comm, threads, None
    )
    return weights_from_pairs(_sums(some, anchors, *_best(found), plane, comm), box, f"first search of {active.sum()} images")


def _best(found: Candidates) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Column, rotation and shift of the best 3D of each image."""
    column = found.score.argmax(1)
    rows = np.arange(len(column))
    return column, found.matrix[rows, column], found.shift[rows, column]


def _sums(
    images: Images, anchors: Anchors, column: NDArray[np.int64], matrix: NDArray[np.float64], shift: NDArray[np.float64],
    plane: HalfPlane, comm: Comm,
) -> RingSums:  # fmt: skip
    """Images with sections at given poses, summed block by block in one order."""
    ring = np.rint(np.hypot(*plane.points.T)).astype(np.int64)
    mine = list(enumerate(images.blocks()))[comm.rank :: comm.size]
    parts = [(b, _block(images, anchors, fold, i, column[i], matrix[i], shift[i], plane, ring)) for b, (fold, i) in mine]
    # (blocks, 4, rings)
    ordered = [s for _, s in sorted((p for r in comm.allgather(parts) for p in r), key=lambda p: p[0])]
    return RingSums(*np.array(ordered).sum(0))


def _block(
    images: Images, anchors: Anchors, fold: int, index: NDArray[np.int64], column: NDArray[np.int64],
    matrix: NDArray[np.float64], shift: NDArray[np.float64], plane: HalfPlane, ring: NDArray[np.int64],
) -> NDArray[np.float64]:  # fmt: skip
    spectra, transfer = images.spectra(index)
    refs: References = anchors.references
    sets = np.array(anchors.of_fold(fold))[column]
    sections = np.empty((len(index), len(plane.points)), np.complex64)
    for s in np.unique(sets):
        these = np.flatnonzero(sets == s)
        part = np.empty((len(these), len(plane.points)), np.complex64)
        take_linear(refs.grids[s], refs.oversampling, matrix[these], plane.points, part)
        sections[these] = part
    if transfer is not None:
        sections *= plane.take(transfer)
    phase = (-2 * np.pi / refs.box) * (shift @ plane.points.T)
    sums = ring_sums(plane.take(spectra) * np.exp(1j * phase), sections, ring)
    return np.array([sums.image, sums.section, sums.product, sums.samples])
