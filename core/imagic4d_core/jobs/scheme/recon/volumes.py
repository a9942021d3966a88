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
from imagic4d_core.recon.fourier import half_set_fsc, ssnr_from_fsc
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


def finish_volumes(work: Work, sums: VolumeSums, finish: Finish, files: VolumeFiles) -> tuple[NDArray[np.float32], list[float]]:
    """Make and write the volumes of one 3D.

    Returns
    -------
    volume : ndarray, shape (box, box, box), float32
        Of all images.
    fsc : list of float
        Unmasked FSC of the half sets by Fourier pixel; empty without half sets.
    """
    acc, num, den = sums.acc, sums.num, sums.den
    diameter = work.inversion.diameter
    factor = None if diameter is None else exact_filter.back_projection_factor(acc, diameter)
    twice = None if factor is None else 2 * factor
    shape: dict[str, Any] = {"mask_radius": finish.mask_radius, "mask_edge": finish.mask_edge}
    curve, ssnr = [], None
    halves = [(num[q::2].sum(0), den[q::2].sum(0)) for q in (0, 1)] if len(num) > 1 else []
    if halves:
        curve = [float(c) for c in half_set_fsc(acc, *halves, factor=twice)]
        if finish.wiener:
            ssnr = ssnr_from_fsc(half_set_fsc(acc, *halves, **shape) if finish.mask_radius else curve)
    total = num.sum(0), den.sum(0)
    shape["hamming"] = finish.hamming
    volume = acc.finalise(*total, ssnr=ssnr, factor=factor, **shape)
    image = work.found.image[work.found.ref3d == sums.number + 1]
    part = work.sets.of(work.poses.select(image))
    _write(work, sums, files.whole, volume, int(work.found.sizes()[sums.number]), image)
    for q, writer in enumerate(files.halves):
        # no Wiener term: each half must not know of the other
        half = acc.finalise(*halves[q], factor=twice, **shape)
        _write(work, sums, writer, half, int(sums.counts[q::2].sum()), image[part % 2 == q])
    if files.left is not None:

        def without(q: int) -> NDArray[np.float32]:
            return acc.finalise(total[0] - num[q], total[1] - den[q], ssnr=ssnr, **shape)

        for q, volume_without in enumerate(map_blocks(without, range(len(num)), work.threads)):
            count = int(sums.counts.sum() - sums.counts[q])
            _write(work, sums, files.left, volume_without, count, image[part != q], fold=q + 1)
    return volume, curve


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
    if len(marks := least_marks(sums.marks[image])):
        add_history(head, history_line(marks))
    writer.set_headers(place * box, words.into_headers(head))
