"""Merge 3Ds that say the same, split those that hold two: the moves that competition alone does not make.

Every move is tried and judged by the cross-validated score: the mean correlation of images with 3Ds that were made without
them. Merging duplicates raises it (fewer, better 3Ds explain images as well), merging true states lowers it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import scratch_folder
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.scheme.angrec.reconstitute import reconstitute
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency

#: 3Ds whose removal is tried before the best of the trials is taken.
TRIALS = 4
#: Standard errors by which the score must rise for a change that was not asked for.
SURE = 3.0
#: Iterations in which a split may show its worth.
SPLIT_ITERATIONS = 5


@dataclass
class Regrouped:
    """What became of the 3Ds."""

    output: str
    before: int
    after: int
    score_before: float
    score_after: float
    events: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        head = (
            f"{self.output}: {self.before} 3Ds became {self.after}; cross-validated score {self.score_before:.4f}, "
            f"then {self.score_after:.4f}"
        )
        return [head, *(f"  {e['what']}: 3D {', '.join(map(str, e['from']))} ({e['why']})" for e in self.events)]


@dataclass
class _State:
    """Memberships and poses, and what one greedy iteration with them gave."""

    poses: Poses
    table: Candidates
    per_image: NDArray[np.float64]

    @property
    def score(self) -> float:
        return float(self.per_image.mean())

    @property
    def alive(self) -> NDArray[np.int64]:
        return np.unique(self.poses.ref3d[self.poses.ref3d > 0]).astype(np.int64)


class _Trial:
    """Runs reconstruction and angular reconstitution once for given memberships; always with the same random numbers."""

    def __init__(self, src: str, folder: Path, settings: dict[str, Any]):
        self.src, self.folder, self.settings = src, folder, settings
        with open_stack(src) as images:
            self.active = images.columns(["ACTIVE"])["ACTIVE"] >= 0
        self.count = 0

    def __call__(self, poses: Poses, seed: int = 0) -> _State:
        s = self.settings
        comm: Comm = s["comm"]
        self.count += 1
        name = str(self.folder / f"trial{self.count}.hed")
        start, anchors = str(self.folder / f"start{self.count}.hed"), str(self.folder / f"anchors{self.count}.hed")
        numbered = poses.copy()
        alive = np.unique(poses.ref3d[poses.ref3d > 0])
        numbered.ref3d[:] = np.where(poses.ref3d > 0, np.searchsorted(alive, poses.ref3d) + 1, 0)
        if comm.rank == 0:
            replace_poses(self.src, numbered, start)
        comm.barrier()
        names = ("symmetry", "mask_radius", "max_frequency", "weigh_ctf", "amplitude_contrast", "comm", "threads")
        work = {k: s[k] for k in names}
        run_seed = s["seed"] + seed
        recon(start, name, folds=s["folds"], leave_out=anchors, wiener=True, hamming=None, seed=run_seed, **work)
        summary, found, table = reconstitute(
            start, anchors=anchors, increment=s["increment"], max_shift=s["max_shift"], seed=run_seed, **work
        )
        comm.barrier()
        if comm.rank == 0:
            for old in self.folder.iterdir():
                old.unlink()
        comm.barrier()
        # back to the caller's numbers
        where = np.asarray(summary.numbers) - 1
        found.ref3d[:] = np.where(found.ref3d > 0, alive[np.maximum(found.ref3d, 1) - 1], 0)
        found.ref3d2[:] = np.where(found.ref3d2 > 0, alive[np.maximum(found.ref3d2, 1) - 1], 0)
        wide = Candidates.empty(len(poses), int(poses.ref3d.max()) + 1, table.samples)
        columns = alive[where]
        for field_name in ("score", "noisy", "matrix", "shift", "mean", "sd", "error"):
            getattr(wide, field_name)[:, columns] = getattr(table, field_name)
        return _State(found, wide, found.ccc3d[self.active])


def _without(state: _State, gone: int) -> Poses:
    """Give the images of a 3D to the next best of the others."""
    poses = state.poses.copy()
    mine = np.flatnonzero(poses.ref3d == gone)
    others = np.array([k for k in state.alive if k != gone])
    best = others[state.table.score[np.ix_(mine, others)].argmax(1)]
    matrices = poses.matrices()
    matrices[mine] = state.table.matrix[mine, best]
    poses.set_matrices(matrices)
    poses.shift[mine] = state.table.shift[mine, best]
    poses.ref3d[mine] = best
    return poses


def _candidates(state: _State) -> list[int]:
    """3Ds in the order in which their removal is tried: least loss to the next best 3D, in all and by image, taken by turns."""
    loss = {}
    for k in state.alive:
        mine = np.flatnonzero(state.poses.ref3d == k)
        others = [j for j in state.alive if j != k]
        score = state.table.score
        loss[int(k)] = (score[mine, k] - score[np.ix_(mine, others)].max(1)).clip(-1, 1)
    total = sorted(loss, key=lambda k: (loss[k].sum(), k))
    mean = sorted(loss, key=lambda k: (loss[k].mean(), k))
    order: list[int] = []
    for a, b in zip(total, mean, strict=True):
        order += [k for k in (a, b) if k not in order]
    return order


def _gain(new: _State, old: _State) -> tuple[float, float]:
    """Mean change of the cross-validated score of an image, and its standard error."""
    d = new.per_image - old.per_image
    return float(d.mean()), float(d.std() / np.sqrt(len(d)))


def regroup(
    src: str,
    dst: str,
    *,
    volumes: int,
    increment: float = 15.0,
    symmetry: str = "C1",
    max_shift: float = 0.4,
    max_frequency: Frequency | None = None,
    mask_radius: float | None = None,
    folds: int = 4,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    split: bool = True,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Regrouped:
    """Bring images with 3D memberships down to a number of 3Ds, and merge what is still double.

    Parameters
    ----------
    src, dst : path
        Images with poses and memberships; the same with new ones in their headers.
    volumes : int
        3Ds are removed one by one until so many are left. Then those whose removal raises the cross-validated score go
        as well: they repeat others.
    increment, symmetry, max_shift, max_frequency, mask_radius, folds, weigh_ctf, amplitude_contrast, seed
        As in `jobs.scheme.angrec.reconstitute` and `jobs.scheme.recon.reconstruct`.
    split : bool
        If fewer than `volumes` are left, try whether a 3D falls into two.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_output(dst, overwrite)
    settings = {
        "increment": increment, "symmetry": symmetry, "max_shift": max_shift, "mask_radius": mask_radius, "folds": folds,
        "max_frequency": max_frequency or Frequency(0.33), "seed": seed, "comm": comm, "threads": threads,
        "weigh_ctf": weigh_ctf, "amplitude_contrast": amplitude_contrast,
    }  # fmt: skip
    with scratch_folder(dst, comm) as folder:
        trial = _Trial(src, folder, settings)
        with open_stack(src) as images:
            poses = Poses.from_headers(images.columns(POSE_WORDS))
        state = trial(poses)
        events: list[dict[str, Any]] = []
        before, first_score = len(state.alive), state.score
        total = max(1, before - volumes + 1)
        while len(state.alive) > 1:
            trials = [(trial(_without(state, k)), k) for k in _candidates(state)[:TRIALS]]
            new, k = max(trials, key=lambda t: t[0].score)
            new = trial(new.poses, seed=1)
            why = f"{len(state.alive)} are more than {volumes}, and it is missed least"
            if len(state.alive) <= volumes:
                # scores rise a little with every iteration, so a trial is compared with as many iterations without a change
                base = trial(trial(state.poses).poses, seed=1)
                gain, error = _gain(new, base)
                if gain <= SURE * error:
                    state = base
                    break
                why = f"cross-validated score changes by {gain:+.5f}"
            events.append({"what": "merge", "from": [k], "to": [], "why": why})
            state = new
            if progress is not None:
                progress(min(len(events), total), total)
        if split and len(state.alive) < volumes:
            state, more = _split(trial, state, volumes, seed)
            events += more
        alive = state.alive
        final = state.poses
        final.ref3d[:] = np.where(final.ref3d > 0, np.searchsorted(alive, final.ref3d) + 1, 0)
        final.ref3d2[:] = np.where(np.isin(final.ref3d2, alive), np.searchsorted(alive, final.ref3d2) + 1, 0)
        if comm.rank == 0:
            replace_poses(src, final, dst, overwrite=overwrite)
        comm.barrier()
    return Regrouped(os.fspath(dst), before, len(alive), first_score, state.score, events)


