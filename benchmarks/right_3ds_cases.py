"""The cases of right_3ds.py: what data, what is asked for, what counts as success; and the structures they are made of."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imagic4d_core.forward.project import Projector
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.jobs.truth.truth_table import table_path
from imagic4d_core.models import Model, ModelSet, models_to_json, random_family, volume
from imagic4d_core.rng import rng_for
from imagic4d_core.simulation_averages import Averages

PIXEL = 4.0
#: Maps of the row of eight complexes, by their file names.
COMPLEXES = ("4v4r", "4v4r_50S", "4v4r_30S", "4cr2", "2uv8", "3cf3", "3j9i", "3d2f")


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    title : str
    true : int
        3Ds in the data; 0 where there is no truth.
    images : int
    volumes : str
        What `refine --volumes` is given.
    snr : float or None
    shift : float
        Standard deviation of the displacements in each direction, pixels.
    populations : tuple of float or None
    structures : str
        ``family``, ``states`` (two, 5 % of the mass apart), ``complexes``, a point group, or ``file`` (averages as they are).
    averages : Averages or None
        Realistic class averages in place of single images.
    noise : bool
        Noise alone.
    preferred : str or None
    symmetry : str
        What `refine --symmetry` is given.
    rule : str
        ``all`` (memberships, and every true 3D), ``junk`` (that, and junk left out), ``ari`` (memberships), ``noise`` (nothing
        called right), ``one`` (one 3D left, nothing wrong called right), ``honest`` (one is right, nothing wrong called so),
        ``minority`` (3 of the 4 small ones), ``number`` (that of 3Ds), ``file`` (no truth).
    wanted : str
        What the issue asks for.
    """

    title: str
    true: int
    images: int
    volumes: str
    snr: float | None = 1.0
    shift: float = 2.0
    populations: tuple[float, ...] | None = None
    structures: str = "family"
    averages: Averages | None = None
    noise: bool = False
    preferred: str | None = None
    symmetry: str = "C1"
    rule: str = "all"
    wanted: str = ""

    @property
    def group(self) -> str:
        """Point group of the true 3Ds."""
        return self.structures if self.structures in ("D7", "C4", "D2", "I") else "C1"

    def with_images(self, images: int) -> "Case":
        """The same case of another size, for trials."""
        return replace(self, images=images)


_PLAIN, _JUNK20, _JUNK30 = Averages(), Averages(junk=0.2), Averages(junk=0.3)

