"""Competition of 3Ds for images: global search, annealing noise, local refinement, margins and confidence.

Every image is scored only against 3Ds made without its fold (leave-fold-out, algorithms 2.3), when the anchors say which
fold they left out. Noise of a given number of standard deviations of the scores, drawn from Gumbel's distribution, turns
the choice of the best pose and 3D into a draw from ``exp(score / noise)``; it is lowered to zero over the iterations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.angrec.polar import PolarSampler, harmonics
from imagic4d_core.angrec.references import References
from imagic4d_core.angrec.search import Bank, filter_amplitudes, radial_weights, search, turned
from imagic4d_core.kernels.local import refine_poses
from imagic4d_core.kernels.search import scan_shifts
from imagic4d_core.rng import rng_for

F64 = NDArray[np.float64]


@dataclass
class Candidates:
    """The best pose of n images in each of k 3Ds.

    Attributes
    ----------
    score : ndarray, shape (n, k), float64
        Correlation coefficient of image and reference over the frequencies used; -inf where a 3D did not compete.
    noisy : ndarray, shape (n, k), float64
        The score with annealing noise, by which the 3D is chosen.
    matrix : ndarray, shape (n, k, 3, 3), float64
    shift : ndarray, shape (n, k, 2), float64
        Shift to be applied to the image, pixels.
    mean, sd : ndarray, shape (n, k), float64
        Mean and standard deviation of the scores over trial directions: what mismatched directions give.
    error : ndarray, shape (n, k), float64
        Standard error of the pose in degrees (0 without local refinement).
    samples : float
        Independent Fourier samples behind a score.
    first, second : ndarray, shape (n, k), float64
        Scores over two disjoint halves of the samples, where they were asked for (`angrec.halves`); otherwise -inf.
    """

    score: F64
    noisy: F64
    matrix: F64
    shift: F64
    mean: F64
    sd: F64
    error: F64
    samples: float
    first: F64
    second: F64

    @classmethod
    def empty(cls, n: int, k: int, samples: float = 1.0) -> "Candidates":
        """No candidate yet."""
        eye = np.broadcast_to(np.eye(3), (n, k, 3, 3)).copy()
        low = np.full((n, k), -np.inf)
        zero = np.zeros((n, k))
        return cls(
            low, low.copy(), eye, np.zeros((n, k, 2)), zero, zero.copy(), zero.copy(), samples, low.copy(), low.copy()
        )


@dataclass
class Choice:
    """What the choice of directions and 3Ds follows besides the scores.

    Attributes
    ----------
    noise : float
        Annealing noise in standard deviations of an image's scores over directions.
    handicap : ndarray, shape (k, d), or None
        Taken off the scores, in the same unit.
    seed, stage, images
        Keys of the noise: it depends on nothing but these; `images` are 0-based image numbers, shape (n,).
    """

    noise: float
    handicap: F64 | None
    seed: int
    stage: str
    images: NDArray[np.int64]

    def scores(self, best: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scores (n, k, d) to choose by, from those found."""
        n, spread = len(best), best.reshape(len(best), -1).std(1, dtype=np.float64)
        out: NDArray[np.floating] = best
        if self.noise > 0:
            out = best.astype(np.float64)
            for i in range(n):
                u = rng_for(self.seed, self.stage, int(self.images[i])).standard_exponential(best.shape[1:], dtype=np.float32)
                out[i] -= self.noise * spread[i] * np.log(np.maximum(u, 1e-30))
        return out if self.handicap is None else out - spread[:, None, None] * self.handicap


