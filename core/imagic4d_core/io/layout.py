"""What every reader knows of its file, and the few functions all formats share."""

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, OutputError
from imagic4d_core.io import header as hdr

#: Largest single read or write given to the operating system.
_CHUNK = 1 << 27


@dataclass
class Layout:
    """Shape and storage of one file, as found.

    Attributes
    ----------
    path : Path
        The file the user names in messages (the .hed of an IMAGIC pair).
    format : str
        ``"IMAGIC"``, ``"MRC"`` or ``"SPIDER"``.
    objects, sections, lines, pixels : int
        The file is an array of this shape; `sections` is 1 for images.
    is_volumes : bool
    dtype : numpy.dtype
        Stored density type with its byte order.
    pixel_size : float or None
        Angstrom.
    notes : list of str
        Doubts and how they were settled.
    """

    path: Path
    format: str
    objects: int
    sections: int
    lines: int
    pixels: int
    is_volumes: bool
    dtype: np.dtype
    pixel_size: float | None = None
    type_word: str = "REAL"
    notes: list[str] = field(default_factory=list)

    @property
    def n_images(self) -> int:
        """Images, or sections of all volumes."""
        return self.objects * self.sections

    def records(self, start: int, stop: int) -> NDArray:
        """Header records of images `start` to `stop`, made up from shape and name, for formats that have none."""
        h = hdr.blank_headers(stop - start, self.lines, self.pixels, self.sections, pixel_size=self.pixel_size)
        hdr.set_geometry(h, start, self.objects, self.sections, self.lines, self.pixels, self.type_word)
        h["NAME"] = self.path.name.encode("ascii", "replace")[:80]
        return h

    @property
    def plane(self) -> int:
        """Bytes of one image or section."""
        return self.lines * self.pixels * self.dtype.itemsize


def open_fd(path: str | os.PathLike) -> int:
    """Open for reading; `InputError` in one line where that fails."""
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_into(fd: int, offset: int, array: NDArray, path: str | os.PathLike) -> NDArray:
    """Fill a contiguous array from a place of a file; safe for several threads.

    Raises
    ------
    InputError
        The file ends before the array is full.
    """
    view = array.data.cast("B") if array.size else memoryview(b"")
    done = 0
    while done < len(view):
        try:
            got = os.preadv(fd, [view[done : done + _CHUNK]], offset + done)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        if got <= 0:
            raise InputError(f"{path}: ends at byte {offset + done}, {len(view) - done} bytes too early; the file is truncated")
        done += got
    return array


def write_at(fd: int, offset: int, data: NDArray | bytes, path: str | os.PathLike) -> None:
    """Write a contiguous array or bytes to a place of a file; safe for several threads."""
    view = (memoryview(data) if isinstance(data, bytes) else data.data).cast("B") if len(data) else memoryview(b"")
    done = 0
    try:
        while done < len(view):
            done += os.pwrite(fd, view[done : done + _CHUNK], offset + done)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


@lru_cache(maxsize=1)
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """The C library's fallocate. Not posix_fallocate, which writes to every block where the file system cannot do it."""
    import ctypes

    func = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if func is None:
        return None
    func.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def call(fd: int, mode: int, offset: int, length: int) -> int:
        return 0 if func(fd, mode, offset, length) == 0 else ctypes.get_errno()

    return call


def reserve(path: str | os.PathLike, size: int) -> None:
    """Give an empty file its size, and its place on the device where the file system can: it then fills faster, and a device
    that is too small says so at once.

    Raises
    ------
    OSError
        The device is full or the file cannot be made so large.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        call = _fallocate() if sys.platform == "linux" and sys.maxsize > 2**32 else None
        if call is not None:
            code = call(fd, 0, 0, size)
            if code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise OSError(code, os.strerror(code))
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def row_order(lines: int, rows: str = "centre") -> NDArray[np.intp] | slice:
    """Index that turns lines counted from below into lines counted from above, and back (it is its own inverse).

    Parameters
    ----------
    lines : int
    rows : {"centre", "plain", "keep"}
        ``centre`` maps index ``lines // 2`` to itself (flip, then a roll by one for an even number of lines);
        ``plain`` only flips; ``keep`` does nothing.
    """
    if rows == "keep":
        return slice(None)
    if rows == "plain" or lines % 2:
        return slice(None, None, -1)
    return (lines - np.arange(lines)) % lines


def turned(images: NDArray, order: NDArray[np.intp] | slice) -> NDArray:
    """Images, shape (n, lines, pixels), with their lines in the order of `row_order`: one copy, C-contiguous."""
    return np.ascontiguousarray(images[:, order]) if isinstance(order, slice) else np.take(images, order, axis=1)


def all_finite(array: NDArray) -> bool:
    """Whether no density is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        # anything not finite stays in a sum, so a finite one clears all; that of squares is the fastest, but not of float16
        if np.isfinite(np.vdot(array, array) if array.dtype.itemsize > 2 else np.sum(array, dtype=np.float32)):
            return True
    return bool(np.isfinite(array).all())


def check_finite(array: NDArray, path: str | os.PathLike, first_image: int = 0) -> None:
    """Refuse NaN and infinite densities.

    Parameters
    ----------
    array : ndarray, shape (n, ...)
    path : path
        File named in the message.
    first_image : int
        0-based number of ``array[0]`` in it.

    Raises
    ------
    InputError
        Names the first bad image.
    """
    if array.dtype.kind not in "fc" or not array.size:
        return
    if all_finite(array):
        return
    good = np.isfinite(array.reshape(len(array), -1))
    bad = ~good.all(axis=1)
    index = int(np.argmax(bad))
    count = int((~good[index]).sum())
    raise InputError(
        f"{path}: image {first_image + index + 1} holds {count} NaN or infinite "
        f"{'density' if count == 1 else 'densities'}; every density must be a finite number"
    )
