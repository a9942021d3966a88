"""Figures as text: dots where the curve is, bars as high as they are, words and numbers in their places."""

import re

import numpy as np
import pytest

from imagic4d_core.pictures.figuretext import figure_text
from imagic4d_core.pictures.style import figures, new_figure


def drawn(draw, width=60, **options):
    with figures():
        figure = new_figure(6, 3)
        draw(figure)
        return figure_text(figure, width, **options).split("\n")


def body(rows):
    """Characters right of the axis."""
    return [row.split("│", 1)[1] for row in rows if "│" in row]


def test_a_rising_line_rises():
    rows = drawn(lambda f: f.subplots().plot([0, 1], [0, 10], "k"), colour=False)
    area = body(rows)
    columns = [next(k for k, c in enumerate(row) if c not in " ⠀") for row in area if row.strip()]
    assert columns == sorted(columns, reverse=True) and columns[0] - columns[-1] > 40
    assert all(ord(c) >= 0x2800 for c in "".join(area).replace(" ", ""))
    assert max(map(len, rows)) <= 60


def test_words_and_numbers():
    def draw(figure):
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], color="#d07a2d", label="one")
        ax.plot([0, 1], [1, 0], "k", label="two")
        ax.text(0.5, 0.5, "middle", ha="center")
        ax.set(xlabel="below", ylabel="beside", title="above", xlim=(0, 1), ylim=(0, 1))
        other = ax.twinx()
        other.plot([0, 1], [500, 500])
        other.set_ylim(0, 1000)

    rows = drawn(draw, colour=False)
    text = "\n".join(rows)
    assert rows[0].strip() == "above" and rows[1].strip() == "beside"
    middle = next(k for k, row in enumerate(rows) if "middle" in row)
    assert abs(middle - len(body(rows)) / 2 - 1) < 2
    assert re.search(r"0\.8│.*800", text) and "0.0 " in rows[-5] and "below" in text
    assert "- one" in text and "- two" in text and "\x1b" not in text
    painted = "\n".join(drawn(draw))
    assert "\x1b[38;2;208;122;45m" in painted and re.sub(r"\x1b\[[\d;]*m", "", painted).count("⠶⠶") == 2
    assert "\x1b[38;5;" in "\n".join(drawn(draw, true_colour=False))


def test_bars_have_their_heights():
    def draw(figure):
        ax = figure.subplots()
        ax.bar([0, 1, 2], [4, 2, 1], color="k", width=0.8)
        ax.set(ylim=(0, 4), xlim=(-0.5, 2.5))

    area = np.array([[c not in " ⠀" for c in row.ljust(60)[:50]] for row in body(drawn(draw, colour=False))])
    heights = area.sum(0)
    assert [heights[8], heights[25], heights[41]] == pytest.approx([len(area), len(area) / 2, len(area) / 4], abs=1.01)


def test_images_are_grey_and_panels_stand_side_by_side_where_they_fit():
    def draw(figure):
        one, two = figure.subplots(1, 2)
        image = one.imshow(np.repeat([[0.0], [1.0]], 2, 1), cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        one.set_title("grey")
        two.plot([0, 1])
        two.set_title("line")
        figure.colorbar(image, ax=[one, two]).set_label("density")

    rows = drawn(draw, 80, colour=False)
    assert "grey" in rows[0] and "line" in rows[0]
    first = [row.split("│")[1][:20] for row in rows if row.count("│") == 2]
    assert set(first[0].strip()) == set() and set(first[-1].strip()) == {"@"}
    assert rows[-1].strip() == "density: 0 (light) to 1 (dense)"
    narrow = drawn(draw, 50, colour=False)
    assert "grey" in narrow[0] and "line" not in narrow[0]
    assert "▀" in "\n".join(drawn(draw, 80))
