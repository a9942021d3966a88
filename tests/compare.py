"""The one comparer of files: by bytes, or field by field with the tolerance that fits each type."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from imagic4d_core.io.stack import open_stack


def same_bytes(a: str | Path, b: str | Path) -> None:
    """Assert that two files, IMAGIC pairs (named without extension), or folders hold the same bytes."""
    a, b = Path(a), Path(b)
    if a.is_dir():
        names = [sorted(str(p.relative_to(d)) for p in d.rglob("*") if p.is_file()) for d in (a, b)]
        assert names[0] == names[1], f"{a} and {b} hold different files: {set(names[0]) ^ set(names[1])}"
        for name in names[0]:
            same_bytes(a / name, b / name)
        return
    if not a.exists():
        for end in (".hed", ".img"):
            same_bytes(f"{a}{end}", f"{b}{end}")
        return
    x, y = np.fromfile(a, np.uint8), np.fromfile(b, np.uint8)
    assert x.size == y.size, f"{a} has {x.size} bytes, {b} has {y.size}"
    where = np.flatnonzero(x != y)
    assert where.size == 0, f"{a} and {b} differ in {where.size} bytes, first at {where[0]}"


def same_stack(
    a: str | Path, b: str | Path, *, rtol: float = 1e-6, atol: float = 0.0, headers: bool = True, ignore: tuple[str, ...] = ()
) -> None:
    """Assert that two image or volume files of any format hold the same objects.

    Parameters
    ----------
    a, b : path
    rtol, atol : float
        For densities and for floating-point header words.
    headers : bool
        Compare the header records too; integers and text exactly.
    ignore : tuple of str
        Header fields left out.
    """
    with open_stack(str(a)) as x, open_stack(str(b)) as y:
        for name in ("objects", "sections", "lines", "pixels"):
            assert getattr(x, name) == getattr(y, name), f"{name}: {getattr(x, name)} in {a}, {getattr(y, name)} in {b}"
        pixels = x.read(0, x.n_images), y.read(0, y.n_images)
        np.testing.assert_allclose(*pixels, rtol=rtol, atol=atol, err_msg=f"{a}, {b}: densities")
        if headers:
            same_records(x.headers(), y.headers(), rtol=rtol, atol=atol, ignore=ignore)


def same_records(x: np.ndarray, y: np.ndarray, *, rtol: float = 1e-6, atol: float = 0.0, ignore: tuple[str, ...] = ()) -> None:
    """Assert that two structured arrays agree field by field: floats within the tolerance, the rest exactly."""
    assert x.dtype.names == y.dtype.names
    bad = []
    for name in x.dtype.names or ():
        if name in ignore:
            continue
        close = x[name] == y[name]
        if x[name].dtype.kind == "f":
            close = np.isclose(x[name], y[name], rtol=rtol, atol=atol, equal_nan=True)
        if not np.all(close):
            i = int(np.argmin(np.atleast_1d(close).reshape(len(x), -1).all(axis=1)))
            bad.append(f"{name}: record {i} has {x[name][i]!r} and {y[name][i]!r}")
    assert not bad, "; ".join(bad)


def same_json(a: Any, b: Any, *, rtol: float = 1e-6, atol: float = 1e-9, path: str = "$") -> None:
    """Assert that two JSON documents (or files of them) agree, numbers within the tolerance."""
    if isinstance(a, Path) and isinstance(b, Path):
        a, b = json.loads(a.read_text()), json.loads(b.read_text())
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys(), f"{path}: keys {a.keys() ^ b.keys()}"
        for key in a:
            same_json(a[key], b[key], rtol=rtol, atol=atol, path=f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        assert len(a) == len(b), f"{path}: {len(a)} and {len(b)} items"
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same_json(x, y, rtol=rtol, atol=atol, path=f"{path}[{i}]")
    elif isinstance(a, float) or isinstance(b, float):
        assert np.isclose(a, b, rtol=rtol, atol=atol), f"{path}: {a} and {b}"
    else:
        assert a == b, f"{path}: {a!r} and {b!r}"
