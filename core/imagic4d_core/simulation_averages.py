"""Class averages with known truth: what real averages have, and white noise on centred projections has not.

An average is the mean of a few images (members) whose views scatter about the view of the class and whose alignment is not exact.
Each member saw the CTF of its own defocus, its phases were flipped, and an envelope ``exp(-B k^2 / 4)`` has damped it. Noise is
coloured, a smooth background lies below, some averages hold members of two 3Ds, and some are no particle at all.

The views, 3Ds and displacements of the classes are those of `simulation.draw`. Every random number is keyed by the number of the
average, so any cut into blocks gives the same ones.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.transfer import ctf, frequency_grid
from imagic4d_core.errors import UsageError
from imagic4d_core.fourier import centred_irfftn, centred_rfftn
from imagic4d_core.geometry.euler import matrix_from_rotvec, random_rotations
from imagic4d_core.rng import rng_for
from imagic4d_core.simulation import CtfSettings, Draw, Projector, Recipe, draw, memberships

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Kinds of junk, in the order of `Deal.junk` from 1 on: noise alone; blobs without a plan; two particles beside the centre; the
#: texture of ice or carbon; an edge of the support.
JUNK = ("noise", "aggregate", "pair", "ice", "edge")

_LEVEL_AVERAGES = 64
_MINOR = (0.25, 0.5)  # share of the members of a mixed average that are of the second 3D
_FLOOR = (0.1, 0.25)  # white part of the noise's power, of that at frequency 0
_CORNER = (0.15, 0.35)  # frequency where the rest has fallen to a half, of Nyquist
_STRENGTH = (0.6, 1.4)  # junk and background, relative to their mean size


@dataclass(frozen=True)
class Averages:
    """What makes averages of images.

    Attributes
    ----------
    members : (int, int)
        Least and most images in an average.
    view_spread : float
        Standard deviation of the members' views about the view of the class, degrees about each of the three axes.
    jitter : float
        Standard deviation of the members' shifts about that of the class in each direction, pixels.
    b_factor : (float, float)
        Range of the envelope's B, square angstrom.
    background : float
        Standard deviation of the background over that of the signal.
    mixed, junk : float
        Shares of averages with members of two 3Ds (none where there is one 3D), and of those that show no particle.
    """

    members: tuple[int, int] = (10, 40)
    view_spread: float = 5.0
    jitter: float = 1.0
    b_factor: tuple[float, float] = (200.0, 400.0)
    background: float = 0.5
    mixed: float = 0.05
    junk: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.members[0] <= self.members[1]:
            raise UsageError(f"members of an average must be LOW-HIGH from 1 on, such as 10-40, not {self.members}")
        if self.mixed > 0 and self.members[0] < 3:
            raise UsageError("mixed averages need 3 members or more, most of them of one 3D; give --mixed 0 or more --class-size")
        if not 0 <= self.b_factor[0] <= self.b_factor[1]:
            raise UsageError(f"B factors must be LOW,HIGH from 0 on, such as 200,400, not {self.b_factor}")
        if min(self.view_spread, self.jitter, self.background) < 0:
            raise UsageError("the spread of views, the jitter and the background must not be negative")
        if self.mixed < 0 or self.junk < 0 or self.mixed + self.junk > 1:
            raise UsageError("the shares of mixed and of junk averages must not be negative, nor more than 1 together")


@dataclass(frozen=True)
class Deal:
    """What each average is; arrays of shape (images,).

    Attributes
    ----------
    first, second : ndarray, int64
        3D of most members and of the others, 0-based; -1 for none.
    junk : ndarray, int64
        0, or the number of the kind in `JUNK`, from 1.
    members, minor : ndarray, int64
        Images in the average, and those of them that are of the second 3D.
    """

    first: I64
    second: I64
    junk: I64
    members: I64
    minor: I64

    @property
    def good(self) -> NDArray[np.bool_]:
        """Averages of one 3D."""
        return (self.junk == 0) & (self.second < 0)

    def part(self, start: int, stop: int) -> "Deal":
        """Those from `start` to `stop`."""
        return Deal(*(getattr(self, name)[start:stop] for name in ("first", "second", "junk", "members", "minor")))


@dataclass(frozen=True)
class Level:
    """Standard deviations: of the signal in an average, and of the noise in one member."""

    signal: float
    noise: float


def deal(recipe: Recipe, how: Averages) -> Deal:
    """Deal 3Ds, kinds and numbers of members; sizes are as near to the shares as whole numbers allow, in random order."""
    n = recipe.images
    junk_count = n if recipe.noise_only else round(how.junk * n)
    mixed_count = round(how.mixed * n) if recipe.volumes > 1 and not recipe.noise_only else 0
    order = rng_for(recipe.seed, "simulate/kinds").permutation(n)
    junk, first, second = np.zeros(n, np.int64), np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    kinds = 1 + np.arange(junk_count) % len(JUNK)
    junk[order[:junk_count]] = 1 if recipe.noise_only else kinds
    if junk_count < n:
        particles = np.sort(order[junk_count:])
        first[particles] = memberships(Recipe(n - junk_count, recipe.volumes, populations=recipe.populations, seed=recipe.seed))
    members, minor = np.empty(n, np.int64), np.zeros(n, np.int64)
    mixed = np.zeros(n, bool)
    mixed[order[junk_count : junk_count + mixed_count]] = True
    for i in range(n):
        rng = rng_for(recipe.seed, "simulate/average", i)
        members[i] = rng.integers(how.members[0], how.members[1] + 1)
        share, other = rng.uniform(*_MINOR), int(rng.integers(max(recipe.volumes - 1, 1)))
        if mixed[i]:
            second[i] = other + (other >= first[i])
            minor[i] = min(max(round(share * int(members[i])), 1), (int(members[i]) - 1) // 2)
    return Deal(first, second, junk, members, minor)


def signal(recipe: Recipe, how: Averages, truth: Draw, dealt: Deal, start: int, project: Projector, box: int, pixel_size: float,
           level: float) -> F32:  # fmt: skip
    """Averages without noise and background.

    Parameters
    ----------
    recipe, how
    truth : Draw
        Views, displacements and contrast of the classes, from `simulation.draw` for the averages from `start` (0-based) on.
    dealt : Deal
        Of the same averages.
    start : int
    project : Projector
    box : int
    pixel_size : float
        Angstrom.
    level : float
        Standard deviation that junk has on average.

    Returns
    -------
    ndarray, shape (n, box, box), float32
    """
    out = np.empty((len(truth.member), box, box), np.float32)
    matrices = truth.matrices
    for i in range(len(out)):
        members = int(dealt.members[i])
        rng = rng_for(recipe.seed, "simulate/members", start + i)
        turned = matrix_from_rotvec(np.deg2rad(how.view_spread) * rng.standard_normal((members, 3))) @ matrices[i]
        moved = truth.displacement[i] + how.jitter * rng.standard_normal((members, 2))
        seen_by = recipe.ctf or CtfSettings()
        defocus, b = rng.uniform(*seen_by.defocus, members), rng.uniform(*how.b_factor, members)
        if kind := int(dealt.junk[i]):
            shown = _junk(recipe, JUNK[kind - 1], start + i, project, box)
            transfer = _transfer(seen_by, defocus, b, len(shown), pixel_size).mean(0)
            shown, rim = centred_irfftn(centred_rfftn(shown, 2) * transfer, shown.shape), len(shown) // 2 - box // 2
            shown = shown[rim : rim + box, rim : rim + box]
            out[i] = _sized(shown, level * _strength(recipe, "simulate/junk size", start + i))
            continue
        transfer = _transfer(seen_by, defocus, b, box, pixel_size)
        which = np.full(members, dealt.first[i])
        which[members - int(dealt.minor[i]) :] = dealt.second[i]
        total = np.zeros((box, box // 2 + 1), np.complex128)
        for k in np.unique(which):
            seen = which == k
            total += (centred_rfftn(project(int(k), turned[seen], moved[seen]), 2) * transfer[seen]).sum(0)
        out[i] = centred_irfftn(total / members, (box, box)) * truth.contrast[i]
    return out


def _transfer(seen_by: CtfSettings, defocus: F64, b: F64, box: int, pixel_size: float) -> F64:
    """What phase flipping leaves of each member: ``|CTF| exp(-B k^2 / 4)``, shape (members, box, box // 2 + 1)."""
    k, _ = frequency_grid((box, box), pixel_size)
    c = ctf(k, defocus[:, None, None], voltage_kv=seen_by.voltage_kv, cs_mm=seen_by.cs_mm, amplitude=seen_by.amplitude)
    return np.abs(c) * np.exp(-0.25 * b[:, None, None] * k * k)


def _strength(recipe: Recipe, stage: str, index: int) -> float:
    return float(rng_for(recipe.seed, stage, index).uniform(*_STRENGTH))


def _sized(image: NDArray, size: float) -> NDArray:
    """The image at mean 0 and standard deviation `size`; a flat one becomes 0."""
    image = image - image.mean(dtype=np.float64)
    spread = float(image.std(dtype=np.float64))
    return image * (size / spread if spread > 1e-12 else 0.0)


def _junk(recipe: Recipe, kind: str, index: int, project: Projector, box: int) -> NDArray:
    """One image that shows no particle of its own, in any scale.

    Pairs come in the box, the rest in twice the box, so that what the CTF carries over the border comes from outside.
    """
    rng = rng_for(recipe.seed, "simulate/junk", index)
    wide = 2 * box
    if kind == "aggregate":
        blobs = int(rng.integers(5, 16))
        where = rng.normal(0.0, 0.16 * box, (blobs, 2))
        return _blobs(where, rng.uniform(0.02, 0.08, blobs) * box, rng.uniform(0.3, 1.0, blobs), wide)
    if kind == "pair":
        turn, apart = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.2, 0.4, 2) * box
        side = np.array([np.cos(turn), np.sin(turn)])
        views, which = random_rotations(rng, 2), rng.integers(recipe.volumes, size=2)
        seen = [project(int(which[j]), views[j : j + 1], (apart[j] * sign * side)[None])[0] for j, sign in enumerate((1, -1))]
        return seen[0] + seen[1]
    if kind == "ice":
        centre, width = rng.uniform(0.12, 0.45), rng.uniform(0.03, 0.08)
        ring = np.exp(-0.5 * np.square((_nyquist(wide) - centre) / width))
        texture = centred_irfftn(centred_rfftn(rng.standard_normal((wide, wide)), 2) * ring, (wide, wide))
        return texture * (1.0 + _blobs(rng.uniform(-0.5, 0.5, (2, 2)) * box, np.full(2, 0.25 * box), np.full(2, 1.0), wide))
    if kind == "edge":
        turn, place, width = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.3, 0.3) * box, rng.uniform(0.02, 0.08) * box
        x, y = np.meshgrid(np.arange(wide) - box, np.arange(wide) - box, indexing="ij")
        return np.tanh((x * np.cos(turn) + y * np.sin(turn) - place) / width)
    return np.zeros((box, box))


