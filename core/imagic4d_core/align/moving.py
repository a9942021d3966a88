"""Moves in the plane as maps ``p = L q + t``, and images moved by them in one interpolation.

`L` is orthogonal, (2, 2), axes (x, y) = (lines, pixels) from the centre; a reflection where an image was mirrored. Headers hold
moves in IMAGIC's order, mirror, shift, rotation (`geometry.moves`, `geometry.inplane`); as maps they can be put one behind the
other.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core import fourier
from imagic4d_core.geometry.inplane import mirrored as mirrored_of
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.words import own_words
from imagic4d_core.kernels.resample import cubic2

F64 = NDArray[np.float64]

#: The mirror of `geometry.inplane`: left and right exchanged.
FLIP = np.diag([1.0, -1.0])
#: Grid of the interpolation, relative to pixels: cubic splines on it are true to 1 % at Nyquist, to 0.1 % at half of it.
FINE = 2


@dataclass
class Maps:
    """Moves of n images.

    Attributes
    ----------
    linear : ndarray, shape (n, 2, 2), float64
    offset : ndarray, shape (n, 2), float64
        Pixels, added last.
    """

    linear: F64
    offset: F64

    def __len__(self) -> int:
        return len(self.linear)

    @classmethod
    def none(cls, n: int) -> "Maps":
        """`n` moves that do nothing."""
        return cls(np.tile(np.eye(2), (n, 1, 1)), np.zeros((n, 2)))

    @classmethod
    def shifts(cls, shift: ArrayLike) -> "Maps":
        """Shifts alone, shape (n, 2)."""
        s = np.array(shift, np.float64)
        return cls(np.tile(np.eye(2), (len(s), 1, 1)), s)

    @classmethod
    def of(cls, angle: ArrayLike, shift: ArrayLike, mirrored: ArrayLike) -> "Maps":
        """Mirrored, then shifted, then turned: angle in radians from x to y, shape (n,); shift (n, 2); mirrored (n,)."""
        a = np.asarray(angle, np.float64)
        c, s = np.cos(a), np.sin(a)
        turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
        return cls(turn @ hands(mirrored), (turn @ np.asarray(shift, np.float64)[:, :, None])[:, :, 0])

    @classmethod
    def from_headers(cls, h: NDArray) -> "Maps":
        """All moves since the original, from header records, shape (n,): words 116 to 118, and 92."""
        moves = Moves.equivalent(h, 2)
        return cls(moves.matrix @ hands(mirrored_of(h)), np.einsum("nij,nj->ni", moves.matrix, moves.shift))

    def as_moves(self) -> tuple[Moves, NDArray[np.bool_]]:
        """As headers hold them: moves, and whether images were mirrored before."""
        mirrored = np.linalg.det(self.linear) < 0
        turn = np.ascontiguousarray(self.linear @ hands(mirrored))
        return Moves(turn, np.einsum("nji,nj->ni", turn, self.offset) + 0.0), mirrored

    def into_headers(self, h: NDArray, last: "Maps") -> NDArray:
        """Write words 116 to 118 and 92 (all moves since the original) and 100, 112, 113 (those of `last`), in place.

        Words 80 to 93 are cleared first where they were not ours. Returns `h`.
        """
        own_words(h)
        (total, h["MIRRORED"]), (moves, _) = self.as_moves(), last.as_moves()
        h["EANGLE"], h["EXSHIFT"], h["EYSHIFT"] = total.angle + 0.0, total.shift[:, 0], total.shift[:, 1]
        h["ANGLE"], h["XSHIFT"], h["YSHIFT"] = moves.angle + 0.0, moves.shift[:, 0], moves.shift[:, 1]
        return h

    def parts(self) -> tuple[F64, F64, NDArray[np.bool_]]:
        """Angle in radians, shift before the rotation, mirrored: inverse of `of`."""
        mirrored = np.linalg.det(self.linear) < 0
        turn = self.linear @ hands(mirrored)
        angle = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
        return angle, (turn.swapaxes(1, 2) @ self.offset[:, :, None])[:, :, 0], mirrored

    def then(self, later: "Maps") -> "Maps":
        """These moves and others after them."""
        return Maps(later.linear @ self.linear, (later.linear @ self.offset[:, :, None])[:, :, 0] + later.offset)

    def inverse(self) -> "Maps":
        """The moves that undo these."""
        back = self.linear.swapaxes(1, 2)
        return Maps(np.ascontiguousarray(back), -(back @ self.offset[:, :, None])[:, :, 0])

    def select(self, index: NDArray | list[int] | slice) -> "Maps":
        """Some of the moves, copied."""
        return Maps(self.linear[index].copy(), self.offset[index].copy())

    def move_poses(self, matrices: ArrayLike) -> F64:
        """Poses (n, 3, 3), `geometry.euler`, of images after these moves: a mirrored image is one seen from behind."""
        turn = np.zeros((len(self), 3, 3))
        turn[:, :2, :2] = self.linear
        turn[:, 2, 2] = np.linalg.det(self.linear)
        return turn @ np.asarray(matrices, np.float64)


def hands(mirrored: ArrayLike) -> F64:
    """`FLIP` where mirrored, else the identity: shape (n, 2, 2)."""
    return np.where(np.asarray(mirrored, bool)[:, None, None], FLIP, np.eye(2))


@lru_cache(maxsize=4)
def _spline(lines: int, pixels: int) -> NDArray[np.float32]:
    """Inverse of the cubic B-spline's sampled transform on the fine grid, half spectrum; Unser 1993, see kernels.resample."""
    x = (2 + np.cos(2 * np.pi * fourier.frequencies(FINE * lines))) / 3
    y = (2 + np.cos(2 * np.pi * fourier.half_frequencies(FINE * pixels))) / 3
    return (FINE * FINE / (x[:, None] * y)).astype(np.float32)


