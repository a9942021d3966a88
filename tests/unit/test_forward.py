"""Projections against analytic ones."""

import numpy as np
import pytest

from imagic4d_core.errors import MismatchError
from imagic4d_core.forward import Projector, project_volume
from imagic4d_core.geometry.euler import matrix_from_euler, random_rotations
from imagic4d_core.models import Model, project, volume


def blobs(box, seed=1, count=30):
    """Smooth blobs well inside the box: nothing beyond Nyquist, so that sampled truth is the whole truth."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(count, 3))
    c *= (rng.random(count) ** (1 / 3) * 0.28 * box / np.linalg.norm(c, axis=1))[:, None]
    return Model("blobs", c, rng.uniform(1.3, 2.1, count), rng.uniform(0.5, 1.5, count))


def relative(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


@pytest.mark.parametrize("box", [48, 47, 64])
def test_projections_are_the_analytic_ones(box):
    model = blobs(box)
    rng = np.random.default_rng(2)
    m, shift = random_rotations(rng, 12), rng.normal(size=(12, 2)) * 2
    want = project(model, m, shift, box)
    got = project_volume(volume(model, box), m, shift)
    assert got.dtype == np.float32 and got.shape == want.shape
    assert relative(got, want) < 0.0017
    assert relative(project_volume(volume(model, box), m), project(model, m, None, box)) < 0.0017


def test_identity_pose_is_the_sum_along_z():
    v = volume(blobs(32), 32)
    np.testing.assert_allclose(project_volume(v, np.eye(3)[None])[0], v.sum(0), atol=2e-3 * v.sum(0).max())


def test_low_frequencies_alone():
    box, r = 64, 12
    model = blobs(box)
    m = random_rotations(np.random.default_rng(3), 5)
    want = project(model, m, None, box)
    f = np.fft.rfft2(np.fft.ifftshift(want, axes=(1, 2)))
    k = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.rfftfreq(box)) * box
    projector = Projector(volume(model, box), r)
    assert projector.grid.small < 32
    got = projector.slices(m)
    low = np.where(k <= r, f, 0)
    np.testing.assert_allclose(got, low, atol=2e-3 * np.abs(low).max())
    assert (got[:, k > r] == 0).all()
    cut = projector.slices(m, box=32)
    np.testing.assert_array_equal(cut[:, :13, :13], got[:, :13, :13])
    small = projector.project(m, box=32)
    np.testing.assert_allclose(small, projector.project(m)[:, ::2, ::2], atol=2e-3 * want.max())


def test_rotation_in_the_plane_turns_the_image():
    v = volume(blobs(33), 33)
    a, b = project_volume(v, matrix_from_euler([0, 90], [40, 40], [70, 70]))
    # M = Rz(-90) M': b at (x, y) is a at (-y, x)
    np.testing.assert_allclose(b, np.rot90(a, -1), atol=3e-3 * a.max())


def test_linear_and_independent_of_company():
    rng = np.random.default_rng(4)
    v = rng.normal(size=(2, 24, 24, 24)).astype(np.float32)
    m = random_rotations(rng, 9)
    both = project_volume(v[0] + 2 * v[1], m)
    np.testing.assert_allclose(both, project_volume(v[0], m) + 2 * project_volume(v[1], m), atol=1e-3)
    alone = Projector(v[0]).slices(m[4:5])
    assert np.array_equal(alone[0], Projector(v[0]).slices(m)[4])


def test_misfits():
    with pytest.raises(MismatchError, match="not a cube"):
        project_volume(np.zeros((8, 8, 9), np.float32), np.eye(3)[None])
    with pytest.raises(MismatchError, match="shifts"):
        project_volume(np.zeros((8, 8, 8), np.float32), np.eye(3)[None], np.zeros((2, 2)))
