"""IMAGIC pairs as other programs write them, made word by word, independent of the writer under test."""

from pathlib import Path

import numpy as np

TYPES = {"REAL": "f4", "LONG": "i4", "INTG": "i2", "PACK": "u1", "COMP": "c8", "RECO": "c8"}


def write_pair(
    root: Path, data: np.ndarray, type_word: str = "REAL", *, order: str = "<", nblocks: int = 1, per_volume: bool = False,
    old: bool = False, words: dict[int, int] | None = None, floats: dict[int, float] | None = None,
) -> Path:  # fmt: skip
    """Write `data`, shape (objects, sections, lines, pixels), and headers with every word by its number; returns `root`."""
    objects, sections, lines, pixels = data.shape
    records = objects * (1 if per_volume else sections)
    w = np.zeros((records, nblocks * 256), f"{order}i4")
    f = w.view(f"{order}f4")
    w[:, 0] = np.arange(1, records + 1)
    w[0, 1] = records - 1
    w[:, 3] = nblocks
    w[:, 4:10] = (11, 22, 2026, 8, 30, 0)
    w[:, 10] = lines * pixels * np.dtype(TYPES[type_word]).itemsize
    w[:, 12], w[:, 13] = lines, pixels
    w[:, 60], w[:, 61] = sections, objects
    w[:, 67], w[:, 68] = 20190319, 33686018 if order == "<" else 67372036
    w[:, 50] = np.arange(records) + 100
    f[:, 64] = np.arange(records) + 0.5
    f[:, 122] = 2.5
    if nblocks > 1:
        f[:, 256:] = np.arange(records)[:, None]
    if old:
        w[:, 11] = lines * pixels
    for number, value in (words or {}).items():
        w[:, number - 1] = value
    for number, value in (floats or {}).items():
        f[:, number - 1] = value
    raw = w.view(np.uint8).reshape(records, -1)
    raw[:, 56:60] = np.frombuffer(type_word.encode(), np.uint8)
    raw[:, 116:196] = np.frombuffer(b"a title".ljust(80), np.uint8)
    Path(f"{root}.hed").write_bytes(raw.tobytes())
    stored = data.astype(f"{order}{TYPES[type_word]}" if TYPES[type_word] != "u1" else "u1")
    Path(f"{root}.img").write_bytes(stored.tobytes())
    return root


def pattern(*shape: int, kind: str = "f4", low: int = 0, high: int = 200) -> np.ndarray:
    """Densities that differ from place to place, whole numbers from `low` to `high`."""
    count = int(np.prod(shape))
    values = low + (np.arange(count) * 37 + np.arange(count) // 7) % (high - low)
    if kind == "c8":
        return (values + 1j * values[::-1]).astype("c8").reshape(shape)
    return values.astype(kind).reshape(shape)
