"""STAR metadata as RELION 3.1 and later reads it: writing, by gemmi. Labels are those of `star`."""

import os
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.particles import Metadata, axis_to_standard, volts
from imagic4d_core.io.star import ASSUMED, CLASS2D, MEMBERS, OWN, read_particles


def texts(values: NDArray) -> list[str]:
    """Numbers as they are written."""
    if values.dtype.kind == "i" or (values == np.rint(values)).all():
        return [str(int(v)) for v in values]
    if (values == values.astype(np.float32)).all():  # from header words: no more digits than they have
        return [np.format_float_positional(v, trim="-") for v in values.astype(np.float32)]
    return [f"{v:.9g}" for v in values]


def _optics(words: Mapping[str, NDArray], count: int) -> tuple[list[tuple[float, float]], NDArray[np.intp]]:
    """Groups of equal (kV, Cs), and the group of each image."""
    none = np.zeros(count)
    pairs = np.stack([np.round(volts(words.get("VOLTAGE", none)) / 1e3, 3), np.round(words.get("SPABERR", none), 4)], -1)
    groups, index = np.unique(pairs, axis=0, return_inverse=True)
    return [(float(a), float(b)) for a, b in groups], index.ravel()


def pose_columns(poses: Poses, pixel_size: float | None) -> dict[str, list[str]]:
    """Columns of angles and origins as RELION has them; origins in angstrom where the pixel size is known."""
    relion = poses.to_relion()
    columns = {f"_rlnAngle{k}": texts(relion[k.lower()]) for k in ("Rot", "Tilt", "Psi")}
    unit, factor = ("Angst", pixel_size) if pixel_size else ("", 1.0)
    columns |= {f"_rlnOrigin{k}{unit}": texts(relion[k.lower()] * factor) for k in "XY"}
    return columns


def own_columns(poses: Poses) -> dict[str, list[str]]:
    """Columns of confidence and half set, and those under labels of our own, where they hold anything."""
    labels = {"confidence": "_rlnMaxValueProbDistribution", "halfset": "_rlnRandomSubset"} | OWN
    return {label: texts(getattr(poses, name)) for name, label in labels.items() if getattr(poses, name).any()}


