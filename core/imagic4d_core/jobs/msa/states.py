"""3Ds in which images differ: states of their images, by MSA in three dimensions, in the headers."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import check_whole, stream_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.msa.splitting import LEAST, split_images, states_again
from imagic4d_core.parallel import SERIAL, Comm, thread_count
from imagic4d_core.recon.assignment import by_state


@dataclass
class States:
    """States of the images of each 3D.

    Attributes
    ----------
    output : str
    images : int
    known : bool
        Only 3Ds whose states were known were looked at.
    sizes : dict of int to list of int
        3D -> images in each of its states; of all 3Ds that were looked at, empty where nothing is to be told apart.
    moved : int
        Images with another state than before.
    """

    output: str
    images: int
    known: bool
    sizes: dict[int, list[int]]
    moved: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        several = sum(len(s) > 1 for s in self.sizes.values())
        out = [f"{self.output}: {len(self.sizes)} 3Ds looked at, {several} of several states"]
        for k, sizes in self.sizes.items():
            said = ", ".join(map(str, sizes)) + " images" if len(sizes) > 1 else "nothing to tell apart"
            out.append(f"  3D {k}: {said}")
        return out


def msa_states(
    src: str | os.PathLike, out: str | os.PathLike | None = None, *, known: bool = False, states: int = 6,
    mask_radius: float | None = None, weigh_ctf: bool = False, amplitude_contrast: float = 0.1, seed: int = 0,
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> States:  # fmt: skip
    """Tell the states of the images of each 3D apart, and write their numbers into word 108.

    Parameters
    ----------
    src : path
        Images with poses, shifts and memberships (word 51).
    out : path, optional
        Images with states (the densities are linked); without it the headers of `src` are replaced.
    known : bool
        Only of 3Ds whose images have two or more states in word 108: these anew with the poses of now, as many as there are.
        Otherwise: of every 3D, classes that another random start and either half of its images give too.
    states : int
        Most states of a 3D.
    mask_radius : float, optional
        Of the sphere that holds the object, pixels or (below 1) a fraction of half the box.
    weigh_ctf, amplitude_contrast
        As of `recon`.
    seed, overwrite, comm, threads, progress
        As every job; ranks share the 3Ds.

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    with open_stack(src, what="images") as stack:
        check_whole(stack)
        if out is not None:
            check_output(out, overwrite)
        headers = stack.headers()
        poses = Poses.from_headers(headers)
        active = headers["ACTIVE"] >= 0
        before = np.maximum(headers["CLASSNO"], 0).astype(np.int64)
        division = by_state(poses.ref3d, before).astype(np.int64)
        numbers = [int(k) for k in np.unique(poses.ref3d[active & (poses.ref3d > 0)])]
        if not numbers:
            raise InputError(f"{stack.path}: no image has a 3D membership (word 51); run refine or angrec first")
        sets = {k: active & (poses.ref3d == k) for k in numbers}
        if known:
            sets = {k: m for k, m in sets.items() if len(np.unique(division[m])) > 1}
        sets = {k: m for k, m in sets.items() if int(m.sum()) >= LEAST}
        settings: dict[str, Any] = {
            "mask_radius": mask_radius, "contrast": amplitude_contrast if weigh_ctf else None, "threads": thread_count(threads),
        }  # fmt: skip

        def told(k: int) -> NDArray[np.int64]:
            own = (seed * 7919 + k) % (1 << 31)
            if known:
                return states_again(src, poses, sets[k], division, seed=own, **settings)[sets[k]]
            split, number = split_images(src, poses, sets[k], states=states, seed=own, glance=True, **settings)
            found = np.zeros(len(poses), np.int64)
            found[number] = split.told()[0]
            return found[sets[k]]

        mine = {}
        for k in list(sets)[comm.rank :: comm.size]:
            mine[k] = told(k)
            if progress is not None:
                progress(len(mine), len(sets))
        after = np.zeros_like(before)
        sizes: dict[int, list[int]] = {}
        for k, found in sorted((k, v) for part in comm.allgather(mine) for k, v in part.items()):
            top = 0 if known else int(after.max(initial=0))
            after[sets[k]] = np.where(found > 0, found + top, 0)
            count = np.bincount(found)[1:]
            sizes[k] = [int(n) for n in count[count > 0]]

        def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
            records = stack.headers(start, stop)
            records["CLASSNO"] = after[start:stop]
            return records, stack.extra_headers(start, stop)

        if comm.rank == 0:
            stream_headers(stack, window, out, overwrite, stack.nblocks)
        comm.barrier()
    return States(os.fspath(out or src), len(poses), known, sizes, int((after != before).sum()))
