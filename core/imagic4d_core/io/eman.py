"""EMAN2 HDF5 files: images and volumes under ``/MDF/images/N/image``, their attributes ``EMAN.*`` beside them.

h5py reads and writes; it comes with ``pip install imagic4d[hdf]``. Rows run upwards, as in MRC. ``EMAN.xform.projection`` is a
3 x 4 matrix: RELION's rotation matrix, and as translation the place of the particle (RELION's origin with the other sign).
Layout after EMAN2's own library (libEM/io/hdfio2.cpp).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import EnvironmentFault, Im4dError, InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.layout import Layout, row_order, turned
from imagic4d_core.io.particles import Metadata, axis_from_standard, axis_to_standard, volts

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ROOT = "MDF/images"
#: How EMAN2 stores a Transform: a compound of the 3 x 4 matrix, row by row.
_TRANSFORM = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])


def is_hdf(raw: bytes) -> bool:
    """Whether first bytes are those of an HDF5 file."""
    return raw[:8] == _SIGNATURE


def _h5py(path: str | os.PathLike) -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise EnvironmentFault(f"{path}: HDF5 files need the package h5py: pip install imagic4d[hdf]") from error
    return h5py


def need(path: str | os.PathLike) -> None:
    """Make sure that HDF files can be written.

    Raises
    ------
    EnvironmentFault
        h5py is not installed.
    """
    _h5py(path)


def _number(attrs: Any, name: str, default: float = 0.0) -> float:
    try:
        return float(np.ravel(attrs[f"EMAN.{name}"])[0])
    except (KeyError, ValueError, TypeError, OSError, IndexError):
        return default


@contextmanager
def _readable(path: str | os.PathLike) -> Iterator[None]:
    """Whatever the HDF5 library says of a damaged file becomes one line."""
    try:
        yield
    except (Im4dError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as HDF5: {why}") from error


class HdfFile:
    """Reader of one EMAN2 HDF file; same methods as the other readers.

    Raises
    ------
    EnvironmentFault
        h5py is not installed.
    InputError
        Not of EMAN2, damaged, or images of different sizes.
    """

    def __init__(self, path: Path, rows: str = "centre"):
        h5py = _h5py(path)
        self.path, self.rows = Path(path), rows
        self._lock = threading.Lock()
        with _readable(path):
            self._file = h5py.File(path, "r")
        try:
            with _readable(path):
                self.layout = self._find_layout()
        except BaseException:
            self._file.close()
            raise

    def _find_layout(self) -> Layout:
        path = self.path
        if _ROOT not in self._file:
            raise InputError(f"{path}: is an HDF5 file without /MDF/images, so not of EMAN2")
        root = self._file[_ROOT]
        numbers = sorted(int(name) for name in root if name.isdigit() and "image" in root[name])
        if not numbers:
            raise InputError(f"{path}: holds no images")
        self.numbers = numbers
        first = root[str(numbers[0])]
        if not all(hasattr(root[str(k)]["image"], "dtype") for k in numbers):
            raise InputError(f"{path}: an image is no data set; it is damaged")
        shape = first["image"].shape
        if not 2 <= len(shape) <= 3:
            raise InputError(f"{path}: image 1 has {len(shape)} dimensions; 2 or 3 are needed")
        sections, lines, pixels = (1, *shape) if len(shape) == 2 else shape
        if min(shape) < 1 or max(shape) > 1 << 20:
            raise InputError(f"{path}: image 1 is of {' x '.join(map(str, shape))}; each size must be 1 to {1 << 20}")
        kinds = {root[str(k)]["image"].dtype.newbyteorder("=") for k in numbers}
        strange = next((d for d in kinds if d.kind not in "iuf"), None)
        if strange is not None:
            raise InputError(f"{path}: holds densities of type {strange}; numbers are needed")
        scaled = any(_number(root[str(k)].attrs, "stored_renderbits") > 0 for k in numbers)
        plain = len(kinds) == 1 and next(iter(kinds)).str[1:] in ("u1", "i2", "i4", "f4")
        stored = next(iter(kinds)) if plain and not scaled else np.dtype(np.float32)
        sizes = np.array([_number(root[str(k)].attrs, "apix_x") for k in numbers])
        sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 0.0)
        size = float(sizes[0]) if np.ptp(sizes) <= 1e-6 * sizes.max() else 0.0
        notes = []
        if numbers != list(range(len(numbers))):
            notes.append(f"image numbers have gaps; the {len(numbers)} that are there are counted from 1")
        if sizes.max() > 0 and not size:
            notes.append(f"pixel sizes from {sizes.min():.6g} to {sizes.max():.6g} A; word 123 of each image has its own")
        if len(kinds) > 1:
            notes.append(f"densities of several types ({', '.join(sorted(map(str, kinds)))}) are read as real numbers")
        if scaled:
            notes.append("densities are stored in fewer bits and scaled back, as EMAN2 does")
        word = {"u1": "PACK", "i2": "INTG", "i4": "LONG"}.get(stored.str[1:], "REAL")
        return Layout(
            path, "HDF", len(numbers), sections, lines, pixels, sections > 1, stored, size if size > 0 else None, word, notes
        )

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """(place in the output, object, first section, last section excluded)."""
        at = start
        while at < stop:
            k, section = divmod(at, self.layout.sections)
            end = min(stop, (k + 1) * self.layout.sections)
            yield at - start, k, section, section + end - at
            at = end

    def read_raw(self, start: int, stop: int) -> NDArray:
        """Images or sections `start` to `stop`, IMAGIC's line order, shape (n, lines, pixels)."""
        lay = self.layout
        out = np.empty((stop - start, lay.lines, lay.pixels), lay.dtype.newbyteorder("="))
        with self._lock, _readable(self.path):
            for place, k, a, b in self._pieces(start, stop):
                group = self._file[f"{_ROOT}/{self.numbers[k]}"]
                data = group["image"]
                if data.shape[-2:] != (lay.lines, lay.pixels) or (data.ndim == 3 and data.shape[0] != lay.sections):
                    raise InputError(f"{self.path}: image {k + 1} is of another size than image 1; all must have one size")
                values = data[a:b] if data.ndim == 3 else data[()][None]
                bits = int(_number(group.attrs, "stored_renderbits"))
                if bits > 0:
                    low, high = _number(group.attrs, "stored_rendermin"), _number(group.attrs, "stored_rendermax")
                    values = values.astype(np.float32) * np.float32((high - low) / ((1 << bits) - 1)) + np.float32(low)
                out[place : place + b - a] = values
        return out if self.rows == "keep" else turned(out, row_order(lay.lines, self.rows))

    def headers(self, start: int, stop: int) -> NDArray:
        """Header records made of the attributes: pose, CTF, class members, pixel size, EMAN2's model as 3D membership."""
        lay = self.layout
        h = lay.records(start, stop)
        objects = np.arange(start, stop) // lay.sections
        with self._lock, _readable(self.path):
            found = {k: self._metadata(k) for k in np.unique(objects).tolist()}
        for row, k in enumerate(objects.tolist()):
            found[k].into_headers(h[row : row + 1])
        return h

    def _metadata(self, k: int) -> Metadata:
        attrs = self._file[f"{_ROOT}/{self.numbers[k]}"].attrs
        words = _read_ctf(attrs)
        members = _number(attrs, "ptcl_repr") or _number(attrs, "n_objects") or float(np.size(attrs.get("EMAN.members", ())))
        if members > 0:
            words["NUMCLS"] = np.array([members])
        poses: Poses | None = None
        matrix = _matrix(attrs)
        model = _number(attrs, "model_id", -1.0)
        if matrix is not None or model >= 0:
            poses = Poses.blank(1)
            if matrix is not None:
                poses.set_standard_matrices(matrix[None, :, :3], -matrix[0, 3], -matrix[1, 3])
            poses.ref3d[:] = int(model) + 1
        size = _number(attrs, "apix_x")
        return Metadata(1, poses, words, np.array([size]) if size > 0 else None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _matrix(attrs: Any) -> NDArray[np.float64] | None:
    if "EMAN.xform.projection" not in attrs:
        return None
    value = np.ravel(attrs["EMAN.xform.projection"])
    if value.dtype.names:
        value = np.array([value[0][name] for name in value.dtype.names])
    return np.asarray(value, np.float64).reshape(3, 4) if value.size == 12 else None


def _read_ctf(attrs: Any) -> dict[str, NDArray]:
    """CTF words of the text that EMAN2 stores: E, defocus (micrometre), its difference, angle, B, contrast (%), kV, Cs (mm)."""
    text = attrs.get("EMAN.ctf", b"")
    text = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    fields = text.rstrip("\0").split()
    if not text.startswith("E") or len(fields) < 7:
        return {}
    try:
        defocus, difference, angle, _, _, voltage, cs = (float(v) for v in [fields[0][1:], *fields[1:7]])
    except ValueError:
        return {}
    values = {
        "DEFOCUS1": 1e4 * (defocus + 0.5 * difference), "DEFOCUS2": 1e4 * (defocus - 0.5 * difference),
        "DEFANGLE": float(axis_from_standard(angle)), "VOLTAGE": 1e3 * voltage, "SPABERR": cs,
    }  # fmt: skip
    return {name: np.array([v]) for name, v in values.items()}


def _ctf_text(words: dict[str, NDArray], k: int, pixel_size: float) -> str | None:
    d1, d2 = (float(words[n][k]) for n in ("DEFOCUS1", "DEFOCUS2"))
    if not d1 and not d2:
        return None
    voltage, cs = float(volts(words["VOLTAGE"][k])) / 1e3 or 300.0, float(words["SPABERR"][k]) or 2.7
    angle = float(axis_to_standard(words["DEFANGLE"][k]))
    values = ((d1 + d2) / 2e4, (d1 - d2) / 1e4, angle, 0.0, 10.0, voltage, cs, pixel_size or 1.0, -1.0)
    return "E" + " ".join(f"{v:.9g}" for v in values) + " 0 0"


def write_hdf(
    target: Path, read: Any, metadata: Metadata, shape: tuple[int, int, int, int], pixel_size: float | None, seen: NDArray,
) -> None:  # fmt: skip
    """Write an HDF file under a temporary name; the same input gives the same bytes.

    Parameters
    ----------
    target : Path
        Existing temporary file, replaced in place.
    read : callable
        ``read(object)``: densities of an object, shape (sections, lines, pixels), rows upwards.
    metadata : Metadata
        One entry per object.
    shape : tuple of int
        (objects, sections, lines, pixels).
    pixel_size : float or None
        Angstrom.
    seen : ndarray, shape (objects, 4)
        Mean, variance, minimum, maximum of each.
    """
    h5py = _h5py(target)
    objects, sections, lines, pixels = shape
    poses = metadata.poses if metadata.poses is not None else Poses.blank(objects)
    matrices, relion = poses.standard_matrices(), poses.to_relion()
    posed = np.any(np.array([poses.alpha, poses.beta, poses.gamma, *poses.shift.T]), axis=0)
    with h5py.File(target, "w") as out:
        root = out.create_group(_ROOT)
        root.attrs["imageid_max"] = np.int32(objects - 1)
        for k in range(objects):
            group = root.create_group(str(k))
            data = read(k)
            group.create_dataset("image", data=data if sections > 1 else data[0])
            attrs = group.attrs
            for name, number in (("nx", pixels), ("ny", lines), ("nz", sections)):
                attrs["EMAN." + name] = np.int32(number)
            size = pixel_size or (0.0 if metadata.pixel_size is None else float(metadata.pixel_size[k]))
            for axis in "xyz" if size else "":
                attrs[f"EMAN.apix_{axis}"] = np.float32(size)
            for name, value in zip(("mean", "sigma", "minimum", "maximum"), seen[k], strict=True):
                attrs["EMAN." + name] = np.float32(np.sqrt(value) if name == "sigma" else value)
            if posed[k]:
                place = np.array([-relion["x"][k], -relion["y"][k], 0.0])
                full = np.concatenate([matrices[k], place[:, None]], axis=1).astype("<f4")
                attrs["EMAN.xform.projection"] = full.ravel().view(_TRANSFORM)
            if poses.ref3d[k] > 0:
                attrs["EMAN.model_id"] = np.int32(poses.ref3d[k] - 1)
            if metadata.words and sections == 1:
                if (members := float(metadata.words["NUMCLS"][k])) > 0:
                    attrs["EMAN.ptcl_repr"] = np.int32(members)
                if text := _ctf_text(metadata.words, k, size):
                    attrs["EMAN.ctf"] = np.bytes_(text)
