"""What a finished run says of itself: summary.json and fsc.json."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import __version__
from imagic4d_core.competition.agreement import match
from imagic4d_core.competition.verdict import Evidence, judged, statement
from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import order, rotations
from imagic4d_core.io.atomic import atomic_write_json
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import half_names
from imagic4d_core.jobs.msa.splitting import LEAST
from imagic4d_core.jobs.scheme.axes import Axes, Symmetry
from imagic4d_core.jobs.scheme.chance import Chance
from imagic4d_core.jobs.scheme.mixed import look
from imagic4d_core.jobs.scheme.plan import Settings, seed_of
from imagic4d_core.jobs.scheme.rounds import Started
from imagic4d_core.parallel import thread_count
from imagic4d_core.views.words import described
from imagic4d_core.volalign import align_volumes, apply_alignment

#: Two 3Ds are laid on each other only if the images of one prefer it to the other by less than this (standard deviations).
CLOSE = 1.0
#: They say the same if their FSC reaches this share of what half sets promise.
SAME = 0.95


def duplicates(folder: Path, poses: Poses, curves: list[NDArray[np.float64]]) -> dict[int, int]:
    """3Ds that repeat a larger one: number -> number of the other.

    The FSC of two aligned volumes (either hand) of one structure is the geometric mean of what each one's half sets promise for
    the full map, ``2 F / (1 + F)``; of different structures it is lower.
    """
    found: dict[int, int] = {}
    sizes = {k + 1: int((poses.ref3d == k + 1).sum()) for k in range(len(curves))}
    with open_stack(folder / "volumes.hed") as volumes:
        for small in sorted(sizes, key=lambda k: (sizes[k], k)):
            mine = poses.ref3d == small
            rivals = poses.ref3d2[mine]
            rivals = rivals[(rivals > 0) & (rivals <= len(curves))]
            if not len(rivals):
                continue
            big = int(np.bincount(rivals).argmax())
            near = mine & (poses.ref3d2 == big)
            if sizes[big] < sizes[small] or big in found or float(poses.margin[near].mean()) > CLOSE:
                continue
            a, b = (volumes.read_volumes(k - 1, k)[0] for k in (small, big))
            aligned = apply_alignment(a, align_volumes(a, b))
            full = [2 * np.clip(curves[k - 1], 0, 1) / (1 + np.clip(curves[k - 1], 0, 1)) for k in (small, big)]
            promised = np.sqrt(full[0] * full[1])
            use = (promised > 0.5) & (np.arange(len(promised)) > 1)
            between = shell_curves(aligned, b).fsc
            if use.any() and float((between[use] / promised[use]).mean()) >= SAME:
                found[small] = big
    return found


def summarise(
    s: Settings, folder: Path, journal: list[dict[str, Any]], converged: bool, verdict: Chance, started: Started | None
) -> dict[str, Any]:
    """Write summary.json and fsc.json.

    Parameters
    ----------
    started : Started or None
        What came of the starts, of a run that had some.
    """
    with open_stack(folder / "images.hed") as images:
        headers = images.columns((*POSE_WORDS, "ACTIVE"))
    poses = Poses.from_headers(headers)
    a, b = half_names(str(folder / "halves.hed"))
    curves: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    with open_stack(a) as first, open_stack(b) as second:
        for k in range(first.objects):
            x, y = first.read_volumes(k, k + 1)[0], second.read_volumes(k, k + 1)[0]
            c = shell_curves(x, y, symmetry_order=order(s.symmetry), pixel_size=s.pixel_size)
            curves.append({
                "number": k + 1, "frequency": [float(f) for f in c.frequency], "fsc": [float(f) for f in c.fsc],
                "half_bit": [float(f) for f in c.threshold("half-bit")],
                "three_sigma": [float(f) for f in c.threshold("3-sigma")],
            })  # fmt: skip
            mine = poses.ref3d == k + 1
            rows.append({
                "number": k + 1, "images": int(mine.sum()), "fraction": float(mine.mean()),
                "ccc": float(poses.ccc3d[mine].mean()), "confidence": float(poses.confidence[mine].mean()),
                "margin": float(poses.margin[mine].mean()),
                "fsc05": float(c.crossing("0.5")), "fsc0143": float(c.crossing("0.143")),
                "half_bit": float(c.crossing("half-bit")),
                "resolution_half_bit_A": None if s.pixel_size is None else c.resolution("half-bit"),
                "poor": bool(c.crossing("0.5") * s.box / 2 < 3),
                "views": described(poses.matrices()[mine, 2], rotations(s.symmetry), x, y),
            })  # fmt: skip
    same = duplicates(folder, poses, [np.asarray(c["fsc"]) for c in curves])
    for row in rows:
        row["duplicate_of"] = same.get(row["number"])
    for row in rows:
        axes = _axes_of(row["number"], poses, started)
        row["symmetry"] = None if axes is None else asdict(axes)
    with open_stack(folder / "work/final.hed") as final:
        used = Poses.from_headers(final.columns(POSE_WORDS))
    evidence = _evidence(s, folder, used, started, verdict, rows)
    for row, found in zip(rows, evidence, strict=True):
        row["verdict"], row["why"] = judged(found)
        row["evidence"] = found.as_dict()
    symmetry = started.symmetry if started else Symmetry(s.symmetry, s.symmetry)
    shown = s.shown() | {"symmetry": symmetry.asked}
    document = {
        "schema": 1, "version": __version__, "input": shown["images"], "images": s.count, "box": s.box,
        "symmetry": symmetry.as_dict(), "pixel_size": s.pixel_size, "seed": s.seed,
        "iterations": len(journal), "converged": converged, "stopped_after": "",
        "statement": statement([row["verdict"] for row in rows]) if started else verdict.statement,
        "verdicts": [row["verdict"] for row in rows],
        "starts": started.rounds if started else [], "by_number": started.decision.by_number if started else [],
        "membership_above_chance": verdict.membership_above_chance, "fsc_above_chance": verdict.fsc_above_chance,
        "null": verdict.as_dict(), "volumes": rows, "unassigned": _unassigned(verdict),
        "events": [*_removals(started), *(e for entry in journal for e in entry["events"])],
        "settings": shown,
    }  # fmt: skip
    atomic_write_json(folder / "fsc.json", {
        "schema": 1, "pixel_size": s.pixel_size, "independent": False, "volumes": curves,
    }, overwrite=True)  # fmt: skip
    atomic_write_json(folder / "summary.json", document, overwrite=True)
    return document


def _unassigned(verdict: Chance) -> dict[str, Any]:
    """Images that are in no 3D at the end, and why."""
    why = "" if verdict.threshold is None else (
        f"no 3D explains them better than random phases do (score less than {verdict.threshold:.3f} above)"
    )  # fmt: skip
    return {"images": verdict.unexplained, "junk_3ds": len(verdict.junk), "threshold": verdict.threshold, "why": why}


def _removals(started: Started | None) -> list[dict[str, Any]]:
    """3Ds of the pool that were not kept, as events."""
    if started is None:
        return []
    out = []
    for column, why in started.decision.removed:
        run, k = started.pool.place(column)
        out.append({"iteration": 0, "what": "leave out", "from": [f"{run.name}:{k + 1}"], "to": [], "why": why})
    return out


def _axes_of(number: int, poses: Poses, started: Started | None) -> Axes | None:
    """What was found of the symmetry of the 3D of the pool that this one was polished from; None where nothing was looked for."""
    if started is None:
        return None
    before = started.poses.ref3d[poses.ref3d == number]
    origin = int(np.bincount(before[before > 0], minlength=1).argmax())
    return next((a for a in started.symmetry.axes if a.number == origin), None)


def _states(s: Settings, folder: Path, poses: Poses, number: int) -> int:
    """Classes that the images of a 3D fall into, at a quick look; 0: none, or not looked at."""
    mine = poses.ref3d == number
    if s.symmetry != "C1" or int(mine.sum()) < LEAST:
        return 0
    labels = look(
        str(folder / "work/final.hed"), poses, mine, s.box, mask_radius=s.mask_radius,
        contrast=s.amplitude_contrast if s.weigh_ctf else None, seed=seed_of(s, 3), threads=thread_count(None),
    )  # fmt: skip
    return int(labels.max(initial=0))


def _evidence(
    s: Settings, folder: Path, poses: Poses, started: Started | None, verdict: Chance, rows: list[dict[str, Any]]
) -> list[Evidence]:
    """What speaks for each 3D, and against it."""
    runs = len(np.unique(started.pool.run_of())) if started else 1
    out = []
    for row in rows:
        axes = _axes_of(row["number"], poses, started)
        group = rotations(s.symmetry) if axes is None else axes.mates
        again, kept = 0, 0.0
        jaccard, posed = 0.0, 0.0
        if started is not None:
            # the 3D of the pool that this one was polished from
            mine = (poses.ref3d == row["number"])[started.pool.active]
            counts = np.bincount(started.decision.membership[mine], minlength=len(started.decision.kept))
            j = int(counts.argmax())
            k = started.decision.kept[j]
            run, column = started.pool.place(k.column)
            m = match(
                started.decision.membership == j, mine, run.matrix[:, column], poses.matrices()[started.pool.active], group
            )
            again, kept, jaccard, posed = len(k.again), m.jaccard * m.posed, k.best.jaccard, k.best.posed
        out.append(Evidence(
            runs=runs, again=again, jaccard=jaccard, posed=posed, stayed=kept, effect=verdict.effect,
            above_chance=verdict.fsc_above_chance, poor=row["poor"], images=row["images"], duplicate_of=row["duplicate_of"],
            states=_states(s, folder, poses, row["number"]), views_missing=row["views"]["missing"],
        ))  # fmt: skip
    return out


def describe_start(s: Settings, folder: Path, started: Started | None = None) -> dict[str, Any]:
    """Write summary.json of a run that stopped after annealing, or after the pool."""
    with open_stack(folder / "images.hed") as images:
        poses = Poses.from_headers(images.columns(POSE_WORDS))
    numbers = np.unique(poses.ref3d[poses.ref3d > 0])
    document = {
        "schema": 1, "version": __version__, "input": s.shown()["images"], "images": s.count, "box": s.box, "seed": s.seed,
        "stopped_after": s.stop_after, "volumes": [{"number": int(k), "images": int((poses.ref3d == k).sum())} for k in numbers],
        "starts": started.rounds if started else [],
        "symmetry": (started.symmetry if started else Symmetry("C1", "C1")).as_dict(), "settings": s.shown(),
    }  # fmt: skip
    atomic_write_json(folder / "summary.json", document, overwrite=True)
    return document
