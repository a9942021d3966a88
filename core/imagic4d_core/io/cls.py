"""CLS and LIS files of classification (imagic-format sheet, section 10): plain text.

A CLS file holds, class by class, the class number, the number of members, a quality, and then the locations of the members, best
first, over as many lines as needed. It is read as a stream of words, so that line breaks do not matter.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.atomic import atomic_write

#: Members in a line.
IN_LINE = 10


@dataclass
class ClassFile:
    """What a CLS file says.

    Attributes
    ----------
    numbers : ndarray, shape (classes,), int64
        Class numbers.
    quality : ndarray, shape (classes,), float64
        The third word of each class; in files of `im4d` its overall quality.
    members : list of ndarray of int64
        0-based locations, best first.
    """

    numbers: NDArray[np.int64]
    quality: NDArray[np.float64]
    members: list[NDArray[np.int64]]

    def check(self, path: str | os.PathLike, count: int, what: str = "images", stack: str | os.PathLike = "the stack") -> None:
        """Raise `MismatchError` where a location lies beyond the `count` of the stack."""
        largest = max((int(m.max()) for m in self.members if len(m)), default=-1)
        if largest >= count:
            raise MismatchError(f"{path}: has member {largest + 1}, but {stack} holds {count} {what}: it belongs to another file")


def cls_path(root: str | os.PathLike) -> str:
    """``NAME`` or ``NAME.cls`` -> ``NAME.cls``."""
    text = os.fspath(root)
    return text if text.lower().endswith(".cls") else text + ".cls"


def read_cls(path: str | os.PathLike) -> ClassFile:
    """Read a CLS file.

    Raises
    ------
    InputError
        Missing, not of this form, an image in two classes, or a class number given twice.
    """
    try:
        with open(path, encoding="latin-1") as handle:
            words = handle.read().split()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    numbers: list[int] = []
    quality: list[float] = []
    members: list[NDArray[np.int64]] = []
    at = 0
    try:
        while at < len(words):
            number, count = int(words[at]), int(words[at + 1])
            value = float(words[at + 2].upper().replace("D", "E"))
            mine = np.array(words[at + 3 : at + 3 + count], dtype=np.int64)
            if count < 0 or len(mine) != count:
                raise InputError(f"{path}: is cut short: class {number} should have {count} members, {len(mine)} are there")
            if number < 1 or (mine < 1).any():
                raise InputError(f"{path}: is no CLS file: class {number} has a number or a member below 1")
            numbers.append(number)
            quality.append(value)
            members.append(mine - 1)
            at += 3 + count
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: is no CLS file, or cut short: class {len(numbers) + 1} needs number, size, quality, members from 1"
        ) from error
    if not numbers:
        raise InputError(f"{path}: holds no class")
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{path}: holds a class number twice")
    every = np.sort(np.concatenate(members))
    twice = every[1:][np.diff(every) == 0]
    if len(twice):
        raise InputError(f"{path}: location {int(twice[0]) + 1} is in two classes")
    return ClassFile(np.array(numbers), np.array(quality), members)


def read_classes(path: str | os.PathLike, count: int) -> NDArray[np.int32]:
    """Class number of each of `count` images, shape (count,), 0 for those in no class; errors as `read_cls` and `check`."""
    found = read_cls(path)
    found.check(path, count)
    out = np.zeros(count, np.int32)
    for number, mine in zip(found.numbers.tolist(), found.members, strict=True):
        out[mine] = number
    return out


def write_cls(
    path: str | os.PathLike, numbers: Sequence[int], quality: Sequence[float], members: Sequence[NDArray], overwrite: bool = False
) -> None:
    """Write a CLS file.

    Parameters
    ----------
    path : path
    numbers : sequence of int
    quality : sequence of float
    members : sequence of ndarray
        0-based locations, best first.
    overwrite : bool
    """
    with atomic_write(path, "w", overwrite, encoding="ascii") as handle:
        for number, value, mine in zip(numbers, quality, members, strict=True):
            handle.write(f"{number:10d}{len(mine):10d}{value:16.7E}\n")
            text = [f"{location + 1:10d}" for location in np.asarray(mine).tolist()]
            for k in range(0, len(text), IN_LINE):
                handle.write("".join(text[k : k + IN_LINE]) + "\n")


def write_lis(
    path: str | os.PathLike, title: Sequence[str], tables: Sequence[tuple[str, NDArray]], classes: Any, overwrite: bool = False
) -> None:
    """Write the report of a classification: a title, then three tables of classes, each sorted by one quality.

    Parameters
    ----------
    path : path
    title : sequence of str
        Lines.
    tables : sequence of (title, values)
        Values of each class; ascending order is best first where the title says variance, else descending.
    classes : object
        Has ``sizes`` and ``overall``.
    overwrite : bool
    """
    with atomic_write(path, "w", overwrite, encoding="ascii") as handle:
        handle.write("".join(f" {line}\n" for line in title))
        handle.write(f" Number of classes wanted                 : {len(classes.sizes)}\n")
        for name, values in tables:
            rising = "variance" in name.lower()
            order = np.argsort(values if rising else -values, kind="stable")
            handle.write(f"\n Classes sorted by {name}\n\n")
            handle.write(f" {'rank':>8}{name.split()[-1]:>16}{'class':>10}{'per cent':>12}{'members':>10}\n")
            share = 100 * classes.sizes / max(1, classes.sizes.sum())
            for rank, k in enumerate(order.tolist(), 1):
                handle.write(f" {rank:8d}{values[k]:16.7E}{k + 1:10d}{share[k]:12.4f}{classes.sizes[k]:10d}\n")
