"""What moves in the plane, made to an image, mean for its pose: from averages of moved images back to the originals.

Words 116 to 118 hold the moves (`geometry.moves`), word 92 (MIRRORED) is 1 where the image was mirrored before them: y -> -y,
left and right exchanged. So the density at q of the original stands at ``p = R (S q + s)`` of the moved image, with
``R = Rz(-EANGLE)``, s = (EXSHIFT, EYSHIFT) and S = diag(1, -1) where mirrored, else the identity.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.header import TAG

F64 = NDArray[np.float64]

#: Mirror y -> -y of an image, as a rotation of the object: seen from behind.
MIRROR = np.diag([1.0, -1.0, -1.0])


def mirrored(h: NDArray) -> NDArray[np.bool_]:
    """Whether images were mirrored, from header records, shape (n,); word 92 counts only where word 79 is tagged."""
    return (h["IM4DTAG"] == TAG) & (h["MIRRORED"] > 0)


def pose_of_original(matrices: ArrayLike, shift: ArrayLike, moves: Moves, mirror: ArrayLike = False) -> tuple[F64, F64]:
    """Poses of originals from those of the images that were made of them by moves in the plane.

    Parameters
    ----------
    matrices : array_like, shape (n, 3, 3)
        Poses M (`geometry.euler`) of the moved images, or of averages of them.
    shift : array_like, shape (n, 2)
        Shift (lines, pixels) still to be applied to those.
    moves : Moves
        What was done to the originals, in two dimensions.
    mirror : array_like of bool, shape (n,) or ()
        Whether the originals were mirrored first.

    Returns
    -------
    matrices, shift
        Poses of the stored originals, and the shift still to be applied to them. Without mirror ``M' = R^T M``, that is
        ALPHA' = ALPHA - EANGLE, and ``s' = R^T shift + s``; mirrored ones are multiplied by diag(1, -1, -1) and diag(1, -1) from
        the left.
    """
    m, left = np.asarray(matrices, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    back = np.tile(np.eye(3), (len(moves), 1, 1))
    back[:, :2, :2] = moves.matrix.swapaxes(1, 2)
    out = back @ m
    rest = np.einsum("nji,nj->ni", moves.matrix, left) + moves.shift
    turned = np.broadcast_to(np.asarray(mirror, bool), len(moves))
    out[turned] = MIRROR @ out[turned]
    rest[turned, 1] *= -1.0
    return out, rest
