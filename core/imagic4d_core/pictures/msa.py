"""Pictures of an MSA: spectrum of eigenvalues with the noise edge, and maps of images along two factors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.pictures.grey import robust_limits, to_grey
from imagic4d_core.pictures.style import FAINT, INK, PALETTE, colour_of, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Classes that get a colour of their own on a map.
COLOURED = 10


def spectrum_figure(document: Mapping[str, Any]) -> "Figure":
    """Eigenvalues of a run (ROOT.json) on a logarithmic scale, those above the noise in colour."""
    values = np.asarray(document.get("spectrum") or document["eigenvalues"], np.float64)
    wanted, edge = len(document["eigenvalues"]), document["noise"]
    figure = new_figure(6.4, 3.4)
    ax = figure.add_subplot()
    k = np.arange(1, len(values) + 1)
    signal = k <= edge["factors"]
    ax.semilogy(k[~signal], values[~signal], "o", ms=3.4, color=FAINT, mec=INK, mew=0.4, label="not above the noise")
    ax.semilogy(k[signal], values[signal], "o", ms=4.2, color=colour_of(1), label=f"{int(signal.sum())} factors above the noise")
    if edge["edge"] > 0:
        ax.axhline(edge["edge"], color=colour_of(2), lw=1.0, label="noise edge")
    if wanted < len(values):
        ax.axvline(wanted + 0.5, color=FAINT, lw=0.8, ls=(0, (2, 2)))
        ax.text(wanted + 0.7, values[0], "not kept", fontsize=7.5, va="top")
    ax.set(xlabel="factor", ylabel="eigenvalue", xlim=(0.2, len(values) + 0.8))
    ax.set_title(f"total variance {document['total_variance']:.5g}, metric {document['metric']}")
    ax.legend(loc="upper right")
    return figure


def map_figure(
    points: NDArray[np.float32], numbers: NDArray[np.int64] | None, pictures: Sequence[tuple[float, float, float, NDArray]],
    factors: tuple[int, int], percent: tuple[float, float] | None, what: str,
) -> "Figure":  # fmt: skip
    """Images as points along two factors, and beside it averages of those near each other.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    numbers : ndarray, shape (n,), or None
        Class or 3D of each, which gives its colour; 0: none.
    pictures : sequence of (x, y, side, picture)
        Centre and side of a square, in the units of `points` along the first factor for x and the second for y (side is that
        of the grid, 0 to 1 of the axes), and a density image.
    factors : (int, int)
        Numbers of the factors, for the axes.
    percent : (float, float) or None
        Variance along them.
    what : str
        What `numbers` are: "class", "3D", or "".
    """
    figure = new_figure(10.4, 5.2)
    left, right = figure.subplots(1, 2)
    size = float(np.clip(700 / np.sqrt(max(len(points), 1)) ** 1.2, 0.6, 14))
    _scatter(left, points, numbers, size, what)
    low, high = np.percentile(points, [0.3, 99.7], axis=0)
    room = np.maximum(0.08 * (high - low), 1e-12)
    limits = robust_limits(np.concatenate([p.ravel() for *_, p in pictures])) if pictures else (0.0, 1.0)
    for ax in (left, right):
        names = [f"factor {f}" + (f" ({p:.2f} %)" if percent else "") for f, p in zip(factors, percent or (0, 0), strict=True)]
        ax.set(
            xlabel=names[0],
            ylabel=names[1],
            xlim=(low[0] - room[0], high[0] + room[0]),
            ylim=(low[1] - room[1], high[1] + room[1]),
        )
    wide, tall = (high - low + 2 * room).tolist()
    for x, y, side, picture in pictures:
        box = (x - side * wide / 2, x + side * wide / 2, y - side * tall / 2, y + side * tall / 2)
        right.imshow(to_grey(picture, limits), cmap="gray", vmin=0, vmax=255, extent=box, aspect="auto", origin="upper", zorder=2)
    right.set(xlim=left.get_xlim(), ylim=left.get_ylim())
    right.grid(False)
    left.set_title(f"{len(points)} objects")
    right.set_title("averages of neighbours")
    return figure


def _scatter(ax: "Axes", points: NDArray, numbers: NDArray | None, size: float, what: str) -> None:
    style: dict[str, Any] = {"s": size, "linewidths": 0, "alpha": 0.6, "rasterized": True}
    if numbers is None or not what:
        ax.scatter(points[:, 0], points[:, 1], color=colour_of(1), **style)
        return
    kinds, counts = np.unique(numbers[numbers > 0], return_counts=True)
    first = kinds if len(kinds) <= COLOURED else np.sort(kinds[np.argsort(-counts)[:COLOURED]])
    rest = ~np.isin(numbers, first)
    ax.scatter(points[rest, 0], points[rest, 1], color=FAINT, label="other" if rest.any() else None, **style)
    own = len(first) > 0 and int(first.max()) <= len(PALETTE)  # else two classes could share a colour
    for place, k in enumerate(first.tolist(), 1):
        at = numbers == k
        ax.scatter(points[at, 0], points[at, 1], color=colour_of(k if own else place), label=f"{what} {k}", **style)
    ax.legend(markerscale=float(np.sqrt(14 / size)) if size < 14 else 1.0, loc="best")
