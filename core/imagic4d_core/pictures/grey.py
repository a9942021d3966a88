"""From densities to 8-bit greys: robust contrast, resampling to a tile size, tiling."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


def robust_limits(values: ArrayLike, low: float = 0.5, high: float = 99.7) -> tuple[float, float]:
    """Black and white level: percentiles of the finite values, so that single hot pixels do not set the contrast.

    Parameters
    ----------
    values : array_like, any shape
    low, high : float
        Percentiles.

    Returns
    -------
    tuple of float
        low < high always; (0, 1) where nothing is finite.
    """
    v = np.asarray(values, dtype=np.float64).ravel()
    v = v[np.isfinite(v)]
    if v.size == 0:
        return 0.0, 1.0
    lo, hi = (float(q) for q in np.percentile(v, [low, high]))
    if not hi > lo:
        lo, hi = float(v.min()), float(v.max())
    if not hi > lo:
        lo, hi = lo - 0.5, lo + 0.5
    return lo, hi


def to_grey(image: ArrayLike, limits: tuple[float, float] | None = None) -> U8:
    """Greys 0..255 of an array; values that are not finite become black.

    Parameters
    ----------
    image : array_like, shape (..., lines, pixels)
    limits : (black, white), optional
        By default `robust_limits` of the whole array.
    """
    a = np.asarray(image, dtype=np.float32)
    lo, hi = limits or robust_limits(a)
    scaled = np.clip((np.nan_to_num(a, nan=lo, posinf=hi, neginf=lo) - lo) / (hi - lo), 0.0, 1.0)
    return np.rint(scaled * 255.0).astype(np.uint8)


def fit_tile(image: ArrayLike, size: int) -> F32:
    """Resample an image so that its longer side is `size` pixels: averaging on the way down, linear on the way up.

    Parameters
    ----------
    image : array_like, shape (lines, pixels)
    size : int

    Returns
    -------
    ndarray, float32
    """
    from scipy import ndimage

    a = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    long_side = max(a.shape)
    if long_side == size:
        return a
    factor = size / long_side
    if factor < 1:
        # blur to the new pixel first, or fine noise aliases into false detail
        a = ndimage.gaussian_filter(a, 0.45 * np.sqrt(1.0 / factor**2 - 1.0), mode="nearest")
    shape = [max(1, round(n * factor)) for n in a.shape]
    grids = [(np.arange(m) + 0.5) * n / m - 0.5 for m, n in zip(shape, a.shape, strict=True)]
    return ndimage.map_coordinates(a, np.meshgrid(*grids, indexing="ij"), order=1, mode="nearest").astype(np.float32)


def to_rgb(picture: U8) -> U8:
    """RGB of a grey, RGB or RGBA picture; transparent parts show black."""
    if picture.ndim == 2:
        return np.repeat(picture[..., None], 3, axis=2)
    if picture.shape[2] == 4:
        alpha = picture[..., 3:].astype(np.uint16)
        return (picture[..., :3].astype(np.uint16) * alpha // 255).astype(np.uint8)
    return picture


def tile(
    pictures: Sequence[U8], columns: int, gap: int = 4, below: int = 0, background: int = 255
) -> tuple[U8, list[tuple[int, int]]]:
    """Lay pictures out in rows.

    Parameters
    ----------
    pictures : sequence of ndarray, uint8
        Grey (lines, pixels) or all with the same number of channels; shapes may differ.
    columns : int
    gap : int
        Pixels between tiles and around all.
    below : int
        Pixels kept free under each tile for its caption.
    background : int
        Grey value (alpha 0 for RGBA).

    Returns
    -------
    canvas : ndarray, uint8
    corners : list of (line, pixel)
        Top left corner of each picture.
    """
    if not pictures:
        raise ValueError("nothing to show")
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    high = max(p.shape[0] for p in pictures)
    wide = max(p.shape[1] for p in pictures)
    shape = (gap + rows * (high + below + gap), gap + columns * (wide + gap), *pictures[0].shape[2:])
    canvas = np.full(shape, background, dtype=np.uint8)
    if canvas.ndim == 3 and canvas.shape[2] == 4:
        canvas[..., 3] = 0
    corners = []
    for k, p in enumerate(pictures):
        i, j = gap + (k // columns) * (high + below + gap), gap + (k % columns) * (wide + gap)
        canvas[i : i + p.shape[0], j : j + p.shape[1]] = p
        corners.append((i, j))
    return canvas, corners
