#!/usr/bin/env python3
"""Purity of classes of aligned images with known truth: `im4d msa` against scikit-learn, and against RELION's 2D classification.

    python benchmarks/msa_purity.py                               # SNR 0.05 to 1; scikit-learn where it is installed
    python benchmarks/msa_purity.py --relion --snr 0.1            # RELION beside it

Data: projections of related analytic structures in some directions each, box 64, aligned; every pair of structure and
direction is a kind, with numbers of images that differ up to threefold. Each program is asked for as many classes as there are
kinds. Purity is the share of images that are of the most frequent kind of their class; ARI is the adjusted Rand index.

`msa run` and `msa classify` run on one thread: with --relion as commands, with the CPU time of the whole processes, the start
of Python included, else in this process. scikit-learn's k-means (10 starts) and Ward get the same coordinates from the headers.
RELION gets the same images, and is told that they are aligned (--skip_align --skip_rotate, no CTF); its CPU time is that of
relion_refine on one thread.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import relion as peer

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.io.star import read_star
from imagic4d_core.jobs.msa.classify import msa_classify
from imagic4d_core.jobs.msa.run import msa_run
from imagic4d_core.models import project, random_family
from imagic4d_core.msa.coordinates import read_coordinates
from imagic4d_core.scores import adjusted_rand_index

BOX, PIXEL = 64, 4.0


def make_data(folder: Path, asked: argparse.Namespace, snr: float, seed: int) -> np.ndarray:
    """Write images.hed and images.mrcs; returns the kind of every image."""
    rng = np.random.default_rng(seed)
    family = random_family(seed, asked.structures, BOX, related=True)
    kinds = asked.structures * asked.directions
    views = random_rotations(rng, asked.directions)
    signals = np.concatenate([project(m, views, None, BOX) for m in family])
    share = rng.uniform(1, 3, kinds)
    truth = rng.choice(kinds, asked.images, p=share / share.sum())
    out = signals[truth]
    out += np.float32(signals.std() / np.sqrt(snr)) * rng.standard_normal(out.shape, dtype=np.float32)
    out = (out - out.mean((1, 2), keepdims=True)) / out.std((1, 2), keepdims=True)
    headers = blank_headers(len(out), BOX, BOX, pixel_size=PIXEL)
    for name in ("images.hed", "images.mrcs"):
        write_stack(folder / name, out, headers, pixel_size=PIXEL)
    return truth


def score(labels: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Purity and adjusted Rand index; label 0 is a class too."""
    table = np.zeros((labels.max() + 1, truth.max() + 1), int)
    np.add.at(table, (labels, truth), 1)
    return float(table.max(axis=1).sum() / len(truth)), float(adjusted_rand_index(labels, truth))


def ours(folder: Path, asked: argparse.Namespace, kinds: int) -> list[tuple[str, np.ndarray, float]]:
    """Classes with and without moving elements, and their CPU seconds: of the commands, or of the jobs in this process."""
    spent = one_job(folder, asked, "msa run", ("images.hed", "eig"), {
        "images_out": "run.hed", "eigenimages": asked.factors, "metric": asked.metric, "mask_radius": asked.mask_radius,
    })  # fmt: skip
    out = []
    for method, name, moving in (("im4d msa", "moved", True), ("im4d msa, tree only", "tree", False)):
        settings = {"classes": kinds, "images_out": f"{name}.hed", "factors": asked.factors, "moving": moving}
        cpu = one_job(folder, asked, "msa classify", ("run.hed", name), settings)
        with open_stack(folder / f"{name}.hed") as stack:
            out.append((method, stack.headers()["CLASSNO"].astype(int), spent + cpu))
    return out


def one_job(folder: Path, asked: argparse.Namespace, name: str, files: tuple[str, ...], settings: dict[str, Any]) -> float:
    """Run a command (with --relion) or its job on one thread; CPU seconds."""
    if asked.relion:
        flags: list[str] = []
        for key, value in settings.items():
            option = f"--{key.replace('_', '-')}"
            flags += [option if value else f"--no-{key}"] if isinstance(value, bool) else [option, str(value)]
        return peer.cpu_of(*peer.im4d(), *name.split(), *files, *flags, "--threads", "1", "-q", cwd=folder)
    paths = [str(folder / f) for f in files]
    given = settings | {"images_out": str(folder / settings["images_out"]), "threads": 1}
    if name == "msa run":
        out = given.pop("images_out")
        return peer.cpu_here(lambda: msa_run(*paths, out, **given))[1]
    given["classes"] = [given["classes"]]
    return peer.cpu_here(lambda: msa_classify(*paths, **given))[1]


