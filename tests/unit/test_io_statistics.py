"""Statistics that the writer puts into headers: against exact sums, and the same bits however they are made."""

import errno
import sys

import numpy as np
import pytest
from oracle.statistics import statistics as naive

from imagic4d_core.errors import OutputError
from imagic4d_core.io import layout
from imagic4d_core.io import statistics as stats
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack, open_stack
from imagic4d_core.kernels import statistics as fast

SHAPES = [(1, 1), (7, 9), (16, 16), (31, 33), (64, 64), (257, 256), (300, 301)]


def images(shape, count=3, seed=0):
    rng = np.random.default_rng(seed)
    scale, shift = rng.uniform(1e-3, 1e4, (count, 1, 1)), rng.uniform(-1e4, 1e4, (count, 1, 1))
    return (rng.standard_normal((count, *shape)) * scale + shift).astype(np.float32)


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(stats, "compiled", fast.sum_rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["f4", "i2", "u1", "c8"])
def test_against_exact_sums(shape, dtype):
    x = images(shape)
    x = (x + 1j * x[:, ::-1]).astype("c8") if dtype == "c8" else (x if dtype == "f4" else (np.abs(x) % 100).astype(dtype))
    got = stats.image_statistics(x)
    want = np.array([naive(i) for i in x])
    exact = 1e-6 if dtype == "c8" else 1e-9  # amplitudes are float32
    np.testing.assert_allclose(got, want, rtol=exact, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_and_numpy_give_the_same_bits(shape, compiled):
    x = images(shape)
    rows = x.reshape(len(x), -1)
    want, got = np.empty((len(x), 4)), np.empty((len(x), 4))
    stats.sum_rows(rows, want)
    fast.sum_rows(rows, got)
    assert want.tobytes() == got.tobytes()
    # nor does it matter how many come together
    assert np.concatenate([stats.image_statistics(i[None]) for i in x]).tobytes() == got.tobytes()


def test_values_that_are_not_finite(compiled):
    x = images((20, 20), 3)
    x[0, 3, 3], x[1, 0, 0], x[1, 0, 1] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        got = stats.image_statistics(x)
    assert np.isnan(got[0]).all()
    assert got[1, 2] == -np.inf and got[1, 3] == np.inf
    assert np.isfinite(got[2]).all()


@pytest.mark.parametrize("volumes", [False, True])
@pytest.mark.parametrize("first", ["densities", "headers", "none"])
def test_headers_do_not_depend_on_the_order_of_writing(tmp_path, monkeypatch, volumes, first):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    x = images((6, 5), 12)
    head = blank_headers(12, 6, 5)
    head["REF3D"] = np.arange(12) if first != "none" else 0
    shape = (3, 4) if volumes else (12, 1)
    with create_stack(tmp_path / "a", *shape, 6, 5, pixel_size=2.0) as out:
        for start, stop in ((0, 7), (7, 12)):  # cuts through a volume
            if first == "headers":
                out.set_headers(start, head[start:stop])
            out.write(start, x[start:stop])
            if first == "densities":
                out.set_headers(start, head[start:stop])
    with open_stack(tmp_path / "a") as stack:
        h = stack.headers()
    one = x.reshape(*shape, 6, 5).astype(np.float64)
    parts = one.reshape(3, -1) if volumes else one.reshape(12, -1)
    for word, value in (("AVDENS", parts.mean(1)), ("SIGMA", parts.std(1)), ("DENSMIN", parts.min(1)), ("DENSMAX", parts.max(1))):
        np.testing.assert_allclose(h[word], np.repeat(value, shape[1]), rtol=1e-6)
    assert (h["REF3D"] == head["REF3D"]).all() and (h["NYEAR"] == 2023).all() and (h["PIXSIZE"] == 2).all()
    assert list(h["IMN"]) == list(range(1, 13))


def test_statistics_of_densities_written_twice_are_those_of_the_last(tmp_path):
    with create_stack(tmp_path / "a", 2, 1, 4, 4) as out:
        out.write(0, np.ones((2, 4, 4)))
        out.set_headers(0, blank_headers(2, 4, 4))
        out.write(1, np.full((1, 4, 4), 5.0))
    with open_stack(tmp_path / "a") as stack:
        assert list(stack.headers()["AVDENS"]) == [1, 5]


def test_a_full_device_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_fallocate", lambda: lambda *a: errno.ENOSPC)
    if sys.platform != "linux":
        pytest.skip("space is reserved on Linux only")
    with pytest.raises(OutputError, match="No space left"):
        create_stack(tmp_path / "a", 1, 1, 4, 4)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_fallocate", lambda: lambda *a: errno.EOPNOTSUPP)
    with create_stack(tmp_path / "a", 1, 1, 4, 4) as out:
        out.write(0, np.ones((1, 4, 4)))
    assert (tmp_path / "a.img").stat().st_size == 64
