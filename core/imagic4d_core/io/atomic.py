"""The one atomic writer: temporary name in the same folder, flush, rename. Nothing half written is ever seen.

Files that belong together are renamed as one (`commit`, `recover`); a file that takes the place of another keeps its mode, owner
and group, and a symbolic link stays one.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from imagic4d_core.errors import OutputError

#: End of the name of a file that says which renames belong together, see `commit`.
_INTENT = ".im4d-commit"
_TEMP = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]+)-(?P<host>[0-9a-f]{4})?[0-9a-f]{8}\.tmp", re.DOTALL)


def resolved(path: str | os.PathLike) -> Path:
    """Where a file lies: that which a symbolic link stands for."""
    return Path(os.path.realpath(path))


def is_special(path: str | os.PathLike) -> bool:
    """Whether a name stands for a pipe, a socket or a device."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_new(path: str | os.PathLike, overwrite: bool = False) -> Path:
    """Return `path` if a file may be made there; a replacement of it that was broken off is finished first.

    Raises
    ------
    OutputError
        It exists and `overwrite` is false, it is write-protected, or its folder is missing or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; a file name is needed")
    if is_special(path):
        raise OutputError(f"{path}: is a pipe or a device; outputs appear whole under a file name, give one")
    recover(path)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name or give --overwrite")
    folder = resolved(path).parent
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder if path.is_symlink() else path.parent} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} cannot be written; choose another one or change its permissions")
    check_writable(path)
    return path


def check_writable(path: str | os.PathLike) -> None:
    """Refuse to replace a file that its owner protected against writing, whoever asks (OutputError)."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) and not (mode & 0o222 and os.access(path, os.W_OK)):
        raise OutputError(
            f"{path}: is write-protected (mode {stat.S_IMODE(mode):03o}); choose another name for the output, "
            "or allow writing (chmod u+w)"
        )


@lru_cache(maxsize=1)
def _host() -> str:
    """Four hexadecimal digits that stand for this machine: numbers of processes mean something only on one."""
    import zlib

    return f"{zlib.crc32(os.uname().nodename.encode('utf-8', 'replace')) & 0xFFFF:04x}"


def temp_name(path: str | os.PathLike) -> Path:
    """A free name beside `path`, hidden, for a file that is renamed to `path` when complete."""
    path = resolved(path)
    return path.with_name(f".{path.name}.{os.getpid()}-{_host()}{os.urandom(4).hex()}.tmp")


def sweep(path: str | os.PathLike) -> None:
    """Remove temporary files of `path` whose process was killed; those of a process that lives, or of another machine, stay."""
    path = resolved(path)
    prefix = f".{path.name}."
    try:
        with os.scandir(path.parent) as entries:
            names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(".tmp")]
    except OSError:
        return
    discard(path.with_name(name) for name in names if _is_left_over(name, path.name))


def _is_left_over(name: str, target: str) -> bool:
    found = _TEMP.fullmatch(name)
    if found is None or found["name"] != target or found["host"] not in (None, _host()):
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _failure(path: str | os.PathLike, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or error}")


def create_exactly(name: Path) -> None:
    """Create an empty file that must not exist yet."""
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))


def create_temp(path: Path) -> Path:
    """Create the empty temporary file of `path` and return its name (`OutputError` where that fails).

    What killed processes left of `path` is removed, and the file is no more open to others than the one it is to replace.
    """
    sweep(path)
    name = temp_name(path)
    try:
        create_exactly(name)
        _inherit(name, path, 0o600)
    except OSError as error:
        discard([name])
        raise _failure(path, error) from error
    except BaseException:
        discard([name])
        raise
    return name


def _inherit(name: Path, path: str | os.PathLike, more: int = 0) -> None:
    """Give a new file the owner, group, access list and mode of the one it replaces, as far as that is allowed."""
    try:
        old = os.stat(path)
    except OSError:
        return
    mine = os.stat(name)
    if (mine.st_ino, mine.st_dev) == (old.st_ino, old.st_dev) or mine.st_nlink > 1:
        return  # a name of a file that has others too
    for owner, group in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
        with suppress(OSError):
            os.chown(name, owner, group)
            break
    with suppress(OSError, AttributeError):
        for attribute in os.listxattr(path):
            with suppress(OSError):
                os.setxattr(name, attribute, os.getxattr(path, attribute))
    os.chmod(name, stat.S_IMODE(old.st_mode) | more)


