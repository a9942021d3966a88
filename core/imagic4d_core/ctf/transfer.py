"""The contrast transfer function (CTF) and its use on images.

Sign: ``CTF = sin(chi)`` with ``chi = pi lambda k^2 (z - Cs lambda^2 k^2 / 2) + asin(a)``, underfocus z positive. So low
frequencies are transferred with a positive sign and protein stays bright, as in images whose contrast was inverted
(RELION's habit).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.fourier import centred_irfftn, centred_rfftn, frequencies, half_frequencies

F64 = NDArray[np.float64]


def wavelength(voltage_kv: float) -> float:
    """Relativistic wavelength of electrons in angstrom; `voltage_kv` in kV."""
    volts = 1e3 * voltage_kv
    return 12.264259661581491 / float(np.sqrt(volts * (1.0 + 0.978475598e-6 * volts)))


def ctf(k: ArrayLike, defocus: ArrayLike, *, voltage_kv: float = 300.0, cs_mm: float = 2.7, amplitude: float = 0.1) -> F64:
    """Contrast transfer at spatial frequencies.

    Parameters
    ----------
    k : array_like
        Spatial frequency, 1/angstrom; broadcast against `defocus`.
    defocus : array_like
        Underfocus in angstrom.
    voltage_kv, cs_mm : float
        Acceleration voltage in kV, spherical aberration in mm.
    amplitude : float
        Amplitude contrast, 0 to 1.

    Returns
    -------
    ndarray, float64
        Between -1 and 1.
    """
    lam = wavelength(voltage_kv)
    k2 = np.square(np.asarray(k, dtype=np.float64))
    chi = np.pi * lam * k2 * (np.asarray(defocus, dtype=np.float64) - 0.5 * cs_mm * 1e7 * lam * lam * k2)
    return np.sin(chi + np.arcsin(amplitude))


def astigmatic_defocus(angle: ArrayLike, defocus1: ArrayLike, defocus2: ArrayLike, axis_degrees: ArrayLike) -> F64:
    """Defocus (angstrom) in direction `angle` (radians): `defocus1` along the axis at `axis_degrees`, `defocus2` across it."""
    d1, d2 = np.asarray(defocus1, dtype=np.float64), np.asarray(defocus2, dtype=np.float64)
    return 0.5 * (d1 + d2 + (d1 - d2) * np.cos(2.0 * (np.asarray(angle) - np.deg2rad(axis_degrees))))


def frequency_grid(shape: Sequence[int], pixel_size: float) -> tuple[F64, F64]:
    """Spatial frequency (1/angstrom) and its direction (radians, from the x axis to y) of the half spectrum of an image."""
    fx = frequencies(shape[0])[:, None] / pixel_size
    fy = half_frequencies(shape[1])[None, :] / pixel_size
    return np.hypot(fx, fy), np.arctan2(fy, fx)


def apply_ctf(images: NDArray, transfer: NDArray) -> NDArray[np.float32]:
    """Multiply the spectra of `images`, shape (n, lines, pixels), by half spectra (n or 1, lines, pixels // 2 + 1)."""
    spectra = centred_rfftn(images, 2) * np.asarray(transfer, dtype=np.float32)
    return centred_irfftn(spectra, images.shape[-2:]).astype(np.float32)
