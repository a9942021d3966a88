"""Pictures of an MSA: eigenimages, eigenvalues, factor maps, dendrograms."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.atomic import atomic_write, check_new
from imagic4d_core.io.stack import Stack, open_stack, read_stack
from imagic4d_core.jobs.report.plotting import Plotted, Text
from imagic4d_core.msa import model as files
from imagic4d_core.msa.coordinates import factor_count, read_coordinates
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures.grey import fit_tile, robust_limits, to_grey
from imagic4d_core.pictures.montage import Tile, best_columns, montage_png, montage_text
from imagic4d_core.pictures.msa import map_figure, spectrum_figure
from imagic4d_core.pictures.style import FAINT, figure_png, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("auto", "eigenimages", "spectrum", "map", "dendrogram")
#: Points drawn on a map, cells along its sides, images averaged in a cell.
POINTS, CELLS, NEAREST = 20000, 11, 60


def msa_plot(
    src: str, output: str | Path | None = None, *, what: str = "auto", axes: tuple[int, int] = (1, 2),
    classes: int | None = None, colour: bool = True, true_colour: bool = True, width: int = 80,
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plotted | None:  # fmt: skip
    """Draw a picture of an MSA.

    Parameters
    ----------
    src : str
        ROOT of a run (eigenimages, spectrum), images with coordinates (map), or the tree of a classification (dendrogram).
    output : path, optional
        ``.png``; without it text is returned.
    what : str
        One of `KINDS`; "auto": eigenimages of a ROOT, dendrogram of an .npz, map of images.
    axes : (int, int)
        Factors of a map, from 1.
    classes : int, optional
        Where the dendrogram is cut.
    colour, true_colour, width
        Of the text, see `montage_text` and `figure_text`.
    overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    InputError, OutputError, UsageError
    """
    if comm.rank:
        return None
    if output is not None:
        if Path(output).suffix.lower() != ".png":
            raise UsageError(f"{output}: pictures of MSA are written as PNG; name it {Path(output).with_suffix('.png')}")
        check_new(output, overwrite)
    if what == "auto":
        what = "dendrogram" if src.endswith(".npz") else "eigenimages" if Path(files.stem(src) + ".json").is_file() else "map"
    with figures():
        drawn: Any
        drawn, count = {"eigenimages": _gallery, "spectrum": _spectrum, "map": _map, "dendrogram": _dendrogram}[what](
            src, axes=axes, classes=classes, progress=progress
        )
        if output is None:
            if isinstance(drawn, list):
                text = montage_text(drawn, max(1, width // 26), width, colour=colour, true_colour=true_colour)
            else:
                text = Text(width, colour, true_colour).of(drawn)
            return Plotted(str(src), None, what, count, text)
        if isinstance(drawn, list):
            body = montage_png(drawn, best_columns(len(drawn)))
        else:
            body = figure_png(drawn, dpi=130 if what == "map" else 150)
    with atomic_write(output, "wb", overwrite) as handle:
        handle.write(body)
    return Plotted(str(src), str(output), what, count)


def _gallery(src: str, **unused: Any) -> tuple[list[Tile], int]:
    model = files.load(src)
    base, document = files.stem(src), model.document
    images, _ = read_stack(base + ".hed")
    mean, _ = read_stack(base + "_mean.hed")
    edge = len(images) if document["noise"]["more_needed"] else document["noise"]["factors"]
    tiles = [Tile(_tile(mean[0]), "total average")]
    for k, (image, percent) in enumerate(zip(images, document["percent"], strict=True)):
        inside = robust_limits(image[image != 0])
        most = max(-inside[0], inside[1], 1e-30)  # black and white lie as far from zero
        tiles.append(Tile(_tile(image, (-most, most)), f"{k + 1}: {percent:.2f} %", "" if k < edge else FAINT))
    return tiles, len(images)


def _tile(image: NDArray[np.float32], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Grey picture of an image, or of the three central sections of a volume side by side."""
    size = min(128, max(image.shape) * -(-96 // max(image.shape)))
    if image.ndim == 2:
        return to_grey(fit_tile(image, size), limits or robust_limits(image))
    z, x, y = (n // 2 for n in image.shape)
    cuts = [image[z], image[:, x, :], image[:, :, y]]
    limits = limits or robust_limits(np.concatenate([c.ravel() for c in cuts]))
    parts = [to_grey(fit_tile(c, size), limits) for c in cuts]
    tall = max(p.shape[0] for p in parts)
    return np.concatenate([np.pad(p, ((0, tall - p.shape[0]), (0, 2)), constant_values=255) for p in parts], axis=1)


def _spectrum(src: str, **unused: Any) -> tuple["Figure", int]:
    document = files.load(src).document
    return spectrum_figure(document), len(document["eigenvalues"])


def _dendrogram(src: str, classes: int | None = None, **unused: Any) -> tuple["Figure", int]:
    from imagic4d_core.msa.tree import load_tree
    from imagic4d_core.pictures.dendrogram import dendrogram_figure

    tree, _ = load_tree(src)
    return dendrogram_figure(tree.merges, tree.heights, tree.leaves, classes or 0), tree.leaves


def _map(
    src: str, axes: tuple[int, int] = (1, 2), progress: Callable[[int, int], None] | None = None, **unused: Any
) -> tuple["Figure", int]:
    with open_stack(src) as stack:
        known = factor_count(stack)
        if not all(1 <= a <= known for a in axes):
            raise InputError(
                f"{stack.path}: holds coordinates along {known} factors; a map of {axes[0]} and {axes[1]} is not there"
            )
        step = max(1, -(-stack.objects // POINTS))
        chosen = np.arange(0, stack.objects, step)
        points = np.concatenate(
            [read_coordinates(stack, a, min(stack.objects, a + 4096), max(axes)) for a in range(0, stack.objects, 4096)]
        )[:, [axes[0] - 1, axes[1] - 1]]
        heads = np.concatenate([stack.headers(k * stack.sections, k * stack.sections + 1) for k in chosen])
        numbers, word = None, ""
        for name, words in (("CLASSNO", "class"), ("REF3D", "3D")):
            values = np.nan_to_num(heads[name].astype(np.float64)).astype(np.int64)
            if len(np.unique(values[values > 0])) > 1:
                numbers, word = values, words
                break
        pictures = _neighbours(stack, points, progress)
        return map_figure(points[chosen], numbers, pictures, axes, None, word), len(chosen)


def _neighbours(
    stack: Stack, points: NDArray[np.float32], progress: Callable[[int, int], None] | None
) -> list[tuple[float, float, float, NDArray[np.float32]]]:
    """Averages of the images nearest to the middle of each cell of a grid; cells with few images stay empty."""
    low, high = np.percentile(points, [0.3, 99.7], axis=0)
    room = 0.08 * (high - low)
    low, high = low - room, high + room
    place = (points - low) / np.maximum(high - low, 1e-30) * CELLS
    cell = np.floor(place).astype(np.int64)
    inside = ((cell >= 0) & (cell < CELLS)).all(axis=1)
    number = np.where(inside, cell[:, 0] * CELLS + cell[:, 1], -1)
    out = []
    for k in range(CELLS * CELLS):
        members = np.flatnonzero(number == k)
        if progress is not None:
            progress(k + 1, CELLS * CELLS)
        if len(members) < max(1, len(points) // 5000):
            continue
        off = np.abs(place[members] - cell[members] - 0.5).max(axis=1)
        near = np.sort(members[np.argsort(off, kind="stable")[:NEAREST]])
        total = np.zeros((stack.lines, stack.pixels))
        for i in near:
            volume = stack.read_volumes(int(i), int(i) + 1, finite=False)[0]
            total += volume[stack.sections // 2]
        middle = low + (np.array(divmod(k, CELLS)) + 0.5) / CELLS * (high - low)
        out.append((float(middle[0]), float(middle[1]), 0.96 / CELLS, (total / len(near)).astype(np.float32)))
    return out
