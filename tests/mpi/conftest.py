"""mpiexec of the same environment as the running Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def mpiexec():
    """``mpiexec(n, *command) -> CompletedProcess``, with a time limit; `command` follows ``python``."""
    path = Path(sys.executable).parent / "mpiexec"
    if not path.exists():
        pytest.skip(f"no mpiexec beside {sys.executable}: pip install imagic4d[mpi]")
    pytest.importorskip("mpi4py", exc_type=ImportError)

    def call(
        n: int, *command: str, cwd: Path | None = None, extra: dict[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("IM4D_", "PMI_", "OMPI_", "SLURM_"))}
        return subprocess.run(
            [str(path), "-n", str(n), sys.executable, *map(str, command)],
            capture_output=True, text=True, timeout=timeout, env=env | (extra or {}), cwd=cwd,
        )  # fmt: skip

    return call
