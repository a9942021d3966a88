"""Trees of hierarchical classification: cuts, and files that keep them."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import atomic_write

#: What the file says it is.
KIND = "im4d tree 1"


@dataclass
class Tree:
    """Merges in the order of their heights.

    Attributes
    ----------
    leaves : int
    merges : ndarray, shape (leaves - 1, 2), int64
        Nodes merged, smaller number first: leaves are 0 to n - 1, merge k makes node n + k.
    heights : ndarray, shape (leaves - 1,), float64
        Added variance (sum of squares) of each merge, ascending.
    """

    leaves: int
    merges: NDArray[np.int64]
    heights: NDArray[np.float64]

    @classmethod
    def from_merges(cls, leaves: int, merges: NDArray[np.int64], heights: NDArray[np.float64]) -> "Tree":
        """Sort merges, made in any order that has parts before wholes, by height, and number them anew.

        A height below that of a part, which can only be rounding, is lifted to it.
        """
        heights = np.array(heights)
        parts = merges >= leaves
        for k in np.flatnonzero(parts.any(1)):
            for child in merges[k][parts[k]]:
                heights[k] = max(heights[k], heights[child - leaves])
        order = np.argsort(heights, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        new = merges[order]
        inner = new >= leaves
        new[inner] = leaves + place[new[inner] - leaves]
        return cls(leaves, np.sort(new, axis=1), heights[order])

    def cut(self, classes: int) -> NDArray[np.int32]:
        """Class of every leaf when the last ``classes - 1`` merges are undone.

        Returns
        -------
        ndarray, shape (leaves,), int32
            From 0 on, numbered by the first leaf of each class.

        Raises
        ------
        InputError
            More classes than leaves.
        """
        if not 1 <= classes <= self.leaves:
            raise InputError(f"{classes} classes of {self.leaves} images cannot be made; give 1 to {self.leaves}")
        n, made = self.leaves, self.leaves - classes
        node = np.arange(n + made)
        for k in range(made - 1, -1, -1):  # from the top down: a part is in the class of its whole
            node[self.merges[k]] = node[n + k]
        _, first, label = np.unique(node[:n], return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
        return rank[label]

    def first_merges(self) -> NDArray[np.int64]:
        """Merge in which each leaf is merged for the first time, shape (leaves,); -1 for the only leaf of a tree."""
        out = np.full(self.leaves, -1, np.int64)
        step = np.repeat(np.arange(len(self.merges)), 2)
        nodes = self.merges.ravel()
        leaf = nodes < self.leaves
        out[nodes[leaf]] = step[leaf]
        return out

    def late_singles(self, count: int) -> NDArray[np.bool_]:
        """The `count` leaves that stay single longest (of two that are merged with each other, the later one first)."""
        late = np.zeros(self.leaves, np.bool_)
        if count:
            late[np.argsort(self.first_merges(), kind="stable")[-count:]] = True
        return late

    def without(self, leaves: ArrayLike) -> "Tree":
        """The tree of the other leaves, renumbered in their order; their merges keep their heights.

        Parameters
        ----------
        leaves : array_like of bool, shape (leaves,)
            What is taken out.
        """
        gone = np.asarray(leaves, dtype=np.bool_)
        n = int((~gone).sum())
        node = np.full(2 * self.leaves - 1, -1, np.int64)
        node[: self.leaves][~gone] = np.arange(n)
        merges, heights = np.empty((max(0, n - 1), 2), np.int64), np.empty(max(0, n - 1))
        made = 0
        for k, (a, b) in enumerate(node_pairs(self.merges)):
            x, y = node[a], node[b]
            if x < 0 or y < 0:
                node[self.leaves + k] = max(x, y)
                continue
            merges[made] = min(x, y), max(x, y)
            heights[made] = self.heights[k]
            node[self.leaves + k] = n + made
            made += 1
        return Tree(n, merges, heights)

    def linkage(self) -> NDArray[np.float64]:
        """As scipy's linkage matrix, shape (leaves - 1, 4): nodes, ``sqrt(2 * height)``, leaves below."""
        n = self.leaves
        count = np.ones(2 * n - 1)
        for k, (a, b) in enumerate(node_pairs(self.merges)):
            count[n + k] = count[a] + count[b]
        return np.column_stack([self.merges, np.sqrt(2 * self.heights), count[n:]])


def node_pairs(merges: NDArray[np.int64]) -> list[list[int]]:
    """Merges as Python integers, which loops handle faster than arrays."""
    pairs: list[list[int]] = merges.tolist()
    return pairs


def save_tree(path: str | os.PathLike, tree: Tree, about: dict[str, Any], overwrite: bool = False) -> None:
    """Write a tree as an .npz file.

    Parameters
    ----------
    path : path
    tree : Tree
    about : dict
        Further arrays or scalars: which images, factors and weights the tree was made of.
    """
    with atomic_write(path, overwrite=overwrite) as handle:
        np.savez(handle, kind=np.array(KIND), leaves=tree.leaves, merges=tree.merges, heights=tree.heights, **about)


def load_tree(path: str | os.PathLike) -> tuple[Tree, dict[str, NDArray]]:
    """Read what `save_tree` wrote.

    Raises
    ------
    InputError
        Not such a file, or damaged.
    """
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; a tree written by msa classify is needed") from error
    except Exception as error:  # numpy and zipfile raise many kinds
        raise InputError(f"{path}: is not a tree written by msa classify, or damaged") from error
    if str(found.pop("kind", "")) != KIND or not {"leaves", "merges", "heights"} <= set(found):
        raise InputError(f"{path}: is not a tree written by msa classify")
    leaves, merges, heights = int(found.pop("leaves")), found.pop("merges"), found.pop("heights")
    wrong = merges.shape != (leaves - 1, 2) or heights.shape != (leaves - 1,)
    if wrong or (leaves > 1 and (merges.min() < 0 or (merges >= leaves + np.arange(leaves - 1)[:, None]).any())):
        raise InputError(f"{path}: the tree is damaged: its merges do not fit {leaves} images")
    return Tree(leaves, merges, heights), found
