"""Even coverings of the sphere of view directions, or of its asymmetric unit.

Rings of constant beta, spaced by the increment, with gamma steps of increment / sin(beta) (IMAGIC's EQUIDIST).
"""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry import symmetry as sym
from imagic4d_core.geometry.euler import matrix_from_euler

F64 = NDArray[np.float64]


def vectors(beta: NDArray, gamma: NDArray) -> F64:
    """Unit vectors, shape (n, 3), of view directions in degrees."""
    b, g = np.deg2rad(beta), np.deg2rad(gamma)
    return np.stack([np.sin(b) * np.cos(g), np.sin(b) * np.sin(g), np.cos(b)], -1)


def angles(directions: NDArray) -> tuple[F64, F64]:
    """``(beta, gamma)`` in degrees of unit vectors, shape (n, 3)."""
    d = np.asarray(directions, dtype=np.float64)
    return np.rad2deg(np.arctan2(np.hypot(d[:, 0], d[:, 1]), d[:, 2])), np.rad2deg(np.arctan2(d[:, 1], d[:, 0])) % 360.0


def _rings(increment: float, fold: int) -> tuple[F64, F64]:
    """Rings over the whole sphere; the number of directions on a ring is a multiple of `fold`."""
    count = max(2, round(180.0 / increment))
    count += count % 2  # no ring on the equator, halves alike
    beta, gamma = [], []
    for b in (np.arange(count) + 0.5) * 180.0 / count:
        m = max(1, round(360.0 * np.sin(np.deg2rad(b)) / increment / fold)) * fold
        gamma.append((np.arange(m) + 0.5) * 360.0 / m)
        beta.append(np.full(m, b))
    return np.concatenate(beta), np.concatenate(gamma)


def directions(increment: float, symmetry: str = "C1", mirror: bool = False) -> tuple[F64, F64]:
    """Evenly spread view directions in the asymmetric unit.

    Parameters
    ----------
    increment : float
        Distance of neighbours in degrees (0.1 to 90).
    symmetry : str
        Point group.
    mirror : bool
        Leave out directions whose opposite is there.

    Returns
    -------
    beta, gamma : ndarray, shape (n,), float64
        Degrees; n is about ``41253 / (order * increment**2)``, half of it with `mirror`. Every direction of the sphere is
        within 0.85 increments of one of them, or of its mate by symmetry.

    Raises
    ------
    UsageError
        The increment is out of range or the group unknown.
    """
    if not 0.1 <= increment <= 90:
        raise UsageError(f"angular increment {increment} is out of range: 0.1 to 90 degrees")
    kind, n = sym.parse(symmetry)
    fold = n if kind in "CD" else 1
    if mirror and fold % 2:
        fold *= 2  # rings that fit their own inversion
    beta, gamma = _rings(increment, fold)
    q = sym.setting(symmetry)
    if kind == "D" and q[0, 0] < 0.5:
        gamma = (gamma + 90.0) % 360.0  # rings lie about the 2-folds alike in either setting
    inside = sym.in_asymmetric_unit(vectors(beta, gamma), symmetry, mirror)
    beta, gamma = beta[inside], gamma[inside]
    if kind in "CD":
        return beta, gamma
    return _fill(beta, gamma, increment, symmetry, mirror)


def _fill(beta: F64, gamma: F64, increment: float, symmetry: str, mirror: bool) -> tuple[F64, F64]:
    """Rings do not fit the edges of T, O and I: put a direction into every hole, the largest first."""
    ops = sym.rotations(symmetry)
    if mirror:
        ops = np.concatenate([ops, -ops])
    probe_b, probe_g = _rings(min(increment / 5, 2.0), 1)
    probes = vectors(probe_b, probe_g)
    probes = probes[sym.in_asymmetric_unit(probes, symmetry, mirror)]
    have = vectors(beta, gamma)
    best = np.full(len(probes), -1.0)
    for op in ops:
        if len(have):
            best = np.maximum(best, (probes @ (have @ op.T).T).max(1))
    limit = np.cos(np.deg2rad(0.75 * increment))
    added = []
    while best.min() < limit:
        new = probes[int(best.argmin())]
        added.append(new)
        best = np.maximum(best, (probes @ (ops @ new).T).max(1))
    b, g = angles(np.array(added).reshape(-1, 3))
    beta, gamma = np.concatenate([beta, b]), np.concatenate([gamma, g])
    order = np.lexsort((gamma, beta))
    return beta[order], gamma[order]


def matrices(beta: NDArray, gamma: NDArray) -> F64:
    """Poses (n, 3, 3) of view directions with alpha = 0 (IMAGIC's ZERO)."""
    return matrix_from_euler(np.zeros(len(beta)), beta, gamma)


def random_directions(rng: "np.random.Generator", count: int) -> tuple[F64, F64]:
    """Uniform random ``(beta, gamma)`` in degrees."""
    z = rng.uniform(-1.0, 1.0, count)
    return np.rad2deg(np.arccos(z)), rng.uniform(0.0, 360.0, count)
