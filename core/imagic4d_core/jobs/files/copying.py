"""Copy: images and volumes, between formats, in part, and into existing files; streaming."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.io.header import TYPES
from imagic4d_core.io.layout import check_finite
from imagic4d_core.io.locations import Locations, split_spec
from imagic4d_core.io.stack import Stack, StackWriter, create_stack, open_stack
from imagic4d_core.io.writer import output_format, output_paths
from imagic4d_core.parallel import SERIAL

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None] | None
#: Changes header records, shape (n,), in place; the second argument is the number of the first in the selection.
Edit = Callable[[NDArray, int], None] | None
_HEADERS = 8192
_COPY_BYTES = 1 << 28


@dataclass
class CopySummary:
    """What was written.

    Attributes
    ----------
    input, output : str
    format, type : str
        Of the output.
    objects, sections, n_lines, pixels : int
        Shape of the output.
    pixel_size : float or None
        Angstrom.
    copied : int
        Objects taken from the input.
    first : int or None
        Location of the first of them in an existing output, None for a new file.
    notes : list of str
        Doubts about the input and how they were settled.
    """

    input: str
    output: str
    format: str
    type: str
    objects: int
    sections: int
    n_lines: int
    pixels: int
    pixel_size: float | None
    copied: int
    first: int | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {("lines" if k == "n_lines" else k): v for k, v in vars(self).items()}

    def lines(self) -> list[str]:
        """For people."""
        shape = shape_text(self.objects, self.sections, self.n_lines, self.pixels)
        step = f", {self.pixel_size:.6g} A per pixel" if self.pixel_size else ""
        where = f"{self.copied} put in from location {self.first} on; now " if self.first else ""
        return [f"{self.output}: {where}{shape} ({self.format}, {self.type}{step})"]


def say_lost_origin(stack: Stack, dst: str | os.PathLike, form: str) -> None:
    """Warn where a map has an ORIGIN, and the output is in a format that has none."""
    if any(stack.origin) and form != "MRC":
        log.warning(
            "%s: ORIGIN %s A of %s is not kept in %s files, and the map will lie elsewhere beside models; a name ending in .mrc "
            "keeps it", dst, " ".join(f"{v:.6g}" for v in stack.origin), stack.path, form,
        )  # fmt: skip


def shape_text(objects: int, sections: int, lines: int, pixels: int) -> str:
    """A shape in words, e.g. ``3 volumes of 64 x 64 x 64``."""
    size = f"{sections} x {lines} x {pixels}" if sections > 1 else f"{lines} x {pixels}"
    what = "volume" if sections > 1 else "image"
    return f"{objects} {what}{'' if objects == 1 else 's'} of {size}"


def _dtype_of(stack: Stack, type_word: str | None) -> tuple[np.dtype, str | None]:
    if type_word is None:
        return stack.dtype, stack.layout.type_word if stack.dtype.str[1:] == np.dtype(TYPES[stack.layout.type_word]).str[
            1:
        ] else None
    word = type_word.upper()
    if word not in TYPES:
        raise InputError(f"type {type_word!r} is not known; types are {', '.join(t.lower() for t in TYPES)}")
    return np.dtype(TYPES[word]), word


def joined_type(home: Stack, others: Sequence[Stack]) -> tuple[np.dtype, str | None, list[str]]:
    """Density type and type word of a file that takes images of others, and what is to be said of them.

    That of the file itself, as long as it can hold the others: whole numbers become REAL where real ones come, as these would
    lose what is behind the point.

    Raises
    ------
    MismatchError
        LONG, which REAL cannot hold in all its digits, and real densities.
    """
    real = next((s for s in others if s.dtype.kind == "f"), None)
    if home.dtype.kind not in "iu" or real is None:
        return home.dtype, home.layout.type_word, []
    if home.dtype.itemsize > 2:
        raise MismatchError(
            f"{real.path}: holds real densities, {home.path} whole numbers of 32 bits; neither type holds both: "
            "bring them to one (im4d convert --type)"
        )
    return np.dtype(np.float32), "REAL", [f"made REAL, as {real.path} holds real densities (it was {home.layout.type_word})"]


def _regroup(stack: Stack, what: str | None, sections: int | None) -> tuple[int, int]:
    """(objects, sections) of the output where images are to become volumes or volumes images."""
    if what is None and sections is None:
        return stack.objects, stack.sections
    if what == "images":
        return stack.n_images, 1
    size = sections or (stack.sections if stack.is_volumes else stack.lines)
    if stack.n_images % size:
        raise MismatchError(
            f"{stack.path}: {stack.n_images} images cannot be divided into volumes of {size} sections; give --sections, a divisor"
        )
    return stack.n_images // size, size


def _move(
    stack: Stack, writer: StackWriter, at: int, rows: str, finite: bool, progress: Progress, done: int = 0, total: int = 0,
    edit: Edit = None,
) -> None:  # fmt: skip
    """Bring all images of `stack`, with headers, to `writer` from image `at` on."""
    total = total or stack.n_images
    raw = (
        stack.format == writer.format
        and stack.layout.dtype == writer.dtype
        and getattr(stack.reader, "plain", False)
        and (stack.format != "MRC" or stack.reader.rows == writer.rows)
    )
    with ThreadPoolExecutor(1) as pool:  # headers are worked on while the kernel copies densities
        bulk = pool.submit(_move_densities, stack, writer, at, raw, finite, progress, done, total)
        _move_headers(stack, writer, at, edit)
        bulk.result()


def _move_densities(
    stack: Stack, writer: StackWriter, at: int, raw: bool, finite: bool, progress: Progress, done: int, total: int
) -> None:
    step = max(1, (_COPY_BYTES if raw and not finite else 1 << 24) // writer.plane)
    for start, stop in stack.blocks(step):
        if raw:
            for place, a, b in stack.runs(start, stop):
                if finite:
                    _check(stack, start + place, start + place + b - a)
                fd, offset = stack.reader.place(a)
                writer.copy_bytes(fd, offset, at + start + place, b - a, stack.path)
        else:
            data = stack.read_raw(start, stop)
            if finite:
                check_finite(data, stack.path, start if stack.index is None else int(stack.index[start]))
            if data.dtype.kind == "c" and stack.layout.type_word == "RECO" and writer.dtype.kind != "c":
                data = data.real
            writer.write(at + start, data)
        if progress:
            progress(done + stop, total)


def _move_headers(stack: Stack, writer: StackWriter, at: int, edit: Edit) -> None:
    for start in range(0, stack.n_images, _HEADERS):
        stop = min(stack.n_images, start + _HEADERS)
        headers = stack.headers(start, stop, checked=False)
        if edit is not None:
            edit(headers, start)
        writer.set_headers(at + start, headers)
        if writer.nblocks > 1 and stack.nblocks == writer.nblocks:
            writer.set_extra(at + start, stack.extra_headers(start, stop))


def _check(stack: Stack, start: int, stop: int) -> None:
    step = max(1, (1 << 24) // stack.layout.plane)
    for a in range(start, stop, step):
        b = min(stop, a + step)
        check_finite(stack.read_raw(a, b), stack.path, a if stack.index is None else int(stack.index[a]))


def _transfer(
    src: str | os.PathLike, dst: str | os.PathLike, *, loc: Locations | None, unit: str, rows: str = "centre",
    type_word: str | None = None, pixel_size: float | None = None, what: str | None = None, sections: int | None = None,
    finite: bool = False, overwrite: bool = False, progress: Progress = None,
) -> CopySummary:  # fmt: skip
    given = loc is not None or split_spec(src)[1] is not None
    mode = "volumes" if unit == "volumes" else ("images" if given else "auto")
    with open_stack(src, loc, what=mode, rows=rows) as stack:
        return put(
            stack, dst, unit=unit, rows=rows, type_word=type_word, pixel_size=pixel_size, what=what, sections=sections,
            finite=finite, overwrite=overwrite, progress=progress,
        )  # fmt: skip


def put(
    stack: Stack, dst: str | os.PathLike, *, unit: str, rows: str = "centre", type_word: str | None = None,
    pixel_size: float | None = None, what: str | None = None, sections: int | None = None, finite: bool = False,
    edit: Edit = None, overwrite: bool = False, progress: Progress = None,
) -> CopySummary:  # fmt: skip
    """Bring all that an open stack shows, some locations of a file in any order, into a new file or into an existing one.

    Parameters
    ----------
    stack : Stack
    dst : path
        ``NAME,10`` replaces `unit` from location 10 on.
    unit : {"images", "volumes"}
        What locations of the output count.
    rows, type_word, pixel_size, what, sections
        As `converting.convert`.
    finite : bool
        Refuse NaN and infinite densities.
    edit : callable, optional
        Changes the header records on their way.

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    name, place = split_spec(dst)
    if not stack.n_images:
        raise InputError(f"{stack.path}: no location is selected; give at least one")
    if place is not None and any(p.exists() for p in output_paths(name)):
        return _replace(stack, name, place, unit, rows, finite, edit, progress)
    if place is not None and place.ranges[0][0] != 1:
        raise InputError(
            f"{name}: not found; a location in the output replaces {unit} of an existing file (a new file starts at location 1)"
        )
    objects, planes = _regroup(stack, what, sections)
    dtype, word = _dtype_of(stack, type_word)
    size = pixel_size or _one_pixel_size(stack, output_format(name))
    volumes = planes > 1 or (what is None and stack.layout.is_volumes and stack.is_volumes)
    with create_stack(
        name, objects, planes, stack.lines, stack.pixels, pixel_size=size, overwrite=overwrite, dtype=dtype, rows=rows,
        type_word=word, nblocks=stack.nblocks, origin=stack.origin, volumes=volumes,
    ) as writer:  # fmt: skip
        say_lost_origin(stack, writer.path, writer.format)
        _move(stack, writer, 0, rows, finite, progress, edit=edit)
    copied = stack.objects if (objects, planes) == (stack.objects, stack.sections) else objects
    return _summary(stack, writer, copied, None, size or stack.pixel_size)


