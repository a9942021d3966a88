"""Compile the kernels of projection and reconstruction."""

import numpy as np

from imagic4d_core.forward.project import Projector
from imagic4d_core.recon.exact_filter import exact_filters, slab_sum
from imagic4d_core.recon.fourier import reconstruct


def warmup() -> None:
    """Compile every gridding kernel for the types in use."""
    pose = np.eye(3)[None]
    for width in (3, 4):
        image = Projector(np.ones((8, 8, 8), np.float32), width=width).project(pose)
        reconstruct(image, pose, width=width)
    exact_filters(slab_sum(pose, 8, 3, 6.0), pose, 8, 3)
