"""Euler angles from common lines: the search against its definition, and structures found from nothing."""

import numpy as np
import pytest
from oracle import common_lines as naive

from imagic4d_core import fourier
from imagic4d_core.angrec.polar import PolarSampler
from imagic4d_core.angrec.scf import common_line
from imagic4d_core.angrec.search import turned
from imagic4d_core.angrec.startup import Lines, Placing, add, arrange, triplet
from imagic4d_core.geometry.euler import angular_distance, random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.scheme.angrec.common_lines import startup
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.kernels.common_lines import SECTORS, score_poses
from imagic4d_core.masks.shapes import soft_disc
from imagic4d_core.models import Model, project


def error(found, truth, group=None):
    """Median angle to the truth after one rotation of everything, of the better hand."""
    group = np.eye(3)[None] if group is None else group
    hand = np.diag([1.0, 1.0, -1.0])
    best = 180.0
    for poses in (found, hand @ found @ hand):
        for i in range(len(poses)):
            for g in group:
                moved = poses @ (poses[i].T @ g @ truth[i])
                each = np.min([angular_distance(moved, truth @ h.T) for h in group], 0)
                best = min(best, float(np.median(each)))
    return best


def family(folder, number, box=40, **how):
    threed_test(folder / "t.hed", number=1, size=box, pixel_size=3.0, seed=how["seed"])
    simulate(folder / "t.blobs.json", folder / "s.hed", images=number, truth=folder / "k.hed", **how)
    with open_stack(folder / "k.hed") as known:
        return Poses.from_headers(known.headers()).matrices()


def sampled(data, r_max=12, n=72):
    half = data.shape[1] / 2
    data = data * soft_disc(data.shape[1], 0.85 * half, 0.1 * half)
    return Lines(PolarSampler(data.shape[1], r_max, n).sample(fourier.centred_rfftn(data, 2).astype(np.complex64)), 0.5)


