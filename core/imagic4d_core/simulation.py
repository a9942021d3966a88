"""Images with known truth: what is drawn for each image, and how it is put together.

Every random number is keyed by the image's number, so any cut into blocks gives the same images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.transfer import apply_ctf, ctf, frequency_grid
from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.euler import matrix_from_euler
from imagic4d_core.rng import rng_for
from imagic4d_core.units import finite

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: Images of one 3D (0-based number, poses (n, 3, 3), displacements (n, 2) in pixels) -> (n, lines, pixels).
Projector = Callable[[int, F64, F64], F32]

_LEVEL_IMAGES = 256


@dataclass(frozen=True)
class CtfSettings:
    """Microscope of a simulation: kV, mm, fraction, and the range of underfocus in angstrom."""

    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude: float = 0.1
    defocus: tuple[float, float] = (10000.0, 30000.0)


@dataclass(frozen=True)
class Preferred:
    """A share of the images seen within `degrees` of one axis of the object."""

    fraction: float
    degrees: float
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction <= 1.0 or not 0.0 < self.degrees <= 180.0 or not any(self.axis):
            raise UsageError("preferred views need a fraction from 0 to 1, an angle above 0 up to 180 degrees and an axis")


@dataclass(frozen=True)
class Recipe:
    """How images are drawn.

    Attributes
    ----------
    images : int
    volumes : int
        Number of 3Ds.
    snr : float or None
        Variance of the signal over variance of the noise, over the whole box; None adds no noise.
    shift_sigma : float
        Standard deviation of the displacement in each direction, pixels.
    populations : tuple of float or None
        Relative sizes of the 3Ds; None makes them equal.
    preferred : Preferred or None
    ctf : CtfSettings or None
    contrast_spread : float
        Relative standard deviation of the signal's strength from image to image.
    noise_only : bool
        Leave the signal out; the noise keeps the level it would have had (variance 1 without an SNR).
    seed : int
    """

    images: int
    volumes: int
    snr: float | None = None
    shift_sigma: float = 0.0
    populations: tuple[float, ...] | None = None
    preferred: Preferred | None = None
    ctf: CtfSettings | None = None
    contrast_spread: float = 0.0
    noise_only: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UsageError(f"number of images must be at least 1, not {self.images}")
        if self.snr is not None and not self.snr > 0:
            raise UsageError(f"SNR must be above 0, not {self.snr}")
        if self.shift_sigma < 0 or self.contrast_spread < 0:
            raise UsageError("shift and contrast spread must not be negative")
        if self.populations is not None:
            if len(self.populations) != self.volumes:
                raise UsageError(f"{len(self.populations)} populations given for {self.volumes} 3Ds")
            if min(self.populations) < 0 or sum(self.populations) <= 0:
                raise UsageError("populations must not be negative, and not all 0")


@dataclass(frozen=True)
class Draw:
    """Truth of some images: membership (0-based), Euler angles (n, 3) in degrees, displacement (n, 2) in pixels, underfocus in
    angstrom (n,) (0 without CTF), contrast (n,)."""

    member: NDArray[np.int64]
    euler: F64
    displacement: F64
    defocus: F64
    contrast: F64

    @property
    def matrices(self) -> F64:
        """Poses, shape (n, 3, 3)."""
        return matrix_from_euler(*self.euler.T)


def memberships(recipe: Recipe) -> NDArray[np.int64]:
    """3D of every image, 0-based, shape (images,): sizes as near to the populations as whole numbers allow, in random order."""
    share = np.asarray(recipe.populations or (1.0,) * recipe.volumes, dtype=np.float64)
    wanted = share / share.sum() * recipe.images
    sizes = np.floor(wanted).astype(np.int64)
    rest = recipe.images - int(sizes.sum())
    sizes[np.argsort(-(wanted - sizes), kind="stable")[:rest]] += 1
    return rng_for(recipe.seed, "simulate/membership").permutation(np.repeat(np.arange(recipe.volumes), sizes))


def draw(recipe: Recipe, member: NDArray[np.int64], start: int, *, stage: str = "simulate/image") -> Draw:
    """Draw the truth of consecutive images.

    Parameters
    ----------
    recipe : Recipe
    member : ndarray, shape (n,), int64
        Their 3Ds.
    start : int
        Number of the first (0-based).
    stage : str
        Stream of random numbers.

    Returns
    -------
    Draw
        Angles and displacements are rounded to float32, so that the header says exactly what was drawn.
    """
    n = len(member)
    euler, shift, defocus, contrast = np.empty((n, 3)), np.empty((n, 2)), np.zeros(n), np.empty(n)
    for i in range(n):
        rng = rng_for(recipe.seed, stage, start + i)
        u = rng.uniform(size=5)
        z = rng.standard_normal(3)
        euler[i] = _euler(u, recipe.preferred)
        shift[i] = recipe.shift_sigma * z[:2]
        contrast[i] = max(1.0 + recipe.contrast_spread * z[2], 0.1)
        if recipe.ctf is not None:
            low, high = recipe.ctf.defocus
            defocus[i] = low + (high - low) * u[4]
    return Draw(member, _single(euler), _single(shift), _single(defocus), contrast)


def _single(values: F64) -> F64:
    """As a header can hold it."""
    return values.astype(np.float32).astype(np.float64)


def _euler(u: F64, preferred: Preferred | None) -> tuple[float, float, float]:
    """Euler angles in degrees from four uniform numbers: uniform on SO(3), or within the cone for the preferred share."""
    alpha, turn = 360.0 * u[0], 2.0 * np.pi * u[1]
    if preferred is None or u[3] >= preferred.fraction:
        return alpha, float(np.rad2deg(np.arccos(1.0 - 2.0 * u[2]))), float(np.rad2deg(turn))
    z = 1.0 - u[2] * (1.0 - np.cos(np.deg2rad(preferred.degrees)))
    s = np.sqrt(max(1.0 - z * z, 0.0))
    axis = np.asarray(preferred.axis, dtype=np.float64)
    axis = axis / np.linalg.norm(axis)
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    d = z * axis + s * (np.cos(turn) * side + np.sin(turn) * np.cross(axis, side))
    beta = np.rad2deg(np.arctan2(np.hypot(d[0], d[1]), d[2]))
    return alpha, float(beta), float(np.rad2deg(np.arctan2(d[1], d[0])) % 360.0)


def signal(recipe: Recipe, truth: Draw, project: Projector, box: int, pixel_size: float | None) -> F32:
    """Noise-free images of a draw, shape (n, box, box), float32."""
    out = np.empty((len(truth.member), box, box), dtype=np.float32)
    matrices = truth.matrices
    for k in np.unique(truth.member):
        chosen = np.flatnonzero(truth.member == k)
        out[chosen] = project(int(k), matrices[chosen], truth.displacement[chosen])
    if recipe.ctf is not None:
        frequency, _ = frequency_grid((box, box), pixel_size or 1.0)
        c = recipe.ctf
        transfer = ctf(frequency, truth.defocus[:, None, None], voltage_kv=c.voltage_kv, cs_mm=c.cs_mm, amplitude=c.amplitude)
        out = apply_ctf(out, transfer)
    return out * truth.contrast[:, None, None].astype(np.float32)


def noise_level(recipe: Recipe, project: Projector, box: int, pixel_size: float | None) -> float:
    """Standard deviation of the noise for the recipe's SNR.

    The signal's variance is the mean over 256 centred images drawn for the purpose with the recipe's populations, views and CTF,
    so that it depends neither on the number of images nor on how they are cut into blocks.
    """
    if recipe.snr is None:
        return 1.0 if recipe.noise_only else 0.0
    centred = Recipe(**{**recipe.__dict__, "images": _LEVEL_IMAGES, "shift_sigma": 0.0, "noise_only": False})
    truth = draw(centred, memberships(centred), 0, stage="simulate/level")
    variance = signal(centred, truth, project, box, pixel_size).astype(np.float64).var(axis=(1, 2)).mean()
    return float(np.sqrt(variance / recipe.snr))


def images(recipe: Recipe, truth: Draw, start: int, project: Projector, box: int, pixel_size: float | None, sigma: float) -> F32:
    """Images of a draw with white Gaussian noise of standard deviation `sigma`.

    Parameters
    ----------
    recipe : Recipe
    truth : Draw
        As made by `draw` for the images from number `start` (0-based) on.
    start : int
    project : Projector
    box : int
    pixel_size : float or None
        Angstrom; used by the CTF.
    sigma : float

    Returns
    -------
    ndarray, shape (n, box, box), float32
    """
    n = len(truth.member)
    out = np.zeros((n, box, box), dtype=np.float32) if recipe.noise_only else signal(recipe, truth, project, box, pixel_size)
    if sigma > 0:
        for i in range(n):
            noise = rng_for(recipe.seed, "simulate/noise", start + i).standard_normal((box, box), dtype=np.float32)
            out[i] += np.float32(sigma) * noise
    return out


def parse_populations(text: Sequence[float] | str | None) -> tuple[float, ...] | None:
    """Populations from ``70,20,10``."""
    if text is None or text == "":
        return None
    parts = text.split(",") if isinstance(text, str) else text
    try:
        return tuple(finite(p) for p in parts)
    except ValueError:
        raise UsageError(f"populations must be numbers separated by commas, not {text!r}") from None


def parse_defocus(text: str | Sequence[float]) -> tuple[float, float]:
    """Range of underfocus in angstrom from ``LOW,HIGH``, or from one number."""
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        values = [finite(p) for p in parts]
    except ValueError:
        values = []
    if len(values) not in (1, 2) or values[0] > values[-1]:
        raise UsageError(f"defocus must be LOW,HIGH in angstrom, such as 10000,30000, not {text!r}")
    return values[0], values[-1]


def parse_preferred(text: str | None) -> Preferred | None:
    """Preferred views from ``FRACTION,DEGREES[,AXIS]``; AXIS is x, y or z."""
    if not text:
        return None
    parts = text.split(",")
    axes = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
    try:
        if len(parts) not in (2, 3):
            raise ValueError
        return Preferred(finite(parts[0]), finite(parts[1]), axes[parts[2].lower()] if len(parts) == 3 else axes["z"])
    except (ValueError, KeyError) as err:
        if isinstance(err, UsageError):
            raise
        raise UsageError(f"preferred views must be FRACTION,DEGREES[,x|y|z], not {text!r}") from None
