"""One view of every file: an array ``(objects, sections, lines, pixels)`` with a header record per image or section.

Reading is by windows, writing goes to temporary names that are renamed together when everything is complete. All formats come out
in IMAGIC's line order (first line on top), with the centre at index ``N // 2``.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import Im4dError, InputError, MismatchError
from imagic4d_core.io import compressed, eman, imagic, listing, mrc, spider, star
from imagic4d_core.io.atomic import is_special, recover
from imagic4d_core.io.header import HEADER_DTYPE, set_geometry
from imagic4d_core.io.layout import check_finite
from imagic4d_core.io.locations import Locations, parse_locations, split_spec
from imagic4d_core.io.nearby import did_you_mean
from imagic4d_core.io.outside import check_headers
from imagic4d_core.io.writer import StackWriter, create_stack

__all__ = ["Stack", "StackWriter", "check_finite", "create_stack", "open_stack", "read_stack", "write_stack"]

log = logging.getLogger(__name__)

#: Bytes of float32 densities handled at a time by jobs that stream: they stay in the cache from reading to writing, and the C
#: library keeps memory of this size for the next block.
BLOCK_BYTES = 1 << 23
#: Scattered headers are read together where the records between are at most so many times as many.
_NEAR = 8
#: Header records read at a time where only some of their words are kept.
_WINDOW = 8192


def _reader(name: str, rows: str | None, chain: tuple[str, ...] = ()) -> Any:
    """The reader of a file: content decides, then the name. `chain` are the lists that led here."""
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder; a file is needed")
    if compressed.is_pipe(path):
        return _piped_reader(path, rows, chain)
    if is_special(path):
        raise InputError(f"{name}: is a device; a file or a pipe is needed")
    for file in {path, imagic.pair_of(name)[0]}:
        recover(file)
    if not path.is_file() or path.suffix.lower() in (".hed", ".img"):
        hed, img = imagic.pair_of(name)
        if hed.is_file() and img.is_file():
            return imagic.ImagicFile(name)
        if not path.is_file():
            if hed.is_file() or img.is_file():
                return imagic.ImagicFile(name)
            raise InputError(f"{name}: not found (nor {hed.name} and {img.name}, an IMAGIC pair){did_you_mean(name)}")
    try:
        with open(path, "rb") as handle:
            raw = handle.read(1024)
            size = os.fstat(handle.fileno()).st_size
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error
    if compressed.is_compressed(raw):
        return _unpacked_reader(path, rows, chain)
    if mrc.parse(raw, size) is not None:
        return mrc.MrcFile(path, rows or "centre")
    if path.suffix.lower() in (".hed", ".img"):
        return imagic.ImagicFile(name)
    if eman.is_hdf(raw):
        return eman.HdfFile(path, rows or "centre")
    if listing.is_listing(path, raw):
        return _list_reader(path, raw, rows, chain)
    if spider.parse(raw) is not None:
        return spider.SpiderFile(path)
    what = "is empty" if not size else "is neither IMAGIC, MRC, SPIDER, EMAN2 HDF, STAR, cryoSPARC nor FREALIGN"
    raise InputError(f"{name}: {what}; a file of one of these formats is needed")


def _list_reader(path: Path, raw: bytes, rows: str | None, chain: tuple[str, ...]) -> Any:
    """The reader of a list, whose stacks may be lists again, but not the list itself."""
    real = os.path.realpath(path)
    if real in chain:
        raise InputError(f"{path}: is a list that names itself" + (f", by way of {chain[-1]}" if chain[-1] != real else ""))
    chain = (*chain, real)

    def size_of(stack: Path) -> float | None:
        reader = _reader(str(stack), rows, chain)
        with Stack(reader) as images:
            return images.pixel_size

    return listing.ListedFile(path, raw, lambda stack: _reader(stack, rows, chain), size_of)


def _piped_reader(path: Path, rows: str | None, chain: tuple[str, ...]) -> Any:
    """The reader of what comes through a pipe; a list finds its stacks from the current folder."""
    file = compressed.on_disk(path)
    with open(file, "rb") as handle:
        raw = handle.read(1024)
    if not compressed.is_compressed(raw) and listing.is_listing(file, raw):
        return _list_reader(path, raw, rows, chain)
    return _named(path, file, rows)


def _named(path: Path, file: Path, rows: str | None) -> Any:
    """The reader of a temporary file that stands for `path`."""
    try:
        reader = _reader(str(file), rows)
    except Im4dError as error:
        raise type(error)(str(error).replace(str(file), str(path))) from error
    reader.path = reader.layout.path = path
    return reader


def _unpacked_reader(path: Path, rows: str | None, chain: tuple[str, ...]) -> Any:
    """The reader of what is in a compressed file; a list finds its stacks from where the compressed one lies."""
    with compressed.open_plain(path) as handle:
        try:
            raw = handle.read(1024)
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{path}: cannot be unpacked: {error}") from error
    if listing.is_listing(compressed.plain_name(path), raw):
        return _list_reader(path, raw, rows, chain)
    name = compressed.unpacked(path)
    try:
        reader = _named(path, name, rows)
    finally:
        compressed.remove(name)
    reader.layout.notes.append("compressed: unpacked while it is read")
    return reader


class Stack:
    """An open file, or some locations of it. Made by `open_stack`; a context manager; reading is safe for several threads.

    Attributes
    ----------
    path : Path
        For messages; the .hed of an IMAGIC pair.
    format : str
        ``"IMAGIC"``, ``"MRC"``, ``"SPIDER"``, ``"HDF"``, or of a list of images ``"STAR"``, ``"CRYOSPARC"``, ``"FREALIGN"``,
        ``"CISTEM"``.
    objects, sections, lines, pixels : int
    is_volumes : bool
    pixel_size : float or None
        Angstrom.
    dtype : numpy.dtype
        As stored, native byte order.
    notes : list of str
        Doubts about the file and how they were settled.
    """

    def __init__(self, reader: Any, index: NDArray[np.intp] | None = None, as_images: bool = False):
        layout = reader.layout
        self.reader, self.layout, self._index = reader, layout, index
        self.path, self.format, self.notes = layout.path, layout.format, layout.notes
        self.lines, self.pixels = layout.lines, layout.pixels
        self.sections = 1 if as_images else layout.sections
        self.is_volumes = self.sections > 1
        count = layout.n_images if index is None else len(index)
        self.objects = count // self.sections
        self.pixel_size = layout.pixel_size
        self.dtype = layout.dtype.newbyteorder("=")
        self._sidecar: Any = None
        if layout.format == "MRC":
            self._load_sidecar()

    @property
    def n_images(self) -> int:
        """Images, or sections of all volumes."""
        return self.objects * self.sections

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(objects, sections, lines, pixels)."""
        return self.objects, self.sections, self.lines, self.pixels

    @property
    def is_complex(self) -> bool:
        """Whether densities are complex (COMP, RECO, MRC modes 3 and 4)."""
        return self.dtype.kind == "c"

    @property
    def index(self) -> NDArray[np.intp] | None:
        """0-based image numbers in the file, None for all of them."""
        return self._index

    @property
    def origin(self) -> tuple[float, float, float]:
        """ORIGIN of an MRC map, x, y, z in angstrom; 0 of other files, and of images picked out of one."""
        if self._index is not None and not self.is_volumes:
            return 0.0, 0.0, 0.0
        x, y, z = getattr(self.reader, "origin", (0.0, 0.0, 0.0))
        return x, y, z

    @property
    def locations(self) -> NDArray[np.intp]:
        """Locations in the file, from 1, of the objects of this view."""
        return np.arange(1, self.objects + 1) if self._index is None else self._index[:: self.sections] // self.sections + 1

    def _load_sidecar(self) -> None:
        path = star.sidecar(self.path)
        if not path.is_file():
            return
        objects = self.layout.objects
        try:
            found, size = star.read_sidecar(path, self.path, objects, self.pixel_size)
        except InputError as error:
            # a STAR file that merely has the same name must not make the densities unreadable
            self.notes.append(f"{error}; not used")
            log.warning("%s; not used", error)
            return
        self._sidecar = found if found.known else None
        if found.known or self.pixel_size is None:
            self.pixel_size = size or self.pixel_size
            self.layout.pixel_size = self.pixel_size

    def _check(self, start: int, stop: int | None, count: int) -> tuple[int, int]:
        stop = count if stop is None else stop
        if not 0 <= start <= stop <= count:
            raise ValueError(f"{self.path}: {start}..{stop} is not inside 0..{count}")
        return start, stop

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Contiguous runs (place in the output, start, stop in the file) of images `start` to `stop`."""
        if self._index is None:
            yield 0, start, stop
            return
        part = self._index[start:stop]
        edges = np.flatnonzero(np.diff(part) != 1) + 1
        for a, b in zip([0, *edges], [*edges, len(part)], strict=True):
            if b > a:
                yield int(a), int(part[a]), int(part[b - 1]) + 1

    def read_raw(self, start: int = 0, stop: int | None = None) -> NDArray:
        """Images as stored (any type), native byte order, shape (n, lines, pixels)."""
        start, stop = self._check(start, stop, self.n_images)
        parts = [self.reader.read_raw(a, b) for _, a, b in self.runs(start, stop)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.lines, self.pixels), self.dtype)

    def read(self, start: int = 0, stop: int | None = None, *, finite: bool = True) -> NDArray[np.float32]:
        """Images `start` to `stop` (0-based, `stop` excluded; sections counted one by one).

        Parameters
        ----------
        start, stop : int
        finite : bool
            Refuse NaN and infinite densities.

        Returns
        -------
        ndarray, shape (n, lines, pixels), float32

        Raises
        ------
        InputError
            Densities that are not finite, complex densities, or a file cut short meanwhile.
        """
        raw = self.read_raw(start, stop)
        if raw.dtype.kind == "c":
            if self.layout.type_word != "RECO":
                raise InputError(f"{self.path}: holds complex densities ({self.layout.type_word}); real ones are needed here")
            raw = raw.real
        out = np.ascontiguousarray(raw, dtype=np.float32)
        if finite and len(out):
            first = start if self._index is None else 0
            try:
                check_finite(out, self.path, first)
            except InputError:
                if self._index is None:
                    raise
                for k in range(len(out)):
                    check_finite(out[k : k + 1], self.path, int(self._index[start + k]))
        return out

    def read_complex(self, start: int = 0, stop: int | None = None) -> NDArray[np.complex64]:
        """Images `start` to `stop` as complex64."""
        return self.read_raw(start, stop).astype(np.complex64, copy=False)

    def read_volumes(self, start: int = 0, stop: int | None = None, *, finite: bool = True) -> NDArray[np.float32]:
        """Objects `start` to `stop`, shape (n, sections, lines, pixels), float32; errors as `read`."""
        start, stop = self._check(start, stop, self.objects)
        out = self.read(start * self.sections, stop * self.sections, finite=finite)
        return out.reshape(stop - start, self.sections, self.lines, self.pixels)

    def headers(self, start: int = 0, stop: int | None = None, *, checked: bool = True) -> NDArray:
        """Header records, one per image or section, shape (n,), `HEADER_DTYPE`; numbered as in this view.

        For MRC and SPIDER they are made up; poses come from the STAR file beside an MRC file.

        Parameters
        ----------
        start, stop : int
        checked : bool
            Refuse records with a word that cannot be reckoned with (see `outside`); false: to look at them, or to mend them.

        Raises
        ------
        InputError
            Such a word, or a file cut short meanwhile.
        """
        start, stop = self._check(start, stop, self.n_images)
        if self._index is None and self.sections == self.layout.sections:
            h = self._file_headers(start, stop)
        else:
            h = self.file_headers(start, stop)
            set_geometry(h, start, self.objects, self.sections, self.lines, self.pixels, self.layout.type_word)
        if checked:
            numbers = np.arange(start, stop) + 1 if self._index is None else self._index[start:stop] + 1
            check_headers(h, self.path, numbers, "section" if self.layout.is_volumes else "image")
        return h

    def columns(self, names: Iterable[str]) -> NDArray:
        """Some header words of all images or sections, read in windows: as `headers`, of no more memory than they need.

        Returns
        -------
        ndarray, shape (n,), structured
            A field for each word.
        """
        wanted = list(dict.fromkeys(names))
        out = np.empty(self.n_images, np.dtype([(name, HEADER_DTYPE[name]) for name in wanted]))
        for start, stop in self.blocks(_WINDOW):
            h = self.headers(start, stop)
            for name in wanted:
                out[name][start:stop] = h[name]
        return out

    def file_headers(self, start: int = 0, stop: int | None = None) -> NDArray:
        """As `headers`, but numbered and counted as in the file, not as in this view."""
        start, stop = self._check(start, stop, self.n_images)
        if self._index is not None and stop - start > 16:
            part = self._index[start:stop]
            low, high = int(part.min()), int(part.max()) + 1
            if high - low <= _NEAR * len(part):  # one read of all that lies between, rather than one for each record
                return self._file_headers(low, high)[part - low]
        out = np.empty(stop - start, HEADER_DTYPE)  # numpy concatenates records of many fields slowly
        for place, a, b in self.runs(start, stop):
            out[place : place + b - a] = self._file_headers(a, b)
        return out

    def _file_headers(self, start: int, stop: int) -> NDArray:
        h = self.reader.headers(start, stop)
        if self._sidecar is not None:
            self._sidecar.select(np.arange(start, stop) // self.layout.sections).into_headers(h)
        if self.pixel_size and self.format in ("MRC", "SPIDER"):
            h["PIXSIZE"] = self.pixel_size
        return h

    def extra_headers(self, start: int = 0, stop: int | None = None) -> NDArray | None:
        """Further IMAGIC header records (NBLOCKS above 1), float32, shape (n, (NBLOCKS - 1) * 256); None where there are none."""
        if self.nblocks == 1:
            return None
        start, stop = self._check(start, stop, self.n_images)
        return np.concatenate([self.reader.extra_headers(a, b) for _, a, b in self.runs(start, stop)])

    @property
    def nblocks(self) -> int:
        """Header records per image that can be carried along."""
        return self.reader.nblocks if self.format == "IMAGIC" and not self.reader.per_volume else 1

    def blocks(self, size: int | None = None) -> Iterator[tuple[int, int]]:
        """Windows (start, stop) of images that together cover the stack, each about `BLOCK_BYTES` of float32."""
        step = size or max(1, BLOCK_BYTES // (self.lines * self.pixels * 4))
        for start in range(0, self.n_images, step):
            yield start, min(self.n_images, start + step)

    def close(self) -> None:
        """Close the file; once is enough, twice does no harm."""
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_stack(
    spec: str | os.PathLike, loc: str | Locations | None = None, *, what: str = "auto", rows: str | None = None
) -> Stack:
    """Open images or volumes of any format.

    Parameters
    ----------
    spec : path
        ``NAME``, ``NAME.hed``, ``FILE.mrc`` ..., with IMAGIC's locations behind it: ``NAME,3`` or ``NAME,3,5``.
    loc : str or Locations, optional
        Locations like ``3-5,9,20-``.
    what : {"auto", "images", "volumes"}
        What locations count. ``images`` makes a file of volumes a stack of its sections; ``auto`` takes the file as it is.
    rows : {"centre", "plain", "keep"}, optional
        How the lines of an MRC file are turned; the default, ``centre``, keeps centre and hand.

    Returns
    -------
    Stack

    Raises
    ------
    InputError
        Missing, unknown, damaged or empty file, or a location out of range.
    MismatchError
        ``what="volumes"`` for a file of images.
    """
    name, inner = split_spec(spec)
    if inner is not None and loc is not None:
        raise MismatchError(f"{spec}: locations are given twice, in the name and by --loc; give them once")
    where = parse_locations(loc) if isinstance(loc, str) else (loc or inner)
    reader = _reader(name, rows)
    try:
        layout = reader.layout
        if what == "volumes" and not layout.is_volumes:
            doubt = "".join(f" ({note})" for note in layout.notes if "--what volumes" in note)
            raise MismatchError(
                f"{layout.path}: holds {layout.objects} images of {layout.lines} x {layout.pixels}; a file of volumes is needed"
                f"{doubt}"
            )
        as_images = what == "images" and layout.is_volumes
        index = None
        if where is not None:
            if as_images or not layout.is_volumes:
                index = where.resolve(layout.n_images, layout.path, "sections" if as_images else "images")
            else:
                volumes = where.resolve(layout.objects, layout.path, "volumes")
                index = (volumes[:, None] * layout.sections + np.arange(layout.sections)).ravel()
            if len(index) == layout.n_images and np.array_equal(index, np.arange(layout.n_images)):
                index = None
        stack = Stack(reader, index, as_images)
        for note in stack.notes:
            log.info("%s: %s", stack.path, note)
        return stack
    except Im4dError:
        reader.close()
        raise


def read_stack(spec: str | os.PathLike, **opts: Any) -> tuple[NDArray[np.float32], NDArray]:
    """All densities, shape (objects, lines, pixels) or (objects, sections, lines, pixels), and all headers."""
    with open_stack(spec, **opts) as stack:
        data = stack.read_volumes() if stack.is_volumes else stack.read()
        return data, stack.headers()


def write_stack(
    path: str | os.PathLike,
    array: ArrayLike,
    headers: NDArray | None = None,
    *,
    pixel_size: float | None = None,
    overwrite: bool = False,
) -> None:
    """Write an array, shape (n, lines, pixels) or (n, sections, lines, pixels), in one go; see `create_stack`."""
    data = np.asarray(array)
    if data.ndim not in (3, 4) or 0 in data.shape:
        raise ValueError(f"an array of shape {data.shape} is no stack; (n, [sections,] lines, pixels) is needed")
    shape = data.shape if data.ndim == 4 else (data.shape[0], 1, *data.shape[1:])
    dtype = data.dtype if data.dtype.str[1:] in ("u1", "i2", "i4", "c8") else np.dtype(np.float32)
    with create_stack(path, *shape, pixel_size=pixel_size, overwrite=overwrite, dtype=dtype) as out:
        out.write(0, data.reshape(-1, *shape[2:]))
        if headers is not None:
            out.set_headers(0, headers)