def _enlarged(f: NDArray[np.complexfloating], lines: int, pixels: int) -> NDArray[np.complexfloating]:
    """Half spectra zero-padded to the fine grid; Nyquist of an even size is shared by both signs, so that pixels keep values."""
    x, y = lines // 2, pixels // 2 + 1
    out = np.zeros((len(f), FINE * lines, FINE * pixels // 2 + 1), f.dtype)
    out[:, : lines - x, :y] = f[:, : lines - x]
    out[:, FINE * lines - x :, :y] = f[:, lines - x :]
    if lines % 2 == 0:
        out[:, FINE * lines - x, :y] *= 0.5
        out[:, x, :y] = out[:, FINE * lines - x, :y]
    if pixels % 2 == 0:
        out[:, :, y - 1] *= 0.5
    return out


def moved(images: NDArray[np.float32], maps: Maps) -> NDArray[np.float32]:
    """Images moved: the output at ``L q + t`` is the image at q.

    One interpolation, whatever the move is made of: cubic B-splines on a grid twice as fine, made by zero-padding the
    spectrum. What comes from outside the image gets the mean of its edge. Images that do not move come back as they are.

    `resample.move.move` is for volumes too, has IMAGIC's methods, and copies shifts by whole pixels; its splines are on the
    pixels themselves, which is faster and softens the highest frequencies. Aligned images are compared and summed, so they get
    the finer grid.

    Parameters
    ----------
    images : ndarray, shape (n, lines, pixels), float32
    maps : Maps

    Returns
    -------
    ndarray, shape (n, lines, pixels), float32
    """
    lines, pixels = images.shape[-2:]
    out = np.array(images, np.float32, order="C")
    still = (np.abs(maps.linear - np.eye(2)).max((1, 2)) < 1e-12) & (np.abs(maps.offset).max(1) < 1e-9)
    which = np.flatnonzero(~still)
    if not len(which):
        return out
    back = maps.inverse()
    centre, fine = np.array([lines // 2, pixels // 2], float), (FINE * lines, FINE * pixels)
    small = fourier.rfftn(images[which].astype(np.float32), 2)
    big = _enlarged(small, lines, pixels) * _spline(lines, pixels)
    # a sample more on each side, as it stands on the other: the interpolation would take mirror images
    coefficients = np.pad(fourier.irfftn(big, fine).astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="wrap")
    for k, i in enumerate(which):
        image = images[i]
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        matrix = back.linear[i]
        # array index of the fine grid for an index of the output
        offset = 1 + FINE * (centre + back.offset[i] - matrix @ centre)
        cubic2(coefficients[k], out[i], np.ascontiguousarray(FINE * matrix), offset, np.float32(edge.mean(dtype=np.float64)))
    return out
