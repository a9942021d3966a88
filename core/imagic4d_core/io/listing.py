"""A list of images in one or several stacks (STAR, .cs, .par) read as if it were a file of images itself."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.compressed import open_plain, plain_name
from imagic4d_core.io.layout import Layout
from imagic4d_core.io.particles import Metadata, Particles, locate, present

#: Stacks held open at a time.
_OPEN = 64


def is_listing(path: Path, raw: bytes) -> bool:
    """Whether a file lists images of other files: by its content for STAR and .cs, by name for .par."""
    if path.suffix.lower() == ".par":
        return True
    if raw[:6] == b"\x93NUMPY":
        return True
    text = raw.lstrip()
    return path.suffix.lower() == ".star" or (text[:1] in (b"#", b"d") and b"data_" in raw and b"loop_" in raw)


def read_listing(
    path: Path, raw: bytes, size_of: Callable[[Path], float | None], stack: str | None = None
) -> tuple[Particles, str]:
    """What a metadata file of any known kind lists, and the name of its format.

    Parameters
    ----------
    path : Path
    raw : bytes
        Its first bytes.
    size_of : callable
        Gives the pixel size of a stack in angstrom, for formats that do not tell it.
    stack : str, optional
        Name of the stack, for formats that do not tell it.

    Raises
    ------
    InputError
        Not such a file, damaged, or without images.
    """
    particles, form = _read(path, raw, size_of, stack)
    particles.check()
    return particles, form


def _read(path: Path, raw: bytes, size_of: Callable[[Path], float | None], stack: str | None) -> tuple[Particles, str]:
    from imagic4d_core.io import cryosparc, frealign, star

    with np.errstate(invalid="ignore", over="ignore"):  # what is no number is refused right after, by its row
        if raw[:6] == b"\x93NUMPY" or plain_name(path).suffix.lower() == ".cs":
            return cryosparc.read_particles(path), "CRYOSPARC"
        if plain_name(path).suffix.lower() == ".par":
            return frealign.read_par(path, stack, size_of), "FREALIGN"
        tables = star.read_star(path)
        if frealign.is_cistem(tables):
            return frealign.read_cistem(path, tables, stack), "CISTEM"
        return star.read_particles(path, tables, size_of), "STAR"


def read_alone(path: Path) -> tuple[Particles, str]:
    """What a metadata file lists, and the name of its format, without its stacks (InputError: it is none, or needs them)."""
    return read_listing(path, open_head(path), lambda _: None)


def metadata_of(path: Path, stack: Path, count: int, pixel_size: float | None) -> tuple[Metadata, list[str]]:
    """What a metadata file says of the images of one stack, and notes.

    Rows that name the stack count by their image numbers. Where none does, there must be as many rows as images: they are taken
    in order.

    Raises
    ------
    InputError
        Not a metadata file, or an image number beyond `count`.
    MismatchError
        It names other stacks only, and has another number of rows.
    """
    from imagic4d_core.io import star

    try:
        raw = open_head(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    particles, _ = read_listing(path, raw, lambda _: pixel_size, stack.name)
    mine = star.same_stack(particles.files, stack, path)
    if not mine:  # the same images in another format
        mine = {name for name in particles.files if Path(name).stem == stack.stem}
        if len(mine) > 1:
            raise InputError(f"{path}: names several files like {stack.name}: {', '.join(sorted(mine)[:3])}")
    names = [k for k, name in enumerate(particles.files) if name in mine]
    rows = np.flatnonzero(np.isin(particles.file, names))
    notes = list(particles.notes)
    if len(rows):
        places = particles.image[rows]
        if places.max() >= count:
            raise InputError(f"{path}: names image {int(places.max()) + 1} of {stack.name}, which holds {count}")
    elif len(particles) == count:
        rows = places = np.arange(count)
        notes.append(f"{path.name} names other stacks; its rows are taken in order")
    else:
        raise MismatchError(f"{path}: has {len(particles)} rows, none of {stack.name}, which holds {count} images")
    return particles.metadata.select(rows).placed(places, count), notes


def open_head(path: Path) -> bytes:
    """The first bytes of a file."""
    with open_plain(path) as handle:
        return handle.read(1024)


class ListedFile:
    """Reader of the images that a metadata file lists; same methods as the readers of stacks.

    Parameters
    ----------
    path : Path
    raw : bytes
        Its first bytes.
    opener, size_of : callable
        Give the reader of a stack, and its pixel size in angstrom.

    Raises
    ------
    InputError
        A stack is missing, or has fewer images than are listed.
    MismatchError
        Stacks of different sizes.
    """

    def __init__(self, path: Path, raw: bytes, opener: Callable[[str], Any], size_of: Callable[[Path], float | None]):
        self.particles, form = read_listing(path, raw, size_of)
        self._opener, self._lock = opener, threading.Lock()
        self._readers: OrderedDict[int, list[Any]] = OrderedDict()  # file -> [reader, users]
        if not len(self.particles):
            raise InputError(f"{path}: lists no images")
        self.paths = [locate(name, path) for name in self.particles.files]
        self._refuse_one_for_two(path)
        self.layout = self._find_layout(path, form)

    def _refuse_one_for_two(self, path: Path) -> None:
        """Refuse a file that was found beside the list where that names two of its name in other folders."""
        users: dict[str, str] = {}
        for name, place in zip(self.particles.files, self.paths, strict=True):
            other = users.setdefault(os.path.realpath(place), name)
            if os.path.normpath(other) != os.path.normpath(name) and not (present(name, path) and present(other, path)):
                raise InputError(
                    f"{path}: lists images of {other} and of {name}; of these only {place} is there, and it cannot be both: "
                    "put the stacks where the list says"
                )

    def _find_layout(self, path: Path, form: str) -> Layout:
        need = np.zeros(len(self.paths), np.intp)
        np.maximum.at(need, self.particles.file, self.particles.image + 1)
        first: Layout | None = None
        dtype: np.dtype | None = None
        for k, count in enumerate(need):
            if not count:
                continue
            with self._reader(k) as reader:
                lay = reader.layout
            if count > lay.n_images:
                raise InputError(f"{path}: lists image {count} of {self.paths[k]}, which holds {lay.n_images}")
            if first is None:
                first, dtype = lay, lay.dtype.newbyteorder("=")
            if (lay.lines, lay.pixels) != (first.lines, first.pixels):
                raise MismatchError(
                    f"{path}: {first.path} has images of {first.lines} x {first.pixels}, {lay.path} of {lay.lines} x "
                    f"{lay.pixels}; all must have one size"
                )
            if lay.dtype.newbyteorder("=") != dtype:
                dtype = np.dtype(np.float32)
        assert first is not None and dtype is not None
        size = self.particles.metadata.pixel_size
        pixel = first.pixel_size
        notes = list(self.particles.notes)
        if size is not None and size[0] > 0:
            pixel = float(size[0])
            if np.ptp(size) > 1e-6 * pixel:
                notes.append(f"pixel sizes from {size.min():.6g} to {size.max():.6g} A; word 123 of each image has its own")
                pixel = None
        word = first.type_word if dtype != np.float32 else "REAL"
        return Layout(path, form, len(self.particles), 1, first.lines, first.pixels, False, dtype, pixel, word, notes)

    @contextmanager
    def _reader(self, k: int) -> Iterator[Any]:
        """The reader of file `k`, not closed by others meanwhile."""
        with self._lock:
            entry = self._readers.get(k)
            if entry is None:
                entry = self._readers[k] = [self._opener(str(self.paths[k])), 0]
            self._readers.move_to_end(k)
            entry[1] += 1
        try:
            yield entry[0]
        finally:
            with self._lock:
                entry[1] -= 1
                idle = [n for n, (_, users) in self._readers.items() if not users]
                for n in idle[: max(0, len(self._readers) - _OPEN)]:
                    self._readers.pop(n)[0].close()

    def read_raw(self, start: int, stop: int) -> NDArray:
        """Listed images `start` to `stop`, shape (n, lines, pixels)."""
        lay = self.layout
        out = np.empty((stop - start, lay.lines, lay.pixels), lay.dtype)
        file, image = self.particles.file[start:stop], self.particles.image[start:stop]
        breaks = np.flatnonzero((np.diff(file) != 0) | (np.diff(image) != 1)) + 1
        for a, b in zip([0, *breaks], [*breaks, stop - start], strict=True):
            if b > a:
                with self._reader(int(file[a])) as reader:
                    out[a:b] = reader.read_raw(int(image[a]), int(image[b - 1]) + 1)
        return out

    def headers(self, start: int, stop: int) -> NDArray:
        """Header records made of the metadata; word 73 (LOCORIG) is the row in the list, the title names the image."""
        h = self.layout.records(start, stop)
        rows = np.arange(start, stop)
        self.particles.metadata.select(rows).into_headers(h)
        h["LOCORIG"] = rows + 1
        for k, (f, i) in enumerate(zip(self.particles.file[start:stop], self.particles.image[start:stop], strict=True)):
            h["NAME"][k] = f"{i + 1:06d}@{self.paths[f].name}".encode("ascii", "replace")[:80]
        return h

    def close(self) -> None:
        """Close all stacks."""
        with self._lock:
            while self._readers:
                self._readers.popitem()[1][0].close()