def check_room(path: str | os.PathLike, size: int) -> None:
    """Refuse an output that is larger than what is free on its device, before it fills it.

    Raises
    ------
    OutputError
        Says how much is needed and how much is free.
    """
    try:
        device = os.statvfs(resolved(path).parent)
    except OSError:
        return
    blocks = device.f_bfree if os.geteuid() == 0 else device.f_bavail
    if device.f_blocks and size > blocks * device.f_frsize:
        free = blocks * device.f_frsize
        raise OutputError(f"{path}: cannot be written: {size / 1e6:.6g} MB are needed, and {free / 1e6:.6g} MB are free there")


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
    """Rename finished temporary files to their places, in the order given: all of them, even if the process is killed.

    Renames that belong together are written down first, in a file beside them; while that is there, whoever opens one of the
    files or writes to it finishes the renames (`recover`). Temporary files are not to be removed by the caller afterwards.

    Parameters
    ----------
    pairs : list of (temporary, final)
    sync : bool
        Flush each to the device before the first rename (not inside `relaxed`).

    Raises
    ------
    OutputError
    """
    sync = sync and _flush
    todo = [(name, resolved(path)) for name, path in pairs]
    intents: list[Path] = []
    try:
        for name, path in todo:
            _inherit(name, path)
            if sync:
                sync_file(name)
        if len(todo) > 1:
            _write_intents(todo, sync, intents)
        _rename(todo, intents, sync)
    except OSError as error:
        if not any(intent.exists() for intent in intents):
            discard([name for name, _ in pairs])
        raise _failure(pairs[0][1], error) from error
    except BaseException:  # stopped by a signal
        if any(intent.exists() for intent in intents):
            _rename(todo, intents, sync)  # it is decided, and soon done
        else:
            discard([name for name, _ in pairs])
        raise


def _rename(todo: list[tuple[Path, Path]], intents: list[Path], sync: bool) -> None:
    for name, path in todo:
        try:
            os.replace(name, path)
        except FileNotFoundError:
            if not intents or not path.exists():
                raise
            # another process that opened the file has finished it
        discard([name])  # rename does nothing between two names of one file
    if sync:
        for folder in {path.parent for _, path in todo}:
            with suppress(OSError):
                sync_file(folder)
    discard(intents)


def intent_of(path: str | os.PathLike) -> Path:
    """The file that says which renames belong together; one for ``NAME.hed``, ``NAME.img`` or ``NAME.mrcs``, ``NAME.star``."""
    path = resolved(path)
    return path.with_name(f".{path.stem}{_INTENT}")


def _write_intents(todo: list[tuple[Path, Path]], sync: bool, intents: list[Path]) -> None:
    """Write down what is to be renamed, beside every file that it is about; `intents` gets the names."""
    import json

    for intent in dict.fromkeys(intent_of(path) for _, path in todo):
        recover(intent, at=intent)
        files = [[os.path.relpath(name, intent.parent), os.path.relpath(path, intent.parent)] for name, path in todo]
        text = json.dumps({"schema": 1, "files": files})
        name = create_temp(intent)
        try:
            with open(name, "w", encoding="utf-8", errors="surrogateescape") as handle:
                handle.write(text)
                handle.flush()
                if sync:
                    os.fsync(handle.fileno())
            intents.append(intent)
            os.replace(name, intent)
        except BaseException:
            discard([name])
            raise
        if sync:
            with suppress(OSError):
                sync_file(intent.parent)


def recover(path: str | os.PathLike, at: Path | None = None) -> None:
    """Finish renames of `path`, and of what belongs to it, that a killed process left half done.

    Parameters
    ----------
    path : path
        A file that is about to be opened or replaced.
    at : Path, optional
        Where the renames are written down, if not beside `path`.

    Raises
    ------
    OutputError
        What was written down is damaged, or the folder cannot be written.
    """
    intent = intent_of(path) if at is None else at
    try:
        text = intent.read_text(encoding="utf-8", errors="surrogateescape")
    except PermissionError as error:
        raise OutputError(f"{intent}: cannot be read ({error.strerror}); a replacement of {path} was broken off") from error
    except OSError:
        return
    import json

    try:
        files = [(str(name), str(final)) for name, final in json.loads(text)["files"]]
        todo = [(intent.parent / name, intent.parent / final) for name, final in files]
        good = all(_TEMP.fullmatch(name.name) for name, _ in todo)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise OutputError(f"{intent}: is damaged; it should say which files belong together: check them, and remove it")
    try:
        _rename([(name, final) for name, final in todo if name.exists()], [intent], True)
    except OSError as error:
        raise OutputError(
            f"{path}: its replacement was broken off and cannot be finished here: {error.strerror or error}; "
            "run a command on it as a user who may write there"
        ) from error


def sync_file(path: str | os.PathLike) -> None:
    """Flush a file or folder to its device."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def temporary_folder() -> Path:
    """A new folder where the system keeps temporary files (TMPDIR); OSError where there is no place."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="im4d-"))


def move_folder(old: Path, new: Path) -> None:
    """Give a folder another name on the same file system; OSError where that name is taken by one that is not empty."""
    os.rename(old, new)


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
    except OSError as error:
        discard([name])
        raise _failure(target, error) from error
    except BaseException:
        discard([name])
        raise
    commit([(name, target)])


def atomic_write_text(path: str | os.PathLike, text: str, overwrite: bool = False) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_write(path, "w", overwrite, encoding="utf-8", errors="surrogateescape") as handle:
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
