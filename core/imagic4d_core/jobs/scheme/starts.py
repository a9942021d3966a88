"""Many starts: annealed from other random numbers each, pooled, and the 3Ds in doubt solved again from their own images alone.

In rounds: two starts; then every 3D kept as two from its images alone, which repairs wrong 3Ds and takes mixtures apart, and two
more starts as long as not every 3D was found by another run (in the second round also where fewer are kept than were asked for).
When every 3D was found by another run and a round changed nothing, 3Ds are looked at for states too small or too rare for all
this (`apart`), if there may be more than are kept; it ends when there are none. What a run does depends on the results of the
rounds before, and on nothing else: any number of ranks gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core.competition.deciding import SURE, Decision, others
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import atomic_write_text
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs import runfolder
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.files.selecting import fulfil
from imagic4d_core.jobs.runfolder import Iteration
from imagic4d_core.jobs.scheme.apart import Apart
from imagic4d_core.jobs.scheme.axes import Symmetry
from imagic4d_core.jobs.scheme.mixed import Mixed
from imagic4d_core.jobs.scheme.plan import FEWEST, Settings, start_plan, together_plan
from imagic4d_core.jobs.scheme.pool import Pool, PoolOptions
from imagic4d_core.scores import adjusted_rand_index

#: Starts of each round, and the most there are where their number is not given; most rounds.
EACH, MOST, ROUNDS = 2, 8, 7
#: Two rounds keep the same 3Ds: least adjusted Rand index of their memberships. Rounds without a change that it takes, where as
#: many 3Ds are kept as were asked for; and where there are fewer, as a division must be found twice before it counts.
SAME, QUIET, QUIET_FEWER = 0.97, 1, 2
#: 3Ds of junk that may be kept beside those asked for, at most.
JUNK = 2
#: A 3D is solved again as so many.
PARTS = 2
#: The point group that all 3Ds have, for scripts.
IMPOSED = "work/pool.symmetry"

Entry = Callable[[Iteration, list[Any], list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """One run from random angles: its folder's name, and what it is."""

    name: str
    settings: Settings


@dataclass
class Started:
    """What came of the starts: the pool, what MSA told apart in it, those kept, their symmetry, poses, how each round went."""

    apart: Apart
    decision: Decision
    symmetry: Symmetry
    poses: Poses
    rounds: list[dict[str, Any]]

    @property
    def pool(self) -> Pool:
        """The pool."""
        return self.apart.pool

    def write_images(self, out: str, context: Context, *, together: bool = False) -> None:
        """The images with their poses; 3Ds that were told apart as one, if `together`."""
        on_axes = None if self.symmetry.group == "C1" else self.poses
        self.apart.write_images(self.decision, out, context, together=together, on_axes=on_axes)


def pool_options(s: Settings) -> PoolOptions:
    """How the 3Ds of the starts of a run are compared."""
    return PoolOptions(symmetry=s.symmetry, max_shift=s.max_shift, mask_radius=s.mask_radius, **s.contrast)


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


def run_starts(s: Settings, folder: Path, context: Context, entry: Entry) -> Started:
    """Run the starts of a run whose images lie prepared in its folder, and pool them.

    Parameters
    ----------
    s : Settings
    folder : Path
        Of the run; the starts get folders below ``starts``.
    context : Context
    entry : callable
        Makes the journal's line of an iteration, see `runfolder.loop`.
    """
    pool = Pool(str(folder / "work/prepared.hed"), folder / "work", pool_options(s))
    images = str(folder / "work/prepared.hed")
    rounds: list[dict[str, Any]] = []
    decision: Decision | None = None
    apart, mixed = Apart(pool, folder / "work", s.seed), Mixed(pool, folder / "work", s.seed)
    tried: set[tuple[int, int]] = set()
    done = quiet = 0
    for number in range(1, ROUNDS + 1):
        tasks = [] if decision is None else again_tasks(s, number, decision)
        tasks = [Task(t.name, replace(t.settings, images=images)) for t in tasks]
        if decision is None or not decision.agreed or (number == 2 and decision.particles < s.volumes):
            more = start_tasks(s, number, done)
            done += len(more)
            tasks += [Task(t.name, replace(t.settings, images=str(folder / "work/prepared.hed"))) for t in more]
        if not tasks:
            break
        _side_by_side(tasks, folder, context, entry)
        for task in tasks:
            pool.add(task.name, str(folder / "starts" / task.name / "work/final.hed"), context)
        before, decision = decision, _decided(s, pool)
        names = [t.name for t in tasks]
        if not decision.agreed and (parted := mixed.divide(decision, number, context)):
            decision, names = _decided(s, pool), names + parted
        if not decision.agreed and number > 1:
            # that two sets of different starts settle to the same is evidence as well
            sets = {"together": decision, "others": others(decision, pool.scores())}
            chosen = {f"{number}-{what}": found for what, found in sets.items() if found is not None}
            seeds = {name: (s.seed * 7919 + 1000 * number + 900 + i) % (1 << 31) for i, name in enumerate(chosen)}
            settling = [together_task(s, name, seeds[name], pool, found, context) for name, found in chosen.items()]
            _settle(settling, pool, folder, context, entry)
            decision, names = _decided(s, pool), [*names, *chosen]
        decision = _without_repeats(s, number, decision, tried, pool, folder, context, entry)
        images = str(folder / "work" / f"pool{number}.hed")
        apart.write_images(apart.settled(decision), images, context)
        rounds.append(_described(pool, decision, number, names))
        quiet = quiet + 1 if before is not None and _same(before, decision) else 0
        agreed = decision.agreed and quiet >= (QUIET if decision.particles == s.volumes else QUIET_FEWER)
        given_up = not decision.agreed and done >= (s.starts or MOST) and quiet
        if agreed or given_up or number == ROUNDS:
            before_look = len(apart.looked)
            told = _told_apart(s, apart, decision, number, context)
            rounds[-1]["looked_at"] = [{"images": int(o.members.sum()), "states": o.sizes} for o in apart.looked[before_look:]]
            if told is None:
                break
            decision, names = told
            quiet = 0
            apart.write_images(apart.settled(decision), images, context)
            rounds.append(_described(pool, decision, number, names))
    assert decision is not None
    decision = apart.settled(decision)
    decision, symmetry, poses = pool.find_axes(decision, context)
    started = Started(apart, decision, symmetry, poses, rounds)
    started.write_images(str(folder / "work/i000a.hed"), context, together=True)
    if context.comm.rank == 0:
        atomic_write_text(folder / IMPOSED, f"{symmetry.group}\n", overwrite=True)
    return started


