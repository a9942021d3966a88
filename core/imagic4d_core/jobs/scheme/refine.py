"""The 4D scheme to convergence: starts, pool and polish in a folder that keeps a journal and goes on where it was stopped."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import relaxed
from imagic4d_core.jobs import runfolder
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.runfolder import Iteration
from imagic4d_core.jobs.scheme.angrec.results import AngrecSummary
from imagic4d_core.jobs.scheme.chance import Chance
from imagic4d_core.jobs.scheme.moves import moves
from imagic4d_core.jobs.scheme.neighbours import warn_of_symmetry
from imagic4d_core.jobs.scheme.plan import Settings, finish, finish_start, plan, prepared, settings
from imagic4d_core.jobs.scheme.recon.reconstruct import Recon
from imagic4d_core.jobs.scheme.rounds import Started, run_starts
from imagic4d_core.jobs.scheme.script import script
from imagic4d_core.jobs.scheme.starts import anneal, take_prepared
from imagic4d_core.jobs.scheme.steps import ChanceStep
from imagic4d_core.jobs.scheme.summary import describe_start, summarise
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.units import doubtful_resolution

__all__ = ["Refined", "refine", "script", "settings"]


@dataclass
class Refined:
    """Summary of a run; `document` is summary.json."""

    rundir: str
    document: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"rundir": self.rundir, **self.document}

    def lines(self) -> list[str]:
        """For people."""
        d = self.document
        if d["stopped_after"]:
            rows = [f"  3D {v['number']}: {v['images']} images" for v in d["volumes"]]
            return [f"{self.rundir}: {d['images']} images, {len(rows)} 3Ds, stopped after {d['stopped_after']}", *rows]
        out = [f"{self.rundir}: {d['images']} images, {len(d['volumes'])} 3Ds after {d['iterations']} iterations"]
        for v in d["volumes"]:
            res = f", {v['resolution_half_bit_A']:.1f} A" if v["resolution_half_bit_A"] else ""
            out.append(
                f"  3D {v['number']}: {v['verdict']}; {v['images']} images ({100 * v['fraction']:.1f} %), "
                f"half-bit at {v['half_bit']:.2f} Nyquist{res}, mean correlation {v['ccc']:.3f}"
            )
            out.append(f"    {v['why']}")
            if v["views"]["warning"]:
                out.append(f"    views: {v['views']['warning']}")
            if v["symmetry"] is not None:
                out.append(f"    symmetry {v['symmetry']['group']}: {v['symmetry']['why']}")
        out += doubtful_resolution(d["pixel_size"]) if d["volumes"] else []
        if d["unassigned"]["images"]:
            out.append(f"  in no 3D: {d['unassigned']['images']} images; {d['unassigned']['why']}")
        out.append("converged" if d["converged"] else "stopped at the last iteration, not converged")
        out += [d["symmetry"]["statement"]] if d["symmetry"]["statement"] else []
        return [*out, d["statement"]]


def refine(
    src: str,
    rundir: str,
    *,
    volumes: int,
    iterations: int = 30,
    symmetry: str = "C1",
    start: str = "random",
    starts: int = 0,
    stop_after: str = "",
    as_prepared: bool = False,
    where: str | None = None,
    min_images: int = 0,
    max_resolution: str | None = None,
    mask_radius: float | None = None,
    max_shift: float | None = None,
    leave_out: bool = True,
    over: int = 2,
    invert: bool = False,
    centre: bool = True,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    resume: bool = False,
    report: bool = True,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Refined:
    """Run the 4D scheme.

    Parameters
    ----------
    src : path
        Images with unknown orientation and membership.
    rundir : path
        Folder of the run, made new.
    volumes : int
        3Ds wanted, at most; 0: as many as are found to be needed.
    iterations : int
        Most iterations in all.
    symmetry : str
        Point group of all 3Ds, or "AUTO". From random starts it is looked for in the 3Ds kept, which were found without, and
        imposed where they have it. Poses in headers and given 3Ds are taken to have it, on the axes of `geometry.symmetry`.
    start : {"random", "header"} or path
        Random memberships and angles; those in the headers; or 3Ds to start from.
    starts : int
        Random starts; 0: two, and more as long as they do not agree.
    stop_after : {"", "anneal", "pool"}
        "anneal": one start, for `pool`; "pool": starts and pool, without polish.
    as_prepared : bool
        The images come from `prepare`: densities and shifts are taken as they are.
    where : str, optional
        Only images whose header words fulfil this take part.
    min_images : int
        3Ds of fewer images are killed (0: a 25th of an equal share, at least 4).
    max_resolution : str, optional
        Limit of the local refinement, ``"12A"`` or a fraction of Nyquist (default 0.65).
    mask_radius : float, optional
        Spherical mask, pixels (below 1: fraction of half the box; default 0.85).
    max_shift : float, optional
        Largest shift, as `mask_radius` (default 0.3).
    leave_out : bool
        Score images against 3Ds made without them.
    over : int
        Annealing starts with so many times the 3Ds wanted.
    invert, centre : bool
        See `jobs.images.prepare`.
    weigh_ctf, amplitude_contrast
        See `jobs.scheme.recon.reconstruct` and `jobs.scheme.angrec.reconstitute`.
    report : bool
        Write report.html and report.png.
    resume : bool
        Go on with a run that was stopped: its own settings count.
    seed : int

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    folder = Path(rundir)
    warn_of_symmetry(src, symmetry, comm)

    def given() -> Settings:
        return settings(
            src, volumes=volumes, iterations=iterations, symmetry=symmetry, start=start, starts=starts, stop_after=stop_after,
            as_prepared=as_prepared, where=where, min_images=min_images,
            max_resolution=max_resolution, mask_radius=mask_radius, max_shift=max_shift, leave_out=leave_out, over=over,
            invert=invert, centre=centre, weigh_ctf=weigh_ctf, amplitude_contrast=amplitude_contrast, seed=seed,
        )  # fmt: skip

    s = runfolder.opened(folder, comm, resume, Settings, given, overwrite, "refine", src)
    with runfolder.at_epoch(s.epoch), runfolder.removed_if_useless(folder, resume):
        return _run(s, folder, Context(comm, threads, True, progress), report)


