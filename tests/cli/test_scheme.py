"""Commands of the 4D scheme: prepare, moves, takeover, regroup, chance, and what angrec and refine refuse."""

import hashlib
import os

import numpy as np
import pytest

from imagic4d_core.geometry.euler import angular_distance, matrix_from_rotvec, random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.models import Model, project, random_family, volume
from imagic4d_core.scores import adjusted_rand_index


def model(seed, radius=7.0, count=14):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(count, 3))
    c *= (rng.random(count) ** (1 / 3) * radius / np.linalg.norm(c, axis=1))[:, None]
    sigma, weight = rng.uniform(1.2, 1.8, count), rng.uniform(0.5, 1.5, count)
    return Model("m", c - weight @ c / weight.sum(), sigma, weight)  # its centre of mass is what centring finds


def put(path, images, poses):
    write_stack(path, images.astype(np.float32), poses.into_headers(blank_headers(len(images), *images.shape[1:])))


def poses_of(path):
    return Poses.from_headers(read_stack(path)[1])


def case(folder, models, n, box=24, sigma=0.0, shifts=1.0, seed=3):
    """i.hed with the truth in its headers, v.hed; returns poses."""
    rng = np.random.default_rng(seed)
    truth = Poses.blank(n)
    truth.set_matrices(random_rotations(rng, n))
    truth.shift = shifts * rng.uniform(-1.0, 1.0, (n, 2))
    truth.ref3d = (1 + np.arange(n) % len(models)).astype(np.int32)
    images = np.zeros((n, box, box), np.float32)
    for k, m in enumerate(models):
        mine = truth.ref3d == k + 1
        images[mine] = project(m, truth.matrices()[mine], -truth.shift[mine], box)
    images += sigma * images.std() * rng.standard_normal(images.shape).astype(np.float32)
    put(folder / "i.hed", images, truth)
    write_stack(folder / "v.hed", np.stack([volume(m, box) for m in models]))
    return truth


