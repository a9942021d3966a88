"""The one seam to threads and MPI.

Work is cut by object number into blocks of a fixed size; block ``b`` belongs to rank ``b % size``. What a block gives
does not depend on who works on it, and results are put together in block order, so that any number of ranks and threads
gives the same bytes. Sums over ranks are free of order only for integer arrays (`Comm.allreduce`, `Comm.reduce`);
floating-point sums go through `sum_in_order` or through fixed-point integers.

mpi4py is imported only when a launcher says that there is more than one rank, or on demand.
"""

import atexit
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from imagic4d_core.errors import EnvironmentFault

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

KEPT = 1 << 27
"""Bytes of freed memory that a process keeps, see `keep_memory`."""
CHUNK = 1 << 30
"""Elements in one MPI call: counts are C ints in most MPI libraries."""

# launcher, variable with the number of ranks, variable with the rank, variable with the ranks on this node
_LAUNCHERS = (
    ("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPICH", "PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS"),
    ("MVAPICH", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_TASKS_PER_NODE"),
)


def launcher() -> tuple[str | None, int, int]:
    """What the environment says about the launcher, without MPI.

    Returns
    -------
    name : str or None
        ``"Open MPI"``, ``"MPICH"``, ``"MVAPICH"``, ``"Slurm"``, or None without a launcher.
    rank, size : int
        0 and 1 without a launcher.
    """
    for name, size, rank, _ in _LAUNCHERS:
        value = os.environ.get(size, "")
        if value.isdigit() and int(value) > 0:
            mine = os.environ.get(rank, "0")
            return name, int(mine) if mine.isdigit() else 0, int(value)
    return None, 0, 1


def _local_ranks() -> int:
    """Ranks on this node, 1 when unknown and there is no launcher."""
    name, _, size = launcher()
    for launched_by, _, _, local in _LAUNCHERS:
        if launched_by == name:
            head = os.environ.get(local, "").partition("(")[0].partition(",")[0]
            return int(head) if head.isdigit() and int(head) > 0 else size
    return 1


def thread_count(requested: int | None = None) -> int:
    """Threads to use in this process.

    Parameters
    ----------
    requested : int, optional
        The wish; None or 0 means the cores this process may use, divided by the ranks on the node.

    Returns
    -------
    int, at least 1
    """
    if requested:
        return max(1, int(requested))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, cores // _local_ranks())


def memory_share() -> int:
    """Bytes that a process may plan with: half of the machine's or job's memory, divided by the ranks on the node."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total // 2 // _local_ranks()


@lru_cache(maxsize=1)
def keep_memory() -> None:
    """Have the C library keep freed arrays for the next ones, up to `KEPT` bytes, where it can be told so (glibc).

    By default it hands the arrays of every block back to the system, which then fills every page with zeros again: a quarter of
    the time of a job that reads, multiplies and writes.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    trim, mmap = -1, -3
    mallopt(trim, KEPT)
    mallopt(mmap, 1 << 25)  # the most it takes


class SerialComm:
    """One process: the protocol that jobs and algorithms use, doing nothing.

    Attributes
    ----------
    rank, size : int
    """

    rank = 0
    size = 1

    def barrier(self) -> None:
        """Wait for all ranks."""

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Give every rank root's object; a numpy array goes through buffers of any length."""
        return obj

    def gather(self, obj: Any, root: int = 0) -> list[Any] | None:
        """List of every rank's object in rank order at root, None elsewhere."""
        return [obj]

    def allgather(self, obj: Any) -> list[Any]:
        """List of every rank's object in rank order, everywhere."""
        return [obj]

    def allreduce(self, array: NDArray) -> NDArray:
        """Sum of a same-shaped array over the ranks, everywhere; bit-exact for any number of ranks only for integers."""
        return np.array(array)

    def reduce(self, array: NDArray, root: int = 0) -> NDArray | None:
        """As `allreduce`, at root only; None elsewhere."""
        return np.array(array)

    def send(self, array: NDArray, dest: int, tag: int = 0) -> None:
        """Send a contiguous array to another rank."""
        raise RuntimeError("there is nobody to send to")

    def recv(self, like: NDArray, source: int, tag: int = 0) -> NDArray:
        """Receive an array of the shape and dtype of `like`."""
        raise RuntimeError("there is nobody to receive from")

    def split(self, groups: int) -> "SerialComm":
        """The communicator of this rank's group: rank r belongs to group ``r % groups``, which has at least one rank."""
        return self

    def blocks(self, n: int, size: int) -> list[tuple[int, int]]:
        """This rank's blocks of ``0..n``.

        Parameters
        ----------
        n : int
            Number of objects.
        size : int
            Objects in a block; fixed by the caller, never by the number of ranks.

        Returns
        -------
        list of (start, stop)
            Block ``b`` is ``(b * size, min(n, (b + 1) * size))`` and belongs to rank ``b % Comm.size``.
        """
        if size < 1:
            raise ValueError(f"block size {size} is below 1")
        return [(i, min(n, i + size)) for i in range(self.rank * size, n, self.size * size)]


Comm = SerialComm
"""The protocol's name in annotations: `MpiComm` is a subclass."""

SERIAL = SerialComm()


class MpiComm(SerialComm):
    """The same protocol over an mpi4py communicator; arrays travel in buffers of at most `CHUNK` elements."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()

    def barrier(self) -> None:
        self._comm.Barrier()

    def bcast(self, obj: Any, root: int = 0) -> Any:
        array = isinstance(obj, np.ndarray) and not obj.dtype.hasobject
        kind = self._comm.bcast((obj.shape, obj.dtype) if array else None, root=root)
        if kind is None:
            return self._comm.bcast(obj, root=root)
        out = np.ascontiguousarray(obj) if self.rank == root else np.empty(*kind)
        flat = out.reshape(-1).view(np.uint8)
        for part in _chunks(flat):
            self._comm.Bcast(part, root=root)
        return obj if self.rank == root else out

    def gather(self, obj: Any, root: int = 0) -> list[Any] | None:
        return self._comm.gather(obj, root=root)

    def allgather(self, obj: Any) -> list[Any]:
        return self._comm.allgather(obj)

    def allreduce(self, array: NDArray) -> NDArray:
        src = np.ascontiguousarray(array)
        out = np.empty_like(src)
        for a, b in zip(_chunks(src.reshape(-1)), _chunks(out.reshape(-1)), strict=True):
            self._comm.Allreduce(a, b)
        return out

    def reduce(self, array: NDArray, root: int = 0) -> NDArray | None:
        src = np.ascontiguousarray(array)
        if self.rank != root:
            for a in _chunks(src.reshape(-1)):
                self._comm.Reduce(a, None, root=root)
            return None
        out = np.empty_like(src)
        for a, b in zip(_chunks(src.reshape(-1)), _chunks(out.reshape(-1)), strict=True):
            self._comm.Reduce(a, b, root=root)
        return out

    def split(self, groups: int) -> SerialComm:
        if groups < 2:
            return self
        return MpiComm(self._comm.Split(self.rank % groups, self.rank))

    def send(self, array: NDArray, dest: int, tag: int = 0) -> None:
        for part in _chunks(np.ascontiguousarray(array).reshape(-1).view(np.uint8)):
            self._comm.Send(part, dest=dest, tag=tag)

    def recv(self, like: NDArray, source: int, tag: int = 0) -> NDArray:
        out = np.empty_like(like, order="C")
        for part in _chunks(out.reshape(-1).view(np.uint8)):
            self._comm.Recv(part, source=source, tag=tag)
        return out


def _chunks(flat: NDArray) -> Iterator[NDArray]:
    for i in range(0, flat.size, CHUNK):
        yield flat[i : i + CHUNK]


_world: MpiComm | None = None


def get_comm(mpi: bool | None = None) -> Comm:
    """The communicator of this process.

    Parameters
    ----------
    mpi : bool, optional
        True: use MPI in any case; False: never; None: when a launcher says that there is more than one rank.

    Returns
    -------
    Comm
        `SERIAL`, or an `MpiComm` over all ranks (MPI is initialised at the first call).

    Raises
    ------
    EnvironmentFault
        mpi4py or an MPI library is missing, or the launcher belongs to another MPI than the library.
    """
    global _world
    name, _, size = launcher()
    if mpi is False or (mpi is None and size == 1):
        return SERIAL
    if _world is None:
        _world = MpiComm(_init(name, size))
    return _world


def _init(name: str | None, size: int) -> Any:
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        mpi4py.rc.finalize = False
        from mpi4py import MPI
    except (ImportError, RuntimeError) as exc:  # RuntimeError: mpi4py is there, but no MPI library
        reason = str(exc).splitlines()[0]
        raise EnvironmentFault(f"MPI asked for, but it cannot be loaded ({reason}): pip install imagic4d[mpi]") from exc
    library = MPI.Get_library_version().replace("\0", "").split("\n")[0].strip()
    open_mpi = library.startswith("Open MPI")
    # asked before MPI_Init, which ends the process without a word of ours when the launcher is a stranger
    if (name == "Open MPI" and not open_mpi) or (name in ("MPICH", "MVAPICH") and open_mpi):
        raise EnvironmentFault(
            f"started by the mpiexec of {name}, but mpi4py uses {library[:40].split(',')[0]}: use the mpiexec of that library"
        )
    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
    comm = MPI.COMM_WORLD
    if name is not None and comm.Get_size() != size:
        found = comm.Get_size()
        MPI.Finalize()
        raise EnvironmentFault(
            f"the launcher ({name}) started {size} ranks, but MPI ({library[:40].split(',')[0]}) sees {found}: "
            "use the mpiexec of that library"
        )
    atexit.register(_at_exit)
    return comm


def _at_exit() -> None:
    """Finalise, or stop all ranks when this one ends by an uncaught exception: the others would wait for ever."""
    if getattr(sys, "last_type", None) is not None:
        abort(1)
    finalize()


def finalize() -> None:
    """Leave MPI in good order; nothing without MPI."""
    global _world
    if _world is not None:
        from mpi4py import MPI

        _world = None
        if not MPI.Is_finalized():
            MPI.Finalize()


def abort(code: int) -> None:
    """Stop all ranks with this exit code; nothing without MPI."""
    if _world is not None:
        from mpi4py import MPI

        if not MPI.Is_finalized():
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the reason has been said; MPICH would add lines of its own
            time.sleep(0.3)  # until mpiexec has forwarded it: what is still in its pipes is lost
            MPI.COMM_WORLD.Abort(code)


@lru_cache(maxsize=1)
def _controller(modules: int) -> ThreadpoolController:
    """BLAS libraries in this process; looked for again when more modules are loaded (looking takes a millisecond)."""
    return ThreadpoolController()


def imap_blocks(func: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """Results of ``func(item)`` in the order of the items, computed by threads, few at a time.

    At most ``threads + 1`` items are taken ahead of the consumer, so that memory is bounded by the block size.
    BLAS runs on one thread meanwhile: its results would otherwise depend on the number of threads.
    """
    threads = thread_count(threads)
    keep_memory()
    with _controller(len(sys.modules)).limit(limits=1):
        if threads == 1:
            for item in items:
                yield func(item)
            return
        pending: deque[Future[R]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(func, item))
                    if len(pending) > threads:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def map_blocks(
    func: Callable[[T], R],
    items: Iterable[T],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[R]:
    """``[func(item) for item in items]`` over threads; see `imap_blocks`.

    Parameters
    ----------
    func : callable
        Must release the GIL to gain from threads (numpy, kernels).
    items : iterable
    threads : int, optional
        See `thread_count`.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    work = list(items)
    out: list[R] = []
    for result in imap_blocks(func, work, threads):
        out.append(result)
        if progress is not None:
            progress(len(out), len(work))
    return out


def sum_in_order(comm: Comm, parts: Iterable[NDArray], count: int, like: NDArray) -> NDArray:
    """Sum floating-point arrays in block order: the same bits for any number of ranks.

    Parameters
    ----------
    comm : Comm
    parts : iterable of ndarray
        This rank's arrays in the order of its blocks (block ``b`` is on rank ``b % comm.size``), taken one by one, so that
        `imap_blocks` can make them while others are added.
    count : int
        Number of blocks over all ranks.
    like : ndarray
        Gives shape and dtype.

    Returns
    -------
    ndarray
        The sum, on every rank. One array per block travels, so keep the blocks few.
    """
    total = np.zeros_like(like, order="C")
    mine = iter(parts)
    for b in range(count):
        owner = b % comm.size
        if comm.rank == owner:
            part = np.ascontiguousarray(next(mine), dtype=like.dtype)
            if owner != 0:
                comm.send(part, 0, tag=b % 32768)
        if comm.rank == 0:
            total += part if owner == 0 else comm.recv(like, owner, tag=b % 32768)
    return comm.bcast(total)


def warm_first(comm: Comm, func: Callable[[], object]) -> None:
    """Call `func` (which compiles kernels) on rank 0, then on the others, which find the cache filled."""
    if comm.rank == 0:
        func()
    comm.barrier()
    if comm.rank != 0:
        func()
