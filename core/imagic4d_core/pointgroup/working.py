"""The map in which symmetry is looked for: the object in the middle, a band of frequencies, no spherical average.

Axes are those of `geometry.euler`: a point is (x, y, z) from the centre, x along lines, y along pixels, z along sections.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, map_coordinates, spline_filter

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.filters.band import lowpass_curve
from imagic4d_core.fourier import centred_irfftn, centred_rfftn, crop_rfftn, frequencies, half_frequencies, shells
from imagic4d_core.masks.shapes import axes_of, distances, falling

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_LOOK = 32  # box in which the object's place and size are found
_SPECK = 0.2  # share of the largest part below which a part is a speck of noise: mates may lie apart
_FILL = 0.55  # highest frequency over Nyquist of a working box: cubic splines are good to there
_SMALLEST = 20


@dataclass(frozen=True)
class Extent:
    """Where the object is.

    Attributes
    ----------
    centre : ndarray, shape (3,), float64
        Centre of mass, (x, y, z) in pixels from the centre of the box.
    radius : float
        Pixels from there to its outermost parts, at most half the box.
    """

    centre: F64
    radius: float


@dataclass(frozen=True)
class Working:
    """A map prepared for comparison with itself.

    Attributes
    ----------
    box : int
        Edge of the working box.
    scale : float
        Working pixels per pixel of the map.
    limit : float
        Highest frequency in it, cycles per box of the map.
    radius : float
        Radius of the ball compared, working pixels.
    values : ndarray, shape (box, box, box), float32
        Flattened, spherical average 0, 0 outside the ball; the object's centre in the middle.
    splines : ndarray, shape (box, box, box), float32
        Cubic B-spline coefficients of `values`.
    slopes : tuple of three ndarray, as `splines`
        Of the derivatives along x, y, z.
    points : ndarray, shape (n, 3), float64
        Grid points inside the ball, (x, y, z) in working pixels.
    """

    box: int
    scale: float
    limit: float
    radius: float
    values: F32
    splines: F32
    slopes: tuple[F32, F32, F32]
    points: F64


def extent(volume: NDArray) -> Extent:
    """Find the object in a map: what lies above a quarter of the high densities at a low resolution, without specks.

    Parameters
    ----------
    volume : ndarray, shape (n, n, n), real
        Object bright.

    Raises
    ------
    MismatchError
        Not a cube.
    InputError
        Nothing in it.
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise MismatchError(f"a volume of shape {volume.shape}: symmetry is looked for in cubes; cut or pad it to one box first")
    box = volume.shape[0]
    if not np.isfinite(volume).all():
        raise InputError("the volume holds densities that are not finite (NaN or infinite)")
    size = min(_LOOK, box)
    spectrum = crop_rfftn(centred_rfftn(np.asarray(volume, np.float32), 3), (box,) * 3, (size,) * 3)
    small = centred_irfftn(spectrum * lowpass_curve(_radii(size), 0.6, "cosine", 0.3), (size,) * 3)
    floor, top = float(np.median(small)), float(np.quantile(small, 0.99))
    if not top - floor > 1e-6 * float(np.abs(small).max(initial=0.0)) or top <= floor:
        raise InputError("the volume is constant or empty: there is nothing whose symmetry could be found")
    parts, count = label(small > floor + 0.25 * (top - floor))
    mass = np.bincount(parts.ravel(), (small - floor).ravel(), minlength=count + 1)
    mass[0] = 0.0
    inside = (mass >= _SPECK * mass.max())[parts] & (parts > 0)
    weight = (small - floor)[inside].astype(np.float64)
    z, x, y = (np.broadcast_to(a, small.shape)[inside] for a in axes_of(small.shape, np.float64))
    where = np.stack([x, y, z], -1)
    centre = weight @ where / weight.sum()
    away = np.linalg.norm(where - centre, axis=1)
    return Extent(centre * box / size, float(min(np.quantile(away, 0.99) + 1.0, size / 2) * box / size))


