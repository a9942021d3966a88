"""msa run against scikit-learn's PCA on the same images, and against the sgemm peak; accuracy against LAPACK.

    python benchmarks/msa_run.py [--images 20000] [--box 64] [--factors 69] [--threads 2] [--sklearn PYTHON]
    python benchmarks/msa_run.py --ways krylov,covariance --images 8000 --box 128 --factors 25 --mask-radius 0.9

Images are smooth class patterns in white noise, SNR 0.2. Ours is the whole command as a process: start, reading, solving,
reading again, headers. Of scikit-learn only fit and transform count, on an array in memory. Both may use all threads; CPU seconds
are user and system time together. --sklearn names a Python that has scikit-learn (default: this one). With --ways solvers of ours
are compared with each other alone, by the modulation metric; the error is the worst of the eigenvalues against the last of them.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core import fourier
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack
from imagic4d_core.rng import rng_for

SKLEARN = """
import json, sys, time
import numpy as np
from sklearn.decomposition import PCA
name, n, p, k, solver, out = sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:7]
x = np.fromfile(name, np.float32).reshape(n, p)
np.linalg.eigh(np.eye(64, dtype=np.float32))
wall, cpu = time.perf_counter(), time.process_time()
pca = PCA(k, svd_solver=solver, random_state=0)
pca.fit_transform(x)
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
np.save(out, pca.explained_variance_ * (n - 1) / n)
"""
LAPACK = """
import sys
import numpy as np, scipy.linalg
x = np.memmap(sys.argv[1], np.float32).reshape(int(sys.argv[2]), int(sys.argv[3]))
mean = x.mean(0, dtype=np.float64)
c = np.zeros((x.shape[1],) * 2)
for k in range(0, len(x), 2000):
    y = x[k:k + 2000] - mean
    c += y.T @ y
np.save(sys.argv[4], scipy.linalg.eigvalsh(c / len(x))[::-1])
"""


def make(name: Path, images: int, box: int, patterns: int = 40, snr: float = 0.2) -> None:
    """Write images: smooth patterns of varying strength in white noise of variance 1."""
    radius = np.hypot(fourier.frequencies(box)[:, None], fourier.half_frequencies(box))
    smooth = np.exp(-((radius / 0.08) ** 2))
    white = rng_for(0, "benchmark/patterns").standard_normal((patterns, box, box))
    shapes = fourier.irfftn(fourier.rfftn(white, 2) * smooth, (box, box))
    shapes = (shapes / shapes.std(axis=(1, 2), keepdims=True)).astype(np.float32) * np.sqrt(snr)
    with create_stack(name, images, 1, box, box, overwrite=True) as out:
        for start in range(0, images, 1000):
            n = min(1000, images - start)
            rng = rng_for(0, "benchmark/images", start)
            data = rng.standard_normal((n, box, box), dtype=np.float32)
            data += shapes[rng.integers(0, patterns, n)] * rng.uniform(0.7, 1.3, (n, 1, 1)).astype(np.float32)
            out.write(start, data)
        out.set_headers(0, blank_headers(images, box, box))


def make_apart(*args: Any) -> None:
    """`make` in a process of its own: the memory of a child is reported as at least that of the process that started it."""
    apart = multiprocessing.Process(target=make, args=args)
    apart.start()
    apart.join()
    if apart.exitcode:
        raise SystemExit("the images could not be made")


def run(command: list[str], **env: str) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak memory in MB of a process, and what it printed."""
    wall = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    text = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status:
        raise SystemExit(f"{' '.join(command[:4])}: failed")
    return time.perf_counter() - wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def sgemm_peak(seconds: float = 1.0) -> float:
    """Multiply-adds (counted as two) of large float32 products per CPU second of one core."""
    a = rng_for(0, "benchmark/gemm").standard_normal((2048, 2048), dtype=np.float32)
    best = 0.0
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        stop = time.perf_counter() + seconds
        while time.perf_counter() < stop:
            begin = time.process_time()
            a @ a
            best = max(best, 2 * 2048**3 / (time.process_time() - begin))
    return best


