"""Poses and memberships taken over from one file to another: image by image, or from class averages to their members."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.moving import Maps
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.inplane import mirrored, pose_of_original
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.cls import read_classes
from imagic4d_core.io.replacing import stream_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.parallel import SERIAL, Comm

WAYS = ("images", "class-sums")
#: What members get from their class average; everything else of their own is kept or cleared.
_FROM_AVERAGE = ("ref3d", "ref3d2", "confidence", "margin", "eulererr", "errar")
_CLEARED = ("ccc3d", "err3d", "zscore")


@dataclass
class TakenOver:
    """Poses taken over.

    Attributes
    ----------
    images : int
    output : str
    way : str
    without : int
        Members of no class, or of a class without an average: their membership is 0 now.
    inactive : int
        Members set inactive because their average is.
    mirrored, turned : int
        Members whose mirror, or whose moves in the plane, were undone in the pose.
    """

    images: int
    output: str
    way: str = "images"
    without: int = 0
    inactive: int = 0
    mirrored: int = 0
    turned: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        of = f"poses of class averages taken over to {self.images - self.without} of {self.images} members"
        if self.way == "images":
            of = f"poses of {self.images} images taken over"
        out = [f"{self.output}: {of}"]
        if self.turned:
            out.append(f"  moves in the plane undone in {self.turned} poses, {self.mirrored} of them mirrored")
        if self.without:
            out.append(f"  {self.without} images without a class average: 3D membership 0")
        if self.inactive:
            out.append(f"  {self.inactive} members of inactive averages set inactive")
        return out


def takeover(
    src: str | os.PathLike, poses_from: str | os.PathLike, dst: str | os.PathLike | None = None, *, way: str = "images",
    classes: str | os.PathLike | None = None, originals: bool = False, moves_from: str | os.PathLike | None = None,
    overwrite: bool = False, comm: Comm = SERIAL, **_: Any,
) -> TakenOver:  # fmt: skip
    """Give images the poses that stand in the headers of another file.

    Parameters
    ----------
    src : path
        Images, or members of classes.
    poses_from : path
        As many images, or class averages.
    dst : path or None
        The same densities (hard link) with new headers; None replaces the headers of `src`.
    way : {"images", "class-sums"}
        Image by image: all pose words and the active flag. Or from class averages to their members: Euler angles, shift,
        3D membership, its confidence and margin.
    classes : path, optional
        CLS file that says which images are in which class; default: word 108 of the members.
    originals : bool
        From class averages: the pixels of `src` were not moved by what words 116 to 118 and 92 say: the poses are composed with
        these moves, and the words are cleared. Otherwise the pixels are those that were averaged. Image by image: `poses_from`
        holds `src` moved (aligned, centred, turned): what was done to it beyond `src`, by these words of both, is undone in
        the poses. Otherwise both have the same pixels.
    moves_from : path, optional
        Aligned images whose headers hold the moves (and the classes) of `src`; implies `originals`.
    overwrite : bool
    comm
        Rank 0 works.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    if way not in WAYS:
        raise UsageError(f"way {way!r} is not one of {', '.join(WAYS)}")
    if way == "images" and (classes is not None or moves_from is not None):
        raise UsageError("--class-file and --moves-from belong to --from class-sums")
    done = None
    if comm.rank == 0:
        done = _by_image(src, poses_from, dst, originals, overwrite) if way == "images" else _by_class(
            src, poses_from, dst, classes, originals, moves_from, overwrite
        )  # fmt: skip
    comm.barrier()
    return comm.bcast(done)  # type: ignore[no-any-return]


def _whole(stack: Stack) -> None:
    if stack.index is not None:
        raise InputError(f"{stack.path}: headers of the whole file are written; locations cannot be given here")


def _by_image(
    src: str | os.PathLike, poses_from: str | os.PathLike, dst: str | os.PathLike | None, originals: bool, overwrite: bool
) -> TakenOver:
    with open_stack(src) as images, open_stack(poses_from) as other:
        _whole(images)
        if images.n_images != other.n_images:
            raise MismatchError(f"{poses_from}: {other.n_images} images, but {src} has {images.n_images}; as many are needed")
        done = TakenOver(images.n_images, str(images.path) if dst is None else os.fspath(dst))

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            h, theirs = images.headers(start, stop), other.headers(start, stop)
            h["ACTIVE"] = theirs["ACTIVE"]
            poses = Poses.from_headers(theirs)
            if originals:
                _undo(poses, Maps.from_headers(h).inverse().then(Maps.from_headers(theirs)), done)
            return poses.into_headers(h), images.extra_headers(start, stop)

        stream_headers(images, window, dst, overwrite, images.nblocks)
        return done


