"""Pure noise aligned to a picture: does its average give the picture back?

    python benchmarks/noise_to_face.py [--images 1000] [--picture FILE.png]

A face is drawn from discs, images are white noise of box 64. mra aligns them to the face with its default options, with --too-far
limit (every image moves), and with --safe; printed is the correlation of the average with the face, and what mra warns.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.align.mra import mra
from imagic4d_core.rng import rng_for

RUNS = {"plain": {}, "plain, --too-far limit": {"too_far": "limit"}, "--safe": {"safe": True}}


def face(box: int = 64) -> np.ndarray:
    """Head, hair, eyes, nose, mouth."""
    x = (np.arange(box) - box // 2) * 64 / box
    a, b = np.meshgrid(x, x, indexing="ij")

    def disc(ca: float, cb: float, ra: float, rb: float) -> np.ndarray:
        return 1 / (1 + np.exp((np.hypot((a - ca) / ra, (b - cb) / rb) - 1) * min(ra, rb)))

    out = disc(0, 0, 22, 17) + 0.8 * disc(-20, 3, 6, 13)
    out -= 1.2 * (disc(-6, -7, 3, 4) + disc(-6, 7, 3, 4)) + 0.7 * disc(2, 0, 5, 2) + disc(10, 2, 3, 8)
    return out.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    picture = face()
    noise = rng_for(1, "noise").standard_normal((args.images, 64, 64)).astype(np.float32)
    shown = {"the reference": picture, "an image": noise[0]}
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write_stack(folder / "face.hed", picture[None])
        write_stack(folder / "noise.hed", noise)
        for name, how in RUNS.items():
            s = mra(folder / "noise.hed", folder / "face.hed", folder / "out.hed", seed=1, overwrite=True, **how)
            average = read_stack(folder / "out.hed")[0].mean(0)
            like = np.corrcoef(average.ravel(), picture.ravel())[0, 1]
            shown[f"average, {name}\ncorrelation {like:.2f}"] = average
            print(f"{name}: correlation with the face {like:.2f}; {s.aligned} aligned; {'; '.join(s.warnings) or 'no warning'}")
    if args.picture:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        fig, axes = plt.subplots(1, len(shown), figsize=(2.4 * len(shown), 2.9), constrained_layout=True)
        for axis, (title, image) in zip(axes, shown.items(), strict=True):
            axis.imshow(image, cmap="gray")
            axis.set_title(title, fontsize=9)
            axis.axis("off")
        fig.savefig(args.picture, dpi=100)


if __name__ == "__main__":
    main()
