"""Scores of right_3ds.py: what a finished run found, beside the truth and beside what it says of itself."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from right_3ds_cases import Case, Data

from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, read_stack
from imagic4d_core.jobs.truth.compare import best_alignment, compare_poses
from imagic4d_core.jobs.truth.truth_table import read_table
from imagic4d_core.scores import score_membership
from imagic4d_core.volalign import apply_alignment

PURE, ARI, FSC = 0.9, 0.95, 0.6  # share of one structure; adjusted Rand index; fraction of Nyquist
DEGREES = {False: 3.0, True: 5.0}  # single images, averages
SHELLS = 2  # below what the true poses reach
LOST = 0.02  # of the good images, at most, in no 3D
FULL = 0.9  # share of a small state's images that must be in its 3D


@dataclass
class Found:
    """One 3D of a run: what it is, and what it is called.

    `true` is the structure of most of its good images (0: none), `purity` their share of all its images (junk and mixed ones
    count against it), `held` the share of that structure's images it holds, `pose` degrees, `fsc` a fraction of Nyquist.
    `right` means that purity, pose and FSC are; `copy` that a larger right 3D shows the same structure.
    """

    number: int
    images: int
    true: int
    purity: float
    held: float
    pose: float | None
    fsc: float | None
    goal: float | None
    right: bool
    copy: bool
    word: str


def verdict_word(row: dict, summary: dict) -> str:
    """The verdict of a 3D; of runs from before there were verdicts, what the chance test and the marks say."""
    word = row.get("verdict")
    if isinstance(word, dict):
        word = word.get("word") or word.get("verdict")
    if word:
        return str(word)
    if row.get("poor") or row.get("duplicate_of"):
        return "poor" if row.get("poor") else "duplicate"
    above = summary.get("membership_above_chance") and summary.get("fsc_above_chance")
    return "above chance" if above else "not above chance"


def called_right(word: str) -> bool:
    """Whether a word claims that the 3D is right."""
    return word in ("right", "above chance")


def group_found(summary: dict) -> str | None:
    """The point group that a run names."""
    for place in (summary.get("symmetry"), summary.get("settings", {}).get("symmetry")):
        if isinstance(place, dict):
            place = place.get("found") or place.get("group") or place.get("name")
        if place:
            return str(place)
    return None


def true_reach(data: Data, symmetry: str, group: np.ndarray, folder: Path) -> dict[int, float]:
    """FSC 0.5 against truth, by structure, of the reconstruction from true poses and memberships of the good averages."""
    with open_stack(data.known) as stack:
        headers = stack.headers()
    poses = Poses.from_headers(headers)
    if data.table is not None:
        poses.ref3d[~read_table(data.table).good] = 0
    replace_headers(data.known, poses.into_headers(headers), folder / "ideal.hed", True)
    command = [sys.executable, "-m", "imagic4d_cli.main", "recon", "ideal.hed", "ideal_3ds.hed", "--membership", "header"]
    subprocess.run([*command, "--symmetry", symmetry, "--overwrite", "-q"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    made, _ = read_stack(folder / "ideal_3ds.hed")
    goal, _ = read_stack(data.volumes)
    # 3Ds without an image are not there: those made come in the order of their numbers
    numbers = [int(k) for k in np.unique(poses.ref3d[poses.ref3d > 0])]
    edge = len(goal[0])
    shape = (-1, edge, edge, edge)
    made, goal = made.reshape(shape), goal.reshape(shape)
    return {k: float(shell_curves(made[i], goal[k - 1]).crossing("0.5")) for i, k in enumerate(numbers)}


def score(case: Case, data: Data, run: Path, folder: Path) -> dict:
    """Everything that one line of results says of a run."""
    summary = json.loads((run / "summary.json").read_text())
    with open_stack(run / "images.hed") as stack:
        found = Poses.from_headers(stack.headers())
    words = {int(r["number"]): verdict_word(r, summary) for r in summary["volumes"]}
    out = {
        "found": len(words), "words": list(words.values()), "run_word": summary.get("verdict") or summary.get("statement"),
        "converged": summary.get("converged"), "group": group_found(summary), "sizes": np.bincount(found.ref3d).tolist(),
    }  # fmt: skip
    if data.known is None or data.volumes is None:
        out["called_right"] = sum(called_right(w) for w in words.values())
        if case.rule == "file":
            return out | {"membership": found.ref3d.tolist(), "success": None}
        return out | {"success": out["called_right"] == 0}
    with open_stack(data.known) as stack:
        true = Poses.from_headers(stack.headers())
    good = np.ones(len(true), bool)
    if data.table is not None:
        table = read_table(data.table)
        good = table.good
        true.ref3d = np.where(good, true.ref3d, 0).astype(np.int32)
        junk_out, lost = table.junk & (found.ref3d == 0), good & (found.ref3d == 0)
        out |= {
            "junk": int(table.junk.sum()),
            "junk_out": int(junk_out.sum()),
            "good_lost": int(lost.sum()),
            "good": int(good.sum()),
        }
    group = rotations(case.group)
    # few images or maps of their own resolution: what true poses reach is the measure, as for averages
    relative = case.averages is not None or case.rule in ("minority", "ari")
    reach = true_reach(data, case.group, group, folder) if relative else {}
    # images that a run leaves in no 3D are counted as lost, not as a class of their own
    members = score_membership(found.ref3d, np.where(found.ref3d > 0, true.ref3d, 0))
    out["lost"] = round(float((found.ref3d[true.ref3d > 0] == 0).mean()), 4)
    listed = _three_ds(case, data, run, found, true, words, reach, group)
    right = [f for f in listed if f.right and not f.copy]
    out |= {"ari": round(members.ari, 4), "accuracy": round(members.accuracy, 4), "table": members.table.tolist(),
            "three_ds": [asdict(f) for f in listed], "structures_right": sorted(f.true for f in right)}  # fmt: skip
    return out | {"success": success(case, out, listed)}


def _three_ds(
    case: Case,
    data: Data,
    run: Path,
    found: Poses,
    true: Poses,
    words: dict[int, str],
    reach: dict[int, float],
    group: np.ndarray,
) -> list[Found]:
    most = {}
    for k in words:
        mine = true.ref3d[(found.ref3d == k) & (true.ref3d > 0)]
        most[k] = int(np.bincount(mine).argmax()) if len(mine) else 0
    # every 3D is laid on the structure of most of its images, also where several share one
    everyone = replace(score_membership(found.ref3d, true.ref3d), matching={k: t for k, t in most.items() if t})
    pairs = {p[0].number: p for p in compare_poses(found, true, everyone, group)[0]}
    out = []
    with open_stack(run / "volumes.hed", what="volumes") as volumes, open_stack(data.volumes, what="volumes") as goals:
        half = volumes.lines / 2
        for k, word in words.items():
            mine, t = found.ref3d == k, most[k]
            if not t:
                out.append(Found(k, int(mine.sum()), 0, 0.0, 0.0, None, None, None, False, False, word))
                continue
            here, start = pairs[k]
            estimate, goal = volumes.read_volumes(k - 1, k)[0], goals.read_volumes(t - 1, t)[0]
            laid = apply_alignment(estimate, best_alignment(estimate, goal, start))
            fsc = float(shell_curves(laid, goal).crossing("0.5"))
            wanted = max(reach[t] - SHELLS / half, 0.0) if reach else FSC
            purity, held = here.common / max(int(mine.sum()), 1), here.common / max(int((true.ref3d == t).sum()), 1)
            pose = here.pose_median
            clean = case.averages is None or here.common / max(int((mine & (true.ref3d > 0)).sum()), 1) >= PURE
            # mixed averages belong to no 3D: half of them here is no fault of it, a fifth of junk is
            ok = purity >= (0.75 if case.averages is not None else PURE) and clean
            # some of the complexes have axes of symmetry in directions of their own: poses that differ by these are the same view
            posed = case.structures == "complexes" or (pose is not None and pose <= DEGREES[case.averages is not None])
            right = bool(ok and posed and fsc >= wanted - 1e-9)
            out.append(Found(k, int(mine.sum()), t, round(purity, 3), round(held, 3), pose, fsc, wanted, right, False, word))
    for f in out:
        f.copy = any(g.right and g.true == f.true and (g.images, -g.number) > (f.images, -f.number) for g in out if g is not f)
    return out


def success(case: Case, out: dict, listed: list[Found]) -> bool:
    """Whether the run did what its row asks for."""
    wrong_called = any(called_right(f.word) and not f.right for f in listed)
    if case.rule == "number":
        return len(listed) == case.true
    if case.rule == "one":
        return len(listed) == 1 and listed[0].right and not wrong_called
    if case.rule == "honest":
        return any(f.right for f in listed) and not wrong_called
    if case.rule == "minority":
        small = {f.true for f in listed if f.right and f.held >= FULL and f.true > 2}
        return len(small) >= 3
    if out["lost"] > LOST:
        return False
    if case.rule == "ari":
        return bool(out["ari"] >= ARI)
    whole = out["ari"] >= ARI and len(set(out["structures_right"])) == case.true
    if case.symmetry == "auto":
        whole = whole and out["group"] == case.group
    if case.rule == "junk":
        whole = whole and out["junk_out"] >= 0.9 * out["junk"]
    return bool(whole)
