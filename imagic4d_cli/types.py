"""Parameter types; they import core inside `convert`, and turn its errors into usage errors."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

IMAGES = (
    ".hed", ".img", ".mrc", ".mrcs", ".map", ".ccp4", ".rec", ".st",
    ".star", ".cs", ".par", ".hdf", ".h5", ".spi", ".stk", ".vol",
)  # fmt: skip


class FileName(click.ParamType):
    """A file name, for inputs with IMAGIC's locations (``NAME,3,5``); completed by suffix."""

    name = "file"

    def __init__(self, suffixes: tuple[str, ...] = IMAGES) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = os.fspath(value)
        if not text or text.isspace():
            self.fail("an empty file name", param, ctx)
        return text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        folder = os.path.dirname(incomplete) or "."
        found = []
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            return [CompletionItem(incomplete, type="file")]
        for entry in entries:
            path = os.path.join(os.path.dirname(incomplete), entry.name)
            if not path.startswith(incomplete) or (entry.name.startswith(".") and not os.path.basename(incomplete)):
                continue
            if entry.is_dir():
                found.append(CompletionItem(path + "/", type="plain"))
            elif entry.name.endswith(".hed") and path.removesuffix(".hed").startswith(incomplete):
                found.append(CompletionItem(path.removesuffix(".hed")))  # IMAGIC's way: the bare name is the pair
            elif entry.name.endswith(self.suffixes) and not entry.name.endswith(".img"):
                found.append(CompletionItem(path))
        return found


class Locations(click.ParamType):
    """``3-5,9,20-``: 1-based numbers, checked here, counted against the file by the job."""

    name = "locations"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from imagic4d_core.errors import Im4dError
        from imagic4d_core.io.locations import parse_locations

        if not isinstance(value, str):
            return value
        try:
            return parse_locations(value)
        except (Im4dError, ValueError) as exc:
            self.fail(str(exc), param, ctx)


class Radius(click.ParamType):
    """Pixels; below 1 a fraction of half the box (see core's `units.in_pixels`)."""

    name = "radius"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not 0 <= number < float("inf"):
            self.fail(f"{value!r} is not a radius: give pixels, or a number below 1 for a fraction of half the box", param, ctx)
        return number


class FrequencyType(click.ParamType):
    """Fraction of Nyquist, or ``12A``: core's `units.Frequency`."""

    name = "frequency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from imagic4d_core.errors import Im4dError
        from imagic4d_core.units import Frequency

        if isinstance(value, Frequency):
            return value
        try:
            return Frequency.parse(str(value))
        except Im4dError as exc:
            self.fail(str(exc), param, ctx)


class Symmetry(click.ParamType):
    """Point group and setting of its axes, core's `geometry.symmetry.canonical`; with `auto` also AUTO."""

    name = "symmetry"
    known = (
        "C1", "C2", "C3", "C4", "C5", "C6", "C7", "D2", "D3", "D3Y", "D4", "D5", "D5Y", "D6", "D7", "D7Y", "T", "TZ3", "T222",
        "O", "I", "I1", "I2", "I3", "I4",
    )  # fmt: skip

    def __init__(self, auto: bool = False) -> None:
        self.auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip().upper()
        if text == "C1" or (self.auto and text == "AUTO"):
            return text
        from imagic4d_core.errors import Im4dError
        from imagic4d_core.geometry.symmetry import canonical

        try:
            return canonical(text)
        except Im4dError as exc:
            self.fail(str(exc), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(s) for s in self.known if s.startswith(incomplete.upper())]


#: Largest size of a number of an option; header words and densities have 32 bits.
_LARGEST = 1e30