CASES = {
    # those of success_rates.py
    "base": Case("K=3, 1,000 images, SNR 1", 3, 1000, "3", wanted="20"),
    "pop": Case("K=3, populations 70/20/10", 3, 1000, "3", populations=(70, 20, 10), wanted="20"),
    "k6": Case("K=6, 1,500 images", 6, 1500, "6", wanted="as before"),
    "low": Case("K=3, SNR 0.2, 2,000 images", 3, 2000, "3", snr=0.2, wanted="as before"),
    "over": Case("K=3 asked for as 5", 3, 1000, "5", wanted="20"),
    "pref": Case("half of the views within 20 degrees", 3, 1000, "3", preferred="0.5,20", wanted="as before"),
    "noise": Case("pure noise", 3, 1000, "3", noise=True, rule="noise", wanted="nothing right"),
    # few images, many 3Ds
    "k3n200": Case("K=3, 200 images, SNR 2", 3, 200, "3", snr=2.0, wanted="19"),
    "k2n100": Case("K=2, 100 images, SNR 2", 2, 100, "2", snr=2.0, wanted="18"),
    "k10": Case("K=10, 1,000 images", 10, 1000, "10", wanted="16"),
    "k3as10": Case("K=3 asked for as 10, 1,000 images", 3, 1000, "10", wanted="19"),
    "states": Case("two states, 5 % of the mass, 600 images, 50/50", 2, 600, "2", structures="states", wanted="18"),
    "states90": Case(
        "two states, 5 % of the mass, 600 images, 90/10", 2, 600, "2", structures="states", populations=(90, 10), wanted="16"
    ),
    # realistic averages
    "avg-k1": Case("averages, K=1, 300", 1, 300, "1", snr=None, shift=0.0, averages=_PLAIN, wanted="20"),
    "avg-k3": Case("averages, K=3, 500", 3, 500, "3", snr=None, shift=0.0, averages=_PLAIN, wanted="18"),
    "avg-k3-junk": Case(
        "averages, K=3, 500, 20 % junk", 3, 500, "3", snr=None, shift=0.0, averages=_JUNK20, rule="junk", wanted="16"
    ),
    "off-centre": Case("K=3, 1,000 images off the centre (s.d. 4 px)", 3, 1000, "3", shift=4.0, wanted="18"),
    "complexes": Case("eight complexes, 200 images each", 8, 1600, "8", structures="complexes", rule="ari", wanted="16"),
    "minority": Case(
        "four states of 2 % beside two large ones, 2,000 images", 6, 2000, "6", populations=(46, 46, 2, 2, 2, 2),
        rule="minority", wanted="16 (3 of 4)",
    ),
    # symmetry, asked for and found
    **{
        f"{g.lower()}{'-auto' if auto else ''}": Case(
            f"{g}, 300 images, --symmetry {'auto' if auto else g}", 1, 300, "1", structures=g,
            symmetry="auto" if auto else g, wanted="18",
        )
        for g in ("D7", "C4", "D2", "I")
        for auto in (False, True)
    },
    # nothing, and too much asked for
    "avg-noise": Case("averages of noise", 1, 300, "3", snr=None, shift=0.0, averages=_PLAIN, noise=True, rule="noise",
                      wanted="nothing right"),
    "one-as-3": Case("one structure asked for as 3, 500 images", 1, 500, "3", rule="one", wanted="one 3D, 20"),
    "avg-one-as-3": Case(
        "averages of one structure asked for as 3, 300", 1, 300, "3", snr=None, shift=0.0, averages=_PLAIN, rule="one",
        wanted="one 3D, 20",
    ),
    "avg-junk30-as-3": Case(
        "averages of one structure, 30 % junk, asked for as 3, 300", 1, 300, "3", snr=None, shift=0.0, averages=_JUNK30,
        rule="honest", wanted="no junk right",
    ),
    **{
        f"auto-k{k}": Case(f"--volumes auto, K={k}, {300 * k:,} images", k, 300 * k, "auto", rule="number", wanted="16 of 20")
        for k in (1, 2, 3, 5, 8)
    },
    "mixture": Case("real averages of a mixture", 0, 0, "auto", structures="file", rule="file", wanted="ARI of seeds 0.9"),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Files of one case and seed; without truth the last three are None."""

    images: Path
    known: Path | None = None
    volumes: Path | None = None
    table: Path | None = None


def make(case: Case, seed: int, folder: Path, box: int, maps: Path | None, averages: Path | None) -> Data | str:
    """Make the data of a case, or say in one line why they cannot be made."""
    if case.structures == "file":
        return Data(averages) if averages is not None and averages.is_file() else "needs --averages FILE, which is not there"
    volumes, blobs = folder / "truth.hed", folder / "truth.blobs.json"
    if case.structures == "complexes":
        found = complexes(maps)
        if found is None:
            return f"needs --maps FOLDER with {', '.join(COMPLEXES)} (.mrc)"
        write_stack(volumes, found[0], pixel_size=found[1])
        source = volumes
    else:
        models = structures(case, seed, box)
        write_stack(volumes, np.stack([volume(m, box) for m in models]), pixel_size=PIXEL)
        blobs.write_text(json.dumps(models_to_json(ModelSet(box, PIXEL, models))))
        source = blobs
    images, known = folder / "sim.hed", folder / "known.hed"
    simulate(
        source, images, images=case.images, snr=case.snr, shift_sigma=case.shift, populations=case.populations,
        preferred=case.preferred, averages=case.averages, noise_only=case.noise, truth=known, seed=seed + 1, threads=1,
    )  # fmt: skip
    table = None if case.averages is None else table_path(images)
    return Data(images, None if case.noise else known, None if case.noise else volumes, None if case.noise else table)


def structures(case: Case, seed: int, box: int) -> list[Model]:
    """Structures of a case, new for every seed."""
    if case.group != "C1":
        return [symmetric(seed, case.group, box)]
    if case.structures == "states":
        return two_states(random_family(seed, 1, box)[0], seed)
    return random_family(seed, case.true, box)


def two_states(whole: Model, seed: int, share: float = 0.05) -> list[Model]:
    """A structure, and the same without a compact part at its surface that has `share` of the mass."""
    axis = rng_for(seed, "right_3ds/state").standard_normal(3)
    tip = whole.positions[np.argmax(whole.positions @ axis)]
    near = np.argsort(np.linalg.norm(whole.positions - tip, axis=1), kind="stable")
    mass = np.cumsum(whole.weight[near])
    part = near[: 1 + int(np.argmin(np.abs(mass - share * whole.mass)))]
    rest = np.setdiff1d(np.arange(len(whole.weight)), part)
    weight = whole.weight.copy()
    weight[part] *= share / (1.0 - share) * weight[rest].sum() / weight[part].sum()
    less = Model("without", whole.positions[rest], whole.sigma[rest], weight[rest])
    return [replace(whole, name="with", weight=weight), less]


def symmetric(seed: int, group: str, box: int) -> Model:
    """A structure with the point group's symmetry: blobs in a shell, none near an axis of its own, and all their copies."""
    ops = rotations(group)
    rng = rng_for(seed, f"right_3ds/{group}")
    unit = max(120 // len(ops), 3)
    direction = rng.standard_normal((unit, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    positions = direction * rng.uniform(6.0, 20.0, (unit, 1)) * (box / 64.0)
    sigma = np.maximum(rng.uniform(0.8, 1.5, unit) * (box / 64.0), 0.8)
    weight = rng.uniform(0.5, 1.5, unit)
    copies = np.concatenate([positions @ op.T for op in ops])
    return Model(group, copies, np.tile(sigma, len(ops)), np.tile(weight, len(ops)))


def complexes(maps: Path | None) -> tuple[np.ndarray, float | None] | None:
    """The maps at one size of signal: mean variance of their projections 1. None where one of them is missing."""
    files = [] if maps is None else [maps / f"{name}.mrc" for name in COMPLEXES]
    if not files or not all(f.is_file() for f in files):
        return None
    out, views, size = [], random_rotations(rng_for(1, "right_3ds/views"), 64), None
    for f in files:
        data, headers = read_stack(f)
        one = np.asarray(data, np.float32).reshape(data.shape[-3:])
        variance = Projector(one).project(views).astype(np.float64).var(axis=(1, 2)).mean()
        out.append(one / np.float32(np.sqrt(variance)))
        size = float(headers["PIXSIZE"][0]) or None
    return np.stack(out), size
