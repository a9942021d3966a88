"""Radial transfer functions: low-, high- and band-pass with several edges, and B-factors.

Frequencies are fractions of Nyquist, f = 2 |k| with k in cycles per pixel along each axis, so that a box need not be square.
Every edge but the hard one transmits one half at its cut-off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import InputError, UsageError

#: Pixels transformed at a time.
CHUNK = 1 << 17
EDGES = ("gaussian", "butterworth", "cosine", "hard")


def lowpass_curve(f: NDArray, cut: float, edge: str, width: float = 0.05, order: int = 8) -> NDArray:
    """Transmission of a low-pass.

    Parameters
    ----------
    f : ndarray
        Frequencies, fraction of Nyquist.
    cut : float
        Cut-off, fraction of Nyquist.
    edge : {"gaussian", "butterworth", "cosine", "hard"}
        ``exp(-ln 2 (f/cut)^2)``; ``1 / (1 + (f/cut)^order)``; a raised cosine from 1 to 0 between ``cut - width/2`` and
        ``cut + width/2``; 1 up to and at the cut-off, 0 beyond.
    width : float
        Of the cosine edge, fraction of Nyquist.
    order : int
        Of the Butterworth edge: the larger, the steeper.
    """
    if edge == "hard":
        return (f <= cut * (1 + 1e-6)).astype(np.float32)
    if edge == "gaussian":
        return np.exp(np.square(f / cut) * -np.log(2.0))
    if edge == "butterworth":
        with np.errstate(over="ignore"):
            return 1.0 / (1.0 + (f / cut) ** order)
    if edge == "cosine":
        low = max(0.0, cut - width / 2)
        return 0.5 + 0.5 * np.cos(np.pi * np.clip((f - low) / max(cut + width / 2 - low, 1e-9), 0.0, 1.0))
    raise UsageError(f"unknown edge {edge!r}: {', '.join(EDGES)}")


@dataclass(frozen=True)
class Band:
    """A filter.

    Attributes
    ----------
    low : float or None
        Frequencies below this are taken away (high-pass), fraction of Nyquist.
    high : float or None
        Frequencies above this are taken away (low-pass), fraction of Nyquist.
    edge : str
        See `lowpass_curve`.
    width : float
        Of the cosine edge, fraction of Nyquist.
    order : int
        Of the Butterworth edge.
    remaining : float
        What the high-pass lets through at frequency 0 (IMAGIC's remaining low-frequency transmission).
    bfactor : float
        Factor ``exp(-B/4 |s|^2)``, s in 1/angstrom; above 0 damps, below 0 sharpens. Angstrom squared.
    pixel_size : float or None
        Angstrom; needed for a B-factor.
    """

    low: float | None = None
    high: float | None = None
    edge: str = "gaussian"
    width: float = 0.05
    order: int = 8
    remaining: float = 0.0
    bfactor: float = 0.0
    pixel_size: float | None = None

    def check(self) -> "Band":
        """Raises UsageError for cut-offs that leave nothing, InputError for a B-factor without a pixel size."""
        if self.low is None and self.high is None and not self.bfactor:
            raise UsageError("no filter: give --high-pass, --low-pass or both, or --b-factor")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise UsageError(f"the band is empty: high-pass at {self.low:g} of Nyquist, low-pass at {self.high:g}")
        if not 0 <= self.remaining <= 1:
            raise UsageError(f"remaining low-frequency transmission {self.remaining:g}: give a number from 0 to 1")
        if self.bfactor and not self.pixel_size:
            raise InputError("a B-factor needs a pixel size, and the input has none: give --pixel-size")
        return self

    def curve(self, f: NDArray) -> NDArray:
        """Transmission at frequencies given as fractions of Nyquist."""
        f = np.asarray(f)
        out = np.ones(f.shape, f.dtype if f.dtype.kind == "f" else np.float64)
        if self.high is not None:
            out = out * lowpass_curve(f, self.high, self.edge, self.width, self.order)
        if self.low is not None:
            passed = 1.0 - lowpass_curve(f, self.low, self.edge, self.width, self.order)
            out = out * (self.remaining + (1.0 - self.remaining) * passed)
        if self.bfactor and self.pixel_size:
            # |s| = f / (2 pixel size)
            out = out * np.exp(np.square(f) * (-self.bfactor / (16.0 * self.pixel_size**2)))
        return out.astype(f.dtype if f.dtype.kind == "f" else np.float64, copy=False)

    def text(self) -> str:
        """In words, for summaries and headers."""
        parts = []
        if self.low is not None:
            rest = f", {self.remaining:g} of the lowest left" if self.remaining else ""
            parts.append(f"high-pass at {self.low:g} of Nyquist{rest}")
        if self.high is not None:
            parts.append(f"low-pass at {self.high:g} of Nyquist")
        said = " and ".join(parts) + (f", {self.edge} edge" if parts else "")
        if self.bfactor:
            said += ("; " if parts else "") + f"B-factor {self.bfactor:g} A^2"
        return said


def frequency_grid(shape: Sequence[int], section: int | None = None) -> NDArray[np.float32]:
    """Radial frequency (fraction of Nyquist) over a half spectrum of a real-space box, or over one section of it."""
    square = np.zeros((1,) * len(shape), np.float32)
    for a, n in enumerate(shape):
        f = fourier.half_frequencies(n) if a == len(shape) - 1 else fourier.frequencies(n)
        f = np.square(2 * f).astype(np.float32)
        if section is not None and a == 0:
            f = f[section : section + 1]
        square = square + f.reshape([-1 if a == k else 1 for k in range(len(shape))])
    return np.sqrt(square)[0] if section is not None else np.sqrt(square)


def multiply_radial(
    spectra: NDArray[np.complexfloating], shape: Sequence[int], curve: Callable[[NDArray], NDArray]
) -> NDArray[np.complexfloating]:
    """Multiply half spectra by a radial function, in place.

    Parameters
    ----------
    spectra : ndarray, shape (..., n1, [n2,] n // 2 + 1)
    shape : sequence of int
        Real-space box.
    curve : callable
        Frequencies (fraction of Nyquist), float32 -> factors.
    """
    if len(shape) == 2:
        spectra *= curve(frequency_grid(shape))
        return spectra
    for k in range(shape[0]):  # no table of the whole volume
        spectra[..., k, :, :] *= curve(frequency_grid(shape, k))
    return spectra


def filtered(
    data: NDArray[np.float32], ndim: int, curve: Callable[[NDArray], NDArray], padding: float = 1.0, workers: int = 1
) -> NDArray[np.float32]:
    """Images or volumes multiplied in Fourier space by a radial function, in place where the memory of `data` allows it.

    Parameters
    ----------
    data : ndarray, shape (n, *box), float32
    ndim : {2, 3}
        Axes of the box.
    curve : callable
        As for `multiply_radial`.
    padding : float
        Box of the transform over that of the data; beyond 1 the data are continued by their mirror image, so that the filter
        does not see the jump from one border to the other.
    workers : int
        Threads of the transform.
    """
    box = data.shape[-ndim:]
    flat = data.reshape(-1, *box)
    size = padded(flat[:1], ndim, padding).shape[1:] if padding > 1 else box
    middle: tuple[Any, ...] = (..., *[slice((p - n) // 2, (p - n) // 2 + n) for n, p in zip(box, size, strict=True)])
    table = curve(frequency_grid(size)) if ndim == 2 else None
    # few images at a time: their spectra then stay in the cache
    step = max(1, CHUNK // int(np.prod(size)))
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        spectra = fourier.rfftn(padded(part, ndim, padding) if padding > 1 else part, ndim, workers=workers)
        if table is None:
            multiply_radial(spectra, size, curve)
        else:
            spectra *= table
        flat[start : start + step] = fourier.irfftn(spectra, size, workers=workers)[middle]
    return flat.reshape(data.shape)


def padded(data: NDArray[np.float32], ndim: int, padding: float) -> NDArray[np.float32]:
    """Boxes continued by their mirror image on all sides, to an FFT-friendly size at least `padding` times theirs."""
    widths = [(0, 0)] * (data.ndim - ndim)
    for n in data.shape[-ndim:]:
        more = fourier.good_size(int(np.ceil(n * padding))) - n if n > 1 else 0
        widths.append((more // 2, more - more // 2))
    return np.pad(data, widths, mode="symmetric")
