"""Moves of images and volumes: what words 53 to 56, 100, 111 to 113 and 116 to 118 mean, and how moves add up.

A move shifts first and rotates then, about the centre: ``p' = R (p + s)``, with p = (x, y) or (x, y, z) as in `geometry.euler`.
In the plane ``R = Rz(-ANGLE)``: a positive angle turns clockwise as seen on the screen (imagic-format section 6 for the order
and the sign, section 7 for the sign of ALPHA). In space ``R = M(ALPHA, BETA, GAMMA)``, so that (ANGLE, 0, 0) turns every
section as ANGLE turns an image. Words 100 and 111 to 113 hold the last move, 116 to 118 and 53 to 56 all moves since the
original image, as one move.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import TAG
from imagic4d_core.io.words import own_words

#: Words that hold distances in pixels: what changes when the pixel size does.
DISTANCES = ("ZSHIFT", "XSHIFT", "YSHIFT", "EXSHIFT", "EYSHIFT", "EZSHIFT")


@dataclass
class Moves:
    """Moves of n objects of d dimensions.

    Attributes
    ----------
    matrix : ndarray, shape (n, d, d), float64
        Rotations, axes (x, y[, z]).
    shift : ndarray, shape (n, d), float64
        Pixels, before the rotation.
    """

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.matrix)

    @classmethod
    def turns(cls, angle: ArrayLike, shift: ArrayLike = 0.0) -> "Moves":
        """Moves in the plane: angles in degrees, shape (n,), and shifts, shape (n, 2) or less."""
        a = np.atleast_1d(np.asarray(angle, np.float64))
        matrix = euler.matrix_from_euler(a, 0.0, 0.0)[:, :2, :2]
        return cls(np.ascontiguousarray(matrix), np.array(np.broadcast_to(np.asarray(shift, np.float64), (len(a), 2))))

    @classmethod
    def rotations(cls, alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike, shift: ArrayLike = 0.0) -> "Moves":
        """Moves in space: Euler angles in degrees, shape (n,), and shifts, shape (n, 3) or less."""
        matrix = euler.matrix_from_euler(*np.atleast_1d(*np.broadcast_arrays(alpha, beta, gamma)))
        return cls(matrix, np.array(np.broadcast_to(np.asarray(shift, np.float64), (len(matrix), 3))))

    @classmethod
    def none(cls, n: int, ndim: int) -> "Moves":
        """`n` moves that do nothing."""
        return cls(np.tile(np.eye(ndim), (n, 1, 1)), np.zeros((n, ndim)))

    @classmethod
    def shifts(cls, shift: ArrayLike) -> "Moves":
        """Shifts alone, shape (n, d)."""
        s = np.asarray(shift, np.float64)
        return cls(np.tile(np.eye(s.shape[1]), (len(s), 1, 1)), s.copy())

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return self.matrix.shape[-1]

    @property
    def angle(self) -> NDArray[np.float64]:
        """Angles in degrees, -180 to 180: in the plane, or about Z of a rotation in space that is about Z (else 0)."""
        m = self.matrix
        angle = np.rad2deg(np.arctan2(m[:, 0, 1], m[:, 0, 0]))
        return angle if self.ndim == 2 else np.where(m[:, 2, 2] > 1 - 1e-12, angle, 0.0)

    def then(self, later: "Moves") -> "Moves":
        """This move, and another after it, as one."""
        back = np.einsum("nji,nj->ni", self.matrix, later.shift)
        return Moves(later.matrix @ self.matrix, self.shift + back)

    def inverse(self) -> "Moves":
        """The moves that undo these."""
        return Moves(np.ascontiguousarray(self.matrix.swapaxes(1, 2)), -np.einsum("nij,nj->ni", self.matrix, self.shift))

    def reflected(self) -> "Moves":
        """The same moves seen in a mirror: what they are for objects whose y axis was turned round first."""
        j = np.ones(self.ndim)
        j[1] = -1.0
        return Moves(self.matrix * j[:, None] * j, self.shift * j)

    def select(self, index: NDArray | list[int] | slice) -> "Moves":
        """Some of the moves."""
        return Moves(self.matrix[index], self.shift[index])

    def where(self, mask: NDArray[np.bool_], other: "Moves") -> "Moves":
        """These moves where `mask`, shape (n,), holds; the others elsewhere."""
        return Moves(np.where(mask[:, None, None], self.matrix, other.matrix), np.where(mask[:, None], self.shift, other.shift))

    @classmethod
    def equivalent(cls, h: NDArray, ndim: int) -> "Moves":
        """All moves since the original, from header records, shape (n,): words 116 to 118, or 53 to 56, 117 and 118."""
        if ndim == 2:
            return cls.turns(h["EANGLE"], np.stack([h["EXSHIFT"], h["EYSHIFT"]], -1))
        shift = np.stack([h["EXSHIFT"], h["EYSHIFT"], h["EZSHIFT"]], -1)
        return cls.rotations(h["EALPHA"], h["EBETA"], h["EGAMMA"], shift)

    @classmethod
    def pending(cls, h: NDArray) -> "Moves":
        """The moves that centre images and turn their ALPHA to 0, from their poses (words 65 to 67, 80, 81)."""
        poses = Poses.from_headers(h)
        return cls.turns(-poses.alpha, poses.shift)

    def write(self, h: NDArray, *, reflect: ArrayLike = False) -> None:
        """Say in header records, in place, that the pixels have been moved: last move, equivalent move, pose.

        Parameters
        ----------
        h : ndarray, shape (n,) or (n, sections), `HEADER_DTYPE`
        reflect : array_like of bool, shape (n,) or ()
            The y axis was turned round before the move; word 92 (MIRRORED) is changed where it was.
        """
        first = h if h.ndim == 1 else h[:, 0]
        before = Moves.equivalent(first, self.ndim)
        turned = np.broadcast_to(np.asarray(reflect, bool), len(first))
        total = before.where(~turned, before.reflected()).then(self)
        values = {"ANGLE": self.angle, "XSHIFT": self.shift[:, 0], "YSHIFT": self.shift[:, 1]}
        values |= {"EXSHIFT": total.shift[:, 0], "EYSHIFT": total.shift[:, 1]}
        if self.ndim == 2:
            values["EANGLE"] = total.angle
        else:
            values |= {"ZSHIFT": self.shift[:, 2], "EZSHIFT": total.shift[:, 2]}
            values |= dict(zip(("EALPHA", "EBETA", "EGAMMA"), euler.euler_from_matrix(total.matrix), strict=True))
        for name, value in values.items():
            h[name] = value + 0.0 if h.ndim == 1 else (value + 0.0)[:, None]
        if turned.any():
            own_words(h)
            hand = turned if h.ndim == 1 else turned[:, None]
            h["MIRRORED"] = np.where(hand, h["MIRRORED"] <= 0, h["MIRRORED"])
        if self.ndim == 2:
            self.carry_poses(first, turned)

    def carry_poses(self, h: NDArray, turned: NDArray[np.bool_]) -> None:
        """Images: the pose goes with the pixels, where there is one; in place, shape (n,), `turned` where they are mirrored."""
        known = np.zeros(len(h), bool)
        for name in ("ALPHA", "BETA", "GAMMA", "REF3D"):
            known |= h[name] != 0
        known |= (h["IM4DTAG"] == TAG) & ((h["RXSHIFT"] != 0) | (h["RYSHIFT"] != 0))
        at = np.flatnonzero(known)
        if not len(at):
            return
        poses, mine, hand = Poses.from_headers(h[at]), self.select(at), turned[at]
        if hand.any():  # seen from behind: y and z turn round
            matrix = poses.matrices()
            poses.set_matrices(np.where(hand[:, None, None], matrix * np.array([1.0, -1.0, -1.0])[:, None], matrix))
            poses.shift[hand, 1] *= -1
        poses.alpha = (poses.alpha + mine.angle) % 360.0
        poses.shift = np.einsum("nij,nj->ni", mine.matrix, poses.shift - mine.shift)
        h["ALPHA"][at], h["BETA"][at], h["GAMMA"][at] = poses.alpha, poses.beta, poses.gamma
        if poses.shift.any() or (h["IM4DTAG"][at] == TAG).any():
            ours = h[at]
            h[at] = poses.into_headers(ours)


def scale_distances(h: NDArray, factor: float) -> None:
    """Multiply all distances of header records, in place, e.g. after a change of the pixel size."""
    for name in DISTANCES:
        h[name] *= factor
    ours = h["IM4DTAG"] == TAG
    for name in ("RXSHIFT", "RYSHIFT"):
        h[name] = np.where(ours, h[name] * factor, h[name])
