"""refine --symmetry: looked for in 3Ds found without, imposed where they have it, and never forced."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.models import Model, ModelSet, models_to_json, volume
from imagic4d_core.rng import rng_for
from imagic4d_core.scores import global_pose_alignment

BOX, GROUP = 32, "C3"
QUICK = ["--volumes", "1", "--iterations", "8", "--seed", "2", "--threads", "1", "--no-report"]


def simulated(at, further=0.0):
    """160 images of a structure with three-fold symmetry; `further`: and a blob that breaks it, with such a share of the mass."""
    rng = rng_for(5, "tests/symmetric")
    ops, unit = rotations(GROUP), 12
    direction = rng.standard_normal((unit, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    part = direction * rng.uniform(3.0, 10.0, (unit, 1))
    positions = np.concatenate([part @ op.T for op in ops])
    weight = np.tile(rng.uniform(0.5, 1.5, unit), 3)
    if further:
        positions, weight = np.vstack([positions, [9.0, 4.0, 3.0]]), np.append(weight, further * weight.sum())
    model = Model(GROUP, positions, np.full(len(weight), 1.0), weight)
    write_stack(at / "truth.hed", volume(model, BOX)[None], pixel_size=4.0)
    (at / "truth.blobs.json").write_text(json.dumps(models_to_json(ModelSet(BOX, 4.0, [model]))))
    simulate(at / "truth.blobs.json", at / "images.hed", images=160, snr=3.0, shift_sigma=0.5, seed=6, truth=at / "known.hed")
    return rng


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, and two sets of poses in C1: each in a frame of its own, and any of the mates by symmetry."""
    at = tmp_path_factory.mktemp("symmetric")
    rng, ops = simulated(at), rotations(GROUP)
    with open_stack(at / "known.hed") as stack:
        headers = stack.headers()
    for name, frame in zip(("a", "b"), random_rotations(rng, 2), strict=True):
        poses = Poses.from_headers(headers)
        poses.set_matrices(poses.matrices() @ ops[rng.integers(0, 3, len(poses))] @ frame)
        # this 3D lies 1 pixel off the centre of symmetry
        poses.shift += poses.matrices()[:, :2] @ np.array([0.6, -0.8, 0.0])
        replace_headers(at / "images.hed", poses.into_headers(headers.copy()), at / f"{name}.hed")
    return at


def pooled(im4d, folder, symmetry, *more):
    return im4d(
        "pool", folder / "a.hed", folder / "b.hed", folder / f"{symmetry}.hed", "--prepared", folder / "images.hed",
        "--volumes", "1", "--symmetry", symmetry, *more, "--json",
    ).json  # fmt: skip


def test_symmetry_is_found_and_laid_on_its_axes(folder, im4d):
    """The 3D lies in the standard setting: poses differ from the true ones by a turn about the axis of the group, if at all."""
    done = pooled(im4d, folder, "auto", "--images-out", folder / "posed.hed")
    assert done["symmetry"]["asked"] == "AUTO" and done["symmetry"]["group"] == GROUP and done["agreed"]
    assert done["symmetry"]["volumes"][0]["gain"] > -0.002 and GROUP in done["symmetry"]["statement"]
    with open_stack(folder / "posed.hed") as found, open_stack(folder / "known.hed") as known:
        poses, true = (Poses.from_headers(stack.headers()) for stack in (found, known))
    laid = global_pose_alignment(poses.matrices(), true.matrices(), group=rotations(GROUP))
    assert np.median(laid.errors) < 3.0 and abs(laid.q[2, 2]) > 0.999
    seen = im4d("threed-symmetry", folder / "auto.hed", "--symmetry", GROUP, "--json").json["found"][0]
    assert seen["worst"] > 0.99 and abs(np.array(seen["rotation"])[2, 2]) > 0.999 and np.abs(seen["shift"][:2]).max() < 0.2


def test_starts_agree_though_no_symmetry_is_asked_for(folder, im4d):
    """Two starts give an image poses that differ by an operation of the group: these are the same."""
    done = pooled(im4d, folder, "C1")
    assert done["agreed"] and done["symmetry"]["group"] == "C1"
    assert f"try --symmetry {GROUP}" in done["symmetry"]["volumes"][0]["why"]


def test_images_refute_a_pseudo_symmetry(tmp_path, im4d):
    """The map looks three-fold; the images, whose poses know where the further blob is, fit the symmetric map worse."""
    simulated(tmp_path, further=0.05)
    done = im4d(
        "pool", tmp_path / "known.hed", tmp_path / "kept.hed", "--prepared", tmp_path / "images.hed", "--volumes", "1",
        "--symmetry", "auto", "--json",
    ).json["symmetry"]  # fmt: skip
    assert done["group"] == "C1" and done["volumes"][0]["gain"] < -0.002
    assert "pseudo-symmetry" in done["volumes"][0]["why"] and done["statement"].startswith("No symmetry")


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "group", "why"), [("AUTO", "D2", "all operations"), ("C3", "C1", "not C3; D2 is there")])
def test_from_random_starts(tmp_path, im4d, asked, group, why):
    """What is there is imposed; what the data do not have is not forced on them, and what they have is named."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from right_3ds_cases import CASES, make

    data = make(CASES["d2"], 41, tmp_path, 64, None, None)
    done = im4d("refine", data.images, tmp_path / "run", "--symmetry", asked, "--volumes", "1", "--seed", "2", "--json").json
    assert done["symmetry"]["group"] == group and why in done["volumes"][0]["symmetry"]["why"]
    assert done["verdicts"] == ["right"]
    found = im4d("compare", tmp_path / "run" / "images.hed", data.known, "--symmetry", "D2", "--json").json
    assert found["pose_error"]["median"] < 3.0


def test_script_takes_the_symmetry_from_the_starts(folder, im4d):
    text = im4d("refine", folder / "images.hed", folder / "x", "--symmetry", "auto", *QUICK, "--script").stdout
    assert 'symmetry="$(cat starts/work/pool.symmetry)"' in text and "--symmetry AUTO" in text
    assert text.count('--symmetry "$symmetry"') > 2


@pytest.mark.parametrize(("options", "says"), [
    (["--symmetry", "auto", "--start", "header"], "--start random"),
    (["--symmetry", "D1"], "C2"),
])  # fmt: skip
def test_refused(folder, im4d, options, says):
    done = im4d("refine", folder / "known.hed", folder / "no", "--volumes", "1", *options, code=2)
    assert says in done.stderr and not (folder / "no").exists()
