"""A folder of a run that goes on where it was stopped: steps that are jobs, iterations made of steps, a journal of what is done.

`run.json` holds what decides the result, `journal.jsonl` a line for every iteration that is complete, `work/` its files, whose
names begin with the iteration's. Beside the folder, `.NAME.lock` keeps a second run out, and `.NAME.before` is an earlier run
that is to be replaced, until the new one has its first results.
"""

import fcntl
import glob
import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from imagic4d_core.errors import Im4dError, InputError, MismatchError, OutputError
from imagic4d_core.io.atomic import atomic_write_json, atomic_write_text, discard, move_folder, relaxed, sync_file
from imagic4d_core.io.stack import open_stack
from imagic4d_core.parallel import Comm

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A job as the steps of a plan call it.

    Attributes
    ----------
    call : callable
    command : str
        Its command, ``"msa run"``.
    positional : tuple of str
        Parameters that the command takes as arguments, in their order.
    files : tuple of str
        Parameters that name files, relative to the folder of the run.
    flags : mapping of str to str
        Parameter -> option where the two differ by more than dashes.
    """

    call: Callable[..., Any]
    command: str
    positional: tuple[str, ...]
    files: tuple[str, ...]
    flags: Mapping[str, str] = field(default_factory=dict)


class Step(Protocol):
    """One call of a job, which is one command of a script."""

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Any:
        """Call the job; file names are relative to `folder`."""

    def command(self) -> str:
        """The command line that does the same."""


@dataclass
class JobStep:
    """A step by the name of its job's parameters."""

    job: Job
    options: dict[str, Any]

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Any:
        """Call the job; file names are relative to `folder`."""
        options = {
            k: os.path.join(folder, v) if k in self.job.files and v is not None and not os.path.isabs(v) else v
            for k, v in self.options.items()
        }
        first = [options.pop(name) for name in self.job.positional]
        return self.job.call(*first, overwrite=True, **options, comm=comm, threads=threads)

    def command(self) -> str:
        """The command line that does the same."""
        words = ["im4d", *self.job.command.split()]
        options = dict(self.options)
        words += [str(options.pop(name)) for name in self.job.positional]
        for name, value in options.items():
            flag = self.job.flags.get(name, name.replace("_", "-"))
            if value is None:
                continue
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words += [f"--{flag}", ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)]
        return " ".join(w if w.startswith('"') else shlex.quote(w) for w in [*words, "--overwrite"])


@dataclass
class Iteration:
    """Steps that are done together; `facts` are for the journal, `after` names the iteration that it is compared with."""

    name: str
    stage: str
    steps: Sequence[Step]
    facts: dict[str, Any] = field(default_factory=dict)
    after: str | None = None


#: Iterations one after the other; the plan is told whether the one before has converged, and ends a stage or itself.
Plan = Generator[Iteration, bool | None, None]


#: Locks of the runs that this process works on.
_held: dict[Path, int] = {}


def _beside(folder: Path, what: str) -> Path:
    whole = Path(os.path.abspath(folder))
    return whole.with_name(f".{whole.name}.{what}")


def lock(folder: Path) -> None:
    """Keep other runs out of a folder until `unlock`, or the end of the process, however it ends.

    Raises
    ------
    OutputError
        Another run is at work there; it is named.
    """
    path = _beside(folder, "lock")
    try:
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine, now = os.fstat(fd), os.stat(path)
            except BlockingIOError:
                who = os.read(fd, 1000).decode("utf-8", "replace").strip()
                os.close(fd)
                raise OutputError(f"{folder}: another run is at work there ({who or 'just started'}); wait for its end") from None
            except FileNotFoundError:  # the other one ended just now and took its lock away
                os.close(fd)
                continue
            except OSError:  # a file system without locks
                break
            if (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino):
                break
            os.close(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()} on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode(), 0)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error
    _held[Path(os.path.abspath(folder))] = fd


def unlock(folder: Path) -> None:
    """Let other runs into a folder; a process that does not hold its lock may call this too."""
    fd = _held.pop(Path(os.path.abspath(folder)), None)
    if fd is not None:
        discard([_beside(folder, "lock")])
        os.close(fd)


def _holds(folder: Path) -> bool:
    return Path(os.path.abspath(folder)) in _held


