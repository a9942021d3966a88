"""Re-projections of reconstructed 3Ds beside the images they were made of, and the error of each image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.parameters import DONE
from imagic4d_core.ctf.transfer import apply_ctf
from imagic4d_core.forward import Projector
from imagic4d_core.io.stack import StackWriter
from imagic4d_core.jobs.scheme.recon.input import BLOCK, PART, Work
from imagic4d_core.parallel import map_blocks


@dataclass
class ImageFiles:
    """Where the re-projection of every image goes, and the difference to it."""

    projections: StackWriter | None
    differences: StackWriter | None

    @property
    def wanted(self) -> bool:
        """Whether either is to be written."""
        return self.projections is not None or self.differences is not None


def write_reprojections(work: Work, made: dict[int, NDArray[np.float32]], files: ImageFiles) -> list[float]:
    """Write re-projections and errors of all images; ERR3D goes into `work.poses`.

    Parameters
    ----------
    work : Work
    made : dict of int to ndarray
        The volumes that this rank made, by 0-based number.
    files : ImageFiles

    Returns
    -------
    list of float
        Mean ERR3D of each 3D.
    """
    poses, comm = work.poses, work.comm
    volumes = range(work.found.volumes)
    projectors = [Projector(comm.bcast(made.get(k), root=k % comm.size), work.inversion.r_max) for k in volumes]
    errors = np.zeros(len(poses))
    for start, stop in comm.blocks(len(poses), BLOCK):
        projections, differences, errors[start:stop] = _compare(work, projectors, start, stop)
        part = poses.select(slice(start, stop))
        part.err3d = errors[start:stop]
        for writer, data in ((files.projections, projections), (files.differences, differences)):
            if writer is not None:
                writer.write(start, data)
                writer.set_headers(start, part.into_headers(work.images.headers(start, stop)))
    errors = np.sum(comm.allgather(errors), 0)  # every image is somebody's: all other terms are 0
    errors[poses.ref3d == 0] = 0.0
    poses.err3d = errors
    members = [poses.ref3d == k + 1 for k in volumes]
    return [float(errors[mine].mean()) if mine.any() else 0.0 for mine in members]


def _compare(
    work: Work, projectors: list[Projector], start: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Re-projections, differences and errors of a block of images; an image of no 3D is its own difference."""
    data, poses = work.images.read(start, stop), work.poses.select(slice(start, stop))
    matrices = poses.matrices()
    transfer = None if work.contrast is None else _seen_through(*work.transfer(start, stop))
    projections, differences, errors = np.zeros_like(data), data.copy(), np.zeros(len(data))

    def one(job: tuple[int, NDArray[np.intp]]) -> None:
        k, part = job
        p = projectors[k].project(matrices[part], -poses.shift[part])
        if transfer is not None:
            p = apply_ctf(p, transfer[part])
        projections[part] = p
        for i, image in zip(part, p, strict=True):
            differences[i], errors[i] = _difference(data[i], image)

    members = [(k, np.flatnonzero(poses.ref3d == k + 1)) for k in range(len(projectors))]
    jobs = [(k, part) for k, mine in members if len(mine) for part in np.array_split(mine, -(-len(mine) // PART))]
    map_blocks(one, jobs, work.threads)
    return projections, differences, errors


def _difference(image: NDArray[np.float32], projection: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Image minus the scaled projection, both freed of their mean, and its rms over the standard deviation of the image."""
    x, y = projection.ravel().astype(np.float64), image.ravel().astype(np.float64)
    x0, y0 = x - x.mean(), y - y.mean()
    power, spread = float((x0 * x0).sum()), float((y0 * y0).sum())
    scale = float((x0 * y0).sum()) / power if power > 0 else 0.0
    rest = y0 - scale * x0
    return rest.reshape(image.shape), np.sqrt(float((rest * rest).sum()) / spread) if spread > 0 else 0.0


def _seen_through(transfer: NDArray[np.float32], state: NDArray[np.int32]) -> NDArray[np.float32]:
    """The factor of the signal in stored images: those that were multiplied by the CTF have it twice."""
    twice = state == DONE["multiply"]
    transfer[twice] *= transfer[twice]
    return transfer
