#!/usr/bin/env python3
"""Exact Ward classification: time, memory and fraction of the matrix-product peak, against fastcluster, and the cost law.

    python benchmarks/ward.py                                    # 50,000 x 30, ours alone
    python benchmarks/ward.py --peer                             # and fastcluster (pip install fastcluster), on the same points
    python benchmarks/ward.py --peer --count 20000 --compare     # are heights and cuts the same?
    python benchmarks/ward.py --sizes 12500,25000,50000,100000   # cost law, extrapolated to one million

Points are white noise in 30 dimensions (the hardest case: no bound excludes anything) or, with --kind mixture, 100 groups with
variance that falls off along the factors, as in MSA. Each size runs in a process of its own; memory is the largest resident size
of that process. "pairs" are distances evaluated in single precision, 2 (d + 2) flops each; the peak is that of a product of two
2000 x 2000 float32 matrices by numpy on one thread, measured before each run.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np


def points(count: int, factors: int, kind: str, seed: int) -> np.ndarray:
    """The test points, shape (count, factors), float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, factors))
    if kind == "mixture":
        spread = np.sqrt(1 + np.arange(factors))
        x = 2 * rng.normal(size=(100, factors))[rng.integers(0, 100, count)] / spread + 0.5 * x
    return x


def peak(size: int = 2000) -> float:
    """GFLOP/s of a single-precision matrix product on one thread."""
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(1).random((size, size), dtype=np.float32)
    out = np.empty_like(a)
    best = float("inf")
    with threadpool_limits(1):
        for _ in range(3):
            begin = time.process_time()
            np.matmul(a, a, out=out)
            best = min(best, time.process_time() - begin)
    return 2e-9 * size**3 / best


def one(args: argparse.Namespace) -> dict:
    """Run ours once, in this process."""
    from imagic4d_core.msa.ward import ward
    from imagic4d_core.parallel import thread_count

    x = points(args.count, args.factors, args.kind, args.seed)
    ward(x[:3000], threads=args.threads)
    ceiling = peak()
    begin, cpu = time.perf_counter(), time.process_time()
    _, work = ward(x, threads=args.threads)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    rate = 2e-9 * (args.factors + 2) * work.pairs / cpu
    return {
        "count": args.count, "factors": args.factors, "kind": args.kind, "threads": thread_count(args.threads),
        "seconds": seconds, "cpu": cpu, "rounds": work.rounds, "pairs_over_n2": work.pairs / args.count**2,
        "searches_over_n": work.searches / args.count, "exact": work.exact, "gflops_per_cpu": rate, "peak": ceiling,
        "of_peak": rate / ceiling, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def in_process(args: argparse.Namespace, count: int) -> dict:
    """Run ours in a fresh process."""
    command = [sys.executable, __file__, "--one", "--count", count, "--factors", args.factors, "--kind", args.kind]
    command += ["--seed", args.seed] + (["--threads", args.threads] if args.threads else [])
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def peer(args: argparse.Namespace) -> tuple[np.ndarray, float, float]:
    """Fastcluster's linkage of the same points; wall and CPU seconds."""
    import fastcluster

    x = points(args.count, args.factors, args.kind, args.seed)
    begin, cpu = time.perf_counter(), time.process_time()
    linkage = fastcluster.linkage_vector(x, method="ward")
    return linkage, time.perf_counter() - begin, time.process_time() - cpu


def compare(linkage: np.ndarray, args: argparse.Namespace) -> None:
    """Are heights, merges and cuts those of fastcluster?"""
    from imagic4d_core.msa.tree import Tree
    from imagic4d_core.msa.ward import ward

    tree, _ = ward(points(args.count, args.factors, args.kind, args.seed), threads=args.threads)
    mine = tree.linkage()
    theirs = Tree(args.count, np.sort(linkage[:, :2], axis=1).astype(np.int64), linkage[:, 2] ** 2 / 2)
    worst = np.abs(linkage[:, 2] / mine[:, 2] - 1).max()
    same = int((mine[:, :2] == np.sort(linkage[:, :2], axis=1)).all(1).sum())
    print(f"heights: largest relative difference {worst:.1e}; the same merge at {same} of {args.count - 1} places")
    for k in (2, 10, 100, 1000, args.count // 10):
        print(f"  cut into {k}: {'the same' if (tree.cut(k) == theirs.cut(k)).all() else 'DIFFERENT'}")


def show(r: dict) -> None:
    """Print one run of ours."""
    print(
        f"im4d {r['count']} x {r['factors']} {r['kind']}: {r['seconds']:.2f} s on {r['threads']} threads, {r['cpu']:.2f} CPU s, "
        f"{r['mb']:.0f} MB, {r['rounds']} rounds, {r['pairs_over_n2']:.2f} N^2 pairs, {r['gflops_per_cpu']:.1f} GFLOP/s per CPU "
        f"= {100 * r['of_peak']:.0f} % of the sgemm peak ({r['peak']:.0f})",
        flush=True,
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--factors", type=int, default=30)
    parser.add_argument("--kind", choices=("noise", "mixture"), default="noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--sizes")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args)))
        return
    if args.sizes:
        runs = [in_process(args, int(k)) for k in args.sizes.split(",")]
        for r in runs:
            show(r)
        slope, constant = np.polyfit(np.log([r["count"] for r in runs]), np.log([r["cpu"] for r in runs]), 1)
        hours = np.exp(constant + slope * np.log(1e6)) / 3600
        print(f"CPU time grows with N^{slope:.2f}; at that rate one million would take {hours:.2f} CPU hours")
        last = runs[-1]
        print(f"and with N^2 from the last: {last['cpu'] * (1e6 / last['count']) ** 2 / 3600:.2f} CPU hours")
        return
    ours = in_process(args, args.count)
    show(ours)
    if args.peer:
        linkage, seconds, cpu = peer(args)
        print(f"fastcluster: {seconds:.1f} s, {cpu:.1f} CPU s: {seconds / ours['seconds']:.1f} times the time of im4d, "
              f"{cpu / ours['cpu']:.1f} times its CPU time")  # fmt: skip
        if args.compare:
            compare(linkage, args)


if __name__ == "__main__":
    main()
