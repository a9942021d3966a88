"""Volumes of the sums of slices: filtered, masked and written, with their half sets and leave-out volumes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import add_history, blank_headers
from imagic4d_core.io.stack import StackWriter
from imagic4d_core.jobs.scheme.recon.input import Work
from imagic4d_core.jobs.scheme.recon.sums import VolumeSums
from imagic4d_core.parallel import map_blocks
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.fourier import ssnr_from_fsc, volumes_fsc
from imagic4d_core.recon.members import history_line, least_marks


@dataclass
class Finish:
    """What is done to volumes: low-pass, soft spherical mask (pixels; None: the ball that fills the box), Wiener filter."""

    hamming: float | None
    mask_radius: float | None
    mask_edge: float
    wiener: bool


@dataclass
class VolumeFiles:
    """Where volumes go: those of all images, of the two half sets, and those that leave out a fold."""

    whole: StackWriter
    halves: list[StackWriter] = field(default_factory=list)
    left: StackWriter | None = None


def finish_volumes(
    work: Work, sums: VolumeSums, finish: Finish, files: VolumeFiles
) -> tuple[NDArray[np.float32], list[float]] | None:
    """Make and write the volumes of one 3D.

    Returns
    -------
    volume : ndarray, shape (box, box, box), float32
        Of all images.
    fsc : list of float
        Unmasked FSC of the half sets by Fourier pixel; empty without half sets.
    None, on ranks that do not finish this 3D.
    """
    acc, sets = sums.acc, len(sums.counts)
    diameter = work.inversion.diameter
    factor = None if diameter is None else exact_filter.back_projection_factor(acc, diameter)
    shape: dict[str, Any] = {"mask_radius": finish.mask_radius, "mask_edge": finish.mask_edge, "hamming": finish.hamming}
    curve, ssnr = np.zeros(0), None
    if sets > 1:
        made = map_blocks(lambda q: _half(work, sums, q, finish, shape, files), (0, 1), min(2, sums.makers))
        if made[0] is not None and made[1] is not None:
            curve, *masked = (volumes_fsc(a, b, acc.grid.r_max) for a, b in zip(*made, strict=True))
            if finish.wiener:
                ssnr = ssnr_from_fsc(masked[0] if masked else curve)
    image, part = _members(work, sums)
    volume = None
    if (grid := sums.united(range(sets))) is not None:
        volume = acc.finalise(grid, ssnr=ssnr, factor=factor, **shape)
        _write(work, sums, files.whole, volume, int(work.found.sizes()[sums.number]), image)
    if files.left is not None:
        del grid  # its memory is for the next

        def without(q: int) -> NDArray[np.float32] | None:
            grid = sums.united([k for k in range(sets) if k != q])
            return None if grid is None else acc.finalise(grid, ssnr=ssnr, **shape)

        for q, left in enumerate(map_blocks(without, range(sets), sums.makers)):
            if left is not None:
                _write(work, sums, files.left, left, int(sums.counts.sum() - sums.counts[q]), image[part != q], fold=q + 1)
    return None if volume is None else (volume, [float(c) for c in curve])


def _half(
    work: Work, sums: VolumeSums, q: int, finish: Finish, shape: dict[str, Any], files: VolumeFiles
) -> list[NDArray[np.float32]] | None:
    """Write the volume of a half set (odd sets: 0, even ones: 1); its volumes for the FSC, unmasked and, if needed, masked."""
    acc, diameter = sums.acc, work.inversion.diameter
    grid = sums.united(range(q, len(sums.counts), 2))
    if grid is None:
        return None
    twice = None if diameter is None else 2 * exact_filter.back_projection_factor(acc, diameter)
    small = acc.grid.small
    made = [acc.finalise(grid, factor=twice, out_box=small)]
    if finish.wiener and finish.mask_radius:
        made.append(acc.finalise(grid, out_box=small, mask_radius=finish.mask_radius, mask_edge=finish.mask_edge))
    if files.halves:
        # no Wiener term: each half must not know of the other
        half = acc.finalise(grid, factor=twice, **shape)
        image, part = _members(work, sums)
        _write(work, sums, files.halves[q], half, int(sums.counts[q::2].sum()), image[part % 2 == q])
    return made


def _members(work: Work, sums: VolumeSums) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images of a 3D, and the set that each is in."""
    image = work.found.image[work.found.ref3d == sums.number + 1]
    return image, work.sets.of(work.poses.select(image))


def _write(
    work: Work, sums: VolumeSums, writer: StackWriter, volume: NDArray[np.float32], count: int, image: NDArray[np.int64],
    fold: int = 0,
) -> None:  # fmt: skip
    """Write a volume made of so many images, which those are; volumes that leave out a fold (1-based) stand 3D by 3D."""
    box, sets = work.box, work.sets
    place = sums.number * sets.folds + fold - 1 if fold else sums.number
    words = Poses.blank(box)
    words.ref3d[:], words.nimg3d[:], words.fold[:] = sums.number + 1, count, fold
    words.folds[:], words.foldseed[:] = (sets.folds, sets.seed) if sets.folds else (0, 0)
    writer.write_volumes(place, volume[None])
    head = blank_headers(box, box, box, box, pixel_size=work.images.pixel_size)
    if len(marks := least_marks(sums.marks[image].astype(np.uint32))):
        add_history(head, history_line(marks))
    writer.set_headers(place * box, words.into_headers(head))
