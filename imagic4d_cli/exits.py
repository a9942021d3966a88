"""Exit codes: one table, printed into every man page."""

from typing import NamedTuple


class Exit(NamedTuple):
    """One row: the code, the errors that lead to it (by class name, so that core is not imported), the meaning."""

    code: int
    errors: tuple[str, ...]
    meaning: str


TABLE = (
    Exit(0, (), "done"),
    Exit(1, (), "the answer is no (validate, compare, --check)"),
    Exit(2, ("UsageError", "ClickException"), "wrong usage: unknown command or option, bad value"),
    Exit(3, ("InputError", "FileNotFoundError"), "an input is missing or malformed"),
    Exit(4, ("MismatchError",), "inputs disagree: size, pixel size, count"),
    Exit(5, ("OutputError", "OSError"), "an output exists, or cannot be written"),
    Exit(6, ("ConvergenceError", "FloatingPointError"), "no convergence, or a numerical failure"),
    Exit(7, ("EnvironmentFault", "MemoryError", "ModuleNotFoundError"), "MPI mismatch, missing package, not enough memory"),
    Exit(70, ("Exception",), "a bug in im4d: --debug shows where"),
    Exit(130, ("KeyboardInterrupt", "Abort"), "interrupted"),
)
DONE, NO, USAGE, BUG, INTERRUPTED = 0, 1, 2, 70, 130

_CODES = {name: row.code for row in TABLE for name in row.errors}


def code_for(exc: BaseException) -> int:
    """Exit code of an exception: the first of its classes that the table names."""
    if isinstance(exc, ModuleNotFoundError) and str(exc.name).startswith("imagic4d"):
        return BUG
    for cls in type(exc).__mro__:
        if cls.__name__ in _CODES:
            return _CODES[cls.__name__]
    return BUG
