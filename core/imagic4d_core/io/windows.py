"""Read parts of large images: only the lines, and only the pixels, that are wanted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io.layout import read_into, row_order
from imagic4d_core.io.stack import Stack

#: Reading whole lines costs less than one call for each as long as a line is not this many times what is wanted.
_WIDE = 16

Span = tuple[int, int]


def can_read_parts(stack: Stack) -> bool:
    """Whether the format lets parts of an image be read; otherwise `read_window` reads whole images."""
    reader = stack.reader
    return (
        hasattr(reader, "place") and getattr(reader, "axes", (0, 1, 2)) == (0, 1, 2) and getattr(reader, "mode", None) != 3
    )  # fmt: skip


def _rows_of(stack: Stack, lines: Span) -> NDArray[np.intp]:
    """Rows of the file that hold these lines."""
    rows = np.arange(stack.lines)
    order = getattr(stack.reader, "rows", "keep") if stack.format == "MRC" else "keep"
    return rows[row_order(stack.lines, order)][slice(*lines)]


def _plane(stack: Stack, image: int, rows: NDArray[np.intp], pixels: Span) -> NDArray:
    fd, offset = stack.reader.place(image)
    dtype = stack.layout.dtype
    a, b = pixels
    row_bytes = stack.pixels * dtype.itemsize
    out = np.empty((len(rows), b - a), dtype)
    low, high = int(rows.min()), int(rows.max()) + 1
    if (b - a) * _WIDE >= stack.pixels and high - low == len(rows):
        whole = read_into(fd, offset + low * row_bytes, np.empty((high - low, stack.pixels), dtype), stack.path)
        np.take(whole[:, a:b], rows - low, axis=0, out=out)
    else:
        for line, row in zip(out, rows, strict=True):
            read_into(fd, offset + int(row) * row_bytes + a * dtype.itemsize, line, stack.path)
    return out if dtype.isnative else out.astype(dtype.newbyteorder("="))


def read_window(stack: Stack, image: int, lines: Span, pixels: Span) -> NDArray:
    """A window of one image or section, as stored, native byte order.

    Parameters
    ----------
    stack : Stack
    image : int
        0-based number in the stack.
    lines, pixels : (first, last + 1)
        Inside the image, at least one each.

    Returns
    -------
    ndarray, shape (lines, pixels)

    Raises
    ------
    InputError
        The file was cut short meanwhile.
    """
    if not can_read_parts(stack):
        return stack.read_raw(image, image + 1)[0][slice(*lines), slice(*pixels)]
    number = image if stack.index is None else int(stack.index[image])
    return _plane(stack, number, _rows_of(stack, lines), pixels)


def read_windows(stack: Stack, start: int, stop: int, window: Sequence[Span]) -> NDArray:
    """The same window of several objects.

    Parameters
    ----------
    stack : Stack
    start, stop : int
        Objects: images, or volumes where the window has three spans.
    window : sequence of (first, last + 1)
        (lines, pixels) or (sections, lines, pixels).

    Returns
    -------
    ndarray, shape (stop - start, *window size), as stored
    """
    *deep, lines, pixels = window
    numbers = [k * stack.sections + z for k in range(start, stop) for z in range(*deep[0])] if deep else range(start, stop)
    if not can_read_parts(stack):
        raw = [stack.read_raw(k, k + 1)[:, slice(*lines), slice(*pixels)] for k in numbers]
        out = np.concatenate(raw)
    else:
        rows = _rows_of(stack, lines)
        out = np.empty((len(numbers), len(rows), pixels[1] - pixels[0]), stack.dtype)
        for plane, k in zip(out, numbers, strict=True):
            plane[:] = _plane(stack, k if stack.index is None else int(stack.index[k]), rows, pixels)
    return out.reshape(stop - start, *(b - a for a, b in window))
