"""3Ds along an eigenvolume: the mean plus the eigenvolume times some coordinates."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack, read_stack
from imagic4d_core.msa import model as files
from imagic4d_core.msa.space import PROJECTION
from imagic4d_core.parallel import SERIAL, Comm


@dataclass
class Along:
    """3Ds along an eigenvolume.

    Attributes
    ----------
    output, root : str
    component : int
    at : list of float
        In standard deviations of the coordinates.
    coordinates : list of float
        The same as coordinates of the headers.
    """

    output: str
    root: str
    component: int
    at: list[float]
    coordinates: list[float]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        where = ", ".join(f"{c:.2f}" for c in self.coordinates)
        return [f"{self.output}: {len(self.at)} 3Ds along eigenvolume {self.component} of {self.root}, at coordinates {where}"]


def msa_volumes(
    root: str | os.PathLike, output: str | os.PathLike, *, component: int = 1, at: Sequence[float] = (-2, -1, 0, 1, 2),
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Along:  # fmt: skip
    """Write the 3Ds ``mean + c E`` for coordinates c along one eigenvolume.

    Parameters
    ----------
    root : path
        ROOT of `msa_projections`.
    output : path
        Stack of volumes; word 150 of the headers holds no eigenvalue here, COOSMSA of each volume its coordinates.
    component : int
        From 1.
    at : sequence of float
        Coordinates, in their standard deviations over the images.
    overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    InputError, OutputError, UsageError
    """
    model = files.load(root)
    if model.space.metric != PROJECTION:
        raise InputError(f"{root}: holds eigenimages, not eigenvolumes of projections; run msa projections")
    values = np.asarray(model.document["eigenvalues"], np.float64)
    if not 1 <= component <= len(values):
        raise UsageError(f"{root}: holds {len(values)} eigenvolumes; number {component} is not there")
    if not len(at):
        raise UsageError("no coordinates are given")
    mean, head = read_stack(files.stem(root) + "_mean.hed")
    found = np.asarray(at, np.float64) * np.sqrt(values[component - 1])
    direction = model.space.image_of(model.vectors[:, component - 1])[0]
    box = mean.shape[-1]
    pixel_size = float(head["PIXSIZE"][0]) if "PIXSIZE" in (head.dtype.names or ()) else 0.0
    with create_stack(output, len(found), box, box, box, pixel_size=pixel_size or None, overwrite=overwrite) as out:
        for k, c in enumerate(found):
            out.write(k * box, (mean[0] + np.float32(c) * direction).astype(np.float32))
        records = blank_headers(len(found) * box, box, box, box, pixel_size=pixel_size or None)
        records["COOSMSA"][:, component - 1] = np.repeat(found, box)
        records["NUMEIGEN"] = len(values)
        records["NAME"] = np.repeat([f"eigenvolume {component} at {a:g} s.d.".encode() for a in at], box)
        out.set_headers(0, records)
    return Along(os.fspath(output), os.fspath(root), component, [float(a) for a in at], found.tolist())
