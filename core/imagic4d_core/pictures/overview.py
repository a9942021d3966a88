"""A run in one picture: the 3Ds (beside the truth), FSC, class sizes, moves, directions, examples."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from imagic4d_core.pictures.curves import draw_bars, draw_fsc, draw_moves, draw_sizes
from imagic4d_core.pictures.rundata import Run
from imagic4d_core.pictures.sphere import draw_pair
from imagic4d_core.pictures.style import FAINT, colour_of, figure_png, figures, new_figure
from imagic4d_core.pictures.verdict import Said, said_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: 3Ds drawn at most; the page has them all.
MOST = 6
#: Colours of the words of the verdict, as on the page.
_WORD_COLOURS = {"good": "#2f7d54", "note": "#55708c", "bad": "#b04a2f"}


def _show(ax: "Axes", picture: np.ndarray, title: str = "") -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="bilinear", aspect="equal")
    ax.axis("off")
    if title:
        ax.set_title(title, fontsize=8, loc="center", pad=3)


def _volumes(figure: "Figure", run: Run, left: float, right: float, top: float, bottom: float) -> None:
    sizes = run.sizes
    chosen = sorted(sorted(run.volumes, key=lambda t: -sizes.get(t.number, 0))[:MOST], key=lambda t: t.number)
    if not chosen:
        figure.text(left, top - 0.05, "No volumes to show.")
        return
    said = {s.number: s for s in said_of(run)}
    true = run.truth.tiles if run.truth else {}
    heads = ["surface, from +z", "surface, from −x", "central section", "sum along z"]
    if true:
        heads = ["3D", "truth", "3D", "truth", "3D: sum along z", "truth: sum along z"]
        # few 3Ds: no sums, but larger surfaces
        heads = heads[: 6 if len(chosen) > 3 else 4]
    # a single 3D gets two lines of pictures twice the size
    lines = 2 if len(chosen) == 1 else 1
    across = len(heads) // lines
    width = (right - left - 0.05) / across
    height = min((top - bottom) / len(chosen) / lines, width * 1.7)
    for row, t in enumerate(chosen):
        y = top - (row * lines + 1) * height
        other = true.get(t.number)
        cells: list[Any] = [t.surfaces[0], t.surfaces[1], t.sections[0], t.projections[0]]
        if true:
            pairs = [
                (t.surfaces[0], other and other.surfaces[0]),
                (t.surfaces[1], other and other.surfaces[1]),
                (t.projections[0], other and other.projections[0]),
            ]
            cells = [p for pair in pairs for p in pair][: len(heads)]
        _name(figure, t.number, sizes.get(t.number, 0), said.get(t.number), left, y + 0.72 * height)
        for k, picture in enumerate(cells):
            if picture is not None:
                below = y - (k // across) * height
                ax = figure.add_axes((left + 0.05 + k % across * width, below, 0.95 * width, 0.93 * height))
                _show(ax, picture, heads[k] if row == 0 or lines == 2 else "")
    if len(run.volumes) > MOST:
        figure.text(left, bottom - 0.012, f"the {MOST} largest of {len(run.volumes)} 3Ds", fontsize=8)


def _name(figure: "Figure", number: int, images: int, said: Said | None, left: float, y: float) -> None:
    """Number of a 3D, what it is called, how often it was found again, its images."""
    figure.text(left, y, f"3D {number}", color=colour_of(number), fontsize=11, fontweight="bold")
    y -= 0.006
    if said is not None:
        words = "\n".join(textwrap.wrap(said.word, 10))
        figure.text(left, y, words, fontsize=9, fontweight="bold", color=_WORD_COLOURS[said.kind], va="top", linespacing=1.1)
        y -= 0.015 * (words.count("\n") + 1)
        again = said.again.replace("found again by ", "again in\n").replace(" other", "")
        if again:
            figure.text(left, y, again, fontsize=7.5, va="top", linespacing=1.15)
            y -= 0.026
    figure.text(left, y, f"{images} images", fontsize=7.5, va="top")


def _examples(figure: "Figure", run: Run, left: float, right: float, top: float, height: float) -> None:
    per = 2
    groups = list(dict.fromkeys(e.group for e in run.examples))
    if not groups:
        figure.text(left, top - 0.03, "No examples: images or re-projections are missing.", fontsize=9)
        return
    width = (right - left) / len(groups)
    for g, group in enumerate(groups):
        x0 = left + g * width
        figure.text(x0, top + 0.006, f"{group} CCC3D: image beside re-projection", fontsize=8.5)
        cell = (width - 0.012) / (2 * per)
        for k, e in enumerate([e for e in run.examples if e.group == group][:per]):
            for side, picture in enumerate((e.image, e.reprojection)):
                ax = figure.add_axes((x0 + (2 * k + side) * cell, top - height, 0.97 * cell, height))
                _show(ax, picture)
            figure.text(
                x0 + 2 * k * cell,
                top - height - 0.012,
                f"{e.location}: {e.ccc:.2f}",
                fontsize=7.5,
                color=colour_of(max(e.ref3d, 1)),
            )


def overview_figure(run: Run) -> "Figure":
    """Draw the overview, 15 x 10 inches.

    Parameters
    ----------
    run : Run
    """
    figure = new_figure(15.0, 10.0)
    figure.set_layout_engine("none")
    s = run.summary
    title = f"4D refinement of {s.get('input', run.name)}"
    facts = [
        f"{s['images']} images" if s.get("images") else "",
        f"box {s['box']}" if s.get("box") else "",
        f"{run.pixel_size:g} Å per pixel" if run.pixel_size else "",
    ]
    facts += [
        f"{s['iterations']} iterations" if s.get("iterations") else "",
        "converged" if s.get("converged") else "not converged" if "converged" in s else "",
    ]
    figure.text(0.025, 0.962, title, fontsize=15, fontweight="bold")
    figure.text(0.025, 0.937, ", ".join(f for f in facts if f), fontsize=9.5)
    said = str(s.get("statement") or "")
    if run.truth and run.truth.scores:
        said += "  Against the truth: " + ", ".join(f"{k} {v}" for k, v in run.truth.scores) + "."
    said += "  Both hands are possible from projections alone."
    if run.fsc and not run.fsc.get("independent", False):
        said += " FSC halves share references: not independent."
    figure.text(0.025, 0.925, "\n".join(textwrap.wrap(said, 190)[:3]), fontsize=10, va="top")
    _volumes(figure, run, 0.025, 0.56, 0.855, 0.215)

    ax = figure.add_axes((0.615, 0.585, 0.36, 0.25))
    if run.fsc.get("volumes"):
        draw_fsc(ax, run.fsc["volumes"], run.pixel_size, legend=len(run.fsc["volumes"]) <= 10)
    else:
        ax.text(0.5, 0.5, "no FSC", ha="center", va="center")
    title = "FSC of half sets" if not run.fsc.get("independent", False) else "FSC of independent half sets"
    if run.truth and run.truth.curves:
        title += "; dash-dotted: against the truth"
        for curve in run.truth.curves:
            ax.plot(curve["frequency"], curve["fsc"], color=colour_of(curve["number"]), lw=1.0, ls=(0, (6, 1.5, 1, 1.5)))
    ax.set_title(title, pad=16 if run.pixel_size else 6)
    left, right = figure.add_axes((0.615, 0.295, 0.155, 0.19)), figure.add_axes((0.828, 0.295, 0.118, 0.19))
    if run.journal:
        draw_sizes(left, run.journal, run.truth.sizes if run.truth else None)
        draw_moves(right, run.journal)
    else:
        draw_bars(left, run.sizes)
        right.text(0.5, 0.5, "no journal", ha="center", va="center")
    left.set_title("class sizes", pad=12)
    right.set_title("membership moves", pad=12)
    figure.text(0.615, 0.222, "view directions of all images, from +z and from −z", fontsize=9)
    axes = [figure.add_axes((0.64 + k * 0.145, 0.025, 0.13, 0.19)) for k in (0, 1)]
    if run.directions:
        image = draw_pair(axes, np.concatenate([np.asarray(d).reshape(-1, 3) for d in run.directions.values()]), dots=0)
        bar = figure.colorbar(image, cax=figure.add_axes((0.94, 0.05, 0.008, 0.13)))
        bar.ax.set_title("× uniform", fontsize=7.5, loc="center")
        bar.outline.set_edgecolor(FAINT)
    else:
        for ax in axes:
            ax.axis("off")
        axes[0].text(0, 0.5, "no Euler angles in the headers")
    _examples(figure, run, 0.025, 0.575, 0.15, 0.105)
    return figure


def overview_png(run: Run) -> bytes:
    """PNG bytes of `overview_figure`."""
    with figures():
        return figure_png(overview_figure(run), dpi=110)
