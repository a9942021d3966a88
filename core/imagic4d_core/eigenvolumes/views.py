"""Images as slices: spectra up to a band limit in a small box, centred, with pose, CTF, noise and strength of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.forward.project import Projector
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, sum_in_order

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
C64 = NDArray[np.complex64]

#: Images worked on at a time, fixed: sums of blocks are added in the order of the blocks.
BLOCK = 256
#: Strength of an image, relative to the mean: its range, and its standard deviation before anything is known.
STRENGTH, STRENGTH_SPREAD = (0.2, 5.0), 0.3


@dataclass(frozen=True)
class Band:
    """Fourier pixels of a half slice up to a band limit, and the box that just holds them.

    Attributes
    ----------
    box, small, r_max : int
        Box of the images; box of the same field of view in which the work is done; largest frequency, Fourier pixels.
    kx, ky : ndarray, shape (P,), int32
        One of each Friedel pair, without the origin.
    ring : ndarray, shape (P,), int64
        Rounded frequency.
    """

    box: int
    small: int
    r_max: int
    kx: NDArray[np.int32]
    ky: NDArray[np.int32]
    ring: NDArray[np.int64]

    def take(self, half: NDArray) -> NDArray:
        """The pixels of half spectra (n, m, m // 2 + 1) of any box that holds them: shape (n, P)."""
        return np.ascontiguousarray(half[:, self.kx, self.ky])

    def put(self, pixels: NDArray) -> NDArray:
        """Half spectra (n, small, small // 2 + 1) of pixels (n, P), zero elsewhere."""
        out = np.zeros((len(pixels), self.small, self.small // 2 + 1), pixels.dtype)
        out[:, self.kx, self.ky] = pixels
        mate = (self.ky == 0) & (self.kx > 0)
        out[:, -self.kx[mate], 0] = pixels[:, mate].conj()
        return out


@lru_cache(maxsize=8)
def band_for(box: int, r_max: int) -> Band:
    """The `Band` of a box up to `r_max` Fourier pixels (at most the last one below Nyquist)."""
    r = max(2, min(int(r_max), (box - 1) // 2))
    kx, ky = np.meshgrid(np.arange(-r, r + 1), np.arange(r + 1), indexing="ij")
    square = kx**2 + ky**2
    keep = (square <= r * r) & (square > 0) & ~((ky == 0) & (kx < 0))
    ring = np.rint(np.sqrt(square[keep])).astype(np.int64)
    small = min(box, fourier.good_size(2 * r + 2))
    return Band(box, small, r, kx[keep].astype(np.int32), ky[keep].astype(np.int32), ring)


@dataclass(frozen=True)
class Views:
    """Images with all that is known of each; a rank holds its blocks of them.

    Attributes
    ----------
    band : Band
    spectra : ndarray, shape (n, P), complex64
        Moved by their shifts; in units such that their rms is about 1.
    matrices : ndarray, shape (n, 3, 3), float64
        Poses (`geometry.euler`).
    ctf : ndarray, shape (n, P), float32, or None
    group : ndarray, shape (n,), int64
        Optics group, from 0: a noise spectrum each.
    strength : ndarray, shape (n,), float64
        Scale of the signal.
    noise : ndarray, shape (groups, r_max + 1), float64
        Noise power of a Fourier pixel by ring.
    number : ndarray, shape (n,), int64
        Number of each image in its file, 0-based, ascending.
    unit : float
        Spectra of the file over `spectra`.
    """

    band: Band
    spectra: C64
    matrices: F64
    ctf: F32 | None
    group: NDArray[np.int64]
    strength: F64
    noise: F64
    number: NDArray[np.int64]
    unit: float = 1.0

    def __len__(self) -> int:
        return len(self.spectra)

    def select(self, which: NDArray) -> "Views":
        """Some of the images, by a mask or ascending indices."""
        return replace(
            self, spectra=self.spectra[which], matrices=self.matrices[which], ctf=None if self.ctf is None else self.ctf[which],
            group=self.group[which], strength=self.strength[which], number=self.number[which],
        )  # fmt: skip

    def limited(self, r_max: int) -> "Views":
        """The same images up to another band limit, at most the present one; the noise spectrum is cut with them."""
        band = band_for(self.band.box, r_max)
        if band.r_max > self.band.r_max:
            raise MismatchError(f"spectra up to {self.band.r_max} Fourier pixels have nothing up to {band.r_max}")
        keep = self.band.kx**2 + self.band.ky**2 <= band.r_max**2
        ctf = None if self.ctf is None else np.ascontiguousarray(self.ctf[:, keep])
        spectra, noise = np.ascontiguousarray(self.spectra[:, keep]), self.noise[:, : band.r_max + 1]
        return replace(self, band=band, spectra=spectra, ctf=ctf, noise=noise)

    def blocks(self) -> list[tuple[int, slice]]:
        """(number of the block in the file, its images here), ascending; a block lies on one rank as a whole."""
        block = self.number // BLOCK
        edges = np.flatnonzero(np.diff(block, prepend=-1, append=-2))
        return [(int(block[a]), slice(int(a), int(b))) for a, b in pairwise(edges)]

    def transfer(self, part: slice) -> F32:
        """Strength times CTF: (n, P)."""
        s = self.strength[part].astype(np.float32)[:, None]
        return np.broadcast_to(s, (len(s), len(self.band.ring))) if self.ctf is None else self.ctf[part] * s

    def whitening(self, part: slice) -> F32:
        """Factors that give real and imaginary parts of the noise unit variance: (n, P)."""
        table = np.sqrt(2.0 / self.noise).astype(np.float32)
        return table[self.group[part]][:, self.band.ring]

    def evidence(self, part: slice) -> F32:
        """Weight of each pixel beside the mean over the groups: (n, P)."""
        table = (self.noise.mean(0) / self.noise).astype(np.float32)
        return table[self.group[part]][:, self.band.ring]


def make_views(
    spectra: NDArray, matrices: ArrayLike, shifts: ArrayLike | None, box: int, r_max: int, *, ctf: F32 | None = None,
    group: ArrayLike | None = None, number: ArrayLike | None = None, comm: Comm = SERIAL,
) -> Views:  # fmt: skip
    """Images as slices, the noise spectrum not yet known (1 everywhere).

    Parameters
    ----------
    spectra : ndarray, complex64
        Of shape (n, box, box // 2 + 1), in the convention of `fourier.centred_rfftn`; or the pixels of `band_for` (n, P) alone.
    matrices : array_like, shape (n, 3, 3)
    shifts : array_like, shape (n, 2), optional
        (x, y) in pixels of the box, to be applied to the images (words 80, 81).
    box, r_max : int
        Box of the images in pixels; band limit in Fourier pixels.
    ctf : ndarray, float32, optional
        Of the shape of `spectra`.
    group : array_like of int, shape (n,), optional
    number : array_like of int, shape (n,), optional
        Numbers of the images in the file; with several ranks, this rank's blocks of `BLOCK`.
    comm : Comm

    Returns
    -------
    Views

    Raises
    ------
    MismatchError, InputError
    """
    band = band_for(box, r_max)
    pixels = np.ascontiguousarray(spectra if spectra.ndim == 2 else band.take(spectra), np.complex64)
    n = len(pixels)
    m = np.ascontiguousarray(matrices, np.float64).reshape(-1, 3, 3)
    d = np.zeros((n, 2)) if shifts is None else np.asarray(shifts, np.float64).reshape(-1, 2)
    c = None if ctf is None else np.ascontiguousarray(ctf if ctf.ndim == 2 else band.take(ctf), np.float32)
    g = np.zeros(n, np.int64) if group is None else np.asarray(group, np.int64).reshape(-1)
    number = np.arange(n) if number is None else np.asarray(number, np.int64).reshape(-1)
    if not len(m) == len(d) == len(g) == len(number) == n or (c is not None and c.shape != pixels.shape):
        raise MismatchError(f"{n} images, {len(m)} poses, {len(d)} shifts, {len(g)} optics groups do not belong together")
    pixels = moved(pixels, band, d)
    groups = int(max(comm.allgather(int(g.max(initial=0))))) + 1
    views = Views(band, pixels, m, c, g, np.ones(n), np.ones((groups, band.r_max + 1)), number)

    def power(block: tuple[int, slice]) -> F64:
        x = pixels[block[1]].view(np.float32)
        return np.array([np.square(x, dtype=np.float64).sum(), len(x)])

    total = over_blocks(views, power, np.zeros(2), comm, 1)
    rms = float(np.sqrt(total[0] / max(1.0, total[1] * len(band.ring))))
    if not (np.isfinite(rms) and rms > 0):
        raise InputError("the images are empty or not finite up to the band limit; normalise them first (im4d norm-variance)")
    unit = float(2.0 ** np.round(np.log2(rms)))
    return replace(views, spectra=(pixels / np.float32(unit)).astype(np.complex64), unit=unit)


def moved(pixels: C64, band: Band, shifts: F64) -> C64:
    """Spectra of images moved by shifts (x, y), pixels of the box."""
    if not shifts.any():
        return pixels
    angle = (-2 * np.pi / band.box) * (np.outer(shifts[:, 0], band.kx) + np.outer(shifts[:, 1], band.ky))
    return (pixels * np.exp(1j * angle)).astype(np.complex64)


def over_blocks(views: Views, func: Callable[[tuple[int, slice]], NDArray], like: NDArray, comm: Comm, threads: int) -> NDArray:
    """Sum of ``func(block)`` over the blocks of all ranks, in the order of the blocks; the same bits for any split."""
    blocks = views.blocks()
    last = max(comm.allgather(blocks[-1][0] if blocks else -1))
    mine = dict(blocks)
    numbers = range(comm.rank, last + 1, comm.size)

    def part(b: int) -> NDArray:
        return func((b, mine[b])) if b in mine else np.zeros_like(like)

    return sum_in_order(comm, imap_blocks(part, numbers, threads), last + 1, like)


def slices_of(volume: F32, band: Band) -> Callable[[F64], C64]:
    """A function that gives the pixels (n, P) of slices of a volume of the small box."""
    projector = Projector(volume, band.r_max, width=3)

    def take(matrices: F64) -> C64:
        return band.take(projector.slices(matrices, box=band.small))

    return take


def residuals(views: Views, mean: Callable[[F64], C64], part: slice) -> C64:
    """Spectra less the projections of the mean 3D, (n, P)."""
    return views.spectra[part] - mean(views.matrices[part]) * views.transfer(part)


def with_strength_and_noise(views: Views, mean: F32, comm: Comm = SERIAL, threads: int = 1, *, spread: bool = True) -> Views:
    """Strength of each image by least squares against the mean 3D, then the noise spectrum of what is left.

    Strengths are drawn towards 1 as far as an image alone does not say (posterior mean for a normal prior). A ring of a
    group with few pixels is no ring of its own: powers are smoothed over neighbours with weights 1 2 1.

    Parameters
    ----------
    views : Views
        The noise spectrum that it holds weighs the rings in the fit.
    mean : ndarray, shape (small, small, small), float32
    spread : bool
        False: strengths stay as they are.

    Returns
    -------
    Views
    """
    project = slices_of(mean, views.band)
    strength = views.strength.copy()
    shape = views.noise.shape

    def part(block: tuple[int, slice]) -> F64:
        use = block[1]
        seen = project(views.matrices[use])
        if views.ctf is not None:
            seen = seen * views.ctf[use]
        if spread:
            white = views.whitening(use)
            x, p = _real(views.spectra[use] * white), _real(seen * white)
            have, prior = np.einsum("ij,ij->i", p, p, dtype=np.float64), 1 / STRENGTH_SPREAD**2
            found = (np.einsum("ij,ij->i", x, p, dtype=np.float64) + prior) / (have + prior)
            strength[use] = np.clip(found, *STRENGTH)
        left = views.spectra[use] - seen * strength[use].astype(np.float32)[:, None]
        power = (left.real.astype(np.float64) ** 2 + left.imag.astype(np.float64) ** 2)
        at = views.group[use][:, None] * shape[1] + views.band.ring
        sums = np.bincount(at.ravel(), power.ravel(), shape[0] * shape[1])
        count = np.bincount(at.ravel(), minlength=shape[0] * shape[1])
        return np.concatenate([sums, count, [strength[use].sum(), len(left)]])

    total = over_blocks(views, part, np.zeros(2 * shape[0] * shape[1] + 2), comm, threads)
    level = total[-2] / max(total[-1], 1.0)
    sums, count = (a.reshape(shape) for a in np.split(total[:-2], 2))
    return replace(views, strength=strength / level if spread else strength, noise=_smooth(sums, count))


def _smooth(sums: F64, count: F64) -> F64:
    """Mean power by ring, neighbours counted in by halves; ring 0, which has no pixels, as ring 1."""
    padded = [np.pad(a[:, 1:], ((0, 0), (1, 1)), mode="edge") for a in (sums, count)]
    s, c = (0.5 * a[:, :-2] + a[:, 1:-1] + 0.5 * a[:, 2:] for a in padded)
    power = s / np.maximum(c, 1.0)
    whole = power.max() if power.max() > 0 else 1.0
    power = np.maximum(power, 1e-6 * whole)
    return np.concatenate([power[:, :1], power], axis=1)


def _real(x: NDArray) -> F32:
    """Complex pixels (n, P) as real numbers (n, 2 P)."""
    return np.ascontiguousarray(x, np.complex64).view(np.float32)


def blocks_of(
    views: Views, func: Callable[[slice], tuple[NDArray, ...]], threads: int
) -> Iterator[tuple[slice, tuple[NDArray, ...]]]:
    """Results of ``func(images)`` block by block, in order, made by threads."""
    parts = [part for _, part in views.blocks()]
    yield from zip(parts, imap_blocks(func, parts, threads), strict=True)
