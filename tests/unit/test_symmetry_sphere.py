"""Point groups and coverings of the sphere."""

import numpy as np
import pytest

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry import symmetry as sym

GROUPS = ["C1", "C2", "C3", "C7", "D1", "D2", "D3", "D3Y", "D4", "D5", "T", "TZ3", "T222", "O", "I", "I1", "I3", "I4"]


@pytest.mark.parametrize("name", GROUPS)
def test_rotations_form_a_group(name):
    g = sym.rotations(name)
    assert len(g) == sym.order(name)
    np.testing.assert_allclose(g[0], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(g), 1.0, atol=1e-12)
    products = np.einsum("aij,bjk->abik", g, g).reshape(-1, 9)
    flat = g.reshape(-1, 9)
    distance = np.abs(products[:, None] - flat[None]).max(-1)
    assert (distance.min(1) < 1e-9).all()
    assert (distance < 1e-6).sum() == len(products), "elements are distinct"


@pytest.mark.parametrize("name", ["X", "C0", "C", "D", "T2", "C1000", "", "c-4", "Icosahedral"])
def test_unknown_names(name):
    with pytest.raises(UsageError, match="not a point group"):
        sym.rotations(name)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("name", GROUPS)
def test_unit_holds_one_of_every_orbit(name, mirror):
    rng = np.random.default_rng(7)
    b, g = sphere.random_directions(rng, 300)
    d = sphere.vectors(b, g)
    ops = sym.rotations(name)
    if mirror:
        ops = np.concatenate([ops, -ops])
    inside = sym.in_asymmetric_unit(np.einsum("gij,nj->gni", ops, d), name, mirror)
    assert (inside.sum(0) == 1).all()
    wider = sym.in_asymmetric_unit(d, name, mirror, margin=5.0)
    assert (wider | ~sym.in_asymmetric_unit(d, name, mirror)).all()


def test_vertices_of_the_mirror_triangles():
    phi = (1 + 5**0.5) / 2
    corners = np.array([[0, 1, phi], [0, 0, 1]])
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    assert sym.in_asymmetric_unit(corners, "I", True, margin=1e-4).all()
    assert np.rad2deg(np.arccos(corners[0] @ corners[1])) == pytest.approx(31.717, abs=1e-3)
    o = np.array([[0, 0, 1], [1, 1, 1], [1, 0, 1]]) / np.sqrt([[1], [3], [2]])
    assert sym.in_asymmetric_unit(o, "O", True, margin=1e-4).all()


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("increment", [5.0, 10.0, 25.0])
@pytest.mark.parametrize("name", ["C1", "C3", "D2", "D3", "D3Y", "T", "T222", "O", "I", "I3"])
def test_count_and_covering_radius(name, increment, mirror):
    beta, gamma = sphere.directions(increment, name, mirror)
    d = sphere.vectors(beta, gamma)
    assert sym.in_asymmetric_unit(d, name, mirror, margin=1e-6).all()
    expected = 41253 / (sym.order(name) * increment**2) / (1 + mirror)
    assert abs(len(d) - expected) <= 0.1 * expected + 0.9 * np.sqrt(expected) + 2
    probes = sphere.vectors(*sphere.random_directions(np.random.default_rng(1), 2000))
    ops = sym.rotations(name)
    if mirror:
        ops = np.concatenate([ops, -ops])
    mates = np.einsum("gij,nj->gni", ops, d).reshape(-1, 3)
    radius = np.rad2deg(np.arccos(np.clip((probes @ mates.T).max(1), -1, 1)))
    assert radius.max() <= 0.85 * increment


def test_angles_and_poses_agree():
    beta, gamma = sphere.directions(20.0)
    m = sphere.matrices(beta, gamma)
    np.testing.assert_allclose(m[:, 2], sphere.vectors(beta, gamma), atol=1e-12)
    b, g = sphere.angles(m[:, 2])
    np.testing.assert_allclose(b, beta, atol=1e-9)
    np.testing.assert_allclose(g, gamma, atol=1e-9)


@pytest.mark.parametrize("increment", [0.0, -3.0, 91.0])
def test_increment_out_of_range(increment):
    with pytest.raises(UsageError, match="increment"):
        sphere.directions(increment)
