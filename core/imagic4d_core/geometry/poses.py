"""Poses of images: Euler angles, shifts, 3D membership and scores, and where each stands in a header.

The one home of the pose words; angle conventions are in `geometry.euler`. Shifts are in pixels, x = lines (down),
y = pixels (right), and must still be applied to the stored image to centre it.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.geometry import euler
from imagic4d_core.io.header import TAG

#: Pose field -> header word. `shift` (RXSHIFT, RYSHIFT) is handled apart.
STANDARD_WORDS = {
    "alpha": "ALPHA", "beta": "BETA", "gamma": "GAMMA", "ref3d": "REF3D", "ref3d_old": "REF3DOLD", "ccc3d": "CCC3D",
    "errar": "ERRAR", "err3d": "ERR3D",
}  # fmt: skip
OWN_WORDS = {
    "confidence": "CONFID3D", "margin": "MARGIN3D", "ref3d2": "REF3D2", "eulererr": "EULERERR", "fold": "FOLD",
    "halfset": "HALFSET", "zscore": "ZSCORE3D", "foldseed": "FOLDSEED", "folds": "FOLDS", "nimg3d": "NIMG3D",
}  # fmt: skip
#: Header words that `Poses.from_headers` reads.
WORDS = (*STANDARD_WORDS.values(), *OWN_WORDS.values(), "RXSHIFT", "RYSHIFT", "IM4DTAG")
_INTEGER = {"ref3d", "ref3d_old", "ref3d2", "fold", "halfset", "foldseed", "folds", "nimg3d"}


@dataclass
class Poses:
    """What is known of n images, one array entry each; 0 where nothing is known.

    Attributes
    ----------
    alpha, beta, gamma : ndarray, shape (n,), float64
        IMAGIC Euler angles, degrees (words 65 to 67).
    shift : ndarray, shape (n, 2), float64
        (lines, pixels) still to be applied to the stored image (words 80, 81).
    ref3d, ref3d_old, ref3d2 : ndarray, shape (n,), int32
        3D membership, the one before, the second best (1-based; 0 = none).
    ccc3d, errar, err3d : ndarray, shape (n,), float64
        3D similarity, errors of angular reconstitution and of the reconstruction.
    confidence, margin, zscore, eulererr : ndarray, shape (n,), float64
        Posterior of `ref3d`; score margin to `ref3d2` and score, both in standard deviations; error of the pose in degrees.
    fold, halfset, foldseed, folds, nimg3d : ndarray, shape (n,), int32
        Cross-validation fold, half set (1 or 2), seed and number of folds, images in this 3D.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    gamma: NDArray[np.float64]
    shift: NDArray[np.float64]
    ref3d: NDArray[np.int32]
    ref3d_old: NDArray[np.int32]
    ccc3d: NDArray[np.float64]
    errar: NDArray[np.float64]
    err3d: NDArray[np.float64]
    confidence: NDArray[np.float64]
    margin: NDArray[np.float64]
    ref3d2: NDArray[np.int32]
    eulererr: NDArray[np.float64]
    fold: NDArray[np.int32]
    halfset: NDArray[np.int32]
    zscore: NDArray[np.float64]
    foldseed: NDArray[np.int32]
    folds: NDArray[np.int32]
    nimg3d: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.alpha)

    @classmethod
    def blank(cls, n: int) -> "Poses":
        """Poses of `n` images, all zero."""
        shapes = {f.name: (n, 2) if f.name == "shift" else (n,) for f in fields(cls)}
        arrays: dict[str, Any] = {k: np.zeros(shape, np.int32 if k in _INTEGER else np.float64) for k, shape in shapes.items()}
        return cls(**arrays)

    @classmethod
    def from_headers(cls, h: NDArray) -> "Poses":
        """Poses found in header records; the words of our own count only where word 79 is tagged.

        Parameters
        ----------
        h : ndarray, shape (n,), `HEADER_DTYPE`, or only the words of `WORDS`
        """
        poses = cls.blank(len(h))
        for name, word in STANDARD_WORDS.items():
            getattr(poses, name)[:] = h[word]
        ours = h["IM4DTAG"] == TAG
        for name, word in OWN_WORDS.items():
            getattr(poses, name)[ours] = h[word][ours]
        poses.shift[ours, 0] = h["RXSHIFT"][ours]
        poses.shift[ours, 1] = h["RYSHIFT"][ours]
        return poses

    def into_headers(self, h: NDArray) -> NDArray:
        """Write into header records, in place, and tag word 79; returns `h`."""
        for name, word in (STANDARD_WORDS | OWN_WORDS).items():
            h[word] = getattr(self, name)
        h["RXSHIFT"], h["RYSHIFT"] = self.shift[:, 0], self.shift[:, 1]
        for name in ("MIRRORED", "CTFDONE"):
            h[name] = np.where(h["IM4DTAG"] == TAG, h[name], 0)
        h["IM4DTAG"] = TAG
        return h

    def matrices(self) -> NDArray[np.float64]:
        """Rotation matrices M, shape (n, 3, 3); see `geometry.euler`."""
        return euler.matrix_from_euler(self.alpha, self.beta, self.gamma)

    def set_matrices(self, matrix: ArrayLike) -> None:
        """Take the Euler angles from rotation matrices, shape (n, 3, 3)."""
        self.alpha, self.beta, self.gamma = euler.euler_from_matrix(matrix)

    def follow(self, index: NDArray, rotation: ArrayLike, shift: ArrayLike) -> None:
        """Go with a 3D that is turned and shifted, in place: ``new(u) = old(rotation.T @ (u - shift))``.

        Parameters
        ----------
        index : ndarray
            The images of the 3D, a mask or an index array.
        rotation : array_like, shape (3, 3)
        shift : array_like, shape (3,)
            (x, y, z) pixels, after the rotation.
        """
        matrix = euler.matrix_from_euler(self.alpha[index], self.beta[index], self.gamma[index]) @ np.asarray(rotation).T
        self.alpha[index], self.beta[index], self.gamma[index] = euler.euler_from_matrix(matrix)
        self.shift[index] += matrix[:, :2] @ np.asarray(shift, np.float64)

    def select(self, index: NDArray | list[int] | slice) -> "Poses":
        """The poses of some images (an index array, a mask or a slice), copied."""
        return Poses(**{f.name: getattr(self, f.name)[index].copy() for f in fields(self)})

    def copy(self) -> "Poses":
        """A deep copy."""
        return self.select(slice(None))

    @classmethod
    def concatenate(cls, parts: "list[Poses]") -> "Poses":
        """Poses of several sets, one behind the other."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def any_set(self) -> bool:
        """Whether anything at all is known."""
        return any(bool(np.any(getattr(self, f.name))) for f in fields(self))

    def to_relion(self) -> dict[str, NDArray[np.float64]]:
        """RELION's angles (degrees) and shifts in pixels: keys rot, tilt, psi, x, y.

        RELION translates an image by its origin offset to centre it, as we do. RELION's x runs along the pixels (our y),
        its y along the rows of the MRC file, which run upwards: against our lines.
        """
        rot, tilt, psi = euler.relion_from_euler(self.alpha, self.beta, self.gamma)
        return {"rot": rot, "tilt": tilt, "psi": psi, "x": self.shift[:, 1] + 0.0, "y": 0.0 - self.shift[:, 0]}

    def set_relion(self, rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike, x: ArrayLike = 0.0, y: ArrayLike = 0.0) -> None:
        """Take angles and shifts (pixels) as RELION gives them; inverse of `to_relion`."""
        self.alpha, self.beta, self.gamma = euler.euler_from_relion(rot, tilt, psi)
        self.shift = np.stack(np.broadcast_arrays(0.0 - np.asarray(y, float), np.asarray(x, float)), -1).astype(np.float64)
        self.shift = np.broadcast_to(self.shift, (len(self), 2)).copy()

    def standard_matrices(self) -> NDArray[np.float64]:
        """Rotation matrices in standard axes (x right, y up, z to the viewer), shape (n, 3, 3): those of RELION's angles.

        EMAN2's Transform holds them as they are; cryoSPARC's rotation vector stands for their transpose.
        """
        angles = self.to_relion()
        return euler.matrix_from_euler(angles["psi"], angles["tilt"], angles["rot"])

    def set_standard_matrices(self, matrix: ArrayLike, x: ArrayLike = 0.0, y: ArrayLike = 0.0) -> None:
        """Take matrices as `standard_matrices` gives them, and shifts as `set_relion` takes them."""
        psi, tilt, rot = euler.euler_from_matrix(matrix)
        self.set_relion(rot, tilt, psi, x, y)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fold_of(seed: int, folds: int, index: ArrayLike) -> NDArray[np.int32]:
    """Cross-validation fold, 1 to `folds`, of images: a pure function of seed and image number.

    Parameters
    ----------
    seed : int
    folds : int
        Number of folds.
    index : array_like of int
        0-based image numbers.

    Returns
    -------
    ndarray, shape of `index`, int32
    """
    if folds < 1:
        raise ValueError(f"{folds} folds; at least 1 is needed")
    i = np.atleast_1d(np.asarray(index)).astype(np.uint64)
    key = np.array([int(seed) & ((1 << 64) - 1)], np.uint64)
    with np.errstate(over="ignore"):
        golden = np.uint64(0x9E3779B97F4A7C15)
        z = _mix(_mix(key + golden) + (i + np.uint64(1)) * golden)
    fold = ((z >> np.uint64(32)) * np.uint64(folds)) >> np.uint64(32)
    return (fold.astype(np.int32) + 1).reshape(np.shape(index))
