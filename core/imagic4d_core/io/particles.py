"""What other programs' metadata files say of images, and its place in the header: poses, CTF, classes, micrographs.

Formats are read in `star`, `cryosparc`, `frealign` and `eman`; conventions of angles are in `geometry`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import HEADER_DTYPE
from imagic4d_core.io.outside import check_headers, check_rows

#: Header words beside the pose that travel through metadata files.
EXTRA = ("DEFOCUS1", "DEFOCUS2", "DEFANGLE", "VOLTAGE", "SPABERR", "CTFQUAL", "CLASSNO", "NUMCLS", "MIDENT")
#: How many folders above a metadata file are tried as the project's folder.
_LEVELS = 6
#: No file holds so many images.
_MOST = 1 << 48
#: Rows checked at a time.
_WINDOW = 8192


class StackNotFound(InputError):
    """A stack that a list names is not there."""


@dataclass
class Metadata:
    """What is known of n images.

    Attributes
    ----------
    poses : Poses or None
        None where the file says nothing of poses, classes or half sets.
    words : dict of str to ndarray, shape (n,)
        Header word -> values, of `EXTRA`; words that the file does not tell are missing.
    pixel_size : ndarray, shape (n,), or None
        Angstrom.
    """

    count: int
    poses: Poses | None = None
    words: dict[str, NDArray] = field(default_factory=dict)
    pixel_size: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return self.count

    @property
    def known(self) -> bool:
        """Whether anything is said beside the pixel size."""
        return self.poses is not None or bool(self.words)

    def select(self, index: NDArray[np.intp]) -> "Metadata":
        """Those of some images."""
        size = None if self.pixel_size is None else self.pixel_size[index]
        poses = None if self.poses is None else self.poses.select(index)
        return Metadata(len(index), poses, {k: v[index] for k, v in self.words.items()}, size)

    def placed(self, places: NDArray[np.intp], count: int) -> "Metadata":
        """Of `count` images, of which those at `places` are known and the others blank."""
        poses = None
        if self.poses is not None:
            poses = Poses.blank(count)
            for name, values in vars(self.poses).items():
                getattr(poses, name)[places] = values
        words = {}
        for name, values in self.words.items():
            words[name] = np.zeros(count, values.dtype)
            words[name][places] = values
        return Metadata(count, poses, words)

    def into_headers(self, h: NDArray) -> NDArray:
        """Write into header records, in place; returns `h`."""
        if self.poses is not None:
            self.poses.into_headers(h)
        for name, values in self.words.items():
            h[name] = values
        if self.pixel_size is not None:
            h["PIXSIZE"] = np.where(self.pixel_size > 0, self.pixel_size, h["PIXSIZE"])
        return h

    @classmethod
    def from_headers(cls, h: NDArray, extra: bool = True) -> "Metadata":
        """What header records say; `extra` false: poses only."""
        words = {name: h[name].astype(np.float64) for name in EXTRA} if extra else {}
        size = np.array([float(f"{v:.7g}") for v in h["PIXSIZE"].tolist()]) if extra and h["PIXSIZE"].any() else None
        return cls(len(h), Poses.from_headers(h), words, size)

    @classmethod
    def concatenate(cls, parts: "list[Metadata]") -> "Metadata":
        """Several sets, made by `from_headers`, one behind the other."""
        poses = Poses.concatenate([p.poses for p in parts if p.poses is not None])
        words = {name: np.concatenate([p.words[name] for p in parts]) for name in parts[0].words}
        sizes = [np.zeros(len(p)) if p.pixel_size is None else p.pixel_size for p in parts]
        size = None if all(p.pixel_size is None for p in parts) else np.concatenate(sizes)
        return cls(len(poses), poses, words, size)

    def any_set(self) -> bool:
        """Whether anything but zeros is known."""
        return (self.poses is not None and self.poses.any_set()) or any(bool(v.any()) for v in self.words.values())


@dataclass
class Particles:
    """Images that a metadata file lists.

    Attributes
    ----------
    path : Path
        The metadata file.
    files : list of str
        Image files, as the metadata file names them.
    file, image : ndarray, shape (n,), intp
        Index into `files`, and 0-based image number there.
    metadata : Metadata
    notes : list of str
        What was not taken over, and doubts.
    """

    path: Path
    files: list[str]
    file: NDArray[np.intp]
    image: NDArray[np.intp]
    metadata: Metadata
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.image)

    def check(self) -> None:
        """Refuse rows with a NaN or a senseless number in what is taken over (InputError)."""
        far = (self.image < 0) | (self.image >= _MOST)
        if far.any():
            row = int(np.argmax(far)) + 1
            raise InputError(f"{self.path}: row {row}: the number of the image is none that can be; images count from 1")
        if self.metadata.pixel_size is not None:
            check_rows({"the pixel size": (self.metadata.pixel_size, 1e15)}, self.path)
        for start in range(0, len(self), _WINDOW):
            rows = np.arange(start, min(len(self), start + _WINDOW))
            check_headers(self.metadata.select(rows).into_headers(np.zeros(len(rows), HEADER_DTYPE)), self.path, start + 1, "row")


def axis_from_standard(degrees: ArrayLike) -> NDArray[np.float64]:
    """Axis of astigmatism in IMAGIC's axes (from x, the lines, to y), from an angle counted from x right to y up; degrees.

    The axes are those of `geometry.poses`: standard x is our y, standard y is minus our x, so 90 degrees are added. An axis comes
    back after 180.
    """
    return (np.asarray(degrees, dtype=np.float64) + 90.0) % 180.0


def axis_to_standard(degrees: ArrayLike) -> NDArray[np.float64]:
    """Inverse of `axis_from_standard`, 0 to 180 degrees."""
    return (np.asarray(degrees, dtype=np.float64) - 90.0) % 180.0


def volts(values: NDArray) -> NDArray[np.float64]:
    """Accelerating voltage in V of values in V or in kV (header word 101 has held both)."""
    v = np.asarray(values, dtype=np.float64)
    return np.where((v > 0) & (v < 2000), 1e3 * v, v)


def numbered(names: list[str]) -> NDArray[np.int32]:
    """1, 2, 3 ... for names, in the order of their first appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen) + 1) for name in names], np.int32)


def present(name: str, listing: str | os.PathLike) -> Path | None:
    """The file of that name as seen from a metadata file, from a folder above it (the project) or the current one, or None."""
    path = Path(name)
    folder = Path(os.path.abspath(listing)).parent
    real = Path(os.path.realpath(listing)).parent  # of a symbolic link to a list
    above = [*folder.parents[:_LEVELS], *real.parents[:_LEVELS]]
    folders = [Path("/")] if path.is_absolute() else [folder, real, Path.cwd(), *above]
    try:
        return next((f / path for f in folders if (f / path).is_file()), None)
    except (OSError, ValueError):  # a name that cannot be one
        return None


def locate(name: str, listing: str | os.PathLike) -> Path:
    """The file that a metadata file means: as given, beside it, or from a folder above it (the project) or the current one.

    Raises
    ------
    InputError
        It is nowhere.
    """
    path = Path(name)
    folder = Path(os.path.abspath(listing)).parent
    found = present(name, listing)
    if found is not None:
        return found
    for beside in (folder, Path(os.path.realpath(listing)).parent):
        if (beside / path.name).is_file():  # the stack was moved together with its list
            return beside / path.name
    where = "" if path.is_absolute() else f" from {folder}, the folders above it, or the current one"
    raise StackNotFound(f"{listing}: lists images of {name}, which is not there{where}; put the stack beside the list")
