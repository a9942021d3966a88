"""Compile the kernels of the alignment in the plane."""

import numpy as np

from imagic4d_core import fourier
from imagic4d_core.align import search
from imagic4d_core.align.moving import Maps, moved
from imagic4d_core.align.references import masked, prepare, ring_mask


def warmup() -> None:
    """Compile every kernel of search, refinement and interpolation for the types in use."""
    box = 12
    x = np.arange(box) - box // 2
    image = np.exp(-0.1 * (x[:, None] ** 2 + (x - 1) ** 2))[None].astype(np.float32)
    spectra, start = fourier.centred_rfftn(image, 2).astype(np.complex64), Maps.none(1)
    moved(image, Maps.shifts([[0.5, 0.0]]))
    for order, turns in (("together", 180.0), ("together", 90.0), ("rotation-first", 180.0)):
        how = search.plan(box, 3, 4, increment=60.0, max_shift=1.0, order=order, turns=(-turns, turns))
        ready = prepare(masked(image, ring_mask(box, 0.0, 5.0)), how.sampler, 4, radius=5.0)
        scores = search.search_block(spectra, start, start, search.make_bank(ready, how), how)
        search.settle(spectra, start, start, scores.best(), ready, how)
