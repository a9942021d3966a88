"""Classify images or volumes by their coordinates along eigenimages."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.io.replacing import check_whole
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import output_paths
from imagic4d_core.jobs.msa.classify_files import IGNORED, Names, check_targets, draw_tree, write_files, write_headers
from imagic4d_core.msa.classes import Classes, describe
from imagic4d_core.msa.coordinates import factor_count, read_coordinates
from imagic4d_core.msa.moving import PASSES, Moved, move_elements
from imagic4d_core.msa.tree import Tree, load_tree, save_tree
from imagic4d_core.msa.ward import ward, warmup
from imagic4d_core.parallel import SERIAL, Comm, warm_first

#: Objects whose headers are read at a time.
WINDOW = 8192


@dataclass
class Cut:
    """One number of classes.

    Attributes
    ----------
    classes : int
    file : str
        The CLS file; .lis and .plt lie beside it.
    smallest, largest : int
        Members.
    within, within_tree : float
        Share of the variance inside the classes, and as it was before elements were moved.
    moved : int
        Images that changed class.
    passes : int
    """

    classes: int
    file: str
    smallest: int
    largest: int
    within: float
    within_tree: float
    moved: int
    passes: int


@dataclass
class Classified:
    """Result of a classification.

    Attributes
    ----------
    input, root, output : str
        Stack, root name of the files, stack whose headers hold the classes.
    what : str
        "images" or "volumes".
    objects, active, ignored, factors : int
    rounds : int
        Rounds of merges; 0 where the tree was given.
    tree : str
    cuts : list of Cut
    """

    input: str
    root: str
    output: str
    what: str
    objects: int
    active: int
    ignored: int
    factors: int
    rounds: int
    tree: str
    cuts: list[Cut] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.input}: {self.active} of {self.objects} {self.what} classified on {self.factors} factors"]
        if self.ignored:
            out.append(f"  {self.ignored} that stayed single longest are ignored: class 0, inactive (word 58)")
        for cut in self.cuts:
            sizes = f"{cut.smallest} to {cut.largest} members"
            moved = f", {cut.moved} {self.what} moved in {cut.passes} passes" if cut.passes else ""
            inside = f"{100 * cut.within:.2f} % of the variance inside classes"
            before = f" ({100 * cut.within_tree:.2f} % in the tree)" if cut.passes else ""
            out.append(f"  {cut.classes} classes: {sizes}{moved}; {inside}{before}: {cut.file}")
        out.append(
            f"  class numbers of {self.cuts[0].classes} classes in the headers (word 108) of {self.output}; tree in {self.tree}"
        )
        return out


def msa_classify(
    src: str, root: str, *, classes: Sequence[float], factors: int = 15, weights: Sequence[float] | None = None,
    ignore: float = 0.0, moving: bool = True, tree: str | None = None, dendrogram: str | None = None,
    as_membership: bool = False, images_out: str | None = None, overwrite: bool = False, comm: Comm = SERIAL, threads: int |
    None = None, progress: Callable[[int, int], None] | None = None,
) -> Classified:  # fmt: skip
    """Hierarchical ascendant classification (Ward), elements moved afterwards.

    Parameters
    ----------
    src : path
        Images or volumes with MSA coordinates in their headers.
    root : path
        Root name: ROOT.cls, ROOT.lis, ROOT.plt (ROOT_50.cls ... for several numbers of classes), ROOT.npz (the tree).
    classes : sequence of whole numbers
        Numbers of classes; the headers get the first.
    factors : int
        Coordinates used; fewer where the run has fewer.
    weights : sequence of float
        Factors by which the first coordinates are multiplied; 1 for those not named, 0 leaves one out.
    ignore : float
        Per cent of the images, those that stay single longest, that are put into no class.
    moving : bool
        Move elements between classes.
    tree : path, optional
        Tree of an earlier call with the same images, factors and weights, to be cut again.
    dendrogram : path, optional
        Picture (.png) of the top of the tree.
    as_membership : bool
        Write the class numbers of the headers as 3D memberships (REF3D) too; those that are in no class get 0.
    images_out : path, optional
        Stack that gets the new headers; default: those of `src` are replaced.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    names = Names.of(root, classes, tree, dendrogram)
    if not 0 <= ignore < 100:
        raise UsageError(f"{ignore:g} per cent cannot be ignored; give 0 to less than 100")
    check_targets([*names.targets, *(output_paths(images_out) if images_out else [])], dendrogram, overwrite, comm)
    with open_stack(src) as stack:
        check_whole(stack)
        used = min(factors, factor_count(stack))
        scale = _scales(weights or (), used)
        what = "volumes" if stack.is_volumes else "images"
        points, represented, active = _read(stack, used)
        rows = np.flatnonzero(active)
        mine = points[rows][:, scale != 0] * scale[scale != 0]
        left = len(rows) - int(ignore / 100 * len(rows))
        if max(names.of_classes) > left:
            raise InputError(
                f"{stack.path}: {max(names.of_classes)} classes cannot be made of {left} active {what}; ask for {left} or fewer"
            )
        warm_first(comm, warmup)
        about = {"images": rows, "factors": used, "weights": scale}
        if tree:
            grown, rounds = _known_tree(tree, stack.path, about), 0
        else:
            grown, work = ward(mine, comm=comm, threads=threads, progress=progress)
            rounds = work.rounds
        late = grown.late_singles(len(rows) - left)
        pruned = grown.without(late) if late.any() else grown
        summary = Classified(
            str(stack.path), names.root, str(images_out or stack.path), what, stack.objects, len(rows), int(late.sum()), used,
            rounds, names.tree,
        )  # fmt: skip
        results: list[Classes] = []
        for number, name in names.of_classes.items():
            labels = np.full(len(rows), -1, np.int32)
            labels[~late] = pruned.cut(number)
            found = move_elements(mine, labels, number, comm=comm, threads=threads, passes=PASSES if moving else 0)
            result = describe(mine, found.labels, number, represented[rows])
            if comm.rank == 0:
                write_files(name, result, rows, stack, what, used, ignore, overwrite)
            results.append(result)
            summary.cuts.append(_cut(name, result, found, labels))
        if comm.rank == 0:
            if names.tree in names.targets:
                save_tree(names.tree, grown, about, overwrite)
            if dendrogram:
                draw_tree(dendrogram, pruned, results[0].count, overwrite)
            write_headers(stack, results[0], rows, images_out, overwrite, as_membership)
        comm.barrier()
    return summary


