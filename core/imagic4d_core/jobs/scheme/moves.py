"""How far two iterations differ, and whether that is convergence."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagic4d_core.errors import MismatchError
from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry.euler import angular_distance
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import half_names

#: Convergence: share of images that change 3D, median change of Euler angles in degrees, change of FSC 0.5 in shells.
MOVED, TURNED, SHELLS = 0.01, 1.5, 1.0


@dataclass
class Moves:
    """Changes from one iteration to the next."""

    images: int
    moved: float
    euler_change: float
    fsc_change: float | None
    converged: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        fsc = "" if self.fsc_change is None else f", FSC 0.5 moved by {self.fsc_change:.2f} shells at most"
        word = "converged" if self.converged else "not converged"
        turned = f"median change of Euler angles {self.euler_change:.2f} degrees"
        return [f"{100 * self.moved:.2f} % changed 3D, {turned}{fsc}: {word}"]


def half_crossings(halves: str) -> list[float]:
    """Shell at which the FSC of NAME_a and NAME_b falls below 0.5, for each 3D."""
    a, b = half_names(halves)
    with open_stack(a) as first, open_stack(b) as second:
        box = first.lines
        return [
            shell_curves(first.read_volumes(k, k + 1)[0], second.read_volumes(k, k + 1)[0]).crossing("0.5") * box / 2
            for k in range(first.objects)
        ]


def moves(before: str, after: str, *, halves_before: str | None = None, halves_after: str | None = None) -> Moves:
    """Compare the poses of two iterations.

    Parameters
    ----------
    before, after : path
        The same images with the headers of two iterations.
    halves_before, halves_after : str, optional
        Half-set volumes of both (NAME of NAME_a, NAME_b).

    Returns
    -------
    Moves
        Converged: fewer than 1 % of the images change 3D, the median change of Euler angles is below 1.5 degrees, and no FSC
        0.5 moves by a shell or more.

    Raises
    ------
    InputError, MismatchError
    """
    with open_stack(before) as a, open_stack(after) as b:
        ha, hb = a.headers(), b.headers()
    if len(ha) != len(hb):
        raise MismatchError(f"{after}: {len(hb)} images, but {before} has {len(ha)}; the same images are needed")
    active = hb["ACTIVE"] >= 0
    pa, pb = Poses.from_headers(ha).select(active), Poses.from_headers(hb).select(active)
    moved = float((pa.ref3d != pb.ref3d).mean()) if len(pa) else 0.0
    turned = float(np.median(angular_distance(pa.matrices(), pb.matrices()))) if len(pa) else 0.0
    change = None
    if halves_before and halves_after:
        x, y = half_crossings(halves_before), half_crossings(halves_after)
        change = float(np.max(np.abs(np.subtract(x, y)))) if len(x) == len(y) else float("inf")
    ok = moved < MOVED and turned < TURNED and (change is None or change < SHELLS)
    return Moves(len(pa), moved, turned, change, bool(ok))