def _one_pixel_size(stack: Stack, form: str) -> float | None:
    """The pixel size of a stack, None where its images have several, or keep their own in their headers."""
    if stack.format != "IMAGIC":
        return stack.pixel_size
    if form == "IMAGIC":
        return None
    for start in range(0, stack.n_images, _HEADERS):
        size = stack.headers(start, min(stack.n_images, start + _HEADERS), checked=False)["PIXSIZE"]
        if stack.pixel_size and (np.abs(size - stack.pixel_size) > 1e-6 * stack.pixel_size).any():
            log.warning("%s: images of several pixel sizes", stack.path)
            return None
    return stack.pixel_size


def _summary(stack: Stack, writer: StackWriter, copied: int, first: int | None, pixel_size: float | None) -> CopySummary:
    return CopySummary(
        str(stack.path), str(writer.path), writer.format, writer.type_word, writer.objects, writer.sections, writer.lines,
        writer.pixels, pixel_size, copied, first, list(stack.notes),
    )  # fmt: skip


def _replace(
    stack: Stack, name: str, place: Locations, unit: str, rows: str, finite: bool, edit: Edit, progress: Progress
) -> CopySummary:
    """Put the images of `stack` into an existing file from a location on; a new file takes its place when complete."""
    if output_format(name) == "MRC" and not Path(name).exists():
        raise OutputError(f"{name}: not found")
    with open_stack(name, what="volumes" if unit == "volumes" else "auto", rows=rows) as old:
        if old.format != output_format(name):
            raise OutputError(f"{name}: holds {old.format} data under a name of another format; rename it first")
        fits = (stack.lines, stack.pixels) == (old.lines, old.pixels)
        if not fits or (unit == "volumes" and stack.sections != old.sections):
            sizes = [" x ".join(map(str, s.shape[1:] if unit == "volumes" else s.shape[2:])) for s in (stack, old)]
            raise MismatchError(f"{stack.path}: {unit} of {sizes[0]} cannot be put into {old.path}, which holds {sizes[1]}")
        per = old.sections if unit == "volumes" else 1
        count, have = stack.n_images // per, old.n_images // per
        (first, last), *rest = place.ranges
        end = first + count - 1
        if rest or (last is not None and last != first and last != end):
            raise MismatchError(
                f"{name}: {count} {unit} are to be written, the location in the output names {place}; give the first only"
            )
        if first > have + 1 or (end > have and old.is_volumes and unit == "images"):
            limit = (
                f"writing can start at 1 to {have + 1}"
                if unit == "volumes" or not old.is_volumes
                else f"{count} {unit} fit from 1 to {have - count + 1}"
            )
            raise InputError(f"{old.path}: location {first} is out of range; the file holds {have} {unit}, and {limit}")
        total = max(have, end)
        dtype, word, said = joined_type(old, [stack])
        with create_stack(
            name, total * per // old.sections, *old.shape[1:], pixel_size=old.pixel_size if old.format == "MRC" else None,
            overwrite=True, dtype=dtype, rows=rows, type_word=word, nblocks=old.nblocks,
            origin=old.origin, volumes=old.is_volumes,
        ) as writer:  # fmt: skip
            at, stop = (first - 1) * per, end * per
            kept = np.concatenate([np.arange(0, at), np.arange(min(stop, old.n_images), old.n_images)])
            for part, start in ((kept[:at], 0), (kept[at:], stop)):
                if len(part):
                    _move(Stack(_Borrowed(old.reader), part, True), writer, start, rows, False, None)
            _move(stack, writer, at, rows, finite, progress, edit=edit)
        out = _summary(stack, writer, count, first, writer.pixel_size or old.pixel_size)
        for text in said:
            log.warning("%s: %s", name, text)
        out.notes += said
        return out


