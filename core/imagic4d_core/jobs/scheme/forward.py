"""Forward projection of one or many 3Ds: a file of volumes in, a file of projections with known Euler angles out."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.forward.project import Projector, batch_size
from imagic4d_core.geometry import euler, sphere, symmetry
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.header import blank_headers, keep_made_of
from imagic4d_core.io.stack import Stack, create_stack, open_stack
from imagic4d_core.jobs.scheme.neighbours import warn_of_symmetry
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, warm_first
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.recon.warm import warmup
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency

#: Grid cells per Fourier pixel. Against exact projections of analytic blobs 1.5 has a relative rms error of 0.0014, 2 of 0.0005;
#: its grid is less than half as large, quicker made and better held in the cache.
OVERSAMPLING = 1.5


@dataclass
class Forward:
    """What a forward projection did."""

    volumes: int
    directions: int
    images: int
    box: int
    symmetry: str
    pixel_size: float | None
    output: str

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        how = f"{self.directions} directions each" if self.directions else "one for every image"
        return [f"{self.output}: {self.images} projections of {self.volumes} 3D(s), {how}, box {self.box}"]


def forward(
    src: str,
    dst: str,
    *,
    directions: str = "asym-triangle",
    increment: float = 10.0,
    symmetry: str = "C1",
    number: int | None = None,
    angles_from: str | None = None,
    mirror: bool = False,
    max_frequency: Frequency | None = None,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Forward:
    """Project volumes.

    Parameters
    ----------
    src, dst : path
        Volumes; projections, 3D by 3D, with ALPHA, BETA, GAMMA and REF3D in their headers (and the fold words of
        leave-out volumes).
    directions : {"asym-triangle", "random", "header"}
        Even directions in the asymmetric unit with alpha 0; `number` random poses; or the poses of `angles_from`.
    increment : float
        Degrees between directions.
    symmetry : str
        Point group.
    number : int, optional
        Projections of each 3D for random directions.
    angles_from : path, optional
        Images with poses: projection i is of the 3D of image i (REF3D), in its orientation, displaced as it is, so that
        it looks like image i. Of leave-out volumes the one made without image i is taken. Images without a 3D, or
        inactive, give empty projections with REF3D 0.
    mirror : bool
        Leave out directions whose opposite (mirror image) is there.
    max_frequency : Frequency, optional
        Nothing beyond it is projected.
    seed : int
        For random directions: each 3D gets poses of its own.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    if directions == "header" and angles_from is None:
        raise UsageError("directions from headers need the images that have them: --angles-from IMAGES")
    if directions == "random" and number is None and angles_from is None:
        raise UsageError("random directions need --number N, the projections of each 3D")
    warn_of_symmetry(src, symmetry, comm)
    if comm.size > 1:
        warm_first(comm, warmup)
    with open_stack(src, what="volumes") as volumes:
        box = check_cubic(volumes)
        records = volumes.headers()[:: volumes.sections]
        known, history = Poses.from_headers(records), records["HISTORY"].tolist()
        if not known.ref3d.any():
            known.ref3d[:] = np.arange(1, len(known) + 1)
        if angles_from is not None:
            source, poses = _as_images(angles_from, known, volumes)
            per_volume = 0
        else:
            source, poses, per_volume = _spread(known, directions, increment, symmetry, number, mirror, seed)
        r_max = shells_of(max_frequency, box, volumes.pixel_size)
        count = len(source)
        tasks = [part for v in range(-1, len(known)) for part in _chunks(np.flatnonzero(source == v), batch_size(box))]
        with create_stack(
            dst, count, 1, box, box, pixel_size=volumes.pixel_size, overwrite=overwrite, comm=comm, history="forward"
        ) as out:
            mine = tasks[comm.rank :: comm.size]
            done = 0
            for v, group in itertools.groupby(mine, key=lambda index: int(source[index[0]])):
                made_of = history[v] if v >= 0 else b""
                projector = Projector(volumes.read_volumes(v, v + 1)[0], r_max, OVERSAMPLING) if v >= 0 else None

                def make(
                    index: NDArray[np.intp], projector: Projector | None = projector, made_of: bytes = made_of
                ) -> None:
                    images = _project(projector, poses, index) if projector else np.zeros((len(index), box, box), np.float32)
                    for run in np.split(np.arange(len(index)), np.flatnonzero(np.diff(index) != 1) + 1):
                        out.write(int(index[run[0]]), images[run[0] : run[-1] + 1])
                        head = blank_headers(len(run), box, box, pixel_size=volumes.pixel_size)
                        keep_made_of(head, made_of)
                        out.set_headers(int(index[run[0]]), poses.select(index[run]).into_headers(head))

                for _ in imap_blocks(make, group, threads):
                    done += 1
                    if progress is not None:
                        progress(done, len(mine))
    return Forward(len(known), per_volume, count, box, symmetry.upper(), volumes.pixel_size, os.fspath(dst))


