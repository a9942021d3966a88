"""The comparer finds what differs."""

import numpy as np
import pytest
from compare import same_bytes, same_json, same_records


def test_bytes(tmp_path):
    for name, content in (("a.hed", b"1"), ("a.img", b"2"), ("b.hed", b"1"), ("b.img", b"3")):
        (tmp_path / name).write_bytes(content)
    same_bytes(tmp_path / "a", tmp_path / "a")
    with pytest.raises(AssertionError, match="first at 0"):
        same_bytes(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError, match=r"a\.hed"):
        (tmp_path / "d").mkdir()
        same_bytes(tmp_path, tmp_path / "d")


def test_records():
    a = np.zeros(3, [("n", "i4"), ("x", "f4")])
    b = a.copy()
    b["x"][1] = 1e-9
    same_records(a, b, atol=1e-6)
    b["n"][2] = 1
    with pytest.raises(AssertionError, match="n: record 2"):
        same_records(a, b, atol=1e-6)
    same_records(a, b, atol=1e-6, ignore=("n",))


def test_json():
    same_json({"a": [1.0, None]}, {"a": [1.0 + 1e-12, None]})
    with pytest.raises(AssertionError, match=r"\$\.a\[0\]"):
        same_json({"a": [1.0]}, {"a": [1.1]})
