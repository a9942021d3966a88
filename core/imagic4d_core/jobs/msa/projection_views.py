"""Files of images with poses as slices in memory, for MSA in three dimensions."""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.ctf.parameters import stored_transfer, with_white_noise
from imagic4d_core.eigenvolumes.views import BLOCK, Views, band_for, make_views
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import Stack
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, thread_count


def load_views(
    stack: Stack, poses: Poses, r_max: int, *, contrast: float | None = None, which: NDArray[np.bool_] | None = None,
    comm: Comm = SERIAL, threads: int | None = None,
) -> Views:  # fmt: skip
    """Read this rank's blocks of images, transform them and keep what lies inside the band.

    Memory: 8 bytes for each of the ``1.6 r_max^2`` Fourier pixels of an image, and 4 for its CTF.

    Parameters
    ----------
    stack : Stack
        Open file of square images.
    poses : Poses
        Of all its images.
    r_max : int
        Band limit, Fourier pixels.
    contrast : float, optional
        Amplitude contrast of the CTF in the headers; None: images are taken as free of it.
    which : ndarray, shape (images,), bool, optional
        Images that are read; default: all.

    Returns
    -------
    Views
        Images of one defocus range in one optics group: headers say nothing of groups.

    Raises
    ------
    InputError, MismatchError
    """
    box = stack.lines
    if stack.is_volumes or stack.pixels != box:
        raise MismatchError(f"{stack.path}: square images are needed, not {stack.sections} x {box} x {stack.pixels}")
    if not (poses.alpha.any() or poses.beta.any() or poses.gamma.any()):
        raise InputError(f"{stack.path}: has no Euler angles in its headers (words 65 to 67); run refine or angrec first")
    count = len(poses)
    use = np.ones(count, bool) if which is None else which
    band = band_for(box, r_max)

    def part(span: tuple[int, int]) -> tuple[NDArray, NDArray | None]:
        start, stop = span
        mine = use[start:stop]
        spectra = fourier.centred_rfftn(stack.read(start, stop)[mine], 2).astype(np.complex64)
        if contrast is None:
            return band.take(spectra), None
        records, size = stack.headers(start, stop), stack.pixel_size
        transfer, state = stored_transfer(records, stack.path, (box, box), size, start=start, amplitude=contrast)
        transfer, state = transfer[mine], state[mine]
        with_white_noise(spectra, transfer, state)
        return band.take(spectra), band.take(transfer)

    spans = comm.blocks(count, BLOCK)
    parts = list(imap_blocks(part, spans, thread_count(threads)))
    width = len(band.ring)
    spectra = np.concatenate([p for p, _ in parts] + [np.zeros((0, width), np.complex64)])
    known = [c for _, c in parts if c is not None]
    ctf = None if contrast is None else np.concatenate([*known, np.zeros((0, width), np.float32)])
    number = np.concatenate([np.arange(*span)[use[slice(*span)]] for span in spans] + [np.zeros(0, np.int64)]).astype(np.int64)
    return make_views(
        spectra, poses.matrices()[number], poses.shift[number], box, r_max, ctf=ctf, number=number, comm=comm
    )  # fmt: skip
