"""Euler angles against elementary rotations, and against the table of the format's description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagic4d_core.geometry import euler
from imagic4d_core.rng import rng_for

angle = st.floats(-720, 720, allow_nan=False)


def rz(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def ry(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@pytest.mark.parametrize(
    ("angles", "matrix"),
    [
        ((0, 0, 0), np.eye(3)),
        ((0, 90, 0), [[0, 0, -1], [0, 1, 0], [1, 0, 0]]),
        ((0, 0, 90), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        ((90, 0, 0), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        ((30, 60, 45), [[-0.0474, 0.6597, -0.7500], [-0.7891, 0.4356, 0.4330], [0.6124, 0.6124, 0.5]]),
    ],
)
def test_table(angles, matrix):
    np.testing.assert_allclose(euler.matrix_from_euler(*angles), matrix, atol=5e-5)


@given(angle, angle, angle)
def test_product_of_elementary_rotations(a, b, g):
    np.testing.assert_allclose(euler.matrix_from_euler(a, b, g), rz(-a) @ ry(-b) @ rz(-g), atol=1e-12)


@given(angle, st.one_of(st.sampled_from([0.0, 180.0, 1e-9, 1e-5, 179.99999]), angle), angle)
def test_back_to_the_same_rotation(a, b, g):
    m = euler.matrix_from_euler(a, b, g)
    found = euler.euler_from_matrix(m)
    np.testing.assert_allclose(euler.matrix_from_euler(*found), m, atol=1e-7)
    assert 0 <= found[0] < 360
    assert 0 <= found[1] <= 180
    assert 0 <= found[2] < 360


@given(angle, angle, angle)
def test_relion_and_back(a, b, g):
    back = euler.euler_from_relion(*euler.relion_from_euler(a, b, g))
    np.testing.assert_allclose(euler.matrix_from_euler(*back), euler.matrix_from_euler(a, b, g), atol=1e-9)


@given(st.integers(0, 1000))
def test_random_rotations_are_rotations(seed):
    m = euler.random_rotations(rng_for(seed, "test"), 5)
    np.testing.assert_allclose(m @ m.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(m), 1, atol=1e-12)


def test_random_rotations_are_uniform():
    m = euler.random_rotations(rng_for(1, "test"), 40000)
    assert np.abs(m.mean(0)).max() < 0.015
    np.testing.assert_allclose((m**2).mean(0), 1 / 3, atol=0.01)


@given(angle, st.floats(0, 180))
def test_angular_distance(start, turn):
    a = rz(start) @ ry(20)
    np.testing.assert_allclose(euler.angular_distance(a, rz(turn) @ a), turn, atol=1e-5)


def test_small_angles_keep_their_digits():
    v = np.array([3.0, -1.0, 2.0])
    v *= np.deg2rad(1e-6) / np.linalg.norm(v)
    np.testing.assert_allclose(euler.angular_distance(np.eye(3), euler.matrix_from_rotvec(v)), 1e-6, rtol=1e-3)


def test_rotation_vectors():
    np.testing.assert_allclose(euler.matrix_from_rotvec([0, 0, np.deg2rad(35)]), rz(35), atol=1e-12)
    np.testing.assert_allclose(euler.matrix_from_rotvec([0, np.deg2rad(-110), 0]), ry(-110), atol=1e-12)
    np.testing.assert_allclose(euler.matrix_from_rotvec(np.zeros((2, 3))), np.broadcast_to(np.eye(3), (2, 3, 3)))


def test_the_other_hand_gives_the_same_projection():
    """Mirror the volume through the image plane, and each pose with it: nothing changes in the image."""
    rng = rng_for(3, "test")
    points = rng.standard_normal((3, 20))
    for m in euler.random_rotations(rng, 5):
        other = euler.J_HAND @ m @ euler.J_HAND
        np.testing.assert_allclose((other @ (euler.J_HAND @ points))[:2], (m @ points)[:2], atol=1e-12)
