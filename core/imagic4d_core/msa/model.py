"""The files of an MSA run: ROOT.hed (eigenimages), ROOT_mean.hed, ROOT.json, ROOT.lis, ROOT.plt.

``ROOT_mean`` holds three images (or volumes): the total average (the centre of the metric), what densities are multiplied with
after it is subtracted (the metric's scale, 0 outside the mask), and the mask. With them and the eigenimages the coordinates of
any image of the same size follow, which is what `load` is for.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io import atomic
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack, read_stack
from imagic4d_core.io.writer import output_paths
from imagic4d_core.msa.coordinates import METRIC_NUMBERS
from imagic4d_core.msa.space import METRICS, PROJECTION, Space


@dataclass
class Model:
    """Eigenimages with the space they live in.

    Attributes
    ----------
    space : Space
        With centre and scale.
    vectors : ndarray, shape (P, K), float32
    document : dict
        ROOT.json.
    """

    space: Space
    vectors: NDArray[np.float32]
    document: dict[str, Any]


def stem(root: str | os.PathLike) -> str:
    """ROOT without ``.hed``, ``.img`` or ``.json``."""
    text = os.fspath(root)
    return text[: -len(Path(text).suffix)] if Path(text).suffix.lower() in (".hed", ".img", ".json") else text


def paths(root: str | os.PathLike) -> list[Path]:
    """All files of a run."""
    base = stem(root)
    return [*output_paths(base), *output_paths(base + "_mean"), *(Path(base + end) for end in (".lis", ".plt", ".json"))]


def save(root: str | os.PathLike, model: Model, pixel_size: float | None, overwrite: bool) -> None:
    """Write all files, the .json last: where it is, the others are complete.

    Raises
    ------
    OutputError
    """
    base, space, document = stem(root), model.space, model.document
    values = np.asarray(document["eigenvalues"])
    images = space.image_of(model.vectors.T)
    size = pixel_size if space.invariant == "none" else None
    head = blank_headers(images.shape[0] * space.shape[0], *space.shape[1:], space.shape[0], pixel_size=size)
    head["COOSMSA"][:, 19] = np.repeat(values, space.shape[0])
    head["NUMEIGEN"], head["NIACTIVE"] = len(values), document["active"]
    head["NMETRIC"] = METRIC_NUMBERS[space.metric]
    head["NAME"] = np.repeat([f"eigenimage {k + 1}".encode() for k in range(len(values))], space.shape[0])
    _write(base, images, head, size, overwrite)
    assert space.centre is not None and space.scale is not None  # of every space that was solved
    mean = np.concatenate([space.image_of(v) for v in (space.centre, space.scale, np.ones(space.size))])
    head = blank_headers(3 * space.shape[0], *space.shape[1:], space.shape[0], pixel_size=size)
    head["NAME"] = np.repeat([b"total average", b"scale of the metric", b"mask"], space.shape[0])
    _write(base + "_mean", mean, head, size, overwrite)
    atomic.atomic_write_text(base + ".lis", listing(document), overwrite)
    plain = "".join(f"{k + 1:6d} {v:.9e}\n" for k, v in enumerate(values))
    atomic.atomic_write_text(base + ".plt", plain, overwrite)
    atomic.atomic_write_json(base + ".json", document, overwrite)


def _write(name: str, images: NDArray, head: NDArray, size: float | None, overwrite: bool) -> None:
    n, sections, lines, pixels = images.shape
    with create_stack(name, n, sections, lines, pixels, pixel_size=size, overwrite=overwrite) as out:
        out.write(0, images.reshape(-1, lines, pixels))
        out.set_headers(0, head)


def listing(document: dict[str, Any]) -> str:
    """ROOT.lis: the run in words, and a table of eigenvalues."""
    edge = document["noise"]
    rows = [
        f"MSA of {document['images']}, metric {document['metric']}",
        f"{document['active']} active of {document['objects']} objects, {document['pixels']} pixels under the mask",
        f"total variance {document['total_variance']:.6g}; noise ends at {edge['edge']:.6g}: {edge['factors']} factors above it",
        "",
        "factor      eigenvalue   percent  together",
    ]
    together = 0.0
    for k, (value, percent) in enumerate(zip(document["eigenvalues"], document["percent"], strict=True)):
        together += percent
        rows.append(f"{k + 1:6d} {value:15.8e} {percent:8.3f} {together:9.3f}{'' if k < edge['factors'] else '  noise'}")
    return "\n".join(rows) + "\n"


def load(root: str | os.PathLike) -> Model:
    """Read the files of an earlier run.

    Raises
    ------
    InputError
        A file is missing, or they do not belong together.
    """
    base = stem(root)
    path = Path(base + ".json")
    if not path.is_file():
        raise InputError(f"{path}: not found; ROOT of an earlier `im4d msa run` is needed")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        metric, invariant, box = document["metric"], document["invariant"], tuple(document["box"])
        good = metric in (*METRICS, PROJECTION) and len(box) == 3 and document["schema"] == 1
        good = good and isinstance(document["eigenvalues"], list) and isinstance(document["ring_radius"], int | float)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise InputError(f"{path}: is not the .json of an MSA run (schema 1)")
    images, _ = read_stack(base + ".hed")
    mean, _ = read_stack(base + "_mean.hed")
    if images.shape[1:] != mean.shape[1:] or len(mean) != 3 or len(images) != len(document["eigenvalues"]):
        raise InputError(f"{base}.hed, {base}_mean.hed and {path.name} do not belong together")
    shape = mean.shape[1:] if mean.ndim == 4 else (1, *mean.shape[1:])
    flat = mean.reshape(3, -1)
    index = np.flatnonzero(flat[2] > 0.5)
    space = Space(metric, box, shape, index, invariant, float(document["ring_radius"]), flat[0, index], flat[1, index])
    return Model(space, np.ascontiguousarray(images.reshape(len(images), -1)[:, index].T), document)
