"""Rigid alignment of two volumes, with the choice of hand.

Rotations are active, in the axes of `geometry.euler`. The aligned volume is ``out(u) = moving'(R^T (u - shift))`` with u
counted from the centre and ``moving'(v) = moving(J v)``, J = diag(1, 1, -1), where mirrored: mirror, rotate, then shift.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from imagic4d_core.errors import MismatchError
from imagic4d_core.filters.band import lowpass_curve
from imagic4d_core.fourier import centred_irfftn, centred_rfftn, crop_rfftn, frequencies, half_frequencies, shells
from imagic4d_core.geometry.euler import J_HAND, angular_distance, matrix_from_euler, matrix_from_rotvec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_COARSE_BOX = 24
_COARSE_STEP = 15.0
_COARSE_POINTS = 1200
_CANDIDATES = 12  # of each hand, taken from the coarse search into the local one


@dataclass(frozen=True)
class VolumeAlignment:
    """How to lay one volume on another.

    Attributes
    ----------
    rotation : ndarray, shape (3, 3), float64
    shift : ndarray, shape (3,), float64
        (x, y, z) in pixels.
    mirrored : bool
        The volume is turned into its mirror image (z reversed) first.
    correlation : float
        Pearson correlation of the two, band-passed and flattened as for the search, inside the sphere.
    """

    rotation: F64
    shift: F64
    mirrored: bool
    correlation: float


@dataclass(frozen=True)
class _Level:
    """Both volumes at one resolution: `fixed` and its slopes at `points`, spline coefficients of `moving` by hand."""

    scale: float
    points: F64
    fixed: F64
    gradient: F64
    moving: dict[bool, F32]


def align_volumes(
    moving: NDArray,
    fixed: NDArray,
    hands: Sequence[bool] = (False, True),
    max_frequency: float = 0.5,
    start: Sequence[VolumeAlignment] | None = None,
) -> VolumeAlignment:
    """Find the rotation, shift and hand that lay `moving` on `fixed`.

    All rotations of a 15-degree grid are tried at a box of 24 about the centres of mass; the best of each hand get their shift by
    cross-correlation and are refined by Gauss-Newton steps on the correlation at growing resolution.

    Parameters
    ----------
    moving, fixed : ndarray, shape (n, n, n), real
    hands : sequence of bool
        Which hands to try: False as it is, True mirrored.
    max_frequency : float
        Highest frequency used, fraction of Nyquist.
    start : sequence of VolumeAlignment, optional
        Begin here (local refinement only) in place of the exhaustive search.

    Returns
    -------
    VolumeAlignment

    Raises
    ------
    MismatchError
        Volumes that differ in size or are not cubic.
    """
    if moving.shape != fixed.shape or moving.ndim != 3 or len(set(moving.shape)) != 1:
        raise MismatchError(f"volumes of shapes {moving.shape} and {fixed.shape} cannot be aligned: need cubes of one size")
    box = moving.shape[0]
    last = min(box, max(16, 2 * int(np.ceil(max_frequency * box / 2 * 1.25))))
    sizes = sorted({min(_COARSE_BOX, last), min(max(32, _COARSE_BOX), last), last})
    spectra = (centred_rfftn(moving, 3), centred_rfftn(fixed, 3))
    tried = tuple(dict.fromkeys(bool(h) for h in hands)) if start is None else tuple({s.mirrored for s in start})
    levels = [_level(spectra, box, n, max_frequency, tried) for n in sizes]
    if start is None:
        candidates = [c for hand in tried for c in _coarse(spectra, box, levels[0], hand, max_frequency)]
    else:
        candidates = list(start)
    for level, number, rounds in zip(levels, (2, 1, 1), (6, 8, 12), strict=False):
        refined = [_refine(c, level, rounds) for c in candidates]
        candidates = [c for hand in tried for c in _best([r for r in refined if r.mirrored == hand], number)]
    return max(candidates, key=lambda c: c.correlation)


def refine_alignment(moving: NDArray, fixed: NDArray, start: VolumeAlignment, max_frequency: float = 0.5) -> VolumeAlignment:
    """Refine a known alignment locally; arguments as in `align_volumes`."""
    return align_volumes(moving, fixed, max_frequency=max_frequency, start=[start])


def apply_alignment(volume: NDArray, alignment: VolumeAlignment) -> F32:
    """Lay a volume as an alignment says, by one cubic interpolation on a twice finer grid; zero outside, shape as `volume`."""
    box = volume.shape[0]
    coefficients = spline_filter(
        resampled(centred_rfftn(np.asarray(volume, np.float32), 3), box, 2 * box), order=3, output=np.float32
    )
    axis = np.arange(box) - box // 2
    points = _grid_points(axis)
    flip = J_HAND if alignment.mirrored else np.eye(3)
    out = _sample(coefficients, (points - alignment.shift) @ (alignment.rotation @ flip), 2.0)
    return out.reshape(box, box, box).astype(np.float32)


def alignment_from_poses(q: NDArray, mirrored: bool, shift: NDArray | None = None) -> VolumeAlignment:
    """Alignment of an estimate to the truth, from poses that agree as ``M_est = M_true Q`` or, mirrored, ``J M_true J Q``."""
    q64 = np.asarray(q, dtype=np.float64)
    rotation = J_HAND @ q64 @ J_HAND if mirrored else q64
    return VolumeAlignment(
        rotation, np.zeros(3) if shift is None else np.asarray(shift, dtype=np.float64), mirrored, float("nan")
    )


def mirror(volume: NDArray) -> NDArray:
    """The other hand: z reversed about the centre index ``n // 2``."""
    flipped = volume[::-1]
    return np.roll(flipped, 1, axis=0) if volume.shape[0] % 2 == 0 else flipped


