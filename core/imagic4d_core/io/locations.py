"""The one parser of locations: ``3-5,9,20-`` and IMAGIC's ``NAME,3,5`` (1-based, both ends included)."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError

_RANGE = re.compile(r"(\d+)?\s*(-)?\s*(\d+)?")
_SPEC = re.compile(r"(?P<name>.+?),(?P<first>\d+)(?:,(?P<last>\d+))?")


@dataclass(frozen=True)
class Locations:
    """Ranges of locations, in the order given.

    Attributes
    ----------
    ranges : tuple of (first, last)
        1-based, both included; `last` is None for "to the end".
    """

    ranges: tuple[tuple[int, int | None], ...]

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{'' if last is None else last}" for first, last in self.ranges)

    def resolve(self, count: int, path: str | os.PathLike = "input", what: str = "images") -> NDArray[np.intp]:
        """0-based indices, in the order given, repeats kept.

        Parameters
        ----------
        count : int
            Number of objects there are.
        path, what
            For the message.

        Raises
        ------
        InputError
            A location beyond `count`.
        """
        parts = []
        for first, last in self.ranges:
            end = count if last is None else last
            if first > count or end > count:
                bad = first if first > count else end
                raise InputError(f"{path}: location {bad} is out of range; the file holds {count} {what}, locations 1 to {count}")
            parts.append(np.arange(first - 1, end))
        return np.concatenate(parts) if parts else np.empty(0, np.intp)


def parse_locations(text: str) -> Locations:
    """Locations of a text like ``3-5,9,20-`` or ``-4;7``.

    Parameters
    ----------
    text : str
        Numbers and ranges, separated by commas or semicolons; ``20-`` runs to the end, ``-4`` starts at 1.

    Raises
    ------
    UsageError
        Not of this form, a location below 1, or a range that runs backwards.
    """
    ranges: list[tuple[int, int | None]] = []
    for part in re.split(r"[,;]", text):
        match = _RANGE.fullmatch(part.strip())
        if not match or not part.strip() or part.strip() == "-":
            raise UsageError(f"locations {text!r}: {part.strip()!r} is not a location; write for example 3-5,9,20-")
        first = int(match[1]) if match[1] else 1
        last = first if not match[2] else (int(match[3]) if match[3] else None)
        if first < 1 or (last is not None and last < 1):
            raise UsageError(f"locations {text!r}: locations start at 1")
        if last is not None and last < first:
            raise UsageError(f"locations {text!r}: the range {part.strip()} runs backwards; write {last}-{first}")
        ranges.append((first, last))
    return Locations(tuple(ranges))


def format_locations(locations: Iterable[int]) -> str:
    """Shortest text of 1-based locations, e.g. ``3-5,9``; the order is kept."""
    ranges: list[list[int]] = []
    for number in locations:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = int(number)
        else:
            ranges.append([int(number), int(number)])
    return str(Locations(tuple((a, b) for a, b in ranges)))


def split_spec(spec: str | os.PathLike) -> tuple[str, Locations | None]:
    """Name and locations of ``NAME``, ``NAME,3`` or ``NAME,3,5`` (IMAGIC: first, last).

    A file whose own name looks like that wins.

    Raises
    ------
    UsageError
        Location 0, or a last location before the first.
    """
    text = os.fspath(spec)
    match = _SPEC.fullmatch(text)
    if not match or any(os.path.exists(text + end) for end in ("", ".hed", ".img")):
        return text, None
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else first
    return match["name"], parse_locations(f"{first}-{last}")
