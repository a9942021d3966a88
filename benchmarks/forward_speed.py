"""Projection against RELION: CPU time an image and error against analytic projections.

    python benchmarks/forward_speed.py [--boxes 64,128] [--images 2000]

The object is a sum of Gaussian blobs, whose projections are known exactly; the error is the rms difference over the rms
of the truth. CPU is user + system time on one thread: of the child process for programs (with their start and the
writing of the files), and of the projection alone inside a running Python. The last column sets the two programs' cost an
image against each other, found from two runs of different numbers of images: start-up and preparation drop out.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import relion as peer

from imagic4d_core.forward import Projector
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.scheme.forward import OVERSAMPLING
from imagic4d_core.models import project, volume


def main() -> None:
    """Run and print the table."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--boxes", default="64,128")
    ask.add_argument("--images", type=int, default=2000)
    ask.add_argument("--sharpest", type=float, default=1.3, help="sigma of the finest blobs, pixels")
    asked = ask.parse_args()
    program = peer.need("relion_project")
    print("  box  program               images  CPU s   ms an image  rms error  ours/theirs an image")
    with tempfile.TemporaryDirectory() as name:
        for box in map(int, asked.boxes.split(",")):
            one(Path(name), program, box, asked)


def one(folder: Path, program: str, box: int, asked: argparse.Namespace) -> None:
    """One box."""
    model = peer.smooth_blobs(box, asked.sharpest)
    truth = volume(model, box)
    write_stack(folder / "v.hed", truth[None], pixel_size=peer.PIXEL, overwrite=True)
    write_stack(folder / "v.mrc", truth[None], pixel_size=peer.PIXEL, overwrite=True)
    counts = (asked.images // 4, asked.images)
    seconds: dict[str, list[float]] = {"im4d forward": [], "relion_project": [], "inside Python": []}
    prepared = Projector(truth, oversampling=OVERSAMPLING)
    prepared.project(np.eye(3)[None])
    for count in counts:
        poses = Poses.blank(count)
        _, _, some = peer.data(8, count, None, 1.0)
        poses.alpha, poses.beta, poses.gamma = some.alpha, some.beta, some.gamma
        poses.ref3d[:] = 1
        h = poses.into_headers(blank_headers(count, box, box, pixel_size=peer.PIXEL))
        for end in (".hed", ".mrcs"):
            write_stack(folder / f"a{end}", np.zeros((count, box, box), np.float32), h, pixel_size=peer.PIXEL, overwrite=True)
        run = [*peer.im4d(), "forward", folder / "v.hed", folder / "p.hed", "--angles-from", folder / "a.hed"]
        seconds["im4d forward"].append(peer.cpu_of(*run, "--overwrite", "--threads", "1", "-q", cwd=folder))
        run = [program, "--i", "v.mrc", "--o", "q", "--ang", "a.star", "--angpix", str(peer.PIXEL)]
        seconds["relion_project"].append(peer.cpu_of(*run, cwd=folder))
        m = poses.matrices()
        seconds["inside Python"].append(peer.cpu_here(lambda m=m: prepared.project(m))[1])
    want = project(model, m, None, box)
    errors = {"im4d forward": relative(read_stack(folder / "p.hed")[0], want)}
    errors["relion_project"] = relative(read_stack(folder / "q.mrcs")[0], want)
    cost = {k: (s[1] - s[0]) / (counts[1] - counts[0]) * 1e3 for k, s in seconds.items()}
    cost["inside Python"] = seconds["inside Python"][1] / counts[1] * 1e3
    for label, s in seconds.items():
        error = f"{errors[label]:9.5f}" if label in errors else " " * 9
        ratio = "" if "relion" in label else f"{cost[label] / cost['relion_project']:8.2f}"
        print(f"{box:5d}  {label:20s} {counts[1]:7d} {s[1]:6.2f}  {cost[label]:11.3f}  {error}  {ratio}", flush=True)


def relative(got: np.ndarray, want: np.ndarray) -> float:
    """Rms difference over rms, after the best factor (programs differ in scale)."""
    x, y = got.ravel().astype(np.float64), want.ravel().astype(np.float64)
    return float(np.sqrt(np.mean((x * (x @ y) / (x @ x) - y) ** 2) / np.mean(y * y)))


if __name__ == "__main__":
    main()
