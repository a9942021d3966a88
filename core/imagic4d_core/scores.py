"""Scores against known truth: memberships and poses.

A 3D found from projections has its own frame and its own hand: its poses agree with the true ones as ``M_est = M_true Q`` or, for
the other hand, ``M_est = J M_true J Q`` with one rotation Q for the whole 3D.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.euler import J_HAND, angular_distance, matrix_from_rotvec

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_CANDIDATES = 300  # images whose own Q is tried as the start
_FAR = 30.0  # degrees: errors beyond count as this, so that lost images do not steer


@dataclass(frozen=True)
class MembershipScore:
    """Agreement of two partitions.

    Attributes
    ----------
    ari : float
        Adjusted Rand index (Hubert & Arabie, J. Classif. 2, 1985, 193-218).
    accuracy : float
        Share of the images in the right 3D under the best one-to-one matching; unassigned images are wrong.
    chance : float
        Accuracy of putting every image into the largest true 3D.
    matching : dict of int to int
        Estimated 3D -> true 3D.
    estimated, true : ndarray, int64
        Numbers of the rows and columns of `table`.
    table : ndarray, shape (estimated, true), int64
        Images in common.
    """

    ari: float
    accuracy: float
    chance: float
    matching: dict[int, int]
    estimated: I64
    true: I64
    table: I64


@dataclass(frozen=True)
class PoseAlignment:
    """One frame laid on another.

    Attributes
    ----------
    q : ndarray, shape (3, 3), float64
    mirrored : bool
        The estimate has the other hand.
    errors : ndarray, shape (n,), float64
        Remaining error of every image, degrees.
    other_hand : float
        Weighted median error, degrees, of the best alignment with the hand not chosen.
    """

    q: F64
    mirrored: bool
    errors: F64
    other_hand: float


def contingency(a: ArrayLike, b: ArrayLike) -> tuple[I64, I64, I64]:
    """Numbers that occur in a, those in b, and the table of images in common, shape (len(first), len(second))."""
    first, ia = np.unique(np.asarray(a, dtype=np.int64), return_inverse=True)
    second, ib = np.unique(np.asarray(b, dtype=np.int64), return_inverse=True)
    table = np.bincount(ia.ravel() * len(second) + ib.ravel(), minlength=len(first) * len(second))
    return first, second, table.reshape(len(first), len(second)).astype(np.int64)


def adjusted_rand_index(a: ArrayLike, b: ArrayLike) -> float:
    """Adjusted Rand index of two labellings, shape (n,): 1 for equal partitions, 0 on average for independent ones."""
    _, _, table = contingency(a, b)
    n = int(table.sum())

    def pairs(counts: NDArray) -> float:
        c = counts.astype(np.float64)
        return float((c * (c - 1.0) / 2.0).sum())

    both, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(n * (n - 1) / 2.0, 1.0)
    most = 0.5 * (rows + columns)
    return 1.0 if most == expected else (both - expected) / (most - expected)


def score_membership(estimated: ArrayLike, true: ArrayLike) -> MembershipScore:
    """Compare memberships.

    Parameters
    ----------
    estimated, true : array_like, shape (n,), int
        3D numbers, 1-based; 0 means unassigned. The numbers of 3Ds may differ. Images without a true membership are left out;
        images left unassigned form a group of their own for the adjusted Rand index.

    Raises
    ------
    MismatchError
        Lengths that differ, or no image with a true membership.
    """
    e, t = np.asarray(estimated, dtype=np.int64), np.asarray(true, dtype=np.int64)
    if e.shape != t.shape:
        raise MismatchError(f"{len(e)} estimated memberships cannot be compared with {len(t)} true ones")
    known = t > 0
    if not known.any():
        raise MismatchError("no image has a true 3D membership (REF3D is 0 everywhere)")
    rows, columns, table = contingency(e[known], t[known])
    usable = np.flatnonzero(rows > 0)
    r, c = linear_sum_assignment(-table[usable])
    r = usable[r]
    matching = {int(rows[i]): int(columns[j]) for i, j in zip(r, c, strict=True) if table[i, j] > 0}
    total = int(table.sum())
    return MembershipScore(
        ari=adjusted_rand_index(e[known], t[known]),
        accuracy=float(table[r, c].sum()) / total,
        chance=float(table.sum(0).max()) / total,
        matching=matching,
        estimated=rows,
        true=columns,
        table=table,
    )


def global_pose_alignment(
    matrices_est: ArrayLike, matrices_true: ArrayLike, weights: ArrayLike | None = None, group: ArrayLike | None = None
) -> PoseAlignment:
    """Find the rotation and hand that lay estimated poses on true ones with the least robust error.

    Every candidate Q of a single image is scored on all images by the mean error, cut at 30 degrees; the best is refined to the
    geodesic L1 median (Weiszfeld's rule on SO(3); Hartley et al., CVPR 2011).

    Parameters
    ----------
    matrices_est, matrices_true : array_like, shape (n, 3, 3)
    weights : array_like, shape (n,), optional
    group : array_like, shape (g, 3, 3), optional
        Rotations that leave the true object as it is.

    Returns
    -------
    PoseAlignment
    """
    est, true = np.asarray(matrices_est, dtype=np.float64), np.asarray(matrices_true, dtype=np.float64)
    if est.shape != true.shape or not len(est):
        raise MismatchError(f"poses of {len(est)} images cannot be laid on poses of {len(true)} images")
    w = np.ones(len(est)) if weights is None else np.asarray(weights, dtype=np.float64)
    same = np.eye(3)[None] if group is None else np.asarray(group, dtype=np.float64)
    results = []
    for mirrored in (False, True):
        seen = J_HAND @ true @ J_HAND if mirrored else true
        ops = J_HAND @ same @ J_HAND if mirrored else same
        q, errors = _fit_frame(est, seen, w, ops)
        results.append((float(np.average(np.minimum(errors, _FAR), weights=w)), q, mirrored, errors))
    best, other = sorted(results, key=lambda r: r[0])
    return PoseAlignment(best[1], best[2], best[3], weighted_quantile(other[3], w, 0.5))


def pose_errors(matrices_est: ArrayLike, matrices_true: ArrayLike, q: F64, mirrored: bool, group: ArrayLike | None = None) -> F64:
    """Errors in degrees, shape (n,), of estimated poses under a frame found by `global_pose_alignment`."""
    est, true = np.asarray(matrices_est, dtype=np.float64), np.asarray(matrices_true, dtype=np.float64)
    same = np.eye(3)[None] if group is None else np.asarray(group, dtype=np.float64)
    if mirrored:
        true, same = J_HAND @ true @ J_HAND, J_HAND @ same @ J_HAND
    return np.stack([angular_distance(est, true @ g @ q) for g in same]).min(0)


def _fit_frame(est: F64, true: F64, w: F64, ops: F64) -> tuple[F64, F64]:
    """Robust Q with est ~ true g Q, and the errors in degrees."""
    own = np.swapaxes(true, 1, 2) @ est
    tried = own[np.linspace(0, len(own) - 1, min(len(own), _CANDIDATES)).astype(int)]
    cost = np.zeros((len(tried), len(est)))
    flat = tried.reshape(len(tried), 9)
    # trace(Q_i^T g Q) for all candidates and images at once; the symmetry copy nearest to the image counts
    best = np.max([flat @ (np.swapaxes(g[None], 1, 2) @ own).reshape(-1, 9).T for g in ops], axis=0)
    cost = np.rad2deg(np.arccos(np.clip((best - 1.0) / 2.0, -1.0, 1.0)))
    q = tried[int(np.argmin(np.minimum(cost, _FAR) @ w))]
    for _ in range(20):
        copies = np.swapaxes(ops, 1, 2)[:, None] @ own  # own frames seen from every symmetry copy, (g, n, 3, 3)
        distance = angular_distance(copies, q)
        nearest = copies[np.argmin(distance, axis=0), np.arange(len(own))]
        errors = distance.min(axis=0)
        pull = w * (errors < _FAR) / np.maximum(errors, 0.02)
        if not pull.any():
            break
        step = (pull[:, None] * _rotvec(nearest @ q.T)).sum(0) / pull.sum()
        q = matrix_from_rotvec(step) @ q
        if np.linalg.norm(step) < 1e-6:
            break
    u, _, vt = np.linalg.svd(q)
    q = u @ vt
    return q, pose_errors(est, true, q, False, ops)


def _rotvec(m: F64) -> F64:
    """Rotation vectors (radians) of matrices, shape (n, 3); good below 180 degrees."""
    axis = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1) / 2.0
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.arctan2(sine, (np.trace(m, axis1=-2, axis2=-1) - 1.0) / 2.0)
    return axis * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-300), 1.0)[..., None]


def shift_errors(matrices_est: ArrayLike, shift_est: ArrayLike, shift_true: ArrayLike) -> tuple[F64, F64]:
    """Errors of shifts once the 3D's own offset from the centre is taken out.

    A 3D that lies off the centre by c in its own frame moves the shift of each of its images by the projection of c, which
    projections cannot tell; c is fitted by least squares, with images far off left out.

    Parameters
    ----------
    matrices_est : array_like, shape (n, 3, 3)
    shift_est, shift_true : array_like, shape (n, 2)
        Pixels, (x, y).

    Returns
    -------
    errors : ndarray, shape (n,), float64
        Pixels.
    centre : ndarray, shape (3,), float64
        c in pixels, such that ``shift_est - shift_true = (M c)_xy`` plus errors.
    """
    design = np.asarray(matrices_est, dtype=np.float64)[:, :2, :]
    difference = np.asarray(shift_est, dtype=np.float64) - np.asarray(shift_true, dtype=np.float64)
    use = np.ones(len(design), dtype=bool)
    centre: F64 = np.zeros(3)
    errors: F64 = np.asarray(np.linalg.norm(difference, axis=1), dtype=np.float64)
    for _ in range(4):
        centre = np.linalg.lstsq(design[use].reshape(-1, 3), difference[use].ravel(), rcond=None)[0].astype(np.float64)
        errors = np.asarray(np.linalg.norm(difference - design @ centre, axis=1), dtype=np.float64)
        use = errors <= max(3.0 * float(np.median(errors)), 1e-9)
    return errors, centre


def weighted_quantile(values: ArrayLike, weights: ArrayLike, fraction: float) -> float:
    """Smallest value at which the weights of the values up to it reach `fraction` of all weight; NaN without values."""
    v, w = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if not len(v):
        return float("nan")
    order = np.argsort(v, kind="stable")
    total = np.cumsum(w[order])
    return float(v[order][min(int(np.searchsorted(total, fraction * total[-1])), len(v) - 1)])
