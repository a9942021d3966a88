"""IMAGIC pairs ``NAME.hed`` + ``NAME.img``: what is in a file is decided by sizes, not by words others leave as garbage.

Source: imagic-format sheet, sections 1 to 5 and 8.
"""

import itertools
import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io import header as hdr
from imagic4d_core.io.atomic import recover
from imagic4d_core.io.layout import Layout, open_fd, read_into

Order = Literal["<", ">"]

_LARGEST = 1 << 20


def pair_of(path: str | os.PathLike) -> tuple[Path, Path]:
    """The .hed and .img names of an IMAGIC file given as ``NAME``, ``NAME.hed`` or ``NAME.img``."""
    text = os.fspath(path)
    root = text[:-4] if text.lower().endswith((".hed", ".img")) else text
    upper = text.endswith((".HED", ".IMG"))
    return Path(root + (".HED" if upper else ".hed")), Path(root + (".IMG" if upper else ".img"))


def _plausible(word: NDArray) -> bool:
    return 1 <= word[12] <= _LARGEST and 1 <= word[13] <= _LARGEST


def _shape_of(
    word: NDArray, nblocks: int, hed_size: int, img_size: int, item: int, longer: bool = False
) -> tuple[int, int, int, list[str]] | None:
    """(objects, sections, headers per object) of one reading of the words, or None where sizes forbid it.

    `word` holds the first record's words as integers. With `longer`, the .img may have more than what all counts of the .hed
    announce alike: it was padded, or an append to it was broken off. Whole images more are rather those of another file.
    """
    records, rest = divmod(hed_size, hdr.RECORD * nblocks)
    plane = int(word[12]) * int(word[13]) * item
    planes, spare = divmod(img_size, plane)
    izlp, i4lp, follow = int(word[60]), int(word[61]), int(word[1])
    notes: list[str] = []
    if longer and spare and records <= planes and follow + 1 == records and (izlp * i4lp == records or i4lp < 1):
        planes, spare = records, 0
        notes.append(f"{img_size - records * plane} bytes behind the densities are ignored")
    if rest or spare or records < 1 or planes < 1:
        return None
    if records > planes:
        if follow + 1 != planes:
            return None
        notes.append(f"word 2 and the size of the .img give {planes} images, the .hed has {records} records; the rest is ignored")
        records = planes
    stamped = int(word[68]) in (hdr.LITTLE, hdr.BIG)
    if records == planes:
        sane = 1 < izlp <= planes and planes % izlp == 0
        if sane and (izlp * i4lp == planes or (stamped and i4lp >= 1)):
            if izlp * i4lp != planes:
                notes.append(f"word 62 says {i4lp} volumes, the sizes give {planes // izlp}")
            return planes // izlp, izlp, 0, notes
        if izlp not in (0, 1):
            notes.append(f"word 61 (sections) is {izlp}, which does not fit {planes} images; taken as 1")
        return planes, 1, 0, notes
    if planes % records == 0 and izlp == planes // records:
        notes.append("one header per volume")
        return records, izlp, 1, notes
    return None


