"""Projection by the slice theorem: central slices of a padded spectrum.

Conventions of poses and axes: `geometry.euler`. A projection is the sum of the rotated volume along z.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import MismatchError
from imagic4d_core.kernels import gridding
from imagic4d_core.recon.grid import Grid, divide_stencil, grid_for, stencil_table

#: Images of one inverse FFT: few enough to stay in the cache.
FFT_BATCH = 16


def batch_size(box: int) -> int:
    """Images projected together (see `kernels.gridding.plan_tiles`): about 128 MiB, the same for any number of threads."""
    return min(512, max(16, 2**25 // box**2))


def check_cube(volume: NDArray) -> int:
    """Return the box of a cubic volume, or raise MismatchError."""
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise MismatchError(f"volume of shape {volume.shape} is not a cube")
    return volume.shape[0]


class Projector:
    """A volume prepared for projection.

    Parameters
    ----------
    volume : ndarray, shape (n, n, n), float32
        Axes (sections, lines, pixels), centred at ``n // 2``.
    r_max : int, optional
        Largest frequency of the projections in Fourier pixels; the grid, and its cost, shrink with it. Default and
        maximum: the last one below Nyquist.
    oversampling : float
        Grid cells per Fourier pixel.
    width : {3, 4}
        Stencil width in cells.
    """

    def __init__(self, volume: NDArray, r_max: int | None = None, oversampling: float = 2.0, width: int = 4):
        box = check_cube(volume)
        self.grid: Grid = grid_for(box, r_max, oversampling, width)
        g = self.grid
        v = np.ascontiguousarray(volume, dtype=np.float32)
        if g.small != box:
            f = fourier.crop_rfftn(fourier.centred_rfftn(v, 3), (box,) * 3, (g.small,) * 3)
            v = fourier.centred_irfftn(f, (g.small,) * 3)
        keep = min(g.reach, g.padded // 2) + 1
        f = fourier.padded_rfft3(divide_stencil(v, g), g.padded, keep)
        self._cells = np.empty(2 * int(np.prod(g.shape)), np.float32)
        gridding.store_grid(f.view(np.float32).reshape(*f.shape, 2), np.array(g.shape), self._cells)
        self._table = stencil_table(g.width, g.oversampling)

    def slices(self, matrices: ArrayLike, shifts: ArrayLike | None = None, box: int | None = None) -> NDArray[np.complex64]:
        """Central slices: half spectra of projections.

        Parameters
        ----------
        matrices : array_like, shape (n, 3, 3)
        shifts : array_like, shape (n, 2), optional
            Displacement (x, y) of the projection in pixels of the volume's box.
        box : int, optional
            Size of the images whose spectra are made (default: the volume's box); frequencies beyond it are left out.

        Returns
        -------
        ndarray, shape (n, box, box // 2 + 1), complex64
            Numpy's order, phase origin at the image centre, unscaled (as of `fourier.centred_rfftn` of the
            projections at full box).
        """
        return self._slices(matrices, shifts, box, 0.0)

    def _slices(self, matrices: ArrayLike, shifts: ArrayLike | None, box: int | None, origin: float) -> NDArray[np.complex64]:
        g = self.grid
        n_out = g.box if box is None else int(box)
        m = np.ascontiguousarray(matrices, dtype=np.float64).reshape(-1, 3, 3)
        d = np.zeros((len(m), 2)) if shifts is None else np.array(shifts, dtype=np.float64).reshape(-1, 2)
        if len(d) != len(m):
            raise MismatchError(f"{len(m)} poses but {len(d)} shifts")
        d = d * (n_out / g.box) + origin
        out = np.zeros((len(m), n_out, n_out // 2 + 1), np.complex64)
        view = out.view(np.float32).reshape(*out.shape, 2)
        size = batch_size(n_out)
        for start in range(0, len(m), size):
            part = slice(start, start + size)
            tiles = gridding.tile_order(np.arange(len(m[part])), m[part], g.r_max, g.oversampling, g.reach)
            gridding.slice_grid(
                self._cells, np.array(g.shape), n_out, g.r_max, g.oversampling, g.width, self._table, m[part], tiles,
                gridding.phase_ramps(n_out, g.r_max, d[part]), view[part],
            )  # fmt: skip
        return out

    def project(self, matrices: ArrayLike, shifts: ArrayLike | None = None, box: int | None = None) -> NDArray[np.float32]:
        """Projections, float32 (n, box, box); parameters as `slices`.

        With a smaller `box` the images are sampled more coarsely at the same grey values.
        """
        n_out = self.grid.box if box is None else int(box)
        m = np.ascontiguousarray(matrices, dtype=np.float64).reshape(-1, 3, 3)
        out = np.empty((len(m), n_out, n_out), np.float32)
        size = batch_size(n_out)
        for start in range(0, len(m), size):
            part = slice(start, start + size)
            f = self._slices(m[part], None if shifts is None else np.asarray(shifts)[part], n_out, float(n_out // 2))
            if n_out != self.grid.box:
                f *= np.float32((n_out / self.grid.box) ** 2)
            for i in range(0, len(f), FFT_BATCH):
                out[start + i : start + i + FFT_BATCH] = fourier.irfftn(f[i : i + FFT_BATCH], (n_out, n_out))
        return out


def project_volume(
    volume: NDArray, matrices: ArrayLike, shifts: ArrayLike | None = None, r_max: int | None = None
) -> NDArray[np.float32]:
    """Project a volume.

    Parameters
    ----------
    volume : ndarray, shape (n, n, n)
    matrices : array_like, shape (m, 3, 3)
        Poses (`geometry.euler`).
    shifts : array_like, shape (m, 2), optional
        Displacements (x, y) in pixels.
    r_max : int, optional
        Largest frequency in Fourier pixels.

    Returns
    -------
    ndarray, shape (m, n, n), float32
    """
    return Projector(volume, r_max).project(matrices, shifts)
