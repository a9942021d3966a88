"""Starts from random angles, the like of them from the images of one 3D, and 3Ds that settle together: runs that join a pool.

Each has a folder of its own with a journal. They run side by side on groups of ranks; what a run does depends on its settings and
on nothing else, so that any number of ranks gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core.competition.deciding import Decision
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs import runfolder
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.files.selecting import fulfil
from imagic4d_core.jobs.runfolder import Iteration
from imagic4d_core.jobs.scheme.plan import FEWEST, Settings, start_plan, together_plan
from imagic4d_core.jobs.scheme.pool import Pool

#: Starts of each round, and the most there are where their number is not given.
EACH, MOST = 2, 8
#: A 3D is solved again as so many.
PARTS = 2

Entry = Callable[[Iteration, list[Any], list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """One run from random angles: its folder's name, and what it is."""

    name: str
    settings: Settings


def start_tasks(s: Settings, number: int, done: int) -> list[Task]:
    """The starts of a round (from 1), of which there were so many: a given number all at once."""
    return [
        Task(f"{number}-start{i + 1}", replace(s, images="", as_prepared=True, seed=(s.seed * 7919 + i + 1) % (1 << 31), starts=1,
                                               stop_after="anneal", symmetry="C1"))
        for i in range(done, s.starts or min(MOST, done + EACH))
    ]  # fmt: skip


def again_tasks(s: Settings, number: int, decision: Decision) -> list[Task]:
    """Every 3D kept, from its images alone, as `PARTS`."""
    out = []
    for j, kept in enumerate(decision.kept):
        if kept.images < 2 * FEWEST * PARTS or kept.like_junk:
            continue
        seed = (s.seed * 7919 + 1000 * number + j) % (1 << 31)
        out.append(
            Task(f"{number}-again{j + 1}", replace(
                s, images="", as_prepared=True, where=f"REF3D == {j + 1}", volumes=PARTS, count=kept.images, seed=seed, starts=1,
                stop_after="anneal", symmetry="C1",
            ))
        )  # fmt: skip
    return out


def together_task(s: Settings, name: str, seed: int, pool: Pool, decision: Decision, context: Context) -> tuple[Task, list[int]]:
    """3Ds of the pool in competition with one another, and the runs they are from.

    In a pool every 3D is as its own start left it. Poses and memberships that settle among those that belong together are better,
    and so are the 3Ds.
    """
    images = str(pool.folder / f"{name}.hed")
    pool.write_images(pool.poses(decision), images, context)
    settings = replace(
        s, images=images, as_prepared=True, start="header", volumes=len(decision.kept), where="", seed=seed, starts=1,
        stop_after="anneal", symmetry="C1", min_images=1,
    )  # fmt: skip
    return Task(name, settings), [int(pool.run_of()[c]) for c in decision.columns]


def take_prepared(s: Settings, folder: Path, context: Context) -> None:
    """Prepared images for a run: densities linked, shifts kept, those that do not take part set inactive."""
    out = folder / "work" / "prepared.hed"
    if context.comm.rank == 0:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open_stack(s.images) as images:
            headers = images.columns((*POSE_WORDS, "ACTIVE"))
            part = fulfil(images, np.arange(images.n_images), s.where) if s.where else np.ones(images.n_images, bool)
        known = Poses.from_headers(headers)
        poses = known if s.start == "header" else Poses.blank(len(headers))
        poses.shift[:] = known.shift
        active = np.where(part, headers["ACTIVE"], -1)
        replace_poses(s.images, poses, out, overwrite=True, words={"ACTIVE": active})
    context.comm.barrier()


def side_by_side(tasks: list[Task], folder: Path, context: Context, entry: Entry) -> None:
    """Run tasks on groups of ranks, one group for each as far as there are so many."""
    comm = context.comm
    groups = max(1, min(comm.size, len(tasks)))
    mine = context.among(comm.split(groups))
    for i in range(comm.rank % groups, len(tasks), groups):
        anneal(tasks[i].settings, folder / "starts" / tasks[i].name, mine, entry)
        if context.progress is not None:
            context.progress(i + 1, len(tasks))
    comm.barrier()


def anneal(s: Settings, folder: Path, context: Context, entry: Entry) -> list[dict[str, Any]]:
    """One start in a folder of its own, journal and all; work/final.hed has the images with their poses."""
    work = folder / "work"
    done = work / "final.hed"
    if not runfolder.read_journal(folder):
        take_prepared(s, folder, context)
    journal, _, _ = runfolder.loop(
        start_plan(s) if s.start == "random" else together_plan(s), folder, entry=entry, keep=["prepared", "final"],
        total=s.annealing + 1, progress=context.progress, **context.parallel,
    )  # fmt: skip
    if context.comm.rank == 0 and done.exists():
        runfolder.clean(folder, keep={"prepared", "final"})
    context.comm.barrier()
    return journal
