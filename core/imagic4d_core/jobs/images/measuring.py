"""What a whole file of images or volumes says: average, variance, histogram, peaks."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.plt import write_plt
from imagic4d_core.io.stack import create_stack
from imagic4d_core.io.statistics import image_statistics
from imagic4d_core.jobs.images.operating import Operated, box_of, open_unit, operate, survey
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels import local
from imagic4d_core.units import in_pixels

#: Lines of a list that are shown to people.
SHOWN = 20


def _range(src: str | os.PathLike, **settings: Any) -> tuple[float, float]:
    """Lowest and highest density of a file."""
    found = survey(src, lambda data, headers, start: (float(data.min()), float(data.max())), any_order=True, **settings)
    return min(low for low, _ in found), max(high for _, high in found)


def _exact_sum(
    src: str | os.PathLike, function: Callable[[NDArray], NDArray], largest: float, count: int, box: tuple[int, ...],
    **settings: Any,
) -> NDArray[np.float64]:  # fmt: skip
    """Sum over all objects, in float64 within a block and in fixed point over the blocks: the same bits in any order.

    `function` sums over the objects of a block; `largest` bounds the absolute value of what one object contributes.
    """
    bits = 61 - int(np.ceil(np.log2(max(largest, 1e-300) * count)))
    total = np.zeros(box, np.int64)
    lock = Lock()

    def add(data: NDArray, headers: NDArray, start: int) -> None:
        part = np.rint(np.ldexp(function(data), bits)).astype(np.int64)
        with lock:
            np.add(total, part, out=total)

    survey(src, add, **settings)
    comm: Comm = settings["comm"]
    return np.ldexp(comm.allreduce(total).astype(np.float64), -bits)


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
    if mode not in ("average", "variance"):
        raise UsageError(f"unknown mode {mode!r}: average or variance")
    settings: dict[str, Any] = {"unit": unit, "loc": loc, "comm": comm, "threads": threads}
    with open_unit(src, unit, loc) as stack:
        path, box, size, count = stack.path, box_of(stack), stack.pixel_size, stack.objects
    low, high = _range(src, **settings)
    largest = max(abs(low), abs(high))

    def sums(data: NDArray) -> NDArray:
        return data.sum(axis=0, dtype=np.float64)

    def squares(data: NDArray) -> NDArray:
        total = np.zeros(box)
        for one in data:
            difference = one - mean
            total += np.square(difference, out=difference)
        return total

    mean = _exact_sum(src, sums, largest, count, box, progress=progress, **settings) / count
    if mode == "variance":
        spread = (high - low) ** 2
        out = _exact_sum(src, squares, spread, count, box, progress=progress, **settings) / count
    else:
        out = mean
    solid = len(box) == 3
    sections = box[0] if solid else 1
    said = f"{mode} of {count} {unit}"
    with create_stack(
        dst, 1, sections, *box[-2:], pixel_size=size, overwrite=overwrite, comm=comm, volumes=solid, history=said
    ) as writer:
        if comm.rank == 0:
            writer.write(0, out.astype(np.float32).reshape(sections, *box[-2:]))
            headers = blank_headers(sections, *box[-2:], sections, pixel_size=size)
            headers["NALISUM"] = count
            headers["NAME"] = said.encode()
            writer.set_headers(0, headers)
        name = str(writer.path)
    return Operated(said, str(path), name, 1, sections, *box[-2:])


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
    out = ["".join(f"{name:>12}" for name in rows[0])]
    out += ["".join(f"{value:12.6g}" for value in row.values()) for row in rows[:SHOWN]]
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
