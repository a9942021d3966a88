"""Convert: files of one program into those of another, with their poses."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError, OutputError
from imagic4d_core.io import atomic
from imagic4d_core.io.listing import metadata_of
from imagic4d_core.io.locations import Locations, split_spec
from imagic4d_core.io.particles import Metadata
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.star import read_particles
from imagic4d_core.io.starout import write_like
from imagic4d_core.jobs.files.copying import CopySummary, Progress, put
from imagic4d_core.parallel import SERIAL


def convert(
    src: str | os.PathLike, dst: str | os.PathLike, *, loc: Locations | None = None, rows: str = "centre",
    type: str | None = None, pixel_size: float | None = None, what: str | None = None, sections: int | None = None,
    poses: str | os.PathLike | None = None, overwrite: bool = False, comm: Any = SERIAL, threads: int | None = None,
    progress: Progress = None,
) -> CopySummary:  # fmt: skip
    """Convert between formats, keeping pixel size, poses, CTF, classes, hand and centre.

    Between IMAGIC (first line on top) and MRC or HDF (first row at the bottom) lines are flipped and, for an even number, rolled
    by one, so that the centre stays at index N // 2.

    Parameters
    ----------
    src, dst : path
        Any format; the output's by its extension.
    loc : Locations, optional
        Objects to take (volumes in a file of volumes).
    rows : {"centre", "plain", "keep"}
        ``plain`` flips without the roll; ``keep`` leaves the lines as they are, for files whose writer did not flip.
    type : str, optional
        real, long, intg, pack, comp; default: as in the input, or the next larger type that the format knows.
    pixel_size : float, optional
        Angstrom, in place of the input's.
    what : {"images", "volumes"}, optional
        Take sections as images, or images as sections of volumes.
    sections : int, optional
        Sections of a volume; default: as many as lines.
    poses : path, optional
        STAR, .cs or .par file whose poses, classes and CTF are those of the images.
    overwrite, comm, threads, progress
        As `copying.copy`.

    Returns
    -------
    CopySummary

    Raises
    ------
    InputError
        Input missing or damaged, location out of range, NaN or infinite densities.
    MismatchError
        Images do not fit into the existing output, or `poses` are of other images.
    OutputError
        Output exists or cannot be written.
    """
    with open_stack(split_spec(src)[0], rows=rows) as stack:
        unit = "volumes" if stack.is_volumes else "images"
        given = loc is not None or split_spec(src)[1] is not None
    with open_stack(src, loc, what=unit if given or unit == "volumes" else "auto", rows=rows) as stack:
        edit, notes = None, list[str]()
        if poses is not None:
            if stack.is_volumes:
                raise MismatchError(f"{stack.path}: holds volumes; poses are of images")
            known, notes = metadata_of(Path(poses), stack.path, stack.layout.n_images, pixel_size or stack.pixel_size)
            edit = _Edit(stack, known)
        done = put(
            stack, dst, unit=unit, rows=rows, type_word=type, pixel_size=pixel_size, what=what, sections=sections, finite=True,
            edit=edit, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        done.notes += notes + (_lost(stack) if done.format == "SPIDER" else [])
        return done


class _Edit:
    """Puts metadata into the headers of a selection."""

    def __init__(self, stack: Stack, known: Metadata):
        self._index, self._known = stack.index, known

    def __call__(self, headers: NDArray, start: int) -> None:
        where = np.arange(start, start + len(headers))
        self._known.select(where if self._index is None else self._index[where]).into_headers(headers)


def _lost(stack: Stack) -> list[str]:
    """What SPIDER files do not carry."""
    if Metadata.from_headers(stack.headers(0, min(stack.n_images, 4096))).any_set():
        return ["poses, CTF and classes are not carried by SPIDER files; write a .star for them"]
    return []


@dataclass
class ListSummary:
    """The STAR file that was written.

    Attributes
    ----------
    input, output, template : str
    rows, of : int
        Rows written, and rows of the template.
    """

    input: str
    output: str
    template: str
    rows: int
    of: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.output}: {self.rows} of {self.of} rows of {self.template}, with the poses of {self.input}"]


def convert_list(
    src: str | os.PathLike, dst: str | os.PathLike, *, template: str | os.PathLike, loc: Locations | None = None,
    overwrite: bool = False, comm: Any = SERIAL, threads: int | None = None, progress: Progress = None,
) -> ListSummary:  # fmt: skip
    """Write results back into the STAR file that the images came from: its rows, its stacks, new poses and classes.

    A row is found by word 73 (LOCORIG) of the header, which counts the rows of the STAR file that was read; without it there must
    be as many images as rows.

    Parameters
    ----------
    src : path
        Images with poses in their headers.
    dst : path
        STAR file to write; no densities are written.
    template : path
        The STAR file of RELION.
    loc : Locations, optional
        Images to take.
    overwrite, comm, threads, progress
        As `copying.copy`.

    Raises
    ------
    InputError, OutputError
    MismatchError
        Images whose rows are not known.
    """
    if Path(dst).suffix.lower() != ".star":
        raise OutputError(f"{dst}: with a template a STAR file is written; give a name ending in .star")
    target = atomic.check_new(dst, overwrite)
    with open_stack(src, loc) as stack:
        if stack.is_volumes:
            raise MismatchError(f"{stack.path}: holds volumes; a file of images is needed")
        h = stack.headers()
        total = len(read_particles(template))
        rows = h["LOCORIG"].astype(np.intp) - 1
        if (rows < 0).any():
            if len(h) != total:
                raise MismatchError(
                    f"{stack.path}: word 73 does not tell of which row of {template} each image is, and there are {len(h)} "
                    f"images for {total} rows"
                )
            rows = np.arange(total)
        with atomic.atomic_write(target, "w", overwrite, encoding="utf-8", errors="surrogateescape") as handle:
            write_like(handle, template, rows, Metadata.from_headers(h), h["PIXSIZE"].astype(np.float64))
        return ListSummary(str(stack.path), str(dst), str(template), len(h), total)
