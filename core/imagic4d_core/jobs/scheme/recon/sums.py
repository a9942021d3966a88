"""Sums of central slices: images block by block into the Fourier grids of their 3Ds, within a given memory.

Where memory allows, the sums of all sets of one or more 3Ds are held at once. Else one sum is made at a time, of just the images
that a volume is made of, whole or in bands of rows of the grid; images are read again for each. Sums are of integers, so the
bytes are the same either way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.ctf.parameters import with_white_noise
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.jobs.scheme.recon.input import BLOCK, PART, Work
from imagic4d_core.parallel import map_blocks
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.fourier import Accumulator, GridFloats
from imagic4d_core.recon.grid import bands, grid_for
from imagic4d_core.recon.members import marks_of

#: Bytes of spectra put in at a time; sums of integers do not depend on it.
BATCH = 1 << 27
#: Bytes in a cell of the grid: of a sum; of a sum as floats, and of the transform that makes a volume of it.
SUM, FLOATS, FINISH = 24, 12, 18
#: Most bands a grid is cut into.
BANDS = 32
#: Images looked at for the typical amplitude.
SAMPLE = 64

Tick = Callable[[], Callable[[int, int], None]]
"""Called at the start of every pass over the images: what is told of its progress."""


@dataclass(frozen=True)
class Room:
    """How the sums of 3Ds are held in a given memory.

    Attributes
    ----------
    at_once : int
        3Ds whose sets are all held together; 0: one sum at a time.
    keep_whole : bool
        With one sum at a time: the sum of all images is kept, from which those of single folds are taken away.
    bands : int
        With one sum at a time: bands that the grid is cut into.
    makers : int
        Volumes that threads make of sums at a time.
    """

    at_once: int
    keep_whole: bool = False
    bands: int = 1
    makers: int = 1


def room_for(work: Work, leave_out: bool) -> Room:
    """How to hold the sums.

    Raises
    ------
    UsageError
        The memory asked for is too little for the box.
    """
    inversion, sets = work.inversion, work.sets.count
    cells = int(np.prod(grid_for(work.box, inversion.r_max, width=Accumulator.WIDTH).shape))
    spectra = 2 * work.box * (work.box + 2) * 4 * (min(len(work.poses), BATCH // (4 * work.box * (work.box + 2))) + 2 * BLOCK)
    free = work.memory - spectra
    finish = (FLOATS + FINISH) * cells
    several = SUM * sets * cells * (2 if work.comm.size > 1 and sets == 1 else 1)
    for makers in range(min(work.threads, sets), 0, -1):
        at_once = (free - makers * finish) // several
        if at_once >= 1:
            return Room(min(int(at_once), work.found.volumes), makers=makers)
    if leave_out and free >= finish + 2 * SUM * cells:
        return Room(0, keep_whole=True)
    for count in range(1, BANDS + 1):
        if free >= FLOATS * cells + max(FINISH * cells, SUM * cells * 1.3 / count):
            return Room(0, bands=count)
    if work.memory_given:
        least = spectra + finish
        raise UsageError(
            f"--memory {work.memory / 2**30:.3g} is too little: 3Ds of box {work.box} need {least / 2**30:.2g} GiB in every "
            "rank; give as much, or a lower --max-frequency"
        )
    return Room(0, bands=BANDS)


@dataclass
class VolumeSums:
    """The sums of one 3D over the images of all ranks.

    Attributes
    ----------
    number : int
        0-based number of the 3D.
    acc : Accumulator
        What makes volumes of the sums.
    counts : ndarray of int64, shape (sets,)
        Images in each set.
    marks : ndarray, shape (n images,), int64
        By which the images are known again (`recon.members`); 0 for those that were not read so far.
    united : callable
        ``united(sets)``: the sums of some sets together; None on ranks that do not finish this 3D. All ranks must call it alike.
    makers : int
        Volumes that may be made at a time; above 1 `united` may be called by several threads.
    """

    number: int
    acc: Accumulator
    counts: NDArray[np.int64]
    marks: NDArray[np.int64]
    united: Callable[[Sequence[int]], GridFloats | None]
    makers: int = 1


def volume_sums(work: Work, progress: Callable[[int, int], None] | None, leave_out: bool = False) -> Iterator[VolumeSums]:
    """Sums of the 3Ds one after the other; each is for one rank to finish (number modulo ranks).

    Parameters
    ----------
    work : Work
    progress : callable, optional
    leave_out : bool
        Sums of all sets but one will be asked for, of each set in turn.
    """
    amplitude, room = _amplitude(work), room_for(work, leave_out)
    sets, total = work.sets.count, work.found.volumes
    if room.at_once:
        passes = -(-total // room.at_once)
        tick = _ticker(progress, passes)
        for first in range(0, total, room.at_once):
            numbers = range(first, min(total, first + room.at_once))
            yield from _together(work, numbers, amplitude, room.makers, tick())
        return
    wanted = (3 if sets > 1 else 1) + (sets if leave_out else 0)
    tick = _ticker(progress, total * wanted * room.bands)
    for k in range(total):
        made = _Single(work, k, amplitude, room, tick)
        yield VolumeSums(k, made.empty, made.counts(), made.marks, made.united)


def _ticker(progress: Callable[[int, int], None] | None, passes: int) -> Tick:
    """Progress over several passes through the images."""
    before = -1

    def start() -> Callable[[int, int], None]:
        nonlocal before
        before += 1
        at = before

        def tick(done: int, blocks: int) -> None:
            if progress is not None:
                progress(at * blocks + done, max(passes, at + 1) * blocks)

        return tick

    return start


def _together(
    work: Work, numbers: range, amplitude: float, makers: int, tick: Callable[[int, int], None]
) -> Iterator[VolumeSums]:
    """All sets of some 3Ds at once."""
    sets, comm = work.sets.count, work.comm
    acc = _accumulator(work, len(numbers) * sets, amplitude)
    marks = np.zeros(len(work.poses), np.int64)
    _sum_slices(work, acc, numbers, np.arange(sets), sets, marks, tick)
    marks = comm.allreduce(marks)
    for k in numbers if comm.size > 1 else ():
        for row in range((k - numbers.start) * sets, (k - numbers.start + 1) * sets):
            for array in (acc.num, acc.den):
                reduced = comm.reduce(array[row], root=k % comm.size)
                if reduced is not None:
                    array[row] = reduced
    counts = comm.allreduce(acc.counts)
    for k in numbers:
        rows = np.arange(sets) + (k - numbers.start) * sets
        mine = k % comm.size == comm.rank

        def united(use: Sequence[int], rows: NDArray[np.int64] = rows, mine: bool = mine) -> GridFloats | None:
            return acc.united(rows[list(use)].tolist()) if mine else None

        yield VolumeSums(k, acc, counts[rows], marks, united, makers)


class _Single:
    """Sums of one 3D, made one at a time when they are asked for."""

    def __init__(self, work: Work, number: int, amplitude: float, room: Room, tick: Tick) -> None:
        self.work, self.number, self.amplitude, self.room, self.tick = work, number, amplitude, room, tick
        #: For finishing only: it holds no sums.
        self.empty = _accumulator(work, 0, amplitude)
        self._whole: Accumulator | None = None
        #: Of the images of this rank, and of all.
        self._mine, self.marks = (np.zeros(len(work.poses), np.int64) for _ in range(2))

    def counts(self) -> NDArray[np.int64]:
        """Images in each set, a number of times those drawn several times."""
        found, sets = self.work.found, self.work.sets
        mine = found.image[found.ref3d == self.number + 1]
        return np.bincount(sets.of(self.work.poses.select(mine)), minlength=sets.count).astype(np.int64)

    def united(self, use: Sequence[int]) -> GridFloats | None:
        """As `VolumeSums.united`."""
        sets = self.work.sets.count
        left = np.setdiff1d(np.arange(sets), use)
        if self._whole is not None and len(left) == 1:
            acc = self._sum(left, (0, self.empty.grid.shape[0]))
            np.subtract(self._whole.num, acc.num, out=acc.num)
            np.subtract(self._whole.den, acc.den, out=acc.den)
            return acc.united([0]) if self._root else None
        cuts = bands(self.empty.grid, 0, self.empty.grid.shape[0], self.room.bands)
        out, carried = self.empty.floats() if self._root else None, None
        for band in cuts:
            acc = self._sum(np.asarray(use), band)
            if carried is not None:
                for sums, more in zip((acc.num, acc.den), carried, strict=True):
                    sums[0, : len(more)] += more
            if out is not None:
                acc.fold(out, [0])
            plane = self.empty.grid.shape[1] * self.empty.grid.shape[2] * (band[1] - band[0])
            carried = acc.num[0, 2 * plane :].copy(), acc.den[0, plane:].copy()
        if self.room.keep_whole and not len(left):
            self._whole = acc
        return None if out is None else self.empty.close(out)

    @property
    def _root(self) -> bool:
        return self.number % self.work.comm.size == self.work.comm.rank

    def _sum(self, use: NDArray[np.int64], band: tuple[int, int]) -> Accumulator:
        """The sum over some sets of rows of the grid, of all ranks' images where it is finished."""
        acc = _accumulator(self.work, 1, self.amplitude, band)
        _sum_slices(self.work, acc, range(self.number, self.number + 1), use, 1, self._mine, self.tick())
        self.marks[:] = self.work.comm.allreduce(self._mine)
        if self.work.comm.size > 1:
            for array in (acc.num, acc.den):
                reduced = self.work.comm.reduce(array, root=self.number % self.work.comm.size)
                if reduced is not None:
                    array[:] = reduced
        return acc


