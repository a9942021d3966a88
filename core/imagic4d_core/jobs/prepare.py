"""Make images ready for the 4D scheme: one grey scale, one box centre, no unwanted pixels."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.align.centre import rotational_average, shifted, shifts_to
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import create_stack, open_stack
from imagic4d_core.masks.shapes import soft_disc
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.units import in_pixels

BLOCK = 128
#: Fixed point of the total sum: images have standard deviation 1.
UNIT = 2.0**30


@dataclass
class Prepared:
    """What was done."""

    images: int
    box: int
    centred: bool
    shift_rms: float
    constant: int
    output: str

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {self.images} images of {self.box} x {self.box}, mean 0, standard deviation 1"]
        if self.centred:
            out.append(f"  centred: rms shift {self.shift_rms:.2f} pixels, in the headers (words 80, 81)")
        if self.constant:
            out.append(f"  {self.constant} constant images set inactive (word 58)")
        return out


def prepare(
    src: str,
    dst: str,
    *,
    centre: bool = True,
    iterations: int = 5,
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
        Find shifts by correlation with the rotational average of the total sum, iterated; pixels are not moved, the shift
        goes into words 80 and 81.
    iterations : int
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
    with open_stack(src, what="images") as images:
        n, box = images.n_images, images.lines
        if images.pixels != box:
            raise MismatchError(f"{images.path}: images of {box} x {images.pixels}; square ones are needed (cut-image)")
        if n == 0:
            raise InputError(f"{images.path}: holds no image")
        blocks = comm.blocks(n, BLOCK)
        sign = np.float32(-1.0 if invert else 1.0)
        disc = soft_disc(box, 0.95 * box / 2, 2.0) > 0.5

        def normalised(block: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            data = images.read(*block) * sign
            mean = data.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
            sd = data.std(axis=(1, 2), keepdims=True, dtype=np.float64)
            flat = sd[:, 0, 0] <= 1e-12 * np.maximum(1.0, np.abs(mean[:, 0, 0]))
            data -= mean.astype(np.float32)
            data /= np.where(sd > 0, sd, 1.0).astype(np.float32)
            data[flat] = 0
            return data, flat

        shifts = np.zeros((n, 2))
        before = Poses.from_headers(images.headers())
        if keep_poses:
            shifts[:] = before.shift
        most = in_pixels(max_shift, box)
        for _ in range(iterations if centre and not keep_poses else 0):
            total = np.zeros((box, box), np.int64)

            def add(block: tuple[int, int]) -> NDArray[np.int64]:
                data, _ = normalised(block)
                f = shifted(fourier.centred_rfftn(data, 2), shifts[slice(*block)], box)
                return np.rint(fourier.centred_irfftn(f, (box, box)).astype(np.float64) * UNIT).astype(np.int64).sum(0)

            for part in map_blocks(add, blocks, n_threads):
                total += part
            total = comm.allreduce(total)
            reference = rotational_average(total * (disc / (UNIT * n)))

            def find(block: tuple[int, int], reference: NDArray[np.float32] = reference) -> NDArray[np.float64]:
                data, _ = normalised(block)
                return shifts_to(fourier.centred_rfftn(data, 2).astype(np.complex64), reference, most)

            found = map_blocks(find, blocks, n_threads)
            for part in comm.allgather(list(zip(blocks, found, strict=True))):
                for (a, b), values in part:
                    shifts[a:b] = values
        constant = 0
        with create_stack(dst, n, 1, box, box, pixel_size=images.pixel_size, overwrite=overwrite, comm=comm) as out:

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
    return Prepared(n, box, centre and not keep_poses, rms, constant, os.fspath(dst))


def _masked(data: NDArray[np.float32], shifts: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """Soft circular mask around each image's centre; mean and standard deviation are set again inside."""
    box = data.shape[1]
    x = np.arange(box) - box // 2
    out = np.empty_like(data)
    edge = max(2.0, 0.06 * box)
    for i, (image, (sx, sy)) in enumerate(zip(data, shifts, strict=True)):
        r = np.hypot((x + sx)[:, None], x + sy)
        mask = 0.5 * (1 + np.cos(np.pi * np.clip((r - radius) / edge, 0, 1)))
        outside = mask < 0.5
        level = float(image[outside].mean()) if outside.any() else 0.0
        out[i] = (image - level) * mask
        sd = float(out[i].std())
        out[i] /= sd if sd > 0 else 1.0
    return out.astype(np.float32)
