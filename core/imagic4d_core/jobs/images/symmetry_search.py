"""Find the symmetry of volumes, and lay them on the standard axes."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images.operating import box_of, open_unit, operate, survey
from imagic4d_core.jobs.scheme.moves import half_names
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels.symmetry import symmetrised
from imagic4d_core.pointgroup.find import FoundSymmetry, check_symmetry, find_symmetry
from imagic4d_core.units import Frequency, as_fraction
from imagic4d_core.volalign import VolumeAlignment, apply_alignment


@dataclass
class Symmetries:
    """What was found in each volume.

    Attributes
    ----------
    input : str
    output : str or None
    found : list of FoundSymmetry
    box : int
        Pixels.
    pixel_size : float or None
    symmetrised : bool
    notes : list of str
    """

    input: str
    output: str | None
    found: list[FoundSymmetry]
    box: int
    pixel_size: float | None
    symmetrised: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Every volume has the symmetry asked for (always so where none was)."""
        return all(f.holds for f in self.found)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dict(vars(self)) | {"holds": self.holds}

    def lines(self) -> list[str]:
        """For people."""
        out = []
        for number, one in enumerate(self.found, 1):
            has = one.group if one.holds else f"not {one.group}"
            out.append(f"{self.input}, volume {number}: {has}; {one.reason}; frequencies to {self._limit(one)}")
            for o in one.operations:
                turn = f"{o.count} turn{'s' if o.count > 1 else ''} of {o.degrees:.5g} degrees"
                other = f"other axes {o.null:.2f} +- {o.spread:.2f}, z {o.z:.1f}"
                out.append(f"  {turn}: correlation {o.correlation:.2f}, worst {o.worst:.2f}; {other}")
            if one.others:
                tried = ", ".join(f"{name} {mean:.2f} (worst {worst:.2f})" for name, mean, worst in one.others[:4])
                out.append(f"  others tried: {tried}")
        if self.output:
            how = "symmetrised" if self.symmetrised else "on the standard axes"
            out.append(f"{self.output}: {how}")
        return out + [f"  {note}" for note in self.notes]

    def _limit(self, one: FoundSymmetry) -> str:
        part = f"{2 * one.limit / self.box:.2f} Nyquist"
        return part if self.pixel_size is None else f"{part}, {self.box * self.pixel_size / one.limit:.3g} A"


def threed_symmetry(
    src: str | os.PathLike, dst: str | os.PathLike | None = None, *, symmetry: str = "AUTO", halves: str | None = None,
    symmetrise: bool = False, max_frequency: Frequency | float | None = None, loc: Locations | None = None,
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Symmetries:  # fmt: skip
    """Find the point group of every volume, or look whether it has a given one; lay the volumes on its standard axes.

    Parameters
    ----------
    src, dst : path
        Volumes; without `dst` nothing is written, and nothing where a group asked for is not there. A volume of C1 is
        written as it is.
    symmetry : str
        ``"auto"``, or a point group.
    halves : str, optional
        NAME of NAME_a and NAME_b, half-set volumes of the same numbers.
    symmetrise : bool
        Average over the group as well.
    max_frequency : Frequency or float, optional
    loc, overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    UsageError
        `symmetrise` without an output, or no group.
    MismatchError, InputError, OutputError
    """
    if symmetrise and dst is None:
        raise UsageError("--symmetrise needs an output file")
    wanted = symmetry.strip().upper()
    with open_unit(src, "volumes", loc) as stack:
        box, size, path, count = box_of(stack), stack.pixel_size, str(stack.path), stack.objects
    if len(set(box)) != 1:
        raise MismatchError(
            f"{path}: volumes of {' x '.join(map(str, box))}: symmetry is looked for in cubes; use im4d threed-cut"
        )
    high = None if max_frequency is None else as_fraction(max_frequency, size)
    pairs = _halves(halves, loc, box, count, path)

    def look(data: NDArray, headers: NDArray, start: int) -> list[FoundSymmetry]:
        out = []
        for k, one in enumerate(data):
            pair = None if pairs is None else pairs(start + k)
            try:
                out.append(
                    find_symmetry(one, pair, max_frequency=high)
                    if wanted == "AUTO"
                    else check_symmetry(one, wanted, pair, max_frequency=high)
                )
            except InputError as err:
                raise InputError(f"{path}, volume {start + k + 1}: {err}") from err
        return out

    parts = survey(src, look, unit="volumes", loc=loc, comm=comm, threads=threads, progress=progress)
    found = [f for part in parts for f in part]
    result = Symmetries(path, None, found, box[0], size, symmetrise)
    if dst is None or not result.holds:
        return result

    def lay(data: NDArray, headers: NDArray, start: int) -> NDArray:
        out = np.empty_like(data)
        for k, one in enumerate(data):
            f = found[start + k]
            if f.group == "C1":
                out[k] = one
                continue
            out[k] = apply_alignment(one, VolumeAlignment(f.rotation, f.shift, False, f.correlation))
            if symmetrise:
                out[k] = symmetrised(out[k], f.group)
        return out

    what = "symmetrised" if symmetrise else "laid on its symmetry axes"
    done = operate(src, dst, lay, what=what, unit="volumes", loc=loc, overwrite=overwrite, comm=comm, threads=threads)
    result.output, result.notes = done.output, done.notes
    return result


def _halves(
    name: str | None, loc: Locations | None, box: tuple[int, ...], count: int, path: str
) -> Callable[[int], tuple[NDArray, NDArray]] | None:
    """Reader of the two half-set volumes of an object."""
    if name is None:
        return None
    names = half_names(name)
    for one in names:
        with open_unit(one, "volumes", loc) as stack:
            if box_of(stack) != box or stack.objects != count:
                raise MismatchError(f"{one}: {stack.objects} volumes of {box_of(stack)}, and {path} has {count} of {box}")

    def read(number: int) -> tuple[NDArray, NDArray]:
        pair = []
        for one in names:
            with open_unit(one, "volumes", loc) as stack:
                pair.append(stack.read_volumes(number, number + 1)[0])
        return pair[0], pair[1]

    return read
