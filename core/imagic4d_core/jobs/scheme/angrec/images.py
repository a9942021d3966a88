"""Images of an angular reconstitution: what their headers know, and their spectra."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.ctf.parameters import WORDS as CTF_WORDS
from imagic4d_core.ctf.parameters import CtfParameters, stored_transfer, with_white_noise
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.outside import check_one_pixel_size
from imagic4d_core.io.stack import Stack
from imagic4d_core.jobs.scheme.angrec.anchors import Anchors
from imagic4d_core.recon.members import marks_of

MODES = ("single", "own", "each-to-best")
#: Images of one matrix product: part of the result's definition, as rounding follows the blocks.
BLOCK = 32


@dataclass
class Images:
    """Images and what was known of them before.

    Attributes
    ----------
    headers : ndarray, shape (n,), structured
        Their words of pose, activity, pixel size and CTF.
    poses : Poses
        What the headers say.
    matrices : ndarray, shape (n, 3, 3), float64
        Their rotations.
    active : ndarray, shape (n,), bool
        Images that take part.
    own : ndarray, shape (n,), int64
        Column of the image's own 3D among the anchors' numbers; -1: none of them.
    fold : ndarray, shape (n,), int32
        Only 3Ds that left this fold out compete for an image.
    contrast : float or None
        Amplitude contrast of the CTF through which anchors are seen; None: they are not.
    marks : ndarray, shape (n,), uint32
        By which images are known again (`recon.members`), filled in as they are read; 0: not read yet.
    multiplier : ndarray, shape (box, box // 2 + 1), float32, or None
        Of the spectra, where frequencies are weighed.
    """

    stack: Stack
    headers: NDArray
    poses: Poses
    matrices: NDArray[np.float64]
    active: NDArray[np.bool_]
    own: NDArray[np.int64]
    fold: NDArray[np.int32]
    contrast: float | None
    marks: NDArray[np.uint32]
    multiplier: NDArray[np.float32] | None = None

    @classmethod
    def read(cls, stack: Stack, anchors: Anchors, mode: str, contrast: float | None) -> "Images":
        """Images to be compared with anchors in a `mode` of `MODES`.

        Raises
        ------
        InputError
            No active image, or no CTF where one is needed.
        MismatchError
            The mode does not fit the anchors.
        """
        headers = stack.columns((*POSE_WORDS, "ACTIVE", "PIXSIZE", *CTF_WORDS, "CTFDONE"))
        check_one_pixel_size(headers, stack.path)
        poses = Poses.from_headers(headers)
        active = headers["ACTIVE"] >= 0
        if not active.any():
            raise InputError(f"{stack.path}: all images are inactive (word 58)")
        numbers = anchors.numbers
        own = np.searchsorted(numbers, poses.ref3d)
        own = np.where((own < len(numbers)) & (numbers[np.minimum(own, len(numbers) - 1)] == poses.ref3d), own, -1)
        if mode == "own" and (own[active] < 0).any():
            first = int(np.flatnonzero(active & (own < 0))[0])
            raise MismatchError(
                f"{stack.path}: image {first + 1} has 3D membership {poses.ref3d[first]}, but {anchors.path} has anchors for "
                f"{', '.join(map(str, numbers))} only; use --mode each-to-best"
            )
        if mode == "single" and len(numbers) > 1:
            raise MismatchError(
                f"{anchors.path}: has anchor sets of {len(numbers)} 3Ds; --mode single needs one, each-to-best lets them compete"
            )
        if contrast is not None:
            CtfParameters.from_headers(headers, stack.path)  # what is missing is said with the number of the image
        fold = anchors.folds_of_images(stack.n_images)
        marks = np.zeros(stack.n_images, np.uint32)
        return cls(stack, headers, poses, poses.matrices(), active, own, fold, contrast, marks)

    @property
    def posed(self) -> bool:
        """Whether any Euler angles are known."""
        p = self.poses
        return bool((p.alpha != 0).any() or (p.beta != 0).any() or (p.gamma != 0).any())

    def blocks(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Fold and images of every block of work."""
        out: list[tuple[int, NDArray[np.int64]]] = []
        for q in np.unique(self.fold[self.active]):
            index = np.flatnonzero(self.active & (self.fold == q))
            out += [(int(q), index[i : i + BLOCK]) for i in range(0, len(index), BLOCK)]
        return out

    def spectra(self, index: NDArray[np.int64]) -> tuple[NDArray[np.complex64], NDArray[np.float32] | None]:
        """Spectra of scattered images, read run by run, and their CTF where anchors are seen through it."""
        runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
        data = np.concatenate([self.stack.read(int(r[0]), int(r[-1]) + 1) for r in runs])
        self.marks[index] = marks_of(data)
        spectra = fourier.centred_rfftn(data, 2).astype(np.complex64)
        if self.contrast is None:
            return self._weighed(spectra), None
        shape = (self.stack.lines, self.stack.pixels)
        transfer, state = stored_transfer(
            self.headers[index], self.stack.path, shape, self.stack.pixel_size, amplitude=self.contrast
        )
        with_white_noise(spectra, transfer, state)
        return self._weighed(spectra), transfer

    def _weighed(self, spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
        return spectra if self.multiplier is None else spectra * self.multiplier


def check_images(stack: Stack) -> int:
    """Box of a stack of square images.

    Raises
    ------
    InputError, MismatchError
    """
    if stack.is_volumes:
        raise MismatchError(f"{stack.path}: holds volumes; images are needed")
    if stack.lines != stack.pixels:
        raise MismatchError(f"{stack.path}: images of {stack.lines} x {stack.pixels}; square ones are needed (cut-image)")
    if stack.n_images == 0:
        raise InputError(f"{stack.path}: holds no image")
    return stack.lines
