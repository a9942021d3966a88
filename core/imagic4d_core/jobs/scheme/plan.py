"""The plan of the 4D scheme: which commands run with which options, as steps to call and as a script to print.

Stages: *prepare* (grey scale, centre), *start* (random memberships and angles), *anneal* (competition of more 3Ds than wanted at
low resolution, with noise lowered to zero), all this several times from different random numbers; *pool* (the 3Ds of all starts
compete, and those are kept that together explain the images best, see `jobs.scheme.starts`), *polish* (local refinement,
resolution rising, to convergence), *finish* (volumes, half sets, re-projections). Runs that start from poses or 3Ds have *settle*
(competition at low resolution until memberships are stable) in place of starts and pool.
"""

import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import canonical
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.files.selecting import fulfil
from imagic4d_core.jobs.msa.splitting import RADIUS
from imagic4d_core.jobs.runfolder import Iteration, Plan, Step, epoch_now, shown_name
from imagic4d_core.jobs.scheme.axes import AUTO
from imagic4d_core.jobs.scheme.steps import AngrecStep, ChanceStep, PrepareStep, ReconStep, StatesStep, TakeoverStep
from imagic4d_core.units import Frequency, as_fraction

#: Noise at the start and at the end of annealing, in standard deviations of the scores; share of the iterations with noise.
NOISE, NOISE_END, NOISE_SHARE = 0.5, 0.03, 0.8
#: Handicap of crowded views in annealing, as a multiple of the noise.
SPREAD = 3.0
#: Frequencies of annealing, in Fourier pixels of the box: first, last.
SHELLS = (5.0, 10.0)
#: Trial shifts in annealing, pixels around the present one.
REACH = 3.0
#: Highest frequency of polishing, fraction of Nyquist, unless --max-resolution says otherwise.
POLISH_LIMIT = 0.65
MASK = 0.85
#: Trial shifts of polishing's second iteration go so far: pixels, and fraction of half the box where poses were taken over or
#: found from given 3Ds (class averages may have been caught farther off than annealing leaves images).
AROUND, AROUND_TAKEN = 5.0, 0.25
#: Most iterations of settling; iterations in which 3Ds chosen from a pool compete before they join it.
SETTLE = 10
TOGETHER = 8
#: Annealing starts with more 3Ds than wanted only if each gets so many images.
FEWEST = 8
#: 3Ds with which annealing starts where their number is to be found.
UNKNOWN = 6


@dataclass
class Settings:
    """What a run is: everything that decides its result. Kept in RUNDIR/run.json.

    `volumes` 0: their number is to be found; `symmetry`: what is looked for after random starts (AUTO: any group), else the
    group of all 3Ds; `starts` 0: as many as it takes; `stop_after` "", "anneal" or "pool";
    `as_prepared`: the images come from `prepare`; `where`: a condition on header words, others take no part.
    """

    images: str
    volumes: int
    iterations: int
    symmetry: str
    start: str
    starts: int
    stop_after: str
    as_prepared: bool
    where: str
    min_images: int
    max_resolution: str
    seed: int
    mask_radius: float
    max_shift: float
    leave_out: bool
    over: int
    invert: bool
    centre: bool
    weigh_ctf: bool
    amplitude_contrast: float
    box: int
    count: int
    pixel_size: float | None
    epoch: int
    cwd: str = ""

    def shown(self) -> dict[str, Any]:
        """The settings for people: files by their names as seen from where the run was started."""
        out = {k: v for k, v in self.__dict__.items() if k not in ("epoch", "cwd")}
        files = ["images"] if self.start in ("random", "header") else ["images", "start"]
        return out | {k: shown_name(out[k], self.cwd) for k in files}

    @property
    def contrast(self) -> dict[str, Any]:
        """What angrec, recon and chance are told of the CTF."""
        return {"weigh_ctf": True, "amplitude_contrast": self.amplitude_contrast} if self.weigh_ctf else {}

    @property
    def common(self) -> dict[str, Any]:
        """What angrec, recon and chance are told alike."""
        return {"symmetry": self.symmetry, "mask_radius": self.mask_radius, **self.contrast}

    @property
    def annealing(self) -> int:
        """Iterations of annealing."""
        return max(4, round(0.62 * self.iterations))


def seed_of(s: Settings, number: int) -> int:
    """Seed of iteration `number`, from the run's."""
    return (s.seed * 1009 + 7919 * number) % (1 << 31)


def frequency_of(shells: float, box: int, top: float = 1.0) -> Frequency:
    """A frequency given in Fourier pixels of the box, as a fraction of Nyquist (at most `top`)."""
    return Frequency(round(min(shells / (box / 2), top), 6))


