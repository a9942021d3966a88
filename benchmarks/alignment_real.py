"""Real particles aligned to one another: negative stain (14 images, untilted and tilted) and cryo-EM (50 images of ATP synthase).

    python benchmarks/alignment_real.py FOLDER [--picture FILE.png]

FOLDER holds raw_stack_untiltstack.hed, raw_stack_tiltstack.hed (cianfrocco-lab/Old-school-processing) and
atp_synthase_parts.stk (leschzinerlab/FreeHand). Every set is normalised and given to align-refs; the images of ATP synthase,
whose protein is dark, are inverted, and its odd and even images are aligned apart, as is noise in their place. Printed: mean
correlation with the sum of the others before and after, and the ring correlation of the two halves, which share no image.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from imagic4d_core import fourier
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.align.align_refs import align_refs
from imagic4d_core.jobs.align.mra import mra

STAIN, CRYO = ("raw_stack_untiltstack.hed", "raw_stack_tiltstack.hed"), "atp_synthase_parts.stk"


def normalised(path: Path) -> np.ndarray:
    """Images with mean 0 and standard deviation 1."""
    data = read_stack(path)[0]
    return (data - data.mean((1, 2), keepdims=True)) / data.std((1, 2), keepdims=True)


def together(folder: Path, images: np.ndarray, name: str, **how) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The images, aligned to one another."""
    write_stack(folder / "in.hed", images, overwrite=True)
    s = align_refs(folder / "in.hed", folder / "out.hed", overwrite=True, **how)
    print(f"{name}: {len(images)} images, {s.before:.3f} before, {s.after:.3f} after, {s.iterations} rounds")
    return read_stack(folder / "out.hed")[0]


def ring_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of two images in rings of their spectra."""
    n = len(a)
    f, g = fourier.rfftn(a, 2), fourier.rfftn(b, 2)
    k = np.rint(np.hypot(fourier.frequencies(n)[:, None], fourier.half_frequencies(n)) * n).astype(int).ravel()
    top = np.bincount(k, (f * np.conj(g)).real.ravel())
    return top / np.sqrt(np.bincount(k, (np.abs(f) ** 2).ravel()) * np.bincount(k, (np.abs(g) ** 2).ravel()))


def smooth(image: np.ndarray, sigma: float = 0.06) -> np.ndarray:
    """Gaussian low-pass, for the eye."""
    n = len(image)
    k2 = np.square(fourier.frequencies(n))[:, None] + np.square(fourier.half_frequencies(n))
    return fourier.irfftn(fourier.rfftn(image, 2) * np.exp(-k2 / (2 * sigma**2)), (n, n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, np.ndarray]] = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        raw = [normalised(args.folder / name) for name in STAIN]
        done = [together(folder, x, name, max_shift=0.2, mirror=True) for x, name in zip(raw, STAIN, strict=True)]
        rows.append({
            "untilted, image 1": raw[0][0], "image 7": raw[0][6], "image 7 aligned": done[0][6], "sum of 14": raw[0].mean(0),
            "aligned sum": done[0].mean(0), "tilted: aligned sum": done[1].mean(0),
        })  # fmt: skip
        cryo = -normalised(args.folder / CRYO)
        whole = together(folder, cryo, CRYO, max_shift=0.15).mean(0)
        odd, even = (together(folder, cryo[k::2], f"{CRYO} from {k + 1}", max_shift=0.15).mean(0) for k in (0, 1))
        noise = np.random.default_rng(1).normal(size=cryo[::2].shape).astype(np.float32)
        false = together(folder, noise, "noise", max_shift=0.15).mean(0)
        write_stack(folder / "odd.hed", odd[None])
        write_stack(folder / "even.hed", even[None])
        mra(folder / "even.hed", folder / "odd.hed", folder / "turned.hed", max_shift=0.3)
        even = read_stack(folder / "turned.hed")[0][0]
    print("ring correlation of odd and even:", *(f"{c:.2f}" for c in ring_correlation(odd, even)[1:11]))
    rows.append({
        "ATP synthase, image 1": smooth(cryo[0]), "sum of 50": smooth(cryo.mean(0)), "aligned sum": smooth(whole),
        "odd images alone": smooth(odd), "even alone, aligned to it": smooth(even), "noise treated alike": smooth(false),
    })  # fmt: skip
    if args.picture:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        fig, axes = plt.subplots(2, 6, figsize=(13, 4.8), constrained_layout=True)
        for line, row in zip(axes, rows, strict=True):
            for axis, (title, image) in zip(line, row.items(), strict=True):
                axis.imshow(image, cmap="gray")
                axis.set_title(title, fontsize=9)
                axis.axis("off")
        fig.savefig(args.picture, dpi=90)


if __name__ == "__main__":
    main()
