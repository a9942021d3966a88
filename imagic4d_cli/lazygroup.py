"""The top group: commands are imported when called, errors end in one line and an exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any

import click

from imagic4d_cli import config, exits, registry, report
from imagic4d_cli.run import Run


def _load(name: str) -> click.Command:
    """The command of a row of the table."""
    module, _, obj = registry.TABLE[name].target.partition(":")
    command: click.Command = attrgetter(obj)(import_module(module))
    if " " in name:  # a variable's name has no space
        command.context_settings["auto_envvar_prefix"] = "IM4D_" + name.upper().replace(" ", "_").replace("-", "_")
    return command


class Family(click.Group):
    """``im4d msa``: the commands that share a first word. `LazyGroup` runs them; here is the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return registry.members(str(self.name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = f"{self.name} {cmd_name.lower()}"
        return _load(name) if name in registry.TABLE else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0].lower() not in known:
            hint = _near(args[0], known) or f": commands are {', '.join(known)}"
            raise click.UsageError(f"no such command {self.name} {args[0]!r}{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(word, registry.TABLE[f"{self.name} {word}"].help) for word in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        words = [w for w in self.list_commands(ctx) if w.startswith(incomplete)]
        return [CompletionItem(w, help=registry.TABLE[f"{self.name} {w}"].help) for w in words]


def _near(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.55)
    near = near or [name for name in known if name.startswith(word.lower())][:1]
    return f": did you mean {near[0]}?" if near else ""


class LazyGroup(click.Group):
    """A group over `registry.TABLE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(registry.TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lower = cmd_name.lower().replace("_", "-")  # IMAGIC's TRUE_3D
        name = cmd_name if cmd_name in registry.TABLE else registry.ALIASES.get(lower, lower)
        if name in registry.TABLE:
            return _load(name)
        family = registry.FAMILY_ALIASES.get(lower, lower)
        if family in registry.FAMILIES and registry.members(family):
            return Family(family, help=registry.FAMILIES[family])
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        cmd = self.get_command(ctx, args[0])
        if isinstance(cmd, Family) and len(args) > 1 and args[1].lower() in registry.members(str(cmd.name)):
            cmd = cmd.get_command(ctx, args[1])
            args = args[1:]
        if cmd is None:
            if args[0].startswith("-"):
                raise click.NoSuchOption(args[0], ctx=ctx)
            hint = _near(args[0], [*registry.TABLE, *registry.ALIASES, *registry.FAMILIES])
            raise click.UsageError(f"no such command {args[0]!r}{hint}", ctx=ctx)
        if not ctx.resilient_parsing:
            config.apply(ctx, cmd)
        # the canonical name, so that usage lines, config sections and IM4D_* variables do not depend on the alias used
        return cmd.name, cmd, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in registry.GROUPS:
            rows = [(name, entry.help) for name, entry in registry.TABLE.items() if entry.group == group]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        told = {n: e.help for n, e in registry.TABLE.items() if " " not in n}
        told |= {n: text for n, text in registry.FAMILIES.items() if registry.members(n)}
        rows = [CompletionItem(n, help=text) for n, text in told.items() if n.startswith(incomplete)]
        if not rows and not incomplete.startswith("-"):  # IMAGIC's names, in the case they are typed in
            upper = incomplete.isupper()
            names = [a.upper() if upper else a for a in registry.ALIASES if a.startswith(incomplete.lower())]
            rows = [CompletionItem(n, help=f"IMAGIC's name of {registry.ALIASES[n.lower()]}") for n in names]
        return rows + click.Command.shell_complete(self, ctx, incomplete)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """As click's, but every error leaves through `exits.TABLE`, once, and ends all ranks under MPI."""
        if not standalone_mode or "_IM4D_COMPLETE" in os.environ:
            return super().main(args, prog_name or "im4d", standalone_mode=standalone_mode, **extra)
        run = Run()
        try:
            left = super().main(args, prog_name or "im4d", standalone_mode=False, obj=run, **extra)
            sys.stdout.flush()
            code = run.exit_code or (left if isinstance(left, int) else exits.DONE)  # click returns the code of ctx.exit()
        except BrokenPipeError:  # `im4d ... | head`: quiet; the descriptor must stay usable for the interpreter's own flush
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = exits.DONE
        except SystemExit:  # click's own answer to a closed pipe; no command calls sys.exit
            code = exits.DONE
        except (Exception, KeyboardInterrupt) as exc:
            code = exits.code_for(exc)
            _say(exc, code, run)
            _leave(code, failed=True)
            raise SystemExit(code) from exc
        _leave(code, failed=False)
        raise SystemExit(code)


def _leave(code: int, failed: bool) -> None:
    """Finalise MPI, or stop the other ranks; nothing when core's parallel module was never imported."""
    parallel = sys.modules.get("imagic4d_core.parallel")
    if parallel is not None:
        parallel.abort(code) if failed else parallel.finalize()


def _message(exc: BaseException, code: int) -> str:
    """The one line for the user."""
    if isinstance(exc, click.ClickException):
        text = exc.format_message()
        ctx = getattr(exc, "ctx", None)
        text = text.rstrip(".") + (f" (see {ctx.command_path} --help)" if ctx is not None else "")
    elif code == exits.INTERRUPTED:
        text = "interrupted"
    elif code == exits.BUG:
        import traceback

        frame = traceback.extract_tb(exc.__traceback__)[-1] if exc.__traceback__ else None
        where = f" at {os.path.basename(frame.filename)}:{frame.lineno}" if frame else ""
        text = f"this is a bug in im4d: {type(exc).__name__}: {exc}{where}; --debug shows the traceback"
    elif isinstance(exc, OSError) and exc.strerror:
        text = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    else:
        text = str(exc) or type(exc).__name__
    return report.visible(" ".join(text.split()))


def _say(exc: BaseException, code: int, run: Run) -> None:
    if isinstance(exc, click.exceptions.NoArgsIsHelpError):
        if run.rank == 0:
            click.echo(exc.format_message(), err=True)
        return
    if run.rank > 0:
        fault = type(exc).__name__ == "EnvironmentFault"
        if code == exits.USAGE or fault:  # seen by all ranks alike, before MPI is up: rank 0 says it
            return
        import time

        time.sleep(2.0)  # a mistake that all ranks see is said by rank 0, which ends us meanwhile
    run.close()
    if run.debug:
        import traceback

        traceback.print_exception(exc, file=sys.stderr)
    click.echo(f"im4d: error: {_message(exc, code)}", err=True)