def _decided(s: Settings, pool: Pool) -> Decision:
    """The 3Ds kept: those that gather junk do not count against the number asked for."""
    decision = pool.decide(s.volumes or None)
    for more in range(1, JUNK + 1 if s.volumes else 0):
        if len(decision.kept) - decision.particles < more:
            break
        decision = pool.decide(s.volumes + more)
    return decision


def _settle(tasks: list[tuple[Task, list[int]]], pool: Pool, folder: Path, context: Context, entry: Entry) -> None:
    """Run tasks of `together_task`; their 3Ds join the pool."""
    _side_by_side([task for task, _ in tasks], folder, context, entry)
    for task, origin in tasks:
        pool.add(task.name, str(folder / "starts" / task.name / "work/final.hed"), context, origin=origin)


def _without_repeats(
    s: Settings, number: int, decision: Decision, tried: set[tuple[int, int]], pool: Pool, folder: Path, context: Context,
    entry: Entry,
) -> Decision:  # fmt: skip
    """One 3D in place of any two that it could stand for, if, once settled, the images fit those left as well."""
    while True:
        pairs = [(i, j, c) for i, j, c in pool.for_both(decision) if (decision.columns[i], decision.columns[j]) not in tried]
        if not pairs:
            return decision
        i, j, column = pairs[0]
        tried.add((decision.columns[i], decision.columns[j]))
        fewer = pool.evaluate(sorted({c for k, c in enumerate(decision.columns) if k not in (i, j)} | {column}))
        seed = (s.seed * 7919 + 1000 * number + 950 + len(tried)) % (1 << 31)
        task, origin = together_task(s, f"{number}-fewer{len(tried)}", seed, pool, fewer, context)
        first = len(pool.run_of())
        _settle([(task, origin)], pool, folder, context, entry)
        if len(pool.run_of()) - first < len(fewer.kept):
            continue
        fewer = pool.evaluate(list(range(first, len(pool.run_of()))))
        loss = pool.scores().crossed(decision.columns) - pool.scores().crossed(fewer.columns)
        if loss.mean() <= SURE * loss.std() / np.sqrt(len(loss)):
            why = "one 3D in place of two explains the images as well"
            gone = [(decision.columns[k], why) for k in (i, j) if decision.columns[k] != column]
            decision = replace(fewer, removed=[*decision.removed, *gone], by_number=decision.by_number)


def _described(pool: Pool, decision: Decision, number: int, runs: list[str]) -> dict[str, Any]:
    """A round, for the summary."""
    return {
        "round": number, "runs": runs, "candidates": len(pool.run_of()), "score": round(decision.score, 6),
        "kept": pool.describe(decision),
    }  # fmt: skip


def _told_apart(
    s: Settings, apart: Apart, decision: Decision, number: int, context: Context
) -> tuple[Decision, list[str]] | None:  # fmt: skip
    """The choice with what MSA tells apart, and the names of these runs; None where it is as before, or there is no room."""
    if s.symmetry != "C1" or (s.volumes and decision.particles >= s.volumes):
        return None
    names = apart.look(decision, number, context)
    if not names:
        return None
    new = _decided(s, apart.pool)
    return None if _same(decision, new) else (new, names)


def _same(a: Decision, b: Decision) -> bool:
    """Whether two rounds keep the same 3Ds."""
    return len(a.kept) == len(b.kept) and adjusted_rand_index(a.membership, b.membership) >= SAME


def _side_by_side(tasks: list[Task], folder: Path, context: Context, entry: Entry) -> None:
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
