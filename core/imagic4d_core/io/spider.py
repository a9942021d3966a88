"""SPIDER images, volumes and stacks of either: both byte orders in, little-endian out.

Header words after the SPIDER documentation: 1 NZ, 2 NY, 5 IFORM, 12 NX, 13 LABREC, 22 LABBYT, 24 ISTACK, 26 MAXIM, 38 pixel size.
The first row is on top, as in IMAGIC.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io.layout import Layout, open_fd, read_into

_REAL_FORMS = (1, 3)
_FORMS = (1, 3, -1, -11, -12, -21, -22)


def parse(raw: bytes) -> tuple[NDArray, str] | None:
    """SPIDER header words (float64, 0-based) and byte order, or None where this is no SPIDER file."""
    if len(raw) < 104:
        return None
    for order in "<>":
        with np.errstate(invalid="ignore"):
            word = np.frombuffer(raw[: len(raw) // 4 * 4], f"{order}f4").astype(np.float64)
        need = word[[0, 1, 4, 11, 12, 21]]
        if not np.all(np.isfinite(need)) or np.any(need != np.rint(need)):
            continue
        nz, ny, form, nx, labrec, labbyt = need
        if int(form) not in _FORMS or min(abs(nz), ny, nx) < 1 or max(abs(nz), ny, nx) > 1e6 or min(labrec, labbyt) < 0:
            continue
        length = int(np.ceil(256 / nx) * nx * 4)
        if labbyt and int(labbyt) != length and int(labbyt) != int(labrec * nx * 4):
            continue
        return word, order
    return None


class SpiderFile:
    """Reader of one SPIDER file.

    Raises
    ------
    InputError
        Not SPIDER, a Fourier transform, or a truncated file.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._fd = open_fd(path)
        try:
            self._find_layout()
        except BaseException:
            os.close(self._fd)
            raise

    def _find_layout(self) -> None:
        path, size = self.path, os.fstat(self._fd).st_size
        found = parse(os.pread(self._fd, 1024, 0))
        if found is None:
            raise InputError(f"{path}: is not a SPIDER file")
        word, order = found
        nz, ny, form, nx = int(abs(word[0])), int(word[1]), int(word[4]), int(word[11])
        if form not in _REAL_FORMS:
            raise InputError(f"{path}: SPIDER word 5 (IFORM) is {form}, not an image (1) or volume (3)")
        self.label = int(word[21]) or int(np.ceil(256 / nx) * nx * 4)
        volume = nz * ny * nx * 4
        if word[23] < 0:
            raise InputError(
                f"{path}: SPIDER word 24 (ISTACK) is {word[23]:g}: a stack with an index, which is not read; "
                "copy it to a stack without one in SPIDER (CP)"
            )
        self.stacked = word[23] > 0
        if not np.isfinite(word[[23, 25]]).all() or abs(word[25]) > 2**31:
            raise InputError(
                f"{path}: SPIDER words 24 and 26 (ISTACK, MAXIM) are {word[23]:g}, {word[25]:g}; the file is damaged"
            )
        self.item = volume + (self.label if self.stacked else 0)
        body = size - self.label
        objects = int(word[25]) if self.stacked else 1
        notes = []
        if self.stacked and objects * self.item != body and body % self.item == 0:
            notes.append(f"word 26 says {objects} objects, the size gives {body // self.item}")
            objects = body // self.item
        if objects < 1 or objects * self.item > body:
            raise InputError(
                f"{path}: has {size} bytes, too few: its header announces {max(objects, 1)} x {nz} x {ny} x {nx} = "
                f"{self.label + max(objects, 1) * self.item} bytes; the file is truncated"
            )
        step = float(word[37]) if len(word) > 37 else 0.0
        pixel = step if np.isfinite(step) and 1e-3 < step < 1e5 else None
        self.layout = Layout(path, "SPIDER", objects, nz, ny, nx, nz > 1, np.dtype(f"{order}f4"), pixel, "REAL", notes)

    def read_raw(self, start: int, stop: int) -> NDArray:
        """Images or sections `start` to `stop`, float32, shape (n, lines, pixels)."""
        lay = self.layout
        out = np.empty((stop - start, lay.lines, lay.pixels), lay.dtype)
        at = start
        while at < stop:
            volume, section = divmod(at, lay.sections)
            end = min(stop, (volume + 1) * lay.sections)
            offset = self.label + volume * self.item + (self.label if self.stacked else 0) + section * lay.plane
            read_into(self._fd, offset, out[at - start : end - start], self.path)
            at = end
        return out if lay.dtype.isnative else out.astype(np.float32)

    def headers(self, start: int, stop: int) -> NDArray:
        """Header records made up from the SPIDER header."""
        return self.layout.records(start, stop)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def label_bytes(pixels: int) -> int:
    """Length of a SPIDER header: whole lines, at least 1024 bytes."""
    return int(np.ceil(256 / pixels)) * pixels * 4


def place(image: int, objects: int, sections: int, lines: int, pixels: int) -> int:
    """Byte at which an image or section begins in a file that is written: a plain file of one object, or a stack."""
    label, plane = label_bytes(pixels), lines * pixels * 4
    k, section = divmod(image, sections)
    return label + (k * (label + sections * plane) + label if objects > 1 else 0) + section * plane


def build_header(
    objects: int, sections: int, lines: int, pixels: int, *, number: int = 0, pixel_size: float | None = None,
    statistics: tuple[float, float, float, float] | None = None, when: tuple[int, ...] | None = None, title: str = "",
) -> bytes:  # fmt: skip
    """A SPIDER header, little-endian.

    Parameters
    ----------
    objects, sections, lines, pixels : int
        Shape of the file.
    number : int
        0: the header of the file; else the object inside a stack, from 1.
    pixel_size : float or None
        Angstrom.
    statistics : tuple of float, optional
        Mean, standard deviation, minimum, maximum.
    when : tuple of int, optional
        Month, day, year, hour, minute, second.
    title : str
    """
    label = label_bytes(pixels)
    word = np.zeros(label // 4, "<f4")
    records = label // (pixels * 4)
    values = {
        1: sections, 2: lines, 3: sections * lines + records, 5: 3 if sections > 1 else 1, 12: pixels, 13: records, 22: label,
        23: pixels * 4, 38: pixel_size or 0.0,
    }  # fmt: skip
    if objects > 1 and not number:
        values |= {24: 2, 26: objects}
    if number:
        values[27] = number
    if statistics is not None and (number or objects == 1):
        mean, sigma, low, high = statistics
        values |= {6: 1, 7: high, 8: low, 9: mean, 10: sigma}
    for key, value in values.items():
        word[key - 1] = value
    raw = bytearray(word.tobytes())
    if when is not None:
        month, day, year, hour, minute, second = when
        months = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
        raw[844:856] = f"{day:02d}-{months[month - 1]}-{year:04d}".ljust(12)[:12].encode("ascii")
        raw[856:864] = f"{hour:02d}:{minute:02d}:{second:02d}".encode("ascii")
    raw[864:1024] = title.encode("ascii", "replace")[:160].ljust(160)
    return bytes(raw)
