"""Statistics that the writer puts into headers: against exact sums, and the same bits however they are made."""

import errno
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.statistics import statistics as naive

from imagic4d_core.errors import OutputError
from imagic4d_core.io import layout
from imagic4d_core.io import statistics as stats
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack, open_stack

SHAPES = [(1, 1), (7, 9), (16, 16), (31, 33), (64, 64), (257, 256), (300, 301)]


def images(shape, count=3, seed=0):
    rng = np.random.default_rng(seed)
    scale, shift = rng.uniform(1e-3, 1e4, (count, 1, 1)), rng.uniform(-1e4, 1e4, (count, 1, 1))
    return (rng.standard_normal((count, *shape)) * scale + shift).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["f4", "i2", "u1", "i4", "f2", "c8"])
def test_against_exact_sums(shape, dtype):
    x = images(shape)
    x = (x + 1j * x[:, ::-1]).astype("c8") if dtype == "c8" else (x if dtype == "f4" else (np.abs(x) % 100).astype(dtype))
    want = np.array([naive(i) for i in x])
    close(stats.image_statistics(x), want, 1e-6 if dtype == "c8" else 1e-7)  # amplitudes are float32


def close(got, want, share):
    """Mean to a share of the standard deviation, variance to a share of itself; limits exactly, but for amplitudes."""
    sigma = np.sqrt(want[:, 1])
    assert (np.abs(got[:, 0] - want[:, 0]) <= share * sigma + (1e-15 if share < 1e-6 else share) * np.abs(want[:, 0])).all()
    np.testing.assert_allclose(got[:, 1], want[:, 1], rtol=20 * share)
    np.testing.assert_allclose(got[:, 2:], want[:, 2:], rtol=0 if share < 1e-6 else share)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_does_not_matter_how_many_come_together(shape):
    x = images(shape, 40)
    w = np.random.default_rng(1).random(x[0].size).astype(np.float32)
    rows = x.reshape(len(x), -1)
    assert np.concatenate([stats.image_statistics(i[None]) for i in x]).tobytes() == stats.image_statistics(x).tobytes()
    assert np.concatenate([stats.moments(r[None], w) for r in rows]).tobytes() == stats.moments(rows, w).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000), st.integers(0, 99), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e-40, 1e-30, 1e-9, 1.0, 1e4, 1e17]),
    st.sampled_from(["noise", "hot pixel", "ramp", "step", "zeros but for one"]), st.booleans(),
)  # fmt: skip
def test_densities_of_every_kind(size, seed, level, scale, kind, weighted):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(size)
    if kind == "hot pixel":
        x[rng.integers(size)] = 1e5
    elif kind == "ramp":
        x = np.linspace(-1, 1, size)
    elif kind == "step":
        x = np.sign(np.arange(size) - size // 3).astype(float)
    elif kind == "zeros but for one":
        x = (np.arange(size) == rng.integers(size)).astype(float)
    x = (x * scale + level * (abs(level) < 1e5 * scale)).astype(np.float32).reshape(1, -1)
    w = rng.random(size).astype(np.float32) if weighted else np.ones(size, np.float32)
    mean = math.fsum(x[0].astype(float) * w) / math.fsum(w.astype(float))
    var = math.fsum(w * (x[0].astype(float) - mean) ** 2) / math.fsum(w.astype(float))
    got = stats.moments(x, w if weighted else None)[0]
    assert got[0] == pytest.approx(mean, abs=1e-6 * np.sqrt(var) + 1e-15 * abs(mean) + 1e-60)
    assert got[1] == pytest.approx(var, rel=1e-5, abs=(1e-13 * mean) ** 2 + 1e-110)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-42, 3e38, 1e-20, 12345.678])
@pytest.mark.parametrize("shape", [(1, 1), (13, 17), (128, 128), (400, 401)])
def test_constant_images(shape, value):
    got = stats.image_statistics(np.full((2, *shape), value, np.float32))
    assert (got == [np.float32(value), 0, np.float32(value), np.float32(value)]).all()


def test_weights_that_are_0():
    x = np.arange(32, dtype=np.float32).reshape(2, 16)
    assert (stats.moments(x, np.zeros(16, np.float32)) == 0).all()
    # what lies where the weight is 0 does not count, whatever it is
    w = np.zeros(16, np.float32)
    w[:4] = 1
    x[:, 10] = 1e30
    np.testing.assert_allclose(stats.moments(x, w), [[1.5, 1.25], [17.5, 1.25]])


def test_values_that_are_not_finite():
    x = images((20, 20), 3)
    x[0, 3, 3], x[1, 0, 0], x[1, 0, 1] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        got = stats.image_statistics(x)
    assert np.isnan(got[0]).all()
    assert got[1, 2] == -np.inf and got[1, 3] == np.inf
    assert np.isfinite(got[2]).all()


def test_pieces_cover_every_value_once():
    for count, size, most in ((1, 1, 4), (5, 3, 7), (3, 10, 4), (2, 8, 8), (7, 1, 3)):
        seen = np.zeros((count, size), int)
        for where in stats.pieces(count, size, most):
            seen[where] += 1
            assert seen[where].size <= most
        assert (seen == 1).all()


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


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_large_densities_are_finite(dtype):
    x = np.full((2, 7, 7), 6e4 if dtype == "f2" else 1e30, dtype)  # no sum or square of which is
    assert layout.all_finite(x)
    for bad in (np.nan, np.inf, -np.inf):
        x[1, 3, 3] = bad
        assert not layout.all_finite(x)
