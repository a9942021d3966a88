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
    """Whether the format lets parts of an image be read; otherwise `read_windows` reads whole images."""
    reader = stack.reader
    return (
        hasattr(reader, "place") and getattr(reader, "axes", (0, 1, 2)) == (0, 1, 2) and getattr(reader, "mode", None) != 3
    )  # fmt: skip


def _rows_of(stack: Stack, lines: Span) -> NDArray[np.intp]:
    """Rows of the file that hold these lines."""
    rows = np.arange(stack.lines)
    order = getattr(stack.reader, "rows", "keep") if stack.format == "MRC" else "keep"
    return rows[row_order(stack.lines, order)][slice(*lines)]


def _plane(stack: Stack, image: int, rows: NDArray[np.intp], pixels: Span, out: NDArray) -> None:
    """Bring one window, shape (lines, pixels), into `out`."""
    fd, offset = stack.reader.place(image)
    dtype = stack.layout.dtype
    a, b = pixels
    row_bytes = stack.pixels * dtype.itemsize
    low, high = int(rows.min()), int(rows.max()) + 1
    if (b - a) * _WIDE >= stack.pixels and high - low == len(rows):
        whole = read_into(fd, offset + low * row_bytes, np.empty((high - low, stack.pixels), dtype), stack.path)
        upwards = len(rows) > 1 and rows[1] < rows[0]
        if upwards and rows[0] == high - 1:
            out[:] = whole[::-1, a:b]
        elif not upwards and rows[-1] == high - 1:
            out[:] = whole[:, a:b]
        else:  # line 0 of an even number is where it was, see `row_order`
            out[:] = whole[rows - low, a:b]
        return
    line = np.empty(b - a, dtype)
    for k, row in enumerate(rows):
        out[k] = read_into(fd, offset + int(row) * row_bytes + a * dtype.itemsize, line, stack.path)


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
    ndarray, shape (stop - start, *window size), as stored, native byte order

    Raises
    ------
    InputError
        The file was cut short meanwhile.
    """
    *deep, lines, pixels = window
    shape = (stop - start, *(b - a for a, b in window))
    per = stack.sections if deep else 1
    first, last = deep[0] if deep else (0, 1)
    if lines == (0, stack.lines) and (first, last) == (0, per) and 2 * shape[-1] > stack.pixels:
        whole = stack.read_raw(start * per, stop * per)
        return (whole if shape[-1] == stack.pixels else np.ascontiguousarray(whole[:, :, slice(*pixels)])).reshape(shape)
    numbers = [k * per + z for k in range(start, stop) for z in range(first, last)]
    out = np.empty((len(numbers), *shape[-2:]), stack.dtype)
    if can_read_parts(stack):
        rows = _rows_of(stack, lines)
        for plane, k in zip(out, numbers, strict=True):
            _plane(stack, k if stack.index is None else int(stack.index[k]), rows, pixels, plane)
    else:
        for plane, k in zip(out, numbers, strict=True):
            plane[:] = stack.read_raw(k, k + 1)[0][slice(*lines), slice(*pixels)]
    return out.reshape(shape)
