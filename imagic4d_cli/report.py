"""Results on stdout: one JSON document, or lines for people."""

import os
from typing import Any

import click

SCHEMA = 1


def plain(value: Any) -> Any:
    """`value` in types that JSON knows, without importing numpy; NaN and infinity become null."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    elif hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value)


def visible(text: str) -> str:
    """`text` for a terminal: what files hold may be control characters, or bytes that are no text, and is shown by its codes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _code(ord(c)) for c in text)


def _code(c: int) -> str:
    if 0xDC80 <= c <= 0xDCFF:  # a byte of a name that is no UTF-8
        c -= 0xDC00
    return f"\\x{c:02x}" if c < 0x100 else f"\\u{c:04x}"


def _print(text: str, color: bool | None = None) -> None:
    try:
        click.echo(text, color=color)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def document(summary: Any, extra: dict[str, Any]) -> None:
    """Print one JSON document with the schema's number first."""
    import json

    body = plain(summary)
    if not isinstance(body, dict):
        body = {"result": body}
    _print(json.dumps({"schema": SCHEMA} | {k: v for k, v in extra.items() if k not in body} | body, allow_nan=False))


def lines(summary: Any, extra: dict[str, Any]) -> None:
    """Print the summary's own lines, or its fields one to a line."""
    if hasattr(summary, "lines"):
        text = summary.lines()
        rows = [text] if isinstance(text, str) else list(text)
    else:
        body = plain(summary)
        rows = [f"{k}: {v}" for k, v in body.items()] if isinstance(body, dict) else [str(body)]
    for row in rows:
        coloured = getattr(summary, "coloured", False)
        _print(row if coloured else visible(row), color=coloured or None)
    if "seed" in extra and not any("seed" in row for row in rows):
        _print(f"seed {extra['seed']}")
