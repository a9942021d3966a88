"""Pictures as text: two pixels a character as half blocks in colour, or plain ASCII greys."""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.pictures.grey import U8, fit_tile, to_rgb

#: From dark to bright, for a dark terminal.
RAMP = " .:-=+*#%@"


def _fit(picture: U8, columns: int, per_character: int) -> NDArray[np.int64]:
    """RGB picture of at most `columns` pixels across and an even number of lines; aspect kept for 2 pixels a character."""
    rgb = to_rgb(picture)
    lines, pixels = rgb.shape[:2]
    wide = min(columns, pixels)
    if wide != pixels:
        size = max(round(max(lines, pixels) * wide / pixels), 1)
        rgb = np.stack([fit_tile(rgb[..., c], size) for c in range(3)], -1)
    if rgb.shape[0] % per_character:
        rgb = np.concatenate([rgb, np.zeros((1, *rgb.shape[1:]), rgb.dtype)])
    return np.clip(np.rint(rgb), 0, 255).astype(np.int64)


def _xterm(rgb: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nearest of the 24 greys or the 6x6x6 cube of xterm's 256 colours."""
    flat = rgb.max(-1) - rgb.min(-1) < 12
    mean = rgb.mean(-1)
    grey = np.clip(np.rint((mean - 8) / 10), 0, 23).astype(np.int64) + 232
    grey = np.where(mean < 4, 16, np.where(mean > 246, 231, grey))
    cube = np.clip(np.rint((rgb - 55) / 40), 0, 5).astype(np.int64)
    cube = np.where(rgb < 48, 0, cube)
    return np.where(flat, grey, 16 + 36 * cube[..., 0] + 6 * cube[..., 1] + cube[..., 2])


def half_blocks(picture: U8, columns: int = 80, *, true_colour: bool = True) -> str:
    """Text of a picture with the upper-half-block character: foreground above, background below.

    Parameters
    ----------
    picture : ndarray, shape (lines, pixels[, 3 or 4]), uint8
    columns : int
        Largest number of characters across.
    true_colour : bool
        24-bit colours; otherwise the 256 of xterm.

    Returns
    -------
    str
        Lines with escape sequences, each line reset at its end; no final newline.
    """
    rgb = _fit(picture, columns, 2)
    if true_colour:
        codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]

        def paint(code: int, layer: int) -> str:
            return f"{layer};2;{code >> 16};{code >> 8 & 255};{code & 255}"
    else:
        codes = _xterm(rgb)

        def paint(code: int, layer: int) -> str:
            return f"{layer};5;{code}"

    rows = []
    for top, bottom in zip(codes[::2].tolist(), codes[1::2].tolist(), strict=True):
        parts, last = [], None
        for pair in zip(top, bottom, strict=True):
            if pair != last:
                parts.append(f"\x1b[{paint(pair[0], 38)};{paint(pair[1], 48)}m")
                last = pair
            parts.append("▀")
        rows.append("".join(parts) + "\x1b[0m")
    return "\n".join(rows)


def ascii_greys(picture: U8, columns: int = 80) -> str:
    """Plain text of a picture: one character for two pixels one above the other; no final newline."""
    rgb = _fit(picture, columns, 2)
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    cells = 0.5 * (grey[::2] + grey[1::2])
    index = np.clip((cells / 256.0 * len(RAMP)).astype(np.int64), 0, len(RAMP) - 1)
    return "\n".join("".join(RAMP[k] for k in row).rstrip() for row in index.tolist())
