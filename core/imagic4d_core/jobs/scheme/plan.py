"""The plan of the 4D scheme: which jobs run with which options, as steps to call and as a script to print.

Stages: *prepare* (grey scale, centre), *start* (random memberships and angles), *anneal* (competition of more 3Ds than wanted at
low resolution, with noise lowered to zero), *regroup* (3Ds merged down to the number wanted, by cross-validated score), *polish*
(local refinement, resolution rising, to convergence), *finish* (volumes, half sets, re-projections). Runs that start from poses
or 3Ds have *settle* (competition at low resolution until memberships are stable) in place of *anneal* and *regroup*.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.images.prepare import prepare
from imagic4d_core.jobs.runfolder import Iteration, Job, Plan, Step, epoch_now, shown_name
from imagic4d_core.jobs.scheme.angrec.reconstitute import angrec
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.jobs.scheme.regroup import regroup
from imagic4d_core.jobs.scheme.takeover import takeover
from imagic4d_core.units import Frequency, as_fraction

_ANCHORS = ("src", "dst", "anchors")
_SUMS = ("src", "dst", "leave_out", "images_out", "halves", "reprojections")
JOBS = {
    "prepare": Job(prepare, "prepare", ("src", "dst"), ("src", "dst")),
    "recon": Job(recon, "recon", ("src", "dst"), _SUMS),
    "angrec": Job(angrec, "angrec", ("src", "dst"), _ANCHORS),
    "regroup": Job(regroup, "regroup", ("src", "dst"), ("src", "dst")),
    "takeover": Job(takeover, "takeover", ("src", "poses_from", "dst"), ("src", "poses_from", "dst")),
}
#: Noise at the start and at the end of annealing, in standard deviations of the scores; share of the iterations with noise.
NOISE, NOISE_END, NOISE_SHARE = 0.5, 0.03, 0.8
#: Handicap of crowded views in annealing, as a multiple of the noise.
SPREAD = 3.0
#: Frequencies of annealing, in Fourier pixels of the box: first, last.
SHELLS = (5.0, 10.0)
#: Highest frequency of polishing, fraction of Nyquist, unless --max-resolution says otherwise.
POLISH_LIMIT = 0.65
MASK = 0.85
#: Trial shifts of polishing's second iteration go so far: pixels, and fraction of half the box where poses were taken over or
#: found from given 3Ds (class averages may have been caught farther off than annealing leaves images).
AROUND, AROUND_TAKEN = 5.0, 0.25
#: Most iterations of settling.
SETTLE = 10
#: Annealing starts with more 3Ds than wanted only if each gets so many images.
FEWEST = 40


@dataclass
class Settings:
    """What a run is: everything that decides its result. Kept in RUNDIR/run.json."""

    images: str
    volumes: int
    iterations: int
    symmetry: str
    start: str
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


def _step(job: str, options: dict[str, Any]) -> Step:
    return Step(JOBS[job], options)


def seed_of(s: Settings, number: int) -> int:
    """Seed of iteration `number`, from the run's."""
    return (s.seed * 1009 + 7919 * number) % (1 << 31)


def frequency_of(shells: float, box: int, top: float = 1.0) -> Frequency:
    """A frequency given in Fourier pixels of the box, as a fraction of Nyquist (at most `top`)."""
    return Frequency(round(min(shells / (box / 2), top), 6))


def common_options(s: Settings) -> dict[str, Any]:
    """What angrec, recon, regroup and chance are told alike."""
    ctf = {"weigh_ctf": True, "amplitude_contrast": s.amplitude_contrast} if s.weigh_ctf else {}
    return {"symmetry": s.symmetry, "mask_radius": s.mask_radius, **ctf}


