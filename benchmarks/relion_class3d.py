#!/usr/bin/env python3
"""From images to three 3Ds: `im4d refine` from random starts against RELION's 3D classification from a consensus map.

    python benchmarks/relion_class3d.py [--seed 5001] [--starts 20] [--folder DIR] [--json]

Data: 1,000 images of three related analytic structures, box 64, 4 A per pixel (Nyquist 8 A), SNR 1.5, shifts of 1 px sigma.
`im4d refine` knows nothing: random angles and memberships, run to its own convergence, once per start, with another seed each.
RELION runs once on the same images (normalised by relion_preprocess), 8 iterations at 7.5 degrees (15 degrees, oversampled
once), and gets a favourable start: a consensus map of all images, reconstructed with the true angles and low-passed. Both run on
one thread as programs of their own; CPU is user + system time of the process. Memberships and volumes are scored by the same
code, that of `im4d compare`.

With --folder everything is kept there and steps that are done are not run again, so a benchmark that was stopped goes on; --only
runs some of the steps (data, relion, im4d), so that they may run side by side.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import relion as peer

from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.io.star import read_star
from imagic4d_core.jobs.truth.compare import compare
from imagic4d_core.models import read_models

BOX, PIXEL, SETS = 64, 4.0, 3
RIGHT = 0.99  # share of images in the right 3D from which on a start counts as found


def run(command: list[str | Path], folder: Path, log: str) -> dict[str, float]:
    """Run a program in `folder` with its output in a log file; CPU (user + system) and wall seconds of that process alone."""
    begin = time.time()
    with open(folder / log, "w", encoding="utf-8") as out:
        told = {"cwd": folder, "env": peer.single_thread(), "stdout": out, "stderr": subprocess.STDOUT}
        process = subprocess.Popen([str(c) for c in command], **told)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0:
        sys.exit(f"{Path(str(command[0])).name} was stopped by signal {-process.returncode}; this step starts afresh next time")
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{(folder / log).read_text(encoding='utf-8')[-2000:]}")
    return {"cpu": round(used.ru_utime + used.ru_stime, 2), "wall": round(time.time() - begin, 1)}


def make_data(folder: Path, asked: argparse.Namespace) -> None:
    """Truth, images, the same normalised as RELION wants them, and the consensus map."""
    seed, images, snr, shift = asked.seed, asked.images, asked.snr, asked.shift_sigma
    im4d = [*peer.im4d()]
    end = ["--threads", "1", "-q"]
    model = ["--number", SETS, "--size", BOX, "--pixel-size", PIXEL, "--seed", seed, "-q"]
    run([*im4d, "threed-test", "truth.hed", *model], folder, "data.log")
    draw = ["--images", images, "--snr", snr, "--shift-sigma", shift, "--truth", "known.hed", "--seed", seed + 1]
    run([*im4d, "simulate", "truth.blobs.json", "sim.hed", *draw, *end], folder, "data.log")
    # two STAR files: with the truth for the consensus, and without any pose for the classification
    run([*im4d, "convert", "known.hed", "known.mrcs", *end], folder, "data.log")
    run([*im4d, "convert", "sim.hed", "raw.mrcs", *end], folder, "data.log")
    blank_star(folder / "known.star", folder / "images.star", "images.mrcs")
    norm = ["--norm", "--bg_radius", math.ceil(object_diameter(folder) / PIXEL / 2)]
    run([peer.need("relion_preprocess"), "--operate_on", "raw.mrcs", "--operate_out", "images", *norm], folder, "data.log")
    # the normalised images at their true poses
    (folder / "posed").mkdir(exist_ok=True)
    shutil.copy(folder / "images.mrcs", folder / "posed/known.mrcs")
    shutil.copy(folder / "known.star", folder / "posed/known.star")
    run([*im4d, "recon", "posed/known.mrcs", "consensus.mrc", "--membership", "all", "--seed", 1, *end], folder, "data.log")


def blank_star(source: Path, target: Path, stack: str) -> None:
    """The STAR file of the images with all but names and optics taken out."""
    text = source.read_text(encoding="utf-8")
    tables = read_star(source)
    names = [n.partition("@")[0] + "@" + stack for n in tables["particles"]["_rlnImageName"]]
    optics = text[: text.index("data_particles")]
    rows = "\n".join(f"{name} 1" for name in names)
    target.write_text(f"{optics}data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n{rows}\n\n", encoding="utf-8")


def object_diameter(folder: Path) -> float:
    """Angstrom: the farthest blob of any structure and two of its widths."""
    models = read_models(folder / "truth.blobs.json").models
    reach = max(float((np.linalg.norm(m.positions, axis=1) + 2 * m.sigma).max()) for m in models)
    return round(min(2 * reach, BOX - 10) * PIXEL)


def relion(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """RELION's 3D classification."""
    (folder / "Class3D").mkdir(exist_ok=True)
    command = [peer.need("relion_refine"), "--i", "images.star", "--o", "Class3D/run", "--ref", "consensus.mrc"]
    command += ["--ini_high", asked.ini_high, "--K", SETS, "--iter", asked.iterations, "--tau2_fudge", asked.tau2_fudge]
    command += ["--particle_diameter", object_diameter(folder), "--zero_mask", "--flatten_solvent", "--norm", "--scale"]
    command += ["--sym", "C1", "--healpix_order", 2, "--oversampling", 1, "--offset_range", 3, "--offset_step", 2]
    command += ["--pad", 2, "--pool", 30, "--dont_combine_weights_via_disc", "--preread_images", "--j", 1]
    command += ["--random_seed", asked.seed]
    return run(command, folder, "relion.log") | {"command": " ".join(["relion_refine", *map(str, command[1:])])}


