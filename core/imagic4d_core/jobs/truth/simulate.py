"""Simulated images with known truth, from volumes or analytic models."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import simulation
from imagic4d_core.errors import MismatchError, OutputError, UsageError
from imagic4d_core.forward.project import Projector
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import check_new
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import check_output, create_stack, output_paths
from imagic4d_core.jobs.truth.modelling import is_model_file
from imagic4d_core.models import project, read_models
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks

#: Images made at once by one thread.
BLOCK = 64
#: Headers of the truth made at a time.
WINDOW = 4096


@dataclass
class Simulated:
    """What `simulate` made."""

    output: str
    truth: str | None
    images: int
    box: int
    pixel_size: float | None
    sizes: list[int]
    snr: float | None
    noise_sigma: float
    shift_sigma: float
    ctf: bool
    exact: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        how = "exact projections of blob models" if self.exact else "projections of volumes"
        said = [f"{self.output}: {self.images} images of {self.box} x {self.box}, {how}"]
        said.append("3D sizes " + ", ".join(f"{k + 1}: {n}" for k, n in enumerate(self.sizes)))
        ratio = "no noise" if self.snr is None else f"SNR {self.snr:g}"
        said.append(f"{ratio}, noise s.d. {self.noise_sigma:.6g}, shifts {self.shift_sigma:g} px")
        if self.truth:
            said.append(f"{self.truth}: the same images with the truth in their headers")
        return said


def simulate(
    volumes: str | Path,
    output: str | Path,
    *,
    images: int,
    snr: float | None = None,
    shift_sigma: float = 0.0,
    ctf: bool = False,
    voltage: float = 300.0,
    cs: float = 2.7,
    amplitude: float = 0.1,
    defocus: str | tuple[float, float] = (10000.0, 30000.0),
    populations: str | tuple[float, ...] | None = None,
    preferred: str | simulation.Preferred | None = None,
    contrast_spread: float = 0.0,
    noise_only: bool = False,
    truth: str | Path | None = None,
    seed: int,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulated:
    """Simulate images of one or several 3Ds.

    The truth goes into the headers: Euler angles (65 to 67), REF3D (51), RXSHIFT and RYSHIFT (80, 81: minus the displacement
    of the particle), with a CTF the defocus, voltage and aberration (25 to 27, 101, 102).

    Parameters
    ----------
    volumes : path
        Stack of cubic volumes, or a blob model file (.json), whose projections are exact.
    output : path
    images : int
    snr : float, optional
        Variance of the signal over variance of the noise, both over the whole box, before shifts; without it no noise.
    shift_sigma : float
        Standard deviation of the displacement along lines and pixels, in pixels.
    ctf : bool
        Draw a defocus for every image and apply the CTF; needs a pixel size.
    voltage, cs, amplitude : float
        Acceleration voltage in kV, spherical aberration in mm, amplitude contrast as a fraction.
    defocus : str or tuple of two float
        Range of underfocus in angstrom, such as ``10000,30000``.
    populations : str or tuple of float, optional
        Relative sizes of the 3Ds, such as ``70,20,10``; equal without them.
    preferred : str or Preferred, optional
        ``FRACTION,DEGREES[,AXIS]``: that share of the images is seen within a cone about an axis of the object.
    contrast_spread : float
        Relative standard deviation of the signal's strength.
    noise_only : bool
        Pure noise of the level that the SNR would give; there is no truth to be found then.
    truth : path, optional
        Second file with the truth (densities shared by a hard link where possible); the pose words of `output` stay blank.
    seed : int
    overwrite, comm, threads, progress
        As in all jobs.

    Raises
    ------
    InputError, MismatchError, UsageError, OutputError
    """
    check_output(output, overwrite)
    source = _Source(volumes)
    settings = simulation.CtfSettings(voltage, cs, amplitude, simulation.parse_defocus(defocus)) if ctf else None
    recipe = simulation.Recipe(
        images=images,
        volumes=source.count,
        snr=snr,
        shift_sigma=shift_sigma,
        populations=simulation.parse_populations(populations),
        preferred=simulation.parse_preferred(preferred) if isinstance(preferred, str) else preferred,
        ctf=settings,
        contrast_spread=contrast_spread,
        noise_only=noise_only,
        seed=seed,
    )
    if ctf and not source.pixel_size:
        raise UsageError(f"{volumes}: no pixel size is known, and the CTF needs one; give --pixel-size to the volumes first")
    if truth is not None:
        _check_truth(output, truth, overwrite)
    work = _Work(recipe, source, simulation.memberships(recipe), truth is None)
    path, sigma = work.write(output, overwrite, comm, threads, progress)
    if truth is not None:
        if comm.rank == 0:
            work.write_truth(output, truth, overwrite)
        comm.barrier()
    sizes = np.bincount(work.member, minlength=source.count).tolist()
    return Simulated(
        path, None if truth is None else str(truth), images, source.box, source.pixel_size, sizes, snr, sigma, shift_sigma, ctf,
        source.exact,
    )  # fmt: skip


class _Source:
    """3Ds to project: blob models, or volumes prepared one by one when first needed."""

    def __init__(self, spec: str | Path) -> None:
        self.exact = is_model_file(spec)
        self._prepared: dict[int, Projector] = {}
        if self.exact:
            found = read_models(spec)
            self._models, self.count, self.box, self.pixel_size = found.models, len(found.models), found.box, found.pixel_size
            return
        with open_stack(spec, what="volumes") as stack:
            if not stack.sections == stack.lines == stack.pixels:
                raise MismatchError(
                    f"{stack.path}: volumes of {stack.sections} x {stack.lines} x {stack.pixels} are not cubes; cubes are needed"
                )
            self.count, self.box, self.pixel_size = stack.objects, stack.lines, stack.pixel_size
            # prepared here and not by the first image that needs it: threads share them
            self._prepared = {k: Projector(stack.read_volumes(k, k + 1)[0]) for k in range(stack.objects)}

    def project(self, k: int, matrices: NDArray, displacement: NDArray) -> NDArray[np.float32]:
        """Projections of 3D `k` (0-based); see `simulation.Projector`."""
        if self.exact:
            return project(self._models[k], matrices, displacement, self.box)
        return self._prepared[k].project(matrices, displacement)


@dataclass
class _Work:
    """One simulation: its recipe, the 3Ds, the 3D of each image, and whether the truth goes into the headers."""

    recipe: simulation.Recipe
    source: _Source
    member: NDArray[np.int64]
    with_truth: bool

    def write(
        self, output: str | Path, overwrite: bool, comm: Comm, threads: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> tuple[str, float]:  # fmt: skip
        """Write the images; returns the name of the file and the noise level."""
        recipe, source = self.recipe, self.source
        box, size = source.box, source.pixel_size
        sigma = simulation.noise_level(recipe, source.project, box, size)
        blocks = comm.blocks(recipe.images, BLOCK)
        total, done = sum(b - a for a, b in blocks), 0
        with create_stack(
            output, recipe.images, 1, box, box, pixel_size=size, overwrite=overwrite, comm=comm,
            history=f"simulate seed {recipe.seed}",
        ) as out:  # fmt: skip

            def make(block: tuple[int, int]) -> int:
                start, stop = block
                drawn = simulation.draw(recipe, self.member[start:stop], start)
                out.write(start, simulation.images(recipe, drawn, start, source.project, box, size, sigma))
                out.set_headers(start, self.headers(drawn))
                return stop - start

            for n in imap_blocks(make, blocks, threads):
                done += n
                if progress is not None:
                    progress(done, total)
            return str(out.path), sigma

    def headers(self, drawn: simulation.Draw) -> NDArray:
        """Records of a block of images."""
        h = blank_headers(len(drawn.member), self.source.box, self.source.box, pixel_size=self.source.pixel_size)
        if self.recipe.ctf is not None:
            h["DEFOCUS1"] = h["DEFOCUS2"] = drawn.defocus
            h["VOLTAGE"], h["SPABERR"] = 1e3 * self.recipe.ctf.voltage_kv, self.recipe.ctf.cs_mm
        if self.with_truth:
            _set_truth(h, self.recipe, drawn)
        return h

    def write_truth(self, output: str | Path, truth: str | Path, overwrite: bool) -> None:
        """The second file, with the truth in its headers."""
        with open_stack(output) as stack:
            records = stack.headers()
        for start in range(0, len(records), WINDOW):
            part = slice(start, start + WINDOW)
            _set_truth(records[part], self.recipe, simulation.draw(self.recipe, self.member[part], start))
        replace_headers(output, records, truth, overwrite)


def _check_truth(output: str | Path, truth: str | Path, overwrite: bool) -> None:
    """The truth file must be possible, and another one than the output, before any work is done."""
    for path in output_paths(truth):
        if any(os.path.abspath(path) == os.path.abspath(p) for p in output_paths(output)):
            raise OutputError(f"{truth}: is the output itself; give the truth another name")
        check_new(path, overwrite)


def _set_truth(h: NDArray, recipe: simulation.Recipe, drawn: simulation.Draw) -> None:
    """Poses and memberships, in place; pure noise has none."""
    poses = Poses.blank(len(h))
    if not recipe.noise_only:
        poses.alpha, poses.beta, poses.gamma = drawn.euler.T.copy()
        poses.shift = 0.0 - drawn.displacement
        poses.ref3d = (drawn.member + 1).astype(np.int32)
    poses.into_headers(h)
