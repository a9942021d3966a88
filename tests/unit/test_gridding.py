"""Slices out of and into the Fourier grid, against naive twins."""

import os
import subprocess
import sys

import numpy as np
import pytest
from oracle import gridding as naive

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.kernels import gridding
from imagic4d_core.recon.grid import correction, grid_for, stencil_table


def full_to_grid(full, grid):
    """A full periodic spectrum (P, P, P), axes (z, x, y), in the storage of the kernels."""
    half = np.ascontiguousarray(full[:, :, : grid.padded // 2 + 1].astype(np.complex64))
    cells = np.empty(2 * int(np.prod(grid.shape)), np.float32)
    gridding.store_grid(half.view(np.float32).reshape(*half.shape, 2), np.array(grid.shape), cells)
    return cells


def take(grid, cells, matrices, shifts, box):
    out = np.zeros((len(matrices), box, box // 2 + 1), np.complex64)
    tiles = gridding.tile_order(np.arange(len(matrices)), matrices, grid.r_max, grid.oversampling, grid.reach)
    gridding.slice_grid(
        cells, np.array(grid.shape), box, grid.r_max, grid.oversampling, grid.width,
        stencil_table(grid.width, grid.oversampling), matrices, tiles, gridding.phase_ramps(box, grid.r_max, shifts),
        out.view(np.float32).reshape(*out.shape, 2),
    )  # fmt: skip
    return out


def hermitian(size, seed):
    return np.fft.fftn(np.random.default_rng(seed).normal(size=(size,) * 3))


@pytest.mark.parametrize("box, r_max", [(8, None), (9, None), (12, 3)])
@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize("oversampling", [1.5, 2.0])
def test_slices_equal_the_naive_twin(box, r_max, width, oversampling):
    grid = grid_for(box, r_max, oversampling, width)
    full = hermitian(grid.padded, 1)
    cells = full_to_grid(full, grid)
    rng = np.random.default_rng(2)
    matrices, shifts = random_rotations(rng, 3), rng.normal(size=(3, 2))
    got = take(grid, cells, matrices, shifts, box)
    for i in range(3):
        want = naive.slice_spectrum(full, box, grid.r_max, grid.oversampling, width, matrices[i], shifts[i])
        np.testing.assert_allclose(got[i], want, atol=3e-5 * np.abs(want).max())


@pytest.mark.parametrize("box", [8, 9])
@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize("density", [0.0, 0.2])
def test_insertion_equals_the_naive_twin(box, width, density):
    grid = grid_for(box, None, 2.0, width)
    rng = np.random.default_rng(3)
    image = np.fft.rfft2(rng.normal(size=(box, box))).astype(np.complex64)[None]
    matrices, shifts = random_rotations(rng, 1), rng.normal(size=(1, 2))
    cells = int(np.prod(grid.shape))
    num, den = np.zeros(2 * cells, np.int64), np.zeros(cells, np.int64)
    scale = 2.0**24
    tiles = gridding.tile_order(np.arange(1), matrices, grid.r_max, grid.oversampling, grid.reach)
    gridding.insert_slices(
        num, den, np.array(grid.shape), box, grid.r_max, grid.oversampling, width, stencil_table(width, grid.oversampling),
        image.view(np.float32).reshape(*image.shape, 2), matrices, tiles, gridding.phase_ramps(box, grid.r_max, shifts),
        np.ones(1, np.float32), np.zeros((1, 0, 0), np.float32), scale, scale, density,
        np.array([0, grid.shape[0], 0]),
    )  # fmt: skip
    z, x, y = grid.shape
    got_num, got_den = np.zeros((z, x, y - gridding.LEFT, 2), np.float32), np.zeros((z, x, y - gridding.LEFT), np.float32)
    edge = (z, x, 2 * gridding.LEFT + 1)
    edges, shape = (np.zeros((*edge, 2), np.int64), np.zeros(edge, np.int64)), np.array(grid.shape)
    out = (1 / scale, 1 / scale, *edges, got_num, got_den)
    for low, high in ((0, z // 3), (z // 3, z)):
        gridding.fold_rows(num[None], den[None], np.zeros(1, int), shape, low, high, 0, *out)
    gridding.close_edges(shape, *out)
    size = 2 * grid.reach + 2  # large enough for no wrapping in the twin
    want_num, want_den = naive.insert_slice(
        size, image[0].astype(np.complex128), box, grid.r_max, grid.oversampling, width, matrices[0], shifts[0], density
    )
    index = np.arange(-grid.reach, grid.reach + 1)
    window = np.ix_(index, index, np.arange(y - gridding.LEFT))
    complex_num = got_num[..., 0] + 1j * got_num[..., 1]
    # the stencil ends at 1e-4 of its peak; points right on a cell (DC) have one end more in the twin
    np.testing.assert_allclose(complex_num, want_num[window], atol=1e-3 * np.abs(want_num).max())
    np.testing.assert_allclose(got_den, want_den[window], atol=1e-3 * want_den.max())


def test_sums_do_not_depend_on_order():
    grid = grid_for(16)
    rng = np.random.default_rng(4)
    f = np.fft.rfft2(rng.normal(size=(20, 16, 16))).astype(np.complex64)
    m, s = random_rotations(rng, 20), rng.normal(size=(20, 2))
    cells = int(np.prod(grid.shape))

    def put(order):
        num, den = np.zeros(2 * cells, np.int64), np.zeros(cells, np.int64)
        for part in order:
            use = np.array(part)
            tiles = gridding.tile_order(use, m, grid.r_max, grid.oversampling, grid.reach)
            gridding.insert_slices(
                num, den, np.array(grid.shape), 16, grid.r_max, grid.oversampling, 4, stencil_table(4, grid.oversampling),
                f.view(np.float32).reshape(*f.shape, 2), m, tiles, gridding.phase_ramps(16, grid.r_max, s),
                np.ones(20, np.float32), np.zeros((20, 0, 0), np.float32), 2.0**30, 2.0**32, 0.0,
                np.array([0, grid.shape[0], 0]),
            )  # fmt: skip
        return num, den

    one = put([list(range(20))])
    other = put([[7, 3], list(range(19, 7, -1)), [0, 1, 2, 4, 5, 6]])
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_every_point_is_in_one_tile():
    m = random_rotations(np.random.default_rng(5), 4)
    for top in (1, 7, 8, 31):
        tiles = gridding.tile_order(np.array([1, 3]), m, top, 2.0, 2 * top + 2)
        seen = {(i, kx + a, ky + b) for i, kx, ky in tiles.tolist() for a in range(8) for b in range(8)}
        need = {(i, x, y) for i in (1, 3) for x in range(-top, top + 1) for y in range(top + 1) if x * x + y * y <= top * top}
        assert need <= seen and len({tuple(t) for t in tiles.tolist()}) == len(tiles)


def test_correction_is_the_transform_of_the_table():
    for width in (3, 4):
        grid = grid_for(32, None, 2.0, width)
        table = stencil_table(width, grid.oversampling).reshape(-1, 4)
        steps = gridding.TABLE_STEPS
        t = np.arange(steps) / steps
        u = (width / 2 + t[:, None] - 1 - np.arange(4)).ravel()
        x = (np.arange(32) - 16) / grid.padded
        transform = (table[:steps].ravel()[:, None] * np.cos(2 * np.pi * u[:, None] * x)).sum(0) / steps
        np.testing.assert_allclose(transform / transform[16], correction(grid), atol=2e-3)
        assert table[:steps].sum(1).mean() == pytest.approx(1, abs=1e-3)


def test_grids_shrink_with_r_max():
    whole, low = grid_for(64), grid_for(64, 10)
    assert whole.small == 64 and low.small < 30
    assert np.prod(low.shape) < 0.06 * np.prod(whole.shape)
    assert grid_for(65).small == 65 and grid_for(65).r_max == 32 and grid_for(64).r_max == 31


@pytest.mark.parametrize(
    "options", [{"box": 4}, {"box": 64, "oversampling": 1.0}, {"box": 64, "width": 5}, {"box": 64, "r_max": 0}]
)
def test_bad_sizes(options):
    with pytest.raises(UsageError):
        grid_for(**options)


def test_without_jit():
    """The Python twins of the vector code give the same projections and sums."""
    code = """
import numpy as np
from imagic4d_core.forward import Projector
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.recon.fourier import Accumulator
v = np.random.default_rng(1).normal(size=(8, 8, 8)).astype(np.float32)
m = random_rotations(np.random.default_rng(2), 2)
for w in (3, 4):
    p = Projector(v, width=w).slices(m, np.ones((2, 2)))
    acc = Accumulator(1, 8, width=w)
    acc.insert(p, m, [0, 0])
    print(repr(np.abs(p).sum()), repr(float(acc.den.sum())), repr(np.abs(acc.num).astype(float).sum()))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    numbers = []
    for off in ("0", "1"):
        done = subprocess.run([sys.executable, "-c", code], env=env | {"NUMBA_DISABLE_JIT": off}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        numbers.append(np.array([float(s.split("(")[-1].strip(")")) for s in done.stdout.split()]))
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-5)
