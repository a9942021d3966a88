#!/usr/bin/env python3
"""RELION's 3D classification beside step 8 of the nine steps: the same images, from the same poses.

    python benchmarks/nine_steps.py --images 5000 --seeds 2301 --folder nine
    python benchmarks/nine_steps_relion.py nine/s2301 [--iterations 25] [--json]

Both start from the poses of step 7 (`posed.hed`: from class averages and one alignment to re-projections) and know no
memberships. RELION gets the raw images, normalised by relion_preprocess, with their defocus, and the consensus map of these
poses (relion_reconstruct --ctf, low-passed to 20 A): K = 3, local searches (--sigma_ang 5) at 7.5 degrees oversampled once,
offsets to 4 px, 25 iterations. A search over all directions costs it about 30 times as much (nine_steps.py --relion). One thread;
CPU is user + system time. Memberships, poses and volumes are scored by the code of `im4d compare`. A step that is done is not
done again.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import relion as peer
from relion_class3d import run, step

from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.truth.compare import compare

SETS = 3


def prepare(place: Path, work: Path) -> dict[str, Any]:
    """Normalised images, a STAR file with poses and defocus, and the consensus map."""
    im4d, end = peer.im4d(), ["--threads", 1, "-q", "--overwrite"]
    run([*im4d, "convert", place / "particles.hed", "raw.mrcs", *end], work, "data.log")
    run([*im4d, "convert", place / "posed.hed", "posed.mrcs", *end], work, "data.log")
    norm = ["--operate_on", "raw.mrcs", "--operate_out", "images", "--norm", "--bg_radius", 26]
    run([peer.need("relion_preprocess"), *norm], work, "data.log")
    (work / "in.star").write_text((work / "posed.star").read_text(encoding="utf-8").replace("@posed.mrcs", "@images.mrcs"))
    for name in ("raw.mrcs", "posed.mrcs"):
        (work / name).unlink()
    return run([peer.need("relion_reconstruct"), "--i", "in.star", "--o", "cons.mrc", "--ctf", "--maxres", 12], work, "cons.log")


def classify(work: Path, iterations: int) -> dict[str, Any]:
    """RELION's run."""
    (work / "C").mkdir(exist_ok=True)
    command = ["--i", "in.star", "--o", "C/run", "--ref", "cons.mrc", "--ini_high", 20, "--K", SETS, "--iter", iterations]
    command += ["--tau2_fudge", 4, "--ctf", "--norm", "--scale", "--flatten_solvent", "--zero_mask", "--sym", "C1"]
    command += ["--particle_diameter", 200, "--healpix_order", 3, "--sigma_ang", 5, "--oversampling", 1]
    command += ["--offset_range", 4, "--offset_step", 2, "--pad", 2, "--pool", 30, "--dont_combine_weights_via_disc"]
    command += ["--preread_images", "--j", 1, "--random_seed", 1, "--dont_check_norm"]
    return run([peer.need("relion_refine"), *command], work, "relion.log") | {"command": " ".join(map(str, command))}


def score(place: Path, work: Path, iterations: int) -> dict[str, Any]:
    """Its last iteration against the truth."""
    last, scored = work / f"C/run_it{iterations:03d}", work / "scored"
    scored.mkdir(exist_ok=True)
    if not (scored / "images.mrcs").exists():
        (scored / "images.mrcs").hardlink_to(work / "images.mrcs")
    shutil.copy(f"{last}_data.star", scored / "images.star")
    maps = [read_stack(f"{last}_class{k:03d}.mrc")[0] for k in range(1, SETS + 1)]
    maps = [m.reshape(m.shape[-1], m.shape[-1], m.shape[-1]) for m in maps]
    write_stack(scored / "volumes.hed", np.stack(maps), pixel_size=4.0, overwrite=True)
    found = compare(
        scored / "images.mrcs", place / "known.hed", volumes=scored / "volumes.hed", truth_volumes=place / "truth.blobs.json",
        threads=1,
    )  # fmt: skip
    assert found is not None
    return {
        "ari": round(found.ari, 4), "accuracy": round(found.accuracy, 4), "pose": round(found.pose_error["median"], 2),
        "fsc05": [round(v.fsc05 or 0.0, 3) for v in found.volumes], "table": found.table,
    }  # fmt: skip


def main() -> None:
    """Run what is missing, print both."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("place", help="folder of a seed of nine_steps.py")
    ask.add_argument("--iterations", type=int, default=25)
    ask.add_argument("--json", action="store_true")
    asked = ask.parse_args()
    place = Path(asked.place).resolve()
    if not (place / "score.json").exists():
        sys.exit(f"{place}: no finished seed of nine_steps.py is here")
    work = place / "relion"
    work.mkdir(exist_ok=True)
    step(work / "prepare.json", lambda: prepare(place, work))
    theirs = step(work / "relion.json", lambda: classify(work, asked.iterations)) | score(place, work, asked.iterations)
    ours = json.loads((place / "score.json").read_text(encoding="utf-8"))
    if asked.json:
        print(json.dumps({"relion": theirs, "im4d": ours}, indent=1))
        return
    print("| from the poses of step 7 | ARI | right 3D | FSC 0.5 | pose, degrees | CPU s |\n|---|---|---|---|---|---|")
    for name, r, cpu in (("relion_refine", theirs, theirs["cpu"]), ("step 8", ours, ours["steps"]["final"])):
        fsc = ", ".join(f"{f:.2f}" for f in r["fsc05"])
        print(f"| {name} | {r['ari']:.3f} | {100 * r['accuracy']:.1f} % | {fsc} | {r['pose']:.1f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
