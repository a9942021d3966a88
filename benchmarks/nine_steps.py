#!/usr/bin/env python3
"""From raw single images to final 3Ds: examples/real_science/nine_steps.sh on simulated images, scored against the truth.

    python benchmarks/nine_steps.py --images 5000 --seeds 2102-2104 --folder nine
    python benchmarks/nine_steps.py --images 20000 --seeds 2101 --folder nine20
    python benchmarks/nine_steps.py --images 5000 --seeds 2102 --folder nine --relion 500

Three related structures, box 64, 4 A per pixel, CTF of 1 to 3 micrometre underfocus, shifts of 3 px sigma in each direction. The
procedure knows the images and their defocus, nothing else. For every seed: how many 3Ds, adjusted Rand index and share of the
single images in the right 3D, FSC 0.5 of every 3D against the truth (fraction of Nyquist), error of poses and shifts against the
truth, quality of the classes (see classify2d.py), CPU seconds of the steps. The folder keeps everything: a benchmark that was
stopped goes on, and a seed that is done is only printed. Steps that were stopped count from where they were taken up again; such
seeds are marked.

With --relion N RELION gets the first N images of the first seed: iterations of its 2D classification (--relion-classes) and of
its 3D classification (K = 3, from the consensus map of step 7), CPU seconds each. What whole runs would take is an extrapolation
from these, linear in images, classes and iterations, and is printed as such.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import classify2d  # noqa: E402
import numpy as np  # noqa: E402
import relion as peer  # noqa: E402

from imagic4d_core.geometry.poses import Poses  # noqa: E402
from imagic4d_core.io.stack import open_stack, write_stack  # noqa: E402
from imagic4d_core.jobs.truth.compare import compare  # noqa: E402

HERE = Path(__file__).resolve().parent
STEPS = {"classes": "4", "averages": "5", "parallel": "7", "final": "8"}


def environment(folder: Path) -> dict[str, str]:
    """One thread, and an `im4d` on the path that is the one of this environment."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "im4d").write_text(f'#!/bin/sh\nexec {" ".join(peer.im4d())} "$@"\n')
    (programs / "im4d").chmod(0o755)
    env = peer.single_thread()
    return env | {"PATH": f"{programs}{os.pathsep}{env['PATH']}"}


def run(folder: Path, seed: int, asked: argparse.Namespace) -> None:
    """The nine steps of a seed, or what is missing of them; on one core."""
    place = folder / f"s{seed}"
    place.mkdir(exist_ok=True)
    settings = {"NUMBER": asked.images, "SNR": asked.snr, "CLASSES": asked.classes, "K": 3, "SEED": seed, "DIR": place}
    command = ["bash", str(HERE.parent / "examples/real_science/nine_steps.sh")]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command] if asked.pin else command
    env = environment(folder) | {k: str(v) for k, v in settings.items()}
    if any(place.glob("*.done")) and not (place / "9c_picture.done").exists():
        (place / "resumed").touch()
    with open(place / "log.txt", "a", encoding="utf-8") as log:
        done = subprocess.run(command, env=env, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"seed {seed}: stopped, see {place / 'log.txt'}; start again to go on")