def _blobs(where: F64, sigma: F64, height: F64, box: int) -> F64:
    """Sum of Gaussians at `where` (pixels from the middle), shape (box, box)."""
    grid = np.arange(box) - box // 2
    gx, gy = (np.exp(-0.5 * np.square((grid - where[:, [axis]]) / sigma[:, None])) for axis in (0, 1))
    return (gx * height[:, None]).T @ gy


@lru_cache(maxsize=8)
def _nyquist(box: int) -> F64:
    """Frequencies of the half spectrum as fractions of Nyquist, not to be written to."""
    k, _ = frequency_grid((box, box), 0.5)
    k.setflags(write=False)
    return k


def coloured_noise(rng: np.random.Generator, box: int) -> F64:
    """Gaussian noise of variance 1 whose power falls from frequency 0 to a white floor, shape (box, box).

    Power ``f + (1 - f) / (1 + (k / c)^2)``, f of 0.1 to 0.25 and c of 0.15 to 0.35 Nyquist drawn anew for each image: as ice and
    the carbon film leave it, and interpolation in alignment.
    """
    floor, corner = rng.uniform(*_FLOOR), rng.uniform(*_CORNER)
    k = _nyquist(box)
    power = floor + (1.0 - floor) / (1.0 + np.square(k / corner))
    twice = np.full(k.shape[1], 2.0)
    twice[0] = 1.0
    if box % 2 == 0:
        twice[-1] = 1.0
    power /= (power * twice).sum() / box**2
    made: F64 = centred_irfftn(centred_rfftn(rng.standard_normal((box, box)), 2) * np.sqrt(power), (box, box)).astype(np.float64)
    return made


