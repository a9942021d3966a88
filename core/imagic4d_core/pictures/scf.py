"""Pictures of sinogram correlation functions with their common lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imagic4d_core.angrec.scf import F64, CommonLine
from imagic4d_core.pictures.style import colour_of, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scf_figure(
    panels: Sequence[tuple[str, F64, CommonLine, CommonLine | None]], first: str, second: str, columns: int = 3
) -> "Figure":
    """Draw SCFs, dark where lines agree: a cross on the best common line, a circle where known Euler angles put it.

    Parameters
    ----------
    panels : sequence of (title, SCF of shape (h, 2 h), best line, line of the Euler angles or None)
    first, second : str
        What the angles down and along the pictures belong to.
    columns : int
        Pictures in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = 6.4 if columns == 1 else 3.8
    figure = new_figure(size * columns, (0.5 * size + 0.75) * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    low = min(float(np.percentile(c, 1)) for _, c, _, _ in panels)
    image = None
    for ax, panel in zip(grid, panels, strict=False):
        title, c, best, known = panel
        image = ax.imshow(c, cmap="Greys", vmin=low, vmax=1.0, extent=(0, 360, 180, 0), interpolation="nearest", aspect="auto")
        if known is not None:
            ax.plot(known.second, known.first, "o", ms=11, mfc="none", mec=colour_of(1), mew=1.6, clip_on=False)
        ax.plot(best.second, best.first, "x", ms=8, color=colour_of(2), mew=2.0, clip_on=False)
        ax.set(xlim=(0, 360), ylim=(180, 0), xticks=range(0, 361, 90), yticks=range(0, 181, 45))
        ax.set_title(title)
        ax.grid(False)
    for ax in grid[len(panels) :]:
        ax.axis("off")
    for ax in grid[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel(f"line of {second} (°)")
    for ax in grid[: len(panels) : columns]:
        ax.set_ylabel(f"line of {first} (°)")
    if image is not None:
        bar = figure.colorbar(image, ax=list(grid), shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("correlation", fontsize=8)
        bar.outline.set_linewidth(0.4)
    return figure
