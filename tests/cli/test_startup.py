"""What `im4d --help`, `--version` and completion import: an exact set, in place of a time."""

import os
import subprocess
import sys

import numpy as np
import pytest

HEAVY = ("numpy", "scipy", "numba", "mpi4py", "rich", "matplotlib", "imagic4d_core.parallel", "json", "tomllib")


def modules_after(args: list[str], **env: str) -> tuple[set[str], int]:
    code = (
        "import sys\n"
        "from imagic4d_cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:], prog_name='im4d')\n"
        "except SystemExit as exc:\n    code = exc.code\n"
        "print('\\n'.join(sorted(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, env=os.environ | env)
    return set(done.stderr.split()), done.returncode


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["-h"]])
def test_help_imports_nothing_heavy(args):
    modules, code = modules_after(args)
    assert code == 0
    assert modules & set(HEAVY) == set()
    assert not any(m.startswith("imagic4d_cli.commands.") for m in modules)


def test_completing_a_command_imports_no_command():
    modules, _ = modules_after([], _IM4D_COMPLETE="bash_complete", COMP_WORDS="im4d w", COMP_CWORD="1")
    assert "imagic4d_cli.lazygroup" in modules
    assert modules & set(HEAVY) == set()
    assert not any(m.startswith("imagic4d_cli.commands.") for m in modules)


def test_help_of_a_command_imports_no_core():
    modules, code = modules_after(["warmup", "--help"])
    assert code == 0
    assert modules & set(HEAVY) == set()


def test_sums_of_few_images_load_no_compiler(tmp_path):
    """Loading numba and scipy takes three times as long as averaging some thousand images."""
    from imagic4d_core.io.stack import write_stack

    write_stack(tmp_path / "a.hed", np.ones((3, 4, 4), np.float32))
    (tmp_path / "c.cls").write_text("1 2 0.5 1 3\n")
    args = ["msa", "sum", str(tmp_path / "a.hed"), str(tmp_path / "c.cls"), str(tmp_path / "b.hed"), "-q"]
    modules, code = modules_after(args)
    assert code == 0
    assert modules & {"numba", "scipy", "matplotlib", "mpi4py"} == set()


def test_eigenimages_of_few_images_load_no_compiler(tmp_path):
    from imagic4d_core.io.stack import write_stack

    write_stack(tmp_path / "a.hed", np.random.default_rng(0).standard_normal((30, 8, 8)).astype(np.float32))
    modules, code = modules_after(["msa", "run", str(tmp_path / "a.hed"), str(tmp_path / "b"), "--eigenimages", "4", "-q"])
    assert code == 0
    assert modules & {"numba", "scipy.fft", "matplotlib", "mpi4py"} == set()


@pytest.mark.parametrize("given", [None, "8"], ids=["unset", "set-by-a-batch-system"])
def test_blas_runs_on_one_thread(given):
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    code = f"import imagic4d_cli.main, os; print(*(os.environ[n] for n in {names}))"
    env = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    env |= {} if given is None else dict.fromkeys(names, given)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert done.stdout.split() == ["1", "1"]
