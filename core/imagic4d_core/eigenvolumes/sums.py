"""Weighted reconstructions of several volumes together, from integer sums, regularised by the SSNR of half sets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.eigenvolumes.views import F32, F64, Band, Views
from imagic4d_core.kernels import components as loops
from imagic4d_core.kernels.gridding import LEFT
from imagic4d_core.parallel import SERIAL, Comm, map_blocks
from imagic4d_core.recon.fourier import FLOOR, SHARPNESS, ssnr_from_fsc
from imagic4d_core.recon.grid import Grid, divide_stencil, grid_for, stencil_table

#: Fixed-point bits behind the point: sums of 2**33 units are the limit.
FIXED_BITS = 30
#: SSNR below which a shell is not damped further: a component that is not there yet must be able to grow.
LEAST_SSNR = 0.05


@dataclass(frozen=True)
class ComponentSums:
    """Integer sums of two half sets, see `kernels.components`.

    Attributes
    ----------
    sums : ndarray, shape (2, cells, 2 q + q (q + 1) / 2), int64
    grid : Grid
    volumes : int
        q.
    """

    sums: NDArray[np.int64]
    grid: Grid
    volumes: int


def upper(matrices: F64) -> F64:
    """Upper triangles, row by row, of matrices (n, q, q): shape (n, q (q + 1) / 2)."""
    return np.ascontiguousarray(matrices[:, *np.triu_indices(matrices.shape[1])])


def component_sums(
    views: Views, values: NDArray[np.complex64], z: F64, zz: F64, half: NDArray[np.int64], *, comm: Comm = SERIAL,
    threads: int = 1,
) -> ComponentSums:  # fmt: skip
    """One pass over the images of all ranks.

    Parameters
    ----------
    views : Views
    values : ndarray, shape (n, P), complex64
        What is reconstructed: spectra, or residuals.
    z : ndarray, shape (n, q), float64
        Coordinates: weights of the numerators.
    zz : ndarray, shape (n, q, q), float64
        Their products (expected values): weights of the denominators.
    half : ndarray, shape (n,), int64
        Half set, 0 or 1; below 0: left out.

    Returns
    -------
    ComponentSums
        The same on every rank, and for any number of ranks and threads.
    """
    band, q = views.band, z.shape[1]
    grid = grid_for(band.small, band.r_max, 2.0, 3, SHARPNESS[3])
    table = stencil_table(3, grid.oversampling, grid.sharpness)
    shape = np.array(grid.shape)
    columns = 2 * q + q * (q + 1) // 2
    triangle = upper(zz)

    def put(parts: list[slice]) -> NDArray[np.int64]:
        sums = np.zeros((2, int(np.prod(grid.shape)), columns), np.int64)
        for part in parts:
            transfer, weight = views.transfer(part), views.evidence(part)
            gains = np.ascontiguousarray(transfer * weight, np.float32)
            powers = np.ascontiguousarray(transfer * gains, np.float32)
            loops.insert_components(
                sums, shape, grid.oversampling, table, band.kx, band.ky,
                np.ascontiguousarray(values[part]).view(np.float32).reshape(*powers.shape, 2), gains, powers,
                views.matrices[part], np.ascontiguousarray(z[part]), triangle[part], half[part], 2.0**FIXED_BITS,
                1.0 / (band.r_max + 0.5),
            )  # fmt: skip
        return sums

    parts = [part for _, part in views.blocks()]
    shares = [parts[k::threads] for k in range(min(threads, len(parts)))] or [[]]
    made = map_blocks(put, shares, threads)
    total = made[0]
    for other in made[1:]:
        total += other
    return ComponentSums(comm.allreduce(total) if comm.size > 1 else total, grid, q)


def _volumes(sums: NDArray[np.int64], of: ComponentSums, ssnr: F64, mask: F32) -> F32:
    """Volumes of one set of sums, masked: (q, small, small, small); `ssnr` (q, shells)."""
    g, q = of.grid, of.volumes
    z, x, y = g.shape
    cells = np.zeros((z, x, y - LEFT, sums.shape[1]))
    loops.fold_components(sums, np.array(g.shape), q, 2.0**-FIXED_BITS, cells)
    means, counts = np.zeros((q, g.r_max + 2)), np.zeros(g.r_max + 2)
    loops.weight_means(cells, q, g.oversampling, means, counts)
    known = np.concatenate([ssnr, np.repeat(ssnr[:, -1:], 2, axis=1)], axis=1)[:, : g.r_max + 2]
    extra = means * (FLOOR + 1.0 / known) + 1e-12 * means.max() + 1e-300
    keep = min(y - LEFT, g.padded // 2 + 1)
    f = np.zeros((q, g.padded, g.padded, keep), np.complex64)
    view = f.view(np.float32).reshape(*f.shape, 2)
    loops.solve_components(cells, q, g.oversampling, g.oversampling * (g.r_max + 0.5), extra, view)
    return np.stack([divide_stencil(fourier.cropped_irfft3(one, g.padded, g.small), g) * mask for one in f]).astype(np.float32)


def component_volumes(of: ComponentSums, ssnr: F64, mask: F32) -> F32:
    """Volumes of all images.

    Parameters
    ----------
    of : ComponentSums
    ssnr : ndarray, shape (q, r_max + 1), float64
        Of each volume by shell, above 0: the Wiener term of a shell is its mean weight over it.
    mask : ndarray, shape (small, small, small), float32

    Returns
    -------
    ndarray, shape (q, small, small, small), float32
        Volumes whose slices are on the scale of the spectra that were put in.
    """
    return _volumes(of.sums[0] + of.sums[1], of, ssnr, mask)


def half_set_ssnr(of: ComponentSums, mask: F32) -> F64:
    """SSNR of each volume of all images by shell, from the FSC of its half sets under the mask; at least `LEAST_SSNR`.

    Returns
    -------
    ndarray, shape (q, r_max + 1), float64
    """
    plain = np.full((of.volumes, of.grid.r_max + 1), 1.0)
    a, b = (_volumes(part, of, plain, mask) for part in of.sums)
    return np.stack([smooth_ssnr(shell_correlation(x, y, of.grid.r_max)) for x, y in zip(a, b, strict=True)])


def shell_correlation(a: F32, b: F32, r_max: int) -> F64:
    """FSC of two cubes by shell 0 .. r_max; 0 where one is empty."""
    n = a.shape[0]
    fa, fb = (fourier.centred_rfftn(v, 3) for v in (a, b))
    shell, weight = fourier.shells(n, 3), fourier.half_weights(n)

    def total(x: NDArray) -> F64:
        return np.bincount(shell.ravel(), (weight * x).ravel(), r_max + 1)[: r_max + 1].astype(np.float64)

    power = np.sqrt(total(np.abs(fa) ** 2) * total(np.abs(fb) ** 2))
    return np.where(power > 0, total((fa * fb.conj()).real) / np.where(power > 0, power, 1.0), 0.0)


def smooth_ssnr(fsc: F64) -> F64:
    """SSNR of an FSC that is smoothed over neighbouring shells (1 2 1), at least `LEAST_SSNR`."""
    padded = np.pad(fsc[1:], 1, mode="edge")
    smooth = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return np.maximum(ssnr_from_fsc(np.append(smooth[:1], smooth)), LEAST_SSNR)


def to_box(volumes: F32, band: Band, unit: float) -> F32:
    """Volumes of the small box in the box of the images, on their grey scale: (q, box, box, box)."""
    small, box = band.small, band.box
    out = []
    for v in volumes:
        if small == box:
            out.append(v * np.float32(unit))
            continue
        f = fourier.crop_rfftn(fourier.centred_rfftn(v, 3), (small,) * 3, (box,) * 3)
        out.append(fourier.centred_irfftn(f, (box,) * 3) * np.float32(unit))
    return np.stack(out).astype(np.float32)


def to_small(volume: F32, band: Band, unit: float) -> F32:
    """Inverse of `to_box` for one volume."""
    small, box = band.small, band.box
    v = np.asarray(volume, np.float32) / np.float32(unit)
    if small == box:
        return v
    f = fourier.crop_rfftn(fourier.centred_rfftn(v, 3), (box,) * 3, (small,) * 3)
    return fourier.centred_irfftn(f, (small,) * 3).astype(np.float32)
