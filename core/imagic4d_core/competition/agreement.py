"""Do two 3Ds say the same? The images that prefer them, and the poses that they give these images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.scores import global_pose_alignment

F64 = NDArray[np.float64]

#: Poses of one image in two 3Ds are the same within so many degrees, after one rotation (either hand) for all images.
WITHIN = 10.0


@dataclass(frozen=True)
class Match:
    """How far two 3Ds agree.

    Attributes
    ----------
    jaccard : float
        Images that both have, of those that either has.
    posed : float
        Share of the images of both whose poses are the same within `WITHIN`.
    """

    jaccard: float
    posed: float


def jaccard(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Images that both have, of those that either has; 0 for two without any."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def same_poses(a: F64, b: F64, group: F64 | None = None, within: float = WITHIN) -> float:
    """Share of images (n, 3, 3) whose poses agree after the rotation, and hand, that suits most of them; 0 for fewer than 3.

    `group` holds rotations of the 3D of `b`, in its own frame.
    """
    if len(a) < 3:
        return 0.0
    return float((global_pose_alignment(a, b, group=group).errors <= within).mean())


def match(mine: NDArray[np.bool_], other: NDArray[np.bool_], poses: F64, others: F64, group: F64 | None = None) -> Match:
    """Compare two 3Ds.

    Parameters
    ----------
    mine, other : ndarray of bool, shape (n,)
        The images of each.
    poses, others : ndarray, shape (n, 3, 3), float64
        Pose of every image in each.
    group : ndarray, shape (g, 3, 3), optional
        Rotations of the point group of the second 3D, in its own frame.
    """
    index = np.flatnonzero(mine & other)
    return Match(jaccard(mine, other), same_poses(poses[index], others[index], group) if len(index) else 0.0)
