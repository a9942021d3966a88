"""Numbers with two readings: radii and shifts (fraction or pixels), frequencies (fraction of Nyquist or ångström)."""

import math
import re
from dataclasses import dataclass

from imagic4d_core.errors import InputError, UsageError

_FREQUENCY = re.compile(r"\s*([0-9.eE+-]+)\s*(a|å|ang|angstrom|ångström)?\s*", re.IGNORECASE)


def finite(value: float | str) -> float:
    """A number, or a text that stands for one; ValueError for anything else, NaN and infinity too."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    return number


#: What is said of a pixel size that other programs write for want of one.
COMMON_PLACEHOLDER = "a common placeholder"


def is_placeholder(pixel_size: float | None) -> bool:
    """Whether a pixel size is just 1 A, which MRC and HDF files often hold because nobody set another."""
    return pixel_size == 1.0


def doubtful_resolution(pixel_size: float | None) -> list[str]:
    """What is to be said beside resolutions in angstrom that rest on a placeholder; nothing else."""
    if not is_placeholder(pixel_size):
        return []
    return [f"resolutions are for 1 A per pixel, {COMMON_PLACEHOLDER}: give --pixel-size, or set it (header set PIXSIZE=...)"]


def in_pixels(value: float, box: int) -> float:
    """Radius or shift in pixels; a value below 1 is a fraction of half the box.

    Parameters
    ----------
    value : float
        Pixels, or a fraction when below 1.
    box : int
        Box size in pixels.
    """
    return value * (box / 2) if value < 1 else float(value)


@dataclass(frozen=True)
class Frequency:
    """A spatial frequency, or the resolution that stands for it.

    Attributes
    ----------
    value : float
        Fraction of Nyquist (0..1), or ångström.
    angstrom : bool
    """

    value: float
    angstrom: bool = False

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """Read ``"0.8"`` or ``"12A"``; raises UsageError."""
        match = _FREQUENCY.fullmatch(text)
        try:
            value = float(match.group(1)) if match else -1.0
        except ValueError:
            value = -1.0
        if not match or not 0 < value < float("inf"):
            raise UsageError(f"{text!r} is not a frequency: give a fraction of Nyquist such as 0.8, or a resolution such as 12A")
        if match.group(2) is None and value > 1:
            raise UsageError(f"{text} is above Nyquist: give a fraction of Nyquist up to 1, or {text}A for ångström")
        return cls(value, match.group(2) is not None)

    def fraction(self, pixel_size: float | None) -> float:
        """Fraction of Nyquist, ``2 * pixel_size / resolution``, at most 1.

        Parameters
        ----------
        pixel_size : float or None
            Ångström per pixel.

        Raises
        ------
        InputError
            The value is in ångström and the pixel size is unknown.
        """
        if not self.angstrom:
            return self.value
        if not pixel_size:
            raise InputError(f"{self.value:g}A needs a pixel size, and the input has none: give --pixel-size")
        return min(1.0, 2.0 * pixel_size / self.value)

    def __str__(self) -> str:
        return f"{self.value:g}{'A' if self.angstrom else ''}"


def as_fraction(value: "Frequency | float | str", pixel_size: float | None) -> float:
    """Fraction of Nyquist of a `Frequency`, a plain fraction, or a text such as ``"12A"``."""
    if isinstance(value, str):
        value = Frequency.parse(value)
    return value.fraction(pixel_size) if isinstance(value, Frequency) else float(value)
