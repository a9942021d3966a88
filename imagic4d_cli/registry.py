"""All commands in one literal table: the help of the group and the completion read it without importing a command.

A line per command file: ``"name": Entry("module:object", "Group", "First docstring line.", ("imagic-name", ...))``.
The aliases are IMAGIC's names; they work, and stay out of the group's help.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command lives, its group in the help, the first line of its docstring, its other names."""

    target: str
    group: str
    help: str
    aliases: tuple[str, ...] = ()


GROUPS = ("The 4D scheme", "Files", "Truth and comparison", "Pictures", "Housekeeping")

_C = "imagic4d_cli.commands."

TABLE: dict[str, Entry] = {
    "warmup": Entry(_C + "warmup:cli", "Housekeeping", "Compile all kernels, so that the next commands start at once."),
}

ALIASES: dict[str, str] = {alias: name for name, entry in TABLE.items() for alias in entry.aliases}
