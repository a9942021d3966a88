"""Threads, blocks and the serial communicator."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagic4d_core import parallel
from imagic4d_core.parallel import SERIAL, MpiComm, get_comm, imap_blocks, map_blocks, sum_in_order, thread_count


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for row in parallel._LAUNCHERS:
        for name in row[1:]:
            monkeypatch.delenv(name, raising=False)


class Rank(parallel.SerialComm):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@given(n=st.integers(0, 300), size=st.integers(1, 50), ranks=st.integers(1, 7))
def test_blocks_cover_once_whatever_the_ranks(n, size, ranks):
    per_rank = [Rank(r, ranks).blocks(n, size) for r in range(ranks)]
    assert sorted(b for part in per_rank for b in part) == SERIAL.blocks(n, size)
    assert [i for a, b in SERIAL.blocks(n, size) for i in range(a, b)] == list(range(n))


def test_block_size_must_be_positive():
    with pytest.raises(ValueError, match="below 1"):
        SERIAL.blocks(3, 0)


def test_serial_without_a_launcher():
    assert get_comm() is SERIAL
    assert get_comm(False) is SERIAL
    a = np.arange(3)
    assert np.array_equal(SERIAL.allreduce(a), a)
    assert SERIAL.allreduce(a) is not a
    assert SERIAL.gather(5) == SERIAL.allgather(5) == [5]
    assert SERIAL.bcast("x") == "x"


def test_one_rank_under_a_launcher_needs_no_mpi(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "1")
    assert get_comm() is SERIAL


@pytest.mark.parametrize(
    ("env", "want"),
    [({}, (None, 0, 1)), ({"PMI_SIZE": "3", "PMI_RANK": "2"}, ("MPICH", 2, 3)),
     ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_SIZE": "9"}, ("Open MPI", 1, 2)),
     ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7"}, ("Slurm", 7, 8)), ({"PMI_SIZE": "none"}, (None, 0, 1))],
)  # fmt: skip
def test_launcher(monkeypatch, env, want):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert parallel.launcher() == want


def test_thread_count(monkeypatch):
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert thread_count() == thread_count(0) == 8
    assert thread_count(3) == 3
    monkeypatch.setenv("PMI_SIZE", "4")
    assert thread_count() == 2
    monkeypatch.setenv("MPI_LOCALNRANKS", "2")
    assert thread_count() == 4
    monkeypatch.setenv("MPI_LOCALNRANKS", "100")
    assert thread_count() == 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_map_blocks_keeps_order_and_reports(threads):
    seen = []
    got = map_blocks(lambda i: (time.sleep(0.002 * (i % 3)), i * i)[1], range(20), threads, lambda *a: seen.append(a))
    assert got == [i * i for i in range(20)]
    assert seen == [(i + 1, 20) for i in range(20)]


@pytest.mark.parametrize("threads", [1, 2])
def test_map_blocks_raises_the_first_error(threads):
    def func(i):
        if i >= 3:
            raise ZeroDivisionError(i)
        return i

    with pytest.raises(ZeroDivisionError, match="3"):
        map_blocks(func, range(50), threads)


def test_imap_takes_few_items_ahead():
    lock, taken = threading.Lock(), []

    def items():
        for i in range(100):
            with lock:
                taken.append(i)
            yield i

    results = imap_blocks(lambda i: i, items(), threads=2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4


def test_blas_result_does_not_depend_on_threads():
    rng = np.random.Generator(np.random.Philox(1))
    a = rng.standard_normal((400, 400), dtype=np.float32)
    outs = [map_blocks(lambda i: a @ a[:, i : i + 100], range(0, 400, 100), threads=t) for t in (1, 2, 3)]
    for other in outs[1:]:
        assert all(np.array_equal(x, y) for x, y in zip(outs[0], other, strict=True))


def test_sum_in_order_adds_in_block_order():
    parts = [np.array([v], np.float32) for v in (1e8, 1.0, -1e8)]
    want = (np.float32(1e8) + np.float32(1)) + np.float32(-1e8)
    assert sum_in_order(SERIAL, parts, 3, np.zeros(1, np.float32))[0] == want
    assert sum_in_order(SERIAL, imap_blocks(lambda p: p, parts, 2), 3, np.zeros(1, np.float32))[0] == want


class FakeMpi:
    """Records how arrays are cut."""

    def __init__(self):
        self.sizes = []

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 2

    def Allreduce(self, a, b):
        self.sizes.append(a.size)
        b[...] = 2 * a


def test_long_arrays_travel_in_chunks(monkeypatch):
    monkeypatch.setattr(parallel, "CHUNK", 4)
    fake = FakeMpi()
    got = MpiComm(fake).allreduce(np.arange(10).reshape(2, 5))
    assert fake.sizes == [4, 4, 2]
    assert np.array_equal(got, 2 * np.arange(10).reshape(2, 5))