def _accumulator(work: Work, sets: int, amplitude: float, rows: tuple[int, int] | None = None) -> Accumulator:
    inversion = work.inversion
    return Accumulator(
        sets, work.box, inversion.r_max, amplitude=amplitude, symmetry=inversion.group,
        even_density=inversion.diameter is None, rows=rows,
    )  # fmt: skip


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
    work: Work, acc: Accumulator, numbers: range, use: NDArray[np.int64], apart: int, marks: NDArray[np.int64],
    tick: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Put this rank's blocks of images into the sums of some sets of some 3Ds (0-based `numbers`), `apart` sums for each 3D.

    Marks of the images are filled in, where they are 0.
    """
    diameter = work.inversion.diameter
    slabs = _slabs(work, diameter, numbers, acc.grid.r_max) if diameter is not None else None
    batch = _Batch(work.box, len(work.poses), work.contrast is not None)
    blocks = work.comm.blocks(len(work.poses), BLOCK)
    row_of = np.full(work.sets.count, -1, np.int64)
    row_of[use] = np.arange(len(use)) if apart > 1 else 0
    for done, (start, stop) in enumerate(blocks, 1):
        _collect(work, batch, start, stop, numbers, row_of, apart, marks)
        if done == len(blocks) or batch.full:
            _insert(work, acc, batch, slabs)
        tick(done, len(blocks))


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


def _collect(
    work: Work, batch: _Batch, start: int, stop: int, numbers: range, row_of: NDArray[np.int64], apart: int,
    marks: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add the spectra of one block of images to a batch, as far as they belong to some sets (row 0 or more) of some 3Ds."""
    found = work.found
    lo, hi = np.searchsorted(found.image, (start, stop))
    entry = lo + np.flatnonzero((found.ref3d[lo:hi] > numbers.start) & (found.ref3d[lo:hi] <= numbers.stop))
    poses = work.poses.select(found.image[entry])
    row = row_of[work.sets.of(poses)]
    entry, row, poses = entry[row >= 0], row[row >= 0], poses.select(row >= 0)
    if not len(entry):
        return
    image, volume = found.image[entry], found.ref3d[entry] - 1 - numbers.start
    row = row + volume * apart
    data = work.images.read(start, stop)
    if not marks[image].all():
        marks[start:stop] = marks_of(data)
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
