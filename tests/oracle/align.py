"""Naive twins of the alignment: images drawn from Gaussian blobs at moved places, scores by plain sums."""

import numpy as np


def blobs(seed, count=9, spread=0.12):
    """Places (count, 2) as fractions of the box, and weights."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)) * spread, rng.uniform(0.5, 1.5, count)


def draw(box, model, linear=None, offset=(0.0, 0.0), width=0.05):
    """Picture (box, box) of the blobs, those at q standing at ``linear q + offset``."""
    linear = np.eye(2) if linear is None else linear
    places, weights = model
    x = np.arange(box) - box // 2
    out = np.zeros((box, box))
    for q, w in zip(places * box, weights, strict=True):
        p = linear @ q + offset
        out += w * np.exp(-((x[:, None] - p[0]) ** 2 + (x[None, :] - p[1]) ** 2) / (2 * (width * box) ** 2))
    return out.astype(np.float32)


def transform(image, k):
    """Fourier transform of a centred image at frequencies k (p, 2), cycles per box, by the plain sum."""
    n = image.shape[0]
    x = np.arange(n) - n // 2
    out = np.zeros(len(k), complex)
    for j, (a, b) in enumerate(k):
        wave = np.exp(-2j * np.pi * (a * x[:, None] + b * x[None, :]) / n)
        out[j] = (image * wave).sum()
    return out


def polar_score(image, reference, r_max, n_alpha, linear, offset):
    """Correlation coefficient over rings 1..r_max, weighted by radius, of the image moved by ``linear q + offset``."""
    t = np.arange(n_alpha) * 2 * np.pi / n_alpha
    r = np.arange(1, r_max + 1)
    k = np.stack([np.outer(np.cos(t), r).ravel(), np.outer(np.sin(t), r).ravel()], 1)
    w = np.tile(r, n_alpha)
    n = image.shape[0]
    moved = transform(image, k @ linear) * np.exp(-2j * np.pi * (k @ np.asarray(offset)) / n)
    other = transform(reference, k)
    norm = (w * np.abs(transform(image, k)) ** 2).sum() * (w * np.abs(other) ** 2).sum()
    return float((w * (moved * np.conj(other)).real).sum() / np.sqrt(norm))


def climb(table, rotation_first, rounds, guard, start):
    """Rotation and shift by turns in a table (angles, shifts); what `kernels.align.climb` gives within the limits."""
    at, to = start, 0
    free = np.flatnonzero(~guard)
    for turn in range(max(1, 2 * rounds)):
        if (turn % 2 == 0) == rotation_first:
            best = int(table[:, to].argmax())
            at = best if table[best, to] > table[at, to] else at
        else:
            best = int(free[table[at, free].argmax()])
            to = best if table[at, best] > table[at, to] else to
    return table[at, to], at * table.shape[1] + to
