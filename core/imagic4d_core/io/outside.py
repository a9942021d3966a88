"""The door for numbers from outside: header words and columns of lists that are reckoned with are finite and in range.

Programs that fail at an image leave NaN, and a word that another program used otherwise, read as an angle or as a count, can be
anything. One such number among thousands of images spoils a sum without a word, so it is named and refused before it is used.
"""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.header import TAG, WORDS

#: Largest number of a 3D, a class or a fold; more would make files of so many.
MAX_NUMBER = 1 << 20
#: Largest shift, pixels: a million, as lines and pixels of an image.
MAX_SHIFT = float(1 << 20)
#: Largest angle, degrees: memory left over, read as a float, is next to nothing or huge.
MAX_ANGLE = 1e5
_LARGE = 1e15
#: Header word -> largest size. Those of our own count only where word 79 is tagged.
LIMITS: dict[str, float] = (
    dict.fromkeys(("ALPHA", "BETA", "GAMMA", "EANGLE", "EALPHA", "EBETA", "EGAMMA", "DEFANGLE"), MAX_ANGLE)
    | dict.fromkeys(("EXSHIFT", "EYSHIFT", "EZSHIFT"), MAX_SHIFT)
    | dict.fromkeys(("REF3D", "REF3DOLD", "CLASSNO"), float(MAX_NUMBER))
    | dict.fromkeys(("CCC3D", "ERRAR", "ERR3D", "DEFOCUS1", "DEFOCUS2", "VOLTAGE", "SPABERR", "PIXSIZE", "NUMCLS"), _LARGE)
)
OWN_LIMITS: dict[str, float] = (
    dict.fromkeys(("RXSHIFT", "RYSHIFT"), MAX_SHIFT)
    | dict.fromkeys(("REF3D2", "FOLD", "HALFSET", "FOLDS"), float(MAX_NUMBER))
    | dict.fromkeys(("CONFID3D", "MARGIN3D", "EULERERR", "ZSCORE3D"), _LARGE)
)
#: Words that count something: never below 0.
_COUNTS = ("FOLD", "HALFSET", "FOLDS", "NUMCLS")
_NUMBER = {w.name: w.number for w in WORDS}


def first_bad(values: NDArray, limit: float, least: float | None = None) -> int:
    """Index of the first value that is not finite, beyond `limit` or below `least`; -1 where all are good."""
    size = np.abs(values.astype(np.float64, copy=False))
    with np.errstate(invalid="ignore"):
        bad = ~(size <= limit)
        if least is not None:
            bad |= ~(values >= least)
    return int(np.argmax(bad)) if bad.any() else -1


def bad_word(h: NDArray) -> tuple[int, str, float] | None:
    """The first record with a word that cannot be reckoned with: (index, name, value), or None.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    """
    found: list[tuple[int, str, float]] = []
    tagged = h["IM4DTAG"] == TAG
    for words, only in ((LIMITS, None), (OWN_LIMITS, tagged)):
        if only is not None and not only.any():
            continue
        for name, limit in words.items():
            values = h[name] if only is None else np.where(only, h[name], 0)
            k = first_bad(values, limit, 0.0 if name in _COUNTS else None)
            if k >= 0:
                found.append((k, name, float(values[k])))
    return min(found, key=lambda item: item[0]) if found else None


def check_headers(h: NDArray, path: str | os.PathLike, numbers: NDArray | int, what: str = "image") -> None:
    """Refuse header records with a NaN, an infinity or a senseless number in a word that is reckoned with.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    path : path
        For the message.
    numbers : ndarray of int, shape (n,), or int
        1-based numbers of the records in the file, or that of the first.
    what : str
        What is counted.

    Raises
    ------
    InputError
        Names image, word and value, and how to mend it.
    """
    bad = bad_word(h)
    if bad is None:
        return
    k, name, value = bad
    number = numbers + k if isinstance(numbers, int) else int(numbers[k])
    limit = (LIMITS | OWN_LIMITS)[name]
    why = "is no number that can be used" if not np.isfinite(value) else f"must be at most {limit:.7g} in size"
    if name in _COUNTS and value < 0:
        why = "must not be below 0"
    raise InputError(
        f"{path}: {what} {number}: word {_NUMBER[name]} ({name}) is {value:.7g}, which {why}; set it "
        f"(im4d header set --loc {number}, or in the list the file came from), or leave the {what} out"
    )


def check_rows(columns: Mapping[str, tuple[NDArray, float]], path: str | os.PathLike) -> None:
    """Refuse rows of a list with a NaN, an infinity or a senseless number.

    Parameters
    ----------
    columns : mapping of str to (values, limit)
        Name as the message gives it -> values, shape (n,) or (n, k), and their largest size.
    path : path

    Raises
    ------
    InputError
        Names the first such row, counted from 1, and the column.
    """
    found: list[tuple[int, str, float]] = []
    for name, (values, limit) in columns.items():
        if not len(values):
            continue
        flat = np.asarray(values).reshape(len(values), -1)
        k = first_bad(flat.ravel(), limit)
        if k >= 0:
            found.append((k // flat.shape[1], name, float(flat.ravel()[k])))
    if found:
        row, name, value = min(found, key=lambda item: item[0])
        raise InputError(
            f"{path}: row {row + 1}: {name} is {value:.7g}, which is no number that can be used; mend the row or take it out"
        )


def check_one_pixel_size(h: NDArray, path: str | os.PathLike) -> None:
    """Refuse images of different pixel size where they are brought together.

    Parameters
    ----------
    h : ndarray, shape (n,), structured
        Header records, or their word 123 alone; those of 0 do not count.
    path : path

    Raises
    ------
    MismatchError
    """
    size = h["PIXSIZE"][h["PIXSIZE"] > 0].astype(np.float64)
    if len(size) and np.ptp(size) > 1e-3 * size.max():
        raise MismatchError(
            f"{path}: has pixel sizes from {size.min():.6g} to {size.max():.6g} A; images of one pixel size are needed: "
            "take those of one (excopy --where), or bring them to one (blow-up)"
        )
