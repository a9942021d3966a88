"""What the report says where the truth is known: scores of headers, and each 3D laid on its true volume."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError
from imagic4d_core.filters.band import Band, filtered
from imagic4d_core.fourier import centred_rfftn
from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.truth.compare import best_alignment, compare_poses
from imagic4d_core.jobs.truth.modelling import is_model_file, sampled_volumes
from imagic4d_core.pictures.rundata import Run, Truth, volume_tiles
from imagic4d_core.pictures.volumes import object_frame
from imagic4d_core.scores import score_membership
from imagic4d_core.volalign import VolumeAlignment, align_volumes, apply_alignment, resampled

F32 = NDArray[np.float32]
#: Volumes are compared on grids no larger than this (Fourier cut): enough for pictures.
LARGEST = 96


def score_headers(found: Poses, true: Poses, path: str | Path) -> tuple[Truth, dict[int, VolumeAlignment]]:
    """Membership and pose scores.

    Parameters
    ----------
    found, true : Poses
        Of the same images.
    path : path
        Where `true` comes from, for messages.

    Returns
    -------
    Truth
    dict of int to VolumeAlignment
        How each 3D lies on its true one, as its poses say.
    """
    if len(found) != len(true):
        raise MismatchError(f"{path}: {len(true)} images, but the run has {len(found)}; give the truth of the same images")
    score = score_membership(found.ref3d, true.ref3d)
    pairs, errors, shifts = compare_poses(found, true, score)
    out = Truth(
        table=score.table,
        rows=[int(k) for k in score.estimated],
        columns=[int(k) for k in score.true],
    )
    # in the order of the 3Ds they belong to, so that they can be drawn into the curves of class sizes
    order = [score.matching[k] for k in sorted(score.matching)]
    order += [int(k) for k in score.true if k not in order]
    out.sizes = [int((true.ref3d == k).sum()) for k in order]
    if len(score.true) > 1 or len(score.estimated) > 1:
        out.scores = [("adjusted Rand index", f"{score.ari:.3f}"), ("images in the right 3D", f"{100 * score.accuracy:.1f} %")]
    if len(errors):
        out.scores.append(("median pose error", f"{np.median(errors):.2f}°"))
        out.scores.append(("median shift error", f"{np.median(shifts):.2f} px"))
    for c, _ in pairs:
        out.matches[c.number] = c.true
        row = {"images right": f"{c.common} of {c.images}"}
        row["hand"] = "–" if c.mirrored is None else "other" if c.mirrored else "same"
        row["pose error"] = "–" if c.pose_median is None else f"{c.pose_median:.2f}°"
        row["shift error"] = "–" if c.shift_median is None else f"{c.shift_median:.2f} px"
        out.pairs[c.number] = row
    for number, line in zip(out.rows, out.table if out.table is not None else [], strict=False):
        # 3Ds beyond the one-to-one matching (duplicates) go to the true 3D that they share most images with
        if number > 0 and number not in out.matches and line.sum():
            out.matches[number] = out.columns[int(np.argmax(line))]
    return out, {c.number: start for c, start in pairs if start is not None}


def _reduced(volume: F32) -> F32:
    """Volume on a grid of at most `LARGEST`, by Fourier cut."""
    box = volume.shape[0]
    if box <= LARGEST:
        return volume
    return resampled(centred_rfftn(volume, 3), box, LARGEST)


def low_passed(volume: F32, limit: float) -> F32:
    """Volume low-passed at `limit` (fraction of Nyquist) with a cosine edge 0.1 wide."""
    return filtered(volume[None].copy(), 3, Band(high=limit, edge="cosine", width=0.1).curve)[0]


class _True:
    """True volumes, read one at a time, or sampled from a blob model file."""

    def __init__(self, path: str, box: int) -> None:
        self.path = path
        self.stack = None if is_model_file(path) else open_stack(path, what="volumes")
        self.sampled = sampled_volumes(path, box)[0] if self.stack is None else None
        shape = (self.stack.shape if self.stack is not None else self.sampled.shape)[1:]  # type: ignore[union-attr]
        self.count = self.stack.objects if self.stack is not None else len(self.sampled)  # type: ignore[arg-type]
        if shape != (box,) * 3:
            self.close()
            raise MismatchError(
                f"{path}: true volumes of {shape[-1]} pixels, but the run's have {box}; give truth of the same box"
            )

    def __getitem__(self, number: int) -> F32:
        if self.stack is not None:
            return self.stack.read_volumes(number - 1, number)[0]
        return self.sampled[number - 1]  # type: ignore[index]

    def close(self) -> None:
        if self.stack is not None:
            self.stack.close()


def draw_against(
    run: Run,
    found: Stack,
    path: str,
    starts: dict[int, VolumeAlignment],
    sizes: tuple[int, int],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Lay each 3D on its true volume, draw both, and compute their FSC; fills ``run.volumes`` and ``run.truth``.

    Parameters
    ----------
    run : Run
        ``run.truth`` is there; its matches, where it has any, say which true 3D belongs to which.
    found : Stack
        Volumes of the run.
    path : str
        True volumes, or blob models.
    starts : dict of int to VolumeAlignment
        Alignments known from poses.
    sizes : (int, int)
        Pixels of grey tiles and of surfaces.
    progress : callable, optional
    """
    out = run.truth
    assert out is not None
    described = {int(v.get("number", 0)): v for v in run.summary.get("volumes") or []}
    true = _True(path, found.lines)
    try:
        frame = max(object_frame(true[k + 1]) for k in range(true.count))
        for k in range(found.objects):
            estimate = _reduced(np.nan_to_num(found.read_volumes(k, k + 1, finite=False)[0]))
            scale = estimate.shape[0] / found.lines
            wanted = out.matches.get(k + 1)
            choices = [wanted] if wanted and wanted <= true.count else range(1, true.count + 1)
            best: tuple[int, VolumeAlignment, F32] | None = None
            for number in choices:
                goal = _reduced(true[number])
                start = starts.get(k + 1) if scale == 1 else None
                alignment = best_alignment(estimate, goal, start) if start is not None else align_volumes(estimate, goal)
                if best is None or alignment.correlation > best[1].correlation:
                    best = number, alignment, goal
            assert best is not None
            number, alignment, goal = best
            laid = apply_alignment(estimate, alignment)
            curve = shell_curves(laid, goal)
            out.matches[k + 1] = number
            label = f"3D {k + 1} : truth {number}"
            out.curves.append(
                {"number": k + 1, "label": label, "frequency": (scale * curve.frequency).tolist(), "fsc": curve.fsc.tolist()}
            )
            row = out.pairs.setdefault(k + 1, {})
            row["hand"] = "other" if alignment.mirrored else "same"
            at = scale * curve.crossing("0.5")
            row["FSC 0.5 at"] = f"{at:.2f} Nyquist" + (
                f" ({2 * run.pixel_size / at:#.3g} Å)" if run.pixel_size and at > 0 else ""
            )
            limit = described.get(k + 1, {}).get("fsc05")
            caption = ""
            if isinstance(limit, int | float) and 0 < limit < 1:
                goal, caption = low_passed(goal, min(limit / scale, 1.0)), "low-passed to the resolution of the 3D (FSC 0.5)"
            moved = "laid on the truth" + (", mirrored" if alignment.mirrored else "")
            run.volumes.append(volume_tiles(laid, k + 1, size=sizes[0], surface_size=sizes[1], frame=frame, caption=moved))
            tiles = volume_tiles(goal, k + 1, size=sizes[0], surface_size=sizes[1], frame=frame, caption=caption)
            tiles.number = number
            out.tiles[k + 1] = tiles
            if progress:
                progress(k + 1, found.objects)
    finally:
        true.close()
    other = sum(row.get("hand") == "other" for row in out.pairs.values())
    out.notes.append(
        f"{found.objects - other} of {found.objects} 3Ds have the hand of the truth, {other} the other one; either is right from "
        "projections alone, and the pictures show them in the hand of the truth."
    )
