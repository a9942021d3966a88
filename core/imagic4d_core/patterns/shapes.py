"""Test patterns over two or three axes, with the centre at index ``N // 2``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError, check_word
from imagic4d_core.masks.shapes import axes_of, distances, falling
from imagic4d_core.rng import rng_for


@dataclass(frozen=True)
class Pattern:
    """What a pattern is made of; lengths in pixels.

    Attributes
    ----------
    radius : float
        Of disc, ring and helix; standard deviation of the Gaussian.
    falloff : float
        Soft edge of the disc.
    period : float
        Of sinus, checker, helix and zones.
    axis : {"x", "y", "z"}
        Along lines, pixels, sections: direction of sinus and ramp.
    seed : int
        Of blobs and noise.
    """

    radius: float
    falloff: float = 0.0
    period: float = 8.0
    axis: str = "y"
    seed: int = 0


def _coordinate(shape: Sequence[int], axis: str) -> NDArray[np.float32]:
    names = ("z", "x", "y")[-len(shape) :]
    if axis not in names:
        raise UsageError(f"axis {axis} of an image: x (lines) or y (pixels)")
    return axes_of(shape)[names.index(axis)]


def _disc(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return falling(distances(shape), p.radius, p.falloff)


def _ring(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return np.exp(-np.square(distances(shape) - p.radius) / 2)


def _gaussian(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return np.exp(-np.square(distances(shape)) / (2 * p.radius**2))


def _blobs(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    """Twelve Gaussians within 0.6 of half the smallest edge, different for every number."""
    rng = rng_for(p.seed, "patterns/blobs", number)
    half = min(shape) / 2
    out = np.zeros(shape)
    for _ in range(12):
        place = rng.standard_normal(len(shape))
        place *= 0.6 * half * rng.uniform() ** (1 / len(shape)) / np.linalg.norm(place)
        width, height = half * rng.uniform(0.06, 0.18), rng.uniform(0.5, 1.5)
        lines = [np.exp(-np.square(x - c) / (2 * width**2)) for x, c in zip(axes_of(shape), place, strict=True)]
        product = np.ones((1,) * len(shape))
        for line in lines:
            product = product * line
        out += height * product
    return out


def _noise(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return rng_for(p.seed, "patterns/noise", number).standard_normal(shape, dtype=np.float32)


def _sinus(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return np.cos(2 * np.pi * _coordinate(shape, p.axis).astype(np.float64) / p.period) * np.ones(shape)


def _ramp(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    return _coordinate(shape, p.axis) * np.ones(shape, np.float32)


def _helix(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    """A strand about z, right-handed; of images its projection, which runs down the lines."""
    width = max(1.0, p.radius / 4)
    along, *across = (x.astype(np.float64) for x in axes_of(shape))
    turn = 2 * np.pi * along / p.period
    if len(shape) == 2:
        return np.exp(-np.square(across[0] - p.radius * np.cos(turn)) / (2 * width**2))
    x, y = across
    outwards = np.hypot(x, y) - p.radius
    ahead = (np.arctan2(y, x) - turn + np.pi) % (2 * np.pi) - np.pi
    # the strand climbs: what lies ahead of it in its section is nearer to it by the sine of its slope
    sideways = ahead * p.radius * p.period / np.hypot(p.period, 2 * np.pi * p.radius)
    return np.exp(-(np.square(outwards) + np.square(sideways)) / (2 * width**2))


def _delta(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    out = np.zeros(shape, np.float32)
    out[tuple(n // 2 for n in shape)] = 1
    return out


def _checker(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    total = np.zeros(shape)
    for x in axes_of(shape):
        total = total + np.floor(2 * x.astype(np.float64) / p.period)
    return (total % 2 == 0).astype(np.float32)


def _zones(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    """Rings whose local period is `period` at half the smallest edge and grows inwards (zone plate)."""
    r = distances(shape).astype(np.float64)
    return np.cos(np.pi * r * r / (p.period * min(shape) / 2))


def _cross(shape: tuple[int, ...], p: Pattern, number: int) -> NDArray:
    """An L of bars from the centre, longer along x than along y: tells axes, hands and turns apart."""
    axes = dict(zip(("z", "x", "y")[-len(shape) :], axes_of(shape), strict=True))
    out = np.zeros(shape, np.float32)
    thick = max(1.0, p.radius / 8)
    for name, length in (("x", p.radius), ("y", p.radius / 2), ("z", p.radius / 4)):
        if name in axes:
            beside = [np.abs(v) <= thick for k, v in axes.items() if k != name]
            inside = (axes[name] >= -thick) & (axes[name] <= length)
            for other in beside:
                inside = inside & other
            out = np.maximum(out, inside.astype(np.float32))
    return out


PATTERNS: dict[str, Callable[[tuple[int, ...], Pattern, int], NDArray]] = {
    "disc": _disc, "ring": _ring, "gaussian": _gaussian, "blobs": _blobs, "noise": _noise, "sinus": _sinus, "ramp": _ramp,
    "helix": _helix, "delta": _delta, "checker": _checker, "zones": _zones, "cross": _cross,
}  # fmt: skip


def draw(name: str, shape: Sequence[int], pattern: Pattern, number: int = 0) -> NDArray[np.float32]:
    """One image or volume of a pattern.

    Parameters
    ----------
    name : str
        One of `PATTERNS`.
    shape : sequence of int
        (lines, pixels) or (sections, lines, pixels).
    pattern : Pattern
    number : int
        0-based number of the object: blobs and noise differ with it.

    Returns
    -------
    ndarray of `shape`, float32
        Discs, rings, Gaussians, helices, checkers and crosses are 0 to 1, sinus and zones -1 to 1, a ramp is the place from the
        centre in pixels, noise is normal with standard deviation 1.
    """
    check_word("pattern", name, PATTERNS)
    out = PATTERNS[name](tuple(int(n) for n in shape), pattern, number)
    return np.ascontiguousarray(np.broadcast_to(out, tuple(shape)), dtype=np.float32)
