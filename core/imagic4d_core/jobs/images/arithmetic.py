"""Arithmetic with every image or volume of a file."""

import os
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.expression import Expression
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.jobs.images.operating import Operated, Operation, box_of, open_unit, operate
from imagic4d_core.masks.shapes import resolved, round_mask
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels import arithmetic as pixels

MASKS = ("circular-mask", "soft-mask", "mask")
WORDS = (*pixels.OPERATIONS, "mirror", *MASKS)


def arithmetic(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    unit: str = "images",
    operation: str | None = None,
    value: float | None = None,
    expr: str | None = None,
    mask_radius: float | None = None,
    falloff: float | None = None,
    mask: str | os.PathLike | None = None,
    outside: str = "zero",
    axis: str = "y",
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:
    """One operation on all densities.

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    operation : str
        One of `WORDS`.
    value : float, optional
        For add, multiply, power, thresholds and binary.
    expr : str, optional
        A formula in place of an operation; see `pixels.arithmetic.evaluate`.
    mask_radius, falloff : float, optional
        Pixels, or fractions of half the box; see `masks.shapes.resolved`. A circular mask has no falloff.
    mask : path, optional
        A file of one mask (or one for every object) of the same box, for ``operation="mask"``.
    outside : {"zero", "mean"}
        What densities outside a mask become: 0, or the mean outside.
    axis : {"x", "y", "z"}
        That the mirror turns round: lines, pixels, sections.
    loc, overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    UsageError
        Not exactly one of operation and expression; a value missing.
    InputError
        Densities for which the operation has no value (the logarithm of 0); as `operate`.
    MismatchError
        A mask of another box.
    """
    if (operation is None) == (expr is None):
        raise UsageError("give either --operation or --expr")
    if expr is not None and value is not None:
        raise UsageError("--value goes with --operation; in --expr the number stands in the formula")
    with open_unit(src, unit, loc) as stack:
        path, box, is_complex = stack.path, box_of(stack), stack.is_complex and stack.layout.type_word != "RECO"
        locations = stack.locations
    whole = True
    if expr is not None:
        run, said, whole = _formula(expr, box, locations)
    elif operation in pixels.OPERATIONS:
        run, said = _pointwise(operation, value, is_complex, path)
        whole = False
    elif operation == "mirror":
        run, said = _mirror(axis, unit)
    elif operation in MASKS:
        run, said = _mask(operation, box, unit, mask, mask_radius, falloff, outside)
        if is_complex:
            raise InputError(f"{path}: holds complex densities; a mask is for real ones")
    else:
        raise UsageError(f"unknown operation {operation!r}: {', '.join(WORDS)}")
    each = 1 if whole or unit == "images" else box[0]
    name = expr if expr is not None else str(operation)

    kind = pixels.OPERATIONS.get(operation or "")
    safe = operation in ("mirror", *MASKS) or (kind is not None and kind.safe and abs(value or 0.0) < 1e20)

    def checked(data: NDArray, headers: NDArray, start: int) -> NDArray:
        out = run(data, headers, start)
        bad = None if safe else pixels.first_undefined(out)
        if bad is not None:
            raise pixels.undefined_error(path, int(locations[(start + bad) // each]), unit.removesuffix("s"), name)
        return out

    return operate(
        src, dst, checked, what=said, unit=unit, loc=loc, dtype=np.complex64 if is_complex and operation != "abs" else np.float32,
        takes_complex=is_complex, by_section=not whole, any_order=operation in pixels.OPERATIONS, overwrite=overwrite,
        comm=comm, threads=threads, progress=progress,
    )  # fmt: skip


def _formula(expr: str, box: Sequence[int], locations: NDArray[np.intp]) -> tuple[Operation, str, bool]:
    formula = Expression.parse(expr, pixels.NAMES)
    whole = len(box) == 2 or pixels.needs_whole_object(formula)

    def run(data: NDArray, headers: NDArray, start: int) -> NDArray:
        return pixels.evaluate(data, formula, start, box, not whole, locations)

    return run, formula.text, whole


def _pointwise(operation: str, value: float | None, is_complex: bool, path: object) -> tuple[Operation, str]:
    kind = pixels.OPERATIONS[operation]
    if kind.value and value is None:
        raise UsageError(f"--operation {operation} needs a number: give --value")
    if not kind.value and value is not None:
        raise UsageError(f"--operation {operation} takes no --value")
    if is_complex and operation == "abs":
        return (lambda data, headers, start: np.abs(data)), kind.said
    if is_complex and not kind.complex:
        raise InputError(f"{path}: holds complex densities; {operation} is for real ones (see im4d incore for amplitudes)")

    def run(data: NDArray, headers: NDArray, start: int) -> NDArray:
        return pixels.pointwise(data, operation, value or 0.0)

    return run, kind.said.format(v=f"{value:g}" if value is not None else "")


def _mirror(axis: str, unit: str) -> tuple[Operation, str]:
    if axis == "z" and unit == "images":
        raise UsageError("--axis z is for volumes; images have x (lines) and y (pixels)")
    # every mirror is the one of y and a turn by 180 degrees, about z or about x
    turn = {"y": (0.0, 0.0, 0.0), "x": (180.0, 0.0, 0.0), "z": (90.0, 180.0, 270.0)}[axis]

    def run(data: NDArray, headers: NDArray, start: int) -> NDArray:
        n = len(headers)
        if unit == "images":
            Moves.turns(np.full(n, turn[0])).write(headers, reflect=True)
        else:
            Moves.rotations(*[np.full(n, t) for t in turn]).write(headers, reflect=True)
        return pixels.mirrored(data, axis)

    return run, f"mirrored along {axis}"


def _mask(
    operation: str, box: Sequence[int], unit: str, mask: str | os.PathLike | None, radius: float | None, falloff: float | None,
    outside: str,
) -> tuple[Operation, str]:  # fmt: skip
    level = "mean" if outside == "mean" else 0.0
    if operation == "mask":
        if mask is None:
            raise UsageError("--operation mask needs a file: give --mask FILE")
        shape, said = read_mask(mask, box), f"masked by {os.fspath(mask)}"
    else:
        r, edge = resolved(box, radius, 0.0 if operation == "circular-mask" else falloff)
        shape = round_mask(box, r, edge)
        said = f"circular mask of radius {r:g} pixels" + (f", falloff {edge:g}" if edge else "")

    def run(data: NDArray, headers: NDArray, start: int) -> NDArray:
        return pixels.masked(data, shape, level)

    return run, said


