#!/usr/bin/env python3
"""Euler angles from nothing by common lines: how often `im4d angrec --mode new` succeeds, over signal-to-noise and seeds.

    python benchmarks/common_lines.py [--images 24] [--snr 1,0.5,0.3] [--seeds 201-208] [--increment 5]

Images of box 64 of one asymmetric analytic structure, random views, no shifts, white noise. Success: median angle to the true
poses, after one rotation of everything and of the better hand, below 10 degrees. CPU seconds include the random phases.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from imagic4d_core.geometry.euler import angular_distance
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.scheme.angrec.common_lines import startup
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Median angle to the truth, degrees."""
    hand = np.diag([1.0, 1.0, -1.0])
    each = [angular_distance(p @ (p[i].T @ truth[i]), truth) for p in (found, hand @ found @ hand) for i in range(len(p))]
    return float(min(np.median(e) for e in each))


def one(images: int, snr: float, seed: int, increment: float) -> tuple[float, float, bool]:
    """Median error, CPU seconds, and whether the job says that it is above chance."""
    with tempfile.TemporaryDirectory(prefix="im4d_lines_") as name:
        folder = Path(name)
        threed_test(folder / "t.hed", number=1, size=64, pixel_size=3.0, seed=seed)
        simulate(folder / "t.blobs.json", folder / "s.hed", images=images, snr=snr, seed=seed + 1, truth=folder / "k.hed")
        begin = time.process_time()
        said = startup(str(folder / "s.hed"), str(folder / "o.hed"), increment=increment, threads=1)
        spent = time.process_time() - begin
        with open_stack(folder / "o.hed") as a, open_stack(folder / "k.hed") as b:
            found, truth = (Poses.from_headers(s.headers()).matrices() for s in (a, b))
    return error(found, truth), spent, said.above_chance


def main() -> None:
    """Parse options, run, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=24)
    ask.add_argument("--snr", default="1,0.5,0.3")
    ask.add_argument("--seeds", default="201-208")
    ask.add_argument("--increment", type=float, default=5.0)
    args = ask.parse_args()
    first, _, last = args.seeds.partition("-")
    one(6, 5.0, 1, 30.0)  # compile
    print("SNR    found  median error of those  all errors (degrees)  above chance  CPU s (median)")
    for snr in map(float, args.snr.split(",")):
        rows = [one(args.images, snr, seed, args.increment) for seed in range(int(first), int(last or first) + 1)]
        errors = np.array([e for e, _, _ in rows])
        good = errors < 10
        middle = f"{np.median(errors[good]):.1f}" if good.any() else "-"
        listed = " ".join(f"{e:.1f}" for e in errors)
        claims = sum(c for _, _, c in rows)
        print(
            f"{snr:<6g} {good.sum()} of {len(rows)}  {middle}  [{listed}]  {claims}  {np.median([c for _, c, _ in rows]):.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
