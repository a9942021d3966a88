#!/usr/bin/env python3
"""Automatic masks against known truth, beside relion_mask_create on the same maps; prints the table of docs/auto-mask.md.

    python benchmarks/auto_mask.py [--seeds 10] [--boxes 48,64,65] [--snr 0.01,0.03,0.1,0.3,1] [--json FILE]
    python benchmarks/auto_mask.py --images
    python benchmarks/auto_mask.py --picture docs/pictures/auto-mask.png [MAP ...]

Maps: blob models (core/imagic4d_core/models.py) on a grid of 4 A per pixel plus white noise; SNR = variance of the signal
over variance of the noise, whole box. Truth: the smallest set of voxels that holds 95 % of the mass, "envelope": of the
noise-free density seen with a blur of one voxel (s.d.), "density": of the noise-free density itself. Dice is
2 |A and B| / (|A| + |B|); the second three columns do not count voxels next to the border of the truth.

RELION: `relion_mask_create --lowpass L --ini_threshold T` with the threshold T that is best for that very map and that truth,
which nobody can know outside a simulation: once with L = 15 A, and once with the best of 15, 20, 30, 40 A for each map.
im4d: `auto-mask` as it is, the same call for all maps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "core"))

from imagic4d_core import fourier, models
from imagic4d_core.automask.modulation import modulation, smoothed
from imagic4d_core.automask.region import automatic_threshold, region
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.jobs.images.automasking import auto_mask
from imagic4d_core.pictures.png import encode_png
from imagic4d_core.rng import rng_for

PIXEL = 4.0
LOW_PASS = (15, 20, 30, 40)


def smallest_set(density: np.ndarray, part: float = 0.95) -> np.ndarray:
    """The fewest voxels that hold a part of the mass."""
    order = np.sort(density, axis=None)[::-1].astype(np.float64)
    mass = np.cumsum(order)
    return density >= order[np.searchsorted(mass, part * mass[-1])]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two sets."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def tolerant(a: np.ndarray, truth: np.ndarray) -> float:
    """Dice where voxels next to the border of the truth do not count."""
    near = ndimage.binary_dilation(truth) & ~ndimage.binary_erosion(truth)
    return dice(np.where(near, truth, a), truth)


def best_threshold(x: np.ndarray, truth: np.ndarray) -> float:
    """Threshold of the largest Dice."""
    order = np.argsort(x, axis=None)[::-1]
    hits = np.cumsum(truth.ravel()[order])
    k = int(np.argmax(2 * hits / (np.arange(1, hits.size + 1) + truth.sum())))
    return float(x.ravel()[order[k]] + x.ravel()[order[min(k + 1, x.size - 1)]]) / 2


def run(*words: object, folder: str) -> None:
    """Run a program of RELION."""
    subprocess.run([str(w) for w in words], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(path: Path) -> np.ndarray:
    """One volume."""
    with open_stack(path) as stack:
        return stack.read_volumes()[0]


def relion_mask(folder: str, low: int, truth: np.ndarray) -> np.ndarray:
    """RELION's mask of x.mrc with the best threshold."""
    run("relion_image_handler", "--i", "x.mrc", "--o", "low.mrc", "--lowpass", low, "--angpix", PIXEL, folder=folder)
    level = best_threshold(read(Path(folder) / "low.mrc"), truth)
    words = ("--i", "x.mrc", "--o", "m.mrc", "--lowpass", low, "--angpix", PIXEL, "--ini_threshold", f"{level:.9g}")
    run("relion_mask_create", *words, folder=folder)
    return read(Path(folder) / "m.mrc") > 0.5


def one(box: int, seed: int, snr: float) -> dict:
    """All methods on one map."""
    density = models.volume(models.random_family(seed, 1, box)[0], box)
    noise = rng_for(seed, "benchmark/auto-mask", int(1000 * snr)).standard_normal(density.shape).astype(np.float32)
    seen = smoothed(fourier.rfftn(density, 3), density.shape, 1.0)
    truths = {"envelope": smallest_set(seen), "density": smallest_set(density)}
    row: dict = {"box": box, "seed": seed, "snr": snr}
    with tempfile.TemporaryDirectory() as folder:
        x = density + noise * density.std() / np.sqrt(snr)
        write_stack(f"{folder}/x.mrc", x[None], pixel_size=PIXEL)
        done = auto_mask(f"{folder}/x.mrc", f"{folder}/ours.mrc", falloff=0.0)
        ours = read(Path(folder) / "ours.mrc") > 0.5
        row["percent"], row["scale"] = done.masks[0].percent, done.masks[0].resolution
        for name, truth in truths.items():
            masks = {low: relion_mask(folder, low, truth) for low in LOW_PASS}
            row[name] = {
                "ours": dice(ours, truth), "ours_1": tolerant(ours, truth),
                "relion15": dice(masks[15], truth), "relion15_1": tolerant(masks[15], truth),
                "relion": max(dice(m, truth) for m in masks.values()),
                "relion_1": max(tolerant(m, truth) for m in masks.values()),
            }  # fmt: skip
    return row


