"""Alignment of images to references in the plane: rotation, shift and mirror of every image in every reference.

Both are polar Fourier transforms. A bank holds every reference at every trial shift; one real matrix product per angular
harmonic correlates a block of images with all of it, one more turns harmonics into rotations (algorithms, section 6). The best
few references of each image are then refined to fractions of a pixel and a degree, at higher resolution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.moving import FLIP, Maps
from imagic4d_core.align.references import PlaneReferences
from imagic4d_core.angrec.assign import HalfPlane
from imagic4d_core.angrec.polar import PolarSampler, harmonics, line_count
from imagic4d_core.angrec.search import TILE, Bank, bank_of_lines, filter_amplitudes, radial_weights, shift_grid
from imagic4d_core.kernels.align import climb, pick_limited, refine_moves
from imagic4d_core.kernels.search import merge_best

F64 = NDArray[np.float64]
ORDERS = ("together", "rotation-first", "translation-first", "rotation", "translation")
#: References of each image that are refined.
REFINED = 3
#: Rows of trial shifts beyond the largest one: whose best lies there would move farther.
GUARD = 1.5


@dataclass(frozen=True)
class Search:
    """How images are compared with references.

    Attributes
    ----------
    sampler : PolarSampler
    plane : HalfPlane or None
        Frequencies of the local refinement; None: no refinement.
    trial : ndarray, shape (s, 2), float64
        Trial shifts after the rotation, pixels, the first zero.
    guard : ndarray, shape (s,), bool
        Those beyond the largest shift of this run.
    order : str
        One of `ORDERS`.
    rounds : int
        Of rotation and translation, when searched in turn.
    mirror : bool
        Mirrored images too.
    amplitude_filter : float
    max_shift, max_move : float
        Largest shift in all, and in this run, pixels.
    angles, turns : tuple of two float
        Range of the rotation in all, and in this run, degrees, from -180 to 180.
    """

    sampler: PolarSampler
    plane: HalfPlane | None
    trial: F64
    guard: NDArray[np.bool_]
    order: str
    rounds: int
    mirror: bool
    amplitude_filter: float
    max_shift: float
    max_move: float
    angles: tuple[float, float]
    turns: tuple[float, float]

    @property
    def steps(self) -> F64:
        """Rotations tried, radians from x to y, within half a turn, shape (n_alpha,)."""
        a = -np.arange(self.sampler.n_alpha) * (2 * np.pi / self.sampler.n_alpha)
        return np.where(a <= -np.pi, a + 2 * np.pi, a)


def plan(
    box: int, r_search: int, r_local: int | None, *, increment: float = 6.0, max_shift: float, max_move: float | None = None,
    step: float | None = None, order: str = "together", rounds: int = 1, mirror: bool = True, amplitude_filter: float = 0.0,
    angles: tuple[float, float] = (-180.0, 180.0), turns: tuple[float, float] = (-180.0, 180.0), look_beyond: bool = True,
) -> Search:  # fmt: skip
    """Make a `Search`; ``step`` is that of the trial shifts in pixels (default: a quarter of the shortest wave, at least 1)."""
    sampler = PolarSampler(box, r_search, line_count(r_search, increment))
    reach = max_shift if max_move is None else min(max_move, 2 * max_shift)
    if order == "rotation":
        reach = 0.0
    size = step or max(1.0, box / (4.0 * r_search))
    if reach <= 0:
        trial, guard = np.zeros((1, 2)), np.zeros(1, bool)
    else:
        trial = shift_grid(reach + (GUARD * size if look_beyond else 0.0), min(size, reach))
        guard = np.hypot(trial[:, 0], trial[:, 1]) > reach + 1e-9
    plane = None if r_local is None else HalfPlane.make(box, r_local)
    move = max_shift if max_move is None else max_move
    return Search(sampler, plane, trial, guard, order, rounds, mirror, amplitude_filter, max_shift, move, angles, turns)


def make_bank(references: PlaneReferences, search: Search) -> Bank:
    """All references at all trial shifts: column ``j * s + e``."""
    sampler = search.sampler
    reach = float(np.hypot(search.trial[:, 0], search.trial[:, 1]).max())
    radius = min(0.7, (references.radius + reach) / sampler.box)
    ramps = sampler.ramps(-search.trial)  # the reference goes against the trial shift
    return bank_of_lines(references.lines.copy(), sampler.n_alpha, object_radius=radius, ramps=ramps, tile=TILE)


@dataclass
class Scores:
    """Best of n images in each of k references and hands: within the limits, beyond them, without a shift (last axis).

    Attributes
    ----------
    score : ndarray, shape (n, k, 3), float32
        Correlation coefficient over the frequencies of the search; -inf where there is none.
    arg : ndarray, shape (n, k, 3), int32
        ``angle * s + e``.
    flipped : ndarray, shape (n, k, 3), bool
        With the image mirrored, compared with the start.
    column : ndarray, shape (n, k), int64
        Which references; with mirrors each stands there twice, once for each hand.
    """

    score: NDArray[np.float32]
    arg: NDArray[np.int32]
    flipped: NDArray[np.bool_]
    column: NDArray[np.int64]

    def best(self, keep: int = REFINED) -> "Scores":
        """The best few references of each image: by the score within the limits, without a shift, and the best beyond."""
        k = self.score.shape[1]
        if k <= 2 * keep + 1:
            return self
        chosen = np.zeros(self.score.shape[:2], bool)
        for place, count in ((0, keep), (2, keep), (1, 1)):
            order = np.argsort(-self.score[..., place], axis=1, kind="stable")[:, :count]
            np.put_along_axis(chosen, order, True, 1)
        # the same number for every image: others fill up, they do no harm
        at = np.sort(np.argsort(~chosen, axis=1, kind="stable")[:, : 2 * keep + 1], axis=1)
        deep = at[..., None]
        return Scores(
            np.take_along_axis(self.score, deep, 1), np.take_along_axis(self.arg, deep, 1),
            np.take_along_axis(self.flipped, deep, 1), np.take_along_axis(self.column, at, 1),
        )  # fmt: skip

    def beside(self, other: "Scores") -> "Scores":
        """These references and others."""
        return Scores(*(np.concatenate([getattr(self, f), getattr(other, f)], 1) for f in ("score", "arg", "flipped", "column")))

    def select(self, index: NDArray[np.int64]) -> "Scores":
        """Some of the images."""
        return Scores(self.score[index], self.arg[index], self.flipped[index], self.column[index])


def start_harmonics(
    spectra: NDArray[np.complex64], start: Maps, search: Search, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Angular harmonics (count, rows, 2 r) of images moved as at the start, then of their mirrors; norms (n,) of the images."""
    sampler = search.sampler
    lines = filter_amplitudes(sampler.sample(spectra), search.amplitude_filter)
    power = np.sqrt(2 * ((lines.real**2 + lines.imag**2) * radial_weights(sampler.r_max)).sum((1, 2)))
    angle, shift, mirrored = start.parts()
    shift[mirrored] = shift[mirrored] @ FLIP  # as a shift of the image before it is mirrored
    nr = sampler.r_max
    f = harmonics(lines * sampler.ramps(shift), count)
    q = np.arange(count)
    z = f[..., :nr] + 1j * f[..., nr:]
    z[:, mirrored] = np.conj(z[:, mirrored])  # y -> -y turns angles round
    z *= np.exp(-1j * q[:, None] * angle)[:, :, None].astype(np.complex64)
    if search.mirror:
        z = np.concatenate([z, np.conj(z)], 1)
    return np.ascontiguousarray(np.concatenate([z.real, z.imag], 2), np.float32), power.astype(np.float32)


