"""Angular reconstitution from nothing: Euler angles of images from their common lines with each other, or with posed images."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.angrec.polar import PolarSampler, line_count
from imagic4d_core.angrec.startup import MOST, Lines, add, arrange
from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import Stack, create_stack, open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.masks.shapes import soft_disc
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.pixels.spectra import random_phases
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency, in_pixels

MODES = ("new", "add")
#: What it takes of the options of angrec.
OPTIONS = ("mode", "anchors", "symmetry", "max_frequency", "mask_radius", "weigh_ctf")
#: Images placed or written at a time.
BLOCK = 32
#: Frequency up to which lines are compared when nothing is said, fraction of Nyquist.
LIMIT = 0.4
#: Sinogram lines over 360 degrees, at least.
LEAST = 72
#: Standard deviations by which the mean score must exceed that of images with random phases.
SURE = 3.0


@dataclass
class Started:
    """Poses found from common lines.

    Attributes
    ----------
    images, arranged : int
        In all; and of them those that were arranged all against all (others were placed against these, or against the anchors).
    score, chance, spread : float
        Mean sinogram correlation over the common lines; of the same images with random phases; standard deviation of that over
        images.
    above_chance : bool
    starts : list of float
        Mean score that each start came to, best first.
    """

    output: str
    mode: str
    images: int
    arranged: int
    symmetry: str
    score: float
    chance: float
    spread: float
    above_chance: bool
    starts: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        head = f"{self.output}: {self.images} images, mean correlation of common lines {self.score:.3f}"
        out = [f"{head}, by chance {self.chance:.3f} +- {self.spread:.3f}"]
        if self.mode == "new":
            best = ", ".join(f"{s:.3f}" for s in self.starts[:3])
            out.append(f"  {self.arranged} images arranged all against all, {len(self.starts)} starts (best {best}); either hand")
        if not self.above_chance:
            out.append("  WARNING: no better than images of random phases: these angles mean nothing")
        return out


def startup(
    src: str,
    dst: str | None,
    *,
    mode: str = "new",
    anchors: str | None = None,
    increment: float = 5.0,
    symmetry: str = "C1",
    amplitude_filter: float = 0.5,
    max_frequency: Frequency | None = None,
    mask_radius: float | None = None,
    weigh_ctf: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Started:
    """Find Euler angles from common lines (van Heel 1987, see `angrec.startup`).

    Parameters
    ----------
    src, dst : path
        Images, centred; the same with ALPHA, BETA, GAMMA, REF3D (1), CCC3D, ERRAR (1 - CCC3D) and LOCOLD in their headers.
    mode : {"new", "add"}
        All images against each other (beyond `MOST` of them, the others against evenly chosen ones), or each against `anchors`.
    anchors : path, optional
        Images with Euler angles, for "add".
    increment : float
        Degrees between trial directions, and at most 5 between lines.
    symmetry : str
    amplitude_filter : float
        Exponent p of ``F |F|^-p``; 0.5 is the ASQ filter.
    max_frequency : Frequency, optional
        Default 0.4 of Nyquist.
    mask_radius : float, optional
        Soft circular mask, pixels (below 1: fraction of half the box); default 0.85.
    weigh_ctf : bool
        Refused: lines of images with a CTF of their own do not match; phases are to be flipped first.
    seed : int
        Of the random phases.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    _check_options(dst, mode, anchors, weigh_ctf)
    assert dst is not None
    if comm.rank == 0:
        check_output(dst, overwrite)
    with open_stack(src, what="images") as images:
        box = images.lines
        if images.pixels != box:
            raise MismatchError(f"{images.path}: images of {box} x {images.pixels} pixels; square ones are needed (cut)")
        headers = images.headers()
        poses = Poses.from_headers(headers)
        use = np.flatnonzero(headers["ACTIVE"] >= 0)
        if mode == "new" and symmetry.upper() == "C1" and len(use) < 3:
            raise InputError(f"{images.path}: {len(use)} active images; three at least fix each other without symmetry")
        limit = shells_of(max_frequency or Frequency(LIMIT), box, images.pixel_size)
        sampler = PolarSampler(box, min(limit, (box - 3) // 2), max(LEAST, line_count(limit, increment)))
        mask = soft_disc(box, in_pixels(0.85 if mask_radius is None else mask_radius, box), 0.1 * box / 2)
        view = _View(images, poses.shift, sampler, mask, amplitude_filter)
        work = _Work(view, {"increment": increment, "symmetry": symmetry}, seed, comm, thread_count(threads))
        if mode == "new":
            first = use[np.unique(np.linspace(0, len(use) - 1, min(MOST, len(use))).round().astype(int))]
            known = work.arranged(first)
        else:
            known = _posed(str(anchors), view)
        after, scores = poses.matrices(), np.zeros(len(poses))
        after[known.images], scores[known.images] = known.poses[: len(known.images)], known.scores
        placed, chance = work.placed(np.setdiff1d(use, known.images), known)
        for i, (pose, value) in placed.items():
            after[i], scores[i] = pose, value
        null = known.chance if len(known.chance) else chance
        poses.set_matrices(after)
        poses.ref3d_old[use], poses.ref3d[use] = poses.ref3d[use], 1
        poses.ccc3d[use], poses.errar[use] = scores[use], 1 - scores[use]
        headers = poses.into_headers(headers)
        headers["LOCOLD"] = (np.arange(len(headers)) if images.index is None else images.index) + 1
        _write(images, headers, dst, overwrite, comm)
    spread = float(null.std()) if len(null) > 1 else 0.0
    mean, chance_mean = float(scores[use].mean()), float(null.mean()) if len(null) else 0.0
    above = mean - chance_mean > SURE * max(spread, 1e-6)
    return Started(
        os.fspath(dst), mode, len(use), len(known.images), symmetry.upper(), mean, chance_mean, spread, above, known.starts
    )


def _check_options(dst: str | None, mode: str, anchors: str | None, weigh_ctf: bool) -> None:
    check_word("mode", mode, MODES)
    if dst is None:
        raise UsageError("--mode new and add need OUT, a file for the images with their angles")
    if weigh_ctf:
        raise UsageError("common lines take no weights: flip phases first (im4d ctf)")
    if mode == "add" and anchors is None:
        raise UsageError("--mode add needs --anchors, images with Euler angles")
    if mode == "new" and anchors is not None:
        raise UsageError("--mode new takes no --anchors: use --mode add, or one of the anchor sets")


@dataclass
class _View:
    """Images, and how they are looked at."""

    stack: Stack
    shifts: NDArray[np.float64]
    sampler: PolarSampler
    mask: NDArray[np.float32]
    amplitude_filter: float

    def read(self, some: NDArray[np.int64]) -> NDArray[np.float32]:
        """Images by number."""
        return np.concatenate([self.stack.read(int(i), int(i) + 1) for i in some])

    def lines(self, data: NDArray[np.float32], some: NDArray[np.int64]) -> Lines:
        """Sinogram lines of images, centred and masked; `some`: their numbers, from 0."""
        mean = (data * self.mask).sum((1, 2)) / self.mask.sum()
        x = (data - mean[:, None, None]) * self.mask
        empty = np.flatnonzero(~x.any((1, 2)))
        if len(empty):
            raise InputError(f"{self.stack.path}: image {some[empty[0]] + 1} is constant: it has no lines to correlate")
        half = self.sampler.sample(fourier.centred_rfftn(x, 2).astype(np.complex64)) * self.sampler.ramps(self.shifts[some])
        return Lines(half, self.amplitude_filter)


@dataclass
class _Known:
    """Lines whose poses are known: those of anchors, or of the first `images`, which were arranged all against all."""

    lines: Lines
    poses: NDArray[np.float64]
    images: NDArray[np.int64]
    scores: NDArray[np.float64]
    chance: NDArray[np.float64]
    starts: list[float]


def _posed(path: str, view: _View) -> _Known:
    """Lines and poses of anchors."""
    with open_stack(path, what="images") as others:
        theirs, images = Poses.from_headers(others.headers()), view.stack
        if (others.lines, others.pixels) != (images.lines, images.pixels):
            raise MismatchError(
                f"{others.path}: images of {others.lines} x {others.pixels}, but {images.path} has {images.lines} x "
                f"{images.pixels}; cut or zoom one of them"
            )
        if not (theirs.alpha.any() or theirs.beta.any() or theirs.gamma.any()):
            raise InputError(f"{others.path}: anchors without Euler angles in their headers (words 65 to 67)")
        seen = replace(view, stack=others, shifts=theirs.shift)
        lines = seen.lines(others.read(0, others.n_images), np.arange(len(theirs)))
        return _Known(lines, theirs.matrices(), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), [])


@dataclass
class _Work:
    """The search for poses, and who does it."""

    view: _View
    how: dict[str, Any]
    seed: int
    comm: Comm
    threads: int

    def decoys(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images with random phases."""
        return random_phases(data, 2, rng_for(self.seed, "startup/phases").standard_normal(data.shape, dtype=np.float32))

    def arranged(self, some: NDArray[np.int64]) -> _Known:
        """Arrange images all against all; and, to know what chance gives, the same with random phases."""
        data, every = self.view.read(some), np.arange(len(some))
        lines = self.view.lines(data, some)
        found = arrange(lines, every, **self.how, comm=self.comm, threads=self.threads)
        decoys = self.view.lines(self.decoys(data), some)
        chance = arrange(decoys, every, **self.how, comm=self.comm, threads=self.threads).scores
        return _Known(lines, found.poses, some, found.scores, chance, sorted(found.starts, reverse=True))

    def placed(
        self, rest: NDArray[np.int64], known: _Known
    ) -> tuple[dict[int, tuple[NDArray[np.float64], float]], NDArray[np.float64]]:
        """Poses of further images against known ones, over ranks and threads; and scores of some with random phases."""
        against = np.arange(len(known.lines.values))

        def scored(data: NDArray[np.float32], some: NDArray[np.int64]) -> list[tuple[int, NDArray[np.float64], float]]:
            here = self.view.lines(data, some)
            return [
                (int(i), *add(known.lines.joined(here, k), len(against), against, known.poses, **self.how))
                for k, i in enumerate(some)
            ]

        def one(span: tuple[int, int]) -> tuple[list[tuple[int, NDArray[np.float64], float]], list[float]]:
            some = rest[slice(*span)]
            data = self.view.read(some)
            chance = scored(self.decoys(data), some) if span[0] == 0 else []
            return scored(data, some), [score for _, _, score in chance]

        blocks = self.comm.blocks(len(rest), BLOCK)
        parts = [p for part in self.comm.allgather(map_blocks(one, blocks, self.threads)) for p in part]
        found = {i: (pose, score) for some, _ in parts for i, pose, score in some}
        return found, np.array([s for _, chance in parts for s in chance])


def _write(images: Stack, headers: NDArray, dst: str, overwrite: bool, comm: Comm) -> None:
    """The images as they are, with new headers."""
    n, box = len(headers), images.lines
    with create_stack(dst, n, 1, box, box, pixel_size=images.pixel_size, overwrite=overwrite, comm=comm, history="angrec") as out:
        for a, b in comm.blocks(n, BLOCK):
            out.write(a, images.read(a, b))
            out.set_headers(a, headers[a:b])
