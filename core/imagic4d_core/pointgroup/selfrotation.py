"""How a map correlates with itself turned about every axis by every angle.

About one axis the map is sampled on circles, and a Fourier transform along each gives its power P_m at m periods a turn. The
correlation of the map with itself turned by t is then ``sum P_m cos(m t) / sum P_m``, for all angles at once.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from imagic4d_core.fourier import line_rfft
from imagic4d_core.pointgroup.working import F64, Working, sample

STEP = 3.5
"""Degrees between axes."""
_BLOCK = 64


@dataclass(frozen=True)
class SelfRotation:
    """Power by axis and by periods a turn.

    Attributes
    ----------
    axes : ndarray, shape (a, 3), float64
        Unit vectors over half the sphere.
    power : ndarray, shape (a, m), float64
        Share of the map's power at 0, 1, ..., m - 1 periods a turn about each axis; rows sum to 1.
    """

    axes: F64
    power: F64

    def correlation(self, degrees: ArrayLike) -> F64:
        """Correlation of the map with itself turned by each of the angles about each axis, shape (axes, angles)."""
        turn = np.deg2rad(np.atleast_1d(np.asarray(degrees, dtype=np.float64)))
        return self.power @ np.cos(np.arange(self.power.shape[1])[:, None] * turn)

    def fold(self, n: int) -> F64:
        """Mean correlation over the turns by 360 / n degrees and its multiples, without the identity, shape (axes,)."""
        return self.correlation(360.0 / n * np.arange(1, n)).mean(1)


@lru_cache(maxsize=2)
def half_sphere(step: float) -> tuple[F64, cKDTree]:
    """Axes `step` degrees apart over half the sphere, and a tree that finds the nearest of any unit vector or its opposite."""
    count = 2 * int(np.ceil(41253.0 / step**2 / 2))
    i = np.arange(count) + 0.5
    z = 1.0 - 2.0 * i / count
    phi = np.pi * (1.0 + 5.0**0.5) * i
    axes = np.stack([np.sqrt(1 - z * z) * np.cos(phi), np.sqrt(1 - z * z) * np.sin(phi), z], -1)[: count // 2]
    axes.setflags(write=False)
    return axes, cKDTree(np.concatenate([axes, -axes]))


def nearest(directions: NDArray, step: float = STEP) -> NDArray[np.int64]:
    """Numbers of the axes of `half_sphere` nearest to unit vectors, shape (...)."""
    axes, tree = half_sphere(step)
    return tree.query(directions)[1] % len(axes)


def frames_about(axes: NDArray) -> F64:
    """Rotations that lay z on each axis, shape (a, 3, 3): columns are the images of x, y, z."""
    z = axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    other = np.where(np.abs(z[..., :1]) < 0.6, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    x = np.cross(other, z)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], -1)


def self_rotation(work: Working, step: float = STEP) -> SelfRotation:
    """The whole self-rotation function of a prepared map.

    Parameters
    ----------
    work : Working
    step : float
        Degrees between axes.
    """
    axes, _ = half_sphere(step)
    reach = work.radius
    turns = max(24, 2 * int(np.ceil(np.pi * reach)))  # samples a turn: one for each pixel along the widest circle
    turns += -turns % 2
    rho, height = np.meshgrid(np.arange(0.5, reach), np.arange(-np.floor(reach), np.floor(reach) + 1), indexing="ij")
    keep = np.hypot(rho, height) <= reach
    rho, height = rho[keep], height[keep]
    phi = 2 * np.pi * np.arange(turns) / turns
    local = np.stack(
        [rho[:, None] * np.cos(phi), rho[:, None] * np.sin(phi), np.broadcast_to(height[:, None], (len(rho), turns))], -1
    )
    fine = _finer(work)
    power = np.empty((len(axes), turns // 2 + 1))
    for first in range(0, len(axes), _BLOCK):
        frames = frames_about(axes[first : first + _BLOCK]).astype(np.float32)
        where = local.reshape(-1, 3).astype(np.float32) @ np.swapaxes(frames, 1, 2)
        rings = _near(fine, where).reshape(-1, turns)
        found = np.abs(line_rfft(rings)) ** 2
        found[:, 1:-1] *= 2
        power[first : first + _BLOCK] = (found.reshape(len(frames), len(rho), -1) * rho[:, None]).sum(1)
    return SelfRotation(axes, power / np.maximum(power.sum(1, keepdims=True), 1e-30))


_FINER = 3


def _finer(work: Working) -> NDArray[np.float32]:
    """The map on a grid three times finer, the middle pixel staying in the middle of its three."""
    n = work.box
    c = n // 2
    at = (np.arange(_FINER * n) - (_FINER * c + 1)) / _FINER
    z, x, y = np.meshgrid(at, at, at, indexing="ij")
    return sample(work.splines, np.stack([x, y, z], -1)).astype(np.float32)


def _near(fine: NDArray[np.float32], where: NDArray[np.float32]) -> NDArray[np.float32]:
    n = fine.shape[0]
    c = _FINER * (n // _FINER // 2) + 1
    index = np.clip(np.rint(where * _FINER).astype(np.int32) + c, 0, n - 1)
    return fine.ravel()[(index[..., 2] * n + index[..., 0]) * n + index[..., 1]]
