#!/usr/bin/env python3
"""Reconstruction of images with CTF: `im4d recon --weigh-ctf` beside `relion_reconstruct --ctf`, FSC against truth, CPU seconds.

    python benchmarks/recon_ctf.py [--box 64] [--images 2000] [--snr 0.3] [--seeds 31,32,33]

Projections of analytic structures, each with a defocus of its own, shifts of 1 px sigma and white noise, at their true poses;
both programs on one thread, RELION with its default gridding. The FSC is that of the unmasked volumes, without the last shell
before Nyquist: ours ends in its middle.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import relion as peer

from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate


def volume(path: Path) -> np.ndarray:
    """The first volume of a file."""
    with open_stack(path) as stack:
        return stack.read_volumes(0, 1)[0]


def one(folder: Path, box: int, images: int, snr: float, seed: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """FSC curves of ours and of RELION against truth, and CPU seconds of both."""
    threed_test(folder / "t.hed", number=1, size=box, pixel_size=3.0, seed=seed)
    how = {"images": images, "snr": snr, "shift_sigma": 1.0, "seed": seed + 10, "ctf": True}
    simulate(folder / "t.blobs.json", folder / "sim.hed", truth=folder / "known.hed", **how)
    with open_stack(folder / "known.hed") as known, open_stack(folder / "sim.hed") as sim:
        headers = Poses.from_headers(known.headers()).into_headers(sim.headers())
    replace_headers(folder / "sim.hed", headers, folder / "posed.hed")
    peer.cpu_of(*peer.im4d(), "convert", "posed.hed", "relion.mrcs", cwd=folder)
    theirs = peer.cpu_of(peer.need("relion_reconstruct"), "--i", "relion.star", "--o", "theirs.mrc", "--ctf", cwd=folder)
    options = ("--membership", "all", "--weigh-ctf", "--hamming", "1", "--threads", "1", "-q")
    ours = peer.cpu_of(*peer.im4d(), "recon", "posed.hed", "ours.hed", *options, cwd=folder)
    peer.cpu_of(*peer.im4d(), "convert", "theirs.mrc", "theirs.hed", cwd=folder)
    truth = volume(folder / "t.hed")
    a, b = (np.asarray(shell_curves(truth, volume(folder / f"{n}.hed")).fsc) for n in ("ours", "theirs"))
    return a, b, ours, theirs


def main() -> None:
    """Parse options, run, print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--box", type=int, default=64)
    ask.add_argument("--images", type=int, default=2000)
    ask.add_argument("--snr", type=float, default=0.3)
    ask.add_argument("--seeds", default="31,32,33")
    args = ask.parse_args()
    print("seed   FSC ours - theirs: mean  least   0.5 at (of Nyquist): ours theirs   CPU s: ours theirs ratio")
    for seed in map(int, args.seeds.split(",")):
        with tempfile.TemporaryDirectory(prefix="im4d_ctf_") as folder:
            a, b, ours, theirs = one(Path(folder), args.box, args.images, args.snr, seed)
        half = args.box / 2
        shells = slice(1, int(half) - 1)
        at = [next((s for s in range(1, int(half)) if c[s] < 0.5), half) / half for c in (a, b)]
        d = (a - b)[shells]
        print(f"{seed:4d} {d.mean():+27.5f} {d.min():+.5f} {at[0]:27.2f} {at[1]:6.2f}", end=" ")
        print(f"{ours:13.2f} {theirs:6.2f} {ours / theirs:5.2f}")


if __name__ == "__main__":
    main()
