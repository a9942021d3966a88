"""What is in a file (`info`), and whether it keeps the rules of its format (`validate`)."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import Im4dError, InputError, MismatchError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io import header as hdr
from imagic4d_core.io.imagic import pair_of
from imagic4d_core.io.layout import read_into
from imagic4d_core.io.listing import read_alone
from imagic4d_core.io.locations import Locations, format_locations, split_spec
from imagic4d_core.io.particles import StackNotFound, present
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.files.copying import Progress, shape_text
from imagic4d_core.units import COMMON_PLACEHOLDER, is_placeholder

_HEADERS = 8192
T = TypeVar("T")

#: Everything `validate` can find: code -> (severity, what it means). Errors make a file invalid, warnings do not.
FINDINGS: dict[str, tuple[str, str]] = {
    "unreadable": ("error", "the file cannot be opened: half of a pair missing, truncated, empty, words that contradict sizes"),
    "finite": ("error", "densities that are NaN or infinite"),
    "counts": ("error", "word 2 (images that follow) or words 61 and 62 (sections, objects) disagree with the sizes"),
    "numbers": ("error", "word 1 does not count 1, 2, 3 ..."),
    "records": ("error", "word 4 (header records per image) is wrong, or there is one header per volume, not per section"),
    "size": ("error", "words 13 to 15 (lines, pixels, type) differ between headers of one file"),
    "stamp": ("error", "word 69 (machine stamp) is not set"),
    "running": ("error", "word 3 (error code) is not 0: the program that wrote the file did not finish"),
    "old": ("warning", "header layout of IMAGIC-5: words that changed meaning since are not used"),
    "version": ("warning", "word 68 (format version) is not a date"),
    "date": ("warning", "words 5 to 10 (creation time) are not a month, day, year and time of day"),
    "bytes": ("warning", "word 11 is not the size of an image in bytes"),
    "statistics": ("warning", "mean, standard deviation, maximum or minimum in the header are not those of the densities"),
    "values": ("error", "words that are reckoned with (poses, memberships, CTF) hold NaN, infinity or senseless numbers"),
    "flat": ("warning", "images without contrast"),
    "mrc-stamp": ("error", "MRC: no 'MAP ' or machine stamp"),
    "mrc-cell": ("warning", "MRC: no usable pixel size in the header"),
    "mrc-group": ("warning", "MRC: space group and sampling do not say whether these are images, a volume or several"),
    "length": ("warning", "the file is longer than its header says"),
    "star": ("warning", "the STAR file beside an MRC file cannot be used"),
}


@dataclass
class Info:
    """What is in one file; `n_lines` is the number of lines of an image, 0 of a list whose stacks are not there."""

    file: str
    format: str
    objects: int
    sections: int
    n_lines: int
    pixels: int
    type: str
    byte_order: str
    pixel_size: float | None
    old_layout: bool
    poses: dict[str, Any]
    title: str
    notes: list[str]
    statistics: dict[str, float] | None = None
    voxel_size: list[float] | None = None
    origin: list[float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {("lines" if k == "n_lines" else k): v for k, v in asdict(self).items()}

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of every entry that says something."""
        order = {"<": "little-endian", ">": "big-endian", "|": "bytes"}[self.byte_order]
        listed = f"{self.objects} image{'' if self.objects == 1 else 's'} of stacks that are not there"
        out = [
            ("file", self.file),
            ("format", f"{self.format}{', old header layout' if self.old_layout else ''}"),
            ("content", shape_text(self.objects, self.sections, self.n_lines, self.pixels) if self.pixels else listed),
            ("type", f"{self.type}, {order}" if self.pixels else self.type),
            ("pixel size", f"{self.pixel_size:.6g} A{self._doubt()}" if self.pixel_size else "not known"),
        ]
        if self.origin and any(self.origin):
            out.append(("origin", " ".join(f"{v:.6g}" for v in self.origin) + " A (x y z)"))
        if self.title:
            out.append(("title", self.title))
        out.append(("poses", ", ".join(self._poses()) or "none"))
        if self.statistics:
            out.append(("densities", ", ".join(f"{k} {v:.6g}" for k, v in self.statistics.items())))
        return out + [("note", note) for note in self.notes]

    def _doubt(self) -> str:
        return f" ({COMMON_PLACEHOLDER})" if self.format in ("MRC", "HDF") and is_placeholder(self.pixel_size) else ""

    def _poses(self) -> list[str]:
        p = self.poses
        parts = []
        if p.get("euler"):
            parts.append(f"{'Euler angles' if p['euler'] > p['in_plane'] else 'angles in the plane only'} in {p['euler']}")
        if p.get("shifts"):
            parts.append(f"shifts in {p['shifts']}")
        if p.get("memberships"):
            parts.append("3D " + ", ".join(f"{k}: {v}" for k, v in p["memberships"].items()))
        return parts


