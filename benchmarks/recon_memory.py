"""Peak memory and time of `im4d recon` by box, sets and --memory, and by number of images (sparse files).

    python benchmarks/recon_memory.py FOLDER [--boxes 64,128,256] [--numbers 10000,100000,1000000]

Every line is one process of two threads: its largest resident set, wall time, and whether the
bytes are those of the first line of the same case.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers, set_geometry, to_bytes
from imagic4d_core.io.stack import create_stack

IM4D = [str(Path(sys.executable).with_name("im4d"))]


def make(path: Path, box: int, count: int, filled: int) -> None:
    """Images with random poses, of which the first `filled` hold noise and the others are holes in the file."""
    rng = np.random.default_rng(box)
    with create_stack(path, filled, 1, box, box, pixel_size=2.0, overwrite=True) as out:
        for a in range(0, filled, 256):
            out.write(a, rng.normal(size=(min(256, filled - a), box, box)).astype(np.float32))
    os.truncate(path.with_suffix(".img"), count * box * box * 4)
    with open(path, "wb") as file:
        for a in range(0, count, 8192):
            b = min(count, a + 8192)
            poses = Poses.blank(b - a)
            poses.set_matrices(random_rotations(rng, b - a))
            poses.ref3d[:] = 1
            h = poses.into_headers(blank_headers(b - a, box, box, pixel_size=2.0))
            set_geometry(h, a, count, 1, box, box, "REAL")
            file.write(to_bytes(h).tobytes())


def run(arguments: list[str]) -> tuple[float, float, str]:
    """Peak resident set in GiB, seconds, and what went wrong."""
    start = time.perf_counter()
    child = subprocess.Popen([*IM4D, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    error = child.stderr.read() if child.stderr else ""
    _, status, usage = os.wait4(child.pid, 0)
    return usage.ru_maxrss / 2**20, time.perf_counter() - start, "" if status == 0 else error.strip().splitlines()[-1]


def digest(folder: Path) -> str:
    """Of all densities written."""
    h = hashlib.sha256()
    for path in sorted(folder.glob("o*.img")):
        with open(path, "rb") as f:
            while part := f.read(1 << 24):
                h.update(part)
    return h.hexdigest()[:8]


def measure(folder: Path, label: str, src: Path, options: list[str], memory: list[float | None]) -> None:
    first = ""
    for given in memory:
        for old in folder.glob("o*"):
            old.unlink()
        more = [] if given is None else ["--memory", str(given)]
        output = [str(folder / "o.hed"), "--threads", "2", "--seed", "1", "--no-record", *more]
        peak, seconds, wrong = run(["recon", str(src), *output, *(o.replace("@", str(folder / "o")) for o in options)])
        if wrong:
            print(f"{label:34s} {given or 'default'!s:>8}  {wrong}", flush=True)
            continue
        now = digest(folder)
        first = first or now
        same = "same bytes" if now == first else "OTHER BYTES"
        print(f"{label:34s} {given or 'default'!s:>8} {peak:7.2f} GiB {seconds:7.1f} s  {same}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", default="64,128,256")
    parser.add_argument("--numbers", default="10000,100000,1000000")
    parser.add_argument("--images", type=int, default=256)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print(f"im4d --version: {run(['--version'])[0]:.2f} GiB")
    src = given.folder / "in.hed"
    loo = ["--folds", "6", "--leave-out", "@_lo.hed", "--halves", "@_h.hed", "--wiener"]
    small = {64: [None, 0.3, 0.15], 128: [None, 1.0, 0.5], 256: [None, 4.0, 3.0, 2.3], 384: [7.5]}
    for box in (int(b) for b in given.boxes.split(",") if b):
        make(src, box, given.images, given.images)
        measure(given.folder, f"box {box}, one 3D", src, ["--membership", "all"], small.get(box, [None]))
        measure(given.folder, f"box {box}, 6 folds, leave-out", src, ["--membership", "all", *loo], small.get(box, [None]))
    for count in (int(n) for n in given.numbers.split(",") if n):
        make(src, 16, count, min(count, 1000))
        measure(given.folder, f"box 16, {count} images", src, ["--membership", "all"], [None])


if __name__ == "__main__":
    main()