def _run(s: Settings, folder: Path, context: Context, pictures: bool) -> Refined:
    comm = context.comm

    def entry(it: Iteration, results: list[Any], journal: list[dict[str, Any]]) -> dict[str, Any]:
        line = _entry(it, results, len(journal))
        if it.after:
            a, b = (str(folder / f"work/{n}") for n in (it.after, it.name))
            line["converged"] = moves(f"{a}.hed", f"{b}.hed", halves_before=f"{a}h.hed", halves_after=f"{b}h.hed").converged
        return line

    started: Started | None = None
    if not runfolder.read_journal(folder):
        if s.as_prepared:
            take_prepared(s, folder, context)
        elif s.start == "random":
            done = prepared(s).run(folder, **context.parallel)
            if done.constant >= done.images:
                raise InputError(f"{s.shown()['images']}: every image is constant: there is nothing to align")
    if s.stop_after == "anneal":
        s = replace(s, symmetry="C1")  # a random start is never made symmetric: see `axes`
        anneal(s, folder, context, entry)
        for step in finish_start(s):
            step.run(folder, **context.parallel)
        return Refined(str(folder), comm.bcast(describe_start(s, folder) if comm.rank == 0 else None))
    if s.start == "random":
        with relaxed():
            started = run_starts(s, folder, context, entry)
        s = replace(s, symmetry=started.symmetry.group)  # what was asked for stands in started.symmetry
    if started is not None and s.stop_after:
        started.write_images(str(folder / "work/final.hed"), context)
        for step in finish_start(s):
            step.run(folder, **context.parallel)
        return Refined(str(folder), comm.bcast(describe_start(s, folder, started) if comm.rank == 0 else None))
    journal, last, converged = runfolder.loop(
        plan(s), folder, entry=entry, keep=["prepared", "pool", "i000a"], total=s.iterations + 3, progress=context.progress,
        **context.parallel,
    )  # fmt: skip
    results = []
    for step in finish(s, last):
        with relaxed() if isinstance(step, ChanceStep) else nullcontext():
            results.append(step.run(folder, **context.parallel))
    verdict = next(r for r in results if isinstance(r, Chance))
    document = None
    if comm.rank == 0:
        document = summarise(s, folder, journal, converged, verdict, started)
        if started is not None:
            runfolder.clean(folder, keep={"prepared", "final", last, "pool"})
    if pictures:
        from imagic4d_core.jobs.report.reporting import report

        report(folder, overwrite=True, comm=comm)
    return Refined(str(folder), comm.bcast(document))


def _entry(it: Iteration, results: list[Any], number: int) -> dict[str, Any]:
    """The journal's line of an iteration."""
    made = next(r for r in results if isinstance(r, Recon))
    found = next((r for r in results if isinstance(r, AngrecSummary)), None)
    gone = [int(k) for k, new in made.renumbered.items() if not new]
    kills = [{"iteration": number, "what": "kill", "from": gone, "to": [], "why": "too few images"}] if gone else []
    half = made.box / 2
    return {
        "iteration": number, "name": it.name, "stage": it.stage, "max_frequency": round(it.facts.get("shells", 0) / half, 4),
        "increment": it.facts.get("increment", 0), "noise": it.facts.get("noise", 0), "sizes": made.sizes,
        "moved": found.moved if found else (1.0 if it.stage == "start" else 0.0),
        "euler_change": found.euler_change if found else 0.0, "score": found.score if found else 0.0,
        "fsc05": [next((i for i, f in enumerate(c) if f < 0.5), len(c)) / half for c in made.fsc], "events": kills,
    }  # fmt: skip