def images(seeds: range, boxes: list[int], snrs: list[float]) -> None:
    """Masks of projections against truth; prints a table."""
    for snr in snrs:
        found = []
        for box in boxes:
            for seed in seeds:
                density = models.volume(models.random_family(seed, 1, box)[0], box).sum(0)
                noise = rng_for(seed, "benchmark/auto-mask/images", int(1000 * snr)).standard_normal(density.shape)
                made = modulation((density + noise * density.std() / np.sqrt(snr)).astype(np.float32), pixel_size=PIXEL)
                mask = region(made.map, automatic_threshold(made.map))
                truth = smallest_set(smoothed(fourier.rfftn(density, 2), density.shape, 1.0))
                found.append((dice(mask, truth), tolerant(mask, truth)))
        strict, loose = np.mean(found, 0)
        print(f"| {snr:g} | {strict:.3f} | {loose:.3f} | {min(f[0] for f in found):.3f} |")


def tile(section: np.ndarray, mask: np.ndarray, size: int = 150) -> np.ndarray:
    """A section as a picture with the border of its mask in red, colours 0 to 255."""
    place = np.linspace(-0.49, np.array(section.shape) - 0.51, size)
    at = np.meshgrid(place[:, 0], place[:, 1], indexing="ij")
    grey, inside = (ndimage.map_coordinates(a.astype(float), at, order=1, mode="nearest") for a in (section, mask))
    low, high = np.percentile(section, 0.5), np.percentile(section, 99.8)
    out = np.repeat((np.clip((grey - low) / (high - low), 0, 1) * 255).astype(np.uint8)[..., None], 3, -1)
    line = (inside > 0.5) & ~ndimage.binary_erosion(inside > 0.5, iterations=2)
    out[line] = (230, 60, 40)
    return np.pad(out, ((2, 2), (2, 2), (0, 0)), constant_values=255)


def picture(path: str, maps: list[str]) -> None:
    """Central sections: one structure at three SNRs, from noise to none, then real maps in three directions."""
    density = models.volume(models.random_family(100, 1, 64)[0], 64)
    noise = rng_for(100, "benchmark/auto-mask").standard_normal(density.shape).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = [density + noise * density.std() / np.sqrt(snr) for snr in (0.01, 0.1, 1.0)]
        row = []
        for x in made:
            write_stack(f"{folder}/x.mrc", x[None], pixel_size=PIXEL, overwrite=True)
            auto_mask(f"{folder}/x.mrc", f"{folder}/m.mrc", falloff=0.0, overwrite=True)
            row.append(tile(x[32], read(Path(folder) / "m.mrc")[32]))
        rows.append(np.concatenate(row, 1))
        for name in maps:
            done = auto_mask(name, f"{folder}/m.mrc", falloff=0.0, overwrite=True)
            x, m = read(Path(name)), read(Path(folder) / "m.mrc")
            c = [n // 2 for n in x.shape]
            tiles = [tile(x[c[0]], m[c[0]]), tile(x[:, c[1]], m[:, c[1]]), tile(x[:, :, c[2]], m[:, :, c[2]])]
            rows.append(np.concatenate(tiles, 1))
            print(name, *done.lines()[1:])
    Path(path).write_bytes(encode_png(np.concatenate(rows, 0)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--boxes", default="48,64,65")
    parser.add_argument("--snr", default="0.01,0.03,0.1,0.3,1")
    parser.add_argument("--json", help="write all rows")
    parser.add_argument("--images", action="store_true", help="projections in place of volumes, without RELION")
    parser.add_argument("--picture", help="draw masks of simulated maps and of MAP ..., in place of the table")
    parser.add_argument("maps", nargs="*", metavar="MAP")
    args = parser.parse_args()
    if args.picture:
        picture(args.picture, args.maps)
        return
    if args.images:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        images(seeds, [int(b) for b in args.boxes.split(",")], [float(k) for k in args.snr.split(",")])
        return
    rows = []
    for snr in map(float, args.snr.split(",")):
        mine = []
        for box in map(int, args.boxes.split(",")):
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                mine.append(one(box, seed, snr))
                print(".", end="", file=sys.stderr, flush=True)
        rows += mine
        for truth in ("envelope", "density"):
            get = {k: np.array([r[truth][k] for r in mine]) for k in mine[0][truth]}
            text = " | ".join(f"{get[k].mean():.3f}" for k in ("ours", "relion15", "relion", "ours_1", "relion15_1", "relion_1"))
            won = f"{(get['ours'] > get['relion15']).sum()}, {(get['ours'] > get['relion']).sum()} of {len(mine)}"
            print(f"| {truth} | {snr:g} | {text} | {get['ours'].min():.3f} | {won} |", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
