"""3Ds in doubt under MSA in three dimensions: mixtures are taken apart between rounds of starts, repeats are told from states.

A start that ends with one 3D for two structures has most of their poses right, as structures that compete are alike. Solving its
images again as two need not part them, above all where images are averages of coloured noise; a look at few eigenvolumes at low
frequencies does, and costs less than a twentieth of a start. What it parts joins the pool as further 3Ds, and is solved again
from its images alone in the next round, so that nothing is found again by the poses that it was made with.

The other way round: where two 3Ds are one structure, all their images in the poses of one of them show no difference that
follows the division.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.deciding import Decision
from imagic4d_core.eigenvolumes.splitting import Split, bands_for
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.msa.splitting import LEAST, RADIUS, split_images
from imagic4d_core.jobs.scheme.pool import Pool
from imagic4d_core.parallel import thread_count
from imagic4d_core.scores import adjusted_rand_index
from imagic4d_core.units import in_pixels

#: Eigenvolumes of a look, and most classes.
COMPONENTS, CLASSES = 2, 4
#: A 3D that has this share of its images in common with one looked at before (Jaccard index) is not looked at again.
KNOWN = 0.9
#: Two 3Ds repeat each other if what their images show agrees less than this with the division (adjusted Rand index).
FOLLOWS = 0.2

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
    seen : list of ndarray of bool, shape (images,)
        Images of the 3Ds that were looked at.
    """

    pool: Pool
    folder: Path
    seed: int
    seen: list[Members] = field(default_factory=list)

    def divide(self, decision: Decision, number: int, context: Context) -> list[str]:
        """Look at the 3Ds kept that no other run found; the classes of those that are mixtures join the pool.

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
        poses = pool.poses(decision)
        sets: list[tuple[int, Members]] = []
        for j, kept in enumerate(decision.kept):
            members = self._members(decision.membership == j)
            if not kept.again and kept.images >= LEAST and all(_jaccard(members, old) < KNOWN for old in self.seen):
                sets.append((j, members))
        mine = {
            k: self._look(poses, sets[k][1], len(self.seen) + k, context) for k in range(comm.rank, len(sets), comm.size)
        }  # fmt: skip
        results = {k: v for part in comm.allgather(mine) for k, v in part.items()}
        names = []
        for k, (j, members) in enumerate(sets):
            self.seen.append(members)
            if not results[k].any():
                continue
            name = f"{number}-mixed{j + 1}"
            poses.ref3d[:] = results[k]
            path = str(self.folder / f"{name}.hed")
            if comm.rank == 0:
                replace_poses(pool.images, poses, path, overwrite=True)
            comm.barrier()
            pool.add(name, path, context, origin=int(pool.run_of()[decision.kept[j].column]))
            names.append(name)
        return names

    def repeats(self, decision: Decision, context: Context) -> int | None:
        """Index of a 3D kept that no other run found and that repeats the 3D which its images like second best; None if none."""
        pool = self.pool
        whole = pool.scores().whole[:, decision.columns]
        for j in sorted(range(len(decision.kept)), key=lambda j: (decision.kept[j].images, j)):
            if decision.kept[j].again or len(decision.kept) < 2:
                continue
            mine = decision.membership == j
            order = np.argsort(-whole[mine], axis=1, kind="stable")
            i = int(np.bincount(order[:, 1], minlength=len(decision.kept)).argmax()) if mine.any() else j
            both = mine | (decision.membership == i)
            if i == j or int(both.sum()) < LEAST:
                continue
            run, column = pool.place(decision.kept[i].column)
            poses = Poses.from_headers(pool.headers)
            index = np.flatnonzero(pool.active)
            matrices = np.broadcast_to(np.eye(3), (len(poses), 3, 3)).copy()
            matrices[index], poses.shift[index] = run.matrix[:, column], run.shift[:, column]
            poses.set_matrices(matrices)
            labels = None
            if context.comm.rank == 0:
                split, number = self._split(poses, self._members(both), 0, context)
                labels = None if split.states is None else split.states.labels
                division = self._members(mine)[number].astype(np.int64)
                follows = labels is not None and adjusted_rand_index(division, labels) >= FOLLOWS
            if not context.comm.bcast(follows if context.comm.rank == 0 else None):
                return j
        return None

    def _members(self, of_active: Members) -> Members:
        """Among all images, from among those that take part."""
        out = np.zeros(len(self.pool.headers), bool)
        out[np.flatnonzero(self.pool.active)[of_active]] = True
        return out

    def _look(self, poses: Poses, members: Members, index: int, context: Context) -> NDArray[np.int32]:
        """Number of the stable class of each image, from 1; 0: none. Shape (images,)."""
        split, number = self._split(poses, members, index, context)
        out = np.zeros(len(poses), np.int32)
        out[number] = split.told()[0]
        return out

    def _split(self, poses: Poses, members: Members, index: int, context: Context) -> tuple[Split, NDArray[np.int64]]:
        options, box = self.pool.options, self.pool.box
        radius = RADIUS * box / 2
        if options.mask_radius is not None:
            radius = min(radius, in_pixels(options.mask_radius, box))
        return split_images(
            self.pool.images, poses, members, components=COMPONENTS, states=CLASSES, mask_radius=radius,
            r_max=bands_for(box, radius, (box - 1) // 2)[0], contrast=options.amplitude_contrast if options.weigh_ctf else None,
            seed=(self.seed * 7919 + index) % (1 << 31), threads=thread_count(context.threads),
        )  # fmt: skip


def _jaccard(a: Members, b: Members) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
