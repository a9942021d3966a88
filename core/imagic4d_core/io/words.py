"""Header words by name or number: their values over many records, setting and wiping them, and IMAGIC's groups of words."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.header import TAG, WORDS, find_word
from imagic4d_core.io.outside import LIMITS, OWN_LIMITS

#: Words that follow from the file itself; they are set by whatever writes it, and by nobody else.
GEOMETRY = (
    "IMN", "IFOL", "IERROR", "NBLOCKS", "RSIZE", "IXLP", "IYLP", "TYPE", "COMPLEX", "IZLP", "I4LP", "IMAVERS", "REALTYPE",
    "IM4DTAG", "READIM", "WRITIM", "NUM", "NUMHEAD", "LBUF", "READONLY",
)  # fmt: skip
_DATE = ("NMONTH", "NDAY", "NYEAR", "NHOUR", "NMINUT", "NSEC")
_KEPT = (*GEOMETRY, *_DATE, "AVDENS", "SIGMA", "DENSMAX", "DENSMIN", "NAME", "PIXSIZE")
_NUMBER = {w.name: w.number for w in WORDS}
#: Words of our own; they count only where word 79 is tagged.
OWN = tuple(w.name for w in WORDS if 80 <= w.number <= 93)
_TEXT = {w.name for w in WORDS if w.type[0] == "C"}

#: Groups of words that ``header wipe`` knows.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(w.name for w in WORDS if w.name not in _KEPT),
    "shift": ("ANGLE", "XSHIFT", "YSHIFT", "ZSHIFT", "EANGLE", "EXSHIFT", "EYSHIFT", "EZSHIFT", "RXSHIFT", "RYSHIFT", "MIRRORED"),
    "euler": ("ALPHA", "BETA", "GAMMA", "EALPHA", "EBETA", "EGAMMA", "ALPHA2", "BETA2", "GAMMA2", "ERRAR", "EULERERR"),
    "msa": (
        "CLASSNO", "REPQUAL", "NUMCLS", "OVQUAL", "CMTOTVAR", "INFORMAT", "NUMEIGEN", "NIACTIVE", "NMETRIC", "ACTMSA", "COOSMSA",
    ),
    "threed": (
        "REF3D", "REF3DOLD", "CCC3D", "ERR3D", "CONFID3D", "MARGIN3D", "REF3D2", "ZSCORE3D", "FOLD", "HALFSET", "FOLDSEED",
        "FOLDS", "NIMG3D",
    ),
    "mra": ("CCC", "REF"),
    "history": ("HISTORY",),
}  # fmt: skip


def word_of(key: str | int) -> tuple[str, int | None]:
    """As `header.find_word`; a word that does not exist is a UsageError that says what would be right."""
    try:
        return find_word(key)
    except KeyError as error:
        import difflib

        near = difflib.get_close_matches(str(key).upper(), [w.name for w in WORDS], n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else "; give a name such as REF3D or a number from 1 to 256"
        raise UsageError(f"{key!r} is not a header word{hint}") from error


def label_of(key: str | int) -> str:
    """The name of a word as it is printed, e.g. ``REF3D``, ``COOSMSA(3)``."""
    name, index = word_of(key)
    return name if index is None else f"{name}({index + 1})"


def word_values(headers: NDArray, key: str | int) -> NDArray:
    """Values of a word over records.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    key : str or int

    Returns
    -------
    ndarray, shape (n,), int32, float32 or str
        Words 80 to 93 of records that are not ours are 0. A word of several values, named without a number, gives its first.
    """
    name, index = word_of(key)
    values = headers[name]
    if name in _TEXT:
        return np.char.strip(np.char.decode(values, "latin-1"), " \0")
    if values.ndim > 1:
        values = values[:, index or 0]
    if name in OWN:
        values = np.where(headers["IM4DTAG"] == TAG, values, 0).astype(values.dtype)
    return values


def expression_names() -> tuple[str, ...]:
    """Names that a condition may use: words by name, ``COOSMSA1`` to ``COOSMSA69``, ``W1`` to ``W256``, and ``LOC``."""
    coordinates = [f"COOSMSA{k}" for k in range(1, 70)]
    return (*(w.name for w in WORDS), "EIGVAL", *coordinates, *(f"W{k}" for k in range(1, 257)), "LOC")


def values_of(headers: NDArray, names: Iterable[str], locations: ArrayLike) -> dict[str, NDArray]:
    """Values for an expression.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    names : iterable of str
        Of `expression_names`.
    locations : array_like, shape (n,)
        Value of ``LOC``, 1-based.
    """
    out = {}
    for name in names:
        if name == "LOC":
            out[name] = np.asarray(locations)
        elif name.startswith("COOSMSA"):
            out[name] = word_values(headers, f"COOSMSA({name[7:] or 1})")
        else:
            out[name] = word_values(headers, name[1:] if name[0] == "W" and name[1:].isdigit() else name)
    return out


def check_settable(key: str | int) -> None:
    """Refuse words that say what the file is (UsageError)."""
    name, _ = word_of(key)
    if name in GEOMETRY:
        raise UsageError(f"word {_NUMBER[name]} ({name}) follows from the file itself and cannot be set")


def own_words(headers: NDArray) -> None:
    """Make words 80 to 93 ours, in place: cleared where word 79 does not say so already."""
    fresh = headers["IM4DTAG"] != TAG
    for name in OWN:
        headers[name] = np.where(fresh, 0, headers[name])
    headers["IM4DTAG"] = TAG


def set_word(headers: NDArray, key: str | int, value: ArrayLike) -> None:
    """Set a word, in place.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    key : str or int
    value : str, or array_like of numbers, shape () or (n,)
        Numbers for integer words must be whole.

    Raises
    ------
    UsageError
        The word is not to be set.
    InputError
        A value does not fit the word.
    """
    check_settable(key)
    name, index = word_of(key)
    if name in _TEXT:
        text = str(value)
        room = headers.dtype[name].itemsize
        raw = text.encode("latin-1", "replace")
        if len(raw) > room:
            raise InputError(f"word {label_of(key)}: {len(raw)} characters do not fit, {room} do")
        headers[name] = raw
        return
    numbers = np.broadcast_to(np.asarray(value, dtype=np.float64), (len(headers),))
    kind = headers.dtype[name].base
    if kind.kind == "i":
        bad = ~np.isfinite(numbers) | (np.rint(numbers) != numbers) | (np.abs(numbers) >= 2**31)
        if bad.any():
            raise InputError(f"word {label_of(key)} holds whole numbers, not {numbers[bad][0]:g}")
    elif not np.isfinite(numbers).all():
        raise InputError(f"word {label_of(key)}: {numbers[~np.isfinite(numbers)][0]:g} is not a finite number")
    elif (np.abs(numbers) > np.finfo(np.float32).max).any():
        raise InputError(f"word {label_of(key)}: {np.abs(numbers).max():g} is too large for a header word")
    limit = (LIMITS | OWN_LIMITS).get(name, np.inf)
    if (np.abs(numbers) > limit).any():
        raise InputError(f"word {label_of(key)}: {np.abs(numbers).max():.7g} is too large; {limit:.7g} at most makes sense")
    if name in OWN:
        own_words(headers)
    if index is None and headers[name].ndim == 1:
        headers[name] = numbers
    else:
        headers[name][:, index or 0] = numbers


def words_to_wipe(items: Iterable[str]) -> list[str]:
    """Fields of groups (`GROUPS`, shortened as long as it is clear) and of single words, in header order.

    Raises
    ------
    UsageError
        Neither a group nor a word, or a word that cannot be set.
    """
    found: set[str] = set()
    for item in items:
        low = item.strip().lower()
        near = [g for g in GROUPS if low and (g == low or (len(low) >= 3 and g.startswith(low)))]
        if near:
            found.update(GROUPS[near[0]])
            continue
        try:
            check_settable(item)
        except UsageError as error:
            if "cannot be set" in str(error):
                raise
            raise UsageError(f"{item!r} is neither a group ({', '.join(GROUPS)}) nor a header word") from error
        found.add(word_of(item)[0])
    return [w.name for w in WORDS if w.name in found]


def wipe(headers: NDArray, names: Iterable[str]) -> None:
    """Clear words, in place; the mark of words 80 to 93 goes when all of them do."""
    names = list(names)
    if set(OWN) <= set(names):
        headers["IM4DTAG"] = 0
    elif set(OWN) & set(names):
        fresh = headers["IM4DTAG"] != TAG
        for name in OWN:
            headers[name] = np.where(fresh, 0, headers[name])
    for name in names:
        headers[name] = b"" if name in _TEXT else 0
