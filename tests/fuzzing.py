"""Files damaged at random, by seed: a case is a file of a known format with some of its bytes, words or values changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagic4d_core.io.header import HEADER_DTYPE, TAG
from imagic4d_core.io.stack import write_stack
from tests.imagic_files import pattern

BOX, COUNT = 8, 5
#: Texts that numbers are replaced by.
WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e300", b"99999999999999999999", b"x", b"''", b"", b"'", b"data_", b"loop_", b"#",
    b"\xff\xfe", b"_rlnImageName",
)  # fmt: skip
#: 32 bits that a word is replaced by.
BITS = (0, -1, 1, 2, 2**31 - 1, -(2**31), 0x7FC00000, 0x7F800000, 0x3F800000, 1 << 20, 1 << 24)
STAR = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
1 2.0 300 2.7 0.1
2 2.0 200 2.7 0.1

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnAngleRot #3
_rlnAngleTilt #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
_rlnClassNumber #8
_rlnDefocusU #9
_rlnDefocusV #10
_rlnDefocusAngle #11
_rlnRandomSubset #12
"""


def _poses() -> np.ndarray:
    h = np.zeros(COUNT, HEADER_DTYPE)
    h["IM4DTAG"], h["ALPHA"], h["BETA"], h["REF3D"], h["RXSHIFT"] = TAG, np.arange(COUNT), 30, 1 + np.arange(COUNT) % 2, 0.5
    h["DEFOCUS1"], h["DEFOCUS2"], h["VOLTAGE"], h["SPABERR"] = 1e4, 1.1e4, 3e5, 2.7
    return h


def _images(path: Path) -> None:
    write_stack(path, pattern(COUNT, BOX, BOX), _poses(), pixel_size=2.0)


def _sidecar(path: Path) -> None:
    _images(path.with_suffix(".mrcs"))


def _volume(path: Path) -> None:
    write_stack(path, pattern(1, BOX, BOX, BOX), pixel_size=2.0)


def _star(path: Path) -> None:
    row = "{n:06d}@p.mrcs {g} {k}.5 30 -4 1.5 -2 {g} 10000 11000 45 {g}\n"
    path.write_text(STAR + "".join(row.format(n=k + 1, g=k % 2 + 1, k=k) for k in range(COUNT)))


def _cs(path: Path) -> None:
    kinds = [("uid", "<u8"), ("blob/path", "S20"), ("blob/idx", "<u4"), ("blob/psize_A", "<f4"), ("ctf/df1_A", "<f4")]
    kinds += [("ctf/df2_A", "<f4"), ("ctf/df_angle_rad", "<f4"), ("ctf/accel_kv", "<f4"), ("ctf/cs_mm", "<f4")]
    kinds += [("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,)), ("alignments3D/class", "<u4")]
    table = np.zeros(COUNT, kinds)
    table["uid"], table["blob/path"], table["blob/idx"], table["blob/psize_A"] = np.arange(COUNT), b">p.mrcs", np.arange(COUNT), 2
    table["alignments3D/pose"], table["ctf/accel_kv"] = 0.3, 300
    with open(path, "wb") as handle:
        np.save(handle, table)


def _par(path: Path) -> None:
    values = "1 2 3 0.5 -0.5 50000 1 10000 11000 45 100 -500 0.5 20 0"
    path.write_text("C  PSI THETA PHI\n" + "".join(f"{k + 1} {values}\n" for k in range(COUNT)))


def _plt(path: Path) -> None:
    path.write_text("".join(f"{k + 1} {k}.5 {2 * k}\n" for k in range(COUNT)))


#: Format -> (name of the file that is damaged, how it is made). Lists name the stack p.mrcs beside them.
FORMATS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "imagic": ("f.hed", _images), "mrc": ("f.mrcs", _images), "map": ("f.map", _volume), "sidecar": ("f.star", _sidecar),
    "spider": ("f.spi", _images), "spider volume": ("f.vol", _volume), "star": ("f.star", _star), "cs": ("f.cs", _cs),
    "par": ("f.par", _par), "plt": ("f.plt", _plt), "hdf": ("f.hdf", _images),
}  # fmt: skip


def make(folder: Path, form: str) -> Path:
    """A folder with a sound file of a format; returns the file that is to be damaged."""
    folder.mkdir(parents=True)
    write_stack(folder / "p.mrcs", pattern(COUNT, BOX, BOX), pixel_size=2.0)
    if form == "par":
        shutil.copy(folder / "p.mrcs", folder / "f.mrcs")
    name, maker = FORMATS[form]
    maker(folder / name)
    return folder / name


def damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with one to four changes: bits, words of 32 bits, texts for words, cut off, longer, doubled, moved."""
    out = bytearray(raw)
    text = not any(c > 126 or (c < 32 and c not in (9, 10, 13)) for c in raw)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        kind = rng.choice(["word", "line", "byte", "cut"] if text else ["bits", "word32", "head32", "byte", "cut", "copy"])
        at = int(rng.integers(len(out)))
        head = min(len(out), 1100)
        if kind == "bits":
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == "byte":
            out[at] = int(rng.integers(256))
        elif kind in ("word32", "head32"):
            k = int(rng.integers(max(1, (len(out) if kind == "word32" else head) // 4))) * 4
            value = int(BITS[rng.integers(len(BITS))] & 0xFFFFFFFF)
            out[k : k + 4] = value.to_bytes(4, "little" if rng.random() < 0.8 else "big")
        elif kind == "copy":
            size = int(rng.integers(1, 64))
            to = int(rng.integers(len(out)))
            out[to : to + size] = out[at : at + size]
        elif kind == "cut":
            out = out[:at] if rng.random() < 0.5 else out + out[: int(rng.integers(1, 200))]
        else:
            parts = bytes(out).split(b"\n")
            k = int(rng.integers(len(parts)))
            if kind == "line":
                parts[k : k + 1] = [parts[k]] * int(rng.choice([0, 2]))
            elif words := parts[k].split(b" "):
                words[int(rng.integers(len(words)))] = WORDS[rng.integers(len(WORDS))]
                parts[k] = b" ".join(words)
            out = bytearray(b"\n".join(parts))
    return bytes(out)


def listing(folder: Path) -> list[str]:
    """All files of a folder, hidden ones too."""
    return sorted(os.path.relpath(os.path.join(top, f), folder) for top, _, files in os.walk(folder) for f in files)
