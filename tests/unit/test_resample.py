"""Kernels and functions of the geometric operations against their naive twins."""

import os
import subprocess
import sys

import numpy as np
import pytest
from oracle import resample as naive

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.kernels import resample as kernels
from imagic4d_core.resample.move import affine, array_axes, coefficients, move, reflect
from imagic4d_core.resample.shift import shift
from imagic4d_core.resample.window import cut, edge_mean, sides
from imagic4d_core.resample.zoom import bin_axis, plan, zoom
from imagic4d_core.rng import rng_for

BOXES = [(8, 8), (9, 9), (7, 10), (6, 7, 8), (5, 5, 5), (1, 9), (2, 3)]


def noise(*shape, dtype=np.float32):
    return rng_for(3, "resample").standard_normal(shape).astype(dtype)


def some_moves(n, ndim):
    rng = rng_for(4, "moves")
    shift = rng.uniform(-2, 2, (n, ndim))
    angle = rng.uniform(-180, 180, (3, n))
    return Moves.turns(angle[0], shift) if ndim == 2 else Moves.rotations(*angle, shift)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "spline"])
@pytest.mark.parametrize("box", BOXES)
def test_affine_is_scipys(box, method, dtype):
    d = len(box)
    data, moves = noise(2, *box, dtype=dtype), some_moves(2, d)
    matrix, shift = array_axes(moves)
    out = tuple(k + 1 for k in box)
    got = affine(data, matrix, shift + 2.0, out, method, np.array([0.5, -1.0]))
    assert got.dtype == dtype and got.shape == (2, *out)
    for k in range(2):
        want = naive.affine(data[k], matrix[k], shift[k] + 2.0, out, method, (0.5, -1.0)[k])
        # scipy's spline of an axis of one or two pixels is another one
        if method != "spline" or min(box) > 2:
            np.testing.assert_allclose(got[k], want, atol=1e-5 if dtype == np.float32 else 1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "spline"])
@pytest.mark.parametrize("box", [*BOXES, (3, 40)])
@pytest.mark.parametrize("far", [1.0, 20.0])
def test_shifts_are_those_of_the_kernels(box, method, dtype, far):
    d = len(box)
    data = noise(3, *box, dtype=dtype)
    distance = rng_for(5, "shift").uniform(-2, 2, d) * far
    if d == 3:
        distance[1] = 0.0
    levels = np.array([0.5, -1.0, 3.0])
    want = affine(data, np.tile(np.eye(d), (3, 1, 1)), np.tile(-distance, (3, 1)), box, method, levels)
    got = shift(data, distance, method, levels)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want, atol=2e-6 if dtype == np.float32 else 1e-7)


@pytest.mark.parametrize("box", [(3, 3), (4, 9), (30, 17), (6, 7, 20)])
def test_spline_coefficients(box):
    data = noise(2, *box, dtype=np.float64)
    got = coefficients(data, len(box))
    for k in range(2):
        np.testing.assert_allclose(got[k], naive.spline_coefficients(data[k]), atol=2e-8)


def test_threads_give_the_same_bits():
    data, moves = noise(1, 20, 9, 11), some_moves(1, 3)
    for method in ("spline", "bilinear", "nearest"):
        assert np.array_equal(move(data, moves, method=method), move(data, moves, method=method, threads=3))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [3, 8, 13])
