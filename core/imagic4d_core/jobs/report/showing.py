"""Pictures of files: montages of images, and volumes (`show`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io import words as hw
from imagic4d_core.io.atomic import atomic_write, check_new
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.files.headers import split_words, word_text
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures.grey import fit_tile, robust_limits, to_grey
from imagic4d_core.pictures.montage import Tile, best_columns, montage_png, montage_text
from imagic4d_core.pictures.style import colour_of, rgb_of
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

    @property
    def coloured(self) -> bool:
        """Whether lines hold escape sequences of a terminal."""
        return self.output is None

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
    words: Sequence[str] = (),
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
    words : sequence of str
        Header words, by name or number, that stand below each image, instead of 3D, members and CCC.
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
    names = [hw.label_of(w) for w in split_words(words)]
    with open_stack(src, locations) as stack:
        volumes = stack.is_volumes
        if what in ("sections", "projections", "surface") and not volumes:
            raise UsageError(f"{src}: holds 2D images; '{what}' is for volumes, use montage")
        total = stack.layout.objects
        if words and volumes:
            raise UsageError(f"{src}: holds volumes; header words stand below images (im4d header show prints them)")
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
            tiles = [t for k in range(count) for t in _step([_image_tile(stack, k, names)], k, count, progress)]
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


def _image_tile(stack: Stack, index: int, names: Sequence[str] = ()) -> Tile:
    image = _read(stack, index, index + 1)[0]
    header = stack.headers(index, index + 1, checked=False)[0]
    location = int(stack.locations[index])
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
    caption = "  ".join([str(location), *words])
    if names:
        record = stack.headers(index, index + 1, checked=False)
        caption = "\n".join([str(location), *(f"{n} {word_text(hw.word_values(record, n).tolist()[0])}" for n in names)])
    return Tile(to_grey(fit_tile(image, _tile_size(max(image.shape)))), caption, colour)


def _volume_tiles(stack: Stack, index: int, kind: str, text: bool) -> list[Tile]:
    volume = _read(stack, index * stack.sections, (index + 1) * stack.sections)
    location = int(stack.locations[index])
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
    number = int(stack.headers(index * stack.sections, index * stack.sections + 1, checked=False)[0]["REF3D"])
    return number if 0 < number < 10000 else int(stack.locations[index])
