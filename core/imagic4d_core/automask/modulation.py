"""The modulation of an image or a volume: how much varies around each pixel, in standard deviations of the background.

Band-pass, square, low-pass, root: IMAGIC's local variance, from which the mask is cut. How much is smoothed follows from the
data: just as far as needed to lift the object out of the noise (see `choose_scale`), so that a good map keeps a close-fitting
mask and a noisy one still gets a whole one. Scales are standard deviations of Gaussians in pixels; `scale_of` turns cut-offs
into them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.filters.band import Band, filtered, multiply_radial

F32 = NDArray[np.float32]

CONTRASTS = ("auto", "bright", "dark", "both")
#: A pixel stands out of the background from here on, standard deviations.
STANDS_OUT = 3.5
#: Enough smoothing: scale in pixels times the median of what stands out. Flat optimum in simulations of 2D and 3D, odd and even
#: boxes, SNR 0.01 to 1 (docs/auto-mask.md).
ENOUGH = 14.0
#: The scale before squaring and the scale after it, over the scale as a whole.
BEFORE, AFTER = 0.8, 0.6
#: Largest scale, of the shortest edge; finest scale, and its resolution where the pixel size is known, angstrom.
COARSEST, FINEST, FINEST_ANGSTROM = 1 / 16, 1.0, 15.0
_STEP = 2**0.25


@dataclass(frozen=True)
class Background:
    """Mean and standard deviation of what is not object."""

    mean: float
    sd: float


@dataclass
class Modulation:
    """Result of `modulation`.

    Attributes
    ----------
    map : ndarray, shape of the object, float32
        In standard deviations of the background.
    scale : float
        Pixels.
    dark : bool
        The object is darker than the background.
    """

    map: F32
    scale: float
    dark: bool


def scale_of(frequency: float) -> float:
    """Scale (pixels) of the Gaussian that passes one half at a fraction of Nyquist."""
    return float(np.sqrt(2 * np.log(2)) / (np.pi * frequency))


def frequency_of(scale: float) -> float:
    """Inverse of `scale_of`."""
    return float(np.sqrt(2 * np.log(2)) / (np.pi * scale))


def background(x: NDArray) -> Background:
    """Mean and standard deviation of the background, by clipping at 2 standard deviations until nothing changes.

    Values that many pixels share exactly (the surround of a map that was masked before) are left out.
    """
    values = x.ravel()
    middle = np.median(values)
    if np.count_nonzero(values == middle) > 0.02 * values.size:
        rest = values[values != middle]
        values = rest if rest.size > 0.02 * x.size else values
    mean = float(np.median(values))
    # the object lies on one side of the middle: the other side is nearer to the truth
    sides = (values[values <= mean], values[values >= mean])
    sd = min(float(np.sqrt(np.mean((side.astype(np.float64) - mean) ** 2))) for side in sides)
    for _ in range(50):
        part = values[np.abs(values - mean) <= 2.0 * sd]
        if not part.size or sd == 0:
            break
        new, spread = float(part.mean(dtype=np.float64)), float(part.std(dtype=np.float64)) / 0.8796
        done = abs(new - mean) < 1e-3 * sd and abs(spread - sd) < 1e-3 * sd
        mean, sd = new, spread
        if done:
            break
    # a background without any noise: what floating-point numbers can tell apart
    return Background(mean, max(sd, 1e-5 * float(np.abs(values - mean).max(initial=0.0)), 1e-30))


def smoothed(spectrum: NDArray, shape: tuple[int, ...], scale: float) -> F32:
    """An object from its half spectrum, low-passed by a Gaussian of `scale` pixels."""

    def curve(f: NDArray) -> NDArray:
        return np.exp(np.square(f) * np.float32(-0.5 * (np.pi * scale) ** 2))

    return fourier.irfftn(multiply_radial(spectrum.copy(), shape, curve), shape)


def _one_sided(x: F32, ground: Background, contrast: str, dark: bool) -> F32:
    z = ((x - np.float32(ground.mean)) / np.float32(ground.sd)).astype(np.float32)
    if contrast == "both":
        return np.abs(z)
    return np.maximum(-z if dark else z, 0)


def _is_dark(x: F32, ground: Background) -> bool:
    """Whether what stands out is mostly below the background."""
    z = (x - ground.mean) / ground.sd
    return float((np.minimum(z + 2, 0) ** 2).sum(dtype=np.float64)) > float((np.maximum(z - 2, 0) ** 2).sum(dtype=np.float64))


def choose_scale(spectrum: NDArray, shape: tuple[int, ...], contrast: str = "auto", finest: float = FINEST) -> tuple[float, bool]:
    """The smallest scale at which the object stands out well enough, and whether the object is dark.

    Scales grow by a fourth root of 2 from `finest` until scale times the median of all pixels above `STANDS_OUT` reaches
    `ENOUGH`, at most to `COARSEST` of the shortest edge. The median is measured on the data, so coloured noise counts as what
    it is.
    """
    scale, last = finest, max(finest, COARSEST * min((n for n in shape if n > 1), default=1))
    while True:
        x = smoothed(spectrum, shape, scale)
        ground = background(x)
        dark = contrast == "dark" or (contrast == "auto" and _is_dark(x, ground))
        z = _one_sided(x, ground, contrast, dark)
        out = z[z > STANDS_OUT]
        if (out.size > 3 and scale * float(np.median(out)) >= ENOUGH) or scale * _STEP > last * 1.001:
            return scale, dark
        scale *= _STEP


def modulation(
    data: NDArray, *, contrast: str = "auto", high: float | None = None, low: float | None = None, sharpness: float | None = None,
    pixel_size: float | None = None,
) -> Modulation:  # fmt: skip
    """The modulation map of one image or volume.

    Parameters
    ----------
    data : ndarray, shape (lines, pixels) or (sections, lines, pixels)
    contrast : {"auto", "bright", "dark", "both"}
        Which deviations from the background count; "auto" takes the stronger side, "both" is IMAGIC's plain square.
    high : float, optional
        Low-pass before squaring (a noise filter), fraction of Nyquist; default: by `choose_scale`.
    low : float, optional
        High-pass, fraction of Nyquist: about 2 / (smallest extent of the object in pixels) takes an uneven background away.
    sharpness : float, optional
        Low-pass after squaring, fraction of Nyquist: how finely the mask follows the object.
    pixel_size : float, optional
        Angstrom; the scale is then never finer than 15 A.

    Returns
    -------
    Modulation
    """
    x = np.asarray(data, np.float32)
    shape, d = x.shape, x.ndim
    if low:  # continued beyond its border, where an uneven background would jump
        x = filtered(x[None].copy(), d, Band(low=low).curve, padding=1.5)[0]
    spectrum = fourier.rfftn(x, d)
    if high is None:
        finest = FINEST if not pixel_size else max(FINEST, scale_of(min(1.0, 2 * pixel_size / FINEST_ANGSTROM)))
        scale, dark = choose_scale(spectrum, shape, contrast, finest)
        before = BEFORE * scale
    else:
        before = scale_of(high)
        scale = before / BEFORE
        dark = contrast == "dark"
    y = smoothed(spectrum, shape, before)
    ground = background(y)
    if high is not None and contrast == "auto":
        dark = _is_dark(y, ground)
    z = _one_sided(y, ground, contrast, dark)
    after = AFTER * scale if sharpness is None else scale_of(sharpness)
    square = smoothed(fourier.rfftn(np.square(z), d), shape, after)
    return Modulation(np.sqrt(np.maximum(square, 0)).astype(np.float32), float(scale), bool(dark))
