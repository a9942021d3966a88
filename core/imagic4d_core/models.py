"""Analytic structures: sums of 3D Gaussians, whose volumes and projections are known exactly.

Axes and rotations are those of `geometry.euler`; positions are pixels from the centre, index ``N // 2``. A blob of mass w
and width s has the density ``w (2 pi s^2)^(-3/2) exp(-r^2 / 2 s^2)``, so its projection along any direction is
``w / (2 pi s^2) exp(-(x^2 + y^2) / 2 s^2)`` around the projected position.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.euler import matrix_from_rotvec
from imagic4d_core.rng import rng_for

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SCHEMA = 1


@dataclass(frozen=True)
class Model:
    """One structure.

    Attributes
    ----------
    name : str
    positions : ndarray, shape (blobs, 3), float64
        (x, y, z) in pixels from the centre.
    sigma : ndarray, shape (blobs,), float64
        Widths in pixels.
    weight : ndarray, shape (blobs,), float64
        Masses (integral of each blob).
    """

    name: str
    positions: F64
    sigma: F64
    weight: F64

    @property
    def mass(self) -> float:
        """Integral of the density."""
        return float(self.weight.sum())

    def scaled(self, factor: float) -> "Model":
        """The same structure on a grid `factor` times finer; masses stay."""
        return replace(self, positions=self.positions * factor, sigma=self.sigma * factor)

    def mirrored(self) -> "Model":
        """The other hand (z turned round)."""
        return replace(self, positions=self.positions * np.array([1.0, 1.0, -1.0]))

    def rotated(self, matrix: ArrayLike) -> "Model":
        """The structure rotated by `matrix`, shape (3, 3), about the centre."""
        return replace(self, positions=self.positions @ np.asarray(matrix, dtype=np.float64).T)


@dataclass(frozen=True)
class ModelSet:
    """Structures that share a box and a pixel size (angstrom, or None)."""

    box: int
    pixel_size: float | None
    models: list[Model]


def volume(model: Model, box: int) -> F32:
    """Sample a structure on a grid.

    Parameters
    ----------
    model : Model
    box : int
        Edge of the cube in pixels; the model's centre is at index ``box // 2``.

    Returns
    -------
    ndarray, shape (box, box, box), float32
        Sections z, lines x, pixels y.
    """
    gx, gy, gz = (_profiles(model.positions[:, axis], model.sigma, box) for axis in range(3))
    plane = (gx[:, :, None] * gy[:, None, :]).reshape(len(gx), -1)
    return ((gz * model.weight[:, None]).T @ plane).reshape(box, box, box).astype(np.float32)


def project(model: Model, matrices: ArrayLike, shifts_of_particle: ArrayLike | None, box: int, *, block: int = 256) -> F32:
    """Exact projections of a structure.

    Parameters
    ----------
    model : Model
    matrices : array_like, shape (n, 3, 3)
        Poses M of `geometry.euler`.
    shifts_of_particle : array_like, shape (n, 2), or None
        Displacement (x, y) of the particle from the centre of the image, pixels.
    box : int
        Edge of the images.
    block : int
        Images worked on at once (memory only: every image is its own product, so results do not depend on it).

    Returns
    -------
    ndarray, shape (n, box, box), float32
        Lines x, pixels y.
    """
    m = np.asarray(matrices, dtype=np.float64)
    shifts = np.zeros((len(m), 2)) if shifts_of_particle is None else np.asarray(shifts_of_particle, dtype=np.float64)
    out = np.empty((len(m), box, box), dtype=np.float32)
    for start in range(0, len(m), block):
        stop = min(start + block, len(m))
        seen = m[start:stop, :2, :] @ model.positions.T + shifts[start:stop, :, None]  # (n, 2, blobs)
        gx = _profiles(seen[:, 0], model.sigma, box)  # (n, blobs, box)
        gy = _profiles(seen[:, 1], model.sigma, box)
        np.matmul((gx * model.weight[:, None]).swapaxes(1, 2), gy, out=out[start:stop], casting="same_kind")
    return out


def _profiles(centre: F64, sigma: F64, box: int) -> F64:
    """1D Gaussians of unit integral at `centre` (pixels from the middle), shape (..., blobs, box)."""
    grid = np.arange(box) - box // 2
    scaled = (grid - centre[..., None]) / sigma[:, None]
    return np.exp(-0.5 * scaled * scaled) / (np.sqrt(2.0 * np.pi) * sigma[:, None])


def read_models(path: str | Path) -> ModelSet:
    """Read a blob JSON file.

    Raises
    ------
    InputError
        Not JSON, no model in it, or a blob without a positive sigma.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror or err}") from err
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: not a JSON file of blob models: {err}") from err
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not data.get("models"):
        raise InputError(f'{path}: not a blob model file: expected an object with "schema": {SCHEMA} and "models"')
    try:
        models = [_model_from_json(m) for m in data["models"]]
        pixel_size = data.get("pixel_size")
        result = ModelSet(int(data["box"]), None if pixel_size is None else float(pixel_size), models)
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"{path}: blob model without a sound {err}: each blob needs numbers x, y, z, sigma, weight") from err
    for m in models:
        if not len(m.sigma) or not (m.sigma > 0).all() or not np.isfinite(m.positions).all() or not np.isfinite(m.weight).all():
            raise InputError(f"{path}: model {m.name!r} needs blobs with finite positions and weights and sigma above 0")
    return result


