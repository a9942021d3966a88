"""Captioned tiles laid out as one picture, or as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagic4d_core.pictures.grey import U8, tile, to_rgb
from imagic4d_core.pictures.style import figure_png, figures, new_figure
from imagic4d_core.pictures.terminal import ascii_greys, half_blocks

#: Height of a line of caption in pixels.
LINE = 13


@dataclass
class Tile:
    """A picture, shape (lines, pixels[, 3 or 4]) uint8, and what stands below it; ``colour`` of its number, if any."""

    picture: U8
    caption: str = ""
    colour: str = ""


def on_white(picture: U8) -> U8:
    """RGB of a picture; transparent parts show white."""
    if picture.ndim == 3 and picture.shape[2] == 4:
        alpha = picture[..., 3:].astype(np.uint16)
        return ((picture[..., :3].astype(np.uint16) * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return to_rgb(picture)


def best_columns(count: int, aspect: float = 1.4) -> int:
    """Columns that give a picture about `aspect` times as wide as high."""
    return max(1, min(count, round((count * aspect) ** 0.5)))


def _cut(text: str, pixels: int) -> str:
    """As much of a caption as fits under a tile."""
    most = max(3, int(pixels / 5.7))
    return text if len(text) <= most else text[: most - 1] + "…"


def montage_png(tiles: Sequence[Tile], columns: int, gap: int = 5) -> bytes:
    """PNG of captioned tiles on white.

    Parameters
    ----------
    tiles : sequence of Tile
        At least one.
    columns : int
    gap : int
        Pixels between tiles.

    Returns
    -------
    bytes
    """
    deep = max(t.caption.count("\n") + 1 if t.caption else 0 for t in tiles)
    canvas, corners = tile([on_white(t.picture) for t in tiles], columns, gap, LINE * deep + (2 if deep else 0))
    lines, pixels = canvas.shape[:2]
    high = max(t.picture.shape[0] for t in tiles)
    with figures():
        figure = new_figure(pixels / 100, lines / 100)
        figure.set_layout_engine("none")
        figure.figimage(canvas, origin="upper")
        for t, (i, j) in zip(tiles, corners, strict=True):
            text = "\n".join(_cut(row, t.picture.shape[1]) for row in t.caption.splitlines())
            style: dict[str, Any] = {"color": t.colour} if t.colour else {}
            figure.text(j / pixels, 1.0 - (i + high + 2) / lines, text, fontsize=6.8, va="top", linespacing=1.25, **style)
        return figure_png(figure, dpi=100)


def montage_text(tiles: Sequence[Tile], columns: int, width: int = 80, *, colour: bool = True, true_colour: bool = True) -> str:
    """Text of captioned tiles, a row of tiles after the other.

    Parameters
    ----------
    tiles : sequence of Tile
    columns : int
        Tiles in a row.
    width : int
        Characters in a line.
    colour, true_colour : bool
        Half blocks in 24-bit colours, in 256 colours, or ASCII greys.
    """
    columns = max(1, min(columns, len(tiles)))
    room = max(4, (width - 1) // columns - 1)
    out = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        blocks = []
        for t in row:
            text = half_blocks(t.picture, room, true_colour=true_colour) if colour else ascii_greys(t.picture, room)
            wide = min(room, t.picture.shape[1])
            lines = text.split("\n")
            blocks.append(([line if colour else line.ljust(wide) for line in lines], wide))
        high = max(len(b) for b, _ in blocks)
        for k in range(high):
            out.append(" ".join(b[k] if k < len(b) else " " * wide for b, wide in blocks).rstrip(" "))
        deep = max(t.caption.count("\n") + 1 if t.caption else 0 for t in row)
        for k in range(deep):
            words = [
                (t.caption.splitlines() + [""] * deep)[k][:wide].ljust(wide) for t, (_, wide) in zip(row, blocks, strict=True)
            ]
            out.append(" ".join(words).rstrip())
    return "\n".join(out)
