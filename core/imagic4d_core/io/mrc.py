"""MRC, CCP4 and MRCS files, through mrcfile's header definition (MRC2014, doi:10.1016/j.jsb.2015.04.002).

Densities are read and written by position, block by block, not by a memory map: a map of the whole file counts against
a limit on address space. Lines are turned to IMAGIC's order (first line on top) here and nowhere else.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io import header as hdr
from imagic4d_core.io.layout import Layout, open_fd, read_into, row_order, turned

_MODES = {0: "i1", 1: "i2", 2: "f4", 3: "i2", 4: "c8", 6: "u2", 12: "f2"}
_WORD_OF = {"i1": "INTG", "u1": "PACK", "i2": "INTG", "f4": "REAL", "c8": "COMP", "u2": "LONG", "f2": "REAL", "i4": "LONG"}
_IMOD_STAMP = 1146047817


def parse(raw: bytes, size: int) -> Any:
    """MRC header in the byte order that makes sense, or None where this is no MRC file.

    Parameters
    ----------
    raw : bytes
        First 1024 bytes.
    size : int
        Length of the file.
    """
    if len(raw) < 1024:
        return None
    from mrcfile.dtypes import HEADER_DTYPE

    stamped = raw[208:212] in (b"MAP ", b"MAP\0")
    orders = "><" if raw[212] == 0x11 else "<>"
    for order in orders:
        head = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
        dims = [int(head[k]) for k in ("nx", "ny", "nz")]
        if min(dims) < 1 or max(dims) > 1 << 24 or int(head["mode"]) not in (*_MODES, 101):
            continue
        if stamped:
            return head
        item = np.dtype(_MODES.get(int(head["mode"]), "u1")).itemsize * (2 if int(head["mode"]) == 3 else 1)
        spare = size - 1024 - int(head["nsymbt"]) - math.prod(dims) * item
        axes = sorted(int(head[k]) for k in ("mapc", "mapr", "maps"))
        if int(head["nsymbt"]) >= 0 and (spare == 0 or (spare > 0 and axes in ([0, 0, 0], [1, 2, 3]))):
            return head
    if stamped:  # an MRC file with nonsense inside: let the reader say which word
        return np.frombuffer(raw, HEADER_DTYPE.newbyteorder(orders[0]))[0]
    return None


def _bytes_unsigned(head: Any, fd: int, offset: int, nx: int, ny: int, path: Path) -> bool:
    """Whether mode 0 holds unsigned bytes: header limits, IMOD's flag, or else the reading with the smaller steps along lines."""
    low, high = float(head["dmin"]), float(head["dmax"])
    if low < high:
        return high > 127 and low >= 0
    words = np.frombuffer(head.tobytes(), head.dtype["nx"])
    if int(words[38]) == _IMOD_STAMP:
        return not int(words[39]) & 1
    lines = min(ny, max(2, (1 << 20) // nx))
    sample = read_into(fd, offset, np.empty((lines, nx), np.uint8), path)
    step = np.abs(np.diff(sample.astype(np.int32), axis=1)).sum(dtype=np.int64)
    signed_step = np.abs(np.diff(sample.view(np.int8).astype(np.int32), axis=1)).sum(dtype=np.int64)
    return bool(step < signed_step)


class MrcFile:
    """Reader of one MRC file.

    Parameters
    ----------
    path : path
    rows : {"centre", "plain", "keep"}
        How lines are turned, see `layout.row_order`.

    Raises
    ------
    InputError
        Not MRC, a mode or axis order that is not known, or a truncated file.
    """

    def __init__(self, path: str | os.PathLike, rows: str = "centre"):
        self.path, self.rows = Path(path), rows
        self._fd = open_fd(path)
        try:
            self._find_layout()
        except BaseException:
            os.close(self._fd)
            raise

    def _find_layout(self) -> None:
        path, size = self.path, os.fstat(self._fd).st_size
        head = parse(os.pread(self._fd, 1024, 0), size)
        if head is None:
            raise InputError(f"{path}: is not an MRC file")
        order = head.dtype["nx"].str[0]
        nx, ny, nz = (int(head[k]) for k in ("nx", "ny", "nz"))
        mode, extra = int(head["mode"]), int(head["nsymbt"])
        if min(nx, ny, nz) < 1:
            raise InputError(f"{path}: MRC words 1 to 3 (size) are {nx}, {ny}, {nz}: an empty file; each must be at least 1")
        if mode not in _MODES:
            raise InputError(f"{path}: MRC word 4 (mode) is {mode}; known modes are {', '.join(map(str, _MODES))}")
        self.offset, self.mode = 1024 + extra, mode
        item = np.dtype(_MODES[mode]).itemsize * (2 if mode == 3 else 1)
        expected = self.offset + nx * ny * nz * item
        if extra < 0 or size < expected:
            raise InputError(
                f"{path}: has {size} bytes, too few: its header announces {nx} x {ny} x {nz} in mode {mode} = {expected} bytes; "
                "the file is truncated"
            )
        notes = [f"{size - expected} bytes behind the densities are ignored"] if size > expected else []
        dtype = np.dtype(_MODES[mode]).newbyteorder(order)
        if mode == 0 and _bytes_unsigned(head, self._fd, self.offset, nx, ny, path):
            dtype = np.dtype("u1")
            notes.append("mode 0 holds unsigned bytes, as its values show")
        if mode == 3:
            dtype = np.dtype("c8")
        axes = tuple(int(head[k]) for k in ("mapc", "mapr", "maps"))
        if axes in ((0, 0, 0), (1, 2, 3)):
            axes = (1, 2, 3)
        elif sorted(axes) != [1, 2, 3]:
            raise InputError(f"{path}: MRC words 17 to 19 (axis order) are {axes}; they must be 1, 2 and 3 in some order")
        self.storage = (nz, ny, nx)
        # storage axis that holds z, y, x
        self.axes = tuple(2 - axes.index(k) for k in (3, 2, 1))
        zs, ys, xs = (self.storage[a] for a in self.axes)
        ispg, mz = int(head["ispg"]), int(head["mz"])
        stack = ispg == 0 or path.suffix.lower() in (".mrcs", ".st")
        sections = zs
        if 401 <= ispg <= 630 and mz > 0 and zs % mz == 0:
            sections, stack = mz, False
        elif _volume_of_relion(head, path):
            stack = False
            notes.append(
                "space group 0, but a cube with a cell of its own: taken as a volume, as RELION and Chimera write them; where it "
                "is a stack of images: convert --what images"
            )
        elif stack or zs == 1:
            sections = 1
            if ispg == 0 and zs == mz > 1 and float(head["cella"]["z"]) > 0 and path.suffix.lower() not in (".mrcs", ".st"):
                notes.append(
                    f"space group 0, but a sampling and a cell along z: taken as {zs} images; where it is a map, as Chimera "
                    f"writes them: convert --what volumes --sections {zs}"
                )
        elif not stack and xs == ys != zs and path.with_suffix(".star").is_file() and _star_names(path) == zs:
            sections = 1
            notes.append("space group 1, but the STAR file beside it lists every section as an image")
        self.layout = Layout(
            path, "MRC", zs // sections, sections, ys, xs, sections > 1, dtype, None, _WORD_OF[dtype.str[1:]], notes
        )
        self._sizes(head, stack)
        self.made_of = hdr.made_of_lines(bytes(label) for label in head["label"])

    def _sizes(self, head: Any, stack: bool) -> None:
        lay = self.layout
        cell = [float(head["cella"][k]) for k in "xyz"]
        grid = [int(head[k]) for k in ("mx", "my", "mz")]
        voxel = [c / m if m > 0 and c > 0 and np.isfinite(c) else 0.0 for c, m in zip(cell, grid, strict=True)]
        self.voxel = tuple(voxel)
        used = voxel if lay.is_volumes else voxel[:2]
        if min(used) > 0:
            if max(used) - min(used) <= 0.01 * max(used):
                # the cell is float32: digits beyond it are noise
                lay.pixel_size = float(f"{voxel[0]:.7g}")
            else:
                lay.notes.append("voxel sizes differ: " + " x ".join(f"{v:.4g}" for v in used) + " A; none is used")
        start = [int(head[k]) for k in ("nxstart", "nystart", "nzstart")]
        # words 5 to 7 follow the storage axes, columns first
        by_axis = {int(head[k]): s for k, s in zip(("mapc", "mapr", "maps"), start, strict=True)}
        origin = [float(head["origin"][k]) for k in "xyz"]
        if not any(origin):
            origin = [by_axis.get(k + 1, 0) * voxel[k] for k in range(3)]
        self.origin = tuple(origin)
        self.statistics = tuple(float(head[k]) for k in ("dmin", "dmax", "dmean", "rms"))
        self.start = tuple(by_axis.get(k, 0) for k in (1, 2, 3))

    @property
    def plain(self) -> bool:
        """Whether sections lie in the file one behind the other, in a type that is written here."""
        return self.axes == (0, 1, 2) and self.mode != 3 and self.layout.dtype.str[0] in "<|"

    def place(self, image: int) -> tuple[int, int]:
        """File descriptor and byte offset of an image's densities."""
        return self._fd, self.offset + image * self.layout.plane

    def read_raw(self, start: int, stop: int) -> NDArray:
        """Images or sections `start` to `stop`, native byte order, IMAGIC's line order, shape (n, lines, pixels)."""
        lay = self.layout
        out = self._planes(start, stop) if self.axes == (0, 1, 2) else self._permuted(start, stop)
        return out if self.rows == "keep" else turned(out, row_order(lay.lines, self.rows))

    def _planes(self, start: int, stop: int) -> NDArray:
        _, ny, nx = self.storage
        if self.mode == 3:
            order = self.layout.dtype.str[0] if self.layout.dtype.str[0] in "<>" else "<"
            pairs = np.empty((stop - start, ny, nx, 2), f"{order}i2")
            read_into(self._fd, self.offset + start * ny * nx * 4, pairs, self.path)
            return pairs.astype(np.float32).view(np.complex64)[..., 0]
        out = np.empty((stop - start, ny, nx), self.layout.dtype)
        read_into(self._fd, self.offset + start * ny * nx * out.itemsize, out, self.path)
        return out if out.dtype.isnative else out.astype(out.dtype.newbyteorder("="))

    def _permuted(self, start: int, stop: int) -> NDArray:
        z_axis = self.axes[0]
        if z_axis == 0:
            return self._planes(start, stop).transpose(self.axes)
        slabs = [np.take(self._planes(k, k + 1)[0], range(start, stop), axis=z_axis - 1) for k in range(self.storage[0])]
        return np.stack(slabs).transpose(self.axes)

    def headers(self, start: int, stop: int) -> NDArray:
        """Header records made up from the MRC header; poses from ``NAME.star`` where there is one."""
        h = self.layout.records(start, stop)
        if self.made_of:
            h["HISTORY"] = b";".join(self.made_of)[: hdr.HEADER_DTYPE["HISTORY"].itemsize]
        return h

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _volume_of_relion(head: Any, path: Path) -> bool:
    """RELION marks maps like images (space group 0), but gives them a sampling and a cell along z, which its stacks lack."""
    nx, ny, nz = (int(head[k]) for k in ("nx", "ny", "nz"))
    if int(head["ispg"]) or path.suffix.lower() in (".mrcs", ".st"):
        return False
    return nx == ny == nz > 1 and int(head["mz"]) == nz and float(head["cella"]["z"]) > 0


def _star_names(path: Path) -> int:
    from imagic4d_core.io.star import count_images

    return count_images(path.with_suffix(".star"), path)


def build_header(
    objects: int, sections: int, lines: int, pixels: int, dtype: np.dtype, *, pixel_size: float | None, volumes: bool,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0), statistics: tuple[float, float, float, float] = (0.0, -1.0, -2.0, -1.0),
    labels: Sequence[bytes] = (),
) -> bytes:  # fmt: skip
    """The 1024 bytes of a little-endian MRC2014 header.

    Parameters
    ----------
    objects, sections, lines, pixels : int
    dtype : numpy.dtype
        int8, int16, uint16, float16, float32 or complex64.
    pixel_size : float or None
        Angstrom; None leaves the cell at 0.
    volumes : bool
        Space group 1 (one volume) or 401 (several), else 0 (images).
    origin : tuple of float
        x, y, z in angstrom.
    statistics : tuple of float
        Minimum, maximum, mean, rms; the default means "not known".
    labels : sequence of bytes
        Further labels, of which nine have room.
    """
    from mrcfile.dtypes import HEADER_DTYPE

    modes = {"i1": 0, "i2": 1, "f4": 2, "c8": 4, "u2": 6, "f2": 12}
    head = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    head["nx"], head["ny"], head["nz"] = pixels, lines, objects * sections
    head["mode"] = modes[np.dtype(dtype).str[1:]]
    head["mx"], head["my"], head["mz"] = pixels, lines, sections if volumes else 1
    step = pixel_size or 0.0
    for k, m in zip("xyz", (pixels, lines, sections if volumes else 1), strict=True):
        head["cella"][k] = step * m
        head["cellb"][{"x": "alpha", "y": "beta", "z": "gamma"}[k]] = 90.0
    head["mapc"], head["mapr"], head["maps"] = 1, 2, 3
    head["dmin"], head["dmax"], head["dmean"], head["rms"] = statistics
    head["ispg"] = 0 if not volumes else (1 if objects == 1 else 401)
    for k, value in zip("xyz", origin, strict=True):
        head["origin"][k] = value
    head["nversion"] = 20141
    head["map"] = b"MAP "
    head["machst"][:] = (0x44, 0x44, 0, 0)
    said = [b"Written by im4d (imagic4d)", *labels][:10]
    head["nlabl"] = len(said)
    head["label"][: len(said)] = [text[:80].ljust(80) for text in said]
    return head.tobytes()
