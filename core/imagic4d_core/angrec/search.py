"""The anchor-set search: all trial directions and in-plane angles of all 3Ds by matrix products.

For a trial direction d the mean sinogram correlation of an image with an anchor set is linear in the image, so it is one
correlation over the in-plane angle with the polar lines of the 3D's central section at d (algorithms 1.5): one real matrix
product per angular harmonic, one more for the inverse transform over the angle, and a running maximum.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.polar import PolarSampler, harmonic_count, harmonics
from imagic4d_core.angrec.references import References
from imagic4d_core.geometry.euler import matrix_from_euler
from imagic4d_core.kernels.search import merge_best, take_linear

#: Columns per matrix product: the product and the scores of a block stay in the cache.
TILE = 128


def radial_weights(r_max: int) -> NDArray[np.float32]:
    """Weight of a polar sample by radius: the area it stands for."""
    return np.arange(1, r_max + 1, dtype=np.float32)


def filter_amplitudes(lines: NDArray[np.complex64], power: float) -> NDArray[np.complex64]:
    """``F |F|^-power``: 0 leaves spectra alone (CCF), 0.5 is IMAGIC's ASQ filter (MCF), 1 keeps phases only."""
    if power == 0:
        return lines
    size = np.abs(lines)
    return (lines * np.where(size > 0, size, 1) ** np.float32(-power)).astype(np.complex64)


@dataclass
class Bank:
    """Polar lines of all trial directions of several 3Ds, ready for matrix products.

    Attributes
    ----------
    lines : ndarray, shape (d, n_alpha // 2, r), complex64
        Weighted reference lines of unit norm, 3D-major.
    norms : ndarray, shape (d,), float32
        Norms before scaling; 0 marks an empty reference.
    """

    lines: NDArray[np.complex64]
    norms: NDArray[np.float32]
    n_alpha: int
    real: list[NDArray[np.float32]]
    imag: list[NDArray[np.float32]]
    basis: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.lines)

    @cached_property
    def rings(self) -> NDArray[np.float32]:
        """Share of each radius in the power of each reference, (d, r)."""
        power = 2 * np.einsum("dhr,dhr->dr", self.lines.real, self.lines.real)
        power += 2 * np.einsum("dhr,dhr->dr", self.lines.imag, self.lines.imag)
        return power / radial_weights(self.lines.shape[2])


def make_bank(
    references: References,
    sets: list[int],
    directions: NDArray[np.float64],
    sampler: PolarSampler,
    *,
    object_radius: float = 0.45,
    amplitude_filter: float = 0.0,
) -> Bank:
    """Sample central sections at all trial directions of some 3Ds.

    Parameters
    ----------
    references : References
    sets : list of int
        Sets of `references`, one for each competing 3D.
    directions : ndarray, shape (d, 3, 3), float64
        Trial poses with in-plane angle 0.
    sampler : PolarSampler
    object_radius : float
        Radius of the object as a fraction of the box; bounds the angular harmonics.
    amplitude_filter : float
    """
    h, nr = sampler.n_alpha // 2, sampler.r_max
    lines = np.empty((len(sets) * len(directions), h * nr), np.complex64)
    for j, s in enumerate(sets):
        part = lines[j * len(directions) : (j + 1) * len(directions)]
        take_linear(references.grids[s], references.oversampling, directions, sampler.points, part)
    return bank_of_lines(
        filter_amplitudes(lines.reshape(-1, h, nr), amplitude_filter), sampler.n_alpha, object_radius=object_radius
    )


