"""Weights of frequencies: one model of signal and noise, ring by ring, for search and local refinement.

On ring r an image X is taken to be ``c(r) S + N``: S is the section of its 3D at its pose, N noise of variance ``noise(r)``,
which holds all that the section does not say (detector noise, members of other views in an average, a smooth background, errors
of the 3D itself). With the scales of signal and noise free for each image, the likelihood of a pose is a rising function of one
number, the correlation of ``X / sqrt(noise)`` with ``c S / sqrt(noise)``. No kernel has to know of weights: spectra of images are
multiplied by one curve, Fourier grids of references by another, and plain correlation of the two is what is looked for.

With C(r) the correlation of images and sections over ring r, least squares give ``c = C sqrt(X^2 / S^2)`` and
``noise = X^2 (1 - C^2)``, X^2 and S^2 being mean powers on the ring: the two curves are

    image      1 / sqrt(X^2 (1 - C^2))
    reference  C / sqrt(S^2 (1 - C^2))

and a ring of n samples adds ``n C^2 / (1 - C^2)`` to the log-likelihood, its signal-to-noise ratio times its samples. In white
noise, with a reference that has the spectrum of the signal, both curves are flat and nothing changes. Derived here from the
linear model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier

F64 = NDArray[np.float64]

#: Correlations of rings are kept below this: no ring is ever known better.
SURE = 0.995


@dataclass(frozen=True)
class RingSums:
    """Sums over pairs of image and section, by ring: arrays (rings,), float64, index r being r Fourier pixels.

    Attributes
    ----------
    image, section, product : ndarray
        Powers, and real part of the scalar product; every image and every section has unit power in all.
    samples : ndarray
        Complex samples on each ring, of all pairs together.
    """

    image: F64
    section: F64
    product: F64
    samples: F64

    def correlation(self) -> F64:
        """Correlation of images and sections on each ring; not below its standard error, not above `SURE`."""
        size = np.sqrt(self.image * self.section)
        found = self.product / np.where(size > 0, size, 1.0)
        return np.clip(found, 1.0 / np.sqrt(2.0 * np.maximum(self.samples, 1.0)), SURE)


@dataclass(frozen=True)
class Weights:
    """Curves by which spectra are multiplied, between and beyond the given frequencies as `numpy.interp`.

    Attributes
    ----------
    frequency : ndarray, shape (m,), float64
        Fractions of Nyquist, rising.
    image, reference : ndarray, shape (m,), float64
        Multipliers; only their shape matters.
    correlation : ndarray, shape (m,), float64
        Of images and sections, of which the curves were made; NaN where nobody knows.
    share : ndarray, shape (m,), float64
        Part of each frequency in the log-likelihood, in all 1; NaN where nobody knows.
    independent : float
        Independent samples for each sample of the weighted spectrum, at most 1.
    source : str
        Where they come from, for people.
    """

    frequency: F64
    image: F64
    reference: F64
    correlation: F64
    share: F64
    independent: float = 1.0
    source: str = ""

    def on_images(self, box: int) -> NDArray[np.float32]:
        """Multipliers of half spectra of images, shape (box, box // 2 + 1), float32."""
        return self._on((box, box), box / 2, self.image)

    def on_references(self, cells: int, oversampling: float, box: int) -> NDArray[np.float32]:
        """Multipliers of the Fourier grids of 3Ds, shape (cells, cells, cells // 2 + 1), float32.

        Parameters
        ----------
        cells : int
            Edge of the grid.
        oversampling : float
            Cells per Fourier pixel.
        box : int
            Box of the images, which says what Nyquist is.
        """
        return self._on((cells,) * 3, oversampling * box / 2, self.reference)

    def _on(self, shape: tuple[int, ...], nyquist: float, curve: F64) -> NDArray[np.float32]:
        axes = [fourier.frequencies(n) * n for n in shape[:-1]] + [np.arange(shape[-1] // 2 + 1.0)]
        radius = np.sqrt(sum(k * k for k in np.meshgrid(*axes, indexing="ij", sparse=True)))
        return np.interp(radius / nyquist, self.frequency, curve).astype(np.float32)


def ring_sums(images: NDArray[np.complexfloating], sections: NDArray[np.complexfloating], ring: NDArray[np.int64]) -> RingSums:
    """Compare images with the sections that should look like them.

    Parameters
    ----------
    images, sections : ndarray, shape (n, p), complex
        Samples of half planes, images shifted to where the section is. Pairs with an empty member do not count.
    ring : ndarray of int, shape (p,)
        Ring of each sample.
    """
    power = [np.square(f.real, dtype=np.float64) + np.square(f.imag, dtype=np.float64) for f in (images, sections)]
    total = [p.sum(1) for p in power]
    some = (total[0] > 0) & (total[1] > 0) & np.isfinite(total[0]) & np.isfinite(total[1])
    scale = [1.0 / np.where(some, t, 1.0) for t in total]
    product = images.real.astype(np.float64) * sections.real + images.imag.astype(np.float64) * sections.imag

    def by_ring(values: F64, weight: F64) -> F64:
        total = np.bincount(ring, weights=(values[some] * weight[some, None]).sum(0))
        return np.asarray(total, np.float64)

    return RingSums(
        by_ring(power[0], scale[0]), by_ring(power[1], scale[1]), by_ring(product, np.sqrt(scale[0] * scale[1])),
        np.bincount(ring).astype(np.float64) * int(some.sum()),
    )  # fmt: skip


def weights_from_pairs(sums: RingSums, box: int, source: str = "") -> Weights:
    """Weights that follow from images and the sections of their poses: see the head of this module.

    Parameters
    ----------
    sums : RingSums
        Rings 0 to r; ring 0 is left out.
    box : int
    source : str
    """
    c = sums.correlation()[1:]
    n = np.maximum(sums.samples[1:], 1.0)
    image, section = sums.image[1:] / n, sums.section[1:] / n
    lost = np.sqrt(1.0 - c * c)
    share = n * c * c / lost**2
    return Weights(
        np.arange(1, len(c) + 1) / (box / 2), _inverse_root(image) / lost, c * _inverse_root(section) / lost, c,
        share / share.sum(), source=source,
    )  # fmt: skip


def weights_from_images(sums: RingSums, box: int, source: str = "") -> Weights:
    """Weights before any pose is known: spectra of images and of sections, each divided by the root of its amplitude on a ring.

    Half-way between plain correlation, which follows the few strongest rings, and whitening, which trusts all alike. IMAGIC's
    ASQ filter does the same to every single coefficient.
    """
    n = np.maximum(sums.samples[1:], 1.0)
    image, section = sums.image[1:] / n, sums.section[1:] / n
    nobody = np.full(len(n), np.nan)
    return Weights(
        np.arange(1, len(n) + 1) / (box / 2), np.sqrt(_inverse_root(image)), np.sqrt(_inverse_root(section)), nobody, nobody,
        source=source,
    )  # fmt: skip


def _inverse_root(power: F64) -> F64:
    """``power ** -0.5``, zero for empty rings."""
    some = power > 1e-12 * power.max(initial=0.0)
    return np.where(some, 1.0 / np.sqrt(np.where(some, power, 1.0)), 0.0)


def independent_share(residuals: NDArray[np.floating]) -> float:
    """Independent samples for each sample of whitened residuals.

    Residuals that fill the box alike have as many independent samples as there are. Those that keep to the object (members of
    other views, errors of the 3D) have neighbouring samples in Fourier space that say the same: as many are independent as
    the residuals fill of the box, ``<e>^2 / <e^2>`` with e their mean square at each pixel.

    Parameters
    ----------
    residuals : ndarray, shape (n, box, box), float
        Image less reference, whitened, in real space.

    Returns
    -------
    float
        In (0, 1].
    """
    size = np.square(residuals, dtype=np.float64)
    each = size.mean((1, 2), keepdims=True)
    size = (size / np.where(each > 0, each, 1.0)).mean(0)
    # the squares of n Gaussian numbers scatter by 2 / n of their own
    spread = float((size**2).mean()) / (1.0 + 2.0 / len(residuals))
    return float(np.clip(size.mean() ** 2 / spread, 1e-3, 1.0)) if spread > 0 else 1.0


def noise_spectrum_outside(images: NDArray[np.floating], radius: float) -> F64 | None:
    """Noise spectrum of images from what lies outside their objects.

    Parameters
    ----------
    images : ndarray, shape (n, box, box), float
        Real-space images, centred to within what `radius` leaves.
    radius : float
        Of the object, pixels from the centre.

    Returns
    -------
    ndarray, shape (box // 2 + 1,), float64, or None
        Mean power of a coefficient on each ring of a spectrum of the whole box (`fourier.centred_rfftn`). None where outside
        tells nothing: fewer than 5 % of the pixels, or set to one value, as class averages with a mask have it.
    """
    box = images.shape[-1]
    x = np.arange(box) - box // 2
    outside = np.hypot(x[:, None], x[None]) > radius
    if outside.mean() < 0.05:
        return None
    rest = images[:, outside].astype(np.float64)
    level = rest.mean(1)
    inside = images[:, ~outside].astype(np.float64)
    # what was masked is constant, or nearly so: it fades within its soft edge
    quiet = (np.abs(rest - np.median(rest, 1)[:, None]) < 1e-3 * inside.std(1)[:, None]).mean()
    if quiet > 0.25:
        return None
    windowed = np.where(outside, images - level[:, None, None], 0.0)
    f = fourier.centred_rfftn(windowed, 2)
    power = (f.real**2 + f.imag**2).mean(0) * fourier.half_weights(box)
    ring = fourier.shells(box, 2)
    count = np.bincount(ring.ravel(), weights=np.broadcast_to(fourier.half_weights(box), ring.shape).ravel())
    total = np.bincount(ring.ravel(), weights=power.ravel()) / count
    return np.asarray(total[: box // 2 + 1] / outside.mean())