def _scales(weights: Sequence[float], factors: int) -> NDArray[np.float64]:
    """Factors of all coordinates, 1 for those that have no weight."""
    if len(weights) > factors:
        raise UsageError(f"{len(weights)} weights are given for {factors} factors")
    scale = np.ones(factors)
    scale[: len(weights)] = weights
    if not scale.any():
        raise UsageError("all factors have weight 0")
    return scale


def _cut(name: str, result: Classes, found: Moved, before: NDArray[np.int32]) -> Cut:
    """Summary of one number of classes; `before`: labels before elements were moved."""
    inside = result.within * found.before / found.after if found.after > 0 else result.within
    few, most, moved = int(result.sizes.min()), int(result.sizes.max()), int((found.labels != before).sum())
    return Cut(result.count, f"{name}.cls", few, most, result.within, inside, moved, found.passes)


def _read(stack: Any, factors: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Coordinates, words 110, and who takes part."""
    points = np.empty((stack.objects, factors))
    represented = np.empty(stack.objects)
    state = np.empty(stack.objects, np.int64)
    for a in range(0, stack.objects, WINDOW):
        b = min(stack.objects, a + WINDOW)
        points[a:b] = read_coordinates(stack, a, b, factors)
        h = stack.headers(a * stack.sections, b * stack.sections)[:: stack.sections]
        represented[a:b], state[a:b] = h["REPQUAL"], h["ACTIVE"]
    active = (state >= 0) | (state == IGNORED)
    if not active.any():
        raise InputError(f"{stack.path}: all {stack.objects} are inactive (word 58); there is nothing to classify")
    return points, np.nan_to_num(represented), active


def _known_tree(path: str, stack: Path, about: dict[str, Any]) -> Tree:
    """A tree from a file, of these images, factors and weights."""
    tree, known = load_tree(path)
    for key, word in (("images", "active images"), ("factors", "number of factors"), ("weights", "weights of factors")):
        if key not in known or not np.array_equal(known[key], about[key]):
            raise MismatchError(f"{path}: the {word} differ from those of {stack} and of this call; classify without --tree")
    return tree
