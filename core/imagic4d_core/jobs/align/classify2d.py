"""Alignment by classification: class averages from unaligned images, until the classes are stable.

Centred images are classified by MSA as they lie; the averages are the references of a multi-reference alignment of the
original images; the aligned images are classified anew, and so on (van Heel and Stoffler-Meilicke, EMBO J. 4 (1985) 2389). The
loop runs the single jobs, keeps a journal and goes on where it was stopped.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core import __version__
from imagic4d_core.ctf.parameters import done
from imagic4d_core.errors import MismatchError, UsageError
from imagic4d_core.io.atomic import atomic_write_json
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs import runfolder
from imagic4d_core.jobs.align.mra import mra
from imagic4d_core.jobs.files.copying import copy
from imagic4d_core.jobs.images.centring import centre
from imagic4d_core.jobs.images.ctf import ctf_correct
from imagic4d_core.jobs.images.norm_variance import norm_variance
from imagic4d_core.jobs.msa.classify import msa_classify
from imagic4d_core.jobs.msa.run import msa_run
from imagic4d_core.jobs.msa.sum import msa_sum
from imagic4d_core.jobs.runfolder import Iteration, Job, JobStep, Step
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.scores import adjusted_rand_index
from imagic4d_core.units import Frequency

JOBS = {
    "ctf": Job(ctf_correct, "ctf", ("src", "dst"), ("src", "dst")),
    "norm": Job(norm_variance, "norm-variance", ("src", "dst"), ("src", "dst")),
    "center": Job(centre, "center", ("src", "dst"), ("src", "dst"), {"iterations": "rounds"}),
    "msa": Job(msa_run, "msa run", ("src", "root"), ("src", "root", "out"), {"out": "images-out"}),
    "classify": Job(msa_classify, "msa classify", ("src", "root"), ("src", "root", "images_out")),
    "sum": Job(msa_sum, "msa sum", ("src", "classes", "dst"), ("src", "classes", "dst")),
    "mra": Job(mra, "mra", ("src", "references", "dst"), ("src", "references", "dst", "from_originals")),
}
#: Classes are stable when two iterations agree so far (adjusted Rand index), or agree no better than two iterations before.
STABLE, GAIN = 0.9, 0.01
#: Alignments at low resolution before the full one.
COARSE = 3
LOW, HIGH = Frequency(0.35), Frequency(0.5)
#: Alignments over the whole range of shifts; later ones look this far around the place found before, of half the box.
WIDE, NEAR = 2, 0.1
#: Degrees between trial rotations of the alignments at low resolution and of the others; the best are refined locally.
TURNS = (8.0, 6.0)


@dataclass
class Settings:
    """What decides the result of a run. Kept in RUNDIR/run.json."""

    images: str
    classes: int
    iterations: int
    factors: int
    mask_radius: float
    max_shift: float
    ignore: float
    ignore_worst: float
    correct_ctf: bool
    mirror: bool
    seed: int
    box: int
    count: int
    epoch: int
    cwd: str = ""


@dataclass
class Classes2d:
    """Summary of a run; `document` is summary.json."""

    rundir: str
    document: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"rundir": self.rundir, **self.document}

    def lines(self) -> list[str]:
        """For people."""
        d = self.document
        sizes = d["sizes"]
        out = [
            f"{self.rundir}: {d['images']} images in {len(sizes)} classes of {min(sizes)} to {max(sizes)}, "
            f"{d['iterations']} iterations, " + ("stable" if d["converged"] else "not yet stable")
        ]
        out += [f"  iteration {k}: agreement with the one before {a:.3f}" for k, a in enumerate(d["stability"]) if a is not None]
        return out + [f"  WARNING: {text}" for text in d["warnings"]]


def classify2d(
    src: str,
    rundir: str,
    *,
    classes: int = 50,
    iterations: int = 8,
    factors: int = 20,
    mask_radius: float | None = None,
    max_shift: float | None = None,
    ignore: float = 0.0,
    ignore_worst: float = 0.0,
    correct_ctf: bool = True,
    mirror: bool = True,
    resume: bool = False,
    report: bool = True,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Classes2d:
    """Classify and align images by turns.

    Parameters
    ----------
    src : path
        Images, square.
    rundir : path
        Folder of the run, made new: averages, images (aligned, class in word 108), journal.jsonl, summary.json, report.
    classes : int
    iterations : int
        Classifications at most; between two of them all images are aligned to the averages.
    factors : int
        Eigenimages used.
    mask_radius : float, optional
        Pixels inside count in classification and alignment (below 1: fraction of half the box; default 0.8).
    max_shift : float, optional
        Largest shift from the original, as `mask_radius` (default 0.3).
    ignore : float
        Per cent of the images that are put into no class.
    ignore_worst : float
        Per cent of the members of each class left out of its average.
    correct_ctf : bool
        Flip phases first, where the headers hold a defocus.
    mirror : bool
        Mirrored images may join a class (views from opposite directions are mirror images).
    resume : bool
        Go on with a run that was stopped: its own settings count.
    report : bool
        Write report.html and averages.png.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    folder = Path(rundir)

    def given() -> Settings:
        with open_stack(src) as images:
            if images.is_volumes or images.lines != images.pixels:
                raise MismatchError(f"{images.path}: square images are needed, not {' x '.join(map(str, images.shape[1:]))}")
            if images.index is not None:
                raise UsageError(f"{src}: a whole file is classified; copy the locations to a file first")
            count, box = images.n_images, images.lines
            some = images.headers(0, min(count, 1000))
            known = correct_ctf and bool((some["DEFOCUS1"] != 0).any()) and not done(some).any()
        if count < 4:
            raise MismatchError(f"{src}: holds {count} image{'s' * (count > 1)}; classification needs 4 at least, for 2 classes")
        if not 2 <= classes <= count // 2:
            raise MismatchError(f"{src}: {count} images cannot make {classes} classes; ask for 2 to {count // 2}")
        if iterations < 1:
            raise UsageError(f"{iterations} iterations; at least 1 is needed")
        return Settings(
            os.path.abspath(src), classes, iterations, min(factors, count - 1), 0.8 if mask_radius is None else mask_radius,
            0.3 if max_shift is None else max_shift, ignore, ignore_worst, known, mirror, seed, box, count, runfolder.epoch_now(),
            os.getcwd(),
        )  # fmt: skip

    s = runfolder.opened(folder, comm, resume, Settings, given, overwrite, "classify2d", src)
    with runfolder.at_epoch(s.epoch), runfolder.removed_if_useless(folder, resume):
        found: dict[str, np.ndarray] = {}

        def entry(it: Iteration, results: list[Any], journal: list[dict[str, Any]]) -> dict[str, Any]:
            return _entry(it, results, journal, folder, found)

        journal, last, converged = runfolder.loop(
            plan(s), folder, entry=entry, keep=["original", "start"], total=s.iterations, comm=comm, threads=threads,
            progress=progress,
        )  # fmt: skip
        return _finish(s, folder, journal, last, converged, comm, report)