def _unread(failures: list[Im4dError]) -> dict[str, list[str]]:
    return {"unread": [str(error) for error in failures]} if failures else {}


def _each(srcs: Sequence[str], look: Callable[[str], T]) -> tuple[list[T], list[Im4dError]]:
    """What `look` finds in each file, and the errors of those that cannot be read; of none, the first is raised."""
    found: list[T] = []
    failures: list[Im4dError] = []
    for src in srcs:
        try:
            found.append(look(src))
        except (InputError, MismatchError) as error:
            failures.append(error)
    if failures and not found:
        raise failures[0]
    return found, failures


@dataclass
class InfoSummary:
    """What is in some files, and why others could not be read."""

    files: list[Info]
    failures: list[Im4dError] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"files": [f.as_dict() for f in self.files]} | _unread(self.failures)

    def lines(self) -> list[str]:
        """For people: one table for each file."""
        out: list[str] = []
        for info in self.files:
            out += ([""] if out else []) + [f"{label:<11} {text}" for label, text in info.rows()]
        return out


class _Whole:
    """Mean, sigma, minimum and maximum of all finite densities of a file, block by block."""

    def __init__(self) -> None:
        self.count, self.mean, self.square, self.low, self.high, self.left_out = 0, 0.0, 0.0, np.inf, -np.inf, 0

    def add(self, x: NDArray[np.float64]) -> None:
        """Take a block into account."""
        good = np.isfinite(x)
        self.left_out += int(x.size - np.count_nonzero(good))
        x = x if good.all() else x[good]
        if not x.size:
            return
        n, m = x.size, float(x.mean())
        self.square += float(np.square(x - m).sum()) + (m - self.mean) ** 2 * self.count * n / (self.count + n)
        self.mean += (m - self.mean) * n / (self.count + n)
        self.count += n
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def result(self) -> dict[str, float]:
        """What there is to say, by name; `not finite` counts densities left out."""
        found: dict[str, float] = {}
        if self.count:
            sigma = float(np.sqrt(self.square / self.count))
            found = {"mean": self.mean, "sigma": sigma, "min": self.low, "max": self.high}
        return found | ({"not finite": self.left_out} if self.left_out else {})


def _statistics(stack: Stack, progress: Progress = None) -> dict[str, float]:
    whole = _Whole()
    for start, stop in stack.blocks():
        data = stack.read_raw(start, stop)
        with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN
            whole.add((np.abs(data) if data.dtype.kind == "c" else data).astype(np.float64))
        if progress:
            progress(stop, stack.n_images)
    return whole.result()


class _Poses:
    """How many header records hold what of a pose."""

    def __init__(self, of_volumes: bool = False) -> None:
        self.of_volumes = of_volumes
        self.euler = self.in_plane = self.shifts = 0
        self.members: dict[int, int] = {}

    def add(self, h: NDArray) -> None:
        """Count some records."""
        poses = Poses.from_headers(h)
        self.euler += int(((poses.alpha != 0) | (poses.beta != 0) | (poses.gamma != 0)).sum())
        if not self.of_volumes:
            self.in_plane += int(((poses.alpha != 0) & (poses.beta == 0) & (poses.gamma == 0)).sum())
        self.shifts += int(poses.shift.any(axis=1).sum())
        for number, count in zip(*np.unique(poses.ref3d[poses.ref3d != 0], return_counts=True), strict=True):
            self.members[int(number)] = self.members.get(int(number), 0) + int(count)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        members = {str(k): self.members[k] for k in sorted(self.members)}
        return {"euler": self.euler, "in_plane": self.in_plane, "shifts": self.shifts, "memberships": members}


def _poses_of(stack: Stack) -> dict[str, Any]:
    poses, step = _Poses(stack.is_volumes), stack.sections
    for start in range(0, stack.n_images, _HEADERS * step):
        poses.add(stack.headers(start, min(stack.n_images, start + _HEADERS * step), checked=False)[::step])
    return poses.as_dict()


