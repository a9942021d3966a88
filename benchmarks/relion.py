"""What the paired benchmarks share: data with known truth, RELION's programs as child processes, CPU time."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack
from imagic4d_core.models import Model, project, volume

PIXEL = 2.0


def smooth_blobs(box: int, sharpest: float, seed: int = 1, count: int = 40) -> Model:
    """Gaussian blobs inside 0.7 of the box; `sharpest` is the smallest sigma in pixels."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(count, 3))
    c *= (rng.random(count) ** (1 / 3) * 0.3 * box / np.linalg.norm(c, axis=1))[:, None]
    return Model("blobs", c, rng.uniform(sharpest, 1.6 * sharpest, count), rng.uniform(0.5, 1.5, count))


def data(box: int, images: int, snr: float | None, sharpest: float, seed: int = 2) -> tuple[np.ndarray, np.ndarray, Poses]:
    """Truth (box, box, box), images (n, box, box), and their poses."""
    model = smooth_blobs(box, sharpest)
    rng = np.random.default_rng(seed)
    poses = Poses.blank(images)
    poses.set_matrices(random_rotations(rng, images))
    poses.shift = np.round(rng.normal(size=(images, 2)) * 2, 2)
    poses.ref3d[:] = 1
    # the angles that both programs read: as text in a STAR file, and as float32 in a header
    for name in ("alpha", "beta", "gamma"):
        setattr(poses, name, np.round(getattr(poses, name), 4))
    out = project(model, poses.matrices(), -poses.shift, box)
    if snr is not None:
        sigma = float(out.std()) / np.sqrt(snr)
        for image in out:
            image += sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return volume(model, box), out, poses


def write_both(folder: Path, images: np.ndarray, poses: Poses, name: str = "images") -> None:
    """The images as an IMAGIC pair and as MRC with a STAR file."""
    box = images.shape[-1]
    h = poses.into_headers(blank_headers(len(images), box, box, pixel_size=PIXEL))
    for end in (".hed", ".mrcs"):
        write_stack(folder / f"{name}{end}", images, h, pixel_size=PIXEL, overwrite=True)


def cpu_of(*command: str | Path, cwd: Path) -> float:
    """User and system CPU seconds of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env=single_thread())
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def single_thread() -> dict[str, str]:
    """Environment for one thread everywhere, with this process's modules."""
    path = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}


def cpu_here(work: Callable[[], Any]) -> tuple[Any, float]:
    """Result and CPU seconds of a call in this process."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def im4d() -> list[str]:
    """The command line of this environment."""
    return [sys.executable, "-m", "imagic4d_cli.main"]


def need(program: str) -> str:
    """Path of a RELION program, or the end of the benchmark."""
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program} is not here; apt-get install relion")
    return path
