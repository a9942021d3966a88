#!/usr/bin/env python3
"""Time image operations against RELION's relion_image_handler, scipy or `cp` on the same files; prints ratios.

    python benchmarks/image_operations.py [--images 4000] [--box 128] [--volume 192] [--runs 3] [--only NAME...] [--folder DIR]

Each case is one command of ours and one of a peer, on the same input, each writing its own output; the order changes from run to
run; seconds by the clock, then of CPU, which say more on a busy machine. A ratio below 1 means that im4d took less time. "cp"
copies the input (and so reads and writes the same bytes), "cp+read" also reads it once more, as an operation on two files does.
What Python with NumPy and Click takes to start, and do nothing, is printed first. Cases whose peer is not installed are left out.
Threads of im4d: as given by --threads, by default all cores; relion_image_handler has one.

Before each command the memory that its output will take is written to and given back: in a virtual machine whose host takes back
what is free, the first to write to it pays up to 3 s for each gigabyte, whoever that is. Python's compiled modules are kept, as
they are after an installation.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagic4d_core.io.stack import write_stack

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
START = [sys.executable, "-c", "import numpy, click"]
IM4D = [sys.executable, "-m", "imagic4d_cli.main"]
SCIPY = """
import sys, mrcfile, numpy as np
from scipy import ndimage
with mrcfile.mmap(sys.argv[1]) as a, mrcfile.new(sys.argv[2], overwrite=True) as b:
    x = a.data
    if sys.argv[3] == "rotate":
        b.set_data(np.stack([ndimage.rotate(i, 30.0, reshape=False, order=3) for i in x]).astype("f4"))
