"""Maps of view directions: two hemispheres in Lambert's azimuthal equal-area projection.

Both discs are looked at along z: x (lines) downwards, y (pixels) to the right, so a direction and its opposite stand at
opposite points of the two discs.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.pictures.style import INK, colour_of, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

F64 = NDArray[np.float64]


def equal_area(directions: ArrayLike) -> tuple[F64, NDArray[np.bool_]]:
    """Positions of directions on their hemisphere's disc.

    Parameters
    ----------
    directions : array_like, shape (n, 3)
        Unit vectors (x, y, z).

    Returns
    -------
    points : ndarray, shape (n, 2), float64
        (x, y), radius 1 at the equator: ``r = sqrt(1 - |z|)``, so equal areas stand for equal solid angles (Snyder, USGS
        Professional Paper 1395, 1987, chapter 24).
    upper : ndarray, shape (n,), bool
        z >= 0.
    """
    d = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
    upper = d[:, 2] >= 0
    flat = np.hypot(d[:, 0], d[:, 1])
    radius = np.sqrt(np.clip(1.0 - np.abs(d[:, 2]), 0.0, 1.0))
    return d[:, :2] * np.where(flat > 0, radius / np.where(flat > 0, flat, 1.0), 0.0)[:, None], upper


def disc_directions(points: ArrayLike, upper: bool) -> F64:
    """Inverse of `equal_area`: unit vectors, shape (n, 3), of disc positions, shape (n, 2), inside the unit circle."""
    p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    r2 = np.clip((p**2).sum(1), 0.0, 1.0)
    z = 1.0 - r2
    xy = p * np.sqrt(np.clip(2.0 - r2, 0.0, None))[:, None]
    return np.concatenate([xy, (z if upper else -z)[:, None]], 1)


def _binned(directions: F64, rows: int = 60) -> tuple[F64, F64]:
    """Mean directions and counts of cells of equal solid angle, so that 100,000 images cost what 5,000 do."""
    if len(directions) <= 2 * rows * rows:
        return directions, np.ones(len(directions))
    i = np.clip(((directions[:, 2] + 1) * 0.5 * rows).astype(np.int64), 0, rows - 1)
    j = ((np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) % 1.0) * 2 * rows).astype(np.int64) % (2 * rows)
    cell = i * 2 * rows + j
    count = np.bincount(cell, minlength=2 * rows * rows).astype(np.float64)
    mean = np.stack([np.bincount(cell, directions[:, a], 2 * rows * rows) for a in range(3)], 1)
    used = count > 0
    mean = mean[used]
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12), count[used]


def density(directions: ArrayLike, at: ArrayLike, width: float | None = None) -> F64:
    """Smoothed density of directions relative to a uniform one (1 everywhere if all views are equally frequent).

    Parameters
    ----------
    directions : array_like, shape (n, 3)
    at : array_like, shape (m, 3)
        Where to evaluate.
    width : float, optional
        Sigma of the von Mises-Fisher kernel in degrees; by default 6 to 18, less the more images there are.

    Returns
    -------
    ndarray, shape (m,), float64
    """
    d, at = np.asarray(directions, dtype=np.float64).reshape(-1, 3), np.asarray(at, dtype=np.float64)
    if len(d) == 0:
        return np.zeros(len(at))
    sigma = np.deg2rad(np.clip(260.0 / np.sqrt(len(d)), 6.0, 18.0) if width is None else width)
    kappa = 1.0 / sigma**2
    mean, weight = _binned(d)
    out = np.empty(len(at))
    for start in range(0, len(at), 512):
        out[start : start + 512] = np.exp(kappa * (at[start : start + 512] @ mean.T - 1.0)) @ weight
    # the kernel's integral over the sphere is 2 pi (1 - exp(-2 kappa)) / kappa
    return out * 4.0 * np.pi * kappa / (2.0 * np.pi * (1.0 - np.exp(-2.0 * kappa)) * len(d))


def density_maps(directions: ArrayLike, size: int = 61) -> F64:
    """Relative density on the two discs, shape (2, size, size), upper hemisphere first; outside the disc the rim's values."""
    axis = np.linspace(-1, 1, size)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1.0)
    return np.stack([density(directions, disc_directions(points, upper)).reshape(size, size) for upper in (True, False)])


