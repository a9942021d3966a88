"""Curves of a run: Fourier shell correlation, class sizes, convergence, histograms. Figures out, numbers in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from imagic4d_core.pictures.style import FAINT, INK, colour_of, dash_of, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def numbers(values: Any) -> np.ndarray:
    """1D float64 array of a JSON list in which null stands for nan."""
    return np.array([np.nan if v is None else float(v) for v in (values or [])], dtype=np.float64)


def draw_fsc(
    ax: "Axes", curves: Sequence[Mapping[str, Any]], pixel_size: float | None = None, *, prefix: str = "3D", legend: bool = True
) -> None:
    """FSC curves with the 0.5, 0.143 and half-bit thresholds.

    Parameters
    ----------
    ax : Axes
    curves : sequence of mappings
        ``number`` (or ``label``), ``frequency`` (fraction of Nyquist), ``fsc`` and perhaps ``half_bit``, as in fsc.json.
    pixel_size : float, optional
        Ångström; gives a second scale on top with resolution.
    """
    low = 0.0
    for k, curve in enumerate(curves):
        number = int(curve.get("number") or k + 1)
        f, y = numbers(curve.get("frequency")), numbers(curve.get("fsc"))
        n = min(f.size, y.size)
        if n == 0:
            continue
        low = min(low, float(np.nanmin(y[:n])) if np.isfinite(y[:n]).any() else 0.0)
        ax.plot(f[:n], y[:n], color=colour_of(number), ls=dash_of(number), label=str(curve.get("label") or f"{prefix} {number}"))
    half = next((c for c in curves if c.get("half_bit")), None)
    if half is not None:
        f, y = numbers(half["frequency"]), numbers(half["half_bit"])
        n = min(f.size, y.size)
        ax.plot(f[:n], np.minimum(y[:n], 1.0), color=INK, lw=0.9, ls=(0, (1, 1.5)), label="half-bit")
    for level in (0.5, 0.143):
        ax.axhline(level, color=FAINT, lw=1.0, ls=(0, (4, 2)), zorder=0)
        ax.text(1.0, level + 0.01, f"{level:g}", ha="right", va="bottom", fontsize=7.5)
    ax.set(
        xlim=(0, 1),
        ylim=(max(-0.3, min(-0.05, low - 0.02)), 1.03),
        xlabel="spatial frequency (fraction of Nyquist)",
        ylabel="FSC",
    )
    if pixel_size:
        top = ax.secondary_xaxis("top")
        ticks = np.array([0.125, 0.25, 0.5, 0.75, 1.0])
        top.set_xticks(ticks, [f"{2 * pixel_size / t:.3g} Å" for t in ticks])
        top.spines["top"].set_visible(False)
        top.tick_params(length=0)
    handles, labels = ax.get_legend_handles_labels()
    if legend and handles:
        ax.legend(handles, labels, ncols=max(1, -(-len(labels) // 11)), loc="lower left" if len(labels) < 8 else "best")


def fsc_figure(
    curves: Sequence[Mapping[str, Any]], pixel_size: float | None = None, *, title: str = "", prefix: str = "3D"
) -> "Figure":
    """Figure of `draw_fsc`; the legend stands beside the curves where there are many."""
    figure = new_figure(7.2, 3.6)
    ax = figure.add_subplot()
    draw_fsc(ax, curves, pixel_size, prefix=prefix, legend=False)
    if title:
        ax.set_title(title)
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", ncols=max(1, -(-len(labels) // 14)))
    return figure


def sizes_table(journal: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Iteration numbers, shape (n,), and images per 3D, shape (n, K) with zeros where a 3D does not exist."""
    rows = [e for e in journal if isinstance(e.get("sizes"), list)]
    iterations = np.array([int(e.get("iteration", k + 1)) for k, e in enumerate(rows)], dtype=np.int64)
    width = max((len(e["sizes"]) for e in rows), default=0)
    table = np.zeros((len(rows), width))
    for k, e in enumerate(rows):
        table[k, : len(e["sizes"])] = np.nan_to_num(numbers(e["sizes"]))
    return iterations, table


