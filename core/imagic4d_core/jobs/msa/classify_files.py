"""Files of a classification: names, class and list files, headers of the images, a picture of the tree."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io import atomic
from imagic4d_core.io.cls import write_cls, write_lis
from imagic4d_core.io.plt import write_plt
from imagic4d_core.io.replacing import stream_headers
from imagic4d_core.msa.classes import Classes
from imagic4d_core.msa.tree import Tree
from imagic4d_core.parallel import Comm

#: Word 58 of images that a classification ignored: the next one takes them in again.
IGNORED = -2


@dataclass
class Names:
    """Files of a classification; number of classes -> root of its files."""

    root: str
    tree: str
    of_classes: dict[int, str]
    targets: list[str]

    @classmethod
    def of(cls, root: str, classes: Sequence[float], tree: str | None, dendrogram: str | None) -> "Names":
        """Names that follow from the options of `msa_classify`."""
        if not classes or not all(k >= 1 and k == int(k) for k in classes):
            raise UsageError("the number of classes must be a whole number, 1 or more")
        root = root[:-4] if root.lower().endswith((".cls", ".lis", ".plt")) else root
        wanted = dict.fromkeys(int(k) for k in classes)
        names = {k: root if len(wanted) == 1 else f"{root}_{k}" for k in wanted}
        targets = [f"{name}{end}" for name in names.values() for end in (".cls", ".lis", ".plt")]
        own_tree = f"{root}.npz"
        if not (tree and os.path.realpath(tree) == os.path.realpath(own_tree)):
            targets.append(own_tree)
        return cls(root, own_tree, names, targets + ([dendrogram] if dendrogram else []))


def check_targets(targets: Sequence[str | os.PathLike], picture: str | None, overwrite: bool, comm: Comm) -> None:
    """Refuse before the work what could not be written after it."""
    if picture and not picture.lower().endswith(".png"):
        raise UsageError(f"{picture}: a picture of the tree is written as .png")
    if comm.rank == 0:
        for target in targets:
            atomic.check_new(target, overwrite)


def write_files(
    name: str, result: Classes, rows: NDArray[np.intp], stack: Any, what: str, factors: int, ignore: float, overwrite: bool
) -> None:  # fmt: skip
    """ROOT.cls, ROOT.lis and ROOT.plt."""
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


def write_headers(
    stack: Any, result: Classes, rows: NDArray[np.intp], out: str | None, overwrite: bool, as_membership: bool = False
) -> None:
    """Class numbers (word 108), and who was ignored (word 58), into the headers of all images; as REF3D too where asked for."""
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
        if as_membership:
            poses = Poses.from_headers(h)
            poses.ref3d_old, poses.ref3d = poses.ref3d, number[which]
            poses.into_headers(h)
        return h, stack.extra_headers(start, stop)

    stream_headers(stack, window, out, overwrite, stack.nblocks)


def draw_tree(path: str, tree: Tree, classes: int, overwrite: bool) -> None:
    """Picture of the top of the tree, as PNG."""
    from imagic4d_core.pictures.dendrogram import dendrogram_png

    with atomic.atomic_write(path, overwrite=overwrite) as handle:
        handle.write(dendrogram_png(tree.merges, tree.heights, tree.leaves, classes))
