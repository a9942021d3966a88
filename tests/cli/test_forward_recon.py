"""im4d forward and im4d recon, file to file."""

import numpy as np
import pytest

from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.models import Model, project, volume

BOX, N = 24, 120


def model(seed):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(12, 3))
    c *= (rng.random(12) ** (1 / 3) * 6 / np.linalg.norm(c, axis=1))[:, None]
    return Model("m", c, rng.uniform(1.2, 1.8, 12), rng.uniform(0.5, 1.5, 12))


@pytest.fixture
def files(tmp_path):
    """Volumes v.hed (two) and noise-free images i.hed of them, with poses, memberships, shifts."""
    models = [model(1), model(2)]
    truth = np.stack([volume(m, BOX) for m in models])
    write_stack(tmp_path / "v.hed", truth, pixel_size=3.0)
    rng = np.random.default_rng(3)
    poses = Poses.blank(N)
    poses.set_matrices(random_rotations(rng, N))
    poses.shift = rng.normal(size=(N, 2)).astype(np.float32).astype(float)
    poses.ref3d = (1 + np.arange(N) % 2).astype(np.int32)
    h = poses.into_headers(blank_headers(N, BOX, BOX, pixel_size=3.0))
    images = np.zeros((N, BOX, BOX), np.float32)
    read_back = Poses.from_headers(h)
    for k in (1, 2):
        mine = poses.ref3d == k
        images[mine] = project(models[k - 1], read_back.matrices()[mine], -read_back.shift[mine], BOX)
    write_stack(tmp_path / "i.hed", images, h, pixel_size=3.0)
    return tmp_path


def poses_of(path):
    with open_stack(path) as s:
        h = s.headers()
        return Poses.from_headers(h[:: s.sections]), h[:: s.sections], s.shape


def agreement(a, b, top=9):
    return min(shell_curves(x, y).fsc[1:top].min() for x, y in zip(a, b, strict=True))


def test_forward_covers_the_triangle(im4d, files):
    done = im4d("forward", files / "v.hed", files / "p.hed", "--increment", "25", "--symmetry", "D2", "--json").json
    beta, gamma = sphere.directions(25, "D2")
    assert done["directions"] == len(beta) and done["images"] == 2 * len(beta)
    p, h, shape = poses_of(files / "p.hed")
    assert shape == (2 * len(beta), 1, BOX, BOX) and (h["PIXSIZE"] == 3).all()
    np.testing.assert_allclose(p.beta, np.tile(beta, 2), atol=1e-4)
    np.testing.assert_allclose(p.gamma, np.tile(gamma, 2), atol=1e-4)
    assert not p.alpha.any() and p.ref3d.tolist() == [1] * len(beta) + [2] * len(beta)
    images = read_stack(files / "p.hed")[0]
    want = project(model(2), p.matrices()[len(beta) :], None, BOX)
    np.testing.assert_allclose(images[len(beta) :], want, atol=5e-3 * want.max())


def test_forward_random_and_errors(im4d, files):
    im4d("forward", files / "v.hed", files / "p.mrcs", "--directions", "random", "--number", "5", "--seed", "4")
    im4d("forward", files / "v.hed", files / "q.mrcs", "--directions", "random", "--number", "5", "--seed", "4")
    assert (files / "p.mrcs").read_bytes() == (files / "q.mrcs").read_bytes()
    p, _, _ = poses_of(files / "p.mrcs")
    assert len(np.unique(p.alpha)) == 10 and p.ref3d.tolist() == [1] * 5 + [2] * 5
    out = files / "x.hed"
    assert "--number" in im4d("forward", files / "v.hed", out, "--directions", "random", code=2).stderr
    assert "--angles-from" in im4d("forward", files / "v.hed", out, "--directions", "header", code=2).stderr
    assert "volumes is needed" in im4d("forward", files / "i.hed", out, code=4).stderr
    assert "point group" in im4d("forward", files / "v.hed", out, "--symmetry", "X9", code=2).stderr
    assert im4d("forward", files / "v.hed", files / "p.mrcs", code=5)
    write_stack(files / "odd.hed", np.ones((1, 20, BOX, BOX), np.float32))
    assert "cubes are needed" in im4d("forward", files / "odd.hed", out, code=4).stderr
    write_stack(files / "bare.hed", np.ones((3, BOX, BOX), np.float32))
    assert "Euler" in im4d("forward", files / "v.hed", out, "--angles-from", files / "bare.hed", code=3).stderr
    write_stack(files / "small.hed", np.ones((3, 16, 16), np.float32))
    assert "do not fit" in im4d("forward", files / "v.hed", out, "--angles-from", files / "small.hed", code=4).stderr
    assert not out.exists()


def test_forward_as_images_look(im4d, files):
    im4d("forward", files / "v.hed", files / "p.hed", "--angles-from", files / "i.hed")
    images, _ = read_stack(files / "i.hed")
    again, h = read_stack(files / "p.hed")
    np.testing.assert_allclose(again, images, atol=2e-2 * images.max())  # shifts wrap around at the edge
    assert np.array_equal(h["REF3D"], 1 + np.arange(N) % 2) and h["RXSHIFT"].any()


