"""3Ds that are several: their images told apart by MSA in three dimensions, as further 3Ds for the pool.

Where two states differ by a small part, or one of them is rare, every start ends with one 3D for both, and so does a 3D that is
solved again as two. MSA finds such states in the images of one 3D, once these have poses (`eigenvolumes`). Its classes join the
pool twice: by the eigenvolumes of all images, and with each image put into a class by the eigenvolumes of the half that it is not
in. They are kept if they explain images better than what is there, as any 3D is, and if both divisions say the same.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.deciding import Decision
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.msa.splitting import RADIUS, split_images
from imagic4d_core.jobs.scheme.pool import Pool
from imagic4d_core.parallel import thread_count
from imagic4d_core.units import in_pixels

#: Fewest images of a 3D that is looked at.
LEAST = 100
#: Fewest images of a class, and least share that it has in common with its like of another random start and of either half.
LEAST_CLASS, STABLE = 12, 0.7
#: A 3D that has this share of its images in common with one looked at before (Jaccard index) is not looked at again.
KNOWN = 0.9
#: Most classes of one 3D.
STATES = 6

Members = NDArray[np.bool_]


@dataclass
class Apart:
    """What was looked at so far, in one run.

    Attributes
    ----------
    pool : Pool
    folder : Path
        For the images with classes.
    seed : int
    seen : list of ndarray of bool, shape (images,)
        The images of each 3D looked at.
    found : list of list of int
        Sizes of the stable classes of each of these; empty where there is nothing to tell apart.
    """

    pool: Pool
    folder: Path
    seed: int
    seen: list[Members] = field(default_factory=list)
    found: list[list[int]] = field(default_factory=list)

    def look(self, decision: Decision, number: int, context: Context) -> list[str]:
        """Look at the 3Ds kept that other runs found too; classes join the pool.

        Parameters
        ----------
        decision : Decision
        number : int
            Of the round, for names.
        context : Context

        Returns
        -------
        list of str
            Names of the runs that joined the pool; none where no 3D falls into classes.
        """
        pool, comm = self.pool, context.comm
        active = np.flatnonzero(pool.active)
        sets: list[Members] = []
        for j, kept in enumerate(decision.kept):
            if not kept.again or kept.images < LEAST:
                continue
            members = np.zeros(len(pool.headers), bool)
            members[active[decision.membership == j]] = True
            if all((members & old).sum() < KNOWN * (members | old).sum() for old in self.seen):
                sets.append(members)
        poses = pool.poses(decision)
        first = len(self.seen)
        mine = {
            k: self._classes(poses, sets[k], first + k, context) for k in range(comm.rank, len(sets), comm.size)
        }  # fmt: skip
        results = {k: v for part in comm.allgather(mine) for k, v in part.items()}
        divisions = np.zeros((2, len(poses)), np.int32)
        for k in range(len(sets)):
            labels = results[k]
            count = int(labels.max(initial=0))
            self.seen.append(sets[k])
            self.found.append(np.bincount(labels[0], minlength=count + 1)[1:].tolist())
            divisions = np.where(labels > 0, labels + divisions.max(), divisions)
        if not divisions.any():
            return []
        names = []
        for labels, what in zip(divisions, ("apart", "crossed"), strict=True):
            name = f"{number}-{what}"
            poses.ref3d[:] = labels
            path = str(self.folder / f"{name}.hed")
            if comm.rank == 0:
                replace_headers(pool.images, poses.into_headers(pool.headers.copy()), path, overwrite=True)
            comm.barrier()
            pool.add(name, path, context)
            names.append(name)
        return names

    def _classes(self, poses: Poses, members: Members, index: int, context: Context) -> NDArray[np.int32]:
        """Number of the stable class of each image, by all images and crossed, from 1; 0: none. Shape (2, images)."""
        options, box = self.pool.options, self.pool.box
        radius = RADIUS * box / 2
        if options.mask_radius is not None:
            radius = min(radius, in_pixels(options.mask_radius, box))
        split, number = split_images(
            self.pool.images, poses, members, states=STATES, mask_radius=radius, glance=True,
            contrast=options.amplitude_contrast if options.weigh_ctf else None,
            seed=(self.seed * 7919 + index) % (1 << 31), threads=thread_count(context.threads),
        )  # fmt: skip
        out = np.zeros((2, len(poses)), np.int32)
        states = split.states
        if states is None or states.crossed is None:
            return out
        good = np.flatnonzero((states.stability >= STABLE) & (states.sizes >= LEAST_CLASS))
        if len(good) < 2:
            return out
        name = np.zeros(len(states.stability) + 1, np.int32)  # the last one: class -1
        name[good] = np.arange(1, len(good) + 1)
        out[:, number] = name[states.labels], name[states.crossed]
        return out
