"""Centring on data with known truth: how far do images lie from one common point of their 3D, before and after `prepare`?

    python benchmarks/centring.py [--seeds 5] [--first 101] [--model FILE.pdb] [--criterion total-sum]

Box 64, 300 images a data set. Structures: random ones of blobs (one, or three that share a core) and, with --model, an atomic
model. Images lie where their 3D's centre of mass puts them, plus a displacement whose root mean square is 0, 1, 3 or 8 pixels
(Gaussian; "ring": 8 pixels each; "tenth": every tenth image 10 pixels off, the others at rest). Kinds:

white      white noise, SNR 1
faint      white noise, SNR 0.2
average    means of 10 to 40 views 5 degrees and 1 pixel apart, phases flipped, B factor, coloured noise, SNR about 1
ground     "average" with a smooth background of half the signal's size and 5 % junk
halo       "white" with a dark halo around every particle that takes away its whole mass
neighbour  "white", and every third image has a second particle at its edge

Distances are fitted: the point of the 3D is the one that makes them least, as projections know no other centre.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.centre import normalised, total_sum_shifts
from imagic4d_core.align.offcentre import object_shifts
from imagic4d_core.atoms import density, read_atoms
from imagic4d_core.ctf.transfer import ctf, frequency_grid
from imagic4d_core.forward.project import Projector
from imagic4d_core.geometry.euler import matrix_from_rotvec, random_rotations
from imagic4d_core.models import project, random_family
from imagic4d_core.rng import rng_for

BOX, IMAGES, PIXEL = 64, 300, 4.0
KINDS = ("white", "faint", "average", "ground", "halo", "neighbour")
SHIFTS = ("0", "1", "3", "8", "ring", "tenth")


@dataclass(frozen=True)
class Data:
    """Images (n, box, box), float32; poses (n, 3, 3); places of the particles (n, 2), pixels; which are particles."""

    images: NDArray[np.float32]
    matrices: NDArray[np.float64]
    places: NDArray[np.float64]
    real: NDArray[np.bool_]
    member: NDArray[np.int64]


def blurred(x: NDArray, sigma: float) -> NDArray[np.float64]:
    """Gaussian blur, sigma in pixels (periodic)."""
    k = np.hypot(np.fft.fftfreq(x.shape[-2])[:, None], np.fft.rfftfreq(x.shape[-1]))
    return np.fft.irfft2(np.fft.rfft2(x) * np.exp(-2 * (np.pi * sigma * k) ** 2), x.shape[-2:])


def smooth_ground(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Background of one cycle per box and less, standard deviation 1, (n, box, box)."""
    x = (np.arange(BOX) - BOX // 2) / (BOX / 2)
    tilt = rng.standard_normal((n, 2))
    bend = rng.standard_normal((n, 3))
    y = x[:, None]
    out = tilt[:, :1, None] * y + tilt[:, 1:, None] * x + 0.7 * bend[:, 0, None, None] * (y * y - 1 / 3)
    out = out + 0.7 * bend[:, 1, None, None] * (x * x - 1 / 3) + bend[:, 2, None, None] * (y * x)
    waves = rng.standard_normal((n, BOX, BOX))
    waves = blurred(waves, 14.0)
    out = out / out.std((1, 2), keepdims=True) + waves / waves.std((1, 2), keepdims=True)
    return out / out.std((1, 2), keepdims=True)


def places(shift: str, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Where particles lie, (n, 2)."""
    if shift in ("ring", "tenth"):
        angle = rng.uniform(0, 2 * np.pi, n)
        radius = np.where(np.arange(n) % 10 == 0, 10.0, 0.0) if shift == "tenth" else np.full(n, 8.0)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    out = float(shift) / np.sqrt(2) * rng.standard_normal((n, 2))
    length = np.hypot(*out.T)
    return out * np.minimum(1.0, 16.0 / np.maximum(length, 1e-9))[:, None]


def data_set(kind: str, structure: str, shift: str, seed: int, model: str | None = None) -> Data:
    """One data set of a kind of images, a structure ("one", "three", "atoms") and displacements."""
    rng = rng_for(seed, f"centring/{kind}/{structure}/{shift}")
    n = IMAGES
    if structure == "atoms":
        sharp = Projector(density(read_atoms(model), (BOX, BOX, BOX), PIXEL, 2.5 * PIXEL))
        views = [lambda m, s: sharp.project(m, s)]
    else:
        family = random_family(seed, 3 if structure == "three" else 1, BOX)
        views = [lambda m, s, one=one: project(one, m, s, BOX) for one in family]
    member = rng.integers(len(views), size=n)
    m, at = random_rotations(rng, n), places(shift, rng, n)

    def seen(matrices: NDArray, where: NDArray) -> NDArray[np.float64]:
        out = np.empty((n, BOX, BOX))
        for k, one in enumerate(views):
            out[member == k] = one(matrices[member == k], where[member == k])
        return out

    real = np.ones(n, bool)
    noise = rng.standard_normal((n, BOX, BOX))
    if kind in ("white", "faint", "halo", "neighbour"):
        signal = seen(m, at)
        if kind == "halo":
            signal = signal - blurred(signal, 6.0)
        if kind == "neighbour":
            angle, far = rng.uniform(0, 2 * np.pi, n), rng.uniform(30, 36, n)
            other = seen(random_rotations(rng, n), np.stack([far * np.cos(angle), far * np.sin(angle)], 1))
            signal[::3] += other[::3]
        level = signal.std((1, 2)).mean() / np.sqrt(0.2 if kind == "faint" else 1.0)
        return Data((signal + level * noise).astype(np.float32), m, at, real, member)
    few = 6
    signal = np.zeros((n, BOX, BOX))
    k, _ = frequency_grid((BOX, BOX), PIXEL)
    spread = rng.uniform(200, 400, n)[:, None, None]
    for _ in range(few):
        turns = np.deg2rad(5.0) * rng.standard_normal((n, 3))
        near = np.stack([matrix_from_rotvec(t) for t in turns]) @ m
        move = at + rng.standard_normal((n, 2)) * np.sqrt(0.5)
        transfer = np.abs(ctf(k, rng.uniform(10000, 30000, n)[:, None, None], voltage_kv=300.0, cs_mm=2.7, amplitude=0.1))
        f = np.fft.rfft2(seen(near, move))
        signal += np.fft.irfft2(f * transfer * np.exp(-spread * k**2 / 4), (BOX, BOX)) / few
    size = signal.std((1, 2), keepdims=True)
    colour = noise + 2.0 * blurred(noise, 2.0) / 0.14
    members = rng.integers(10, 41, n)[:, None, None]
    level = size.mean() * np.sqrt(20.0 / members)
    out = signal + level * colour / colour.std()
    if kind == "ground":
        out += 0.5 * size * smooth_ground(rng, n)
        junk = np.arange(n) % 20 == 7
        real[junk] = False
        lumps = blurred(rng.standard_normal((n, BOX, BOX)), 3.0)
        lumps *= size / lumps.std((1, 2), keepdims=True)
        out[junk] = (lumps + level * colour / colour.std())[junk]
    return Data(out.astype(np.float32), m, at, real, member)


def distance(data: Data, shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (images,) of one common point of each 3D from the centre, with the shifts found."""
    out = []
    for k in np.unique(data.member):
        which = data.real & (data.member == k)
        left, rows = (data.places + shifts)[which], data.matrices[which, :2]
        point = np.linalg.lstsq(rows.reshape(-1, 3), left.ravel(), rcond=None)[0]
        out.append(np.hypot(*(left - rows @ point).T))
    return np.concatenate(out)


def rms(x: NDArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(x).mean()))


def main() -> None:
    """Print a table of rms distances: as they came, and as they are left."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, default=5)
    ask.add_argument("--first", type=int, default=101)
    ask.add_argument("--model", action="append", default=[], help="atomic models, taken in turn")
    ask.add_argument("--criterion", choices=("object", "total-sum"), default="object")
    given = ask.parse_args()
    structures = ("one", "three", *(("atoms",) if given.model else ()))
    print("| images | structure |", " | ".join(f"off {s}" for s in SHIFTS), "|\n|---|---|" + "---|" * len(SHIFTS))
    for kind in KINDS:
        for structure in structures:
            cells = []
            for shift in SHIFTS:
                before, after = [], []
                for seed in range(given.first, given.first + given.seeds):
                    model = given.model[seed % len(given.model)] if given.model else None
                    data = data_set(kind, structure, shift, seed, model)

                    def read(span: tuple[int, int], data: Data = data) -> NDArray[np.float32]:
                        return normalised(data.images[slice(*span)].copy())[0]

                    if given.criterion == "object":
                        shifts = object_shifts(read, IMAGES, BOX, block=128, max_shift=0.4 * BOX / 2).shifts
                    else:
                        shifts, _ = total_sum_shifts(read, IMAGES, (BOX, BOX), block=128, iterations=5, max_shift=0.4 * BOX / 2)
                    before.append(rms(distance(data, np.zeros((IMAGES, 2)))))
                    after.append(rms(distance(data, shifts)))
                cells.append(f"{np.mean(before):.2f}: {np.mean(after):.2f}, worst {max(after):.2f}")
            print(f"| {kind} | {structure} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