def plan(s: Settings) -> runfolder.Plan:
    """All iterations of a run, in order, until the classes are stable."""
    source = s.images
    first: list[Step] = []
    if s.correct_ctf:
        first.append(JobStep(JOBS["ctf"], {"src": source, "dst": "work/originalf.hed"}))
        source = "work/originalf.hed"
    first.append(JobStep(JOBS["norm"], {"src": source, "dst": "work/original.hed", "sigma": 1.0}))
    first.append(JobStep(JOBS["center"], {"src": "work/original.hed", "dst": "work/start.hed", "max_shift": s.max_shift}))
    last = ""
    for i in range(s.iterations):
        name = f"i{i:03d}"
        aligned = "work/start.hed"
        steps = list(first) if not i else []
        if i:
            aligned = f"work/{name}a.hed"
            how: dict[str, Any] = {"src": f"work/{last}.hed", "references": f"work/{last}m.hed", "dst": aligned}
            how |= {"from_originals": "work/original.hed", "max_shift": s.max_shift, "radii": (0.0, s.mask_radius)}
            how |= {"run_shift": NEAR if i > WIDE and s.max_shift > 0 else None, "too_far": "limit"}
            how |= {"increment": TURNS[0] if i <= COARSE else TURNS[1]}
            how |= {"mirror": s.mirror, "max_frequency": LOW if i <= COARSE else HIGH, "seed": s.seed * 1009 + i}
            steps.append(JobStep(JOBS["mra"], how))
        steps += [
            JobStep(
                JOBS["msa"],
                {
                    "src": aligned, "root": f"work/{name}e", "out": f"work/{name}c.hed", "eigenimages": s.factors,
                    "metric": "euclidean", "mask_radius": s.mask_radius,
                },
            ),
            JobStep(
                JOBS["classify"],
                {
                    "src": f"work/{name}c.hed", "root": f"work/{name}", "classes": (s.classes,), "factors": s.factors,
                    "ignore": s.ignore, "images_out": f"work/{name}.hed",
                },
            ),
            JobStep(
                JOBS["sum"],
                {
                    "src": f"work/{name}.hed", "classes": f"work/{name}.cls", "dst": f"work/{name}s.hed",
                    "ignore_worst": s.ignore_worst,
                },
            ),
            JobStep(JOBS["center"], {"src": f"work/{name}s.hed", "dst": f"work/{name}m.hed", "max_shift": 0.1}),
        ]  # fmt: skip
        stable = yield Iteration(name, "classify" if not i else "align", steps, {}, last or None)
        if stable:
            return
        last = name


