"""Is what refinement found above chance? Images against 3Ds made without them, and against 3Ds of random phases."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.competition.explained import explained
from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import scratch_folder
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import create_stack, open_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.scheme.angrec.reconstitute import reconstitute
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels.spectra import random_phases
from imagic4d_core.rng import rng_for
from imagic4d_core.scores import adjusted_rand_index
from imagic4d_core.units import Frequency

#: Least rise of the mean score over that of random phases, in standard deviations of an image's difference. Refined pure noise
#: reaches 0.2 to 1.15, as aligned noise remembers the 3Ds it was aligned to; see docs/success-rates.md.
EFFECT = 2.0
#: Least adjusted Rand index of the memberships that two independent deals of the folds give.
AGREEMENT = 0.6
#: Least share of a 3D's images that must be explained by one for the others to stay.
MOSTLY = 0.5


@dataclass
class Chance:
    """Scores of the images, of random phases, and the verdicts.

    Attributes
    ----------
    score, null_score : float
        Mean correlation of images with leave-fold-out 3Ds, and with such 3Ds whose phases were randomised.
    effect : float
        Mean difference of the two over its standard deviation over images.
    agreement : float
        Adjusted Rand index of the memberships from two independent deals of the folds (1 for a single 3D).
    fsc_above_chance, membership_above_chance : bool
    statement : str
    unexplained : int
        Images that no 3D explains better than random phases do, see `competition.explained`.
    threshold : float or None
        Least rise of their score over that of random phases that the others have; None where images cannot be told apart.
    junk : list of int
        3Ds (word 51 of the input) most of whose images are among them: the rest of these are counted, too.
    """

    images: int
    volumes: int
    score: float
    null_score: float
    effect: float
    agreement: float
    fsc_above_chance: bool
    membership_above_chance: bool
    statement: str
    unexplained: int = 0
    threshold: float | None = None
    junk: list[int] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.images} images, {self.volumes} 3Ds: mean cross-validated score {self.score:.4f}, random phases "
            f"{self.null_score:.4f}, effect {self.effect:.2f}; memberships of two deals agree to {self.agreement:.3f}",
            self.statement,
            f"{self.unexplained} images are explained by no 3D better than by random phases" if self.unexplained else "",
        ][: 3 if self.unexplained else 2]


def chance(
    src: str,
    *,
    increment: float = 15.0,
    symmetry: str = "C1",
    max_shift: float = 0.4,
    max_frequency: Frequency | None = None,
    mask_radius: float | None = None,
    folds: int = 4,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    seed: int = 0,
    images_out: str | None = None,
    near: str | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Chance:
    """Judge the poses and memberships in the headers of images.

    Parameters
    ----------
    src : path
        Images with poses and memberships.
    increment, symmetry, max_shift, max_frequency, mask_radius, folds, weigh_ctf, amplitude_contrast, seed
        As in `jobs.scheme.angrec.reconstitute` and `jobs.scheme.recon.reconstruct`.
    images_out : path, optional
        The images; those that no 3D explains are in none (word 51 is 0).
    near : path, optional
        Intermediate files go beside it (default: beside `src`).

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    with open_stack(src) as images:
        count = int((images.columns(["ACTIVE"])["ACTIVE"] >= 0).sum())
    if count < max(2, folds):
        raise MismatchError(
            f"{src}: {count} active image{'s' * (count != 1)}; they are dealt into {folds} folds, and each needs one at least"
        )
    if images_out is not None:
        check_output(images_out, overwrite)
    limit = max_frequency or Frequency(0.33)
    work: dict[str, Any] = {"symmetry": symmetry, "mask_radius": mask_radius, "max_frequency": limit}
    work |= {"weigh_ctf": weigh_ctf, "amplitude_contrast": amplitude_contrast, "comm": comm, "threads": threads}
    search: dict[str, Any] = work | {"increment": increment, "max_shift": max_shift, "refine": False}
    memberships, scores = [], []
    null: NDArray[np.float64] | None = None
    volumes = 0
    with scratch_folder(near or f"{src}.chance", comm) as folder:
        for deal in range(2):
            name, anchors = str(folder / f"v{deal}.hed"), str(folder / f"anchors{deal}.hed")
            recon(src, name, folds=folds, leave_out=anchors, wiener=True, hamming=1.0, seed=seed + 1 + deal, **work)
            summary, poses, _ = reconstitute(src, anchors=anchors, seed=seed + 1 + deal, **search)
            volumes = len(summary.numbers)
            memberships.append(poses.ref3d)
            scores.append(poses.ccc3d)
            if deal == 0:
                control = str(folder / "control.hed")
                _randomise(anchors, Path(control), seed, comm)
                _, poses, _ = reconstitute(src, anchors=control, seed=seed + 1, **search)
                null = poses.ccc3d
            if progress is not None:
                progress(deal + 1, 2)
    assert null is not None
    with open_stack(src) as images:
        headers = images.headers()
    active = headers["ACTIVE"] >= 0
    fits = explained(scores[0][active], null[active])
    d = (scores[0] - null)[active][fits.images]
    effect = float(d.mean() / d.std()) if d.std() > 0 else 0.0
    agreement = float(adjusted_rand_index(memberships[0][active], memberships[1][active])) if volumes > 1 else 1.0
    structure = effect >= EFFECT
    member = structure and agreement >= AGREEMENT
    known = Poses.from_headers(headers)
    member_of = known.ref3d[active]
    # a 3D is as good as most of its images; and of what is not above chance no image is better or worse than another
    junk = [int(k) for k in np.unique(member_of[member_of > 0]) if fits.images[member_of == k].mean() < MOSTLY]
    out = ~fits.images | np.isin(member_of, junk)
    left = np.flatnonzero(active)[out] if structure else np.zeros(0, np.int64)
    if images_out is not None:
        if comm.rank == 0:
            known.ref3d[left] = known.ref3d2[left] = 0
            known.confidence[left] = 0.0
            replace_headers(src, known.into_headers(headers), images_out, overwrite=True)
        comm.barrier()
    return Chance(
        int(active.sum()), volumes, float(scores[0][active].mean()), float(null[active].mean()), effect, agreement,
        structure, member, _statement(structure, member, volumes, effect, agreement), len(left),
        fits.threshold if structure and np.isfinite(fits.threshold) else None, junk if structure else [],
    )  # fmt: skip


