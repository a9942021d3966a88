"""Where a file came from: the record of a run, written as JSON beside its output."""

import hashlib
import os
import platform
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagic4d_core import __version__
from imagic4d_core.io.atomic import atomic_write_json
from imagic4d_core.io.locations import split_spec

SCHEMA = 1
END = 1 << 20
"""Bytes read at each end of a file for its digest: a digest of everything would cost as much as the copy of a large stack."""


def timestamp() -> str:
    """Now in UTC, or the time that ``SOURCE_DATE_EPOCH`` gives, so that pipelines can be compared byte for byte."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(fixed) if fixed.isdigit() else int(time.time())
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def files_of(spec: str | os.PathLike) -> list[Path]:
    """The existing files behind ``NAME``, ``NAME.hed`` or ``NAME,3,5``: one, or both of an IMAGIC pair."""
    path = Path(split_spec(spec)[0])
    if path.suffix in (".hed", ".img") or not path.exists():
        stem = path.with_suffix("") if path.suffix in (".hed", ".img") else path
        pair = [Path(f"{stem}{end}") for end in (".hed", ".img")]
        return [p for p in pair if p.is_file()]
    return [path] if path.is_file() else []


def digest(path: str | os.PathLike) -> str:
    """BLAKE2b of a file's size and of its first and last MiB, hexadecimal."""
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        state = hashlib.blake2b(str(size).encode(), digest_size=16)
        state.update(handle.read(END))
        if size > END:
            handle.seek(max(END, size - END))
            state.update(handle.read(END))
    return state.hexdigest()


def describe(specs: Iterable[str | os.PathLike]) -> list[dict[str, Any]]:
    """Name, size in bytes and digest of the files behind some arguments."""
    return [{"file": str(p), "bytes": p.stat().st_size, "digest": digest(p)} for spec in specs for p in files_of(spec)]


def record(
    argv: list[str], settings: Mapping[str, Mapping[str, Any]], inputs: list[dict[str, Any]], *,
    seed: int | None = None, ranks: int = 1, threads: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The record of a run.

    Parameters
    ----------
    argv : list of str
        The command line.
    settings : mapping
        Option -> ``{"value": ..., "from": "COMMANDLINE" | "ENVIRONMENT" | "DEFAULT_MAP" | "DEFAULT"}``.
    inputs : list of dict
        See `describe`.
    seed, ranks, threads
        As used.
    """
    return {
        "schema": SCHEMA, "program": "im4d", "version": __version__, "python": platform.python_version(), "time": timestamp(),
        "argv": argv, "settings": {k: dict(v) for k, v in settings.items()}, "seed": seed, "ranks": ranks, "threads": threads,
        "inputs": inputs,
    }  # fmt: skip


def record_path(output: str | os.PathLike) -> Path:
    """Where the record of an output goes: ``NAME.im4d.json`` beside it, or inside a folder."""
    path = Path(output)
    return path / "record.im4d.json" if path.is_dir() else path.with_suffix(".im4d.json")


def write(document: dict[str, Any], output: str | os.PathLike) -> Path:
    """Write a record beside `output`, in place of an older one."""
    path = record_path(output)
    atomic_write_json(path, document, overwrite=True)
    return path
