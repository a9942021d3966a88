"""Files compressed by gzip, bzip2 or xz, read as if they were not: lists in memory, densities by way of a temporary file."""

import bz2
import gzip
import lzma
import os
import shutil
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
    with open(path, "rb") as handle:
        opener = _opener(handle.read(8))
    return open(path, "rb") if opener is None else opener(path, "rb")  # type: ignore[no-any-return]


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