def info(
    srcs: list[str] | tuple[str, ...], *, loc: Locations | None = None, statistics: bool = False, progress: Progress = None
) -> InfoSummary:
    """Describe files.

    Parameters
    ----------
    srcs : sequence of path
    loc : Locations, optional
        Objects to look at.
    statistics : bool
        Read all densities for mean, standard deviation, minimum and maximum.
    progress : callable, optional

    Returns
    -------
    InfoSummary

    Raises
    ------
    InputError, MismatchError
        None of the files can be read.
    """
    return InfoSummary(*_each(srcs, lambda src: _info(src, loc, statistics, progress)))


def _info(src: str, loc: Locations | None, statistics: bool, progress: Progress) -> Info:
    try:
        stack = open_stack(src, loc)
    except StackNotFound as error:
        return _info_of_list(src, error)
    with stack:
        reader, title = stack.reader, ""
        if stack.format == "IMAGIC":
            title = stack.headers(0, 1, checked=False)["NAME"][0].decode("ascii", "replace").strip("\0 ")
        entry = Info(
            str(stack.path), stack.format, *stack.shape, stack.layout.type_word, stack.layout.dtype.str[0], stack.pixel_size,
            getattr(reader, "old", False), _poses_of(stack), title, list(stack.notes),
        )  # fmt: skip
        entry.voxel_size, entry.origin = (list(getattr(reader, k, ())) or None for k in ("voxel", "origin"))
        entry.statistics = _statistics(stack, progress) if statistics else None
        return entry


def _info_of_list(src: str, error: StackNotFound) -> Info:
    """Of a list whose stacks are elsewhere: what it says itself."""
    path = Path(split_spec(src)[0])
    listed, form = read_alone(path)
    known, poses = listed.metadata, _Poses()
    for start in range(0, len(listed), _HEADERS):
        rows = np.arange(start, min(len(listed), start + _HEADERS))
        poses.add(known.select(rows).into_headers(np.zeros(len(rows), hdr.HEADER_DTYPE)))
    sizes = np.unique(known.pixel_size) if known.pixel_size is not None else np.zeros(0)
    size = float(sizes[0]) if len(sizes) == 1 and sizes[0] > 0 else None
    there = sum(present(name, path) is not None for name in listed.files)
    notes = [*listed.notes, f"lists images of {len(listed.files)} stacks, {there} of them there", str(error)]
    return Info(str(path), form, len(listed), 1, 0, 0, "not known", "|", size, False, poses.as_dict(), "", notes)


@dataclass
class Finding:
    """One thing that is not as it should be."""

    code: str
    severity: str
    message: str


@dataclass
class Validation:
    """Findings on one file; it is valid when none is an error."""

    file: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """No finding is an error."""
        return all(f.severity != "error" for f in self.findings)

    def add(self, code: str, message: str) -> None:
        """Note a finding of `FINDINGS`."""
        self.findings.append(Finding(code, FINDINGS[code][0], message))


