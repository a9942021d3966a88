"""Scores of poses, memberships and volumes against known truth."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError, UsageError
from imagic4d_core.fsc import shell_curves, sphere_mask
from imagic4d_core.geometry.euler import J_HAND
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.truth.modelling import sampled_volumes
from imagic4d_core.jobs.truth.truth_table import TruthTable, read_table
from imagic4d_core.parallel import SERIAL, Comm, map_blocks
from imagic4d_core.scores import MembershipScore, PoseAlignment, global_pose_alignment, score_membership, shift_errors
from imagic4d_core.volalign import VolumeAlignment, align_volumes, alignment_from_poses, apply_alignment, refine_alignment

_FEW = 5  # images below which a 3D's frame is not to be had from its poses


@dataclass
class Compared3D:
    """One estimated 3D beside the true one it is matched with.

    Attributes
    ----------
    number, true : int
        Estimated and true 3D, from 1.
    images, common : int
        Images given to the estimate, and those of them that belong there.
    mirrored : bool or None
        The estimate has the other hand.
    pose_median, other_hand, shift_median : float or None
        Degrees; the same with the hand not chosen; pixels.
    centre : list of float or None
        Offset (x, y, z) of the estimate from the centre, pixels in its own frame.
    fsc05, fsc0143 : float or None
        Frequency (fraction of Nyquist) where the FSC against truth falls below 0.5 and 0.143.
    correlation : float or None
        Of the aligned volume with the truth.
    fsc : list of float or None
        The curve, for shells 0 to Nyquist.
    """

    number: int
    true: int
    images: int
    common: int
    mirrored: bool | None = None
    pose_median: float | None = None
    other_hand: float | None = None
    shift_median: float | None = None
    centre: list[float] | None = None
    fsc05: float | None = None
    fsc0143: float | None = None
    correlation: float | None = None
    fsc: list[float] | None = None


@dataclass
class ByKind:
    """Averages of each kind, from the table of `simulate --averages`.

    Attributes
    ----------
    good, mixed, junk : int
        Averages of one 3D, of two, and of no particle.
    good_lost : int
        Good ones that were given no 3D.
    mixed_majority : int
        Mixed ones in the 3D of most of their members.
    junk_out : int
        Junk that was given no 3D.
    """

    good: int
    mixed: int
    junk: int
    good_lost: int
    mixed_majority: int
    junk_out: int

    def line(self) -> str:
        """For people."""
        said = f"scores are of {self.good} good averages, of which {self.good_lost} have no 3D"
        said += f"; {self.mixed_majority} of {self.mixed} mixed ones in the 3D of most members"
        return said + f"; {self.junk_out} of {self.junk} junk ones without a 3D"


@dataclass
class Comparison:
    """What `compare` found; angles in degrees, shifts in pixels, frequencies as fractions of Nyquist.

    Pose and shift errors are those of the images whose membership is right: each 3D has a frame of its own.
    """

    images: int
    ari: float
    accuracy: float
    chance: float
    table: list[list[int]]
    table_rows: list[int]
    table_columns: list[int]
    matching: dict[int, int]
    posed: int
    pose_error: dict[str, float] | None
    shift_error: dict[str, float] | None
    volumes: list[Compared3D]
    kinds: ByKind | None = None
    demands: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all demands are met."""
        return all(d["met"] for d in self.demands.values())

    @property
    def fsc05(self) -> float | None:
        """The lowest FSC 0.5 crossing of the matched 3Ds, 0 where a true 3D has none; None without volumes."""
        found = [v.fsc05 for v in self.volumes if v.fsc05 is not None]
        if not found:
            return None
        return min(found) if {v.true for v in self.volumes} >= set(self.table_columns) else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self) | {"ok": self.ok, "fsc05": self.fsc05}

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"{self.images} images with known membership",
            f"membership: adjusted Rand index {self.ari:.4f}, accuracy {self.accuracy:.4f} (largest 3D alone {self.chance:.4f})",
        ]
        if self.kinds is not None:
            said.insert(1, self.kinds.line())
        said.append("      true " + "".join(f"{t:>8}" for t in self.table_columns))
        for number, row in zip(self.table_rows, self.table, strict=True):
            name = f"3D {number}" if number else "none"
            said.append(f"{name:>10} " + "".join(f"{n:>8}" for n in row))
        if self.pose_error:
            e = self.pose_error
            said.append(
                f"pose error of {self.posed} images: median {e['median']:.2f}, 68 % {e['p68']:.2f}, 95 % {e['p95']:.2f} degrees; "
                f"{100 * e['within_3']:.1f} % within 3, {100 * e['within_5']:.1f} % within 5"
            )
        else:
            said.append("poses not compared: no Euler angles, or too few images in a 3D")
        if self.shift_error:
            e = self.shift_error
            said.append(f"shift error: median {e['median']:.3f}, 68 % {e['p68']:.3f}, 95 % {e['p95']:.3f} px")
        said.extend(_line(v) for v in self.volumes)
        for name, d in self.demands.items():
            value = "unknown" if d["value"] is None else f"{d['value']:.4g}"
            said.append(f"{'yes' if d['met'] else 'NO'}: {name} {value}, wanted {d['wanted']:g} or {d['side']}")
        return said


