"""The IMAGIC header: one table of the 256 words, and the structured dtype built from it.

Source: imagic-format sheet, section 2 (vendor page "IMAGIC Formats and Conventions", IMAGIC-4D state).
Words 79 to 93, which IMAGIC no longer uses, hold values of our own; they count only where word 79 is `TAG`.
"""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Bytes of one header record.
RECORD = 1024
#: Word 69 of a little-endian IEEE file, of a big-endian one, and both readings of the VAX stamp.
LITTLE, BIG, VAX = 33686018, 67372036, (16777216, 1)
#: Word 68 of the files written here (format version as yyyymmdd).
IMAVERS = 20260101
#: Word 79: bytes ``IM4D``, "words 80 to 93 are ours".
TAG = 0x44344D49
#: Begin of the line of the history (word 200) that tells which images a volume was made of, see `recon.members`.
MADE_OF = b"made-of:"
#: Density type words and their little-endian dtypes.
TYPES = {"REAL": "<f4", "LONG": "<i4", "INTG": "<i2", "PACK": "u1", "COMP": "<c8", "RECO": "<c8"}


class Word(NamedTuple):
    """One header entry: first word (1-based), name, type (I, F, or C with its length in bytes), meaning."""

    number: int
    name: str
    type: str
    meaning: str
    length: int = 1


