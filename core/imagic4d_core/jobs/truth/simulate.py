"""Simulated images and class averages with known truth, from volumes or analytic models."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import simulation
from imagic4d_core import simulation_averages as averaging
from imagic4d_core.ctf.parameters import DONE
from imagic4d_core.errors import MismatchError, OutputError, UsageError
from imagic4d_core.forward.project import Projector
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import check_new
from imagic4d_core.io.header import TAG, blank_headers
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import check_output, create_stack, output_paths
from imagic4d_core.jobs.truth.modelling import is_model_file
from imagic4d_core.jobs.truth.truth_table import kinds_of, table_path, write_table
from imagic4d_core.models import project, read_models
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks

#: Images, and averages of images, made at once by one thread.
BLOCK, BLOCK_AVERAGES = 64, 16
#: Headers of the truth made at a time.
WINDOW = 4096


@dataclass
class Simulated:
    """What `simulate` made.

    `snr` is that of averages where there are averages, `noise_sigma` that of one of their members, `kinds` the number of
    averages of each kind and `table` their table; None for single images.
    """

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
    kinds: dict[str, int] | None = None
    table: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        how = "exact projections of blob models" if self.exact else "projections of volumes"
        what = "images" if self.kinds is None else "averages"
        said = [f"{self.output}: {self.images} {what} of {self.box} x {self.box}, {how}"]
        said.append("3D sizes " + ", ".join(f"{k + 1}: {n}" for k, n in enumerate(self.sizes)))
        ratio = "no noise" if self.snr is None else f"SNR {self.snr:g}"
        said.append(f"{ratio}, noise s.d. {self.noise_sigma:.6g}, shifts {self.shift_sigma:g} px")
        if self.kinds is not None:
            said.append(", ".join(f"{number} {kind}" for kind, number in self.kinds.items()) + f"; table {self.table}")
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
    averages: averaging.Averages | None = None,
    truth: str | Path | None = None,
    seed: int,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Simulated:
    """Simulate images of one or several 3Ds.

    The truth goes into the headers: Euler angles (65 to 67), REF3D (51), RXSHIFT and RYSHIFT (80, 81: minus the displacement
    of the particle), with a CTF the defocus, voltage and aberration (25 to 27, 101, 102). Averages have their number of members
    in words 59 and 114 and flipped phases in word 93; REF3D is the 3D of most members, REF3D2 (84) that of the others, CONFID3D
    (82) the share of the members that are of REF3D; junk has no pose and REF3D 0. ``OUT_truth.tsv`` lists them.

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
        Draw a defocus for every image and apply the CTF; needs a pixel size. Averages always have it.
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
    averages : Averages, optional
        Make class averages of this kind (`averages_from`); the SNR is then that of averages, 1 without one, and
        displacements are those of the classes.
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
    with_ctf = ctf or averages is not None
    settings = simulation.CtfSettings(voltage, cs, amplitude, simulation.parse_defocus(defocus)) if with_ctf else None
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
    if with_ctf and not source.pixel_size:
        raise UsageError(f"{volumes}: no pixel size is known, and the CTF needs one; give --pixel-size to the volumes first")
    if truth is not None:
        _check_truth(output, truth, overwrite)
    work = _Single(recipe, source) if averages is None else _Averaged(recipe, source, averages)
    table = None if averages is None else check_new(table_path(output), overwrite)
    path = _write(work, output, truth is None, overwrite, comm, threads, progress)
    if comm.rank == 0:
        if truth is not None:
            _write_truth(work, output, truth, overwrite)
        if isinstance(work, _Averaged) and table is not None:
            write_table(table, work.dealt, work.drawn(0, images), overwrite)
    comm.barrier()
    member = work.member
    result = Simulated(
        path, None if truth is None else str(truth), images, source.box, source.pixel_size,
        np.bincount(member[member >= 0], minlength=source.count).tolist(), snr, work.sigma, shift_sigma, with_ctf, source.exact,
    )  # fmt: skip
    if isinstance(work, _Averaged):
        kinds, count = np.unique(kinds_of(work.dealt), return_counts=True)
        result.snr = 1.0 if snr is None else snr
        result.kinds, result.table = dict(zip(kinds.tolist(), count.tolist(), strict=True)), str(table)
    return result


