"""How many eigenvolumes mean something: beside images of one structure with the same views, CTF, strengths and noise.

Eigenvolumes of noise alone follow the noise of their own images, and by how much depends on the number of images, on how
views are
spread, on the CTF, the mask and the band limit. So the question is answered by doing the same with images in which nothing
varies:
the mean 3D projected as the images are, with noise of the spectrum found (a parametric bootstrap). A component is above the
noise if its coordinates have a larger variance than those of any component there, with a margin.

A second witness are eigenvolumes of the two halves of the images, found independently: those that mean something are the same.
"""

from dataclasses import dataclass, replace

import numpy as np

from imagic4d_core.eigenvolumes.rounds import Fit, FitOptions, fit, information, prepared
from imagic4d_core.eigenvolumes.views import BLOCK, C64, F32, F64, Views, blocks_of, over_blocks, slices_of
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.rng import rng_for

#: Imitations made, and variance of a component over the largest of theirs beyond which it counts. Over single imitations the
#: ratio of two sets of noise has a standard deviation of 0.1 (600 images).
IMITATIONS, MARGIN = 3, 1.2
#: Images imitated; share of the free voxels that shows in the noise.
ENOUGH, SHOWN = 2048, 0.4


@dataclass(frozen=True)
class Edge:
    """Where the noise ends.

    Attributes
    ----------
    variance : float
        Variance of coordinates up to which noise reaches, margin included.
    gamma : float
        Free numbers of an eigenvolume over the number of images, as far as they show: the largest noise component has a mean
        information of ``(1 + sqrt(gamma))^2 - 1``.
    """

    variance: float
    gamma: float

    def above(self, found: Fit, comm: Comm = SERIAL) -> int:
        """Number of components of a fit above the noise: the leading ones, up to the first that is not."""
        return int(np.cumprod(variances(found, comm) > self.variance).sum())

    def separation(self, snr: F64) -> F64:
        """What components really tell of an image: variance of the signal over that of the noise.

        Noise in an eigenvolume adds to its information and takes from its truth. From the information found follow that of the
        true component l, ``(1 + l) (1 + gamma / l) = 1 + snr``, and the cosine between it and what was found, of square
        ``(1 - gamma / l^2) / (1 + gamma / l)`` (Paul 2007, Stat. Sinica 17:1617). 0 where noise may be all.

        Parameters
        ----------
        snr : ndarray
            As `Fit.snr`.
        """
        g = self.gamma
        half = 0.5 * (np.asarray(snr) - g)
        root = half**2 - g
        true = half + np.sqrt(np.maximum(root, 0.0))
        seen = (root > 0) & (half > 0)
        true = np.where(seen, true, 1.0)
        return np.where(seen, true * (1 - g / true**2) / (1 + g / true), 0.0)


def _variance_of(gamma: float) -> float:
    """Variance of the coordinates along the largest component of noise."""
    a = (1 + np.sqrt(gamma)) ** 2 - 1
    return float(a * a / (1 + a))


def _gamma_of(variance: float) -> float:
    """Inverse of `_variance_of`."""
    a = 0.5 * (variance + np.sqrt(variance**2 + 4 * variance))
    return float((np.sqrt(1 + a) - 1) ** 2)


def variances(found: Fit, comm: Comm = SERIAL) -> F64:
    """Mean square of the coordinates along each component, (q,)."""

    def part(block: tuple[int, slice]) -> F64:
        y = found.coordinates[block[1]]
        return np.append(np.square(y).sum(0), len(y))

    total = over_blocks(found.views, part, np.zeros(len(found.snr) + 1), comm, 1)
    return np.asarray(total[:-1] / max(total[-1], 1.0))