WORDS: tuple[Word, ...] = (
    Word(1, "IMN", "I", "location number, counting images or sections"),
    Word(2, "IFOL", "I", "images or sections that follow (first record only)"),
    Word(3, "IERROR", "I", "error code during a run"),
    Word(4, "NBLOCKS", "I", "header records per image"),
    Word(5, "NMONTH", "I", "creation month"),
    Word(6, "NDAY", "I", "creation day"),
    Word(7, "NYEAR", "I", "creation year"),
    Word(8, "NHOUR", "I", "creation hour"),
    Word(9, "NMINUT", "I", "creation minute"),
    Word(10, "NSEC", "I", "creation second"),
    Word(11, "RSIZE", "I", "size of image or section, bytes"),
    Word(12, "IZOLD", "I", "top left Z before THREED-CUT"),
    Word(13, "IXLP", "I", "number of lines"),
    Word(14, "IYLP", "I", "number of pixels per line"),
    Word(15, "TYPE", "C4", "density type: REAL, LONG, INTG, PACK, COMP, RECO"),
    Word(16, "IXOLD", "I", "top left X before CUT-IMAGE"),
    Word(17, "IYOLD", "I", "top left Y before CUT-IMAGE"),
    Word(18, "AVDENS", "F", "mean density"),
    Word(19, "SIGMA", "F", "standard deviation of the densities"),
    Word(20, "USER1", "F", "free for the user"),
    Word(21, "USER2", "F", "free for the user"),
    Word(22, "DENSMAX", "F", "maximum density"),
    Word(23, "DENSMIN", "F", "minimum density"),
    Word(24, "COMPLEX", "I", "flag: densities are complex"),
    Word(25, "DEFOCUS1", "F", "defocus 1, angstrom"),
    Word(26, "DEFOCUS2", "F", "defocus 2, angstrom"),
    Word(27, "DEFANGLE", "F", "angle of astigmatism, degrees"),
    Word(28, "SINOSTRT", "F", "start angle of a sinogram, or largest wave number of a spectrum"),
    Word(29, "SINOEND", "F", "end angle of a sinogram, or wave number step of a spectrum"),
    Word(30, "NAME", "C80", "title"),
    Word(50, "CCC3D", "F", "3D similarity"),
    Word(51, "REF3D", "I", "3D membership"),
    Word(52, "MIDENT", "I", "micrograph identification"),
    Word(53, "EZSHIFT", "F", "equivalent Z shift"),
    Word(54, "EALPHA", "F", "equivalent alpha, degrees"),
    Word(55, "EBETA", "F", "equivalent beta, degrees"),
    Word(56, "EGAMMA", "F", "equivalent gamma, degrees"),
    Word(57, "REF3DOLD", "I", "3D membership before the last angular reconstitution"),
    Word(58, "ACTIVE", "I", "above 0 active, below 0 inactive, 0 never set"),
    Word(59, "NALISUM", "I", "number of images summed"),
    Word(60, "PGROUP", "I", "point group, e.g. 622"),
    Word(61, "IZLP", "I", "sections of each volume"),
    Word(62, "I4LP", "I", "number of objects in the file"),
    Word(63, "I5LP", "I", "higher dimension"),
    Word(64, "I6LP", "I", "higher dimension"),
    Word(65, "ALPHA", "F", "Euler angle alpha, degrees"),
    Word(66, "BETA", "F", "Euler angle beta, degrees"),
    Word(67, "GAMMA", "F", "Euler angle gamma, degrees"),
    Word(68, "IMAVERS", "I", "format version, yyyymmdd"),
    Word(69, "REALTYPE", "I", "machine stamp"),
    Word(70, "LOCMICRO", "I", "location of the particle in the micrograph"),
    Word(71, "IXMICRO", "I", "centre X in the micrograph"),
    Word(72, "IYMICRO", "I", "centre Y in the micrograph"),
    Word(73, "LOCORIG", "I", "location in the original file"),
    Word(74, "NUMFRAME", "I", "number of movie frames"),
    Word(75, "PUPSIZE", "I", "upper particle size, pixels"),
    Word(76, "PLOWSIZE", "I", "lower particle size, pixels"),
    Word(77, "PICKEDGX", "I", "smallest distance from the edge when picking, X"),
    Word(78, "PICKEDGY", "I", "smallest distance from the edge when picking, Y"),
    Word(79, "IM4DTAG", "I", "im4d: mark that words 80 to 93 are set"),
    Word(80, "RXSHIFT", "F", "im4d: shift along X (lines) still to be applied, pixels"),
    Word(81, "RYSHIFT", "F", "im4d: shift along Y (pixels) still to be applied, pixels"),
    Word(82, "CONFID3D", "F", "im4d: confidence of the 3D membership, 0 to 1"),
    Word(83, "MARGIN3D", "F", "im4d: score margin to the second best 3D, standard deviations"),
    Word(84, "REF3D2", "I", "im4d: second best 3D"),
    Word(85, "EULERERR", "F", "im4d: standard error of the pose, degrees"),
    Word(86, "FOLD", "I", "im4d: fold of cross-validation"),
    Word(87, "HALFSET", "I", "im4d: half set, 1 or 2"),
    Word(88, "ZSCORE3D", "F", "im4d: score of the best 3D, standard deviations"),
    Word(89, "FOLDSEED", "I", "im4d: seed of the folds"),
    Word(90, "FOLDS", "I", "im4d: number of folds"),
    Word(91, "NIMG3D", "I", "im4d: number of images in this 3D"),
    Word(92, "MIRRORED", "I", "im4d: 1 where the image was mirrored (y -> -y) before the moves of words 116 to 118"),
    Word(93, "CTFDONE", "I", "im4d: CTF correction of the pixels: 1 phases flipped, 2 Wiener, 3 multiplied by the CTF"),
    Word(94, "READIM", "I", "I/O state of a running program"),
    Word(95, "WRITIM", "I", "I/O state of a running program"),
    Word(96, "NUM", "I", "I/O state of a running program"),
    Word(97, "NUMHEAD", "I", "I/O state of a running program"),
    Word(98, "LBUF", "I", "I/O state of a running program"),
    Word(99, "READONLY", "I", "I/O state of a running program"),
    Word(100, "ANGLE", "F", "last rotation angle, degrees"),
    Word(101, "VOLTAGE", "F", "accelerating voltage, V or kV"),
    Word(102, "SPABERR", "F", "spherical aberration, mm"),
    Word(103, "FOCDIST", "F", "focal distance, mm"),
    Word(104, "CCC", "F", "cross-correlation peak"),
    Word(105, "ERRAR", "F", "error in angular reconstitution"),
    Word(106, "ERR3D", "F", "error in 3D reconstruction"),
    Word(107, "REF", "I", "reference number"),
    Word(108, "CLASSNO", "F", "MSA class number"),
    Word(109, "LOCOLD", "F", "location before CUT-IMAGE or the copying of angular reconstitution NEW"),
    Word(110, "REPQUAL", "F", "representation quality"),
    Word(111, "ZSHIFT", "F", "last shift along Z, pixels"),
    Word(112, "XSHIFT", "F", "last shift along X (lines), pixels"),
    Word(113, "YSHIFT", "F", "last shift along Y (pixels), pixels"),
    Word(114, "NUMCLS", "F", "members of the class, if a class average"),
    Word(115, "OVQUAL", "F", "overall quality of the class"),
    Word(116, "EANGLE", "F", "equivalent rotation angle, degrees"),
    Word(117, "EXSHIFT", "F", "equivalent X shift, pixels"),
    Word(118, "EYSHIFT", "F", "equivalent Y shift, pixels"),
    Word(119, "CMTOTVAR", "F", "total variance relative to the centre of mass"),
    Word(120, "INFORMAT", "F", "MSA information measure"),
    Word(121, "NUMEIGEN", "I", "number of eigenimages"),
    Word(122, "NIACTIVE", "I", "number of images active in MSA"),
    Word(123, "PIXSIZE", "F", "pixel size, angstrom"),
    Word(124, "APERTURE", "F", "aperture, micrometre"),
    Word(125, "CTFQUAL", "F", "quality of the CTF determination"),
    Word(126, "ALPHA2", "F", "Euler angle alpha of projection matching, degrees"),
    Word(127, "BETA2", "F", "Euler angle beta of projection matching, degrees"),
    Word(128, "GAMMA2", "F", "Euler angle gamma of projection matching, degrees"),
    Word(129, "NMETRIC", "F", "metric of MSA"),
    Word(130, "ACTMSA", "F", "flag: active in the MSA run"),
    Word(131, "COOSMSA", "F", "coordinates along the eigenimages (word 150: eigenvalue of an eigenimage)", 69),
    Word(200, "HISTORY", "C228", "coded history"),
)


