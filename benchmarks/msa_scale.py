#!/usr/bin/env python3
"""CPU time and memory of `msa run`, `msa classify` and `msa sum` on many simulated images, each as a process of its own.

    python benchmarks/msa_scale.py --images 50000 --classes 250
    python benchmarks/msa_scale.py --images 1000000 --classes 5000 --folder /scratch    # 17.5 GB there, and 1 GB for a while

Images are projections of four related structures, in equal numbers of each of --kinds structures and directions, in white noise,
aligned; box 64. They are made block by block. Memory is the largest resident size of the process (of one rank).
"""

import argparse
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import relion as peer
from msa_run import run

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack
from imagic4d_core.models import project, random_family

BOX, STRUCTURES, BLOCK = 64, 4, 2000


def make(name: Path, images: int, kinds: int, snr: float) -> None:
    """Write the images."""
    family = random_family(1, STRUCTURES, BOX, related=True)
    views = random_rotations(np.random.default_rng(1), kinds // STRUCTURES)
    signals = np.concatenate([project(m, views, None, BOX) for m in family])
    sigma = np.float32(signals.std() / np.sqrt(snr))
    with create_stack(name, images, 1, BOX, BOX, overwrite=True) as out:
        for start in range(0, images, BLOCK):
            n = min(BLOCK, images - start)
            rng = np.random.Generator(np.random.SFC64(start + 7))
            data = rng.standard_normal((n, BOX, BOX), dtype=np.float32)
            data *= sigma
            data += signals[rng.integers(0, len(signals), n)]
            out.write(start, data)
        out.set_headers(0, blank_headers(images, BOX, BOX))


def main() -> None:
    """Make, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50000)
    parser.add_argument("--classes", type=int, default=250)
    parser.add_argument("--kinds", type=int, default=500)
    parser.add_argument("--snr", type=float, default=0.2)
    parser.add_argument("--eigenimages", default="30")
    parser.add_argument("--factors", default="15")
    parser.add_argument("--mask-radius", default="0.9")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--folder", help="where the images are made (and removed)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        images, root, classes = f"{folder}/images.hed", f"{folder}/eigen", f"{folder}/classes"
        apart = multiprocessing.Process(target=make, args=(Path(images), asked.images, asked.kinds, asked.snr))
        apart.start()  # the memory of a child is reported as at least that of the process that started it
        apart.join()
        steps = {
            "run": [images, root, "--mask-radius", asked.mask_radius, "--eigenimages", asked.eigenimages],
            "classify": [images, classes, "--classes", str(asked.classes), "--factors", asked.factors],
            "sum": [images, classes, f"{folder}/averages.hed"],
        }
        for step, words in steps.items():
            done = run([*peer.im4d(), "msa", step, *words, "--threads", asked.threads, "--quiet"], **peer.single_thread())
            wall, cpu, memory, _ = done
            print(f"{asked.images} images, msa {step:8s}: {cpu:8.1f} CPU s ({wall:.1f} s), {memory:6.0f} MB", flush=True)


if __name__ == "__main__":
    main()
