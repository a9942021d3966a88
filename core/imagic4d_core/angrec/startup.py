"""Euler angles from nothing but the images: three views by their common lines, then one view after the other.

Angular reconstitution as in van Heel, Ultramicroscopy 21 (1987) 111: the common lines of three projections fix their relative
orientation; every further projection is placed by trying all orientations and averaging the sinogram correlation over its
common lines with the others. With symmetry a single projection fixes itself by the lines it shares with its own mates.
Early mistakes would go on and on, so many starts are tried, all placements are repeated against all other images until
nothing moves, and the arrangement with the highest mean correlation wins. The hand is not determined.

The mean is over sectors of an image's sinogram, not over pairs. In noise the mean over pairs is highest where all views lie about
one axis and share one strong line; over sectors that arrangement is worth one line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.search import filter_amplitudes, turned
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import angular_distance, matrix_from_rotvec
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.kernels.common_lines import scan_directions, score_poses
from imagic4d_core.parallel import SERIAL, Comm, map_blocks

F64 = NDArray[np.float64]
T = TypeVar("T")

#: Views closer than this, degrees, are not asked for a common line.
CLOSE = 8.0
#: Starts that are tried, and how many of them are followed to the end.
STARTS, FINALISTS = 24, 4
#: Degrees between trial directions at the start; views of a start are at least so far apart.
COARSE, APART = 10.0, 30.0
#: Images that are arranged all against all: the tables grow with the square of their number.
MOST = 64
SWEEPS = 12


@dataclass
class Arrangement:
    """Poses of images relative to one another.

    Attributes
    ----------
    order : ndarray of int, shape (n,)
        Images in the order in which they were placed.
    poses : ndarray, shape (n, 3, 3), float64
        By image.
    scores : ndarray, shape (n,), float64
        Mean sinogram correlation over the common lines of each image.
    starts : list of float
        Mean score that each start came to before the best were followed.
    """

    order: NDArray[np.int64]
    poses: F64
    scores: F64
    starts: list[float]


class Lines:
    """Sinograms of images, normalised line by line, and their correlation functions.

    Parameters
    ----------
    lines : ndarray, shape (n, h, r), complex64
        Half lines, `angrec.polar.PolarSampler.sample`.
    amplitude_filter : float
    """

    def __init__(self, lines: NDArray[np.complex64], amplitude_filter: float = 0.0):
        f = filter_amplitudes(lines, amplitude_filter)
        half = f / np.maximum(np.linalg.norm(f, axis=2, keepdims=True), 1e-30)
        whole = np.concatenate([half, half.conj()], 1)
        self.values = np.concatenate([whole.real, whole.imag], 2).astype(np.float32)

    def tables(self, first: NDArray[np.int64], image: int) -> NDArray[np.float32]:
        """Correlations of all lines of some images with all lines of one: (m, n, n)."""
        n = self.values.shape[1]
        return (self.values[first].reshape(len(first) * n, -1) @ self.values[image].T).reshape(len(first), n, n)

    def joined(self, other: "Lines", image: int) -> "Lines":
        """These and one image of others, last."""
        out = Lines.__new__(Lines)
        out.values = np.concatenate([self.values, other.values[image : image + 1]])
        return out

    def square(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Correlations of images among each other: (m, m, n, n), [known, image, line of known, line of image]."""
        return np.stack([self.tables(images, int(i)) for i in images], 1)


def _chance(tables: NDArray[np.float32], own: NDArray[np.float32]) -> float:
    """Correlation of lines that have nothing to do with each other."""
    return float((tables if len(tables) else own).mean(dtype=np.float64))


@lru_cache(maxsize=4)
def _directions(increment: float, symmetry: str) -> F64:
    """Trial directions, made once for all placements: for T, O and I that takes far longer than a placement."""
    return sphere.matrices(*sphere.directions(increment, symmetry))