def lines_of(folder):
    with open_stack(folder / "s.hed") as images:
        return sampled(images.read(0, images.n_images))


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2"])
def test_scores_are_means_over_common_lines(symmetry):
    rng = np.random.default_rng(3)
    half = (rng.normal(size=(7, 24, 5)) + 1j * rng.normal(size=(7, 24, 5))).astype(np.complex64)
    lines, group = Lines(half), rotations(symmetry)
    unit = half / np.linalg.norm(half, axis=2, keepdims=True)
    whole = np.concatenate([unit, unit.conj()], 1)
    poses, known = random_rotations(rng, 6), np.arange(6)
    tables, own = lines.tables(known, 6), lines.tables(np.array([6]), 6)[0]
    placing, chance = Placing(symmetry), float(tables.mean(dtype=np.float64))
    directions, values = placing.scan(tables, own, poses, 40.0)
    for d in (0, len(directions) // 2, len(directions) - 1):
        for t in (0, 4, 30):  # whole sectors
            pose = turned(directions[[d]], np.array([t], np.int32), 48)[0]
            want = naive.score(whole, 6, known, poses, pose, group, SECTORS, chance)
            assert values[d, t] == pytest.approx(want, abs=2e-5)
    # between lines, the interpolated score is near the one at the nearest lines where lines are smooth
    out, mates = np.empty(1), np.einsum("mij,gkj->mgik", poses, group).reshape(-1, 3, 3)
    lookup = (tables * 0 + 0.25, own * 0 + 0.25, np.repeat(known, len(group)), mates, group[1:])
    score_poses(*lookup, random_rotations(rng, 1), placing.least, 0.25, out)
    assert out[0] == pytest.approx(0.25)


def test_three_views_from_their_common_lines():
    rng, solved = np.random.default_rng(1), 0
    for _ in range(40):
        truth = random_rotations(rng, 3)
        phi = np.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            line = common_line(truth[i], truth[j])
            phi[i, j], phi[j, i] = np.deg2rad([line.first, line.second])
        found = triplet(phi)
        if found is not None:
            solved += 1
            assert error(found, truth) < 0.01
    assert solved > 10


@pytest.mark.parametrize("seed", [21, 22])
def test_an_asymmetric_structure_from_nothing(tmp_path, seed):
    truth = family(tmp_path, 16, snr=5.0, seed=seed)
    lines = lines_of(tmp_path)
    found = arrange(lines, np.arange(16), increment=6.0)
    assert error(found.poses, truth) < 8.0
    turned_by = []
    for i in range(0, 16, 3):
        others = np.delete(np.arange(16), i)
        pose, score = add(lines, i, others, found.poses[others], increment=6.0)
        turned_by.append(angular_distance(pose[None], found.poses[[i]])[0])
        assert score > 0.5
    assert np.median(turned_by) < 8.0


@pytest.mark.parametrize("symmetry", ["C4", "D3", "O"])
def test_a_symmetric_structure_from_nothing(symmetry):
    rng, group = np.random.default_rng(7), rotations(symmetry)
    c = rng.normal(size=(5, 3))
    c *= (rng.uniform(0.4, 1.0, 5) * 11 / np.linalg.norm(c, axis=1))[:, None]
    places = np.concatenate([c @ g.T for g in group])
    unit = len(group)
    blobs = Model("m", places, np.tile(rng.uniform(1.4, 2.0, 5), unit), np.tile(rng.uniform(0.5, 1.5, 5), unit))
    truth = random_rotations(rng, 8)
    images = project(blobs, truth, None, 40)
    images += 0.3 * images.std() * rng.normal(size=images.shape).astype(np.float32)
    found = arrange(sampled(images), np.arange(8), increment=8.0, symmetry=symmetry)
    assert error(found.poses, truth, group) < 6.0


def test_views_about_one_axis_are_no_way_out(tmp_path):
    """In noise, the mean over pairs is highest where all share one line; the mean over sectors is not."""
    family(tmp_path, 12, snr=0.3, seed=31)
    lines = lines_of(tmp_path)
    found = arrange(lines, np.arange(12), increment=10.0)
    views = found.poses[:, 2]
    assert np.linalg.eigvalsh(views.T @ views / 12)[0] > 0.02


def test_the_job_says_what_chance_gives(tmp_path, im4d):
    truth = family(tmp_path, 12, snr=5.0, seed=41)
    said = im4d("angrec", tmp_path / "s.hed", tmp_path / "o.hed", "--mode", "new", "--increment", 10, "--seed", 1, "--json").json
    assert said["above_chance"] and said["images"] == said["arranged"] == 12
    with open_stack(tmp_path / "o.hed") as out, open_stack(tmp_path / "s.hed") as src:
        h = out.headers()
        assert np.array_equal(out.read(0, 12), src.read(0, 12))
    found = Poses.from_headers(h).matrices()
    assert error(found, truth) < 10.0
    assert (h["REF3D"] == 1).all() and h["LOCOLD"].tolist() == list(range(1, 13))
    np.testing.assert_allclose(h["ERRAR"], 1 - h["CCC3D"], atol=1e-6)
    # the last four once more, against the others
    im4d("copy", tmp_path / "o.hed", tmp_path / "a.hed", "--loc", "1-8")
    im4d("copy", tmp_path / "s.hed", tmp_path / "b.hed", "--loc", "9-12")
    args = ("--mode", "add", "--anchors", tmp_path / "a.hed", "--increment", 8, "--seed", 1)
    said = im4d("angrec", tmp_path / "b.hed", tmp_path / "c.hed", *args, "--json").json
    assert said["images"] == 4 and said["arranged"] == 0 and said["score"] > said["chance"]
    with open_stack(tmp_path / "c.hed") as out:
        again = Poses.from_headers(out.headers()).matrices()
    assert np.median(angular_distance(again, found[8:])) < 12.0  # eight anchors are few


@pytest.mark.parametrize("seed", [51, 52])
def test_noise_gives_nothing(tmp_path, seed):
    family(tmp_path, 12, snr=1.0, seed=seed, noise_only=True)
    said = startup(str(tmp_path / "s.hed"), str(tmp_path / "o.hed"), increment=10.0)
    assert not said.above_chance
    assert "mean nothing" in said.lines()[-1]


def test_bad_input(tmp_path, im4d):
    family(tmp_path, 4, snr=1.0, seed=61)
    src, out = tmp_path / "s.hed", tmp_path / "o.hed"
    assert "--anchors is needed" in im4d("angrec", src, out, code=2).stderr
    assert "OUT" in im4d("angrec", src, "--mode", "new", code=2).stderr
    assert "takes no --anchors" in im4d("angrec", src, out, "--mode", "new", "--anchors", src, code=2).stderr
    assert "flip phases first" in im4d("angrec", src, out, "--mode", "new", "--weigh-ctf", code=2).stderr
    assert "needs --anchors" in im4d("angrec", src, out, "--mode", "add", code=2).stderr
    assert "without Euler angles" in im4d("angrec", src, out, "--mode", "add", "--anchors", src, code=3).stderr
    im4d("copy", src, tmp_path / "two.hed", "--loc", "1-2")
    assert "three at least" in im4d("angrec", tmp_path / "two.hed", out, "--mode", "new", code=3).stderr
    im4d("arithmetic", src, tmp_path / "zero.hed", "--expr", "a * 0")
    assert "image 1 is constant" in im4d("angrec", tmp_path / "zero.hed", out, "--mode", "new", code=3).stderr
    assert not out.exists()