def _field(word: Word) -> tuple:
    if word.type[0] == "C":
        return (word.name, f"S{word.type[1:]}")
    kind = {"I": "<i4", "F": "<f4"}[word.type]
    return (word.name, kind) if word.length == 1 else (word.name, kind, (word.length,))


#: One header record, little-endian, 1024 bytes.
HEADER_DTYPE = np.dtype([_field(w) for w in WORDS])
assert HEADER_DTYPE.itemsize == RECORD

_BY_NAME = {w.name: w for w in WORDS}
#: Words whose meaning changed since IMAGIC-5: not to be used from a file with the old layout (section 2.1).
CHANGED = tuple(
    w.name
    for w in WORDS
    if any(
        a <= w.number <= b
        for a, b in [(12, 12), (20, 21), (25, 29), (50, 60), (63, 64), (70, 99), (101, 103), (110, 111), (123, 125)]
    )
)
CHARACTER = tuple(w.name for w in WORDS if w.type[0] == "C")


def find_word(key: str | int) -> tuple[str, int | None]:
    """Field name, and index inside an array field, of a word given by name or by number.

    Parameters
    ----------
    key : str or int
        ``"REF3D"``, ``"ref3d"``, ``51``, ``"51"``, ``"EIGVAL"``, ``"COOSMSA(3)"``.

    Returns
    -------
    name : str
    index : int or None

    Raises
    ------
    KeyError
        No such word.
    """
    text = str(key).strip().upper()
    if text == "EIGVAL":
        text = "150"
    if text.isdigit():
        number = int(text)
        for word in WORDS:
            size = int(word.type[1:]) // 4 if word.type[0] == "C" else word.length
            if word.number <= number < word.number + size:
                return word.name, (number - word.number if word.length > 1 else None)
        raise KeyError(f"no header word {key}; words run from 1 to 256")
    name, _, inner = text.partition("(")
    if name in _BY_NAME and (not inner or (inner[:-1].isdigit() and 1 <= int(inner[:-1]) <= _BY_NAME[name].length)):
        return name, (int(inner[:-1]) - 1 if inner else None)
    raise KeyError(f"no header word {key!r}")


