"""MSA in three dimensions: small differences, minorities, nothing there, speed.

    python benchmarks/msa_projections.py FOLDER [--seeds A-B] [--rows half,minority,rare,motion,nothing,...]
    [--poses true]

Every row makes structures of its own from the seed: a blob model, and the same without a compact part of about 5 % of its
mass. Poses are those of `im4d refine --volumes 1`, or with ``--poses true`` the true ones. Printed are, for every seed, the
adjusted Rand index of the states with the truth (or the number of eigenvolumes above the noise, where nothing is there) and CPU
seconds. In the row ``motion`` a domain of about 13 % of the mass is turned about its hinge by 0 to 60 degrees, in 21 steps;
printed is the rank correlation of angle and first coordinate, and with true poses the FSC of 3Ds of the images near five places
with the true ones, mean over the frequencies up to the band limit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from imagic4d_core.fsc import shell_curves
from imagic4d_core.io.stack import open_stack, read_stack
from imagic4d_core.models import read_models, volume

ROWS = {
    "half": {"populations": "50,50", "images": 600},
    "minority": {"populations": "90,10", "images": 600},
    "rare": {"populations": "97,3", "images": 600},
    "motion": {"populations": "1" + 20 * ",1", "images": 2000},
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


def models(path: Path, seed: int, share: float, two: bool, steps: int = 0) -> None:
    """A blob model, and where `two` the same without the compact group of blobs whose mass is nearest to `share`.

    With `steps`: the model with this group turned by 0 to 60 degrees about an axis through its blob nearest to the centre.
    """
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
    if steps:
        index = np.array(sorted(gone))
        hinge = place[index[np.argmin(np.linalg.norm(place[index] - place.mean(0), axis=1))]]
        axis = np.cross(place[index].mean(0) - hinge, np.random.default_rng(seed).standard_normal(3))
        document["models"] = []
        for k, angle in enumerate(np.linspace(0, 60, steps)):
            turn = Rotation.from_rotvec(np.deg2rad(angle) * axis / np.linalg.norm(axis)).as_matrix()
            moved = place.copy()
            moved[index] = (place[index] - hinge) @ turn.T + hinge
            own = [b | dict(zip("xyz", map(float, at), strict=True)) for b, at in zip(blobs, moved, strict=True)]
            document["models"].append({"name": f"{k}", "blobs": own})
    elif two:
        document["models"].append({"name": "without", "blobs": [b for i, b in enumerate(blobs) if i not in gone]})
    file.write_text(json.dumps(document))


def one(folder: Path, row: str, seed: int, true_poses: bool) -> str:
    """One data set: what is printed of it."""
    what = ROWS[row]
    folder.mkdir(parents=True, exist_ok=True)
    moving = row == "motion"
    models(folder, seed, 0.13 if moving else 0.05, what["populations"] is not None, 21 if moving else 0)
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
        "msa", "projections", posed, folder / "msa", "--images-out", folder / "states.hed", "--seed", seed,
        *(["--states", 0] if moving else ["--as-membership"]), *(["--eigenvolumes", 4] if row == "speed" else []), *ctf,
        "--threads", 1, "--overwrite", "--json",
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    document = json.loads(found)
    text = f"{document['noise']['factors']} above the noise, states {document['states']}, {seconds:.1f} CPU s"
    if moving:
        text = motion(folder, truth, true_poses) + ", " + text
    elif what["populations"]:
        score = json.loads(im4d("compare", folder / "states.hed", truth, "--json"))
        text = f"ARI {score['ari']:.3f}, " + text
    return f"{row} seed {seed}: {text}"


def motion(folder: Path, truth: Path, true_poses: bool) -> str:
    """How well coordinates follow the angle of a domain, and 3Ds along them the true ones."""
    with open_stack(folder / "states.hed") as stack:
        z = stack.headers()["COOSMSA"][:, 0].astype(float)
    with open_stack(truth) as stack:
        step = stack.headers()["REF3D"].astype(float) - 1
    text = f"rank correlation {abs(spearmanr(z, step).statistic):.3f}"
    if not true_poses:
        return text
    images, out = folder / "states.hed", folder / "near.hed"
    done = json.loads(im4d("msa", "volumes", folder / "msa", out, "--from-images", images, "--along=-1.5,1.5", "--number", 5,
                           "--threads", 1, "--overwrite", "--json"))  # fmt: skip
    made, _ = read_stack(out)
    true = read_models(folder / "truth.blobs.json").models
    limit = json.loads((folder / "msa.json").read_text())["r_max"]
    curves = []
    for (at,), v in zip(done["at"], made, strict=True):
        w = np.exp(-0.5 * ((z / z.std() - at) / 0.5) ** 2)
        nearest = true[round(float((w * step).sum() / w.sum()))]
        curves.append(float(shell_curves(v, volume(nearest, v.shape[0])).fsc[2 : limit - 1].mean()))
    return text + f", mean FSC {', '.join(f'{c:.2f}' for c in curves)} of {', '.join(f'{n:.0f}' for n in done['images'])} images"


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