def _grid_points(axis: NDArray) -> F64:
    """Points (x, y, z) of a cubic grid in the order of a volume (sections, lines, pixels), shape (n^3, 3)."""
    z, x, y = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()], -1).astype(np.float64)


def _sample(coefficients: NDArray, points: F64, scale: float) -> F64:
    """Cubic interpolation at points (x, y, z) from the centre, shape (n, 3); the coefficients' grid is `scale` times finer."""
    where = (points * scale + coefficients.shape[0] // 2).T[[2, 0, 1]]
    return map_coordinates(coefficients, where, order=3, prefilter=False, mode="constant", output=np.float64)


def resampled(spectrum: NDArray, box: int, new: int) -> F32:
    """Real volume of a spectrum at another box size, values as before."""
    cut = crop_rfftn(spectrum, (box,) * 3, (new,) * 3)
    return (centred_irfftn(cut, (new,) * 3) * (new / box) ** 3).astype(np.float32)


def _flattened(spectrum: NDArray, box: int, max_frequency: float) -> NDArray:
    """Spectrum with the square root of its radial amplitudes, cut smoothly at `max_frequency` (fraction of Nyquist)."""
    full, half = frequencies(box), half_frequencies(box)
    k = 2.0 * np.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2)
    index = shells(box, 3)
    power = np.bincount(index.ravel(), weights=(np.abs(spectrum) ** 2).ravel()) / np.maximum(np.bincount(index.ravel()), 1)
    gain = np.maximum(power, max(float(power.max()) * 1e-12, 1e-30)) ** -0.25
    gain[0] = 0.0
    return spectrum * (gain[index] * lowpass_curve(k, max_frequency, "cosine", 0.1))


