"""3Ds in doubt under MSA in three dimensions: mixtures are taken apart between rounds of starts.

A start that ends with one 3D for two structures has most of their poses right, as structures that compete are alike. Solving its
images again as two need not part them, above all where images are averages of coloured noise; a look at few eigenvolumes at low
frequencies does, and costs less than a twentieth of a start. What it parts joins the pool as further 3Ds, and is solved again
from its images alone in the next round, so that nothing is found again by the poses that it was made with.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.agreement import jaccard
from imagic4d_core.competition.deciding import Decision
from imagic4d_core.eigenvolumes.splitting import bands_for
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.msa.splitting import LEAST, RADIUS, split_images
from imagic4d_core.jobs.scheme.pool import Pool
from imagic4d_core.parallel import thread_count
from imagic4d_core.units import in_pixels

#: Eigenvolumes of a look, and most classes.
COMPONENTS, CLASSES = 2, 4
#: Images that have this share in common with those looked at before in the same poses (Jaccard index) are not looked at again.
KNOWN = 0.9
#: Fewest images of which it means something that they show no classes.
TELLING = 120

Members = NDArray[np.bool_]


@dataclass
class Mixed:
    """The looks of one run.

    Attributes
    ----------
    pool : Pool
    folder : Path
        For images with classes.
    seed : int
    seen : list of (ndarray of bool, shape (images,), int)
        Images that were looked at, and the column with their poses.
    """

    pool: Pool
    folder: Path
    seed: int
    seen: list[tuple[Members, int]] = field(default_factory=list)

    def divide(self, decision: Decision, number: int, context: Context) -> list[str]:
        """Look at the 3Ds kept that no other run found, each by itself and with the one that a 3D could stand for as well.

        The classes of mixtures join the pool.

        Parameters
        ----------
        decision : Decision
        number : int
            Of the round, for names.
        context : Context

        Returns
        -------
        list of str
            Names of the runs that joined the pool.
        """
        pool, comm = self.pool, context.comm
        sets: list[tuple[str, int, Members]] = []
        for j, kept in enumerate(decision.kept):
            if not kept.again:
                sets.append((f"{number}-mixed{j + 1}", kept.column, self._members(decision.membership == j)))
        for i, j, column in pool.for_both(decision):
            if not (decision.kept[i].again and decision.kept[j].again):
                both = (decision.membership == i) | (decision.membership == j)
                sets.append((f"{number}-mixed{i + 1}and{j + 1}", column, self._members(both)))
        new: list[tuple[str, int, Members]] = []
        for name, column, members in sets:
            known = any(column == at and jaccard(members, old) >= KNOWN for old, at in self.seen)
            if int(members.sum()) >= LEAST and not known:
                self.seen.append((members, column))
                new.append((name, column, members))
        first = len(self.seen) - len(new)
        mine = {
            k: self._look(new[k][1], new[k][2], first + k, context)
            for k in range(comm.rank, len(new), comm.size)
        }  # fmt: skip
        results = {k: v for part in comm.allgather(mine) for k, v in part.items()}
        names = []
        for k, (name, column, _) in enumerate(new):
            if not results[k].any():
                continue
            poses = self._poses(column)
            poses.ref3d[:] = results[k]
            path = str(self.folder / f"{name}.hed")
            if comm.rank == 0:
                replace_poses(pool.images, poses, path, overwrite=True)
            comm.barrier()
            pool.add(name, path, context, origin=[int(pool.run_of()[column])])
            names.append(name)
        return names

    def _poses(self, column: int) -> Poses:
        """Of all images in one 3D."""
        run, k = self.pool.place(column)
        poses, index = Poses.from_headers(self.pool.headers), np.flatnonzero(self.pool.active)
        matrices = np.broadcast_to(np.eye(3), (len(poses), 3, 3)).copy()
        matrices[index], poses.shift[index] = run.matrix[:, k], run.shift[:, k]
        poses.set_matrices(matrices)
        return poses

    def differ(self, decision: Decision, i: int, j: int, column: int, context: Context) -> bool:
        """Whether the images of two 3Ds fall into classes in the poses of a third, or are too few to tell."""
        members = self._members((decision.membership == i) | (decision.membership == j))
        if int(members.sum()) < TELLING:
            return True
        told = self._look(column, members, 0, context, quick=False).any() if context.comm.rank == 0 else None
        return bool(context.comm.bcast(told))

    def _members(self, of_active: Members) -> Members:
        """Among all images, from among those that take part."""
        out = np.zeros(len(self.pool.headers), bool)
        out[np.flatnonzero(self.pool.active)[of_active]] = True
        return out

    def _look(self, column: int, members: Members, index: int, context: Context, quick: bool = True) -> NDArray[np.int32]:
        """`look` at images in the poses of a 3D."""
        options = self.pool.options
        return look(
            self.pool.images, self._poses(column), members, self.pool.box, mask_radius=options.mask_radius,
            contrast=options.amplitude_contrast if options.weigh_ctf else None, seed=(self.seed * 7919 + index) % (1 << 31),
            threads=thread_count(context.threads), quick=quick,
        )  # fmt: skip


def look(
    images: str, poses: Poses, members: Members, box: int, *, mask_radius: float | None, contrast: float | None, seed: int,
    threads: int, quick: bool = True,
) -> NDArray[np.int32]:  # fmt: skip
    """A look at images of one 3D: number of the stable class of each, from 1; 0: none. Shape (images,).

    Parameters
    ----------
    images : path
    poses : Poses
        Of all images.
    members : ndarray of bool, shape (images,)
        Those of the 3D, `LEAST` at least.
    box : int
    mask_radius : float or None
        As of `refine`.
    contrast : float or None
        Amplitude contrast, where the CTF in the headers counts.
    seed, threads : int
    quick : bool
        Two eigenvolumes at the lowest band; or as many as are above the noise, in the band where they show best.
    """
    radius = RADIUS * box / 2
    if mask_radius is not None:
        radius = min(radius, in_pixels(mask_radius, box))
    split, number = split_images(
        images, poses, members, components=COMPONENTS if quick else None, states=CLASSES, mask_radius=radius, glance=not quick,
        r_max=bands_for(box, radius, (box - 1) // 2)[0] if quick else None, contrast=contrast, seed=seed, threads=threads,
    )  # fmt: skip
    out = np.zeros(len(members), np.int32)
    out[number] = split.told()[0]
    return out