def plan(s: Settings) -> Plan:
    """All iterations of a run, in order; settling and polishing end early when they are told that they have converged."""
    box, folds = s.box, 4
    top = min(POLISH_LIMIT, as_fraction(s.max_resolution, s.pixel_size)) if s.max_resolution else POLISH_LIMIT
    common = common_options(s)
    sums = common | {"wiener": True, "hamming": 1.0}

    def made(name: str, shells: float, number: int, extra: dict[str, Any] | None = None) -> Step:
        options = {"src": f"work/{name}a.hed", "dst": f"work/{name}v.hed", **sums, "images_out": f"work/{name}.hed"}
        options |= {"folds": folds, "seed": seed_of(s, number), "max_frequency": frequency_of(shells, box)}
        if s.leave_out:
            options["leave_out"] = f"work/{name}lo.hed"
        return _step("recon", options | (extra or {}))

    def anchors(name: str) -> str:
        return f"work/{name}lo.hed" if s.leave_out else f"work/{name}v.hed"

    prep = {"src": s.images, "dst": "work/prepared.hed", "centre": s.centre, "invert": s.invert}
    prep |= {"max_shift": s.max_shift, "keep_poses": s.start == "header"}
    first = _step("prepare", prep)
    anneal = max(4, round(0.62 * s.iterations))
    small = max(4, s.count // (25 * s.volumes))
    least = s.min_images or small
    over = max(1, min(s.over, s.count // (FEWEST * s.volumes)))
    start = s.volumes * over if s.start == "random" and s.volumes > 1 else s.volumes
    number = 0
    if s.start == "random":
        options: dict[str, Any] = {"src": "work/prepared.hed", "membership": "random", "volumes": start, "euler": "random"}
        yield Iteration("i000", "start", [first, made("i000", SHELLS[0] + 1, number, options)], {"increment": 0, "noise": 0})
    elif s.start == "header":
        # what gave these poses need not have laid its 3D into the centre, and shifts are searched around it
        options = {"src": "work/prepared.hed", "membership": "header", "centre_3d": True}
        yield Iteration("i000", "start", [first, made("i000", SHELLS[1] + 1, number, options)], {"increment": 0, "noise": 0})
    else:
        search: dict[str, Any] = {"src": "work/prepared.hed", "dst": "work/i000a.hed", "anchors": s.start, "mode": "each-to-best"}
        search |= {"increment": 12.0} | common | {"max_frequency": frequency_of(SHELLS[1], box), "max_shift": s.max_shift}
        search |= {"refine": False, "seed": 0}
        yield Iteration(
            "i000",
            "start",
            [first, _step("angrec", search), made("i000", SHELLS[1] + 1, number)],
            {"increment": 12.0, "noise": 0},
        )
    last = "i000"
    for i in range(anneal if s.start == "random" else 0):
        number += 1
        name = f"i{number:03d}"
        f = i / (anneal - 1)
        shells = round(SHELLS[0] + min(1.0, f / 0.9) * (SHELLS[1] - SHELLS[0]))
        noise = round(NOISE * (NOISE_END / NOISE) ** (f / NOISE_SHARE), 5) if f <= NOISE_SHARE else 0.0
        search = {"src": f"work/{last}.hed", "dst": f"work/{name}a.hed", "anchors": anchors(last), "mode": "each-to-best"}
        search |= {"increment": 15.0, **common, "max_frequency": frequency_of(shells, box), "max_shift": s.max_shift}
        search |= {"shift_range": 2.0, "refine": False, "noise": noise, "spread": round(SPREAD * noise, 5)}
        search |= {"seed": seed_of(s, number)}
        facts = {"increment": 15.0, "noise": noise, "shells": shells}
        yield Iteration(
            name, "anneal", [_step("angrec", search), made(name, shells + 1, number, {"min_images": min(small, least)})], facts
        )
        last = name
    if s.volumes > 1 and s.start == "random":
        number += 1
        name = f"i{number:03d}"
        group: dict[str, Any] = {"src": f"work/{last}.hed", "dst": f"work/{name}a.hed", "volumes": s.volumes, **common}
        group |= {"max_frequency": frequency_of(SHELLS[1], box), "max_shift": s.max_shift, "seed": seed_of(s, number)}
        facts = {"increment": 15.0, "noise": 0, "shells": SHELLS[1]}
        yield Iteration(name, "regroup", [_step("regroup", group), made(name, SHELLS[1] + 3, number)], facts)
        last = name
    # memberships change at low resolution; higher frequencies hold each image where it is
    settle = min(SETTLE, s.iterations // 3) if s.start != "random" and s.volumes > 1 else 0
    for i in range(settle):
        name = f"i{number + 1 + i:03d}"
        search = {"src": f"work/{last}.hed", "dst": f"work/{name}a.hed", "anchors": anchors(last), "mode": "each-to-best"}
        search |= {"increment": 12.0, **common, "max_frequency": frequency_of(SHELLS[1], box), "max_shift": s.max_shift}
        search |= {"refine": True, "seed": seed_of(s, number + 1 + i)}
        extra = {"min_images": least, "halves": f"work/{name}h.hed"}
        facts = {"increment": 12.0, "noise": 0, "shells": SHELLS[1]}
        steps = [_step("angrec", search), made(name, SHELLS[1] + 4, number + 1 + i, extra)]
        settled = yield Iteration(name, "settle", steps, facts, last if i else None)
        last = name
        if settled:
            break
    number += settle  # names and seeds of what follows do not depend on where settling ended
    limit = top * box / 2
    for j in range(max(2, s.iterations - (anneal if s.start == "random" else settle))):
        number += 1
        name = f"i{number:03d}"
        search_shells = min(SHELLS[1] + min(j, 2), limit)
        fine = min(limit, SHELLS[1] + 3 + 3 * j)
        search = {"src": f"work/{last}.hed", "dst": f"work/{name}a.hed", "anchors": anchors(last), "mode": "each-to-best"}
        search |= {"increment": 12.0 if j == 0 else 10.0, **common, "max_frequency": frequency_of(search_shells, box)}
        search |= {
            "max_shift": s.max_shift,
            "refine": True,
            "refine_frequency": frequency_of(fine, box),
            "seed": seed_of(s, number),
        }
        if j == 1:
            # an image caught at a wrong shift finds no direction there, and shifts of a wrong direction lead nowhere: try both
            far = AROUND if s.start == "random" else max(AROUND, AROUND_TAKEN * box / 2)
            search |= {"shift_search": "full", "shift_range": far}
        extra = {"min_images": least, "halves": f"work/{name}h.hed"}
        facts = {"increment": search["increment"], "noise": 0, "shells": fine}
        steps = [_step("angrec", search), made(name, min(box / 2, fine + 4), number, extra)]
        converged = yield Iteration(name, "polish", steps, facts, last if fine >= limit - 1e-9 and j > 0 else None)
        if converged:
            return
        last = name


def finish(s: Settings, last: str) -> list[Step]:
    """The last steps: results beside the original densities, and everything that is looked at."""
    common = common_options(s) | {"wiener": True, "hamming": 0.99}
    final = {"src": f"work/{last}.hed", "dst": "volumes.hed", **common}
    final |= {"halves": "halves.hed", "reprojections": "reprojections.hed"}
    final |= {"folds": 4, "seed": seed_of(s, 0), "images_out": "work/final.hed"}
    return [_step("recon", final), _step("takeover", {"src": s.images, "poses_from": "work/final.hed", "dst": "images.hed"})]


def script(s: Settings) -> str:
    """A bash script of single commands that makes the same volumes and images in the folder it is started in."""
    lines = [
        "#!/usr/bin/env bash",
        "# made by im4d refine --script: run it in an empty folder",
        "set -euo pipefail",
        f"export SOURCE_DATE_EPOCH={s.epoch}",
        "mkdir -p work",
    ]
    before: Iteration | None = None
    for it in plan(s):
        commands = [step.command() for step in it.steps]
        if before is not None and before.stage == "settle" != it.stage:
            # which iteration settling ended with is known when the script runs
            commands = [c.replace(f"work/{before.name}", "work/${last}") for c in commands]
        lines.append(f"# {it.stage} {it.name}")
        if it.stage not in ("settle", "polish"):
            lines += [*commands, f"last={it.name}"]
        else:
            if before is None or before.stage != it.stage:
                lines.append("converged=no")
            lines += ['if [ "$converged" = no ]; then', *(f"  {c}" for c in commands), f"  last={it.name}"]
            if it.after:
                a, b = it.after, it.name
                halves = f"--halves-before work/{a}h.hed --halves-after work/{b}h.hed"
                lines += [f"  if im4d moves work/{a}.hed work/{b}.hed {halves} --check -q; then converged=yes; fi"]
            lines.append("fi")
        before = it
    lines += ["# finish", *(step.command().replace("work/LAST.hed", '"work/$last.hed"') for step in finish(s, "LAST"))]
    return "\n".join(lines) + "\n"


def settings(src: str, **options: Any) -> Settings:
    """Check options against the images and fill in what they leave open."""
    with open_stack(src) as images:
        if images.is_volumes:
            raise MismatchError(f"{images.path}: holds volumes; images are needed")
        if images.lines != images.pixels:
            raise MismatchError(f"{images.path}: images of {images.lines} x {images.pixels}; square ones are needed")
        if images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
        count, box, pixel = images.n_images, images.lines, images.pixel_size
        known = Poses.from_headers(images.headers()) if options["start"] == "header" else None
    if box < 24:
        raise InputError(f"{src}: box of {box} pixels; at least 24 are needed")
    k = options["volumes"]
    if k > count:
        raise MismatchError(f"{src}: {count} images cannot make {k} 3Ds; ask for at most {count}")
    if 8 * k > count and options["start"] == "random":
        raise MismatchError(
            f"{src}: {count} images are too few for {k} 3Ds (8 for each are the least); ask for at most {count // 8}"
        )
    if known is not None and not known.ref3d.any():
        raise InputError(f"{src}: has no 3D membership (word 51) in its headers; use --start random")
    if known is not None:
        k = len(np.unique(known.ref3d[known.ref3d > 0]))
    start = options["start"]
    if start not in ("random", "header"):
        with open_stack(start, what="volumes") as given:
            if given.lines != box:
                raise MismatchError(f"{given.path}: volumes of box {given.lines}, but {src} has images of {box}")
            k = given.objects
        start = os.path.abspath(start)
    if options["iterations"] < 8:
        raise UsageError(f"{options['iterations']} iterations are too few: at least 8")
    max_resolution = options["max_resolution"]
    if max_resolution is not None:
        as_fraction(str(max_resolution), pixel)
    return Settings(
        images=os.path.abspath(src), volumes=k, iterations=options["iterations"], symmetry=options["symmetry"], start=start,
        min_images=options["min_images"], max_resolution=str(max_resolution or ""), seed=options["seed"],
        mask_radius=MASK if options["mask_radius"] is None else options["mask_radius"],
        max_shift=0.3 if options["max_shift"] is None else options["max_shift"],
        leave_out=options["leave_out"], over=options["over"],
        invert=options["invert"], centre=options["centre"], weigh_ctf=options["weigh_ctf"],
        amplitude_contrast=options["amplitude_contrast"], box=box, count=count, pixel_size=pixel,
        epoch=epoch_now(), cwd=os.getcwd(),
    )  # fmt: skip