def _model_from_json(entry: dict) -> Model:
    blobs = entry["blobs"]
    columns = {key: np.array([float(b[key]) for b in blobs], dtype=np.float64) for key in ("x", "y", "z", "sigma", "weight")}
    positions = np.stack([columns["x"], columns["y"], columns["z"]], -1)
    return Model(str(entry["name"]), positions, columns["sigma"], columns["weight"])


def models_to_json(models: ModelSet) -> dict:
    """The document that `read_models` reads (numbers rounded to 6 digits after the point)."""
    entries = []
    for m in models.models:
        rows = np.column_stack([m.positions, m.sigma, m.weight]).round(6).tolist()
        entries.append({"name": m.name, "blobs": [dict(zip(("x", "y", "z", "sigma", "weight"), r, strict=True)) for r in rows]})
    return {"schema": SCHEMA, "box": models.box, "pixel_size": models.pixel_size, "models": entries}


def random_family(seed: int, number: int, box: int, related: bool = True) -> list[Model]:
    """Draw asymmetric structures for tests with known truth.

    Related structures share a core and three mobile domains; each lacks one of the domains or has it swung about its hinge,
    and carries a domain of its own. Unrelated ones are complete independent draws. Lengths are relative to the box: at box
    64 blobs have sigma 0.8 to 3.5 pixels and lie within 21 pixels; no blob is finer than 0.8 pixels at any box.

    Parameters
    ----------
    seed : int
    number : int
        Structures wanted.
    box : int
        Edge of the box in pixels.
    related : bool

    Returns
    -------
    list of Model
        In one frame; the centre of mass of the whole family is at the origin.
    """
    if related:
        family = _related(rng_for(seed, "models/family"), number)
    else:
        family = [_related(rng_for(seed, "models/unrelated", k), 1)[0] for k in range(number)]
        family = [replace(m, name=f"model {k + 1}", positions=m.positions - _centre([m])) for k, m in enumerate(family)]
    centre = _centre(family)
    family = [replace(m, positions=m.positions - centre) for m in family]
    reach = max(float(np.linalg.norm(m.positions, axis=1).max()) for m in family)
    squeeze = min(1.1, _REACH / reach)  # positions only: the blobs keep their fineness
    family = [replace(m, positions=m.positions * squeeze).scaled(box / 64.0) for m in family]
    return [replace(m, sigma=np.maximum(m.sigma, _FINEST)) for m in family]


# Lengths below are pixels at box 64.
_REACH = 21.0
_FINEST = 0.8  # pixels of any box: finer blobs would not be sampled
_DOMAIN_RADIUS = 5.0


def _centre(family: Sequence[Model]) -> F64:
    """Centre of mass of all structures together."""
    mass = sum(m.mass for m in family)
    return sum((m.weight @ m.positions for m in family), start=np.zeros(3)) / mass


