"""Class averages, variance images and half-class averages from sums that do not depend on the order of the members."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.parallel import Comm

#: Quanta (in bits) of the typical density; 2**52 quanta is the most that a sum holds exactly.
BITS = 26
#: Densities from which on compiled sums pay: loading them takes as long as numpy needs for so many.
MANY = 1 << 28


@dataclass
class Means:
    """What was averaged.

    Attributes
    ----------
    average : ndarray, shape (classes, pixels), float64
    variance : ndarray or None
        Variance of each pixel over the members (divided by n - 1; 0 for single members).
    halves : list of two ndarray, or None
        Averages of every other member.
    """

    average: NDArray[np.float64]
    variance: NDArray[np.float64] | None
    halves: list[NDArray[np.float64]] | None


class ClassSums:
    """Sums for a range of classes.

    Parameters
    ----------
    classes, pixels : int
    typical : ndarray, shape (classes,), float64
        Root mean square of typical densities; sums are exact up to 2**26 times it. The same on every rank.
    halves : bool
        Keep two half sets of members apart.
    squares : bool
        Sums of squares too, for the variance.
    compiled : bool
        Add by compiled loops, for `MANY` densities and more, or by numpy; the sums are exact, so their bits are the same.
    """

    def __init__(
        self, classes: int, pixels: int, typical: NDArray[np.float64], *, halves: bool, squares: bool, compiled: bool = True
    ) -> None:
        self.parts = 2 if halves else 1
        self.compiled = compiled
        self.sums = np.zeros((self.parts * classes, pixels))
        self.squares = np.zeros((classes, pixels) if squares else (0, 0))
        typical = np.asarray(typical, dtype=np.float64)
        size = np.ceil(np.log2(np.where(typical > 0, typical, 1.0)))
        self.quantum = np.repeat(2.0 ** (size - BITS), self.parts)
        self.quantum_square = 2.0 ** (2 * size - BITS)

    @staticmethod
    def bytes_for(pixels: int, *, halves: bool, squares: bool) -> int:
        """Bytes for each class."""
        return 8 * pixels * (1 + halves + squares)

    def add(self, images: NDArray[np.float32], row: NDArray[np.int64], half: NDArray[np.int64]) -> None:
        """Add images to the sums of class `row` (below 0: none), half set `half` (0 or 1)."""
        flat = images.reshape(len(images), -1)
        place = row * 2 + half if self.parts == 2 else row
        members, squares = _kernels() if self.compiled else (add_plain, _squares_plain)
        members(flat, np.where(row >= 0, place, -1), 1.5 * 2.0**52 * self.quantum, self.sums)
        if len(self.squares):
            squares(flat, row, 1.5 * 2.0**52 * self.quantum_square, self.squares)

    def over(self, comm: Comm) -> None:
        """Add the sums of all ranks; they are then on rank 0, and nothing on the others."""
        if comm.size > 1:
            empty = np.zeros((0, 0))
            for name in ("sums", "squares"):
                total = comm.reduce(getattr(self, name))
                setattr(self, name, empty if total is None else total)

    def overflown(self) -> NDArray[np.bool_]:
        """Classes whose sums left the range in which they are exact."""
        most = np.maximum(self.sums.max(axis=1), -self.sums.min(axis=1)) >= 2.0**52 * self.quantum
        out: NDArray[np.bool_] = most.reshape(-1, self.parts).any(axis=1)
        if len(self.squares):
            out |= self.squares.max(axis=1) >= 2.0**52 * self.quantum_square
        return out

    def means(self, start: int, counts: NDArray[np.int64]) -> Means:
        """Averages of some classes.

        Parameters
        ----------
        start : int
            First class.
        counts : ndarray, shape (n, 2), int64
            Members in each half, of classes `start` to ``start + n``.
        """
        n = counts.sum(axis=1)
        stop = start + len(n)
        by_half = self.sums[start * self.parts : stop * self.parts].reshape(len(n), self.parts, -1)
        average = by_half.sum(axis=1) / np.maximum(n, 1)[:, None]
        variance = None
        if len(self.squares):
            variance = self.squares[start:stop] - n[:, None] * np.square(average)
            variance = np.maximum(variance, 0) / np.maximum(n - 1, 1)[:, None]
            variance[n < 2] = 0
        halves = None
        if self.parts == 2:
            halves = [by_half[:, h] / np.maximum(counts[:, h], 1)[:, None] for h in (0, 1)]
        return Means(average, variance, halves)


def _kernels() -> tuple[Any, Any]:
    from imagic4d_core.kernels.ward_sums import add_members, add_squares

    return add_members, add_squares


def add_plain(
    images: NDArray[np.float32], place: NDArray[np.int64], magic: NDArray[np.float64], sums: NDArray[np.float64], power: int = 1
) -> None:
    """As `kernels.ward_sums.add_members` (`power` 1) and `add_squares` (2), without the compiler."""
    one = np.empty(images.shape[1])
    for image, r in zip(images, place.tolist(), strict=True):
        if r >= 0:
            one[:] = image
            if power == 2:
                one *= one
            one += magic[r]
            one -= magic[r]
            sums[r] += one


def _squares_plain(images: NDArray[np.float32], place: NDArray[np.int64], magic: NDArray[np.float64], sums: NDArray) -> None:
    add_plain(images, place, magic, sums, 2)


def kept_members(members: list[NDArray[np.int64]], ignore_worst: float) -> list[NDArray[np.int64]]:
    """Members of each class without its worst, the last of the list; one stays at least.

    Parameters
    ----------
    members : list of ndarray
        Best first.
    ignore_worst : float
        Per cent; rounded down to whole members.
    """
    return [m[: max(min(len(m), 1), len(m) - int(ignore_worst / 100 * len(m) + 1e-9))] for m in members]


def warmup() -> None:
    """Compile the kernels of class sums."""
    sums = ClassSums(1, 4, np.ones(1), halves=True, squares=True)
    sums.add(np.ones((2, 2, 2), np.float32), np.zeros(2, np.int64), np.arange(2))
