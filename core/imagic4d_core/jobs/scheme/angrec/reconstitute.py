"""Angular reconstitution with anchor sets: Euler angles, shifts and 3D membership into the headers of images.

The densities are not touched: the output shares them with the input (hard link) and has new headers. Anchors are read in
`anchors`, images in `images`; the search over both is in `search`, what follows from it in
`results`.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates, HalfPlane
from imagic4d_core.angrec.polar import PolarSampler, line_count
from imagic4d_core.angrec.search import shift_grid
from imagic4d_core.errors import UsageError, check_word
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.scheme.angrec.anchors import read_anchors
from imagic4d_core.jobs.scheme.angrec.images import MODES, Images, check_images
from imagic4d_core.jobs.scheme.angrec.inclusion import inclusion, inclusion_warning
from imagic4d_core.jobs.scheme.angrec.results import AngrecSummary, poses_of, summarise
from imagic4d_core.jobs.scheme.angrec.search import Search, search_images
from imagic4d_core.jobs.scheme.angrec.weighing import check_weights, find_weights, weighted, write_weights
from imagic4d_core.jobs.scheme.neighbours import warn_of_symmetry
from imagic4d_core.parallel import SERIAL, Comm, thread_count
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency, in_pixels

#: Frequency up to which all directions are tried when nothing is said, fraction of Nyquist.
SEARCH_LIMIT = 0.4


def angrec(
    src: str, dst: str | None, *, anchors: str | None, weights_out: str | None = None, overwrite: bool = False,
    comm: Comm = SERIAL, **settings: Any,
) -> AngrecSummary:  # fmt: skip
    """Find Euler angles, shift and 3D membership of images from anchor sets; parameters as `reconstitute`.

    Parameters
    ----------
    src : path
    anchors : path
    dst : path or None
        Images with the results in their headers (None: the headers of `src` are replaced). Words written: ALPHA, BETA,
        GAMMA, REF3D, REF3DOLD, CCC3D, ERRAR (1 - CCC3D), and our words 80 to 89 (shift, confidence, margin, second 3D,
        error of the pose, fold, z-score).
    weights_out : path, optional
        CSV file for the weights of frequencies that were used.
    overwrite : bool
    comm : Comm
    **settings
        See `reconstitute`.

    Returns
    -------
    AngrecSummary

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    if anchors is None:
        raise UsageError("--anchors is needed: projections with Euler angles (im4d forward), or volumes; or --mode new")
    if dst is not None:
        check_output(dst, overwrite)
    if weights_out is not None:
        if settings.get("weights", "none") == "none":
            raise UsageError("--weighting-out needs --weighting: without, no frequency is weighed")
        if comm.rank == 0:
            check_output(weights_out, overwrite)
    with open_stack(src) as images:
        if images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
    summary, poses, _ = reconstitute(src, anchors=anchors, comm=comm, **settings)
    if comm.rank == 0:
        replace_poses(src, poses, dst, overwrite=overwrite)
        if weights_out is not None and summary.curve is not None:
            write_weights(weights_out, summary.curve, overwrite)
    comm.barrier()
    summary.output = os.fspath(dst or src)
    return summary


