"""The run object: what the common options said, handed to jobs and to the report."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from imagic4d_cli import exits, report, types

if TYPE_CHECKING:
    from imagic4d_core.parallel import Comm

_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_SIZE = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def _launched(names: tuple[str, ...], default: int) -> int:
    """Rank or size from the launcher's variables; core.parallel.launcher is not imported for it: it needs numpy."""
    return next((int(os.environ[n]) for n in names if os.environ.get(n, "").isdigit()), default)


class Run:
    """One call of a command.

    Attributes
    ----------
    overwrite, json : bool
    threads : int or None
    mpi : bool or None
        None: as the launcher says.
    exit_code : int
        Set by `report`.
    declared : set of str
        Names of the common options that the command has.
    """

    def __init__(self) -> None:
        self.overwrite = False
        self.json = False
        self.debug = False
        self.record = False
        self.dry_run = False
        self.threads: int | None = None
        self.mpi: bool | None = None
        self.verbose = 0
        self.quiet = 0
        self.exit_code = exits.DONE
        self.declared: set[str] = set()
        self._seed: int | None = None
        self._bar: Any = None
        launched = _launched(_SIZE, 1) > 1
        self.rank = _launched(_RANK, 0) if launched else 0
        self.size = _launched(_SIZE, 1) if launched else 1

    def set(self, ctx: click.Context, param: click.Parameter, value: Any) -> None:
        """Callback of the common options."""
        name = str(param.name)
        self.declared.add(name)
        if name in ("verbose", "quiet"):  # may be given to the group and to the command
            value += getattr(self, name)
        if name == "debug":
            value = value or self.debug
        setattr(self, "_seed" if name == "seed" else name, value)

    def start(self, command: click.Command) -> bool:
        """Set up logging; False when this rank has nothing to do because the command does not use MPI."""
        from imagic4d_cli import logs

        logs.set_up(self.verbose - self.quiet, self.rank, self.size)
        self._say_overwrite()
        parallel = any(p.name == "mpi" for p in command.params)
        if self.size == 1 or parallel:
            return True
        if self.rank == 0:
            logs.log.warning("%s does not use MPI: rank 0 does all the work", command.name)
        return self.rank == 0

    def _say_overwrite(self) -> None:
        """A settings file of another folder that lets files be replaced does not do so without a word."""
        ctx = click.get_current_context()
        if not self.overwrite or ctx.get_parameter_source("overwrite") != click.core.ParameterSource.DEFAULT_MAP:
            return
        from imagic4d_cli import config, logs

        path = ctx.meta.get(config.META)
        if path and os.path.dirname(os.path.abspath(path)) != os.getcwd() and self.rank == 0:
            logs.log.warning("%s says overwrite = true: outputs that exist are replaced", path)

    @property
    def comm(self) -> "Comm":
        """The communicator, serial unless a launcher or --mpi says otherwise."""
        from imagic4d_core.parallel import SERIAL, get_comm

        if "mpi" not in self.declared:
            return SERIAL
        comm = get_comm(self.mpi)
        self.rank, self.size = comm.rank, comm.size
        return comm

    @property
    def seed(self) -> int:
        """The given seed, or one drawn now, the same on all ranks, and recorded in the report."""
        if self._seed is None:
            from imagic4d_cli.logs import log
            from imagic4d_core.rng import draw_seed

            self._seed = int(self.comm.bcast(draw_seed()))
            if self.rank == 0:
                log.info("seed %d (drawn: give --seed %d to repeat this run)", self._seed, self._seed)
        return self._seed

    @property
    def progress(self) -> Callable[[int, int], None] | None:
        """A progress bar on rank 0 of a terminal, None elsewhere."""
        if self.rank > 0 or self.json or self.quiet or not sys.stderr.isatty():
            return None
        if self._bar is None:
            from imagic4d_cli.progress import Bar

            self._bar = Bar()
        return self._bar  # type: ignore[no-any-return]

    def job_kwargs(self, *names: str) -> dict[str, Any]:
        """Keyword arguments for a job.

        Parameters
        ----------
        *names : str
            Which of overwrite, comm, threads, progress, seed; default: the first four, and seed if the command has --seed.
        """
        names = names or ("overwrite", "comm", "threads", "progress", *(("seed",) if "seed" in self.declared else ()))
        return {name: getattr(self, name) for name in names}

    def report(self, summary: Any, *, ok: bool = True) -> None:
        """Print a job's summary on rank 0.

        Parameters
        ----------
        summary : object
            Has ``as_dict()`` and ``lines()``; a plain dict or dataclass works too.
        ok : bool
            False: the answer is no (exit code 1).
        """
        self.close()
        if not ok:
            self.exit_code = exits.NO
        if self.rank > 0:
            return
        extra = {"seed": self._seed} if self._seed is not None else {}
        if self.json:
            report.document(summary, extra)
        else:
            report.lines(summary, extra)

    def fail(self, failures: Sequence[Exception]) -> None:
        """End with the error of the first of several files that could not be read, after what was found of the others."""
        if failures:
            from imagic4d_cli.logs import log

            for error in failures[1:]:
                log.warning("%s", error)
            sys.stdout.flush()
            raise failures[0]

    def _files(self, ctx: click.Context) -> tuple[list[str], list[str]]:
        """Input and output files among the parameters."""
        inputs: list[str] = []
        outputs: list[str] = []
        for param in ctx.command.params:
            value = ctx.params.get(str(param.name))
            files = value if isinstance(value, tuple) else (value,)
            if isinstance(param.type, types.FileName):
                written = param.type is types.TARGET or param.type.suffixes[0] in (".png", ".html")
                (outputs if written else inputs).extend(f for f in files if isinstance(f, str))
        return inputs, outputs

    def plan(self, ctx: click.Context) -> None:
        """Report what the command would do (``--dry-run``); exit code 1 where it would refuse an output."""
        from imagic4d_core.jobs.planning import plan

        inputs, outputs = self._files(ctx)
        replaces = ctx.params.get("dst") is None and any(
            p.name == "dst" and "headers" in str(getattr(p, "help", "")) for p in ctx.command.params
        )
        found = plan(inputs, outputs, headers_of=inputs[0] if replaces and inputs else None, overwrite=self.overwrite)
        self.report(found, ok=not found.refused)

    def write_record(self, ctx: click.Context) -> None:
        """Write the record of this call beside its outputs (``--record``)."""
        from imagic4d_core import provenance
        from imagic4d_core.parallel import thread_count

        inputs: list[str] = []
        outputs: list[str] = []
        settings = {}
        for param in ctx.command.params:
            name = str(param.name)
            value = ctx.params.get(name, getattr(self, name, None))
            origin = ctx.get_parameter_source(name)
            settings[name] = {"value": report.plain(value), "from": origin.name if origin else "DEFAULT"}
            files = value if isinstance(value, tuple) else (value,)
            if param.type in (types.SOURCE, types.TARGET):
                (inputs if param.type is types.SOURCE else outputs).extend(f for f in files if f is not None)
        used: dict[str, Any] = {"seed": self._seed, "ranks": self.size, "threads": thread_count(self.threads)}
        document = provenance.record(sys.argv[1:], settings, provenance.describe(inputs), **used)
        for output in outputs:
            provenance.write(document, output)

    def close(self) -> None:
        """Take the progress bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def pass_run(func: Callable[..., None]) -> Callable[..., None]:
    """Hand the run object to a command as its first argument; ranks without work skip the command."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        ctx = click.get_current_context()
        run = ctx.ensure_object(Run)
        if not run.start(ctx.command):
            return
        if run.dry_run:
            if run.rank == 0:
                run.plan(ctx)
            return
        ctx.invoke(func, run, *args, **kwargs)
        if run.record and run.rank == 0:
            run.write_record(ctx)

    return wrapper
