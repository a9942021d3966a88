"""Headers looked at, set and wiped: IMAGIC's HEADERS."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, OutputError, UsageError
from imagic4d_core.expression import Expression
from imagic4d_core.geometry.poses import OWN_WORDS, STANDARD_WORDS
from imagic4d_core.io import words as hw
from imagic4d_core.io.header import WORDS
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.replacing import stream_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.writer import output_format, output_paths

_WINDOW = 8192
#: Words that an MRC file can keep, in the STAR file beside it.
_IN_STAR = {*STANDARD_WORDS.values(), *OWN_WORDS.values(), "RXSHIFT", "RYSHIFT"}


@dataclass
class HeaderTable:
    """Header values of some objects.

    Attributes
    ----------
    file, what : str
        ``what`` is counted: images, sections or volumes.
    locations : list of int
        1-based.
    words : list of str
    values : list of list
        One list for each location, in the order of `words`.
    bare : bool
        Print values only.
    upright : bool
        Print one word a line, with its number and meaning.
    """

    file: str
    what: str
    locations: list[int]
    words: list[str]
    values: list[list[Any]]
    bare: bool = False
    upright: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        rows = [
            {"location": k, "words": dict(zip(self.words, row, strict=True))}
            for k, row in zip(self.locations, self.values, strict=True)
        ]
        return {"file": self.file, "what": self.what, "headers": rows}

    def lines(self) -> list[str]:
        """For people."""
        if self.bare:
            return [" ".join(word_text(v) for v in row) for row in self.values]
        if self.upright:
            return self._upright()
        rows = [["location", *self.words]]
        rows += [[str(k), *(word_text(v) for v in row)] for k, row in zip(self.locations, self.values, strict=True)]
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(text.rjust(w) for text, w in zip(row, width, strict=True)) for row in rows]

    def _upright(self) -> list[str]:
        meaning = {w.name: (w.number, w.meaning) for w in WORDS}
        out = []
        for k, row in zip(self.locations, self.values, strict=True):
            out.append(f"{self.file}, {self.what.removesuffix('s')} {k}")
            for name, value in zip(self.words, row, strict=True):
                if value in (0, "", None) or (isinstance(value, list) and not any(value)):
                    continue
                text = " ".join(word_text(v) for v in value) if isinstance(value, list) else word_text(value)
                number, what = meaning[name]
                out.append(f"{number:>5}  {name:<9} {text:>14}  {what}")
        return out


def word_text(value: Any) -> str:
    """A header value as people read it."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


@dataclass
class HeadersChanged:
    """What was changed, and where."""

    output: str
    what: str
    objects: int
    changed: int
    words: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return vars(self).copy()

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.output}: {', '.join(self.words)} of {self.changed} of {self.objects} {self.what}"]


def split_words(texts: Iterable[str]) -> list[str]:
    """Single words of lists like ``116;117;118`` or ``ref3d,ccc``."""
    return [part for text in texts for part in re.split(r"[;,\s]+", text.strip()) if part]


def object_numbers(stack: Stack, loc: Locations | None) -> tuple[NDArray[np.intp], str]:
    """0-based numbers of the objects that `loc` names, and what they are: images, sections or volumes."""
    kind = "volumes" if stack.is_volumes else ("sections" if stack.layout.is_volumes else "images")
    index = np.arange(stack.objects) if loc is None else loc.resolve(stack.objects, stack.path, kind)
    return index, kind


def show(
    src: str | os.PathLike,
    *,
    words: Sequence[str] = (),
    loc: Locations | None = None,
    what: str | None = None,
    bare: bool = False,
) -> HeaderTable:
    """Header values: some words of a whole stack, or all words of one object.

    Parameters
    ----------
    src : path
        ``NAME,3,5`` selects.
    words : sequence of str
        By name or number, lists in one text too; none: all words, and only location 1 unless locations are given.
    loc : Locations, optional
    what : {"images", "volumes"}, optional
        What locations count; default: by file. The record of a volume is that of its first section.
    bare : bool
        Print values only.

    Raises
    ------
    InputError, MismatchError, UsageError
    """
    names = split_words(words)
    labels = [hw.label_of(w) for w in names]
    with open_stack(src, loc, what=what or "auto") as stack:
        index, kind = object_numbers(stack, None)
        if stack.index is not None:  # numbers in the file
            places = stack.index[:: stack.sections] // stack.sections
        else:
            places = index
            index = index[:1] if not names else index
        values: list[list[Any]] = []
        for start in range(0, len(index), _WINDOW):
            part = index[start : start + _WINDOW]
            base = stack.index[part * stack.sections] if stack.index is not None else part * stack.sections
            h = Stack(stack.reader, base, True).file_headers()
            if names:
                values += [list(row) for row in zip(*(hw.word_values(h, w).tolist() for w in names), strict=True)]
            else:
                values += _whole(h)
        locations = (places[index] + 1).tolist()
        return HeaderTable(str(stack.path), kind, locations, labels or [w.name for w in WORDS], values, bare, not names)


def _whole(h: NDArray) -> list[list[Any]]:
    columns = []
    for word in WORDS:
        if word.length > 1:
            columns.append(h[word.name].tolist())
        else:
            columns.append(hw.word_values(h, word.name).tolist())
    return [list(row) for row in zip(*columns, strict=True)]


