"""Scores against counting by hand, frames found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.partitions import best_accuracy, rand_index_by_pairs

from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.euler import J_HAND, angular_distance, matrix_from_euler, matrix_from_rotvec, random_rotations
from imagic4d_core.rng import rng_for
from imagic4d_core.scores import (
    adjusted_rand_index,
    global_pose_alignment,
    pose_errors,
    score_membership,
    shift_errors,
    weighted_quantile,
)

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=2, max_size=25)


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_membership_scores_equal_counting(pairs):
    estimated, true = zip(*pairs, strict=True)
    score = score_membership(estimated, true)
    assert score.ari == pytest.approx(rand_index_by_pairs(estimated, true), abs=1e-12)
    assert score.accuracy == pytest.approx(best_accuracy(estimated, true))
    assert score.table.sum() == len(pairs)
    assert 0 not in score.matching


def test_ari_known_value():
    assert adjusted_rand_index([1, 1, 2, 2], [2, 2, 1, 1]) == 1.0
    assert adjusted_rand_index([1, 1, 1, 2, 2, 2], [1, 1, 2, 2, 3, 3]) == pytest.approx(0.24242424)


def test_ari_of_chance_is_about_zero():
    r = rng_for(1, "test")
    values = [adjusted_rand_index(r.integers(1, 4, 300), r.integers(1, 4, 300)) for _ in range(20)]
    assert abs(np.mean(values)) < 0.01


def test_images_without_truth_are_left_out():
    score = score_membership([1, 1, 2, 2, 2], [5, 5, 7, 7, 0])
    assert score.ari == 1.0 and score.accuracy == 1.0 and score.matching == {1: 5, 2: 7}
    with pytest.raises(MismatchError):
        score_membership([1, 2], [0, 0])
    with pytest.raises(MismatchError):
        score_membership([1, 2], [1])


@pytest.mark.parametrize("mirrored", [False, True])
def test_frame_and_hand_are_found_among_lost_images(mirrored):
    r = rng_for(2 + mirrored, "test")
    true = random_rotations(r, 200)
    q = random_rotations(r, 1)[0]
    seen = J_HAND @ true @ J_HAND if mirrored else true
    est = matrix_from_rotvec(r.normal(0, np.deg2rad(1.5), (200, 3))) @ seen @ q
    est[:60] = random_rotations(r, 60)
    found = global_pose_alignment(est, true)
    assert found.mirrored is mirrored
    assert angular_distance(found.q, q) < 0.6
    assert np.median(found.errors[60:]) < 3.2
    assert found.other_hand > 20
    np.testing.assert_allclose(found.errors, pose_errors(est, true, found.q, found.mirrored))


def test_exact_frame():
    r = rng_for(8, "test")
    true, q = random_rotations(r, 30), random_rotations(r, 1)[0]
    found = global_pose_alignment(true @ q, true)
    assert found.errors.max() < 1e-6 and not found.mirrored


def test_symmetry_copies_are_no_error():
    r = rng_for(9, "test")
    group = matrix_from_euler(0.0, 0.0, np.arange(4) * 90.0)
    true, q = random_rotations(r, 80), random_rotations(r, 1)[0]
    est = true @ group[r.integers(4, size=80)] @ q
    assert np.median(global_pose_alignment(est, true).errors) > 20
    found = global_pose_alignment(est, true, group=group)
    assert found.errors.max() < 1e-3
    np.testing.assert_allclose(pose_errors(est, true, found.q, found.mirrored, group), found.errors, atol=1e-9)


def test_weights_decide_between_two_frames():
    r = rng_for(10, "test")
    true, q = random_rotations(r, 100), random_rotations(r, 2)
    est = np.concatenate([true[:50] @ q[0], true[50:] @ q[1]])
    for k in range(2):
        w = np.where(np.arange(100) // 50 == k, 2.0, 1.0)
        assert angular_distance(global_pose_alignment(est, true, w).q, q[k]) < 0.1


def test_offset_of_a_3d_is_no_shift_error():
    r = rng_for(11, "test")
    m, c = random_rotations(r, 100), np.array([1.5, -2.0, 0.7])
    true = r.normal(0, 2, (100, 2))
    est = true + (m @ c)[:, :2]
    est[:10] += 15.0
    errors, centre = shift_errors(m, est, true)
    np.testing.assert_allclose(centre, c, atol=1e-9)
    assert errors[10:].max() < 1e-9 and errors[:10].min() > 10


def test_weighted_quantile():
    assert weighted_quantile([3.0, 1.0, 2.0], [1, 1, 1], 0.5) == 2.0
    assert weighted_quantile([3.0, 1.0, 2.0], [10, 1, 1], 0.5) == 3.0
    assert np.isnan(weighted_quantile([], [], 0.5))
