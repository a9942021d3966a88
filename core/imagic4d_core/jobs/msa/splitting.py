"""Images of one 3D told apart by MSA in three dimensions: candidates for further 3Ds, for jobs that let 3Ds compete."""

import os

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.mixing import mixture
from imagic4d_core.eigenvolumes.splitting import Split, SplitOptions, analyse, bands_for, split_views
from imagic4d_core.eigenvolumes.views import Views
from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.msa.projection_views import load_views
from imagic4d_core.msa.ward import ward
from imagic4d_core.units import in_pixels

#: Radius of the object where none is known, fraction of half the box.
RADIUS = 0.75
#: Fewest images that differences are looked for in.
LEAST = 50


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
    views, radius = _views(src, poses, members, mask_radius, r_max, contrast, threads)
    options = SplitOptions(components, radius, r_max, states=states, seed=seed, glance=glance)
    return split_views(views, options, threads=threads), views.number


def _views(
    src: str | os.PathLike, poses: Poses | None, members: NDArray[np.bool_] | None, mask_radius: float | None, r_max: int | None,
    contrast: float | None, threads: int,
) -> tuple[Views, float]:  # fmt: skip
    """The active images among `members`, and the radius in pixels."""
    with open_stack(src, what="images") as stack:
        headers = stack.headers()
        found = Poses.from_headers(headers) if poses is None else poses
        use = (headers["ACTIVE"] >= 0) & (True if members is None else members)
        radius = in_pixels(RADIUS if mask_radius is None else mask_radius, stack.lines)
        if int(use.sum()) < LEAST:
            few = f"{int(use.sum())} images are too few to find differences among them"
            raise UsageError(f"{stack.path}: {few}; {LEAST} at least")
        limit = r_max or bands_for(stack.lines, radius, (stack.lines - 1) // 2)[-1]
        return load_views(stack, found, limit, contrast=contrast, which=use, threads=threads), radius


def states_again(
    src: str | os.PathLike, poses: Poses, members: NDArray[np.bool_], state: NDArray[np.int64], *,
    mask_radius: float | None = None, contrast: float | None = None, seed: int = 0, threads: int = 1,
) -> NDArray[np.int64]:  # fmt: skip
    """States of the images of one 3D anew, as many as there are, with the poses that the images have now.

    Parameters
    ----------
    src, poses, members, mask_radius, contrast, seed, threads
        As of `split_images`.
    state : ndarray of int, shape (images,)
        State of each image so far.

    Returns
    -------
    ndarray of int64, shape (images,)
        Numbered as before, each state by that which it has most images in common with. As before where so many are not found.
    """
    views, radius = _views(src, poses, members, mask_radius, None, contrast, threads)
    before = state[views.number]
    names = np.unique(before)
    found = analyse(views, SplitOptions(radius=radius, seed=seed, glance=True), threads=threads)
    out = state.copy()
    if not found.factors or len(names) < 2:
        return out
    tree, _ = ward(found.fit.coordinates, threads=threads)
    told = next((m for m in mixture(found.fit.information, tree, len(names)) if len(m.share) == len(names)), None)
    if told is None:
        return out
    shared = np.array([[_jaccard(before == old, told.labels == c) for c in range(len(names))] for old in names])
    for _ in names:
        i, c = np.unravel_index(int(shared.argmax()), shared.shape)
        out[views.number[told.labels == c]] = names[i]
        shared[i], shared[:, c] = -1.0, -1.0
    return out


def _jaccard(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