def search_block(
    spectra: NDArray[np.complex64],
    shifts: F64,
    bank: Bank,
    directions: F64,
    competitors: int,
    sampler: PolarSampler,
    *,
    variants: F64,
    scan: F64,
    choice: Choice | None = None,
    max_shift: float = np.inf,
    amplitude_filter: float = 0.0,
    ctf: NDArray[np.float32] | None = None,
) -> Candidates:
    """Best direction, in-plane angle and shift of images in every competing 3D.

    Parameters
    ----------
    spectra : ndarray, shape (n, box, box // 2 + 1), complex64
    shifts : ndarray, shape (n, 2)
        Present shifts; the search goes on from them.
    bank : Bank
        References of `competitors` 3Ds, each at all `directions`.
    directions : ndarray, shape (d, 3, 3)
    competitors : int
    sampler : PolarSampler
    variants : ndarray, shape (v, 2)
        Shifts tried with all directions, relative to the present ones; the first is zero.
    scan : ndarray, shape (s, 2)
        Shifts tried afterwards with the best direction of each 3D only; the first is zero.
    choice : Choice, optional
        What the choice follows besides the scores.
    max_shift : float
        Trial shifts that would move an image farther than this (and farther than it is now) do not compete.
    amplitude_filter : float
    ctf : ndarray, shape (n, box, box // 2 + 1), float32, optional
        Contrast transfer of the images: references are compared as they look through it.
    """
    n, nd = len(spectra), len(directions)
    lines, power = _lines(spectra, ctf, bank, sampler, amplitude_filter)
    if ctf is not None:
        power = power.reshape(n, competitors, nd)
    lines = lines * sampler.ramps(shifts)
    count = bank.basis.shape[1] // 2
    tried = [harmonics(lines if not v.any() else lines * sampler.ramps(v[None]), count) for v in variants]
    best, arg = search(bank, tried)
    best = best.reshape(n, competitors, nd)
    best /= power.astype(np.float32)
    arg = arg.reshape(n, competitors, nd)
    out = Candidates.empty(n, competitors, 0.25 * np.pi * sampler.r_max**2 * 2)
    out.mean[:] = best.mean(2, dtype=np.float64)
    out.sd[:] = best.std(2, dtype=np.float64)
    chosen_by = best if choice is None else choice.scores(best)
    at = chosen_by.argmax(2)
    rows, cols = np.ogrid[:n, :competitors]
    a = arg[rows, cols, at]
    out.score[:] = best[rows, cols, at]
    out.noisy[:] = chosen_by[rows, cols, at]
    turn = a % sampler.n_alpha
    out.matrix[:] = turned(directions[at.ravel()], turn.ravel(), sampler.n_alpha).reshape(n, competitors, 3, 3)
    move = variants[a // sampler.n_alpha]
    if len(scan) > 1 and len(variants) == 1:
        which = (at + np.arange(competitors) * nd).astype(np.int32)
        top, k = np.empty((n, competitors), np.float32), np.empty((n, competitors), np.int32)
        scan_shifts(lines, bank.lines, which, turn.astype(np.int32), sampler.ramps(scan), top, k)
        size = np.broadcast_to(power, (n, competitors, nd))[rows, cols, at]
        gain = np.maximum(top / size - out.score, 0.0)
        move = scan[k]
        gain[_too_far(shifts, move, max_shift)] = 0.0
        out.score += gain
        out.noisy += gain
    out.shift[:] = shifts[:, None] + np.where(_too_far(shifts, move, max_shift)[..., None], 0.0, move)
    empty = bank.norms.reshape(competitors, nd).max(1) <= 0
    out.score[:, empty] = out.noisy[:, empty] = -np.inf
    return out


def _lines(
    spectra: NDArray[np.complex64], ctf: NDArray[np.float32] | None, bank: Bank, sampler: PolarSampler, amplitude_filter: float
) -> tuple[NDArray[np.complex64], NDArray[np.floating]]:
    """Lines of images (n, h, r), and what their scalar products with references are divided by, (n, 1, 1) or (n, 1, all)."""
    lines = filter_amplitudes(sampler.sample(spectra), amplitude_filter)
    power = np.sqrt(2 * ((lines.real**2 + lines.imag**2) * radial_weights(sampler.r_max)).sum((1, 2)))
    power = np.where(power > 0, power, 1.0)[:, None, None]
    if ctf is None:
        return lines, power
    # <D, C S> = <C D, S>; the size of C S follows from ring averages of C^2 and the power of S in rings
    seen = np.sqrt(_ring_means(ctf * ctf, sampler.r_max) @ bank.rings.T)
    return filter_amplitudes(sampler.sample(spectra * ctf), amplitude_filter), power * np.where(seen > 0, seen, 1.0)[:, None]


def _ring_means(values: NDArray[np.float32], r_max: int) -> NDArray[np.float32]:
    """Means of values (n, box, box // 2 + 1) of the half plane over rings 1 to `r_max`: (n, r_max)."""
    n, box = values.shape[:2]
    member = (fourier.shells(box, 2).ravel()[:, None] == np.arange(1, r_max + 1)).astype(np.float32)
    return (values.reshape(n, -1) @ member) / member.sum(0)


def _too_far(shifts: F64, move: F64, limit: float) -> NDArray[np.bool_]:
    """Moves (n, k, 2) that would bring images beyond the limit, and farther than they are."""
    total = shifts[:, None] + move
    far, now = np.hypot(total[..., 0], total[..., 1]), np.hypot(shifts[:, 0], shifts[:, 1])[:, None]
    return (far > limit) & (far > now)


def crowding(views: F64, column: NDArray[np.int64], directions: F64, competitors: int, width: float = 20.0) -> F64:
    """How crowded the trial directions of each 3D are, relative to evenly spread views; opposite views count as one.

    Parameters
    ----------
    views : ndarray, shape (n, 3)
        Present view directions of the images.
    column : ndarray of int, shape (n,)
        Present 3D of each (negative: none).
    directions : ndarray, shape (d, 3)
    competitors : int
    width : float
        Of the kernel, degrees.

    Returns
    -------
    ndarray, shape (k, d), float64
        1 for evenly spread views.
    """
    out = np.ones((competitors, len(directions)))
    kappa = 1.0 / np.deg2rad(width) ** 2

    def kernel(cosine: F64) -> F64:
        return np.exp(kappa * (np.abs(cosine) - 1.0))

    even = kernel(np.linspace(0.0, 1.0, 2001)).mean()  # |cosine| of even views is even on 0..1
    for k in range(competitors):
        mine = views[column == k]
        if len(mine):
            parts = [mine[i : i + 4096] for i in range(0, len(mine), 4096)]
            out[k] = sum(kernel(np.einsum("nc,dc->nd", part, directions)).sum(0) for part in parts) / (len(mine) * even)
    return out


@dataclass
class HalfPlane:
    """Frequencies of a half plane up to a limit, for scores without redundancy: points (p, 2)."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    points: F64

    @classmethod
    def make(cls, box: int, r_max: int) -> "HalfPlane":
        kx, ky = np.meshgrid(np.arange(-r_max, r_max + 1), np.arange(r_max + 1), indexing="ij")
        k2 = kx * kx + ky * ky
        keep = (k2 > 0) & (k2 <= r_max * r_max) & ~((ky == 0) & (kx < 0))
        points = np.stack([kx[keep], ky[keep]], 1).astype(np.float64)
        return cls(kx[keep] % box, ky[keep], points)

    def take(self, spectra: NDArray) -> NDArray:
        """Samples (n, p) of half spectra (n, box, box // 2 + 1)."""
        return np.ascontiguousarray(spectra[:, self.rows, self.cols])


def refine_block(
    spectra: NDArray[np.complex64],
    found: Candidates,
    references: References,
    sets: NDArray[np.int64],
    plane: HalfPlane,
    *,
    ctf: NDArray[np.float32] | None = None,
    start: tuple[NDArray[np.int64], F64, F64] | None = None,
    max_turn: float = 0.2,
    max_move: float = 2.0,
    steps: int = 10,
    max_shift: float = np.inf,
) -> None:
    """Refine the candidate of each 3D locally, in place; scores become those of `plane`.

    Parameters
    ----------
    spectra : ndarray, shape (n, box, box // 2 + 1), complex64
    found : Candidates
    references : References
    sets : ndarray of int, shape (n, k)
        Set of `references` of each image and 3D; negative: does not compete.
    plane : HalfPlane
    ctf : ndarray, shape (n, box, box // 2 + 1), float32, optional
        Contrast transfer of the images.
    start : (column (n,), matrix (n, 3, 3), shift (n, 2)), optional
        A pose known before in one 3D of each image (column -1: none); the better end point wins.
    max_turn, max_move : float
        Largest single step, radians and pixels.
    steps : int
    max_shift : float
        Largest shift allowed, pixels.
    """
    n = len(found.score)
    data = plane.take(spectra)
    seen = np.ones((1, len(plane.points)), np.float32) if ctf is None else plane.take(ctf)
    with np.errstate(invalid="ignore"):
        drawn = np.where(np.isfinite(found.score), found.noisy - found.score, 0.0)  # noise and handicap of the choice
    found.samples = float(len(plane.points))

    def run(index: NDArray[np.int64], column: NDArray[np.int64], matrix: F64, shift: F64) -> F64:
        length = np.hypot(shift[:, 0], shift[:, 1])
        room = max(max_shift, float(length.max(initial=0.0)))
        out = np.empty((len(index), 5))
        refine_poses(
            data[index], plane.points, seen if ctf is None else seen[index], references.grids, sets[index, column],
            references.oversampling, references.box, matrix, shift, np.array([max_turn, max_move, steps, room]), out,
        )  # fmt: skip
        return out

    def take(index: NDArray[np.int64], column: NDArray[np.int64], matrix: F64, shift: F64, out: F64) -> None:
        size = np.where(out[:, 1] > 0, out[:, 1], 1.0)
        score = out[:, 0] / size
        # variance of one real component of the noise: what the reference leaves unexplained
        noise = np.maximum(out[:, 1] ** 2 - out[:, 0] ** 2, 0.0) / (2 * len(plane.points))
        error = np.rad2deg(np.sqrt(out[:, 3] * noise))
        found.score[index, column] = score
        found.matrix[index, column], found.shift[index, column] = matrix, shift
        found.error[index, column] = np.minimum(error, 180.0)

    index, column = np.nonzero(np.isfinite(found.score) & (sets >= 0))
    matrix, shift = found.matrix[index, column].copy(), found.shift[index, column].copy()
    take(index, column, matrix, shift, run(index, column, matrix, shift))
    if start is not None:
        col, mat, sh = start
        index = np.flatnonzero((col >= 0) & (sets[np.arange(n), np.maximum(col, 0)] >= 0))
        column = col[index]
        matrix, shift = mat[index].copy(), sh[index].copy()
        out = run(index, column, matrix, shift)
        better = out[:, 0] / np.where(out[:, 1] > 0, out[:, 1], 1.0) >= found.score[index, column]
        take(index[better], column[better], matrix[better], shift[better], out[better])
    found.noisy[:] = found.score + drawn


@dataclass
class Verdict:
    """What the competition says of n images: arrays (n,); `column` is the winning 3D's column."""

    column: NDArray[np.int64]
    second: NDArray[np.int64]
    score: F64
    zscore: F64
    margin: F64
    confidence: F64


def judge(found: Candidates, centre: F64, scale: F64, unit: F64) -> Verdict:
    """Choose the 3D of every image.

    Parameters
    ----------
    found : Candidates
    centre, scale : ndarray, shape (k,)
        Mean and standard deviation of each 3D's scores at mismatched directions, over all images.
    unit : ndarray, shape (n,)
        Standard deviation of each image's scores over directions and 3Ds: the unit of margins.

    Returns
    -------
    Verdict
        The margin is the difference to the best other 3D in `unit`; the confidence is the posterior
        ``exp(L_best) / sum exp(L_k)`` with ``L_k = P s_k^2 / (1 - s_best^2)`` for score s of P complex samples in white noise
        and free scale.
    """
    n, k = found.score.shape
    rows = np.arange(n)
    z = (found.noisy - centre) / scale
    column = z.argmax(1)
    score = found.score[rows, column]
    clean = np.where(np.isfinite(found.score), (found.score - centre) / scale, -np.inf)
    rest = clean.copy()
    rest[rows, column] = -np.inf
    second = rest.argmax(1) if k > 1 else np.full(n, -1)
    margin = np.zeros(n)
    confidence = np.ones(n)
    if k > 1:
        other = rest[rows, second]
        mean_scale = float(scale.mean())
        ahead = clean[rows, column] - np.where(np.isfinite(other), other, 0.0)
        margin = np.where(np.isfinite(other), ahead * mean_scale / np.where(unit > 0, unit, 1.0), 0.0)
        second = np.where(np.isfinite(other), second, -1)
        # in the common scale the fair scores are compared: shift each 3D by its own centre and scale first
        fair = clean * mean_scale + float(centre.mean())
        top = np.clip(fair[rows, column], 0.0, 0.999)
        residual = 1.0 - top**2
        logp = found.samples * np.where(np.isfinite(fair), np.clip(fair, 0.0, 1.0) ** 2, 0.0) / residual[:, None]
        logp = np.where(np.isfinite(fair), logp, -np.inf)
        best = logp[rows, column]
        some = np.isfinite(best)  # not so for images that took no part
        weight = np.exp(np.minimum(logp[some] - best[some, None], 700.0))
        confidence[some] = 1.0 / weight.sum(1)
    s = scale[column]
    return Verdict(column, second, score, (score - centre[column]) / np.where(s > 0, s, 1.0), margin, confidence)
