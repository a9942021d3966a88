"""Two commands from one declaration: the same operation on images and on volumes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import click

_WORDS = {
    "images": {"{images}": "images", "{image}": "image", "{Images}": "Images", "{axes}": "two"},
    "volumes": {"{images}": "volumes", "{image}": "volume", "{Images}": "Volumes", "{axes}": "three"},
}


class Pair(NamedTuple):
    """The command for images and that for volumes; registry targets are ``module:cli.images`` and ``module:cli.volumes``."""

    images: click.Command
    volumes: click.Command


def _told(text: str, unit: str, name: str) -> str:
    for mark, word in {**_WORDS[unit], "{command}": name}.items():
        text = text.replace(mark, word)
    return text


def pair(
    images: str, volumes: str, *, images_only: Iterable[str] = (), volumes_only: Iterable[str] = ()
) -> Callable[[Callable[..., None]], Pair]:
    """Make both commands from a function that takes ``unit`` ("images" or "volumes") beside its options.

    Parameters
    ----------
    images, volumes : str
        Names of the commands.
    images_only, volumes_only : iterable of str
        Parameters that one of the two has alone; the function gives them a default.

    Notes
    -----
    In the docstring and in help texts ``{images}``, ``{image}``, ``{Images}``, ``{axes}`` and ``{command}`` become the words of
    each. A paragraph of the docstring that begins with ``[images]`` or ``[volumes]`` is told in that command only.
    """
    names = {"images": images, "volumes": volumes}
    absent = {"images": frozenset(volumes_only), "volumes": frozenset(images_only)}

    def build(func: Callable[..., None]) -> Pair:
        declared = list(reversed(getattr(func, "__click_params__", [])))

        def command(unit: str) -> click.Command:
            params = []
            for param in declared:
                if param.name in absent[unit]:
                    continue
                help_ = getattr(param, "help", None)
                if help_ and "{" in help_:
                    import copy

                    param = copy.copy(param)
                    param.help = _told(help_, unit, names[unit])  # type: ignore[attr-defined]
                params.append(param)
            return click.Command(
                names[unit], params=params, callback=functools.partial(func, unit=unit), help=_help(func, unit, names[unit])
            )

        return Pair(command("images"), command("volumes"))

    return build


def _help(func: Any, unit: str, name: str) -> str:
    import inspect

    other = "[volumes]" if unit == "images" else "[images]"
    kept = []
    for paragraph in inspect.cleandoc(func.__doc__ or "").split("\n\n"):
        body = paragraph.removeprefix("\b\n")
        if body.startswith(other):
            continue
        mark = f"[{unit}]"
        kept.append(paragraph.replace(mark + " ", "", 1).replace(mark, "", 1) if body.startswith(mark) else paragraph)
    return _told("\n\n".join(kept), unit, name)