def search_block(spectra: NDArray[np.complex64], start: Maps, before: Maps, bank: Bank, search: Search, first: int = 0) -> Scores:
    """Best rotation, trial shift and hand of images in each reference.

    Parameters
    ----------
    spectra : ndarray, shape (n, box, box // 2 + 1), complex64
    start : Maps
        Moves of these images at the start.
    before : Maps
        Moves at the start since the original images, for the limits: `start`, if these are the originals.
    bank : Bank
        Of `make_bank`.
    search : Search
    first : int
        Number of the bank's first reference.
    """
    n, copies, n_alpha = len(spectra), len(search.trial), bank.n_alpha
    count = bank.basis.shape[1] // 2
    images, power = start_harmonics(spectra, start, search, count)
    rows = images.shape[1]
    k = bank.count
    column = np.broadcast_to(np.arange(first, first + k), (n, k))
    best = np.full((rows, k, 3), -np.inf, np.float32)
    arg = np.zeros((rows, k, 3), np.int32)
    present, allowed, limited = _limits(before, search, rows)
    turns = np.stack([np.cos(search.steps), np.sin(search.steps)], 1)
    room = np.full(rows, (search.max_shift + 1e-6) ** 2)
    at_ref = 0
    inside, beyond = np.flatnonzero(~search.guard), np.flatnonzero(search.guard)
    for re, im in zip(bank.real, bank.imag, strict=True):
        width = re.shape[2]
        p = np.empty((2 * count, rows, width), np.float32)
        np.matmul(images, re, out=p[:count])
        np.matmul(images, im, out=p[count:])
        s = bank.basis @ p.reshape(2 * count, rows * width)
        refs = slice(at_ref, at_ref + width // copies)
        at_ref = refs.stop
        if search.order in ("rotation-first", "translation-first", "translation"):
            b, a = np.ascontiguousarray(best[:, refs]), np.ascontiguousarray(arg[:, refs])
            rounds = 0 if search.order == "translation" else search.rounds
            climb(s.reshape(n_alpha, rows, width), copies, search.order == "rotation-first", rounds, search.guard, 0, b, a)
            best[:, refs], arg[:, refs] = b, a
        elif limited:
            b, a = np.ascontiguousarray(best[:, refs]), np.ascontiguousarray(arg[:, refs])
            pick_limited(s.reshape(n_alpha, rows, width), copies, present, search.trial, turns, allowed, room, search.guard, b, a)
            best[:, refs], arg[:, refs] = b, a
        else:
            top, at = np.full(rows * width, -np.inf, np.float32), np.zeros(rows * width, np.int32)
            merge_best(s, 0, top, at)
            top, at = top.reshape(rows, -1, copies), at.reshape(rows, -1, copies)
            for place, among in ((0, inside), (1, beyond), (2, inside[:1])):
                if len(among):
                    e = among[top[:, :, among].argmax(2)][..., None]
                    best[:, refs, place] = np.take_along_axis(top, e, 2)[..., 0]
                    arg[:, refs, place] = (np.take_along_axis(at, e, 2) * copies + e)[..., 0]
    scale = np.where(power > 0, 1 / np.where(power > 0, power, 1), 0)[:, None, None]
    flipped = np.zeros(best.shape, bool)
    flipped[n:] = True
    parts = [slice(0, n)] if rows == n else [slice(0, n), slice(n, rows)]
    found = [Scores(best[part] * scale, arg[part], flipped[part], column) for part in parts]
    return found[0] if rows == n else found[0].beside(found[1])


def _limits(before: Maps, search: Search, rows: int) -> tuple[F64, NDArray[np.bool_], bool]:
    """Present shifts and allowed rotations of each row, and whether limits depend on the image at all."""
    present, angle = before.offset, before.parts()[0]
    if rows > len(present):
        present, angle = np.concatenate([present, present @ FLIP]), np.concatenate([angle, -angle])
    full = [b - a >= 360.0 - 1e-9 for a, b in (search.angles, search.turns)]
    allowed = np.ones((rows, search.sampler.n_alpha), bool)
    slack = 1e-6
    if not full[1]:
        degrees = np.rad2deg(search.steps)
        allowed &= (degrees >= search.turns[0] - slack) & (degrees <= search.turns[1] + slack)
    if not full[0]:
        total = wrap(np.rad2deg(search.steps + angle[:, None]))
        allowed &= (total >= search.angles[0] - slack) & (total <= search.angles[1] + slack)
    here = np.hypot(present[:, 0], present[:, 1]).max(initial=0.0)
    reach = np.hypot(search.trial[~search.guard, 0], search.trial[~search.guard, 1]).max()
    return np.ascontiguousarray(present), allowed, not all(full) or here + reach > search.max_shift + 1e-6


def wrap(degrees: F64) -> F64:
    """Angles within -180 (excluded) and 180."""
    rest = np.asarray(degrees) % 360.0
    return np.where(rest > 180.0, rest - 360.0, rest)


@dataclass
class Aligned:
    """What was found for n images.

    Attributes
    ----------
    ref : ndarray, shape (n,), int64
        Best reference, 0-based; -1: none was allowed.
    maps : Maps
        Moves in all, of the images that were compared.
    ccc : ndarray, shape (n,), float64
        Correlation coefficient, over the frequencies of the refinement where there was one.
    still : ndarray, shape (n,), bool
        Left unshifted, as the best shift lies beyond the largest.
    error : ndarray, shape (n, 2), float64
        Standard errors of rotation (degrees) and shift (pixels, each direction) as noise alone makes them; 0 without refinement.
    """

    ref: NDArray[np.int64]
    maps: Maps
    ccc: F64
    still: NDArray[np.bool_]
    error: F64

    @classmethod
    def joined(cls, parts: "list[Aligned]") -> "Aligned":
        """What was found for several sets of images, one behind the other."""
        if not parts:
            return cls(np.zeros(0, np.int64), Maps.none(0), np.zeros(0), np.zeros(0, bool), np.zeros((0, 2)))
        maps = Maps(np.concatenate([p.maps.linear for p in parts]), np.concatenate([p.maps.offset for p in parts]))
        ref, ccc, still, error = (np.concatenate([getattr(p, f) for p in parts]) for f in ("ref", "ccc", "still", "error"))
        return cls(ref, maps, ccc, still, error)

    def select(self, index: NDArray) -> "Aligned":
        """Some of the images."""
        return Aligned(self.ref[index], self.maps.select(index), self.ccc[index], self.still[index], self.error[index])


def settle(
    spectra: NDArray[np.complex64], start: Maps, before: Maps, scores: Scores, references: PlaneReferences, search: Search,
    *, leave: bool = True,
) -> Aligned:  # fmt: skip
    """Refine the best references of each image and decide.

    Parameters
    ----------
    spectra, start, before
        As in `search_block`.
    scores : Scores
        References that an image may not take have a score of -inf.
    references : PlaneReferences
    search : Search
    leave : bool
        Images whose best shift lies beyond the limits are left unshifted; otherwise they get the best shift within.
    """
    n = len(scores.score)
    inside, beyond = scores.score[..., 0].max(1), scores.score[..., 1].max(1)
    still = (beyond > inside) if leave else np.zeros(n, bool)
    place = np.where(still, 2, 0)
    table = np.take_along_axis(scores.score, place[:, None, None], 2)[..., 0]
    order = np.argsort(-table, axis=1, kind="stable")[:, : REFINED if search.plane is not None else 1]
    width = order.shape[1]
    image = np.repeat(np.arange(n), width)
    flat = (image, order.ravel(), place[image])
    column = scores.column[flat[:2]]
    good = np.isfinite(scores.score[flat])
    trial = _trials(start.select(image), scores.arg[flat], scores.flipped[flat], search)
    ccc = scores.score[flat].astype(np.float64)
    error = np.zeros((len(image), 2))
    if search.plane is not None:
        _refine(spectra, image, column, start, before, trial, ccc, error, still, good, references, search)
    ccc = np.where(good, ccc, -np.inf).reshape(n, width)
    chosen = np.arange(n) * width + ccc.argmax(1)
    ref = np.where(good[chosen], column[chosen], -1)
    maps = trial.select(chosen)
    maps.linear[ref < 0], maps.offset[ref < 0] = start.linear[ref < 0], start.offset[ref < 0]
    top = ccc.max(1)
    return Aligned(ref, maps, np.where(np.isfinite(top), top, 0.0), still & (ref >= 0), error[chosen])


def _trials(start: Maps, arg: NDArray[np.int32], flipped: NDArray[np.bool_], search: Search) -> Maps:
    """Moves that stand behind the numbers of a search."""
    angle, e = np.divmod(arg, len(search.trial))
    base = Maps(np.where(flipped[:, None, None], FLIP, np.eye(2)) @ start.linear, start.offset.copy())
    base.offset[flipped] = base.offset[flipped] @ FLIP
    found = base.then(Maps.of(search.steps[angle], np.zeros((len(arg), 2)), np.zeros(len(arg), bool)))
    found.offset += search.trial[e]
    return found


def _refine(
    spectra: NDArray[np.complex64], image: NDArray[np.int64], reference: NDArray[np.int64], start: Maps, before: Maps,
    trial: Maps, ccc: F64, error: F64, still: NDArray[np.bool_], good: NDArray[np.bool_], references: PlaneReferences,
    search: Search,
) -> None:  # fmt: skip
    """Local refinement of trial moves, in place; those that would leave the limits stay as they were."""
    plane, sampler = search.plane, search.sampler
    assert plane is not None
    angle, shift, mirrored = trial.parts()
    data = [_take(plane, spectra, hand, search.amplitude_filter) for hand in (False, True)] if mirrored.any() else [
        _take(plane, spectra, False, search.amplitude_filter)
    ]  # fmt: skip
    begun = start.select(image)
    same = np.linalg.det(begun.linear) * np.where(mirrored, -1.0, 1.0) > 0
    base = begun.offset
    base = np.where(same[:, None], base, base @ FLIP)
    # the present shift, before the rotation and in the frame of the hand
    present = np.where(mirrored[:, None], 1.0, 1.0) * Maps(begun.linear, begun.offset).parts()[1]
    present = np.where(same[:, None], present, present @ FLIP)
    length = np.hypot(*(before.offset[image]).T)
    free = np.allclose(before.offset, start.offset)
    most_total = max(search.max_shift, float(length.max(initial=0.0))) if free else np.inf
    step = 2 * np.pi / sampler.n_alpha
    for fixed in (False, True):
        hold = 2.0 if fixed or len(search.trial) == 1 else (1.0 if search.order == "translation" else 0.0)
        for hand in (False, True):
            at = np.flatnonzero((mirrored == hand) & good & (still[image] == fixed))
            if not len(at):
                continue
            a, s, out = angle[at].copy(), shift[at].copy(), np.empty((len(at), 5))
            limits = np.array([0.5 * step, 1.0, 12.0, hold])
            most = np.array([most_total + 1e-9, max(search.max_move, float(np.hypot(*(s - present[at]).T).max())) + 1e-9])
            refine_moves(
                data[int(hand)][image[at]], plane.points, references.grids, reference[at], references.oversampling, sampler.box,
                a, s, limits, present[at], most, out,
            )  # fmt: skip
            new = Maps.of(a, s, np.full(len(at), hand))
            ok = _inside(new, begun.select(at), before.select(image[at]), search)
            trial.linear[at[ok]], trial.offset[at[ok]] = new.linear[ok], new.offset[ok]
            ccc[at] = out[:, 0] / np.where(out[:, 1] > 0, out[:, 1], 1.0)
            # the noise of one Fourier sample is what the model leaves of the image
            left = np.sqrt(np.maximum(out[:, 1] ** 2 - out[:, 0] ** 2, 0) / (2 * len(plane.points)))
            error[at, 0] = np.rad2deg(left * np.sqrt(np.abs(out[:, 3])))
            error[at, 1] = left * np.sqrt(np.abs(out[:, 4]) / 2)


def _inside(new: Maps, start: Maps, before: Maps, search: Search) -> NDArray[np.bool_]:
    """Whether refined moves keep to the limits of shift and rotation."""
    total = before.then(start.inverse().then(new))
    here = np.hypot(*before.offset.T)
    ok = np.hypot(*total.offset.T) <= np.maximum(search.max_shift, here) + 1e-3
    for maps, (low, high) in ((total, search.angles), (start.inverse().then(new), search.turns)):
        if high - low < 360.0 - 1e-9:
            degrees = np.rad2deg(maps.parts()[0])
            ok &= (degrees >= low - 1e-6) & (degrees <= high + 1e-6)
    return ok


def _take(plane: HalfPlane, spectra: NDArray[np.complex64], mirrored: bool, power: float) -> NDArray[np.complex64]:
    """Samples (n, p) of the spectra of images, or of their mirrors, whose F(kx, ky) is F(kx, -ky) of the image."""
    rows = (-plane.rows) % spectra.shape[1] if mirrored else plane.rows
    data = np.ascontiguousarray(spectra[:, rows, plane.cols])
    return filter_amplitudes(np.conj(data) if mirrored else data, power)
