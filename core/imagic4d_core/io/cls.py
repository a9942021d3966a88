"""CLS files of MSA-CLASSIFY: for each class its number, its size, its quality, then its members, best first.

Numbers stand in a row, over as many lines as needed (imagic-format sheet, section 10).
"""

import os

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError


def read_cls(path: str | os.PathLike) -> list[tuple[int, float, NDArray[np.intp]]]:
    """Classes of a CLS file: number, quality, 0-based members in the order of the file.

    Raises
    ------
    InputError
        Missing, not of this form, or cut short.
    """
    try:
        with open(path, encoding="latin-1") as handle:
            values = np.array([float(w.replace("D", "E").replace("d", "e")) for w in handle.read().split()])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: is no CLS file: {error}") from error
    out, at = [], 0
    while at < len(values):
        head = values[at : at + 3]
        size = int(head[1]) if len(head) == 3 and np.isfinite(head).all() and head[1] == int(head[1]) else -1
        members = values[at + 3 : at + 3 + size]
        if size < 0 or len(members) != size or (members < 1).any() or (np.rint(members) != members).any():
            raise InputError(
                f"{path}: is no CLS file, or cut short: class {len(out) + 1} needs number, size, quality, members from 1"
            )
        out.append((int(head[0]), float(head[2]), members.astype(np.intp) - 1))
        at += 3 + size
    if not out:
        raise InputError(f"{path}: holds no class")
    return out


def read_classes(path: str | os.PathLike, count: int) -> NDArray[np.int32]:
    """Class number of each of `count` images, shape (count,), 0 for those in no class.

    Raises
    ------
    InputError
        Also: an image in two classes.
    MismatchError
        A member beyond `count`.
    """
    out = np.zeros(count, np.int32)
    for number, _quality, members in read_cls(path):
        if len(members) and members.max() >= count:
            raise MismatchError(
                f"{path}: has member {members.max() + 1}, but there are {count} images; it belongs to another file"
            )
        if (out[members] != 0).any() or len(np.unique(members)) != len(members):
            raise InputError(f"{path}: image {members[out[members] != 0].min(initial=members.max()) + 1} is in two classes")
        out[members] = number
    return out
