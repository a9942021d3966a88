"""Direct Fourier inversion with integer sums.

Slices are spread over an oversampled grid with a Kaiser-Bessel stencil; the volume is
``sum(w C F) / (sum(w C^2) + 1/tau^2)``, divided in real space by the stencil's transform (algorithms: Penczek et al. 2004,
doi:10.1016/j.jsb.2003.10.016; Wiener form as in Scheres 2012, doi:10.1016/j.jmb.2011.11.010).

Fixed point. Spectra are divided by ``box * amplitude`` (amplitude = typical rms of an image, rounded to a power of two),
so that white noise has unit variance in every Fourier pixel, and multiplied by 2**32. A sum overflows only beyond
2**31 such units in one cell: a million images of box 512 whose whole power sits in one Fourier pixel reach 2**29.
The rounding error of one contribution is 2**-33 units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.kernels import gridding
from imagic4d_core.masks.shapes import soft_ball
from imagic4d_core.parallel import map_blocks
from imagic4d_core.recon.grid import Grid, bands, divide_stencil, grid_for, stencil_table
from imagic4d_core.units import Frequency

FIXED_BITS = 32
#: By width: stencils narrower than the ones of least aliasing average less over neighbouring slices. FSC against truth, best of
#: 0.8 to 2 (1,500 images, SNR 1): it is then at most 2e-5 below that of trilinear insertion in any shell, and up to 3e-3 above.
SHARPNESS = {3: 1.2, 4: 1.5}
#: A single value beyond this many units would not survive the rounding trick of the kernel.
_LARGEST = 2.0 ** (50 - FIXED_BITS)
#: Least weight of a cell, relative to the mean of its shell.
FLOOR = 1e-3


@overload
def shells_of(frequency: None, box: int, pixel_size: float | None) -> None: ...


@overload
def shells_of(frequency: Frequency, box: int, pixel_size: float | None) -> int: ...


@overload
def shells_of(frequency: Frequency | None, box: int, pixel_size: float | None) -> int | None: ...


def shells_of(frequency: Frequency | None, box: int, pixel_size: float | None) -> int | None:
    """Largest Fourier pixel of a frequency limit, at least 2; None without one."""
    if frequency is None:
        return None
    return max(2, int(np.floor(frequency.fraction(pixel_size) * box / 2 + 1e-6)))


def hamming_curve(frequency: ArrayLike, factor: float) -> NDArray[np.float64]:
    """IMAGIC's "Hamming" low-pass: a raised-cosine edge centred at `factor`.

    Parameters
    ----------
    frequency : array_like
        Fractions of Nyquist.
    factor : float
        0..1: 1 cuts sharply at Nyquist; 0.8 is 1 up to 0.6 and falls to 0 at 1; 0.5 falls from 0 to 1.

    Returns
    -------
    ndarray, float64
    """
    f = np.asarray(frequency, dtype=np.float64)
    half = min(factor, 1.0 - factor)
    if half <= 0:
        return (f <= factor).astype(np.float64)
    return 0.5 * (1.0 + np.cos(np.pi * np.clip((f - (factor - half)) / (2.0 * half), 0.0, 1.0)))


def _cut_ball(f: NDArray[np.complex64], r_max: int) -> NDArray[np.complex64]:
    """Zero a half spectrum (n, n, n // 2 + 1) beyond radius `r_max`, in place."""
    n = f.shape[0]
    k2 = np.minimum(np.arange(n), n - np.arange(n)) ** 2
    limit = r_max**2
    f[k2[:, None, None] + k2[:, None] + k2[: n // 2 + 1] > limit] = 0
    return f


class Accumulator:
    """Sums of central slices for several sets of images.

    Parameters
    ----------
    sets : int
        Number of independent sums (3Ds, half sets, folds ...).
    box : int
        Image size in pixels.
    r_max : int, optional
        Largest frequency inserted, in Fourier pixels (default: the last one below Nyquist).
    oversampling : float
        Grid cells per Fourier pixel.
    width : {3, 4}
        Stencil width in cells.
    amplitude : float
        Typical rms of an image; only the exponent counts. Every accumulator to be merged must be given the same.
    symmetry : array_like, shape (g, 3, 3), optional
        Rotations of the point group, identity included: every image goes in once for each.
    even_density : bool
        Weight slices by frequency, which evens out their density inside a stencil (see `kernels.gridding`).
    rows : tuple of int, optional
        Sum only what begins in these rows z of the grid (`grid.bands` gives them), end excluded; default: all.

    Attributes
    ----------
    num : int64 (sets, 2 * cells)
    den : int64 (sets, cells)
        The sums; add, subtract and reduce them as they are. With `rows` they hold these rows and the `grid.width` - 1 next.
    counts : int64 (sets,)
        Images inserted.
    """

    WIDTH = 3

    def __init__(
        self,
        sets: int,
        box: int,
        r_max: int | None = None,
        oversampling: float = 2.0,
        *,
        width: int = WIDTH,
        amplitude: float = 1.0,
        symmetry: ArrayLike | None = None,
        even_density: bool = True,
        rows: tuple[int, int] | None = None,
    ):
        self.grid: Grid = grid_for(box, r_max, oversampling, width, SHARPNESS.get(width, 1.0))
        if not (np.isfinite(amplitude) and amplitude > 0):
            raise InputError(f"images have no usable amplitude ({amplitude}): are they empty?")
        depth, lines, pixels = self.grid.shape
        self.rows = (0, depth) if rows is None else rows
        cells = (min(depth, self.rows[1] + width - 1) - self.rows[0]) * lines * pixels
        self.num = np.zeros((sets, 2 * cells), np.int64)
        self.den = np.zeros((sets, cells), np.int64)
        self.counts = np.zeros(sets, np.int64)
        self.unit = 2.0 ** np.round(np.log2(box * float(amplitude)))
        self.symmetry = np.eye(3)[None] if symmetry is None else np.asarray(symmetry, dtype=np.float64)
        self.ramp = 1.0 / (self.grid.r_max + 0.5) if even_density else 0.0
        self._table = stencil_table(self.grid.width, self.grid.oversampling, self.grid.sharpness)
        self._shape = np.array(self.grid.shape)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """``(num, den, counts)``, for reduction over ranks."""
        return self.num, self.den, self.counts

    def merge(self, other: "Accumulator") -> None:
        """Add the sums of another accumulator of the same kind."""
        same = (other.grid, other.unit, other.rows, other.num.shape) == (self.grid, self.unit, self.rows, self.num.shape)
        if not same:
            raise MismatchError("accumulators of different size or amplitude cannot be merged")
        for mine, theirs in zip(self.arrays, other.arrays, strict=True):
            mine += theirs

    def insert(
        self,
        images_ft: NDArray[np.complex64],
        matrices: ArrayLike,
        set_index: ArrayLike,
        weights: ArrayLike | None = None,
        shifts: ArrayLike | None = None,
        ctf: NDArray[np.float32] | None = None,
        *,
        centred: bool = True,
        threads: int = 1,
    ) -> None:
        """Add images.

        Parameters
        ----------
        images_ft : ndarray, shape (n, m, m // 2 + 1), complex64
            Spectra in the convention of `fourier.centred_rfftn`; m is the box, or less if the spectra are cut (unscaled).
        matrices : array_like, shape (n, 3, 3)
            Poses (`geometry.euler`).
        set_index : array_like of int, shape (n,)
            Sum each image belongs to; images with a negative index are left out.
        weights : array_like, shape (n,), optional
        shifts : array_like, shape (n, 2), optional
            Shift (x, y) in pixels of the full box to be applied to the images before (RXSHIFT, RYSHIFT).
        ctf : ndarray, shape (n, m, m // 2 + 1), float32, optional
            The images are multiplied by it, and the weights by its square.
        centred : bool
            False: the spectra have their phase origin at pixel 0 (`fourier.rfftn`); saves a copy of the images.
        threads : int
            Threads work on different sets, or on different rows of the grid if there are fewer sets; the bits are the same.
        """
        f = np.ascontiguousarray(images_ft, dtype=np.complex64)
        n, m = f.shape[0], f.shape[1]
        g = self.grid
        if f.ndim != 3 or f.shape[2] != m // 2 + 1 or (m - 1) // 2 < g.r_max:
            raise MismatchError(f"spectra of shape {f.shape} do not hold frequencies up to {g.r_max} of a box of {g.box}")
        index = np.asarray(set_index, dtype=np.int64).reshape(-1)
        mats = np.ascontiguousarray(matrices, dtype=np.float64).reshape(-1, 3, 3)
        w = np.ones(n, np.float32) if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
        d = np.zeros((n, 2)) if shifts is None else np.asarray(shifts, dtype=np.float64).reshape(-1, 2) * (m / g.box)
        if not centred:
            d = d - m // 2
        if not len(index) == len(mats) == len(w) == len(d) == n:
            raise MismatchError(f"{n} images, {len(mats)} poses, {len(index)} set numbers, {len(w)} weights, {len(d)} shifts")
        if n and index.max() >= len(self.num):
            raise MismatchError(f"set {index.max()} of {len(self.num)} sets")
        kept = np.flatnonzero(index >= 0)
        if not len(kept):
            return
        self._check_size(f, w)
        real = f.view(np.float32).reshape(*f.shape, 2)
        c = np.zeros((n, 0, 0), np.float32) if ctf is None else np.ascontiguousarray(ctf, dtype=np.float32)
        ramps = gridding.phase_ramps(m, g.r_max, d)
        posed = [np.ascontiguousarray(mats @ r.T) for r in self.symmetry]
        by_set = [kept[index[kept] == s] for s in np.unique(index[kept])]
        groups = [(int(index[u[0]]), u) for u in by_set]

        def order(use: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.int32]:
            return gridding.tile_order(use, p, g.r_max, g.oversampling, g.reach)

        def put(row: int, p: NDArray[np.float64], tiles: NDArray[np.int32], band: tuple[int, int]) -> None:
            gridding.insert_slices(
                self.num[row], self.den[row], self._shape, m, g.r_max, g.oversampling, g.width, self._table, real, p, tiles,
                ramps, w, c, 2.0**FIXED_BITS / self.unit, 2.0**FIXED_BITS, self.ramp, np.array([*band, self.rows[0]]),
            )  # fmt: skip

        if threads > 1 and len(groups) < threads:
            # stencils reach into the next band: no two of every second one meet
            within = bands(g, *self.rows, 2 * threads)
            for row, use in groups:
                for p in posed:
                    parts = map_blocks(partial(order, p=p), np.array_split(use, threads), threads)
                    tiles = np.concatenate(parts)
                    for turn in (within[::2], within[1::2]):
                        map_blocks(partial(put, row, p, tiles), turn, threads)
        else:

            def whole(group: tuple[int, NDArray[np.int64]]) -> None:
                for p in posed:
                    put(group[0], p, order(group[1], p), self.rows)

            map_blocks(whole, groups, threads)
        np.add.at(self.counts, index[kept], 1)

    def _check_size(self, f: NDArray[np.complex64], w: NDArray[np.float32]) -> None:
        x = f.view(np.float32)
        top = max(float(x.max()), -float(x.min())) * float(np.abs(w).max()) / self.unit
        if not top < _LARGEST:
            raise InputError(
                "an image is not finite or far larger than the others: normalise the images first (im4d norm-variance)"
            )

    def floats(self) -> "GridFloats":
        """A grid of zeros to `fold` sums into."""
        z, x, y = self.grid.shape
        edge = (z, x, 2 * gridding.LEFT + 1)
        return GridFloats(
            np.zeros((z, x, y - gridding.LEFT, 2), np.float32), np.zeros((z, x, y - gridding.LEFT), np.float32),
            np.zeros((*edge, 2), np.int64), np.zeros(edge, np.int64),
        )  # fmt: skip

    def fold(self, out: "GridFloats", use: Sequence[int], rows: tuple[int, int] | None = None) -> None:
        """Add the sums of some sets, and write those of finished rows (default: all) into floats; `close` after the last."""
        low, high = self.rows if rows is None else rows
        gridding.fold_rows(
            self.num, self.den, np.asarray(use, np.int64), self._shape, low, high, self.rows[0], self.unit / 2.0**FIXED_BITS,
            2.0**-FIXED_BITS, out.edge_num, out.edge_den, out.num, out.den,
        )  # fmt: skip

    def close(self, out: "GridFloats") -> "GridFloats":
        """Add the Friedel mates of the innermost columns, once all rows are folded."""
        units = self.unit / 2.0**FIXED_BITS, 2.0**-FIXED_BITS
        gridding.close_edges(self._shape, *units, out.edge_num, out.edge_den, out.num, out.den)
        return out

    def united(self, use: Sequence[int]) -> "GridFloats":
        """The sums of some sets together, as floats."""
        out = self.floats()
        self.fold(out, use)
        return self.close(out)

    def _shells(self, den: NDArray[np.float32]) -> NDArray[np.float64]:
        means, counts = np.zeros(self.grid.r_max + 2), np.zeros(self.grid.r_max + 2)
        gridding.shell_means(den, self.grid.oversampling, means, counts)
        return means

    def finalise(
        self,
        sums: "GridFloats",
        *,
        ssnr: ArrayLike | None = None,
        hamming: float | None = None,
        mask_radius: float | None = None,
        mask_edge: float = 3.0,
        out_box: int | None = None,
        factor: float | None = None,
    ) -> NDArray[np.float32]:
        """Make the volume of some sets.

        Parameters
        ----------
        sums : GridFloats
            As `united` gives them.
        ssnr : array_like, shape (>= r_max + 1,), optional
            Spectral signal-to-noise ratio of the volume by shell (Fourier pixels): Wiener term ``mean weight / ssnr``. Without
            it weights are only kept above `FLOOR` of their shell's mean.
        hamming : float, optional
            Low-pass as `hamming_curve`.
        mask_radius, mask_edge : float
            Soft spherical mask in pixels of the full box; by default the ball that fills the box (the corners are
            seen in no complete set of projections, and hold only noise).
        out_box : int, optional
            Box of the result, same field of view (default: the full box).
        factor : float, optional
            Multiply the numerator by it and divide by nothing: back-projection of images that are filtered already.

        Returns
        -------
        ndarray, shape (out_box, out_box, out_box), float32
            Grey values as the images': a projection of the volume is on the scale of an image.
        """
        g = self.grid
        n, d = sums.num, sums.den
        if factor is not None:
            d = np.full_like(d, 1.0 / factor)
        means = self._shells(d)
        extra = np.zeros((len(means), 2))
        extra[:, 1] = FLOOR * means
        if ssnr is not None and factor is None:
            s = np.asarray(ssnr, dtype=np.float64)
            s = np.append(s, np.full(max(0, len(means) - len(s)), s[-1]))[: len(means)]
            with np.errstate(divide="ignore", invalid="ignore"):
                extra[:, 0] = np.where(s > 0, means / np.maximum(s, 0), np.inf)
        steps = np.arange(8 * (g.r_max + 3)) / 8.0 / (g.box / 2)
        curve = np.ones(len(steps)) if hamming is None else hamming_curve(steps, hamming)
        keep = min(d.shape[2], g.padded // 2 + 1)
        f = np.zeros((g.padded, g.padded, keep), np.complex64)
        gridding.divide_grid(
            n, d, g.oversampling, g.oversampling * (g.r_max + 0.5), extra, curve, f.view(np.float32).reshape(*f.shape, 2)
        )
        v = divide_stencil(fourier.cropped_irfft3(f, g.padded, g.small), g)
        m = g.box if out_box is None else int(out_box)
        if m != g.small:
            # division by the stencil and cropping have spread the edge of the ball: cut it again
            spectrum = _cut_ball(fourier.centred_rfftn(v, 3), g.r_max)
            v = fourier.centred_irfftn(fourier.crop_rfftn(spectrum, (g.small,) * 3, (m,) * 3), (m,) * 3)
        # spectra keep their values when the box changes; grey values of the full box are wanted
        scale = m / g.box
        v = np.ascontiguousarray(v * np.float32(scale**3), dtype=np.float32)
        radius = g.box / 2 if mask_radius is None else mask_radius
        v *= soft_ball(m, radius * scale, mask_edge * scale)
        return v

    def fsc(self, a: "GridFloats", b: "GridFloats") -> NDArray[np.float64]:
        """Unmasked FSC of two sums by shell 0..r_max, from the grid itself; 0 in shells without data."""
        sums = np.zeros((self.grid.r_max + 1, 3))
        floors = (FLOOR * self._shells(one.den) for one in (a, b))
        gridding.cross_shells(a.num, a.den, b.num, b.den, self.grid.oversampling, *floors, sums)
        power = np.sqrt(sums[:, 1] * sums[:, 2])
        return np.where(power > 0, sums[:, 0] / np.where(power > 0, power, 1), 0.0)


@dataclass
class GridFloats:
    """Sums of slices as floats, Friedel mates added.

    Attributes
    ----------
    num : float32 (Z, X, Y, 2)
        Numerator, in units of the spectra, y >= 0.
    den : float32 (Z, X, Y)
        Weight.
    edge_num, edge_den : int64 (Z, X, 2 * LEFT + 1[, 2])
        Innermost columns, until `Accumulator.close`.
    """

    num: NDArray[np.float32]
    den: NDArray[np.float32]
    edge_num: NDArray[np.int64]
    edge_den: NDArray[np.int64]


def volumes_fsc(a: NDArray[np.float32], b: NDArray[np.float32], r_max: int) -> NDArray[np.float64]:
    """FSC, by shell 0..r_max, of the volumes of two half sets, made in the small box of the grid."""
    n = a.shape[0]
    fa, fb = (fourier.centred_rfftn(v, 3) for v in (a, b))
    shell, weight = fourier.shells(n, 3), fourier.half_weights(n)

    def total(x: NDArray) -> NDArray:
        return np.bincount(shell.ravel(), (weight * x).ravel(), r_max + 1)[: r_max + 1]

    power = np.sqrt(total(np.abs(fa) ** 2) * total(np.abs(fb) ** 2))
    return np.where(power > 0, total((fa * fb.conj()).real) / np.where(power > 0, power, 1), 0.0)


def ssnr_from_fsc(fsc: ArrayLike, ceiling: float = 0.999) -> NDArray[np.float64]:
    """SSNR of the full set from the FSC of its halves: ``2 F / (1 - F)``, zero from the first F <= 0 on.

    Parameters
    ----------
    fsc : array_like, shape (shells,)
    ceiling : float
        Largest F used.
    """
    f = np.clip(np.asarray(fsc, dtype=np.float64), 0.0, ceiling)
    f[0] = ceiling
    f[np.logical_or.accumulate(f <= 0)] = 0.0
    return 2.0 * f / (1.0 - f)


def reconstruct(
    images: NDArray[np.float32],
    matrices: ArrayLike,
    shifts: ArrayLike | None = None,
    *,
    r_max: int | None = None,
    oversampling: float = 2.0,
    width: int = 3,
    symmetry: Sequence | NDArray | None = None,
    **finish: Any,
) -> NDArray[np.float32]:
    """Reconstruct one volume of images in memory: `Accumulator` in one call.

    Parameters
    ----------
    images : ndarray, shape (n, box, box), float32
    matrices : array_like, shape (n, 3, 3)
    shifts : array_like, shape (n, 2), optional
        To be applied to the images, pixels.
    finish
        Keywords of `Accumulator.finalise`.

    Returns
    -------
    ndarray, shape (box, box, box), float32
    """
    rms = float(np.sqrt(np.mean(np.square(images), dtype=np.float64)))
    acc = Accumulator(1, images.shape[-1], r_max, oversampling, width=width, amplitude=rms, symmetry=symmetry)
    for start in range(0, len(images), 256):
        part = slice(start, start + 256)
        f = fourier.centred_rfftn(images[part], 2)
        d = None if shifts is None else np.asarray(shifts)[part]
        acc.insert(f, np.asarray(matrices)[part], np.zeros(len(f), np.int64), shifts=d)
    return acc.finalise(acc.united([0]), **finish)
