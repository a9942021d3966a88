"""Reconstruction against RELION: CPU seconds and FSC against truth.

    python benchmarks/recon_speed.py [--boxes 64,128] [--images 2000,10000] [--snr 1] [--slow]

Both programs reconstruct from the same images at the same angles and shifts on one thread; CPU is user + system time. Rows: our
command (start of Python included), our work inside a running Python (files read, volume written), relion_reconstruct with
--skip_gridding and, with --slow, by default (10 iterations on the weights). FSC is against the analytic volume, unmasked;
"worst" is the smallest difference ours - theirs over shells from 1 to 0.9 Nyquist.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import relion as peer

from imagic4d_core.fsc import shell_curves
from imagic4d_core.io.stack import read_stack
from imagic4d_core.jobs.scheme.recon.reconstruct import recon


def main() -> None:
    """Run and print the table."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--boxes", default="64,128")
    ask.add_argument("--images", default="2000,10000")
    ask.add_argument("--snr", type=float, default=1.0)
    ask.add_argument("--sharpest", type=float, default=0.8, help="sigma of the finest blobs, pixels")
    ask.add_argument("--slow", action="store_true", help="time RELION's default as well")
    ask.add_argument("--curves", action="store_true", help="print the FSC curves")
    asked = ask.parse_args()
    program = peer.need("relion_reconstruct")
    print("  box  images  program                      CPU s  ours/theirs  FSC: first<0.5, mean, worst difference to ours")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recon_warm(folder)
        for box in map(int, asked.boxes.split(",")):
            for count in map(int, asked.images.split(",")):
                one(folder, program, box, count, asked)


def recon_warm(folder: Path) -> None:
    """Compile the kernels before anything is timed."""
    truth, images, poses = peer.data(16, 20, 1.0, 1.0)
    peer.write_both(folder, images, poses)
    recon(str(folder / "images.hed"), str(folder / "ours.hed"), overwrite=True, threads=1)


def one(folder: Path, program: str, box: int, count: int, asked: argparse.Namespace) -> None:
    """One size."""
    truth, images, poses = peer.data(box, count, asked.snr, asked.sharpest)
    peer.write_both(folder, images, poses)
    del images
    src, dst = folder / "images.hed", folder / "ours.hed"
    rows = {}
    rows["im4d recon"] = peer.cpu_of(*peer.im4d(), "recon", src, dst, "--overwrite", "--threads", "1", "-q", cwd=folder)
    rows["  inside Python"] = peer.cpu_here(lambda: recon(str(src), str(dst), overwrite=True, threads=1))[1]
    ours = read_stack(dst)[0][0]
    curves = {"im4d recon": shell_curves(ours, truth).fsc}
    for label, extra in {"relion --skip_gridding": ["--skip_gridding"], "relion default": []}.items():
        if label == "relion default" and not asked.slow:
            continue
        rows[label] = peer.cpu_of(program, "--i", "images.star", "--o", "theirs.mrc", *extra, cwd=folder)
        curves[label] = shell_curves(read_stack(folder / "theirs.mrc")[0].reshape(truth.shape), truth).fsc
    last = int(0.9 * box / 2)
    mine = curves["im4d recon"]
    for label, seconds in rows.items():
        ratio = f"{rows['im4d recon'] / seconds:5.2f} {rows['  inside Python'] / seconds:5.2f}" if "relion" in label else " " * 11
        said = ""
        if label in curves:
            c = curves[label]
            below = np.flatnonzero(c[1:] < 0.5)
            first = (below[0] + 1 if len(below) else box // 2) / (box / 2)
            worst = (mine - c)[1 : last + 1]
            said = f"{first:5.2f}  {c[1 : last + 1].mean():.4f}  {worst.min():+.4f} at shell {1 + int(worst.argmin())}"
        print(f"{box:5d} {count:7d}  {label:26s} {seconds:7.2f}  {ratio}  {said}", flush=True)
    if asked.curves:
        for label, c in curves.items():
            print(label, " ".join(f"{x:.4f}" for x in c[: last + 1]))


if __name__ == "__main__":
    main()
