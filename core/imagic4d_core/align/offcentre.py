"""Bring in images that are far off centre, and leave the others alone.

Two estimates of a particle's place are made from each image that have little in common: its mass (low frequencies, background
off) and its texture (local variance where the data set has more signal than noise). The mass is blind where background and
envelope rule the low frequencies, the texture is drawn to bright features; their errors are nearly independent. So what both
have in common over the data set is how far images really lie off, and the rest is error. A mixture model fits both, with a
share of blind estimates (junk, neighbours), and every image gets the mean of its place given its two estimates: a Wiener
estimate, which is near 0 where images are centred. Own derivation; the mixture of normal distributions of fixed widths as
prior follows Stephens, Biostatistics 18 (2017) 275, the fit is EM (Dempster, Laird, Rubin, J. R. Stat. Soc. B 39 (1977) 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.masks.shapes import axes_of, distances
from imagic4d_core.parallel import SERIAL, Comm, map_blocks

F64 = NDArray[np.float64]

#: Images are looked at in a box of at most so many pixels; lengths below are those of a box of 64.
WORK = 64
#: Radii of the particle for mass and texture.
RADII = (18.0, 22.0)
#: Shorter than this an image is left where it is (the search for shifts covers it).
REST = 2.5
#: Standard deviations along each axis of the places in the mixture; the first stands for centred images.
WIDTHS = np.array([0.3, 1.0, 2.0, 4.0, 8.0])
#: Errors (standard deviation along each axis) of mass and texture, least, expected and largest, and the share of blind ones.
ERRORS = np.array([[0.3, 1.0, 6.0], [0.5, 1.0, 4.0]])
BLIND = 0.1
#: The expected values count as so many images.
PRIOR = 10.0
#: Most images used to fit the mixture.
FITTED = 20000


@dataclass(frozen=True)
class Placed:
    """Centring of images.

    Attributes
    ----------
    shifts : ndarray, shape (n, 2), float64
        What brings images to the centre, pixels, array axes; 0 for those that stay.
    stayed : ndarray, shape (n,), bool
        Near enough to the centre, as far as can be seen.
    unseen : ndarray, shape (n,), bool
        Neither estimate is believed: no object seen; they stay as well.
    limited : ndarray, shape (n,), bool
        Farther off than the limit, and brought in as far as it allows.
    spread : float
        Root mean square distance from the centre that the model finds in the data set, pixels.
    errors : tuple of float
        Root mean square errors of mass and texture in the model, pixels.
    """

    shifts: F64
    stayed: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    limited: NDArray[np.bool_]
    spread: float
    errors: tuple[float, float]


@dataclass(frozen=True)
class Mixture:
    """What is fitted: shares of the widths (k,), variances along an axis of the two estimates, their blind shares."""

    shares: F64
    variances: F64
    blind: F64


class _Looking:
    """Tables for one size of box."""

    def __init__(self, box: int, reach: float):
        self.box = box
        self.size = min(box, WORK)
        self.unit = self.size / 64.0
        shape = (self.size, self.size)
        self.r = distances(shape, dtype=np.float64)
        self.k = np.hypot(fourier.frequencies(self.size)[:, None], fourier.half_frequencies(self.size))
        self.ring = np.rint(self.k * self.size).astype(np.int64)
        self.outside = np.clip((self.r - 0.69 * self.size / 2) / (0.125 * self.size / 2), 0.0, 1.0)
        x, y = (a / (self.size / 2) for a in axes_of(shape, np.float64))
        terms = np.stack([np.broadcast_to(t, shape).ravel() for t in (1.0 + 0 * x, x, y, x * x, x * y, y * y)], 1)
        weighted = terms * self.outside.reshape(-1, 1)
        self.terms, self.solve = terms, np.linalg.solve(weighted.T @ terms, weighted.T)
        self.allowed = self.r <= reach * self.size / box
        self.discs = [fourier.centred_rfftn(np.clip(1.0 - np.square(self.r / (r * self.unit)), 0.0, None), 2) for r in RADII]

    def small(self, data: NDArray[np.float32]) -> F64:
        """Images in the working box, background off, standard deviation 1 (0 for constant ones)."""
        x = data.astype(np.float64)
        if self.size != self.box:
            f = fourier.crop_rfftn(fourier.centred_rfftn(x, 2), x.shape[1:], (self.size, self.size))
            x = fourier.centred_irfftn(f, (self.size, self.size)).astype(np.float64)
        rows = x.reshape(len(x), -1)
        rows = rows - (rows @ self.solve.T) @ self.terms.T
        sd = rows.std(1, keepdims=True)
        return np.where(sd > 0, rows / np.where(sd > 0, sd, 1.0), 0.0).reshape(x.shape)

    def blur(self, x: F64, sigma: float) -> F64:
        """Gaussian, pixels of a box of 64."""
        return self.filtered(x, np.exp(-2 * np.square(np.pi * sigma * self.unit * self.k)))

    def filtered(self, x: F64, curve: F64) -> F64:
        f = fourier.centred_rfftn(x, 2)
        return fourier.centred_irfftn(f * curve, (self.size, self.size)).astype(np.float64)

    def powers(self, data: NDArray[np.float32]) -> F64:
        """Sums over images of mean power in rings, (2, rings): of all of the image, and of what is outside the object."""
        x = self.small(data)
        count = np.bincount(self.ring.ravel())
        out = []
        for part, area in ((x, float(self.size**2)), (x * self.outside, float(np.square(self.outside).sum()))):
            power = np.square(np.abs(fourier.centred_rfftn(part, 2))).sum(0) / area
            out.append(np.bincount(self.ring.ravel(), power.ravel()) / count)
        return np.array(out)

    def weight(self, powers: F64) -> F64:
        """Filter of the texture: signal over signal and noise, on the noise made white; the lowest two rings left out."""
        total, noise = powers
        noise = np.maximum(noise, 1e-6 * noise.max(initial=1e-30))
        signal = np.maximum(total / noise - 1.0, 0.0)
        curve = np.sqrt(signal / (1.0 + signal) / noise)
        curve[:2] = 0.0
        return curve[self.ring]

    def peak(self, maps: F64, disc: NDArray) -> F64:
        """Places (n, 2) where a disc holds most, in pixels of the image."""
        held = self.filtered(maps, disc)
        flat = np.where(self.allowed, held, -np.inf).reshape(len(held), -1).argmax(1)
        at = np.stack(np.divmod(flat, self.size), 1)
        n, out = np.arange(len(held)), np.empty((len(held), 2))
        for axis in range(2):
            low, high = at.copy(), at.copy()
            low[:, axis] = (low[:, axis] - 1) % self.size
            high[:, axis] = (high[:, axis] + 1) % self.size
            a, b, c = held[n, low[:, 0], low[:, 1]], held[n, at[:, 0], at[:, 1]], held[n, high[:, 0], high[:, 1]]
            bend = a - 2 * b + c
            part = np.where(bend < 0, 0.5 * (a - c) / np.where(bend < 0, bend, 1.0), 0.0)
            out[:, axis] = at[:, axis] - self.size // 2 + np.clip(part, -0.5, 0.5)
        return out * (self.box / self.size)

    def estimates(self, data: NDArray[np.float32], weight: F64) -> F64:
        """Places of the particle, (n, 2 estimates, 2), pixels."""
        x = self.small(data)
        texture = self.blur(np.square(self.filtered(x, weight)), 3.0)
        texture -= np.median(texture, axis=(1, 2), keepdims=True)
        top = np.quantile(texture, 0.97, axis=(1, 2), keepdims=True)
        texture = np.clip(texture / np.where(top > 0, top, 1.0), 0.0, 1.0)
        texture = texture / (texture + 0.3)  # bright features count little more than others
        return np.stack([self.peak(self.blur(x, 1.5), self.discs[0]), self.peak(texture, self.discs[1])], 1)


def _posterior(e: F64, m: Mixture, reach: float) -> tuple[F64, F64, list[tuple[int, tuple[bool, ...]]], F64]:
    """Responsibilities (n, cases), means (n, cases, 2), the cases (width, which estimates see) and their precisions."""
    cases = [(j, sees) for j in range(len(WIDTHS)) for sees in product((True, False), repeat=2)]
    logs, means, precisions = np.empty((len(e), len(cases))), np.empty((len(e), len(cases), 2)), np.empty(len(cases))
    blank = -np.log(np.pi * reach**2)
    for c, (j, sees) in enumerate(cases):
        p = 1.0 / WIDTHS[j] ** 2
        log = np.full(len(e), np.log(max(m.shares[j], 1e-300)) + np.log(p))
        mean = np.zeros((len(e), 2))
        for k, seen in enumerate(sees):
            if not seen:
                log += np.log(m.blind[k]) + blank
                continue
            v = m.variances[k]
            p += 1.0 / v
            mean += e[:, k] / v
            log += np.log1p(-m.blind[k]) - np.log(2 * np.pi * v) - 0.5 * np.square(e[:, k]).sum(1) / v
        mean /= p
        logs[:, c] = log - np.log(p) + 0.5 * p * np.square(mean).sum(1)
        means[:, c], precisions[c] = mean, p
    logs -= logs.max(1, keepdims=True)
    shares = np.exp(logs)
    return shares / shares.sum(1, keepdims=True), means, cases, precisions


def fitted(e: F64, reach: float, rounds: int = 60) -> Mixture:
    """Fit the mixture to estimates (n, 2, 2) in pixels of a box of 64; `reach` is how far they can lie off."""
    m = Mixture(np.array([0.6, 0.1, 0.1, 0.1, 0.1]), np.square(ERRORS[:, 1]), np.full(2, BLIND))
    expected = m
    for _ in range(rounds):
        share, means, cases, precisions = _posterior(e, m, reach)
        total = share.sum(0)
        shares, variances, blind = PRIOR * expected.shares, np.empty(2), np.empty(2)
        for c, (j, _) in enumerate(cases):
            shares[j] += total[c]
        for k in range(2):
            on = [c for c, (_, sees) in enumerate(cases) if sees[k]]
            square = sum(
                float((share[:, c] * np.square(e[:, k] - means[:, c]).sum(1)).sum()) + total[c] * 2 / precisions[c] for c in on
            )
            seen = float(total[on].sum())
            v = (PRIOR * 2 * expected.variances[k] + square) / (2 * (PRIOR + seen))
            variances[k] = min(max(v, ERRORS[k, 0] ** 2), ERRORS[k, 2] ** 2)
            blind[k] = (PRIOR * BLIND + len(e) - seen) / (PRIOR + len(e))
        m = Mixture(shares / shares.sum(), variances, blind)
    return m


def object_shifts(
    read: Callable[[tuple[int, int]], NDArray[np.float32]], count: int, box: int, *, block: int, max_shift: float,
    comm: Comm = SERIAL, threads: int = 1, progress: Callable[[int, int], None] | None = None,
) -> Placed:  # fmt: skip
    """Shifts that bring in square images that lie far off; the others stay where they are.

    Parameters
    ----------
    read : callable
        Images of a block (start, stop), shape (n, box, box), float32, protein bright.
    count, box : int
    block : int
        Images in a block.
    max_shift : float
        Pixels.

    Returns
    -------
    Placed
        The same bits for any number of ranks and threads (sums in the order of blocks).
    """
    look = _Looking(box, min(max_shift + 2.0 * box / WORK, 0.8 * box / 2))
    blocks = comm.blocks(count, block)

    def gathered(func: Callable[[tuple[int, int]], F64]) -> list[F64]:
        found = map_blocks(func, blocks, threads, progress)
        parts = [one for part in comm.allgather(list(zip(blocks, found, strict=True))) for one in part]
        return [one for _, one in sorted(parts, key=lambda p: p[0])]

    powers = np.zeros((2, int(look.ring.max()) + 1))
    for part in gathered(lambda span: look.powers(read(span))):
        powers += part
    weight = look.weight(powers)
    e = np.concatenate(gathered(lambda span: look.estimates(read(span), weight)))
    scale = box / 64.0
    reach = float(look.r[look.allowed].max()) / look.unit + 1.0
    mixture = fitted(e[:: max(1, -(-count // FITTED))] / scale, reach)
    share, means, cases, _ = _posterior(e / scale, mixture, reach)
    place = (share[:, :, None] * means).sum(1) * scale
    doubt = share[:, [c for c, (_, sees) in enumerate(cases) if not any(sees)]].sum(1)
    length = np.hypot(*place.T)
    unseen = doubt > 0.5
    stayed = (length < REST * scale) & ~unseen
    limited = (length > max_shift) & ~unseen
    keep = np.where(stayed | unseen, 0.0, np.minimum(1.0, max_shift / np.maximum(length, 1e-30)))
    spread = float(np.sqrt(2 * mixture.shares @ np.square(WIDTHS))) * scale
    errors = np.sqrt(2 * mixture.variances) * scale
    return Placed(-place * keep[:, None], stayed, unseen, limited, spread, (float(errors[0]), float(errors[1])))