def _split(trial: _Trial, state: _State, volumes: int, seed: int) -> tuple[_State, list[dict[str, Any]]]:
    """Deal the images of a 3D at random to two, let all compete, keep it if the cross-validated score rises clearly."""
    events: list[dict[str, Any]] = []
    tried: set[int] = set()
    while len(state.alive) < volumes:
        sizes = {int(k): int((state.poses.ref3d == k).sum()) for k in state.alive}
        order = [k for k in sorted(sizes, key=lambda k: (-sizes[k], k)) if k not in tried and sizes[k] >= 16]
        if not order:
            break
        k = order[0]
        tried.add(k)
        poses = state.poses.copy()
        mine = np.flatnonzero(poses.ref3d == k)
        half = rng_for(seed, "regroup/split", k).permutation(len(mine)) < len(mine) // 2
        new_number = int(poses.ref3d.max()) + 1
        poses.ref3d[mine[half]] = new_number
        new = state
        for i in range(SPLIT_ITERATIONS):
            new = trial(poses, seed=0 if i == SPLIT_ITERATIONS - 1 else i + 1)
            poses = new.poses
            if len(np.unique(poses.ref3d[poses.ref3d > 0])) <= len(state.alive):
                break
        gain, error = _gain(new, state)
        if len(new.alive) > len(state.alive) and gain > SURE * error:
            events.append(
                {"what": "split", "from": [k], "to": [k, new_number], "why": f"cross-validated score changes by {gain:+.5f}"}
            )
            state = new
            tried = set()
    return state, events