def averages_from(
    wanted: bool, *, members: str | None = None, view_spread: float | None = None, jitter: float | None = None,
    b_factor: str | None = None, background: float | None = None, mixed: float | None = None, junk: float | None = None,
) -> averaging.Averages | None:  # fmt: skip
    """What makes averages, from the options of the command; None where single images are wanted.

    Parameters
    ----------
    wanted : bool
    members, b_factor : str, optional
        ``10-40`` and ``200,400``.
    view_spread, jitter, background, mixed, junk : float, optional
        As in `simulation_averages.Averages`, whose defaults count.

    Raises
    ------
    UsageError
        A value that makes no sense, or one that is given though single images are wanted.
    """
    given: dict[str, float | None] = {
        "view_spread": view_spread, "jitter": jitter, "background": background, "mixed": mixed, "junk": junk,
    }  # fmt: skip
    if not wanted:
        named = [k for k, v in {"members": members, "b_factor": b_factor, **given}.items() if v is not None]
        if named:
            raise UsageError(f"--{named[0].replace('_', '-')} belongs to --averages")
        return None
    found: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if members is not None:
        low, high = averaging.parse_range(members, "members of an average", "10-40", "-")
        if low % 1 or high % 1:
            raise UsageError(f"members of an average must be whole numbers such as 10-40, not {members!r}")
        found["members"] = (int(low), int(high))
    if b_factor is not None:
        found["b_factor"] = averaging.parse_range(b_factor, "B factors", "200,400 in square angstrom")
    return averaging.Averages(**found)


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


class _Single:
    """Single images: what is drawn for them, their densities and their headers."""

    block = BLOCK

    def __init__(self, recipe: simulation.Recipe, source: _Source) -> None:
        self.recipe, self.source = recipe, source
        self.member = simulation.memberships(recipe)

    @cached_property
    def sigma(self) -> float:
        """Standard deviation of the noise."""
        return simulation.noise_level(self.recipe, self.source.project, self.source.box, self.source.pixel_size)

    def drawn(self, start: int, stop: int) -> simulation.Draw:
        """What is drawn for images `start` to `stop`."""
        return simulation.draw(self.recipe, self.member[start:stop], start)

    def images(self, start: int, stop: int) -> NDArray[np.float32]:
        """Their densities."""
        s = self.source
        return simulation.images(self.recipe, self.drawn(start, stop), start, s.project, s.box, s.pixel_size, self.sigma)

    def headers(self, start: int, stop: int) -> NDArray:
        """Their records, without truth."""
        h = blank_headers(stop - start, self.source.box, self.source.box, pixel_size=self.source.pixel_size)
        if self.recipe.ctf is not None:
            h["DEFOCUS1"] = h["DEFOCUS2"] = self.drawn(start, stop).defocus
            h["VOLTAGE"], h["SPABERR"] = 1e3 * self.recipe.ctf.voltage_kv, self.recipe.ctf.cs_mm
        return h

    def set_truth(self, h: NDArray, start: int) -> None:
        """Poses and memberships into records, in place; pure noise has none."""
        poses = Poses.blank(len(h))
        if not self.recipe.noise_only:
            drawn = self.drawn(start, start + len(h))
            poses.alpha, poses.beta, poses.gamma = drawn.euler.T.copy()
            poses.shift = 0.0 - drawn.displacement
            poses.ref3d = (drawn.member + 1).astype(np.int32)
        poses.into_headers(h)