def background(rng: np.random.Generator, box: int) -> F64:
    """A smooth field of mean 0 and standard deviation 1 over the box, shape (box, box): wide humps and hollows, also of what
    lies outside."""
    count = 6
    field = _blobs(
        rng.uniform(-0.8, 0.8, (count, 2)) * box, rng.uniform(0.2, 0.4, count) * box, rng.standard_normal(count), box
    )  # fmt: skip
    return _sized(field, 1.0)


def levels(recipe: Recipe, how: Averages, project: Projector, box: int, pixel_size: float) -> Level:
    """Sizes of signal and noise for the recipe's SNR.

    The signal's variance is the mean over 64 centred averages of one 3D drawn for the purpose, so it depends neither on the
    number of averages nor on how they are cut into blocks. The SNR is that of averages: their mean signal variance over their
    mean noise variance; 1 without one.
    """
    pure = Averages(how.members, how.view_spread, how.jitter, how.b_factor, how.background, 0.0, 0.0)
    trial = Recipe(
        _LEVEL_AVERAGES, recipe.volumes, populations=recipe.populations, preferred=recipe.preferred, ctf=recipe.ctf,
        contrast_spread=recipe.contrast_spread, seed=recipe.seed,
    )  # fmt: skip
    dealt = deal(trial, pure)
    made = signal(trial, pure, draw(trial, dealt.first, 0, stage="simulate/level"), dealt, 0, project, box, pixel_size, 1.0)
    variance = float(made.var(axis=(1, 2), dtype=np.float64).mean())
    snr = 1.0 if recipe.snr is None else recipe.snr
    numbers = np.arange(how.members[0], how.members[1] + 1)
    return Level(float(np.sqrt(variance)), float(np.sqrt(variance / snr / np.mean(1.0 / numbers))))


