"""Euler angles and rotation matrices: the one home of angle conventions.

Axes (IMAGIC, imagic-format section 6): x = line index (down), y = pixel index (right), z = section index
(towards the viewer), all counted from the centre, index ``N // 2``. Vectors are columns (x, y, z).

A pose (ALPHA, BETA, GAMMA) in degrees stands for ``M = Rz(-ALPHA) Ry(-BETA) Rz(-GAMMA)`` (active right-hand
rotations): rotate the object by M, then sum along z. So with ``p = (x, y)`` in the image,
``image(p) = sum_z volume(M^T (x, y, z))`` and, by the slice theorem, ``FT2(image)(k) = FT3(volume)(M^T (kx, ky, 0))``.
The rows of M are the image's x axis, y axis and view direction in the object's frame; the view direction is
``(sin B cos G, sin B sin G, cos B)``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

#: Mirror through the image plane: the global ambiguity of hand, M -> J M J with J = diag(1, 1, -1).
J_HAND = np.diag([1.0, 1.0, -1.0])


def matrix_from_euler(alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike) -> F64:
    """Rotation matrices of Euler angles.

    Parameters
    ----------
    alpha, beta, gamma : array_like, shape (...)
        IMAGIC Euler angles in degrees (words 65 to 67).

    Returns
    -------
    ndarray, shape (..., 3, 3), float64
    """
    a, b, g = (np.deg2rad(np.asarray(v, dtype=np.float64)) for v in (alpha, beta, gamma))
    ca, sa, cb, sb, cg, sg = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(g), np.sin(g)
    rows = [
        [ca * cb * cg - sa * sg, ca * cb * sg + sa * cg, -ca * sb],
        [-sa * cb * cg - ca * sg, -sa * cb * sg + ca * cg, sa * sb],
        [sb * cg, sb * sg, cb * np.ones_like(ca * cg)],
    ]
    shape = np.broadcast_shapes(a.shape, b.shape, g.shape)
    return np.stack([np.stack([np.broadcast_to(c, shape) for c in r], -1) for r in rows], -2)


def euler_from_matrix(matrix: ArrayLike) -> tuple[F64, F64, F64]:
    """Euler angles of rotation matrices; inverse of `matrix_from_euler`.

    Parameters
    ----------
    matrix : array_like, shape (..., 3, 3)

    Returns
    -------
    alpha, beta, gamma : ndarray, shape (...), float64
        Degrees; alpha and gamma in [0, 360), beta in [0, 180]. Where beta is 0 or 180, gamma is 0.
    """
    m = np.asarray(matrix, dtype=np.float64)
    s = np.hypot(m[..., 2, 0], m[..., 2, 1])
    beta = np.arctan2(s, m[..., 2, 2])
    polar = s < 1e-12
    gamma = np.where(polar, 0.0, np.arctan2(m[..., 2, 1], m[..., 2, 0]))
    at_pole = np.arctan2(-m[..., 1, 0] * np.sign(m[..., 2, 2]), m[..., 1, 1])
    alpha = np.where(polar, at_pole, np.arctan2(m[..., 1, 2], -m[..., 0, 2]))
    return _turn(np.rad2deg(alpha)), np.rad2deg(beta), _turn(np.rad2deg(gamma))


def _turn(degrees: F64) -> F64:
    """Angles in [0, 360); the remainder of a tiny negative angle rounds to 360 itself."""
    rest = degrees % 360.0
    return np.where(rest == 360.0, 0.0, rest)


def directions_from_matrix(matrix: ArrayLike) -> F64:
    """View directions in the object's frame, shape (..., 3): the third rows."""
    return np.asarray(matrix, dtype=np.float64)[..., 2, :]


def relion_from_euler(alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike) -> tuple[F64, F64, F64]:
    """IMAGIC (ALPHA, BETA, GAMMA) to RELION/SPIDER/Xmipp (rot, tilt, psi), degrees.

    Valid for arrays taken over with the line flip that keeps the centre (imagic-format sections 6 and 7). Where BETA is 0 only
    the sum of the others counts: it is psi, and rot is 0. No angles are no angles then, and a rotation in the plane stays one.
    """
    a, b, g = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (alpha, beta, gamma)))
    flat = b == 0
    return np.where(flat, 0.0, _turn(g - 90.0)), b + 0.0, _turn(np.where(flat, a + g, a + 90.0))


def euler_from_relion(rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike) -> tuple[F64, F64, F64]:
    """RELION/SPIDER/Xmipp (rot, tilt, psi) to IMAGIC (ALPHA, BETA, GAMMA), degrees; GAMMA is 0 where tilt is."""
    r, t, p = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (rot, tilt, psi)))
    flat = t == 0
    return _turn(np.where(flat, p + r, p - 90.0)), t + 0.0, np.where(flat, 0.0, _turn(r + 90.0))


def random_rotations(rng: "np.random.Generator", count: int) -> F64:
    """Draw rotations uniformly on SO(3) (Shoemake's quaternions), shape (count, 3, 3)."""
    q = rng.standard_normal((count, 4))
    return matrix_from_quaternion(q / np.linalg.norm(q, axis=1, keepdims=True))


def matrix_from_quaternion(q: ArrayLike) -> F64:
    """Rotation matrices, shape (..., 3, 3), of unit quaternions (w, x, y, z), shape (..., 4)."""
    w, x, y, z = np.moveaxis(np.asarray(q, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(r, -1) for r in rows], -2)


def matrix_from_rotvec(vector: ArrayLike) -> F64:
    """Rotation matrices, shape (..., 3, 3), of rotation vectors in radians, shape (..., 3) (Rodrigues)."""
    v = np.asarray(vector, dtype=np.float64)
    angle = np.linalg.norm(v, axis=-1)
    half = 0.5 * angle
    scale = 0.5 * np.sinc(half / np.pi)
    return matrix_from_quaternion(np.concatenate([np.cos(half)[..., None], v * scale[..., None]], -1))


def angular_distance(a: ArrayLike, b: ArrayLike) -> F64:
    """Angle in degrees of the rotation between matrices a and b, shape (...)."""
    a64, b64 = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    # the chordal form keeps its digits at small angles, where arccos of the trace loses them
    chord = np.sqrt(((a64 - b64) ** 2).sum((-2, -1)) / 8.0)
    return np.rad2deg(2.0 * np.arcsin(np.clip(chord, 0.0, 1.0)))