def score(place: Path) -> dict[str, Any]:
    """What came out, against the truth."""
    summary = json.loads((place / "final/summary.json").read_text(encoding="utf-8"))
    found = compare(
        place / "final/images.hed", place / "known.hed", volumes=place / "final/volumes.hed",
        truth_volumes=place / "truth.blobs.json", threads=1,
    )  # fmt: skip
    assert found is not None
    with open_stack(place / "classes/images.hed") as stack:
        classes = np.rint(stack.headers()["CLASSNO"]).astype(int)
    with open_stack(place / "known.hed") as stack:
        truth = Poses.from_headers(stack.headers())
    purity, angles = classify2d.quality(classes, truth.ref3d, truth.matrices()[:, 2])
    cpu: dict[str, float] = {}
    for line in (place / "cpu.txt").read_text(encoding="utf-8").splitlines():
        name, *seconds = line.split()
        cpu[name] = cpu.get(name, 0.0) + sum(map(float, seconds))
    part = {k: round(sum(v for n, v in cpu.items() if n.startswith(at)), 1) for k, at in STEPS.items()}
    # making the images and comparing them with the truth belong to the benchmark, not to the procedure
    whole = sum(v for n, v in cpu.items() if not n.startswith(("1", "9b")))
    return {
        "images": found.images, "volumes": len(summary["volumes"]), "converged": summary["converged"], "ari": round(found.ari, 4),
        "accuracy": round(found.accuracy, 4), "fsc05": [round(v.fsc05 or 0.0, 3) for v in found.volumes],
        "pose": round(found.pose_error["median"], 2), "shift": round(found.shift_error["median"], 3), "table": found.table,
        "purity": round(purity, 3), "view": round(float(np.median(angles)), 1), "cpu": round(whole, 1), "steps": part,
        "resumed": (place / "resumed").exists(),
    }  # fmt: skip


def row(seed: int, r: dict[str, Any]) -> str:
    """A line of the table."""
    fsc, steps = ", ".join(f"{f:.2f}" for f in r["fsc05"]), " + ".join(f"{v:.0f}" for v in r["steps"].values())
    mark = " (resumed)" if r["resumed"] else ""
    return (
        f"| {r['images']} | {seed} | {r['purity']:.2f}, {r['view']:.0f} | {r['volumes']} | {r['ari']:.3f} "
        f"| {100 * r['accuracy']:.1f} % | {fsc} | {r['pose']:.1f} | {r['shift']:.2f} | {r['cpu']:.0f} ({steps}){mark} |"
    )


