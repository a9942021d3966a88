"""Loops of search and local refinement against naive twins."""

import os
import subprocess
import sys

import numpy as np
import pytest
from oracle import search as naive
from scipy.stats import spearmanr

from imagic4d_core import fourier
from imagic4d_core.angrec import warm
from imagic4d_core.angrec.assign import Candidates, HalfPlane, refine_block
from imagic4d_core.angrec.polar import PolarSampler, harmonics, line_count
from imagic4d_core.angrec.references import prepare_references
from imagic4d_core.angrec.search import Bank, filter_amplitudes, make_bank, radial_weights, search, shift_grid, turned
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import angular_distance, matrix_from_rotvec, random_rotations
from imagic4d_core.kernels import local
from imagic4d_core.kernels import search as kernels
from imagic4d_core.models import Model, project, volume


def model(seed, radius=6.0):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(14, 3))
    c *= (rng.random(14) ** (1 / 3) * radius / np.linalg.norm(c, axis=1))[:, None]
    return Model("m", c, rng.uniform(1.2, 1.8, 14), rng.uniform(0.5, 1.5, 14))


def half_grid(m, seed=0):
    real = np.random.default_rng(seed).standard_normal((m, m, m))
    return np.ascontiguousarray(fourier.rfftn(real, 3).astype(np.complex64))


def spectra_of(images):
    return fourier.centred_rfftn(images, 2).astype(np.complex64)


@pytest.mark.parametrize("m", [10, 12])
def test_take_linear(m):
    grid = half_grid(m)
    rng = np.random.default_rng(1)
    poses = random_rotations(rng, 3)
    points = rng.uniform(-1.4, 1.4, (40, 2))
    out = np.empty((3, 40), np.complex64)
    kernels.take_linear(grid, 2.0, poses, points, out)
    full = naive.full_spectrum(grid)
    want = np.array([naive.section(full, 2.0, p, points) for p in poses])
    np.testing.assert_allclose(out, want, atol=2e-5 * abs(want).max())


def test_merge_best_keeps_the_earlier_of_equals():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 4, (9, 50)).astype(np.float32)
    best, arg = np.full(50, 1.0, np.float32), np.full(50, -7, np.int32)
    kernels.merge_best(scores, 100, best, arg)
    top = scores.max(0)
    np.testing.assert_array_equal(best, np.maximum(top, 1))
    np.testing.assert_array_equal(arg, np.where(top > 1, 100 + scores.argmax(0), -7))