class _Borrowed:
    """A reader that belongs to somebody else: closing does nothing."""

    def __init__(self, reader: Any):
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        """Leave it open."""


def copy(
    src: str | os.PathLike, dst: str | os.PathLike, *, loc: Locations | None = None, overwrite: bool = False, comm: Any = SERIAL,
    threads: int | None = None, progress: Progress = None,
) -> CopySummary:  # fmt: skip
    """Copy images, counted one by one (sections of volumes too); headers travel with them.

    Without locations a file of volumes stays one. Within one format and type the densities are copied byte by byte.

    Parameters
    ----------
    src : path
        ``NAME``, ``NAME,3`` or ``NAME,3,5``, any format.
    dst : path
        Format by extension. ``NAME,10`` replaces images from 10 on in an existing file.
    loc : Locations, optional
        Images to take, in this order.
    overwrite : bool
        Replace an existing output.
    comm, threads
        Not used: one process copies as fast as the disk allows.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    CopySummary

    Raises
    ------
    InputError
        Input missing or damaged, location out of range.
    MismatchError
        Images do not fit into the existing output.
    OutputError
        Output exists or cannot be written.
    """
    return _transfer(src, dst, loc=loc, unit="images", overwrite=overwrite, progress=progress)


def copy_volumes(
    src: str | os.PathLike, dst: str | os.PathLike, *, loc: Locations | None = None, overwrite: bool = False, comm: Any = SERIAL,
    threads: int | None = None, progress: Progress = None,
) -> CopySummary:  # fmt: skip
    """Copy volumes; as `copy`, but locations count volumes, in input and output.

    Raises
    ------
    MismatchError
        Also: the input holds images.
    """
    return _transfer(src, dst, loc=loc, unit="volumes", overwrite=overwrite, progress=progress)