class Real(click.FloatRange):
    """A finite number, within limits where there are any; click's own takes ``nan`` and ``inf`` for numbers in any range."""

    name = "float"

    def __init__(
        self, min: float | None = None, max: float | None = None, min_open: bool = False, max_open: bool = False
    ) -> None:
        super().__init__(min, max, min_open, max_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not abs(number) <= _LARGEST:
            self.fail(f"{value!r} is no number that can be used; it must be finite, and at most {_LARGEST:g} in size", param, ctx)
        return float(number)

    def _describe_range(self) -> str:
        return super()._describe_range() if (self.min, self.max) != (None, None) else ""


class Count(click.IntRange):
    """A whole number that a word of 32 bits holds, as those of headers do."""

    name = "integer"
    largest = 2**31 - 1

    def __init__(self, min: int = 0, max: int | None = None) -> None:
        super().__init__(min, self.largest if max is None else max)

    def _describe_range(self) -> str:
        return super()._describe_range() if self.max != self.largest else f"x>={self.min}"


def _key(word: str) -> str:
    return word.strip().upper().replace("-", "_").replace(" ", "_")


class Words(click.ParamType):
    """One of our words, or IMAGIC's option word for it; any case, shortened as long as it is clear.

    Parameters
    ----------
    ours : sequence of str
    imagic : mapping of str to str
        IMAGIC's word -> ours.
    """

    name = "word"

    def __init__(self, *ours: str, imagic: Mapping[str, str] | None = None) -> None:
        self.ours = ours
        self.imagic = dict(imagic or {})
        self._table = {_key(word): word for word in ours} | {_key(word): ours for word, ours in self.imagic.items()}

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[" + "|".join(self.ours) + "]"

    def to_info_dict(self) -> Any:
        return super().to_info_dict() | {"choices": list(self.ours), "imagic": self.imagic}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        key = _key(str(value))
        if key in self._table:
            return self._table[key]
        found = {word for full, word in self._table.items() if key and full.startswith(key)}
        if len(found) == 1:
            return found.pop()
        why = f"could be {' or '.join(sorted(found))}" if found else f"is not one of {', '.join(self.ours)}"
        self.fail(f"{value!r} {why}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        ours = [CompletionItem(word) for word in self.ours if word.startswith(incomplete.lower())]
        theirs = [CompletionItem(word) for word in self.imagic if incomplete and word.startswith(incomplete.upper())]
        return ours or theirs


class Sizes(click.ParamType):
    """``64``, ``64,80`` or ``64,80,96`` (lines, pixels, sections): a tuple of one to three whole numbers."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not isinstance(value, str):
            return tuple(value) if isinstance(value, tuple | list) else (int(value),)
        parts = re.split(r"[,x;]", value.strip())
        if not 1 <= len(parts) <= 3 or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
            self.fail(f"{value!r} is not a box: give 64, or 64,80 (lines, pixels), or 64,80,96 (and sections)", param, ctx)
        return tuple(int(p) for p in parts)


class Numbers(click.ParamType):
    """Numbers with commas between, such as ``1.5,-2``; the job says how many it needs."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if not isinstance(value, str):
            return tuple(value) if isinstance(value, tuple | list) else (float(value),)
        try:
            found = tuple(float(p) for p in re.split(r"[,;]", value))
        except ValueError:
            found = ()
        if not found or not all(abs(x) <= _LARGEST for x in found):
            self.fail(f"{value!r} is not a list of numbers such as 1.5,-2", param, ctx)
        return found


class Points(click.ParamType):
    """Points of a path, ``-1,0;0,1``: numbers with commas between, and points with semicolons."""

    name = "points"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[tuple[float, ...], ...]:
        if not isinstance(value, str):
            return tuple(tuple(float(x) for x in p) for p in value)
        return tuple(NUMBERS.convert(p, param, ctx) for p in value.split(";"))


class CountOrAuto(click.ParamType):
    """A whole number from 1 on; where `auto` is allowed, that word as well, which is 0 for the job."""

    name = "count"

    def __init__(self, auto: bool = True) -> None:
        self.auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        text = str(value).strip()
        if self.auto and text.lower() == "auto":
            return 0
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 1 << 31:
            self.fail(f"{text!r} is no whole number from 1 on" + (", nor auto" if self.auto else ""), param, ctx)
        return int(text)


class Fill(click.ParamType):
    """What fills in for pixels that are not there: ``edge``, ``mean`` or a number."""

    name = "fill"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        text = str(value).strip().lower()
        if text in ("edge", "mean"):
            return text
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            self.fail(f"{value!r} is neither edge nor mean nor a density", param, ctx)
        return number

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in ("edge", "mean", "0") if word.startswith(incomplete.lower())]


SOURCE = FileName()
TARGET = FileName()
ATOMS = FileName((".pdb", ".ent", ".cif", ".mmcif", ".gz"))
LOCATIONS = Locations()
RADIUS = Radius()
FREQUENCY = FrequencyType()
SYMMETRY = Symmetry()
SYMMETRY_OR_AUTO = Symmetry(auto=True)
SIZES = Sizes()
NUMBERS = Numbers()
PIXEL_SIZE = Real(0, 1e6, min_open=True)
POINTS = Points()
FILL = Fill()
COUNT_OR_AUTO = CountOrAuto()
