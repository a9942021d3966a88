"""Stacks that look as if they had been through msa run: images of a few kinds, with coordinates in their headers."""

import numpy as np

from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack
from imagic4d_core.msa.coordinates import write_coordinates


def make_stack(path, n=90, box=(12, 10), kinds=4, noise=0.5, factors=6, sections=1, seed=0, dtype=np.float32):
    """Write the stack; returns kinds (n,), densities (n, sections, lines, pixels) and coordinates (n, factors)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, kinds, n)
    patterns = rng.normal(size=(kinds, sections, *box))
    data = (3 + patterns[truth] + noise * rng.normal(size=(n, sections, *box))).astype(np.float32)
    if np.dtype(dtype).kind in "iu":
        data = np.rint(20 * data + 100).astype(np.float32)
    flat = data.reshape(n, -1).astype(np.float64)
    flat -= flat.mean(0)
    u, s, _ = np.linalg.svd(flat, full_matrices=False)
    coordinates = (u * s)[:, :factors].astype(np.float32)
    h = blank_headers(n * sections, *box, sections)
    h["REPQUAL"] = np.repeat((coordinates**2).sum(1) / np.square(flat).sum(1), sections)
    h["REF3D"] = np.repeat(truth + 1, sections)
    write_coordinates(h, None, coordinates)
    with create_stack(path, n, sections, *box, pixel_size=2.0, volumes=sections > 1, dtype=dtype) as writer:
        writer.write(0, data.reshape(-1, *box))
        writer.set_headers(0, h)
    return truth, data, coordinates
