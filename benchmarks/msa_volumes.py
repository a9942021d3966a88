"""MSA of bootstrap 3Ds: do eigenvolumes find the states that are mixed in a data set, with nobody knowing which image is which?

    python benchmarks/msa_volumes.py [--images 10000] [--volumes 500] [--snr 0.2] [--picture FILE.png]

Two 3Ds differ by one lobe; images of both, of known orientation and unknown state. Every bootstrap 3D is made of images/volumes
images drawn with replacement (`recon --membership multiple-random`), so the share of the second state differs from one to the
next. Printed: how the first coordinate follows that share, how the first eigenvolume resembles the true difference, and, giving
every image the mean coordinate of the 3Ds it went into, how well that tells the states of images apart (chance: area 0.5). Then
3Ds of as many images, each of one state (`--membership split`): does the sign of the first coordinate tell the state?
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.msa.run import msa_run
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.msa.coordinates import read_coordinates
from imagic4d_core.recon.assignment import assign
from imagic4d_core.units import Frequency


def two_states(name: Path, size: int) -> np.ndarray:
    """Write two volumes, the second without a lobe of the first; returns their difference."""
    threed_test(name.with_name("first.hed"), number=1, size=size, seed=3)
    a = read_stack(name.with_name("first.hed"))[0][0]
    z, x, y = np.indices(a.shape) - size // 2
    inside = np.hypot(np.hypot(z, x), y) < 0.8 * size / 2
    at = np.unravel_index(np.argmax(np.where(inside, a * np.hypot(np.hypot(z, x), y), 0)), a.shape)
    far = np.sqrt(sum((g - (k - size // 2)) ** 2 for g, k in zip((z, x, y), at, strict=True)))
    lobe = 1 / (1 + np.exp((far - 0.16 * size) / (0.02 * size)))
    write_stack(name, np.stack([a, a * (1 - lobe)]).astype(np.float32), overwrite=True)
    return a * lobe


def area(score: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve, 0.5 is chance; the sign of the score is free."""
    rank = np.argsort(np.argsort(score))
    n1, n0 = truth.sum(), (~truth).sum()
    value = (rank[truth].sum() - n1 * (n1 - 1) / 2) / (n1 * n0)
    return float(max(value, 1 - value))


def main() -> None:
    """Run and print."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--images", type=int, default=10000)
    ap.add_argument("--volumes", type=int, default=500)
    ap.add_argument("--size", type=int, default=32)
    ap.add_argument("--snr", type=float, default=0.2)
    ap.add_argument("--max-frequency", type=float, default=0.4, help="of the 3Ds, fraction of Nyquist")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--picture", default=None, help="eigenvolumes as a PNG")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        difference = two_states(place / "states.hed", a.size)
        simulate(str(place / "states.hed"), str(place / "images.hed"), images=a.images, snr=a.snr, seed=a.seed)
        recon(
            str(place / "images.hed"),
            str(place / "boot.hed"),
            membership="multiple-random",
            volumes=a.volumes,
            seed=a.seed,
            max_frequency=Frequency(a.max_frequency),
        )
        done = msa_run(place / "boot.hed", place / "msa", eigenimages=12, metric="euclidean", mask_radius=0.8)
        with open_stack(place / "images.hed") as stack:
            state = stack.headers()["REF3D"] == 2
        drawn = assign("multiple-random", np.zeros(a.images), np.ones(a.images, bool), a.volumes, seed=a.seed)
        share = np.bincount(drawn.ref3d, drawn.weight * state[drawn.image])[1:] / np.bincount(drawn.ref3d, drawn.weight)[1:]
        with open_stack(place / "boot.hed") as stack:
            c = read_coordinates(stack, 0, stack.objects)
        eigen = read_stack(place / "msa.hed")[0]
        mask = read_stack(place / "msa_mean.hed")[0][2] > 0.5
        d = np.where(mask, difference, 0).ravel()
        along = [abs(float(e.ravel() @ d) / np.linalg.norm(d)) for e in eigen]
        follow = [abs(float(np.corrcoef(c[:, k], share)[0, 1])) for k in range(c.shape[1])]
        best = int(np.argmax(follow))
        times = np.bincount(drawn.image, drawn.weight, a.images)
        score = np.bincount(drawn.image, drawn.weight * c[drawn.ref3d - 1, best], a.images)[times > 0] / times[times > 0]
        d = done.document
        each = a.images // a.volumes
        print(f"{a.volumes} 3Ds of {each} images; share of the second state {share.mean():.2f} +- {share.std():.2f}")
        print(f"{d['noise']['factors']} factors above the noise; the first holds {d['percent'][0]:.2f} % of the variance")
        others = max(np.delete(follow, best))
        print(f"factor {best + 1} follows the share: correlation {follow[best]:.2f} (others: {others:.2f} at most)")
        print(f"cosine of eigenvolume {best + 1} with the true difference: {along[best]:.2f}")
        print(f"states of images by the mean coordinate of their 3Ds: area under the curve {area(score, state[times > 0]):.2f}")
        parts = a.volumes // 2
        recon(
            str(place / "images.hed"),
            str(place / "pure.hed"),
            membership="split",
            volumes=parts,
            seed=a.seed,
            max_frequency=Frequency(a.max_frequency),
        )
        done = msa_run(place / "pure.hed", place / "apart", eigenimages=12, metric="euclidean", mask_radius=0.8)
        with open_stack(place / "pure.hed") as stack:
            c = read_coordinates(stack, 0, stack.objects, 1)[:, 0]
        second = np.arange(len(c)) >= parts
        right = ((c > 0) == second).mean()
        found = done.document["noise"]["factors"]
        right = max(right, 1 - right)
        print(f"{len(c)} 3Ds of one state each: {found} factor(s) above the noise, sign of the first right in {right:.3f}")
        if a.picture:
            from imagic4d_core.jobs.msa.plot import msa_plot

            msa_plot(str(place / "msa"), a.picture, overwrite=True)


if __name__ == "__main__":
    main()