def score_relion(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Its last iteration, through the code that scores ours."""
    last = folder / f"Class3D/run_it{asked.iterations:03d}"
    scored = folder / "scored"
    scored.mkdir(exist_ok=True)
    shutil.copy(folder / "images.mrcs", scored / "images.mrcs")
    shutil.copy(f"{last}_data.star", scored / "images.star")
    maps = [read_stack(f"{last}_class{k:03d}.mrc")[0].reshape(BOX, BOX, BOX) for k in range(1, SETS + 1)]
    write_stack(scored / "volumes.hed", np.stack(maps), pixel_size=PIXEL, overwrite=True)
    return score(folder, scored / "images.mrcs", scored / "volumes.hed")


def refine(folder: Path, seed: int) -> dict[str, Any]:
    """One start of ours."""
    name = f"refine_{seed}"
    shutil.rmtree(folder / name, ignore_errors=True)
    command = [*peer.im4d(), "refine", "sim.hed", name, "--volumes", SETS, "--seed", seed, "--no-report", "--threads", 1, "-q"]
    used = run(command, folder, f"{name}.log")
    summary = json.loads((folder / name / "summary.json").read_text(encoding="utf-8"))
    used |= {"seed": seed, "iterations": summary["iterations"], "converged": summary["converged"]}
    return used | score(folder, folder / name / "images.hed", folder / name / "volumes.hed")


def score(folder: Path, images: Path, volumes: Path) -> dict[str, Any]:
    """Memberships, poses and volumes against truth."""
    found = compare(images, folder / "known.hed", volumes=volumes, truth_volumes=folder / "truth.blobs.json", threads=1)
    curves = {v.true: v.fsc05 or 0.0 for v in found.volumes}
    fsc = [curves.get(k, 0.0) for k in range(1, SETS + 1)]
    return {
        "ari": round(found.ari, 4), "accuracy": round(found.accuracy, 4), "pose": round(found.pose_error["median"], 2),
        "fsc05": [round(f, 3) for f in fsc], "fsc05_A": [round(2 * PIXEL / f, 1) if f else None for f in fsc],
        "table": found.table,
    }  # fmt: skip


def step(path: Path, work: Any) -> dict[str, Any]:
    """The result of a step: read when it is there, made and written otherwise."""
    if not path.exists():
        result = work() or {}
        path.with_suffix(".part").write_text(json.dumps(result), encoding="utf-8")
        path.with_suffix(".part").rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def lines(theirs: dict[str, Any] | None, ours: list[dict[str, Any]]) -> list[str]:
    """Table for people."""
    rows = ["| program | start | CPU s | wall s | images right | ARI | pose error, degrees | FSC 0.5, A |", "|---" * 8 + "|"]

    def row(name: str, start: str, r: dict[str, Any]) -> str:
        fsc = ", ".join("none" if a is None else f"{a:.1f}" for a in r["fsc05_A"])
        head = f"| {name} | {start} | {r['cpu']:.1f} | {r['wall']:.0f} "
        return head + f"| {100 * r['accuracy']:.1f} % | {r['ari']:.3f} | {r['pose']:.2f} | {fsc} |"

    if theirs:
        rows.append(row("relion_refine", "consensus map", theirs))
    rows.extend(row("im4d refine", f"random, seed {r['seed']}", r) for r in ours)
    return rows


def summary(theirs: dict[str, Any] | None, ours: list[dict[str, Any]]) -> dict[str, Any]:
    """Starts that were right, CPU seconds, ratio to RELION."""
    if not ours:
        return {}
    seconds = sorted(r["cpu"] for r in ours)
    right = sum(r["accuracy"] >= RIGHT for r in ours)
    out = {"starts": len(ours), "right": right, "cpu_median": float(np.median(seconds)), "cpu_worst": seconds[-1]}
    if theirs:
        out |= {"ratio_median": round(theirs["cpu"] / out["cpu_median"], 1), "ratio_worst": round(theirs["cpu"] / seconds[-1], 1)}
    return out


def main() -> None:
    """Run what is not there yet, print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seed", type=int, default=5001, help="of the structures; images take the next, starts those after it")
    ask.add_argument("--starts", type=int, default=1, help="runs of im4d refine on the same images, each from its own seed")
    ask.add_argument("--images", type=int, default=1000)
    ask.add_argument("--snr", type=float, default=1.5)
    ask.add_argument("--shift-sigma", type=float, default=1.0, help="pixels")
    ask.add_argument("--iterations", type=int, default=8, help="of RELION")
    ask.add_argument("--ini-high", type=float, default=45.0, help="low-pass of the consensus map, angstrom")
    ask.add_argument("--tau2-fudge", type=float, default=4.0)
    ask.add_argument("--folder", help="keep everything here, and go on from what is there")
    ask.add_argument("--only", default="data,relion,im4d", help="steps to run: data, relion, im4d")
    ask.add_argument("--json", action="store_true", help="print one JSON document")
    asked = ask.parse_args()
    steps = set(asked.only.split(","))
    if not asked.folder:
        with tempfile.TemporaryDirectory() as name:
            benchmark(Path(name), asked, steps)
        return
    folder = Path(asked.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(asked).items() if k in ("seed", "images", "snr", "shift_sigma")}
    if step(folder / "settings.json", lambda: settings) != settings:
        sys.exit(f"{folder} holds the data of other settings; name another folder")
    benchmark(folder, asked, steps)


def benchmark(folder: Path, asked: argparse.Namespace, steps: set[str]) -> None:
    """All steps in one folder."""
    step(folder / "data.json", lambda: make_data(folder, asked))
    theirs = None
    if "relion" in steps or (folder / "relion.json").exists():
        theirs = step(folder / "relion.json", lambda: relion(folder, asked)) | score_relion(folder, asked)
    ours = []
    if "im4d" in steps:
        # kernels are compiled once per installation, not once per run
        run([*peer.im4d(), "warmup", "-q"], folder, "warmup.log")
    for seed in range(asked.seed + 2, asked.seed + 2 + asked.starts):
        path = folder / f"refine_{seed}.json"
        if "im4d" in steps or path.exists():
            ours.append(step(path, lambda seed=seed: refine(folder, seed)))
            print(f"start {len(ours)}: {ours[-1]}", file=sys.stderr, flush=True)
    total = summary(theirs, ours)
    if asked.json:
        print(json.dumps({"relion": theirs, "im4d": ours, "summary": total}, indent=1))
        return
    print("\n".join(lines(theirs, ours)))
    if ours:
        print(f"\nim4d refine: {total['right']} of {total['starts']} starts put {100 * RIGHT:.0f} % of the images or more right")
        print(f"CPU seconds of im4d refine: {total['cpu_median']:.1f} (median), {total['cpu_worst']:.1f} (worst)")
    if "ratio_median" in total:
        print(f"RELION took {total['ratio_median']:.1f} times the median of ours, {total['ratio_worst']:.1f} times the worst")


if __name__ == "__main__":
    main()
