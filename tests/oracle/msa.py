"""Naive MSA: the whole table in float64, the metrics as in their papers, LAPACK for the rest."""

import numpy as np


def table(x, metric, floor=0.01):
    """Rows of the analysis (n, P), their masses (n,), centre and scale, from densities (n, P) under the mask."""
    x = np.asarray(x, np.float64)
    n, p = x.shape
    if metric == "chi-square":  # correspondence analysis, Greenacre's notation
        f = x / x.sum()
        r, c = f.sum(1), f.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            profiles = np.where(c > 0, (f / r[:, None] - c) / np.sqrt(c), 0.0)
        return profiles, r
    y = x - x.mean(0)
    if metric == "modulation":
        sd = x.std(0)
        good = sd > 1e-6 * sd.max()
        y = np.where(good, y / np.maximum(sd, floor * np.median(sd[good])), 0.0)
    return y, np.full(n, 1 / n)


def msa(x, metric, factors, **opts):
    """Eigenvalues, eigenvectors (P, factors), coordinates (n, factors), total variance."""
    y, mass = table(x, metric, **opts)
    values, vectors = np.linalg.eigh((y * mass[:, None]).T @ y)
    values, vectors = values[::-1][:factors], vectors[:, ::-1][:, :factors]
    sign = np.sign(vectors[np.argmax(np.abs(vectors), 0), np.arange(factors)])
    vectors = vectors * sign
    return values, vectors, y @ vectors, float((mass @ np.square(y)).sum())