def _undo(poses: Poses, moves: Maps, done: TakenOver) -> None:
    """Poses of moved images become those of the images before, in place: angles, and the shift still to be applied."""
    moved = (np.abs(moves.linear - np.eye(2)).max((1, 2)) > 1e-9) | (np.abs(moves.offset).max(1) > 1e-9)
    back = moves.select(moved).inverse()
    if not len(back):
        return
    part = poses.select(moved)
    part.set_matrices(back.move_poses(part.matrices()))
    # the particle stands at minus the shift
    place = np.einsum("nij,nj->ni", back.linear, -part.shift) + back.offset
    for name in ("alpha", "beta", "gamma"):
        getattr(poses, name)[moved] = getattr(part, name)
    poses.shift[moved] = -place
    done.turned += int(moved.sum())
    done.mirrored += int((np.linalg.det(back.linear) < 0).sum())


def _by_class(
    src: str | os.PathLike, averages: str | os.PathLike, dst: str | os.PathLike | None, classes: str | os.PathLike | None,
    originals: bool, moves_from: str | os.PathLike | None, overwrite: bool,
) -> TakenOver:  # fmt: skip
    with open_stack(averages, what="images") as stack:
        theirs = stack.headers()
    row_of = _rows(theirs, averages)
    poses, idle = Poses.from_headers(theirs), theirs["ACTIVE"] < 0
    with open_stack(src, what="images") as images, open_stack(moves_from or src, what="images") as aligned:
        _whole(images)
        if aligned.n_images != images.n_images:
            raise MismatchError(f"{moves_from}: {aligned.n_images} images, but {src} has {images.n_images}; as many are needed")
        listed = None if classes is None else read_classes(classes, images.n_images)
        done = TakenOver(images.n_images, str(images.path) if dst is None else os.fspath(dst), "class-sums")

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            h, made = images.headers(start, stop), aligned.headers(start, stop)
            number = made["CLASSNO"] if listed is None else listed[start:stop]
            row = _row(number, row_of)
            _give(h, made, row, poses, originals or moves_from is not None, done)
            lazy = (row >= 0) & idle[row]
            h["ACTIVE"] = np.where(lazy, -1, h["ACTIVE"])
            if listed is not None or moves_from is not None:
                h["CLASSNO"] = number
            done.inactive += int(lazy.sum())
            return h, images.extra_headers(start, stop)

        # known before anything is written: every window is cheap
        known = (
            listed if listed is not None else np.concatenate([aligned.headers(a, b)["CLASSNO"] for a, b in images.blocks(8192)])
        )
        if not (_row(known, row_of) >= 0).any():
            where = f"{classes}" if classes else f"{aligned.path}: word 108 (CLASSNO)"
            raise MismatchError(f"{where}: names no class of {averages}; classify the images first, or give the CLS file")
        stream_headers(images, window, dst, overwrite, images.nblocks)
        return done


def _rows(averages: NDArray, path: str | os.PathLike) -> dict[int, int]:
    """Class number -> 0-based row: by word 108 where all averages have one, else by location."""
    number = averages["CLASSNO"]
    if not ((number >= 1) & (np.rint(number) == number)).all():
        return {k + 1: k for k in range(len(averages))}
    if len(np.unique(number)) != len(number):
        values, count = np.unique(number, return_counts=True)
        raise InputError(f"{path}: two averages are of class {values[count > 1][0]:.0f} (word 108); one for each class is needed")
    return {int(k): row for row, k in enumerate(number)}


def _row(number: NDArray, row_of: dict[int, int]) -> NDArray[np.intp]:
    good = np.isfinite(number)
    whole = np.where(good, number, 0).astype(np.int64)
    good &= whole == number
    return np.array([row_of.get(int(k), -1) if ok else -1 for k, ok in zip(whole, good, strict=True)], np.intp)


def _give(h: NDArray, made: NDArray, row: NDArray[np.intp], averages: Poses, originals: bool, done: TakenOver) -> None:
    """Poses of some members, in place."""
    poses = Poses.from_headers(h)
    before = poses.ref3d.copy()
    blank = Poses.blank(len(h))
    for name in (*_FROM_AVERAGE, *_CLEARED, "alpha", "beta", "gamma", "shift"):
        getattr(poses, name)[:] = getattr(blank, name)
    known = row >= 0
    theirs = averages.select(row[known])
    for name in _FROM_AVERAGE:
        getattr(poses, name)[known] = getattr(theirs, name)
    matrix, shift = theirs.matrices(), theirs.shift
    flip = mirrored(made)
    if originals:
        moves = Moves.equivalent(made[known], 2)
        moved = flip[known] | (moves.angle != 0) | moves.shift.any(1)
        new, left = pose_of_original(matrix, shift, moves, flip[known])
        matrix, shift = np.where(moved[:, None, None], new, matrix), np.where(moved[:, None], left, shift)
        done.turned += int(moved.sum())
        done.mirrored += int(flip[known].sum())
    part = theirs.copy()
    if originals:
        part.set_matrices(matrix)
    poses.alpha[known], poses.beta[known], poses.gamma[known] = part.alpha, part.beta, part.gamma
    poses.shift[known] = shift
    poses.ref3d_old[:] = before
    poses.into_headers(h)
    if originals:
        for name in ("EANGLE", "EXSHIFT", "EYSHIFT", "MIRRORED"):
            h[name] = 0
    done.without += int((~known).sum())
