"""CTF parameters in headers: words 25 to 27 (defocus), 101 (voltage) and 102 (spherical aberration)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.transfer import astigmatic_defocus, ctf, frequency_grid
from imagic4d_core.errors import InputError
from imagic4d_core.io.header import TAG

F64 = NDArray[np.float64]
#: The words that hold the parameters.
WORDS = ("DEFOCUS1", "DEFOCUS2", "DEFANGLE", "VOLTAGE", "SPABERR")
#: Corrections, by what word 93 then says.
DONE = {"phase-flip": 1, "wiener": 2, "multiply": 3}


@dataclass
class CtfParameters:
    """What the CTF of n images follows from.

    Attributes
    ----------
    defocus1, defocus2 : ndarray, shape (n,), float64
        Underfocus along the axis of astigmatism and across it, angstrom.
    axis : ndarray, shape (n,), float64
        That axis, degrees from the x axis (lines) to y (pixels).
    voltage_kv, cs_mm : ndarray, shape (n,), float64
    amplitude : float
        Amplitude contrast.
    """

    defocus1: F64
    defocus2: F64
    axis: F64
    voltage_kv: F64
    cs_mm: F64
    amplitude: float = 0.1

    @classmethod
    def from_headers(
        cls, h: NDArray, path: str | Path, *, start: int = 0, amplitude: float = 0.1, voltage_kv: float | None = None,
        cs_mm: float | None = None,
    ) -> "CtfParameters":  # fmt: skip
        """Take them from header records.

        Parameters
        ----------
        h : ndarray, shape (n,), `HEADER_DTYPE`
        path : path
            For messages.
        start : int
            0-based number of the first image, for messages.
        amplitude : float
        voltage_kv, cs_mm : float, optional
            In place of words 101 and 102. Without them a word 102 of 0 is an aberration of 0; a voltage is needed.

        Raises
        ------
        InputError
            An image without defocus or voltage.
        """
        first, second = h["DEFOCUS1"].astype(np.float64), h["DEFOCUS2"].astype(np.float64)
        bad = np.flatnonzero(~(np.isfinite(first) & np.isfinite(second) & (first != 0)))
        if len(bad):
            raise InputError(
                f"{path}: image {start + bad[0] + 1} has no defocus (words 25 and 26); set it, or take it from a STAR file"
            )
        second = np.where(second == 0, first, second)
        # word 101 is in volts on the newest page of the format and was in kilovolts before
        volts = h["VOLTAGE"].astype(np.float64)
        kv = np.where(volts > 1000, volts / 1000, volts) if voltage_kv is None else np.full(len(h), float(voltage_kv))
        if len(bad := np.flatnonzero(~(kv > 0))):
            raise InputError(f"{path}: image {start + bad[0] + 1} has no voltage (word 101); give --voltage in kV")
        cs = h["SPABERR"].astype(np.float64) if cs_mm is None else np.full(len(h), float(cs_mm))
        return cls(first, second, h["DEFANGLE"].astype(np.float64), kv, cs, amplitude)

    @classmethod
    def words(cls, h: NDArray, found: "dict[str, NDArray]") -> None:
        """Set words 25 to 27, 101 and 102 of header records from values by name, in place."""
        for name in WORDS:
            if name in found:
                h[name] = found[name]

    def transfer(self, shape: tuple[int, int], pixel_size: float) -> NDArray[np.float32]:
        """The CTF of each image on its half spectrum: (n, lines, pixels // 2 + 1).

        Parameters
        ----------
        shape : (lines, pixels)
        pixel_size : float
            Angstrom.
        """
        frequency, direction = frequency_grid(shape, pixel_size)
        out = np.empty((len(self.defocus1), *frequency.shape), np.float32)
        for i in range(len(out)):
            defocus = astigmatic_defocus(direction, self.defocus1[i], self.defocus2[i], self.axis[i])
            out[i] = ctf(frequency, defocus, voltage_kv=self.voltage_kv[i], cs_mm=self.cs_mm[i], amplitude=self.amplitude)
        return out


def correction(transfer: NDArray[np.float32], method: str, constant: float = 0.1) -> NDArray[np.float32]:
    """Factors by which spectra are multiplied.

    Parameters
    ----------
    transfer : ndarray, float32
        CTF.
    method : {"phase-flip", "wiener", "multiply"}
        ``sign(CTF)``; ``CTF / (CTF^2 + constant)``; ``CTF``, what a weighted sum or a reconstruction wants.
    constant : float
        Noise power over signal power, the same at all frequencies.
    """
    if method == "phase-flip":
        return np.where(transfer < 0, np.float32(-1), np.float32(1))
    if method == "wiener":
        return (transfer / (transfer * transfer + np.float32(constant))).astype(np.float32)
    if method == "multiply":
        return transfer
    raise ValueError(f"method {method!r} is unknown")


def done(h: NDArray) -> NDArray[np.int32]:
    """What was done about the CTF, from header records: word 93, 0 where word 79 is not tagged."""
    return np.where(h["IM4DTAG"] == TAG, h["CTFDONE"], 0).astype(np.int32)


def stored_transfer(
    h: NDArray, path: str | Path, shape: tuple[int, int], pixel_size: float | None, *, start: int = 0, amplitude: float = 0.1
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The CTF that stands between the object and stored images whose noise is white.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    path : path
        For messages, as `start` (0-based number of the first image).
    shape : (lines, pixels)
    pixel_size : float or None
    amplitude : float
        Amplitude contrast.

    Returns
    -------
    transfer : ndarray, shape (n, lines, pixels // 2 + 1), float32
        The CTF, its magnitude where phases were flipped or spectra multiplied by it, 1 after a Wiener filter.
    state : ndarray, shape (n,), int32
        What was done, as word 93.

    Raises
    ------
    InputError
        No pixel size; no defocus or voltage.
    """
    if not pixel_size:
        raise InputError(f"{path}: no pixel size is known, and the CTF needs one; set word 123 (header set)")
    found = CtfParameters.from_headers(h, path, start=start, amplitude=amplitude)
    transfer, state = found.transfer(shape, pixel_size), done(h)
    plain = state != 0
    transfer[plain] = np.abs(transfer[plain])
    transfer[state == DONE["wiener"]] = 1.0
    return transfer, state


def matched(spectra: NDArray[np.complex64], transfer: NDArray[np.float32], state: NDArray[np.int32]) -> None:
    """Weigh spectra by their CTF, in place, for correlation with an object: the matched filter. `stored_transfer`'s values."""
    todo = state != DONE["multiply"]
    if todo.all():
        spectra *= transfer
    else:
        spectra[todo] *= transfer[todo]


def with_white_noise(spectra: NDArray[np.complex64], transfer: NDArray[np.float32], state: NDArray[np.int32]) -> None:
    """Divide spectra that were multiplied by the CTF by it again, in place; beside its zeros they become 0."""
    for i in np.flatnonzero(state == DONE["multiply"]):
        c = transfer[i]
        spectra[i] *= np.where(c > 1e-3, 1.0 / np.maximum(c, 1e-3), 0.0)
