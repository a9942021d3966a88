"""Naive twins of `angrec.weights`: one pair, one ring, one coefficient at a time."""

import math

import numpy as np


def correlations(images, sections, rings):
    """Pooled correlation of each ring, every image and section first brought to unit power."""
    top = np.zeros(max(rings) + 1)
    first, second = top.copy(), top.copy()
    for image, section in zip(images, sections, strict=True):
        size = [math.sqrt(sum(abs(v) ** 2 for v in f)) for f in (image, section)]
        for x, s, r in zip(image, section, rings, strict=True):
            top[r] += (x * s.conjugate()).real / (size[0] * size[1])
            first[r] += abs(x) ** 2 / size[0] ** 2
            second[r] += abs(s) ** 2 / size[1] ** 2
    return np.array([t / math.sqrt(a * b) if a * b else 0.0 for t, a, b in zip(top, first, second, strict=True)])


def log_likelihood(image, section, noise, gain):
    """Of an image in Gaussian noise of known spectrum, the scale of the signal free: up to a constant."""
    across = within = 0.0
    for x, s, v, c in zip(image, section, noise, gain, strict=True):
        across += (x * (c * s).conjugate()).real / v
        within += abs(c * s) ** 2 / v
    scale = across / within
    return -sum(abs(x - scale * c * s) ** 2 / v for x, s, v, c in zip(image, section, noise, gain, strict=True))