def prepare(volume: NDArray, place: Extent, limit: float) -> Working:
    """Cut a map to a band and a ball about `place`.

    Parameters
    ----------
    volume : ndarray, shape (n, n, n), real
    place : Extent
    limit : float
        Highest frequency, cycles per box.
    """
    box = volume.shape[0]
    size = max(_SMALLEST, 2 * int(np.ceil(limit / _FILL)))
    full = centred_rfftn(np.asarray(volume, np.float32), 3)
    kx, ky, kz = _vectors(box)
    moved = full * np.exp(2j * np.pi * (kx * place.centre[0] + ky * place.centre[1] + kz * place.centre[2]))
    wide = min(box, 2 * size)
    small = centred_irfftn(crop_rfftn(moved, (box,) * 3, (wide,) * 3), (wide,) * 3)
    ball = falling(distances((wide,) * 3), place.radius * wide / box, 0.15 * place.radius * wide / box)
    spectrum = centred_rfftn((small - np.average(small, weights=ball)) * ball, 3)
    lowest = 0.5 * box / place.radius / 2
    spectrum = spectrum * _flat(spectrum, wide) * _band(_radii(wide) * wide / 2, limit, lowest)
    new = crop_rfftn(spectrum, (wide,) * 3, (size,) * 3)
    scale = size / box
    radius = min(place.radius * scale * 1.05, size / 2 - 1.0)
    away = distances((size,) * 3, dtype=np.float64)
    values = _no_mean(centred_irfftn(new, (size,) * 3), away, radius)
    again = centred_rfftn(values, 3)
    kx, ky, kz = _vectors(size)
    slopes = tuple(
        spline_filter(centred_irfftn(again * (2j * np.pi * f), (size,) * 3), order=3, output=np.float32) for f in (kx, ky, kz)
    )
    z, x, y = (np.broadcast_to(a, values.shape)[away <= radius] for a in axes_of(values.shape, np.float64))
    points = np.stack([x, y, z], -1)
    splines = spline_filter(values, order=3, output=np.float32)
    return Working(size, scale, limit, radius, values.astype(np.float32), splines, slopes, points)  # type: ignore[arg-type]


def sample(coefficients: F32, points: F64) -> F64:
    """Cubic interpolation at points (x, y, z) from the centre, shape (..., 3); 0 outside the box."""
    where = (points.reshape(-1, 3) + coefficients.shape[0] // 2).T[[2, 0, 1]]
    return map_coordinates(coefficients, where, order=3, prefilter=False, output=np.float64).reshape(points.shape[:-1])


def _radii(n: int) -> F64:
    """Frequencies of a half spectrum of a cube as fractions of Nyquist."""
    full, half = frequencies(n), half_frequencies(n)
    return 2.0 * np.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2)


def _vectors(n: int) -> tuple[F64, F64, F64]:
    """(kx, ky, kz) of a half spectrum of a cube, cycles per pixel, shaped to broadcast."""
    full, half = frequencies(n), half_frequencies(n)
    return full[None, :, None], half[None, None, :], full[:, None, None]


def _flat(spectrum: NDArray, n: int) -> F64:
    """Gain that leaves the square root of the radial amplitudes."""
    index = shells(n, 3)
    power = np.bincount(index.ravel(), (np.abs(spectrum) ** 2).ravel()) / np.maximum(np.bincount(index.ravel()), 1)
    return (np.maximum(power, max(float(power.max()) * 1e-12, 1e-30)) ** -0.25)[index]


def _band(k: F64, limit: float, lowest: float) -> F64:
    """Soft band from `lowest` to `limit`, `k` in the same units."""
    high = 0.5 * (1.0 + np.cos(np.pi * np.clip((k - 0.9 * limit) / (0.2 * limit), 0.0, 1.0)))
    low = 1.0 - 0.5 * (1.0 + np.cos(np.pi * np.clip(k / max(2.0 * lowest, 1e-9), 0.0, 1.0)))
    return high * low


def _no_mean(values: NDArray, away: F64, radius: float) -> F64:
    """Without the mean at each distance from the centre, 0 beyond `radius`."""
    index = np.rint(away).astype(np.int64)
    inside = away <= radius
    mean = np.bincount(index[inside], values[inside]) / np.maximum(np.bincount(index[inside]), 1)
    position = np.minimum(away, len(mean) - 1.0)
    low = np.minimum(position.astype(np.int64), len(mean) - 2)
    out = values - (mean[low] + (position - low) * (mean[low + 1] - mean[low]))
    return np.where(inside, out, 0.0)