def _made(s: Settings, name: str, shells: float, number: int, src: str | None = None) -> ReconStep:
    """The reconstruction of an iteration: 3Ds, their leave-out volumes, and the images that went in."""
    return ReconStep(
        src=src or f"work/{name}a.hed", dst=f"work/{name}v.hed", images_out=f"work/{name}.hed", seed=seed_of(s, number),
        max_frequency=frequency_of(shells, s.box), leave_out=f"work/{name}lo.hed" if s.leave_out else None, **s.common,
    )  # fmt: skip


def _searched(s: Settings, last: str, name: str, number: int, shells: float, increment: float, refine: bool) -> AngrecStep:
    """The search of an iteration, against the 3Ds of the one before."""
    return AngrecStep(
        src=f"work/{last}.hed", dst=f"work/{name}a.hed", anchors=f"work/{last}{'lo' if s.leave_out else 'v'}.hed",
        increment=increment, max_frequency=frequency_of(shells, s.box), max_shift=s.max_shift, refine=refine,
        seed=seed_of(s, number), **s.common,
    )  # fmt: skip


def prepared(s: Settings) -> PrepareStep:
    """Grey scale and centre."""
    return PrepareStep(
        src=s.images, dst="work/prepared.hed", centre=s.centre, invert=s.invert, max_shift=s.max_shift,
        keep_poses=s.start == "header",
    )  # fmt: skip