def test_recon_of_headers(im4d, files):
    done = im4d(
        "recon", files / "i.hed", files / "r.hed", "--reprojections", files / "re.hed", "--errors", files / "er.hed",
        "--halves", files / "h.mrc", "--images-out", files / "o.hed", "--seed", "1", "--json",
    ).json  # fmt: skip
    assert done["sizes"] == [60, 60] and done["renumbered"] == {"1": 1, "2": 2}
    truth, made = read_stack(files / "v.hed")[0], read_stack(files / "r.hed")[0]
    assert agreement(made, truth) > 0.97
    p, h, shape = poses_of(files / "r.hed")
    assert shape == (2, BOX, BOX, BOX) and p.ref3d.tolist() == [1, 2] and p.nimg3d.tolist() == [60, 60]
    assert (h["PIXSIZE"] == 3).all()
    for letter in "ab":
        assert agreement(read_stack(files / f"h_{letter}.mrc")[0], truth, 7) > 0.9
    images = read_stack(files / "i.hed")[0]
    re, rh = read_stack(files / "re.hed")
    er, eh = read_stack(files / "er.hed")
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98 for a, b in zip(re, images, strict=True))
    rms = np.sqrt(np.mean(er.astype(float) ** 2, (1, 2))) / images.std((1, 2))
    np.testing.assert_allclose(eh["ERR3D"], rms, atol=2e-3)
    assert np.array_equal(rh["ERR3D"], eh["ERR3D"]) and (rms < 0.2).all()
    o, oh, _ = poses_of(files / "o.hed")
    assert np.array_equal(oh["ERR3D"], eh["ERR3D"]) and sorted(np.unique(o.halfset)) == [1, 2]
    assert (files / "o.img").stat().st_ino == (files / "i.img").stat().st_ino


def test_recon_round_trip_through_mrc(im4d, files):
    im4d("convert", files / "i.hed", files / "i.mrcs")
    im4d("recon", files / "i.mrcs", files / "r.mrc")
    assert agreement(read_stack(files / "r.mrc")[0], read_stack(files / "v.hed")[0]) > 0.97


def test_leave_out_volumes_lack_their_fold(im4d, files):
    im4d("recon", files / "i.hed", files / "r.hed", "--folds", "4", "--leave-out", files / "l.hed", "--images-out",
         files / "o.hed", "--seed", "7", "--wiener", "--max-frequency", "0.8")  # fmt: skip
    p, _, shape = poses_of(files / "l.hed")
    assert shape[0] == 8 and p.fold.tolist() == [1, 2, 3, 4] * 2 and p.ref3d.tolist() == [1] * 4 + [2] * 4
    assert (p.folds == 4).all() and (p.foldseed == 7).all()
    fold = fold_of(7, 4, np.arange(N))
    o, _, _ = poses_of(files / "o.hed")
    assert np.array_equal(o.fold, fold) and np.array_equal(o.halfset, 2 - fold % 2)
    assert p.nimg3d[1] == ((fold != 2) & (o.ref3d == 1)).sum()
    # the same volume from the images of the other folds alone
    images, h = read_stack(files / "i.hed")
    h["ACTIVE"] = np.where(fold == 2, -1, 1)
    write_stack(files / "part.hed", images, h)
    im4d("recon", files / "part.hed", files / "q.hed", "--max-frequency", "0.8", "--folds", "4", "--seed", "7")
    im4d("recon", files / "i.hed", files / "r2.hed", "--folds", "4", "--leave-out", files / "l2.hed", "--seed", "7",
         "--max-frequency", "0.8")  # fmt: skip
    left, direct = read_stack(files / "l2.hed")[0][1], read_stack(files / "q.hed")[0][0]
    np.testing.assert_allclose(left, direct, atol=1e-5 * np.abs(direct).max())
    # projections of leave-out volumes: image i is shown the volume made without it
    im4d("forward", files / "l2.hed", files / "p.hed", "--angles-from", files / "i.hed")
    q, _, _ = poses_of(files / "p.hed")
    assert np.array_equal(q.fold, fold) and np.array_equal(q.ref3d, o.ref3d)


def test_half_sets_of_images_that_were_dealt_into_folds_before(im4d, files):
    """Folds left in the headers by an earlier run say nothing about half sets by turns."""
    im4d("recon", files / "i.hed", files / "l.hed", "--folds", "6", "--images-out", files / "f.hed", "--seed", "5")
    for src, dst in (("i", "p"), ("f", "q")):
        im4d("recon", files / f"{src}.hed", files / f"{dst}.hed", "--halves", files / f"{dst}.hed")
    for part in ("", "_a", "_b"):
        np.testing.assert_array_equal(read_stack(files / f"q{part}.hed")[0], read_stack(files / f"p{part}.hed")[0])