def test_cut(box, size):
    data = noise(2, *box)
    centre = [k // 3 for k in box]
    want = (size,) * len(box)
    for fill, level in (("edge", None), ("mean", None), (2.5, 2.5)):
        got = cut(data, want, centre, fill)
        for k in range(2):
            lo = [max(0, c - size // 2) for c in centre]
            hi = [min(n, c - size // 2 + size) for c, n in zip(centre, box, strict=True)]
            part = data[k][tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))]
            fill_value = level or (naive.edge_mean(part) if fill == "edge" else float(part.mean(dtype=np.float64)))
            np.testing.assert_allclose(got[k], naive.cut(data[k], want, centre, fill_value), atol=1e-6)


@pytest.mark.parametrize("box", BOXES)
def test_edge_mean(box):
    data = noise(3, *box)
    np.testing.assert_allclose(edge_mean(data, len(box)), [naive.edge_mean(x) for x in data], atol=1e-7)


@pytest.mark.parametrize("n", [12, 13, 7, 20])
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_binning(n, step):
    x = noise(2, n, 3)
    want = np.stack([[naive.binned(x[i, :, j], step) for j in range(3)] for i in range(2)]).swapaxes(1, 2)
    np.testing.assert_allclose(bin_axis(x, 1, step), want, atol=1e-6)
    assert np.allclose(bin_axis(np.full((1, n, 4), 3.0), 1, step), 3.0)


def test_fourier_zoom_is_the_trigonometric_polynomial():
    x = noise(1, 9, 9, dtype=np.float64)
    z = plan((9, 9), factor=5 / 3)
    got = zoom(x, z)[0]
    assert z.box == (15, 15) and z.factor == 5 / 3
    at = (np.indices((15, 15)).reshape(2, -1) - 7) * 0.6 + 4
    np.testing.assert_allclose(got.ravel(), naive.fourier_sample(x[0], at), atol=1e-10)


@pytest.mark.parametrize(
    ("box", "options", "want"),
    [
        ((64, 64), {"factor": 0.5}, ((32, 32), 0.5, (64, 64))),
        ((64, 48), {"factor": 0.5}, ((32, 24), 0.5, (64, 48))),
        ((64, 50), {"factor": 0.75}, ((48, 38), 0.75, (64, 52))),
        ((64, 64), {"factor": 0.33}, ((21, 21), 21 / 64, (64, 64))),
        ((10, 10, 10), {"new": (15, 15, 15)}, ((15, 15, 15), 1.5, (10, 10, 10))),
        ((64, 64), {"factor": 0.33, "method": "spline"}, ((21, 21), 0.33, (64, 64))),
        ((64, 64), {"factor": 0.25 / 0.75, "exact": True}, ((21, 21), 1 / 3, (66, 66))),
        ((64, 64), {"factor": 0.3, "exact": True, "new": (24, 24)}, ((24, 24), 0.3, (70, 70))),
        ((125,) * 3, {"factor": 0.2875, "exact": True}, ((36,) * 3, 0.2875, (160,) * 3)),
        ((65, 64), {"factor": 0.25, "method": "coarse"}, ((16, 16), 0.25, (65, 64))),
    ],
)
def test_plan(box, options, want):
    z = plan(box, **options)
    assert (z.box, z.padded) == want[::2] and abs(z.factor - want[1]) < 1e-12


def test_an_exact_factor_is_met_everywhere():
    for side in (31, 64, 101, 125):
        for factor in (0.123, 0.3141, 0.5777, 1.2345, 2.71):
            z = plan((side, side), factor=factor, exact=True)
            assert abs(z.factor / factor - 1) < 1.0001e-4 or max(z.padded) <= max(2 * side, 128)
            assert abs(round(z.factor * z.padded[0]) - z.factor * z.padded[0]) < 1e-9


def test_plans_that_make_no_sense():
    with pytest.raises(UsageError, match="by one factor"):
        plan((64, 48), new=(32, 32))
    with pytest.raises(UsageError, match="whole number"):
        plan((64, 64), factor=0.7, method="coarse")
    with pytest.raises(UsageError, match="leaves nothing"):
        plan((64, 64), factor=0.001)


def test_sides():
    assert sides((5,), 2, "--box") == (5, 5) and sides((1, 2, 3), 3, "--box") == (3, 1, 2)
    with pytest.raises(UsageError, match="3 numbers are needed"):
        sides((1, 2), 3, "--box")


@pytest.mark.parametrize("n", [6, 7])
def test_reflect(n):
    x = noise(2, 3, n)
    r = reflect(x)
    assert np.array_equal(reflect(r), x) and np.array_equal(r[..., n // 2], x[..., n // 2])
    assert np.array_equal(r[..., n // 2 + 1], x[..., n // 2 - 1])


def test_without_a_compiler():
    """The kernels are plain Python as well."""
    code = """
import numpy as np
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.resample.move import move
x = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6) % 7
v = np.arange(4 * 5 * 3, dtype=np.float32).reshape(1, 4, 5, 3) % 11
for m in ("spline", "bilinear", "nearest"):
    a = move(x, Moves.turns([30.0, 80.0], [0.5, 0.2]), method=m)
    b = move(v, Moves.rotations([10.0], [20.0], [30.0], [0.1, 0.2, 0.3]), method=m)
    print(*np.round(np.concatenate([a.ravel(), b.ravel()]), 4))
"""
    outs = []
    for value in ("0", "1"):
        env = os.environ | {"NUMBA_DISABLE_JIT": value}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        outs.append(np.array(done.stdout.split(), float))
    np.testing.assert_allclose(outs[0], outs[1], atol=2e-4)


def test_warmup_compiles_all():
    from imagic4d_core.resample.warm import warmup

    warmup()
    assert kernels.cubic3.signatures and kernels.linear2.signatures