class _Averaged:
    """Class averages, as `_Single`; junk has no membership."""

    block = BLOCK_AVERAGES

    def __init__(self, recipe: simulation.Recipe, source: _Source, how: averaging.Averages) -> None:
        self.recipe, self.source, self.how = recipe, source, how
        self.dealt = averaging.deal(recipe, how)
        self.member = self.dealt.first
        self._pixel_size = float(source.pixel_size or 1.0)

    @cached_property
    def level(self) -> averaging.Level:
        """Sizes of signal and noise."""
        return averaging.levels(self.recipe, self.how, self.source.project, self.source.box, self._pixel_size)

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in one member."""
        return self.level.noise

    def drawn(self, start: int, stop: int) -> simulation.Draw:
        """What is drawn for the classes `start` to `stop`."""
        return simulation.draw(self.recipe, self.member[start:stop], start)

    def images(self, start: int, stop: int) -> NDArray[np.float32]:
        """Their averages."""
        return averaging.averages(
            self.recipe, self.how, self.drawn(start, stop), self.dealt.part(start, stop), start, self.source.project,
            self.source.box, self._pixel_size, self.level,
        )  # fmt: skip

    def headers(self, start: int, stop: int) -> NDArray:
        """Their records, without truth: members, and phases flipped; no single defocus is theirs."""
        h = blank_headers(stop - start, self.source.box, self.source.box, pixel_size=self.source.pixel_size)
        h["NALISUM"] = h["NUMCLS"] = self.dealt.members[start:stop]
        h["IM4DTAG"], h["CTFDONE"] = TAG, DONE["phase-flip"]
        return h

    def set_truth(self, h: NDArray, start: int) -> None:
        """Poses and memberships into records, in place."""
        dealt, poses = self.dealt.part(start, start + len(h)), Poses.blank(len(h))
        shown = dealt.junk == 0
        drawn = self.drawn(start, start + len(h))
        poses.alpha, poses.beta, poses.gamma = np.where(shown[:, None], drawn.euler, 0.0).T.copy()
        poses.shift = np.where(shown[:, None], 0.0 - drawn.displacement, 0.0)
        poses.ref3d, poses.ref3d2 = (dealt.first + 1).astype(np.int32), (dealt.second + 1).astype(np.int32)
        poses.confidence = np.where(shown, 1.0 - dealt.minor / dealt.members, 0.0)
        poses.into_headers(h)


def _write(
    work: _Single | _Averaged, output: str | Path, with_truth: bool, overwrite: bool, comm: Comm, threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> str:  # fmt: skip
    """Write the images; returns the name of the file."""
    count, box = work.recipe.images, work.source.box
    blocks = comm.blocks(count, work.block)
    total, done = sum(b - a for a, b in blocks), 0
    work.sigma  # noqa: B018  found here and not by the first block that needs it: threads share it
    with create_stack(
        output, count, 1, box, box, pixel_size=work.source.pixel_size, overwrite=overwrite, comm=comm,
        history=f"simulate seed {work.recipe.seed}",
    ) as out:  # fmt: skip

        def make(block: tuple[int, int]) -> int:
            start, stop = block
            out.write(start, work.images(start, stop))
            headers = work.headers(start, stop)
            if with_truth:
                work.set_truth(headers, start)
            out.set_headers(start, headers)
            return stop - start

        for n in imap_blocks(make, blocks, threads):
            done += n
            if progress is not None:
                progress(done, total)
        return str(out.path)


def _write_truth(work: _Single | _Averaged, output: str | Path, truth: str | Path, overwrite: bool) -> None:
    """The second file, with the truth in its headers."""
    with open_stack(output) as stack:
        records = stack.headers()
    for start in range(0, len(records), WINDOW):
        work.set_truth(records[start : start + WINDOW], start)
    replace_headers(output, records, truth, overwrite)


def _check_truth(output: str | Path, truth: str | Path, overwrite: bool) -> None:
    """The truth file must be possible, and another one than the output, before any work is done."""
    for path in output_paths(truth):
        if any(os.path.abspath(path) == os.path.abspath(p) for p in output_paths(output)):
            raise OutputError(f"{truth}: is the output itself; give the truth another name")
        check_new(path, overwrite)
