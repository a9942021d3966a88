"""What a whole file of images or volumes says: average, variance, histogram, peaks."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import check_word
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.plt import write_plt
from imagic4d_core.io.stack import create_stack
from imagic4d_core.io.statistics import PIECE, image_statistics
from imagic4d_core.jobs.images.operating import BLOCK_BYTES, Operated, box_of, kept_rows, open_unit, operate, survey
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, sum_in_order
from imagic4d_core.pixels import local
from imagic4d_core.units import in_pixels

#: Lines of a list that are shown to people.
SHOWN = 20
#: Sums over a file are made in so many groups of blocks, each by one thread.
GROUPS = 64


def _range(src: str | os.PathLike, **settings: Any) -> tuple[float, float]:
    """Lowest and highest density of a file."""
    found = survey(src, lambda data, headers, start: (float(data.min()), float(data.max())), any_order=True, **settings)
    return min(low for low, _ in found), max(high for _, high in found)


def _sum(
    src: str | os.PathLike, rows: str, function: Callable[[NDArray], NDArray], *, unit: str, loc: Locations | None, comm: Comm,
    threads: int | None, progress: Callable[[int, int], None] | None,
) -> NDArray[np.float64]:  # fmt: skip
    """Sum of a function of the densities over all objects, in float64: the same bits for any number of ranks and threads.

    A few objects are added in float32, which numpy does fast, then these sums in float64 within each of at most `GROUPS` groups
    of blocks, then the groups in their order.
    """
    with open_unit(src, unit, loc, rows) as stack:
        box = box_of(stack)
        size = int(np.prod(box))
        plane = box[0] if len(box) == 3 else 1
        block = max(1, BLOCK_BYTES // (4 * size))
        group = block * -(-stack.objects // (GROUPS * block))
        few = max(8, min(64, PIECE // size))

        def add_up(span: tuple[int, int]) -> NDArray[np.float64]:
            total = np.zeros(box)
            for start in range(*span, block):
                data = stack.read(start * plane, min(span[1], start + block) * plane).reshape(-1, *box)
                for k in range(0, len(data), few):
                    total += np.add.reduce(function(data[k : k + few]), axis=0)
            return total

        def parts() -> Iterator[NDArray[np.float64]]:
            work = comm.blocks(stack.objects, group)
            for done, part in enumerate(imap_blocks(add_up, work, threads), 1):
                if progress is not None:
                    progress(done, len(work))
                yield part

        return sum_in_order(comm, parts(), -(-stack.objects // group), np.zeros(box))


def set_statistics(
    src: str | os.PathLike, dst: str | os.PathLike, *, mode: str, unit: str = "images", loc: Locations | None = None,
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """One object from all: their average, or the variance of each pixel over them.

    Parameters
    ----------
    src, dst : path
    mode : {"average", "variance"}
        The variance divides by the number of objects.
    unit : {"images", "volumes"}
    loc, overwrite, comm, threads, progress
        As every job.
    """
    check_word("mode", mode, ("average", "variance"))
    settings: dict[str, Any] = {"unit": unit, "loc": loc, "comm": comm, "threads": threads, "progress": progress}
    with open_unit(src, unit, loc) as stack:
        path, box, size, count, origin = stack.path, box_of(stack), stack.pixel_size, stack.objects, stack.origin
    rows = kept_rows(src, dst, unit, loc)
    out = _sum(src, rows, lambda data: data, **settings) / count
    if mode == "variance":
        mean = out.astype(np.float32)
        out = _sum(src, rows, lambda data: np.square(data - mean), **settings) / count
    solid = len(box) == 3
    sections = box[0] if solid else 1
    said = f"{mode} of {count} {unit}"
    with create_stack(
        dst, 1, sections, *box[-2:], pixel_size=size, overwrite=overwrite, comm=comm, volumes=solid, history=said, rows=rows,
        origin=origin,
    ) as writer:  # fmt: skip
        if comm.rank == 0:
            writer.write(0, out.astype(np.float32).reshape(sections, *box[-2:]))
            headers = blank_headers(sections, box[-2], box[-1], sections, pixel_size=size)
            headers["NALISUM"] = count
            headers["NAME"] = said.encode()
            writer.set_headers(0, headers)
        name = str(writer.path)
    return Operated(said, str(path), name, 1, sections, box[-2], box[-1])


@dataclass
class Statistics:
    """Mean, standard deviation, minimum and maximum of objects.

    Attributes
    ----------
    input : str
    objects : list of dict
        location, mean, sigma, min, max.
    """

    input: str
    objects: list[dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self).copy()

    def lines(self) -> list[str]:
        """For people."""
        return table(self.objects)


def table(rows: list[dict[str, float]]) -> list[str]:
    """Rows of numbers under their names; the first `SHOWN` of them."""
    out = ["".join(f"{name:>13}" for name in rows[0])]
    out += ["".join(f"{value:13.6g}" for value in row.values()) for row in rows[:SHOWN]]
    return out + ([f"... {len(rows)} lines; --json gives all"] if len(rows) > SHOWN else [])


def statistics(
    src: str | os.PathLike, *, unit: str = "images", loc: Locations | None = None, comm: Comm = SERIAL,
    threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Statistics:  # fmt: skip
    """Mean, standard deviation, minimum and maximum of every object, from the densities themselves.

    Parameters
    ----------
    src : path
    unit : {"images", "volumes"}
    loc, comm, threads, progress
        As every job.
    """

    def look(data: NDArray, headers: NDArray, start: int) -> NDArray:
        return image_statistics(data.reshape(len(data), 1, -1))

    with open_unit(src, unit, loc) as stack:
        location = stack.locations.tolist()
    settings: dict[str, Any] = {"comm": comm, "threads": threads, "progress": progress}
    found = np.concatenate(survey(src, look, unit=unit, loc=loc, any_order=True, **settings))
    found[:, 1] = np.sqrt(found[:, 1])
    names = ("mean", "sigma", "min", "max")
    return Statistics(
        os.fspath(src),
        [{"location": k, **dict(zip(names, row, strict=True))} for k, row in zip(location, found.tolist(), strict=True)],
    )


@dataclass
class Histogram:
    """How often densities occur.

    Attributes
    ----------
    input : str
    edges : list of float
        Limits of the bins, one more than bins; the last limit belongs to the last bin.
    counts : list of int
        Of all objects together.
    output : str or None
        File of one line of counts for each object.
    """

    input: str
    edges: list[float]
    counts: list[int]
    output: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self).copy()

    def lines(self) -> list[str]:
        """For people: a bar for each bin."""
        most = max(self.counts)
        rows = zip(self.edges[:-1], self.edges[1:], self.counts, strict=True)
        out = [f"{a:12.5g} to {b:12.5g} {n:12d}  {'#' * round(40 * n / most)}" for a, b, n in rows]
        return out + ([f"{self.output}: counts of each object, one line"] if self.output else [])


def histogram(
    src: str | os.PathLike, dst: str | os.PathLike | None = None, *, unit: str = "images", bins: int = 32,
    loc: Locations | None = None, overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Histogram:  # fmt: skip
    """Histogram of the densities, from the lowest to the highest of the file.

    Parameters
    ----------
    src : path
    dst : path, optional
        One line of counts for each object.
    unit : {"images", "volumes"}
    bins : int
    loc, overwrite, comm, threads, progress
        As every job.
    """
    settings: dict[str, Any] = {"unit": unit, "loc": loc, "comm": comm, "threads": threads}
    low, high = _range(src, **settings)
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    total = np.zeros(bins, np.int64)
    lock = Lock()

    def count(data: NDArray, headers: NDArray, start: int) -> NDArray:
        each = np.stack([np.histogram(one, edges)[0] for one in data])
        with lock:
            np.add(total, each.sum(axis=0), out=total)
        return each.astype(np.float32)

    if dst is None:
        survey(src, lambda *block: count(*block) is None, progress=progress, **settings)
    else:
        with open_unit(src, unit, loc) as stack:
            ndim = len(box_of(stack))
        line = (*(1,) * (ndim - 1), bins)
        operate(
            src, dst, lambda *block: count(*block).reshape(-1, *line), what="histogram", box=line, overwrite=overwrite,
            progress=progress, **settings,
        )  # fmt: skip
    return Histogram(os.fspath(src), edges.tolist(), comm.allreduce(total).tolist(), None if dst is None else os.fspath(dst))


@dataclass
class Peaks:
    """Peaks found.

    Attributes
    ----------
    input : str
    peaks : list of dict
        location, x, y[, z] (pixels from the centre), height; by location, highest first.
    output : str or None
        PLT file.
    """

    input: str
    peaks: list[dict[str, float]]
    output: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self).copy()

    def lines(self) -> list[str]:
        """For people."""
        if not self.peaks:
            return [f"{self.input}: no peak"]
        return table(self.peaks) + ([f"{self.output}: {len(self.peaks)} peaks"] if self.output else [])


def peak_search(
    src: str | os.PathLike, dst: str | os.PathLike | None = None, *, unit: str = "images", number: int = 10,
    window: float | None = None, least: float | None = None, loc: Locations | None = None, overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Peaks:  # fmt: skip
    """The highest local maxima of every image or volume.

    Parameters
    ----------
    src : path
    dst : path, optional
        PLT file: location, x, y[, z], height.
    unit : {"images", "volumes"}
    number : int
        At most so many of each object.
    window : float, optional
        No two peaks nearer than this, pixels (below 1: fraction of half the box).
    least : float, optional
        Least density of a peak.
    loc, overwrite, comm, threads, progress
        As every job.
    """
    with open_unit(src, unit, loc) as stack:
        distance = in_pixels(1.0 if window is None else window, min(box_of(stack)))
        location = stack.locations.tolist()

    def look(data: NDArray, headers: NDArray, start: int) -> list[dict[str, float]]:
        rows = []
        for k, one in enumerate(data):
            for peak in local.peaks(one, number, distance, least):
                place = dict(zip("xyz", peak.place, strict=False))
                rows.append({"location": location[start + k], **place, "height": peak.height})
        return rows

    found = survey(src, look, unit=unit, loc=loc, comm=comm, threads=threads, progress=progress)
    rows = [row for part in found for row in part]
    if dst is not None and comm.rank == 0:
        names = [name for name in (rows[0] if rows else {}) if name != "location"]
        write_plt(dst, [[row[n] for row in rows] for n in names], [row["location"] for row in rows], overwrite=overwrite)
    return Peaks(os.fspath(src), rows, None if dst is None else os.fspath(dst))