def bank_of_lines(
    lines: NDArray[np.complex64], n_alpha: int, *, object_radius: float = 0.45, ramps: NDArray[np.complex64] | None = None,
    tile: int = TILE,
) -> Bank:  # fmt: skip
    """A bank of polar lines.

    Parameters
    ----------
    lines : ndarray, shape (d, n_alpha // 2, r), complex64
        Radii 1..r; scaled in place, by the radial weights and to unit norm.
    n_alpha : int
    object_radius : float
        Radius of the object as a fraction of the box; bounds the angular harmonics.
    ramps : ndarray, shape (s, n_alpha // 2, r), complex64, optional
        Each of the lines stands in the bank `s` times, multiplied by these: column ``i * s + j`` is ``lines[i] * ramps[j]``.
    tile : int
        Columns per matrix product.
    """
    nr = lines.shape[2]
    w = radial_weights(nr)
    norms = np.sqrt(2 * np.einsum("dhr,r->d", lines.real**2 + lines.imag**2, w, optimize=True))
    lines *= (w / np.where(norms > 0, norms, 1)[:, None, None]).astype(np.float32)
    count = harmonic_count(nr, n_alpha, object_radius)
    copies = 1 if ramps is None else len(ramps)
    whole = max(1, tile // copies)
    real, imag = [], []
    # a tile of references at a time, as all their copies together may be large
    for a in range(0, len(lines), whole):
        part = lines[a : a + whole]
        if ramps is not None:
            part = (part[:, None] * ramps).reshape(-1, *lines.shape[1:])
        f = harmonics(part, count)
        fr, fi = f[..., :nr], f[..., nr:]
        real.append(np.ascontiguousarray(np.concatenate([fr, fi], 2).transpose(0, 2, 1)))
        imag.append(np.ascontiguousarray(np.concatenate([-fi, fr], 2).transpose(0, 2, 1)))
    q = np.arange(count)
    angle = np.arange(n_alpha)[:, None] * q * (2 * np.pi / n_alpha)
    twice = np.where((q == 0) | (2 * q == n_alpha), 1.0, 2.0) / n_alpha
    basis = np.concatenate([np.cos(angle) * twice, -np.sin(angle) * twice], 1).astype(np.float32)
    return Bank(lines, norms.astype(np.float32), n_alpha, real, imag, basis)


def search(bank: Bank, variants: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Best score over in-plane angles and image variants, for every image and trial direction.

    Parameters
    ----------
    bank : Bank
    variants : list of ndarray, shape (q, n, 2 r), float32
        Harmonics (`polar.harmonics`) of the images at each trial shift.

    Returns
    -------
    best : ndarray, shape (n, d), float32
        Scalar product of image and unit-norm reference over the full circle.
    arg : ndarray, shape (n, d), int32
        ``variant * n_alpha + angle``; the image turned back by ``angle`` lines meets the reference.
    """
    n, q = variants[0].shape[1], bank.basis.shape[1] // 2
    best = np.full((n, bank.count), -np.inf, np.float32)
    arg = np.zeros((n, bank.count), np.int32)
    product = np.empty(2 * q * n * TILE, np.float32)
    scores = np.empty(bank.n_alpha * n * TILE, np.float32)
    for c, (re, im) in enumerate(zip(bank.real, bank.imag, strict=True)):
        width = re.shape[2]
        p = product[: 2 * q * n * width].reshape(2 * q, n, width)
        s = scores[: bank.n_alpha * n * width].reshape(bank.n_alpha, n * width)
        top, at = np.full(n * width, -np.inf, np.float32), np.zeros(n * width, np.int32)
        for v, images in enumerate(variants):
            np.matmul(images[:q], re, out=p[:q])
            np.matmul(images[:q], im, out=p[q:])
            np.matmul(bank.basis, p.reshape(2 * q, n * width), out=s)
            merge_best(s, v * bank.n_alpha, top, at)
        best[:, c * TILE : c * TILE + width] = top.reshape(n, width)
        arg[:, c * TILE : c * TILE + width] = at.reshape(n, width)
    return best, arg


def turned(directions: NDArray[np.float64], turn: NDArray[np.int32], n_alpha: int) -> NDArray[np.float64]:
    """Poses of trial directions (n, 3, 3) with in-plane angle ``turn`` lines."""
    alpha = -np.asarray(turn) * (360.0 / n_alpha)
    return matrix_from_euler(alpha, np.zeros_like(alpha), np.zeros_like(alpha)) @ directions


def shift_grid(radius: float, step: float) -> NDArray[np.float64]:
    """Trial shifts (s, 2) on a square grid within a circle, the zero shift first."""
    k = int(np.floor(radius / step + 1e-9))
    x = np.arange(-k, k + 1) * step
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    length = np.hypot(grid[:, 0], grid[:, 1])
    inside = length <= radius + 1e-9
    return grid[inside][np.argsort(length[inside], kind="stable")]
