"""cryoSPARC particle files (``.cs``): NumPy structured arrays (read only).

A pose is a rotation vector (radians) of the rotation that is the transpose of RELION's matrix; shifts are in pixels, with
RELION's sign; classes and half sets are counted from 0 (fields as described in cryoSPARC's guide, "Manipulating .cs files").
"""

import io
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.compressed import read_plain
from imagic4d_core.io.particles import Metadata, Particles, axis_from_standard, numbered, volts

#: Bytes of the description of the fields that are read at most; NumPy's own limit is for files of strangers with Python objects.
_DESCRIPTION = 1 << 24


def _load(path: str | os.PathLike) -> NDArray:
    try:
        data = np.load(io.BytesIO(read_plain(path)), allow_pickle=False, max_header_size=_DESCRIPTION)
    except InputError:
        raise
    except Exception as error:  # whatever the parser of a damaged description makes of it
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as a cryoSPARC file: {why}") from error
    if not isinstance(data, np.ndarray) or data.dtype.names is None or data.ndim != 1:
        raise InputError(f"{path}: is a NumPy file, but not of cryoSPARC (a structured array with names like blob/path)")
    return data


def _texts(values: NDArray) -> list[str]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _beside(path: Path, data: NDArray) -> dict[str, NDArray]:
    """Fields of this file and of its passthrough file (``..._passthrough_particles.cs``), matched by uid."""
    fields = {name: data[name] for name in data.dtype.names or ()}
    if "blob/path" in fields and "ctf/df1_A" in fields:
        return fields
    for other in sorted(path.parent.glob("*passthrough*particles*.cs")):
        more = _load(other) if other != path else None
        if more is None or "uid" not in fields or "uid" not in (more.dtype.names or ()):
            continue
        order = np.argsort(more["uid"])
        at = np.clip(np.searchsorted(more["uid"], fields["uid"], sorter=order), 0, len(more) - 1)
        rows = order[at]
        if len(more) and (more["uid"][rows] == fields["uid"]).all():
            # poses that are passed through are those of an earlier job
            own = any(name.startswith("alignments") for name in data.dtype.names or ())
            fields |= {
                name: more[name][rows]
                for name in more.dtype.names or ()
                if name not in fields and not (own and name.startswith("alignments"))
            }
    return fields


def read_particles(path: str | os.PathLike) -> Particles:
    """The images that a cryoSPARC file lists.

    Images are those of ``blob/path`` and ``blob/idx``; where they are missing they are taken from the passthrough file beside it.

    Raises
    ------
    InputError
        Not such a file, or without image names.
    """
    path = Path(path)
    try:
        return _read(path, _load(path))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: has fields of another kind or shape than cryoSPARC gives them: {error}") from error


def _read(path: Path, data: NDArray) -> Particles:
    fields = _beside(path, data)
    if "blob/path" not in fields:
        raise InputError(
            f"{path}: has no image names (blob/path); put the job's passthrough_particles.cs beside it, or export the particles"
        )
    names = [name.lstrip(">") for name in _texts(fields["blob/path"])]
    file = numbered(names).astype(np.intp) - 1
    files = list(dict.fromkeys(names))
    image = fields["blob/idx"].astype(np.intp) if "blob/idx" in fields else np.zeros(len(names), np.intp)
    if (image < 0).any():
        raise InputError(f"{path}: row {int(np.argmax(image < 0)) + 1}: blob/idx is beyond what a stack can hold")
    size = fields["blob/psize_A"].astype(np.float64) if "blob/psize_A" in fields else None
    metadata = Metadata(len(names), _poses(fields, len(names), size), _words(fields), size)
    notes = []
    if "blob/sign" in fields and (fields["blob/sign"] < 0).any():
        notes.append("blob/sign is -1: contrast is inverted inside cryoSPARC, not here")
    if any(k in fields and np.any(fields[k]) for k in ("ctf/tilt_A", "ctf/trefoil_A", "ctf/phase_shift_rad")):
        notes.append("higher-order CTF terms and phase shifts have no header word")
    if metadata.poses is None and (strange := sorted({k.split("/")[0] for k in fields if k.startswith("alignments")})):
        notes.append(f"poses of a kind that is not known ({', '.join(strange)}) are not read")
    return Particles(path, files, file, image, metadata, notes)


