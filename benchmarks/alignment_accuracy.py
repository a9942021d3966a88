"""Accuracy of alignment against truth: im4d mra beside RELION's 2D expectation step and ASPIRE-Python, on the same images.

    python benchmarks/alignment_accuracy.py [--boxes 64,65] [--snr 1,0.3,0.1,0.03,0.01] [--images 200] [--references 10]
        [--relion] [--aspire PYTHON] [--picture FILE.png] [--json FILE]

Images are exact projections of a blob model, each one of the references turned at random and displaced by up to 3 pixels, with
white noise; SNR is the variance of the signal over that of the noise, over the whole box. All programs get the same references,
shifts up to 4 pixels, and no mirrors. RELION: one iteration of relion_refine with these references on the absolute grey scale, 6
degrees and --oversampling 1 (its default: 3 degrees and half a pixel), so its finest step bounds its accuracy. ASPIRE (PYTHON is
one that has it): BFSRAverager2D, which aligns each image to the reference that is right (it does not choose), with 3 degrees and
whole pixels, on a part of the images.

Printed for each: share of images with the right reference; of those, median rotation error and median shift error; share of all
images that are right in all (reference, rotation within 10 degrees, shift within 2 pixels); CPU seconds with start-up (ASPIRE:
without).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from relion import PIXEL, cpu_of, single_thread, smooth_blobs

from imagic4d_core.align.moving import Maps
from imagic4d_core.geometry.euler import matrix_from_euler, random_rotations
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.io.star import read_star
from imagic4d_core.models import project

ASPIRE = """
import sys, json, time, logging
import numpy as np
logging.disable(logging.CRITICAL)
from aspire.image import Image
from aspire.source import ArrayImageSource
from aspire.basis import FFBBasis2D
from aspire.classification import BFSRAverager2D
refs, images, kind = np.load("refs.npy"), np.load("images.npy"), np.load("kind.npy")
k, box = len(refs), refs.shape[-1]
stack = np.concatenate([refs, images]).astype(np.float64)
src = ArrayImageSource(Image(stack), pixel_size=2.0)
size = max(np.bincount(kind, minlength=k)) + 1
classes = np.zeros((k, size), int)
for j in range(k):
    mine = k + np.flatnonzero(kind == j)
    classes[j] = np.concatenate([[j], mine, np.full(size - 1 - len(mine), j)])
basis = FFBBasis2D((box, box), dtype=np.float64)
averager = BFSRAverager2D(basis, src, n_angles=int(sys.argv[1]), radius=int(sys.argv[2]))
coefficients = basis.evaluate_t(Image(stack))
start = time.process_time()
rotations, shifts, _ = averager.align(classes, np.zeros_like(classes, bool), coefficients)
cpu = time.process_time() - start
angle, move = np.zeros(len(images)), np.zeros((len(images), 2))
for j in range(k):
    for c in range(1, size):
        i = classes[j, c] - k
        if i >= 0:
            angle[i], move[i] = rotations[j, c], shifts[j, c]
