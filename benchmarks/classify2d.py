#!/usr/bin/env python3
"""How well classify2d sorts unaligned single images of several related structures.

    python benchmarks/classify2d.py --images 3000 --snr 0.2 --classes 60 --seeds 1-3

Images of three related analytic structures in all orientations, box 64, shifts of 3 px sigma, with --ctf or without. Printed for
every seed: share of images whose class is mostly of their own structure (purity; 1/3 by chance), angle between the views of the
images of a class (of its main structure) and their mean, median and 90 per cent; CPU seconds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402


def quality(classes: np.ndarray, ref3d: np.ndarray, views: np.ndarray) -> tuple[float, np.ndarray]:
    """Purity, and the angle of every image's view to the mean view of its class, degrees; opposite views count as one."""
    right, angles = 0, []
    for k in np.unique(classes[classes > 0]):
        mine = classes == k
        kinds, sizes = np.unique(ref3d[mine], return_counts=True)
        right += sizes.max()
        main = views[mine & (ref3d == kinds[sizes.argmax()])]
        axis = np.linalg.eigh(main.T @ main)[1][:, 2]
        angles.append(np.degrees(np.arccos(np.clip(np.abs(main @ axis), 0, 1))))
    return right / max(1, int((classes > 0).sum())), np.concatenate(angles)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, default=3000)
    ask.add_argument("--snr", type=float, default=0.2)
    ask.add_argument("--classes", type=int, default=60)
    ask.add_argument("--iterations", type=int, default=8)
    ask.add_argument("--seeds", default="1-3")
    ask.add_argument("--ctf", action="store_true")
    asked = ask.parse_args()
    from imagic4d_core.geometry.poses import Poses
    from imagic4d_core.io.stack import open_stack
    from imagic4d_core.jobs.align.classify2d import classify2d
    from imagic4d_core.jobs.truth.modelling import threed_test
    from imagic4d_core.jobs.truth.simulate import simulate

    first, _, last = asked.seeds.partition("-")
    for seed in range(int(first), int(last or first) + 1):
        with tempfile.TemporaryDirectory(prefix="im4d_classify2d_") as place:
            folder = Path(place)
            threed_test(folder / "t.hed", number=3, size=64, pixel_size=4.0, seed=3000 + seed)
            how = {"images": asked.images, "snr": asked.snr, "shift_sigma": 3.0, "ctf": asked.ctf, "seed": seed}
            simulate(folder / "t.blobs.json", folder / "s.hed", truth=folder / "k.hed", **how)
            begin = time.process_time()
            settings = {"classes": asked.classes, "iterations": asked.iterations, "report": False, "threads": 1}
            run = classify2d(str(folder / "s.hed"), str(folder / "run"), seed=seed, **settings)
            cpu = time.process_time() - begin
            with open_stack(folder / "run/images.hed") as stack:
                classes = np.rint(stack.headers()["CLASSNO"]).astype(int)
            with open_stack(folder / "k.hed") as stack:
                truth = Poses.from_headers(stack.headers())
            purity, angles = quality(classes, truth.ref3d, truth.matrices()[:, 2])
            said = ", ".join(f"{a:.2f}" for a in run.document["stability"] if a is not None)
            print(
                f"seed {seed}: purity {purity:.3f}, view to mean of class {np.median(angles):.1f} degrees median, "
                f"{np.percentile(angles, 90):.1f} for 90 %, agreement {said}, {cpu:.0f} CPU s",
                flush=True,
            )


if __name__ == "__main__":
    main()
