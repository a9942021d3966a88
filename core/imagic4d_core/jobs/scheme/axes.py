"""The symmetry of 3Ds that were found without: looked for in each map, tried on its images, and imposed where both agree.

A random start that is made symmetric freezes in a wrong arrangement, and a map that is made symmetric has the symmetry whatever
its images say. So starts are made in C1; the point group and its axes are looked for in the map of each 3D kept
(`pointgroup.find`), and the group is believed if the map agrees with itself under every operation, and if images fit the
symmetric map, made without them, no worse than the map without symmetry.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.context import Context
from imagic4d_core.pointgroup.find import FoundSymmetry, check_symmetry, find_symmetry
from imagic4d_core.volalign import VolumeAlignment, apply_alignment

F64 = NDArray[np.float64]

#: Asked for in place of a group: any.
AUTO = "AUTO"
#: A group goes if the score of the images falls with it by more than so many standard errors, and by more than so much: axes
#: that are not yet refined cost true symmetries 0.0002, wrong ones cost 0.02 to 0.05.
SURE, FALL = 3.0, 0.002

#: Images of one 3D (their poses in headers) -> map and half maps, and the scores of its images with a group imposed.
MapOf = Callable[[str, str], tuple[NDArray[np.float32], tuple[NDArray[np.float32], NDArray[np.float32]]]]
ScoreOf = Callable[[str, str], F64]


@dataclass(frozen=True)
class Axes:
    """What is known of the symmetry of one 3D.

    Attributes
    ----------
    number : int
    group : str
        That holds and may be imposed; C1: none.
    why : str
        For people.
    seen : str
        That the map looks like.
    laid : bool
        The 3D was turned into the standard setting.
    rotation : tuple of 3 x 3 float
    shift : tuple of 3 float
        Turn the 3D into the standard setting, as `pointgroup.find.FoundSymmetry`.
    correlation, worst, promised : float or None
        Of the map with itself under the operations: mean, smallest, and what half maps promise.
    gain, error : float or None
        Rise of the cross-validated score of its images when the group is imposed, and its standard error.
    """

    number: int
    group: str
    why: str
    seen: str = "C1"
    laid: bool = False
    rotation: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    shift: tuple[float, ...] = (0.0, 0.0, 0.0)
    correlation: float | None = None
    worst: float | None = None
    promised: float | None = None
    gain: float | None = None
    error: float | None = None

    @property
    def refuted(self) -> bool:
        """The map looks symmetric, and its images say that it is not."""
        return self.gain is not None and self.seen == "C1"

    @property
    def mates(self) -> F64:
        """Rotations (g, 3, 3) that leave the 3D, as it lies, about as it is: poses that differ by these look the same."""
        turn = np.eye(3) if self.laid else np.array(self.rotation)
        return np.asarray(turn.T @ rotations(self.seen) @ turn)

    def lay(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """A volume in the standard setting, if poses were brought there."""
        if not self.laid:
            return volume
        return apply_alignment(volume, VolumeAlignment(np.array(self.rotation), np.array(self.shift), False, 1.0))


@dataclass(frozen=True)
class Symmetry:
    """The symmetry of the 3Ds of a run.

    Attributes
    ----------
    asked : str
        C1, a group, or AUTO.
    group : str
        Imposed on all 3Ds: that which all of them have, else C1.
    axes : tuple of Axes
        Of each 3D; none where nothing was looked for.
    """

    asked: str
    group: str
    axes: tuple[Axes, ...] = ()

    @property
    def statement(self) -> str:
        """One sentence for people; empty where nothing was looked for."""
        if not self.axes:
            return ""
        names = [a.group for a in self.axes]
        if self.asked == "C1":
            return ""
        if self.group != "C1":
            where = "the 3D" if len(names) == 1 else "every 3D"
            return f"Symmetry {self.group} was found in {where}, and imposed in the polish."
        if set(names) == {"C1"}:
            what = "No symmetry was found" if self.asked == AUTO else f"The data do not have {self.asked}"
            return f"{what}: all was done in C1."
        found = ", ".join(f"3D {a.number} {a.group}" for a in self.axes)
        return (
            f"The 3Ds differ in symmetry ({found}): all was done in C1. Refine the images of one alone (--where) to impose its "
            "symmetry."
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"asked": self.asked, "group": self.group, "statement": self.statement, "volumes": [asdict(a) for a in self.axes]}


def look(volume: NDArray, asked: str, halves: tuple[NDArray, NDArray] | None = None) -> FoundSymmetry:
    """The group asked for, where a map has it, else whichever it has; an empty map has none."""
    try:
        found = None if asked in ("C1", AUTO) else check_symmetry(volume, asked, halves)
        return found if found is not None and found.holds else find_symmetry(volume, halves)
    except InputError as error:
        nan = float("nan")
        return FoundSymmetry("C1", True, np.eye(3), np.zeros(3), nan, nan, nan, None, (), np.zeros(0), 0.0, str(error))


def seen(number: int, found: FoundSymmetry, why: str) -> Axes:
    """What a map looks like, as long as nothing follows from it."""
    if found.group == "C1":
        return Axes(number, "C1", why)
    return Axes(
        number, "C1", why, seen=found.group, rotation=tuple(map(tuple, found.rotation.tolist())),
        shift=tuple(found.shift.tolist()), correlation=found.correlation, worst=found.worst, promised=found.promised,
    )  # fmt: skip


def find_axes(
    images: str, poses: Poses, asked: str, noticed: dict[int, str], folder: Path, map_of: MapOf, score_of: ScoreOf,
    context: Context,
) -> tuple[Symmetry, Poses]:  # fmt: skip
    """Look for symmetry in every 3D, and lay those that have it on its axes.

    Parameters
    ----------
    images : path
    poses : Poses
        Of all images, 3Ds numbered from 1, found in C1.
    asked : str
        A group, or AUTO; C1: those noticed are looked at, and nothing is laid.
    noticed : dict of int to str
        Groups that 3Ds, by their numbers, were seen to have.
    folder : Path
        For intermediate files.
    map_of, score_of : callable
        Make the map of one 3D, and score its images against it: (file, tag or group), see the module's types.
    context : Context

    Returns
    -------
    Symmetry
    Poses
        The same, of 3Ds that have a group in its standard setting.
    """
    laid = poses.copy()
    axes: list[Axes] = []
    for k in range(1, int(poses.ref3d.max(initial=0)) + 1):
        if asked == "C1" and k not in noticed:
            continue
        mine = poses.ref3d == k
        alone = _alone(images, poses, mine, str(folder / f"axes{k}.hed"), context)
        volume, halves = map_of(alone, "C1")
        wanted = noticed[k] if asked == "C1" else asked
        found: FoundSymmetry = context.comm.bcast(look(volume, wanted, halves) if context.comm.rank == 0 else None)
        if found.group == "C1" or wanted not in (AUTO, found.group):
            axes.append(seen(k, found, found.reason if wanted == AUTO else _other(wanted, found)))
            continue
        before = score_of(alone, "C1")
        turned = poses.copy()
        turned.follow(mine, found.rotation, found.shift)
        after = score_of(_alone(images, turned, mine, alone, context), found.group)
        one = _tried(seen(k, found, found.reason), after - before)
        if asked == "C1":
            like = f"none was asked for; its map looks like {one.group}: try --symmetry {one.group}"
            one = replace(one, group="C1", laid=False, why=one.why if one.group == "C1" else like)
        else:
            laid.follow(mine, found.rotation, found.shift)
        axes.append(one)
    names = {a.group for a in axes}
    return Symmetry(asked, names.pop() if len(names) == 1 else "C1", tuple(axes)), laid


def _other(asked: str, found: FoundSymmetry) -> str:
    return f"not {asked}; " + ("no other is there" if found.group == "C1" else f"{found.group} is there ({found.reason})")


def _tried(one: Axes, rise: F64) -> Axes:
    """A group that was seen holds unless its images say no: `rise` of their scores with it, shape (n,)."""
    gain, error = float(rise.mean()), float(rise.std() / np.sqrt(len(rise)))
    one = replace(one, laid=True, gain=gain, error=error)
    said = f"the score of its images changes by {gain:+.4f} (+- {error:.4f}) with it"
    if gain >= -max(SURE * error, FALL):
        return replace(one, group=one.seen, why=f"{one.why}; {said}")
    # poses that differ by its operations are not the same
    return replace(one, seen="C1", why=f"looks like {one.seen}, but {said}: a pseudo-symmetry")


def _alone(images: str, poses: Poses, mine: NDArray[np.bool_], out: str, context: Context) -> str:
    """Images of which only those of one 3D are active, as 3D 1."""
    if context.comm.rank == 0:
        with open_stack(images) as stack:
            active = stack.columns(["ACTIVE"])["ACTIVE"]
        part = poses.copy()
        part.ref3d[:], part.ref3d2[:] = mine, 0
        replace_poses(images, part, out, overwrite=True, words={"ACTIVE": np.where(mine, active, -1)})
    context.comm.barrier()
    return out
