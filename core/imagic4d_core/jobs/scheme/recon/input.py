"""What a reconstruction works on: images, their poses, the 3D each belongs to, and the sums it goes into."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.parameters import stored_transfer
from imagic4d_core.errors import InputError
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.stack import Stack
from imagic4d_core.parallel import Comm
from imagic4d_core.recon.assignment import Assignment
from imagic4d_core.rng import rng_for

log = logging.getLogger(__name__)

#: Images read at a time, and images that a thread transforms at a time: fixed, never by the number of ranks or threads.
BLOCK, PART = 128, 32


@dataclass
class Sets:
    """The independent sums that every 3D is made of: one a fold, two half sets, or one of all images.

    Attributes
    ----------
    folds : int
        Even number of folds, dealt by `poses.fold_of`; 0: none.
    seed : int
        Of the folds.
    halves : bool
        Without folds, deal the images of each 3D into two half sets, by turns.
    """

    folds: int
    seed: int
    halves: bool

    @property
    def count(self) -> int:
        """Sums of each 3D."""
        return self.folds or (2 if self.halves else 1)

    def deal(self, poses: Poses) -> None:
        """Set fold and half set of every image, in place."""
        if self.folds:
            poses.fold = fold_of(self.seed, self.folds, np.arange(len(poses)))
            poses.folds[:], poses.foldseed[:] = self.folds, self.seed
            poses.halfset = (2 - poses.fold % 2).astype(np.int32)
        elif self.halves:
            for k in np.unique(poses.ref3d):
                mine = np.flatnonzero(poses.ref3d == k)
                poses.halfset[mine] = 1 + np.arange(len(mine)) % 2

    def of(self, poses: Poses) -> NDArray[np.int64]:
        """0-based sum of each image inside its 3D."""
        if self.count == 1:
            return np.zeros(len(poses), np.int64)
        return ((poses.fold if self.folds else poses.halfset) - 1).astype(np.int64)


@dataclass
class Inversion:
    """How slices become volumes.

    Attributes
    ----------
    group : ndarray, shape (g, 3, 3), float64
        Rotations of the point group.
    r_max : int or None
        Largest frequency that is put in, Fourier pixels.
    diameter : float or None
        Object diameter in pixels for exact filters; None: direct Fourier inversion.
    """

    group: NDArray[np.float64]
    r_max: int | None
    diameter: float | None


@dataclass
class Work:
    """One reconstruction: its images and where each goes, and who works on it.

    Attributes
    ----------
    contrast : float or None
        Amplitude contrast of the CTF by which images are weighed; None: they are not.
    memory : int
        Bytes that the sums of this rank may take.
    memory_given : bool
        Whether it was asked for: then too little is an error.
    """

    images: Stack
    poses: Poses
    found: Assignment
    sets: Sets
    inversion: Inversion
    contrast: float | None
    comm: Comm
    threads: int
    memory: int
    memory_given: bool = False

    @property
    def box(self) -> int:
        """Lines, and pixels, of an image."""
        return self.images.lines

    def transfer(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """CTF of stored images, and what was corrected, see `ctf.parameters.stored_transfer`."""
        assert self.contrast is not None
        records, pixel_size = self.images.headers(start, stop), self.images.pixel_size
        shape = (self.box, self.box)
        return stored_transfer(records, self.images.path, shape, pixel_size, start=start, amplitude=self.contrast)


def poses_for(headers: NDArray, euler: str, seed: int, path: Path) -> Poses:
    """Poses in headers, or with random Euler angles.

    Raises
    ------
    InputError
        There are no Euler angles.
    """
    poses = Poses.from_headers(headers)
    if euler == "random":
        poses.set_matrices(random_rotations(rng_for(seed, "recon/euler"), len(poses)))
        return poses
    unposed = (poses.alpha == 0) & (poses.beta == 0) & (poses.gamma == 0)
    if unposed.all() and (len(poses) > 1 or not poses.any_set()):
        raise InputError(f"{path}: has no Euler angles in its headers (words 65 to 67); run angrec, or use --euler random")
    if len(poses) > 1 and not (poses.beta.any() or poses.gamma.any()):
        raise InputError(
            f"{path}: has angles in the plane only, as after 2D classification, and no direction of view (words 66 and 67 are 0 "
            "everywhere); run angrec, or use --euler random"
        )
    return poses


def warn_of_unposed(poses: Poses, used: NDArray[np.int64], path: Path) -> None:
    """Say how many of the images used, several of them, have no Euler angles."""
    mine = poses.select(np.unique(used))
    unposed = (mine.alpha == 0) & (mine.beta == 0) & (mine.gamma == 0)
    if unposed.any() and len(mine) > 1:
        log.warning("%s: %d of %d images have no Euler angles, and count as seen along z", path, unposed.sum(), len(mine))