Change = Callable[[NDArray, NDArray[np.intp]], None]
"""Edits records, shape (n,), in place; the second argument holds the 0-based numbers of their objects."""


def change_headers(
    src: str | os.PathLike, dst: str | os.PathLike | None, change: Change, names: Sequence[str], *, loc: Locations | None = None,
    what: str | None = None, overwrite: bool = False,
) -> HeadersChanged:  # fmt: skip
    """Edit the headers of some objects, all sections of volumes alike; they stream through.

    Parameters
    ----------
    src : path
    dst : path or None
        None replaces the headers of `src`.
    change : callable
    names : sequence of str
        Fields that change, for the summary, and to refuse what an MRC file cannot keep.
    loc : Locations, optional
    what : {"images", "volumes"}, optional
    overwrite : bool

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    with open_stack(src, what=what or "auto") as stack:
        if stack.index is not None:
            raise InputError(f"{src}: headers of the whole file are written; say by --loc which of them change")
        _keepable(stack, dst, names)
        index, kind = object_numbers(stack, loc)
        chosen = np.zeros(stack.objects, bool)
        chosen[index] = True

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            h = stack.headers(start, stop, checked=False)
            objects = np.arange(start, stop) // stack.sections
            mine = chosen[objects]
            if mine.any():
                part = h[mine]
                change(part, objects[mine])
                h[mine] = part
            return h, stack.extra_headers(start, stop)

        if stack.is_volumes or not stack.layout.is_volumes:
            stream_headers(stack, window, dst, overwrite, stack.nblocks)
        else:  # sections are counted, but the file stays one of volumes
            with open_stack(src) as whole:
                stream_headers(whole, window, dst, overwrite, whole.nblocks)
        out = str(stack.path if dst is None else output_paths(dst)[-1])
        return HeadersChanged(out, kind, stack.objects, int(chosen.sum()), list(names))


def _keepable(stack: Stack, dst: str | os.PathLike | None, names: Sequence[str]) -> None:
    target = output_format(dst) if dst is not None else stack.format
    lost = [n for n in names if n not in _IN_STAR]
    if target == "MRC" and lost:
        raise OutputError(
            f"{dst or stack.path}: an MRC file keeps poses and memberships only (in a STAR file beside it), not {lost[0]}; "
            "give an IMAGIC name for the output"
        )


def set_headers(
    src: str | os.PathLike, dst: str | os.PathLike | None = None, *, assignments: Sequence[str], loc: Locations | None = None,
    what: str | None = None, overwrite: bool = False, **_: Any,
) -> HeadersChanged:  # fmt: skip
    """Set header words.

    Parameters
    ----------
    src, dst : path
        As `change_headers`.
    assignments : sequence of str
        ``WORD=VALUE``: a number, a text for NAME and HISTORY, or an expression of header words as they were before.
    loc, what, overwrite
        As `change_headers`.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    if not assignments:
        raise UsageError("nothing to set; give WORD=VALUE, for example REF3D=2")
    known, texts = hw.expression_names(), {w.name for w in WORDS if w.type[0] == "C"}
    todo: list[tuple[str, str | Expression]] = []
    for item in assignments:
        word, equals, value = item.partition("=")
        if not equals or not word.strip():
            raise UsageError(f"{item!r} is no assignment; write WORD=VALUE, for example REF3D=2")
        hw.check_settable(word.strip())
        if hw.word_of(word.strip())[0] in texts:
            todo.append((word.strip(), value))
        elif not value.strip():
            raise UsageError(f"{item!r} has no value; write WORD=VALUE, or use header wipe")
        else:
            todo.append((word.strip(), Expression.parse(value, known)))

    def change(h: NDArray, objects: NDArray[np.intp]) -> None:
        made: list[tuple[str, Any]] = []
        for word, value in todo:
            if isinstance(value, Expression):
                found = value(**hw.values_of(h, value.names, objects + 1))
                if found.dtype.kind == "U":
                    raise UsageError(f"{word}={value.text}: a text is no value for a word that holds numbers")
                made.append((word, found.copy()))  # a bare word is a view of the records
            else:
                made.append((word, value))
        for word, result in made:
            hw.set_word(h, word, result)

    names = [hw.word_of(word)[0] for word, _ in todo]
    return change_headers(src, dst, change, names, loc=loc, what=what, overwrite=overwrite)


def wipe_headers(
    src: str | os.PathLike, dst: str | os.PathLike | None = None, *, words: Sequence[str], loc: Locations | None = None,
    what: str | None = None, overwrite: bool = False, **_: Any,
) -> HeadersChanged:  # fmt: skip
    """Clear header words: groups (`words.GROUPS`) or single ones.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    items = split_words(words)
    if not items:
        raise UsageError(f"nothing to wipe; name a group ({', '.join(hw.GROUPS)}) or words")
    names = hw.words_to_wipe(items)
    whole = {i.lower() for i in items} & {"all", "al"}
    with open_stack(src) as stack:
        target = output_format(dst) if dst is not None else stack.format
    listed = [n for n in names if n in _IN_STAR] if whole and target == "MRC" else names

    def change(h: NDArray, _: NDArray[np.intp]) -> None:
        hw.wipe(h, names)

    done = change_headers(src, dst, change, listed, loc=loc, what=what, overwrite=overwrite)
    done.words = [f"wiped {', '.join(items)}"]
    return done