@pytest.mark.parametrize("h", [6, 7])
def test_scan_shifts(h):
    rng = np.random.default_rng(3)
    n, d, nr = 3, 4, 5

    def draw(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    lines, refs, ramps = draw(n, h, nr), draw(d, h, nr), np.exp(1j * rng.uniform(0, 6, (6, h, nr))).astype(np.complex64)
    which, turns = rng.integers(0, d, (n, 2)).astype(np.int32), rng.integers(0, 2 * h, (n, 2)).astype(np.int32)
    best, arg = np.empty((n, 2), np.float32), np.empty((n, 2), np.int32)
    kernels.scan_shifts(lines, refs, which, turns, ramps, best, arg)
    for i in range(n):
        for k in range(2):
            top, at = naive.best_shift(lines[i], refs[which[i, k]], int(turns[i, k]), ramps)
            assert arg[i, k] == at
            assert best[i, k] == pytest.approx(top, rel=1e-4)


@pytest.mark.parametrize("box", [27, 28])
def test_polar_samples_are_the_fourier_transform(box):
    images = project(model(4), random_rotations(np.random.default_rng(5), 2), None, box)
    for r_max in (5, 11):  # with and without a smaller grid in between
        sampler = PolarSampler(box, r_max, line_count(r_max, 20.0))
        got = sampler.sample(spectra_of(images))
        assert got.shape == (2, sampler.n_alpha // 2, r_max)
        want = np.array([naive.nudft(i, sampler.points) for i in images]).reshape(got.shape)
        np.testing.assert_allclose(got, want, atol=3e-3 * abs(want).max())


def test_ramps_move_the_image():
    box, m = 28, model(4)
    pose = random_rotations(np.random.default_rng(6), 1)
    sampler = PolarSampler(box, 9, 64)
    shift = np.array([[1.3, -2.2]])
    moved, still = (sampler.sample(spectra_of(project(m, pose, s, box))) for s in (-shift, None))
    np.testing.assert_allclose(moved * sampler.ramps(shift), still, atol=2e-3 * abs(still).max())


@pytest.mark.parametrize("seed", range(10))
def test_search_by_products_is_the_sum_over_lines(seed):
    rng = np.random.default_rng(seed)
    nr, h, n, d = int(rng.integers(2, 6)), 2 * int(rng.integers(4, 9)), 3, 5

    def draw(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    sampler = PolarSampler(24, nr, 2 * h)
    grid = half_grid(24, seed)
    references = prepare_references([np.zeros((24, 24, 24), np.float32)], np.array([1]), np.array([0]), nr)
    references.grids, references.oversampling = grid[None], 2.0
    poses = random_rotations(rng, d)
    bank = make_bank(references, [0], poses, sampler, object_radius=99.0)  # all harmonics
    variants = [draw(n, h, nr), draw(n, h, nr)]
    best, arg = search(bank, [harmonics(v, bank.basis.shape[1] // 2) for v in variants])
    w = radial_weights(nr)
    for i in range(n):
        for j in range(d):
            g = np.empty((1, h * nr), np.complex64)
            kernels.take_linear(grid, 2.0, poses[j : j + 1], sampler.points, g)
            g = g.reshape(h, nr) * w / np.sqrt(2 * (w * abs(g.reshape(h, nr)) ** 2).sum())
            scores = np.array([[naive.turned_product(v[i], g, q) for q in range(2 * h)] for v in variants]).ravel()
            assert best[i, j] == pytest.approx(scores.max(), rel=1e-3, abs=1e-3)
            assert scores[arg[i, j]] == pytest.approx(scores.max(), rel=1e-3, abs=1e-3)


def test_the_turn_of_a_pose():
    """An image turned in its plane is found at the turned pose."""
    directions = sphere.matrices(*sphere.directions(30.0))
    want = directions[5:6]
    for turn in (0, 7, 40):
        pose = turned(want, np.array([turn], np.int32), 64)
        m, box = model(7), 28
        sampler = PolarSampler(box, 8, 64)
        references = prepare_references([volume(m, box)], np.array([1]), np.array([0]), 8)
        bank = make_bank(references, [0], directions, sampler, object_radius=0.5)
        best, arg = search(bank, [harmonics(sampler.sample(spectra_of(project(m, pose, None, box))), bank.basis.shape[1] // 2)])
        assert best[0].argmax() == 5 and arg[0, 5] == turn


def test_amplitude_filter():
    lines = np.array([[[3 + 4j, 0, -2]]], np.complex64)
    np.testing.assert_allclose(abs(filter_amplitudes(lines, 0.5)), [[[np.sqrt(5), 0, np.sqrt(2)]]], rtol=1e-6)
    np.testing.assert_allclose(filter_amplitudes(lines, 1.0), [[[0.6 + 0.8j, 0, -1]]], rtol=1e-6)


def test_shift_grid():
    grid = shift_grid(2.0, 1.0)
    assert len(grid) == 13 and not grid[0].any() and np.hypot(*grid.T).max() <= 2


def test_search_with_anchor_sections_ranks_as_sinogram_correlation(tmp_path):
    """Trial sections of inserted anchors score as the correlation with the anchors along common lines does."""
    from imagic4d_core.geometry.poses import Poses
    from imagic4d_core.io.header import blank_headers
    from imagic4d_core.io.stack import open_stack, write_stack
    from imagic4d_core.jobs.scheme.angrec.anchors import volumes_of_projections

    box, r_max, m = 28, 8, model(8)
    anchors = sphere.matrices(*sphere.directions(26.0, mirror=True))
    poses = Poses.blank(len(anchors))
    poses.set_matrices(anchors)
    projections = project(m, anchors, None, box)
    write_stack(tmp_path / "a.hed", projections, poses.into_headers(blank_headers(len(anchors), box, box)))
    with open_stack(tmp_path / "a.hed") as stack:
        volumes, numbers, folds = volumes_of_projections(stack, poses, r_max, "C1")
    references = prepare_references(volumes, numbers, folds, r_max)
    sampler = PolarSampler(box, r_max, 72)
    directions = sphere.matrices(*sphere.directions(24.0))
    bank = make_bank(references, [0], directions, sampler, object_radius=0.5)
    truth = turned(directions[[9, 30, 55]], np.array([5, 20, 60], np.int32), 72)
    lines = sampler.sample(spectra_of(project(m, truth, None, box)))
    best, arg = search(bank, [harmonics(lines, bank.basis.shape[1] // 2)])
    anchor_lines = sampler.sample(spectra_of(projections))
    w = radial_weights(r_max)
    for i, at in enumerate((9, 30, 55)):
        posed = turned(directions, arg[i], 72)
        scores = [naive.sinogram_correlation(lines[i], p, anchor_lines, anchors, 72, w) for p in posed]
        assert np.argmax(scores) == best[i].argmax() == at
        assert spearmanr(scores, best[i]).statistic > 0.95


def equations(images, points, ctf, grid, os, mat, shift, box):
    h, g = np.zeros((6, 6)), np.zeros(6)
    phases = np.empty((2 * int(np.abs(points).max()) + 1, 4))
    local._normal_equations(images, points, ctf, grid, os, mat, shift, box, phases, h, g)
    return h, g


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_normal_equations_are_those_of_finite_differences(seed):
    box, os = 12, 2.0
    grid = half_grid(24, seed)
    rng = np.random.default_rng(seed)
    plane = HalfPlane.make(box, 4)
    mat, shift = random_rotations(rng, 1)[0], rng.normal(size=2)
    image = (rng.standard_normal(len(plane.points)) + 1j * rng.standard_normal(len(plane.points))).astype(np.complex64)
    seen = rng.uniform(-1, 1, len(plane.points)).astype(np.float32)
    h, g = equations(image, plane.points, seen, grid, os, mat, shift, box)
    full = naive.full_spectrum(grid)

    def value(u):
        return seen * naive.pose_model(full, os, plane.points, mat, u[1:4], u[0], shift + u[4:], box)

    start, eps = np.array([1.0, 0, 0, 0, 0, 0]), 1e-6
    jac = np.stack([(value(start + eps * e) - value(start - eps * e)) / (2 * eps) for e in np.eye(6)], 1)
    # at a cell's face the interpolation has no derivative; such points are none here, or they would stand out
    want = (jac.conj().T @ jac).real
    np.testing.assert_allclose(np.tril(h), np.tril(want), atol=2e-3 * abs(want).max())
    size = np.linalg.norm(image)
    for a in range(6):
        assert g[a] == pytest.approx((jac[:, a].conj() @ image).real, abs=2e-3 * np.linalg.norm(jac[:, a]) * size)
    s = value(start)
    assert g[0] == pytest.approx((s.conj() @ image).real, abs=1e-3 * np.linalg.norm(s) * size)
    assert h[0, 0] == pytest.approx(np.linalg.norm(s) ** 2, rel=1e-4)


@pytest.mark.parametrize("box", [31, 32])
def test_refinement_recovers_a_pose(box):
    m, rng, n = model(9, 8.0), np.random.default_rng(1), 20
    references = prepare_references([volume(m, box)], np.array([1]), np.array([0]), 11)
    truth, shift = random_rotations(rng, n), rng.normal(size=(n, 2))
    axis = rng.standard_normal((n, 3))
    off = matrix_from_rotvec(np.deg2rad(8.0) * axis / np.linalg.norm(axis, axis=1)[:, None]) @ truth
    angle = rng.uniform(0, 2 * np.pi, n)
    found = Candidates.empty(n, 1)
    found.score[:] = 0
    found.matrix[:, 0], found.shift[:, 0] = off, shift + np.stack([np.cos(angle), np.sin(angle)], 1)
    images = spectra_of(project(m, truth, -shift, box))
    refine_block(images, found, references, np.zeros((n, 1), np.int64), HalfPlane.make(box, 11))
    error = angular_distance(found.matrix[:, 0], truth)
    assert np.median(error) < 0.5 and error.max() < 1.5
    assert np.hypot(*(found.shift[:, 0] - shift).T).max() < 0.15
    assert found.score.min() > 0.99


def test_shift_limit_of_refinement():
    m, box = model(9), 28
    references = prepare_references([volume(m, box)], np.array([1]), np.array([0]), 8)
    pose = random_rotations(np.random.default_rng(2), 1)
    found = Candidates.empty(1, 1)
    found.score[:] = 0
    found.matrix[:, 0] = pose
    far = spectra_of(project(m, pose, np.array([[3.0, 0.0]]), box))
    refine_block(far, found, references, np.zeros((1, 1), np.int64), HalfPlane.make(box, 8), max_shift=1.0)
    assert np.hypot(*found.shift[0, 0]) <= 1 + 1e-9


def test_warmup_compiles_the_types_in_use():
    warm.warmup()
    for k in (kernels.take_linear, kernels.merge_best, kernels.scan_shifts, local.refine_poses):
        assert len(k.signatures) == 1, "other types than those of warmup were compiled"


def test_bank_of_an_empty_reference_has_no_norm():
    box = 28
    references = prepare_references([volume(model(1), box), np.zeros((box,) * 3, np.float32)], np.array([1, 2]), np.zeros(2), 6)
    bank = make_bank(references, [0, 1], np.eye(3)[None], PolarSampler(box, 6, 48))
    assert isinstance(bank, Bank) and bank.norms[0] > 0 and bank.norms[1] == 0 and np.isfinite(bank.lines).all()


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="is the inner run")
def test_kernels_without_the_compiler():
    which = "take_linear or merge_best or scan_shifts or normal_equations"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", which]
    done = subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_crowding_of_views():
    """Even views are not crowded; views in a cone are, from the opposite side too, and only in their own 3D."""
    from imagic4d_core.angrec.assign import crowding

    even = sphere.vectors(*sphere.directions(6.0))
    probes = np.array([[0.0, 0, 1], [0, 0, -1], [1, 0, 0]])
    np.testing.assert_allclose(crowding(even, np.zeros(len(even), int), probes, 2), 1, atol=0.05)
    cone = even[even[:, 2] > np.cos(np.deg2rad(20.0))]
    found = crowding(np.concatenate([even, cone]), np.repeat([0, 1], [len(even), len(cone)]), probes, 3)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found[[0, 2]], 1, atol=0.05)
    assert found[1, 0] == pytest.approx(found[1, 1]) and found[1, 0] > 5 and found[1, 2] < 0.05