@dataclass
class ValidateSummary:
    """Findings on some files, and names of those that are not there."""

    files: list[Validation]
    failures: list[Im4dError] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether all of them are valid."""
        return not self.failures and all(f.valid for f in self.files)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        files = [{"file": f.file, "valid": f.valid, "findings": f.findings} for f in self.files]
        return {"valid": self.valid, "files": files} | _unread(self.failures)

    def lines(self) -> list[str]:
        """For people: the verdict on each file, then its findings."""
        out = []
        for f in self.files:
            errors = sum(x.severity == "error" for x in f.findings)
            rest = len(f.findings) - errors
            count = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((errors, "error"), (rest, "warning")) if n]
            out.append(f"{f.file}: {'valid' if f.valid else 'not valid'}{' (' + ', '.join(count) + ')' if count else ''}")
            out += [f"  {x.severity} {x.code}: {x.message}" for x in f.findings]
        return out


def validate(srcs: list[str] | tuple[str, ...], *, densities: bool = True, progress: Progress = None) -> ValidateSummary:
    """Check files against the rules of their format (`FINDINGS` lists all that can be found).

    Parameters
    ----------
    srcs : sequence of path
    densities : bool
        Read the densities too: NaN, statistics, images without contrast.
    progress : callable, optional

    Returns
    -------
    ValidateSummary

    Raises
    ------
    InputError
        None of the files is there.
    """
    return ValidateSummary(*_each(srcs, lambda src: _validate(src, densities, progress)))


def _validate(src: str, densities: bool, progress: Progress) -> Validation:
    name = split_spec(src)[0]
    if not any(p.exists() for p in (Path(name), *pair_of(name))):
        raise InputError(f"{name}: not found")
    out = Validation(os.fspath(name))
    try:
        stack = open_stack(name)
    except InputError as error:
        out.add("unreadable", str(error))
        return out
    with stack:
        out.file = str(stack.path)
        if stack.format == "IMAGIC":
            _check_imagic(stack, out)
        if stack.format == "MRC":
            _check_mrc(stack, out)
        _check_values(stack, out)
        if densities:
            _check_densities(stack, out, progress)
    return out


def _check_values(stack: Stack, out: Validation) -> None:
    for start in range(0, stack.n_images, _HEADERS):
        try:
            stack.headers(start, min(stack.n_images, start + _HEADERS))
        except InputError as error:
            out.add("values", str(error).removeprefix(f"{stack.path}: "))
            return


def _records(stack: Stack) -> np.ndarray:
    """The first word of each header record's fixed part as it stands in the file, shape (n, 256), int32."""
    reader = stack.reader
    count = stack.objects if reader.per_volume else stack.n_images
    raw = np.empty((count, reader.nblocks * 256), f"{reader.order}i4")
    read_into(reader._hed_fd, 0, raw, reader.hed)
    return raw[:, :256].astype(np.int32)


def _where(bad: np.ndarray) -> str:
    places = np.flatnonzero(bad) + 1
    return format_locations(places[:20]) + (" ..." if len(places) > 20 else "")


def _check_imagic(stack: Stack, out: Validation) -> None:
    reader, word = stack.reader, _records(stack)
    n = stack.n_images
    if reader.per_volume:
        out.add("records", f"one header per volume; {n} headers, one for each section, would be right")
    if (word[:, 3] != reader.nblocks).any():
        out.add("records", f"word 4 is {word[0, 3]}; {reader.nblocks} would be right")
    if word[0, 1] != n - 1:
        out.add("counts", f"word 2 of header 1 is {word[0, 1]}; {n - 1} would be right")
    if word[1:, 1].any():
        out.add("counts", f"word 2 is not 0 in headers {_where(np.r_[False, word[1:, 1] != 0])}; it counts in header 1 only")
    for number, right, what in ((61, stack.sections, "sections"), (62, stack.objects, "objects")):
        bad = word[:, number - 1] != right
        if bad.any():
            out.add("counts", f"word {number} ({what}) is {word[np.argmax(bad), number - 1]}; {right} would be right")
    if (word[:, 0] != np.arange(1, len(word) + 1)).any():
        bad = word[:, 0] != np.arange(1, len(word) + 1)
        out.add("numbers", f"word 1 is {word[np.argmax(bad), 0]} in header {np.argmax(bad) + 1}")
    for number, what in ((13, "lines"), (14, "pixels"), (15, "type")):
        bad = word[:, number - 1] != word[0, number - 1]
        if bad.any():
            out.add("size", f"word {number} ({what}) of headers {_where(bad)} differs from header 1")
    if not reader.stamped:
        out.add("stamp", f"word 69 is {word[0, 68]}; {hdr.LITTLE} (little-endian) or {hdr.BIG} (big-endian) would be right")
    if word[:, 2].any():
        out.add("running", f"word 3 is {word[np.argmax(word[:, 2] != 0), 2]}; 0 would be right")
    if reader.old:
        out.add("old", f"word 12 is {word[0, 11]}, word 62 is {word[0, 61]}")
    if not 19800000 <= word[0, 67] <= 20991231:
        out.add("version", f"word 68 is {word[0, 67]}; a date like {hdr.IMAVERS} would be right")
    month, day, year, hour, minute, second = (word[0, k] for k in range(4, 10))
    if not (1 <= month <= 12 and 1 <= day <= 31 and 1980 <= year <= 2200 and hour < 24 and minute < 60 and second < 62):
        out.add("date", f"words 5 to 10 are {month} {day} {year} {hour} {minute} {second}; month, day, year, time would be right")
    out.findings += [Finding("length", FINDINGS["length"][0], note) for note in stack.notes if "behind the densities" in note]
    size = stack.layout.plane
    if word[0, 10] != size and size < 2**31:
        out.add("bytes", f"word 11 is {word[0, 10]}; {size} would be right")


