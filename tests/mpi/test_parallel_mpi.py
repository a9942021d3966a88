"""parallel.py and the command line under mpiexec."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs.py")
pytestmark = pytest.mark.mpi

# a command that uses MPI and fails on one rank, run through the real group
FAILING = """
import sys, click
from imagic4d_cli import options as opt
from imagic4d_cli.lazygroup import LazyGroup
from imagic4d_cli.main import cli
from imagic4d_cli.run import pass_run
from imagic4d_core.errors import MismatchError

@click.command("fail")
@opt.common
@pass_run
def fail(run):
    comm = run.comm
    if sys.argv[1] == "all" or comm.rank == comm.size - 1:
        raise MismatchError("a.hed is not b.hed")
    comm.barrier()

LazyGroup.get_command = lambda self, ctx, name: fail
cli.main(["fail"], prog_name="im4d")
"""


def test_same_bytes_for_any_number_of_ranks(mpiexec, tmp_path):
    results = []
    serial = subprocess.run([sys.executable, str(PROGRAMS), "everything", str(tmp_path / "serial")], timeout=60)
    assert serial.returncode == 0
    for n in (1, 2, 3):
        done = mpiexec(n, PROGRAMS, "everything", tmp_path / str(n))
        assert done.returncode == 0, done.stderr
        results.append((tmp_path / str(n)).read_bytes())
    assert results == [(tmp_path / "serial").read_bytes()] * 3


def test_uncaught_exception_ends_all_ranks(mpiexec, tmp_path):
    start = time.monotonic()
    done = mpiexec(3, PROGRAMS, "raise", tmp_path / "x")
    assert done.returncode == 1
    assert "rank gone" in done.stderr
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("who", ["one", "all"])
def test_failing_rank_ends_the_job_with_its_code(mpiexec, who):
    done = mpiexec(3, "-c", FAILING, who)
    assert done.returncode == 4
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines[0] == "im4d: error: a.hed is not b.hed"
    assert [line for line in lines[1:] if "im4d" in line or "Abort" in line] == []


def test_usage_error_is_said_once(mpiexec):
    done = mpiexec(3, "-m", "imagic4d_cli.main", "nonsense")
    assert done.returncode == 2
    assert done.stderr.count("im4d: error:") == 1


def test_command_without_mpi_runs_once(mpiexec):
    done = mpiexec(2, "-m", "imagic4d_cli.main", "warmup", "--json")
    assert done.returncode == 0
    assert done.stdout.count('"schema": 1') == 1
    assert "does not use MPI" in done.stderr


def stranger(env: dict[str, str]) -> subprocess.CompletedProcess:
    code = FAILING.replace('sys.argv[1] == "all" or ', "")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | env)


def test_other_vendors_launcher(mpiexec):
    """As under Open MPI's mpiexec, while mpi4py uses MPICH: told apart before MPI_Init, which would end the process."""
    done = stranger({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"})
    assert done.returncode == 7
    assert "started by the mpiexec of Open MPI, but mpi4py uses MPICH" in done.stderr
    assert done.stderr.count("\n") == 1


def test_launcher_and_library_disagree_on_the_size(mpiexec):
    done = stranger({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"})
    assert done.returncode == 7
    assert "started 4 ranks, but MPI" in done.stderr


def test_missing_mpi4py(mpiexec, tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('No module named mpi4py')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = stranger({"PYTHONPATH": path, "PMI_SIZE": "2", "PMI_RANK": "0"})
    assert done.returncode == 7
    assert "pip install imagic4d[mpi]" in done.stderr


def test_real_open_mpi(mpiexec):
    other = shutil.which("mpiexec.openmpi")
    if other is None:
        pytest.skip("no mpiexec of Open MPI on this machine")
    env = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [other, "--oversubscribe", "-n", "2", sys.executable, "-c", FAILING, "one"],
        capture_output=True, text=True, timeout=60, env=env,
    )  # fmt: skip
    assert done.returncode == 7
    assert done.stderr.count("started by the mpiexec of Open MPI") == 1
