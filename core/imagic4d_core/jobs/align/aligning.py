"""What alignments share: images and originals opened and checked, moves at the start, result and headers written."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.align.moving import Maps, moved
from imagic4d_core.align.search import Aligned
from imagic4d_core.ctf.parameters import matched, stored_transfer
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import TAG
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, create_stack, open_stack
from imagic4d_core.parallel import Comm, map_blocks

#: Images of one matrix product: part of the result's definition, as rounding follows the blocks.
BLOCK = 32


def open_square(spec: str | os.PathLike, what: str, loc: Locations | None = None) -> Stack:
    """Open images for an alignment: real, square, at least one (MismatchError, InputError)."""
    stack = open_stack(spec, loc, what="images")
    problem: InputError | MismatchError | None = None
    if stack.n_images == 0:
        problem = InputError(f"{stack.path}: no {what} is selected; give at least one")
    elif stack.lines != stack.pixels:
        problem = MismatchError(
            f"{stack.path}: {what} of {stack.lines} x {stack.pixels}; square ones are needed (im4d cut, im4d blow-up)"
        )
    elif stack.lines < 8:
        problem = MismatchError(f"{stack.path}: {what} of {stack.lines} x {stack.lines}; 8 x 8 at least is needed")
    if problem is not None:
        stack.close()
        raise problem
    return stack


def same_box(a: Stack, b: Stack) -> None:
    """Refuse files of different boxes, or of pixel sizes that differ by more than 1 % (MismatchError)."""
    if a.lines != b.lines:
        raise MismatchError(f"{b.path}: box {b.lines}, but {a.path} has {a.lines}; both must be the same")
    if a.pixel_size and b.pixel_size and abs(a.pixel_size / b.pixel_size - 1) > 0.01:
        raise MismatchError(
            f"{b.path}: {b.pixel_size:g} angstrom per pixel, but {a.path} has {a.pixel_size:g}; bring both to one pixel size"
        )


@dataclass
class Images:
    """The images of an alignment, open.

    Attributes
    ----------
    images : Stack
        Whose headers say where the alignment starts.
    pixels : Stack
        Whose pixels are compared and moved: the originals, or `images` itself.
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    start : Maps
        Moves of `pixels` at the start.
    before : Maps
        Moves at the start since the originals.
    active : ndarray, shape (n,), bool
    ctf : float or None
        Amplitude contrast, where images are weighed by their CTF.
    """

    images: Stack
    pixels: Stack
    headers: NDArray
    start: Maps
    before: Maps
    active: NDArray[np.bool_]
    ctf: float | None = None

    @classmethod
    def open(cls, src: str, originals: str | None, loc: Locations | None = None, ctf: float | None = None) -> "Images":
        """Open images and originals.

        Raises
        ------
        InputError, MismatchError
        UsageError
            Locations with originals, which belong to all images.
        """
        if originals is not None and loc is not None:
            raise UsageError("--originals belongs to all images of the input: leave out --loc, or the originals")
        images = open_square(src, "images", loc)
        pixels = images
        try:
            if originals is not None:
                pixels = open_square(originals, "images")
                same_box(images, pixels)
                if pixels.n_images != images.n_images:
                    raise MismatchError(
                        f"{pixels.path}: {pixels.n_images} images, but {images.path} has {images.n_images}; "
                        "the originals of the very same images are needed"
                    )
            if ctf is not None and not images.pixel_size:
                raise InputError(f"{images.path}: no pixel size is known, and the CTF needs one; set word 123 (header set)")
            headers = images.headers()
            done = Maps.from_headers(headers)
            pending = Maps.shifts(Poses.from_headers(headers).shift)
            start = done.then(pending) if originals is not None else pending
            active = headers["ACTIVE"] >= 0
            if not active.any():
                raise InputError(f"{images.path}: all images are inactive (word 58)")
        except Exception:
            images.close()
            pixels.close()
            raise
        return cls(images, pixels, headers, start, done.then(pending), active, ctf)

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.headers)

    def spectra(self, a: int, b: int) -> NDArray[np.complex64]:
        """Half spectra of images `a` to `b`, weighed by their CTF if so wished."""
        data = self.pixels.read(a, b)
        spectra = fourier.centred_rfftn(data, 2).astype(np.complex64)
        if self.ctf is not None:
            records = self.pixels.headers(a, b)  # the axis of astigmatism is that of these pixels
            path, pixel = self.pixels.path, self.images.pixel_size
            matched(spectra, *stored_transfer(records, path, data.shape[1:], pixel, start=a, amplitude=self.ctf))
        return spectra

    def write(
        self, dst: str, found: Callable[[int, int], tuple[Aligned, NDArray[np.int64]]],
        mark: Callable[[NDArray, NDArray[np.int64], Aligned], None], *, comm: Comm, threads: int, overwrite: bool,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[tuple[NDArray[np.int64], Aligned]]:  # fmt: skip
        """Write the images, each moved once from its stored pixels, and their headers.

        Parameters
        ----------
        dst : path
        found : callable
            ``(a, b)`` -> what was found for images `a` to `b`, and which of the rows (of a to b) took part. The others come
            out as they were at the start.
        mark : callable
            ``(headers, rows, found)`` sets further words, in place.

        Returns
        -------
        list of (rows, Aligned)
            What was found for this rank's blocks, and for which images, from 0.
        """
        box = self.pixels.lines
        with create_stack(
            dst, self.n, 1, box, box, pixel_size=self.images.pixel_size, overwrite=overwrite, comm=comm,
            nblocks=self.images.nblocks, history="aligned",
        ) as out:  # fmt: skip

            def block(span: tuple[int, int]) -> tuple[NDArray[np.int64], Aligned]:
                a, b = span
                aligned, rows = found(a, b)
                begin, was = self.start.select(slice(a, b)), self.before.select(slice(a, b))
                maps = Maps(begin.linear.copy(), begin.offset.copy())
                maps.linear[rows], maps.offset[rows] = aligned.maps.linear, aligned.maps.offset
                headers = self.headers[a:b].copy()
                tell(headers, maps, begin, was)
                mark(headers, rows, aligned)
                out.write(a, moved(self.pixels.read(a, b), maps))
                out.set_headers(a, headers)
                if out.nblocks > 1:
                    out.set_extra(a, self.images.extra_headers(a, b))
                return a + rows, aligned

            return map_blocks(block, comm.blocks(self.n, BLOCK), threads, progress)

    def close(self) -> None:
        """Close the files."""
        self.images.close()
        self.pixels.close()

    def __enter__(self) -> "Images":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def tell(headers: NDArray, maps: Maps, start: Maps, before: Maps) -> None:
    """Write into headers, in place, that images were moved: this run's moves, all moves, poses and axes that turn with them.

    Parameters
    ----------
    headers : ndarray, shape (n,), `HEADER_DTYPE`
    maps : Maps
        Moves of the pixels that were compared.
    start, before : Maps
        Moves of these at the start; moves at the start since the originals.
    """
    run = start.inverse().then(maps)
    total = before.then(run)
    poses = Poses.from_headers(headers)
    # the shift still to be applied is part of the start; what the stored pixels of the input did since is the rest
    stored = Maps.shifts(poses.shift).then(run)
    total.into_headers(headers, stored)
    known = (headers["ALPHA"] != 0) | (headers["BETA"] != 0) | (headers["GAMMA"] != 0)
    if known.any():
        turned = poses.select(known)
        turned.set_matrices(stored.select(known).move_poses(turned.matrices()))
        headers["ALPHA"][known], headers["BETA"][known], headers["GAMMA"][known] = turned.alpha, turned.beta, turned.gamma
    headers["RXSHIFT"] = headers["RYSHIFT"] = 0
    # an axis in the plane turns with the image
    axis = np.deg2rad(headers["DEFANGLE"].astype(np.float64))
    there = stored.linear @ np.stack([np.cos(axis), np.sin(axis)], -1)[:, :, None]
    angle = np.rad2deg(np.arctan2(there[:, 1, 0], there[:, 0, 0]))
    astigmatic = headers["DEFOCUS1"] != headers["DEFOCUS2"]
    headers["DEFANGLE"] = np.where(astigmatic, angle, headers["DEFANGLE"])
    headers["IM4DTAG"] = TAG


def collected(comm: Comm, parts: list[tuple[NDArray[np.int64], Aligned]]) -> tuple[NDArray[np.int64], Aligned]:
    """What all ranks found, in the order of the images: their numbers from 0, and it."""
    everything = [item for part in comm.allgather(parts) for item in part if len(item[0])]
    if not everything:
        return np.zeros(0, np.int64), Aligned.joined([])
    rows = np.concatenate([r for r, _ in everything])
    order = np.argsort(rows, kind="stable")
    return rows[order], Aligned.joined([x for _, x in everything]).select(order)