#: One pose a class: fields of each class by themselves (heterogeneous refinement up to 4.4, 3D classification), K columns (4.5).
_EACH, _MULTI = re.compile(r"alignments_class(3D)?_([0-9]+)/(.+)"), "alignments3D_multi"


def _of_classes(fields: dict[str, NDArray], key: str) -> NDArray | None:
    """One field of all classes, shape (n, K, ...), in the order of the classes; None where there is none."""
    if f"{_MULTI}/{key}" in fields:
        return fields[f"{_MULTI}/{key}"]
    found = [(int(m[2]), name) for name in fields if (m := _EACH.fullmatch(name)) and m[3] == key]
    return np.stack([fields[name] for _, name in sorted(found)], axis=1) if found else None


def _poses(fields: dict[str, NDArray], count: int, size: NDArray | None) -> Poses | None:
    chances = _of_classes(fields, "class_posterior")
    keys = ("pose", "shift", "psize_A", "class", "class_posterior", "split")
    if chances is not None and chances.ndim == 2:
        chosen = np.argmax(np.where(np.isfinite(chances), chances, -1.0), axis=1)
        values = {}
        for key in keys:
            value = _of_classes(fields, key)
            if value is not None:
                values[key] = value if value.ndim == 1 else value[np.arange(count), chosen]
        if "pose" in values:
            return _three(values, count, size, chosen)
    if "alignments3D/pose" in fields:
        return _three({k: fields[f"alignments3D/{k}"] for k in keys if f"alignments3D/{k}" in fields}, count, size, None)
    if "alignments2D/pose" in fields:
        poses = Poses.blank(count)
        x, y = _shift(fields.get("alignments2D/shift"), fields.get("alignments2D/psize_A"), size)
        poses.set_relion(np.zeros(count), np.zeros(count), np.rad2deg(fields["alignments2D/pose"].reshape(count)), x, y)
        return poses
    return None


def _shift(shift: NDArray | None, scale: NDArray | None, size: NDArray | None) -> tuple[NDArray | float, NDArray | float]:
    """Shifts in pixels of the images; those of a binned alignment count its own pixels."""
    if shift is None:
        return 0.0, 0.0
    factor = scale / size if scale is not None and size is not None and (size > 0).all() and (scale > 0).all() else 1.0
    return shift[:, 0] * factor, shift[:, 1] * factor


def _three(values: dict[str, NDArray], count: int, size: NDArray | None, chosen: NDArray | None) -> Poses:
    poses = Poses.blank(count)
    matrix = np.swapaxes(euler.matrix_from_rotvec(values["pose"]), -1, -2)
    poses.set_standard_matrices(matrix, *_shift(values.get("shift"), values.get("psize_A"), size))
    classes = values.get("class", chosen)
    if classes is not None:
        poses.ref3d[:] = classes + 1
    if "class_posterior" in values:
        poses.confidence[:] = values["class_posterior"]
    if "split" in values and len(np.unique(values["split"])) > 1:
        poses.halfset[:] = values["split"] + 1
    return poses


def _words(fields: dict[str, NDArray]) -> dict[str, NDArray]:
    words: dict[str, NDArray] = {}
    for word, name in (("DEFOCUS1", "df1_A"), ("DEFOCUS2", "df2_A"), ("SPABERR", "cs_mm"), ("CTFQUAL", "cross_corr_ctffind4")):
        if f"ctf/{name}" in fields:
            words[word] = fields[f"ctf/{name}"].astype(np.float64)
    if "ctf/df_angle_rad" in fields:
        words["DEFANGLE"] = axis_from_standard(np.rad2deg(fields["ctf/df_angle_rad"].astype(np.float64)))
    if "ctf/accel_kv" in fields:
        words["VOLTAGE"] = volts(fields["ctf/accel_kv"])
    if "alignments3D/pose" not in fields and _of_classes(fields, "pose") is None and "alignments2D/class" in fields:
        words["CLASSNO"] = fields["alignments2D/class"].astype(np.float64) + 1
    if "location/micrograph_path" in fields:
        words["MIDENT"] = numbered(_texts(fields["location/micrograph_path"]))
    return words
