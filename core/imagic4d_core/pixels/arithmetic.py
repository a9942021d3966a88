"""Arithmetic with the densities of images or volumes.

Functions take arrays (n, *box) of two or three axes and work in place where they can, in pieces that stay in the cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.expression import Expression
from imagic4d_core.io.layout import all_finite
from imagic4d_core.io.statistics import image_statistics, moments, pieces
from imagic4d_core.masks.shapes import axes_of

#: Densities worked on at a time.
CHUNK = 1 << 17
#: Names that a formula may use.
NAMES = ("a", "x", "y", "z", "r", "i", "mean", "sigma", "min", "max")
_OF_OBJECT = {"mean", "sigma", "min", "max"}


@dataclass(frozen=True)
class Pointwise:
    """An operation on each density by itself.

    Attributes
    ----------
    run : callable
        (densities, value, out) -> None.
    said : str
        For the summary; ``{v}`` stands for the value.
    value : bool
        Whether it needs a value.
    complex : bool
        Whether it means something for complex densities.
    safe : bool
        Whether a density of usual size always has a value.
    """

    run: Callable[[NDArray, float, NDArray], object]
    said: str
    value: bool = False
    complex: bool = False
    safe: bool = False


def _binary(a: NDArray, v: float, out: NDArray) -> None:
    out[...] = a > v


def _power(a: NDArray, v: float, out: NDArray) -> None:
    np.square(a, out=out) if v == 2 else np.power(a, np.float32(v), out=out)


OPERATIONS: dict[str, Pointwise] = {
    "add": Pointwise(lambda a, v, out: np.add(a, v, out=out), "{v} added", True, True, safe=True),
    "multiply": Pointwise(lambda a, v, out: np.multiply(a, v, out=out), "multiplied by {v}", True, True, safe=True),
    "power": Pointwise(_power, "to the power of {v}", True),
    "threshold-below": Pointwise(lambda a, v, out: np.maximum(a, v, out=out), "densities below {v} set to {v}", True, safe=True),
    "threshold-above": Pointwise(lambda a, v, out: np.minimum(a, v, out=out), "densities above {v} set to {v}", True, safe=True),
    "binary": Pointwise(_binary, "1 above {v}, else 0", True, safe=True),
    "invert": Pointwise(lambda a, v, out: np.negative(a, out=out), "contrast inverted", False, True, safe=True),
    "abs": Pointwise(lambda a, v, out: np.abs(a, out=out), "absolute values", safe=True),
    "square": Pointwise(lambda a, v, out: np.square(a, out=out), "squared", False, True),
    "sqrt": Pointwise(lambda a, v, out: np.sqrt(a, out=out), "square root"),
    "exp": Pointwise(lambda a, v, out: np.exp(a, out=out), "exponential"),
    "log": Pointwise(lambda a, v, out: np.log(a, out=out), "natural logarithm"),
    "log10": Pointwise(lambda a, v, out: np.log10(a, out=out), "decimal logarithm"),
}


def pointwise(data: NDArray, name: str, value: float = 0.0) -> NDArray:
    """One of `OPERATIONS` on every density, in place.

    Parameters
    ----------
    data : ndarray, float32 or complex64
    name : str
    value : float

    Notes
    -----
    Densities without a value (logarithm of 0, root of a negative number) become NaN or infinite: see `first_undefined`.
    """
    operation = OPERATIONS[name]
    flat = np.ascontiguousarray(data).reshape(-1)
    v = data.dtype.type(value)
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, CHUNK):
            piece = flat[start : start + CHUNK]
            operation.run(piece, v, piece)
    return flat.reshape(data.shape)


def first_undefined(data: NDArray) -> int | None:
    """Number (from 0) of the first object, shape (n, *box), with a density that is not finite; None where all are."""
    if all_finite(data):
        return None
    return next(k for k, one in enumerate(data) if not all_finite(one))


def evaluate(
    data: NDArray[np.float32], formula: Expression, start: int, box: Sequence[int], plane: bool = False,
    locations: NDArray[np.intp] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """The value of a formula for every density, in place.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32
        With ``plane``, single sections of volumes, shape (n, 1, lines, pixels).
    formula : Expression
        Of `NAMES`: a the density; x, y, z the place along lines, pixels and sections from the centre, and r the distance from
        it, in pixels; i the location (from 1); mean, sigma, min, max of the image or volume.
    start : int
        0-based number of the first object, or section.
    box : sequence of int
        (lines, pixels) or (sections, lines, pixels) of an object.
    plane : bool
        Objects come section by section.
    locations : ndarray of int, optional
        Of all objects, in the file; default: 1, 2, ...
    """
    axes = dict(zip(("z", "x", "y")[-len(box) :], axes_of(box), strict=True))
    out = data if data.flags.c_contiguous else data.copy()
    objects = out.reshape(len(out), -1, out.shape[-1])
    number = np.arange(start, start + len(out))
    # places of the lines of an object; objects that are sections have their own z
    over = (*out.shape[1:-1], 1)
    x, y = np.broadcast_to(axes["x"], over).reshape(-1, 1), axes["y"].reshape(1, -1)
    if plane:
        number, section = np.divmod(number, box[0])
        z = axes["z"].reshape(-1, 1, 1)[section]
    else:
        z = np.broadcast_to(axes.get("z", np.float32(0)), over).reshape(1, -1, 1)
    each = {
        "i": (number + 1 if locations is None else locations[number]).astype(np.float32).reshape(-1, 1, 1),
        **_of_objects(out, formula.names),
    }
    for some, part in pieces(len(out), objects.shape[1], max(1, CHUNK // out.shape[-1])):
        piece = objects[some, part]
        place = {"x": x[part], "y": y, "z": z[some] if plane else z[:, part]}
        if "r" in formula.names:
            place["r"] = np.sqrt(np.square(place["x"]) + np.square(y) + np.square(place["z"]))
        formula(piece, a=piece, **place, **{name: values[some] for name, values in each.items()})
    return out


def _of_objects(data: NDArray[np.float32], names: frozenset[str]) -> dict[str, NDArray[np.float32]]:
    """Statistics of each object, as far as a formula asks for them, shape (n, 1, 1)."""
    if not names & _OF_OBJECT:
        return {}
    found = image_statistics(data)
    found[:, 1] = np.sqrt(found[:, 1])
    return dict(zip(("mean", "sigma", "min", "max"), found.T.astype(np.float32).reshape(4, -1, 1, 1), strict=True))


def needs_whole_object(formula: Expression) -> bool:
    """Whether a formula asks for statistics, so that volumes cannot be worked on section by section."""
    return bool(formula.names & _OF_OBJECT)


def mirrored(data: NDArray, axis: str) -> NDArray:
    """Mirror image about the centre ``N // 2`` of an axis, so that the centre stays where it is.

    Parameters
    ----------
    data : ndarray, shape (n, [sections,] lines, pixels)
    axis : {"x", "y", "z"}
        Along lines (top to bottom), pixels (left to right), sections.

    Notes
    -----
    Along an axis of even size the first line has no partner (its mirror image lies outside) and stays where it is.
    """
    k = {"y": -1, "x": -2, "z": -3}[axis]
    n = data.shape[k]
    order = (2 * (n // 2) - np.arange(n)) % n
    return np.take(data, order, axis=k)


def masked(data: NDArray, mask: NDArray[np.float32], level: float | str = 0.0) -> NDArray:
    """Densities inside a mask, and a level outside: ``level + (a - level) * mask``, in place.

    Parameters
    ----------
    data : ndarray, shape (n, *box)
    mask : ndarray, shape (*box), 0 to 1
    level : float or "mean"
        ``"mean"``: the mean of the densities outside (mask below one half), for each object.
    """
    rows, m = data.reshape(len(data), -1), np.broadcast_to(mask, data.shape[1:]).reshape(-1)
    levels = None
    if level == "mean":
        levels = moments(rows, (m < 0.5).astype(np.float32))[:, :1].astype(data.dtype)
    elif level:
        levels = np.full((len(data), 1), level, data.dtype)
    for some, part in pieces(*rows.shape):
        piece = rows[some, part]
        if levels is not None:
            piece -= levels[some]
        piece *= m[part]
        if levels is not None:
            piece += levels[some]
    return rows.reshape(data.shape)


def undefined_error(path: object, location: int, unit: str, what: str) -> InputError:
    """The message for densities that an operation cannot give a value."""
    return InputError(
        f"{path}: {unit} {location} has densities without a value for '{what}' (it is not a finite number there); "
        "set a threshold first, or give an expression such as --expr 'log(max(a, 1e-6))'"
    )
