"""How views sample the Fourier space of their 3D.

A projection fills the central section perpendicular to its view direction. The sampling of a point of a Fourier shell of radius
R is the number of views d whose section, one Fourier pixel thick, holds it: ``|k . d| R < 1/2``. Its evenness is the sampling
compensation factor, ``SCF = 1 / (<1/S> <S>)`` over the shell, the factor by which uneven sampling lowers the SSNR for a given
number of images; points without a view count by SCF* (Baldwin & Lyumkis, Prog. Biophys. Mol. Biol. 150, 2020, 160-183, and 160,
2021, 53-65). Even views have 1, side views all around one axis
8/pi^2 = 0.81, top views nearly 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

#: Points of half a shell, and most views that are looked at (with their mates by symmetry).
POINTS, VIEWS = 2000, 200_000
#: Views that a point gets in the mean: the radius is chosen by it, so that few views do not leave gaps by chance.
MEAN = 20.0
#: Radii, Fourier pixels.
LEAST, MOST = 1.2, 50.0
#: Views are crowded within so many degrees of a direction.
CROWD = 20.0


@dataclass(frozen=True)
class Sampling:
    """How views sample a Fourier shell.

    Attributes
    ----------
    scf : float
        SCF*: 1 even, 0.81 side views, near 0 where part of the shell has no view.
    empty : float
        Share of the shell that no view samples.
    poorest : ndarray, shape (3,), float64
        Direction about which samples are lacking: maps are drawn out along it.
    lowest : float
        Sampling within `CROWD` degrees of it, as a fraction of the mean.
    crowd : ndarray, shape (3,), float64
        View direction around which most views lie; the opposite one is the same.
    share, even : float
        Share of the views within `CROWD` degrees of it or of its mates, and what even views would have.
    radius : float
        Of the shell, Fourier pixels.
    """

    scf: float
    empty: float
    poorest: F64
    lowest: float
    crowd: F64
    share: float
    even: float
    radius: float


def sampling(views: ArrayLike, group: ArrayLike | None = None, radius: float | None = None) -> Sampling:
    """Say how evenly views cover a 3D.

    Parameters
    ----------
    views : array_like, shape (n, 3)
        View directions, unit vectors.
    group : array_like, shape (g, 3, 3), optional
        Rotations of the point group of the 3D.
    radius : float, optional
        Of the Fourier shell, Fourier pixels; default: such that a point gets `MEAN` views in the mean.

    Returns
    -------
    Sampling
    """
    d = np.asarray(views, np.float64).reshape(-1, 3)
    ops = np.eye(3)[None] if group is None else np.asarray(group, np.float64)
    d = d[:: max(1, -(-len(d) * len(ops) // VIEWS))]
    mates = np.einsum("gji,nj->ngi", ops, d).reshape(-1, 3)
    r = float(np.clip(len(mates) / (2 * MEAN), LEAST, MOST)) if radius is None else radius
    points = half_shell(POINTS)
    count = counts(points, mates, 0.5 / r)
    mean = float(count.mean())
    lacking = np.maximum(mean - count, 0.0)[:, None] * points
    poorest = np.linalg.eigh(points.T @ lacking)[1][:, -1]
    poorest = poorest * (1.0 if poorest[2] >= 0 else -1.0)
    there = np.abs(points @ poorest) > np.cos(np.deg2rad(CROWD))
    crowded = counts(points, mates, np.cos(np.deg2rad(CROWD)), inside=False)
    at = int(crowded.argmax())
    # the mates of one direction: how many of them have caps of their own
    images = ops @ points[at]
    probes = np.abs(points @ images.T) > np.cos(np.deg2rad(CROWD))
    even = float(probes.any(1).mean())
    within = float((np.abs(d @ images.T) > np.cos(np.deg2rad(CROWD))).any(1).mean())
    return Sampling(
        scf_star(count), float((count == 0).mean()), poorest, float(count[there].mean() / max(mean, 1e-30)), points[at], within,
        even, r,
    )  # fmt: skip


def scf_star(count: ArrayLike) -> float:
    """SCF* of the numbers of views at evenly spread points of a shell, shape (p,)."""
    s = np.asarray(count, np.float64)
    seen = s[s > 0]
    if not len(seen):
        return 0.0
    mean = float(s.mean())
    scf = 1.0 / (float((1.0 / seen).mean()) * mean)
    empty = 1.0 - len(seen) / len(s)
    return scf / (1.0 + empty / (1.0 - empty) * mean * scf / 2.0)


def counts(points: F64, views: F64, level: float, inside: bool = True) -> NDArray[np.int64]:
    """Views with ``|point . view|`` below a level (`inside`), or above it, for every point: shape (p,)."""
    out = np.zeros(len(points), np.int64)
    for a in range(0, len(views), 4096):
        cosine = np.abs(points @ views[a : a + 4096].T)
        out += ((cosine < level) if inside else (cosine > level)).sum(1)
    return out


def half_shell(count: int) -> F64:
    """Evenly spread directions over half a sphere, shape (count, 3): a Fibonacci spiral."""
    i = np.arange(count) + 0.5
    z = i / count
    turn = np.pi * (1.0 + 5.0**0.5) * i
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], -1)