def averages(recipe: Recipe, how: Averages, truth: Draw, dealt: Deal, start: int, project: Projector, box: int, pixel_size: float,
             level: Level) -> F32:  # fmt: skip
    """Averages with noise and background.

    The mean of m independent noise images of one spectrum is a noise image of that spectrum with 1/m of the power (flipping
    phases does not change it), and is drawn as one.

    Parameters
    ----------
    recipe, how, truth, dealt, start, project, box, pixel_size
        As of `signal`.
    level : Level
        From `levels`.

    Returns
    -------
    ndarray, shape (n, box, box), float32
    """
    out = signal(recipe, how, truth, dealt, start, project, box, pixel_size, level.signal)
    for i in range(len(out)):
        noise = coloured_noise(rng_for(recipe.seed, "simulate/noise", start + i), box)
        rest = noise * (level.noise / np.sqrt(dealt.members[i]))
        size = how.background * level.signal * _strength(recipe, "simulate/background size", start + i)
        rest += size * background(rng_for(recipe.seed, "simulate/background", start + i), box)
        out[i] += rest.astype(np.float32)
    return out


def parse_range(text: str | tuple[float, float], what: str, example: str, separators: str = ",") -> tuple[float, float]:
    """LOW and HIGH from a text such as ``200,400``, or from one number."""
    parts: list = [text]
    if isinstance(text, str):
        for s in separators:
            text = text.replace(s, ",")
        parts = text.split(",")
    else:
        parts = list(text)
    try:
        values = [float(p) for p in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2) or not all(np.isfinite(values)):
        raise UsageError(f"{what} must be such as {example}, not {text!r}")
    return values[0], values[-1]
