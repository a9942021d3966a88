"""Header words to and from PLT files: IMAGIC's HEADERS PLT_OUT and WRITE."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.io import words as hw
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.plt import locations_of, read_plt, write_plt
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.files.headers import HeadersChanged, change_headers, object_numbers, split_words

_WINDOW = 8192
#: IMAGIC's PLT options -> words, in the order of the columns; None is a column of zeros.
PLT_WORDS: dict[str, tuple[str | None, ...]] = {
    "euler": ("ALPHA", "BETA", "GAMMA"),
    "shift": ("EANGLE", "EXSHIFT", "EYSHIFT"),
    "msa": ("CLASSNO", None, None),
    "threed": ("ALPHA", "BETA", "GAMMA", "REF3D"),
}


@dataclass
class PltWritten:
    """A PLT file that was written."""

    output: str
    rows: int
    columns: list[str]
    mirrored: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self).copy()

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {self.rows} lines of {', '.join(self.columns)}"]
        if self.mirrored:
            out.append(
                f"  {self.mirrored} are mirrored before these moves (word 92), which the file does not say; to keep that too: "
                "--option INDEX --word '92;116;117;118'"
            )
        return out


def _records(stack: Stack, index: NDArray[np.intp]) -> Iterable[tuple[NDArray[np.intp], NDArray]]:
    """Header records of the first section of objects, window by window."""
    for start in range(0, len(index), _WINDOW):
        part = index[start : start + _WINDOW]
        yield part, Stack(stack.reader, part * stack.sections, True).headers(checked=False)


def _plt_words(option: str, words: Sequence[str]) -> list[str | None]:
    if option == "index":
        found: list[str | None] = list(split_words(words))
        if not found:
            raise UsageError("option index needs --word: names or numbers such as 116;117;118")
        return [hw.label_of(w) for w in found if w is not None]
    if words:
        raise UsageError(f"--word belongs to option index; option {option} has its own words")
    if option not in PLT_WORDS:
        raise UsageError(f"option {option!r} is not one of {', '.join(PLT_WORDS)}, index")
    return list(PLT_WORDS[option])


def plt_out(
    src: str | os.PathLike, dst: str | os.PathLike, *, option: str = "euler", words: Sequence[str] = (),
    locations: bool | None = None, loc: Locations | None = None, what: str | None = None, overwrite: bool = False, **_: Any,
) -> PltWritten:  # fmt: skip
    """Write header words to a PLT file, one line for each image or volume.

    Parameters
    ----------
    src, dst : path
    option : {"euler", "shift", "msa", "threed", "index"}
        Words 65 to 67; 116 to 118; 108 and two zeros; 65 to 67 and 51; those of `words`.
    words : sequence of str
    locations : bool, optional
        Location numbers in the first column; default: yes, except for "msa".
    loc, what
        As `show`.
    overwrite : bool

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    names = _plt_words(option, words)
    for name in names:
        if name in ("NAME", "HISTORY", "TYPE"):
            raise UsageError(f"word {name} is a text; a PLT file holds numbers")
    with open_stack(src, what=what or "auto") as stack:
        if stack.index is not None and loc is not None:
            raise MismatchError(f"{src}: locations are given twice, in the name and by --loc; give them once")
        index, _kind = object_numbers(stack, loc)
        numbers = index if stack.index is None else stack.index[:: stack.sections] // stack.sections
        columns: list[list[NDArray]] = [[] for _ in names]
        mirrored = 0
        for part, h in _records(stack if stack.index is None else _plain(stack), numbers):
            for column, name in zip(columns, names, strict=True):
                column.append(np.zeros(len(part), np.int32) if name is None else hw.word_values(h, name))
            if option == "shift":
                mirrored += int(np.count_nonzero(hw.word_values(h, "MIRRORED")))
        with_numbers = option != "msa" if locations is None else locations
        write_plt(dst, [np.concatenate(c) for c in columns], numbers + 1 if with_numbers else None, overwrite=overwrite)
        titles = [*(["location"] if with_numbers else []), *(n or "0" for n in names)]
        return PltWritten(os.fspath(dst), len(numbers), titles, mirrored)


def _plain(stack: Stack) -> Stack:
    return Stack(stack.reader, None, not stack.is_volumes)


def plt_in(
    src: str | os.PathLike, plt: str | os.PathLike, dst: str | os.PathLike | None = None, *, option: str = "euler",
    words: Sequence[str] = (), locations: bool | None = None, loc: Locations | None = None, what: str | None = None,
    overwrite: bool = False, **_: Any,
) -> HeadersChanged:  # fmt: skip
    """Set header words from the columns of a PLT file.

    Parameters
    ----------
    src : path
    plt : path
        A line for each image (of `loc`); or, with location numbers in the first column, for any of them.
    dst : path or None
    option, words
        As `plt_out`.
    locations : bool, optional
        Whether the first column holds locations; default: when there is one column more than words.
    loc, what, overwrite
        As `change_headers`.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    names = _plt_words(option, words)
    for name in names:
        if name is not None:
            hw.check_settable(name)
    table = read_plt(plt)
    numbered = table.shape[1] == len(names) + 1 if locations is None else locations
    if option == "msa" and locations is None and table.shape[1] == 2:  # location and class
        names, numbered = names[:1], True
    elif option == "msa" and table.shape[1] == 1:
        names, numbered = names[:1], False
    if table.shape[1] != len(names) + numbered:
        raise InputError(
            f"{plt}: has {table.shape[1]} columns; {len(names)} words{' and locations' if numbered else ''} need "
            f"{len(names) + numbered}"
        )
    with open_stack(src, what=what or "auto") as stack:
        index, kind = object_numbers(stack, loc)
        count = stack.objects
    if numbered:
        rows = locations_of(plt, table[:, 0], count, kind)
        if loc is not None and not np.isin(rows, index).all():
            raise MismatchError(f"{plt}: holds locations that --loc leaves out")
        if len(np.unique(rows)) != len(rows):
            raise InputError(f"{plt}: holds a location twice")
        table = table[:, 1:]
    else:
        rows = index
        if len(table) != len(rows):
            raise MismatchError(f"{plt}: has {len(table)} lines, {len(rows)} {kind} are to be set; give one line for each")
    row_of = np.full(count, -1, np.intp)
    row_of[rows] = np.arange(len(rows))

    def change(h: NDArray, objects: NDArray[np.intp]) -> None:
        row = row_of[objects]
        known = row >= 0
        part = h[known]
        for column, name in enumerate(names):
            if name is not None:
                hw.set_word(part, name, table[row[known], column])
        h[known] = part

    fields = [hw.word_of(n)[0] for n in names if n is not None]
    done = change_headers(src, dst, change, fields, loc=loc, what=what, overwrite=overwrite)
    done.changed = len(rows)
    return done