def _entry(
    it: Iteration, results: list[Any], journal: list[dict[str, Any]], folder: Path, found: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The journal's line of an iteration; the classes of the one before come from memory, or from its file after a stop."""
    number = len(journal)
    line: dict[str, Any] = {"iteration": number, "name": it.name, "stage": it.stage, "stability": None, "converged": False}
    found[it.name] = _classes(folder / f"work/{it.name}.hed")
    line["sizes"] = np.bincount(found[it.name])[1:].tolist()
    aligned = next((r for r in results if hasattr(r, "angle_rms")), None)
    if aligned is not None:
        line |= {
            "correlation": aligned.score, "turned": aligned.angle_rms, "shifted": aligned.shift_rms, "mirrored": aligned.mirrored,
            "evidence": aligned.evidence.as_dict() | {"found": aligned.evidence.found} if aligned.evidence else None,
        }  # fmt: skip
    if it.after:
        before = found.pop(it.after, None)
        before = _classes(folder / f"work/{it.after}.hed") if before is None else before
        line["stability"] = round(float(adjusted_rand_index(before, found[it.name])), 5)
        earlier = [e["stability"] for e in journal if e["stability"] is not None]
        settled = len(earlier) > COARSE and line["stability"] < earlier[-2] + GAIN
        line["converged"] = bool(number > COARSE and (line["stability"] >= STABLE or settled))
    return line


def _classes(path: Path) -> np.ndarray:
    with open_stack(path) as stack:
        return np.rint(np.maximum(stack.headers()["CLASSNO"], 0)).astype(np.int64)


def _finish(
    s: Settings, folder: Path, journal: list[dict[str, Any]], last: str, converged: bool, comm: Comm, report: bool
) -> Classes2d:
    """Results under their final names, summary and report."""
    document: dict[str, Any] | None = None
    if comm.rank == 0:
        with open_stack(folder / f"work/{last}.hed") as stack:
            replace_headers(stack.path, stack.headers(), folder / "images.hed", overwrite=True)
        copy(folder / f"work/{last}s.hed", folder / "averages.hed", overwrite=True)
        evidence = [e["evidence"] for e in journal if e.get("evidence")]
        warnings = []
        if evidence and not evidence[-1]["found"]:
            warnings.append("the images show no sign of the averages: they could be noise, and the averages its alignment")
        document = {
            "schema": 1, "version": __version__, "input": runfolder.shown_name(s.images, s.cwd), "images": s.count, "box": s.box,
            "classes": s.classes, "sizes": journal[-1]["sizes"], "iterations": len(journal), "converged": converged,
            "stability": [e["stability"] for e in journal],
            "correlation": [e.get("correlation") for e in journal], "warnings": warnings,
            "settings": {k: v for k, v in s.__dict__.items() if k not in ("images", "epoch", "cwd")},
        }  # fmt: skip
        atomic_write_json(folder / "summary.json", document, overwrite=True)
    document = comm.bcast(document)
    if report:
        from imagic4d_core.jobs.report.reporting_classes import report_classes

        report_classes(folder, overwrite=True, comm=comm)
    return Classes2d(str(folder), document)
