"""Pictures of volumes: central sections, projections and a shaded isosurface.

Volumes are (sections, lines, pixels) = (z, x, y). The view down z shows lines downwards and pixels to the right, as a section
of the file does; the other two views show z downwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.pictures.grey import F32, U8

#: What the three views show, in the order of `central_sections` and `projections`: view axis, downwards, to the right.
VIEWS = (("z", "x", "y"), ("x", "z", "y"), ("y", "z", "x"))


def central_sections(volume: F32) -> list[F32]:
    """The three sections through index ``N // 2``: normal to z, x and y.

    Parameters
    ----------
    volume : ndarray, shape (sections, lines, pixels)

    Returns
    -------
    list of three 2D arrays, as `VIEWS` says
    """
    z, x, y = (n // 2 for n in volume.shape)
    return [volume[z], volume[:, x, :], volume[:, :, y]]


def projections(volume: F32) -> list[F32]:
    """Sums along z, x and y, laid out as `VIEWS` says."""
    return [volume.sum(axis=a, dtype=np.float64).astype(np.float32) for a in (0, 1, 2)]


def isovalue(volume: ArrayLike) -> float:
    """A level that separates the object from its surroundings.

    Otsu's criterion (IEEE Trans. SMC 9, 1979, 62) on the values above the median inside the inscribed sphere, never closer to
    the background than three of its robust standard deviations.

    Parameters
    ----------
    volume : array_like, shape (sections, lines, pixels)
        Density, object bright.

    Returns
    -------
    float
    """
    v = np.nan_to_num(np.asarray(volume, dtype=np.float32))
    axes = [(np.arange(n) - n // 2) / max(n / 2, 1) for n in v.shape]
    inside = v[axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2 <= 1.0]
    middle = float(np.median(inside))
    spread = 1.4826 * float(np.median(np.abs(inside - middle)))
    upper = np.sort(inside[inside > middle].astype(np.float64))
    if upper.size < 8 or upper[-1] <= upper[0]:
        return float(v.max())
    # the variance between the two groups, at every split of a histogram clipped at the far tail
    counts, edges = np.histogram(upper, bins=256, range=(upper[0], upper[int(0.9995 * (upper.size - 1))]))
    mids = 0.5 * (edges[1:] + edges[:-1])
    n0 = np.cumsum(counts)[:-1].astype(np.float64)
    s0 = np.cumsum(counts * mids)[:-1]
    n1, s1 = counts.sum() - n0, (counts * mids).sum() - s0
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num(n0 * n1 * (s0 / n0 - s1 / n1) ** 2)
    level = float(edges[1 + int(np.argmax(between))])
    return min(max(level, middle + 3.0 * spread), float(upper[-1]))


def without_dust(volume: F32, level: float, fraction: float = 0.02) -> F32:
    """Lower everything above `level` that belongs to no piece of at least `fraction` of the largest piece's voxels."""
    from scipy import ndimage

    labels, count = ndimage.label(volume >= level)
    if count < 2:
        return volume
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = sizes >= fraction * sizes.max()
    keep[0] = True
    return np.where(keep[labels], volume, np.minimum(volume, level - 1e-6 * max(abs(level), 1.0))).astype(np.float32)


