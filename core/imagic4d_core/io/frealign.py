"""Particle parameters of FREALIGN (``.par``) and of cisTEM (``.star`` with ``_cisTEM`` labels); read only.

PHI, THETA, PSI are RELION's rot, tilt, psi; SHX and SHY are the place of the particle, so RELION's origins with the other sign
(N. Grigorieff, "Angle, shift conventions", grigoriefflab.umassmed.edu: positive right and up, the negative is applied).
They are in angstrom since FREALIGN 9 (16 columns and more), in pixels before (12 or 13 columns).
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.compressed import read_plain
from imagic4d_core.io.particles import Metadata, Particles, axis_from_standard, numbered, volts
from imagic4d_core.io.star import Columns, numbers

_V8 = ("C", "PSI", "THETA", "PHI", "SHX", "SHY", "MAG", "FILM", "DF1", "DF2", "ANGAST", "PRESA", "DPRES")
_V9 = (*_V8[:11], "OCC", "LOGP", "SIGMA", "SCORE", "CHANGE")
_X = (*_V8[:11], "PSHIFT", "OCC", "LOGP", "SIGMA", "SCORE", "CHANGE")
_STACKS = (".mrcs", ".mrc", ".st", ".stk", ".hed", ".spi")


def _table(path: Path) -> dict[str, NDArray[np.float64]]:
    text = [line for line in read_plain(path).decode("latin-1").splitlines() if line.strip() and line.strip()[0] not in "Cc#"]
    if not text:
        raise InputError(f"{path}: lists no images")
    try:
        values = np.loadtxt(text, comments=["C", "c", "#"], ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as FREALIGN parameters: {str(error).splitlines()[0]}") from error
    width = values.shape[1] if values.size else 0
    names = {12: _V8[:12], 13: _V8, 16: _V9, 17: _X}.get(width)
    if names is None:
        raise InputError(f"{path}: has {width} columns; FREALIGN parameters have 12, 13, 16 or 17")
    return dict(zip(names, values.T, strict=True))


def stack_beside(path: Path) -> str:
    """Name of the stack that a parameter file belongs to: same name, or the only one beside it that begins alike.

    Raises
    ------
    InputError
        There is none, or more than one.
    """
    for end in _STACKS:
        if path.with_suffix(end).is_file():
            return path.with_suffix(end).name
    others = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in _STACKS and p.is_file()]
    alike = [p for p in others if path.stem.startswith(p.stem) or p.stem.startswith(path.stem)]
    if len(alike) == 1:
        return alike[0].name
    found = "several: " + ", ".join(p.name for p in alike) if alike else "none is beside it under its name"
    raise InputError(f"{path}: does not name its stack ({found}); use im4d convert STACK OUT --poses {path.name}")


def _poses(psi: NDArray, theta: NDArray, phi: NDArray, x: NDArray, y: NDArray) -> Poses:
    poses = Poses.blank(len(psi))
    poses.set_relion(phi, theta, psi, -x, -y)
    return poses


def read_par(path: str | os.PathLike, stack: str | None, size_of: Callable[[Path], float | None]) -> Particles:
    """The images that FREALIGN's parameters describe.

    Parameters
    ----------
    path : path
    stack : str or None
        Name of the stack; None: see `stack_beside`.
    size_of : callable
        Gives the pixel size of the stack in angstrom, which shifts in angstrom need.

    Raises
    ------
    InputError
        Not such a file, no stack, or shifts in angstrom without a pixel size.
    """
    path = Path(path)
    table = _table(path)
    stack = stack_beside(path) if stack is None else stack
    size = size_of(path.parent / stack) if "OCC" in table else None
    x, y = table["SHX"], table["SHY"]
    if "OCC" in table and (x.any() or y.any()):
        if not size:
            raise InputError(f"{path}: shifts are in angstrom, but {stack} has no pixel size; set it (im4d convert --pixel-size)")
        x, y = x / size, y / size
    words: dict[str, NDArray] = {"DEFOCUS1": table["DF1"], "DEFOCUS2": table["DF2"], "MIDENT": table["FILM"]}
    words["DEFANGLE"] = axis_from_standard(table["ANGAST"])
    if "SCORE" in table:
        words["CCC"] = table["SCORE"] / 100.0
    count = len(x)
    poses = _poses(table["PSI"], table["THETA"], table["PHI"], x, y)
    notes = [f"the stack is {stack}, as its name shows", "voltage and spherical aberration are not in the file"]
    if "OCC" not in table:
        notes.append("shifts are in pixels, as in FREALIGN 8 (12 or 13 columns)")
    image = table["C"].astype(np.intp) - 1
    if (image < 0).any():
        raise InputError(f"{path}: particle numbers count from 1, one is {int(image.min()) + 1}")
    pixels = None if not size else np.full(count, float(size))
    return Particles(path, [stack], np.zeros(count, np.intp), image, Metadata(count, poses, words, pixels), notes)


def is_cistem(tables: Mapping[str, Columns]) -> bool:
    """Whether a STAR file is of cisTEM."""
    return any("_cisTEMAnglePsi" in t or "_cisTEMPositionInStack" in t for t in tables.values())


def read_cistem(path: str | os.PathLike, tables: Mapping[str, Columns], stack: str | None = None) -> Particles:
    """The images that a cisTEM STAR file describes; those of `stack` where it names none (default: see `stack_beside`).

    Raises
    ------
    InputError
        A value that is no number, no stack, or shifts without a pixel size.
    """
    path = Path(path)
    table = next(t for t in tables.values() if "_cisTEMAnglePsi" in t or "_cisTEMPositionInStack" in t)

    def column(name: str) -> NDArray[np.float64] | None:
        return numbers(table, "_cisTEM" + name, path)

    some = next(iter(table.values()))
    count, zero = len(some), np.zeros(len(some))
    size = column("PixelSize")
    psi, theta, phi, x, y = (
        zero if (v := column(k)) is None else v for k in ("AnglePsi", "AngleTheta", "AnglePhi", "XShift", "YShift")
    )
    if (x.any() or y.any()) and size is None:
        raise InputError(f"{path}: shifts are in angstrom, but no pixel size is given (_cisTEMPixelSize)")
    poses = _poses(psi, theta, phi, x / (1.0 if size is None else size), y / (1.0 if size is None else size))
    subset = column("AssignedSubset")
    if subset is not None and (subset > 0).any():
        poses.halfset[:] = subset
    words: dict[str, NDArray] = {}
    names = {"DEFOCUS1": "Defocus1", "DEFOCUS2": "Defocus2", "SPABERR": "MicroscopeCsMM", "CLASSNO": "Best2DClass"}
    for word, name in names.items():
        if (values := column(name)) is not None:
            words[word] = values
    if (angle := column("DefocusAngle")) is not None:
        words["DEFANGLE"] = axis_from_standard(angle)
    if (voltage := column("MicroscopeVoltagekV")) is not None:
        words["VOLTAGE"] = volts(voltage)
    if "_cisTEMOriginalImageFilename" in table:
        words["MIDENT"] = numbered(table["_cisTEMOriginalImageFilename"])
    position = column("PositionInStack")
    image = (np.arange(count) if position is None else position.astype(np.intp) - 1).astype(np.intp)
    stacks = table.get("_cisTEMStackFilename", [])
    named = all(s and s not in (".", "?", "''") for s in stacks) and len(stacks) == count
    stacks = [s.strip("'\"") for s in stacks] if named else [stack or stack_beside(path)] * count
    notes = [] if named else [f"the stack is {stacks[0]}, as its name shows"]
    file = numbered(stacks).astype(np.intp) - 1
    return Particles(path, list(dict.fromkeys(stacks)), file, image, Metadata(count, poses, words, size), notes)
