"""Naive twins of the geometric operations: scipy's interpolation, sums over pixels, plain loops."""

import numpy as np
from scipy import ndimage

ORDER = {"nearest": 0, "bilinear": 1, "spline": 3}


def affine(
    image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, box: tuple[int, ...], method: str, fill: float
) -> np.ndarray:
    """Interpolation at ``matrix i + offset``; half a pixel beyond the outermost centres counts as on them."""
    d = image.ndim
    grid = np.indices(box).reshape(d, -1)
    at = matrix @ grid + np.asarray(offset)[:, None]
    size = np.array(image.shape)[:, None]
    if method == "nearest":
        at = np.floor(at + 0.5)
        inside = ((at >= 0) & (at < size)).all(0)
    else:
        inside = ((at >= -0.5) & (at <= size - 0.5)).all(0)
    at = np.clip(at, 0, size - 1)
    values = ndimage.map_coordinates(image.astype(np.float64), at, order=ORDER[method], mode="mirror")
    return np.where(inside, values, fill).reshape(box)


def spline_coefficients(image: np.ndarray) -> np.ndarray:
    """Cubic B-spline coefficients, mirrored at the ends."""
    return ndimage.spline_filter(image.astype(np.float64), order=3, mode="mirror")


def edge_mean(image: np.ndarray) -> float:
    """Mean of the outermost pixels; axes of length 1 have no ends."""
    edge = np.zeros(image.shape, bool)
    for axis in range(image.ndim):
        for end in (0, -1) if image.shape[axis] > 1 else ():
            edge[(slice(None),) * axis + (end,)] = True
    return float(image[edge].astype(np.float64).mean())


def cut(image: np.ndarray, size: tuple[int, ...], centre: tuple[int, ...], fill: float) -> np.ndarray:
    """Window by window, pixel by pixel."""
    out = np.full(size, fill, image.dtype)
    for index in np.ndindex(*size):
        old = tuple(i + c - m // 2 for i, c, m in zip(index, centre, size, strict=True))
        if all(0 <= o < n for o, n in zip(old, image.shape, strict=True)):
            out[index] = image[old]
    return out


def binned(x: np.ndarray, step: int) -> np.ndarray:
    """Mean around every `step`-th element counted from the middle, of a 1D array; even steps give the ends half a weight."""
    n, half = len(x), step // 2
    m = n // step
    weights = np.ones(2 * half + 1)
    if step % 2 == 0:
        weights[[0, -1]] = 0.5
    out = []
    for i in range(m):
        centre = n // 2 + (i - m // 2) * step
        out.append(
            sum(w * x[min(max(centre + j, 0), n - 1)] for w, j in zip(weights, range(-half, half + 1), strict=True)) / step
        )
    return np.array(out)


def fourier_sample(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The trigonometric polynomial through an image (n, n, odd), at positions (2, m)."""
    f = np.fft.fft2(x)
    n = x.shape[0]
    k = np.fft.fftfreq(n)
    phase = np.exp(2j * np.pi * (k[:, None, None] * at[0] + k[None, :, None] * at[1]))
    return (f[..., None] * phase).sum((0, 1)).real / x.size
