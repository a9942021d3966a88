"""Analytic structures against their naive twins."""

import json

import numpy as np
import pytest
from oracle.blobs import density, projection_at

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.euler import J_HAND, matrix_from_euler, random_rotations
from imagic4d_core.models import Model, ModelSet, models_to_json, project, random_family, read_models, volume
from imagic4d_core.rng import rng_for


@pytest.fixture(scope="module")
def small():
    """Four blobs, no symmetry."""
    positions = np.array([[3.0, -2.0, 1.0], [-4.0, 1.5, 2.5], [0.0, 5.0, -3.0], [1.0, 0.5, -6.0]])
    return Model("small", positions, np.array([1.0, 1.4, 2.0, 1.2]), np.array([1.0, 2.0, 3.0, 0.7]))


@pytest.mark.parametrize("box", [24, 25])
def test_volume_is_the_density_at_the_voxels(small, box):
    v = volume(small, box)
    assert v.dtype == np.float32 and v.shape == (box,) * 3
    for z, x, y in [(12, 12, 12), (9, 15, 10), (14, 8, 13), (6, 13, 12)]:
        assert v[z, x, y] == pytest.approx(density(small, x - box // 2, y - box // 2, z - box // 2), rel=1e-5)
    assert v.sum() == pytest.approx(small.mass, rel=1e-3)


@pytest.mark.parametrize("box", [24, 25])
def test_projection_is_the_line_integral(small, box):
    matrices = random_rotations(rng_for(3, "test"), 2)
    shifts = np.array([[1.3, -0.6], [0.0, 2.2]])
    images = project(small, matrices, shifts, box)
    for i, (x, y) in [(0, (12, 12)), (0, (9, 16)), (1, (14, 11)), (1, (5, 12))]:
        expected = projection_at(small, matrices[i], shifts[i], x - box // 2, y - box // 2)
        assert images[i, x, y] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_projection_along_z_is_the_sum_of_sections(small):
    image = project(small, np.eye(3)[None], None, 32)[0]
    np.testing.assert_allclose(image, volume(small, 32).sum(0), atol=2e-6)


def test_axes_of_the_pose(small):
    """A turn about y by 90 degrees: test vector (0, 90, 0) of the format sheet."""
    turned = volume(small.rotated(matrix_from_euler(0, 90, 0)), 32).sum(0)
    np.testing.assert_allclose(project(small, matrix_from_euler(0, 90, 0)[None], None, 32)[0], turned, atol=2e-6)


def test_hand(small):
    """The mirrored structure seen from J M J gives the same image."""
    m = random_rotations(rng_for(5, "test"), 3)
    np.testing.assert_allclose(project(small, m, None, 24), project(small.mirrored(), J_HAND @ m @ J_HAND, None, 24), atol=1e-6)


def test_blocks_do_not_matter(small):
    m = random_rotations(rng_for(5, "test"), 7)
    assert np.array_equal(project(small, m, None, 16), project(small, m, None, 16, block=3))


def test_json_round_trip(small, tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(models_to_json(ModelSet(24, 3.5, [small]))))
    found = read_models(path)
    assert (found.box, found.pixel_size, found.models[0].name) == (24, 3.5, "small")
    np.testing.assert_allclose(found.models[0].positions, small.positions)
    np.testing.assert_allclose(found.models[0].weight, small.weight)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"schema": 1, "box": 8, "models": []}',
        '{"schema": 1, "box": 8, "models": [{"name": "a", "blobs": [{"x": 1}]}]}',
        '{"schema": 1, "box": 8, "models": [{"name": "a", "blobs": [{"x": 0, "y": 0, "z": 0, "sigma": 0, "weight": 1}]}]}',
        '{"schema": 1, "box": "x", "models": [{"name": "a", "blobs": []}]}',
    ],
)
def test_bad_model_files(text, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.json"):
        read_models(path)


@pytest.mark.parametrize(("number", "seed"), [(3, 1), (6, 2)])
def test_related_structures_are_alike_but_not_the_same(number, seed):
    family = random_family(seed, number, 32)
    volumes = np.stack([volume(m, 32) for m in family]).reshape(number, -1)
    cc = np.corrcoef(volumes)[np.triu_indices(number, 1)]
    assert cc.min() > 0.7 and cc.max() < 0.97
    mass = sum(m.mass for m in family)
    np.testing.assert_allclose(sum(m.weight @ m.positions for m in family) / mass, 0, atol=1e-9)
    assert max(np.linalg.norm(m.positions, axis=1).max() for m in family) < 0.36 * 32


def test_unrelated_structures():
    cc = np.corrcoef(np.stack([volume(m, 32).ravel() for m in random_family(4, 3, 32, related=False)]))
    assert cc[np.triu_indices(3, 1)].max() < 0.7


def test_families_are_reproducible_and_scale_with_the_box():
    a, b = random_family(7, 2, 64), random_family(7, 2, 128)
    np.testing.assert_allclose(2 * a[1].positions, b[1].positions)
    np.testing.assert_allclose(2 * a[1].sigma, b[1].sigma)
    assert not np.allclose(a[0].positions, random_family(8, 2, 64)[0].positions)


def test_structures_have_detail_beyond_0_6_nyquist():
    """At SNR 1 over the box a projection has more than a twentieth of the noise's power at 0.6 Nyquist."""
    box = 64
    images = project(random_family(1, 1, box)[0], random_rotations(rng_for(0, "test"), 20), None, box).astype(np.float64)
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(0) / (images.var() * box**2)
    k = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(box) * box, np.fft.fftfreq(box) * box)))
    assert power[k == 19].mean() > 0.05