def sklearn_rows(folder: Path, asked: argparse.Namespace, kinds: int) -> list[tuple[str, np.ndarray, float]]:
    """k-means and Ward of scikit-learn on the same coordinates."""
    try:
        from sklearn.cluster import AgglomerativeClustering, KMeans
    except ImportError:
        return []
    with open_stack(folder / "run.hed") as stack:
        x = read_coordinates(stack, 0, stack.objects, asked.factors)
    means, a = peer.cpu_here(lambda: KMeans(kinds, n_init=10, random_state=0).fit_predict(x))
    tree, b = peer.cpu_here(lambda: AgglomerativeClustering(kinds, linkage="ward").fit_predict(x))
    return [("scikit-learn k-means", means, a), ("scikit-learn Ward", tree, b)]


def relion_row(folder: Path, asked: argparse.Namespace, kinds: int, seed: int) -> tuple[str, np.ndarray, float]:
    """RELION's 2D classification of the aligned images."""
    rows = "".join(f"{k:06d}@images.mrcs 1\n" for k in range(1, asked.images + 1))
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName #2\n_rlnImagePixelSize #3\n_rlnImageSize #4\n"
    optics += "_rlnImageDimensionality #5\n_rlnVoltage #6\n_rlnSphericalAberration #7\n_rlnAmplitudeContrast #8\n"
    optics += f"1 one {PIXEL} {BOX} 2 300 2.7 0.1\n\n"
    (folder / "in.star").write_text(f"{optics}data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n{rows}\n")
    (folder / "Class2D").mkdir(exist_ok=True)
    command = [peer.need("relion_refine"), "--i", "in.star", "--o", "Class2D/run", "--K", kinds, "--iter", asked.iterations]
    command += [
        "--tau2_fudge",
        2,
        "--particle_diameter",
        round(0.9 * BOX * PIXEL),
        "--zero_mask",
        "--norm",
        "--scale",
        "--pad",
        2,
    ]
    command += ["--skip_align", "--skip_rotate", "--dont_check_norm", "--pool", 30, "--dont_combine_weights_via_disc"]
    command += ["--preread_images", "--j", 1, "--random_seed", seed]
    cpu = peer.cpu_of(*map(str, command), cwd=folder)
    table = read_star(folder / f"Class2D/run_it{asked.iterations:03d}_data.star")["particles"]
    labels, names = np.zeros(asked.images, int), table["_rlnImageName"]
    for name, number in zip(names, table["_rlnClassNumber"], strict=True):
        labels[int(name.split("@")[0]) - 1] = int(number)
    return f"RELION, {asked.iterations} iterations", labels, cpu


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--structures", type=int, default=4)
    parser.add_argument("--directions", type=int, default=5)
    parser.add_argument("--factors", type=int, default=25)
    parser.add_argument("--metric", default="modulation")
    parser.add_argument("--mask-radius", type=float, default=0.9)
    parser.add_argument("--snr", default="0.05,0.1,0.2,0.5,1")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--relion", action="store_true")
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    kinds = asked.structures * asked.directions
    document = []
    for snr in map(float, asked.snr.split(",")):
        for seed in range(1, asked.seeds + 1):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                truth = make_data(folder, asked, snr, seed)
                rows = ours(folder, asked, kinds)
                rows += sklearn_rows(folder, asked, kinds)
                if asked.relion:
                    rows.append(relion_row(folder, asked, kinds, seed))
            for method, labels, cpu in rows:
                purity, ari = score(labels, truth)
                used = len(set(labels.tolist()))
                found = {"purity": purity, "ari": ari, "cpu": cpu, "classes": used}
                document.append({"snr": snr, "seed": seed, "method": method, **found})
                if not asked.json:
                    scores = f"purity {purity:.3f}  ARI {ari:.3f}  {cpu:7.1f} CPU s  {used} of {kinds} classes have members"
                    print(f"SNR {snr:<5g} seed {seed} {method:24s} {scores}", flush=True)
    if asked.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
