"""Headers changed, densities left alone: the .hed (or the STAR file) is replaced in one step, or a new pair is made.

Headers stream through in windows, so a file of millions of images needs no more memory than one of a thousand.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io import atomic, star
from imagic4d_core.io import header as hdr
from imagic4d_core.io.particles import Metadata
from imagic4d_core.io.starout import write_edited, write_star
from imagic4d_core.io.writer import copy_range, create_stack, output_format, output_paths

#: Header records handled at a time.
WINDOW = 8192

Window = Callable[[int, int], tuple[NDArray, NDArray | None]]
"""``window(start, stop)``: new records of images ``start`` to ``stop``, shape (n,), and their further records, float32, shape
(n, (nblocks - 1) * 256), or None where there are none. Called once for every window, in order."""


def replace_headers(
    src: str | os.PathLike, records: NDArray, out: str | os.PathLike | None = None, overwrite: bool = False
) -> None:
    """Change headers only.

    Parameters
    ----------
    src : path
        An IMAGIC pair or an MRC file (whose poses stand in ``NAME.star``).
    records : ndarray, shape (n_images,), `HEADER_DTYPE`
        All records.
    out : path, optional
        Without it the .hed of `src` is replaced in one step; with it a new file is made, for IMAGIC to IMAGIC
        with a hard link to the densities where the file system can.
    overwrite : bool
        Replace an existing `out`.

    Raises
    ------
    InputError, OutputError
    MismatchError
        Not one record per image.
    """
    from imagic4d_core.io.stack import open_stack

    with open_stack(src) as stack:
        check_whole(stack)
        if len(records) != stack.n_images:
            raise MismatchError(f"{stack.path}: has {stack.n_images} headers, {len(records)} are given")

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            return records[start:stop], stack.extra_headers(start, stop)

        stream_headers(stack, window, out, overwrite, stack.nblocks)


def replace_poses(
    src: str | os.PathLike, poses: Poses, out: str | os.PathLike | None = None, overwrite: bool = False,
    words: Mapping[str, NDArray] | None = None,
) -> None:  # fmt: skip
    """Change poses, and perhaps other words, in the headers only; all else stays. Errors as `replace_headers`.

    Parameters
    ----------
    src, out : path
    poses : Poses
        Of all images.
    overwrite : bool
    words : mapping of str to ndarray, shape (n_images,), optional
        Header word -> values.
    """
    from imagic4d_core.io.stack import open_stack

    with open_stack(src) as stack:
        check_whole(stack)
        if len(poses) != stack.n_images:
            raise MismatchError(f"{stack.path}: has {stack.n_images} headers, {len(poses)} poses are given")

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            h = poses.select(slice(start, stop)).into_headers(stack.headers(start, stop))
            for name, values in (words or {}).items():
                h[name] = values[start:stop]
            return h, stack.extra_headers(start, stop)

        stream_headers(stack, window, out, overwrite, stack.nblocks)


def check_whole(stack: Any) -> None:
    """Refuse a selection of locations where the headers of a file are to be replaced."""
    if stack.index is not None:
        raise InputError(f"{stack.path}: locations cannot be given here; headers of the whole file are replaced")


def stream_headers(
    stack: Any, window: Window, out: str | os.PathLike | None, overwrite: bool = False, nblocks: int = 1, step: int = WINDOW
) -> None:
    """As `replace_headers`, for records that come window by window.

    Parameters
    ----------
    stack : Stack
        Open, without a selection.
    window : Window
    out : path or None
    overwrite : bool
    nblocks : int
        Header records per image from now on (word 4).
    step : int
        Images in a window.

    Raises
    ------
    InputError, OutputError
    """
    if stack.format == "IMAGIC" and (out is None or output_format(out) == "IMAGIC"):
        _replace_hed(stack, window, out, overwrite, nblocks, step)
    elif out is None:
        _replace_sidecar(stack, np.concatenate([window(a, b)[0] for a, b in stack.blocks(step)]))
    else:
        _rewrite(stack, window, out, overwrite, nblocks, step)


def _as_stored(stack: Any, start: int, records: NDArray, extra: NDArray | None, nblocks: int) -> bytes:
    order = stack.reader.order
    h = np.array(records, dtype=hdr.HEADER_DTYPE, copy=True)
    hdr.set_geometry(h, start, stack.objects, stack.sections, stack.lines, stack.pixels, stack.layout.type_word, nblocks)
    fresh = h["NYEAR"] == 0
    for name, value in zip(("NMONTH", "NDAY", "NYEAR", "NHOUR", "NMINUT", "NSEC"), hdr.creation_time(), strict=True):
        h[name][fresh] = value
    if order == ">":
        h["REALTYPE"] = hdr.BIG
    raw = hdr.to_bytes(h)
    if order == ">":
        padded = np.ascontiguousarray(raw).view(hdr.HEADER_DTYPE)[:, 0]
        raw = hdr.swap_words(padded).view(np.uint8).reshape(len(h), hdr.RECORD)
    if nblocks == 1:
        return raw.tobytes()
    further = np.zeros((len(h), (nblocks - 1) * 256), f"{order}f4")
    if extra is not None:
        further[:] = extra
    return np.concatenate([raw, further.view(np.uint8).reshape(len(h), -1)], axis=1).tobytes()


def _replace_hed(
    stack: Any, window: Window, out: str | os.PathLike | None, overwrite: bool, nblocks: int, step: int
) -> None:  # fmt: skip
    def fill(handle: Any) -> None:
        for start, stop in stack.blocks(step):
            handle.write(_as_stored(stack, start, *window(start, stop), nblocks))

    if out is None or os.path.realpath(output_paths(out)[1]) == os.path.realpath(stack.reader.hed):
        atomic.check_writable(stack.reader.img)  # the pair is one file
        with atomic.atomic_write(stack.reader.hed, overwrite=out is None or overwrite) as handle:
            fill(handle)
        return
    img, hed = output_paths(out)
    for target in (img, hed):
        atomic.check_new(target, overwrite)
    head = atomic.create_temp(hed)
    atomic.sweep(img)
    data = atomic.temp_name(img)
    try:
        with open(head, "wb") as handle:
            fill(handle)
        try:
            os.link(os.path.realpath(stack.reader.img), data)  # of a symbolic link: the file it stands for
        except OSError:
            atomic.create_exactly(data)
            with open(data, "r+b") as copy, open(stack.reader.img, "rb") as source:
                copy_range(source.fileno(), 0, copy.fileno(), 0, stack.reader.img_size, stack.reader.img, img)
    except OSError as error:
        atomic.discard([head, data])
        raise OutputError(f"{hed}: cannot be written: {error.strerror or error}") from error
    except BaseException:
        atomic.discard([head, data])
        raise
    atomic.commit([(data, img), (head, hed)])


def _replace_sidecar(stack: Any, records: NDArray) -> None:
    """Poses of an MRC file: its list is changed in place, row by row, so that all else that stands there stays; or made new."""
    if stack.format != "MRC":
        raise OutputError(f"{stack.path}: headers of {stack.format} files cannot be replaced; give a name for the output")
    known, side = Metadata.from_headers(records[:: stack.sections], not stack.is_volumes), star.sidecar(stack.path)
    if not side.is_file():
        with atomic.atomic_write(side, "w", encoding="utf-8", errors="surrogateescape") as handle:
            write_star(handle, known, stack.path.name, stack.pixel_size, stack.pixels, stack.is_volumes)
        return
    try:
        images = star.rows_of(side, stack.path)
        old, _ = star.read_sidecar(side, stack.path, stack.objects, stack.pixel_size)
    except InputError as error:
        raise OutputError(f"{error}; poses cannot be kept there: give a name for the output") from error
    rows = np.flatnonzero(images >= 0)
    places = images[rows]
    rest = np.setdiff1d(np.arange(stack.objects), places)
    if not len(rows) or (len(rest) and known.select(rest).any_set()):
        what = "none" if not len(rows) else f"not image {int(rest[0]) + 1}"
        raise OutputError(
            f"{side}: lists {what} of {stack.path.name}, so its poses cannot be kept there; give a name for the output"
        )
    old.pixel_size = None
    own = star.read_particles(side).metadata.pixel_size if not stack.is_volumes else None
    before = old.select(places)
    before.pixel_size = None if own is None else own[rows]
    with atomic.atomic_write(side, "w", overwrite=True, encoding="utf-8", errors="surrogateescape") as handle:
        write_edited(handle, side, rows, before, known.select(places), stack.pixel_size)


def _rewrite(stack: Any, window: Window, out: str | os.PathLike, overwrite: bool, nblocks: int, step: int) -> None:
    with create_stack(
        out, *stack.shape, pixel_size=stack.pixel_size, overwrite=overwrite, dtype=stack.dtype, volumes=stack.is_volumes,
        nblocks=nblocks,
    ) as writer:  # fmt: skip
        for start, stop in stack.blocks():
            writer.write(start, stack.read_raw(start, stop))
        for start, stop in stack.blocks(step):
            records, extra = window(start, stop)
            writer.set_headers(start, records)
            if extra is not None:
                writer.set_extra(start, extra)
