"""Point groups of rotations, and their asymmetric units.

Standard orientations (axes of `geometry.euler`):

- ``Cn``: the n-fold axis along z. ``Dn``: n-fold along z, a 2-fold along x.
- ``T``: 2-folds along x, y, z, 3-folds along (1, 1, 1) and its mates.
- ``O``: 4-folds along x, y, z, 3-folds along (1, 1, 1) and its mates.
- ``I``: 2-folds along x, y, z, 5-folds along (0, 1, phi) and its mates, phi = 1.618..., 3-folds along (1, 1, 1).

An object has symmetry G when it does not change under the rotations; if M is a pose of one of its images, so is
``M @ g`` for every g in G, and view direction d may be replaced by ``g.T @ d``.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.euler import matrix_from_rotvec

F64 = NDArray[np.float64]
_PHI = (1 + 5**0.5) / 2


def parse(name: str) -> tuple[str, int]:
    """Letter and number of a point group: ``"D7"`` -> ``("D", 7)``, ``"I"`` -> ``("I", 0)``.

    Raises
    ------
    UsageError
        The name is not Cn, Dn, T, O or I.
    """
    match = re.fullmatch(r"([CD])([1-9][0-9]{0,2})|([TOI])", str(name).strip().upper())
    if not match:
        raise UsageError(f"unknown symmetry {name!r}: C1, C2, ..., D2, D3, ..., T, O or I")
    return (match.group(3), 0) if match.group(3) else (match.group(1), int(match.group(2)))


def order(name: str) -> int:
    """Number of rotations of the group."""
    kind, n = parse(name)
    return {"C": n, "D": 2 * n, "T": 12, "O": 24, "I": 60}[kind]


def _turn(axis: ArrayLike, degrees: float) -> F64:
    a = np.asarray(axis, dtype=np.float64)
    return matrix_from_rotvec(a / np.linalg.norm(a) * np.deg2rad(degrees))


@lru_cache(maxsize=64)
def _group(kind: str, n: int) -> F64:
    generators = {
        "C": [_turn([0, 0, 1], 360 / max(n, 1))],
        "D": [_turn([0, 0, 1], 360 / max(n, 1)), _turn([1, 0, 0], 180)],
        "T": [_turn([0, 0, 1], 180), _turn([1, 1, 1], 120)],
        "O": [_turn([0, 0, 1], 90), _turn([1, 1, 1], 120)],
        "I": [_turn([0, 0, 1], 180), _turn([1, 1, 1], 120), _turn([0, 1, _PHI], 72)],
    }[kind]
    found = [np.eye(3)]
    for g in found:  # grows while it is walked through: closure under the generators
        for h in generators:
            new = h @ g
            if not any(np.abs(new - f).max() < 1e-6 for f in found):
                found.append(new)
    out = np.array(found)
    out[np.abs(out) < 1e-15] = 0.0
    out.setflags(write=False)
    return out


def rotations(name: str) -> F64:
    """Rotation matrices of a point group.

    Parameters
    ----------
    name : str
        Cn, Dn, T, O or I, any case.

    Returns
    -------
    ndarray, shape (g, 3, 3), float64, read-only
        The identity first.
    """
    return _group(*parse(name))


def in_asymmetric_unit(directions: ArrayLike, name: str, mirror: bool = False, margin: float = 0.0) -> NDArray[np.bool_]:
    """Which view directions lie in the asymmetric unit (IMAGIC's ASYM_TRIANGLE).

    Parameters
    ----------
    directions : array_like, shape (..., 3)
        Unit vectors.
    name : str
        Point group.
    mirror : bool
        Fold d and -d together as well: the view from -d is the mirror image of the view from d.
    margin : float
        Degrees by which the unit is widened.

    Returns
    -------
    ndarray of bool, shape (...)

    Notes
    -----
    ``Cn``: gamma 0..360/n, beta 0..180 (mirror: 0..90). ``Dn``: gamma 0..360/n, beta 0..90 (mirror: half the gammas, up to
    the mirror planes). ``T``, ``O``, ``I``: directions nearer to a centre than to its mates; with mirror O and I give
    the 4-3-2 and 5-3-2 triangles.
    """
    kind, n = parse(name)
    d = np.asarray(directions, dtype=np.float64)
    m = np.deg2rad(margin)
    if kind in "CD":
        beta = np.arccos(np.clip(d[..., 2], -1, 1))
        span = 2 * np.pi / n
        start = 0.0
        if kind == "D" and mirror:
            span /= 2
            start = span / 2 if n % 2 else 0.0  # with odd n the 2-fold axes lie between the mirror planes
        top = np.pi / 2 if kind == "D" or mirror else np.pi
        gamma = (np.arctan2(d[..., 1], d[..., 0]) - start + 1e-9) % (2 * np.pi)
        # outside in gamma, as an arc on the sphere
        off = np.minimum(np.maximum(gamma - span, 0), 2 * np.pi - gamma) * np.sin(beta)
        closed = 2e-9 if kind == "D" and mirror else 0.0  # both ends are mirror planes, with no mates elsewhere
        inside = (gamma < span + closed) | (off < m) if span < 2 * np.pi - 1e-9 else np.ones(gamma.shape, bool)
        return inside & (beta <= top + m + 1e-9)
    c = _centre(kind)
    ops = rotations(name)
    if mirror:
        ops = np.concatenate([ops, -ops])
    mates = ops @ c
    # the boundary to a mate is the plane through the origin with normal c - mate; distance to it in radians
    normal = c - mates[np.linalg.norm(c - mates, axis=1) > 1e-9]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return (d @ normal.T >= -np.sin(m) - 1e-12).all(-1)


def _centre(kind: str) -> F64:
    """A point well inside one triangle of the full group (reflections included)."""
    corners: dict[str, tuple[list[float], ...]] = {
        "T": ([0, 0, 1], [1, 1, 1], [1, 0, 1]),
        "O": ([0, 0, 1], [1, 1, 1], [1, 0, 1]),
        "I": ([0, 1, _PHI], [1, 1, 1], [0, 0, 1]),
    }
    unit = [np.array(c) / np.linalg.norm(c) for c in corners[kind]]
    if kind == "I":  # the 3-fold next to this 5-fold and 2-fold
        three = [np.array(v) for v in ([1, 1, 1], [1 / _PHI, 0, _PHI], [_PHI, 1 / _PHI, 0], [0, _PHI, 1 / _PHI])]
        near = max(three, key=lambda v: float((v / np.linalg.norm(v)) @ (unit[0] + unit[2])))
        unit[1] = near / np.linalg.norm(near)
    # uneven weights: no point of a 2-fold edge, so that all mates differ
    c = 0.45 * unit[0] + 0.35 * unit[1] + 0.2 * unit[2]
    return c / np.linalg.norm(c)
