"""What a command would read, write and replace, found without doing it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagic4d_core.errors import InputError, OutputError
from imagic4d_core.io.atomic import check_new
from imagic4d_core.io.imagic import pair_of
from imagic4d_core.io.locations import split_spec
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.star import sidecar
from imagic4d_core.io.writer import output_format, output_paths
from imagic4d_core.jobs.files.copying import shape_text

#: Fate of an output file -> words for people.
_FATES = {
    "new": "would be written",
    "replaced": "would be replaced",
    "changed": "would be changed",
    "headers": "headers would be replaced",
    "refused": "exists: would be refused; give --overwrite",
    "folder": "is a folder, files in it would be written",
}


@dataclass
class Plan:
    """What would happen.

    Attributes
    ----------
    inputs : list of dict
        ``file`` and ``content``.
    outputs : list of dict
        ``file``, ``fate`` (new, replaced, changed, headers, refused, folder) and ``bytes`` of what is there now.
    refused : bool
        The command would end with exit code 5.
    dry_run : bool
        True: nothing was done.
    """

    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False
    dry_run: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        out = [f"reads {entry['file']}: {entry['content']}" for entry in self.inputs]
        for entry in self.outputs:
            size = f" ({entry['bytes']} bytes now)" if entry["bytes"] is not None and entry["fate"] != "folder" else ""
            out.append(f"{entry['file']}: {_FATES[entry['fate']]}{size}")
        return [*out, "nothing was changed (--dry-run)"]

    def add(self, path: Path, fate: str) -> None:
        """Note the fate of a file."""
        self.outputs.append({"file": str(path), "fate": fate, "bytes": path.stat().st_size if path.is_file() else None})
        self.refused = self.refused or fate == "refused"


def plan(
    inputs: Sequence[str | os.PathLike], outputs: Sequence[str | os.PathLike], *, headers_of: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> Plan:  # fmt: skip
    """Say what a command with these files would do.

    Parameters
    ----------
    inputs, outputs : sequence of path
        As given on the command line, with locations.
    headers_of : path, optional
        File whose headers would be replaced.
    overwrite : bool
        Existing outputs may be replaced.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        An input is missing or damaged.
    OutputError
        A folder is missing or cannot be written, or a format is not written.
    """
    out = Plan()
    for spec in inputs:
        out.inputs.append({"file": str(spec), "content": _content(spec)})
    for spec in outputs:
        _output(out, spec, overwrite)
    if headers_of is not None:
        hed, _ = pair_of(split_spec(headers_of)[0])
        out.add(hed if hed.is_file() else sidecar(split_spec(headers_of)[0]), "headers")
    return out


def _content(spec: str | os.PathLike) -> str:
    name = Path(split_spec(spec)[0])
    try:
        with open_stack(spec) as stack:
            return f"{shape_text(stack.objects, stack.sections, stack.lines, stack.pixels)} ({stack.format})"
    except InputError:
        # a table or a model, to be judged by the command itself
        if name.is_file() and name.suffix.lower() not in (".hed", ".img", ".mrc", ".mrcs"):
            return f"{name.stat().st_size} bytes"
        raise


def _output(out: Plan, spec: str | os.PathLike, overwrite: bool) -> None:
    name, place = split_spec(spec)
    if Path(name).is_dir():
        out.add(Path(name), "folder")
        return
    try:
        files, form = output_paths(name), output_format(name)
    except OutputError:
        files, form = [Path(name)], ""  # a picture, a table
    if form == "IMAGIC" and Path(name).suffix.lower() not in ("", ".hed", ".img"):
        files = [Path(name)]
    if form == "MRC" and sidecar(name) not in files and sidecar(name).exists():
        files = [*files, sidecar(name)]
    if not any(f.exists() for f in files):
        for f in files:
            check_new(f)
            out.add(f, "new")
        return
    for f in files:
        fate = "changed" if place is not None else ("replaced" if overwrite else "refused")
        out.add(f, fate if f.exists() else "new")