def _remove(path: Path, folder: Path) -> None:
    """Remove what belongs to a run in one step, as seen from outside: killed meanwhile, nothing is left that looks like one."""
    gone = _beside(folder, f"gone-{os.urandom(4).hex()}")
    move_folder(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def settle(folder: Path) -> None:
    """Bring in order what a killed run left: an earlier run that was set aside comes back where the new one has not begun."""
    whole, before = Path(os.path.abspath(folder)), _beside(folder, "before")
    for gone in whole.parent.glob(f".{glob.escape(whole.name)}.gone-*"):
        shutil.rmtree(gone, ignore_errors=True)
    if not before.is_dir():
        return
    if _journal_is_there(folder):
        _remove(before, folder)
        return
    if folder.is_dir():
        _remove(folder, folder)
    move_folder(before, folder)


def _journal_is_there(folder: Path) -> bool:
    path = folder / "journal.jsonl"
    return path.is_file() and path.stat().st_size > 0


def make(folder: Path, settings: Any, overwrite: bool, owner: str) -> None:
    """Make the folder of a new run. An earlier run there is set aside until the new one has its first results.

    Parameters
    ----------
    folder : Path
    settings : dataclass
        For run.json.
    overwrite : bool
        Replace a folder that holds another run.
    owner : str
        The command, for messages.

    Raises
    ------
    OutputError
    """
    try:
        settle(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            if not overwrite or not folder.is_dir():
                raise OutputError(
                    f"{folder}: exists and is not empty; give another folder, --resume to go on with it, or --overwrite"
                )
            if not (folder / "run.json").exists():
                raise OutputError(f"{folder}: is not a folder of {owner}; it is not overwritten")
            if not os.access(folder, os.W_OK):
                raise OutputError(f"{folder}: is write-protected; give another folder, or allow writing (chmod u+w)")
            move_folder(folder, _beside(folder, "before"))
        folder.mkdir(parents=True, exist_ok=True)
        read = [*_read_from(settings.images)] if hasattr(settings, "images") else []
        atomic_write_json(folder / "run.json", {"schema": 1, **settings.__dict__, "read": read})
        (folder / "work").mkdir()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from error


def _read_from(src: str) -> Iterator[dict[str, Any]]:
    """Size, time and digest of the files that hold the densities of a stack or a list."""
    with open_stack(src) as stack:
        files = getattr(stack.reader, "paths", None) or [getattr(stack.reader, "img", stack.path)]
    for path in files:
        found = os.stat(path)
        yield {"file": str(path), "bytes": found.st_size, "time": found.st_mtime_ns, "digest": _digest(path)}


def _digest(path: str | os.PathLike) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _check_unchanged(folder: Path) -> None:
    """Refuse to go on where densities have changed since the run began (MismatchError); other times alone do not matter."""
    for was in _document(folder).get("read", []):
        try:
            now = os.stat(was["file"])
            same = now.st_size == was["bytes"] and (now.st_mtime_ns == was["time"] or _digest(was["file"]) == was["digest"])
        except (OSError, KeyError, TypeError):
            continue
        if not same:
            raise MismatchError(
                f"{folder}: {was['file']} has other densities than when this run began; bring the old ones back, "
                "or start anew (without --resume)"
            )


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return document if isinstance(document, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def load(folder: Path, kind: Callable[..., T]) -> T:
    """Settings of a run that is to go on (InputError: there is none)."""
    try:
        document = _document(folder)
        document.pop("schema")
        document.pop("read", None)
        settings = kind(**document)
        _check_types(settings)
        return settings
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: no run to go on with (run.json is missing or damaged); start without --resume") from error


def _check_types(settings: Any) -> None:
    """Refuse settings of another type than their fields have (TypeError); what is not a plain type is not looked at."""
    for name, kind in get_type_hints(type(settings)).items():
        kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        plain = tuple(k for k in kinds if k in (int, float, str, bool, type(None)))
        value = getattr(settings, name)
        if len(plain) == len(kinds) and type(value) not in plain and not (type(value) is int and float in plain):
            raise TypeError(f"{name} is {value!r}")


@contextmanager
def legible(folder: str | os.PathLike) -> Iterator[None]:
    """Files of a run that say what no run writes end in one line, wherever that shows (InputError)."""
    try:
        yield
    except Im4dError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(
            f"{folder}: the file, or summary.json, fsc.json, run.json or journal.jsonl in the folder, is damaged "
            f"({type(error).__name__}: {error})"
        ) from error


def tidy(folder: Path) -> None:
    """Remove what a killed run left half written."""
    (folder / "work").mkdir(exist_ok=True)
    discard([*folder.glob(".*.tmp"), *(folder / "work").glob(".*.tmp")])


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Lines of journal.jsonl, none where there is no such file."""
    path = folder / "journal.jsonl"
    if not path.exists():
        return []
    out: list[dict[str, Any]] = []
    try:
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            entry = json.loads(line)
            if not _is_entry(entry, out[0] if out else entry):
                raise ValueError("not an entry")
            out.append(entry)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: line {len(out) + 1} is damaged; take it and those after it out, and --resume repeats these iterations"
        ) from error
    return out


def _is_entry(entry: Any, first: dict[str, Any]) -> bool:
    """Whether a line of a journal says what all of them say, as the first does."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    numbers = (int, float)
    return all(
        k in entry and (v is None or entry[k] is None or isinstance(entry[k], numbers if isinstance(v, numbers) else type(v)))
        for k, v in first.items()
    )


def is_classification(rundir: str | Path) -> bool:
    """Whether a folder is one of classify2d, not of refine."""
    return "classes" in _document(Path(rundir))


def _check_same(src: str, was: str, folder: Path) -> None:
    """Refuse to go on with other images than the run has (MismatchError); files that are not there any more do not count."""
    try:
        with open_stack(src) as given, open_stack(was) as mine:
            same = os.path.samefile(given.path, mine.path)
    except (Im4dError, OSError):
        return
    if not same:
        raise MismatchError(f"{folder}: is a run of {was}, not of {src}; give that, or another folder")


def opened(
    folder: Path, comm: Comm, resume: bool, kind: Callable[..., T], settings: Callable[[], T], overwrite: bool, owner: str,
    src: str,
) -> T:  # fmt: skip
    """Settings of a run of images `src`: of one that goes on, its own; of a new one, those given, in a new folder.

    The same on all ranks.
    """
    if resume:
        if not folder.exists() and not _beside(folder, "before").exists():
            load(folder, kind)  # says so
        if comm.rank == 0:
            lock(folder)
            try:
                settle(folder)
                _check_unchanged(folder)
            except BaseException:
                unlock(folder)
                raise
        comm.barrier()
        try:
            s = load(folder, kind)
            _check_same(src, s.images, folder)  # type: ignore[attr-defined]
            if comm.rank == 0:
                tidy(folder)
        except BaseException:
            unlock(folder)
            raise
        comm.barrier()
        return s
    s = settings()
    if comm.rank == 0:
        with suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
        lock(folder)
        try:
            make(folder, s, overwrite, owner)
        except BaseException:
            _bring_back(folder)
            unlock(folder)
            raise
    return comm.bcast(s)  # type: ignore[no-any-return]


def _bring_back(folder: Path) -> None:
    """The earlier run comes back where a new one came to nothing."""
    if _beside(folder, "before").is_dir():
        with suppress(OSError):
            settle(folder)


def shown_name(path: str, cwd: str) -> str:
    """A file's name for people: relative to the folder where the run was started, where that is shorter than the whole path."""
    return min(os.path.relpath(path, cwd) if cwd else os.path.basename(path), path, key=len)


def epoch_now() -> int:
    """The time that a run writes into its headers: SOURCE_DATE_EPOCH, or now."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isdigit() else int(time.time())


@contextmanager
def at_epoch(epoch: int) -> Iterator[None]:
    """All files made inside get this time, whenever the run goes on."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


@contextmanager
def removed_if_useless(folder: Path, resume: bool) -> Iterator[None]:
    """A new run whose images turn out to be of no use leaves nothing behind, and an earlier run comes back; ends the lock."""
    try:
        yield
    except BaseException as error:
        if _holds(folder) and not resume and not _journal_is_there(folder):
            if _beside(folder, "before").is_dir():
                _bring_back(folder)
            elif isinstance(error, InputError | MismatchError):
                shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        unlock(folder)


def loop(
    plan: Plan, folder: Path, *, entry: Callable[[Iteration, list[Any], list[dict[str, Any]]], dict[str, Any]],
    keep: Sequence[str], total: int, comm: Comm, threads: int | None, progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], str, bool]:  # fmt: skip
    """Run a plan, leaving out what the journal says is done; the plan is told when an entry says ``"converged"``.

    Parameters
    ----------
    plan : generator of Iteration
    folder : Path
    entry : callable
        (iteration, results of its steps, journal so far) -> line of the journal, called on all ranks.
    keep : sequence of str
        Beginnings of names in work/ that stay; those of the last two iterations always do.
    total : int
        Iterations at most, for `progress`.

    Returns
    -------
    journal : list of dict
    last : str
        Name of the last iteration.
    converged : bool
        What its entry says.
    """
    journal = comm.bcast(read_journal(folder) if comm.rank == 0 else None)
    done = {line["name"] for line in journal}
    last, converged = "", False
    it = next(plan, None)
    while it is not None:
        if it.name not in done:
            with relaxed():
                results = [step.run(folder, comm=comm, threads=threads) for step in it.steps]
            journal.append(entry(it, results, journal))
            if comm.rank == 0:
                for path in (folder / "work").glob(f"{it.name}*"):
                    sync_file(path)
                atomic_write_text(folder / "journal.jsonl", "".join(json.dumps(e) + "\n" for e in journal), overwrite=True)
                if _beside(folder, "before").is_dir():  # the new run is possible: the switch
                    _remove(_beside(folder, "before"), folder)
                clean(folder, keep={it.name, *([last] if last else []), *keep})
            comm.barrier()
        converged = bool(next(e for e in journal if e["name"] == it.name).get("converged"))
        last = it.name
        if progress is not None:
            progress(len(journal), total)
        try:
            it = plan.send(converged)
        except StopIteration:
            it = None
    return journal, last, converged


def clean(folder: Path, keep: set[str]) -> None:
    """Remove what earlier iterations left; names begin with the iteration's."""
    for path in sorted((folder / "work").iterdir()):
        if path.is_file() and not any(path.name.startswith(k) for k in keep):
            path.unlink()
