"""The point group of a map, its axes, and the evidence for them.

A group is looked for as a frame: the rotation and shift that bring the map into the standard setting of `geometry.symmetry`.
Frames are ranked by the self-rotation function, refined by laying the map on its own average over the group, and judged by how
well the map agrees with itself under every operation of the group, beside what other axes give for the same angles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError, UsageError
from imagic4d_core.fourier import centred_rfftn, half_weights, shells
from imagic4d_core.geometry import symmetry
from imagic4d_core.geometry.euler import matrix_from_rotvec
from imagic4d_core.pointgroup.selfrotation import STEP, SelfRotation, frames_about, half_sphere, nearest, self_rotation
from imagic4d_core.pointgroup.working import F64, Extent, Working, extent, prepare, sample

GROUPS = (*(f"C{n}" for n in range(2, 13)), *(f"D{n}" for n in range(2, 13)), "T", "O", "I")
"""Groups looked for."""

LEAST = 0.7
"""Correlation that the worst operation of a group must reach."""
ALIKE = 0.8
"""Its share of the best operation of the same group: a true group has no operation that is better than the others."""
LEAST_Z = 3.0
"""Standard deviations above what other axes give, for every kind of operation."""
SAME_AS_HALVES = 0.85
"""Where half maps are given: share of the correlation that they promise."""

_COARSE, _FINE = 5.0, 8.0  # resolution: periods across the object
_TRIED = 3  # frames of a group that are refined
_HOPELESS = 0.55  # worst operation at low resolution below which the fine map is not asked
_NULL_AXES, _NULL_POINTS, _POINTS = 80, 4000, 16000


@dataclass(frozen=True)
class Operation:
    """Agreement of a map with itself under one kind of operation of a group.

    Attributes
    ----------
    degrees : float
        Angle of the turn.
    count : int
        Operations of this angle in the group.
    correlation, worst : float
        Mean and smallest of them.
    null, spread : float
        Mean and standard deviation for the same angle about axes that are none of the group.
    z : float
        (correlation - null) / spread.
    """

    degrees: float
    count: int
    correlation: float
    worst: float
    null: float
    spread: float
    z: float


@dataclass(frozen=True)
class FoundSymmetry:
    """What `find_symmetry` and `check_symmetry` say.

    Attributes
    ----------
    group : str
        The group found or, by `check_symmetry`, asked for; C1 when none is there.
    holds : bool
        Whether the map has it (C1 always holds).
    rotation : ndarray, shape (3, 3), float64
        Turns the map into the standard setting: ``out(u) = map(rotation.T @ (u - shift))``, as `volalign.VolumeAlignment`.
    shift : ndarray, shape (3,), float64
        (x, y, z) pixels, after the rotation.
    correlation, worst, z : float
        Mean and smallest correlation over the operations, and standard deviations of the mean above other axes; NaN for C1.
    promised : float or None
        Correlation that the half maps promise for a true operation.
    operations : tuple of Operation
    fsc : ndarray, shape (shells,), float64
        FSC of the map with itself, mean over the operations, by Fourier pixels of the map.
    limit : float
        Highest frequency looked at, Fourier pixels of the map.
    reason : str
        Why it holds or not, in words.
    others : tuple of (str, float, float)
        Further groups tried: name, mean and worst correlation.
    """

    group: str
    holds: bool
    rotation: F64
    shift: F64
    correlation: float
    worst: float
    z: float
    promised: float | None
    operations: tuple[Operation, ...]
    fsc: F64
    limit: float
    reason: str
    others: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True)
class _Frame:
    """Columns of `turn` are the standard axes in the map; `origin` is the centre of symmetry, working pixels from the middle."""

    turn: F64
    origin: F64


@dataclass(frozen=True)
class _Judged:
    """A group in its best frame; `each` is the correlation for every operation but the identity, in the map `work`."""

    group: str
    work: Working
    frame: _Frame
    each: F64

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def worst(self) -> float:
        return float(self.each.min())


@dataclass(frozen=True)
class _Looked:
    """A map at both resolutions."""

    place: Extent
    coarse: Working
    fine: Working
    table: SelfRotation


def _look(volume: NDArray, max_frequency: float | None) -> _Looked:
    place = extent(volume)
    box = volume.shape[0]
    top = 0.9 * box / 2 if max_frequency is None else max_frequency * box / 2
    fine = min(_FINE * box / (2 * place.radius), top)
    if max_frequency is not None:
        fine = min(top, 0.9 * box / 2)
    coarse = min(_COARSE * box / (2 * place.radius), fine)
    work = prepare(volume, place, coarse)
    return _Looked(place, work, prepare(volume, place, fine), self_rotation(work))


def find_symmetry(
    volume: NDArray,
    halves: tuple[NDArray, NDArray] | None = None,
    *,
    max_frequency: float | None = None,
    groups: Sequence[str] = GROUPS,
) -> FoundSymmetry:
    """Find the point group of a map and its axes.

    Parameters
    ----------
    volume : ndarray, shape (n, n, n), real
        Object bright; it may lie anywhere in the box.
    halves : two ndarray, as `volume`, optional
        Maps of two halves of the images: they say how well a true operation would do.
    max_frequency : float, optional
        Highest frequency used, fraction of Nyquist; default: eight periods across the object. A pseudo-symmetry can only be told
        from symmetry by frequencies at which the map shows the difference.
    groups : sequence of str
        Groups to look for.

    Returns
    -------
    FoundSymmetry
        The largest group that holds; C1 when none does.

    Raises
    ------
    MismatchError
        Not a cube, or halves of another box.
    InputError
        An empty or infinite map.
    """
    for name in groups:
        symmetry.parse(name)
    looked = _look(volume, max_frequency)
    promised = _promised(looked, halves, volume)
    coarse = {g: _coarse_frames(looked.table, g) for g in groups}
    best = max((s for _, s in coarse.values()), default=0.0)
    hopeful = [g for g in groups if coarse[g][1] >= max(0.35, 0.8 * best)] or sorted(groups, key=lambda g: -coarse[g][1])[:3]
    judged: list[_Judged] = []
    found: _Judged | None = None
    for group in sorted(hopeful, key=lambda g: (-symmetry.order(g), g)):
        one = _judge(looked, group, coarse[group][0])
        judged.append(one)
        if _verdict(one, promised)[0]:
            found = one
            break
    others = tuple((j.group, j.mean, j.worst) for j in sorted(judged, key=lambda j: -j.mean) if j is not found)
    if found is None:
        nan = float("nan")
        why = f"no operation holds: best are {others[0][0]} at a mean of {others[0][1]:.2f}, worst {others[0][2]:.2f}"
        return FoundSymmetry(
            "C1", True, np.eye(3), np.zeros(3), nan, nan, nan, promised, (), np.zeros(0), looked.fine.limit, why, others
        )
    return _result(looked, found, promised, others)


def check_symmetry(
    volume: NDArray, group: str, halves: tuple[NDArray, NDArray] | None = None, *, max_frequency: float | None = None
) -> FoundSymmetry:
    """Say whether a map has a given point group; parameters and errors as `find_symmetry`.

    Returns
    -------
    FoundSymmetry
        Of `group`, with the axes that come nearest to it and `holds`.
    """
    kind, n = symmetry.parse(group)
    if (kind, n) in (("C", 1), ("D", 1)):
        raise UsageError(f"symmetry {group} is none to look for: give C2, C3, ..., D2, D3, ..., T, O or I")
    looked = _look(volume, max_frequency)
    promised = _promised(looked, halves, volume)
    one = _judge(looked, str(group).strip().upper(), _coarse_frames(looked.table, group)[0])
    return _result(looked, one, promised, ())


# frames


def _folds(group: str) -> list[tuple[F64, int]]:
    """Axes of a group, one of each opposite pair, with their folds."""
    found: list[tuple[F64, int]] = []
    for g in symmetry.rotations(group)[1:]:
        vectors = np.linalg.eigh((g + g.T) / 2)[1]
        axis = vectors[:, -1]
        if not any(abs(axis @ a) > 1 - 1e-6 for a, _ in found):
            fold = 1 + sum(np.allclose(h @ axis, axis, atol=1e-6) for h in symmetry.rotations(group)[1:])
            found.append((axis, fold))
    return found


def _coarse_frames(table: SelfRotation, group: str) -> tuple[list[F64], float]:
    """The best frames by the self-rotation function, and the score of the best: mean correlation over the operations."""
    kind, n = symmetry.parse(group)
    axes = _folds(group)
    curves = {fold: table.fold(fold) for fold in {f for _, f in axes}}
    fold = n if kind in "CD" else 3
    lead = np.array([0.0, 0.0, 1.0]) if kind in "CD" else next(a for a, f in axes if f == fold)
    ranked = np.argsort(-curves[fold], kind="stable")
    tried = ranked[: 20 if kind == "C" else max(40, len(ranked) // 12)]
    spins = np.zeros(1) if kind == "C" else np.arange(0.0, 180.0 / n if kind == "D" else 120.0, 2.5)
    about = frames_about(table.axes[tried])
    turn = matrix_from_rotvec(np.deg2rad(spins)[:, None] * np.array([0.0, 0.0, 1.0]))
    frames = (about[:, None] @ turn[None] @ frames_about(lead[None])[0].T).reshape(-1, 3, 3)
    score, weight = np.zeros(len(frames)), 0
    for axis, f in axes:
        score += (f - 1) * curves[f][nearest(frames @ axis)]
        weight += f - 1
    score /= weight
    chosen: list[F64] = []
    ops = symmetry.rotations(group)
    for i in np.argsort(-score, kind="stable"):
        if all(_apart(frames[i], c, ops, kind) > 8.0 for c in chosen):
            chosen.append(frames[i])
            if len(chosen) == _TRIED:
                break
    return chosen, float(score.max())


def _apart(a: F64, b: F64, ops: F64, kind: str) -> float:
    """Degrees between two frames, the same but for operations of the group; for Cn between the axes."""
    if kind == "C":
        return float(np.rad2deg(np.arccos(min(1.0, abs(float(a[:, 2] @ b[:, 2]))))))
    trace = np.einsum("ij,gjk,ik->g", a, ops, b)
    return float(np.rad2deg(np.arccos(np.clip((trace.max() - 1) / 2, -1, 1))))


def _judge(looked: _Looked, group: str, frames: list[F64]) -> _Judged:
    """Refine the frames, keep the one of the highest mean correlation; what fails at low resolution is left there."""
    rough = [_refined(looked.coarse, group, _Frame(f, np.zeros(3)), 6) for f in frames]
    tried = [_Judged(group, looked.coarse, f, _each(looked.coarse, group, f)) for f in rough]
    best = max(tried, key=lambda j: j.mean)
    if best.worst < _HOPELESS:
        return best
    ratio = looked.fine.scale / looked.coarse.scale
    frame = _refined(looked.fine, group, _Frame(best.frame.turn, best.frame.origin * ratio), 6)
    return _Judged(group, looked.fine, frame, _each(looked.fine, group, frame))


def _refined(work: Working, group: str, start: _Frame, rounds: int) -> _Frame:
    """Gauss-Newton steps that lay the map on its own average over the group."""
    ops = symmetry.rotations(group)
    points = work.points[:: max(1, len(work.points) // 3000)]
    frame, last = start, -np.inf
    kept = start
    for _ in range(rounds):
        turned = points @ frame.turn.T
        here = sample(work.splines, turned + frame.origin)
        mates = np.stack([sample(work.splines, points @ (frame.turn @ g).T + frame.origin) for g in ops[1:]])
        mean = (here + mates.sum(0)) / len(ops)
        score = float(mean @ mean) / max(float((here @ here + (mates**2).sum()) / len(ops)), 1e-30)
        if score < last + 1e-6:
            break
        last, kept = score, frame
        slope = np.stack([sample(s, turned + frame.origin) for s in work.slopes], -1)
        step = np.linalg.lstsq(np.concatenate([np.cross(turned, slope), slope], 1), mean - here, rcond=1e-6)[0]
        share = float(np.clip((len(ops) * score - 1) / (len(ops) - 1), 0.3, 1.0))
        step /= share
        turn, way = (max(float(np.linalg.norm(part)), 1e-12) for part in (step[:3], step[3:]))
        step *= min(1.0, np.deg2rad(6.0) / turn, 1.5 / way)
        frame = _Frame(matrix_from_rotvec(step[:3]) @ frame.turn, frame.origin + step[3:])
    return kept


def _each(work: Working, group: str, frame: _Frame) -> F64:
    """Correlation of the map with itself under every operation but the identity."""
    points = work.points[:: max(1, len(work.points) // _POINTS)]
    here = sample(work.splines, points @ frame.turn.T + frame.origin)
    found = []
    for g in symmetry.rotations(group)[1:]:
        mate = sample(work.splines, points @ (frame.turn @ g).T + frame.origin)
        found.append(float(here @ mate) / max(float(np.sqrt((here @ here) * (mate @ mate))), 1e-30))
    return np.array(found)


def _shell_sums(a: NDArray, b: NDArray, n: int) -> F64:
    index, weight = shells(n, 3), half_weights(n)
    sums = np.bincount(index.ravel(), (weight * (a * b.conj()).real).ravel())[: n // 2 + 1]
    return np.asarray(sums, np.float64)


def _fsc(work: Working, group: str, frame: _Frame) -> F64:
    """FSC of the map with itself, over all operations together, by Fourier pixels."""
    n = work.box
    where = tuple(work.points.astype(np.int64).T[[2, 0, 1]] + n // 2)

    def spectrum(turn: F64) -> NDArray:
        cube = np.zeros((n, n, n))
        cube[where] = sample(work.splines, work.points @ turn.T + frame.origin)
        return centred_rfftn(cube, 3)

    here = spectrum(frame.turn)
    cross, power, own = np.zeros(n // 2 + 1), np.zeros(n // 2 + 1), _shell_sums(here, here, n)
    for g in symmetry.rotations(group)[1:]:
        mate = spectrum(frame.turn @ g)
        cross += _shell_sums(here, mate, n)
        power += np.sqrt(own * _shell_sums(mate, mate, n))
    return (cross / np.maximum(power, 1e-30))[: int(np.floor(work.limit)) + 1]


# judgement


def _promised(looked: _Looked, halves: tuple[NDArray, NDArray] | None, volume: NDArray) -> float | None:
    """Correlation of a true operation that half maps lead to expect: 2 r / (1 + r) of their own."""
    if halves is None:
        return None
    for half in halves:
        if half.shape != volume.shape:
            raise MismatchError(f"half maps of shape {half.shape} beside a map of {volume.shape}: give halves of the same box")
    a, b = (prepare(h, looked.place, looked.fine.limit).values.ravel().astype(np.float64) for h in halves)
    r = max(0.0, float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), 1e-30))
    return 2 * r / (1 + r)


def _null(one: _Judged, degrees: float) -> tuple[float, float]:
    """Mean and standard deviation of the correlation at an angle, over axes 15 degrees and more from those of the group."""
    work, frame = one.work, one.frame
    axes = np.stack([a for a, _ in _folds(one.group)]) @ frame.turn.T
    every, _ = half_sphere(STEP)
    away = every[(np.abs(every @ axes.T) < np.cos(np.deg2rad(15.0))).all(1)]
    chosen = (away if len(away) >= _NULL_AXES else every)[:: max(1, len(away) // _NULL_AXES)]
    points = work.points[:: max(1, len(work.points) // _NULL_POINTS)]
    here = sample(work.splines, points + frame.origin)
    mates = sample(work.splines, points @ np.swapaxes(matrix_from_rotvec(np.deg2rad(degrees) * chosen), 1, 2) + frame.origin)
    values = mates @ here / np.maximum(np.sqrt((here @ here) * (mates**2).sum(1)), 1e-30)
    return float(values.mean()), float(max(values.std(), 0.02))


def _operations(one: _Judged) -> tuple[Operation, ...]:
    traces = np.trace(symmetry.rotations(one.group)[1:], axis1=1, axis2=2)
    degrees = np.round(np.rad2deg(np.arccos(np.clip((traces - 1) / 2, -1, 1))), 3)
    out = []
    for angle in sorted(set(degrees.tolist())):
        values = one.each[degrees == angle]
        null, spread = _null(one, angle)
        mean = float(values.mean())
        out.append(Operation(angle, len(values), mean, float(values.min()), null, spread, (mean - null) / spread))
    return tuple(out)


def _verdict(one: _Judged, promised: float | None) -> tuple[bool, str]:
    best, worst = float(one.each.max()), one.worst
    if worst < LEAST:
        return False, f"an operation agrees at {worst:.2f} only, below {LEAST:g}"
    if worst < ALIKE * best:
        return False, f"its operations are not alike: one agrees at {best:.2f}, another at {worst:.2f}"
    z = min(o.z for o in _operations(one))
    if z < LEAST_Z:
        return False, f"other axes do nearly as well: {z:.1f} standard deviations above them, below {LEAST_Z:g}"
    if promised is not None and one.mean < SAME_AS_HALVES * promised:
        return False, f"a pseudo-symmetry: the operations agree at {one.mean:.2f}, and the half maps promise {promised:.2f}"
    beside = "" if promised is None else f", of {promised:.2f} that the half maps promise"
    return True, f"all operations agree at {worst:.2f} or better{beside}, {z:.0f} standard deviations above other axes"


def _result(looked: _Looked, one: _Judged, promised: float | None, others: tuple[tuple[str, float, float], ...]) -> FoundSymmetry:
    holds, why = _verdict(one, promised)
    centre = looked.place.centre + one.frame.origin / one.work.scale
    rotation = one.frame.turn.T
    ops = _operations(one)
    return FoundSymmetry(
        one.group, holds, rotation, -rotation @ centre, one.mean, one.worst, min(o.z for o in ops), promised, ops,
        _fsc(one.work, one.group, one.frame), one.work.limit, why, others,
    )  # fmt: skip
