"""The 3Ds of many runs in one competition: those are kept that together explain the images best."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates
from imagic4d_core.competition.choice import Scores
from imagic4d_core.competition.deciding import Decision, compared_anew, decide, decide_number, evaluate, for_both
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import WORDS as POSE_WORDS
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.atomic import atomic_write_text, scratch_folder
from imagic4d_core.io.header import blank_headers, keep_made_of
from imagic4d_core.io.replacing import replace_poses
from imagic4d_core.io.stack import create_stack, open_stack
from imagic4d_core.io.writer import check_output, half_names
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.scheme.angrec.reconstitute import reconstitute
from imagic4d_core.jobs.scheme.angrec.results import AngrecSummary
from imagic4d_core.jobs.scheme.axes import AUTO, Symmetry, find_axes, look, seen
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.pixels.symmetry import symmetrised
from imagic4d_core.pointgroup.find import FoundSymmetry
from imagic4d_core.units import Frequency

log = logging.getLogger(__name__)

#: Frequencies at which 3Ds of runs are compared, and to which they are made, Fourier pixels.
COMPARED, MADE = 10.0, 11.0
#: Seed of the folds: the same for all runs, so that every image is scored against 3Ds made without the same images.
FOLD_SEED = 777
FOLDS = 4
#: Most 3Ds that are looked for when their number is not given.
MOST = 12


@dataclass(frozen=True)
class PoolOptions:
    """How images are scored against the 3Ds of runs; as the parameters of `recon` and `angrec` of the same names.

    `symmetry` is what 3Ds that were made in C1 are looked at for: a group, or AUTO.
    """

    symmetry: str = "C1"
    increment: float = 12.0
    max_shift: float = 0.3
    mask_radius: float | None = None
    weigh_ctf: bool = False
    amplitude_contrast: float = 0.1

    @property
    def common(self) -> dict[str, Any]:
        """What recon and angrec are told alike."""
        return {
            "mask_radius": self.mask_radius, "weigh_ctf": self.weigh_ctf, "amplitude_contrast": self.amplitude_contrast,
        }  # fmt: skip


def _volume(path: str, index: int = 0) -> NDArray[np.float32]:
    with open_stack(path) as stack:
        return stack.read_volumes(index, index + 1)[0]


@dataclass
class Columns:
    """The 3Ds of one run and how all images fit them.

    Attributes
    ----------
    name : str
        Of the run.
    volumes : path
        Its 3Ds, one stack.
    scores : Scores
        (n, k).
    matrix : ndarray, shape (n, k, 3, 3), float64
    shift : ndarray, shape (n, k, 2), float64
    spectrum : ndarray
        Radial power that its 3Ds were given.
    symmetry : str
        Point group that its 3Ds were made with.
    told : bool
        Its images were told apart by other evidence than scores.
    origin : ndarray, shape (k,), int64
        Index of the run whose poses each 3D has: its own, but for what was made of another run's.
    """

    name: str
    volumes: str
    scores: Scores
    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    spectrum: NDArray[np.float64] | None
    origin: NDArray[np.int64]
    symmetry: str = "C1"
    told: bool = False


@dataclass
class Pool:
    """The competition of the 3Ds of several runs for one set of images.

    Attributes
    ----------
    images : path
        Prepared images, nothing known of them; inactive ones take no part.
    folder : Path
        For intermediate files.
    """

    images: str
    folder: Path
    options: PoolOptions
    runs: list[Columns] = field(default_factory=list)
    _found: dict[int, FoundSymmetry] = field(default_factory=dict)
    _refuted: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        with open_stack(self.images) as stack:
            self.headers = stack.columns((*POSE_WORDS, "ACTIVE"))
            self.box, self.pixel_size = stack.lines, stack.pixel_size
        self.active = self.headers["ACTIVE"] >= 0

    def add(
        self, name: str, source: str, context: Context, symmetry: str = "C1", origin: Sequence[int] = (), told: bool = False,
    ) -> None:  # fmt: skip
        """Score all images against the 3Ds of a run: images with poses and memberships, or a stack of volumes.

        Parameters
        ----------
        name : str
        source : path
        context : Context
        symmetry : str
            Point group that the run was made with.
        origin : sequence of int
            Index of the run whose poses these are, one for all 3Ds or one for each: the two are no witnesses of each other. By
            default the run is one of its own. Where 3Ds got lost on the way, so that there are fewer, nothing is added.
        told : bool
            See `Columns`.

        Raises
        ------
        MismatchError
            Another number of images, or another box.
        """
        tag = f"p{len(self.runs) + 1:03d}"
        posed, volumes, anchors = (str(self.folder / f"{tag}{end}.hed") for end in ("a", "v", "lo"))
        with open_stack(source) as stack:
            if stack.lines != self.box or stack.pixels != self.box:
                raise MismatchError(f"{stack.path}: box of {stack.lines} x {stack.pixels}, but {self.images} has {self.box}")
            given = stack.is_volumes
            if not given and stack.n_images != len(self.headers):
                raise MismatchError(
                    f"{stack.path}: {stack.n_images} images, but {self.images} has {len(self.headers)}; runs of one set of "
                    "images are needed"
                )
            known = None if given else Poses.from_headers(stack.columns(POSE_WORDS))
        poses = Poses.from_headers(self.headers)
        for words in (poses.ref3d, poses.ref3d2, poses.ref3d_old):
            words[:] = 0
        if known is not None:
            mine = (known.ref3d > 0) & self.active
            for word in ("alpha", "beta", "gamma", "shift", "ref3d"):
                getattr(poses, word)[mine] = getattr(known, word)[mine]
        if context.comm.rank == 0:
            replace_poses(self.images, poses, posed, overwrite=True)
        context.comm.barrier()
        if given:
            volumes = anchors = source
        else:
            self._made(posed, volumes, anchors, symmetry, context)
        summary, found = self._scored(posed, anchors, symmetry, context)
        keep = self.active
        scores = Scores(found.score[keep], found.first[keep], found.second[keep])
        count = found.matrix.shape[1]
        if len(origin) > 1 and len(origin) != count:
            return
        twin = next((r for r in self.runs if np.array_equal(r.matrix, found.matrix[keep])), None)
        if twin is not None and not len(origin) and not told:
            if context.comm.rank == 0:
                log.warning("%s: the same 3Ds and poses as %s (the same seed?); it is no other run", name, twin.name)
            origin = twin.origin.tolist()
        of = np.full(count, len(self.runs)) if not len(origin) else np.resize(np.asarray(origin, np.int64), count)
        made = Columns(name, volumes, scores, found.matrix[keep], found.shift[keep], summary.spectrum, of, symmetry, told)
        self.runs.append(made)

    def _made(self, posed: str, volumes: str, anchors: str, symmetry: str, context: Context, halves: str | None = None) -> None:
        """3Ds of images with poses, and those that leave out a fold."""
        recon(
            posed, volumes, folds=FOLDS, seed=FOLD_SEED, leave_out=anchors, wiener=True, hamming=1.0, overwrite=True,
            max_frequency=Frequency(round(min(1.0, MADE / (self.box / 2)), 6)), symmetry=symmetry, halves=halves,
            **self.options.common, **context.parallel,
        )  # fmt: skip

    def _scored(
        self, posed: str, anchors: str, symmetry: str, context: Context, mode: str = "each-to-best"
    ) -> tuple[AngrecSummary, Candidates]:
        """The best pose of every image in 3Ds, each image against 3Ds made without it."""
        summary, _, found = reconstitute(
            posed, anchors=anchors, increment=self.options.increment, max_shift=self.options.max_shift, mode=mode,
            max_frequency=Frequency(round(min(1.0, COMPARED / (self.box / 2)), 6)), refine=True, halves=True, symmetry=symmetry,
            spectrum=self.runs[0].spectrum if self.runs else None, **self.options.common, **context.parallel,
        )  # fmt: skip
        return summary, found

    def find_axes(self, decision: Decision, context: Context) -> tuple[Decision, Symmetry, Poses]:
        """Look for the symmetry of the 3Ds kept; poses of all images, on the axes where there are some.

        Where images refute a symmetry that made runs agree, the decision says that they do not.
        """
        poses = self.poses(decision)
        groups = {j: self._found[c].group for j, c in enumerate(decision.columns, 1) if c in self._found}
        noticed = {j: group for j, group in groups.items() if group != "C1"}
        names = [str(self.folder / f"axes{end}.hed") for end in ("v", "lo", "h")]

        def map_of(images: str, group: str) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], NDArray[np.float32]]]:
            self._made(images, names[0], names[1], group, context, halves=names[2])
            whole, a, b = (_volume(name) for name in (names[0], *half_names(names[2])))
            return whole, (a, b)

        def score_of(images: str, group: str) -> NDArray[np.float64]:
            if group != "C1":
                self._made(images, names[0], names[1], group, context)
            _, found = self._scored(images, names[1], group, context, mode="own")
            return np.asarray(found.score[np.isfinite(found.score[:, 0]), 0])

        symmetry, laid = find_axes(self.images, poses, self.options.symmetry, noticed, self.folder, map_of, score_of, context)
        refuted = {decision.columns[a.number - 1] for a in symmetry.axes if a.refuted}
        if refuted:
            self._refuted |= refuted
            decision = compared_anew(decision, self.scores(), self.matrices(), self.run_of(), self.group_of, refuted)
        return decision, symmetry, laid

    def scores(self) -> Scores:
        """Of all images in all 3Ds of all runs."""
        return Scores(*(np.concatenate([getattr(c.scores, f) for c in self.runs], 1) for f in ("whole", "first", "second")))

    def decide(self, count: int | None) -> Decision:
        """Those of all runs that are kept: at most `count`, or as many as are needed."""
        given, how = (self.scores(), self.matrices(), self.run_of()), (self.group_of, self.told())
        return decide_number(*given, MOST, *how) if count is None else decide(*given, count, *how)

    def evaluate(self, columns: list[int]) -> Decision:
        """What speaks for these 3Ds."""
        return evaluate(self.scores(), self.matrices(), self.run_of(), columns, self.group_of)

    def for_both(self, decision: Decision) -> list[tuple[int, int, int]]:
        """Pairs of 3Ds kept that one 3D of the pool could stand for; not those whose images were told apart by other evidence."""
        told, columns = self.told(), decision.columns
        pairs = for_both(self.scores(), self.matrices(), decision, self.group_of)
        return [(i, j, m) for i, j, m in pairs if not (told[columns[i]] and told[columns[j]])]

    def merged(self, decision: Decision) -> Decision:
        """One 3D in place of any two that it could stand for, where other runs do not have both."""
        while pairs := [p for p in self.for_both(decision) if not all(decision.kept[k].again for k in p[:2])]:
            i, j, column = pairs[0]
            columns = sorted({c for k, c in enumerate(decision.columns) if k not in (i, j)} | {column})
            why = "it repeats another one: the same structure, and no other run divides the images like this"
            gone = [(c, why) for c in (decision.columns[i], decision.columns[j]) if c != column]
            decision = replace(
                self.evaluate(columns), removed=[*decision.removed, *gone], by_number=decision.by_number
            )  # fmt: skip
        return decision

    def told(self) -> NDArray[np.bool_]:
        """Whether the images of each 3D were told apart by other evidence than scores."""
        return np.repeat([c.told for c in self.runs], [c.matrix.shape[1] for c in self.runs])

    def matrices(self) -> NDArray[np.float64]:
        """Poses of all images in all 3Ds of all runs, (n, m, 3, 3)."""
        return np.concatenate([c.matrix for c in self.runs], 1)

    def group_of(self, column: int) -> NDArray[np.float64] | None:
        """Rotations (g, 3, 3) that leave the 3D of a column as it is, in its own frame; None: none are known."""
        run, k = self.place(column)
        if run.symmetry != "C1":
            return rotations(run.symmetry)
        if column in self._refuted:
            return None
        if column not in self._found:
            # also where no symmetry is asked for: poses of a symmetric 3D are the same but for its operations
            self._found[column] = look(_volume(run.volumes, k), self.options.symmetry)
        found = self._found[column]
        return None if found.group == "C1" else seen(0, found, "").mates

    def run_of(self) -> NDArray[np.int64]:
        """Index of the run that gave each column its poses."""
        return np.concatenate([c.origin for c in self.runs])

    def place(self, column: int) -> tuple[Columns, int]:
        """Run of a column, and its number there, from 0."""
        for run in self.runs:
            if column < run.matrix.shape[1]:
                return run, column
            column -= run.matrix.shape[1]
        raise IndexError(column)

    def poses(self, decision: Decision) -> Poses:
        """Poses and memberships of all images in the 3Ds kept."""
        poses = Poses.from_headers(self.headers)
        index = np.flatnonzero(self.active)
        matrices = np.broadcast_to(np.eye(3), (len(poses), 3, 3)).copy()
        table = np.stack([run.scores.whole[:, k] for run, k in map(self.place, decision.columns)], 1)
        order = np.argsort(-table, axis=1, kind="stable")
        for j, column in enumerate(decision.columns):
            run, k = self.place(column)
            mine = decision.membership == j
            matrices[index[mine]] = run.matrix[mine, k]
            poses.shift[index[mine]] = run.shift[mine, k]
            poses.ccc3d[index[mine]] = run.scores.whole[mine, k]
        poses.set_matrices(matrices)
        poses.ref3d[:] = poses.ref3d2[:] = 0
        poses.ref3d[index] = decision.membership + 1
        if table.shape[1] > 1:
            poses.ref3d2[index] = order[:, 1] + 1
        return poses

    def write_images(self, poses: Poses, out: str, context: Context) -> None:
        """The images with poses and memberships, such as those of `poses`."""
        if context.comm.rank == 0:
            replace_poses(self.images, poses, out, overwrite=True)
        context.comm.barrier()

    def write_volumes(self, decision: Decision, symmetry: Symmetry, out: str, context: Context) -> None:
        """The 3Ds kept, one stack, on their axes where they have some; numbers of images in their headers."""
        n = self.box
        with create_stack(
            out, len(decision.kept), n, n, n, pixel_size=self.pixel_size, overwrite=True, comm=context.comm, history="pool"
        ) as writer:
            for j in range(context.comm.rank, len(decision.kept), context.comm.size):
                run, k = self.place(decision.columns[j])
                with open_stack(run.volumes) as stack:
                    record = stack.headers(k * n, k * n + 1)[0]
                volume = _volume(run.volumes, k)
                if symmetry.axes and symmetry.axes[j].laid:
                    volume = symmetrised(symmetry.axes[j].lay(volume), symmetry.axes[j].group)
                words = Poses.blank(n)
                words.ref3d[:], words.nimg3d[:] = j + 1, decision.kept[j].images
                writer.write_volumes(j, volume[None])
                head = blank_headers(n, n, n, n, pixel_size=self.pixel_size)
                keep_made_of(head, record["HISTORY"])
                writer.set_headers(j * n, words.into_headers(head))

    def table_text(self, decision: Decision) -> str:
        """The table image x 3D as text with tabs: location, 3D kept, then the score in every 3D of every run."""
        names = [f"{c.name}:{k + 1}" for c in self.runs for k in range(c.matrix.shape[1])]
        whole = np.concatenate([c.scores.whole for c in self.runs], 1)
        head = "\t".join(["location", "ref3d", *names])
        rows = (
            f"{i + 1}\t{m + 1}\t" + "\t".join(f"{s:.5f}" for s in row)
            for i, m, row in zip(np.flatnonzero(self.active), decision.membership, whole, strict=True)
        )
        return "\n".join([head, *rows]) + "\n"

    def describe(self, decision: Decision) -> list[dict[str, Any]]:
        """Evidence for each 3D kept, for summaries."""
        out = []
        for j, kept in enumerate(decision.kept):
            run, k = self.place(kept.column)
            out.append({
                "number": j + 1, "run": run.name, "of_run": k + 1, "images": kept.images,
                "found_again": [self.runs[r].name for r in kept.again], "jaccard": round(kept.best.jaccard, 4),
                "posed": round(kept.best.posed, 4), "loss": None if not np.isfinite(kept.loss) else round(kept.loss, 6),
                "loss_error": round(kept.error, 6),
            })  # fmt: skip
        return out


@dataclass
class Pooled:
    """What `pool` kept."""

    output: str
    runs: int
    candidates: int
    images: int
    score: float
    kept: list[dict[str, Any]]
    removed: list[str]
    agreed: bool
    by_number: list[dict[str, float]]
    symmetry: Symmetry

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__ | {"symmetry": self.symmetry.as_dict()}

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {len(self.kept)} of {self.candidates} 3Ds of {self.runs} runs explain {self.images} images best"]
        for k in self.kept:
            where = ", ".join(k["found_again"]) or "no other run"
            lost = "" if k["loss"] is None else f"; without it the score falls by {k['loss']:.5f} (+- {k['loss_error']:.5f})"
            out.append(f"  3D {k['number']}: {k['of_run']} of {k['run']}, {k['images']} images, found again by {where}{lost}")
        out += [f"  left out: {why}" for why in self.removed]
        for row in self.by_number:
            gain = f"gain {row['gain']:+.5f} (+- {row['error']:.5f})"
            out.append(f"  {int(row['volumes'])} 3Ds: score {row['score']:.5f}, {gain}")
        out += [f"  3D {a.number}: symmetry {a.group}; {a.why}" for a in self.symmetry.axes]
        said = "every 3D was found by another run", "not every 3D was found by another run: more starts may help"
        return [*out, said[0] if self.agreed else said[1]]


def source_of(run: str) -> str:
    """The file of a run that `Pool.add` takes: poses in its folder, or the file itself.

    Raises
    ------
    InputError
        A folder that no refine run was finished, or stopped after annealing, in.
    """
    folder = Path(run)
    if not folder.is_dir():
        return run
    final = folder / "work" / "final.hed"
    if not final.exists():
        raise InputError(f"{run}: not the folder of a finished refine run (work/final.hed is missing)")
    return str(final)


def symmetry_of(run: str, asked: str) -> str:
    """The point group that the 3Ds of a run were made with: of a folder what its summary says, of a file the group asked for."""
    if not Path(run).is_dir():
        return "C1" if asked == AUTO else asked
    try:
        document = json.loads((Path(run) / "summary.json").read_text(encoding="utf-8"))
        return str(document["symmetry"]["group"])
    except (OSError, ValueError, KeyError, TypeError):
        return "C1"


def pool(
    runs: Sequence[str],
    dst: str,
    *,
    volumes: int | None,
    images: str | None = None,
    images_out: str | None = None,
    table: str | None = None,
    options: PoolOptions | None = None,
    context: Context | None = None,
) -> Pooled:
    """Choose among the 3Ds of several runs those that together explain the images best.

    Parameters
    ----------
    runs : sequence of path
        Folders of refine (whole runs, or stopped after annealing) of one set of images; images with poses and memberships; or
        volumes from elsewhere.
    dst : path
        The 3Ds kept, one stack.
    volumes : int or None
        At most so many; None: as many as are needed.
    images : path, optional
        Prepared images; by default those of the first folder.
    images_out : path, optional
        The images with poses and memberships in the 3Ds kept.
    table : path, optional
        Scores of all images in all 3Ds, text with tabs.
    options : PoolOptions, optional
    context : Context, optional

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    how, context = options or PoolOptions(), context or Context()
    for path in (dst, images_out):
        if path is not None:
            check_output(path, context.overwrite)
    base = images or next((str(Path(r) / "work" / "prepared.hed") for r in runs if Path(r).is_dir()), None)
    if base is None:
        raise UsageError("--prepared is needed: no folder of a run is among the inputs")
    sources = [source_of(r) for r in runs]
    with scratch_folder(dst, context.comm) as folder:
        p = Pool(base, Path(folder), how)
        for name, source in zip(runs, sources, strict=True):
            p.add(os.path.basename(os.path.normpath(name)), source, context, symmetry_of(name, how.symmetry))
            if context.progress is not None:
                context.progress(len(p.runs), len(runs))
        decision = p.merged(p.decide(volumes))
        decision, symmetry, poses = p.find_axes(decision, context)
        p.write_volumes(decision, symmetry, dst, context)
        if images_out is not None:
            p.write_images(poses, images_out, context)
        if table is not None and context.comm.rank == 0:
            atomic_write_text(Path(table), p.table_text(decision), overwrite=context.overwrite)
        context.comm.barrier()
        return Pooled(
            os.fspath(dst), len(runs), len(p.run_of()), int(p.active.sum()), decision.score, p.describe(decision),
            [f"{p.place(c)[0].name}:{p.place(c)[1] + 1}: {why}" for c, why in decision.removed],
            decision.agreed, decision.by_number, symmetry,
        )  # fmt: skip
