"""The table beside simulated averages: what each is, as text of tab-separated columns."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.io.atomic import atomic_write_text
from imagic4d_core.simulation import Draw
from imagic4d_core.simulation_averages import JUNK, Deal

KINDS = ("good", "mixed", *(f"junk:{name}" for name in JUNK))
COLUMNS = ("image", "kind", "ref3d", "ref3d2", "share", "members", "alpha", "beta", "gamma", "rxshift", "ryshift")


@dataclass(frozen=True)
class TruthTable:
    """What of a table is needed for scores; arrays of shape (images,).

    Attributes
    ----------
    kind : ndarray of str
        One of `KINDS`.
    ref3d, ref3d2 : ndarray, int64
        3D of most members and of the others, 1-based; 0 for none.
    """

    kind: NDArray[np.str_]
    ref3d: NDArray[np.int64]
    ref3d2: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Averages of one 3D."""
        return self.kind == "good"

    @property
    def junk(self) -> NDArray[np.bool_]:
        """Averages that show no particle."""
        return np.char.startswith(self.kind, "junk:")


def table_path(output: str | os.PathLike) -> Path:
    """Where the table of an image file goes: ``NAME_truth.tsv`` beside it."""
    path = Path(output)
    return path.with_name((path.stem if path.suffix in (".hed", ".img", ".mrc", ".mrcs") else path.name) + "_truth.tsv")


def kinds_of(dealt: Deal) -> NDArray[np.str_]:
    """The word of `KINDS` for each average."""
    number = np.where(dealt.junk > 0, dealt.junk + 1, (dealt.second >= 0).astype(np.int64))
    return np.array(KINDS)[number]


def write_table(path: str | os.PathLike, dealt: Deal, truth: Draw, overwrite: bool = False) -> None:
    """Write the table of all averages; junk has no view and no shift (``-``)."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(COLUMNS)
    for i, kind in enumerate(kinds_of(dealt)):
        share = 1.0 - dealt.minor[i] / dealt.members[i]
        pose = [f"{v:.4f}" for v in (*truth.euler[i], *(0.0 - truth.displacement[i]))]
        if dealt.junk[i]:
            share, pose = 0.0, ["-"] * 5
        rows.writerow(
            [i + 1, kind, dealt.first[i] + 1, dealt.second[i] + 1, f"{share:.4f}", dealt.members[i], *pose]
        )  # fmt: skip
    atomic_write_text(path, text.getvalue(), overwrite)


def read_table(path: str | os.PathLike) -> TruthTable:
    """Read a table written by `write_table`.

    Raises
    ------
    InputError
        Missing, or not such a table.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise InputError(f"{path}: cannot be read: {getattr(err, 'strerror', None) or err}") from err
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    if not rows or not {"image", "kind", "ref3d", "ref3d2"} <= set(rows[0]):
        raise InputError(f"{path}: not the table of simulate --averages: it needs columns image, kind, ref3d and ref3d2")
    for number, row in enumerate(rows, 1):
        sound = row["image"] == str(number) and row["kind"] in KINDS
        if not sound or not all((row[c] or "").isdigit() for c in ("ref3d", "ref3d2")):
            raise InputError(f"{path}: line {number + 1} is not that of image {number}: kind is one of {', '.join(KINDS)}")
    refs = np.array([[int(r["ref3d"]), int(r["ref3d2"])] for r in rows], np.int64)
    return TruthTable(np.array([r["kind"] for r in rows]), refs[:, 0], refs[:, 1])