def _check_mrc(stack: Stack, out: Validation) -> None:
    reader = stack.reader
    head = os.pread(reader.place(0)[0], 1024, 0)
    if head[208:212] != b"MAP ":
        out.add("mrc-stamp", f"bytes 209 to 212 are {head[208:212]!r}; b'MAP ' would be right")
    if head[212] not in (0x44, 0x11):
        out.add("mrc-stamp", f"byte 213 is {head[212]:#04x}; 0x44 (little-endian) or 0x11 would be right")
    if stack.pixel_size is None:
        out.add("mrc-cell", "cell dimensions and sampling (words 8 to 13) give no single pixel size")
    for note in stack.notes:
        if "space group" in note:
            out.add("mrc-group", note)
        elif "behind the densities" in note:
            out.add("length", note)
        elif note.endswith("not used"):
            out.add("star", note)


def _check_mrc_statistics(stack: Stack, found: dict[str, float], out: Validation) -> None:
    """Warn of minimum, maximum, mean and rms that are said to be known (MRC2014, note 9) and are others."""
    low, high, mean, rms = stack.reader.statistics
    if "not finite" in found or not found:
        return
    size = max(abs(found["min"]), abs(found["max"]), 1e-30)
    told = {"min": low, "max": high} if not high < low else {}
    told |= ({"mean": mean} if not mean < min(low, high) else {}) | ({"sigma": rms} if not rms < 0 else {})
    wrong = [k for k, v in told.items() if not abs(v - found[k]) <= 1e-3 * max(found["sigma"], 1e-3 * size)]
    if wrong and not (wrong == ["sigma"] and rms == 0):
        k = wrong[0]
        name = {"min": "minimum (word 20)", "max": "maximum (word 21)", "mean": "mean (word 22)", "sigma": "rms (word 55)"}[k]
        out.add("statistics", f"{name} is {told[k]:.6g}; the densities have {found[k]:.6g} (im4d copy writes the right ones)")


def _check_densities(stack: Stack, out: Validation, progress: Progress) -> None:
    bad: list[int] = []
    flat: list[int] = []
    wrong: list[int] = []
    whole = _Whole()
    for start, stop in stack.blocks():
        data = stack.read_raw(start, stop)
        with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN
            x = (np.abs(data) if data.dtype.kind == "c" else data).astype(np.float64).reshape(stop - start, -1)
        finite = np.isfinite(x).all(1)
        bad += (np.flatnonzero(~finite) + start + 1).tolist()
        with np.errstate(invalid="ignore", over="ignore"):
            low, high, mean, sigma = x.min(1), x.max(1), x.mean(1), x.std(1)
        flat += (np.flatnonzero(finite & (low == high)) + start + 1).tolist()
        if stack.format == "MRC":
            whole.add(x)
        if stack.format == "IMAGIC" and not stack.is_volumes:
            h = stack.headers(start, stop, checked=False)
            near = 1e-3 * np.maximum(sigma, 1e-30) + 1e-5 * np.abs(mean)
            given = np.stack([h["AVDENS"], h["SIGMA"], h["DENSMAX"], h["DENSMIN"]]).astype(np.float64)
            with np.errstate(invalid="ignore"):
                fits = (np.abs(given - np.stack([mean, sigma, high, low])) <= near * np.array([[1], [30], [10], [10]])).all(0)
            wrong += (np.flatnonzero(finite & ~fits) + start + 1).tolist()
        if progress:
            progress(stop, stack.n_images)
    if stack.format == "MRC":
        _check_mrc_statistics(stack, whole.result(), out)
    if bad:
        out.add("finite", f"NaN or infinite densities in images {format_locations(bad[:20])}{' ...' if len(bad) > 20 else ''}")
    if flat:
        out.add("flat", f"no contrast in images {format_locations(flat[:20])}{' ...' if len(flat) > 20 else ''}")
    if wrong:
        more = " ..." if len(wrong) > 20 else ""
        out.add("statistics", f"words 18, 19, 22, 23 do not fit images {format_locations(wrong[:20])}{more}")
