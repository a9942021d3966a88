"""What the report of a run shows, as plain data: the job reads the files, the page and the overview draw them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.pictures.grey import U8, fit_tile, robust_limits, to_grey
from imagic4d_core.pictures.style import rgb_of
from imagic4d_core.pictures.volumes import (
    VIEW_MATRICES,
    calmed,
    central_sections,
    crop_centre,
    isovalue,
    object_frame,
    projections,
    surface_picture,
)


@dataclass
class VolumeTiles:
    """Pictures of one volume: two surfaces (RGBA), three sections and three projections (grey)."""

    number: int
    surfaces: list[U8]
    sections: list[U8]
    projections: list[U8]
    caption: str = ""


@dataclass
class Example:
    """An image beside its re-projection."""

    group: str
    location: int
    ref3d: int
    ccc: float
    image: U8
    reprojection: U8


@dataclass
class Truth:
    """Scores against known truth; for a 3D's number, `tiles` holds its true volume, `matches` the true number, `pairs` scores."""

    tiles: dict[int, VolumeTiles] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    table: NDArray[np.int64] | None = None
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    matches: dict[int, int] = field(default_factory=dict)
    pairs: dict[int, dict[str, str]] = field(default_factory=dict)
    scores: list[tuple[str, str]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Run:
    """A run as far as its files tell; `missing` names what is not there."""

    name: str
    summary: dict[str, Any]
    fsc: dict[str, Any]
    journal: list[dict[str, Any]]
    volumes: list[VolumeTiles]
    directions: dict[int, NDArray[np.float64]]
    ref3d: NDArray[np.int64]
    ccc: NDArray[np.float64]
    confidence: NDArray[np.float64]
    margin: NDArray[np.float64]
    examples: list[Example]
    truth: Truth | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def pixel_size(self) -> float | None:
        """Ångström, or None."""
        value = self.summary.get("pixel_size") or self.fsc.get("pixel_size")
        return float(value) if value else None

    @property
    def sizes(self) -> dict[int, int]:
        """Images of each 3D, from the headers, or from the summary where there are none."""
        if self.ref3d.size:
            keys, counts = np.unique(self.ref3d, return_counts=True)
            return {int(k): int(n) for k, n in zip(keys, counts, strict=True)}
        return {int(v.get("number", 0)): int(v.get("images") or 0) for v in self.summary.get("volumes", [])}


def volume_tiles(
    volume: ArrayLike, number: int, *, size: int = 128, surface_size: int = 176, frame: float | None = None, caption: str = ""
) -> VolumeTiles:
    """Draw the pictures of one volume.

    Parameters
    ----------
    volume : array_like, shape (n, n, n), float32
    number : int
        Number of the 3D; sets the colour of the surface.
    size, surface_size : int
        Pixels of the grey tiles and of the surfaces.
    frame : float, optional
        Fraction of the box shown; by default what the object needs.
    """
    v = np.nan_to_num(np.asarray(volume, dtype=np.float32))
    level = isovalue(calmed(v))
    v = crop_centre(v, object_frame(v) if frame is None else frame)
    sections, sums = central_sections(v), projections(v)
    limits = robust_limits(np.concatenate([s.ravel() for s in sections]), 0.5, 99.8)
    cuts = [to_grey(fit_tile(s, size), limits) for s in sections]
    adds = [to_grey(fit_tile(p, size), robust_limits(p, 0.5, 99.8)) for p in sums]
    surfaces = [surface_picture(v, surface_size, level=level, view=m, colour=rgb_of(number)) for m in VIEW_MATRICES[:2]]
    return VolumeTiles(number, surfaces, cuts, adds, caption)


def example_indices(ccc: ArrayLike, each: int = 6) -> list[tuple[str, NDArray[np.int64]]]:
    """Images with the best, middle and worst scores, without overlap.

    Parameters
    ----------
    ccc : array_like, shape (n,)
        nan where unknown; those are left out.
    each : int

    Returns
    -------
    list of (name, indices)
    """
    c = np.asarray(ccc, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(c))
    order = known[np.argsort(-c[known], kind="stable")]
    n = len(order)
    each = min(each, n // 3) if n >= 3 else n
    middle = (n - each) // 2
    groups = [("best", order[:each]), ("median", order[middle : middle + each]), ("worst", order[n - each :])]
    return [g for g in groups[: 3 if n >= 3 else 1] if len(g[1])]


def _above_chance(s: dict[str, Any], count: int) -> list[tuple[str, str]]:
    """What the chance test says, of runs whose 3Ds have no verdict."""
    out: list[tuple[str, str]] = []
    if "membership_above_chance" in s and count > 1:
        ok = bool(s["membership_above_chance"])
        out.append(
            ("good", "Memberships are above chance: the images tell the 3Ds apart better than noise would.")
            if ok
            else (
                "bad",
                "Memberships are not above chance: noise alone would sort these images as well. Do not interpret the classes.",
            )
        )
    elif count == 1:
        out.append(("note", "One 3D only: there was no competition, so memberships say nothing."))
    if "fsc_above_chance" in s:
        ok = bool(s["fsc_above_chance"])
        out.append(
            ("good", "Resolutions are above chance: the half sets agree better than noise aligned in the same way.")
            if ok
            else (
                "bad",
                "Resolutions are not above chance: noise aligned in the same way gives FSC curves like these. The "
                "3Ds may be reference bias.",
            )
        )
    return out


def plain_words(run: Run) -> list[tuple[str, str]]:
    """The outcome in sentences, beside the verdicts of the 3Ds (`pictures.verdict`).

    Returns
    -------
    list of (kind, sentence)
        Kind: ``good``, ``bad``, ``note``.
    """
    s = run.summary
    lines: list[tuple[str, str]] = []
    count = len(s.get("volumes") or run.volumes)
    if not any(v.get("verdict") for v in s.get("volumes") or []):
        lines += _above_chance(s, count)
    if "converged" in s:
        n = s.get("iterations")
        lines.append(
            ("good", f"Converged after {n} iterations.")
            if s["converged"]
            else ("bad", f"Stopped after {n} iterations, before convergence.")
        )
    flagged = [v for v in s.get("volumes") or [] if v.get("duplicate_of")]
    if flagged:
        text = ", ".join(f"3D {v['number']} repeats 3D {v['duplicate_of']}" for v in flagged)
        lines.append(("bad", f"Duplicates: {text}. Fewer volumes may be enough."))
    poor = [str(v["number"]) for v in s.get("volumes") or [] if v.get("poor")]
    if poor:
        lines.append(("bad", f"Poor 3Ds, kept but not to be trusted: {', '.join(poor)}."))
    lines.append(
        ("note", "Hand: both hands are possible from projections alone. Each 3D may be the mirror image of the molecule.")
    )
    if run.fsc and not run.fsc.get("independent", False):
        lines.append(
            (
                "note",
                "FSC: halves share references: not independent. The resolutions are optimistic; use them to compare "
                "3Ds, not as a claim.",
            )
        )
    return lines
