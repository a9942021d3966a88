"""Fourier shell (and ring) correlation: curves, thresholds, crossings, masks.

FSC(r) = Re sum F1 conj(F2) / sqrt(sum |F1|^2 sum |F2|^2) over shell r, r = round(|k|) in units of 1/box. Thresholds after van
Heel & Schatz (J. Struct. Biol. 151, 2005, 250-262). The number of independent voxels of a shell of n voxels is
``n_eff = n (1.5 size)^2 / (2 asym)``, at least 1, with the object's linear size as a fraction of the box and the number of
asymmetric units (FOURIER-SHELL-CORRELATION of IMAGIC).
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError, UsageError
from imagic4d_core.fourier import centred_rfftn, half_weights, shells
from imagic4d_core.masks.shapes import distances, falling
from imagic4d_core.pixels.spectra import random_phases
from imagic4d_core.rng import rng_for

F64 = NDArray[np.float64]

#: Names of the thresholds, in the order of tables.
THRESHOLDS = ("0.5", "0.143", "half-bit", "one-bit", "3-sigma")


@dataclass(frozen=True)
class FscCurve:
    """One curve.

    Attributes
    ----------
    frequency : ndarray, shape (shells,), float64
        Fraction of Nyquist, 0 to 1 (shells 0 to ``box // 2``).
    fsc : ndarray, shape (shells,), float64
    voxels : ndarray, shape (shells,), float64
        Voxels of each shell, both halves of the spectrum.
    n_eff : ndarray, shape (shells,), float64
        Independent voxels.
    pixel_size : float or None
        Angstrom.
    unmasked, phase_randomised : ndarray or None
        With a mask and random-phase correction: the curve without a mask, and that of the masked maps with random phases.
    """

    frequency: F64
    fsc: F64
    voxels: F64
    n_eff: F64
    pixel_size: float | None = None
    unmasked: F64 | None = None
    phase_randomised: F64 | None = None

    def threshold(self, name: str) -> F64:
        """Values of a threshold of `THRESHOLDS` (or of any number) in every shell, shape (shells,)."""
        if name in _BITS:
            return bit_threshold(self.n_eff, _BITS[name])
        if name == "3-sigma":
            return 3.0 / np.sqrt(self.n_eff)
        try:
            return np.full(len(self.fsc), float(name))
        except ValueError:
            raise UsageError(f"unknown FSC threshold {name!r}: use a number or one of {', '.join(THRESHOLDS)}") from None

    def crossing(self, name: str) -> float:
        """Frequency, as a fraction of Nyquist, at which the curve first falls below a threshold; 1 if it never does."""
        return first_crossing(self.frequency, self.fsc, self.threshold(name))

    def resolution(self, name: str) -> float | None:
        """The crossing in angstrom; None without a pixel size, infinite when the first shell is below already."""
        if self.pixel_size is None:
            return None
        f = self.crossing(name)
        return 2.0 * self.pixel_size / f if f > 0 else float("inf")


_BITS = {"half-bit": 0.5, "one-bit": 1.0}


def bit_threshold(n_eff: NDArray, bits: float) -> F64:
    """Threshold at which a shell holds `bits` of information per voxel.

    The signal-to-noise ratio of each half is S = (2^bits - 1) / 2 and
    T = (S + 2 sqrt(S/n) + 1/sqrt(n)) / (S + 2 sqrt(S/n) + 1), cut at 1.
    """
    s = (2.0**bits - 1.0) / 2.0
    root = np.sqrt(np.asarray(n_eff, dtype=np.float64))
    cross = 2.0 * np.sqrt(s) / root
    return np.minimum((s + cross + 1.0 / root) / (s + cross + 1.0), 1.0)


def first_crossing(frequency: F64, curve: F64, threshold: F64) -> float:
    """Where a curve first falls below a threshold, by linear interpolation.

    Shell 0 is not looked at, nor are shells whose threshold is 1 or more (too few voxels to tell anything).

    Returns
    -------
    float
        0 when shell 1 lies below already, the last frequency when no shell does.
    """
    gap = curve - threshold
    below = np.flatnonzero(~(gap[1:] >= 0) & (threshold[1:] < 1)) + 1  # a NaN counts as below
    if not len(below):
        return float(frequency[-1])
    i = int(below[0])
    if i == 1:
        return 0.0
    if not np.isfinite(gap[i]) or gap[i - 1] < 0:
        return float(frequency[i - 1])
    part = gap[i - 1] / (gap[i - 1] - gap[i])
    return float(frequency[i - 1] + part * (frequency[i] - frequency[i - 1]))


def shell_curves(
    a: NDArray, b: NDArray, *, symmetry_order: int = 1, object_size: float = 2 / 3, pixel_size: float | None = None
) -> FscCurve:
    """FSC of two volumes, or FRC of two images.

    Parameters
    ----------
    a, b : ndarray, shape (n, n, n) or (n, n), real
    symmetry_order : int
        Number of asymmetric units.
    object_size : float
        Linear size of the object as a fraction of the box.
    pixel_size : float, optional
        Angstrom.

    Returns
    -------
    FscCurve
        A shell without power in one of the two has FSC 0.

    Raises
    ------
    MismatchError
        Shapes that differ or are not square or cubic.
    """
    box = common_box(a, b)
    return _curve(centred_rfftn(a, a.ndim), centred_rfftn(b, b.ndim), box, symmetry_order, object_size, pixel_size)


def masked_curves(
    a: NDArray,
    b: NDArray,
    mask: NDArray,
    *,
    symmetry_order: int = 1,
    object_size: float = 2 / 3,
    pixel_size: float | None = None,
    correct: bool = True,
    seed: int = 0,
) -> FscCurve:
    """FSC under a mask, with the mask's own correlation taken out (Chen et al., Ultramicroscopy 135, 2013, 24-35).

    Both unmasked maps get random phases from the shell on where their FSC falls below 0.8; the correlation FSC_n that the mask
    gives to them is removed from the masked curve FSC_t by (FSC_t - FSC_n) / (1 - FSC_n), from two shells later on.

    Parameters
    ----------
    a, b, symmetry_order, object_size, pixel_size
        As in `shell_curves`.
    mask : ndarray, shape of a
        Values 0 to 1.
    correct : bool
        False gives the plain masked curve.
    seed : int
        Of the random phases.
    """
    options: dict[str, Any] = {"symmetry_order": symmetry_order, "object_size": object_size, "pixel_size": pixel_size}
    if mask.shape != a.shape:
        raise MismatchError(f"mask of shape {mask.shape} does not fit maps of shape {a.shape}")
    masked = shell_curves(a * mask, b * mask, **options)
    if not correct:
        return masked
    plain = shell_curves(a, b, **options)
    low = np.flatnonzero(plain.fsc[1:] < 0.8)
    start = int(low[0]) + 1 if len(low) else len(plain.fsc)
    noise = shell_curves(randomise_phases(a, start, seed, 0) * mask, randomise_phases(b, start, seed, 1) * mask, **options).fsc
    true = masked.fsc.copy()
    late = slice(min(start + 2, len(true)), None)
    true[late] = (masked.fsc[late] - noise[late]) / np.maximum(1.0 - noise[late], 1e-6)
    return replace(masked, fsc=true, unmasked=plain.fsc, phase_randomised=noise)


def randomise_phases(a: NDArray, start: int, seed: int, index: int = 0) -> NDArray[np.float32]:
    """Keep the amplitudes of an image or volume and draw new phases from shell `start` on, shape as `a`, float32."""
    noise = rng_for(seed, "fsc/phases", index).standard_normal(a.shape)
    return random_phases(a, a.ndim, noise, where=_shells(a.shape[0], a.ndim)[0] >= start)


def sphere_mask(box: int, ndim: int, radius: float, edge: float = 5.0) -> NDArray[np.float32]:
    """Soft sphere or disc: 1 up to `radius`, a cosine edge of `edge` pixels beyond, 0 outside.

    Parameters
    ----------
    box, ndim : int
    radius : float
        Pixels, or a fraction of half the box when not above 1.
    edge : float
        Pixels.
    """
    r0 = radius * (box / 2) if radius <= 1 else radius
    return falling(distances((box,) * ndim, dtype=np.float64), r0, edge).astype(np.float32)


def common_box(a: NDArray, b: NDArray) -> int:
    """Edge of two square images or cubic volumes of one shape; MismatchError otherwise."""
    if a.shape != b.shape:
        raise MismatchError(f"shapes {a.shape} and {b.shape} differ: FSC needs two maps of one size")
    if a.ndim not in (2, 3) or len(set(a.shape)) != 1:
        raise MismatchError(f"shape {a.shape}: FSC needs square images or cubic volumes")
    return int(a.shape[0])


def _curve(fa: NDArray, fb: NDArray, box: int, order: int, size: float, pixel_size: float | None) -> FscCurve:
    if order < 1 or not size > 0:
        raise UsageError("FSC needs at least one asymmetric unit and an object size above 0")
    ndim = fa.ndim
    index, weight, voxels = _shells(box, ndim)
    count = len(voxels)

    def total(values: NDArray) -> F64:
        return np.bincount(index.ravel(), weights=(values * weight).ravel(), minlength=count + 1)[:count].astype(np.float64)

    cross = total(fa.real * fb.real + fa.imag * fb.imag)
    power = np.sqrt(total(_squared(fa)) * total(_squared(fb)))
    fsc = np.divide(cross, power, out=np.zeros(count), where=power > 0)
    n_eff = np.maximum(voxels * (1.5 * size) ** 2 / (2.0 * order), 1.0)
    return FscCurve(np.arange(count) * 2.0 / box, fsc, voxels, n_eff, pixel_size)


def _squared(f: NDArray) -> NDArray:
    return f.real * f.real + f.imag * f.imag


@lru_cache(maxsize=8)
def _shells(box: int, ndim: int) -> tuple[NDArray[np.int64], NDArray[np.float32], F64]:
    """Shell number and weight of every point of a half spectrum, and voxels in each shell 0 to ``box // 2``.

    Points beyond the last shell carry the number ``box // 2 + 1``; a point whose mirror is not stored counts twice.
    """
    index = np.minimum(shells(box, ndim), box // 2 + 1)
    weight = np.broadcast_to(half_weights(box).astype(np.float32), index.shape)
    voxels = np.bincount(index.ravel(), weights=weight.ravel(), minlength=box // 2 + 2)[: box // 2 + 1].astype(np.float64)
    return index, weight, voxels
