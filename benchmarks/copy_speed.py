#!/usr/bin/env python3
"""Time `im4d copy` of a large IMAGIC stack against `cp` of the same two files; prints the ratio.

    python benchmarks/copy_speed.py [--gigabytes 4] [--box 128] [--runs 3] [--folder DIR]

The order alternates from run to run; what is waiting for the disk is flushed before each, outside the timing. Needs twice the
space; the files are removed at the end. On a disk that others use as well, --folder /dev/shm shows the cost without the disk.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from imagic4d_core.io.header import blank_headers, to_bytes


def make_stack(root: Path, gigabytes: float, box: int) -> int:
    """Write NAME.hed and NAME.img directly; returns the number of images."""
    count = max(1, int(gigabytes * 1e9 / (box * box * 4)))
    noise = np.random.default_rng(1).standard_normal((256, box, box)).astype("<f4")
    with open(f"{root}.img", "wb") as handle:
        for start in range(0, count, len(noise)):
            handle.write(noise[: count - start].tobytes())
    h = blank_headers(count, box, box)
    h["NMONTH"], h["NDAY"], h["NYEAR"] = 1, 1, 2026
    with open(f"{root}.hed", "wb") as handle:
        handle.write(to_bytes(h).tobytes())
    return count


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of one command by the clock, and of CPU."""
    os.sync()
    time.sleep(2)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where to make the files; default: the temporary folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="im4d-copy-", dir=args.folder))
    try:
        count = make_stack(folder / "a", args.gigabytes, args.box)
        print(f"{count} images of {args.box} x {args.box}, {args.gigabytes:g} GB, in {folder}")
        ratios = []
        for run in range(args.runs):
            commands = {
                "cp": ["cp", f"{folder}/a.hed", f"{folder}/a.img", f"{folder}/out"],
                "im4d": [sys.executable, "-m", "imagic4d_cli.main", "copy", f"{folder}/a", f"{folder}/out/a"],
            }
            seconds = {}
            for name in list(commands)[:: 1 if run % 2 else -1]:
                (folder / "out").mkdir()
                seconds[name] = timed(commands[name])
                shutil.rmtree(folder / "out")
            (plain, plain_cpu), (ours, ours_cpu) = seconds["cp"], seconds["im4d"]
            ratios.append((ours / plain, ours_cpu / plain_cpu))
            print(
                f"run {run + 1}: cp {plain:.2f} s (CPU {plain_cpu:.2f}), im4d copy {ours:.2f} s (CPU {ours_cpu:.2f}), "
                f"ratio {ratios[-1][0]:.2f} (CPU {ratios[-1][1]:.2f})"
            )
        clock, cpu = (statistics.median(r[k] for r in ratios) for k in (0, 1))
        print(f"median ratio {clock:.2f} (CPU {cpu:.2f})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
