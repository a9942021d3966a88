"""3Ds that are several: their images told apart by MSA in three dimensions, as further 3Ds for the pool.

Where two states differ by a small part, or one of them is rare, every start ends with one 3D for both, and so does a 3D that is
solved again as two. MSA finds such states in the images of one 3D, once these have poses (`eigenvolumes`). Its classes join the
pool twice: by the eigenvolumes of all images, and with each image put into a class by the eigenvolumes of the half that it is not
in. They are kept if they explain images better than what is there, as any 3D is, and if both divisions say the same.

3Ds of few images are noisy, and a competition at all frequencies would lose them again: once classes are kept, the classes say
which image is in which of them, poses are those of the 3D that was told apart, and polishing takes it as one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.agreement import jaccard
from imagic4d_core.competition.deciding import Decision
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.msa.splitting import RADIUS, split_images
from imagic4d_core.jobs.scheme.pool import Pool
from imagic4d_core.parallel import thread_count
from imagic4d_core.units import in_pixels

#: Fewest images of a 3D that is looked at.
LEAST = 100
#: A 3D that has this share of its images in common with one looked at before (Jaccard index) is not looked at again.
KNOWN = 0.9
#: A 3D kept stands for a class if it has this share of its images in common with it (Jaccard index): the score to 10 Fourier
#: pixels may put half of the images of a small class into the 3D of the large one.
STANDS = 0.3
#: Most classes of one 3D.
STATES = 6

Members = NDArray[np.bool_]


@dataclass(frozen=True)
class Looked:
    """One 3D that was looked at.

    Attributes
    ----------
    members : ndarray of bool, shape (images,)
    column : int
        Of the pool.
    labels : ndarray, shape (images,), int32
        Stable class of each image, from 1; 0: none.
    """

    members: Members
    column: int
    labels: NDArray[np.int32]

    @property
    def sizes(self) -> list[int]:
        """Images in each class; empty where there is nothing to tell apart."""
        return [int(n) for n in np.bincount(self.labels)[1:]]


@dataclass
class Apart:
    """What was looked at so far, in one run.

    Attributes
    ----------
    pool : Pool
    folder : Path
        For the images with classes.
    seed : int
    looked : list of Looked
    """

    pool: Pool
    folder: Path
    seed: int
    looked: list[Looked] = field(default_factory=list)

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
        sets: list[tuple[Members, int]] = []
        for j, kept in enumerate(decision.kept):
            if not kept.again or kept.images < LEAST or pool.group_of(kept.column) is not None:
                continue  # an image of a symmetric 3D shows several units at once: it has no one state
            members = np.zeros(len(pool.headers), bool)
            members[active[decision.membership == j]] = True
            if all(jaccard(members, old.members) < KNOWN for old in self.looked):
                sets.append((members, kept.column))
        poses = pool.poses(decision)
        first = len(self.looked)
        mine = {
            k: self._classes(poses, sets[k][0], first + k, context) for k in range(comm.rank, len(sets), comm.size)
        }  # fmt: skip
        results = {k: v for part in comm.allgather(mine) for k, v in part.items()}
        divisions = np.zeros((2, len(poses)), np.int32)
        for k, (members, column) in enumerate(sets):
            self.looked.append(Looked(members, column, results[k][0]))
            divisions = np.where(results[k] > 0, results[k] + divisions.max(), divisions)
        if not divisions.any():
            return []
        names = []
        for labels, what in zip(divisions, ("apart", "crossed"), strict=True):
            name = f"{number}-{what}"
            poses.ref3d[:] = labels
            path = str(self.folder / f"{name}.hed")
            if comm.rank == 0:
                replace_poses(pool.images, poses, path, overwrite=True)
            comm.barrier()
            pool.add(name, path, context, told=True)
            names.append(name)
        return names

    def families(self, decision: Decision) -> NDArray[np.int64]:
        """3D that each of the kept ones was told apart from: the first of those that share one; shape (kept,)."""
        family = np.arange(len(decision.kept))
        for old in self.looked:
            mine = list(self._stands(old, decision).values())
            if len(mine) > 1:
                family[np.isin(family, family[mine])] = family[mine].min()
        return family

    def _stands(self, old: Looked, decision: Decision) -> dict[int, int]:
        """Class -> 3D kept that stands for it."""
        labels = old.labels[self.pool.active]
        out: dict[int, int] = {}
        for c in range(1, int(labels.max(initial=0)) + 1):
            shared = [jaccard(labels == c, decision.membership == j) for j in range(len(decision.kept))]
            j = int(np.argmax(shared))
            if shared[j] >= STANDS and j not in out.values():
                out[c] = j
        return out

    def settled(self, decision: Decision) -> Decision:
        """The same 3Ds with the images in them that the classes say."""
        membership, family = decision.membership.copy(), self.families(decision)
        for old in self.looked:
            stands = self._stands(old, decision)
            if len(stands) < 2:
                continue
            labels = old.labels[self.pool.active]
            for c, j in stands.items():
                membership[(labels == c) & (family[membership] == family[j])] = j
        sizes = np.bincount(membership, minlength=len(decision.kept))
        kept = [replace(k, images=int(n)) for k, n in zip(decision.kept, sizes, strict=True)]
        return replace(decision, membership=membership, kept=kept)

    def write_images(
        self, decision: Decision, out: str, context: Context, *, together: bool = False, on_axes: Poses | None = None
    ) -> None:
        """The images with poses and memberships; no states of an earlier life.

        Parameters
        ----------
        decision : Decision
            As `settled` gives it.
        out : path
        context : Context
        together : bool
            3Ds told apart are one again, and the state of each image (word 108) is the number of its own.
        on_axes : Poses, optional
            Where symmetry was looked for, of 3Ds on their axes: these stay as they are, as none of them is told apart.
        """
        family = self.families(decision) if on_axes is None else np.arange(len(decision.kept))
        poses = self.pool.poses(decision) if on_axes is None else on_axes
        index = np.flatnonzero(self.pool.active)
        matrices = poses.matrices()
        several = np.bincount(family, minlength=len(family))[family] > 1
        for old in self.looked:
            for j in set(self._stands(old, decision).values()):
                if several[j]:
                    run, k = self.pool.place(old.column)
                    mine = decision.membership == j
                    matrices[index[mine]], poses.shift[index[mine]] = run.matrix[mine, k], run.shift[mine, k]
        poses.set_matrices(matrices)
        states = np.zeros(len(poses), np.float32)
        if together:
            number = np.unique(family, return_inverse=True)[1].reshape(-1)
            states[index] = np.where(several, np.arange(1, len(family) + 1), 0)[decision.membership]
            poses.ref3d[index] = number[decision.membership] + 1
        if context.comm.rank == 0:
            replace_poses(self.pool.images, poses, out, overwrite=True, words={"CLASSNO": states})
        context.comm.barrier()

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
        out[:, number] = split.told()
        return out