def shrink(volume: ArrayLike, largest: int = 96) -> F32:
    """Volume averaged down to at most `largest` voxels a side, for pictures only."""
    v = np.nan_to_num(np.asarray(volume, dtype=np.float32))
    step = -(-max(v.shape) // largest)
    if step == 1:
        return v
    from scipy import ndimage

    return ndimage.gaussian_filter(v, 0.5 * step)[step // 2 :: step, step // 2 :: step, step // 2 :: step]


def calmed(volume: ArrayLike) -> F32:
    """Volume as surfaces are drawn from: `shrink`, and a Gaussian of 0.7 voxels that calms single voxels of noise."""
    from scipy import ndimage

    return ndimage.gaussian_filter(shrink(volume), 0.7)


def object_frame(volume: ArrayLike, level: float | None = None, margin: float = 1.06) -> float:
    """Fraction of the box that holds everything above `level` (`isovalue` by default) seen from any side, at most 1."""
    v = shrink(volume, 64)
    level = isovalue(v) if level is None else level
    index = np.argwhere(without_dust(v, level) >= level)
    if index.size == 0:
        return 1.0
    reach = np.sqrt(((index - np.array(v.shape) // 2) ** 2).sum(1).max()) + 1.0
    return float(min(1.0, margin * 2.0 * reach / max(v.shape)))


def crop_centre(array: F32, fraction: float) -> F32:
    """The central part of an image or a volume, `fraction` of each side, centre index kept at ``N // 2``."""
    where = []
    for n in array.shape:
        m = min(n, max(2, 2 * round(0.5 * n * fraction)))
        where.append(slice(n // 2 - m // 2, n // 2 - m // 2 + m))
    return array[tuple(where)]


@dataclass
class Surface:
    """Depth map of an isosurface seen from +z: `depth` in voxels from the centre (nan where nothing is), `normal` (3, ...)."""

    depth: NDArray[np.float64]
    normal: NDArray[np.float64]


def ray_cast(volume: F32, level: float, size: int, view: NDArray[np.float64] | None = None) -> Surface:
    """First crossing of `level` along every line of sight, orthographic.

    Parameters
    ----------
    volume : ndarray, shape (sections, lines, pixels), float32
    level : float
    size : int
        Lines and pixels of the picture; it shows the whole box.
    view : ndarray, shape (3, 3), optional
        Rotation of the object, acting on (x, y, z) columns (see `geometry.euler`).
    """
    from scipy import ndimage

    m = np.eye(3) if view is None else np.asarray(view, dtype=np.float64)
    shape = np.array(volume.shape)
    centre_zxy = shape // 2
    scale = shape.max() / size
    # depth range: the farthest voxel that is part of the object
    index = np.argwhere(volume >= level)
    empty = Surface(np.full((size, size), np.nan), np.zeros((3, size, size)))
    if index.size == 0:
        return empty
    reach = float(np.sqrt(((index - centre_zxy) ** 2).sum(1).max())) + 2.0
    step = 0.7
    depths = np.arange(reach, -reach - step, -step)
    # pixel i lies at voxel (i + 0.5) scale - 0.5 of the longest side, as in `grey.fit_tile`; only what can be hit is drawn
    first_at = 0.5 * scale - 0.5 - shape.max() // 2
    lo = max(0, int(np.floor((-reach - first_at) / scale)))
    hi = min(size, int(np.ceil((reach - first_at) / scale)) + 1)
    # picture (depth, line, pixel) -> view (z, x, y) -> object (z, x, y): M^T in the order z, x, y
    order = [2, 0, 1]
    back = m.T[np.ix_(order, order)]
    to_view = np.diag([-step, scale, scale])
    origin = np.array([reach, first_at + scale * lo, first_at + scale * lo])
    # outside the box counts as background, not as a wall at the level of its border
    sampled = ndimage.affine_transform(
        volume,
        back @ to_view,
        offset=back @ origin + centre_zxy,
        output_shape=(depths.size, hi - lo, hi - lo),
        order=1,
        cval=float(volume.min()),
    )
    above = sampled >= level
    hit = above.any(axis=0)
    if not hit.any():
        return empty
    first = above.argmax(axis=0)
    i, j = np.nonzero(hit)
    k = first[i, j]
    now, before = sampled[k, i, j].astype(np.float64), sampled[np.maximum(k - 1, 0), i, j].astype(np.float64)
    part = np.where((k > 0) & (now > before), (now - level) / np.where(now > before, now - before, 1.0), 0.0)
    z = depths[k] + step * part
    i, j = i + lo, j + lo
    depth = np.full((size, size), np.nan)
    depth[i, j] = z
    points = back @ np.stack([z, first_at + scale * i, first_at + scale * j]) + centre_zxy[:, None]
    gradient = np.stack(
        [
            ndimage.map_coordinates(ndimage.gaussian_filter1d(g, 0.7, axis=0), points, order=1, mode="nearest")
            for g in _gradient(volume)
        ]
    )
    towards = -(back.T @ gradient)  # outward normal in the view, (z, x, y)
    towards /= np.maximum(np.linalg.norm(towards, axis=0), 1e-12)
    normal = np.zeros((3, size, size))
    normal[:, i, j] = towards[[1, 2, 0]]
    return Surface(depth, normal)


def _gradient(volume: F32) -> list[F32]:
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(volume, 0.8)
    return [np.gradient(smooth, axis=a) for a in range(3)]


def shade(surface: Surface, colour: tuple[float, float, float] = (0.62, 0.66, 0.72)) -> NDArray[np.float64]:
    """RGBA (0..1) of a surface: Lambert light from the upper left, a little gloss, hollows and far parts darker.

    Parameters
    ----------
    surface : Surface
    colour : RGB, 0..1

    Returns
    -------
    ndarray, shape (lines, pixels, 4), float64
    """
    from scipy import ndimage

    out = np.zeros((*surface.depth.shape, 4))
    hit = np.isfinite(surface.depth)
    if not hit.any():
        return out
    light = np.array([-0.45, -0.4, 0.8])
    light /= np.linalg.norm(light)
    half = light + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    lambert = np.clip(np.tensordot(light, surface.normal, 1), 0.0, 1.0)
    gloss = np.clip(np.tensordot(half, surface.normal, 1), 0.0, 1.0) ** 30
    near, far = float(surface.depth[hit].max()), float(surface.depth[hit].min())
    fog = np.where(hit, (near - np.nan_to_num(surface.depth)) / max(near - far, 1e-9), 0.0)
    # hollows: how far a point lies behind the mean of its surroundings
    width = surface.depth.shape[0] / 24
    filled = np.where(hit, np.nan_to_num(surface.depth), far)
    weight = ndimage.gaussian_filter(hit.astype(np.float64), width)
    around = ndimage.gaussian_filter(np.where(hit, filled, 0.0), width) / np.maximum(weight, 1e-6)
    hollow = np.clip((around - filled) / max(0.18 * (near - far), 1e-9), 0.0, 1.0)
    bright = (0.30 + 0.75 * lambert) * (1.0 - 0.30 * fog) * (1.0 - 0.35 * hollow)
    out[..., :3] = np.clip(bright[..., None] * np.asarray(colour) * 1.1 + 0.16 * gloss[..., None], 0.0, 1.0)
    out[..., 3] = hit
    out[~hit] = 0.0
    return out


def surface_picture(
    volume: ArrayLike,
    size: int = 128,
    *,
    level: float | None = None,
    view: NDArray[np.float64] | None = None,
    colour: tuple[float, float, float] = (0.62, 0.66, 0.72),
) -> U8:
    """Shaded isosurface with a transparent background.

    Parameters
    ----------
    volume : array_like, shape (sections, lines, pixels)
    size : int
        Lines and pixels of the picture.
    level : float, optional
        Density of the surface; by default `isovalue` of the volume as `calmed`.
    view : ndarray, shape (3, 3), optional
        Rotation of the object before looking at it from +z.
    colour : RGB, 0..1

    Returns
    -------
    ndarray, shape (size, size, 4), uint8
    """
    v = calmed(volume)
    level = isovalue(v) if level is None else level
    over = 2 if size <= 256 else 1
    rgba = shade(ray_cast(without_dust(v, level), level, size * over, view), colour)
    if over > 1:
        # average over the finer grid, colours weighted by their cover, for smooth outlines
        blocks = rgba.reshape(size, over, size, over, 4)
        cover = blocks[..., 3].mean((1, 3))
        colours = (blocks[..., :3] * blocks[..., 3:]).mean((1, 3)) / np.maximum(cover, 1e-9)[..., None]
        rgba = np.concatenate([colours, cover[..., None]], -1)
    return np.rint(rgba * 255.0).astype(np.uint8)


#: Rotations that give the views of `VIEWS` for `surface_picture`: seen from +z, from -x and from +y.
VIEW_MATRICES = (
    np.eye(3),
    np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]),
    np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
)