def reconstitute(
    src: str,
    *,
    anchors: str,
    mode: str = "each-to-best",
    increment: float = 5.0,
    symmetry: str = "C1",
    max_shift: float | None = None,
    shift_search: str = "winner",
    shift_range: float = 3.0,
    amplitude_filter: float = 0.0,
    weights: str = "none",
    max_frequency: Frequency | None = None,
    refine: bool = True,
    refine_frequency: Frequency | None = None,
    mask_radius: float | None = None,
    noise: float = 0.0,
    spread: float = 0.0,
    score: str = "ccc",
    same_spectrum: bool = True,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    halves: bool = False,
    spectrum: NDArray[np.float64] | None = None,
    seed: int = 0,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[AngrecSummary, Poses, Candidates]:
    """Find poses of images from anchor sets.

    Parameters
    ----------
    src : path
        Images. Poses in their headers are where the search goes on from: the shift, and with `refine` the angles too.
    anchors : path
        Projections with Euler angles and REF3D in their headers, or volumes, of which every central section is an anchor.
        Volumes that left out a fold (``recon --leave-out``) compete only for the images of that fold.
    mode : {"single", "own", "each-to-best"}
        One anchor set for all images, whatever their 3D; the set of the image's own REF3D; or all sets compete and the
        image takes over the membership of the best.
    increment : float
        Degrees between trial directions.
    symmetry : str
        Point group of the 3Ds: directions of one asymmetric unit are tried.
    max_shift : float, optional
        Largest total shift, pixels (below 1: fraction of half the box). None: 0.2; 0: no shift search.
    shift_search : {"winner", "full"}
        Try shifts with the best direction of each 3D only, or with all directions.
    shift_range : float
        Trial shifts go this far from the present one, pixels.
    amplitude_filter : float
        Exponent p of ``F |F|^-p`` in the search: 0 plain correlation, 0.5 ASQ filter, 1 phases only.
    weights : {"none", "images", "auto"} or path
        Weights of frequencies, see `angrec.weights`: from the spectra of images and anchors; from how well images and sections
        correlate on each ring, at the poses in the headers or those of a first search; of a CSV file.
    max_frequency : Frequency, optional
        Limit of the search over all directions (default 0.4 Nyquist).
    refine : bool
        Refine the best pose of each 3D locally, up to `refine_frequency` (default: as `max_frequency`).
    mask_radius : float, optional
        Soft spherical mask on the anchors' 3Ds, pixels (below 1: fraction of half the box); default 0.85.
    noise : float
        Annealing noise, in standard deviations of an image's scores over directions.
    spread : float
        Handicap of crowded view directions: this many standard deviations of the scores times the logarithm of the present
        density of the 3D's views there (1: even). Without it a start from nothing may end in 3Ds drawn out along one
        view, each made of one family of views.
    score : {"ccc", "zscore"}
        Compare correlation coefficients, or each 3D's coefficients relative to its own scores at mismatched directions.
    same_spectrum : bool
        Give all 3Ds the same radial spectrum first.
    weigh_ctf : bool
        Compare images with sections as they look through the CTF in the headers (words 25 to 27, 101, 102; word 93 says what
        was corrected), with this `amplitude_contrast`.
    halves : bool
        Score over two disjoint halves of the Fourier samples, too (`Candidates.first`, `second`); needs `refine`.
    spectrum : ndarray, shape (r + 2,), float64, optional
        Radial power that all 3Ds are given (`AngrecSummary.spectrum` of another call), so that scores of several calls compare.
    seed : int
        Of the noise, and of the turn of the grid of directions when there is noise.

    Returns
    -------
    AngrecSummary
    Poses
        Of all images; those that took no part (inactive) keep what they had.
    Candidates
        Best pose in every 3D, rows by image, columns by `AngrecSummary.numbers`.

    Raises
    ------
    UsageError, InputError, MismatchError
    """
    check_word("mode", mode, MODES)
    check_word("shift search", shift_search, ("winner", "full"))
    check_word("score", score, ("ccc", "zscore"))
    curve = check_weights(weights, amplitude_filter)
    warn_of_symmetry(src, symmetry, comm)
    warn_of_symmetry(anchors, symmetry, comm)
    n_threads = thread_count(threads)
    with open_stack(src) as stack:
        box = check_images(stack)
        coarse = max_frequency or Frequency(SEARCH_LIMIT)
        finest = (box - 3) // 2
        r_search = min(shells_of(coarse, box, stack.pixel_size), finest)
        r_local = min(shells_of(refine_frequency or coarse, box, stack.pixel_size), finest) if refine else r_search
        r_max = max(r_search, r_local)
        radius = in_pixels(0.85 if mask_radius is None else mask_radius, box)
        anchor_sets = read_anchors(
            anchors, stack, r_max, mask_radius=radius, symmetry=symmetry, same_spectrum=same_spectrum,
            spectrum=spectrum, threads=n_threads,
        )  # fmt: skip
        images = Images.read(stack, anchor_sets, mode, amplitude_contrast if weigh_ctf else None)
        most = in_pixels(0.2 if max_shift is None else max_shift, box)
        variants, scan = _trial_shifts(shift_search, min(shift_range, most), box, r_search)
        search = Search(
            own_only=mode == "own", directions=_directions(increment, symmetry, seed, turn=noise > 0),
            sampler=PolarSampler(box, r_search, line_count(r_search, increment)), variants=variants, scan=scan,
            plane=HalfPlane.make(box, r_local) if refine else None, max_shift=most, object_radius=min(0.5, radius / box),
            amplitude_filter=amplitude_filter, noise=noise, spread=spread, seed=seed, halves=halves,
        )  # fmt: skip
        if weights in ("images", "auto"):
            plane = HalfPlane.make(box, r_max)
            curve = find_weights(weights, images, anchor_sets, search, plane, comm, n_threads)
        images, anchor_sets = weighted(images, anchor_sets, curve)
        found, index = search_images(images, anchor_sets, search, comm, n_threads, progress)
        after = poses_of(found, index, images, anchor_sets, score)
        included = inclusion(images, anchor_sets, comm)
    summary = summarise(
        images, after, index, anchor_sets.numbers, directions=len(search.directions), increment=increment,
        max_frequency=r_max / (box / 2), spectrum=anchor_sets.references.spectrum,
    )  # fmt: skip
    summary.curve, summary.included = curve, included
    if included:
        summary.warnings.append(inclusion_warning(included, anchor_sets))
    return summary, after, found


def _directions(increment: float, symmetry: str, seed: int, turn: bool) -> NDArray[np.float64]:
    """Trial directions of an asymmetric unit, (d, 3, 3); `turn`: another grid each time, so that no direction is favoured."""
    directions = sphere.matrices(*sphere.directions(increment, symmetry))
    if turn and symmetry.upper() == "C1":
        directions = directions @ random_rotations(rng_for(seed, "angrec/directions"), 1)[0]
    return directions


def _trial_shifts(kind: str, reach: float, box: int, r_search: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shifts tried with all directions, and with the best of each 3D only: one of the two is the zero shift alone."""
    none = np.zeros((1, 2))
    step = max(1.0, box / ((4.0 if kind == "full" else 6.0) * r_search))
    grid = shift_grid(reach, step) if reach > 0 else none
    return (grid, none) if kind == "full" else (none, grid)