def _statement(structure: bool, member: bool, volumes: int, effect: float, agreement: float) -> str:
    if not structure:
        return (
            "Memberships and FSC are not above chance: the images fit 3Ds made without them hardly better than 3Ds of random "
            f"phases (effect {effect:.2f}, {EFFECT:g} is asked for). Nothing is claimed."
        )
    if volumes == 1:
        return f"The 3D is above chance (effect {effect:.1f}): images fit it, made without them, far better than random phases."
    if not member:
        return (
            f"The 3Ds are above chance (effect {effect:.1f}), but memberships are not: two independent deals of the images agree "
            f"only to {agreement:.2f} (adjusted Rand index, {AGREEMENT:g} is asked for)."
        )
    return (
        f"3Ds and memberships are above chance: effect {effect:.1f} over random phases; two independent deals of the images "
        f"give the same memberships to {agreement:.3f} (adjusted Rand index)."
    )


def _randomise(src: str, dst: Path, seed: int, comm: Comm) -> None:
    """Leave-out volumes of random phases: the same phases for all folds of a 3D."""
    with open_stack(src) as stack:
        n = stack.lines
        with create_stack(dst, stack.objects, n, n, n, pixel_size=stack.pixel_size, comm=comm) as out:
            for i in range(comm.rank, stack.objects, comm.size):
                head = stack.headers(i * n, (i + 1) * n)
                number = int(Poses.from_headers(head[:1]).ref3d[0])
                volume = stack.read_volumes(i, i + 1)[0]
                noise = rng_for(seed, "chance/phases", number).standard_normal(volume.shape, dtype=np.float32)
                volume = random_phases(volume, 3, noise)
                out.write_volumes(i, volume[None])
                out.set_headers(i * n, head)
