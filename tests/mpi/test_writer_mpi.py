"""A stack written by several ranks holds the same bytes as one written by one."""

import pytest

PROGRAM = """
import sys
import numpy as np
from imagic4d_core.errors import OutputError
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack
from imagic4d_core.parallel import get_comm

comm = get_comm()
data = np.random.default_rng(0).normal(size=(50, 8, 8)).astype("f4")
for name in ("a", "a.mrcs"):
    with create_stack(name, 50, 1, 8, 8, comm=comm, pixel_size=2.0) as out:
        for start, stop in comm.blocks(50, 7):
            out.write(start, data[start:stop])
            h = blank_headers(stop - start)
            h["REF3D"] = np.arange(start, stop)
            out.set_headers(start, h)
try:
    create_stack("a", 1, 1, 2, 2, comm=comm)
except OutputError:
    sys.exit(0)
sys.exit(9)
"""


@pytest.mark.mpi
def test_same_bytes_for_any_number_of_ranks(mpiexec, tmp_path):
    found = []
    for n in (1, 2, 3):
        folder = tmp_path / str(n)
        folder.mkdir()
        done = mpiexec(n, "-c", PROGRAM, cwd=folder, extra={"SOURCE_DATE_EPOCH": "1700000000"})
        assert done.returncode == 0, done.stderr
        found.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert set(found[0]) == {"a.hed", "a.img", "a.mrcs", "a.star"}
    assert found[0] == found[1] == found[2]
