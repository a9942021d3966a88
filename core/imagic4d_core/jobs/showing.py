"""Pictures of files: montages and volumes (`show`), curves and maps (`plot`)."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.atomic import atomic_write, check_new
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.reporting import read_journal, read_poses, view_directions
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures import curves, sphere
from imagic4d_core.pictures.grey import fit_tile, robust_limits, to_grey
from imagic4d_core.pictures.montage import Tile, best_columns, montage_png, montage_text
from imagic4d_core.pictures.style import colour_of, figure_png, figure_svg, figures, rgb_of
from imagic4d_core.pictures.volumes import VIEW_MATRICES, VIEWS, calmed, central_sections, isovalue, projections, surface_picture

#: Objects shown where nobody says which.
MOST_IMAGES, MOST_VOLUMES = 100, 12


@dataclass
class Shown:
    """What was shown: the file written, or text for the terminal."""

    source: str
    output: str | None
    what: str
    shown: int
    total: int
    text: str = ""

    def lines(self) -> list[str]:
        """For people: the picture as text, or where it went."""
        left = f" of {self.total}" if self.shown < self.total else ""
        said = f"{self.source}: {self.shown}{left} shown"
        if self.output:
            return [f"{self.output}: {self.what} of {self.shown}{left} from {self.source}"]
        return [self.text, said + ("; choose others with --loc" if left else "")]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"source": self.source, "output": self.output, "what": self.what, "shown": self.shown, "total": self.total}


def show(
    src: str,
    output: str | Path | None = None,
    *,
    locations: Locations | None = None,
    columns: int | None = None,
    what: str = "auto",
    colour: bool = True,
    true_colour: bool = True,
    width: int = 80,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Shown | None:
    """Draw images as a montage, and volumes as sections, projections and surfaces.

    Only what is shown is read.

    Parameters
    ----------
    src : str
        Image or volume file.
    output : path, optional
        PNG to write; without it text is returned.
    locations : Locations, optional
        Images, or volumes, to show; by default the first 100 images or 12 volumes.
    columns : int, optional
        Tiles in a row.
    what : {"auto", "montage", "sections", "projections", "surface"}
        "auto": a montage of images; of volumes all three kinds, one row for each. "montage" of a file of volumes shows all
        sections of those chosen.
    colour, true_colour, width
        Of the text, see `montage_text`.
    overwrite, comm, threads, progress
        As in all jobs.

    Raises
    ------
    InputError
        Unreadable file, location out of range.
    OutputError
        The PNG exists already.
    """
    if comm.rank:
        return None
    if output is not None:
        if Path(output).suffix.lower() != ".png":
            raise UsageError(f"{output}: pictures are written as PNG; name it {Path(output).with_suffix('.png')}")
        check_new(output, overwrite)
    with open_stack(src, locations) as stack:
        volumes = stack.is_volumes
        if what in ("sections", "projections", "surface") and not volumes:
            raise UsageError(f"{src}: holds 2D images; '{what}' is for volumes, use montage")
        total = stack.layout.objects
        count = stack.objects if stack.index is not None else min(total, MOST_VOLUMES if volumes else MOST_IMAGES)
        if not count:
            raise InputError(f"{src}: nothing to show: the file is empty")
        text = output is None
        if volumes:
            kind = "volumes" if what == "auto" else what
            tiles = [t for k in range(count) for t in _step(_volume_tiles(stack, k, kind, text), k, count, progress)]
            per = best_columns(len(tiles)) if what == "montage" else len(tiles) // count
            if text:
                per = min(per, 3 if what != "montage" else max(1, width // 26))
        else:
            kind = "montage"
            tiles = [t for k in range(count) for t in _step([_image_tile(stack, k)], k, count, progress)]
            per = max(1, min(len(tiles), width // 26)) if text else best_columns(len(tiles))
    per = columns or per
    if output is None:
        drawn = montage_text(tiles, per, width, colour=colour, true_colour=true_colour)
        return Shown(str(src), None, kind, count, total, drawn)
    png = montage_png(tiles, per)
    with atomic_write(output, "wb", overwrite) as handle:
        handle.write(png)
    return Shown(str(src), str(output), kind, count, total)


def _step(value: list[Tile], done: int, total: int, progress: Callable[[int, int], None] | None) -> list[Tile]:
    if progress:
        progress(done + 1, total)
    return value


def _tile_size(side: int) -> int:
    """Pixels a tile gets: small boxes are enlarged by a whole number, large ones reduced."""
    return min(160, side * -(-96 // side))


def _read(stack: Stack, start: int, stop: int) -> NDArray[np.float32]:
    """Images, whatever their densities are: of complex ones the logarithm of the amplitude; NaN is shown black, not refused."""
    if stack.is_complex:
        return np.log1p(np.abs(stack.read_complex(start, stop))).astype(np.float32)
    return stack.read(start, stop, finite=False)


def _location(stack: Stack, index: int) -> int:
    """1-based location in the file of object `index` of the view."""
    return index + 1 if stack.index is None else int(stack.index[index * stack.sections]) // stack.sections + 1


def _image_tile(stack: Stack, index: int) -> Tile:
    image = _read(stack, index, index + 1)[0]
    header = stack.headers(index, index + 1)[0]
    words, colour = [], ""
    if header["REF3D"] > 0:
        words.append(f"3D {int(header['REF3D'])}")
        colour = colour_of(int(header["REF3D"]))
    members = float(header["NUMCLS"])
    if np.isfinite(members) and 1 <= members < 1e7:
        words.append(f"n={members:.0f}")
    for name in ("CCC3D", "CCC"):
        value = float(header[name])
        if np.isfinite(value) and 1e-4 < abs(value) <= 1.0:
            words.append(f"{value:.2f}")
            break
    return Tile(to_grey(fit_tile(image, _tile_size(max(image.shape)))), "  ".join([str(_location(stack, index)), *words]), colour)


def _volume_tiles(stack: Stack, index: int, kind: str, text: bool) -> list[Tile]:
    volume = _read(stack, index * stack.sections, (index + 1) * stack.sections)
    location = _location(stack, index)
    if kind == "montage":
        limits = robust_limits(volume)
        size = _tile_size(max(volume.shape[1:]))
        return [Tile(to_grey(fit_tile(s, size), limits), f"{location}, section {k + 1}") for k, s in enumerate(volume)]
    size = _tile_size(max(volume.shape))
    tiles: list[Tile] = []
    if kind in ("volumes", "surface"):
        level, number = isovalue(calmed(volume)), _number_of(stack, index)
        views = VIEW_MATRICES[: 3 if text or kind == "surface" else 2]
        for matrix, side in zip(views, ("+z", "−x", "+y"), strict=False):
            picture = surface_picture(volume, size, level=level, view=matrix, colour=rgb_of(number))
            tiles.append(Tile(picture, f"{location}: from {side}" if not tiles else f"from {side}"))
    if kind in ("volumes", "sections"):
        cuts = central_sections(volume)
        limits = robust_limits(np.concatenate([c.ravel() for c in cuts]))
        lead = f"{location}: " if not tiles else ""
        for k, (cut, (axis, _, _)) in enumerate(zip(cuts, VIEWS, strict=True)):
            tiles.append(Tile(to_grey(fit_tile(cut, size), limits), f"{lead if k == 0 else ''}section ⊥ {axis}"))
    if kind in ("volumes", "projections"):
        lead = f"{location}: " if not tiles else ""
        for k, (total, (axis, _, _)) in enumerate(zip(projections(volume), VIEWS, strict=True)):
            tiles.append(Tile(to_grey(fit_tile(total, size)), f"{lead if k == 0 else ''}sum along {axis}"))
    return tiles


def _number_of(stack: Stack, index: int) -> int:
    """3D number of a volume: REF3D of its first section, or its location."""
    number = int(stack.headers(index * stack.sections, index * stack.sections + 1)[0]["REF3D"])
    return number if 0 < number < 10000 else _location(stack, index)


@dataclass
class Plotted:
    """What was plotted."""

    source: str
    output: str
    what: str
    count: int

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.output}: {self.what} from {self.source}"]


def plot(
    src: str,
    output: str | Path,
    *,
    what: str = "auto",
    pixel_size: float | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plotted | None:
    """Draw FSC curves, orientation maps, class sizes or the convergence of a run.

    Parameters
    ----------
    src : str
        fsc.json or a CSV of ``im4d fsc``; image file with Euler angles; folder of refine.
    output : path
        ``.png`` or ``.svg``.
    what : {"auto", "fsc", "orientations", "sizes", "convergence"}
        "auto": convergence of a folder, fsc of .json and .csv, orientations of images.
    pixel_size : float, optional
        Ångström, for FSC curves that do not tell.
    overwrite, comm, threads, progress
        As in all jobs.

    Raises
    ------
    InputError
        The file does not hold what is to be plotted.
    """
    if comm.rank:
        return None
    suffix = Path(output).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise UsageError(f"{output}: plots are written as .png or .svg; name it {Path(output).with_suffix('.png')}")
    check_new(output, overwrite)
    if what == "auto":
        what = "convergence" if Path(src).is_dir() else "fsc" if Path(src).suffix.lower() in (".json", ".csv") else "orientations"
    with figures():
        figure, count = _FIGURES[what](src, pixel_size)
        body = figure_png(figure) if suffix == ".png" else _standalone(figure_svg(figure, "plot", what))
    with atomic_write(output, "wb", overwrite) as handle:
        handle.write(body)
    return Plotted(str(src), str(output), what, count)


def _standalone(svg: str) -> bytes:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<svg {names} '
    text = (
        svg.replace("var(--faint)", "#b6bcc4")
        .replace("var(--sans)", "DejaVu Sans, sans-serif")
        .replace("currentColor", "#1f2429")
    )
    return (text.replace("<svg ", head, 1) + "\n").encode("utf-8")


def read_curves(path: str | Path) -> tuple[list[dict[str, Any]], float | None]:
    """FSC curves of a JSON document (fsc.json, or what ``im4d fsc --json`` prints) or a CSV with a heading.

    Returns
    -------
    curves : list of dict
        ``number``, ``frequency`` (fraction of Nyquist), ``fsc`` and perhaps ``half_bit``.
    pixel_size : float or None
    """
    path = Path(path)
    path = path / "fsc.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {getattr(error, 'strerror', None) or error}") from error
    if path.suffix.lower() == ".csv":
        return _csv_curves(path, text), None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    found = document if isinstance(document, dict) else {}
    listed = found.get("volumes") or found.get("curves") or ([found] if "fsc" in found else [])
    good = [
        c | {"number": c.get("number", k + 1)}
        for k, c in enumerate(listed)
        if isinstance(c, dict) and c.get("frequency") and c.get("fsc")
    ]
    if not good:
        raise InputError(f"{path}: holds no FSC curves; lists named 'frequency' and 'fsc' are needed")
    size = found.get("pixel_size")
    return good, float(size) if isinstance(size, (int, float)) and size else None


def _csv_curves(path: Path, text: str) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(line for line in text.splitlines() if line.strip() and not line.startswith("#")))
    if not rows or "frequency" not in rows[0] or "fsc" not in rows[0]:
        raise InputError(f"{path}: a CSV with columns named 'frequency' and 'fsc' is needed")
    out: dict[int, dict[str, Any]] = {}
    try:
        for row in rows:
            number = int(float(row.get("number") or row.get("volume") or row.get("location") or 1))
            curve = out.setdefault(number, {"number": number, "frequency": [], "fsc": [], "half_bit": []})
            for name in ("frequency", "fsc", "half_bit"):
                if row.get(name):
                    curve[name].append(float(row[name]))
    except ValueError as error:
        raise InputError(f"{path}: not a number: {error}") from error
    return list(out.values())


def _fsc(src: str, pixel_size: float | None) -> tuple[Any, int]:
    found, size = read_curves(src)
    return curves.fsc_figure(found, pixel_size or size), len(found)


def _images_of(src: str) -> str:
    return str(Path(src) / "images.hed") if Path(src).is_dir() else src


def _orientations(src: str, pixel_size: float | None) -> tuple[Any, int]:
    poses = read_poses(_images_of(src))
    groups: dict[int, NDArray[np.float64]] = view_directions(poses)
    if not groups:
        raise InputError(f"{src}: no Euler angles in the headers (words 65 to 67 are all zero); run angrec first")
    return sphere.orientation_figure(groups), len(poses)


def _sizes(src: str, pixel_size: float | None) -> tuple[Any, int]:
    numbers, counts = np.unique(read_poses(_images_of(src)).ref3d, return_counts=True)
    if not np.any(numbers > 0):
        raise InputError(f"{src}: no memberships in the headers (word 51, REF3D, is all zero)")
    return curves.sizes_figure({int(k): int(n) for k, n in zip(numbers, counts, strict=True)}), int(counts.sum())


def _convergence(src: str, pixel_size: float | None) -> tuple[Any, int]:
    path = Path(src) / "journal.jsonl" if Path(src).is_dir() else Path(src)
    notes: list[str] = []
    journal = read_journal(path, notes)
    if not journal:
        raise InputError(f"{path}: no iterations of a refine run in it" + (f" ({notes[0]})" if notes else ""))
    return curves.convergence_figure(journal), len(journal)


_FIGURES: dict[str, Callable[[str, float | None], tuple[Any, int]]] = {
    "fsc": _fsc,
    "orientations": _orientations,
    "sizes": _sizes,
    "convergence": _convergence,
}
