"""Class averages of images or volumes."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, OutputError, UsageError
from imagic4d_core.io import atomic
from imagic4d_core.io.cls import ClassFile, cls_path, read_cls, write_cls
from imagic4d_core.io.header import HEADER_DTYPE
from imagic4d_core.io.stack import BLOCK_BYTES, Stack, StackWriter, create_stack, open_stack
from imagic4d_core.io.writer import half_names, output_paths
from imagic4d_core.msa.averages import MANY, ClassSums, kept_members, warmup
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, map_blocks, thread_count, warm_first

#: Bytes of sums held at a time; classes beyond that take another pass over the stack.
BUDGET = 1 << 30
#: Classes written at a time.
CHUNK = 64
#: Times that sums are made again with coarser quanta; 2**20 each time is all of float32.
MOST = 6


@dataclass
class Summed:
    """Class averages that were made.

    Attributes
    ----------
    input, classes_file, output : str
    what : str
        "images" or "volumes".
    classes : int
    members : int
        In the CLS file.
    used : int
        After the worst were left out.
    unclassified : int
        Objects of the stack that the CLS file does not name.
    empty : int
        Classes without a member, or of a single one that was weighted down: their averages are zero.
    passes : int
        Times the stack was read.
    frc : list of dict
        For each class, where halves were made: number, members, and the frequencies (fraction of Nyquist) at which the
        correlation of its half averages falls below 0.5 and the half-bit curve.
    files : list of str
    """

    input: str
    classes_file: str
    output: str
    what: str
    classes: int
    members: int
    used: int
    unclassified: int
    empty: int
    passes: int
    frc: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {self.classes} class averages of {self.used} {self.what} of {self.input}"]
        if self.used < self.members:
            out.append(f"  {self.members - self.used} worst members left out")
        if self.unclassified:
            out.append(f"  {self.unclassified} {self.what} of {self.input} are in no class of {self.classes_file}")
        if self.empty:
            out.append(f"  {self.empty} averages are zero and set inactive")
        if self.frc:
            low, mid, high = np.percentile([row["half_bit"] for row in self.frc], [10, 50, 90])
            name = "FSC" if self.what == "volumes" else "FRC"
            span = f"median; 80 % in {low:.2f} to {high:.2f}"
            out.append(f"  {name} of half averages falls below half-bit at {mid:.2f} of Nyquist ({span})")
        if self.files:
            out.append(f"  also written: {', '.join(self.files)}")
        return out


def msa_sum(
    src: str, classes: str, dst: str, *, ignore_worst: float = 0.0, downweight_small: bool = False, variances: str | None = None,
    halves: str | None = None, members: str | None = None, membership: bool = False, overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Summed:  # fmt: skip
    """Average the members of each class.

    Parameters
    ----------
    src : path
        The stack that was classified.
    classes : path
        CLS file, or root name of a classification.
    dst : path
        Class averages, in the order of the CLS file.
    ignore_worst : float
        Per cent of the members of each class to leave out, from the end of its list.
    downweight_small : bool
        Multiply averages of n members by (n - 1) / n.
    variances : path, optional
        Variance of each pixel over the members.
    halves : path, optional
        NAME_a and NAME_b: averages of the members of odd and of even rank, by location.
    members : path, optional
        CLS file of the members used.
    membership : bool
        Give each average the 3D membership (word 51) that most of its members have.
    overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    Summed

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    if not 0 <= ignore_worst < 100:
        raise UsageError(f"{ignore_worst:g} per cent of the members cannot be left out; give 0 to less than 100")
    path = cls_path(classes)
    n_threads = thread_count(threads)
    with open_stack(src) as stack:
        if stack.index is not None:
            raise InputError(f"{stack.path}: locations cannot be given here; a CLS file counts those of the whole stack")
        what = "volumes" if stack.is_volumes else "images"
        found = read_cls(path)
        found.check(path, stack.objects, what, stack.path)
        chosen = kept_members(found.members, ignore_worst)
        counts, row, half = _places(chosen, stack.objects)
        names = half_names(halves if os.path.splitext(halves)[1] else f"{halves}.hed") if halves else ()
        files = [dst, *([variances] if variances else []), *names]
        if comm.rank == 0:
            _check_outputs(stack, [*files, *([cls_path(members)] if members else [])], path, overwrite)
        pixels = stack.sections * stack.lines * stack.pixels
        extra = {"halves": bool(halves), "squares": bool(variances), "compiled": int(counts.sum()) * pixels >= MANY}
        if extra["compiled"]:
            warm_first(comm, warmup)
        heads = _headers(stack, found, counts, row if membership else None, downweight_small)
        at_once = max(1, BUDGET // ClassSums.bytes_for(pixels, halves=bool(halves), squares=bool(variances)))
        starts = range(0, len(chosen), at_once)
        named = sum(map(len, found.members))
        summary = Summed(
            str(stack.path), path, dst, what, len(chosen), named, int(counts.sum()), stack.objects - named,
            int((heads["ACTIVE"][:: stack.sections] < 0).sum()), 0, files=[*files[1:], *([cls_path(members)] if members else [])],
        )  # fmt: skip
        writers = [
            create_stack(
                name, len(chosen), stack.sections, stack.lines, stack.pixels, pixel_size=stack.pixel_size, overwrite=overwrite,
                comm=comm, volumes=stack.is_volumes, history="msa sum",
            )
            for name in files
        ]  # fmt: skip
        with _all(writers):
            for first in starts:
                last = min(len(chosen), first + at_once)
                wanted = np.where((row >= first) & (row < last), row - first, -1)
                sums, passes = _pass(stack, wanted, half, last - first, extra, comm, n_threads, progress)
                summary.passes += passes
                if comm.rank == 0:
                    _write(writers, sums, first, counts[first:last], heads, stack, downweight_small)
                    if halves and stack.lines == stack.pixels and stack.sections in (1, stack.lines):
                        summary.frc += _correlations(sums, first, counts[first:last], found, stack, n_threads)
        if members and comm.rank == 0:
            write_cls(cls_path(members), found.numbers.tolist(), found.quality.tolist(), chosen, overwrite)
        comm.barrier()
    return summary


class _all:
    """Writers as one context: all complete, or none."""

    def __init__(self, writers: list[StackWriter]) -> None:
        self.writers = writers

    def __enter__(self) -> list[StackWriter]:
        return self.writers

    def __exit__(self, *error: Any) -> None:
        for writer in self.writers:
            writer.__exit__(*error)


def _check_outputs(stack: Stack, files: list[str], classes: str, overwrite: bool) -> None:
    """Refuse what is there, what is named twice, and to replace the inputs: class averages cannot stand for the images."""
    inputs = [stack.reader.img, stack.reader.hed] if stack.format == "IMAGIC" else [stack.path]
    taken = {os.path.realpath(p) for p in [*inputs, classes]}
    for name in files:
        for target in [Path(name)] if name.lower().endswith(".cls") else output_paths(name):
            if os.path.realpath(target) in taken:
                raise OutputError(f"{target}: is an input, or another output of this call; choose another name")
            taken.add(os.path.realpath(target))
            atomic.check_new(target, overwrite)


def _places(members: list[NDArray[np.int64]], objects: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Members in each half, shape (classes, 2); class (-1: none) and half of each object."""
    row, half = np.full(objects, -1, np.int64), np.zeros(objects, np.int64)
    counts = np.zeros((len(members), 2), np.int64)
    for k, mine in enumerate(members):
        row[mine] = k
        half[np.sort(mine)] = np.arange(len(mine)) % 2  # by location: the order in the list is one of quality
        counts[k] = (len(mine) + 1) // 2, len(mine) // 2
    return counts, row, half


def _typical(stack: Stack, wanted: NDArray[np.int64]) -> float:
    """Root mean square of the densities of a typical member, from a few of them."""
    some = np.flatnonzero(wanted >= 0)[:32]
    sizes = [float(np.sqrt(np.square(stack.read_volumes(int(k), int(k) + 1), dtype=np.float64).mean())) for k in some]
    return float(np.median(sizes)) if any(sizes) else 1.0


def _pass(
    stack: Stack, wanted: NDArray[np.int64], half: NDArray[np.int64], classes: int, extra: dict[str, bool], comm: Comm,
    threads: int, progress: Callable[[int, int], None] | None,
) -> tuple[ClassSums, int]:  # fmt: skip
    """Sums of the classes `wanted` numbers from 0 on; and how often the stack was read."""
    pixels = stack.sections * stack.lines * stack.pixels
    typical = np.full(classes, _typical(stack, wanted))
    step = max(1, BLOCK_BYTES // (4 * pixels))
    attempt = 0
    while True:
        sums = ClassSums(classes, pixels, typical, **extra)
        blocks = [(a, b) for a, b in comm.blocks(stack.objects, step) if (wanted[a:b] >= 0).any()]

        def read(span: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.float32]]:
            return span, stack.read_volumes(*span)

        for done, ((a, b), data) in enumerate(imap_blocks(read, blocks, threads), 1):
            sums.add(data, wanted[a:b], half[a:b])
            if progress is not None:
                progress(done, len(blocks))
        sums.over(comm)
        attempt += 1
        coarse = comm.bcast(sums.overflown() if comm.rank == 0 else None)
        if not coarse.any() or attempt > MOST:
            return sums, attempt
        typical[coarse] *= 2.0**20  # densities far larger than those looked at


def _headers(
    stack: Stack, found: ClassFile, counts: NDArray[np.int64], row: NDArray[np.int64] | None, downweight: bool
) -> NDArray:
    """One record for each class and section."""
    total = counts.sum(axis=1)
    h = np.zeros(len(total), HEADER_DTYPE)
    h["NAME"] = [f"class {k}, {n} members" for k, n in zip(found.numbers.tolist(), total.tolist(), strict=True)]
    h["CLASSNO"], h["NUMCLS"], h["OVQUAL"], h["NALISUM"] = found.numbers, total, found.quality, total
    h["ACTIVE"] = np.where((total < 1) | (downweight & (total < 2)), -1, 1)
    first = stack.headers(0, 1)
    for word in ("PIXSIZE", "VOLTAGE", "SPABERR", "PGROUP"):
        h[word] = first[word][0]
    if row is not None:
        best = np.zeros(len(total), np.int64)
        ref3d = np.concatenate([stack.headers(a, b)["REF3D"] for a, b in stack.blocks(8192 * stack.sections)])[:: stack.sections]
        for k in range(len(total)):
            mine = ref3d[(row == k) & (ref3d > 0)]
            best[k] = np.bincount(mine).argmax() if len(mine) else 0
        h["REF3D"] = best
    return np.repeat(h, stack.sections)


def _write(
    writers: list[StackWriter], sums: ClassSums, first: int, counts: NDArray[np.int64], heads: NDArray, stack: Stack,
    downweight: bool,
) -> None:  # fmt: skip
    shape = (-1, stack.sections, stack.lines, stack.pixels)
    for a in range(0, len(counts), CHUNK):
        some = counts[a : a + CHUNK]
        means = sums.means(a, some)
        n = some.sum(axis=1)
        factor = np.maximum(n - 1, 0) / np.maximum(n, 1) if downweight else np.ones(len(n))
        stacks = [means.average * factor[:, None]]
        stacks += [means.variance] if means.variance is not None else []
        stacks += means.halves or []
        for k, (writer, images) in enumerate(zip(writers, stacks, strict=True)):
            writer.write_volumes(first + a, images.astype(np.float32).reshape(shape))
            records = heads[(first + a) * stack.sections : (first + a + len(some)) * stack.sections].copy()
            if means.halves is not None and k >= len(writers) - 2:
                mine = np.repeat(some[:, k - len(writers) + 2], stack.sections)
                records["NUMCLS"], records["NALISUM"] = mine, mine
            writer.set_headers((first + a) * stack.sections, records)


def _correlations(
    sums: ClassSums, first: int, counts: NDArray[np.int64], found: ClassFile, stack: Stack, threads: int
) -> list[dict[str, Any]]:
    from imagic4d_core.fsc import shell_curves  # and scipy's transforms: only where curves are wanted

    box = (stack.sections, stack.lines, stack.pixels) if stack.is_volumes else (stack.lines, stack.pixels)

    def one(k: int) -> dict[str, Any]:
        both = sums.means(k, counts[k : k + 1]).halves
        assert both is not None
        curve = shell_curves(both[0].reshape(box), both[1].reshape(box), pixel_size=stack.pixel_size)
        return {
            "class": int(found.numbers[first + k]), "members": int(counts[k].sum()), "0.5": float(curve.crossing("0.5")),
            "half_bit": float(curve.crossing("half-bit")),
        }  # fmt: skip

    return map_blocks(one, [k for k in range(len(counts)) if counts[k, 1] > 0], threads)
