"""Coordinates along the eigenimages in the headers: where they stand, and how they are read and written.

Up to `FIRST` coordinates stand in words 131 to 199 of an object's record (COOSMSA). Where there are more, the first `FIRST` stand
there as well, and all of them, in order, in the further records of the image (NBLOCKS, word 4, above 1; 256 to a record), as
IMAGIC does (imagic-format sheet, word 131). Word 121 (NUMEIGEN) says how many there are. In a stack of volumes every
section carries those of its volume.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError

#: Coordinates that fit the first header record.
FIRST = 69
#: Coordinates in one further record.
FURTHER = 256
#: Word 129 (NMETRIC) by name. IMAGIC's own numbers are not known.
METRIC_NUMBERS = {"euclidean": 1, "chi-square": 2, "modulation": 3, "projection": 4}


def records_for(factors: int) -> int:
    """Header records per image (NBLOCKS) that hold so many coordinates."""
    return 1 if factors <= FIRST else 1 + -(-factors // FURTHER)


def factor_count(stack: Any) -> int:
    """Number of coordinates that every object of an open stack carries.

    Raises
    ------
    InputError
        None: the file has not been through MSA, or is not IMAGIC.
    """
    if stack.format != "IMAGIC":
        raise InputError(
            f"{stack.path}: {stack.format} headers hold no MSA coordinates; run `im4d msa run` with an output (NAME.hed) first"
        )
    count = int(stack.headers(0, 1)["NUMEIGEN"][0])
    if not 1 <= count <= 63 * FURTHER:
        raise InputError(f"{stack.path}: holds no MSA coordinates (word 121 is {count}); run `im4d msa run` first")
    return min(count, FIRST) if records_for(count) > stack.nblocks else count


def read_coordinates(stack: Any, start: int, stop: int, factors: int | None = None) -> NDArray[np.float32]:
    """Coordinates of objects along the first factors.

    Parameters
    ----------
    stack : Stack
        An IMAGIC file that went through ``msa run``.
    start, stop : int
        Objects, 0-based, `stop` excluded.
    factors : int, optional
        How many; default all.

    Returns
    -------
    ndarray, shape (stop - start, factors), float32
        In the metric of the run (units of its eigenimages: the mean square along a factor is its eigenvalue).

    Raises
    ------
    InputError
        No coordinates, fewer than asked for, or some that are not finite.
    """
    known = factor_count(stack)
    wanted = known if factors is None else factors
    if not 1 <= wanted <= known:
        raise InputError(f"{stack.path}: holds coordinates along {known} factors; {wanted} cannot be used")
    step = stack.sections
    if known <= FIRST:
        out = stack.headers(start * step, stop * step)["COOSMSA"][::step, :wanted].astype(np.float32)
    else:
        out = stack.extra_headers(start * step, stop * step)[::step, :wanted].astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(bad):
        raise InputError(
            f"{stack.path}: coordinates of object {start + int(bad[0]) + 1} are not finite; run `im4d msa run` again"
        )
    return out


def active(headers: NDArray) -> NDArray[np.bool_]:
    """Which objects take part in MSA: word 58 (ACTIVE) is not below 0.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`

    Returns
    -------
    ndarray, shape (n,), bool
    """
    return headers["ACTIVE"] >= 0


def write_coordinates(records: NDArray, extra: NDArray | None, coordinates: NDArray) -> NDArray | None:
    """Put coordinates into header records, in place.

    Parameters
    ----------
    records : ndarray, shape (n * sections,), `HEADER_DTYPE`
        Words 121 and 131 to 199 are set.
    extra : ndarray or None, shape (n * sections, (NBLOCKS - 1) * 256), float32
        Further records as they were; kept where `coordinates` fit the first record.
    coordinates : ndarray, shape (n, factors)

    Returns
    -------
    ndarray or None
        The further records, for NBLOCKS = ``max(old, records_for(factors))``.
    """
    n, factors = coordinates.shape
    repeat = len(records) // n if n else 1
    values = np.repeat(np.asarray(coordinates, np.float32), repeat, axis=0)
    here = min(factors, FIRST)
    records["COOSMSA"][:, :here] = values[:, :here]
    records["COOSMSA"][:, here:] = 0.0
    records["NUMEIGEN"] = factors
    if factors <= FIRST:
        return extra
    width = max((records_for(factors) - 1) * FURTHER, 0 if extra is None else extra.shape[1])
    further = np.zeros((len(records), width), np.float32)
    further[:, :factors] = values
    return further