def _level(spectra: tuple[NDArray, NDArray], box: int, size: int, max_frequency: float, hands: Sequence[bool]) -> _Level:
    """Both volumes at a box of `size`."""
    limit = min(max_frequency, 0.9 * size / box)
    moving = resampled(_flattened(spectra[0], box, limit), box, size)
    small = crop_rfftn(_flattened(spectra[1], box, limit), (box,) * 3, (size,) * 3)
    points = _grid_points(np.arange(size) - size // 2)
    inside = np.linalg.norm(points, axis=1) <= 0.45 * size
    fixed = centred_irfftn(small, (size,) * 3).ravel()[inside].astype(np.float64)
    full, half = frequencies(size), half_frequencies(size)
    along = (full[None, :, None], half[None, None, :], full[:, None, None])  # x, y, z
    slopes = [centred_irfftn(small * (2j * np.pi * k), (size,) * 3).ravel()[inside].astype(np.float64) for k in along]
    by_hand = {h: spline_filter(mirror(moving) if h else moving, order=3, output=np.float32) for h in hands}
    norm = float(np.linalg.norm(fixed - fixed.mean()))
    return _Level(size / box, points[inside], _unit(fixed), np.stack(slopes, -1) / max(norm, 1e-30), by_hand)


def _unit(values: F64) -> F64:
    """Mean 0 and norm 1 along the last axis."""
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-30)


def _moved(level: _Level, rotations: F64, shifts: F64, hand: bool) -> F64:
    """Normalised values of the moving volume at the level's points, for rotations (m, 3, 3) and shifts (m, 3) in level pixels."""
    where = np.matmul(level.points[None] - shifts[:, None, :], rotations)  # R^T (u - t), as rows
    return _unit(_sample(level.moving[hand], where.reshape(-1, 3), 1.0).reshape(len(rotations), -1))


def _refine(start: VolumeAlignment, level: _Level, rounds: int) -> VolumeAlignment:
    """Gauss-Newton on the difference of the normalised volumes with the slopes of `fixed`; a step that is no gain is halved."""
    rotation, shift = start.rotation, start.shift * level.scale
    value = _moved(level, rotation[None], shift[None], start.mirrored)[0]
    score = float(value @ level.fixed)
    for _ in range(rounds):
        # turning by w and moving by d changes the value at u by -grad . (w x (u - shift) + d)
        slopes = -np.concatenate([np.cross(level.points - shift, level.gradient), level.gradient], axis=1)
        slopes -= slopes.mean(0)
        slopes -= np.outer(level.fixed, level.fixed @ slopes)
        step = np.linalg.lstsq(slopes.T @ slopes, slopes.T @ (level.fixed - value), rcond=1e-9)[0] / max(score, 0.3)
        turned, moved = (max(float(np.linalg.norm(part)), 1e-12) for part in (step[:3], step[3:]))
        step *= min(1.0, np.deg2rad(12.0) / turned, 2.0 / moved)
        for _ in range(4):
            new_rotation, new_shift = matrix_from_rotvec(step[:3]) @ rotation, shift + step[3:]
            new_value = _moved(level, new_rotation[None], new_shift[None], start.mirrored)[0]
            new_score = float(new_value @ level.fixed)
            if new_score > score:
                break
            step = step / 2
        else:
            break
        gain, rotation, shift, value, score = new_score - score, new_rotation, new_shift, new_value, new_score
        if gain < 1e-6:
            break
    u, _, vt = np.linalg.svd(rotation)
    return VolumeAlignment(u @ vt, shift / level.scale, start.mirrored, score)


def _best(found: list[VolumeAlignment], number: int) -> list[VolumeAlignment]:
    """The best few that differ by more than 3 degrees."""
    chosen: list[VolumeAlignment] = []
    for c in sorted(found, key=lambda c: -c.correlation):
        if len(chosen) < number and all(angular_distance(c.rotation, o.rotation) > 3.0 for o in chosen):
            chosen.append(c)
    return chosen


def rotation_grid(step: float) -> F64:
    """Rotations about `step` degrees apart, shape (n, 3, 3): Fibonacci directions times even in-plane angles."""
    count = max(2, int(np.ceil(41253.0 / step**2)))
    i = np.arange(count) + 0.5
    beta = np.rad2deg(np.arccos(1.0 - 2.0 * i / count))
    gamma = np.rad2deg(np.pi * (1.0 + 5.0**0.5) * i) % 360.0
    turns = np.arange(0.0, 360.0, 360.0 / np.ceil(360.0 / step))
    return matrix_from_euler(turns[None, :], beta[:, None], gamma[:, None]).reshape(-1, 3, 3)


