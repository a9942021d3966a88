"""Floating-point sums that do not depend on their order: the same bytes for any number of ranks and threads.

Every term is rounded to a multiple of a quantum, a power of two chosen from the expected size of the sum. Sums of such multiples
are exact in float64 as long as they stay below 2^53 quanta. With `HEADROOM` bits to spare the quantum is 2^-42 of the expected
sum: far below the rounding of the terms themselves.
"""

import threading
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.msa.rows import MANY, loops_for
from imagic4d_core.parallel import Comm

#: Bits by which a sum may exceed what was expected.
HEADROOM = 10
#: Pixels along the side of a tile of a covariance matrix.
TILE = 1024


def quantum_for(expected: float, more: int = 0) -> float:
    """The quantum for sums of about `expected`, with `more` bits of room beyond `HEADROOM`."""
    return float(2.0 ** (np.ceil(np.log2(max(expected, 1e-290))) + HEADROOM + more - 52))


class ExactSum:
    """Sum of arrays of one shape, added by any thread and rank in any order.

    Parameters
    ----------
    shape : (int, int)
    quantum : float
        See `quantum_for`.
    loops : module, optional
        `kernels.rows` (the default) or `msa.rows`; the bits are the same.
    """

    def __init__(self, shape: tuple[int, int], quantum: float, loops: ModuleType | None = None) -> None:
        self._loops = loops or loops_for(MANY)
        self.total = np.zeros(shape)
        self.quantum = quantum
        self._magic = 1.5 * 2.0**52 * quantum
        self._lock = threading.Lock()

    def add(self, part: NDArray) -> None:
        """Add an array, float32 or float64."""
        with self._lock:
            self._loops.add_rounded(self.total, np.atleast_2d(part), self._magic)

    def over(self, comm: Comm) -> NDArray[np.float64]:
        """The sum over all ranks, on every rank."""
        return comm.allreduce(self.total)

    def held(self, total: NDArray) -> bool:
        """Whether the sum stayed in the exact range."""
        return bool(np.abs(total).max() < 2.0**52 * self.quantum)


class CrossProducts:
    """Sum of ``t.T @ t`` over blocks of rows: a symmetric matrix, built by tiles of one triangle.

    Parameters
    ----------
    size : int
        Columns of the blocks, P.
    quantum : float
        See `quantum_for`; of the largest diagonal element.
    loops : module, optional
        `kernels.rows` (the default) or `msa.rows`; the bits are the same.
    """

    def __init__(self, size: int, quantum: float, loops: ModuleType | None = None) -> None:
        self._loops = loops or loops_for(MANY)
        self.total = np.zeros((size, size))
        self.quantum = quantum
        self._magic = 1.5 * 2.0**52 * quantum
        edges = range(0, size, TILE)
        self._tiles = [(i, j, threading.Lock()) for i in edges for j in edges if j >= i]

    def add(self, t: NDArray) -> None:
        """Add a block, shape (n, P), float32 or float64; products are made in its precision."""
        for i, j, lock in self._tiles:
            part = t[:, i : i + TILE].T @ t[:, j : j + TILE]
            with lock:
                self._loops.add_rounded(self.total[i : i + TILE, j : j + TILE], part, self._magic)

    def over(self, comm: Comm) -> NDArray[np.float64] | None:
        """The whole matrix summed over the ranks, on rank 0; None elsewhere."""
        total = self.total if comm.size == 1 else comm.reduce(self.total)
        if total is None:
            return None
        size = len(total)
        for i in range(0, size, TILE):
            for j in range(i, size, TILE):
                tile = total[i : i + TILE, j : j + TILE]
                if i == j:  # products come out symmetric only up to rounding
                    upper = np.triu(tile)
                    tile[:] = upper + np.triu(tile, 1).T
                else:
                    total[j : j + TILE, i : i + TILE] = tile.T
        return total

    def held(self, total: NDArray) -> bool:
        """Whether the sum stayed in the exact range: its largest element is on the diagonal."""
        return bool(np.diagonal(total).max() < 2.0**52 * self.quantum)