def least_images(s: Settings) -> tuple[int, int]:
    """Fewest images of a 3D that lives on: while annealing, and later."""
    small = max(4, s.count // (25 * max(1, s.volumes)))
    return (min(small, s.min_images), s.min_images) if s.min_images else (small, small)


def start_plan(s: Settings) -> Plan:
    """One start: random memberships and angles, annealed. `work/final.hed` gets the images with their poses."""
    k = s.volumes or UNKNOWN
    over = max(1, min(s.over, s.count // (FEWEST * k)))
    first = replace(
        _made(s, "i000", SHELLS[0] + 1, 0, "work/prepared.hed"), membership="random", euler="random",
        volumes=k * over if k > 1 else 1,
    )  # fmt: skip
    yield Iteration("i000", "start", [first], {"increment": 0, "noise": 0})
    n = s.annealing
    for i in range(n):
        name, f = f"i{i + 1:03d}", i / (n - 1)
        shells = round(SHELLS[0] + min(1.0, f / 0.9) * (SHELLS[1] - SHELLS[0]))
        noise = round(NOISE * (NOISE_END / NOISE) ** (f / NOISE_SHARE), 5) if f <= NOISE_SHARE else 0.0
        search = replace(
            _searched(s, f"i{i:03d}", name, i + 1, shells, 15.0, refine=False), shift_range=REACH, noise=noise,
            spread=round(SPREAD * noise, 5),
        )  # fmt: skip
        made = replace(_made(s, name, shells + 1, i + 1), min_images=least_images(s)[0], even_sizes=True)
        if i == n - 1:
            made = replace(made, images_out="work/final.hed")
        yield Iteration(name, "anneal", [search, made], {"increment": 15.0, "noise": noise, "shells": shells})


def together_plan(s: Settings) -> Plan:
    """3Ds chosen from a pool in competition with one another. `work/final.hed` gets the images with their poses."""
    yield Iteration(
        "i000", "start", [_made(s, "i000", SHELLS[1] + 1, 0, "work/prepared.hed")], {"increment": 0, "noise": 0}
    )  # fmt: skip
    for i in range(TOGETHER):
        name = f"i{i + 1:03d}"
        search = _searched(s, f"i{i:03d}", name, i + 1, SHELLS[1], 12.0, refine=True)
        made = _made(s, name, SHELLS[1] + 4, i + 1)
        if i == TOGETHER - 1:
            made = replace(made, images_out="work/final.hed")
        yield Iteration(name, "settle", [search, made], {"increment": 12.0, "noise": 0, "shells": SHELLS[1]})


def given_plan(s: Settings) -> Generator[Iteration, bool | None, tuple[str, int]]:
    """Runs from poses or 3Ds: memberships settle. Returns the name of the last iteration, and the number of the next."""
    first: list[Step] = [] if s.as_prepared else [prepared(s)]
    if s.start == "header":
        # what gave these poses need not have laid its 3D into the centre, and shifts are searched around it
        first.append(replace(_made(s, "i000", SHELLS[1] + 1, 0, "work/prepared.hed"), membership="header", centre_3d=True))
        yield Iteration("i000", "start", first, {"increment": 0, "noise": 0})
    else:
        search = _searched(s, "", "i000", 0, SHELLS[1], 12.0, refine=False)
        search = replace(search, src="work/prepared.hed", anchors=s.start, seed=0)
        yield Iteration("i000", "start", [*first, search, _made(s, "i000", SHELLS[1] + 1, 0)], {"increment": 12.0, "noise": 0})
    last = "i000"
    # memberships change at low resolution; higher frequencies hold each image where it is
    settle = min(SETTLE, s.iterations // 3) if s.volumes > 1 else 0
    for i in range(settle):
        number = 1 + i
        name = f"i{number:03d}"
        search = _searched(s, last, name, number, SHELLS[1], 12.0, refine=True)
        made = replace(_made(s, name, SHELLS[1] + 4, number), min_images=least_images(s)[1], halves=f"work/{name}h.hed")
        facts = {"increment": 12.0, "noise": 0, "shells": SHELLS[1]}
        settled = yield Iteration(name, "settle", [search, made], facts, last if i else None)
        last = name
        if settled:
            break
    return last, 1 + settle  # names and seeds of what follows do not depend on where settling ended


def pooled_plan(s: Settings) -> Generator[Iteration, bool | None, tuple[str, int]]:
    """Runs from the pool of their starts, whose choice stands in the headers of work/i000a.hed."""
    yield Iteration("i000", "pool", [_made(s, "i000", SHELLS[1] + 3, 0)], {"increment": 12.0, "noise": 0, "shells": SHELLS[1]})
    return "i000", 1


def plan(s: Settings) -> Plan:
    """What follows the starts (or all of a run that has none); settling and polishing end when they are told they converged."""
    last, number = yield from pooled_plan(s) if s.start == "random" else given_plan(s)
    top = min(POLISH_LIMIT, as_fraction(s.max_resolution, s.pixel_size)) if s.max_resolution else POLISH_LIMIT
    limit = top * s.box / 2
    for j in range(max(2, s.iterations - (s.annealing if s.start == "random" else number - 1))):
        name = f"i{number:03d}"
        fine = min(limit, SHELLS[1] + 3 + 3 * j)
        increment = 12.0 if j == 0 else 10.0
        search = replace(
            _searched(s, last, name, number, min(SHELLS[1] + min(j, 2), limit), increment, refine=True),
            refine_frequency=frequency_of(fine, s.box),
        )
        if j == 1:
            # an image caught at a wrong shift finds no direction there, and shifts of a wrong direction lead nowhere: try both
            far = AROUND if s.start == "random" else max(AROUND, AROUND_TAKEN * s.box / 2)
            search = replace(search, shift_search="full", shift_range=far)
        made = replace(
            _made(s, name, min(s.box / 2, fine + 4), number), min_images=least_images(s)[1], halves=f"work/{name}h.hed"
        )
        facts = {"increment": increment, "noise": 0, "shells": fine}
        converged = yield Iteration(name, "polish", [search, made], facts, last if fine >= limit - 1e-9 and j > 0 else None)
        if converged:
            return
        last, number = name, number + 1


def finish(s: Settings, last: str) -> list[Step]:
    """The last steps: results beside the original densities, and everything that is looked at."""
    judged = ChanceStep(
        src=f"work/{last}.hed", images_out="work/judged.hed", max_frequency=frequency_of(SHELLS[1], s.box), max_shift=s.max_shift,
        seed=seed_of(s, 1), **s.common,
    )  # fmt: skip
    first: list[Step] = [judged]
    if s.start == "random":
        # what the pool told apart was polished as one; with better poses the states of images show better
        radius = min(s.mask_radius, RADIUS if s.mask_radius < 1 else RADIUS * s.box / 2)
        first.append(StatesStep(
            src="work/judged.hed", out="work/states.hed", mask_radius=radius, seed=seed_of(s, 2), **s.contrast,
        ))  # fmt: skip
    final = ReconStep(
        src="work/states.hed" if s.start == "random" else "work/judged.hed", dst="volumes.hed", hamming=0.99, halves="halves.hed",
        reprojections="reprojections.hed", seed=seed_of(s, 0), images_out="work/final.hed",
        membership="states" if s.start == "random" else "header", min_images=least_images(s)[1], **s.common,
    )  # fmt: skip
    return [*first, final, TakeoverStep(src=s.images, poses_from="work/final.hed", dst="images.hed")]


def finish_start(s: Settings) -> list[Step]:
    """The last steps of a run that stops after annealing."""
    made = _made(s, "final", SHELLS[1] + 1, s.annealing + 1, "work/final.hed")
    final = replace(made, dst="volumes.hed", images_out="work/end.hed", leave_out=None)
    return [final, TakeoverStep(src=s.images, poses_from="work/end.hed", dst="images.hed")]


def commands(plan: Plan) -> list[str]:
    """Lines of bash that do what a plan does; ``$last`` is the iteration that it ended with."""
    lines: list[str] = []
    before: Iteration | None = None
    for it in plan:
        calls = [step.command() for step in it.steps]
        if before is not None and before.stage == "settle" != it.stage:
            # which iteration settling ended with is known when the script runs
            calls = [c.replace(f"work/{before.name}", "work/${last}") for c in calls]
        lines.append(f"# {it.stage} {it.name}")
        if it.stage not in ("settle", "polish"):
            lines += [*calls, f"last={it.name}"]
        else:
            if before is None or before.stage != it.stage:
                lines.append("converged=no")
            lines += ['if [ "$converged" = no ]; then', *(f"  {c}" for c in calls), f"  last={it.name}"]
            if it.after:
                a, b = it.after, it.name
                halves = f"--halves-before work/{a}h.hed --halves-after work/{b}h.hed"
                lines += [f"  if im4d moves work/{a}.hed work/{b}.hed {halves} --check -q; then converged=yes; fi"]
            lines.append("fi")
        before = it
    return lines


def settings(
    src: str, *, volumes: int, iterations: int, symmetry: str, start: str, starts: int, stop_after: str, as_prepared: bool,
    where: str | None, min_images: int, max_resolution: str | None, mask_radius: float | None,
    max_shift: float | None, leave_out: bool, over: int, invert: bool, centre: bool, weigh_ctf: bool, amplitude_contrast: float,
    seed: int,
) -> Settings:  # fmt: skip
    """Check options against the images and fill in what they leave open; parameters as `jobs.scheme.refine`.

    Raises
    ------
    UsageError, InputError, MismatchError
    """
    with open_stack(src) as images:
        if images.is_volumes:
            raise MismatchError(f"{images.path}: holds volumes; images are needed")
        if images.lines != images.pixels:
            raise MismatchError(f"{images.path}: images of {images.lines} x {images.pixels}; square ones are needed")
        if images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
        count, box, pixel = images.n_images, images.lines, images.pixel_size
        headers = images.columns((*POSE_WORDS, "ACTIVE"))
        known = Poses.from_headers(headers) if start == "header" else None
        taking_part = fulfil(images, np.arange(count), where) if where else np.ones(count, bool)
    count = int((taking_part & (headers["ACTIVE"] >= 0)).sum())
    if count == 0:
        raise InputError(f"{src}: no image takes part" + (f" ({where!r} is fulfilled by none)" if where else " (word 58)"))
    if box < 24:
        raise InputError(f"{src}: box of {box} pixels; at least 24 are needed")
    k = volumes
    if k > count:
        raise MismatchError(f"{src}: {count} images cannot make {k} 3Ds; ask for at most {count}")
    if 8 * max(k, 1) > count and start == "random":
        raise MismatchError(
            f"{src}: {count} images are too few for {max(k, 1)} 3D{'s' if k > 1 else ''}: 8 for each are the least"
            + (f"; ask for at most {count // 8}" if count >= 8 else "")
        )
    if known is not None and not known.ref3d.any():
        raise InputError(f"{src}: has no 3D membership (word 51) in its headers; use --start random")
    if known is not None:
        k = len(np.unique(known.ref3d[known.ref3d > 0]))
    if start not in ("random", "header"):
        with open_stack(start, what="volumes") as given:
            if given.lines != box:
                raise MismatchError(f"{given.path}: volumes of box {given.lines}, but {src} has images of {box}")
            k = given.objects
        start = os.path.abspath(start)
    if start != "random" and (stop_after or starts):
        raise UsageError("--starts and --stop-after are for runs that start from random angles (--start random)")
    if as_prepared and start not in ("random", "header"):
        raise UsageError("--as-prepared is for --start random or header")
    symmetry = AUTO if symmetry.strip().upper() == AUTO else canonical(symmetry)
    if start != "random" and symmetry == AUTO:
        raise UsageError("--symmetry auto is for --start random; im4d threed-symmetry finds the axes of given 3Ds")
    if symmetry == "D1":
        raise UsageError("symmetry D1 is C2 with its axis along x: ask for C2")
    if iterations < 8:
        raise UsageError(f"{iterations} iterations are too few: at least 8")
    if max_resolution is not None:
        as_fraction(str(max_resolution), pixel)
    return Settings(
        images=os.path.abspath(src), volumes=k, iterations=iterations, symmetry=symmetry, start=start,
        starts=starts, stop_after=stop_after, as_prepared=as_prepared, where=where or "", min_images=min_images,
        max_resolution=str(max_resolution or ""), seed=seed,
        mask_radius=MASK if mask_radius is None else mask_radius, max_shift=0.3 if max_shift is None else max_shift,
        leave_out=leave_out, over=over, invert=invert, centre=centre, weigh_ctf=weigh_ctf, amplitude_contrast=amplitude_contrast,
        box=box, count=count, pixel_size=pixel, epoch=epoch_now(), cwd=os.getcwd(),
    )  # fmt: skip
