"""MSA in three dimensions: small differences, minorities, nothing there, speed.

    python benchmarks/msa_projections.py FOLDER [--seeds A-B] [--rows half,minority,rare,nothing,preferred,ctf,speed]
    [--poses true]

Every row makes structures of its own from the seed: a blob model, and the same without a compact part of about 5 % of its
mass. Poses
are those of `im4d refine --volumes 1`, or with ``--poses true`` the true ones. Printed are, for every seed, the adjusted Rand
index of the states with the truth (or the number of eigenvolumes above the noise, where nothing is there) and CPU seconds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

ROWS = {
    "half": {"populations": "50,50", "images": 600},
    "minority": {"populations": "90,10", "images": 600},
    "rare": {"populations": "97,3", "images": 600},
    "nothing": {"populations": None, "images": 600},
    "preferred": {"populations": None, "images": 600, "more": ["--preferred", "0.6,20"]},
    "ctf": {"populations": None, "images": 2000, "snr": "0.1", "more": ["--ctf"]},
    "speed": {"populations": "50,50", "images": 1000},
}


def im4d(*args: object) -> str:
    """Run a command on one thread; its standard output."""
    command = [str(Path(sys.executable).parent / "im4d"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode > 1:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def models(path: Path, seed: int, share: float, two: bool) -> None:
    """A blob model, and where `two` the same without the compact group of blobs whose mass is nearest to `share`."""
    im4d("threed-test", path / "truth.hed", "--number", 1, "--size", 64, "--pattern", "blobs", "--seed", seed, "--overwrite")
    file = path / "truth.blobs.json"
    document = json.loads(file.read_text())
    blobs = document["models"][0]["blobs"]
    place = np.array([[b[k] for k in "xyz"] for b in blobs])
    mass = np.array([b["weight"] for b in blobs])
    groups = []
    for centre in place:
        order = np.argsort(np.linalg.norm(place - centre, axis=1))
        part = np.cumsum(mass[order]) / mass.sum()
        k = int(np.abs(part - share).argmin())
        groups.append((abs(part[k] - share), set(order[: k + 1].tolist())))
    gone = min(groups, key=lambda g: g[0])[1]
    if two:
        document["models"].append({"name": "without", "blobs": [b for i, b in enumerate(blobs) if i not in gone]})
    file.write_text(json.dumps(document))


def one(folder: Path, row: str, seed: int, true_poses: bool) -> str:
    """One data set: what is printed of it."""
    what = ROWS[row]
    folder.mkdir(parents=True, exist_ok=True)
    models(folder, seed, 0.05, what["populations"] is not None)
    images, truth = folder / "images.hed", folder / "images_truth.hed"
    args = ["--images", what["images"], "--snr", what.get("snr", 1), "--shift-sigma", 1, "--seed", seed, "--overwrite"]
    args += ["--populations", what["populations"]] if what["populations"] else []
    im4d("simulate", folder / "truth.blobs.json", images, "--truth", truth, *args, *what.get("more", []))
    ctf = ["--weigh-ctf"] if row == "ctf" else []
    posed = truth
    if not true_poses:
        run = folder / "run"
        im4d("refine", images, run, "--volumes", 1, "--seed", seed, "--threads", 1, "--overwrite", "--no-report", *ctf)
        posed = run / "images.hed"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = im4d(
        "msa", "projections", posed, folder / "msa", "--images-out", folder / "states.hed", "--as-membership", "--seed", seed,
        "--threads", 1, "--overwrite", "--json", *(["--eigenvolumes", 4] if row == "speed" else []), *ctf,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    document = json.loads(found)
    text = f"{document['noise']['factors']} above the noise, states {document['states']}, {seconds:.1f} CPU s"
    if what["populations"]:
        score = json.loads(im4d("compare", folder / "states.hed", truth, "--json"))
        text = f"ARI {score['ari']:.3f}, " + text
    return f"{row} seed {seed}: {text}"


def main() -> None:
    """All rows and seeds asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="5001-5004")
    parser.add_argument("--rows", default="half,minority,rare,nothing,preferred,ctf,speed")
    parser.add_argument("--poses", choices=("refine", "true"), default="refine")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    for row in options.rows.split(","):
        for seed in range(int(first), int(last or first) + 1):
            print(one(options.folder / row, row, seed, options.poses == "true"), flush=True)


if __name__ == "__main__":
    main()
