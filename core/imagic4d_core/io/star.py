"""STAR metadata beside image stacks: RELION 3.1 (optics groups) out, 3.0 and 3.1 in. gemmi reads and writes.

Poses and their conversion are in `geometry.poses`; here are only labels and files.
"""

import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses

Columns = dict[str, list[str]]
#: Further pose fields, kept under labels of our own; RELION passes over labels it does not know.
_OWN = {
    "ref3d_old": "_im4dRef3dOld", "ref3d2": "_im4dRef3d2", "ccc3d": "_im4dCcc3d", "errar": "_im4dErrar", "err3d": "_im4dErr3d",
    "margin": "_im4dMargin", "zscore": "_im4dZscore", "eulererr": "_im4dEulerError", "fold": "_im4dFold",
    "foldseed": "_im4dFoldSeed", "folds": "_im4dFolds", "nimg3d": "_im4dImages",
}  # fmt: skip


def read_star(path: str | os.PathLike) -> dict[str, Columns]:
    """All tables of a STAR file: block name -> label -> values as text (single pairs are one-row columns).

    Raises
    ------
    InputError
        Missing, or not STAR.
    """
    from gemmi import cif

    try:
        document = cif.read_file(os.fspath(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as STAR: {str(error).splitlines()[0]}") from error
    tables: dict[str, Columns] = {}
    for block in document:
        table = tables.setdefault(block.name.strip("#"), {})
        for item in block:
            if item.pair is not None:
                table[item.pair[0]] = [cif.as_string(item.pair[1])]
            elif item.loop is not None:
                width, values = item.loop.width(), list(item.loop.values)
                for k, tag in enumerate(item.loop.tags):
                    table[tag] = [cif.as_string(v) for v in values[k::width]]
    return tables


def _particles(tables: dict[str, Columns], path: str | os.PathLike) -> Columns:
    for name in ("particles", "", "images"):
        if "_rlnImageName" in tables.get(name, {}):
            return tables[name]
    for table in tables.values():
        if "_rlnImageName" in table:
            return table
    return {}


def _places(names: list[str], stack: str) -> NDArray[np.intp]:
    """0-based image number each row means in `stack`, -1 for rows of other files."""
    out = np.full(len(names), -1, np.intp)
    for row, name in enumerate(names):
        number, at, file = name.partition("@")
        if not at:
            number, file = "1", name
        if os.path.basename(file) == stack and number.isdigit():
            out[row] = int(number) - 1
    return out


def count_images(path: str | os.PathLike, stack: str) -> int:
    """How many images of `stack` (a file name) the STAR file lists."""
    names = _particles(read_star(path), path).get("_rlnImageName", [])
    return int((_places(names, stack) >= 0).sum())


def _numbers(table: Columns, label: str, path: str | os.PathLike) -> NDArray[np.float64] | None:
    if label not in table:
        return None
    try:
        return np.array(table[label], np.float64)
    except ValueError:
        bad = next(v for v in table[label] if not _is_number(v))
        raise InputError(f"{path}: column {label} holds {bad!r}; every value must be a number") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def pixel_size_of(tables: dict[str, Columns], path: str | os.PathLike = "STAR") -> float | None:
    """Pixel size in angstrom: of the first optics group, or detector pixel size and magnification (RELION 3.0)."""
    for table in tables.values():
        size = _numbers(table, "_rlnImagePixelSize", path)
        if size is not None and len(size) and size[0] > 0:
            return float(size[0])
    table = _particles(tables, path)
    detector, magnification = _numbers(table, "_rlnDetectorPixelSize", path), _numbers(table, "_rlnMagnification", path)
    if detector is not None and magnification is not None and len(detector) and magnification[0] > 0:
        return float(detector[0] * 1e4 / magnification[0])
    return None


def read_poses(
    path: str | os.PathLike, stack: str, count: int, pixel_size: float | None = None
) -> tuple[Poses | None, float | None]:
    """Poses of the images of `stack` from a STAR file.

    Parameters
    ----------
    path : path
    stack : str
        File name of the stack; rows of other files are passed over.
    count : int
        Number of images (or volumes) in it.
    pixel_size : float or None
        Angstrom, from the stack itself; the STAR file's own wins.

    Returns
    -------
    poses : Poses or None
        None where the file lists no image of this stack, or no pose column.
    pixel_size : float or None

    Raises
    ------
    InputError
        Not STAR, an image number beyond `count`, values that are no numbers, or shifts in angstrom without a pixel size.
    """
    tables = read_star(path)
    table = _particles(tables, path)
    size = pixel_size_of(tables, path) or pixel_size
    places = _places(table.get("_rlnImageName", []), stack)
    rows = np.flatnonzero(places >= 0)
    if not len(rows):
        return None, size
    if places.max() >= count:
        raise InputError(f"{path}: names image {int(places.max()) + 1} of {stack}, which holds only {count}")

    def column(label: str) -> NDArray[np.float64] | None:
        values = _numbers(table, label, path)
        return None if values is None else values[rows]

    part = Poses.blank(len(rows))
    angles = [column(f"_rlnAngle{k}") for k in ("Rot", "Tilt", "Psi")]
    shift = _shift(column, size, path)
    known = [k for k in angles if k is not None] + [k for k in shift if k is not None]
    if known:
        zero = np.zeros(len(rows))
        rot, tilt, psi, x, y = (zero if k is None else k for k in (*angles, *shift))
        part.set_relion(rot, tilt, psi, x, y)
        if angles[0] is None and angles[1] is None and angles[2] is None:
            part.alpha[:] = part.beta[:] = part.gamma[:] = 0.0
    labels = {"ref3d": "_rlnClassNumber", "halfset": "_rlnRandomSubset", "confidence": "_rlnMaxValueProbDistribution"} | _OWN
    for name, label in labels.items():
        values = column(label)
        if values is not None:
            getattr(part, name)[:] = values
            known.append(values)
    if not known:
        return None, size
    poses = Poses.blank(count)
    for name in vars(poses):
        getattr(poses, name)[places[rows]] = getattr(part, name)
    return poses, size


def _shift(column, size: float | None, path: str | os.PathLike) -> list[NDArray[np.float64] | None]:
    out: list[NDArray[np.float64] | None] = []
    for axis in "XY":
        values = column(f"_rlnOrigin{axis}Angst")
        if values is not None and values.any() and not size:
            raise InputError(f"{path}: shifts are in angstrom, but no pixel size is given (_rlnImagePixelSize)")
        out.append(column(f"_rlnOrigin{axis}") if values is None else values / (size or 1.0))
    return out


def _texts(values: NDArray) -> list[str]:
    if values.dtype.kind == "i":
        return [str(int(v)) for v in values]
    return [f"{v:.9g}" for v in values]


def write_poses(handle: IO[str], poses: Poses, stack: str, pixel_size: float | None, box: int, volumes: bool = False) -> None:
    """Write poses as STAR: RELION 3.1 with one optics group, or 3.0 labels (shifts in pixels) where the pixel size is not known.

    Parameters
    ----------
    handle : text file
    poses : Poses
    stack : str
        File name of the stack, put into ``_rlnImageName``.
    pixel_size : float or None
        Angstrom.
    box : int
        Pixels per line.
    volumes : bool
        The stack holds volumes.
    """
    from gemmi import cif

    document = cif.Document()
    if pixel_size:
        # RELION does not read an optics group without the last three, even where they are not used: its own defaults
        labels = ["OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality"]
        labels += ["Voltage", "SphericalAberration", "AmplitudeContrast"]
        optics = document.add_new_block("optics").init_loop("_rln", labels)
        size, dimension = f"{pixel_size:.9g}", "3" if volumes else "2"
        optics.add_row(["1", "opticsGroup1", size, str(box), dimension, "300", "2.7", "0.1"])
    relion = poses.to_relion()
    columns: dict[str, list[str]] = {
        "_rlnImageName": [cif.quote(f"{k + 1:06d}@{stack}") for k in range(len(poses))],
        "_rlnAngleRot": _texts(relion["rot"]),
        "_rlnAngleTilt": _texts(relion["tilt"]),
        "_rlnAnglePsi": _texts(relion["psi"]),
    }
    unit, factor = ("Angst", pixel_size) if pixel_size else ("", 1.0)
    columns[f"_rlnOriginX{unit}"] = _texts(relion["x"] * factor)
    columns[f"_rlnOriginY{unit}"] = _texts(relion["y"] * factor)
    columns["_rlnClassNumber"] = _texts(poses.ref3d)
    if poses.confidence.any():
        columns["_rlnMaxValueProbDistribution"] = _texts(poses.confidence)
    if poses.halfset.any():
        columns["_rlnRandomSubset"] = _texts(poses.halfset)
    if pixel_size:
        columns["_rlnOpticsGroup"] = ["1"] * len(poses)
    for name, label in _OWN.items():
        values = getattr(poses, name)
        if values.any():
            columns[label] = _texts(values)
    block = document.add_new_block("particles" if pixel_size else "images")
    loop = block.init_loop("", list(columns))
    loop.set_all_values(list(columns.values()))
    handle.write("# version 30001\n\n" + document.as_string() + "\n")


def sidecar(path: str | os.PathLike) -> Path:
    """The STAR file that belongs to an MRC stack: ``NAME.star``."""
    return Path(path).with_suffix(".star")
