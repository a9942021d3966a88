"""Plots (`plot`): FSC curves, orientation maps, class sizes, convergence, sinogram correlation; as a picture or as text."""

import csv
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.atomic import atomic_write, check_new
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.report.reporting import read_journal, read_poses, view_directions
from imagic4d_core.jobs.runfolder import is_classification, legible
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures import curves, sphere
from imagic4d_core.pictures.figuretext import figure_text
from imagic4d_core.pictures.style import figure_png, figure_svg, figures
from imagic4d_core.units import Frequency

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Plotted:
    """What was plotted: the file written, or text for the terminal; `found` holds what was measured for it."""

    source: str
    output: str | None
    what: str
    count: int
    text: str = ""
    found: list[Any] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.output}: {self.what} from {self.source}"] if self.output else [self.text]
        return said + [line for f in self.found for line in f.lines()]

    @property
    def coloured(self) -> bool:
        """Whether lines hold escape sequences of a terminal."""
        return self.output is None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        out = {"source": self.source, "output": self.output, "what": self.what, "count": self.count}
        return out | ({"found": [f.as_dict() for f in self.found]} if self.found else {})


@dataclass(frozen=True)
class Text:
    """How a plot is drawn in the terminal; see `pictures.figuretext`."""

    width: int = 80
    colour: bool = True
    true_colour: bool = True

    def of(self, figure: "Figure") -> str:
        """Text of a figure, which is used up."""
        return figure_text(figure, self.width, colour=self.colour, true_colour=self.true_colour)


def plot(
    src: str,
    output: str | Path | None = None,
    *,
    what: str = "auto",
    locations: Locations | None = None,
    pixel_size: float | None = None,
    anchors: str | None = None,
    max_frequency: Frequency | None = None,
    amplitude_filter: float = 0.0,
    colour: bool = True,
    true_colour: bool = True,
    width: int = 80,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plotted | None:
    """Draw FSC curves, orientation maps, class sizes, the convergence of a run, or sinogram correlations.

    Parameters
    ----------
    src : str
        fsc.json or a CSV of ``im4d fsc``; image file with Euler angles; folder of refine; images (scf).
    output : path, optional
        ``.png`` or ``.svg``; without it text is returned.
    what : {"auto", "fsc", "orientations", "sizes", "convergence", "scf"}
        "auto": convergence of a folder, fsc of .json and .csv, orientations of images.
    locations : Locations, optional
        Images that count: orientations, sizes, scf.
    pixel_size : float, optional
        Ångström, for FSC curves that do not tell.
    anchors : str, optional
        scf: images that the first of `src` is correlated with, instead of the others of `src`.
    max_frequency : Frequency, optional
        scf: highest frequency used.
    amplitude_filter : float
        scf: amplitudes to the power 1 - p.
    colour, true_colour, width
        Of the text, see `figure_text`.
    overwrite, comm, threads, progress
        As in all jobs.

    Raises
    ------
    InputError
        The file does not hold what is to be plotted.
    UsageError, MismatchError, OutputError
    """
    if comm.rank:
        return None
    suffix = Path(output).suffix.lower() if output is not None else ""
    if output is not None:
        if suffix not in (".png", ".svg"):
            raise UsageError(f"{output}: plots are written as .png or .svg; name it {Path(output).with_suffix('.png')}")
        check_new(output, overwrite)
    if what == "auto":
        what = "convergence" if Path(src).is_dir() else "fsc" if Path(src).suffix.lower() in (".json", ".csv") else "orientations"
    if what != "scf" and (anchors or max_frequency is not None or amplitude_filter):
        raise UsageError("--anchors, --max-frequency and --amplitude-filter belong to --kind scf")
    if what in ("fsc", "convergence") and locations is not None:
        raise UsageError(f"--loc chooses images; {what} has none")
    found: list[Any] = []
    with figures():
        if what == "scf":
            from imagic4d_core.jobs.report.correlating import correlate

            figure, found = correlate(src, anchors, max_frequency, amplitude_filter, pixel_size, locations)
            count = len(found)
        else:
            with legible(src) if what in ("fsc", "convergence") else nullcontext():
                figure, count = _FIGURES[what](src, pixel_size, locations)
        if output is None:
            return Plotted(str(src), None, what, count, Text(width, colour, true_colour).of(figure), found)
        body = figure_png(figure) if suffix == ".png" else _standalone(figure_svg(figure, "plot", what))
    with atomic_write(output, "wb", overwrite) as handle:
        handle.write(body)
    return Plotted(str(src), str(output), what, count, found=found)


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
    except (ValueError, RecursionError) as error:
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


def _fsc(src: str, pixel_size: float | None, locations: Locations | None) -> tuple[Any, int]:
    found, size = read_curves(src)
    return curves.fsc_figure(found, pixel_size or size), len(found)


def _images_of(src: str) -> str:
    return str(Path(src) / "images.hed") if Path(src).is_dir() else src


def _orientations(src: str, pixel_size: float | None, locations: Locations | None) -> tuple[Any, int]:
    poses = read_poses(_images_of(src), locations=locations)
    groups: dict[int, NDArray[np.float64]] = view_directions(poses)
    if not groups:
        raise InputError(f"{src}: no Euler angles in the headers (words 65 to 67 are all zero); run angrec first")
    return sphere.orientation_figure(groups), len(poses)


def _sizes(src: str, pixel_size: float | None, locations: Locations | None) -> tuple[Any, int]:
    numbers, counts = np.unique(read_poses(_images_of(src), locations=locations).ref3d, return_counts=True)
    if not np.any(numbers > 0) or is_classification(src):
        sizes = _class_sizes(_images_of(src), locations)
        if not len(sizes):
            raise InputError(f"{src}: no memberships in the headers: words 51 (3D), 108 (class) and 114 (members) are all zero")
        return curves.class_sizes_figure(sizes), int(sizes.sum())
    return curves.sizes_figure({int(k): int(n) for k, n in zip(numbers, counts, strict=True)}), int(counts.sum())


def _class_sizes(src: str, locations: Locations | None) -> NDArray[np.int64]:
    """Images of each class, by word 108 of images, or by word 114 of class averages; empty where there are none."""
    with open_stack(src, locations) as stack:
        h = stack.headers()
        number, members = (np.nan_to_num(np.maximum(h[w], 0)).astype(np.int64) for w in ("CLASSNO", "NUMCLS"))
    return members if (members > 0).all() else np.bincount(number[number > 0])[1:]


def _convergence(src: str, pixel_size: float | None, locations: Locations | None) -> tuple[Any, int]:
    path = Path(src) / "journal.jsonl" if Path(src).is_dir() else Path(src)
    notes: list[str] = []
    journal = read_journal(path, notes)
    if not journal:
        raise InputError(f"{path}: no iterations of a run in it" + (f" ({notes[0]})" if notes else ""))
    if "stability" in journal[-1]:
        return curves.stability_figure(journal), len(journal)
    return curves.convergence_figure(journal), len(journal)


_FIGURES: dict[str, Callable[[str, float | None, Locations | None], tuple[Any, int]]] = {
    "fsc": _fsc,
    "orientations": _orientations,
    "sizes": _sizes,
    "convergence": _convergence,
}