def _whole_numbers(ax: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def _events(ax: "Axes", journal: Sequence[Mapping[str, Any]]) -> None:
    """Thin vertical lines where 3Ds were killed, merged or split."""
    marks = {"kill": "✕", "merge": "∧", "split": "∨"}
    seen: dict[int, str] = {}
    for entry in journal:
        for event in entry.get("events") or []:
            at = int(event.get("iteration") or entry.get("iteration") or 0)
            mark = marks.get(str(event.get("what")), "•")
            if mark not in seen.setdefault(at, ""):
                seen[at] += mark
    for at, text in sorted(seen.items()):
        ax.axvline(at, color=FAINT, lw=0.8, ls=(0, (2, 2)), zorder=0)
        ax.text(at, 1.0, text, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)


def draw_sizes(ax: "Axes", journal: Sequence[Mapping[str, Any]], truth: Sequence[int] | None = None) -> None:
    """Images per 3D and iteration as stacked areas; dashed, the true populations in the order of the 3Ds."""
    iterations, table = sizes_table(journal)
    if table.size == 0:
        ax.text(0.5, 0.5, "no class sizes in the journal", ha="center", va="center", transform=ax.transAxes)
        return
    colours = [colour_of(k + 1) for k in range(table.shape[1])]
    if len(iterations) == 1:
        iterations, table = np.array([iterations[0] - 0.5, iterations[0] + 0.5]), np.repeat(table, 2, axis=0)
    ax.stackplot(iterations, table.T, colors=colours, alpha=0.75, lw=0.8, edgecolor="white")
    edges = np.concatenate([[0.0], np.cumsum(table[-1])])
    for k, size in enumerate(table[-1]):
        if size > 0.06 * edges[-1]:
            at = 0.5 * (edges[k] + edges[k + 1])
            ax.annotate(
                str(k + 1),
                (iterations[-1], at),
                (5, 0),
                textcoords="offset points",
                va="center",
                color=colours[k],
                fontweight="bold",
            )
    total = edges[-1]
    if truth is not None and len(truth):
        for edge in np.cumsum(truth)[:-1]:
            ax.axhline(edge, color=INK, lw=0.8, ls=(0, (3, 2)))
    ax.set(ylim=(0, max(total, 1)), xlim=(iterations[0], iterations[-1]), xlabel="iteration", ylabel="images")
    _whole_numbers(ax)
    _events(ax, journal)


def draw_moves(ax: "Axes", journal: Sequence[Mapping[str, Any]]) -> None:
    """Share of images that changed membership, in percent, with the median change of angles on a second scale."""
    rows = [e for e in journal if e.get("iteration") is not None]
    x = np.array([int(e["iteration"]) for e in rows])
    moved = 100.0 * np.array([np.nan if e.get("moved") is None else float(e["moved"]) for e in rows])
    turned = np.array([np.nan if e.get("euler_change") is None else float(e["euler_change"]) for e in rows])
    if not np.isfinite(moved).any() and not np.isfinite(turned).any():
        ax.text(0.5, 0.5, "no moves in the journal", ha="center", va="center", transform=ax.transAxes)
        return
    first, second = colour_of(1), colour_of(2)
    ax.plot(x, moved, color=first, marker="o", ms=2.5)
    ax.set(xlabel="iteration", ylim=(0, max(5.0, 1.08 * np.nanmax(moved)) if np.isfinite(moved).any() else 100))
    ax.set_ylabel("images that changed 3D (%)", color=first)
    if np.isfinite(turned).any():
        other = ax.twinx()
        other.plot(x, turned, color=second, marker="s", ms=2.5)
        other.set_ylim(0, max(1.0, 1.08 * float(np.nanmax(turned))))
        other.set_ylabel("median change of angles (°)", color=second)
        other.grid(False)
    _whole_numbers(ax)
    _events(ax, journal)


def draw_progress(ax: "Axes", journal: Sequence[Mapping[str, Any]]) -> None:
    """Frequency at which each 3D's half sets fall to FSC 0.5, and the band limit of the search."""
    rows = [e for e in journal if e.get("iteration") is not None]
    x = np.array([int(e["iteration"]) for e in rows])
    width = max((len(e.get("fsc05") or []) for e in rows), default=0)
    for k in range(width):
        y = np.array([numbers(e.get("fsc05"))[k] if len(e.get("fsc05") or []) > k else np.nan for e in rows])
        if np.isfinite(y).any():
            ax.plot(x, y, color=colour_of(k + 1), ls=dash_of(k + 1), lw=1.2)
    limit = np.array([np.nan if e.get("max_frequency") is None else float(e["max_frequency"]) for e in rows])
    if np.isfinite(limit).any():
        ax.step(x, limit, where="mid", color=INK, lw=0.9, ls=(0, (1, 1.5)), label="band limit of the search")
        ax.legend(loc="lower right")
    ax.set(xlabel="iteration", ylabel="FSC = 0.5 at (Nyquist)", ylim=(0, 1.03))
    _whole_numbers(ax)


def convergence_figure(journal: Sequence[Mapping[str, Any]], truth: Sequence[int] | None = None) -> "Figure":
    """Class sizes, membership moves and resolution against the iteration, side by side."""
    figure = new_figure(10.8, 2.9)
    axes = figure.subplots(1, 3)
    for ax, draw, title in zip(
        axes, (draw_sizes, draw_moves, draw_progress), ("class sizes", "moves", "resolution"), strict=True
    ):
        if draw is draw_sizes:
            draw_sizes(ax, journal, truth)
        else:
            draw(ax, journal)
        ax.set_title(title, pad=12)
    return figure


def draw_bars(ax: "Axes", sizes: Mapping[int, int], truth: Sequence[int] | None = None) -> None:
    """Images per 3D as bars with their numbers."""
    keys = sorted(sizes)
    x = np.arange(len(keys))
    total = max(1, sum(sizes.values()))
    ax.bar(x, [sizes[k] for k in keys], color=[colour_of(k) if k > 0 else FAINT for k in keys], width=0.7)
    for at, k in enumerate(keys):
        ax.text(at, sizes[k], f"{sizes[k]}\n{100 * sizes[k] / total:.0f} %", ha="center", va="bottom", fontsize=7.5)
    ax.set_xticks(x, [f"3D {k}" if k > 0 else "none" for k in keys], rotation=0 if len(keys) < 10 else 90)
    ax.set(ylabel="images", ylim=(0, 1.25 * max([1, *sizes.values(), *(truth or [])])))
    ax.grid(False, axis="x")


def sizes_figure(sizes: Mapping[int, int]) -> "Figure":
    """Figure of `draw_bars`."""
    figure = new_figure(max(3.6, 0.55 * len(sizes) + 1.2), 3.0)
    draw_bars(figure.add_subplot(), sizes)
    return figure


def draw_class_sizes(ax: "Axes", sizes: Sequence[int] | np.ndarray) -> None:
    """Images of each class, as bars without gaps, the largest first."""
    ordered = np.sort(np.asarray(sizes))[::-1]
    ax.bar(np.arange(1, len(ordered) + 1), ordered, width=1.0, color="#8fa7c2")
    ax.set(xlabel="class, largest first", ylabel="images", title="sizes of the classes")
    _whole_numbers(ax)


def class_sizes_figure(sizes: Sequence[int] | np.ndarray) -> "Figure":
    """Figure of `draw_class_sizes`."""
    figure = new_figure(5.4, 3.0)
    draw_class_sizes(figure.add_subplot(), sizes)
    return figure


def stability_figure(journal: Sequence[Mapping[str, Any]]) -> "Figure":
    """Of a classification: agreement of the classes of one iteration with those before, mean correlation, sizes at the end."""
    figure = new_figure(7.6, 2.5)
    one, two = figure.subplots(1, 2)
    x = np.array([e["iteration"] for e in journal])
    for key, colour, label in (("stability", "#2f6db3", "agreement with the one before"), ("correlation", "#d08a3c", "ccc")):
        one.plot(x, numbers([e.get(key) for e in journal]), "o-", ms=3, lw=1.4, color=colour, label=label)
    one.set(xlabel="iteration", ylim=(0, 1.02), title="stability of the classes")
    one.legend(frameon=False, fontsize=7)
    _whole_numbers(one)
    draw_class_sizes(two, journal[-1]["sizes"])
    return figure


def _histogram(ax: "Axes", values: ArrayLike, ref3d: ArrayLike, bins: np.ndarray) -> None:
    v, r = np.asarray(values, dtype=np.float64), np.asarray(ref3d)
    keys = sorted(int(k) for k in np.unique(r))
    parts = [np.clip(v[r == k], bins[0], bins[-1]) for k in keys]
    ax.hist(parts, bins=bins.tolist(), stacked=True, color=[colour_of(k) if k > 0 else FAINT for k in keys], alpha=0.8)


def confidence_figure(confidence: ArrayLike, margin: ArrayLike, ref3d: ArrayLike) -> "Figure":
    """Histograms of the posterior of the chosen 3D and of the margin to the second-best, stacked by 3D.

    Parameters
    ----------
    confidence, margin : array_like, shape (n,)
        Posterior 0..1; margin in units of the standard deviation of scores.
    ref3d : array_like, shape (n,), int
    """
    figure = new_figure(8.6, 2.6)
    left, right = figure.subplots(1, 2)
    c, m = np.asarray(confidence, dtype=np.float64), np.asarray(margin, dtype=np.float64)
    ok = np.isfinite(c) & np.isfinite(m)
    c, m, r = c[ok], m[ok], np.asarray(ref3d)[ok]
    _histogram(left, c, r, np.linspace(0, 1, 41))
    left.set(xlabel="confidence in the membership (0 to 1)", ylabel="images", xlim=(0, 1))
    top = float(np.percentile(m, 99.5)) if m.size else 1.0
    low = min(0.0, float(np.percentile(m, 0.5))) if m.size else 0.0
    if not top > low:
        top = low + 1.0
    _histogram(right, m, r, np.linspace(low, top, 41))
    right.set(xlabel="margin to the second-best 3D (standard deviations)", ylabel="images", xlim=(low, top))
    return figure