def digests(folder):
    return {str(p.relative_to(folder)): hashlib.sha1(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def refused(im4d, folder, code, *args):
    before = digests(folder), sorted(folder.rglob("*"))
    error = im4d(*args, code=code).stderr
    assert (digests(folder), sorted(folder.rglob("*"))) == before
    return error


@pytest.mark.parametrize("box", [31, 32])
def test_prepare_centres(im4d, tmp_path, box):
    truth = case(tmp_path, [model(1)], 60, box=box, shifts=3.0)
    done = im4d("prepare", tmp_path / "i.hed", tmp_path / "p.hed", "--json").json
    images, h = read_stack(tmp_path / "p.hed")
    np.testing.assert_allclose(images.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std((1, 2)), 1, rtol=1e-5)
    found = Poses.from_headers(h)
    error = found.shift - truth.shift
    assert np.median(np.hypot(*error.T)) < 0.7 and np.quantile(np.hypot(*error.T), 0.9) < 1.0
    assert abs(np.median(error, 0)).max() < 0.3
    assert not found.ref3d.any() and not found.alpha.any()
    assert done["centred"] and done["shift_rms"] == pytest.approx(np.sqrt((found.shift**2).sum(1).mean()), rel=1e-4)
    # the pixels are where they were
    raw = read_stack(tmp_path / "i.hed")[0]
    assert np.corrcoef(images[0].ravel(), raw[0].ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_prepare_symmetric_images_exactly(im4d, tmp_path):
    """Rotationally symmetric images far off are centred to a fraction of a pixel, without a common offset; others stay."""
    ball = Model("ball", np.zeros((1, 3)), np.array([3.0]), np.array([1.0]))
    for box in (27, 28):
        truth = case(tmp_path, [ball], 40, box=box, shifts=3.0)
        done = im4d("prepare", tmp_path / "i.hed", tmp_path / "p.hed", "--overwrite", "--json").json
        found = poses_of(tmp_path / "p.hed").shift
        moved = found.any(1)
        error = (found - truth.shift)[moved]
        assert moved.sum() > 20 and done["stayed"] == (~moved).sum()
        assert abs(error).max() < 0.5 and abs(error.mean(0)).max() < 0.15
        assert np.hypot(*truth.shift[~moved].T).max(initial=0) < 2.7 * box / 64
        for name in ("i.hed", "i.img", "v.hed", "v.img"):
            (tmp_path / name).unlink()


def test_prepare_options(im4d, tmp_path):
    truth = case(tmp_path, [model(1)], 20)
    images, h = read_stack(tmp_path / "i.hed")
    images[7] = 3.5
    write_stack(tmp_path / "c.hed", images, h)
    im4d("prepare", tmp_path / "c.hed", tmp_path / "p.hed", "--invert", "--keep-poses", "--mask-radius", "0.8")
    out, h = read_stack(tmp_path / "p.hed")
    found = Poses.from_headers(h)
    np.testing.assert_allclose(found.shift, truth.shift, atol=1e-6)
    np.testing.assert_array_equal(found.ref3d, truth.ref3d)
    assert h["ACTIVE"][7] == -1 and (np.delete(h["ACTIVE"], 7) >= 0).all() and not out[7].any()
    assert np.corrcoef(out[0].ravel(), images[0].ravel())[0, 1] < -0.9
    assert out[0, 0, 0] == 0 and out[0].std() == pytest.approx(1, rel=1e-4)


def test_moves_and_its_verdict(im4d, tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 40)
    images = read_stack(tmp_path / "i.hed")[0]
    turned = truth.copy()
    turned.set_matrices(matrix_from_rotvec(np.deg2rad([0.0, 0.0, 2.0])) @ truth.matrices())
    turned.ref3d[:4] = 3 - turned.ref3d[:4]
    put(tmp_path / "t.hed", images, turned)
    done = im4d("moves", tmp_path / "i.hed", tmp_path / "t.hed", "--json").json
    assert done["moved"] == pytest.approx(0.1) and done["euler_change"] == pytest.approx(2, abs=1e-3) and not done["converged"]
    assert im4d("moves", tmp_path / "i.hed", tmp_path / "t.hed", "--check", code=1).stdout
    assert im4d("moves", tmp_path / "i.hed", tmp_path / "i.hed", "--check", "--json").json["converged"]
    put(tmp_path / "few.hed", images[:30], truth.select(slice(30)))
    assert "30 images" in im4d("moves", tmp_path / "i.hed", tmp_path / "few.hed", code=4).stderr


def test_moves_looks_at_the_halves(im4d, tmp_path):
    case(tmp_path, [model(1)], 8)
    v = read_stack(tmp_path / "v.hed")[0]
    noise = np.random.default_rng(0).standard_normal((2, *v.shape)).astype(np.float32) * v.std()
    for name, level in (("good", 0.05), ("bad", 2.0)):
        for half, n in zip("ab", noise, strict=True):
            write_stack(tmp_path / f"{name}_{half}.hed", v + level * n)
    args = ["moves", tmp_path / "i.hed", tmp_path / "i.hed", "--json", "--halves-before", tmp_path / "good.hed", "--halves-after"]
    done = im4d(*args, tmp_path / "bad.hed").json
    assert done["fsc_change"] > 1 and not done["converged"]
    assert im4d(*args, tmp_path / "good.hed").json["converged"]


def test_takeover(im4d, tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 12)
    rng = np.random.default_rng(0)
    other = rng.standard_normal((12, 24, 24)).astype(np.float32)
    h = blank_headers(12, 24, 24)
    h["NAME"] = b"kept"
    write_stack(tmp_path / "o.hed", other, h)
    with_flag, hi = read_stack(tmp_path / "i.hed")
    hi["ACTIVE"][5] = -1
    write_stack(tmp_path / "f.hed", with_flag, hi)
    im4d("takeover", tmp_path / "o.hed", tmp_path / "f.hed", tmp_path / "new.hed")
    images, h = read_stack(tmp_path / "new.hed")
    np.testing.assert_array_equal(images, other)
    found = Poses.from_headers(h)
    np.testing.assert_allclose(found.matrices(), truth.matrices(), atol=1e-5)
    np.testing.assert_array_equal(found.ref3d, truth.ref3d)
    assert h["ACTIVE"][5] == -1 and (np.char.strip(h["NAME"]) == b"kept").all()
    assert os.stat(tmp_path / "new.img").st_ino == os.stat(tmp_path / "o.img").st_ino
    put(tmp_path / "few.hed", images[:3], truth.select(slice(3)))
    assert "3 images" in refused(im4d, tmp_path, 4, "takeover", tmp_path / "o.hed", tmp_path / "few.hed", tmp_path / "x.hed")
    refused(im4d, tmp_path, 5, "takeover", tmp_path / "o.hed", tmp_path / "f.hed", tmp_path / "new.hed")


REGROUP = ["--threads", "1", "--seed", "1", "--increment", "20", "--max-shift", "2", "--max-frequency", "0.6"]


def test_regroup_merges_a_state_that_was_dealt_to_two(im4d, tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 90, sigma=0.5)
    dealt = truth.copy()
    dealt.ref3d[(truth.ref3d == 2) & (np.random.default_rng(0).random(90) < 0.5)] = 3
    put(tmp_path / "d.hed", read_stack(tmp_path / "i.hed")[0], dealt)
    done = im4d("regroup", tmp_path / "d.hed", tmp_path / "o.hed", "--volumes", "2", *REGROUP, "--json").json
    assert (done["before"], done["after"]) == (3, 2)
    assert adjusted_rand_index(poses_of(tmp_path / "o.hed").ref3d, truth.ref3d) > 0.9
    assert not list(tmp_path.glob(".*"))


def test_regroup_keeps_true_states_apart(im4d, tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 90, sigma=0.5)
    done = im4d("regroup", tmp_path / "i.hed", tmp_path / "o.hed", "--volumes", "2", *REGROUP, "--json").json
    found = poses_of(tmp_path / "o.hed")
    assert (done["before"], done["after"]) == (2, 2) and not done["events"]
    assert adjusted_rand_index(found.ref3d, truth.ref3d) > 0.9
    assert np.median(angular_distance(found.matrices(), truth.matrices())) < 12


def test_chance(im4d, tmp_path):
    case(tmp_path, random_family(5, 2, 28), 120, box=28, sigma=0.5)
    args = ["--threads", "1", "--seed", "1", "--increment", "20", "--max-shift", "2", "--max-frequency", "0.5", "--json"]
    done = im4d("chance", tmp_path / "i.hed", *args).json
    assert done["fsc_above_chance"] and done["membership_above_chance"] and done["effect"] > 2
    assert not list(tmp_path.glob(".*"))


def test_chance_leaves_junk_in_no_3d(im4d, tmp_path):
    """Images of noise among others are counted, and in --images-out they are in no 3D; nothing else of the images changes."""
    im4d("threed-test", tmp_path / "v.hed", "--number", 2, "--size", 32, "--seed", 5, "--pattern", "blobs")
    im4d("simulate", tmp_path / "v.blobs.json", tmp_path / "i.hed", "--images", 200, "--snr", 2, "--seed", 6, "--shift-sigma", 0,
         "--truth", tmp_path / "t.hed")  # fmt: skip
    data, headers = read_stack(tmp_path / "t.hed")
    junk = np.arange(0, 200, 10)
    data[junk] = np.random.default_rng(3).normal(0, data.std(), (20, *data.shape[1:]))
    write_stack(tmp_path / "t.hed", data, headers, overwrite=True)
    args = "--images-out", tmp_path / "good.hed", "--max-shift", 2, "--seed", 1
    done = im4d("chance", tmp_path / "t.hed", *args, "--json").json
    before, after = (Poses.from_headers(read_stack(tmp_path / n)[1]) for n in ("t.hed", "good.hed"))
    out = after.ref3d == 0
    assert out[junk].mean() >= 0.9 and out.mean() < 0.13 and done["unexplained"] == out.sum() and done["junk"] == []
    assert np.array_equal(before.ref3d[~out], after.ref3d[~out]) and np.array_equal(before.alpha, after.alpha)
    assert "explained by no 3D" in im4d("chance", tmp_path / "t.hed", *args, "--overwrite").stdout
    assert "good" in im4d("chance", tmp_path / "t.hed", *args, code=5).stderr


def test_chance_of_refined_noise(im4d, tmp_path):
    case(tmp_path, [model(1)], 80, sigma=0)
    noise = np.random.default_rng(1).standard_normal((80, 24, 24))
    put(tmp_path / "n.hed", noise, Poses.blank(80))
    short = ["--volumes", "2", "--iterations", "8", "--starts", "2", "--seed", "1", "--threads", "1", "--no-report"]
    done = im4d("refine", tmp_path / "n.hed", tmp_path / "run", *short, "--json").json
    assert not done["fsc_above_chance"] and not done["membership_above_chance"] and "not above chance" in done["statement"]
    args = ["--threads", "1", "--increment", "20", "--max-shift", "2", "--seed", "1"]
    assert "Nothing is claimed" in im4d("chance", tmp_path / "run" / "images.hed", *args, code=1).stdout


def test_angrec_refuses(im4d, tmp_path):
    truth = case(tmp_path, [model(1), model(2)], 20)
    images = read_stack(tmp_path / "i.hed")[0]
    stray = truth.copy()
    stray.ref3d[2] = 5
    put(tmp_path / "s.hed", images, stray)
    args = ["--anchors", tmp_path / "v.hed", "--increment", "30"]
    error = refused(im4d, tmp_path, 4, "angrec", tmp_path / "s.hed", tmp_path / "o.hed", *args, "--mode", "own")
    assert "image 3 has 3D membership 5" in error
    assert "needs one" in refused(im4d, tmp_path, 4, "angrec", tmp_path / "i.hed", tmp_path / "o.hed", *args, "--mode", "single")
    put(tmp_path / "blank.hed", images, Poses.blank(20))
    blank = ["--anchors", tmp_path / "blank.hed"]
    assert "without Euler angles" in refused(im4d, tmp_path, 3, "angrec", tmp_path / "i.hed", tmp_path / "o.hed", *blank)
    assert "volumes" in refused(im4d, tmp_path, 4, "angrec", tmp_path / "v.hed", tmp_path / "o.hed", *args)
    spoilt = read_stack(tmp_path / "v.hed")[0]
    spoilt[1, 3, 4, 5] = np.nan
    write_stack(tmp_path / "nan.hed", spoilt)
    error = refused(im4d, tmp_path, 3, "angrec", tmp_path / "i.hed", tmp_path / "o.hed", "--anchors", tmp_path / "nan.hed")
    assert "NaN" in error and "nan" in error
    some = f"{tmp_path / 'i.hed'},1,10"
    assert "copy them" in refused(im4d, tmp_path, 2, "angrec", some, tmp_path / "o.hed", *args)
    assert "copy them" in refused(im4d, tmp_path, 2, "refine", some, tmp_path / "run", "--volumes", "1")


def test_refine_refuses(im4d, tmp_path):
    case(tmp_path, [model(1)], 20)
    assert "run.json" in refused(im4d, tmp_path, 3, "refine", tmp_path / "i.hed", tmp_path / "run", "--resume")
    assert "too few" in refused(im4d, tmp_path, 4, "refine", tmp_path / "i.hed", tmp_path / "run", "--volumes", "3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    args = ["refine", tmp_path / "i.hed", tmp_path / "mine", "--volumes", "1"]
    refused(im4d, tmp_path, 5, *args)
    assert "not a folder of refine" in refused(im4d, tmp_path, 5, *args, "--overwrite")
    assert "--volumes" in refused(im4d, tmp_path, 2, "refine", tmp_path / "i.hed", tmp_path / "run")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    assert "damaged" in refused(im4d, tmp_path, 3, "refine", tmp_path / "i.hed", tmp_path / "damaged", "--resume")


def test_angrec_weights(im4d, tmp_path):
    """A file of weights repeats the run that wrote it; without weights nothing changes; without poses a search comes first."""
    case(tmp_path, [model(1), model(2)], 40, sigma=1.0)
    im4d("angrec", tmp_path / "i.hed", tmp_path / "none.hed", "--anchors", tmp_path / "v.hed", "--increment", "15")
    same = "--increment", "15", "--weighting", "none"
    im4d("angrec", tmp_path / "i.hed", tmp_path / "none2.hed", "--anchors", tmp_path / "v.hed", *same)
    np.testing.assert_array_equal(poses_of(tmp_path / "none.hed").ccc3d, poses_of(tmp_path / "none2.hed").ccc3d)
    args = "--anchors", tmp_path / "v.hed", "--increment", "15", "--weighting"
    put(tmp_path / "blank.hed", read_stack(tmp_path / "i.hed")[0], Poses.blank(40))
    for source in ("i", "blank"):
        for kind in ("images", "auto"):
            name = f"{source}_{kind}"
            files = tmp_path / f"{source}.hed", tmp_path / f"{name}.hed"
            said = im4d("angrec", *files, *args, kind, "--weighting-out", tmp_path / "w.csv", "--overwrite")
            assert "frequencies weighed from" in said.stdout
            table = np.loadtxt(tmp_path / "w.csv", delimiter=",", skiprows=1)
            assert (np.diff(table[:, 0]) > 0).all() and (table[:, 1:] >= 0).all()
            im4d("angrec", tmp_path / f"{source}.hed", tmp_path / "again.hed", *args, tmp_path / "w.csv", "--overwrite")
            first, again = poses_of(tmp_path / f"{name}.hed"), poses_of(tmp_path / "again.hed")
            np.testing.assert_array_equal(first.ccc3d, again.ccc3d)
            np.testing.assert_array_equal(first.alpha, again.alpha)
            assert not np.array_equal(first.ccc3d, poses_of(tmp_path / "none.hed").ccc3d)
            assert (first.ref3d == 1 + np.arange(40) % 2).mean() > 0.9


def test_angrec_refuses_weights(im4d, tmp_path):
    case(tmp_path, [model(1)], 6)
    call = "angrec", tmp_path / "i.hed", tmp_path / "o.hed", "--anchors", tmp_path / "v.hed"
    assert "amplitude-filter" in refused(im4d, tmp_path, 2, *call, "--weighting", "auto", "--amplitude-filter", "0.5")
    assert "needs --weighting" in refused(im4d, tmp_path, 2, *call, "--weighting-out", tmp_path / "w.csv")
    assert "takes none, images, auto" in refused(im4d, tmp_path, 3, *call, "--weighting", tmp_path / "missing.csv")
    head = "frequency,image,reference\n"
    bad = {"": "first line", "a,b,c\n0.1,1,1\n": "first line", head: "first line", head + "0.1,1\n": "three numbers",
           head + "0.1,x,1\n": "no table", head + "0.2,1,1\n0.1,1,1\n": "must rise", head + "0.1,-1,1\n": "not negative",
           head + "0.1,nan,1\n": "finite", head + "0.1,0,1\n": "not all 0"}  # fmt: skip
    for text, why in bad.items():
        (tmp_path / "w.csv").write_text(text)
        assert why in refused(im4d, tmp_path, 3, *call, "--weighting", tmp_path / "w.csv"), text
