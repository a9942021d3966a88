"""The single commands of the 4D scheme as typed steps: each runs a job, and prints the command that does the same."""

import os
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from imagic4d_core.jobs.images.prepare import Prepared, prepare
from imagic4d_core.jobs.msa.states import States, msa_states
from imagic4d_core.jobs.scheme.angrec.reconstitute import angrec
from imagic4d_core.jobs.scheme.angrec.results import AngrecSummary
from imagic4d_core.jobs.scheme.chance import Chance, chance
from imagic4d_core.jobs.scheme.recon.reconstruct import Recon, recon
from imagic4d_core.jobs.scheme.takeover import takeover
from imagic4d_core.parallel import Comm
from imagic4d_core.units import Frequency


@dataclass(frozen=True, kw_only=True)
class _Command:
    """Fields are parameters of a job; None: not given. Names of files are relative to the folder of the run."""

    NAME: ClassVar[str] = ""
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("src", "dst")
    FILES: ClassVar[tuple[str, ...]] = ("src", "dst")

    def given(self) -> dict[str, Any]:
        """Parameters that are set, in their order."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def inside(self, folder: Path) -> dict[str, Any]:
        """The same with files in the folder of the run."""
        return {
            k: os.path.join(folder, v) if k in self.FILES and not os.path.isabs(v) else v for k, v in self.given().items()
        }

    def command(self) -> str:
        """The command line."""
        options = self.given()
        words = ["im4d", *self.NAME.split(), *(str(options.pop(name)) for name in self.ARGUMENTS)]
        for name, value in options.items():
            flag = name.replace("_", "-")
            words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        return " ".join(w if w.startswith('"') else shlex.quote(w) for w in [*words, "--overwrite"])


@dataclass(frozen=True, kw_only=True)
class PrepareStep(_Command):
    """See `jobs.images.prepare`."""

    NAME: ClassVar[str] = "prepare"

    src: str
    dst: str
    centre: bool
    invert: bool
    max_shift: float
    keep_poses: bool

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Prepared:
        """Call the job."""
        return prepare(**self.inside(folder), overwrite=True, comm=comm, threads=threads)


@dataclass(frozen=True, kw_only=True)
class AngrecStep(_Command):
    """See `jobs.scheme.angrec.reconstitute`."""

    NAME: ClassVar[str] = "angrec"
    FILES: ClassVar[tuple[str, ...]] = ("src", "dst", "anchors")

    src: str
    dst: str
    anchors: str
    mode: str = "each-to-best"
    increment: float
    symmetry: str
    mask_radius: float
    max_frequency: Frequency
    max_shift: float
    shift_search: str | None = None
    shift_range: float | None = None
    refine: bool
    refine_frequency: Frequency | None = None
    noise: float | None = None
    spread: float | None = None
    weigh_ctf: bool | None = None
    amplitude_contrast: float | None = None
    seed: int

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> AngrecSummary:
        """Call the job."""
        return angrec(**self.inside(folder), overwrite=True, comm=comm, threads=threads)


@dataclass(frozen=True, kw_only=True)
class ReconStep(_Command):
    """See `jobs.scheme.recon.reconstruct`."""

    NAME: ClassVar[str] = "recon"
    FILES: ClassVar[tuple[str, ...]] = ("src", "dst", "leave_out", "images_out", "halves", "reprojections")

    src: str
    dst: str
    membership: str | None = None
    volumes: int | None = None
    euler: str | None = None
    symmetry: str
    mask_radius: float
    wiener: bool = True
    hamming: float = 1.0
    images_out: str
    folds: int = 4
    seed: int
    max_frequency: Frequency | None = None
    leave_out: str | None = None
    min_images: int | None = None
    halves: str | None = None
    reprojections: str | None = None
    centre_3d: bool | None = None
    even_sizes: bool | None = None
    weigh_ctf: bool | None = None
    amplitude_contrast: float | None = None

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Recon:
        """Call the job."""
        return recon(**self.inside(folder), overwrite=True, comm=comm, threads=threads)


@dataclass(frozen=True, kw_only=True)
class ChanceStep(_Command):
    """See `jobs.scheme.chance`."""

    NAME: ClassVar[str] = "chance"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("src",)
    FILES: ClassVar[tuple[str, ...]] = ("src", "images_out")

    src: str
    images_out: str
    symmetry: str
    mask_radius: float
    max_frequency: Frequency
    max_shift: float
    weigh_ctf: bool | None = None
    amplitude_contrast: float | None = None
    seed: int

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Chance:
        """Call the job."""
        return chance(**self.inside(folder), overwrite=True, comm=comm, threads=threads)

    def command(self) -> str:
        """The command line that does the same; that nothing can be claimed is an answer, not a failure."""
        return super().command() + " || [ $? -eq 1 ]"


@dataclass(frozen=True, kw_only=True)
class StatesStep(_Command):
    """See `jobs.msa.states`."""

    NAME: ClassVar[str] = "msa states"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("src", "out")
    FILES: ClassVar[tuple[str, ...]] = ("src", "out")

    src: str
    out: str
    known: bool = True
    mask_radius: float
    weigh_ctf: bool | None = None
    amplitude_contrast: float | None = None
    seed: int

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> States:
        """Call the job."""
        return msa_states(**self.inside(folder), overwrite=True, comm=comm, threads=threads)


@dataclass(frozen=True, kw_only=True)
class TakeoverStep(_Command):
    """See `jobs.scheme.takeover`."""

    NAME: ClassVar[str] = "header takeover"
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("src", "poses_from", "dst")
    FILES: ClassVar[tuple[str, ...]] = ("src", "poses_from", "dst")

    src: str
    poses_from: str
    dst: str

    def run(self, folder: Path, *, comm: Comm, threads: int | None) -> Any:
        """Call the job."""
        return takeover(**self.inside(folder), overwrite=True, comm=comm, threads=threads)