def creation_time() -> tuple[int, int, int, int, int, int]:
    """Month, day, year, hour, minute, second of now, or of ``SOURCE_DATE_EPOCH`` (then UTC)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    t = time.gmtime(int(epoch)) if epoch.isdigit() else time.localtime()
    return t.tm_mon, t.tm_mday, t.tm_year, t.tm_hour, t.tm_min, t.tm_sec


def blank_headers(
    count: int, lines: int = 1, pixels: int = 1, sections: int = 1, *, type_word: str = "REAL", pixel_size: float | None = None
) -> NDArray:
    """Headers of a fresh file of `count` images or sections; creation time left zero, to be filled when written.

    Parameters
    ----------
    count : int
        Number of images or sections (records).
    lines, pixels, sections : int
        Size of one object.
    type_word : str
        Density type.
    pixel_size : float or None
        Angstrom.

    Returns
    -------
    ndarray, shape (count,), `HEADER_DTYPE`
    """
    h = np.zeros(count, HEADER_DTYPE)
    h["PIXSIZE"] = pixel_size or 0.0
    set_geometry(h, 0, max(1, count // max(1, sections)), sections, lines, pixels, type_word)
    return h


def set_geometry(
    h: NDArray, start: int, objects: int, sections: int, lines: int, pixels: int, type_word: str, nblocks: int = 1
) -> None:
    """Fill the words that depend on the file (1, 2, 3, 4, 11, 13 to 15, 24, 61, 62, 68, 69), in place.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    start : int
        Image number (0-based) of the first record in the file.
    objects, sections, lines, pixels : int
        Shape of the file.
    type_word : str
        Density type.
    nblocks : int
        Header records per image.
    """
    h["IMN"] = np.arange(start + 1, start + 1 + len(h))
    h["IFOL"] = 0
    if start == 0 and len(h):
        h["IFOL"][0] = objects * sections - 1
    h["IERROR"] = 0
    h["NBLOCKS"] = nblocks
    size = lines * pixels * np.dtype(TYPES[type_word]).itemsize
    h["RSIZE"] = size if size < 2**31 else 0
    h["IXLP"], h["IYLP"], h["TYPE"] = lines, pixels, type_word.encode()
    h["COMPLEX"] = int(type_word in ("COMP", "RECO"))
    h["IZLP"], h["I4LP"] = sections, objects
    plausible = (h["IMAVERS"] >= 19800000) & (h["IMAVERS"] <= 20991231)
    h["IMAVERS"] = np.where(plausible, h["IMAVERS"], IMAVERS)
    h["REALTYPE"] = LITTLE
    for name in ("READIM", "WRITIM", "NUM", "NUMHEAD", "LBUF", "READONLY"):
        h[name] = 0


def add_history(h: NDArray, text: str) -> None:
    """Append a line to the coded history (word 200), in place; the oldest lines go where 228 characters do not hold all.

    Those that tell what a volume was made of go last.

    A line that is the last one already is not repeated. Lines are separated by semicolons.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    text : str
        Made ASCII, and 72 characters at most.
    """
    room = HEADER_DTYPE["HISTORY"].itemsize
    line = text.encode("ascii", "replace").replace(b";", b",")[:72]
    for old in set(h["HISTORY"].tolist()):
        parts = [p for p in old.strip(b"\0 ").split(b";") if p]
        if parts[-1:] != [line]:
            parts.append(line)
        while len(b";".join(parts)) > room:
            parts.pop(next((i for i, p in enumerate(parts) if not p.startswith(MADE_OF)), 0))
        new = b";".join(parts)
        if new != old.rstrip(b"\0 "):
            h["HISTORY"][h["HISTORY"] == old] = new.ljust(room)


def made_of_lines(history: Iterable[bytes]) -> list[bytes]:
    """The lines in some histories (words 200) that tell what volumes were made of, each once, in the order of their coming."""
    lines = (line.strip(b" \0") for text in dict.fromkeys(history) for line in text.split(b";"))
    return [line for line in dict.fromkeys(lines) if line.startswith(MADE_OF)]


def keep_made_of(h: NDArray, history: bytes) -> None:
    """Take over the lines that tell what a volume was made of from the history of the volume, in place."""
    for line in made_of_lines([history]):
        add_history(h, line.decode("ascii", "replace"))


def to_bytes(h: NDArray) -> NDArray[np.uint8]:
    """Records as they stand in a file, character words padded with blanks.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`

    Returns
    -------
    ndarray, shape (n, 1024), uint8
    """
    # numpy copies records word by word, plain bytes ten times as fast
    raw = np.array(np.ascontiguousarray(h, HEADER_DTYPE).view(np.uint8).reshape(len(h), RECORD))
    out = raw.view(HEADER_DTYPE)[:, 0]
    fields: Mapping[str, Any] = HEADER_DTYPE.fields or {}
    for name in CHARACTER:
        kind, offset = fields[name][:2]
        short = np.flatnonzero(raw[:, offset + kind.itemsize - 1] == 0)
        if len(short):
            out[name][short] = [text.ljust(kind.itemsize) for text in out[name][short].tolist()]
    return raw


def swap_words(h: NDArray) -> NDArray:
    """Records of a big-endian file in little-endian order: all but the character words are swapped.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    """
    out = h.copy()
    for word in WORDS:
        if word.type[0] != "C":
            out[word.name] = h[word.name].byteswap()
    return out


def clean_old(h: NDArray, stamped: bool) -> NDArray:
    """Turn records of the IMAGIC-5 layout into current ones, in place: words that changed meaning become zero.

    Month and day are exchanged where only that makes a date, years counted from 1900 become full.

    Parameters
    ----------
    h : ndarray, shape (n,), `HEADER_DTYPE`
    stamped : bool
        False where word 69 is no machine stamp: words 65 to 67 are then kept only where all three can be angles.
    """
    for name in CHANGED:
        h[name] = 0
    day_first = (h["NMONTH"] > 12) & (h["NMONTH"] <= 31) & (h["NDAY"] >= 1) & (h["NDAY"] <= 12)
    month = np.where(day_first, h["NDAY"], h["NMONTH"])
    h["NDAY"] = np.where(day_first, h["NMONTH"], h["NDAY"])
    h["NMONTH"] = month
    h["NYEAR"] += np.where((h["NYEAR"] > 70) & (h["NYEAR"] < 200), 1900, 0).astype(np.int32)
    angles = np.stack([h["ALPHA"], h["BETA"], h["GAMMA"]])
    size = np.abs(angles)
    # integers and memory left over, read as floats, are next to nothing or huge
    bad = ~np.isfinite(angles) | ((size > 0) & (size < 1e-6)) | (size > 1e4)
    if not stamped:
        bad |= bad.any(axis=0)
    for name, value, wrong in zip(("ALPHA", "BETA", "GAMMA"), angles, bad, strict=True):
        h[name] = np.where(wrong, 0, value)
    return h
