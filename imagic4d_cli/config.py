"""Configuration: ``im4d.toml`` in this folder or above, or ``--config FILE``.

Order: command line, ``IM4D_*`` environment, file, default. Top-level keys are options that many commands share
(``threads = 4``); a section per command holds its own (``[refine]``, ``[msa.run]``).
"""

import os
from typing import Any

import click

from imagic4d_cli import registry

NAME = "im4d.toml"
#: Key of the file in use in `click.Context.meta`.
META = "imagic4d.config"


def find(folder: str | None = None) -> str | None:
    """The nearest ``im4d.toml``, upward from `folder` (default: the current one), or None."""
    here = os.path.abspath(folder or os.getcwd())
    while True:
        path = os.path.join(here, NAME)
        if os.path.isfile(path):
            return path
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent


def load(path: str) -> dict[str, Any]:
    """Read a file; a usage error says what is wrong with it."""
    import tomllib

    try:
        with open(path, "rb") as handle:
            return tomllib.load(handle)
    except OSError as exc:
        raise click.UsageError(f"{path}: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:  # bytes that are no text, too
        raise click.UsageError(f"{path}: not TOML: {exc}") from exc


def _unknown(path: str, key: str, known: list[str]) -> click.UsageError:
    import difflib

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]}?" if near else f": known are {', '.join(sorted(known))}"
    return click.UsageError(f"{path}: unknown key {key!r}{hint}")


def _plain(path: str, key: str, value: Any) -> Any:
    """A value as the command line would give it; dates and tables are none."""
    if isinstance(value, bool | list):
        return value
    if isinstance(value, int | float | str):
        return str(value)
    raise click.UsageError(f"{path}: {key} is {value}; a word, a number or true or false is needed")


def _options(cmd: click.Command) -> dict[str, str]:
    """Kebab-case name -> parameter name of a command's options."""
    return {str(p.name).replace("_", "-"): str(p.name) for p in cmd.params if isinstance(p, click.Option)}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """``[msa.run]`` as the section ``msa run``."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if key in registry.FAMILIES and isinstance(value, dict):
            out |= {f"{key} {word}": inner for word, inner in value.items()}
        else:
            out[key] = value
    return out


def apply(ctx: click.Context, cmd: click.Command) -> None:
    """Fill the default map of `cmd` from the file found by the group; unknown keys are usage errors."""
    path = ctx.params.get("config") or find()
    if not path:
        return
    from imagic4d_cli import options

    settings = _flat(load(path))
    own = _options(cmd)
    shared = sorted(options.SHARED)
    values: dict[str, Any] = {}
    for key, value in settings.items():
        name = key.replace("_", "-")
        if isinstance(value, dict):
            if registry.ALIASES.get(name, name) not in registry.TABLE:
                raise _unknown(path, key, list(registry.TABLE))
        elif name not in options.SHARED:
            raise _unknown(path, key, shared)
        elif name in own:
            values[own[name]] = _plain(path, key, value)
    for key, value in settings.items():
        if isinstance(value, dict) and registry.ALIASES.get(key, key) == cmd.name:
            for inner, setting in value.items():
                name = inner.replace("_", "-")
                if name not in own:
                    raise _unknown(f"{path}: [{key}]", inner, list(own))
                values[own[name]] = _plain(path, inner, setting)
    ctx.meta[META] = path
    ctx.default_map = {str(cmd.name): values}
