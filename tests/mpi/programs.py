"""What the MPI tests run on every rank: ``python programs.py NAME OUT``. Rank 0 writes the result to OUT."""

import sys
import time

import numpy as np

from imagic4d_core import parallel
from imagic4d_core.errors import InputError

N, BLOCK = 103, 8


def value(i: int) -> np.ndarray:
    """An array of image i whose float32 sum depends on the order of adding."""
    return (np.random.Generator(np.random.Philox(i)).standard_normal((5, 7)) * 10.0 ** (i % 7 - 3)).astype(np.float32)


def everything(comm: parallel.Comm) -> np.ndarray:
    """All collective calls on data cut into blocks; bytes must not depend on the number of ranks."""
    parallel.CHUNK = 11  # elements: every array travels in several pieces
    mine = comm.blocks(N, BLOCK)
    assert all(start // BLOCK % comm.size == comm.rank for start, _ in mine)
    every = [b for part in comm.allgather(mine) for b in part]
    assert sorted(every) == [(i, min(N, i + BLOCK)) for i in range(0, N, BLOCK)]

    parts = parallel.map_blocks(lambda b: sum((value(i) for i in range(*b)), np.zeros((5, 7), np.float32)), mine, threads=2)
    total = parallel.sum_in_order(comm, parts, len(every), np.zeros((5, 7), np.float32))

    counts = np.zeros(N, dtype=np.int64)
    for start, stop in mine:
        counts[start:stop] += np.arange(start, stop)
    summed = comm.allreduce(counts)
    at_root = comm.reduce(counts)
    assert (at_root is None) == (comm.rank != 0)
    if at_root is not None:
        assert np.array_equal(at_root, np.arange(N))

    sent = comm.bcast(value(3) if comm.rank == 0 else None)
    assert np.array_equal(sent, value(3))
    assert comm.bcast({"a": comm.rank}) == {"a": 0}
    assert comm.bcast(np.zeros((0, 3)) if comm.rank == 0 else None).shape == (0, 3)
    ranks = comm.gather(comm.rank)
    assert (ranks == list(range(comm.size))) if comm.rank == 0 else ranks is None

    order: list[int] = []
    parallel.warm_first(comm, lambda: order.append(comm.rank))
    assert order == [comm.rank]
    return np.concatenate([total.reshape(-1).view(np.uint8), summed.view(np.uint8)])


def main() -> None:
    """Run the program named on the command line."""
    what, out = sys.argv[1:3]
    comm = parallel.get_comm()
    if what == "everything":
        result = everything(comm)
        if comm.rank == 0:
            result.tofile(out)
    elif what == "raise":  # the last rank fails while the others wait: without care they would wait for ever
        if comm.rank == comm.size - 1:
            raise InputError("rank gone")
        comm.barrier()
        time.sleep(60)


if __name__ == "__main__":
    main()
