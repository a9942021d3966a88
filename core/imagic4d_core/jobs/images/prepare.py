"""Make images ready for the 4D scheme: one grey scale, one box centre, no unwanted pixels."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.centre import normalised as to_unit_variance
from imagic4d_core.align.offcentre import Placed, object_shifts
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import create_stack, open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.masks.shapes import falling
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.units import in_pixels

BLOCK = 128


@dataclass
class Prepared:
    """What was done."""

    images: int
    box: int
    centred: bool
    shift_rms: float
    constant: int
    output: str
    stayed: int = 0
    limited: int = 0
    unseen: int = 0
    max_shift: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {self.images} images of {self.box} x {self.box}, mean 0, standard deviation 1"]
        if self.centred:
            moved = self.images - self.stayed - self.unseen
            out.append(
                f"  centred: {moved} brought in, {self.stayed} near the centre stayed; rms shift {self.shift_rms:.2f} pixels, "
                "in the headers (words 80, 81)"
            )
            if self.limited:
                far = f"{self.limited} farther off than --max-shift {self.max_shift:.1f} pixels"
                out.append(f"  {far}, not centred: brought in by so much")
            if self.unseen:
                out.append(f"  {self.unseen} not centred, no object seen in them: they stayed where they were")
        if self.constant:
            out.append(f"  {self.constant} constant images set inactive (word 58)")
        return out


def prepare(
    src: str,
    dst: str,
    *,
    centre: bool = True,
    max_shift: float = 0.4,
    mask_radius: float | None = None,
    invert: bool = False,
    keep_poses: bool = False,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Normalise and centre images.

    Parameters
    ----------
    src, dst : path
        Images; prepared images (REAL).
    centre : bool
        Bring in images that lie far off (`align.offcentre`); those near the centre stay. Pixels are not moved, the shift goes
        into words 80 and 81.
    max_shift : float
        Largest shift, pixels (below 1: fraction of half the box).
    mask_radius : float, optional
        Soft circular mask around the found centre, pixels (below 1: fraction of half the box); the mean outside it is
        taken off first.
    invert : bool
        Change the sign of densities (protein dark to protein bright).
    keep_poses : bool
        Keep the poses of the headers; otherwise they are wiped.

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    n_threads = thread_count(threads)
    check_output(dst, overwrite)
    with open_stack(src, what="images") as images:
        n, box = images.n_images, images.lines
        if images.pixels != box:
            raise MismatchError(f"{images.path}: images of {box} x {images.pixels}; square ones are needed (cut-image)")
        if n == 0:
            raise InputError(f"{images.path}: holds no image")
        blocks = comm.blocks(n, BLOCK)
        sign = np.float32(-1.0 if invert else 1.0)

        def normalised(block: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            return to_unit_variance(images.read(*block) * sign)

        shifts = np.zeros((n, 2))
        placed: Placed | None = None
        most = in_pixels(max_shift, box)
        before = Poses.from_headers(images.columns(POSE_WORDS))
        if keep_poses:
            shifts[:] = before.shift
        elif centre:
            placed = object_shifts(
                lambda block: normalised(block)[0], n, box, block=BLOCK, max_shift=most, comm=comm, threads=n_threads
            )
            shifts = placed.shifts
        constant = 0
        with create_stack(
            dst, n, 1, box, box, pixel_size=images.pixel_size, overwrite=overwrite, comm=comm, history="prepare"
        ) as out:

            def write(block: tuple[int, int]) -> int:
                a, b = block
                data, flat = normalised(block)
                if mask_radius is not None:
                    data = _masked(data, shifts[a:b], in_pixels(mask_radius, box))
                headers = images.headers(a, b)
                poses = before.select(slice(a, b)) if keep_poses else Poses.blank(b - a)
                poses.shift[:] = shifts[a:b]
                headers["ACTIVE"] = np.where(flat, -1, headers["ACTIVE"])
                out.write(a, data)
                out.set_headers(a, poses.into_headers(headers))
                return int(flat.sum())

            constant = sum(map_blocks(write, blocks, n_threads, progress))
        constant = int(sum(comm.allgather(constant)))
    rms = float(np.sqrt((shifts**2).sum(1).mean()))
    done = Prepared(n, box, placed is not None, rms, constant, os.fspath(dst), max_shift=most)
    if placed is not None:
        done.stayed, done.limited, done.unseen = int(placed.stayed.sum()), int(placed.limited.sum()), int(placed.unseen.sum())
    return done


def _masked(data: NDArray[np.float32], shifts: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """Soft circular mask around each image's centre; mean and standard deviation are set again inside."""
    box = data.shape[1]
    x = np.arange(box) - box // 2
    out = np.empty_like(data)
    edge = max(2.0, 0.06 * box)
    for i, (image, (sx, sy)) in enumerate(zip(data, shifts, strict=True)):
        r = np.hypot((x + sx)[:, None], x + sy)
        mask = falling(r, radius, edge)
        outside = mask < 0.5
        level = float(image[outside].mean()) if outside.any() else 0.0
        out[i] = (image - level) * mask
        sd = float(out[i].std())
        out[i] /= sd if sd > 0 else 1.0
    return out.astype(np.float32)
