"""im4d pool, and the ways in which refine stops early or takes some of the images."""

import json
import shutil

import numpy as np
import pytest

from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.jobs.scheme.refine import refine
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate

QUICK = ["--iterations", "8", "--threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two starts of 120 images of two structures."""
    at = tmp_path_factory.mktemp("pool")
    threed_test(at / "truth.hed", number=2, size=32, seed=3)
    simulate(at / "truth.blobs.json", at / "images.hed", images=120, snr=3.0, shift_sigma=0.5, seed=4, truth=at / "known.hed")
    for seed in (1, 2):
        refine(
            str(at / "images.hed"), str(at / f"s{seed}"), volumes=2, stop_after="anneal", starts=1, seed=seed, iterations=8,
            threads=1,
        )  # fmt: skip
    return at


def poses(path):
    with open_stack(path) as stack:
        return Poses.from_headers(stack.headers())


def test_pool_of_two_starts(folder, im4d):
    out = ["--images-out", folder / "posed.hed", "--table", folder / "scores.tsv", "--json"]
    found = json.loads(im4d("pool", folder / "s1", folder / "s2", folder / "kept.hed", "--volumes", "2", *out).stdout)
    rows = [line.split("\t") for line in (folder / "scores.tsv").read_text().splitlines()]
    assert len(rows) == 121 and len(rows[0]) == 2 + found["candidates"]
    posed = poses(folder / "posed.hed")
    for i in (0, 60, 119):  # the 3D of an image is the best of those kept
        kept = [rows[0].index(f"{k['run']}:{k['of_run']}") for k in found["kept"]]
        values = [float(rows[i + 1][c]) for c in kept]
        assert int(rows[i + 1][1]) == posed.ref3d[i] and values[posed.ref3d[i] - 1] == max(values)
    with open_stack(folder / "kept.hed") as kept:
        assert kept.is_volumes and kept.objects == len(found["kept"])
    assert sum(k["images"] for k in found["kept"]) == 120


def test_check_answers(folder, im4d):
    """One run has no other to agree with: exit code 1, and the 3Ds are written all the same."""
    im4d("pool", folder / "s1", folder / "alone.hed", "--volumes", "2", "--check", code=1)
    assert (folder / "alone.hed").exists()


def test_volumes_from_elsewhere_compete(folder, im4d):
    out = json.loads(im4d("pool", folder / "s1", folder / "truth.hed", folder / "with.hed", "--volumes", "2", "--json").stdout)
    assert {k["run"] for k in out["kept"]} == {"truth.hed"}  # nothing fits as well as the truth


def test_a_run_is_no_witness_of_itself(folder, im4d, tmp_path):
    """The same run twice, or a copy of it: nothing is found again by it, and it is said."""
    shutil.copytree(folder / "s1", tmp_path / "copy")
    done = im4d("pool", folder / "s1", tmp_path / "copy", tmp_path / "o.hed", "--volumes", "2", "--threads", "1")
    assert "no other run" in done.stdout and "it is no other run" in done.stderr
    assert "not every 3D was found by another run" in done.stdout


def test_bad_input(folder, im4d, tmp_path):
    write_stack(tmp_path / "other.hed", np.ones((5, 32, 32), np.float32))
    assert "5 images" in im4d("pool", folder / "s1", tmp_path / "other.hed", tmp_path / "o.hed", "--volumes", "2", code=4).stderr
    assert "not the folder" in im4d("pool", tmp_path, tmp_path / "o.hed", "--volumes", "2", code=3).stderr
    assert "--volumes" in im4d("pool", folder / "s1", tmp_path / "o.hed", code=2).stderr
    assert "nor auto" in im4d("pool", folder / "s1", tmp_path / "o.hed", "--volumes", "0", code=2).stderr
    assert "exists" in im4d("pool", folder / "s1", folder / "truth.hed", "--volumes", "2", code=5).stderr
    assert "--prepared" in im4d("pool", folder / "truth.hed", tmp_path / "o.hed", "--volumes", "2", code=2).stderr
    assert not list(tmp_path.glob("o.*"))


def test_images_without_anything(im4d, tmp_path):
    write_stack(tmp_path / "flat.hed", np.ones((40, 32, 32), np.float32))
    said = im4d("refine", tmp_path / "flat.hed", tmp_path / "r", "--volumes", "1", *QUICK, code=3).stderr
    assert "flat.hed: every image is constant" in said and not (tmp_path / "r").exists()
    write_stack(tmp_path / "one.hed", np.random.default_rng(1).standard_normal((1, 32, 32)).astype(np.float32))
    assert "8 for each are the least" in im4d("refine", tmp_path / "one.hed", tmp_path / "r", "--volumes", "1", code=4).stderr


def test_some_of_the_images(folder, im4d, tmp_path):
    """--where: others keep their densities, take no part and get no 3D."""
    source = folder / "known.hed"
    args = ["--volumes", "1", "--stop-after", "anneal", "--seed", "3", "--where", "ref3d == 2", *QUICK]
    im4d("header", "takeover", folder / "images.hed", source, tmp_path / "both.hed")
    im4d("refine", tmp_path / "both.hed", tmp_path / "run", *args)
    found, truth = poses(tmp_path / "run/images.hed"), poses(source)
    assert np.array_equal(found.ref3d > 0, truth.ref3d == 2)
    nobody = ["--volumes", "1", "--where", "ref3d == 7", *QUICK]
    assert "no image takes part" in im4d("refine", tmp_path / "both.hed", tmp_path / "r2", *nobody, code=3).stderr
    assert not (tmp_path / "r2").exists()


def test_starts_are_for_random_angles(folder, im4d, tmp_path):
    said = im4d("refine", folder / "known.hed", tmp_path / "r", "--start", "header", "--starts", "3", code=2).stderr
    assert "--starts" in said and not (tmp_path / "r").exists()
