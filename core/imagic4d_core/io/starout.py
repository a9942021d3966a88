"""STAR metadata as RELION 3.1 and later reads it: writing, by gemmi. Labels are those of `star`."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, OutputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.particles import Metadata, axis_to_standard, volts
from imagic4d_core.io.star import ASSUMED, CLASS2D, FLAT3D, MEMBERS, OWN, read_document, read_particles, read_star
from imagic4d_core.io.startext import for_gemmi, from_gemmi

#: Values that need no quotes, which many readers keep as part of a name.
_PLAIN = re.compile(r"[^\s'\"]+")


def image_name(k: int, stack: str) -> str:
    """``000012@stack.mrcs`` of an image, from 0, quoted only where it must be."""
    from gemmi import cif

    name = for_gemmi(f"{k + 1:06d}@{stack}")
    return name if _PLAIN.fullmatch(name) else str(cif.quote(name))


def _bare(values: Sequence[str]) -> list[str]:
    """Raw values without the quotes that reading gave to names beyond ASCII."""
    return [v if v.isascii() or not _PLAIN.fullmatch(v[1:-1]) else v.strip("'") for v in values]


def _save(handle: IO[str], document: Any) -> None:
    handle.write("# version 30001\n\n" + from_gemmi(document.as_string()) + "\n")


def texts(values: NDArray) -> list[str]:
    """Numbers as they are written."""
    if values.dtype.kind == "i" or (values == np.rint(values)).all():
        return [str(int(v)) for v in values]
    if (values == values.astype(np.float32)).all():  # from header words: no more digits than they have
        return [np.format_float_positional(v, trim="-") for v in values.astype(np.float32)]
    return [f"{v:.9g}" for v in values]


def _optics(words: Mapping[str, NDArray], sizes: NDArray, count: int) -> tuple[list[tuple[float, ...]], NDArray[np.intp]]:
    """Groups of equal (kV, Cs, pixel size), and the group of each image."""
    none = np.zeros(count)
    kv, cs = np.round(volts(words.get("VOLTAGE", none)) / 1e3, 3), np.round(words.get("SPABERR", none), 4)
    groups, index = np.unique(np.stack([kv, cs, sizes], -1), axis=0, return_inverse=True)
    return [tuple(row) for row in groups.tolist()], index.ravel()


def pose_columns(poses: Poses, pixel_size: NDArray | float | None) -> dict[str, list[str]]:
    """Columns of angles and origins as RELION has them, where any are known; origins in angstrom where the pixel size is."""
    relion = poses.to_relion()
    columns: dict[str, list[str]] = {}
    if poses.alpha.any() or poses.beta.any() or poses.gamma.any():
        columns |= {f"_rlnAngle{k}": texts(relion[k.lower()]) for k in ("Rot", "Tilt", "Psi")}
    if poses.shift.any():
        unit, factor = ("", 1.0) if pixel_size is None else ("Angst", pixel_size)
        columns |= {f"_rlnOrigin{k}{unit}": texts(relion[k.lower()] * factor) for k in "XY"}
    return columns


def own_columns(poses: Poses) -> dict[str, list[str]]:
    """Columns of confidence and half set, and those under labels of our own, where they hold anything."""
    labels = {"confidence": "_rlnMaxValueProbDistribution", "halfset": "_rlnRandomSubset"} | OWN
    return {label: texts(getattr(poses, name)) for name, label in labels.items() if getattr(poses, name).any()}


#: Labels that `write_star` knows.
_KNOWN = frozenset((
    *(f"_rln{k}" for k in (
        "ImageName", "AngleRot", "AngleTilt", "AnglePsi", "OriginX", "OriginY", "OriginXAngst", "OriginYAngst", "ClassNumber",
        "DefocusU", "DefocusV", "DefocusAngle", "Voltage", "SphericalAberration", "AmplitudeContrast", "CtfFigureOfMerit",
        "GroupNumber", "OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality",
        "MaxValueProbDistribution", "RandomSubset",
    )),
    FLAT3D, CLASS2D, MEMBERS, *OWN.values(),
))  # fmt: skip


def would_lose(path: str | os.PathLike) -> str:
    """What of a STAR file `write_star` could not write again, as text: a label, or a value; empty where that is nothing.

    Raises
    ------
    InputError
        Not STAR.
    """
    tables = read_star(path)
    foreign = [label for table in tables.values() for label in table if label not in _KNOWN]
    if foreign:
        return f"column {foreign[0]}" + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
    notes = read_particles(path, tables).notes
    return notes[0] if notes else ""


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
        Angstrom; None: as the metadata say, image by image.
    box : int
        Pixels per line.
    volumes : bool
        The stack holds volumes.
    """
    from gemmi import cif

    count, words = len(metadata), metadata.words
    poses = metadata.poses if metadata.poses is not None else Poses.blank(count)
    columns: dict[str, list[str]] = {"_rlnImageName": [image_name(k, stack) for k in range(count)]}
    sizes: NDArray | None = None if not pixel_size else np.full(count, float(f"{pixel_size:.9g}"))
    if sizes is None and metadata.pixel_size is not None and len(metadata.pixel_size) and (metadata.pixel_size > 0).all():
        sizes = metadata.pixel_size
    columns |= pose_columns(poses, sizes)
    class2d = words.get("CLASSNO", np.zeros(count))
    flat = class2d.any() and not poses.ref3d.any() and not (poses.beta.any() or poses.gamma.any())
    if flat:  # RELION has one label for classes of both kinds; without a direction of view they are of 2D classification
        columns |= {"_rlnAngleRot": ["0"] * count, "_rlnAngleTilt": ["0"] * count}
        columns.setdefault("_rlnAnglePsi", ["0"] * count)
    if poses.ref3d.any() or flat:
        columns["_rlnClassNumber"] = texts(class2d if flat else poses.ref3d)
    if poses.ref3d.any() and not (poses.beta.any() or poses.gamma.any()):
        columns[FLAT3D] = texts(poses.ref3d)
    if class2d.any() and not flat:
        columns[CLASS2D] = texts(class2d)
    groups, group = _optics(words, np.zeros(count) if sizes is None else sizes, count)
    if words.get("DEFOCUS1", np.zeros(0)).any():
        columns |= {"_rlnDefocusU": texts(words["DEFOCUS1"]), "_rlnDefocusV": texts(words["DEFOCUS2"])}
        columns["_rlnDefocusAngle"] = texts(np.round(axis_to_standard(words["DEFANGLE"]), 4))
        if sizes is None:
            columns["_rlnVoltage"] = texts(np.array([groups[k][0] or 300.0 for k in group]))
            columns["_rlnSphericalAberration"] = texts(np.array([groups[k][1] or 2.7 for k in group]))
            columns["_rlnAmplitudeContrast"] = ["0.1"] * count
    for word, label in (("CTFQUAL", "_rlnCtfFigureOfMerit"), ("NUMCLS", MEMBERS), ("MIDENT", "_rlnGroupNumber")):
        if words.get(word, np.zeros(0)).any():
            columns[label] = texts(words[word])
    if sizes is not None:
        columns["_rlnOpticsGroup"] = [str(k + 1) for k in group]
    columns |= own_columns(poses)
    document = cif.Document()
    if sizes is not None:
        _write_optics(document, groups, box, volumes)
    loop = document.add_new_block("images" if sizes is None else "particles").init_loop("", list(columns))
    loop.set_all_values(list(columns.values()))
    _save(handle, document)


