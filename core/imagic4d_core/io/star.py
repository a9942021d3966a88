"""STAR metadata of RELION 3.1 and later (optics groups) and 3.0: reading, by gemmi (`starout` writes).

Poses and their conversion are in `geometry.poses`; here are only labels and files.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io import startext
from imagic4d_core.io.compressed import read_plain
from imagic4d_core.io.outside import MAX_ANGLE, MAX_NUMBER, MAX_SHIFT, check_rows
from imagic4d_core.io.particles import Metadata, Particles, axis_from_standard, numbered, present, volts

Columns = Mapping[str, list[str]]
#: Further pose fields, kept under labels of our own; RELION passes over labels it does not know.
OWN = {
    "ref3d_old": "_im4dRef3dOld", "ref3d2": "_im4dRef3d2", "ccc3d": "_im4dCcc3d", "errar": "_im4dErrar", "err3d": "_im4dErr3d",
    "margin": "_im4dMargin", "zscore": "_im4dZscore", "eulererr": "_im4dEulerError", "fold": "_im4dFold",
    "foldseed": "_im4dFoldSeed", "folds": "_im4dFolds", "nimg3d": "_im4dImages",
}  # fmt: skip
CLASS2D, MEMBERS = "_im4dClass2d", "_im4dClassMembers"
#: 3D membership of images without a direction of view, whose RELION class would be taken for one of 2D classification.
FLAT3D = "_im4dRef3d"
#: Columns that say how well a fit went; programs write NaN there where it did not.
QUALITIES = ("_rlnCtfFigureOfMerit", "_rlnMaxValueProbDistribution")
#: Largest size of what a column may hold, where it is not just any number.
LARGEST = (
    dict.fromkeys(("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi", "_rlnDefocusAngle"), MAX_ANGLE)
    | dict.fromkeys(("_rlnOriginX", "_rlnOriginY", "_rlnOriginXAngst", "_rlnOriginYAngst"), MAX_SHIFT)
    | dict.fromkeys(("_rlnClassNumber", "_rlnOpticsGroup", "_rlnRandomSubset", "_rlnGroupNumber"), float(MAX_NUMBER))
    | dict.fromkeys((CLASS2D, *(OWN[k] for k in ("ref3d_old", "ref3d2", "fold", "folds"))), float(MAX_NUMBER))
    | {OWN["foldseed"]: 2.0**31 - 1, OWN["nimg3d"]: 2.0**31 - 1, "_rlnImageDimensionality": 3.0}
)
#: Name of an optics group whose voltage, Cs and amplitude contrast are RELION's defaults, for want of better.
ASSUMED = "assumedOptics1"


class Table(Mapping):
    """One table of a STAR file: label -> values as text. Columns are made when asked for (a list may have millions of rows)."""

    def __init__(self) -> None:
        self._columns: dict[str, Callable[[], list[str]]] = {}

    def add(self, label: str, values: list[str], start: int = 0, step: int = 1) -> None:
        """Take every `step`-th of the raw values as a column."""
        from gemmi import cif

        self._columns[label] = lambda: [startext.from_gemmi(cif.as_string(v)) for v in values[start::step]]

    def __getitem__(self, label: str) -> list[str]:
        return self._columns[label]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def read_document(path: str | os.PathLike) -> Any:
    """A STAR file as gemmi has it; a byte-order mark, and names beyond ASCII or with blanks without quotes, are taken.

    Raises
    ------
    InputError
        Missing, not STAR, or text in no known encoding.
    """
    from gemmi import cif

    raw = read_plain(path).removeprefix(b"\xef\xbb\xbf")
    text = startext.joined(startext.for_gemmi(raw.decode("utf-8", "surrogateescape")))
    try:
        return cif.read_string(text if text.isascii() else startext.quoted(text))
    except (RuntimeError, ValueError, UnicodeError, MemoryError) as error:
        why = startext.bad_row(text) or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as STAR: {why}") from error


def read_star(path: str | os.PathLike) -> dict[str, Table]:
    """All tables of a STAR file: block name -> label -> values as text (single pairs are one-row columns).

    Raises
    ------
    InputError
        Missing, or not STAR.
    """
    document = read_document(path)
    tables: dict[str, Table] = {}
    for block in document:
        table = tables.setdefault(block.name.strip("#"), Table())
        for item in block:
            if item.pair is not None:
                table.add(item.pair[0], [item.pair[1]])
            elif item.loop is not None:
                values = list(item.loop.values)
                for k, tag in enumerate(item.loop.tags):
                    table.add(tag, values, k, item.loop.width())
    return tables


def _particle_table(tables: Mapping[str, Columns]) -> Columns:
    for name in ("particles", "", "images"):
        if "_rlnImageName" in tables.get(name, {}):
            return tables[name]
    return next((t for t in tables.values() if "_rlnImageName" in t), {})


def split_name(name: str) -> tuple[int, str]:
    """0-based image number and file of ``000012@stack.mrcs``, -1 where the number is none."""
    number, at, file = name.partition("@")
    if not at:
        return 0, name
    return (int(number) - 1 if number.isdecimal() and len(number) < 16 else -1), file


def same_stack(names: Iterable[str], stack: str | os.PathLike, listing: str | os.PathLike) -> set[str]:
    """Which of the files that a list names are this stack, by their names.

    A list may have been moved, or speak from another folder, so that the last part of the name has to do; where the list knows
    several files of that name, it is the one that is there and is this file, or else the one whose folders agree best.
    """
    stack = Path(os.path.abspath(stack))
    alike = sorted({name for name in names if os.path.basename(name) == stack.name})
    if len(alike) < 2:
        return set(alike)
    found = set()
    for name in alike:
        place = present(name, listing)
        if place is not None and stack.exists() and os.path.samefile(place, stack):
            found.add(name)
    if found:
        return found
    common = {name: _common_end(Path(os.path.normpath(name)).parts, stack.parts) for name in alike}
    best = max(common.values())
    nearest = [name for name in alike if common[name] == best]
    if len(nearest) > 1:
        raise InputError(
            f"{listing}: names several files {stack.name} ({', '.join(nearest[:3])}), and it cannot be told which of them "
            f"{stack} is; give the list itself as input, or put the files where it says"
        )
    return set(nearest)


def _common_end(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    return next((k for k, (x, y) in enumerate(zip(reversed(a), reversed(b), strict=False)) if x != y), min(len(a), len(b)))


def _places(names: list[str], stack: str | os.PathLike, listing: str | os.PathLike) -> NDArray[np.intp]:
    """0-based image number each row means in `stack`, -1 for rows of other files."""
    out = np.full(len(names), -1, np.intp)
    parts = [split_name(name) for name in names]
    mine = same_stack({file for _, file in parts}, stack, listing)
    for row, (number, file) in enumerate(parts):
        if file in mine:
            out[row] = number
    return out


def count_images(path: str | os.PathLike, stack: str | os.PathLike) -> int:
    """How many images of `stack` the STAR file lists."""
    return int((rows_of(path, stack) >= 0).sum())


def rows_of(path: str | os.PathLike, stack: str | os.PathLike) -> NDArray[np.intp]:
    """0-based image number in `stack` of every row of the STAR file, -1 for rows of other files."""
    return _places(_particle_table(read_star(path)).get("_rlnImageName", []), stack, path)


def numbers(table: Columns, label: str, path: str | os.PathLike) -> NDArray[np.float64] | None:
    """A column as numbers, None where it is missing.

    Raises
    ------
    InputError
        A value is no number.
    """
    if label not in table:
        return None
    texts = table[label]
    try:
        values = np.array(texts, np.float64)
    except ValueError:
        row = next(k for k, v in enumerate(texts) if not _is_number(v))
        raise InputError(f"{path}: row {row + 1}: {label} is {texts[row]!r}; every value must be a number") from None
    if label in QUALITIES:  # a fit that failed: not known, which is no reason to refuse the image
        return np.where(np.isfinite(values), values, 0.0)
    check_rows({label: (values, LARGEST.get(label, 1e15))}, path)
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Rows:
    """Columns of the particles, with those of their optics group where the particles have none themselves."""

    def __init__(self, tables: Mapping[str, Columns], path: str | os.PathLike):
        self.path, self.table = path, _particle_table(tables)
        self.names = self.table.get("_rlnImageName", [])
        self.optics = tables.get("optics", {})
        if not self.optics:  # a RELION 3.1 table may be called otherwise
            self.optics = next((t for t in tables.values() if "_rlnOpticsGroup" in t and t is not self.table), {})
        groups, mine = numbers(self.optics, "_rlnOpticsGroup", path), numbers(self.table, "_rlnOpticsGroup", path)
        self._group: NDArray[np.intp] | None = None
        if groups is not None and len(groups):
            where = {int(g): k for k, g in enumerate(groups)}
            wanted = np.full(len(self.names), int(groups[0])) if mine is None else mine.astype(int)
            unknown = set(wanted.tolist()) - set(where)
            if unknown:
                raise InputError(f"{path}: particles are of optics group {min(unknown)}, which the optics table does not have")
            self._group = np.array([where[g] for g in wanted.tolist()], np.intp)

    def column(self, label: str) -> NDArray[np.float64] | None:
        """Of the particles, or of their optics groups."""
        own = numbers(self.table, label, self.path)
        if own is not None or self._group is None:
            return own
        theirs = numbers(self.optics, label, self.path)
        return None if theirs is None else theirs[self._group]

    def assumed(self) -> NDArray[np.bool_]:
        """Whether voltage and Cs of each particle are defaults that were written for want of better."""
        names = np.array(self.optics.get("_rlnOpticsGroupName", []))
        return np.zeros(len(self.names), bool) if self._group is None or not len(names) else (names == ASSUMED)[self._group]

    def pixel_size(self) -> NDArray[np.float64] | None:
        """Of the optics groups, or of detector pixel and magnification (RELION 3.0); angstrom."""
        size = self.column("_rlnImagePixelSize")
        if size is None:
            size = self.column("_rlnPixelSize")
        if size is None:
            detector, magnification = self.column("_rlnDetectorPixelSize"), self.column("_rlnMagnification")
            if detector is not None and magnification is not None and (magnification > 0).all():
                size = detector * 1e4 / magnification
        return size if size is not None and len(size) and (size > 0).all() else None


def _shift(rows: _Rows, size: NDArray | float | None) -> list[NDArray[np.float64] | None]:
    out: list[NDArray[np.float64] | None] = []
    for axis in "XY":
        values = rows.column(f"_rlnOrigin{axis}Angst")
        if values is not None and values.any() and size is None:
            raise InputError(f"{rows.path}: shifts are in angstrom, but no pixel size is given (_rlnImagePixelSize)")
        out.append(rows.column(f"_rlnOrigin{axis}") if values is None else values / (1.0 if size is None else size))
    return out


def _metadata(rows: _Rows, pixel_size: float | None) -> Metadata:
    count = len(rows.names)
    size = rows.pixel_size()
    poses, zero = Poses.blank(count), np.zeros(count)
    angles = [rows.column(f"_rlnAngle{k}") for k in ("Rot", "Tilt", "Psi")]
    shift = _shift(rows, pixel_size if size is None else size)
    known = [k for k in (*angles, *shift) if k is not None]
    if known:
        poses.set_relion(*(zero if k is None else k for k in (*angles, *shift)))
        if all(k is None for k in angles):
            poses.alpha[:] = poses.beta[:] = poses.gamma[:] = 0.0
    words: dict[str, NDArray] = {}
    classes = rows.column("_rlnClassNumber")
    if classes is not None:
        # classes of 2D classification: no direction of view is known
        if not any(k is not None and k.any() for k in angles[:2]) and FLAT3D not in rows.table:
            words["CLASSNO"] = classes
        else:
            poses.ref3d[:] = classes
            known.append(classes)
    labels = {"halfset": "_rlnRandomSubset", "confidence": "_rlnMaxValueProbDistribution"} | OWN
    for name, label in labels.items():
        values = rows.column(label)
        if values is not None:
            getattr(poses, name)[:] = values
            known.append(values)
    words |= _ctf(rows)
    for word, label in (("CLASSNO", CLASS2D), ("NUMCLS", MEMBERS), ("MIDENT", "_rlnGroupNumber")):
        values = rows.column(label)
        if values is not None:
            words[word] = values
    if "_rlnMicrographName" in rows.table:
        words["MIDENT"] = numbered(rows.table["_rlnMicrographName"])
    return Metadata(count, poses if known else None, words, size)


def _ctf(rows: _Rows) -> dict[str, NDArray]:
    words: dict[str, NDArray] = {}
    u, v, angle = (rows.column(f"_rlnDefocus{k}") for k in ("U", "V", "Angle"))
    if u is not None:
        words = {"DEFOCUS1": u, "DEFOCUS2": u if v is None else v}
        words["DEFANGLE"] = axis_from_standard(np.zeros(len(u)) if angle is None else angle)
    assumed = rows.assumed()
    for word, label in (("VOLTAGE", "_rlnVoltage"), ("SPABERR", "_rlnSphericalAberration")):
        values = rows.column(label)
        if values is not None and not assumed.all():
            words[word] = np.where(assumed, 0.0, volts(values) if word == "VOLTAGE" else values)
    quality = rows.column("_rlnCtfFigureOfMerit")
    return words if quality is None else words | {"CTFQUAL": quality}


def read_particles(
    path: str | os.PathLike, tables: Mapping[str, Columns] | None = None, size_of: Callable[[Path], float | None] | None = None
) -> Particles:
    """The images that a STAR file of RELION lists.

    Parameters
    ----------
    path : path
    tables : mapping, optional
        What `read_star` says.
    size_of : callable, optional
        Gives the pixel size of a stack in angstrom, for a list of shifts in angstrom that does not tell it.

    Raises
    ------
    InputError
        Not STAR, no ``_rlnImageName``, volumes, a value that is no number, or shifts in angstrom without a pixel size.
    """
    rows = _Rows(read_star(path) if tables is None else tables, path)
    if not rows.names:
        raise InputError(f"{path}: lists no images (no column _rlnImageName); a particle STAR file is needed")
    dimension = rows.column("_rlnImageDimensionality")
    if dimension is not None and (dimension == 3).any():
        raise InputError(f"{path}: lists volumes, not images; give the volume file itself")
    where: dict[str, int] = {}
    file, image = np.empty(len(rows.names), np.intp), np.empty(len(rows.names), np.intp)
    for row, name in enumerate(rows.names):
        image[row], stack = split_name(name)
        if image[row] < 0:
            raise InputError(f"{path}: row {row + 1} names {name!r}; a name like 000012@stack.mrcs, counted from 1, is needed")
        file[row] = where.setdefault(stack, len(where))
    size = None
    if size_of is not None and rows.pixel_size() is None and any(f"_rlnOrigin{k}Angst" in rows.table for k in "XY"):
        place = present(next(iter(where)), path)
        size = size_of(place) if place is not None else None
    return Particles(Path(path), list(where), file, image, _metadata(rows, size), _not_carried(rows))


def _not_carried(rows: _Rows) -> list[str]:
    notes = []
    contrast = rows.column("_rlnAmplitudeContrast")
    if contrast is not None and "_rlnDefocusU" in rows.table and (contrast[~rows.assumed()] != 0.1).any():
        notes.append(f"amplitude contrast {contrast[0]:g} has no header word; 0.1 is written")
    phase = rows.column("_rlnPhaseShift")
    if phase is not None and phase.any():
        notes.append("phase shifts (_rlnPhaseShift) have no header word")
    return notes


def read_sidecar(
    path: str | os.PathLike, stack: str | os.PathLike, count: int, pixel_size: float | None
) -> tuple[Metadata, float | None]:
    """What a STAR file says of one stack.

    Parameters
    ----------
    path : path
    stack : path
        The stack; rows of other files are passed over.
    count : int
        Number of images (or volumes) in it.
    pixel_size : float or None
        Angstrom, from the stack itself; the STAR file's own wins.

    Returns
    -------
    metadata : Metadata
        Of `count` images; unknown where the file lists none of this stack.
    pixel_size : float or None

    Raises
    ------
    InputError
        Not STAR, an image number beyond `count`, values that are no numbers, or shifts in angstrom without a pixel size.
    """
    rows = _Rows(read_star(path), path)
    places = _places(rows.names, stack, path)
    mine = np.flatnonzero(places >= 0)
    size = rows.pixel_size()
    first = pixel_size if size is None else float(size[0] if not len(mine) else size[mine[0]])
    if not len(mine):
        return Metadata(count), first
    if places.max() >= count:
        raise InputError(f"{path}: names image {int(places.max()) + 1} of {Path(stack).name}, which holds only {count}")
    return _metadata(rows, pixel_size).select(mine).placed(places[mine], count), first


def sidecar(path: str | os.PathLike) -> Path:
    """The STAR file that belongs to an MRC stack: ``NAME.star``."""
    return Path(path).with_suffix(".star")