def _centre_of_mass(volume: NDArray) -> F64:
    """Centre of what is denser than mean + 1 s.d., (x, y, z) from the centre."""
    weight = np.maximum(volume - volume.mean() - volume.std(), 0.0).ravel().astype(np.float64)
    points = _grid_points(np.arange(volume.shape[0]) - volume.shape[0] // 2)
    return weight @ points / max(float(weight.sum()), 1e-30)


def _coarse(spectra: tuple[NDArray, NDArray], box: int, level: _Level, hand: bool, max_frequency: float) -> list[VolumeAlignment]:
    """The best rotations of the grid at the coarsest level, each with its shift by cross-correlation."""
    size = round(box * level.scale)
    limit = min(max_frequency, 0.9 * size / box)
    fine = 3 * size
    moving, fixed = (resampled(_flattened(s, box, limit), box, n) for s, n in zip(spectra, (fine, fine), strict=True))
    plain = [resampled(s, box, size) for s in spectra]
    moving = mirror(moving) if hand else moving
    from_moving = _centre_of_mass(mirror(plain[0]) if hand else plain[0])
    from_fixed = _centre_of_mass(plain[1])

    # values by nearest neighbour on the three times finer grid: fast, and good enough to rank
    keep = np.linalg.norm(level.points, axis=1) <= 0.4 * size
    chosen = np.flatnonzero(keep)[:: max(1, int(keep.sum()) // _COARSE_POINTS)]
    points = level.points[chosen].astype(np.float32)
    target = _unit(_nearest(fixed, ((points + from_fixed) * 3)[None].astype(np.float32))[0].astype(np.float64))
    rotations = rotation_grid(_COARSE_STEP)
    scores = np.empty(len(rotations))
    for b in range(0, len(rotations), 256):
        where = np.matmul(points, rotations[b : b + 256].astype(np.float32)) + from_moving.astype(np.float32)
        scores[b : b + 256] = _unit(_nearest(moving, where * np.float32(3)).astype(np.float64)) @ target

    found = []
    for i in np.argsort(-scores, kind="stable")[: 3 * _CANDIDATES]:
        shift = from_fixed - rotations[i] @ from_moving
        found.append(VolumeAlignment(rotations[i], shift / level.scale, hand, float(scores[i])))
    return _best([_recentred(f, level, size) for f in found], _CANDIDATES)


def _nearest(volume: F32, points: F32) -> F32:
    """Values at the grid points nearest to `points`, shape (m, n, 3), (x, y, z) from the centre; the border's value beyond it."""
    n = volume.shape[0]
    index = np.clip(np.rint(points).astype(np.int32) + n // 2, 0, n - 1)
    return volume.ravel()[(index[..., 2] * n + index[..., 0]) * n + index[..., 1]]


def _recentred(start: VolumeAlignment, level: _Level, size: int) -> VolumeAlignment:
    """The same rotation with the shift of the highest peak of the cross-correlation, within a quarter of the box."""
    inside = np.linalg.norm(_grid_points(np.arange(size) - size // 2), axis=1) <= 0.45 * size
    fixed, turned = np.zeros(size**3), np.zeros(size**3)
    fixed[inside] = level.fixed
    turned[inside] = _moved(level, start.rotation[None], start.shift[None] * level.scale, start.mirrored)[0]
    cube = (size,) * 3
    cross = centred_rfftn(fixed.reshape(cube), 3) * np.conj(centred_rfftn(turned.reshape(cube), 3))
    ccf = centred_irfftn(cross, cube)
    q = max(1, size // 4)
    c = size // 2
    near = ccf[c - q : c + q + 1, c - q : c + q + 1, c - q : c + q + 1]
    z, x, y = np.unravel_index(int(np.argmax(near)), near.shape)
    shift = start.shift + (np.array([x, y, z]) - q) / level.scale
    return VolumeAlignment(start.rotation, shift, start.mirrored, float(near.max()))