def ways(a: argparse.Namespace) -> None:
    """Solvers of ours on the same images."""
    rows = []
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        make_apart(Path(folder) / "images.hed", a.images, a.box)
        for name in a.ways.split(","):
            command = [sys.executable, "-m", "imagic4d_cli.main", "msa", "run", f"{folder}/images.hed", f"{folder}/{name}"]
            command += ["--eigenimages", str(a.factors), "--threads", str(a.threads), "--solver", name, "--json"]
            command += ["--mask-radius", a.mask_radius] if a.mask_radius else []
            _, cpu, memory, text = run(command, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
            rows.append((name, cpu, memory, json.loads(text)))
    last = np.array(rows[-1][3]["eigenvalues"])
    print(f"{a.images} images of {a.box} x {a.box}, {rows[0][3]['pixels']} pixels under the mask, {a.factors} factors")
    for name, cpu, memory, document in rows:
        error = np.abs(np.array(document["eigenvalues"]) / last - 1).max()
        print(f"{name:12s}{cpu:8.1f} CPU s{memory:7.0f} MB{document['passes']:4d} passes  against {rows[-1][0]}: {error:.1e}")


def main() -> None:
    """Run and print."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--images", type=int, default=20000)
    ap.add_argument("--box", type=int, default=64)
    ap.add_argument("--factors", type=int, default=69)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--mask-radius", default=None, help="a second run of ours, under a circular mask")
    ap.add_argument("--sklearn", default=sys.executable)
    ap.add_argument("--solvers", default="covariance_eigh,randomized", help="of scikit-learn")
    ap.add_argument("--no-lapack", action="store_true", help="leave the comparison with LAPACK's full solution out")
    ap.add_argument("--ways", help="solvers of ours to compare with each other: krylov,covariance,gram")
    ap.add_argument("--folder", default=None)
    a = ap.parse_args()
    if a.ways:
        return ways(a)
    n, p, k = a.images, a.box**2, a.factors
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        place = Path(folder)
        make_apart(place / "images.hed", n, a.box)
        ours = [sys.executable, "-m", "imagic4d_cli.main", "msa", "run", f"{place}/images.hed", f"{place}/msa",
                "--metric", "euclidean", "--eigenimages", str(k), "--threads", str(a.threads), "--json", "--overwrite",
                ]  # fmt: skip
        subprocess.run([sys.executable, "-m", "imagic4d_cli.main", "warmup"], stdout=subprocess.DEVNULL, check=True)
        blas = {"OPENBLAS_NUM_THREADS": str(a.threads), "OMP_NUM_THREADS": str(a.threads)}
        peak = sgemm_peak()
        rows = []
        if not a.no_lapack:
            full = [sys.executable, "-c", LAPACK, f"{place}/images.img", str(n), str(p), f"{place}/lapack.npy"]
            subprocess.run(full, check=True)
        exact = None if a.no_lapack else np.load(place / "lapack.npy")
        for label, command in [("msa run", ours)] + (
            [("  masked", [*ours, "--mask-radius", a.mask_radius])] if a.mask_radius else []
        ):
            wall, cpu, memory, text = run(command, **blas)
            document = json.loads(text)
            size = document["pixels"]
            error = np.abs(np.array(document["eigenvalues"]) / exact[:k] - 1).max() if exact is not None and size == p else np.nan
            rows.append((f"{label}, {size} pixels", wall, cpu, memory, error))
            if label == "msa run":
                work = n * size * (size + 1.0) + 4.0 * n * size * k
                share = work / cpu / peak
                print(f"sgemm peak {peak / 1e9:.0f} GFLOP/s of a core; msa run: {share:.2f} of it over the whole command")
        for solver in a.solvers.split(","):
            command = [a.sklearn, "-c", SKLEARN, f"{place}/images.img", str(n), str(p), str(k), solver, f"{place}/{solver}.npy"]
            _, _, memory, text = run(command, **blas)
            found = json.loads(text)
            values = np.load(place / f"{solver}.npy")
            error = np.nan if exact is None else np.abs(values / exact[:k] - 1).max()
            rows.append((f"scikit-learn {solver}", found["wall"], found["cpu"], memory, error))
        print(f"{n} images of {a.box} x {a.box}, {k} factors, {a.threads} threads")
        print(f"{'':34s}{'wall s':>8s}{'CPU s':>8s}{'MB':>7s}{'CPU ratio':>11s}{'worst eigenvalue error':>24s}")
        for label, wall, cpu, memory, error in rows:
            print(f"{label:34s}{wall:8.2f}{cpu:8.2f}{memory:7.0f}{cpu / rows[0][2]:11.2f}{error:24.1e}")


if __name__ == "__main__":
    main()
