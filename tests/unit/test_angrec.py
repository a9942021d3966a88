"""Angular reconstitution, file to file: known poses come back."""

import numpy as np
import pytest

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry import symmetry
from imagic4d_core.geometry.euler import angular_distance, random_rotations
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.scheme.angrec.reconstitute import angrec, reconstitute
from imagic4d_core.jobs.scheme.forward import forward
from imagic4d_core.models import Model, project, volume
from imagic4d_core.units import Frequency

N = 40
FINE = {"increment": 15.0, "max_frequency": Frequency(0.6), "max_shift": 3.0, "threads": 1}


def model(seed, group="C1", radius=8.0, count=14):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(count, 3))
    c *= (rng.random(count) ** (1 / 3) * radius / np.linalg.norm(c, axis=1))[:, None]
    sigma, weight = rng.uniform(1.2, 1.8, count), rng.uniform(0.5, 1.5, count)
    ops = symmetry.rotations(group)
    return Model("m", np.concatenate([c @ r.T for r in ops]), np.tile(sigma, len(ops)), np.tile(weight, len(ops)))


def put(path, images, poses):
    write_stack(path, images.astype(np.float32), poses.into_headers(blank_headers(len(images), *images.shape[1:])))


def case(folder, models, box, n=N, sigma=0.0, shifts=1.0, seed=3):
    """Write v.hed (3Ds) and i.hed (images without poses); returns the true poses."""
    rng = np.random.default_rng(seed)
    volumes = np.stack([volume(m, box) for m in models])
    write_stack(folder / "v.hed", volumes)
    truth = Poses.blank(n)
    truth.set_matrices(random_rotations(rng, n))
    truth.shift = shifts * rng.uniform(-1.0, 1.0, (n, 2))
    truth.ref3d = (1 + np.arange(n) % len(models)).astype(np.int32)
    images = np.zeros((n, box, box), np.float32)
    for k, m in enumerate(models):
        mine = truth.ref3d == k + 1
        images[mine] = project(m, truth.matrices()[mine], -truth.shift[mine], box)
    images += sigma * images.std() * rng.standard_normal(images.shape).astype(np.float32)
    put(folder / "i.hed", images, Poses.blank(n))
    return truth


def pose_error(found, truth, group="C1"):
    ops = symmetry.rotations(group)
    a = found.matrices()
    return np.min([angular_distance(a @ r.T, truth.matrices()) for r in ops], 0)


@pytest.mark.parametrize(("box", "group"), [(31, "C1"), (32, "C1"), (32, "D2"), (32, "C3")])
def test_known_projections_come_back(tmp_path, box, group):
    truth = case(tmp_path, [model(1, group, count=14 if group == "C1" else 6)], box)
    summary, found, _ = reconstitute(tmp_path / "i.hed", anchors=tmp_path / "v.hed", symmetry=group, **FINE)
    error = pose_error(found, truth, group)
    assert np.median(error) < 1.0 and (error < 3).mean() >= 0.95
    assert np.median(np.hypot(*(found.shift - truth.shift).T)) < 0.1
    assert (found.ref3d == 1).all() and summary.sizes == [N] and found.ccc3d.min() > 0.9


