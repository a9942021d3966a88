"""Eigenvolumes and coordinates by turns.

Given eigenvolumes, the coordinates of an image are normal with precision ``1 + A_i`` and mean ``(1 + A_i)^-1 b_i``, where
``A_i = <P_i E_k, P_i E_l>`` and ``b_i = <P_i E_k, R_i>`` in units of the noise, R_i the image less the projection of the
mean. Given these, the eigenvolumes are the weighted reconstructions that solve, in every Fourier cell,
``sum_i <z_k z_l> P^T P E = sum_i z_k P^T R`` (expectation-maximisation; Tipping & Bishop 1999, doi:10.1111/1467-9868.00196).
After
each round the coordinates are made to have mean 0 and unit covariance, which takes the slow part out of it (Liu, Rubin & Wu 1998,
doi:10.1093/biomet/85.4.755).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.sums import component_sums, component_volumes, half_set_ssnr
from imagic4d_core.eigenvolumes.views import (
    F32,
    F64,
    Views,
    blocks_of,
    over_blocks,
    residuals,
    slices_of,
    with_strength_and_noise,
)
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.rng import rng_for

#: SSNR assumed of volumes of which nothing is known.
FIRST_SSNR = 1.0
#: Rounds between two estimates of the SSNR.
EVERY = 4
#: Coordinates of one round explain this share of those of the next: nothing happens any more.
SETTLED = 0.9995
#: Rounds at least.
LEAST_ROUNDS = 8


@dataclass(frozen=True)
class FitOptions:
    """How eigenvolumes are looked for.

    Attributes
    ----------
    components : int
        Number of eigenvolumes.
    rounds : int
        Most rounds.
    seed : int
        Of the coordinates at the start.
    stage : str
        Name of the stream of random numbers.
    """

    components: int = 6
    rounds: int = 30
    seed: int = 0
    stage: str = "eigenvolumes"


@dataclass(frozen=True)
class Information:
    """What the images say of their coordinates, in units of the noise.

    Attributes
    ----------
    b : ndarray, shape (n, q), float64
        Correlation of the residual with the projected eigenvolumes.
    a : ndarray, shape (n, q, q), float64
        Products of the projected eigenvolumes: covariance of `b` if there is nothing but noise.
    """

    b: F64
    a: F64

    def posterior(self) -> tuple[F64, F64]:
        """Mean (n, q) and covariance (n, q, q) of the coordinates, for coordinates that are N(0, 1) over the images."""
        covariance: F64 = np.linalg.inv(self.a + np.eye(self.a.shape[1])).astype(np.float64)
        return np.einsum("nkl,nl->nk", covariance, self.b), covariance

    def turned(self, t: F64) -> "Information":
        """The same for eigenvolumes ``E' = E t``."""
        return Information(self.b @ t, np.einsum("ka,nkl,lb->nab", t, self.a, t, optimize=True))


@dataclass(frozen=True)
class Fit:
    """Eigenvolumes and coordinates.

    Attributes
    ----------
    mean : ndarray, shape (small, small, small), float32
    volumes : ndarray, shape (q, small, small, small), float32
        Eigenvolumes for coordinates of unit variance, the most telling first; signs fixed.
    views : Views
        With strengths and noise.
    information : Information
    coordinates : ndarray, shape (n, q), float64
        Posterior means in units of the noise: `snr` ** 0.5 times coordinates of unit variance. Noise alone has a standard
        deviation of about 1 along each.
    snr : ndarray, shape (q,), float64
        Mean information of an image along each component: variance of the signal over that of the noise.
    rounds : int
    converged : bool
    """

    mean: F32
    volumes: F32
    views: Views
    information: Information
    coordinates: F64
    snr: F64
    rounds: int
    converged: bool


