"""Compile the kernels of angular reconstitution."""

import numpy as np

from imagic4d_core import fourier
from imagic4d_core.angrec.assign import HalfPlane, refine_block, search_block
from imagic4d_core.angrec.polar import PolarSampler, line_count
from imagic4d_core.angrec.references import prepare_references
from imagic4d_core.angrec.search import make_bank, shift_grid


def warmup() -> None:
    """Compile every kernel of search and local refinement for the types in use."""
    box, r_max = 12, 3
    x = np.arange(box) - box // 2
    volume = np.exp(-0.1 * (x[:, None, None] ** 2 + x[:, None] ** 2 + (x - 1) ** 2)).astype(np.float32)
    spectra = fourier.centred_rfftn(volume.sum(0)[None], 2).astype(np.complex64)
    references = prepare_references([volume], np.array([1]), np.array([0]), r_max)
    sampler = PolarSampler(box, r_max, line_count(r_max, 60.0))
    pose = np.eye(3)[None]
    bank = make_bank(references, [0], pose, sampler)
    zero = np.zeros((1, 2))
    found = search_block(spectra, zero, bank, pose, 1, sampler, variants=zero, scan=shift_grid(1.0, 1.0))
    refine_block(spectra, found, references, np.zeros((1, 1), np.int64), HalfPlane.make(box, r_max), steps=1)