def _write_optics(document: Any, groups: list[tuple[float, ...]], box: int, volumes: bool) -> None:
    # RELION does not read an optics group without the last three, even where they are not used: its own defaults
    labels = ["OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality"]
    labels += ["Voltage", "SphericalAberration", "AmplitudeContrast"]
    optics = document.add_new_block("optics").init_loop("_rln", labels)
    for k, (voltage, cs, size) in enumerate(groups, 1):
        name = f"opticsGroup{k}" if voltage or cs else ASSUMED
        row = [str(k), name, f"{size:.9g}", str(box), "3" if volumes else "2"]
        optics.add_row([*row, f"{voltage or 300:g}", f"{cs or 2.7:g}", "0.1"])


def write_like(
    handle: IO[str], template: str | os.PathLike, rows: NDArray[np.intp], metadata: Metadata, pixel_size: NDArray | None
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
    pixel_size : ndarray, shape (n,), or None
        Of these images, angstrom; 0 or None: as the template says.

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
    theirs = None if theirs is None else theirs[rows]
    size = np.ones(len(rows)) if theirs is None else theirs
    if pixel_size is not None:
        size = np.where(pixel_size > 0, pixel_size, size)
    document, out = read_document(template), cif.Document()
    for block in document:
        loop = block.find_loop("_rlnImageName").get_loop()
        if loop is None:
            out.add_copied_block(block)
            continue
        width, values = loop.width(), _bare(loop.values)
        columns = {tag: [values[k + width * row] for row in rows.tolist()] for k, tag in enumerate(loop.tags)}
        new = pose_columns(poses, None)
        new = _in_their_unit(new, columns, size, theirs)
        if poses.ref3d.any():
            new["_rlnClassNumber"] = texts(poses.ref3d)
        columns |= new | own_columns(poses)
        out.add_new_block(block.name).init_loop("", list(columns)).set_all_values(list(columns.values()))
    _save(handle, out)


def _in_their_unit(
    new: dict[str, list[str]], columns: Collection[str], size: NDArray, theirs: NDArray | None
) -> dict[str, list[str]]:  # fmt: skip
    """Origins in pixels of `size`, in angstrom or in the pixels of a list (`theirs`), as it has them."""
    angstrom = "_rlnOriginXAngst" in columns or ("_rlnOriginX" not in columns and theirs is not None)
    for axis in "XY":
        if f"_rlnOrigin{axis}" in new:
            pixels = np.array([float(v) for v in new.pop(f"_rlnOrigin{axis}")])
            if angstrom:
                new[f"_rlnOrigin{axis}Angst"] = texts(pixels * size)
            else:
                new[f"_rlnOrigin{axis}"] = texts(pixels if theirs is None else pixels * size / theirs)
    return new


#: What of a pose stands under which labels of a list, to find what has changed.
_ANGLES, _SHIFTS = ("alpha", "beta", "gamma"), ("shift",)
_LABELS = {"ref3d": "_rlnClassNumber", "confidence": "_rlnMaxValueProbDistribution", "halfset": "_rlnRandomSubset"} | OWN
_WORD_LABELS = {
    "DEFOCUS1": "_rlnDefocusU", "DEFOCUS2": "_rlnDefocusV", "DEFANGLE": "_rlnDefocusAngle", "CTFQUAL": "_rlnCtfFigureOfMerit",
    "NUMCLS": MEMBERS, "CLASSNO": CLASS2D,
}  # fmt: skip


def _differ(old: NDArray, new: NDArray) -> bool:
    # headers hold 32 bits of what a list may say in more digits
    return bool(np.any(np.abs(np.asarray(old, np.float64) - new) > 1e-6 * np.maximum(1.0, np.abs(new))))


def write_edited(
    handle: IO[str], path: str | os.PathLike, rows: NDArray[np.intp], old: Metadata, new: Metadata, pixel_size: float | None
) -> None:
    """Write a STAR file again with what has changed for some of its rows; all else, tables and other rows too, stays as it is.

    Parameters
    ----------
    handle : text file
    path : path
        The STAR file.
    rows : ndarray of int, shape (n,)
        0-based rows of its particle table.
    old, new : Metadata
        Of these n images.
    pixel_size : float or None
        Of the stack, angstrom, where the list has none.

    Raises
    ------
    OutputError
        A change that the list cannot hold.
    """
    before = old.poses if old.poses is not None else Poses.blank(len(rows))
    after = new.poses if new.poses is not None else Poses.blank(len(rows))
    for word in ("VOLTAGE", "SPABERR", "MIDENT"):
        if word in new.words and _differ(old.words.get(word, np.zeros(len(rows))), new.words[word]):
            raise OutputError(f"{path}: a change of {word} cannot be written into a list row by row; give a name for the output")
    document = read_document(path)
    loop = next(t for b in document if (t := b.find_loop("_rlnImageName").get_loop()) is not None)
    tags, values = list(loop.tags), _bare(loop.values)
    columns = {tag: values[k :: len(tags)] for k, tag in enumerate(tags)}
    count = len(columns["_rlnImageName"])
    made: dict[str, list[str]] = {}
    moved = after.to_relion()
    if any(_differ(getattr(before, k), getattr(after, k)) for k in _ANGLES):
        made |= {f"_rlnAngle{k}": texts(moved[k.lower()]) for k in ("Rot", "Tilt", "Psi")}
    if _differ(before.shift, after.shift):
        theirs = old.pixel_size
        size = theirs if theirs is not None else np.full(len(rows), pixel_size or 1.0)
        made |= _in_their_unit({f"_rlnOrigin{k}": texts(moved[k.lower()]) for k in "XY"}, columns, size, theirs)
    for name, label in _LABELS.items():
        if _differ(getattr(before, name), getattr(after, name)):
            made[label] = texts(getattr(after, name))
    for word, label in _WORD_LABELS.items():
        if word in new.words and _differ(old.words.get(word, np.zeros(len(rows))), new.words[word]):
            made[label] = texts(axis_to_standard(new.words[word]) if word == "DEFANGLE" else new.words[word])
    flat = all(float(v) == 0 for k in ("Rot", "Tilt") for v in (made | columns).get(f"_rlnAngle{k}", ["0"]))
    if after.ref3d.any() and flat:
        made[FLAT3D] = texts(after.ref3d)
    for label, texts_ in made.items():
        column = columns.setdefault(label, ["0"] * count)
        for row, text in zip(rows.tolist(), texts_, strict=True):
            column[row] = text
    fresh = [tag for tag in columns if tag not in tags]
    if fresh:
        loop.add_columns(fresh, "0")
    loop.set_all_values(list(columns.values()))
    _save(handle, document)
