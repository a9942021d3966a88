"""Classify images or volumes by their coordinates along eigenimages."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.io import atomic
from imagic4d_core.io.cls import write_cls, write_lis
from imagic4d_core.io.plt import write_plt
from imagic4d_core.io.replacing import check_whole, stream_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.writer import output_paths
from imagic4d_core.msa.classes import Classes, describe
from imagic4d_core.msa.coordinates import factor_count, read_coordinates
from imagic4d_core.msa.moving import PASSES, move_elements
from imagic4d_core.msa.tree import Tree, load_tree, save_tree
from imagic4d_core.msa.ward import ward, warmup
from imagic4d_core.parallel import SERIAL, Comm, warm_first

#: Objects whose headers are read at a time.
WINDOW = 8192
#: Word 58 of images that a classification ignored: the next one takes them in again.
IGNORED = -2


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
    images_out: str | None = None, overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
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
    images_out : path, optional
        Stack that gets the new headers; default: those of `src` are replaced.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    if not classes or not all(k >= 1 and k == int(k) for k in classes):
        raise UsageError("the number of classes must be a whole number, 1 or more")
    wanted = list(dict.fromkeys(int(k) for k in classes))
    if not 0 <= ignore < 100:
        raise UsageError(f"{ignore:g} per cent cannot be ignored; give 0 to less than 100")
    root = root[:-4] if root.lower().endswith((".cls", ".lis", ".plt")) else root
    names = [root if len(wanted) == 1 else f"{root}_{k}" for k in wanted]
    tree_file = f"{root}.npz"
    targets = [f"{name}{end}" for name in names for end in (".cls", ".lis", ".plt")]
    targets += ([] if tree and os.path.realpath(tree) == os.path.realpath(tree_file) else [tree_file]) + (
        [dendrogram] if dendrogram else []
    )
    _check_targets([*targets, *(output_paths(images_out) if images_out else [])], dendrogram, overwrite, comm)
    with open_stack(src) as stack:
        check_whole(stack)
        used = min(factors, factor_count(stack))
        weights = weights or ()
        if len(weights) > used:
            raise UsageError(f"{len(weights)} weights are given for {used} factors")
        what = "volumes" if stack.is_volumes else "images"
        points, represented, active = _read(stack, used)
        rows = np.flatnonzero(active)
        scale = np.ones(used)
        scale[: len(weights)] = weights
        if not scale.any():
            raise UsageError("all factors have weight 0")
        mine = points[rows][:, scale != 0] * scale[scale != 0]
        left = len(rows) - int(ignore / 100 * len(rows))
        if max(wanted) > left:
            raise InputError(
                f"{stack.path}: {max(wanted)} classes cannot be made of {left} active {what}; ask for {left} or fewer"
            )
        warm_first(comm, warmup)
        about = {"images": rows, "factors": used, "weights": scale}
        if tree:
            grown, rounds = _known_tree(tree, stack.path, about), 0
        else:
            grown, work = ward(mine, comm=comm, threads=threads, progress=progress)
            rounds = work.rounds
        late = grown.late_singles(len(rows) - left)
        kept = ~late
        pruned = grown.without(late) if late.any() else grown
        summary = Classified(
            str(stack.path),
            root,
            str(images_out or stack.path),
            what,
            stack.objects,
            len(rows),
            int(late.sum()),
            used,
            rounds,
            tree_file,
        )
        first: Classes | None = None
        for number, name in zip(wanted, names, strict=True):
            labels = np.full(len(rows), -1, np.int32)
            labels[kept] = pruned.cut(number)
            found = move_elements(mine, labels, number, comm=comm, threads=threads, passes=PASSES if moving else 0)
            result = describe(mine, found.labels, number, represented[rows])
            first = first or result
            if comm.rank == 0:
                _write_files(name, result, rows, stack, what, used, ignore, overwrite)
            inside = result.within * found.before / found.after if found.after > 0 else result.within
            few, most, moved = int(result.sizes.min()), int(result.sizes.max()), int((found.labels != labels).sum())
            summary.cuts.append(Cut(number, f"{name}.cls", few, most, result.within, inside, moved, found.passes))
        assert first is not None
        if comm.rank == 0:
            if tree_file in targets:
                save_tree(tree_file, grown, about, overwrite)
            if dendrogram:
                _draw(dendrogram, pruned, wanted[0], overwrite)
            _write_headers(stack, first, rows, images_out, overwrite)
        comm.barrier()
    return summary


def _check_targets(targets: Sequence[str | os.PathLike], picture: str | None, overwrite: bool, comm: Comm) -> None:
    """Refuse before the work what could not be written after it."""
    if picture and not picture.lower().endswith(".png"):
        raise UsageError(f"{picture}: a picture of the tree is written as .png")
    if comm.rank == 0:
        for target in targets:
            atomic.check_new(target, overwrite)


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


def _write_files(
    name: str, result: Classes, rows: NDArray[np.intp], stack: Any, what: str, factors: int, ignore: float, overwrite: bool
) -> None:  # fmt: skip
    members = [rows[m] for m in result.members()]
    write_cls(f"{name}.cls", range(1, result.count + 1), result.overall.tolist(), members, overwrite)
    title = [
        f"Classification of {stack.path}",
        f"Number of {what} classified              : {int(result.sizes.sum())}",
        f"Number of factors                        : {factors}",
        f"Per cent ignored                         : {ignore:g}",
        f"Total variance                           : {result.total:.7E}",
        f"Share of variance inside the classes     : {result.within:.6f}",
        f"Share of variance between the classes    : {1 - result.within:.6f}",
    ]
    tables = [
        ("intra-class variance", result.intra),
        ("representation quality", result.represented),
        ("overall quality", result.overall),
    ]
    write_lis(f"{name}.lis", title, tables, result, overwrite)
    write_plt(f"{name}.plt", [result.labels + 1, result.distance], rows + 1, overwrite=overwrite)


def _write_headers(stack: Any, result: Classes, rows: NDArray[np.intp], out: str | None, overwrite: bool) -> None:
    number = np.zeros(stack.objects, np.int32)
    number[rows] = result.labels + 1
    member = np.zeros(stack.objects, np.bool_)
    member[rows] = True

    def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
        h = stack.headers(start, stop)
        which = np.arange(start, stop) // stack.sections
        h["CLASSNO"] = number[which]
        state = np.where(h["ACTIVE"] == IGNORED, 1, h["ACTIVE"])
        h["ACTIVE"] = np.where(member[which] & (number[which] == 0), IGNORED, state)
        return h, stack.extra_headers(start, stop)

    stream_headers(stack, window, out, overwrite, stack.nblocks)


def _draw(path: str, tree: Tree, classes: int, overwrite: bool) -> None:
    from imagic4d_core.pictures.dendrogram import dendrogram_png

    with atomic.atomic_write(path, overwrite=overwrite) as handle:
        handle.write(dendrogram_png(tree.merges, tree.heights, tree.leaves, classes))
