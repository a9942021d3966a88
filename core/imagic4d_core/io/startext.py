"""The text of STAR files as programs write it, brought into the form that gemmi's grammar takes.

Names beyond ASCII and names with blanks need quotes there, and names of any bytes need characters; many programs write all of
them as they are.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Bytes of names that are no UTF-8 are surrogates in Python, which gemmi does not take; it gets these private characters instead.
_PRIVATE = {0xDC00 + k: 0xF700 + k for k in range(0x80, 0x100)}
_BYTES = {private: byte for byte, private in _PRIVATE.items()}
_KEYWORD = re.compile(r"[ \t]*(loop_|data_|_)")
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"


def for_gemmi(text: str) -> str:
    """Text as gemmi takes it, whatever bytes the names of files in it are."""
    return text if text.isascii() else text.translate(_PRIVATE)


def from_gemmi(text: str) -> str:
    """Inverse of `for_gemmi`; written with ``errors="surrogateescape"`` the bytes are those of the names."""
    return text if text.isascii() else text.translate(_BYTES)


def _quote(word: str) -> str:
    return f"'{word}'" if "'" not in word else f'"{word}"'


def quoted(text: str) -> str:
    """Text with words beyond ASCII in quotes."""

    def quote(found: re.Match[str]) -> str:
        word = found.group()
        return word if word.isascii() or word[0] in "'\"#;" else _quote(word)

    lines = []
    for line in text.split("\n"):
        plain = line.isascii() or line.lstrip().startswith("#") or "'" in line or '"' in line
        lines.append(line if plain else re.sub(r"[^ \t\r]+", quote, line))
    return "\n".join(lines)


def _word_counts(text: str) -> NDArray[np.intp]:
    """Number of words of each line."""
    raw = np.frombuffer(text.encode("utf-8", "surrogatepass") + b"\n", np.uint8)
    blank = raw <= 32
    begins = ~blank
    begins[1:] &= blank[:-1]
    ends = np.flatnonzero(raw == 10)
    return np.diff(np.cumsum(begins, dtype=np.intp)[ends], prepend=0)


def _too_many_words(text: str) -> bool:
    """Whether a table has more words than its lines times its columns: a quick look, as lists may have millions of rows."""
    begin = text.find("\nloop_")
    while begin >= 0:
        after = text.find("\nloop_", begin + 1)
        stop = min((k for k in (after, text.find("\ndata_", begin + 1)) if k >= 0), default=len(text))
        at, columns = text.find("\n", begin + 1), 0
        while at >= 0 and text.startswith("_", at + 1):
            at, columns = text.find("\n", at + 1), columns + 1
        rows = text[at:stop].strip() if at >= 0 else ""
        if columns and rows:
            blank = np.frombuffer(rows.encode("utf-8", "surrogatepass"), np.uint8) <= 32
            if np.count_nonzero(blank[1:] & ~blank[:-1]) + 1 > columns * (rows.count("\n") + 1):
                return True
        begin = after
    return False


def joined(text: str) -> str:
    """Text with names that hold blanks in quotes, where the other columns of the row leave no doubt.

    Rows that have more words than their table has columns are looked at: columns whose label ends in Name or File take what the
    others, which are numbers or single words, leave; a row that can be divided in several ways stays as it is.
    """
    if not _too_many_words(text):
        return text
    counts = _word_counts(text)
    lines: list[str] | None = None
    for begin, stop, tags in _loops(text, counts):
        for k in (begin + np.flatnonzero(counts[begin:stop] > len(tags))).tolist():
            lines = lines if lines is not None else text.split("\n")
            if "'" not in lines[k] and '"' not in lines[k] and "#" not in lines[k]:
                lines[k] = _divided(lines[k], tags)
    return text if lines is None else "\n".join(lines)


def _loops(text: str, counts: NDArray[np.intp]) -> list[tuple[int, int, list[str]]]:
    """Each table: first line of its rows, the line behind the last, labels."""
    found: list[tuple[int, int, list[str]]] = []
    tags: list[str] = []
    begin = -1
    number = at = 0
    for match in re.finditer(r"^[ \t]*(loop_|data_|_)[^\n]*", text, re.MULTILINE):
        number += text.count("\n", at, match.start())
        at = match.start()
        word = match.group().split()[0]
        if word.startswith("_") and begin >= 0 and number == begin:  # a label right behind the one before
            tags.append(word)
            begin = number + 1
            continue
        if tags:
            found.append((begin, number, tags))
        tags, begin = [], number + 1 if word == "loop_" else -1
    if tags:
        found.append((begin, len(counts), tags))
    return found


def _divided(line: str, tags: Sequence[str]) -> str:
    names = [tag.endswith(("Name", "File", "Filename")) for tag in tags]
    ways = []
    # as little and as much as can be; what holds blanks ends as file names do, so that a number too many is not taken for a part
    for some in (r"(\S+?|\S[^\n]*?\.[A-Za-z]\w*)", r"(\S[^\n]*\.[A-Za-z]\w*|\S+)"):
        parts = [some if name else rf"({_NUMBER})" for name in names]
        ways.append(re.fullmatch(r"\s*" + r"\s+".join(parts) + r"\s*", line))
    if ways[0] is None or ways[1] is None or ways[0].groups() != ways[1].groups():
        return line
    values = ways[0].groups()
    return " ".join(_quote(v) if re.search(r"\s", v) else v for v in values)


def bad_row(text: str) -> str:
    """Which row of a table has too many or too few values, if that is what is wrong."""
    counts = _word_counts(text)
    lines = text.split("\n")
    for begin, stop, tags in _loops(text, counts):
        row = 0
        for k in range(begin, stop):
            if not counts[k] or lines[k].lstrip().startswith("#") or "'" in lines[k] or '"' in lines[k]:
                continue
            row += 1
            if counts[k] != len(tags):
                return f"row {row} (line {k + 1}) has {counts[k]} values; the table has {len(tags)} columns"
    return ""