def relion(folder: Path, place: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds of RELION's iterations on the first images of a seed."""
    work = folder / "relion"
    work.mkdir(exist_ok=True)
    done = work / "result.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    n = asked.relion
    with open_stack(place / "particles.hed") as stack:
        data, h = stack.read(0, n), stack.headers(0, n)
        box, pixel = stack.lines, float(stack.pixel_size or 4.0)
    write_stack(work / "images.mrcs", data, h, pixel_size=pixel, overwrite=True)
    with open_stack(place / "members_3d.hed") as stack:
        write_stack(work / "consensus.mrc", stack.read_volumes(0, 1), pixel_size=pixel, overwrite=True)
    star(work, h, box, pixel)
    common = [
        "--i",
        "images.star",
        "--dont_combine_weights_via_disc",
        "--preread_images",
        "--j",
        1,
        "--pool",
        30,
        "--pad",
        2,
        "--ctf",
    ]
    common += [
        "--norm",
        "--scale",
        "--zero_mask",
        "--flatten_solvent",
        "--oversampling",
        1,
        "--random_seed",
        1,
        "--dont_check_norm",
    ]
    common += ["--particle_diameter", round(0.8 * box * pixel), "--offset_range", 5, "--offset_step", 2]
    program = peer.need("relion_refine")
    out: dict[str, Any] = {"images": n}
    runs = {
        "2D": ["--K", asked.relion_classes, "--psi_step", 12, "--tau2_fudge", 2, "--iter", 2],
        "3D": [
            "--K",
            3,
            "--ref",
            "consensus.mrc",
            "--ini_high",
            40,
            "--healpix_order",
            2,
            "--sym",
            "C1",
            "--tau2_fudge",
            4,
            "--iter",
            2,
        ],
    }
    for name, options in runs.items():
        used = []
        for many in (1, 2):
            options[-1] = many
            (work / f"{name}{many}").mkdir(exist_ok=True)
            used.append(peer.cpu_of(program, *common, "--o", f"{name}{many}/run", *options, cwd=work))
        # the first iteration aside, so that start-up does not count
        out[name] = {"first": round(used[0], 1), "iteration": round(used[1] - used[0], 1)}
        out[name]["options"] = " ".join(map(str, options[:-2]))
    done.write_text(json.dumps(out, indent=1), encoding="utf-8")
    return out


def star(work: Path, h: np.ndarray, box: int, pixel: float) -> None:
    """Images with their defocus, and nothing of their poses."""
    optics = "_rlnOpticsGroup _rlnOpticsGroupName _rlnVoltage _rlnSphericalAberration _rlnAmplitudeContrast _rlnImagePixelSize"
    optics += " _rlnImageSize _rlnImageDimensionality"
    names = "_rlnImageName _rlnMicrographName _rlnOpticsGroup _rlnDefocusU _rlnDefocusV _rlnDefocusAngle"

    def table(name: str, columns: str, rows: list[str]) -> str:
        heads = "\n".join(f"{c} #{i}" for i, c in enumerate(columns.split(), 1))
        return f"data_{name}\n\nloop_\n{heads}\n" + "\n".join(rows) + "\n\n"

    rows = [
        f"{i + 1}@images.mrcs m 1 {a:.1f} {b:.1f} 0" for i, (a, b) in enumerate(zip(h["DEFOCUS1"], h["DEFOCUS2"], strict=True))
    ]
    text = table("optics", optics, [f"1 all 300 2.7 0.1 {pixel} {box} 2"]) + table("particles", names, rows)
    (work / "images.star").write_text(text, encoding="utf-8")


def main() -> None:
    """Run what is missing, print tables."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=5000)
    ask.add_argument("--snr", type=float, default=0.1)
    ask.add_argument("--classes", type=int, default=100)
    ask.add_argument("--seeds", default="2102")
    ask.add_argument("--folder", default="nine_steps")
    ask.add_argument("--pin", action="store_true", help="on one core only")
    ask.add_argument("--relion", type=int, default=0, metavar="N", help="measure RELION's iterations on N images")
    ask.add_argument("--relion-classes", type=int, default=20, help="of RELION's 2D classification")
    ask.add_argument("--only-done", action="store_true", help="run nothing, print seeds that are done")
    ask.add_argument("--json", action="store_true")
    asked = ask.parse_args()
    folder = Path(asked.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    first, _, last = asked.seeds.partition("-")
    results = {}
    if not asked.json:
        heads = "images, seed, classes: purity and views, 3Ds, ARI, right 3D, FSC 0.5, pose in degrees, shift in px"
        print("| " + " | ".join(heads.split(", ")) + " | CPU s (classify2d + 5 + 7 + 8) |")
        print("|---" * 10 + "|")
    for seed in range(int(first), int(last or first) + 1):
        place = folder / f"s{seed}"
        if not (place / "9c_picture.done").exists():
            if asked.only_done:
                continue
            run(folder, seed, asked)
        if not (place / "score.json").exists():
            (place / "score.json").write_text(json.dumps(score(place)), encoding="utf-8")
        results[seed] = json.loads((place / "score.json").read_text(encoding="utf-8"))
        if not asked.json:
            print(row(seed, results[seed]), flush=True)
    theirs = relion(folder, folder / f"s{int(first)}", asked) if asked.relion else None
    if asked.json:
        print(json.dumps({"im4d": results, "relion": theirs}, indent=1))
        return
    if theirs:
        n, flat, deep = theirs["images"], theirs["2D"]["iteration"], theirs["3D"]["iteration"]
        print(f"\nRELION, measured, CPU s an iteration for {n} images:")
        print(f"  2D classification, {asked.relion_classes} classes: {flat}; 3D classification, K = 3: {deep}")
        more = asked.images / n * 25  # images, and iterations of its defaults
        two, three = flat * more * asked.classes / asked.relion_classes, deep * more
        print(f"extrapolated (not measured) to {asked.images} images and 25 iterations each:")
        print(f"  2D classification, {asked.classes} classes: {two:.0f} CPU s; 3D classification: {three:.0f} CPU s")


if __name__ == "__main__":
    main()
