"""Sizes and stencil of the oversampled Fourier grid shared by projection and reconstruction.

Kaiser-Bessel stencil (Jackson et al. 1991, doi:10.1109/42.97598) with the shape of Beatty et al. 2005
(doi:10.1109/TMI.2005.848376); its transform, by which real space is divided, is known in closed form.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.fourier import good_size
from imagic4d_core.kernels.gridding import HALO, LEFT, TABLE_STEPS


@dataclass(frozen=True)
class Grid:
    """Sizes of a grid; make it with `grid_for`.

    Attributes
    ----------
    box : int
        Image size in pixels.
    r_max : int
        Largest frequency used, in Fourier pixels of the box.
    small : int
        Box of the same field of view that just holds `r_max`; real-space work is done in it.
    padded : int
        Size of the padded real-space cube whose spectrum is the grid (even).
    oversampling : float
        Grid cells per Fourier pixel, ``padded / small``.
    width : int
        Stencil width in cells.
    sharpness : float
        Factor on the stencil's shape parameter: 1 has the least aliasing, more is narrower.
    """

    box: int
    r_max: int
    small: int
    padded: int
    width: int
    sharpness: float = 1.0

    @property
    def oversampling(self) -> float:
        return self.padded / self.small

    @property
    def reach(self) -> int:
        """Largest frequency stored on the full axes, in cells."""
        return int(np.ceil(self.oversampling * self.r_max - 1e-9)) + HALO

    @property
    def shape(self) -> tuple[int, int, int]:
        """Stored cells (z, x, y)."""
        n = self.reach
        return 2 * n + 1, 2 * n + 1, n + 1 + LEFT


def grid_for(box: int, r_max: int | None = None, oversampling: float = 2.0, width: int = 4, sharpness: float = 1.0) -> Grid:
    """Choose the sizes of a grid.

    Parameters
    ----------
    box : int
        Image size in pixels, at least 8.
    r_max : int, optional
        Largest frequency in Fourier pixels; at most, and by default, the last one below Nyquist.
    oversampling : float
        At least this many grid cells per Fourier pixel (1.25 to 4).
    width : {3, 4}
        Stencil width in cells.
    sharpness : float
        See `Grid`.

    Raises
    ------
    UsageError
        For sizes outside these ranges.
    """
    if box < 8:
        raise UsageError(f"box of {box} pixels is too small: at least 8 are needed")
    if not 1.25 <= oversampling <= 4:
        raise UsageError(f"oversampling {oversampling} is out of range: 1.25 to 4")
    if width not in (3, 4):
        raise UsageError(f"stencil width {width} is not available: 3 or 4")
    last = (box - 1) // 2
    r = last if r_max is None else min(int(r_max), last)
    if r < 1:
        raise UsageError(f"largest frequency {r_max} leaves nothing: at least 1 Fourier pixel is needed")
    small = min(box, good_size(2 * r + 2))
    return Grid(box, r, small, good_size(int(np.ceil(oversampling * small - 1e-9))), width, sharpness)


def bands(grid: Grid, low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Rows z of a grid cut into bands of about equal work: (first, end) of at most `count`, each higher than a stencil.

    Slices of all directions touch rows the less the farther from the middle they are, in proportion to the distance from the end.
    """
    z = np.arange(low, high)
    work = np.cumsum(np.maximum(grid.reach + 1.0 - np.abs(z - grid.reach), 1.0))
    cuts = [low]
    for k in range(1, count):
        cut = low + int(np.searchsorted(work, work[-1] * k / count))
        if cut - cuts[-1] >= grid.width and high - cut >= grid.width:
            cuts.append(cut)
    return list(zip(cuts, [*cuts[1:], high], strict=True))


def _beta(width: int, oversampling: float, sharpness: float) -> float:
    return float(sharpness * np.pi * np.sqrt((width / oversampling) ** 2 * (oversampling - 0.5) ** 2 - 0.8))


def _transform(x: NDArray[np.float64], width: int, beta: float) -> NDArray[np.float64]:
    """Transform of the stencil at x cycles per cell, up to a constant."""
    s = np.sqrt((beta**2 - (np.pi * width * x) ** 2).astype(np.complex128))
    return np.real(np.sinh(s) / np.where(s == 0, 1, s))


@lru_cache(maxsize=32)
def stencil_table(width: int, oversampling: float, sharpness: float = 1.0) -> NDArray[np.float32]:
    """Flat table of 4 weights a row for `TABLE_STEPS` positions inside a cell; weights of a point sum to about 1.

    Weight j of row t / TABLE_STEPS belongs to cell ``floor(u - width / 2) + 1 + j`` of a point u with
    ``t = u - width / 2 - floor(u - width / 2)``.
    """
    beta = _beta(width, oversampling, sharpness)
    t = np.arange(TABLE_STEPS + 2) / TABLE_STEPS
    u = (width / 2 + t[:, None] - 1 - np.arange(4)) * 2 / width
    w = np.where(np.abs(u) <= 1, np.i0(beta * np.sqrt(np.clip(1 - u * u, 0, None))), 0.0)
    integral = width * np.sinh(beta) / beta
    table = (w / integral).astype(np.float32).ravel()
    table.setflags(write=False)
    return table


@lru_cache(maxsize=32)
def correction(grid: Grid) -> NDArray[np.float32]:
    """Real-space divisor along one axis of the small box (1 at the centre), shape (small,)."""
    beta = _beta(grid.width, grid.oversampling, grid.sharpness)
    x = (np.arange(grid.small) - grid.small // 2) / grid.padded
    c = (_transform(x, grid.width, beta) / _transform(np.zeros(1), grid.width, beta)).astype(np.float32)
    c.setflags(write=False)
    return c


def divide_stencil(volume: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Divide a cube of the small box by the stencil's transform (returns a new array)."""
    inv = (1.0 / correction(grid)).astype(np.float32)
    return volume * (inv[:, None, None] * inv[:, None]) * inv
