"""The exit-code table, row by row, and the one line on stderr."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from imagic4d_cli import exits
from imagic4d_cli.lazygroup import LazyGroup
from imagic4d_cli.main import cli
from imagic4d_core import errors

ROWS = [
    (errors.UsageError("x.hed: wrong"), 2),
    (click.UsageError("wrong"), 2),
    (click.BadParameter("wrong"), 2),
    (errors.InputError("x.hed: not there"), 3),
    (FileNotFoundError(2, "No such file or directory", "x.hed"), 3),
    (errors.MismatchError("a is not b"), 4),
    (errors.OutputError("out.hed: exists"), 5),
    (PermissionError(13, "Permission denied", "out.hed"), 5),
    (OSError(28, "No space left on device"), 5),
    (errors.ConvergenceError("no"), 6),
    (FloatingPointError("overflow"), 6),
    (errors.EnvironmentFault("no MPI"), 7),
    (MemoryError(), 7),
    (ModuleNotFoundError("No module named 'mpi4py'", name="mpi4py"), 7),
    (ModuleNotFoundError("No module named 'imagic4d_core.x'", name="imagic4d_core.x"), 70),
    (ZeroDivisionError("division by zero"), 70),
    (errors.Im4dError("a class without a row"), 70),
    (KeyboardInterrupt(), 130),
]


@pytest.fixture
def failing(monkeypatch):
    """The group with one command that raises what it is given."""
    box: list[BaseException] = []

    @click.command("fail")
    def fail() -> None:
        raise box[0]

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: fail if name == "fail" else None)

    def call(exc: BaseException, *args: str):
        box[:] = [exc]
        return CliRunner().invoke(cli, [*args, "fail"])

    return call


@pytest.mark.parametrize(("exc", "code"), ROWS, ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else str(v))
def test_row(failing, exc, code):
    done = failing(exc)
    assert done.exit_code == code
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("im4d: error: ")
    assert done.stdout == ""
    assert any(row.code == code for row in exits.TABLE)


def test_every_error_class_has_a_row():
    classes = [
        c.__name__
        for c in vars(errors).values()
        if isinstance(c, type) and issubclass(c, errors.Im4dError) and c is not errors.Im4dError
    ]
    named = {n for row in exits.TABLE for n in row.errors}
    assert set(classes) <= named


def test_debug_shows_the_traceback(failing):
    done = failing(errors.InputError("x"), "--debug")
    assert done.exit_code == 3
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "im4d: error: x"


def test_answer_no_is_one(monkeypatch):
    from imagic4d_cli.run import pass_run

    @click.command("no")
    @pass_run
    def no(run):
        run.report({"ok": False}, ok=False)

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: no)
    done = CliRunner().invoke(cli, ["no"])
    assert (done.exit_code, done.stdout, done.stderr) == (1, "ok: False\n", "")


def test_no_command_prints_help():
    done = CliRunner().invoke(cli, [])
    assert done.exit_code == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("args", [["warmup", "--no-such"], ["warmup", "surplus"], ["nonsense"]])
def test_usage_is_two(args):
    assert CliRunner().invoke(cli, args).exit_code == 2


def test_broken_pipe_is_quiet():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m imagic4d_cli.main --help | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_json_of_a_summary(monkeypatch):
    import dataclasses

    import numpy as np

    from imagic4d_cli import options as opt
    from imagic4d_cli.run import pass_run

    @dataclasses.dataclass
    class Summary:
        n: int
        x: object

    @click.command("s")
    @opt.reading
    @opt.seed
    @pass_run
    def s(run):
        run.report(Summary(np.int64(3), [np.float32(0.5), float("nan"), np.arange(2)]))

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: s)
    done = CliRunner().invoke(cli, ["s", "--json", "--seed", "7"])
    assert json.loads(done.stdout) == {"schema": 1, "seed": 7, "n": 3, "x": [0.5, None, [0, 1]]}
