"""Alignment of volumes: known rotations, shifts and hands come back."""

from dataclasses import replace

import numpy as np
import pytest

from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.euler import J_HAND, angular_distance, matrix_from_rotvec, random_rotations
from imagic4d_core.models import project, random_family, volume
from imagic4d_core.rng import rng_for
from imagic4d_core.volalign import (
    VolumeAlignment,
    align_volumes,
    alignment_from_poses,
    apply_alignment,
    mirror,
    refine_alignment,
    rotation_grid,
)


def smooth(model):
    """The model with blobs wide enough for a small box: free of aliasing."""
    return replace(model, sigma=np.maximum(model.sigma, 1.2))


def pair(seed, box, mirrored, other=0, noise=0.0):
    """A volume, the same (or a relative) laid elsewhere, and the alignment between them."""
    r = rng_for(seed, "test")
    family = [smooth(m) for m in random_family(seed, 2, box)]
    rotation, shift = random_rotations(r, 1)[0], r.normal(0, 0.03 * box, 3)
    laid = family[other].mirrored() if mirrored else family[other]
    laid = laid.rotated(rotation)
    laid = replace(laid, positions=laid.positions + shift)
    moving = volume(family[0], box)
    moving = moving + noise * moving.std() * r.standard_normal(moving.shape).astype(np.float32)
    return moving, volume(laid, box), VolumeAlignment(rotation, shift, mirrored, 1.0)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("mirrored", [False, True])
def test_apply(box, mirrored):
    moving, fixed, known = pair(1, box, mirrored)
    laid = apply_alignment(moving, known)
    assert laid.dtype == np.float32 and laid.shape == fixed.shape
    np.testing.assert_allclose(laid, fixed, atol=0.01 * fixed.max())


@pytest.mark.parametrize("box", [20, 21])
def test_nothing_to_do_changes_nothing(box):
    v = volume(smooth(random_family(1, 1, box)[0]), box)
    same = apply_alignment(v, VolumeAlignment(np.eye(3), np.zeros(3), False, 1.0))
    np.testing.assert_allclose(same, v, atol=0.01 * v.max())


@pytest.mark.parametrize("box", [8, 9])
def test_mirror_keeps_the_centre(box):
    v = np.zeros((box,) * 3)
    v[box // 2, box // 2, box // 2] = 1
    v[box // 2 + 2, box // 2 + 1, box // 2] = 2
    m = mirror(v)
    assert m[box // 2, box // 2, box // 2] == 1 and m[box // 2 - 2, box // 2 + 1, box // 2] == 2
    np.testing.assert_array_equal(mirror(m), v)


@pytest.mark.parametrize(("seed", "box", "mirrored"), [(1, 40, False), (2, 41, True), (3, 48, True)])
def test_alignment_is_found(seed, box, mirrored):
    moving, fixed, known = pair(seed, box, mirrored)
    found = align_volumes(moving, fixed)
    assert found.mirrored is mirrored
    assert angular_distance(found.rotation, known.rotation) < 0.5
    assert np.linalg.norm(found.shift - known.shift) < 0.1
    assert found.correlation > 0.98


def test_noise_and_another_conformation():
    moving, fixed, known = pair(5, 48, True, other=1, noise=0.5)
    found = align_volumes(moving, fixed)
    assert found.mirrored and angular_distance(found.rotation, known.rotation) < 3.0


def test_one_hand_only():
    moving, fixed, _ = pair(2, 40, True)
    found = align_volumes(moving, fixed, hands=(False,))
    assert not found.mirrored and found.correlation < 0.95


def test_refinement_from_near():
    moving, fixed, known = pair(6, 48, False)
    near = random_rotations(rng_for(1, "test"), 1)[0]
    axis, angle = near[0], np.deg2rad(5.0)
    start = VolumeAlignment(matrix_from_rotvec(axis * angle) @ known.rotation, known.shift + 0.5, False, 0.0)
    found = refine_alignment(moving, fixed, start)
    assert angular_distance(found.rotation, known.rotation) < 0.5 and np.linalg.norm(found.shift - known.shift) < 0.1


@pytest.mark.parametrize("mirrored", [False, True])
def test_alignment_from_poses(mirrored):
    """A volume V_est whose poses are M_true Q (or J M_true J Q) is laid on the truth."""
    box = 40
    model = smooth(random_family(9, 1, box)[0])
    q = random_rotations(rng_for(9, "test"), 1)[0]
    estimate = (model.mirrored() if mirrored else model).rotated(q.T)
    laid = apply_alignment(volume(estimate, box), alignment_from_poses(q, mirrored))
    np.testing.assert_allclose(laid, volume(model, box), atol=0.01 * laid.max())
    m = random_rotations(rng_for(10, "test"), 2)
    seen = (J_HAND @ m @ J_HAND if mirrored else m) @ q
    np.testing.assert_allclose(project(estimate, seen, None, box), project(model, m, None, box), atol=1e-5)


def test_grid_covers_rotations():
    grid = rotation_grid(30.0)
    probes = random_rotations(rng_for(1, "test"), 50)
    nearest = [angular_distance(grid, p).min() for p in probes]
    assert max(nearest) < 30


def test_empty_volumes_do_not_crash():
    empty = np.zeros((24, 24, 24), np.float32)
    found = align_volumes(empty, empty)
    assert np.isfinite(found.rotation).all() and np.isfinite(found.shift).all()


def test_sizes_must_fit():
    with pytest.raises(MismatchError):
        align_volumes(np.zeros((8, 8, 8)), np.zeros((9, 9, 9)))
    with pytest.raises(MismatchError):
        align_volumes(np.zeros((8, 8, 9)), np.zeros((8, 8, 9)))
