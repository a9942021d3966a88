"""Statistics of images on their way into a file, in passes over pieces that stay in the cache.

Whoever writes has just computed the densities, so a pass over them costs far less than the write itself; what costs is memory
that is taken and given back for every image. The pieces are therefore worked on in one small buffer.
"""

import numpy as np
from numpy.typing import NDArray

#: Densities worked on at a time: half a megabyte of float64. Sums of larger images are put together from such pieces.
PIECE = 1 << 16


def image_statistics(images: NDArray) -> NDArray[np.float64]:
    """Mean, variance, minimum and maximum of each image; of complex densities, those of the amplitudes.

    Parameters
    ----------
    images : ndarray, shape (n, lines, pixels), any type of density

    Returns
    -------
    ndarray, shape (n, 4), float64
        Sums are taken in float64, the variance about the mean. Each row depends on the densities of its image only, bit for bit:
        not on how many images come together.
    """
    out = np.empty((len(images), 4))
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    scratch = np.empty(min(PIECE, rows.shape[1]))
    for row, words in zip(rows, out, strict=True):
        pieces = [row[k : k + PIECE] for k in range(0, len(row), PIECE)]
        if row.dtype.kind == "c":
            pieces = [np.abs(piece) for piece in pieces]
        total = 0.0
        for piece in pieces:
            x = scratch[: len(piece)]
            x[:] = piece
            total += np.add.reduce(x)
        mean = total / len(row)
        spread = 0.0
        for piece in pieces:
            x = scratch[: len(piece)]
            if len(pieces) > 1:
                x[:] = piece
            x -= mean
            x *= x
            spread += np.add.reduce(x)
        words[0], words[1] = mean, spread / len(row)
        words[2], words[3] = min(p.min() for p in pieces), max(p.max() for p in pieces)
    return out


def volume_statistics(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics of volumes from those of their sections.

    Parameters
    ----------
    images : ndarray, shape (volumes, sections, 4)
        As `image_statistics` gives them.

    Returns
    -------
    ndarray, shape (volumes, 4)
    """
    mean = images[:, :, 0].mean(1)
    var = (images[:, :, 1] + np.square(images[:, :, 0] - mean[:, None])).mean(1)
    return np.stack([mean, var, images[:, :, 2].min(1), images[:, :, 3].max(1)], -1)
