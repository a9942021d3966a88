"""How pictures are drawn as text in this terminal."""

import os
import shutil
import sys
from typing import Any


def drawing(text: bool, colour: bool | None, output: str | None) -> dict[str, Any]:
    """Keyword arguments of jobs that draw: colour, true_colour, width.

    Parameters
    ----------
    text : bool
        ``--text``: colours even where stdout is no terminal.
    colour : bool or None
        ``--colour/--no-colour``; None: as the terminal is.
    output : str or None
        The picture's file, which excludes `text`.
    """
    if text and output:
        from imagic4d_core.errors import UsageError

        raise UsageError("--text and an output file exclude each other: text goes to the terminal")
    plain = not (text or (sys.stdout.isatty() and not os.environ.get("NO_COLOR"))) if colour is None else not colour
    few = os.environ.get("TERM", "").endswith("256color") and os.environ.get("COLORTERM", "").lower() not in (
        "truecolor",
        "24bit",
    )
    return {"colour": not plain, "true_colour": not few, "width": shutil.get_terminal_size().columns}
