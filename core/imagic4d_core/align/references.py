"""References of an alignment made ready: mask, polar lines for the search, fine spectra for the local refinement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.angrec.polar import PolarSampler
from imagic4d_core.angrec.search import filter_amplitudes
from imagic4d_core.masks.shapes import distances, falling
from imagic4d_core.rng import rng_for

#: Cells per Fourier pixel of the spectra for the local refinement: bilinear interpolation is then true to 1 %.
OVERSAMPLING = 3
#: Rounds of mask and spectrum when decoys are made.
DECOY_ROUNDS = 4


@dataclass
class PlaneReferences:
    """References, ready for search and refinement.

    Attributes
    ----------
    lines : ndarray, shape (k, n_alpha // 2, r), complex64
        Polar lines; neither weighted nor scaled.
    grids : ndarray, shape (k, m, m // 2 + 1), complex64
        Spectra for `kernels.align.refine_moves`.
    oversampling : float
    radius : float
        Outer radius of the mask, pixels.
    """

    lines: NDArray[np.complex64]
    grids: NDArray[np.complex64]
    oversampling: float
    radius: float

    def __len__(self) -> int:
        return len(self.lines)


def ring_mask(box: int, inner: float, outer: float) -> NDArray[np.float32]:
    """Soft mask of the radii `inner` to `outer`, pixels, shape (box, box)."""
    r = distances((box, box))
    edge = max(2.0, 0.06 * box)
    mask = falling(r, max(0.0, outer - edge), edge)
    if inner > 0:
        mask = mask * (1 - falling(r, max(0.0, inner - edge), edge))
    return mask.astype(np.float32)


def masked(images: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """References (k, box, box) inside a mask; the mean where the mask begins to fall, and beyond, is taken off first."""
    outside = mask < 0.5
    r = distances(mask.shape)
    inside = ~outside
    # of a ring mask only what lies beyond its outer radius counts as background
    outside &= r > (r[inside].max() if inside.any() else 0.0)
    level = images[:, outside].mean(1, dtype=np.float64) if outside.any() else images.mean((1, 2), dtype=np.float64)
    return ((images - level[:, None, None].astype(np.float32)) * mask).astype(np.float32)


def prepare(
    images: NDArray[np.float32], sampler: PolarSampler, r_local: int | None, *, radius: float, amplitude_filter: float = 0.0
) -> PlaneReferences:
    """References from masked images.

    Parameters
    ----------
    images : ndarray, shape (k, box, box), float32
        Masked (`masked`).
    sampler : PolarSampler
        Of the search.
    r_local : int or None
        Largest frequency of the local refinement, Fourier pixels; None: no grids, for a search alone.
    radius : float
        Outer radius of the mask, pixels.
    amplitude_filter : float
        See `angrec.search.filter_amplitudes`.
    """
    box = sampler.box
    spectra = fourier.centred_rfftn(images, 2).astype(np.complex64)
    lines = filter_amplitudes(sampler.sample(spectra), amplitude_filter)
    if r_local is None:
        return PlaneReferences(lines, np.empty((len(images), 0, 0), np.complex64), 1.0, radius)
    small = min(box, fourier.good_size(2 * r_local + 4))
    m = fourier.good_size(OVERSAMPLING * small)
    grids = np.empty((len(images), m, m // 2 + 1), np.complex64)
    at = m // 2 - small // 2
    sinc = np.sinc((np.arange(small) - small // 2) / m) ** 2
    correction = 1.0 / (sinc[:, None] * sinc)
    padded = np.zeros((m, m), np.float32)
    for k in range(len(images)):
        cut = fourier.centred_irfftn(fourier.crop_rfftn(spectra[k], (box, box), (small, small)), (small, small))
        padded[at : at + small, at : at + small] = cut * correction
        grids[k] = filter_amplitudes(fourier.centred_rfftn(padded, 2).astype(np.complex64), amplitude_filter)
    return PlaneReferences(lines, grids, m / small, radius)


def decoys(images: NDArray[np.float32], mask: NDArray[np.float32], seed: int, sets: int = 1) -> NDArray[np.float32]:
    """For every reference pictures of nothing: the same mask, spectrum and angular symmetry, but nothing in its place.

    Every ring of the spectrum is turned by an angle and given a sign of its own, at random; then mask and power of each ring are
    put back, a few times over. An image of noise prefers neither a reference nor its decoy, whatever the spectrum of the noise;
    an image of the reference prefers the reference. (Targets and decoys are an idea of mass spectrometry: Elias & Gygi, Nat.
    Methods 4 (2007) 207, doi:10.1038/nmeth1019.)

    Parameters
    ----------
    images : ndarray, shape (k, box, box), float32
        Masked references.
    mask : ndarray, shape (box, box), float32
    seed : int
    sets : int
        Decoys of each reference.

    Returns
    -------
    ndarray, shape (sets, k, box, box), float32
    """
    box = images.shape[-1]
    kx, ky = (fourier.frequencies(box) * box)[:, None], fourier.half_frequencies(box) * box
    shells = fourier.shells(box, 2)
    weight = np.broadcast_to(fourier.half_weights(box), shells.shape).ravel()

    def power(f: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(shells.ravel(), weights=(f.real**2 + f.imag**2).ravel() * weight), np.float64)

    size = OVERSAMPLING * box
    at = size // 2 - box // 2
    out = np.empty((sets, *images.shape), np.float32)
    for k, image in enumerate(images):
        padded = np.zeros((size, size))
        padded[at : at + box, at : at + box] = image
        fine = fourier.centred_rfftn(padded, 2)
        wanted = power(fourier.centred_rfftn(image.astype(np.float64), 2))
        for d in range(sets):
            rng = rng_for(seed, f"align/decoy/{d}", k)
            turn = rng.uniform(0, 2 * np.pi, shells.max() + 1)[shells]
            sign = np.where(rng.uniform(size=shells.max() + 1) < 0.5, -1.0, 1.0)[shells]
            c, s = np.cos(turn) * OVERSAMPLING, np.sin(turn) * OVERSAMPLING
            f = sign * _bilinear(fine, c * kx - s * ky, s * kx + c * ky)
            picture: NDArray[np.floating] = np.zeros((box, box))
            for _ in range(DECOY_ROUNDS):
                have = power(f)
                f *= np.sqrt(wanted / np.where(have > 0, have, 1.0))[shells]
                picture = fourier.centred_irfftn(f, (box, box)) * mask
                f = fourier.centred_rfftn(picture, 2)
            out[d, k] = picture
    return out


def _bilinear(spectrum: NDArray[np.complexfloating], x: NDArray, y: NDArray) -> NDArray[np.complexfloating]:
    """Values of a half spectrum between its samples; frequencies in samples, beyond the last one the last."""
    m = spectrum.shape[0]
    mate = y < 0
    x, y = np.where(mate, -x, x), np.minimum(np.where(mate, -y, y), m // 2 - 1e-6)
    ix, iy = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - ix, y - iy
    a, b = ix % m, (ix + 1) % m
    value = (1 - u) * ((1 - v) * spectrum[a, iy] + v * spectrum[a, iy + 1])
    value += u * ((1 - v) * spectrum[b, iy] + v * spectrum[b, iy + 1])
    return np.where(mate, np.conj(value), value)
