"""Pipes, and files compressed by gzip, bzip2 or xz, read as if they were plain files: by way of a temporary file.

Lists are unpacked in memory.
"""

import atexit
import bz2
import gzip
import lzma
import os
import shutil
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import temporary_folder

_KINDS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def _opener(raw: bytes) -> Callable[..., Any] | None:
    return next((opener for magic, opener in _KINDS.items() if raw.startswith(magic)), None)


def is_compressed(raw: bytes) -> bool:
    """Whether first bytes are those of a compressed file."""
    return _opener(raw) is not None


def open_plain(path: str | os.PathLike) -> IO[bytes]:
    """Open a file for reading, what is in it if it is compressed."""
    file = on_disk(path)
    with open(file, "rb") as handle:
        opener = _opener(handle.read(8))
    return open(file, "rb") if opener is None else opener(file, "rb")  # type: ignore[no-any-return]


#: Device and number of pipes that were read -> where what came through lies.
_taken: dict[tuple[int, int], Path] = {}


def is_pipe(path: str | os.PathLike) -> bool:
    """Whether a name stands for a pipe."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def on_disk(path: str | os.PathLike) -> Path:
    """The file itself; of a pipe, a temporary file with all that comes through, made once and kept to the end of the process.

    Raises
    ------
    InputError
        There is no room for it.
    """
    if not is_pipe(path):
        return Path(path)
    found = os.stat(path)
    key = (found.st_dev, found.st_ino)
    if key not in _taken:
        name = temporary_folder() / "pipe"
        atexit.register(remove, name)
        try:
            with open(path, "rb") as source, open(name, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        except OSError as error:
            raise InputError(f"{path}: cannot be taken from the pipe: {error.strerror or error}") from error
        _taken[key] = name
    return _taken[key]


def read_plain(path: str | os.PathLike) -> bytes:
    """All bytes of a file, of what is in it if it is compressed.

    Raises
    ------
    InputError
        It cannot be read, or is damaged.
    """
    try:
        with open_plain(path) as handle:
            return handle.read()
    except _ERRORS as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def plain_name(path: str | os.PathLike) -> Path:
    """``emd_1.map.gz`` -> ``emd_1.map``."""
    path = Path(path)
    return path.with_suffix("") if path.suffix.lower() in (".gz", ".bz2", ".xz") else path


def unpacked(path: str | os.PathLike) -> Path:
    """A temporary file with what is in a compressed one, to be removed by the caller.

    Raises
    ------
    InputError
        It is damaged, or there is no room for it.
    """
    name = temporary_folder() / plain_name(path).name
    try:
        with open_plain(path) as source, open(name, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except _ERRORS as error:
        remove(name)
        raise InputError(f"{path}: cannot be unpacked: {getattr(error, 'strerror', None) or error}") from error
    except BaseException:
        remove(name)
        raise
    return name


def remove(name: Path) -> None:
    """Remove a file of `unpacked`; what is open stays readable."""
    shutil.rmtree(name.parent, ignore_errors=True)
