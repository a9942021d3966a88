"""Images of one 3D told apart by MSA in three dimensions: candidates for further 3Ds, for jobs that let 3Ds compete."""

import os

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.splitting import Split, SplitOptions, bands_for, split_views
from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.msa.projection_views import load_views
from imagic4d_core.units import in_pixels

#: Radius of the object where none is known, fraction of half the box.
RADIUS = 0.75


def split_images(
    src: str | os.PathLike, poses: Poses | None = None, members: NDArray[np.bool_] | None = None, *,
    components: int | None = None, states: int = 6, mask_radius: float | None = None, r_max: int | None = None,
    contrast: float | None = None, glance: bool = False, seed: int = 0, threads: int = 1,
) -> tuple[Split, NDArray[np.int64]]:  # fmt: skip
    """Coordinates and classes of the images of one 3D, with their stability.

    Parameters
    ----------
    src : path
        Images.
    poses : Poses, optional
        Of all images, from one consensus 3D; default: those in the headers.
    members : ndarray, shape (images,), bool, optional
        The images of that 3D; default: all that are active.
    components : int, optional
        Number of eigenvolumes; None: those above the noise.
    states : int
        Most classes.
    mask_radius : float, optional
        Of the sphere in which the images may differ, pixels or (below 1) a fraction of half the box; default `RADIUS`.
    r_max : int, optional
        Band limit, Fourier pixels; None: where the components show best.
    contrast : float, optional
        Amplitude contrast, where the CTF in the headers counts.
    glance : bool
        See `eigenvolumes.splitting.SplitOptions`.
    seed, threads : int

    Returns
    -------
    split : Split
        `Split.states` is the best single answer, `Split.candidates` gives the members of all stable classes, `Split.cuts` Ward's
        classes by number; arrays of the images that took part.
    number : ndarray, shape (n,), int64
        0-based numbers of these images in the file.

    Raises
    ------
    InputError, MismatchError, UsageError
    """
    with open_stack(src, what="images") as stack:
        headers = stack.headers()
        found = Poses.from_headers(headers) if poses is None else poses
        use = (headers["ACTIVE"] >= 0) & (True if members is None else members)
        radius = in_pixels(RADIUS if mask_radius is None else mask_radius, stack.lines)
        if int(use.sum()) < 50:
            raise UsageError(f"{stack.path}: {int(use.sum())} images are too few to find differences among them; 50 at least")
        limit = r_max or bands_for(stack.lines, radius, (stack.lines - 1) // 2)[-1]
        views = load_views(stack, found, limit, contrast=contrast, which=use, threads=threads)
    options = SplitOptions(components, radius, r_max, states=states, seed=seed, glance=glance)
    return split_views(views, options, threads=threads), views.number
