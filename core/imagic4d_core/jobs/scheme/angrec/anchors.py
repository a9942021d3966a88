"""Anchor sets: projections with Euler angles, or volumes, made ready for the search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.angrec.references import References, prepare_references
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.recon.fourier import Accumulator
from imagic4d_core.recon.members import marks_in

#: Anchor projections put in at a time.
BATCH = 512


@dataclass
class Anchors:
    """The 3Ds that compete, and the folds that they left out.

    Attributes
    ----------
    path : path
        For messages.
    folds, seed : int
        Number of folds and their seed; 0 folds: every 3D may compete for every image.
    made_of : list of frozenset of int
        For each set of `references` the marks of images that it was made of (`recon.members`), as far as it keeps some.
    """

    path: str
    references: References
    folds: int
    seed: int
    made_of: list[frozenset[int]]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the 3Ds, ascending."""
        return self.references.numbers()

    def folds_of_images(self, count: int) -> NDArray[np.int32]:
        """Fold of each of `count` images; 0 without folds."""
        return fold_of(self.seed, self.folds, np.arange(count)) if self.folds else np.zeros(count, np.int32)

    def of_fold(self, fold: int) -> list[int]:
        """The set of `references` that stands for each of `numbers`, for images of a fold.

        Raises
        ------
        MismatchError
            A 3D that left out this fold is missing.
        """
        sets = self.references.of_fold(fold)
        for n in self.numbers:
            if int(n) not in sets:
                raise MismatchError(f"{self.path}: no 3D {n} that left out fold {fold}; make all with one recon --leave-out")
        return [sets[int(n)] for n in self.numbers]


def read_anchors(
    path: str, images: Stack, r_max: int, *, mask_radius: float, symmetry: str, same_spectrum: bool,
    spectrum: NDArray[np.float64] | None = None, threads: int,
) -> Anchors:  # fmt: skip
    """Read anchors that are to be compared with images up to `r_max` Fourier pixels.

    Parameters
    ----------
    mask_radius : float
        Soft spherical mask on the 3Ds, pixels.
    symmetry : str
        Point group of the 3Ds.
    same_spectrum : bool
        Give all 3Ds the same radial spectrum.
    spectrum : ndarray, shape (r_max + 2,), float64, optional
        This one, see `angrec.references.prepare_references`.

    Raises
    ------
    InputError
        Projections without Euler angles, or empty.
    MismatchError
        Another size than the images, or volumes that are no cubes.
    """
    with open_stack(path) as stack:
        if (stack.lines, stack.pixels) != (images.lines, images.pixels):
            raise MismatchError(
                f"{stack.path}: anchors of {stack.lines} x {stack.pixels}, but {images.path} has images of "
                f"{images.lines} x {images.pixels}; cut or zoom one of them"
            )
        records = stack.headers()[:: stack.sections] if stack.is_volumes else stack.headers()
        poses = Poses.from_headers(records)
        if stack.is_volumes:
            volumes, ref3d, fold = _volumes(stack, poses)
            first = np.arange(len(volumes))
        else:
            volumes, ref3d, fold = volumes_of_projections(stack, poses, r_max, symmetry)
            own = np.maximum(poses.ref3d, 1)
            first = np.array([np.flatnonzero((own == k) & (poses.fold == f))[0] for k, f in zip(ref3d, fold, strict=True)])
    references = prepare_references(
        volumes, ref3d, fold, r_max, mask_radius=mask_radius, same_spectrum=same_spectrum, spectrum=spectrum,
        threads=threads,
    )  # fmt: skip
    folds = int(poses.folds.max(initial=0)) if fold.any() else 0
    made_of = [marks_in(text) for text in records["HISTORY"][first].tolist()]
    return Anchors(path, references, folds, int(poses.foldseed.max(initial=0)), made_of)


def _volumes(stack: Stack, poses: Poses) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], NDArray[np.int64]]:
    """Volumes, their numbers (without REF3D: as they come) and the folds that they left out."""
    if stack.sections != stack.lines:
        raise MismatchError(f"{stack.path}: volumes of {stack.sections} sections, {stack.lines} lines; cubes are needed")
    ref3d = poses.ref3d.astype(np.int64)
    if not ref3d.any():
        ref3d = np.arange(1, len(ref3d) + 1)
    return [stack.read_volumes(i, i + 1)[0] for i in range(stack.objects)], ref3d, poses.fold.astype(np.int64)


def volumes_of_projections(
    stack: Stack, poses: Poses, r_max: int, symmetry: str
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], NDArray[np.int64]]:
    """Insert anchor projections as central sections, one 3D per anchor set: volumes, their numbers, and their folds.

    Where a trial section crosses the section of an anchor lies their common line, so the score of the trial section is the mean
    sinogram correlation over the anchors (algorithms 1.5).
    """
    if len(poses) > 1 and not (poses.alpha.any() or poses.beta.any() or poses.gamma.any()):
        raise InputError(f"{stack.path}: anchors without Euler angles in their headers; make them with im4d forward")
    number = np.where(poses.ref3d > 0, poses.ref3d, 1)
    keys = sorted({(int(k), int(f)) for k, f in zip(number, poses.fold, strict=True)})
    which = np.array([keys.index((int(k), int(f))) for k, f in zip(number, poses.fold, strict=True)])
    spread = float(stack.read(0, min(stack.n_images, 64)).std())
    if not spread > 0:
        raise InputError(f"{stack.path}: anchors are constant")
    sums = Accumulator(len(keys), stack.lines, r_max + 1, amplitude=spread, symmetry=rotations(symmetry))
    for a in range(0, stack.n_images, BATCH):
        b = min(a + BATCH, stack.n_images)
        spectra = fourier.centred_rfftn(stack.read(a, b), 2).astype(np.complex64)
        sums.insert(spectra, poses.matrices()[a:b], which[a:b], shifts=poses.shift[a:b])
    volumes = [sums.finalise(sums.united([s])) for s in range(len(keys))]
    return volumes, np.array([k for k, _ in keys]), np.array([f for _, f in keys])
