"""Errors that name an input mistake, an output problem or a fault of the environment.

No Click here: `imagic4d_cli.exits` maps these classes to exit codes.
"""

from collections.abc import Collection


class Im4dError(Exception):
    """Base of all errors raised on purpose: the message is one clear line for the user."""


class InputError(Im4dError):
    """A missing, malformed or unusable input (exit code 3)."""


class MismatchError(Im4dError):
    """Inputs that do not fit each other: size, pixel size, count (exit code 4)."""


class OutputError(Im4dError):
    """An output that exists already or cannot be written (exit code 5)."""


class ConvergenceError(Im4dError):
    """No convergence under ``--on-no-convergence error``, or a numerical failure (exit code 6)."""


class EnvironmentFault(Im4dError):
    """MPI mismatch, missing optional package (exit code 7)."""


class UsageError(Im4dError, ValueError):
    """An option value that makes no sense by itself (exit code 2)."""


def check_word(what: str, value: str, words: Collection[str]) -> None:
    """Raise UsageError unless an option's value is one of its words."""
    if value not in words:
        raise UsageError(f"unknown {what} {value!r}: {', '.join(words)}")