def test_assignments_go_to_the_headers(im4d, files):
    im4d("recon", files / "i.hed", files / "r.hed", "--membership", "RANDOM_3D_MEMBERSHIP", "--volumes", "3", "--euler", "random",
         "--images-out", files / "o.hed", "--seed", "5")  # fmt: skip
    o, h, _ = poses_of(files / "o.hed")
    i, _, _ = poses_of(files / "i.hed")
    assert np.bincount(o.ref3d).tolist() == [0, 40, 40, 40]
    changed = o.ref3d != i.ref3d
    assert np.array_equal(o.ref3d_old[changed], i.ref3d[changed]) and (h["NIMG3D"] == 40).all()
    assert np.abs(o.alpha - i.alpha).min() > 0 and len(np.unique(np.round(o.beta, 3))) > N // 2
    im4d("recon", files / "o.hed", files / "r2.hed")
    np.testing.assert_allclose(
        read_stack(files / "r.hed")[0], read_stack(files / "r2.hed")[0], atol=1e-3 * np.abs(read_stack(files / "r.hed")[0]).max()
    )


def test_small_volumes_are_left_out(im4d, files):
    images, h = read_stack(files / "i.hed")
    h["REF3D"] = np.where(np.arange(N) < 10, 1, np.where(np.arange(N) < 20, 5, 3))
    h["ACTIVE"][15] = -1
    write_stack(files / "m.hed", images, h)
    done = im4d("recon", files / "m.hed", files / "r.hed", "--min-images", "10", "--images-out", files / "o.hed", "--json").json
    assert done["renumbered"] == {"1": 1, "3": 2, "5": 0} and done["sizes"] == [10, 100]
    o, _, _ = poses_of(files / "o.hed")
    assert (o.ref3d[10:20] == 0).all() and (o.ref3d[20:] == 2).all() and (o.ref3d_old[20:] == 3).all()
    im4d("forward", files / "r.hed", files / "p.hed", "--angles-from", files / "o.hed")
    p, h = read_stack(files / "p.hed")
    assert not p[10:20].any() and (h["REF3D"][10:20] == 0).all()


@pytest.mark.parametrize("method", ["fourier", "EXACT_FILTER"])
def test_methods_and_symmetry(im4d, files, method):
    im4d("recon", files / "i.hed", files / "r.hed", "--membership", "all", "--method", method, "--symmetry", "C2",
         "--mask-radius", "0.9", "--hamming", "0.8")  # fmt: skip
    v = read_stack(files / "r.hed")[0][0][1:, 1:, 1:]
    assert np.corrcoef(v.ravel(), v[:, ::-1, ::-1].ravel())[0, 1] > 0.999
    assert not v[0, :3, :3].any()


@pytest.mark.parametrize(
    "args, code, words",
    [
        (["--membership", "random", "--volumes", "121"], 4, "121 3Ds cannot be made of 120 images"),
        (["--membership", "sequential"], 2, "--volumes"),
        (["--min-images", "61"], 3, "the largest has 60"),
        (["--folds", "3"], 2, "even number"),
        (["--leave-out", "x.hed"], 2, "even number"),
        (["--method", "exact-filter", "--wiener"], 2, "fourier"),
        (["--hamming", "1.5"], 2, "Hamming"),
        (["--symmetry", "Q"], 2, "point group"),
        (["--method", "exact-filter", "--object-size", "7"], 2, "object-size"),
    ],
)
def test_mistakes(im4d, files, args, code, words, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert words in im4d("recon", "i.hed", "new.hed", *args, code=code).stderr
    assert sorted(files.iterdir()) == before


def test_bad_inputs(im4d, files):
    images, h = read_stack(files / "i.hed")
    write_stack(files / "bare.hed", images)
    assert "no Euler angles" in im4d("recon", files / "bare.hed", files / "n.hed", code=3).stderr
    h["REF3D"] = 0
    write_stack(files / "none.hed", images, h)
    assert "REF3D" in im4d("recon", files / "none.hed", files / "n.hed", code=3).stderr
    im4d("recon", files / "none.hed", files / "all.hed", "--membership", "all")
    images[77, 3, 3] = np.nan
    write_stack(files / "nan.hed", images, h)
    assert "78" in im4d("recon", files / "nan.hed", files / "n.hed", "--membership", "all", code=3).stderr
    write_stack(files / "zero.hed", np.zeros_like(images), h)
    assert "empty" in im4d("recon", files / "zero.hed", files / "n.hed", "--membership", "all", code=3).stderr
    write_stack(files / "wide.hed", np.ones((4, 8, 10), np.float32), h[:4])
    assert "square" in im4d("recon", files / "wide.hed", files / "n.hed", code=4).stderr
    assert "exist" in im4d("recon", files / "i.hed", files / "v.hed", code=5).stderr
    assert not (files / "n.hed").exists() and not (files / "n.img").exists()
