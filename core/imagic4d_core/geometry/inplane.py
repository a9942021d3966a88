"""Moves in the plane: what words 116 to 118 (and 92) say was done to an image, and how that carries over to its pose.

An aligned image was made from the stored original in this order: mirrored (word 92 above 0: x -> -x, lines upside down),
shifted by (EXSHIFT, EYSHIFT), turned about the centre by EANGLE, counter-clockwise as displayed (from x, down, towards y, right).
So the density at q of the original stands at ``p = R(EANGLE) (S q + (EXSHIFT, EYSHIFT))`` of the aligned image, all counted from
the centre, with S = diag(-1, 1) where mirrored and the identity elsewhere. The order, shift then rotation, is IMAGIC's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.io.header import TAG
from imagic4d_core.io.words import own_words

F64 = NDArray[np.float64]

#: Mirror x -> -x of an image, as a rotation of the object: seen from behind, upside down.
MIRROR = np.diag([-1.0, 1.0, -1.0])


@dataclass
class InPlane:
    """Moves made to n images.

    Attributes
    ----------
    angle : ndarray, shape (n,), float64
        Degrees, counter-clockwise as displayed (word 116).
    shift : ndarray, shape (n, 2), float64
        (lines, pixels), made before the rotation (words 117, 118).
    mirrored : ndarray, shape (n,), bool
        Mirrored first, x -> -x (word 92).
    """

    angle: F64
    shift: F64
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.angle)

    @classmethod
    def from_headers(cls, h: NDArray) -> "InPlane":
        """Moves found in header records, shape (n,), `HEADER_DTYPE`; the mirror counts only where word 79 is tagged."""
        shift = np.stack([h["EXSHIFT"], h["EYSHIFT"]], -1).astype(np.float64)
        return cls(h["EANGLE"].astype(np.float64), shift, (h["IM4DTAG"] == TAG) & (h["MIRRORED"] > 0))

    def into_headers(self, h: NDArray) -> NDArray:
        """Write into header records, in place; words 80 to 93 are cleared and tagged where they were not ours. Returns `h`."""
        h["EANGLE"], h["EXSHIFT"], h["EYSHIFT"] = self.angle, self.shift[:, 0], self.shift[:, 1]
        own_words(h)
        h["MIRRORED"] = self.mirrored
        return h


def rotation(angle: ArrayLike) -> F64:
    """Matrices R(angle), shape (..., 2, 2), that turn (x, y) counter-clockwise as displayed; degrees."""
    a = np.deg2rad(np.asarray(angle, dtype=np.float64))
    c, s = np.cos(a), np.sin(a)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def pose_of_original(matrices: ArrayLike, shift: ArrayLike, moves: InPlane) -> tuple[F64, F64]:
    """Poses of originals from those of the images that were made of them by moves in the plane.

    Parameters
    ----------
    matrices : array_like, shape (n, 3, 3)
        Poses M (`geometry.euler`) of the moved images, or of averages of them.
    shift : array_like, shape (n, 2)
        Shift (lines, pixels) still to be applied to those.
    moves : InPlane
        What was done to the originals.

    Returns
    -------
    matrices, shift
        Poses of the stored originals, and the shift still to be applied to them. Without mirror
        ``M' = Rz(-EANGLE) M``, that is ALPHA' = ALPHA + EANGLE, and ``s' = R(-EANGLE) s + (EXSHIFT, EYSHIFT)``; mirrored ones are
        multiplied by diag(-1, 1, -1) and diag(-1, 1) from the left.
    """
    m, s = np.asarray(matrices, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    back = np.zeros((len(moves), 3, 3))
    back[:, :2, :2] = rotation(-moves.angle)
    back[:, 2, 2] = 1.0
    out = back @ m
    left = (back[:, :2, :2] @ s[:, :, None])[:, :, 0] + moves.shift
    out[moves.mirrored] = MIRROR @ out[moves.mirrored]
    left[moves.mirrored, 0] *= -1.0
    return out, left
