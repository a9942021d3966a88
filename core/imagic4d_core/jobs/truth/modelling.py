"""Test structures as files: analytic blob models and the volumes sampled from them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core.errors import check_word
from imagic4d_core.io.atomic import atomic_write_json, check_new
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import create_stack
from imagic4d_core.models import ModelSet, models_to_json, random_family, read_models, volume
from imagic4d_core.parallel import SERIAL, Comm


@dataclass
class TestVolumes:
    """What `threed_test` made; correlations are Pearson's, between every two volumes."""

    __test__ = False  # not a test class

    output: str
    models: str
    volumes: int
    box: int
    pixel_size: float
    related: bool
    correlations: list[list[float]]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        kind = "related" if self.related else "unrelated"
        said = [f"{self.output}: {self.volumes} {kind} volumes of {self.box}^3, {self.pixel_size:g} A per pixel"]
        said.append(f"{self.models}: the blobs they are made of")
        others = [c for i, row in enumerate(self.correlations) for c in row[:i]]
        if others:
            said.append(f"correlations between them {min(others):.3f} to {max(others):.3f}")
        return said


def blobs_path(output: str | os.PathLike) -> Path:
    """Where the blob models of a volume file go: ``NAME.blobs.json`` beside it."""
    path = Path(output)
    return path.with_name((path.stem if path.suffix in (".hed", ".img", ".mrc", ".mrcs", ".map") else path.name) + ".blobs.json")


def threed_test(
    output: str | os.PathLike,
    *,
    number: int = 3,
    size: int = 64,
    pattern: str = "blobs",
    pixel_size: float | None = None,
    related: bool = True,
    seed: int,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Any = None,
) -> TestVolumes | None:
    """Make test volumes whose projections are known exactly.

    Parameters
    ----------
    output : path
        Stack of volumes; the models go to ``NAME.blobs.json`` beside it.
    number, size : int
        Volumes, and edge of each in pixels.
    pattern : {"blobs"}
        Kind of structure: sums of Gaussians.
    pixel_size : float, optional
        Angstrom; 4 without one.
    related : bool
        Variants of one structure, or independent ones.
    seed : int
    overwrite, comm, threads, progress
        As in all jobs.

    Returns
    -------
    TestVolumes
        None on ranks other than 0.
    """
    check_word("pattern", pattern, ("blobs",))
    if comm.rank:
        return None
    pixel = float(pixel_size or 4.0)
    models = random_family(seed, number, size, related)
    target = check_new(blobs_path(output), overwrite)
    volumes = np.empty((number, size, size, size), np.float32)
    with create_stack(output, number, size, size, size, pixel_size=pixel, overwrite=overwrite, history="threed-test") as out:
        for k, model in enumerate(models):
            volumes[k] = volume(model, size)
            out.write_volumes(k, volumes[k])
            headers = blank_headers(size, size, size, size, pixel_size=pixel)
            headers["REF3D"] = k + 1
            headers["NAME"] = model.name.encode("ascii", "replace")[:80]
            out.set_headers(k * size, headers)
        atomic_write_json(target, models_to_json(ModelSet(size, pixel, models)), overwrite)
        path = str(out.path)
    table = np.atleast_2d(np.corrcoef(volumes.reshape(number, -1))).round(6).tolist()
    return TestVolumes(path, str(target), number, size, pixel, related, table)


def is_model_file(path: str | Path) -> bool:
    """Whether a path names a blob model file (by its extension)."""
    return str(path).lower().endswith(".json")


def sampled_volumes(spec: str | Path, box: int | None = None) -> tuple[np.ndarray, float | None]:
    """Volumes of a stack or of a blob model file, float32 (K, n, n, n), and the pixel size in angstrom."""
    if is_model_file(spec):
        found = read_models(spec)
        n = found.box if box is None else box
        return np.stack([volume(m, n) for m in found.models]), found.pixel_size
    with open_stack(spec, what="volumes") as stack:
        return stack.read_volumes(), stack.pixel_size