def write_star(
    handle: IO[str], metadata: Metadata, stack: str, pixel_size: float | None, box: int, volumes: bool = False
) -> None:
    """Write metadata as STAR: RELION 3.1 with optics groups, or 3.0 labels (shifts in pixels) where no pixel size is known.

    Parameters
    ----------
    handle : text file
    metadata : Metadata
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

    count, words = len(metadata), metadata.words
    poses = metadata.poses if metadata.poses is not None else Poses.blank(count)
    columns: dict[str, list[str]] = {"_rlnImageName": [cif.quote(f"{k + 1:06d}@{stack}") for k in range(count)]}
    posed = any(bool(np.any(getattr(poses, name))) for name in ("alpha", "beta", "gamma", "shift", "ref3d"))
    if posed:
        columns |= pose_columns(poses, pixel_size)
    class2d = words.get("CLASSNO", np.zeros(count))
    flat = class2d.any() and not poses.ref3d.any() and not (poses.beta.any() or poses.gamma.any())
    if flat:  # RELION has one label for classes of both kinds; without a direction of view they are of 2D classification
        columns |= {"_rlnAngleRot": ["0"] * count, "_rlnAngleTilt": ["0"] * count}
        columns.setdefault("_rlnAnglePsi", ["0"] * count)
    if posed or flat:
        columns["_rlnClassNumber"] = texts(class2d if flat else poses.ref3d)
    if class2d.any() and not flat:
        columns[CLASS2D] = texts(class2d)
    groups, group = _optics(words, count)
    if words.get("DEFOCUS1", np.zeros(0)).any():
        columns |= {"_rlnDefocusU": texts(words["DEFOCUS1"]), "_rlnDefocusV": texts(words["DEFOCUS2"])}
        columns["_rlnDefocusAngle"] = texts(np.round(axis_to_standard(words["DEFANGLE"]), 4))
        if not pixel_size:
            columns["_rlnVoltage"] = texts(np.array([groups[k][0] or 300.0 for k in group]))
            columns["_rlnSphericalAberration"] = texts(np.array([groups[k][1] or 2.7 for k in group]))
            columns["_rlnAmplitudeContrast"] = ["0.1"] * count
    for word, label in (("CTFQUAL", "_rlnCtfFigureOfMerit"), ("NUMCLS", MEMBERS), ("MIDENT", "_rlnGroupNumber")):
        if words.get(word, np.zeros(0)).any():
            columns[label] = texts(words[word])
    if pixel_size:
        columns["_rlnOpticsGroup"] = [str(k + 1) for k in group]
    columns |= own_columns(poses)
    document = cif.Document()
    if pixel_size:
        _write_optics(document, groups, pixel_size, box, volumes)
    loop = document.add_new_block("particles" if pixel_size else "images").init_loop("", list(columns))
    loop.set_all_values(list(columns.values()))
    handle.write("# version 30001\n\n" + document.as_string() + "\n")


def _write_optics(document: Any, groups: list[tuple[float, float]], pixel_size: float, box: int, volumes: bool) -> None:
    # RELION does not read an optics group without the last three, even where they are not used: its own defaults
    labels = ["OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality"]
    labels += ["Voltage", "SphericalAberration", "AmplitudeContrast"]
    optics = document.add_new_block("optics").init_loop("_rln", labels)
    for k, (voltage, cs) in enumerate(groups, 1):
        name = f"opticsGroup{k}" if voltage or cs else ASSUMED
        row = [str(k), name, f"{pixel_size:.9g}", str(box), "3" if volumes else "2"]
        optics.add_row([*row, f"{voltage or 300:g}", f"{cs or 2.7:g}", "0.1"])


def write_like(
    handle: IO[str], template: str | os.PathLike, rows: NDArray[np.intp], metadata: Metadata, pixel_size: float | None
) -> None:
    """Write some rows of another STAR file with new angles, origins, classes and half sets; all else stays as it was.

    Parameters
    ----------
    handle : text file
    template : path
        Of RELION, any version.
    rows : ndarray of int, shape (n,)
        0-based rows of its particle table.
    metadata : Metadata
        Of n images; CTF is the template's own.
    pixel_size : float or None
        Of these images, angstrom; None: as the template says.

    Raises
    ------
    InputError
        Not a particle STAR file, or a row that it does not have.
    """
    from gemmi import cif

    particles = read_particles(template)
    if len(rows) and rows.max() >= len(particles):
        raise InputError(f"{template}: has {len(particles)} rows; image {int(rows.argmax()) + 1} is of row {int(rows.max()) + 1}")
    poses = metadata.poses if metadata.poses is not None else Poses.blank(len(rows))
    theirs = particles.metadata.pixel_size
    size = np.full(len(rows), pixel_size or 1.0) if theirs is None or pixel_size else theirs[rows]
    document, out = cif.read_file(os.fspath(template)), cif.Document()
    for block in document:
        loop = block.find_loop("_rlnImageName").get_loop()
        if loop is None:
            out.add_copied_block(block)
            continue
        width, values = loop.width(), list(loop.values)
        columns = {tag: [values[k + width * row] for row in rows.tolist()] for k, tag in enumerate(loop.tags)}
        angstrom = "_rlnOriginXAngst" in columns or ("_rlnOriginX" not in columns and theirs is not None)
        new = pose_columns(poses, None)
        for axis in "XY":
            pixels = np.array([float(v) for v in new.pop(f"_rlnOrigin{axis}")])
            if angstrom:
                new[f"_rlnOrigin{axis}Angst"] = texts(pixels * size)
            else:
                new[f"_rlnOrigin{axis}"] = texts(pixels if theirs is None else pixels * size / theirs[rows])
        if poses.ref3d.any():
            new["_rlnClassNumber"] = texts(poses.ref3d)
        columns |= new | own_columns(poses)
        out.add_new_block(block.name).init_loop("", list(columns)).set_all_values(list(columns.values()))
    handle.write("# version 30001\n\n" + out.as_string() + "\n")
