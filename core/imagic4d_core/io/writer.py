"""Writing stacks: temporary files beside the target, filled by any rank and thread, renamed together when complete."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from imagic4d_core import __version__
from imagic4d_core.errors import Im4dError, InputError, MismatchError, OutputError
from imagic4d_core.io import atomic, eman, imagic, mrc, spider, star
from imagic4d_core.io import header as hdr
from imagic4d_core.io.layout import read_into, reserve, row_order, turned, write_at
from imagic4d_core.io.outside import check_headers
from imagic4d_core.io.particles import Metadata
from imagic4d_core.io.starout import would_lose, write_star
from imagic4d_core.io.statistics import image_statistics, volume_statistics
from imagic4d_core.parallel import SERIAL

_MRC_ENDS = (".mrc", ".mrcs", ".map", ".ccp4", ".rec", ".st", ".ali")
_ENDS = dict.fromkeys(_MRC_ENDS, "MRC") | {".star": "MRC", ".spi": "SPIDER", ".stk": "SPIDER", ".vol": "SPIDER"}
_ENDS |= {".hdf": "HDF", ".h5": "HDF"}
_NOT_WRITTEN = (".xmp", ".cs", ".par", ".tif", ".tiff", ".png", ".em", ".dm3", ".dm4", ".lst")
_TYPE_OF = {"f4": "REAL", "i4": "LONG", "i2": "INTG", "u1": "PACK", "c8": "COMP"}
_MRC_DTYPES = ("i1", "i2", "f4", "c8", "u2", "f2")
_HEADER_CHUNK = 4096
#: Bytes of densities read at a time for their statistics.
_MEASURED = 1 << 23


def output_format(path: str | os.PathLike) -> str:
    """Format by the extension: ``"IMAGIC"`` (.hed, .img or none), ``"MRC"`` (.star: with a list), ``"SPIDER"`` or ``"HDF"``.

    Raises
    ------
    OutputError
        An extension of a format that is not written, or no file name at all.
    """
    if os.path.basename(os.fspath(path)) in ("", ".", "..", ".hed", ".img"):
        raise OutputError(f"{path}: is no file name; give one, such as {os.path.join(os.path.dirname(path), 'images.hed')}")
    if atomic.is_special(path):
        raise OutputError(f"{path}: is a pipe or a device; outputs appear whole under a file name, give one")
    end = Path(path).suffix.lower()
    if end in _NOT_WRITTEN:
        raise OutputError(
            f"{path}: files ending in {end} are not written; use a name ending in .hed, .mrc, .mrcs, .map, .star, .spi or .hdf"
        )
    return _ENDS.get(end, "IMAGIC")


def output_paths(path: str | os.PathLike) -> list[Path]:
    """The files a stack of this name consists of: densities first, header last (MRC, SPIDER, HDF: the one file)."""
    if Path(path).suffix.lower() == ".star":
        return [Path(path).with_suffix(".mrcs"), Path(path)]
    if output_format(path) != "IMAGIC":
        return [Path(path)]
    hed, img = imagic.pair_of(path)
    return [img, hed]


def half_names(path: str | os.PathLike) -> tuple[str, str]:
    """Names of the files of two half sets: ``x.hed`` -> ``x_a.hed``, ``x_b.hed``."""
    stem, ext = os.path.splitext(path)
    return f"{stem}_a{ext}", f"{stem}_b{ext}"


def check_output(path: str | os.PathLike, overwrite: bool) -> None:
    """Refuse a stack that cannot be made, before any work is done (OutputError)."""
    for file in output_paths(path):
        atomic.check_new(file, overwrite)


class StackWriter:
    """A file being written. Made by `create_stack`; a context manager.

    On a clean exit what is missing in the headers is filled in, the files are flushed to the device and renamed together; after
    an exception nothing remains. `write` and `set_headers` may be called by any rank and thread on disjoint images; headers that
    come after their densities are touched only once.

    Attributes
    ----------
    path : Path
    objects, sections, lines, pixels : int
    dtype : numpy.dtype
        As stored.
    """

    def __init__(
        self, path: str | os.PathLike, shape: tuple[int, int, int, int], pixel_size: float | None, overwrite: bool, comm: Any,
        dtype: np.dtype, rows: str, type_word: str | None, nblocks: int, origin: tuple[float, float, float], volumes: bool | None,
    ):  # fmt: skip
        self.objects, self.sections, self.lines, self.pixels = (int(k) for k in shape)
        self.is_volumes = self.sections > 1 if volumes is None else volumes
        self.pixel_size, self.comm, self.overwrite, self.rows, self.origin = pixel_size, comm, overwrite, rows, origin
        self.format = output_format(path)
        self.path = imagic.pair_of(path)[0] if self.format == "IMAGIC" else output_paths(path)[0]
        #: a STAR list is written even where it says nothing but names
        self.listed = Path(path).suffix.lower() == ".star"
        if self.listed and self.is_volumes:
            raise OutputError(f"{path}: a STAR file lists images, not volumes; write volumes to a name ending in .mrc")
        if self.format == "HDF":
            eman.need(path)
        if min(shape) < 1:
            raise OutputError(
                f"{path}: nothing to write, the shape is {' x '.join(map(str, shape))}; each size must be at least 1"
            )
        self.dtype = self._stored(dtype)
        self.type_word = type_word if type_word in hdr.TYPES else _TYPE_OF.get(self.dtype.str[1:], "REAL")
        self.nblocks = nblocks if self.format == "IMAGIC" else 1
        self.offset = 1024 if self.format == "MRC" else 0
        self.plane = self.lines * self.pixels * self.dtype.itemsize
        #: per image: mean, variance, minimum, maximum; 1 = written, statistics known, 2 = copied, keep the header's;
        #: 1 = header written, 2 = with its statistics
        self._seen = np.zeros((self.n_images, 6))
        self._left_to_commit = False  # from then on `atomic.commit` looks after the temporary files
        self._lost: OutputError | None = None
        #: line for word 200 of the headers
        self.history = ""
        names, self._created = self._on_root(lambda: (self._make_temps(), hdr.creation_time()))
        self._data_tmp, self._head_tmp = names
        self._data_fd = os.open(self._data_tmp, os.O_RDWR)
        self._head_fd = os.open(self._head_tmp, os.O_RDWR)

    @property
    def n_images(self) -> int:
        """Images, or sections of all volumes."""
        return self.objects * self.sections

    def _stored(self, dtype: np.dtype) -> np.dtype:
        code = np.dtype(dtype).str[1:]
        if self.format == "IMAGIC":
            code = {"i1": "i2", "u2": "i4", "c16": "c8"}.get(code, code)
            return np.dtype(f"<{code}" if code in _TYPE_OF else "<f4")
        if self.format != "MRC":
            return np.dtype("<f4")
        code = {"u1": "u2", "i4": "f4", "c16": "c8"}.get(code, code)
        return np.dtype(f"<{code}" if code in _MRC_DTYPES else "<f4")

    def _on_root(self, func: Callable[[], Any]) -> Any:
        """Run on rank 0 and give all ranks its result, or its error."""
        outcome: Any = None
        if self.comm.rank == 0:
            try:
                outcome = (True, func())
            except Im4dError as error:
                outcome = (False, error)
        good, value = self.comm.bcast(outcome)
        if not good:
            raise value
        return value

    def _targets(self) -> list[Path]:
        if self.listed:
            return [self.path, star.sidecar(self.path)]
        return output_paths(self.path)

    def _make_temps(self) -> tuple[Path, Path]:
        for target in self._targets():
            atomic.check_new(target, self.overwrite)
        if self.format == "MRC" and not self.listed:
            self._check_list()
        size = self._at(self.n_images - 1) + self.plane
        heads = size if self.format == "HDF" else self.n_images * self.nblocks * hdr.RECORD
        atomic.check_room(self.path, size + heads)
        data = atomic.create_temp(self._targets()[0])
        try:
            head = atomic.create_temp(self._targets()[-1])
        except BaseException:
            atomic.discard([data])
            raise
        try:
            reserve(data, size)
            reserve(head, self.n_images * self.nblocks * hdr.RECORD)
        except OSError as error:
            atomic.discard([data, head])
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        except BaseException:
            atomic.discard([data, head])
            raise
        return data, head

    def _check_list(self) -> None:
        """Refuse to replace a list beside the file that says more than would be written: images of other files, other columns."""
        side = star.sidecar(self.path)
        if not side.is_file():
            return
        try:
            rows = star.rows_of(side, self.path)
            more = "images of other files" if (rows < 0).any() else would_lose(side)
        except InputError:
            return
        if more:
            self._lost = OutputError(
                f"{side}: belongs to {self.path.name} by its name, and would lose what it says beyond poses and CTF ({more}); "
                "choose another name for the output, or move the list away"
            )
            if (rows >= 0).any():
                raise self._lost

    def _at(self, image: int) -> int:
        """Byte at which an image or section begins."""
        if self.format == "SPIDER":
            return spider.place(image, self.objects, self.sections, self.lines, self.pixels)
        return self.offset + image * self.plane

    def _span(self, start: int, count: int) -> None:
        if start < 0 or start + count > self.n_images:
            raise ValueError(f"{self.path}: images {start}..{start + count} are not inside 0..{self.n_images}")

    def _convert(self, array: NDArray) -> NDArray:
        if array.dtype.kind == "c" and self.dtype.kind != "c":
            advice = "write type COMP" if self.format in ("IMAGIC", "MRC") else f"{self.format} files hold real ones only"
            raise MismatchError(f"{self.path}: complex densities cannot be written as {self.dtype.name}; {advice}")
        if self.dtype.kind in "iu" and array.dtype != self.dtype:
            info = np.iinfo(self.dtype)
            rounded = np.rint(array) if array.dtype.kind == "f" else array
            low, high = rounded.min(), rounded.max()
            if not (low >= info.min and high <= info.max):
                raise OutputError(
                    f"{self.path}: densities from {low:g} to {high:g} do not fit {self.dtype.name} ({info.min} to {info.max}); "
                    "write them as REAL"
                )
            array = rounded
        return np.ascontiguousarray(array, dtype=self.dtype)

    def write(self, start: int, array: ArrayLike) -> None:
        """Write images.

        Parameters
        ----------
        start : int
            0-based number of the first image or section.
        array : array_like, shape (n, lines, pixels) or (lines, pixels)
            Integer types are rounded to.

        Raises
        ------
        MismatchError
            Wrong size of image.
        OutputError
            The device is full, or densities do not fit the type.
        """
        data = np.asarray(array)
        data = data[None] if data.ndim == 2 else data
        if data.ndim != 3 or data.shape[1:] != (self.lines, self.pixels):
            raise MismatchError(f"{self.path}: images of {self.lines} x {self.pixels} are needed, not {data.shape}")
        if not len(data):
            return
        self._span(start, len(data))
        stored = self._convert(data)
        seen = self._seen[start : start + len(data)]
        seen[:, :4] = image_statistics(stored) + 0.0  # no -0: sums over ranks lose its sign
        seen[:, 4] = 1
        seen[:, 5] = np.minimum(seen[:, 5], 1)
        if self.format in ("MRC", "HDF") and self.rows != "keep":
            stored = turned(stored, row_order(self.lines, self.rows))
        a = 0
        while a < len(stored):  # in one piece, but for SPIDER, which has a header before each object
            b = min(len(stored), a + self.sections - (start + a) % self.sections) if self.format == "SPIDER" else len(stored)
            write_at(self._data_fd, self._at(start + a), stored[a:b], self.path)
            a = b

    def write_volumes(self, start: int, array: ArrayLike) -> None:
        """Write volumes, shape (n, sections, lines, pixels) or (sections, lines, pixels), from 0-based volume `start` on."""
        data = np.asarray(array)
        data = data[None] if data.ndim == 3 else data
        if data.ndim != 4 or data.shape[1:] != (self.sections, self.lines, self.pixels):
            raise MismatchError(
                f"{self.path}: volumes of {self.sections} x {self.lines} x {self.pixels} are needed, not {data.shape}"
            )
        self.write(start * self.sections, data.reshape(-1, self.lines, self.pixels))

    def copy_bytes(self, source_fd: int, source_offset: int, start: int, count: int, source: str | os.PathLike) -> None:
        """Copy densities of `count` images, from `start` on, byte by byte from another file.

        Headers of images keep their statistics; that of an MRC file is made new.
        """
        self._span(start, count)
        place, size = self.offset + start * self.plane, count * self.plane
        copy_range(source_fd, source_offset, self._data_fd, place, size, source, self.path)
        self._seen[start : start + count, 4] = 2
        if self.format == "MRC":
            self._measure(start, count)

    def _measure(self, start: int, count: int) -> None:
        """Statistics of images that stand in the file already."""
        step = max(1, _MEASURED // self.plane)
        for k in range(start, start + count, step):
            n = min(step, start + count - k)
            data = read_into(self._data_fd, self._at(k), np.empty((n, self.lines, self.pixels), self.dtype), self.path)
            self._seen[k : k + n, :4], self._seen[k : k + n, 4] = image_statistics(data) + 0.0, 1

    def set_headers(self, start: int, records: NDArray) -> None:
        """Write header records from image `start` on; the words that depend on the file are set right.

        Parameters
        ----------
        start : int
        records : ndarray, shape (n,), `HEADER_DTYPE`
        """
        self._span(start, len(records))
        raw = hdr.to_bytes(records)
        h = raw.view(hdr.HEADER_DTYPE)[:, 0]
        self._geometry(h, start)
        if self.history:
            hdr.add_history(h, self.history)
        self._fill(h, start)
        self._write_records(raw, start)

    def set_extra(self, start: int, values: NDArray | None) -> None:
        """Write the further header records, float32, shape (n, (nblocks - 1) * 256); None where there are none."""
        if self.nblocks == 1 or values is None:
            return
        for k, row in enumerate(np.ascontiguousarray(values, "<f4")):
            write_at(self._head_fd, ((start + k) * self.nblocks + 1) * hdr.RECORD, row, self.path)

    def _geometry(self, h: NDArray, start: int) -> None:
        hdr.set_geometry(h, start, self.objects, self.sections, self.lines, self.pixels, self.type_word, self.nblocks)

    def _fill(self, h: NDArray, start: int) -> None:
        """Creation time, pixel size and, where they are known, statistics into the records of images from `start` on."""
        fresh = h["NYEAR"] == 0
        if fresh.any():
            for name, value in zip(("NMONTH", "NDAY", "NYEAR", "NHOUR", "NMINUT", "NSEC"), self._created, strict=True):
                h[name][fresh] = value
        if self.pixel_size is not None:
            h["PIXSIZE"] = self.pixel_size
        seen = self._seen[start : start + len(h)]
        values, known = seen[:, :4], seen[:, 4] == 1
        if self.is_volumes:
            # as the vendor does, every section carries the statistics of its volume
            first = -start % self.sections
            last = first + max(0, len(h) - first) // self.sections * self.sections
            whole = known[first:last].reshape(-1, self.sections).all(1)
            known[:first] = known[last:] = False
            known[first:last] = np.repeat(whole, self.sections)
            values = np.zeros_like(values)
            block = seen[first:last, :4].reshape(-1, self.sections, 4)
            values[first:last] = np.repeat(volume_statistics(block), self.sections, axis=0)
        if known.any():
            with np.errstate(over="ignore", invalid="ignore"):
                h["AVDENS"][known] = values[known, 0]
                h["SIGMA"][known] = np.sqrt(values[known, 1])
                h["DENSMIN"][known] = values[known, 2]
                h["DENSMAX"][known] = values[known, 3]
        seen[:, 5] = 1 + known

    def _write_records(self, raw: NDArray[np.uint8], start: int) -> None:
        if self.nblocks == 1:
            write_at(self._head_fd, start * hdr.RECORD, raw, self.path)
            return
        for k, part in enumerate(raw):
            write_at(self._head_fd, (start + k) * self.nblocks * hdr.RECORD, part, self.path)

    def _read_records(self, start: int, stop: int) -> NDArray:
        raw = np.empty((stop - start, self.nblocks * hdr.RECORD), np.uint8)
        read_into(self._head_fd, start * self.nblocks * hdr.RECORD, raw, self.path)
        return np.ascontiguousarray(raw[:, : hdr.RECORD]).view(hdr.HEADER_DTYPE)[:, 0]

    def _finish(self, seen: NDArray[np.float64]) -> None:
        """Rank 0, after all have written: complete the headers and rename."""
        missing = np.flatnonzero(seen[:, 4] == 0)
        if len(missing):
            raise RuntimeError(f"{self.path}: image {missing[0] + 1} and {len(missing) - 1} others were never written")
        self._seen = seen
        self._complete_headers()
        pairs = list(zip([self._data_tmp, self._head_tmp], self._targets(), strict=False))
        if self.format == "MRC":
            pairs = self._finish_mrc(seen)
        elif self.format != "IMAGIC":
            pairs = self._finish_spider() if self.format == "SPIDER" else self._finish_hdf()
        self._left_to_commit = True
        atomic.commit(pairs)

    def _complete_headers(self) -> None:
        """Records that nobody set, and those whose statistics came after them."""
        seen = self._seen
        late = (seen[:, 5] == 0) | ((seen[:, 5] == 1) & (seen[:, 4] == 1))
        windows = max(1, _HEADER_CHUNK // self.sections) * self.sections
        for start in range(0, self.n_images, windows):
            stop = min(self.n_images, start + windows)
            if not late[start:stop].any():
                continue
            h = self._read_records(start, stop)
            if (seen[start:stop, 5] == 0).any():
                self._geometry(h, start)
                if self.history:
                    hdr.add_history(h, self.history)
            self._fill(h, start)
            self._write_records(hdr.to_bytes(h), start)

    def _metadata(self) -> Metadata:
        """What the headers say of the objects, as far as it goes into other formats."""
        parts = []
        for start in range(0, self.n_images, _HEADER_CHUNK):
            h = self._read_records(start, min(self.n_images, start + _HEADER_CHUNK))
            check_headers(h, self.path, start + 1)
            parts.append(Metadata.from_headers(h[(-start) % self.sections :: self.sections], not self.is_volumes))
        return Metadata.concatenate(parts)

    def _finish_mrc(self, seen: NDArray[np.float64]) -> list[tuple[Path, Path]]:
        statistics = (0.0, -1.0, -2.0, -1.0)
        if (seen[:, 4] == 1).all() and np.isfinite(seen).all():
            mean = float(seen[:, 0].mean())
            rms = float(np.sqrt((seen[:, 1] + np.square(seen[:, 0] - mean)).mean()))
            statistics = (float(seen[:, 2].min()), float(seen[:, 3].max()), mean, rms)
        known = self._metadata()
        head = mrc.build_header(
            self.objects, self.sections, self.lines, self.pixels, self.dtype, pixel_size=self.pixel_size, volumes=self.is_volumes,
            origin=self.origin, statistics=statistics, labels=self._made_of(),
        )  # fmt: skip
        write_at(self._data_fd, 0, head, self.path)
        pairs = [(self._data_tmp, self.path)]
        side = star.sidecar(self.path)
        if self.listed or known.any_set() or self._outdates(side):
            if self._lost is not None:
                raise self._lost
            atomic.check_new(side, self.overwrite)
            with open(self._head_tmp, "w", encoding="utf-8", errors="surrogateescape") as handle:
                # RELION looks from the project's folder, where the command was given
                name = str(self.path) if self.listed and not self.path.is_absolute() else self.path.name
                write_star(handle, known, name, self.pixel_size, self.pixels, self.is_volumes)
            pairs.append((self._head_tmp, side))
        else:
            atomic.discard([self._head_tmp])
        return pairs

    def _made_of(self) -> list[bytes]:
        """Lines of the histories of volumes, or of projections of such, that tell which images those were made of.

        An MRC file has one history for all its objects, so of volumes that left out images, each other ones, nothing is kept.
        """
        found: list[bytes] = []
        for start in range(0, self.n_images, _HEADER_CHUNK):
            h = self._read_records(start, min(self.n_images, start + _HEADER_CHUNK))
            found += hdr.made_of_lines(h["HISTORY"][(h["IM4DTAG"] != hdr.TAG) | (h["FOLD"] == 0)].tolist())
        return list(dict.fromkeys(found))

    def _outdates(self, side: Path) -> bool:
        """Whether a STAR file tells of the images that are replaced: its poses are not those of the new ones."""
        if not (self.path.exists() and side.is_file()):
            return False
        try:
            return star.count_images(side, self.path) > 0
        except InputError:
            return False

    def _statistics(self) -> NDArray[np.float64]:
        """Mean, variance, minimum and maximum of the objects, shape (objects, 4)."""
        return volume_statistics(self._seen[:, :4].reshape(self.objects, self.sections, 4))

    def _finish_spider(self) -> list[tuple[Path, Path]]:
        shape, statistics = (self.objects, self.sections, self.lines, self.pixels), self._statistics()
        for k in range(self.objects + 1 if self.objects > 1 else 1):
            mean, var, low, high = statistics[max(0, k - 1)]
            at = 0 if k == 0 else self._at((k - 1) * self.sections) - spider.label_bytes(self.pixels)
            head = spider.build_header(
                *shape, number=k, pixel_size=self.pixel_size, statistics=(mean, float(np.sqrt(var)), low, high),
                when=self._created, title="Written by im4d",
            )  # fmt: skip
            write_at(self._data_fd, at, head, self.path)
        atomic.discard([self._head_tmp])
        return [(self._data_tmp, self.path)]

    def _finish_hdf(self) -> list[tuple[Path, Path]]:
        def read(k: int) -> NDArray:
            out = np.empty((self.sections, self.lines, self.pixels), self.dtype)
            return read_into(self._data_fd, self._at(k * self.sections), out, self.path)

        known = self._metadata()
        try:
            shape = (self.objects, self.sections, self.lines, self.pixels)
            eman.write_hdf(self._head_tmp, read, known, shape, self.pixel_size, self._statistics())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error}") from error
        atomic.discard([self._data_tmp])
        return [(self._head_tmp, self.path)]

    def _shut(self) -> None:
        for fd in (self._data_fd, self._head_fd):
            os.close(fd)

    def __enter__(self) -> "StackWriter":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self._shut()
            atomic.discard([self._data_tmp, self._head_tmp])
            return
        try:
            seen = self.comm.allreduce(self._seen)
            self._on_root(lambda: self._finish(seen))
        except BaseException:
            self._shut()
            if not self._left_to_commit:
                atomic.discard([self._data_tmp, self._head_tmp])
            raise
        self._shut()


def create_stack(
    path: str | os.PathLike, objects: int, sections: int, lines: int, pixels: int, *, pixel_size: float | None = None,
    overwrite: bool = False, comm: Any = SERIAL, dtype: DTypeLike = np.float32, rows: str = "centre",
    type_word: str | None = None, nblocks: int = 1, origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    volumes: bool | None = None, history: str = "",
) -> StackWriter:  # fmt: skip
    """Begin to write a stack of images (`sections` 1) or volumes.

    Parameters
    ----------
    path : path
        ``.hed``, ``.img`` or no extension: an IMAGIC pair; ``.mrc``, ``.mrcs``, ``.map``: MRC, with poses in ``NAME.star``;
        ``.star``: ``NAME.mrcs`` with its list; ``.spi``, ``.stk``, ``.vol``: SPIDER; ``.hdf``: EMAN2.
    objects, sections, lines, pixels : int
        Shape of the file.
    pixel_size : float or None
        Angstrom; None keeps what the headers say.
    overwrite : bool
        Replace existing files.
    comm : Comm
        All ranks open the same file together.
    dtype : dtype
        float32, int32, int16, uint8 or complex64 (IMAGIC); where the format lacks the type, the next larger one.
    rows : {"centre", "plain", "keep"}
        How lines are turned for MRC, see `layout.row_order`.
    type_word : str, optional
        ``"RECO"`` in place of ``"COMP"``.
    nblocks : int
        Header records per image.
    origin : tuple of float
        MRC ORIGIN, angstrom.
    volumes : bool, optional
        Whether objects are volumes; by default those of more than one section.
    history : str
        What made the images; goes, with the version, into word 200 of their headers.

    Raises
    ------
    OutputError
        The file exists, its folder is missing or cannot be written, or the format is not written.
    """
    shape = (objects, sections, lines, pixels)
    out = StackWriter(path, shape, pixel_size, overwrite, comm, np.dtype(dtype), rows, type_word, nblocks, origin, volumes)
    if history:
        out.history = f"im4d-{__version__}:{history}"
    return out


def copy_range(
    source_fd: int, source_offset: int, fd: int, offset: int, count: int, source: str | os.PathLike, path: str | os.PathLike
) -> None:
    """Copy bytes between files inside the kernel (shared blocks where the file system can), or by large buffers."""
    done = 0
    in_kernel = hasattr(os, "copy_file_range")
    while done < count:
        try:
            if in_kernel:
                got = os.copy_file_range(source_fd, fd, min(count - done, 1 << 30), source_offset + done, offset + done)
            else:
                block = os.pread(source_fd, min(count - done, 1 << 23), source_offset + done)
                got = os.pwrite(fd, block, offset + done) if block else 0
        except OSError as error:
            if in_kernel and done == 0:
                in_kernel = False
                continue
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        if got == 0:
            if in_kernel and done == 0:
                in_kernel = False
                continue
            raise InputError(f"{source}: ends {count - done} bytes too early, at {source_offset + done}; the file is truncated")
        done += got
