"""The one atomic writer: temporary name in the same folder, flush, rename. Nothing half written is ever seen."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from imagic4d_core.errors import OutputError


def check_new(path: str | os.PathLike, overwrite: bool = False) -> Path:
    """Return `path` if a file may be made there.

    Raises
    ------
    OutputError
        It exists and `overwrite` is false, or its folder is missing or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; a file name is needed")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name or give --overwrite")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} cannot be written; choose another one or change its permissions")
    return path


def temp_name(path: str | os.PathLike) -> Path:
    """A free name beside `path`, hidden, for a file that is renamed to `path` when complete."""
    path = Path(path)
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")


def _failure(path: str | os.PathLike, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")


def create_exactly(name: Path) -> None:
    """Create an empty file that must not exist yet."""
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))


def create_temp(path: Path) -> Path:
    """Create the empty temporary file of `path` and return its name (`OutputError` where that fails)."""
    name = temp_name(path)
    try:
        create_exactly(name)
    except OSError as error:
        raise _failure(path, error) from error
    return name


_flush = True


@contextmanager
def relaxed() -> Iterator[None]:
    """Files committed inside are not flushed to the device: for intermediate files that a rerun makes again.

    A killed process loses nothing by it; only a machine that stops may.
    """
    global _flush
    before, _flush = _flush, False
    try:
        yield
    finally:
        _flush = before


def commit(pairs: list[tuple[Path, Path]], sync: bool = True) -> None:
    """Rename finished temporary files to their places, in the order given.

    Parameters
    ----------
    pairs : list of (temporary, final)
    sync : bool
        Flush each to the device before the first rename (not inside `relaxed`).
    """
    sync = sync and _flush
    try:
        if sync:
            for name, _ in pairs:
                sync_file(name)
        for name, path in pairs:
            os.replace(name, path)
        # rename does nothing between two names of one file
        discard([name for name, _ in pairs])
        if sync:
            for folder in {path.parent for _, path in pairs}:
                with suppress(OSError):
                    sync_file(folder)
    except OSError as error:
        discard([name for name, _ in pairs])
        raise _failure(pairs[0][1], error) from error


def sync_file(path: str | os.PathLike) -> None:
    """Flush a file or folder to its device."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def discard(names: Iterable[Path]) -> None:
    """Remove temporary files; missing ones do not matter."""
    for name in names:
        with suppress(OSError):
            os.unlink(name)


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb", overwrite: bool = False, **opts: Any) -> Iterator[IO]:
    """Open a file that appears under `path` only when the block ends without an exception.

    Parameters
    ----------
    path : path
    mode : {"wb", "w"}
    overwrite : bool
        Replace an existing file.
    **opts
        Passed to `open`.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    target = check_new(path, overwrite)
    name = create_temp(target)
    try:
        with open(name, mode, **opts) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        discard([name])
        raise _failure(target, error) from error
    except BaseException:
        discard([name])
        raise
    commit([(name, target)], sync=False)


def atomic_write_text(path: str | os.PathLike, text: str, overwrite: bool = False) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_write(path, "w", overwrite, encoding="utf-8") as handle:
        handle.write(text)


def atomic_write_json(path: str | os.PathLike, document: Any, overwrite: bool = False) -> None:
    """Write a JSON document atomically, keys in the order given, ending in a newline."""
    import json

    atomic_write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n", overwrite)


@contextmanager
def scratch_folder(near: str | os.PathLike, comm: Any) -> Iterator[Path]:
    """A folder for intermediate files beside `near`, on its file system (hard links work), removed at the end.

    A folder of the same name left by a run that was killed is emptied first. All ranks of `comm` share it.
    """
    import shutil

    folder = Path(near).with_name(f".{Path(near).name}.scratch")
    if comm.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir()
        except OSError as error:
            raise _failure(folder, error) from error
    comm.barrier()
    try:
        yield folder
    finally:
        if comm.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