"""


@dataclass
class Case:
    """One comparison. In the templates {images}, {volume}, {micrograph}, {coordinates} are inputs (MRC), {hed} the images as an
    IMAGIC pair, {out} the output without an extension, {half}, {quarter} boxes."""

    ours: str
    peer: str
    note: str = ""


#: Name -> case. A peer that begins with "scipy " is the word for `SCIPY` with its input; "cp" copies what is named.
CASES: dict[str, Case] = {
    "copy": Case("copy {hed} {out}.hed", "cp {hed}.hed {hed}.img {folder}"),
    "append": Case("append {hed} {out}.hed", "cp {hed}.hed {hed}.img {folder}", "to a new file"),
    "cut": Case("cut {images} {out}.mrcs --box {half}", "relion_image_handler --i {images} --o {out}.mrcs --new_box {half}"),
    "pad": Case("cut {images} {out}.mrcs --box {more}", "relion_image_handler --i {images} --o {out}.mrcs --new_box {more}"),
    "blow-up 1/2": Case(
        "blow-up {images} {out}.mrcs --factor 0.5",
        "relion_image_handler --i {images} --o {out}.mrcs --angpix 1 --rescale_angpix 2",
    ),
    "blow-up 3/2": Case(
        "blow-up {images} {out}.mrcs --factor 1.5",
        "relion_image_handler --i {images} --o {out}.mrcs --angpix 1.5 --rescale_angpix 1",
    ),
    "center mass": Case(
        "center {images} {out}.mrcs --criterion mass --level 0 --interpolation bilinear",
        "relion_image_handler --i {images} --o {out}.mrcs --shift_com",
    ),
    "shift": Case(
        "rotate {images} {out}.mrcs --shift 1.5,2.5 --interpolation bilinear",
        "relion_image_handler --i {images} --o {out}.mrcs --shift_x 2.5 --shift_y 1.5",
    ),
    "rotate": Case("rotate {images} {out}.mrcs --angle 30", "scipy rotate {images} {out}.mrcs", "cubic spline, both"),
    "multiply cp": Case("arithmetic {hed} {out}.hed --operation multiply --value 2", "cp {hed}.hed {hed}.img {folder}"),
    "expression cp": Case("arithmetic {hed} {out}.hed --expr clip(a,0,5)*2", "cp {hed}.hed {hed}.img {folder}"),
    "soft mask cp": Case("arithmetic {hed} {out}.hed --operation soft-mask", "cp {hed}.hed {hed}.img {folder}"),
    "norm-variance cp": Case("norm-variance {hed} {out}.hed", "cp {hed}.hed {hed}.img {folder}"),
    "norm soft cp": Case("norm-variance {hed} {out}.hed --region soft", "cp {hed}.hed {hed}.img {folder}"),
    "add cp": Case("two-images {hed} {hed} {out}.hed --operation add", "cp+read {hed}.hed {hed}.img {folder}", "reads two files"),
    "multiply": Case(
        "arithmetic {images} {out}.mrcs --operation multiply --value 2",
        "relion_image_handler --i {images} --o {out}.mrcs --multiply_constant 2",
    ),
    "threshold": Case(
        "arithmetic {images} {out}.mrcs --operation threshold-below --value 0.5",
        "relion_image_handler --i {images} --o {out}.mrcs --threshold_below 0.5",
    ),
    "add one image": Case(
        "two-images {images} {one} {out}.mrcs --operation add", "relion_image_handler --i {images} --o {out}.mrcs --add {one}"
    ),
    "statistics": Case("incore {images} --mode statistics", "relion_image_handler --i {images} --stats"),
    "average": Case("incore {images} {out}.mrcs --mode average", "relion_image_handler --i {images} --o {out}.mrcs --average"),
    "low-pass": Case(
        "filter {images} {out}.mrcs --low-pass 4A --edge-shape cosine",
        "relion_image_handler --i {images} --o {out}.mrcs --angpix 1 --lowpass 4",
    ),
    "high-pass": Case(
        "filter {images} {out}.mrcs --high-pass 40A --edge-shape cosine",
        "relion_image_handler --i {images} --o {out}.mrcs --angpix 1 --highpass 40",
    ),
    "power spectrum": Case(
        "incore {images} {out}.mrcs --mode power-curve", "relion_image_handler --i {images} --o {out}.mrcs --power"
    ),
    "3D multiply": Case(
        "threed-arithmetic {volume} {out}.mrc --operation multiply --value 2",
        "relion_image_handler --i {volume} --o {out}.mrc --multiply_constant 2",
    ),
    "3D subtract": Case(
        "threed-two-volumes {volume} {volume} {out}.mrc --operation subtract",
        "relion_image_handler --i {volume} --o {out}.mrc --subtract {volume}",
    ),
    "3D low-pass": Case(
        "filter {volume} {out}.mrc --low-pass 4A --edge-shape cosine",
        "relion_image_handler --i {volume} --o {out}.mrc --angpix 1 --lowpass 4",
    ),
    "3D B-factor": Case(
        "filter {volume} {out}.mrc --b-factor -50", "relion_image_handler --i {volume} --o {out}.mrc --angpix 1 --bfactor -50"
    ),
    "3D symmetry D7": Case(
        "threed-menu {volume} {out}.mrc --mode symmetrise --symmetry D7 --interpolation bilinear",
        "relion_image_handler --i {volume} --o {out}.mrc --sym D7",
    ),
    "3D symmetry I": Case(
        "threed-menu {volume} {out}.mrc --mode symmetrise --symmetry I --interpolation bilinear",
        "relion_image_handler --i {volume} --o {out}.mrc --sym I",
    ),
    "3D blow-up 1/2": Case(
        "threed-blowup {volume} {out}.mrc --factor 0.5",
        "relion_image_handler --i {volume} --o {out}.mrc --angpix 1 --rescale_angpix 2",
    ),
    "3D cut": Case(
        "threed-cut {volume} {out}.mrc --box {half3}", "relion_image_handler --i {volume} --o {out}.mrc --new_box {half3}"
    ),
    "3D center mass": Case(
        "threed-center {volume} {out}.mrc --criterion mass --level 0 --interpolation bilinear",
        "relion_image_handler --i {volume} --o {out}.mrc --shift_com",
    ),
    "3D shift": Case(
        "threed-rotate {volume} {out}.mrc --shift 1.5,2.5,0.5 --interpolation bilinear",
        "relion_image_handler --i {volume} --o {out}.mrc --shift_x 2.5 --shift_y 1.5 --shift_z 0.5",
    ),
}


def make_inputs(folder: Path, count: int, box: int, volume: int) -> dict[str, str]:
    """Noise with a blob in it, as MRC and as IMAGIC; what the templates need."""
    rng = np.random.default_rng(1)
    x = np.arange(box) - box // 2
    blob = np.exp(-(x[:, None] ** 2 + x**2) / (2 * (box / 8) ** 2)).astype(np.float32)
    some = rng.standard_normal((64, box, box)).astype(np.float32) + 3 * blob
    data = np.resize(some, (count, box, box))
    write_stack(folder / "images.mrcs", data, pixel_size=1.0)
    write_stack(folder / "images.hed", data, pixel_size=1.0)
    write_stack(folder / "one.mrc", data[:1], pixel_size=1.0)
    z = np.arange(volume) - volume // 2
    ball = np.exp(-(z[:, None, None] ** 2 + z[:, None] ** 2 + z**2) / (2 * (volume / 8) ** 2)).astype(np.float32)
    write_stack(folder / "volume.mrc", (ball + 0.1 * rng.standard_normal(ball.shape).astype(np.float32))[None], pixel_size=1.0)
    out = {"images": folder / "images.mrcs", "hed": folder / "images", "volume": folder / "volume.mrc"}
    out |= {"one": folder / "one.mrc", "half": box // 2}
    return {k: str(v) for k, v in (out | {"more": box * 3 // 2, "half3": volume // 2}).items()}


def command_of(template: str, names: dict[str, str], threads: int) -> list[str]:
    """The words of a command line."""
    words = template.format(**names).split()
    if words[0] in ("cp", "relion_image_handler"):
        return words
    if words[0] == "cp+read":
        return ["sh", "-c", f"cp {' '.join(words[1:])} && cat {' '.join(words[1:-1])} > /dev/null"]
    if words[0] == "scipy":
        return [sys.executable, "-c", SCIPY, words[2], words[3], words[1]]
    extra = [] if not threads or words[0] in ("copy", "append", "threed-copy", "threed-append") else ["--threads", str(threads)]
    return [*IM4D, *words, *extra]


def timed(command: list[str], folder: Path, memory: int = 0) -> tuple[float, float]:
    """Seconds of one command by the clock, and of CPU; the folder for its output is made and removed."""
    os.sync()
    folder.mkdir()
    np.ones(memory, np.uint8)  # and given back
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory(case: str, args: argparse.Namespace) -> int:
    """Bytes of memory that the output of a case and its like may take."""
    if case.startswith("3D"):
        return 16 * args.volume**3
    side = args.box * (3 if case in ("pad", "blow-up 3/2") else 2) / 2
    return int(4 * args.images * side**2 * (1 if side > args.box else 1.2))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--volume", type=int, default=192)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="cases whose name begins with one of these")
    parser.add_argument("--folder", default=None, help="where to make the files; default: the temporary folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="im4d-operations-", dir=args.folder))
    try:
        names = make_inputs(folder, args.images, args.box, args.volume)
        threads = args.threads or "all"
        print(f"{args.images} images of {args.box} x {args.box}, a volume of {args.volume}^3, {threads} threads, in {folder}")
        start = [timed(START, folder / "start") for _ in range(5)]
        print(
            "Python with NumPy and Click: {:.2f} s, CPU {:.2f} s".format(
                *(statistics.median(s) for s in zip(*start, strict=True))
            )
        )
        print(f"{'case':16} {'im4d s':>8} {'peer s':>8} {'ratio':>6} {'CPU s':>7} {'CPU s':>7} {'ratio':>6}  peer")
        for name, case in CASES.items():
            if args.only and not any(name.startswith(o) for o in args.only):
                continue
            program = case.peer.split()[0]
            if program not in ("scipy", "cp+read") and shutil.which(program) is None:
                print(f"{name:16} left out: {program} is not installed")
                continue
            pairs = []
            for run in range(args.runs):
                seconds = {}
                for which in ("ours", "peer")[:: 1 if run % 2 else -1]:
                    place = folder / f"{which}_out"
                    filled = names | {"out": str(place / "out"), "folder": str(place)}
                    seconds[which] = timed(command_of(getattr(case, which), filled, args.threads), place, memory(name, args))
                pairs.append([(seconds["ours"][k], seconds["peer"][k]) for k in (0, 1)])
            line = f"{name:16}"
            for k, width in ((0, 8), (1, 7)):
                ours, peer = (statistics.median(p[k][who] for p in pairs) for who in (0, 1))
                ratio = statistics.median(p[k][0] / p[k][1] for p in pairs)
                line += f" {ours:{width}.2f} {peer:{width}.2f} {ratio:6.2f}"
            print(f"{line}  {program}{' ' + case.note if case.note else ''}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
