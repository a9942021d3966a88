"""The top of a tree of classification as a picture."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.pictures.style import FAINT, INK, colour_of, figure_png, figures, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Branches drawn at most.
BRANCHES = 60


def dendrogram_figure(
    merges: NDArray[np.int64], heights: NDArray[np.float64], leaves: int, classes: int, branches: int = BRANCHES
) -> "Figure":
    """Draw the last merges of a tree, with the line at which it is cut.

    Parameters
    ----------
    merges, heights : ndarray, shape (leaves - 1, 2) and (leaves - 1,)
        As in `msa.tree.Tree`; heights are added variances.
    leaves : int
    classes : int
        Number of classes of the cut; the line is left out where it lies below what is drawn.
    branches : int
        Branches drawn at most; each says how many images hang on it.

    Returns
    -------
    Figure
    """
    shown = min(branches, leaves)
    base = leaves - shown  # merges below the picture
    size = np.ones(leaves + len(merges), np.int64)
    for k, (a, b) in enumerate(merges.tolist()):
        size[leaves + k] = size[a] + size[b]
    order = _leaf_order(merges, leaves, base)
    x = {node: float(i) for i, node in enumerate(order)}
    y = dict.fromkeys(order, 0.0)
    level = np.sqrt(2 * heights)
    figure = new_figure(max(4.0, 0.16 * shown + 1.2), 3.8)
    ax = figure.subplots()
    colour = _colours(merges, leaves, classes, order)
    for k in range(base, leaves - 1):
        a, b = sorted(merges[k].tolist(), key=lambda node: x[node])
        node = leaves + k
        paint = colour.get(node, INK)
        ax.plot([x[a], x[a], x[b], x[b]], [y[a], level[k], level[k], y[b]], color=paint, lw=1.0, solid_joinstyle="miter")
        x[node], y[node] = (x[a] + x[b]) / 2, float(level[k])
    if 1 < classes <= shown:
        cut = (level[leaves - classes] + (level[leaves - classes - 1] if leaves > classes else 0.0)) / 2
        ax.axhline(cut, color=FAINT, lw=1.0, ls=(0, (4, 2)), zorder=0)
        ax.text(shown - 0.5, cut, f"{classes} classes", ha="right", va="bottom", fontsize=7.5)
    ax.set_xticks(range(shown), [str(size[node]) for node in order], rotation=90, fontsize=6)
    ax.set(xlabel="images on each branch", ylabel="distance of merged classes", xlim=(-0.8, shown - 0.2), ylim=(0, None))
    ax.grid(False, axis="x")
    return figure


def dendrogram_png(merges: NDArray[np.int64], heights: NDArray[np.float64], leaves: int, classes: int) -> bytes:
    """PNG of `dendrogram_figure`."""
    with figures():
        return figure_png(dendrogram_figure(merges, heights, leaves, classes))


def _leaf_order(merges: NDArray[np.int64], leaves: int, base: int) -> list[int]:
    """Nodes at the bottom of the picture, from left to right."""
    out: list[int] = []
    stack = [leaves + len(merges) - 1]
    while stack:
        node = stack.pop()
        if node < leaves + base:
            out.append(node)
        else:
            stack.extend(reversed(merges[node - leaves].tolist()))
    return out


def _colours(merges: NDArray[np.int64], leaves: int, classes: int, order: list[int]) -> dict[int, str]:
    """A colour for each merge inside one class."""
    out: dict[int, str] = {}
    made = leaves - classes
    part_of: dict[int, int] = {}
    for k in range(len(merges) - 1, -1, -1):
        node = leaves + k
        if k >= made:
            continue
        top = part_of.get(node, node)
        for child in merges[k].tolist():
            part_of[child] = top
    place: dict[int, int] = {}
    for node in order:
        top = part_of.get(node, node)
        place.setdefault(top, len(place))
    for node in [leaves + k for k in range(made)]:
        top = part_of.get(node, node)
        if top in place:
            out[node] = colour_of(place[top] + 1)
    return out
