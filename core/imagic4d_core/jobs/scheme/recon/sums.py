"""Sums of central slices: images block by block into the Fourier grids of their 3Ds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.ctf.parameters import with_white_noise
from imagic4d_core.errors import InputError
from imagic4d_core.jobs.scheme.recon.input import BLOCK, PART, Work
from imagic4d_core.parallel import map_blocks
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.fourier import Accumulator
from imagic4d_core.recon.members import marks_of

#: Bytes of spectra put in at a time; sums of integers do not depend on it.
BATCH = 1 << 27
#: Bytes of sums held at a time; more 3Ds than fit are made in several passes over the images.
SUMS = 2 << 30
#: Images looked at for the typical amplitude.
SAMPLE = 64


@dataclass
class VolumeSums:
    """The sums of one 3D over the images of all ranks; rows of `num`, `den` and `counts` are its sets.

    Attributes
    ----------
    number : int
        0-based number of the 3D.
    acc : Accumulator
        What makes volumes of the sums.
    marks : ndarray, shape (n images,), uint32
        By which the images are known again (`recon.members`); 0 for those that were not read.
    """

    number: int
    acc: Accumulator
    num: NDArray[np.int64]
    den: NDArray[np.int64]
    counts: NDArray[np.int64]
    marks: NDArray[np.uint32]


def volume_sums(work: Work, progress: Callable[[int, int], None] | None) -> Iterator[VolumeSums]:
    """Sums of the 3Ds that are this rank's to finish (number modulo ranks), for as many 3Ds at a time as memory allows."""
    amplitude = _amplitude(work)
    sets, total, comm = work.sets.count, work.found.volumes, work.comm
    one = Accumulator(1, work.box, work.inversion.r_max, amplitude=amplitude)
    step = max(1, SUMS // (sets * (one.num.nbytes + one.den.nbytes)))
    passes = [range(first, min(total, first + step)) for first in range(0, total, step)]
    for before, numbers in enumerate(passes):

        def tick(done: int, blocks: int, before: int = before) -> None:
            if progress is not None:
                progress(before * blocks + done, len(passes) * blocks)

        acc, marks = _sum_slices(work, numbers, amplitude, tick)
        marks = comm.allreduce(marks)
        rows = {k: slice((k - numbers.start) * sets, (k - numbers.start + 1) * sets) for k in numbers}
        for k in numbers if comm.size > 1 else ():
            for array in acc.arrays:
                reduced = comm.reduce(array[rows[k]], root=k % comm.size)
                if reduced is not None:
                    array[rows[k]] = reduced
        for k in numbers:
            if k % comm.size == comm.rank:
                yield VolumeSums(k, acc, *(array[rows[k]] for array in acc.arrays), marks.astype(np.uint32))


def _amplitude(work: Work) -> float:
    """Typical rms of an image, from a sample: one number for all ranks."""
    value = 0.0
    if work.comm.rank == 0:
        use = np.unique(work.found.image)
        for i in use[:: max(1, len(use) // SAMPLE)]:
            image = work.images.read(int(i), int(i) + 1)
            value = max(value, float(np.sqrt(np.mean(np.square(image), dtype=np.float64))))
    value = float(work.comm.bcast(value))
    if not value > 0:
        raise InputError(f"{work.images.path}: its images are empty (all densities 0)")
    return value


def _sum_slices(
    work: Work, numbers: range, amplitude: float, tick: Callable[[int, int], None]
) -> tuple[Accumulator, NDArray[np.int64]]:
    """Put this rank's blocks of images into the sums of some 3Ds (0-based `numbers`); marks of these images, 0 for others."""
    inversion = work.inversion
    acc = Accumulator(
        len(numbers) * work.sets.count, work.box, inversion.r_max, amplitude=amplitude, symmetry=inversion.group,
        even_density=inversion.diameter is None,
    )  # fmt: skip
    slabs = _slabs(work, inversion.diameter, numbers, acc.grid.r_max) if inversion.diameter is not None else None
    batch = _Batch(work.box, len(work.poses), work.contrast is not None)
    marks = np.zeros(len(work.poses), np.int64)
    blocks = work.comm.blocks(len(work.poses), BLOCK)
    for done, (start, stop) in enumerate(blocks, 1):
        marks[start:stop] = _collect(work, batch, start, stop, numbers)
        if done == len(blocks) or batch.full:
            _insert(work, acc, batch, slabs)
        tick(done, len(blocks))
    return acc, marks


def _slabs(work: Work, diameter: float, numbers: range, r_max: int) -> list[NDArray[np.float32]]:
    """Slab sums of some 3Ds, for exact filters."""
    matrices, found = work.poses.matrices(), work.found

    def one(k: int) -> NDArray[np.float32]:
        mine = found.ref3d == k + 1
        use = np.repeat(found.image[mine], found.weight[mine].astype(np.int64))
        return exact_filter.slab_sum(matrices[use], work.box, r_max, diameter, work.inversion.group)

    return map_blocks(one, numbers, work.threads)


@dataclass
class _Slices:
    """How spectra go in, an array entry each: pose, shift, sum (row of the accumulator) and weight.

    `volume` is the 3D, counted from the first of the pass.
    """

    matrices: NDArray[np.float64]
    shifts: NDArray[np.float64]
    volume: NDArray[np.int64]
    row: NDArray[np.int64]
    weight: NDArray[np.float32]

    @classmethod
    def concatenate(cls, parts: "list[_Slices]") -> "_Slices":
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


class _Batch:
    """Spectra waiting to be put in, in one buffer that is used again and again."""

    def __init__(self, box: int, images: int, weighed: bool) -> None:
        size = min(images, max(BLOCK, BATCH // (8 * box * (box // 2 + 1)))) + BLOCK
        self._spectra = np.empty((size, box, box // 2 + 1), np.complex64)
        self._ctf = np.empty(self._spectra.shape, np.float32) if weighed else None
        self._used = 0
        self.slices: list[_Slices] = []

    @property
    def full(self) -> bool:
        """Whether the next block may not fit."""
        return self._used + BLOCK > len(self._spectra)

    def room(self, slices: _Slices) -> tuple[NDArray[np.complex64], NDArray[np.float32] | None]:
        """Place for the spectra of more slices, and for their CTF; images drawn several times may need more than a block's."""
        count = len(slices.row)
        if self._used + count > len(self._spectra):
            shape = (count, *self._spectra.shape[1:])
            self._spectra = np.concatenate([self._spectra, np.empty(shape, np.complex64)])
            if self._ctf is not None:
                self._ctf = np.concatenate([self._ctf, np.empty(shape, np.float32)])
        self._used += count
        self.slices.append(slices)
        new = slice(self._used - count, self._used)
        return self._spectra[new], None if self._ctf is None else self._ctf[new]

    def take(self) -> tuple[_Slices, NDArray[np.complex64], NDArray[np.float32] | None]:
        """What was collected: slices, spectra and CTF; the buffer counts as empty afterwards."""
        used, self._used = self._used, 0
        slices, self.slices = _Slices.concatenate(self.slices), []
        return slices, self._spectra[:used], None if self._ctf is None else self._ctf[:used]


def _collect(work: Work, batch: _Batch, start: int, stop: int, numbers: range) -> NDArray[np.uint32]:
    """Add the spectra of one block of images to a batch, as far as they belong to some 3Ds; marks of the block, if any does."""
    found = work.found
    lo, hi = np.searchsorted(found.image, (start, stop))
    entry = lo + np.flatnonzero((found.ref3d[lo:hi] > numbers.start) & (found.ref3d[lo:hi] <= numbers.stop))
    if not len(entry):
        return np.zeros(stop - start, np.uint32)
    image, volume = found.image[entry], found.ref3d[entry] - 1 - numbers.start
    poses = work.poses.select(image)
    row = volume * work.sets.count + work.sets.of(poses)
    data = work.images.read(start, stop)
    marks = marks_of(data)
    if not np.array_equal(image, np.arange(start, stop)):
        data = data[image - start]
    spectra, weights = batch.room(_Slices(poses.matrices(), poses.shift, volume, row, found.weight[entry]))
    if weights is not None:
        transfer, state = work.transfer(start, stop)
        weights[:], state = transfer[image - start], state[image - start]

    def transform(p: slice) -> None:
        spectra[p] = fourier.rfftn(data[p], 2)
        if weights is not None:
            with_white_noise(spectra[p], weights[p], state[p])

    map_blocks(transform, [slice(i, i + PART) for i in range(0, len(entry), PART)], work.threads)
    return marks


def _insert(work: Work, acc: Accumulator, batch: _Batch, slabs: list[NDArray[np.float32]] | None) -> None:
    """Put a batch in and empty it: many slices together share the cells they touch."""
    if not batch.slices:
        return
    s, spectra, ctf = batch.take()
    if slabs is not None:
        ctf = np.zeros(spectra.shape, np.float32)
        for v in np.unique(s.volume):
            mine = np.flatnonzero(s.volume == v)
            ctf[mine] = exact_filter.exact_filters(slabs[v], s.matrices[mine], work.box, acc.grid.r_max)
    acc.insert(spectra, s.matrices, s.row, s.weight, s.shifts, ctf, centred=False, threads=work.threads)