np.savez("aspire.npz", angle=angle, shift=move, cpu=cpu)
"""


def make(box: int, snr: float, images: int, references: int) -> dict[str, np.ndarray]:
    """References and images, noise of standard deviation 1, and what brings each image onto its reference."""
    rng = np.random.default_rng(7)
    model = smooth_blobs(box, 0.03 * box)
    views = random_rotations(rng, references)
    refs = project(model, views, np.zeros((references, 2)), box)
    kind = np.arange(images) % references
    turn = rng.uniform(-180, 180, images)
    move = np.clip(rng.normal(size=(images, 2)) * 1.2, -2.1, 2.1)
    poses = matrix_from_euler(-turn, np.zeros(images), np.zeros(images)) @ views[kind]
    clean = project(model, poses, move, box)
    sigma = float(clean.std()) / np.sqrt(snr)
    noise = np.random.default_rng(int(1e4 * snr) + box).standard_normal(clean.shape, dtype=np.float32)
    return {"refs": refs / sigma, "images": clean / sigma + noise, "kind": kind, "turn": turn, "move": move}


def scored(d: dict[str, np.ndarray], kind: np.ndarray, maps: Maps, cpu: float) -> dict[str, float]:
    """Errors against truth."""
    true = Maps.of(-np.deg2rad(d["turn"]), -d["move"], np.zeros(len(d["turn"]), bool))
    angle = np.rad2deg(np.abs(true.inverse().then(maps).parts()[0]))
    shift = np.hypot(*(maps.parts()[1] - true.parts()[1]).T)
    good = kind == d["kind"]
    near = good & (angle < 10) & (shift < 2)
    return {
        "reference": float(good.mean()), "rotation": float(np.median(angle[good])), "shift": float(np.median(shift[good])),
        "right": float(near.mean()), "cpu": cpu,
    }  # fmt: skip


def run_im4d(d: dict[str, np.ndarray], folder: Path) -> dict[str, float]:
    """One im4d mra."""
    write_stack(folder / "refs.hed", d["refs"], overwrite=True)
    write_stack(folder / "images.hed", d["images"], overwrite=True)
    cpu = cpu_of(
        sys.executable, "-m", "imagic4d_cli.main", "mra", "images.hed", "refs.hed", "out.hed", "--max-shift", "4", "--no-mirror",
        "--too-far", "limit", "--increment", "6", "--threads", "1", "--overwrite", cwd=folder,
    )  # fmt: skip
    h = read_stack(folder / "out.hed")[1]
    return scored(d, h["REF"] - 1, Maps.from_headers(h), cpu)


def run_relion(d: dict[str, np.ndarray], folder: Path, oversampling: str = "1", reach: str = "4") -> dict[str, float]:
    """One expectation step of relion_refine."""
    box = d["refs"].shape[-1]
    write_stack(folder / "refs.mrcs", d["refs"], pixel_size=PIXEL, overwrite=True)
    h = blank_headers(len(d["images"]), box, box, pixel_size=PIXEL)
    h["DEFOCUS1"] = 0
    write_stack(folder / "relion.mrcs", d["images"], h, pixel_size=PIXEL, overwrite=True)
    rows = "".join(f"{i + 1:06d}@relion.mrcs 1\n" for i in range(len(d["images"])))
    optics = (
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName #2\n_rlnImagePixelSize #3\n_rlnImageSize #4\n"
        f"_rlnImageDimensionality #5\n_rlnVoltage #6\n_rlnSphericalAberration #7\n_rlnAmplitudeContrast #8\n"
        f"1 og1 {PIXEL} {box} 2 300 2.7 0.1\n\n"
    )
    (folder / "relion.star").write_text(
        f"# version 30001\n\n{optics}\n# version 30001\n\ndata_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n{rows}"
    )
    names = "".join(f"{k + 1:06d}@refs.mrcs\n" for k in range(len(d["refs"])))
    (folder / "refs.star").write_text(f"data_\n\nloop_\n_rlnReferenceImage #1\n{names}")
    (folder / "run").mkdir(exist_ok=True)
    for old in (folder / "run").iterdir():
        old.unlink()
    cpu = cpu_of(
        "nice", "-n", "10", "relion_refine", "--i", "relion.star", "--o", "run/run", "--ref", "refs.star", "--iter", "1",
        "--psi_step", "6", "--offset_range", reach, "--offset_step", "1", "--oversampling", oversampling, "--particle_diameter",
        f"{0.95 * box * PIXEL:.0f}", "--pad", "2", "--tau2_fudge", "2", "--dont_check_norm", "--j", "1", "--random_seed", "1",
        "--K", str(len(d["refs"])), cwd=folder,
    )  # fmt: skip
    rows = read_star(folder / "run" / "run_it001_data.star")["particles"]
    order = np.argsort([int(name.partition("@")[0]) for name in rows["_rlnImageName"]])
    names = ("AnglePsi", "OriginXAngst", "OriginYAngst", "ClassNumber")
    psi, x, y, kind = (np.array(rows[f"_rln{k}"], float)[order] for k in names)
    shift = np.stack([y, x], 1) / PIXEL
    return best_reading(d, kind.astype(int) - 1, np.deg2rad(psi), shift, cpu, before=True)


def run_aspire(
    d: dict[str, np.ndarray], folder: Path, python: str, most: int, angles: int = 120, radius: int = 4
) -> dict[str, float]:
    """ASPIRE's brute-force averager, on the right references."""
    part = {name: (values if name == "refs" else values[:most]) for name, values in d.items()}
    for name in ("refs", "images", "kind"):
        np.save(folder / f"{name}.npy", part[name])
    done = subprocess.run(
        ["nice", "-n", "10", python, "-c", ASPIRE, str(angles), str(radius)], cwd=folder, capture_output=True, text=True,
        env={k: v for k, v in single_thread().items() if k != "PYTHONPATH"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    out = np.load(folder / "aspire.npz")
    return best_reading(part, part["kind"], out["angle"], out["shift"], float(out["cpu"]), before=True)


def best_reading(
    d: dict[str, np.ndarray], kind: np.ndarray, angle: np.ndarray, shift: np.ndarray, cpu: float, before: bool
) -> dict[str, float]:
    """Score under the reading of a program's signs, axes and order that fits the truth best: conventions must not count."""
    found = []
    none = np.zeros(len(angle), bool)
    for turn in (angle, -angle):
        for quarter in (0.0, np.pi / 2, np.pi, -np.pi / 2):
            for axes in (shift, shift[:, ::-1]):
                for sx in (1, -1):
                    for sy in (1, -1):
                        s = axes * [sx, sy]
                        first = Maps.of(turn + quarter, s, none)
                        found.append(first)
                        if before:
                            found.append(Maps.of(turn + quarter, np.zeros_like(s), none).then(Maps.shifts(s)))
    return max((scored(d, kind, maps, cpu) for maps in found), key=lambda r: (round(r["right"], 2), -r["rotation"] - r["shift"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", default="64,65")
    parser.add_argument("--snr", default="1,0.3,0.1,0.03,0.01")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--references", type=int, default=10)
    parser.add_argument("--relion", action="store_true")
    parser.add_argument("--aspire", metavar="PYTHON")
    parser.add_argument("--aspire-images", type=int, default=40)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table: list[dict] = []
    print("| box | SNR | program | right reference | rotation, degrees | shift, pixels | right in all | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        for box in map(int, args.boxes.split(",")):
            for snr in map(float, args.snr.split(",")):
                d = make(box, snr, args.images, args.references)
                runs = {"im4d mra": lambda d=d: run_im4d(d, folder)}
                if args.relion and box % 2 == 0:
                    runs["RELION"] = lambda d=d: run_relion(d, folder)
                if args.aspire:
                    runs["ASPIRE"] = lambda d=d: run_aspire(d, folder, args.aspire, args.aspire_images)
                for name, run in runs.items():
                    r = run()
                    table.append({"box": box, "snr": snr, "program": name} | r)
                    ref = "given" if name == "ASPIRE" else f"{100 * r['reference']:.1f} %"
                    errors = f"{r['rotation']:.2f} | {r['shift']:.2f} | {100 * r['right']:.1f} %"
                    print(f"| {box} | {snr:g} | {name} | {ref} | {errors} | {r['cpu']:.1f} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))
    if args.picture:
        draw(table, args.picture)


def draw(table: list[dict], path: Path) -> None:
    """Errors over SNR."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True)
    kinds = list(dict.fromkeys((r["program"], r["box"]) for r in table))
    for (name, box), mark in zip(kinds, "os^vDx", strict=False):
        rows = sorted((r for r in table if (r["program"], r["box"]) == (name, box)), key=lambda r: r["snr"])
        x = [r["snr"] for r in rows]
        for axis, key, factor in zip(axes, ("rotation", "shift", "right"), (1, 1, 100), strict=True):
            axis.plot(x, [factor * r[key] for r in rows], marker=mark, label=f"{name}, box {box}")
    for axis, what in zip(axes, ("median rotation error, degrees", "median shift error, pixels", "right in all, %"), strict=True):
        axis.set_xscale("log")
        axis.set_xlabel("SNR")
        axis.set_ylabel(what)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[1].set_yscale("log")
    axes[2].legend(fontsize=8)
    fig.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
