"""3Ds laid into the centre of the box: a first reconstruction says where they are, the shifts of their images follow."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.centre import centre_of_mass
from imagic4d_core.jobs.scheme.recon.input import Work
from imagic4d_core.jobs.scheme.recon.sums import volume_sums

#: Low-pass of the volumes whose centre is sought, fraction of Nyquist; radius that counts, fraction of half the box.
SMOOTH, RADIUS = 0.4, 0.9


def centre_3ds(work: Work, progress: Callable[[int, int], None] | None) -> list[list[float]]:
    """Move the shifts of all images so that the centre of mass of every 3D comes to the centre of the box.

    A 3D that lies off the centre by c moves the shift of each of its images by the projection of c: projections cannot tell. But
    an image in a wrong direction is then at a wrong shift too, by up to twice the length of c, and is caught there.

    Parameters
    ----------
    work : Work
        Its poses' `shift` is changed in place; every image is in one 3D at most.

    Returns
    -------
    centres : list of 3 float
        Centre of mass of each 3D before, pixels (x, y, z) from the centre of the box; of what is one standard deviation or more
        above the mean of the low-passed volume. Along directions that the point group turns it is 0.
    """
    radius = RADIUS * work.box / 2
    found: dict[int, list[float]] = {}
    for sums in volume_sums(work, progress):
        grid = sums.united(range(len(sums.counts)))
        if grid is None:
            continue
        volume = sums.acc.finalise(grid, hamming=SMOOTH)
        level = np.float32(volume.mean(dtype=np.float64) + volume.std(dtype=np.float64))
        z, x, y = -centre_of_mass(volume[None], level, radius)[0]
        found[sums.number] = (work.inversion.group.mean(0) @ (x, y, z)).tolist()
    for part in work.comm.allgather(found):
        found |= part
    centres = np.array([found[k] for k in range(work.found.volumes)])
    poses = work.poses
    member = poses.ref3d > 0
    poses.shift[member] -= _projected(poses.matrices()[member], centres[poses.ref3d[member] - 1])
    return centres.tolist()  # type: ignore[no-any-return]


def _projected(matrices: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where points of the 3Ds are in the images: shape (n, 2)."""
    return np.einsum("nij,nj->ni", matrices[:, :2], points)