def _related(rng: np.random.Generator, number: int) -> list[Model]:
    """Core, three shared mobile domains, one own domain each; in pixels at box 64, not yet centred."""
    core = _core(rng)
    sites = _spread_directions(rng, 3 + number)
    shared = [_domain(rng, core, u, 1.0, fine=4) for u in sites[:3]]
    own = [_domain(rng, core, u, 0.9, fine=3) for u in sites[3:]]
    family = []
    for k in range(number):
        parts = [core, own[k]]
        # structure k differs in domain k: swung, or missing in the second round, so that no two agree
        for j, domain in enumerate(shared):
            if j != k % 3:
                parts.append(domain)
            elif (k // 3) % 2 == 0:
                parts.append(_swung(rng, core, domain, sites[j]))
        blobs = np.concatenate(parts)
        family.append(Model(f"model {k + 1}", blobs[:, :3], blobs[:, 3], blobs[:, 4]))
    return family


def _core(rng: np.random.Generator) -> F64:
    """Blobs (x, y, z, sigma, weight) of three unequal lobes around a common middle."""
    lobes = []
    for direction, size, coarse, fine in zip(_spread_directions(rng, 3), (9.0, 7.5, 6.0), (9, 6, 3), (20, 13, 9), strict=True):
        axes = _random_frame(rng) @ np.diag(size * rng.uniform([0.6, 0.8, 1.1], [0.8, 1.1, 1.4]))
        lobes.append(_fill(rng, axes, direction * rng.uniform(6.0, 8.5), coarse, fine))
    core = np.concatenate(lobes)
    core[:, :3] -= core[:, 4] @ core[:, :3] / core[:, 4].sum()
    return core


def _surface(core: F64, direction: F64) -> float:
    """How far the core reaches in a direction: the farthest blob of those within 5 pixels of the axis."""
    along = core[:, :3] @ direction
    beside = np.linalg.norm(core[:, :3] - along[:, None] * direction, axis=1)
    return float(max(along[beside < 5.0], default=0.0))


def _domain(rng: np.random.Generator, core: F64, direction: F64, size: float, fine: int) -> F64:
    """A small globule that touches the core where `direction` leaves it."""
    radius = _DOMAIN_RADIUS * size * rng.uniform(0.9, 1.1)
    axes = _random_frame(rng) @ np.diag(radius * rng.uniform(0.7, 1.2, 3))
    distance = min(_surface(core, direction) + 0.75 * radius, _REACH - 0.7 * radius)
    return _fill(rng, axes, direction * distance, coarse=3, fine=fine)


def _swung(rng: np.random.Generator, core: F64, domain: F64, direction: F64) -> F64:
    """The domain turned by 40 to 60 degrees about a hinge on the core's surface and by 15 to 25 about the core's middle."""
    axis = np.cross(direction, rng.standard_normal(3))
    axis /= np.linalg.norm(axis)
    hinge = direction * _surface(core, direction)
    about_hinge = matrix_from_rotvec(axis * np.deg2rad(rng.uniform(40.0, 60.0)))
    about_middle = matrix_from_rotvec(axis * np.deg2rad(rng.uniform(15.0, 25.0)))
    out = domain.copy()
    out[:, :3] = ((domain[:, :3] - hinge) @ about_hinge.T + hinge) @ about_middle.T
    return out


def _fill(rng: np.random.Generator, axes: F64, centre: F64, coarse: int, fine: int) -> F64:
    """Blobs inside an ellipsoid: coarse ones carry the envelope, fine ones the high frequencies."""
    sigma = np.concatenate([rng.uniform(1.6, 3.5, coarse), rng.uniform(0.8, 1.05, fine)])
    weight = np.concatenate([rng.uniform(0.8, 1.8, coarse), rng.uniform(0.5, 1.1, fine)])
    points = _apart(rng, coarse + fine)
    return np.column_stack([points @ axes.T + centre, sigma, weight])


def _apart(rng: np.random.Generator, count: int) -> F64:
    """Points in the unit ball, each the one of 8 draws that is farthest from those before it."""
    points = np.zeros((0, 3))
    for _ in range(count):
        draws = rng.standard_normal((8, 3))
        draws *= (rng.uniform(0.0, 1.0, 8) ** (1 / 3) / np.linalg.norm(draws, axis=1))[:, None]
        gaps = np.full(8, np.inf) if not len(points) else np.linalg.norm(draws[:, None] - points, axis=2).min(1)
        points = np.vstack([points, draws[np.argmax(gaps)]])
    return points


def _spread_directions(rng: np.random.Generator, count: int) -> F64:
    """Directions, each the one of 12 random draws that is farthest from those before it."""
    chosen = np.zeros((0, 3))
    for _ in range(count):
        draws = rng.standard_normal((12, 3))
        draws /= np.linalg.norm(draws, axis=1, keepdims=True)
        nearest = np.zeros(12) if not len(chosen) else (draws @ chosen.T).max(1)
        chosen = np.vstack([chosen, draws[np.argmin(nearest)]])
    return chosen


def _random_frame(rng: np.random.Generator) -> F64:
    """A random rotation."""
    axis = rng.standard_normal(3)
    return matrix_from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(0.0, np.pi))
