"""Point groups of rotations, their settings of axes, and their asymmetric units.

A name says the group and how its axes lie. Settings are given in the standard axes of maps in other programs (x to the right,
y up, z to the viewer; `geometry.euler`'s are these turned by 90 degrees about z):

- ``Cn``: the n-fold axis along z.
- ``Dn``: n-fold along z, a 2-fold along x (RELION, EMAN2, Chimera). ``DnY``: a 2-fold along y (cryoSPARC); the same for even n.
- ``T``: a 3-fold along z, another along (0, -2.83, 1) (RELION, cryoSPARC). ``TZ3``: the other one along (0, 2.83, 1) (EMAN2,
  Chimera's z3). ``T222``: 2-folds along x, y, z, a 3-fold along (1, 1, 1) (Chimera's default).
- ``O``: 4-folds along x, y, z, a 3-fold along (1, 1, 1).
- ``I`` or ``I2``: 2-folds along x, y, z, a 5-fold along (1, 0, 1.618) (RELION's default). ``I1``: the same turned by 90 degrees
  about z, a 5-fold along (0, 1, 1.618) (Chimera's default). ``I3``, ``I4``: a 5-fold along z, a 2-fold along y, and another
  5-fold along (2, 0, -1) or (2, 0, 1) (I4: EMAN2).

Sources: what `relion_refine --print_symmetry_ops` of RELION 3.1 prints, EMAN2's and ChimeraX's tables of operations, the
cryoSPARC authors' word; docs/conventions.md has the table by program.

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

#: Other programs' names of settings -> ours.
SAME = {
    "I2": "I", "TZ3R": "T", "I222R": "I", "I222": "I1", "IN25": "I3", "IN25R": "I4", "TET": "TZ3", "OCT": "O", "ICOS": "I4",
}  # fmt: skip
NAMES = "C1, C2, ..., D2, D3, ..., D3Y, ..., T, TZ3, T222, O, I, I1, I2, I3 or I4"


def canonical(name: str) -> str:
    """Our name of a group and setting, upper case: ``"icos"`` -> ``"I4"``, ``"d7x"`` -> ``"D7"``; DnY is Dn for even n.

    Raises
    ------
    UsageError
        There is no such group or setting.
    """
    text = str(name).strip().upper()
    text = SAME.get(text, text)
    match = re.fullmatch(r"(C|D)([1-9][0-9]{0,2})([XY]?)", text)
    if match and (match[1] == "D" or not match[3]):
        return f"{match[1]}{match[2]}{'Y' if match[3] == 'Y' and int(match[2]) % 2 else ''}"
    if text not in ("T", "TZ3", "T222", "O", "I", "I1", "I3", "I4"):
        raise UsageError(f"{name!r} is not a point group: {NAMES}")
    return text


def parse(name: str) -> tuple[str, int]:
    """Letter and number of a point group, without its setting: ``"D7Y"`` -> ``("D", 7)``, ``"I3"`` -> ``("I", 0)``.

    Raises
    ------
    UsageError
        There is no such group or setting.
    """
    text = canonical(name)
    return (text[0], int(text[1:].rstrip("Y"))) if text[0] in "CD" else (text[0], 0)


def order(name: str) -> int:
    """Number of rotations of the group."""
    kind, n = parse(name)
    return {"C": n, "D": 2 * n, "T": 12, "O": 24, "I": 60}[kind]


def _turn(axis: ArrayLike, degrees: float) -> F64:
    a = np.asarray(axis, dtype=np.float64)
    return matrix_from_rotvec(a / np.linalg.norm(a) * np.deg2rad(degrees))


def _frame(z: ArrayLike, near: ArrayLike) -> F64:
    """Rotation that lays `z` on the z axis and `near`, made perpendicular to it, on the x axis."""
    c = np.asarray(z, np.float64) / np.linalg.norm(z)
    a = np.asarray(near, np.float64) - c * (np.asarray(near, np.float64) @ c)
    a /= np.linalg.norm(a)
    return np.stack([a, np.cross(c, a), c])


@lru_cache(maxsize=64)
def setting(name: str) -> F64:
    """Rotation Q, shape (3, 3), from the frame in which units are cut to the setting of a name: operations are ``Q g Q.T``.

    In the first frame Dn has a 2-fold along x, T and O have their 2- or 4-folds and I its 2-folds along x, y, z, and a 5-fold
    of I lies along (0, 1, phi); axes are `geometry.euler`'s.
    """
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # x -> y: standard x is y here
    half = np.array([[-1.0], [-1.0], [1.0]])
    text = canonical(name)
    kind, n = parse(text)
    if kind == "D" and n % 2 and not text.endswith("Y"):
        q = quarter
    elif text in ("T", "TZ3"):
        q = _frame([1, 1, 1], [1, 1, -1])
        q = q if text == "T" else q * half
    elif text == "I1":
        q = quarter
    elif text in ("I3", "I4"):
        q = quarter @ _frame([0, 1, _PHI], [0, -1, _PHI])
        q = q if text == "I4" else q * half
    else:
        q = np.eye(3)
    q.setflags(write=False)
    return q


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
    return out


@lru_cache(maxsize=64)
def _operations(name: str) -> F64:
    q = setting(name)
    out = _group(*parse(name)) if (q == np.eye(3)).all() else q @ _group(*parse(name)) @ q.T
    out[0] = np.eye(3)
    out.setflags(write=False)
    return out


def rotations(name: str) -> F64:
    """Rotation matrices of a point group in its setting.

    Parameters
    ----------
    name : str
        As `canonical` takes it.

    Returns
    -------
    ndarray, shape (g, 3, 3), float64, read-only
        The identity first.
    """
    return _operations(canonical(name))


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
    ``Cn``: gamma 0..360/n, beta 0..180 (mirror: 0..90). ``Dn``: 360/n degrees of gamma, from a 2-fold axis on, beta 0..90
    (mirror: half the gammas, up to the mirror planes). ``T``, ``O``, ``I``: directions nearer to a centre than to its mates;
    with mirror O and I give the 4-3-2 and 5-3-2 triangles.
    """
    kind, n = parse(name)
    d = np.asarray(directions, dtype=np.float64) @ setting(name)
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
    ops = _group(kind, n)
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
