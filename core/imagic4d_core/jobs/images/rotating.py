"""Rotate and shift images and volumes; apply moves found before, interpolating once from the originals."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.inplane import mirrored as mirrored_of
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack
from imagic4d_core.jobs.images.operating import Operated, open_unit, operate
from imagic4d_core.parallel import SERIAL, Comm, thread_count
from imagic4d_core.resample.move import move, reflect

#: Voxels from which on several threads work on one volume.
LARGE = 1 << 20


def given_move(unit: str, angle: float | None, angles: Sequence[float] | None, shift: Sequence[float] | None) -> Moves:
    """The one move that options describe; length 1.

    Raises
    ------
    UsageError
        Not three Euler angles, or a shift of another number of dimensions.
    """
    ndim = 3 if unit == "volumes" else 2
    s = (0.0,) * ndim if shift is None else tuple(shift)
    if len(s) != ndim:
        raise UsageError(f"--shift needs {ndim} numbers here ({'lines,pixels,sections' if ndim == 3 else 'lines,pixels'})")
    if ndim == 2:
        if angles is not None:
            raise UsageError("Euler angles turn volumes; images are turned by --angle")
        return Moves.turns([angle or 0.0], np.array(s))
    if angles is not None and (len(angles) != 3 or angle is not None):
        raise UsageError("--angles needs three numbers, ALPHA,BETA,GAMMA in degrees, and no --angle beside them")
    a, b, g = angles if angles is not None else (angle or 0.0, 0.0, 0.0)
    return Moves.rotations([a], [b], [g], np.array(s))


def _as_records(stack: Stack, start: int, stop: int) -> NDArray:
    """One header record for each object of a stack opened by `open_unit`."""
    k = stack.sections if stack.is_volumes else 1
    return stack.headers(start * k, stop * k)[::k]


def rotate(
    src: str | os.PathLike, dst: str | os.PathLike, *, unit: str = "images", loc: Locations | None = None,
    angle: float | None = None, angles: Sequence[float] | None = None, shift: Sequence[float] | None = None,
    header_of: str | os.PathLike | None = None, by_pose: bool = False, inverse: bool = False, mirrored: bool = False,
    interpolation: str = "spline", fill: float | str = "edge", max_move: float | None = None, overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """Shift objects, then rotate them about their centre (conventions: `geometry.moves`).

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    loc : Locations, optional
    angle : float, optional
        Degrees, clockwise on the screen; of volumes about Z.
    angles : sequence of float, optional
        ALPHA, BETA, GAMMA for volumes, degrees.
    shift : sequence of float, optional
        (lines, pixels[, sections]), made before the rotation.
    header_of : path, optional
        Take the equivalent moves of this file's headers (words 116 to 118, 92 for a mirror; of volumes 53 to 56, 117, 118),
        object by object: IMAGIC's EQUIV_ROTATION.
    by_pose : bool
        Images: take off the pose in the plane: shift by words 80 and 81, rotate by minus ALPHA.
    inverse : bool
        Undo the move instead.
    mirrored : bool
        Turn the pixels of every line round first (last, with `inverse`).
    interpolation : {"spline", "bilinear", "nearest", "fourier"}
    fill : {"edge", "mean"} or float
    max_move : float, optional
        Refuse shifts longer than this, pixels.

    Returns
    -------
    Operated

    Raises
    ------
    UsageError
        No move or more than one is given.
    InputError
        Also: a shift beyond `max_move`.
    MismatchError
        `header_of` holds another number of objects.
    OutputError
    """
    own = angle is not None or angles is not None or shift is not None
    if own + (header_of is not None) + by_pose > 1:
        raise UsageError("moves come from options, from --equivalent or from --by-pose: give one of them")
    if not (own or header_of is not None or by_pose or mirrored):
        raise UsageError("nothing to do: give --angle, --shift, --equivalent, --by-pose or --mirrored")
    if by_pose and unit == "volumes":
        raise UsageError("poses belong to images: --by-pose works on images only")
    fixed = None if header_of is not None or by_pose else given_move(unit, angle, angles, shift)
    ndim = 3 if unit == "volumes" else 2
    other = open_unit(header_of, unit) if header_of is not None else None
    count = _count(src, unit, loc)
    try:
        if other is not None and other.objects not in (1, count):
            raise MismatchError(f"{other.path}: holds {other.objects} {unit}, {src} {count}; one header is needed for each")
        n_threads = thread_count(threads)

        def work(data: NDArray, headers: NDArray, start: int) -> NDArray:
            n = len(data)
            moves, turned = _moves(n, start, headers)
            turned = turned ^ mirrored
            if inverse:
                moves = moves.inverse()
            _check(moves, start, max_move, src)
            inner = n_threads if data[0].size >= LARGE and ndim == 3 else 1
            if inverse:
                # mirror after the move = mirror first, then the move seen in the mirror
                moves = moves.where(~turned, moves.reflected())
            data[turned] = reflect(data[turned])
            out = move(data, moves, method=interpolation, fill=fill, threads=inner)
            moves.write(headers, reflect=turned)
            return out

        def _moves(n: int, start: int, headers: NDArray) -> tuple[Moves, NDArray[np.bool_]]:
            none = np.zeros(n, bool)
            if fixed is not None:
                return fixed.select(np.zeros(n, int)), none
            if other is None:
                return Moves.pending(headers[:, 0]), none
            records = _as_records(other, start, start + n) if other.objects == count else _as_records(other, 0, 1)
            records = np.resize(records, n)
            return Moves.equivalent(records, ndim), mirrored_of(records)

        return operate(
            src, dst, work, what=_words(fixed, header_of, by_pose, inverse, mirrored), unit=unit, loc=loc, overwrite=overwrite,
            comm=comm, threads=threads, progress=progress,
        )  # fmt: skip
    finally:
        if other is not None:
            other.close()


def _count(src: str | os.PathLike, unit: str, loc: Locations | None) -> int:
    with open_unit(src, unit, loc) as stack:
        return stack.objects


def _check(moves: Moves, start: int, most: float | None, src: Any) -> None:
    if not most:
        return
    length = np.sqrt((moves.shift**2).sum(1))
    far = np.flatnonzero(length > most)
    if len(far):
        raise InputError(
            f"{src}: location {start + far[0] + 1} would be shifted by {length[far[0]]:.1f} pixels, more than --max-move {most:g}"
        )


def _words(fixed: Moves | None, header_of: Any, by_pose: bool, inverse: bool, mirrored: bool) -> str:
    if header_of is not None:
        text = f"moved as the headers of {header_of} say"
    elif by_pose or fixed is None:
        text = "moved by their poses"
    else:
        s = fixed.shift[0]
        text = f"rotated by {fixed.angle[0]:g} degrees" if fixed.ndim == 2 else "rotated"
        text += f", shifted by {','.join(f'{v:g}' for v in s)}" if s.any() else ""
    return text + (", inverse" if inverse else "") + (", mirrored" if mirrored else "")