def check_cubic(volumes: Stack) -> int:
    """Box of a stack of cubic volumes, or MismatchError."""
    if not volumes.sections == volumes.lines == volumes.pixels:
        raise MismatchError(
            f"{volumes.path}: volumes of {volumes.sections} x {volumes.lines} x {volumes.pixels}; cubes are needed (threed-cut)"
        )
    return volumes.lines


def _chunks(index: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    return [index[i : i + size] for i in range(0, len(index), size)]


def _project(projector: Projector, poses: Poses, index: NDArray[np.intp]) -> NDArray[np.float32]:
    """Projections of one task; the image's shift brings it to the centre, so the projection gets the opposite one."""
    part = poses.select(index)
    return projector.project(part.matrices(), -part.shift)


def _spread(
    known: Poses, directions: str, increment: float, group: str, number: int | None, mirror: bool, seed: int
) -> tuple[NDArray[np.intp], Poses, int]:
    """Volume and pose of every projection, volume by volume."""
    symmetry.parse(group)
    if directions == "random":
        n = int(number or 0)
        matrices = [euler.random_rotations(rng_for(seed, "forward/directions", v), n) for v in range(len(known))]
        alpha, beta, gamma = euler.euler_from_matrix(np.concatenate(matrices))
    else:
        one_beta, one_gamma = sphere.directions(increment, group, mirror)
        n = len(one_beta)
        beta, gamma = np.tile(one_beta, len(known)), np.tile(one_gamma, len(known))
        alpha = np.zeros(len(beta))
    source = np.repeat(np.arange(len(known)), n)
    poses = _of_volumes(known, source)
    poses.alpha, poses.beta, poses.gamma = alpha, beta, gamma
    return source, poses, n


def _of_volumes(known: Poses, source: NDArray[np.intp]) -> Poses:
    """Blank poses with the membership and fold words of the volumes projected (-1: none)."""
    poses = Poses.blank(len(source))
    for name in ("ref3d", "fold", "folds", "foldseed", "nimg3d"):
        getattr(poses, name)[:] = np.where(source >= 0, getattr(known, name)[source], 0)
    return poses


def _as_images(angles_from: str, known: Poses, volumes: Stack) -> tuple[NDArray[np.intp], Poses]:
    """Volume and pose of a projection for every image of a file."""
    with open_stack(angles_from, what="images") as images:
        if (images.lines, images.pixels) != (volumes.lines, volumes.pixels):
            raise MismatchError(
                f"{images.path}: images of {images.lines} x {images.pixels} do not fit the volumes of {volumes.path}, "
                f"box {volumes.lines}"
            )
        h = images.columns((*POSE_WORDS, "ACTIVE"))
        path = images.path
    given = Poses.from_headers(h)
    if not (given.alpha.any() or given.beta.any() or given.gamma.any()):
        raise InputError(f"{path}: has no Euler angles in its headers (words 65 to 67); run angrec first")
    member = given.ref3d.copy()
    if not member.any() and len(np.unique(known.ref3d)) == 1:
        member[:] = known.ref3d[0]
    member[h["ACTIVE"] < 0] = 0
    used = np.unique(member[member > 0])
    missing = np.setdiff1d(used, known.ref3d)
    if len(missing) or not len(used):
        what = f"3D {missing[0]}, which" if len(missing) else "no 3D for any image: REF3D (word 51)"
        raise MismatchError(f"{path}: its headers name {what} is not in {volumes.path}")
    source = np.full(len(member), -1, np.intp)
    for q in np.unique(known.fold):
        fits = np.ones(len(member), bool)
        if q > 0:
            v = int(np.flatnonzero(known.fold == q)[0])
            fits = fold_of(int(known.foldseed[v]), int(known.folds[v]), np.arange(len(member))) == q
        table = np.full(max(int(known.ref3d.max()), int(member.max())) + 1, -1, np.intp)
        rows = np.flatnonzero((known.fold == q) & (known.ref3d > 0))[::-1]
        table[known.ref3d[rows]] = rows  # of several volumes of the same number the first counts
        found = np.where(member > 0, table[np.maximum(member, 0)], -1)
        source = np.where(fits & (found >= 0), found, source)
    if ((source < 0) & (member > 0)).any():
        raise MismatchError(f"{volumes.path}: lacks leave-out volumes for some folds of the images of {path}")
    poses = _of_volumes(known, source)
    poses.alpha, poses.beta, poses.gamma, poses.shift = given.alpha, given.beta, given.gamma, given.shift
    return source, poses
