"""One look for all figures: palette, sizes, and the way to reproducible PNG and theme-following SVG."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Line colours that read on white and on dark paper; numbers beyond repeat them with other dashes.
PALETTE = ("#3d7ab8", "#d07a2d", "#3f9868", "#b9507a", "#7f6bc0", "#9c8331", "#3a9eae", "#a5584d", "#7b8794", "#6f9f3a")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
#: Stand for "text" and "grid" in figures; an SVG on a page takes them from its surroundings.
INK, FAINT = "#1f2429", "#b6bcc4"


def colour_of(number: int) -> str:
    """Colour of 3D `number` (1-based)."""
    return PALETTE[(number - 1) % len(PALETTE)]


def dash_of(number: int) -> str | tuple[int, tuple[float, ...]]:
    """Line style of 3D `number` (1-based): solid for the first ten."""
    return DASHES[((number - 1) // len(PALETTE)) % len(DASHES)]


def rgb_of(number: int, towards_grey: float = 0.35) -> tuple[float, float, float]:
    """RGB 0..1 of a 3D's colour, mixed with light grey, for shaded surfaces."""
    text = colour_of(number)
    mix = [(1 - towards_grey) * int(text[k : k + 2], 16) / 255 + towards_grey * 0.72 for k in (1, 3, 5)]
    return mix[0], mix[1], mix[2]


@contextmanager
def figures() -> Iterator[None]:
    """Matplotlib set up for our figures, whatever the user's matplotlibrc says; restored afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "backend": "Agg",
                "font.family": "DejaVu Sans",
                "font.size": 9,
                "axes.titlesize": 9,
                "axes.titlelocation": "left",
                "axes.labelsize": 9,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "axes.titlecolor": INK,
                "axes.linewidth": 0.6,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "grid.color": FAINT,
                "grid.linewidth": 0.4,
                "grid.alpha": 0.6,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "xtick.labelsize": 8,
                "ytick.labelsize": 8,
                "legend.frameon": False,
                "legend.fontsize": 8,
                "lines.linewidth": 1.4,
                "svg.fonttype": "none",
                "svg.hashsalt": "im4d",
                "path.simplify": True,
            }
        )
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Figure of a size in inches that belongs to no pyplot state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_png(figure: "Figure", dpi: int = 150) -> bytes:
    """PNG bytes of a figure, without metadata."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def figure_svg(figure: "Figure", name: str, title: str) -> str:
    """Inline SVG of a figure that takes text and grid colours from the page.

    Parameters
    ----------
    figure : Figure
    name : str
        Prefix of all ids, unique on the page.
    title : str
        What a screen reader says.

    Returns
    -------
    str
        ``<svg>`` element without prolog, namespaces or metadata.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = text.replace(INK, "currentColor").replace(FAINT, "var(--faint)").replace("'DejaVu Sans'", "var(--sans)")
    wide = round(104 * figure.get_size_inches()[0])
    safe = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    text = re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{safe}" style="max-width:{wide}px"', text, count=1
    )
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
