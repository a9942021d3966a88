"""Cut windows out of images and volumes, or pad them; around given coordinates too, out of large micrographs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.plt import locations_of, read_plt
from imagic4d_core.io.stack import BLOCK_BYTES, Stack, create_stack
from imagic4d_core.io.windows import Span, read_windows
from imagic4d_core.jobs.images.operating import Operated, box_of, open_unit, origin_of
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.resample.window import fill_levels, place, sides, spans

#: Most windows in a block, so that header records do not pile up.
_BLOCK = 1024
#: Coordinates beyond are no places in images.
_FARTHEST = 1 << 30


@dataclass
class Windows:
    """Windows to be cut, one for each object of the output.

    Attributes
    ----------
    source : ndarray, shape (n,), intp
        0-based object of the input.
    centre : ndarray, shape (n, d), intp
        0-based index, array axes, of what becomes the centre.
    number : ndarray, shape (n,), intp
        1-based number of the coordinates in their file; 0 without coordinates.
    """

    source: NDArray[np.intp]
    centre: NDArray[np.intp]
    number: NDArray[np.intp]

    def select(self, keep: NDArray | slice) -> "Windows":
        """Some of them."""
        return Windows(self.source[keep], self.centre[keep], self.number[keep])


def _star_coordinates(path: Path, stack: Stack) -> NDArray[np.float64]:
    """(x, y) counted from 1 in IMAGIC's axes, of a STAR file with rlnCoordinateX and Y (from 0, y upwards as rows run)."""
    from imagic4d_core.io.star import numbers, read_star

    for table in read_star(path).values():
        if "_rlnCoordinateX" in table and "_rlnCoordinateY" in table:
            break
    else:
        raise InputError(f"{path}: has no columns _rlnCoordinateX and _rlnCoordinateY; particle coordinates are needed")
    column, row = (numbers(table, f"_rlnCoordinate{k}", path) for k in "XY")
    assert column is not None and row is not None
    if not len(row):
        raise InputError(f"{path}: holds no coordinates; there is nothing to cut")
    names = table.get("_rlnMicrographName", [])
    mine = np.array([os.path.basename(n.rpartition("@")[2]) == stack.path.name for n in names], bool)
    if mine.any():
        column, row = column[mine], row[mine]
    # the row of the centre is the same counted from above and from below: see io.layout.row_order
    return np.stack([2 * (stack.lines // 2) - row + 1, column + 1], -1)


def read_coordinates(path: str | os.PathLike, stack: Stack, ndim: int) -> Windows:
    """Centres of windows from a PLT or text file (x y [z], from 1; a location before them chooses the object), or a STAR file.

    Raises
    ------
    InputError
        Unreadable, or with another number of columns.
    """
    path = Path(path)
    if path.suffix.lower() == ".star":
        if ndim == 3:
            raise InputError(f"{path}: coordinates in STAR files are of micrographs; give a text file with x y z")
        rows = _star_coordinates(path, stack)
    else:
        rows = read_plt(path)
    columns = rows.shape[1]
    if columns not in (ndim, ndim + 1):
        names = "x y" if ndim == 2 else "x y z"
        raise InputError(f"{path}: has {columns} columns; {names} are needed, or location {names}")
    far = np.abs(rows[:, -ndim:]).max(axis=1) > _FARTHEST
    if far.any():
        raise InputError(f"{path}: row {int(np.argmax(far)) + 1} is no place in an image: {rows[far][0, -ndim:].max():.6g}")
    centre = np.rint(rows[:, -ndim:]).astype(np.intp) - 1
    if ndim == 3:
        centre = centre[:, [2, 0, 1]]
    number = np.arange(1, len(rows) + 1)
    if columns > ndim:
        what = "volumes" if ndim == 3 else "images"
        return Windows(locations_of(path, rows[:, 0], stack.objects, what), centre, number)
    n = stack.objects
    return Windows(np.repeat(np.arange(n), len(rows)), np.tile(centre, (n, 1)), np.tile(number, n))


def _all_windows(
    stack: Stack, ndim: int, at: Sequence[float] | None, coordinates: str | os.PathLike | None
) -> Windows:  # fmt: skip
    old, n = box_of(stack), stack.objects
    if coordinates is not None:
        if at is not None:
            raise UsageError("the centre is given twice, by --at and by --coordinates")
        return read_coordinates(coordinates, stack, ndim)
    if at is not None and max(abs(v) for v in at) > _FARTHEST:
        raise UsageError(f"--at {','.join(f'{v:g}' for v in at)} is no place in an image")
    middle = np.array([k // 2 for k in old] if at is None else [round(v) - 1 for v in sides(at, ndim, "--at")], np.intp)
    return Windows(np.arange(n), np.tile(middle, (n, 1)), np.zeros(n, np.intp))


def cut(
    src: str | os.PathLike, dst: str | os.PathLike, *, unit: str = "images", loc: Locations | None = None,
    box: Sequence[int] | None = None, at: Sequence[float] | None = None, coordinates: str | os.PathLike | None = None,
    fill: float | str = "edge", border: str = "fill", overwrite: bool = False, comm: Comm = SERIAL,
    threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """Cut windows; a window larger than the object pads it. Only what is inside windows is read.

    The header gets the place it was cut from: IXOLD, IYOLD (and IZOLD) of the first pixel, counted from 1 (0 and below: outside),
    and LOCOLD; with coordinates also LOCORIG, LOCMICRO, IXMICRO and IYMICRO. Away from the centre, the shift still to be applied
    (words 80, 81) of images with a pose follows. The density type is kept.

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    loc : Locations, optional
    box : sequence of int
        Lines, pixels[, sections], or one number for all sides.
    at : sequence of float, optional
        Centre of the window, x, y[, z] counted from 1; default: the centre of the object. It comes to index N // 2.
    coordinates : path, optional
        Many centres, see `read_coordinates`.
    fill : {"edge", "mean"} or float
        For what lies outside; the words mean the part of the window that lies inside.
    border : {"fill", "error", "skip"}
        What to do with windows that are partly outside; those wholly outside are left out with "skip", else an error.

    Returns
    -------
    Operated

    Raises
    ------
    UsageError
        Also: no box.
    OutputError
    InputError
        Also: a window outside.
    """
    if box is None:
        raise UsageError("how large are the windows to be? give --box")
    with open_unit(src, unit, loc) as stack:
        old = box_of(stack)
        ndim = len(old)
        new = tuple(int(v) for v in sides(box, ndim, "--box"))
        windows, over = _settle(stack, _all_windows(stack, ndim, at, coordinates), old, new, border)
        n = len(windows.source)
        planes = new[0] if ndim == 3 else 1
        volumes = ndim == 3
        step = max(1, min(_BLOCK, BLOCK_BYTES // (4 * int(np.prod(new)))))
        alone = n == 1 or not (windows.centre != windows.centre[0]).any()
        origin = origin_of(stack, new, windows.centre[0].tolist()) if alone else (0.0, 0.0, 0.0)
        what = "padded" if all(a >= b for a, b in zip(new, old, strict=True)) else "cut"
        with create_stack(
            dst, n, planes, new[-2], new[-1], pixel_size=stack.pixel_size, overwrite=overwrite, comm=comm, dtype=stack.dtype,
            type_word=stack.layout.type_word, volumes=volumes, nblocks=stack.nblocks,
            history=f"{what} to {' x '.join(map(str, new))}", origin=origin,
        ) as writer:  # fmt: skip

            def work(block: tuple[int, int]) -> None:
                part = windows.select(slice(*block))
                out, records, extra = _cut_block(stack, part, old, new, fill)
                writer.write(block[0] * planes, out.reshape(-1, *new[-2:]))
                writer.set_headers(block[0] * planes, records)
                if extra is not None:
                    writer.set_extra(block[0] * planes, extra)

            map_blocks(work, comm.blocks(n, step), thread_count(threads), progress)
        done = Operated(
            what, str(stack.path), str(writer.path), n, writer.sections, writer.lines, writer.pixels,
            {"windows": n, "partly outside": over[0], "left out": over[1]}, list(stack.notes),
        )  # fmt: skip
    return done


def _settle(stack: Stack, windows: Windows, old: Sequence[int], new: Sequence[int], border: str) -> tuple[Windows, list[int]]:
    """Apply the rule for windows outside; counts of those partly outside and of those left out."""
    low = windows.centre - np.array(new) // 2
    high = low + np.array(new)
    partly = ((low < 0) | (high > np.array(old))).any(1)
    # what is padded on both sides is meant to be
    wide = (np.array(new) >= np.array(old)) & (low <= 0) & (high >= np.array(old))
    partly &= ~(wide | ((low >= 0) & (high <= np.array(old)))).all(1)
    wholly = ((high <= 0) | (low >= np.array(old))).any(1)
    if border == "skip":
        keep = ~partly & ~wholly
        if not keep.any():
            raise InputError(f"{stack.path}: all {len(keep)} windows reach outside; nothing is left")
        return windows.select(keep), [0, int((~keep).sum())]
    bad = np.flatnonzero(wholly if border == "fill" else partly | wholly)
    if len(bad):
        k = int(bad[0])
        place_ = ",".join(str(v + 1) for v in (windows.centre[k] if len(old) == 2 else windows.centre[k][[1, 2, 0]]))
        which = f"coordinates {windows.number[k]}: the window" if windows.number[k] else "the window"
        raise InputError(
            f"{stack.path}: {which} around {place_} lies {'wholly' if wholly[k] else 'partly'} outside "
            f"{' x '.join(map(str, old))}; " + ("--border skip leaves it out" if wholly[k] else "--border fill fills it")
        )
    return windows, [int(partly.sum()), 0]


def _cut_block(
    stack: Stack, part: Windows, old: Sequence[int], new: Sequence[int], fill: float | str
) -> tuple[NDArray, NDArray, NDArray | None]:
    n, ndim = len(part.source), len(old)
    parts = []
    k = 0
    while k < n:  # objects in a row with the same window are read together
        stop = k + 1
        while stop < n and part.source[stop] == part.source[stop - 1] + 1 and (part.centre[stop] == part.centre[k]).all():
            stop += 1
        where = spans(old, new, [int(c) for c in part.centre[k]])
        inside: list[Span] = [(max(a, 0), min(b, m)) for (a, b), m in zip(where, old, strict=True)]
        data = read_windows(stack, int(part.source[k]), int(part.source[stop - 1]) + 1, inside)
        if data.shape[1:] != tuple(new):
            levels = fill_levels(data, fill, ndim)
            data = place(data, [a - w[0] for (a, _), w in zip(inside, where, strict=True)], new, levels)
        parts.append(data)
        k = stop
    out = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return out, *_records(stack, part, new)


def _records(stack: Stack, part: Windows, new: Sequence[int]) -> tuple[NDArray, NDArray | None]:
    """Header records of windows, section by section."""
    per = stack.sections if stack.is_volumes else 1
    planes = new[0] if stack.is_volumes else 1
    section = np.minimum(np.arange(planes), per - 1)
    number = (part.source[:, None] * per + section).ravel()
    low, high = int(number.min()), int(number.max()) + 1
    h = stack.headers(low, high)[number - low].copy()
    first = np.repeat(part.centre - np.array(new) // 2 + 1, planes, axis=0)
    h["IXOLD"], h["IYOLD"] = first[:, -2], first[:, -1]
    h["IZOLD"] = first[:, 0] if stack.is_volumes else 0
    off = np.array(box_of(stack)) // 2 - part.centre
    if not stack.is_volumes and off.any():
        Moves.shifts(off).carry_poses(h, np.zeros(len(h), bool))
    place_ = part.source * per if stack.index is None else stack.index[part.source * per]
    location = np.repeat(place_ // stack.layout.sections if stack.is_volumes else place_, planes) + 1
    h["LOCOLD"] = location
    picked = np.repeat(part.number, planes)
    if (picked > 0).all():
        centre = np.repeat(part.centre + 1, planes, axis=0)
        h["LOCORIG"], h["LOCMICRO"] = location, picked
        h["IXMICRO"], h["IYMICRO"] = centre[:, -2], centre[:, -1]
    extra = stack.extra_headers(low, high)
    return h, None if extra is None else extra[number - low]
