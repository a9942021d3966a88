"""Many starts in rounds, until they agree: what the 3Ds of a run are made of, and the evidence for them.

Round by round: two starts; then every 3D kept as two from its images alone, which repairs wrong 3Ds and takes mixtures apart, and
two more starts as long as not every 3D was found by another run (in the second round also where fewer are kept than were asked
for). As long as 3Ds are in doubt, MSA looks for mixtures among them (`mixed`), and those kept, and their likes of other starts,
settle among themselves. Two 3Ds that one could stand for are tried as one. When every 3D was found by another run and a round
changed nothing, 3Ds are looked at for states too small or too rare for all this (`apart`), if there may be more than are kept; it
ends when there are none.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from imagic4d_core.competition.deciding import CLEAR, SURE, Decision, others
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import atomic_write_text
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.scheme.apart import Apart
from imagic4d_core.jobs.scheme.axes import Symmetry
from imagic4d_core.jobs.scheme.mixed import Mixed
from imagic4d_core.jobs.scheme.plan import Settings
from imagic4d_core.jobs.scheme.pool import Pool, PoolOptions
from imagic4d_core.jobs.scheme.starts import MOST, Entry, Task, again_tasks, side_by_side, start_tasks, together_task
from imagic4d_core.scores import adjusted_rand_index

#: Most rounds.
ROUNDS = 7
#: Two rounds keep the same 3Ds: least adjusted Rand index of their memberships. Rounds without a change that it takes, where as
#: many 3Ds are kept as were asked for; and where there are fewer, as a division must be found twice before it counts.
SAME, QUIET, QUIET_FEWER = 0.97, 1, 2
#: 3Ds of junk that may be kept beside those asked for, at most.
JUNK = 2
#: The point group that all 3Ds have, for scripts.
IMPOSED = "work/pool.symmetry"


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
        on_axes = self.poses if any(a.laid for a in self.symmetry.axes) else None
        self.apart.write_images(self.decision, out, context, together=together, on_axes=on_axes)


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
    options = PoolOptions(symmetry=s.symmetry, max_shift=s.max_shift, mask_radius=s.mask_radius, **s.contrast)
    pool = Pool(str(folder / "work/prepared.hed"), folder / "work", options)
    rounds = _Rounds(s, folder, context, entry, pool, Apart(pool, folder / "work", s.seed), Mixed(pool, folder / "work", s.seed))
    decision, symmetry, poses = pool.find_axes(rounds.run(), context)
    started = Started(rounds.apart, decision, symmetry, poses, rounds.log)
    started.write_images(str(folder / "work/i000a.hed"), context, together=True)
    if context.comm.rank == 0:
        atomic_write_text(folder / IMPOSED, f"{symmetry.group}\n", overwrite=True)
    return started


@dataclass
class _Rounds:
    """What the rounds of one run share.

    Attributes
    ----------
    done : int
        Random starts so far.
    tried : dict of (int, int) to int or None
        Pairs of columns that were tried as one, and the column of that one where it was as good.
    log : list of dict
        The rounds, for the summary.
    """

    s: Settings
    folder: Path
    context: Context
    entry: Entry
    pool: Pool
    apart: Apart
    mixed: Mixed
    done: int = 0
    tried: dict[tuple[int, int], int | None] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> Decision:
        """All rounds; the 3Ds kept at the end."""
        decision: Decision | None = None
        images, quiet = self.pool.images, 0
        for number in range(1, ROUNDS + 1):
            tasks = self._tasks(number, decision, images)
            if not tasks:
                break
            before = decision
            decision, names = self._round(number, tasks)
            images = self._write(number, decision, names)
            quiet = quiet + 1 if before is not None and _same(before, decision) else 0
            agreed = decision.agreed and quiet >= (QUIET if decision.particles == self.s.volumes else QUIET_FEWER)
            given_up = not decision.agreed and self.done >= (self.s.starts or MOST) and quiet
            if agreed or given_up or number == ROUNDS:
                told = self._told_apart(number, decision)
                if told is None:
                    break
                (decision, names), quiet = told, 0
                images = self._write(number, decision, names)
        assert decision is not None
        return self.apart.settled(decision)

    def _tasks(self, number: int, decision: Decision | None, images: str) -> list[Task]:
        """What runs in a round: 3Ds kept, as two from their images alone, and starts."""
        s = self.s
        tasks = [] if decision is None else again_tasks(s, number, decision)
        tasks = [Task(t.name, replace(t.settings, images=images)) for t in tasks]
        if decision is None or not decision.agreed or (number == 2 and decision.particles < s.volumes):
            more = start_tasks(s, number, self.done)
            self.done += len(more)
            tasks += [Task(t.name, replace(t.settings, images=self.pool.images)) for t in more]
        return tasks

    def _round(self, number: int, tasks: list[Task]) -> tuple[Decision, list[str]]:
        """The 3Ds kept after a round, and the names of the runs that joined the pool."""
        self._join([(task, []) for task in tasks])
        decision, names = self._decided(), [t.name for t in tasks]
        if not decision.agreed and (parted := self.mixed.divide(decision, number, self.context)):
            decision, names = self._decided(), names + parted
        if not decision.agreed and number > 1:
            # that two sets of different starts settle to the same is evidence as well
            sets = {"together": decision, "others": others(decision, self.pool.scores())}
            chosen = {f"{number}-{what}": found for what, found in sets.items() if found is not None}
            self._join([self._together(n, 1000 * number + 900 + i, d) for i, (n, d) in enumerate(chosen.items())])
            decision, names = self._decided(), [*names, *chosen]
        return self._without_repeats(number, decision), names

    def _decided(self) -> Decision:
        """The 3Ds kept: those that gather junk do not count against the number asked for."""
        wanted = self.s.volumes
        decision = self.pool.decide(wanted or None)
        for more in range(1, JUNK + 1 if wanted else 0):
            if len(decision.kept) - decision.particles < more:
                break
            decision = self.pool.decide(wanted + more)
        return decision

    def _together(self, name: str, number: int, decision: Decision) -> tuple[Task, list[int]]:
        return together_task(self.s, name, (self.s.seed * 7919 + number) % (1 << 31), self.pool, decision, self.context)

    def _join(self, tasks: list[tuple[Task, list[int]]]) -> None:
        """Run tasks; their 3Ds, with the runs that their poses are from, join the pool."""
        side_by_side([task for task, _ in tasks], self.folder, self.context, self.entry)
        for task, origin in tasks:
            self.pool.add(task.name, str(self.folder / "starts" / task.name / "work/final.hed"), self.context, origin=origin)

    def _without_repeats(self, number: int, decision: Decision) -> Decision:
        """One 3D in place of any two that it could stand for, if that is as good.

        It is if, once all have settled, the images fit those left as well. Averages fit two copies of one 3D somewhat better, as
        these make up for wrong poses: unless the score falls clearly, images that show no classes in one 3D's poses are of one.
        """
        pool, why = self.pool, "one 3D in place of two explains the images as well"
        while True:
            columns = decision.columns
            known = next((p for p, one in self.tried.items() if one is not None and set(p) <= set(columns)), None)
            if known is not None:
                new = pool.evaluate(sorted({c for c in columns if c not in known} | {cast(int, self.tried[known])}))
                gone = [(c, why) for c in known if c not in new.columns]
                decision = replace(new, removed=[*decision.removed, *gone], by_number=decision.by_number)
                continue
            pairs = [(i, j, c) for i, j, c in pool.for_both(decision) if (columns[i], columns[j]) not in self.tried]
            if not pairs:
                return decision
            i, j, column = pairs[0]
            self.tried[columns[i], columns[j]] = self._one_for_two(number, decision, i, j, column)

    def _one_for_two(self, number: int, decision: Decision, i: int, j: int, column: int) -> int | None:
        """The column of the 3D that takes the place of two of those kept, once all have settled; None where it is not as good."""
        pool, columns = self.pool, decision.columns
        left = sorted({c for k, c in enumerate(columns) if k not in (i, j)} | {column})
        first, tried = len(pool.run_of()), len(self.tried) + 1
        self._join([self._together(f"{number}-fewer{tried}", 1000 * number + 950 + tried, pool.evaluate(left))])
        settled = list(range(first, len(pool.run_of())))
        if len(settled) < len(left):
            return None
        loss = pool.scores().crossed(columns) - pool.scores().crossed(settled)
        sure = loss.mean() / max(float(loss.std()) / np.sqrt(len(loss)), 1e-12)
        one = first + left.index(column)
        same = sure <= SURE or (sure <= CLEAR and not self.mixed.differ(decision, i, j, one, self.context))
        return one if same else None

    def _told_apart(self, number: int, decision: Decision) -> tuple[Decision, list[str]] | None:
        """The choice with what MSA tells apart, and the names of these runs; None where it is as before, or there is no room."""
        looked, names = len(self.apart.looked), []
        if self.s.symmetry == "C1" and not (self.s.volumes and decision.particles >= self.s.volumes):
            names = self.apart.look(decision, number, self.context)
        self.log[-1]["looked_at"] = [{"images": int(o.members.sum()), "states": o.sizes} for o in self.apart.looked[looked:]]
        new = self._decided() if names else decision
        return None if _same(decision, new) else (new, names)

    def _write(self, number: int, decision: Decision, names: list[str]) -> str:
        """Write the images as they are divided now, and note the round; the file."""
        images = str(self.folder / "work" / f"pool{number}.hed")
        self.apart.write_images(self.apart.settled(decision), images, self.context)
        self.log.append({
            "round": number, "runs": names, "candidates": len(self.pool.run_of()), "score": round(decision.score, 6),
            "kept": self.pool.describe(decision),
        })  # fmt: skip
        return images


def _same(a: Decision, b: Decision) -> bool:
    """Whether two rounds keep the same 3Ds."""
    return len(a.kept) == len(b.kept) and adjusted_rand_index(a.membership, b.membership) >= SAME