def _disc(ax: "Axes", grey: F64, top: float, dots: F64, colour: str) -> Any:
    image = ax.imshow(grey, cmap="Greys", vmin=0, vmax=top, extent=(-1, 1, 1, -1), interpolation="bilinear", zorder=1)
    angle = np.linspace(0, 2 * np.pi, 121)
    clip = ax.fill(np.cos(angle), np.sin(angle), fill=False, lw=0.8, ec=INK, zorder=4)[0]
    image.set_clip_path(clip)
    for tilt in (30, 60):
        r = np.sqrt(1 - np.cos(np.deg2rad(tilt)))
        ax.plot(r * np.cos(angle), r * np.sin(angle), color=INK, lw=0.35, alpha=0.5, zorder=2)
    if len(dots):
        ax.scatter(dots[:, 1], dots[:, 0], s=3, color=colour, lw=0, alpha=0.75, zorder=3, rasterized=len(dots) > 300)
    ax.set(xlim=(-1.03, 1.03), ylim=(1.03, -1.03), aspect="equal")
    ax.axis("off")
    return image


def draw_pair(
    axes: Sequence["Axes"], directions: ArrayLike, number: int = 0, *, top: float | None = None, dots: int = 1500
) -> Any:
    """Both hemispheres of one set of directions on two axes; returns the image for a colour bar.

    Parameters
    ----------
    axes : two Axes
    directions : array_like, shape (n, 3)
    number : int
        3D whose colour the points have.
    top : float, optional
        Density drawn black.
    dots : int
        Directions are drawn as points where they are no more than this.
    """
    d = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
    maps = density_maps(d)
    # a sample would look like structure, and all of them hide the density
    shown = d if len(d) <= dots else d[:0]
    points, upper = equal_area(shown)
    top = max(2.0, float(np.max(maps))) if top is None else top
    image = None
    for ax, side, select in zip(axes, maps, (upper, ~upper), strict=True):
        image = _disc(ax, side, top, points[select], colour_of(number or 1))
    return image


def orientation_figure(
    groups: Mapping[int, ArrayLike] | Sequence[ArrayLike], *, columns: int = 3, dots: int = 1500, name: str = "3D"
) -> "Figure":
    """Orientation maps, one pair of hemispheres for each 3D.

    Parameters
    ----------
    groups : mapping of number to array (n, 3)
        View directions by 3D; number 0 is labelled "all images".
    columns : int
        Pairs in a row.
    dots : int
        Directions of a 3D are drawn as points above the density where they are no more than this.
    """
    items = list(groups.items()) if isinstance(groups, Mapping) else list(enumerate(groups, 1))
    columns = max(1, min(columns, len(items)))
    rows = -(-max(len(items), 1) // columns)
    figure = new_figure(3.55 * columns + 0.3, 1.95 * rows + 0.45)
    top = max([2.0] + [float(np.percentile(density_maps(d), 99.5)) for _, d in items])
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for ax in grid.ravel():
        ax.axis("off")
    image = None
    for k, (number, d) in enumerate(items):
        pair = grid[k // columns, 2 * (k % columns) : 2 * (k % columns) + 2]
        image = draw_pair(list(pair), d, number, top=top, dots=dots)
        label = f"{name} {number}" if number > 0 else "all images"
        pair[0].set_title(f"{label}: {len(np.atleast_2d(d))} images, from +z", fontsize=8)
        pair[1].set_title("from −z", fontsize=8)
    if image is not None:
        bar = figure.colorbar(
            image, ax=grid.ravel().tolist(), location="bottom", shrink=min(0.5, 1.2 / columns), aspect=40, pad=0.03
        )
        bar.set_label("density of views (1 = uniform)", fontsize=8)
        bar.outline.set_linewidth(0.4)
    return figure
