"""A command in a child process that is killed just before one of its file-system calls."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from imagic4d_cli.main import catch_signals, cli

#: What changes a file system, by its name in `os`; `open` counts where it may create.
CALLS = ("replace", "rename", "unlink", "link", "symlink", "mkdir", "rmdir", "fsync", "ftruncate", "pwrite", "copy_file_range")
CALLS += ("chmod", "chown", "open")


def run(args: list[Any], at: int | None = None, folder: Path | None = None, how: int = signal.SIGKILL) -> tuple[int, int]:
    """Run `im4d` in a child process that gets the signal `how` before its call number `at` (from 0).

    Returns
    -------
    status : int
        Exit code, or minus the signal that ended the child.
    calls : int
        How many calls it made.
    """

    def command() -> int:
        if folder is not None:
            os.chdir(folder)
        catch_signals()
        return CliRunner().invoke(cli, [str(a) for a in args]).exit_code

    return run_function(command, at, how)


def run_function(func: Callable[[], Any], at: int | None = None, how: int = signal.SIGKILL) -> tuple[int, int]:
    """As `run`, of a function; its result is the exit code, None is 0."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            code = _child(func, at, how, writing)
        except BaseException:
            code = 99
        os._exit(code)
    os.close(writing)
    said = b""
    while part := os.read(reading, 1 << 16):
        said += part
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.count(b".")


def _child(func: Callable[[], Any], at: int | None, how: int, out: int) -> int:
    count = [0]

    def counted(name: str, real: Any) -> Any:
        def call(*a: Any, **k: Any) -> Any:
            if name == "open" and not (a[1] & os.O_CREAT if len(a) > 1 else False):
                return real(*a, **k)
            count[0] += 1
            if count[0] - 1 == at:
                os.kill(os.getpid(), how)
            os.write(out, b".")
            return real(*a, **k)

        return call

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))
    return func() or 0