class Placing:
    """Search for the pose of one image from its sinogram correlations with known ones.

    Parameters
    ----------
    symmetry : str
        Point group.

    Notes
    -----
    Methods take `tables`, shape (m, n, n): correlations with known images [known, line of known, line of image]; `own`, (n, n):
    of the image with itself; `known`, (m, 3, 3): poses.
    """

    def __init__(self, symmetry: str):
        self.symmetry = symmetry
        self.group = rotations(symmetry)
        self.least = float(np.sin(np.deg2rad(CLOSE)))

    def _lookup(self, tables: NDArray[np.float32], own: NDArray[np.float32], known: F64) -> tuple[NDArray, ...]:
        mates = np.einsum("mij,gkj->mgik", known, self.group).reshape(-1, 3, 3)
        which = np.repeat(np.arange(len(known)), len(self.group))
        return np.ascontiguousarray(tables), np.ascontiguousarray(own), which, mates, np.ascontiguousarray(self.group[1:])

    def scan(
        self, tables: NDArray[np.float32], own: NDArray[np.float32], known: F64, increment: float
    ) -> tuple[F64, NDArray[np.float32]]:
        """Trial directions (d, 3, 3), and mean correlations (d, n) over in-plane angles."""
        directions = _directions(increment, self.symmetry)
        out = np.empty((len(directions), own.shape[0]), np.float32)
        scan_directions(*self._lookup(tables, own, known), directions, self.least, _chance(tables, own), out)
        return directions, out

    def place(self, tables: NDArray[np.float32], own: NDArray[np.float32], known: F64, increment: float) -> tuple[F64, float]:
        """Best pose, and its mean correlation."""
        directions, values = self.scan(tables, own, known, increment)
        d, t = np.unravel_index(int(values.argmax()), values.shape)
        return turned(directions[[d]], np.array([t], np.int32), values.shape[1])[0], float(values[d, t])

    def improve(
        self, tables: NDArray[np.float32], own: NDArray[np.float32], known: F64, pose: F64, reach: float
    ) -> tuple[F64, float]:
        """Climb from a pose by small rotations, of `reach` degrees and less."""
        lookup, chance = self._lookup(tables, own, known), _chance(tables, own)
        steps = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)], float)
        out = np.empty(len(steps))
        while reach > 0.2:
            trial = matrix_from_rotvec(np.deg2rad(reach) * steps) @ pose
            score_poses(*lookup, trial, self.least, chance, out)
            best = int(out.argmax())
            if out[best] <= out[len(steps) // 2] + 1e-9:
                reach *= 0.5
            else:
                pose = trial[best]
        return pose, float(out.max())


def triplet(phi: F64) -> F64 | None:
    """Poses of three views from the angles of their common lines.

    Parameters
    ----------
    phi : ndarray, shape (3, 3)
        ``phi[i, j]``: angle in image i of the line it shares with j, radians.

    Returns
    -------
    ndarray, shape (3, 3, 3), or None
        None where no three views have such lines, or views lie too close or too near to one tilt axis to be told.
    """
    pairs = ((0, 1), (0, 2), (1, 2))
    a = np.array([phi[0, 2] - phi[0, 1], phi[1, 2] - phi[1, 0], phi[2, 1] - phi[2, 0]])
    c = np.cos(a)
    gram = np.array([[1.0, c[0], c[1]], [c[0], 1.0, c[2]], [c[1], c[2], 1.0]])  # of the lines 01, 02, 12
    if np.abs(np.sin(a)).min() < 0.25 or np.linalg.det(gram) < 0.1:
        return None
    lines = dict(zip(pairs, np.linalg.cholesky(gram), strict=True))
    out = np.empty((3, 3, 3))
    for i in range(3):
        j, k = (m for m in range(3) if m != i)
        angles = np.array([[np.cos(phi[i, m]), np.sin(phi[i, m])] for m in (j, k)])
        x, y = np.linalg.solve(angles, np.stack([lines[min(i, m), max(i, m)] for m in (j, k)]))
        out[i] = x, y, np.cross(x, y)
    views = np.abs(out[:, 2] @ out[:, 2].T)[np.triu_indices(3, 1)]
    return out if views.max() < np.cos(np.deg2rad(APART)) else None


class _Arranging:
    """Images arranged all against all: `tables` as `Lines.square` gives them."""

    def __init__(self, tables: NDArray[np.float32], symmetry: str):
        self.tables, self.placing = tables, Placing(symmetry)
        self.count = len(tables)

    def place(self, image: int, known: NDArray[np.int64], poses: F64, increment: float) -> tuple[F64, float]:
        return self.placing.place(self.tables[known, image], self.tables[image, image], poses[known], increment)

    def starts(self, count: int) -> list[tuple[NDArray[np.int64], F64]]:
        """Images that fix each other's poses (with symmetry: their own), the most convincing first."""
        if len(self.placing.group) > 1:
            none = np.zeros(0, np.int64)
            found = [(*self.place(i, none, np.zeros((self.count, 3, 3)), COARSE), i) for i in range(self.count)]
            found.sort(key=lambda f: (-f[1], f[2]))
            return [(np.array([i]), pose[None]) for pose, _, i in found[:count]]
        m, n = self.count, self.tables.shape[-1]
        phi, peak = np.zeros((m, m)), np.zeros((m, m))
        for i, j in combinations(range(m), 2):
            flat = int(self.tables[j, i].argmax())
            peak[i, j] = peak[j, i] = self.tables[j, i].flat[flat]
            phi[j, i], phi[i, j] = 2 * np.pi * (flat // n) / n, 2 * np.pi * (flat % n) / n
        three = np.array(list(combinations(range(m), 3)))
        worth = peak[three[:, 0], three[:, 1]] + peak[three[:, 0], three[:, 2]] + peak[three[:, 1], three[:, 2]]
        out: list[tuple[NDArray[np.int64], F64]] = []
        used = np.zeros(m, np.int64)
        share = max(2, 6 * count // m)  # no image stands in too many of the starts
        for index in np.argsort(-worth, kind="stable"):
            images = three[index]
            poses = triplet(phi[np.ix_(images, images)]) if used[images].max() < share else None
            if poses is not None:
                out.append((images, poses))
                used[images] += 1
                if len(out) == count:
                    break
        return out

    def sweep(self, poses: F64, increment: float) -> tuple[F64, float]:
        """Place every image anew against all others, in place; returns scores, and the median turn in degrees."""
        before, scores = poses.copy(), np.zeros(len(poses))
        for i in range(len(poses)):
            known = np.delete(np.arange(len(poses)), i)
            poses[i], scores[i] = self.place(i, known, poses, increment)
        return scores, float(np.median(angular_distance(before, poses)))

    def grown(self, start: tuple[NDArray[np.int64], F64], order: NDArray[np.int64]) -> tuple[F64, F64, NDArray[np.int64]]:
        """Add all images to a start, then look at each twice more: poses, scores, and the order of placement."""
        poses = np.broadcast_to(np.eye(3), (self.count, 3, 3)).copy()
        poses[start[0]] = start[1]
        placed = [int(i) for i in start[0]]
        for i in order:
            if i not in placed:
                poses[i], _ = self.place(int(i), np.array(placed), poses, COARSE)
                placed.append(int(i))
        for _ in range(2):
            scores, _ = self.sweep(poses, COARSE)
        return poses, scores, np.array(placed)

    def settled(self, poses: F64, increment: float) -> tuple[F64, F64]:
        """Sweep until nothing moves, then climb between the trial poses."""
        for _ in range(SWEEPS):
            scores, change = self.sweep(poses, increment)
            if change < 0.5 * increment:
                break
        for _ in range(SWEEPS):
            before = poses.copy()
            for i in range(len(poses)):
                known = np.delete(np.arange(len(poses)), i)
                tables, own = self.tables[known, i], self.tables[i, i]
                poses[i], scores[i] = self.placing.improve(tables, own, poses[known], poses[i], 0.5 * increment)
            if np.median(angular_distance(before, poses)) < 0.2:
                break
        return poses, scores


def arrange(
    lines: Lines, images: NDArray[np.int64], *, increment: float = 5.0, symmetry: str = "C1", comm: Comm = SERIAL,
    threads: int = 1,
) -> Arrangement:  # fmt: skip
    """Find the poses of images relative to one another, from nothing.

    Parameters
    ----------
    lines : Lines
    images : ndarray of int
        At most `MOST` of them; without symmetry at least 3.
    increment : float
        Degrees between trial directions.
    symmetry : str
    comm, threads
        Starts are followed side by side.

    Returns
    -------
    Arrangement
        Rows by `images`. No start is found where no three views have common lines far enough apart: poses are then identities
        and scores 0.
    """
    work = _Arranging(lines.square(images), symmetry)
    m = work.count
    peaks = np.where(np.eye(m, dtype=bool), 0, work.tables.max((2, 3)))
    order = np.argsort(-peaks.sum(0), kind="stable")
    starts = work.starts(STARTS)
    found = _shared(lambda k: work.grown(starts[k], order), list(range(len(starts))), comm, threads)
    if not found:
        return Arrangement(np.arange(m), np.broadcast_to(np.eye(3), (m, 3, 3)).copy(), np.zeros(m), [])
    means = [float(scores.mean()) for _, scores, _ in found]
    best = np.argsort(-np.array(means), kind="stable")[:FINALISTS].tolist()
    ends = _shared(lambda k: work.settled(found[k][0].copy(), increment), best, comm, threads)
    k = int(np.argmax([scores.mean() for _, scores in ends]))
    return Arrangement(found[best[k]][2], *ends[k], means)


def _shared(func: Callable[[int], T], items: list[int], comm: Comm, threads: int) -> list[T]:
    """``[func(item) for item in items]`` over ranks and threads, everywhere."""
    parts = comm.allgather(map_blocks(func, items[comm.rank :: comm.size], threads))
    return [parts[k % comm.size][k // comm.size] for k in range(len(items))]


def add(
    lines: Lines, image: int, known: NDArray[np.int64], poses: F64, *, increment: float = 5.0, symmetry: str = "C1"
) -> tuple[F64, float]:
    """Place one more image against known ones.

    Parameters
    ----------
    lines : Lines
    image : int
    known : ndarray of int
    poses : ndarray, shape (len(known), 3, 3)
    increment, symmetry
        As in `arrange`.

    Returns
    -------
    pose : ndarray, shape (3, 3)
    score : float
        Mean sinogram correlation over the common lines.
    """
    placing = Placing(symmetry)
    tables, own = lines.tables(known, image), lines.tables(np.array([image]), image)[0]
    pose, _ = placing.place(tables, own, poses, increment)
    return placing.improve(tables, own, poses, pose, 0.5 * increment)
