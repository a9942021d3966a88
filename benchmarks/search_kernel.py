#!/usr/bin/env python3
"""Speed of the anchor-set search as a fraction of this machine's matrix-product peak, on one core.

    python benchmarks/search_kernel.py [--images 1000] [--repeats 5] [--json]

`search` finds the best score over in-plane angles for every image and every trial direction of K 3Ds: for each block of
references one real matrix product per angular harmonic, one for the inverse transform over the angle, and a running maximum over
the angles. Only flops of these matrix products count, multiplications and additions; all the time of the call counts. The peak is
that of a product of two 2000 x 2000 float32 matrices by numpy, measured before and after every row. "parts" are shares of the
time, and GFLOP/s in brackets, when the same work is done one kind at a time with the same shapes and tiles. All times are CPU
seconds on one thread, least of the repeats.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from imagic4d_core import fourier
from imagic4d_core.angrec.polar import PolarSampler, harmonics, line_count
from imagic4d_core.angrec.references import prepare_references
from imagic4d_core.angrec.search import TILE, Bank, make_bank, search
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.jobs.scheme.angrec.images import BLOCK
from imagic4d_core.jobs.scheme.angrec.search import BANK
from imagic4d_core.kernels.search import merge_best
from imagic4d_core.models import project, random_family, volume

BOX = 64


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Least CPU seconds of a call."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def peak(size: int = 2000, repeats: int = 3) -> float:
    """GFLOP/s of a single-precision matrix product."""
    rng = np.random.default_rng(1)
    a, b = rng.random((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    return 2e-9 * size**3 / seconds(lambda: np.matmul(a, b, out=out), repeats)


def flops(bank: Bank, r_max: int) -> tuple[float, float]:
    """Of `search`, per image and reference: harmonics (real and imaginary parts), and the inverse transform over the angle."""
    q = bank.basis.shape[1] // 2
    return 2.0 * (2 * q * 2 * r_max), 2.0 * (bank.n_alpha * 2 * q)


def parts(bank: Bank, images: np.ndarray, repeats: int) -> dict[str, float]:
    """CPU seconds per image and reference of the three kinds of work inside `search`, each by itself."""
    n, q = images.shape[1], bank.basis.shape[1] // 2
    product = np.ones((2 * q, n, TILE), np.float32)
    scores = np.ones((bank.n_alpha, n * TILE), np.float32)
    top, at = np.full(n * TILE, -np.inf, np.float32), np.zeros(n * TILE, np.int32)
    whole = [(re, im) for re, im in zip(bank.real, bank.imag, strict=True) if re.shape[2] == TILE]
    scale = 1.0 / (TILE * len(whole) * n)

    def first() -> None:
        for re, im in whole:
            np.matmul(images[:q], re, out=product[:q])
            np.matmul(images[:q], im, out=product[q:])

    def second() -> None:
        for _ in whole:
            np.matmul(bank.basis, product.reshape(2 * q, -1), out=scores)

    def third() -> None:
        for _ in whole:
            top[:] = -np.inf
            merge_best(scores, 0, top, at)

    named = {"products per harmonic": first, "inverse over the angle": second, "running maximum": third}
    return {name: scale * seconds(work, repeats) for name, work in named.items()}


def one(r_max: int, increment: float, sets: int, images: int, repeats: int) -> dict[str, Any]:
    """One row: the search of `images` images against `sets` 3Ds, in blocks as `angrec` makes them."""
    models = random_family(11, sets, BOX, True)
    beta, gamma = sphere.directions(increment)
    directions = sphere.matrices(beta, gamma)
    sampler = PolarSampler(BOX, r_max, line_count(r_max, increment))
    references = prepare_references([volume(m, BOX) for m in models], np.arange(1, sets + 1), np.zeros(sets, int), r_max)
    chunk = max(1, BANK // sets)
    pieces = [directions[i : i + chunk] for i in range(0, len(directions), chunk)]
    radius = 0.425  # of the mask that angrec uses when none is given, as a fraction of the box
    begin = time.process_time()
    banks = [make_bank(references, list(range(sets)), d, sampler, object_radius=radius) for d in pieces]
    made = time.process_time() - begin
    rng = np.random.default_rng(2)
    seen = project(models[0], random_rotations(rng, images), None, BOX)
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * seen.std()
    count = banks[0].basis.shape[1] // 2
    blocks = [harmonics(sampler.sample(fourier.centred_rfftn(seen[i : i + BLOCK], 2)), count) for i in range(0, images, BLOCK)]

    def whole() -> None:
        for bank in banks:
            for block in blocks:
                search(bank, [block])

    before = peak()
    took = seconds(whole, repeats)
    top = max(before, peak())
    share = parts(banks[0], blocks[0], 10 * repeats)
    total = sum(share.values())
    pairs = images * sets * len(directions)
    work = flops(banks[0], r_max)
    rate = 1e-9 * pairs * sum(work) / took
    return {
        "r_max": r_max, "increment": increment, "sets": sets, "images": images, "directions": len(directions),
        "angles": sampler.n_alpha, "harmonics": count, "seconds": round(took, 4), "bank_seconds": round(made, 4),
        "gflops": round(rate, 1), "peak": round(top, 1), "fraction": round(rate / top, 3),
        "poses_per_second": pairs * sampler.n_alpha / took, "us_per_image": 1e6 * took / images,
        "parts": {k: round(v / total, 3) for k, v in share.items()}, "parts_total": round(total * pairs, 4),
        "parts_gflops": {k: round(1e-9 * f / share[k], 1) for k, f in zip(share, work, strict=False)},
    }  # fmt: skip


def main() -> None:
    """Run and print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=1000)
    ask.add_argument("--volumes", type=int, default=3)
    ask.add_argument("--r-max", default="10,20", help="largest frequencies, Fourier pixels")
    ask.add_argument("--increments", default="15,7.5", help="degrees between trial directions")
    ask.add_argument("--repeats", type=int, default=3)
    ask.add_argument("--json", action="store_true", help="print one JSON document")
    asked = ask.parse_args()
    with threadpool_limits(1):
        table(asked)


def table(asked: argparse.Namespace) -> None:
    """All rows."""
    one(4, 20.0, 3, 50, 1)  # kernels are compiled before anything is timed
    rows = []
    if not asked.json:
        print(f"box {BOX}, {asked.images} images, {asked.volumes} 3Ds, one core")
        print("r_max  step  directions  angles  harmonics   CPU s  GFLOP/s    peak  fraction  poses/s   parts")
    for r_max in map(int, asked.r_max.split(",")):
        for increment in map(float, asked.increments.split(",")):
            r = one(r_max, increment, asked.volumes, asked.images, asked.repeats)
            rows.append(r)
            if not asked.json:
                speed = r["parts_gflops"]
                said = ", ".join(
                    f"{k} {100 * v:.0f} %" + (f" ({speed[k]:.0f})" if k in speed else "") for k, v in r["parts"].items()
                )
                print(
                    f"{r_max:5d} {increment:5.1f} {r['sets']:3d} x {r['directions']:4d} {r['angles']:8d} {r['harmonics']:9d} "
                    f"{r['seconds']:8.3f} {r['gflops']:8.1f} {r['peak']:7.1f} {100 * r['fraction']:7.0f} % "
                    f"{r['poses_per_second']:8.2g}   {said}", flush=True,
                )  # fmt: skip
    if asked.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
