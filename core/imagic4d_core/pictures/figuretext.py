"""Figures as text for the terminal: curves in braille dots, images as half blocks or greys, with titles, axes and legends."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.pictures.grey import U8
from imagic4d_core.pictures.terminal import ascii_greys, half_blocks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Bits of a braille character, by line and column of its dots.
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
#: Characters of a panel at least, lines at most, characters for the numbers of an axis.
LEAST, HIGH, GUTTER = 30, 18, 7
#: Darker than this (of 255 below white) is drawn; more colourful than this keeps its colour.
DARK, COLOURFUL = 24, 40


@dataclass
class _Panel:
    """Axes drawn over each other, and what their frame says."""

    axes: list["Axes"]
    place: tuple[float, float, float, float]
    ratio: float
    title: str
    labels: tuple[str, str]
    ticks: list[list[tuple[float, str]]] = field(default_factory=list)
    framed: bool = True
    image: bool = False


def figure_text(figure: "Figure", width: int = 80, *, colour: bool = True, true_colour: bool = True) -> str:
    """Text of a figure; the figure is used up.

    Parameters
    ----------
    figure : Figure
    width : int
        Characters in a line.
    colour, true_colour : bool
        As in `montage_text`; without colour images come as ASCII greys, dark as dense characters.

    Returns
    -------
    str
    """
    figure.draw_without_rendering()  # type: ignore[attr-defined]
    legends, bars = _legends(figure), [ax._colorbar for ax in figure.axes if hasattr(ax, "_colorbar")]
    panels = _panels(figure)
    figure.set_layout_engine("none")
    rows: dict[float, list[_Panel]] = {}
    for panel in panels:
        rows.setdefault(round(panel.place[3], 2), []).append(panel)
    per = max(1, (width - 1) // (LEAST + 2))
    out: list[str] = []
    for top in sorted(rows, reverse=True):
        row = sorted(rows[top], key=lambda p: p.place[0])
        for start in range(0, len(row), per):
            some = row[start : start + per]
            room = (width - 1) // len(some) - 2
            blocks = [_draw(figure, p, room, colour, true_colour) for p in some]
            out += [*_beside(blocks, room + 2), ""]
    for label, rgb in legends:
        out.append(f"  {_paint('⠶⠶', rgb, true_colour) if colour else '-'} {label}")
    for bar in bars:
        name = bar.ax.get_xlabel() or bar.ax.get_ylabel()
        out.append(f"  {name}: {bar.vmin:.2g} (light) to {bar.vmax:.2g} ({'dark' if colour else 'dense'})")
    return "\n".join(line.rstrip() for line in out).rstrip()


def _panels(figure: "Figure") -> list[_Panel]:
    groups: dict[tuple[float, ...], list[Axes]] = {}
    for ax in figure.axes:
        if ax.get_visible() and not hasattr(ax, "_colorbar") and (ax.axison or ax.has_data()):
            groups.setdefault(tuple(round(v, 3) for v in ax.get_position().bounds), []).append(ax)
    wide, tall = figure.get_size_inches()
    out = []
    for axes in groups.values():
        box = axes[0].get_position()
        titles = [t for ax in axes for t in (ax.get_title(loc="left"), ax.get_title()) if t]
        out.append(
            _Panel(
                axes, (box.x0, box.y0, box.x1, box.y1), box.height * tall / (box.width * wide), titles[0] if titles else "",
                (axes[0].get_xlabel(), " / ".join(ax.get_ylabel() for ax in axes if ax.get_ylabel())),
                [_ticks(axes[0], "x"), *(_ticks(ax, "y") for ax in axes)], axes[0].axison, any(ax.images for ax in axes),
            )
        )  # fmt: skip
    return out


def _ticks(ax: "Axes", which: str) -> list[tuple[float, str]]:
    axis = getattr(ax, f"{which}axis")
    low, high = sorted(getattr(ax, f"get_{which}lim")())
    found = [(float(v), t.get_text()) for v, t in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)]
    seen = [(v, f"{v:g}" if "$" in t else t) for v, t in found if low <= v <= high and t]
    if len(seen) < 2 and axis.get_scale() == "log":
        seen = [(low, f"{low:.2g}"), *seen, (high, f"{high:.2g}")]
    return seen


def _legends(figure: "Figure") -> list[tuple[str, tuple[int, ...]]]:
    from matplotlib.colors import to_rgb

    out = {}
    for ax in figure.axes:
        if hasattr(ax, "_colorbar"):
            continue
        handle: Any
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            paint = handle.get_color() if hasattr(handle, "get_color") else handle.get_facecolor()
            paint = paint[0] if isinstance(paint, np.ndarray) and paint.ndim == 2 else paint
            out[label] = tuple(round(255 * c) for c in to_rgb(paint))
    return list(out.items())


def _draw(figure: "Figure", panel: _Panel, room: int, colour: bool, true_colour: bool) -> list[str]:
    """Lines of a panel, `room` characters wide at most."""
    left, right = (GUTTER, GUTTER * (len(panel.axes) > 1)) if panel.framed else (0, 0)
    across = room - left - right
    down = max(4, round(across * panel.ratio / 2))
    if down > HIGH:
        if not panel.framed or panel.image:
            across = max(8, round(HIGH * 2 / panel.ratio))
        down = HIGH
    picture = _raster(figure, panel.axes, 2 * across, 4 * down)
    if panel.image:
        small = picture.reshape(2 * down, 2, across, 2, 3).mean((1, 3))
        text = half_blocks(small.astype(np.uint8), across, true_colour=true_colour) if colour else ascii_greys(
            (255 - small).astype(np.uint8), across
        )  # fmt: skip
        body = [_filled(line, across) for line in text.split("\n")]
    else:
        body = _braille(picture, panel, across, down, colour, true_colour)
    out = [_filled((" " * left + panel.title)[:room], room)] if panel.title else []
    if not panel.framed:
        return out + body
    if panel.labels[1]:
        out.append(_filled((" " * left + panel.labels[1])[:room], room))
    scales = [_scale(ax, ticks, down) for ax, ticks in zip(panel.axes, panel.ticks[1:], strict=True)]
    for k, line in enumerate(body):
        other = " " + scales[-1].get(k, "") if right else ""
        out.append(f"{scales[0].get(k, ''):>{left - 1}}│{line}{other:<{right}}")
    out.append(_filled(" " * (left - 1) + "└" + "─" * across, room))
    return [*out, *_below(panel, left, across, room)]


def _raster(figure: "Figure", axes: list["Axes"], pixels: int, lines: int) -> U8:
    """What the axes hold, without frames and words, shape (lines, pixels, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for ax in figure.axes:
        ax.set_visible(ax in axes)
    for ax in axes:
        ax.set_axis_off()
        ax.set(title="", position=(0, 0, 1, 1), aspect="auto")
        ax.set_title("", loc="left")
        for child in (*ax.child_axes, ax.get_legend(), *ax.texts):
            if child is not None:
                child.set_visible(False)
        for line in ax.lines:
            line.set_antialiased(False)
            line.set_linewidth(min(1.0, line.get_linewidth()))
            if not ax.images:
                line.set_markersize(min(2.0, line.get_markersize()))
        for points in ax.collections:
            if hasattr(points, "set_sizes") and not ax.images:
                points.set_sizes([1.5])
    for legend in figure.legends:
        legend.set_visible(False)
    figure.set_dpi(72)
    figure.set_size_inches(pixels / 72, lines / 72)
    figure.patch.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _at(ax: "Axes", x: float, y: float, down: int) -> tuple[int, int]:
    """Character (line, column) of a point of the data in the last raster."""
    px, py = ax.transData.transform((x, y))
    return down - 1 - int(np.floor(py / 4)), int(np.floor(px / 2))


def _scale(ax: "Axes", ticks: list[tuple[float, str]], down: int) -> dict[int, str]:
    x = ax.get_xlim()[0]
    found = {min(max(_at(ax, x, v, down)[0], 0), down - 1): t[: GUTTER - 1] for v, t in ticks}
    return found if len(found) * 2 <= down else dict(list(found.items())[::2])


def _below(panel: _Panel, left: int, across: int, room: int) -> list[str]:
    """Numbers and name of the lower axis."""
    ax, row = panel.axes[0], [" "] * room
    for v, text in panel.ticks[0]:
        at = left + min(max(_at(ax, v, ax.get_ylim()[0], 1)[1], 0), across - 1) - len(text) // 2
        at = min(max(at, 0), room - len(text))
        if all(c == " " for c in row[max(0, at - 1) : at + len(text) + 1]):
            row[at : at + len(text)] = text
    out = ["".join(row)] if panel.ticks[0] else []
    if panel.labels[0]:
        out.append(_filled(" " * left + panel.labels[0][:across].center(across), room))
    return out


def _braille(picture: U8, panel: _Panel, across: int, down: int, colour: bool, true_colour: bool) -> list[str]:
    dark = 255 - picture.min(-1) > DARK
    cells = dark.reshape(down, 4, across, 2)
    codes = (cells * DOTS[None, :, None, :]).sum((1, 3))
    weight = cells[..., None]
    rgb = (picture.reshape(down, 4, across, 2, 3) * weight).sum((1, 3)) / np.maximum(weight.sum((1, 3)), 1)
    letters: list[list[str]] = [[chr(0x2800 + c) if c else " " for c in row] for row in codes.tolist()]
    if colour:
        for i, k in zip(*np.nonzero(codes), strict=True):
            letters[i][k] = _paint(letters[i][k], rgb[i, k], true_colour)
    for ax in panel.axes:
        for words in ax.texts:
            if words.get_transform() is ax.transData or hasattr(words, "xy"):
                text = words.get_text().split("\n")[0]
                x, y = getattr(words, "xy", words.get_position())
                i, k = _at(ax, x, y, down)
                k -= {"center": len(text) // 2, "right": len(text)}.get(words.get_horizontalalignment(), 0)
                i, k = min(max(i, 0), down - 1), min(max(k, 0), max(across - len(text), 0))
                letters[i][k : k + len(text)] = text[: across - k]
    return ["".join(row) for row in letters]


def _paint(text: str, rgb: "NDArray[Any] | tuple[int, ...]", true_colour: bool) -> str:
    """Coloured text; greys keep the terminal's own colour, which is seen on dark and on light ones."""
    r, g, b = (round(float(v)) for v in rgb)
    if max(r, g, b) - min(r, g, b) < COLOURFUL:
        return text
    if true_colour:
        return f"\x1b[38;2;{r};{g};{b}m{text}\x1b[0m"
    cube = 16 + sum(f * min(5, max(0, round((v - 55) / 40))) for f, v in zip((36, 6, 1), (r, g, b), strict=True))
    return f"\x1b[38;5;{cube}m{text}\x1b[0m"


def _length(text: str) -> int:
    """Characters seen, without escape sequences."""
    seen, inside = 0, False
    for c in text:
        inside = inside or c == "\x1b"
        seen += not inside
        inside = inside and c != "m"
    return seen


def _filled(text: str, width: int) -> str:
    """Spaces after a text, up to a width."""
    return text + " " * max(0, width - _length(text))


def _beside(blocks: list[list[str]], width: int) -> list[str]:
    high = max(len(b) for b in blocks)
    return ["".join(_filled(b[k] if k < len(b) else "", width) for b in blocks) for k in range(high)]
