"""Cost of multi-reference alignment: CPU milliseconds per image and reference, share of the sgemm peak, beside RELION and ASPIRE.

    python benchmarks/mra.py [--boxes 64,128] [--references 50] [--images 64] [--relion] [--aspire PYTHON]

The search that is timed: 6 degrees, shifts up to 3 pixels in steps of a pixel (29 of them), frequencies to half of Nyquist, one
hand and both; then the refinement of the best three references of each image. One thread. The peak is that of a large sgemm of
the same library in the same run. RELION: one expectation step of relion_refine in two dimensions, 6 degrees, range 3, step 1,
--oversampling 0; CPU time of 3 n images less that of n, so that start-up and maximisation do not count. ASPIRE:
BFSRAverager2D.align with 60 angles and radius 3.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from alignment_accuracy import make, run_aspire, run_relion
from relion import cpu_here

from imagic4d_core import fourier
from imagic4d_core.align import references, search
from imagic4d_core.align.moving import Maps
from imagic4d_core.jobs.align.aligning import BLOCK


def peak(size: int = 1024, repeats: int = 4) -> float:
    """GFLOP/s of a large sgemm."""
    a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    a @ a
    _, cpu = cpu_here(lambda: [a @ a for _ in range(repeats)])
    return 2e-9 * size**3 * repeats / cpu


def flops(bank, search_) -> float:  # type: ignore[no-untyped-def]
    """Floating-point operations of the matrix products per image, reference and hand."""
    count = bank.basis.shape[1] // 2
    return len(search_.trial) * (2.0 * count * 2 * bank.real[0].shape[1] + 2.0 * bank.n_alpha * 2 * count)


def ours(box: int, k: int, n: int, mirror: bool) -> dict[str, float]:
    """Time of the steps, CPU ms."""
    d = make(box, 0.1, n, k)
    radius = 0.45 * box
    plan = search.plan(box, box // 4, int(0.4 * box), max_shift=3.0, mirror=mirror, look_beyond=False, step=1.0)
    mask = references.ring_mask(box, 0, radius)
    ready = references.prepare(references.masked(d["refs"], mask), plan.sampler, int(0.4 * box), radius=radius)
    bank = search.make_bank(ready, plan)
    spectra = fourier.centred_rfftn(d["images"], 2).astype(np.complex64)
    blocks = [slice(a, min(n, a + BLOCK)) for a in range(0, n, BLOCK)]
    none = Maps.none(n)

    def find() -> list:
        return [search.search_block(spectra[b], none.select(b), none.select(b), bank, plan) for b in blocks]

    found = find()
    found, cpu = cpu_here(find)

    def settle() -> list:
        return [
            search.settle(spectra[b], none.select(b), none.select(b), f, ready, plan) for b, f in zip(blocks, found, strict=True)
        ]

    settle()
    _, fine = cpu_here(settle)
    hands = 2 if mirror else 1
    return {
        "shifts": len(plan.trial), "angles": plan.sampler.n_alpha, "search": 1e3 * cpu / n / k, "refine": 1e3 * fine / n,
        "gflops": 1e-9 * flops(bank, plan) * hands * n * k / cpu, "all": 1e3 * (cpu + fine) / n / k,
    }  # fmt: skip


def relion_cost(box: int, k: int, n: int) -> float:
    """RELION's CPU ms per image and reference."""
    with tempfile.TemporaryDirectory() as tmp:
        few, many = (run_relion(make(box, 0.1, m, k), Path(tmp), "0", "3")["cpu"] for m in (n, 3 * n))
    return 1e3 * (many - few) / (2 * n * k)


def aspire_cost(box: int, n: int, python: str) -> float:
    """ASPIRE's CPU ms per image and reference."""
    with tempfile.TemporaryDirectory() as tmp:
        return 1e3 * run_aspire(make(box, 0.1, n, 1), Path(tmp), python, n, angles=60, radius=3)["cpu"] / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", default="64,128")
    parser.add_argument("--references", type=int, default=50)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--relion", action="store_true")
    parser.add_argument("--aspire", metavar="PYTHON")
    args = parser.parse_args()
    top = peak()
    print(f"sgemm peak of one thread: {top:.0f} GFLOP/s")
    for box in map(int, args.boxes.split(",")):
        best = np.inf
        for mirror in (False, True):
            r = ours(box, args.references, args.images, mirror)
            best = min(best, r["all"])
            print(
                f"box {box}, {'both hands' if mirror else 'one hand'}, {r['shifts']:.0f} shifts x {r['angles']:.0f} angles: "
                f"search {r['search']:.4f} ms per image and reference "
                f"({r['gflops']:.0f} GFLOP/s, {100 * r['gflops'] / top:.0f} % of the peak), "
                f"refinement {r['refine']:.2f} ms per image; together {r['all']:.4f} ms per image and reference"
            )
        if args.relion:
            theirs = relion_cost(box, 10, 40)
            print(f"box {box}, RELION {theirs:.2f} ms per image and reference: {theirs / best:.0f} times as much (one hand)")
        if args.aspire:
            theirs = aspire_cost(box, 24, args.aspire)
            print(f"box {box}, ASPIRE {theirs:.2f} ms per image and reference: {theirs / best:.0f} times as much (one hand)")


if __name__ == "__main__":
    sys.exit(main())