def half_of(views: Views) -> NDArray[np.int64]:
    """Half set of each image, 0 or 1: even and odd pairs of images, whatever else is dealt by turns."""
    return (views.number // 2) % 2


def mean_volume(views: Views, mask: F32, *, comm: Comm = SERIAL, threads: int = 1) -> F32:
    """Mean 3D, Wiener filtered by its half sets; shape (small, small, small)."""
    one = np.ones((len(views), 1))
    sums = component_sums(views, views.spectra, one, one[:, :, None], half_of(views), comm=comm, threads=threads)
    return np.asarray(component_volumes(sums, half_set_ssnr(sums, mask), mask)[0])


def information(views: Views, left: NDArray[np.complex64], volumes: F32, *, threads: int = 1) -> Information:
    """Information of images about their coordinates along eigenvolumes.

    Parameters
    ----------
    views : Views
    left : ndarray, shape (n, P), complex64
        Residuals.
    volumes : ndarray, shape (q, small, small, small), float32

    Returns
    -------
    Information
    """
    n, q = len(views), len(volumes)
    takes = [slices_of(v, views.band) for v in volumes]
    b, a = np.empty((n, q)), np.empty((n, q, q))

    def part(use: slice) -> tuple[NDArray, ...]:
        gain = views.transfer(use) * views.whitening(use)
        seen = np.stack([take(views.matrices[use]) * gain for take in takes], axis=1).astype(np.complex64).view(np.float32)
        y = (left[use] * views.whitening(use)).astype(np.complex64).view(np.float32)
        return (seen @ y[:, :, None])[:, :, 0], seen @ seen.transpose(0, 2, 1)

    for use, (along, products) in blocks_of(views, part, threads):
        b[use], a[use] = along, 0.5 * (products + products.transpose(0, 2, 1))
    return Information(b, a)


def fit(
    views: Views, mask: F32, options: FitOptions = FitOptions(), *, whole: F32 | None = None, comm: Comm = SERIAL,
    threads: int = 1, start: F32 | None = None, progress: Callable[[int, int], None] | None = None,
) -> Fit:  # fmt: skip
    """Find eigenvolumes and coordinates.

    Parameters
    ----------
    views : Views
        Noise spectrum and strengths are estimated here.
    mask : ndarray, shape (small, small, small), float32
        Where images may differ; 0 to 1.
    options : FitOptions
    whole : ndarray, shape (small, small, small), optional
        Mask of the mean 3D, where it is larger.
    start : ndarray, shape (q, small, small, small), optional
        Eigenvolumes to start from, in place of random coordinates.
    progress : callable, optional
        Called with (rounds done, most rounds).

    Returns
    -------
    Fit
    """
    q = options.components if start is None else len(start)
    views, mean, left = prepared(views, mask if whole is None else whole, comm=comm, threads=threads)
    half = half_of(views)
    ssnr = np.full((q, views.band.r_max + 1), FIRST_SSNR)
    info: Information | None = None
    z, cov = np.empty((len(views), q)), np.zeros((len(views), q, q))
    if start is None:
        for i, number in enumerate(views.number):
            z[i] = rng_for(options.seed, options.stage, int(number)).standard_normal(q)
    else:
        info = information(views, left, start, threads=threads)
        z, cov = info.posterior()
    before, converged, done = z, False, 0
    volumes = np.zeros((q, *mask.shape), np.float32)
    for done in range(1, options.rounds + 1):
        z, cov = standardised(views, z, cov, comm)
        zz = z[:, :, None] * z[:, None, :] + cov
        one = np.ones((len(z), 1))
        # the mean goes along as a component of its own: coordinates do not add up to 0 in every cell
        zz = np.concatenate([np.concatenate([one[:, :, None], z[:, None, :]], 2), np.concatenate([z[:, :, None], zz], 2)], 1)
        sums = component_sums(views, left, np.concatenate([one, z], 1), zz, half, comm=comm, threads=threads)
        if done > EVERY and done % EVERY == 1:
            ssnr = half_set_ssnr(sums, mask)[1:]
        flat = np.full((1, ssnr.shape[1]), FIRST_SSNR)
        volumes = component_volumes(sums, np.concatenate([flat, ssnr]), mask)[1:]
        info = information(views, left, volumes, threads=threads)
        volumes, info = sorted_components(views, volumes, info, comm)
        z, cov = info.posterior()
        if progress is not None:
            progress(done, options.rounds)
        if done >= LEAST_ROUNDS and explained(views, before, z, comm) > SETTLED:
            converged = True
            break
        before = z
    assert info is not None
    return finished(views, mean, volumes, info, done, converged, comm)


def prepared(views: Views, mask: F32, *, comm: Comm = SERIAL, threads: int = 1) -> tuple[Views, F32, NDArray[np.complex64]]:
    """Views with noise spectrum and strengths, the mean 3D, and the residuals (n, P)."""
    mean = mean_volume(views, mask, comm=comm, threads=threads)
    views = with_strength_and_noise(views, mean, comm, threads, spread=False)
    views = with_strength_and_noise(views, mean, comm, threads)
    mean = mean_volume(views, mask, comm=comm, threads=threads)
    views = with_strength_and_noise(views, mean, comm, threads)
    project = slices_of(mean, views.band)
    left = np.empty_like(views.spectra)
    for use, (part,) in blocks_of(views, lambda use: (residuals(views, project, use),), threads):
        left[use] = part
    return views, mean, left


def standardised(views: Views, z: F64, cov: F64, comm: Comm) -> tuple[F64, F64]:
    """Coordinates with mean 0 and unit (expected) covariance over all images."""
    q = z.shape[1]

    def part(block: tuple[int, slice]) -> F64:
        use = block[1]
        second = (z[use, :, None] * z[use, None, :] + cov[use]).sum(0)
        return np.concatenate([[len(z[use])], z[use].sum(0), second.ravel()])

    total = over_blocks(views, part, np.zeros(1 + q + q * q), comm, 1)
    centre = total[1 : 1 + q] / total[0]
    second = total[1 + q :].reshape(q, q) / total[0] - np.outer(centre, centre)
    back = np.linalg.inv(np.linalg.cholesky(0.5 * (second + second.T) + 1e-9 * np.trace(second) / q * np.eye(q)))
    return (z - centre) @ back.T, np.einsum("ak,nkl,bl->nab", back, cov, back, optimize=True)


def mean_information(views: Views, info: Information, comm: Comm) -> F64:
    """Mean of ``A_i`` over all images, (q, q)."""
    q = info.a.shape[1]

    def part(block: tuple[int, slice]) -> F64:
        use = block[1]
        return np.concatenate([[len(info.b[use])], info.a[use].sum(0).ravel()])

    total = over_blocks(views, part, np.zeros(1 + q * q), comm, 1)
    return total[1:].reshape(q, q) / max(total[0], 1.0)


def sorted_components(views: Views, volumes: F32, info: Information, comm: Comm) -> tuple[F32, Information]:
    """Turn the eigenvolumes so that the mean information is diagonal, largest first.

    The sign is such that the largest deviation of an eigenvolume is positive.
    """
    values, turn = np.linalg.eigh(mean_information(views, info, comm))
    turn = turn[:, np.argsort(-values, kind="stable")]
    turned = np.tensordot(turn.T, volumes.astype(np.float64), axes=1)
    flat = turned.reshape(len(turned), -1)
    sign = np.sign(flat[np.arange(len(flat)), np.abs(flat).argmax(1)])
    sign[sign == 0] = 1
    turn = turn * sign
    return (turned * sign[:, None, None, None]).astype(np.float32), info.turned(turn)


def explained(views: Views, before: F64, now: F64, comm: Comm) -> float:
    """Share of the coordinates of this round, weighed by their variance, that is linear in those of the round before."""
    q = now.shape[1]

    def part(block: tuple[int, slice]) -> F64:
        both = np.concatenate([before[block[1]], now[block[1]]], 1)
        return (both.T @ both).ravel()

    total = over_blocks(views, part, np.zeros((2 * q) ** 2), comm, 1).reshape(2 * q, 2 * q)
    old, cross, new = total[:q, :q], total[:q, q:], total[q:, q:]
    fitted = cross.T @ np.linalg.pinv(old, hermitian=True) @ cross
    return float(np.trace(fitted) / max(np.trace(new), 1e-300))


def finished(
    views: Views, mean: F32, volumes: F32, info: Information, rounds: int, converged: bool, comm: Comm
) -> Fit:
    """A `Fit` of eigenvolumes that are sorted."""
    snr = np.maximum(np.diag(mean_information(views, info, comm)), 0.0)
    z, _ = info.posterior()
    return Fit(mean, volumes, views, info, z * np.sqrt(snr), snr, rounds, converged)


def energies(views: Views, left: NDArray[np.complex64]) -> F64:
    """Squares of the residuals (n, P) of each image, in units of the noise: (n,)."""
    out = np.empty(len(views))
    for _, use in views.blocks():
        y = (left[use] * views.whitening(use)).astype(np.complex64).view(np.float32)
        out[use] = np.square(y, dtype=np.float64).sum(1)
    return out


def volumes_along(
    views: Views, whole: F32, mask: F32, z: F64, *, comm: Comm = SERIAL, threads: int = 1
) -> tuple[F32, F32]:  # fmt: skip
    """Mean 3D and eigenvolumes up to the band limit of `views`, for coordinates that are known.

    Coordinates found at few frequencies know nothing of the noise at the others: there the half sets are independent.

    Parameters
    ----------
    views : Views
        Noise spectrum and strengths are estimated here.
    whole, mask : ndarray, shape (small, small, small), float32
        Masks of the mean 3D and of the eigenvolumes.
    z : ndarray, shape (n, q), float64
        Coordinates.

    Returns
    -------
    mean : ndarray, shape (small, small, small), float32
    volumes : ndarray, shape (q, small, small, small), float32
        What is added to the mean for a coordinate of 1.
    """
    views, mean, left = prepared(views, whole, comm=comm, threads=threads)
    one = np.concatenate([np.ones((len(z), 1)), z], 1)
    sums = component_sums(views, left, one, one[:, :, None] * one[:, None, :], half_of(views), comm=comm, threads=threads)
    return mean, component_volumes(sums, half_set_ssnr(sums, mask), mask)[1:]