def imitation(views: Views, mean: F32, seed: int, *, threads: int = 1) -> Views:
    """Images of the mean 3D alone with the poses, CTF, strengths and noise spectrum of others.

    Random numbers are keyed by the seed and the number of the image.
    """
    project = slices_of(mean, views.band)
    width = len(views.band.ring)

    def part(use: slice) -> tuple[C64]:
        out = project(views.matrices[use]) * views.transfer(use)
        spread = 1.0 / views.whitening(use)
        for i, number in enumerate(views.number[use]):
            noise = rng_for(seed, "eigenvolumes/imitation", int(number)).standard_normal((2, width), dtype=np.float32)
            out[i] += spread[i] * (noise[0] + 1j * noise[1])
        return (out.astype(np.complex64),)

    spectra = np.empty_like(views.spectra)
    for use, (made,) in blocks_of(views, part, threads):
        spectra[use] = made
    return replace(views, spectra=spectra)


def noise_edge(
    found: Fit, mask: F32, options: FitOptions, *, whole: F32 | None = None, comm: Comm = SERIAL, threads: int = 1,
    hasty: bool = False,
) -> Edge:  # fmt: skip
    """The edge of the noise for a fit: the same options and number of rounds, with imitations of its images.

    Of many images the first `ENOUGH` or so are imitated, and gamma is scaled by the number. It is at least `SHOWN` of the
    voxels under the mask inside the band, over the images: components of noise may have vanished, and others come back.

    With `hasty` no further imitation is made once no component is above the edge: more would only raise it.
    """
    options = replace(options, rounds=found.rounds)
    views = found.views
    count = int(over_blocks(views, lambda block: np.array([len(views.number[block[1]])]), np.zeros(1, np.int64), comm, 1)[0])
    step = -(-count // ENOUGH)
    part = views if step == 1 else views.select((views.number // BLOCK) % step == 0)
    few = int(over_blocks(part, lambda block: np.array([len(part.number[block[1]])]), np.zeros(1, np.int64), comm, 1)[0])
    voxels = 4 / 3 * np.pi * views.band.r_max**3 * float(np.square(mask, dtype=np.float64).mean())
    top, edge = 0.0, Edge(0.0, 0.0)
    for k in range(IMITATIONS):
        made = imitation(part, found.mean, options.seed + k, threads=threads)
        null = fit(made, mask, options, whole=whole, comm=comm, threads=threads)
        top = max(top, float(variances(null, comm).max(initial=0.0)))
        gamma = max(_gamma_of(top) * few / count, SHOWN * voxels / count)
        edge = Edge(MARGIN * (top if few == count and top > _variance_of(gamma) else _variance_of(gamma)), gamma)
        if hasty and not edge.above(found, comm):
            break
    return edge


def reproducibility(
    views: Views, mask: F32, options: FitOptions, *, whole: F32 | None = None, comm: Comm = SERIAL, threads: int = 1
) -> F64:  # fmt: skip
    """Canonical correlations of eigenvolumes of the two halves of the images, each with a mean 3D of its own.

    Returns
    -------
    ndarray, shape (q,), float64
        Descending; correlation of projections, in units of the noise, of matched directions in the two spaces. Eigenvolumes of
        noise have about the square root of q over the number of their free voxels.
    """
    halves = [views.select(views.number % 2 == h) for h in (0, 1)]
    stages = [replace(options, stage=f"{options.stage}/half {h}") for h in (0, 1)]
    found = [fit(v, mask, o, whole=whole, comm=comm, threads=threads) for v, o in zip(halves, stages, strict=True)]
    both = np.concatenate([f.volumes for f in found])
    sample, _, left = prepared(views, mask if whole is None else whole, comm=comm, threads=threads)
    info = information(sample, left, both, threads=threads)
    q = options.components

    def part(block: tuple[int, slice]) -> F64:
        return info.a[block[1]].sum(0)

    total = over_blocks(sample, part, np.zeros((2 * q, 2 * q)), comm, 1)
    a, b, cross = total[:q, :q], total[q:, q:], total[:q, q:]
    return np.linalg.svd(_root(a) @ cross @ _root(b), compute_uv=False)


def _root(m: F64) -> F64:
    """Inverse square root of a positive matrix; directions of nothing give 0."""
    values, vectors = np.linalg.eigh(m)
    good = values > 1e-9 * max(float(values.max()), 1e-300)
    scale = np.where(good, 1.0 / np.sqrt(np.where(good, values, 1.0)), 0.0)
    return np.asarray((vectors * scale) @ vectors.T)
