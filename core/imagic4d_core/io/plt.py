"""PLT files: plain text, one record a line, numbers separated by blanks (imagic-format sheet, section 9).

Lines that are no numbers (titles) are skipped; Fortran exponents (``0.1D+02`` too) and commas are understood. Location numbers,
where there are any, stand in the first column and count from 1.
"""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import atomic_write

_SEPARATORS = str.maketrans({",": " ", ";": " ", "\t": " "})
_FORTRAN = str.maketrans({"D": "E", "d": "e"})
_MAX_BYTES = 1 << 31


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float(word.translate(_FORTRAN))


def read_plt(path: str | os.PathLike, columns: int | None = None) -> NDArray[np.float64]:
    """Read a PLT file.

    Parameters
    ----------
    path : path
    columns : int, optional
        How many columns there must be.

    Returns
    -------
    ndarray, shape (rows, columns), float64

    Raises
    ------
    InputError
        Missing, no numbers in it, lines of different length, a number that is not finite, or another number of columns.
    """
    rows: list[list[float]] = []
    try:
        if os.path.getsize(path) > _MAX_BYTES:
            raise InputError(f"{path}: {os.path.getsize(path)} bytes are too many for a PLT file")
        with open(path, encoding="latin-1") as handle:
            for number, line in enumerate(handle, 1):
                words = line.translate(_SEPARATORS).split()
                if not words:
                    continue
                try:
                    row = [_number(word) for word in words]
                except ValueError:
                    if rows and words[0].lstrip("+-.").isdigit():
                        raise InputError(f"{path}: line {number}: {line.strip()[:40]!r} is not a line of numbers") from None
                    continue
                if not np.isfinite(row).all():
                    raise InputError(f"{path}: line {number} holds a number that is not finite")
                if rows and len(row) != len(rows[0]):
                    raise InputError(f"{path}: line {number} has {len(row)} columns, the lines before it {len(rows[0])}")
                rows.append(row)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise InputError(f"{path}: holds no line of numbers; a PLT file has one record a line, numbers separated by blanks")
    out = np.array(rows)
    if columns is not None and out.shape[1] != columns:
        raise InputError(f"{path}: has {out.shape[1]} columns; {columns} are needed")
    return out


def locations_of(path: str | os.PathLike, values: ArrayLike, count: int, what: str = "images") -> NDArray[np.intp]:
    """0-based numbers of a column of locations.

    Raises
    ------
    InputError
        Not whole, or outside 1 to `count`.
    """
    numbers = np.asarray(values, dtype=np.float64)
    whole = np.rint(numbers) == numbers
    if not whole.all():
        raise InputError(f"{path}: {numbers[~whole][0]:g} is not a location; the first column must hold whole numbers from 1")
    out = (numbers < 1) | (numbers > count)
    if out.any():
        raise InputError(
            f"{path}: location {numbers[out][0]:.0f} is out of range; there are {count} {what}, locations 1 to {count}"
        )
    return numbers.astype(np.intp) - 1


def write_plt(
    path: str | os.PathLike, columns: Sequence[ArrayLike], locations: ArrayLike | None = None, *, overwrite: bool = False
) -> None:
    """Write a PLT file; real numbers with 9 digits, which keeps every bit of a header word.

    Parameters
    ----------
    path : path
    columns : sequence of array_like, each shape (n,)
    locations : array_like of int, shape (n,), optional
        1-based, written first.
    overwrite : bool

    Raises
    ------
    OutputError
    """
    parts = [np.asarray(c) for c in columns]
    widths = ["%12d" if p.dtype.kind in "iub" else "%16.9g" for p in parts]
    if locations is not None:
        parts, widths = [np.asarray(locations), *parts], ["%8d", *widths]
    line = "".join(widths) + "\n"
    with atomic_write(path, "w", overwrite, encoding="ascii") as handle:
        for row in zip(*(p.tolist() for p in parts), strict=True):
            handle.write(line % row)