def test_each_to_best_finds_memberships_and_fills_headers(tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 32)
    before = (tmp_path / "i.img").read_bytes()
    summary = angrec(tmp_path / "i.hed", tmp_path / "o.hed", anchors=tmp_path / "v.hed", **FINE)
    assert (tmp_path / "o.img").read_bytes() == before == (tmp_path / "i.img").read_bytes()
    with open_stack(tmp_path / "o.hed") as stack:
        h = stack.headers()
    found = Poses.from_headers(h)
    np.testing.assert_array_equal(found.ref3d, truth.ref3d)
    np.testing.assert_array_equal(found.ref3d2, 3 - truth.ref3d)
    assert not found.ref3d_old.any()
    assert np.median(pose_error(found, truth)) < 1.0
    np.testing.assert_allclose(h["ERRAR"], 1 - h["CCC3D"], atol=1e-6)
    assert (h["CCC3D"] > 0.9).all() and (h["CONFID3D"] > 0.99).all() and (h["MARGIN3D"] > 0).all() and (h["ZSCORE3D"] > 1).all()
    assert (h["EULERERR"] > 0).all() and (h["EULERERR"] < 10).all()
    assert (h["FOLD"] == 0).all() and (h["FOLDS"] == 0).all()
    assert summary.sizes == [N // 2, N // 2] and summary.moved == 1.0
    # once more from there: what the images were before is kept
    angrec(tmp_path / "o.hed", None, anchors=tmp_path / "v.hed", **FINE)
    again = Poses.from_headers(read_stack(tmp_path / "o.hed")[1])
    np.testing.assert_array_equal(again.ref3d_old, truth.ref3d)
    assert np.median(pose_error(again, truth)) < 1.0


def test_single_and_own(tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 32)
    images = read_stack(tmp_path / "i.hed")[0]
    swapped = Poses.blank(N)
    swapped.ref3d = (3 - truth.ref3d).astype(np.int32)
    put(tmp_path / "s.hed", images, swapped)
    _, found, table = reconstitute(tmp_path / "s.hed", anchors=tmp_path / "v.hed", mode="own", **FINE)
    np.testing.assert_array_equal(found.ref3d, swapped.ref3d)
    assert np.isfinite(table.score).sum() == N
    with pytest.raises(MismatchError, match="each-to-best"):
        reconstitute(tmp_path / "s.hed", anchors=tmp_path / "v.hed", mode="single", **FINE)
    _, found, _ = reconstitute(tmp_path / "s.hed", anchors=f"{tmp_path / 'v.hed'},2", mode="single", **FINE)
    mine = truth.ref3d == 2
    assert np.median(pose_error(found, truth)[mine]) < 1.0
    assert found.ccc3d[mine].min() > found.ccc3d[~mine].max()
    swapped.ref3d[3] = 7
    put(tmp_path / "t.hed", images, swapped)
    with pytest.raises(MismatchError, match="image 4 has 3D membership 7"):
        reconstitute(tmp_path / "t.hed", anchors=tmp_path / "v.hed", mode="own", **FINE)


@pytest.mark.parametrize("search", ["winner", "full"])
def test_large_shifts(tmp_path, search):
    truth = case(tmp_path, [model(1)], 32, shifts=2.5)
    _, found, _ = reconstitute(tmp_path / "i.hed", anchors=tmp_path / "v.hed", shift_search=search, **FINE | {"max_shift": 4.0})
    good = pose_error(found, truth) < 3
    assert good.mean() >= (0.95 if search == "full" else 0.6)
    assert np.hypot(*(found.shift - truth.shift)[good].T).max() < 0.5
    assert np.hypot(*found.shift.T).max() <= 4 + 1e-6


def test_anchors_as_volumes_and_as_projections_agree(tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 32)
    forward(tmp_path / "v.hed", tmp_path / "p.hed", increment=10.0)
    for name in ("v", "p"):
        _, found, _ = reconstitute(tmp_path / "i.hed", anchors=tmp_path / f"{name}.hed", **FINE)
        assert np.median(pose_error(found, truth)) < 1.0
        np.testing.assert_array_equal(found.ref3d, truth.ref3d)


def test_leave_out_volumes_serve_their_fold(tmp_path):
    folds, seed = 3, 5
    truth = case(tmp_path, [model(1)], 32)
    fold = fold_of(seed, folds, np.arange(N))
    # fold q's volume is another structure except for q = 2: only images of fold 2 fit
    right, wrong = volume(model(1), 32), volume(model(2), 32)
    stack = np.stack([wrong, right, wrong])
    poses = Poses.blank(3)
    poses.ref3d[:], poses.fold[:], poses.folds[:], poses.foldseed[:] = 1, [1, 2, 3], folds, seed
    h = poses.select(np.repeat(np.arange(3), 32)).into_headers(blank_headers(3 * 32, 32, 32))
    write_stack(tmp_path / "lo.hed", stack, h)
    _, found, _ = reconstitute(tmp_path / "i.hed", anchors=tmp_path / "lo.hed", **FINE)
    np.testing.assert_array_equal(found.fold, fold)
    assert (found.folds == folds).all() and (found.foldseed == seed).all()
    assert found.ccc3d[fold == 2].min() > found.ccc3d[fold != 2].max()
    assert np.median(pose_error(found, truth)[fold == 2]) < 1.0
    write_stack(tmp_path / "part.hed", stack[:2], h[:64])
    with pytest.raises(MismatchError, match="fold 3"):
        reconstitute(tmp_path / "i.hed", anchors=tmp_path / "part.hed", **FINE)


@pytest.mark.parametrize("states", [1, 2])
def test_inactive_images_keep_what_they_had(tmp_path, states):
    case(tmp_path, [model(1), model(2)][:states], 32)
    images, h = read_stack(tmp_path / "i.hed")
    h["ACTIVE"][4], h["ALPHA"][4], h["REF3D"][4] = -1, 33.0, 9
    write_stack(tmp_path / "a.hed", images, h)
    summary, found, _ = reconstitute(tmp_path / "a.hed", anchors=tmp_path / "v.hed", **FINE)
    assert summary.images == N - 1 and found.ref3d[4] == 9 and found.alpha[4] == pytest.approx(33)
    h["ACTIVE"] = -1
    write_stack(tmp_path / "none.hed", images, h)
    with pytest.raises(InputError, match="all images are inactive"):
        reconstitute(tmp_path / "none.hed", anchors=tmp_path / "v.hed", **FINE)


def test_constant_images_do_no_harm(tmp_path):
    case(tmp_path, [model(1), model(2)], 24)
    images, h = read_stack(tmp_path / "i.hed")
    images[4] = 0
    write_stack(tmp_path / "c.hed", images, h)
    for refine in (True, False):
        _, found, _ = reconstitute(tmp_path / "c.hed", anchors=tmp_path / "v.hed", **FINE | {"refine": refine})
        assert found.ccc3d[4] == 0
        for name in ("alpha", "margin", "confidence", "eulererr"):
            assert np.isfinite(getattr(found, name)).all()


def test_directions_in_several_parts(tmp_path, monkeypatch):
    """More references than are held at a time: the same poses, and scores of mismatched directions as from all at once."""
    from imagic4d_core.jobs.scheme.angrec import search as job

    case(tmp_path, [model(1), model(2)], 24, sigma=0.5)
    settings = FINE | {"anchors": tmp_path / "v.hed", "score": "zscore"}
    _, whole, one = reconstitute(tmp_path / "i.hed", **settings)
    monkeypatch.setattr(job, "BANK", 2 * 150)  # of 184 directions: parts of unequal size
    _, parts, two = reconstitute(tmp_path / "i.hed", **settings)
    assert np.median(angular_distance(parts.matrices(), whole.matrices())) < 0.01
    np.testing.assert_allclose(two.mean, one.mean, rtol=1e-4)
    np.testing.assert_allclose(two.sd, one.sd, rtol=1e-3)
    np.testing.assert_allclose(parts.zscore, whole.zscore, rtol=1e-2)


def test_noise_of_annealing_is_keyed_by_image(tmp_path):
    case(tmp_path, [model(1), model(2)], 24, sigma=1.0)
    settings = FINE | {"anchors": tmp_path / "v.hed", "noise": 0.5, "refine": False, "max_frequency": Frequency(0.5)}
    a, b, c = (reconstitute(tmp_path / "i.hed", seed=s, **settings)[1] for s in (1, 1, 2))
    np.testing.assert_array_equal(a.matrices(), b.matrices())
    assert (angular_distance(a.matrices(), c.matrices()) > 1).mean() > 0.5


@pytest.mark.parametrize("sigma", [1.0, 5**0.5])
def test_error_of_the_pose_is_calibrated(tmp_path, sigma):
    """The standard error in the header is that of all three rotations: true errors spread like it (SNR 1 and 0.2)."""
    truth = case(tmp_path, [model(1, radius=9.0)], 32, n=80, sigma=sigma)
    _, found, _ = reconstitute(tmp_path / "i.hed", anchors=tmp_path / "v.hed", **FINE)
    error = pose_error(found, truth)
    good = error < 20
    ratio = np.median(error[good] / found.eulererr[good])
    assert good.mean() > 0.9 and 0.7 < ratio < 1.4


def test_noise_raises_the_errors(tmp_path):
    said = []
    for sigma in (0.3, 1.0, 2.5):
        folder = tmp_path / str(sigma)
        folder.mkdir()
        case(folder, [model(1)], 32, sigma=sigma)
        found = reconstitute(folder / "i.hed", anchors=folder / "v.hed", **FINE)[1]
        said.append([np.median(found.eulererr), np.median(found.errar)])
    assert (np.diff(said, axis=0) > 0).all()


def test_anchor_projections_without_angles(tmp_path):
    case(tmp_path, [model(1)], 24)
    put(tmp_path / "p.hed", read_stack(tmp_path / "i.hed")[0], Poses.blank(N))
    with pytest.raises(InputError, match="without Euler angles"):
        reconstitute(tmp_path / "i.hed", anchors=tmp_path / "p.hed", **FINE)
