"""A made-up refine run with known structures: arrays for picture tests, and files for the report's tests."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagic4d_core import models
from imagic4d_core.geometry.euler import J_HAND, euler_from_matrix, random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack
from imagic4d_core.rng import rng_for


@dataclass
class FakeRun:
    """Everything a RUNDIR holds, before it is written."""

    box: int
    volumes: np.ndarray  # (K, n, n, n): blurred truth
    truth: np.ndarray  # (K, n, n, n)
    matrices: np.ndarray  # (N, 3, 3): found; each 3D has a frame of its own, and every second one the other hand
    true_matrices: np.ndarray
    ref3d: np.ndarray  # (N,) found, 1-based
    true_ref3d: np.ndarray
    images: np.ndarray  # (N, n, n)
    reprojections: np.ndarray
    ccc: np.ndarray
    confidence: np.ndarray
    margin: np.ndarray
    summary: dict
    fsc: dict
    journal: list


def fake_run(
    count: int = 3, images: int = 60, box: int = 32, seed: int = 5, pixel_size: float | None = 3.0, noise: bool = False
) -> FakeRun:
    """A plausible run of `count` 3Ds; `noise=True` makes one in which nothing is above chance."""
    rng = rng_for(seed, "tests/fake-run")
    family = models.random_family(seed, count, box)
    blurred = [m.__class__(m.name, m.positions, np.hypot(m.sigma, 0.02 * box), m.weight) for m in family]
    truth = np.stack([models.volume(m, box) for m in family])
    frames = random_rotations(rng, count)
    posed = [(m.mirrored() if k % 2 else m).rotated(frames[k]) for k, m in enumerate(blurred)]
    volumes = np.stack([models.volume(m, box) for m in posed])
    volumes += rng.normal(0, 0.02 * volumes.std(), volumes.shape).astype(np.float32)
    if noise:
        volumes = rng.normal(0, 1, volumes.shape).astype(np.float32)
    true_ref = np.sort(rng.integers(1, count + 1, images))
    wrong = rng.random(images) < (0.7 if noise else 0.04)
    ref3d = np.where(wrong, rng.integers(1, count + 1, images), true_ref)
    matrices = random_rotations(rng, images)
    clean = np.empty((images, box, box), np.float32)
    reprojections = np.empty_like(clean)
    for k in range(count):
        mine, given = true_ref == k + 1, ref3d == k + 1
        clean[mine] = models.project(family[k], matrices[mine], None, box)
        reprojections[given] = models.project(blurred[k], matrices[given], None, box)
    other = ((ref3d - 1) % 2 == 1)[:, None, None]
    found = np.where(other, J_HAND @ matrices @ J_HAND, matrices) @ frames[ref3d - 1].swapaxes(1, 2)
    noisy = clean + rng.normal(0, clean.std(), clean.shape).astype(np.float32)
    a, b = (x.reshape(images, -1) - x.reshape(images, -1).mean(1, keepdims=True) for x in (noisy, reprojections))
    ccc = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    confidence = np.clip(rng.beta(8, 0.6, images), 0, 1) if not noise else rng.uniform(1 / count, 0.6, images)
    margin = rng.gamma(3, 0.8, images)
    f = np.linspace(0, 1, box // 2 + 1)
    curves, described = [], []
    for k in range(count):
        at = 0.68 + 0.05 * np.sin(k)
        y = 1 / (1 + np.exp((f - at) * 22)) if not noise else np.exp(-f * 6) * 0.8
        half = np.clip(0.25 + 0.3 * (1 - f), 0, 1)
        curves.append(
            {
                "number": k + 1,
                "frequency": f.tolist(),
                "fsc": np.clip(y + rng.normal(0, 0.01, f.size), -1, 1).tolist(),
                "half_bit": half.tolist(),
                "three_sigma": (half * 0.5).tolist(),
            }
        )
        n = int((ref3d == k + 1).sum())
        described.append(
            {
                "number": k + 1,
                "images": n,
                "fraction": n / images,
                "ccc": float(ccc[ref3d == k + 1].mean()) if n else None,
                "confidence": float(confidence[ref3d == k + 1].mean()) if n else None,
                "fsc05": at,
                "fsc0143": at + 0.08,
                "half_bit": at + 0.03,
                "resolution_half_bit_A": 2 * pixel_size / (at + 0.03) if pixel_size else None,
                "duplicate_of": None,
                "poor": False,
            }
        )
    if count >= 5:
        described[-1]["duplicate_of"] = 1
        described[-2]["poor"] = True
    journal = []
    steps = 18
    final = np.bincount(ref3d, minlength=count + 1)[1:]
    for i in range(1, steps + 1):
        w = 1 - np.exp(-i / 4)
        sizes = np.floor(w * final + (1 - w) * images / count).astype(int)
        sizes[0] += images - sizes.sum()
        event = (
            [{"iteration": i, "what": "merge", "from": [1, 2], "to": [1], "why": "correlation 0.97"}]
            if i == 6 and count > 2
            else []
        )
        journal.append(
            {
                "iteration": i,
                "stage": "search" if i < 12 else "refine",
                "max_frequency": min(0.8, 0.25 + 0.05 * (i // 2)),
                "increment": 12.0 if i < 8 else 5.0,
                "noise": max(0.0, 1 - i / 10),
                "sizes": sizes.tolist(),
                "moved": float(0.6 * np.exp(-i / 3)),
                "euler_change": float(40 * np.exp(-i / 3) + 0.4),
                "score": 0.5 + 0.02 * i,
                "fsc05": [float(min(0.7, 0.2 + 0.035 * i - 0.02 * k)) for k in range(count)],
                "events": event,
            }
        )
    summary = {
        "schema": 1,
        "input": "averages.hed",
        "images": images,
        "box": box,
        "pixel_size": pixel_size,
        "seed": seed,
        "iterations": steps,
        "converged": not noise,
        "statement": f"{count} structures found in {images} images; memberships of 95 % of the images are "
        "sure (confidence above 0.9)."
        if not noise
        else "Nothing is claimed: neither memberships nor resolutions are above what pure noise gives.",
        "membership_above_chance": not noise,
        "fsc_above_chance": not noise,
        "null": {"membership_agreement": 0.98, "chance": 0.36, "fsc05_noise": 0.31},
        "volumes": described,
        "events": [{"iteration": 6, "what": "merge", "from": [1, 2], "to": [1], "why": "correlation 0.97 between the two"}],
        "settings": {
            "volumes": count,
            "iterations": 30,
            "symmetry": "C1",
            "start": "random",
            "search": {"increment": 5.0, "max_shift": 6},
        },
    }
    return FakeRun(
        box,
        volumes,
        truth,
        found,
        matrices,
        ref3d,
        true_ref,
        noisy,
        reprojections,
        ccc,
        confidence,
        margin,
        summary,
        {"schema": 1, "pixel_size": pixel_size, "independent": False, "volumes": curves},
        journal,
    )


def write_rundir(run: FakeRun, folder: Path) -> Path:
    """Write a run as refine does, with ``truth.hed`` (poses, memberships) and ``models.hed`` (true volumes) inside."""
    folder.mkdir()
    poses, true = Poses.blank(len(run.ref3d)), Poses.blank(len(run.ref3d))
    for p, matrices in ((poses, run.matrices), (true, run.true_matrices)):
        p.alpha, p.beta, p.gamma = euler_from_matrix(matrices)
    poses.ref3d[:], true.ref3d[:] = run.ref3d, run.true_ref3d
    poses.ccc3d[:], poses.confidence[:], poses.margin[:] = run.ccc, run.confidence, run.margin
    poses.shift[:, 0] = 1.0
    size = run.summary["pixel_size"]
    for name, p in (("images", poses), ("truth", true)):
        headers = blank_headers(len(run.ref3d), run.box, run.box, pixel_size=size)
        write_stack(folder / f"{name}.hed", run.images, p.into_headers(headers), pixel_size=size)
    write_stack(folder / "reprojections.hed", run.reprojections, pixel_size=size)
    write_stack(folder / "volumes.hed", run.volumes, pixel_size=size)
    write_stack(folder / "models.hed", run.truth, pixel_size=size)
    (folder / "summary.json").write_text(json.dumps(run.summary), encoding="utf-8")
    (folder / "fsc.json").write_text(json.dumps(run.fsc), encoding="utf-8")
    (folder / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in run.journal), encoding="utf-8")
    return folder
