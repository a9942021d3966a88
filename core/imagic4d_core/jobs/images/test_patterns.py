"""Files of test images and test volumes: patterns, analytic blob models, maps from atomic coordinates."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from imagic4d_core.atoms import density, read_atoms
from imagic4d_core.errors import UsageError, check_word
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.writer import create_stack
from imagic4d_core.jobs.images.operating import BLOCK_BYTES, Operated
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.patterns.shapes import PATTERNS, Pattern, draw
from imagic4d_core.units import Frequency, in_pixels

#: Radius without one, as fraction of half the smallest edge.
RADII = {"gaussian": 0.3, "helix": 0.4}
#: Periods, where none is given: the smallest edge divided by this.
PERIODS = {"helix": 2}


def box_for(unit: str, size: Sequence[int]) -> tuple[int, ...]:
    """Box of ``64`` (square, cube), ``64,80`` (lines, pixels) or ``64,80,96`` (lines, pixels, sections)."""
    if unit == "images":
        if len(size) > 2:
            raise UsageError(f"--size {','.join(map(str, size))}: images have lines and pixels only")
        return int(size[0]), int(size[-1])
    if len(size) == 2:
        raise UsageError(f"--size {size[0]},{size[1]}: give one number for a cube, or lines, pixels, sections")
    return int(size[-1]), int(size[0]), int(size[1] if len(size) == 3 else size[0])


def make_test(
    dst: str | os.PathLike,
    *,
    unit: str = "images",
    number: int | None = None,
    size: Sequence[int] = (64,),
    pattern: str = "blobs",
    radius: float | None = None,
    falloff: float | None = None,
    period: float | None = None,
    axis: str = "y",
    unrelated: bool = False,
    model: str | os.PathLike | None = None,
    resolution: Frequency | None = None,
    use_b_factors: bool = False,
    pixel_size: float | None = None,
    seed: int | Callable[[], int] = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Make test images or volumes.

    Parameters
    ----------
    dst : path
    unit : {"images", "volumes"}
    number : int, optional
        How many; default 1, of blob volumes 3.
    size : sequence of int
        See `box_for`.
    pattern : str
        One of `patterns.shapes.PATTERNS`; of volumes also "model". Volumes of blobs are cubes, with their model beside them
        (`jobs.truth.modelling.threed_test`).
    radius, falloff : float, optional
        Pixels, or fractions of half the smallest edge.
    period : float, optional
        Pixels; default an eighth of the smallest edge, of the helix a half.
    axis : {"x", "y", "z"}
        Of sinus and ramp.
    unrelated : bool
        Blob volumes that have nothing in common.
    model : path, optional
        PDB or mmCIF file of the pattern "model".
    resolution : Frequency, optional
        Of that map, angstrom; default: four pixels.
    use_b_factors : bool
        Atoms are as wide as their B-factors say.
    pixel_size : float, optional
        Angstrom; blob volumes and models have 4 without one.
    seed : int
        Of blobs and noise; a function is called only where it is needed.
    overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    Operated, or TestVolumes for blob volumes

    Raises
    ------
    UsageError, InputError, OutputError
    """
    known = (*PATTERNS, "model") if unit == "volumes" else tuple(PATTERNS)
    check_word(f"pattern of {unit},", pattern, known)
    if (pattern == "model") != (model is not None):
        raise UsageError("--pattern model and --model FILE go together")
    box = box_for(unit, size)
    if min(box) < 4:
        raise UsageError(f"a box of {' x '.join(map(str, box))} is too small: 4 pixels or more in each direction")
    kwargs: dict[str, Any] = {"overwrite": overwrite, "comm": comm, "threads": threads, "progress": progress}
    drawn = (seed() if callable(seed) else seed) if pattern in ("blobs", "noise") else 0
    if pattern == "blobs" and unit == "volumes":
        if len(set(box)) > 1:
            raise UsageError("volumes of blobs are cubes: give --size one number")
        return threed_test(
            dst, number=number or 3, size=box[0], pixel_size=pixel_size, related=not unrelated, seed=drawn, **kwargs
        )
    if unrelated:
        raise UsageError("--unrelated goes with volumes of blobs")
    count = number or 1
    if pattern == "model":
        assert model is not None
        return _from_atoms(dst, model, box, count, pixel_size or 4.0, resolution, use_b_factors, overwrite, comm, threads)
    edge = min(box)
    settings = Pattern(
        max(0.5, in_pixels(RADII.get(pattern, 0.5) if radius is None else radius, edge)),
        0.0 if falloff is None else in_pixels(falloff, edge),
        edge / PERIODS.get(pattern, 8) if period is None else period, axis, drawn,
    )  # fmt: skip
    sections = box[0] if unit == "volumes" else 1
    title = f"{pattern} of {' x '.join(map(str, box))}"
    with create_stack(
        dst, count, sections, *box[-2:], pixel_size=pixel_size, overwrite=overwrite, comm=comm, volumes=unit == "volumes",
        history=f"test {pattern}",
    ) as out:  # fmt: skip

        def block(span: tuple[int, int]) -> None:
            for k in range(*span):
                out.write(k * sections, draw(pattern, box, settings, k).reshape(sections, *box[-2:]))
                out.set_headers(k * sections, _headers(title, box, sections, pixel_size))

        step = max(1, BLOCK_BYTES // (4 * int(np.prod(box))))
        map_blocks(block, comm.blocks(count, step), thread_count(threads), progress)
        return Operated(f"pattern {pattern}", "", str(out.path), count, sections, box[-2], box[-1])


def _headers(title: str, box: tuple[int, ...], sections: int, pixel_size: float | None) -> Any:
    headers = blank_headers(sections, box[-2], box[-1], sections, pixel_size=pixel_size)
    headers["NAME"] = title.encode("ascii", "replace")[:80]
    return headers


def _from_atoms(
    dst: str | os.PathLike, model: str | os.PathLike, box: tuple[int, ...], count: int, pixel_size: float,
    resolution: Frequency | None, use_b_factors: bool, overwrite: bool, comm: Comm, threads: int | None,
) -> Operated:  # fmt: skip
    finest = 4 * pixel_size if resolution is None else 2 * pixel_size / resolution.fraction(pixel_size)
    if resolution is not None and resolution.angstrom:
        finest = resolution.value  # `fraction` stops at Nyquist
    atoms = read_atoms(model)
    sections, lines, pixels = box
    middle = atoms.centre
    reach = np.abs(atoms.place - middle).max(axis=0) + finest
    outside = int((reach[[2, 1, 0]] > np.array(box) / 2 * pixel_size).any())
    origin = middle - np.array([pixels // 2, lines // 2, sections // 2]) * pixel_size
    with create_stack(
        dst, count, sections, lines, pixels, pixel_size=pixel_size, overwrite=overwrite, comm=comm, volumes=True,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])), history="threed-test model",
    ) as out:  # fmt: skip
        if comm.rank == 0:
            map_ = density(atoms, (sections, lines, pixels), pixel_size, finest, b_factors=use_b_factors,
                           threads=thread_count(threads))  # fmt: skip
            for k in range(count):
                out.write(k * sections, map_)
                out.set_headers(k * sections, _headers(f"{os.path.basename(model)} at {finest:g} A", box, sections, pixel_size))
        path = str(out.path)
    done = Operated(f"map of {os.fspath(model)} at {finest:g} A", os.fspath(model), path, count, sections, lines, pixels)
    done.values = {"atoms": len(atoms), "mass, kDa": round(float(atoms.mass.sum()) / 1000, 3),
                   "centre of mass, A": ", ".join(f"{c:.3f}" for c in middle)}  # fmt: skip
    if outside:
        done.notes.append("part of the structure lies outside the box: give a larger --size or --pixel-size")
    return done