def _line(v: Compared3D) -> str:
    parts = [f"3D {v.number} = true {v.true}: {v.common} of {v.images} images right"]
    if v.mirrored is not None:
        parts.append("other hand" if v.mirrored else "same hand")
    if v.pose_median is not None:
        parts.append(f"pose {v.pose_median:.2f} degrees")
    if v.shift_median is not None:
        parts.append(f"shift {v.shift_median:.3f} px")
    if v.fsc05 is not None:
        parts.append(f"FSC 0.5 at {v.fsc05:.3f} Nyquist")
    return ", ".join(parts)


def compare(
    images: str | Path,
    truth: str | Path,
    *,
    volumes: str | Path | None = None,
    truth_volumes: str | Path | None = None,
    table: str | Path | None = None,
    symmetry: str = "C1",
    min_ari: float | None = None,
    max_pose_error: float | None = None,
    min_fsc: float | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison | None:
    """Compare found poses, memberships and volumes with the truth.

    Memberships are matched one to one. Every matched 3D is laid on the truth by the rotation and the hand that fit its
    poses best.

    Parameters
    ----------
    images, truth : path
        Files of the same images in the same order; only headers are read.
    volumes, truth_volumes : path, optional
        Found and true volumes in the order of the membership numbers; the truth may be a blob model file (.json).
    table : path, optional
        Table of `simulate` with averages: junk and mixed averages are left out of all scores, and counted apart.
    symmetry : str
        Point group of the true 3Ds: poses that differ by one of its rotations are the same.
    min_ari, max_pose_error, min_fsc : float, optional
        Demands: adjusted Rand index, median pose error in degrees, FSC 0.5 crossing (fraction of Nyquist) of the worst 3D.
    overwrite, comm, threads, progress
        As in all jobs.

    Returns
    -------
    Comparison
        None on ranks other than 0.
    """
    if (volumes is None) != (truth_volumes is None):
        raise UsageError("--found-volumes and --truth-volumes belong together: the volumes found, and the true ones")
    if comm.rank:
        return None
    found, true = _poses(images), _poses(truth)
    if len(found) != len(true):
        raise MismatchError(f"{images} holds {len(found)} images and {truth} {len(true)}: they must be the same images")
    kinds = None if table is None else read_table(table)
    if kinds is not None:
        if len(kinds) != len(true):
            raise MismatchError(f"{table} lists {len(kinds)} averages and {truth} holds {len(true)}: they must be the same")
        true.ref3d = np.where(kinds.good, true.ref3d, 0).astype(np.int32)
    known = true.ref3d > 0
    membership = score_membership(found.ref3d, true.ref3d)
    compared, errors, shifts = compare_poses(found, true, membership, rotations(symmetry))
    if volumes is not None and truth_volumes is not None:
        _compare_volumes(compared, volumes, truth_volumes, threads, progress)
    result = Comparison(
        images=int(known.sum()),
        ari=membership.ari,
        accuracy=membership.accuracy,
        chance=membership.chance,
        table=membership.table.tolist(),
        table_rows=membership.estimated.tolist(),
        table_columns=membership.true.tolist(),
        matching=membership.matching,
        posed=len(errors),
        pose_error=_spread(errors, (3, 5)),
        shift_error=_spread(shifts),
        volumes=[c[0] for c in compared],
        kinds=None if kinds is None else _by_kind(kinds, found.ref3d, membership.matching),
    )
    median = result.pose_error["median"] if result.pose_error else None
    for name, wanted, value, sign in (
        ("adjusted Rand index", min_ari, result.ari, 1),
        ("median pose error", max_pose_error, median, -1),
        ("FSC 0.5 of the worst 3D", min_fsc, result.fsc05, 1),
    ):
        if wanted is not None:
            met = value is not None and sign * (value - wanted) >= 0
            result.demands[name] = {"wanted": wanted, "value": value, "met": met, "side": "more" if sign > 0 else "less"}
    return result


def _by_kind(table: TruthTable, found: NDArray, matching: dict[int, int]) -> ByKind:
    mixed = ~table.good & ~table.junk
    belongs = np.array([matching.get(int(k), -1) for k in found])
    return ByKind(
        int(table.good.sum()), int(mixed.sum()), int(table.junk.sum()), int((table.good & (found == 0)).sum()),
        int((mixed & (belongs == table.ref3d)).sum()), int((table.junk & (found == 0)).sum()),
    )  # fmt: skip


_Pair = tuple[Compared3D, VolumeAlignment | None]


def compare_poses(
    found: Poses, true: Poses, membership: MembershipScore, group: NDArray | None = None
) -> tuple[list[_Pair], NDArray, NDArray]:
    """Every matched 3D with its frame, and the errors of all images whose membership is right (none without Euler angles)."""
    all_matrices, true_matrices = found.matrices(), true.matrices()
    posed = all(bool(p.alpha.any() or p.beta.any() or p.gamma.any()) for p in (found, true))
    pairs: list[_Pair] = []
    errors, shifts = [np.zeros(0)], [np.zeros(0)]
    for number, partner in sorted(membership.matching.items()):
        both = np.flatnonzero((found.ref3d == number) & (true.ref3d == partner))
        result = Compared3D(number, partner, int((found.ref3d == number).sum()), len(both))
        start = None
        if posed and len(both) >= _FEW:
            frame = global_pose_alignment(all_matrices[both], true_matrices[both], group=group)
            rest, centre = shift_errors(all_matrices[both], found.shift[both], true.shift[both])
            result.mirrored, result.other_hand = frame.mirrored, frame.other_hand
            result.pose_median, result.shift_median = float(np.median(frame.errors)), float(np.median(rest))
            result.centre = centre.tolist()
            errors.append(frame.errors)
            shifts.append(rest)
            start = _start(frame, centre)
        pairs.append((result, start))
    return pairs, np.concatenate(errors), np.concatenate(shifts)


def _start(frame: PoseAlignment, centre: NDArray) -> VolumeAlignment:
    """Alignment of the volume that the poses imply: its centre of mass at `centre` comes to the truth's centre."""
    plain = alignment_from_poses(frame.q, frame.mirrored)
    moved = J_HAND @ centre if frame.mirrored else centre
    return VolumeAlignment(plain.rotation, -plain.rotation @ moved, frame.mirrored, float("nan"))


def _compare_volumes(
    pairs: list[_Pair], volumes: str | Path, truth: str | Path, threads: int | None, progress: Callable[[int, int], None] | None
) -> None:
    """FSC of every matched 3D against truth, after alignment; fills in the results."""
    with open_stack(volumes, what="volumes") as stack:
        if not stack.sections == stack.lines == stack.pixels:
            raise MismatchError(f"{stack.path}: volumes of {stack.sections} x {stack.lines} x {stack.pixels} are not cubes")
        true, _ = sampled_volumes(truth, stack.lines)
        if true.shape[1:] != (stack.sections, stack.lines, stack.pixels):
            raise MismatchError(f"{truth}: volumes of {true.shape[1:]} do not fit those of {stack.path}, {stack.shape[1:]}")
        highest = max((p[0].number for p in pairs), default=0), max((p[0].true for p in pairs), default=0)
        if highest[0] > stack.objects or highest[1] > len(true):
            raise MismatchError(
                f"memberships go up to 3D {highest[0]} and true 3D {highest[1]}, but {stack.path} holds {stack.objects} volumes "
                f"and {truth} {len(true)}"
            )

        def one(pair: _Pair) -> None:
            result, start = pair
            estimate, goal = stack.read_volumes(result.number - 1, result.number)[0], true[result.true - 1]
            alignment = best_alignment(estimate, goal, start)
            laid = apply_alignment(estimate, alignment)
            curve = shell_curves(laid, goal)
            result.mirrored = alignment.mirrored
            result.fsc05, result.fsc0143 = curve.crossing("0.5"), curve.crossing("0.143")
            inside = sphere_mask(goal.shape[0], 3, 0.95, 0.0) > 0
            flat = not (np.ptp(laid[inside]) > 0 and np.ptp(goal[inside]) > 0)
            result.correlation = 0.0 if flat else float(np.corrcoef(laid[inside], goal[inside])[0, 1])
            result.fsc = curve.fsc.tolist()

        map_blocks(one, pairs, threads, progress)


def best_alignment(estimate: NDArray, goal: NDArray, start: VolumeAlignment | None, good: float = 0.5) -> VolumeAlignment:
    """Alignment of an estimate to the truth from a start found by poses, or by an exhaustive search where that leads nowhere.

    Parameters
    ----------
    estimate, goal : ndarray, shape (n, n, n)
    start : VolumeAlignment or None
    good : float
        Correlation from which on the local refinement is trusted without a search.
    """
    local = None if start is None else refine_alignment(estimate, goal, start)
    if local is not None and local.correlation >= good:
        return local
    found = align_volumes(estimate, goal)
    return found if local is None or found.correlation > local.correlation else local


def _poses(path: str | Path) -> Poses:
    with open_stack(path) as stack:
        return Poses.from_headers(stack.columns(POSE_WORDS))


def _spread(errors: NDArray, within: tuple[int, ...] = ()) -> dict[str, float] | None:
    """Quantiles of errors, and shares below some limits; None without any."""
    if not len(errors):
        return None
    quantiles = {name: float(np.quantile(errors, q)) for name, q in (("median", 0.5), ("p68", 0.68), ("p95", 0.95))}
    return quantiles | {"mean": float(errors.mean())} | {f"within_{w}": float((errors <= w).mean()) for w in within}