def _is_file(fd: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    mine, now = os.fstat(fd), os.stat(path)
    return (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino)


class ImagicFile:
    """Reader of one IMAGIC pair.

    Parameters
    ----------
    path : path
        ``NAME``, ``NAME.hed`` or ``NAME.img``.

    Raises
    ------
    InputError
        Half of the pair is missing, a file is empty or truncated, or words and sizes cannot be brought together.
    """

    def __init__(self, path: str | os.PathLike):
        self.hed, self.img = pair_of(path)
        for mine, other in ((self.hed, self.img), (self.img, self.hed)):
            if not mine.is_file():
                raise InputError(f"{mine}: not found; an IMAGIC file is a pair, {other.name} needs {mine.name} beside it")
        self.hed_size, self.img_size = os.path.getsize(self.hed), os.path.getsize(self.img)
        if self.hed_size < hdr.RECORD:
            what = "is empty" if not self.hed_size else f"has only {self.hed_size} bytes"
            raise InputError(f"{self.hed}: {what}; a stack needs at least one image, with a header of {hdr.RECORD} bytes")
        if not self.img_size:
            raise InputError(f"{self.img}: is empty; a stack needs at least one image")
        self._hed_fd, self._img_fd = self._open()
        try:
            self._find_layout()
        except BaseException:
            self.close()
            raise

    def _open(self) -> tuple[int, int]:
        """Both files, of one writing: they may be replaced by another process meanwhile."""
        for _ in range(100):
            hed = open_fd(self.hed)
            try:
                img = open_fd(self.img)
            except BaseException:
                os.close(hed)
                raise
            sizes = [os.fstat(fd).st_size for fd in (hed, img)]
            if sizes == [self.hed_size, self.img_size] and all(_is_file(fd, p) for fd, p in ((hed, self.hed), (img, self.img))):
                return hed, img
            os.close(hed)
            os.close(img)
            recover(self.hed)
            self.hed_size, self.img_size = os.path.getsize(self.hed), os.path.getsize(self.img)
        raise InputError(f"{self.hed}: is replaced again and again by another program; wait for its end")

    def _find_layout(self) -> None:
        raw = read_into(self._hed_fd, 0, np.empty(hdr.RECORD, np.uint8), self.hed)
        type_word = raw[56:60].tobytes().decode("ascii", "replace").strip("\0 ").upper()
        if type_word not in hdr.TYPES:
            raise InputError(f"{self.hed}: word 15 (type) is {type_word!r}; known are {', '.join(hdr.TYPES)}")
        stamp = int(raw.view("<i4")[68])
        orders: tuple[Order, Order] = (">", "<") if stamp == hdr.BIG else ("<", ">")
        words = {order: raw.view(f"{order}i4").astype(np.int64) for order in orders}
        if stamp in hdr.VAX and _plausible(words["<"]) and type_word not in ("INTG", "LONG", "PACK"):
            raise InputError(
                f"{self.hed}: word 69 (machine stamp) is {stamp}: VAX floating point, which is not read; "
                f"convert the file to IEEE ({hdr.LITTLE}) first"
            )
        item = np.dtype(hdr.TYPES[type_word]).itemsize
        for longer, order in itertools.product((False, True), orders):
            word = words[order]
            if not _plausible(word):
                continue
            for nblocks in dict.fromkeys([int(word[3]) if 1 <= word[3] <= 64 else 1, 1]):
                found = _shape_of(word, nblocks, self.hed_size, self.img_size, item, longer)
                if found:
                    self._settle(word, order, type_word, nblocks, found, raw)
                    return
        raise self._complaint(words[orders[0]], item, type_word)

    def _settle(self, word: NDArray, order: Order, type_word: str, nblocks: int, found: tuple, raw: NDArray) -> None:
        objects, sections, per_volume, notes = found
        self.nblocks, self.order = nblocks, order
        self.per_volume = bool(per_volume)
        self.stamped = int(word[68]) in (hdr.LITTLE, hdr.BIG)
        ours = int(word[78]) == hdr.TAG
        self.old = not ours and (int(word[11]) == int(word[12]) * int(word[13]) or int(word[61]) < 1)
        if not self.stamped:
            notes.append(f"word 69 (machine stamp) is {int(word[68])}, not a stamp; byte order taken from the sizes")
        if self.old:
            notes.append("old header layout (IMAGIC-5): words that changed meaning since are not used")
        if word[3] != nblocks:
            notes.append(f"word 4 (header records per image) is {int(word[3])}; the sizes say {nblocks}")
        dtype = np.dtype(hdr.TYPES[type_word]).newbyteorder(order)
        self.layout = Layout(
            self.hed, "IMAGIC", objects, sections, int(word[12]), int(word[13]), sections > 1, dtype, None, type_word, notes
        )
        size = float(raw[488:492].view(f"{order}f4")[0])
        if not self.old and np.isfinite(size) and 1e-3 < size < 1e5:
            self.layout.pixel_size = size

    def _complaint(self, word: NDArray, item: int, type_word: str) -> InputError:
        if not _plausible(word):
            return InputError(
                f"{self.hed}: words 13 and 14 (lines, pixels) are {int(word[12])} and {int(word[13])}; "
                f"both must be 1 to {_LARGEST}"
            )
        nblocks = int(word[3]) if 1 <= word[3] <= 64 else 1
        if self.hed_size % (hdr.RECORD * nblocks):
            return InputError(
                f"{self.hed}: has {self.hed_size} bytes, no multiple of {hdr.RECORD * nblocks} (word 4, records per image, is "
                f"{int(word[3])}); the file is truncated"
            )
        records = self.hed_size // (hdr.RECORD * nblocks)
        izlp, follow = int(word[60]), int(word[1])
        plane = int(word[12]) * int(word[13]) * item
        per_volume = izlp > 1 and follow + 1 == records and izlp * records * plane > self.img_size > records * plane
        expected = records * plane * (izlp if per_volume else 1)
        what = f"{records} {'volumes' if per_volume else 'images'} of {int(word[12])} lines x {int(word[13])} pixels, {type_word}"
        if self.img_size < expected:
            return InputError(
                f"{self.img}: has {self.img_size} bytes, too few: {self.hed.name} announces {what} = {expected} bytes; "
                "the file is truncated"
            )
        return InputError(
            f"{self.img}: has {self.img_size} bytes, but {self.hed.name} announces {what} = {expected} bytes "
            f"(word 61, sections, is {izlp}); the two files do not belong together or headers are missing"
        )

    @property
    def plain(self) -> bool:
        """Whether densities lie in the file as they are written here (little-endian)."""
        return self.order == "<" or self.layout.dtype.itemsize == 1

    def place(self, image: int) -> tuple[int, int]:
        """File descriptor and byte offset of an image's densities."""
        return self._img_fd, image * self.layout.plane

    def read_raw(self, start: int, stop: int) -> NDArray:
        """Images `start` to `stop` (0-based, excluded) as stored, native byte order, shape (n, lines, pixels)."""
        lay = self.layout
        out = np.empty((stop - start, lay.lines, lay.pixels), lay.dtype)
        read_into(self._img_fd, start * lay.plane, out, self.img)
        return out if lay.dtype.isnative else out.astype(lay.dtype.newbyteorder("="))

    def headers(self, start: int, stop: int) -> NDArray:
        """Header records of images `start` to `stop`, one per image or section, shape (n,), `HEADER_DTYPE`.

        Little-endian; of the old layout, words that changed meaning are zero; of files with one header per volume, that header is
        repeated for every section. Words 1, 2, 13, 14, 61, 62 are made to agree with the sizes.
        """
        lay = self.layout
        repeat = lay.sections if self.per_volume else 1
        first, last = start // repeat, -(-stop // repeat)
        raw = np.empty((last - first, self.nblocks * hdr.RECORD), np.uint8)
        read_into(self._hed_fd, first * self.nblocks * hdr.RECORD, raw, self.hed)
        h = np.ascontiguousarray(raw[:, : hdr.RECORD]).view(hdr.HEADER_DTYPE)[:, 0]
        if self.order == ">":
            h = hdr.swap_words(h)
        if self.old:
            h = hdr.clean_old(h, self.stamped)
        if repeat > 1:
            h = h[np.arange(start, stop) // repeat - first]
        hdr.set_geometry(h, start, lay.objects, lay.sections, lay.lines, lay.pixels, lay.type_word)
        return h

    def extra_headers(self, start: int, stop: int) -> NDArray:
        """Further header records, float32, shape (n, (NBLOCKS - 1) * 256)."""
        raw = np.empty((stop - start, self.nblocks * 256), f"{self.order}f4")
        read_into(self._hed_fd, start * self.nblocks * hdr.RECORD, raw, self.hed)
        return raw[:, 256:].astype(np.float32)

    def close(self) -> None:
        """Close both files."""
        os.close(self._hed_fd)
        os.close(self._img_fd)
