"""How evenly views cover a 3D: SCF*, conical FSC, and what is said of it."""

import numpy as np
import pytest
from oracle.views import cone_loop, counts_loop, scf_star_loop

from imagic4d_core.errors import MismatchError
from imagic4d_core.geometry.euler import matrix_from_rotvec
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.models import project, random_family, volume
from imagic4d_core.recon.fourier import reconstruct
from imagic4d_core.rng import rng_for
from imagic4d_core.views.conical import OPENING, conical_fsc
from imagic4d_core.views.sampling import counts, half_shell, sampling, scf_star
from imagic4d_core.views.words import described, warning


def about_z(rng, n, low, high):
    """Views whose angle with z has a cosine between two values."""
    z, turn = rng.uniform(low, high, n), rng.uniform(0, 2 * np.pi, n)
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], -1)


def even(rng, n):
    return about_z(rng, n, -1, 1)


def mixed(rng, n, share):
    """A share of the views within 20 degrees of z, the others even."""
    first = round(share * n)
    return np.concatenate([about_z(rng, first, np.cos(np.deg2rad(20)), 1), even(rng, n - first)])


def sides(rng, n):
    return about_z(rng, n, -0.25, 0.25)


@pytest.mark.parametrize("group", ["C1", "D3"])
def test_counts_and_scf_against_loops(group):
    views, points = mixed(rng_for(1, "tests/views"), 40, 0.5), half_shell(60)
    ops = rotations(group)
    mates = np.concatenate([views @ g for g in ops])
    slow = counts_loop(points, views, ops, 4.0)
    assert counts(points, mates, 0.5 / 4.0).tolist() == slow
    assert scf_star(slow) == pytest.approx(scf_star_loop(slow))


def test_values_that_are_known():
    """Even views: 1; side views: <1/S><S> = <sin><1/sin> = pi^2/8; nothing seen: 0."""
    rng = rng_for(2, "tests/views")
    assert sampling(even(rng, 20000)).scf == pytest.approx(1.0, abs=0.02)
    assert sampling(about_z(rng, 20000, -0.001, 0.001), radius=50).scf == pytest.approx(8 / np.pi**2, abs=0.03)
    assert scf_star([0, 0]) == 0.0 and scf_star([3, 3, 3]) == 1.0


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_warnings_come_for_crowded_views_only(count):
    rng = rng_for(count, "tests/views/warning")
    turn = matrix_from_rotvec(np.array([0.7, -0.2, 0.4]))
    axis = turn[:, 2]
    for _ in range(10):
        assert warning(sampling(even(rng, count))) == ""
        assert warning(sampling(sides(rng, count) @ turn.T)) == ""
        crowded = sampling(mixed(rng, count, 0.6) @ turn.T)
        assert "less well resolved along this direction" in warning(crowded)
        top = sampling(mixed(rng, count, 1.0) @ turn.T)
        assert "drawn out along this direction" in warning(top) and "Fourier space has no view" in warning(top)
        for found in (crowded, top):
            assert abs(found.poorest @ axis) > 0.97 and abs(found.crowd @ axis) > 0.97
        assert 0.5 < crowded.share < 0.75 and top.share > 0.85


def test_symmetry_makes_views_even():
    """The top views of an icosahedron are views from everywhere; those of a D7 object are not."""
    views = mixed(rng_for(3, "tests/views"), 300, 1.0)
    assert sampling(views, rotations("I")).scf > 0.9
    assert sampling(views, rotations("D7")).scf < 0.2


def test_conical_fsc_against_a_loop():
    rng = rng_for(4, "tests/views")
    a = rng.standard_normal((16, 16, 16)).astype(np.float32)
    b = (a + 0.5 * rng.standard_normal(a.shape)).astype(np.float32)
    found, axes = conical_fsc(a, b), half_shell(len(conical_fsc(a, b).curves))
    for k in (0, 40, 149):
        assert np.allclose(found.curves[k], cone_loop(a, b, axes[k], OPENING), atol=1e-5)
    assert conical_fsc(a, a).cfar == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(MismatchError):
        conical_fsc(a, b[:8])


def test_half_maps_of_crowded_views_differ_by_direction():
    """Even views leave a ratio near 1; with nine tenths of the views about z the cone about z is the poor one."""
    box, rng = 32, rng_for(5, "tests/views")
    model = random_family(7, 1, box)[0]
    ratios = {}
    for name, views in (("even", even(rng, 300)), ("crowded", mixed(rng, 300, 0.9))):
        poses = Poses.blank(300)
        poses.beta[:] = np.rad2deg(np.arccos(views[:, 2]))
        poses.gamma[:] = np.rad2deg(np.arctan2(views[:, 1], views[:, 0]))
        poses.alpha[:] = rng.uniform(0, 360, 300)
        matrices = poses.matrices()
        images = project(model, matrices, None, box)
        images = images + images.std() * rng.standard_normal(images.shape)
        halves = [reconstruct(images[k::2].astype(np.float32), matrices[k::2]) for k in (0, 1)]
        found = conical_fsc(*halves)
        ratios[name] = found.cfar
        said = described(matrices[:, 2], rotations("C1"), *halves)
        assert (said["warning"] == "") == (name == "even") and said["cfar"] == pytest.approx(found.cfar, abs=1e-4)
    assert ratios["even"] > 0.65 > 0.4 > ratios["crowded"]
    assert abs(found.worst[2]) > 0.7 > abs(found.best[2])


def test_a_3d_that_is_turned_takes_its_poses_along():
    """Projections of the turned and shifted 3D at the new poses and shifts are the images."""
    box, rng = 32, rng_for(6, "tests/views")
    model = random_family(8, 1, box)[0]
    poses = Poses.blank(3)
    poses.alpha[:], poses.beta[:], poses.gamma[:] = (10, 200, 33), (20, 70, 130), (0, 80, 300)
    poses.shift[:] = rng.uniform(-1, 1, (3, 2))
    before = project(model, poses.matrices(), -poses.shift, box)
    turn, way = matrix_from_rotvec(np.array([0.3, -1.2, 0.5])), np.array([1.5, -0.5, 0.7])
    moved = model.__class__("moved", model.positions @ turn.T + way, model.sigma, model.weight)
    poses.follow(np.arange(3) < 2, turn, way)
    after = project(moved, poses.matrices(), -poses.shift, box)
    assert np.allclose(after[:2], before[:2], atol=1e-4 * before.max())
    assert not np.allclose(after[2], before[2], atol=0.1 * before.max())
    assert volume(moved, box).shape == (box,) * 3
