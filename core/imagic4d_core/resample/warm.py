"""Compile the kernels of rotation and shift."""

import numpy as np

from imagic4d_core.geometry.moves import Moves
from imagic4d_core.resample.move import move


def warmup() -> None:
    """Compile every interpolation for the types in use."""
    image, volume = np.ones((1, 6, 6), np.float32), np.ones((1, 6, 6, 6), np.float32)
    for method in ("spline", "bilinear", "nearest"):
        move(image, Moves.turns([10.0]), method=method)
        move(volume, Moves.rotations([10.0], [10.0], [10.0]), method=method)
