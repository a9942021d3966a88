"""threed-test, simulate, fsc, compare through the command line."""

import csv
import os

import numpy as np
import pytest
from compare import same_bytes

from imagic4d_core.geometry.euler import J_HAND, euler_from_matrix, random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.truth.truth_table import read_table
from imagic4d_core.models import read_models, volume
from imagic4d_core.rng import rng_for


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three structures of box 32, and 90 images of them with their truth beside."""
    from imagic4d_core.jobs.truth.modelling import threed_test
    from imagic4d_core.jobs.truth.simulate import simulate

    folder = tmp_path_factory.mktemp("world")
    threed_test(folder / "true.hed", number=3, size=32, seed=3)
    simulate(
        folder / "true.blobs.json", folder / "images.hed", images=90, snr=1.0, shift_sigma=1.0, truth=folder / "truth.hed", seed=4
    )
    return folder


def test_threed_test_makes_volumes_and_blobs(im4d, tmp_path):
    made = im4d("threed-test", tmp_path / "v.mrc", "--number", 2, "--size", 24, "--pixel-size", 3, "--seed", 1, "--json").json
    assert made["volumes"] == 2 and made["seed"] == 1 and made["models"].endswith("v.blobs.json")
    models = read_models(tmp_path / "v.blobs.json")
    volumes, _ = read_stack(tmp_path / "v.mrc")
    assert models.pixel_size == 3
    with open_stack(tmp_path / "v.mrc") as stack:
        assert stack.shape == (2, 24, 24, 24) and stack.pixel_size == pytest.approx(3)
    np.testing.assert_allclose(volumes[1], volume(models.models[1], 24), atol=1e-5)
    im4d("threed-test", tmp_path / "v.mrc", "--seed", 1, code=5)


def test_volumes_carry_their_number(world):
    _, h = read_stack(world / "true.hed")
    assert h["REF3D"].tolist() == np.repeat([1, 2, 3], 32).tolist()


def test_simulate_keeps_the_truth_apart(world):
    images, blank = read_stack(world / "images.hed")
    same, truth = read_stack(world / "truth.hed")
    assert np.array_equal(images, same) and os.path.samefile(world / "images.img", world / "truth.img")
    assert not Poses.from_headers(blank).any_set()
    poses = Poses.from_headers(truth)
    assert sorted(np.bincount(poses.ref3d)[1:].tolist()) == [30, 30, 30]
    assert poses.shift.std() == pytest.approx(1.0, rel=0.2) and poses.beta.max() > 90


def test_truth_in_the_headers_reprojects_the_images(world, im4d, tmp_path):
    """Images moved by RXSHIFT, RYSHIFT are centred: the shift to be applied undoes the displacement."""
    im4d("simulate", world / "true.blobs.json", tmp_path / "i", "--images", 6, "--shift-sigma", 2, "--seed", 2)
    im4d("simulate", world / "true.blobs.json", tmp_path / "centred", "--images", 6, "--seed", 2)
    moved, h = read_stack(tmp_path / "i")
    centred, g = read_stack(tmp_path / "centred")
    assert np.array_equal(h["ALPHA"], g["ALPHA"])
    f = np.fft.fftfreq(32)
    for x, c, d in zip(moved, centred, Poses.from_headers(h).shift, strict=True):
        ramp = np.exp(-2j * np.pi * (f[:, None] * d[0] + f * d[1]))
        back = np.fft.ifft2(np.fft.fft2(x) * ramp).real
        assert np.corrcoef(back.ravel(), c.ravel())[0, 1] > 0.98


def test_volumes_and_blobs_give_the_same_images(world, im4d, tmp_path):
    for source, name in (("true.hed", "v"), ("true.blobs.json", "b")):
        im4d("simulate", world / source, tmp_path / name, "--images", 5, "--shift-sigma", 1, "--seed", 2)
    a, b = read_stack(tmp_path / "v")[0], read_stack(tmp_path / "b")[0]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


def test_same_bytes_for_any_number_of_threads(world, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    settings = "--images 150 --snr 0.5 --shift-sigma 2 --ctf --preferred 0.5,20 --populations 7,2,1 --seed 7"
    for n in (1, 2):
        im4d("simulate", world / "true.blobs.json", tmp_path / f"t{n}", *settings.split(), "--threads", n)
    same_bytes(tmp_path / "t1", tmp_path / "t2")


def test_ctf_stands_in_the_header(world, im4d, tmp_path):
    im4d("simulate", world / "true.hed", tmp_path / "i", "--images", 4, "--ctf", "--defocus", "8000,9000", "--voltage", 200)
    _, h = read_stack(tmp_path / "i")
    assert np.all((h["DEFOCUS1"] >= 8000) & (h["DEFOCUS1"] <= 9000)) and np.array_equal(h["DEFOCUS1"], h["DEFOCUS2"])
    assert np.all(h["VOLTAGE"] == 200000) and np.allclose(h["SPABERR"], 2.7)


def test_noise_only_claims_no_truth(world, im4d, tmp_path):
    im4d("simulate", world / "true.blobs.json", tmp_path / "n", "--images", 4, "--snr", 1, "--noise-only", "--seed", 1)
    assert not read_stack(tmp_path / "n")[1]["REF3D"].any()


AVERAGES = "--averages --images 60 --class-size 6-9 --mixed 0.2 --junk 0.25 --seed 7"


def test_averages_with_their_truth_and_table(world, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    for n in (1, 2):
        files = [world / "true.blobs.json", tmp_path / f"a{n}.hed", "--truth", tmp_path / f"k{n}.hed"]
        made = im4d("simulate", *files, *AVERAGES.split(), "--threads", n, "--json").json
    same_bytes(tmp_path / "a1", tmp_path / "a2")
    same_bytes(tmp_path / "k1", tmp_path / "k2")
    assert (tmp_path / "a1_truth.tsv").read_bytes() == (tmp_path / "a2_truth.tsv").read_bytes()
    assert made["kinds"]["good"] == 33 and made["kinds"]["mixed"] == 12 and made["kinds"]["junk:ice"] == 3
    assert made["snr"] == 1.0 and made["sizes"] == [15, 15, 15]
    _, blank = read_stack(tmp_path / "a1.hed")
    _, truth = read_stack(tmp_path / "k1.hed")
    assert not Poses.from_headers(blank).any_set()
    assert (blank["CTFDONE"] == 1).all() and (blank["DEFOCUS1"] == 0).all()
    assert blank["NUMCLS"].min() == 6 and blank["NALISUM"].max() == 9
    poses = Poses.from_headers(truth)
    rows = list(csv.DictReader((tmp_path / "a1_truth.tsv").read_text().splitlines(), delimiter="\t"))
    assert [int(r["ref3d"]) for r in rows] == poses.ref3d.tolist()
    assert [int(r["ref3d2"]) for r in rows] == poses.ref3d2.tolist()
    np.testing.assert_allclose([float(r["share"]) for r in rows], poses.confidence, atol=1e-4)
    junk = np.array([r["kind"].startswith("junk") for r in rows])
    assert junk.sum() == 15 and not poses.select(junk).any_set() and (poses.select(~junk).ref3d > 0).all()


def test_truth_of_averages_stands_in_their_own_headers_without_truth(world, im4d, tmp_path):
    im4d("simulate", world / "true.blobs.json", tmp_path / "a.mrcs", *AVERAGES.split())
    poses = Poses.from_headers(read_stack(tmp_path / "a.mrcs")[1])
    assert np.bincount(poses.ref3d).tolist() == [15, 15, 15, 15] and (tmp_path / "a_truth.tsv").is_file()


def test_compare_leaves_junk_and_mixed_averages_out(world, im4d, tmp_path):
    files = [world / "true.blobs.json", tmp_path / "a.hed", "--truth", tmp_path / "k.hed"]
    im4d("simulate", *files, *AVERAGES.split())
    _, h = read_stack(tmp_path / "k.hed")
    table, poses = read_table(tmp_path / "a_truth.tsv"), Poses.from_headers(h)
    mixed = ~table.good & ~table.junk
    # found: mixed ones in the other 3D, a third of the junk in some 3D, two good ones lost
    poses.ref3d[mixed] = poses.ref3d2[mixed]
    poses.ref3d[np.flatnonzero(table.junk)[:5]] = 1
    poses.ref3d[np.flatnonzero(table.good)[:2]] = 0
    replace_headers(tmp_path / "k.hed", poses.into_headers(h.copy()), tmp_path / "f.hed")
    both = [tmp_path / "f.hed", tmp_path / "k.hed"]
    plain = im4d("compare", *both, "--json").json
    good = im4d("compare", *both, "--table", tmp_path / "a_truth.tsv", "--json").json
    assert plain["images"] == 45 and plain["accuracy"] == pytest.approx(31 / 45) and plain["kinds"] is None
    assert good["images"] == 33 and good["accuracy"] == pytest.approx(31 / 33) and good["ari"] > 0.85 > plain["ari"]
    assert good["kinds"] == {
        "good": 33, "mixed": 12, "junk": 15, "good_lost": 2, "mixed_majority": 0, "junk_out": 10,
    }  # fmt: skip
    said = im4d("compare", *both, "--table", tmp_path / "a_truth.tsv").stdout
    assert "33 good averages, of which 2 have no 3D" in said and "10 of 15 junk" in said
    im4d("compare", *both, "--table", tmp_path / "missing.tsv", code=3)
    (tmp_path / "short.tsv").write_text("".join((tmp_path / "a_truth.tsv").read_text().splitlines(keepends=True)[:-1]))
    assert "59 averages" in im4d("compare", *both, "--table", tmp_path / "short.tsv", code=4).stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["missing.json", "o", "--images", "3"], 3),
        (["true.blobs.json", "o", "--images", "3", "--populations", "1,2"], 2),
        (["true.blobs.json", "o", "--images", "3", "--preferred", "2,20"], 2),
        (["true.blobs.json", "o", "--images", "0"], 2),
        (["true.blobs.json", "o", "--images", "3", "--truth", "o"], 5),
        (["true.blobs.json", "images.hed", "--images", "3"], 5),
        (["images.hed", "o", "--images", "3"], 4),
        (["true.blobs.json", "o", "--images", "3", "--junk", "0.1"], 2),
        (["true.blobs.json", "o", "--images", "3", "--averages", "--class-size", "4-2"], 2),
        (["true.blobs.json", "o", "--images", "3", "--averages", "--mixed", "0.6", "--junk", "0.6"], 2),
        (["true.blobs.json", "images.mrc", "--images", "3", "--averages"], 5),  # images_truth.tsv is there
    ],
)
def test_simulate_mistakes(world, im4d, monkeypatch, arguments, code):
    monkeypatch.chdir(world)
    (world / "images_truth.tsv").touch()
    before = sorted(os.listdir(world))
    im4d("simulate", *arguments, "--seed", 1, code=code)
    assert sorted(os.listdir(world)) == before


def test_fsc_prints_and_writes_curves(world, im4d, tmp_path):
    done = im4d("fsc", world / "true.hed", world / "true.hed", "--output", tmp_path / "c.png")
    assert "half-bit" in done.stdout and "1-1" in done.stdout
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    document = im4d("fsc", world / "true.hed", world / "true.hed,1", "--output", tmp_path / "c.csv", "--json").json
    assert len(document["curves"]) == 3 and document["pixel_size"] == 4.0
    assert document["curves"][0]["crossing"]["0.5"] == 1.0 and document["curves"][1]["fsc"][3] < 1
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert len(rows) == 3 * 17 and float(rows[5]["fsc"]) == pytest.approx(document["curves"][0]["fsc"][5])
    im4d("fsc", world / "true.hed", world / "true.hed", "--all-pairs", "--output", tmp_path / "c.hed")
    curves, h = read_stack(tmp_path / "c.hed")
    assert curves.shape == (9 * 4, 1, 17) and bytes(h["NAME"][4]).startswith(b"fsc 1-2")
    im4d("fsc", world / "true.hed", world / "true.hed", "--output", tmp_path / "c.png", code=5)


def test_frc_of_images_and_masks(world, im4d):
    document = im4d("fsc", world / "images.hed,1,3", world / "truth.hed,1,3", "--mask-radius", 0.8, "--json").json
    assert len(document["curves"]) == 3 and document["corrected"]
    assert min(document["curves"][2]["fsc"]) > 0.99


def test_fsc_mistakes(world, im4d):
    im4d("fsc", world / "true.hed", world / "images.hed", code=4)
    im4d("fsc", world / "true.hed,1,2", world / "true.hed", code=4)
    im4d("fsc", world / "true.hed", world / "nothing.hed", code=3)
    im4d("fsc", world / "true.hed", world / "true.hed", "--mask", world / "images.hed", code=4)


@pytest.fixture(scope="module")
def solved(world):
    """The truth in other frames: 3Ds renumbered, rotated, one of them with the other hand, off centre by a little."""
    poses = Poses.from_headers(read_stack(world / "truth.hed")[1])
    true, found = poses.copy(), poses.copy()
    models = read_models(world / "true.blobs.json").models
    volumes = np.empty((3, 32, 32, 32), np.float32)
    for k, new in enumerate((3, 1, 2)):
        r = rng_for(k, "test")
        chosen = np.flatnonzero(true.ref3d == k + 1)
        q, centre, mirrored = random_rotations(r, 1)[0], r.normal(0, 0.5, 3), k == 1
        m = true.matrices()[chosen]
        m = (J_HAND @ m @ J_HAND if mirrored else m) @ q
        found.alpha[chosen], found.beta[chosen], found.gamma[chosen] = euler_from_matrix(m)
        found.shift[chosen] = true.shift[chosen] + (m @ centre)[:, :2]
        found.ref3d[chosen] = new
        model = (models[k].mirrored() if mirrored else models[k]).rotated(q.T)
        volumes[new - 1] = volume(type(model)(model.name, model.positions + centre, model.sigma, model.weight), 32)
    replace_headers(world / "images.hed", found.into_headers(read_stack(world / "images.hed")[1]), world / "found.hed")
    write_stack(world / "found_volumes.hed", volumes)
    return world


def test_compare_finds_frames_hands_and_numbers(solved, im4d):
    document = im4d(
        "compare", solved / "found.hed", solved / "truth.hed", "--found-volumes", solved / "found_volumes.hed",
        "--truth-volumes", solved / "true.blobs.json", "--min-ari", 0.95, "--max-pose-error", 1, "--min-fsc", 0.6, "--json",
    ).json  # fmt: skip
    assert document["ari"] == 1.0 and document["accuracy"] == 1.0 and document["ok"]
    assert document["matching"] == {"1": 2, "2": 3, "3": 1}
    assert document["pose_error"]["p95"] < 0.1 and document["shift_error"]["p95"] < 0.01
    assert [v["mirrored"] for v in document["volumes"]] == [True, False, False]
    assert min(v["fsc05"] for v in document["volumes"]) > 0.6


def test_compare_says_no(solved, im4d):
    done = im4d("compare", solved / "images.hed", solved / "truth.hed", "--min-ari", 0.9, code=1)
    assert "NO: adjusted Rand index" in done.stdout
    done = im4d("compare", solved / "found.hed", solved / "truth.hed", "--max-pose-error", 1, code=0)
    assert "yes: median pose error" in done.stdout and "other hand" in done.stdout


def test_compare_of_a_3d_too_many(solved, im4d, tmp_path):
    poses = Poses.from_headers(read_stack(solved / "found.hed")[1])
    extra = np.flatnonzero(poses.ref3d == 1)[:4]
    poses.ref3d[extra] = 4
    replace_headers(solved / "images.hed", poses.into_headers(read_stack(solved / "images.hed")[1]), tmp_path / "f.hed")
    document = im4d("compare", tmp_path / "f.hed", solved / "truth.hed", "--json").json
    assert document["accuracy"] == pytest.approx(86 / 90) and document["posed"] == 86 and "4" not in document["matching"]


def test_compare_without_euler_angles(solved, im4d, tmp_path):
    poses = Poses.from_headers(read_stack(solved / "found.hed")[1])
    poses.alpha[:], poses.beta[:], poses.gamma[:] = 0, 0, 0
    replace_headers(solved / "images.hed", poses.into_headers(read_stack(solved / "images.hed")[1]), tmp_path / "f.hed")
    document = im4d("compare", tmp_path / "f.hed", solved / "truth.hed", "--json").json
    assert document["ari"] == 1.0 and document["pose_error"] is None and document["posed"] == 0
    assert "poses not compared" in im4d("compare", tmp_path / "f.hed", solved / "truth.hed").stdout
    assert "NO: median pose error unknown" in im4d(
        "compare", tmp_path / "f.hed", solved / "truth.hed", "--max-pose-error", 5, code=1
    ).stdout  # fmt: skip


def test_compare_mistakes(solved, im4d, tmp_path):
    im4d("compare", solved / "found.hed,1,10", solved / "truth.hed", code=4)
    im4d("compare", solved / "found.hed", solved / "images.hed", code=4)
    im4d("compare", solved / "found.hed", solved / "truth.hed", "--found-volumes", solved / "true.hed", code=2)
    im4d(
        "compare", solved / "found.hed", solved / "truth.hed", "--found-volumes", solved / "true.hed,1,2", "--truth-volumes",
        solved / "true.hed", code=4,
    )  # fmt: skip


def test_compare_with_an_empty_volume(solved, im4d, tmp_path):
    """A 3D that holds nothing gives FSC 0, not a crash."""
    volumes, _ = read_stack(solved / "found_volumes.hed")
    volumes[1] = 0
    write_stack(tmp_path / "v.hed", volumes)
    volumes = ["--found-volumes", tmp_path / "v.hed", "--truth-volumes", solved / "true.hed"]
    document = im4d("compare", solved / "found.hed", solved / "truth.hed", *volumes, "--min-fsc", 0.1, "--json", code=1).json
    assert document["volumes"][1]["fsc05"] == 0 and document["volumes"][1]["correlation"] == 0 and document["fsc05"] == 0


def test_symmetry_copies_are_right_poses(solved, im4d, tmp_path):
    """Under C2 a pose turned by half a turn of the true object is no error."""
    records = read_stack(solved / "truth.hed")[1]
    poses = Poses.from_headers(records)
    m = poses.matrices()
    m[::2] = m[::2] @ np.diag([-1.0, -1.0, 1.0])
    poses.set_matrices(m)
    replace_headers(solved / "images.hed", poses.into_headers(records), tmp_path / "half.hed")
    plain = im4d("compare", tmp_path / "half.hed", solved / "truth.hed", "--json").json
    with_c2 = im4d("compare", tmp_path / "half.hed", solved / "truth.hed", "--symmetry", "C2", "--json").json
    assert plain["pose_error"]["p95"] > 90 and with_c2["pose_error"]["p95"] < 0.1
