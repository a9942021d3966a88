"""Reconstruction of one or many 3Ds: a file of images with poses in, a file of volumes out.

What is read is in `input`, the sums over images in `sums`, what is made of them in `volumes`, and the
comparison with the images in `errors`.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.parameters import WORDS as CTF_WORDS
from imagic4d_core.ctf.parameters import CtfParameters
from imagic4d_core.errors import MismatchError, UsageError, check_word
from imagic4d_core.geometry import symmetry as sym
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.io.outside import check_one_pixel_size
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import StackWriter, create_stack, open_stack
from imagic4d_core.io.writer import check_output, half_names
from imagic4d_core.jobs.scheme.neighbours import warn_of_symmetry
from imagic4d_core.jobs.scheme.recon.centre import centre_3ds
from imagic4d_core.jobs.scheme.recon.errors import ImageFiles, write_reprojections
from imagic4d_core.jobs.scheme.recon.input import Inversion, Sets, Work, poses_for, warn_of_unposed
from imagic4d_core.jobs.scheme.recon.sums import room_for, volume_sums
from imagic4d_core.jobs.scheme.recon.volumes import Finish, VolumeFiles, finish_volumes
from imagic4d_core.parallel import SERIAL, Comm, memory_share, thread_count, warm_first
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.assignment import assign, by_state
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.recon.warm import warmup
from imagic4d_core.units import Frequency, in_pixels


@dataclass
class Recon:
    """What a reconstruction did.

    Attributes
    ----------
    sizes : list of int
        Images in each 3D.
    renumbered : dict of int to int
        Old number of each 3D -> new one; 0 for 3Ds left out for having too few images.
    fsc : list of list of float
        Unmasked FSC of the half sets by Fourier pixel for each 3D, where half sets were made.
    errors : list of float
        Mean ERR3D of each 3D, where re-projections were made.
    centres : list of list of float
        Where the centre of mass of each 3D was before it was centred, pixels (x, y, z).
    """

    output: str
    images: int
    used: int
    box: int
    pixel_size: float | None
    method: str
    symmetry: str
    sizes: list[int] = field(default_factory=list)
    renumbered: dict[int, int] = field(default_factory=dict)
    fsc: list[list[float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    centres: list[list[float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__ | {"renumbered": {str(k): v for k, v in self.renumbered.items()}}

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {len(self.sizes)} 3D(s) of {self.used} of {self.images} images, box {self.box}, {self.method}"]
        for k, n in enumerate(self.sizes):
            line = f"3D {k + 1}: {n} images"
            if self.fsc:
                line += f", half sets agree (FSC 0.5) to {_crossing(self.fsc[k], self.box):.2f} of Nyquist"
            if self.centres:
                line += f", was {np.linalg.norm(self.centres[k]):.1f} pixels off the centre"
            if self.errors:
                line += f", error {self.errors[k]:.3f}"
            out.append(line)
        gone = [str(k) for k, new in self.renumbered.items() if not new]
        if gone:
            out.append(f"left out for too few images: 3D {', '.join(gone)}; the others are renumbered")
        return out


def _crossing(fsc: list[float], box: int) -> float:
    below = [s for s, value in enumerate(fsc) if value < 0.5]
    return (below[0] if below else len(fsc)) / (box / 2)


def recon(
    src: str,
    dst: str,
    *,
    membership: str = "header",
    volumes: int | None = None,
    euler: str = "header",
    min_images: int = 0,
    symmetry: str = "C1",
    method: str = "fourier",
    object_size: float = 0.8,
    hamming: float | None = 0.99,
    mask_radius: float | None = None,
    max_frequency: Frequency | None = None,
    wiener: bool = False,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    centre_3d: bool = False,
    even_sizes: bool = False,
    reprojections: str | None = None,
    errors: str | None = None,
    halves: str | None = None,
    folds: int = 0,
    leave_out: str | None = None,
    images_out: str | None = None,
    memory: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recon:
    """Reconstruct one 3D for every membership.

    Parameters
    ----------
    src, dst : path
        Images (ALPHA, BETA, GAMMA, REF3D, RXSHIFT, RYSHIFT in their headers; inactive ones are not used); volumes.
    membership : {"all", "header", "split", "states", "sequential", "random", "multiple-random"}
        Where an image's 3D comes from, see `recon.assignment`.
    volumes : int, optional
        Number of 3Ds (``split``: parts of each).
    euler : {"header", "random"}
        Where Euler angles come from.
    min_images : int
        3Ds of fewer images are left out; the others are renumbered 1..n, orphans get membership 0.
    symmetry : str
        Point group.
    method : {"fourier", "exact-filter"}
    object_size : float
        Object diameter as a fraction of the box, for the exact filter.
    hamming : float, optional
        Low-pass, see `recon.fourier.hamming_curve`.
    mask_radius : float, optional
        Soft spherical mask, pixels or (below 1) a fraction of half the box.
    max_frequency : Frequency, optional
        Nothing beyond it is put in; the work shrinks with it.
    wiener : bool
        Weight shells by the SSNR that the FSC of the half sets gives (masked as the volume).
    weigh_ctf : bool
        Images count by the CTF in their headers (words 25 to 27, 101, 102; word 93 says what was corrected), with this
        `amplitude_contrast`: least squares, ``sum(C F) / sum(C^2)``. Without it they are taken as free of it.
    centre_3d : bool
        Reconstruct twice: the first time to find the centre of mass of each 3D, which is then laid into the centre of the box by
        the shifts of its images, see `centre`. `images_out` holds these shifts.
    even_sizes : bool
        Make each 3D of no more than an equal share of the images, chosen at random, so that a large class is not less noisy than
        a small one: in a competition it would win images by that alone. Memberships stay.
    reprojections, errors : path, optional
        One image for each input image: re-projection looking like it (with its CTF, where that is weighed); input - scaled
        re-projection. ERR3D in the headers is the rms of that difference over the standard deviation of the input.
    halves : path, optional
        NAME: NAME_a and NAME_b get the volumes of the two half sets (with folds: odd and even folds; else by turns).
    folds : int
        Even number F: deal images into folds by `poses.fold_of` (seed, F, image).
    leave_out : path, optional
        K x F volumes, each made without one fold, 3D by 3D.
    images_out : path, optional
        Copy of the input (densities linked) whose headers hold the memberships, Euler angles, half sets and folds used.
    memory : float, optional
        GiB that this process may use for the sums (default: `parallel.memory_share`); with less, images are read more often.
    seed : int
        For random assignments and angles, and the folds.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    _check_options(method, euler, folds, leave_out, hamming, wiener, weigh_ctf)
    if centre_3d and (method == "exact-filter" or membership == "multiple-random"):
        raise UsageError("--centre-3d needs --method fourier and images that are in one 3D each")
    group = sym.rotations(symmetry)
    warn_of_symmetry(src, symmetry, comm)
    sets = Sets(folds, int(seed) & 0x7FFFFFFF, halves is not None or wiener)
    if comm.size > 1:
        warm_first(comm, warmup)
    with open_stack(src, what="images") as images, ExitStack() as outputs:
        box = images.lines
        if images.pixels != box:
            raise MismatchError(f"{images.path}: images of {box} x {images.pixels} pixels; square ones are needed (cut)")
        if images_out is not None and images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
        headers = images.columns((*POSE_WORDS, "ACTIVE", "PIXSIZE", "CLASSNO", *(CTF_WORDS if weigh_ctf else ())))
        check_one_pixel_size(headers, images.path)
        poses = poses_for(headers, euler, seed, images.path)
        before = poses.ref3d.copy()
        if weigh_ctf:
            CtfParameters.from_headers(headers, images.path)  # what is missing is said before anything is written
        given = by_state(before, headers["CLASSNO"]) if membership == "states" else before
        active = headers["ACTIVE"] >= 0
        del headers
        found = assign(membership, given, active, volumes, min_images, seed, images.path)
        if euler != "random":
            warn_of_unposed(poses, found.image, images.path)
        poses.ref3d = found.membership(len(poses))
        poses.ref3d_old = np.where(poses.ref3d != before, before, poses.ref3d_old).astype(np.int32)
        if membership == "header" and found.renumbered:
            # the second best 3D goes by the new numbers, too
            numbers = np.zeros(max(int(poses.ref3d2.max(initial=0)), *found.renumbered) + 1, np.int32)
            numbers[list(found.renumbered)] = list(found.renumbered.values())
            poses.ref3d2 = numbers[np.maximum(poses.ref3d2, 0)]
        elif membership == "states" and (given != before).any():
            poses.ref3d2[:] = 0  # which of the new 3Ds is second best nobody knows
        sets.deal(poses)
        sizes = found.sizes()
        if even_sizes:
            found = found.even(seed)
        summary = Recon(
            os.fspath(dst), len(poses), len(np.unique(found.image)), box, images.pixel_size, method, symmetry.upper(),
            [int(n) for n in sizes], found.renumbered,
        )  # fmt: skip
        if images_out is not None:
            check_output(images_out, overwrite)
        diameter = exact_filter.diameter(object_size, box) if method == "exact-filter" else None
        inversion = Inversion(group, shells_of(max_frequency, box, images.pixel_size), diameter)
        contrast = amplitude_contrast if weigh_ctf else None
        room = memory_share() if memory is None else int(memory * 2**30)
        work = Work(images, poses, found, sets, inversion, contrast, comm, thread_count(threads), room, memory is not None)
        room_for(work, leave_out is not None)
        if weigh_ctf:
            work.transfer(0, 1)

        def create(path: str | Path, count: int, sections: int) -> StackWriter:
            writer = create_stack(
                path, count, sections, box, box, pixel_size=images.pixel_size, overwrite=overwrite, comm=comm,
                history=f"recon {method}",
            )  # fmt: skip
            return outputs.enter_context(writer)

        volume_files = VolumeFiles(
            create(dst, found.volumes, box),
            [create(name, found.volumes, box) for name in half_names(halves)] if halves else [],
            create(leave_out, found.volumes * folds, box) if leave_out else None,
        )
        image_files = ImageFiles(
            create(reprojections, len(poses), 1) if reprojections else None, create(errors, len(poses), 1) if errors else None
        )
        radius, edge = (in_pixels(mask_radius, box), max(3.0, box / 20)) if mask_radius else (None, 3.0)
        finish = Finish(hamming, radius, edge, wiener)
        if centre_3d:
            summary.centres = centre_3ds(work, progress)
        curves: dict[int, list[float]] = {}
        made: dict[int, NDArray[np.float32]] = {}
        for sums in volume_sums(work, progress, leave_out is not None):
            done = finish_volumes(work, sums, finish, volume_files)
            if done is not None:
                volume, curves[sums.number] = done
                if image_files.wanted:
                    made[sums.number] = volume
        for part in comm.allgather(curves):
            curves |= part
        if sets.count > 1:
            summary.fsc = [curves[k] for k in range(found.volumes)]
        if image_files.wanted:
            summary.errors = write_reprojections(work, made, image_files)
    if images_out is not None:
        if comm.rank == 0:
            poses.nimg3d[:] = np.append(0, sizes)[poses.ref3d]
            replace_poses(src, poses, images_out, overwrite=overwrite)
        comm.barrier()
    return summary


def _check_options(
    method: str, euler: str, folds: int, leave_out: str | None, hamming: float | None, wiener: bool, ctf: bool
) -> None:
    check_word("method", method, ("fourier", "exact-filter"))
    check_word("source of Euler angles", euler, ("header", "random"))
    if folds % 2 or folds < 0 or (folds == 0 and leave_out):
        raise UsageError(f"{folds} folds: an even number is needed" + (" for --leave-out" if leave_out else ""))
    if leave_out and folds < 4 and folds != 2:
        raise UsageError("--leave-out needs --folds 2, 4, 6 ...")
    if method == "exact-filter" and (leave_out or wiener):
        raise UsageError("leave-out volumes and the Wiener filter need --method fourier: an exact filter fits one set of views")
    if method == "exact-filter" and ctf:
        raise UsageError("exact filters take no weights: use --method fourier, or flip phases first (im4d ctf)")
    if hamming is not None and not 0 < hamming <= 1:
        raise UsageError(f"Hamming factor {hamming} is out of range: above 0, at most 1")
