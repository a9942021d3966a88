"""Reconstruction of one or many 3Ds: a file of images with poses in, a file of volumes out."""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.ctf.parameters import DONE, CtfParameters, stored_transfer, with_white_noise
from imagic4d_core.ctf.transfer import apply_ctf
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.forward import Projector
from imagic4d_core.geometry import symmetry as sym
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.atomic import check_new
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import Stack, StackWriter, create_stack, open_stack
from imagic4d_core.io.writer import output_paths
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count, warm_first
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.assignment import Assignment, assign
from imagic4d_core.recon.fourier import Accumulator, half_set_fsc, shells_of, ssnr_from_fsc
from imagic4d_core.recon.warm import warmup
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency, in_pixels

log = logging.getLogger(__name__)

#: Images read and transformed at a time: fixed, never by the number of ranks or threads.
BLOCK, PART = 128, 32
#: Bytes of spectra put in at a time; sums of integers do not depend on it.
BATCH = 1 << 27
#: Bytes of sums held at a time; more 3Ds than fit are made in several passes over the images.
SUMS = 2 << 30
#: Images looked at for the typical amplitude.
SAMPLE = 64


@dataclass
class Recon:
    """What a reconstruction did.

    Attributes
    ----------
    sizes : list of int
        Images in each 3D.
    renumbered : dict of int to int
        Old number of each 3D -> new one; 0 for 3Ds left out for having too few images.
    fsc : list of list of float
        Unmasked FSC of the half sets by Fourier pixel for each 3D, where half sets were made.
    errors : list of float
        Mean ERR3D of each 3D, where re-projections were made.
    """

    output: str
    images: int
    used: int
    box: int
    pixel_size: float | None
    method: str
    symmetry: str
    sizes: list[int] = field(default_factory=list)
    renumbered: dict[int, int] = field(default_factory=dict)
    fsc: list[list[float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__ | {"renumbered": {str(k): v for k, v in self.renumbered.items()}}

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {len(self.sizes)} 3D(s) of {self.used} of {self.images} images, box {self.box}, {self.method}"]
        for k, n in enumerate(self.sizes):
            line = f"3D {k + 1}: {n} images"
            if self.fsc:
                line += f", half sets agree (FSC 0.5) to {_crossing(self.fsc[k], self.box):.2f} of Nyquist"
            if self.errors:
                line += f", error {self.errors[k]:.3f}"
            out.append(line)
        gone = [str(k) for k, new in self.renumbered.items() if not new]
        if gone:
            out.append(f"left out for too few images: 3D {', '.join(gone)}; the others are renumbered")
        return out


def _crossing(fsc: list[float], box: int) -> float:
    below = [s for s, value in enumerate(fsc) if value < 0.5]
    return (below[0] if below else len(fsc)) / (box / 2)


def recon(
    src: str,
    dst: str,
    *,
    membership: str = "header",
    volumes: int | None = None,
    euler: str = "header",
    min_images: int = 0,
    symmetry: str = "C1",
    method: str = "fourier",
    object_size: float = 0.8,
    hamming: float | None = 0.99,
    mask_radius: float | None = None,
    max_frequency: Frequency | None = None,
    wiener: bool = False,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    reprojections: str | None = None,
    errors: str | None = None,
    halves: str | None = None,
    folds: int = 0,
    leave_out: str | None = None,
    images_out: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recon:
    """Reconstruct one 3D for every membership.

    Parameters
    ----------
    src, dst : path
        Images (ALPHA, BETA, GAMMA, REF3D, RXSHIFT, RYSHIFT in their headers; inactive ones are not used); volumes.
    membership : {"all", "header", "split", "sequential", "random", "multiple-random"}
        Where an image's 3D comes from, see `recon.assignment`.
    volumes : int, optional
        Number of 3Ds (``split``: parts of each).
    euler : {"header", "random"}
        Where Euler angles come from.
    min_images : int
        3Ds of fewer images are left out; the others are renumbered 1..n, orphans get membership 0.
    symmetry : str
        Point group.
    method : {"fourier", "exact-filter"}
    object_size : float
        Object diameter as a fraction of the box, for the exact filter.
    hamming : float, optional
        Low-pass, see `recon.fourier.hamming_curve`.
    mask_radius : float, optional
        Soft spherical mask, pixels or (below 1) a fraction of half the box.
    max_frequency : Frequency, optional
        Nothing beyond it is put in; the work shrinks with it.
    wiener : bool
        Weight shells by the SSNR that the FSC of the half sets gives (masked as the volume).
    weigh_ctf : bool
        Images count by the CTF in their headers (words 25 to 27, 101, 102; word 93 says what was corrected), with this
        `amplitude_contrast`: least squares, ``sum(C F) / sum(C^2)``. Without it they are taken as free of it.
    reprojections, errors : path, optional
        One image for each input image: re-projection looking like it (with its CTF, where that is weighed); input - scaled
        re-projection. ERR3D in the headers is the rms of that difference over the standard deviation of the input.
    halves : path, optional
        NAME: NAME_a and NAME_b get the volumes of the two half sets (with folds: odd and even folds; else by turns).
    folds : int
        Even number F: deal images into folds by `poses.fold_of` (seed, F, image).
    leave_out : path, optional
        K x F volumes, each made without one fold, 3D by 3D.
    images_out : path, optional
        Copy of the input (densities linked) whose headers hold the memberships, Euler angles, half sets and folds used.
    seed : int
        For random assignments and angles, and the folds.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    _check_options(method, euler, folds, leave_out, hamming, wiener, weigh_ctf)
    group = sym.rotations(symmetry)
    if comm.size > 1:
        warm_first(comm, warmup)
    folds_seed = int(seed) & 0x7FFFFFFF
    with open_stack(src, what="images") as images, ExitStack() as outputs:
        box = images.lines
        if images.pixels != box:
            raise MismatchError(f"{images.path}: images of {box} x {images.pixels} pixels; square ones are needed (cut)")
        if images_out is not None and images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
        headers = images.headers()
        poses = _poses(headers, euler, seed, images.path)
        before = poses.ref3d.copy()
        found = assign(membership, before, headers["ACTIVE"] >= 0, volumes, min_images, seed, images.path)
        poses.ref3d = found.membership(len(poses))
        poses.ref3d_old = np.where(poses.ref3d != before, before, poses.ref3d_old).astype(np.int32)
        _deal(poses, folds, folds_seed, halves is not None or wiener)
        sizes = found.sizes()
        summary = Recon(
            os.fspath(dst), len(poses), len(np.unique(found.image)), box, images.pixel_size, method, symmetry.upper(),
            [int(n) for n in sizes], found.renumbered,
        )  # fmt: skip
        if images_out is not None:
            for path in output_paths(images_out):
                check_new(path, overwrite)

        made = f"recon {method}"

        def create(path: str | Path, count: int, sections: int) -> StackWriter:
            return outputs.enter_context(
                create_stack(
                    path, count, sections, box, box, pixel_size=images.pixel_size, overwrite=overwrite, comm=comm, history=made
                )
            )

        r_max = shells_of(max_frequency, box, images.pixel_size)
        ctf = amplitude_contrast if weigh_ctf else None
        work = _Work(images, poses, found, group, method, object_size, r_max, comm, thread_count(threads), progress, ctf)
        if weigh_ctf:
            CtfParameters.from_headers(headers, images.path)  # what is missing is said before anything is written
            work.transfer(0, 1)
        out = create(dst, found.volumes, box)
        half = [create(_suffixed(halves, s), found.volumes, box) for s in "ab"] if halves else []
        left = create(leave_out, found.volumes * folds, box) if leave_out else None
        seen = create(reprojections, len(poses), 1) if reprojections else None
        diff = create(errors, len(poses), 1) if errors else None
        finish: dict[str, Any] = {"hamming": hamming}
        if mask_radius:
            finish |= {"mask_radius": in_pixels(mask_radius, box), "mask_edge": max(3.0, box / 20)}
        curves: dict[int, list[float]] = {}
        made: dict[int, NDArray[np.float32]] = {}
        sets = folds or (2 if halves or wiener else 1)
        for first, last, acc in work.sums(sets):
            for k in range(first, last):
                if k % comm.size != comm.rank:
                    continue
                rows = slice((k - first) * sets, (k - first + 1) * sets)
                volume = _finish(acc, rows, k, int(sizes[k]), poses, folds, folds_seed, wiener, finish, work, out, half, left)
                curves[k] = volume[1]
                if seen or diff:
                    made[k] = volume[0]
        for part in comm.allgather(curves):
            curves |= part
        if sets > 1:
            summary.fsc = [curves[k] for k in range(found.volumes)]
        if seen or diff:
            summary.errors = _compare(work, made, seen, diff)
    if images_out is not None:
        if comm.rank == 0:
            poses.nimg3d[:] = np.append(0, sizes)[poses.ref3d]
            replace_headers(src, poses.into_headers(headers), images_out, overwrite=overwrite)
        comm.barrier()
    return summary


def _check_options(
    method: str, euler: str, folds: int, leave_out: str | None, hamming: float | None, wiener: bool, ctf: bool
) -> None:
    if method not in ("fourier", "exact-filter"):
        raise UsageError(f"unknown method {method!r}: fourier or exact-filter")
    if euler not in ("header", "random"):
        raise UsageError(f"unknown source of Euler angles {euler!r}: header or random")
    if folds % 2 or folds < 0 or (folds == 0 and leave_out):
        raise UsageError(f"{folds} folds: an even number is needed" + (" for --leave-out" if leave_out else ""))
    if leave_out and folds < 4 and folds != 2:
        raise UsageError("--leave-out needs --folds 2, 4, 6 ...")
    if method == "exact-filter" and (leave_out or wiener):
        raise UsageError("leave-out volumes and the Wiener filter need --method fourier: an exact filter fits one set of views")
    if method == "exact-filter" and ctf:
        raise UsageError("exact filters take no weights: use --method fourier, or flip phases first (im4d ctf)")
    if hamming is not None and not 0 < hamming <= 1:
        raise UsageError(f"Hamming factor {hamming} is out of range: above 0, at most 1")


def _suffixed(path: str, letter: str) -> Path:
    """``x.hed`` -> ``x_a.hed``."""
    p = Path(path)
    return p.with_name(f"{p.stem}_{letter}{p.suffix}")


def _poses(headers: NDArray, euler: str, seed: int, path: Path) -> Poses:
    poses = Poses.from_headers(headers)
    if euler == "random":
        poses.set_matrices(random_rotations(rng_for(seed, "recon/euler"), len(poses)))
    elif not (poses.alpha.any() or poses.beta.any() or poses.gamma.any()) and (len(poses) > 1 or not poses.any_set()):
        raise InputError(f"{path}: has no Euler angles in its headers (words 65 to 67); run angrec, or use --euler random")
    return poses


def _deal(poses: Poses, folds: int, seed: int, halves: bool) -> None:
    """Set fold and half set of every image, in place: folds odd/even, or by turns inside each 3D."""
    if folds:
        poses.fold = fold_of(seed, folds, np.arange(len(poses)))
        poses.folds[:], poses.foldseed[:] = folds, seed
        poses.halfset = (2 - poses.fold % 2).astype(np.int32)
    elif halves:
        for k in np.unique(poses.ref3d):
            mine = np.flatnonzero(poses.ref3d == k)
            poses.halfset[mine] = 1 + np.arange(len(mine)) % 2


@dataclass
class _Work:
    """One reconstruction's input and how to sum it."""

    images: Stack
    poses: Poses
    found: Assignment
    group: NDArray[np.float64]
    method: str
    object_size: float
    r_max: int | None
    comm: Comm
    threads: int
    progress: Callable[[int, int], None] | None
    ctf: float | None

    def transfer(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """CTF of stored images, and what was corrected, see `ctf.parameters.stored_transfer`."""
        assert self.ctf is not None
        box, records = self.images.lines, self.images.headers(start, stop)
        return stored_transfer(records, self.images.path, (box, box), self.images.pixel_size, start=start, amplitude=self.ctf)

    @property
    def diameter(self) -> float:
        return exact_filter.diameter(self.object_size, self.images.lines)

    def _amplitude(self) -> float:
        """Typical rms of an image, from a sample: one number for all ranks."""
        value = 0.0
        if self.comm.rank == 0:
            use = np.unique(self.found.image)
            for i in use[:: max(1, len(use) // SAMPLE)]:
                image = self.images.read(int(i), int(i) + 1)
                value = max(value, float(np.sqrt(np.mean(np.square(image), dtype=np.float64))))
        value = float(self.comm.bcast(value))
        if not value > 0:
            raise InputError(f"{self.images.path}: its images are empty (all densities 0)")
        return value

    def sums(self, sets: int):
        """Sum slices for as many 3Ds at a time as memory allows."""
        amplitude = self._amplitude()
        exact = self.method == "exact-filter"
        one = Accumulator(1, self.images.lines, self.r_max, amplitude=amplitude)
        step = max(1, SUMS // (sets * (one.num.nbytes + one.den.nbytes)))
        total = self.found.volumes
        for first in range(0, total, step):
            last = min(total, first + step)
            acc = Accumulator(
                (last - first) * sets, self.images.lines, self.r_max, amplitude=amplitude, symmetry=self.group,
                even_density=not exact,
            )  # fmt: skip
            slabs = self._slabs(first, last, acc.grid.r_max) if exact else None
            mine = self.comm.blocks(len(self.poses), BLOCK)
            batch = _Batch(self.images.lines, len(self.poses), self.ctf is not None)
            for done, (start, stop) in enumerate(mine):
                self._spectra(batch, start, stop, first, last, sets)
                if done + 1 == len(mine) or batch.full:
                    self._insert(acc, batch, sets, slabs)
                if self.progress is not None:
                    self.progress(done + 1 + (first // step) * len(mine), len(mine) * -(-total // step))
            for k in range(first, last):
                rows = slice((k - first) * sets, (k - first + 1) * sets)
                for array in acc.arrays if self.comm.size > 1 else ():
                    reduced = self.comm.reduce(array[rows], root=k % self.comm.size)
                    if reduced is not None:
                        array[rows] = reduced
            yield first, last, acc

    def _slabs(self, first: int, last: int, r_max: int) -> list[NDArray]:
        matrices = self.poses.matrices()

        def one(k: int) -> NDArray:
            mine = self.found.ref3d == k + 1
            use = np.repeat(self.found.image[mine], self.found.weight[mine].astype(np.int64))
            return exact_filter.slab_sum(matrices[use], self.images.lines, r_max, self.diameter, self.group)

        return map_blocks(one, range(first, last), self.threads)

    def _spectra(self, batch: "_Batch", start: int, stop: int, first: int, last: int, sets: int) -> None:
        """Add the spectra of one block of images to a batch."""
        f = self.found
        lo, hi = np.searchsorted(f.image, (start, stop))
        entry = lo + np.flatnonzero((f.ref3d[lo:hi] > first) & (f.ref3d[lo:hi] <= last))
        if not len(entry):
            return
        image, k = f.image[entry], f.ref3d[entry] - 1 - first
        poses = self.poses.select(image)
        place = np.zeros(len(entry), np.int64)
        if sets > 1:
            place = (poses.fold - 1 if poses.folds.any() else poses.halfset - 1).astype(np.int64)
        data = self.images.read(start, stop)
        if not np.array_equal(image, np.arange(start, stop)):
            data = data[image - start]
        room, weights = batch.room(len(entry))
        if weights is not None:
            transfer, state = self.transfer(start, stop)
            weights[:], state = transfer[image - start], state[image - start]
        parts = [slice(i, i + PART) for i in range(0, len(entry), PART)]

        def transform(p: slice) -> None:
            room[p] = fourier.rfftn(data[p], 2)
            if weights is not None:
                with_white_noise(room[p], weights[p], state[p])

        map_blocks(transform, parts, self.threads)
        batch.entries.append((poses.matrices(), poses.shift, k, place, f.weight[entry]))

    def _insert(self, acc: Accumulator, batch: "_Batch", sets: int, slabs: list[NDArray] | None) -> None:
        """Put a batch in and empty it: many slices together share the cells they touch."""
        if not batch.entries:
            return
        matrices, shifts, k, place, weight = (np.concatenate(column) for column in zip(*batch.entries, strict=True))
        spectra, ctf = batch.take()
        if slabs is not None:
            ctf = np.zeros(spectra.shape, np.float32)
            for v in np.unique(k):
                mine = np.flatnonzero(k == v)
                ctf[mine] = exact_filter.exact_filters(slabs[v], matrices[mine], self.images.lines, acc.grid.r_max)
        acc.insert(spectra, matrices, k * sets + place, weight, shifts, ctf, centred=False, threads=self.threads)


class _Batch:
    """Spectra waiting to be put in, in one buffer that is used again and again."""

    def __init__(self, box: int, images: int, weighed: bool) -> None:
        size = min(images, max(BLOCK, BATCH // (8 * box * (box // 2 + 1)))) + BLOCK
        self._spectra = np.empty((size, box, box // 2 + 1), np.complex64)
        self._ctf = np.empty(self._spectra.shape, np.float32) if weighed else None
        self._used = 0
        self.entries: list[tuple] = []

    @property
    def full(self) -> bool:
        """Whether the next block may not fit."""
        return self._used + BLOCK > len(self._spectra)

    def room(self, count: int) -> tuple[NDArray[np.complex64], NDArray[np.float32] | None]:
        """Place for `count` more spectra, and for their CTF; images drawn several times may need more than a block's."""
        if self._used + count > len(self._spectra):
            shape = (count, *self._spectra.shape[1:])
            self._spectra = np.concatenate([self._spectra, np.empty(shape, np.complex64)])
            if self._ctf is not None:
                self._ctf = np.concatenate([self._ctf, np.empty(shape, np.float32)])
        self._used += count
        new = slice(self._used - count, self._used)
        return self._spectra[new], None if self._ctf is None else self._ctf[new]

    def take(self) -> tuple[NDArray[np.complex64], NDArray[np.float32] | None]:
        """The spectra collected, and their CTF; the buffer counts as empty afterwards."""
        used, self._used = self._used, 0
        self.entries = []
        return self._spectra[:used], None if self._ctf is None else self._ctf[:used]


def _finish(
    acc: Accumulator, rows: slice, k: int, size: int, poses: Poses, folds: int, seed: int, wiener: bool,
    finish: dict[str, Any], work: _Work, out: StackWriter, half: list[StackWriter], left: StackWriter | None,
) -> tuple[NDArray[np.float32], list[float]]:  # fmt: skip
    """Make and write the volumes of one 3D from the sums of its sets; returns the volume and the half sets' FSC."""
    num, den, counts = (a[rows] for a in acc.arrays)
    exact = work.method == "exact-filter"
    factor = exact_filter.back_projection_factor(acc, work.diameter) if exact else None
    halves, curve, ssnr = [], [], None
    if len(num) > 1:
        halves = [(num[q::2].sum(0), den[q::2].sum(0)) for q in (0, 1)]
        mask = finish.get("mask_radius")
        curve = [float(c) for c in half_set_fsc(acc, *halves, factor=factor and 2 * factor)]
        if wiener:
            masked = half_set_fsc(acc, *halves, mask_radius=mask, mask_edge=finish["mask_edge"]) if mask else curve
            ssnr = ssnr_from_fsc(masked)
    total = num.sum(0), den.sum(0)
    box = work.images.lines

    def write(writer: StackWriter, place: int, volume: NDArray[np.float32], fold: int, images: int) -> None:
        words = Poses.blank(box)
        words.ref3d[:], words.nimg3d[:], words.fold[:] = k + 1, images, fold
        words.folds[:], words.foldseed[:] = (folds, seed) if folds else (0, 0)
        head = blank_headers(box, box, box, box, pixel_size=work.images.pixel_size)
        writer.write_volumes(place, volume[None])
        writer.set_headers(place * box, words.into_headers(head))

    volume = acc.finalise(*total, ssnr=ssnr, factor=factor, **finish)
    write(out, k, volume, 0, size)
    for q, writer in enumerate(half):
        write(
            writer, k, acc.finalise(*halves[q], factor=factor and 2 * factor, **finish), 0, int(counts[q::2].sum())
        )  # no Wiener term: each half must not know of the other
    if left is not None:

        def without(q: int) -> NDArray[np.float32]:
            return acc.finalise(total[0] - num[q], total[1] - den[q], ssnr=ssnr, **finish)

        for q, v in enumerate(map_blocks(without, range(folds), work.threads)):
            write(left, k * folds + q, v, q + 1, int(counts.sum() - counts[q]))
    return volume, curve


def _seen_through(transfer: NDArray[np.float32], state: NDArray[np.int32]) -> NDArray[np.float32]:
    """The factor of the signal in stored images: those that were multiplied by the CTF have it twice."""
    twice = state == DONE["multiply"]
    transfer[twice] *= transfer[twice]
    return transfer


def _compare(
    work: _Work, made: dict[int, NDArray[np.float32]], seen: StackWriter | None, diff: StackWriter | None
) -> list[float]:
    """Write re-projections and errors image by image; returns the mean ERR3D of each 3D."""
    poses, box, comm = work.poses, work.images.lines, work.comm
    err = np.zeros(len(poses))
    matrices = poses.matrices()
    blocks = comm.blocks(len(poses), BLOCK)

    def write(start: int, projections: NDArray, differences: NDArray, part: Poses) -> None:
        for writer, data in ((seen, projections), (diff, differences)):
            if writer is not None:
                writer.write(start, data)
                head = work.images.headers(start, start + len(data))
                writer.set_headers(start, part.into_headers(head))

    orphans = np.flatnonzero(poses.ref3d == 0)
    projectors: dict[int, Projector] = {}
    for k in range(work.found.volumes):
        volume = comm.bcast(made.get(k), root=k % comm.size)
        projectors[k] = Projector(volume, work.r_max)
    for start, stop in blocks:
        data = work.images.read(start, stop)
        projections, differences = np.zeros_like(data), data.copy()
        transfer = None if work.ctf is None else _seen_through(*work.transfer(start, stop))
        jobs = [
            (k, part)
            for k in projectors
            for mine in [np.flatnonzero(poses.ref3d[start:stop] == k + 1)]
            for part in np.array_split(mine, -(-len(mine) // PART) or 1)
            if len(part)
        ]

        bound = (data, projections, differences, transfer, start)

        def one(job: tuple[int, NDArray[np.intp]], bound: tuple[Any, ...] = bound) -> None:
            k, part = job
            data, projections, differences, transfer, start = bound
            p = projectors[k].project(matrices[start + part], -poses.shift[start + part])
            if transfer is not None:
                p = apply_ctf(p, transfer[part])
            projections[part] = p
            for i, image in zip(part, p, strict=True):
                x, y = image.ravel().astype(np.float64), data[i].ravel().astype(np.float64)
                x0, y0 = x - x.mean(), y - y.mean()
                power, spread = float((x0 * x0).sum()), float((y0 * y0).sum())
                scale = float((x0 * y0).sum()) / power if power > 0 else 0.0
                rest = y0 - scale * x0
                differences[i] = rest.reshape(box, box)
                err[start + i] = np.sqrt(float((rest * rest).sum()) / spread) if spread > 0 else 0.0

        map_blocks(one, jobs, work.threads)
        part = poses.select(slice(start, stop))
        part.err3d = err[start:stop]
        write(start, projections, differences, part)
    err = np.sum(comm.allgather(err), 0)  # every image is somebody's: all other terms are 0
    err[orphans] = 0.0
    poses.err3d = err
    return [float(err[poses.ref3d == k + 1].mean()) if (poses.ref3d == k + 1).any() else 0.0 for k in projectors]
