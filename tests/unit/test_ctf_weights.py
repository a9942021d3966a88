"""Reconstruction and angular reconstitution that know the CTF."""

import numpy as np
import pytest

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.euler import angular_distance
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, read_stack
from imagic4d_core.jobs.images.ctf import ctf_correct
from imagic4d_core.jobs.scheme.angrec.reconstitute import reconstitute
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.units import Frequency

BOX = 40
STATES = ("stored", "phase-flip", "multiply")


@pytest.fixture(scope="module", params=[11, 12])
def place(request, tmp_path_factory):
    """Images with CTF and their true poses, as they are, with phases flipped, and multiplied by the CTF."""
    f = tmp_path_factory.mktemp("ctf")
    threed_test(f / "t.hed", number=1, size=BOX, pixel_size=3.0, seed=request.param)
    how = {"images": 300, "snr": 0.5, "shift_sigma": 1.0, "seed": request.param + 100, "ctf": True}
    simulate(f / "t.blobs.json", f / "sim.hed", truth=f / "known.hed", **how)
    with open_stack(f / "known.hed") as known, open_stack(f / "sim.hed") as images:
        headers, poses = images.headers(), Poses.from_headers(known.headers())
    replace_headers(f / "sim.hed", poses.into_headers(headers), f / "stored.hed")
    for state in STATES[1:]:
        ctf_correct(f / "stored.hed", f / f"{state}.hed", correct=state)
    return f, poses


def correlation(f, name):
    with open_stack(f / "t.hed") as a, open_stack(f / name) as b:
        x, y = a.read_volumes(0, 1)[0].ravel(), b.read_volumes(0, 1)[0].ravel()
    return float(np.corrcoef(x, y)[0, 1]), float(np.polyfit(x, y, 1)[0]), y


def test_reconstruction_divides_by_what_was_transferred(place, tmp_path):
    f, _ = place
    common = {"membership": "all", "wiener": True, "folds": 2}
    made = {}
    for state in STATES:
        recon(f / f"{state}.hed", tmp_path / "v.hed", weigh_ctf=True, overwrite=True, **common)
        made[state] = correlation(f, tmp_path / "v.hed")
    recon(f / "phase-flip.hed", tmp_path / "v.hed", overwrite=True, **common)
    flipped = correlation(f, tmp_path / "v.hed")
    recon(f / "stored.hed", tmp_path / "v.hed", overwrite=True, **common)
    ignored = correlation(f, tmp_path / "v.hed")
    assert made["stored"][0] > flipped[0] > ignored[0]
    assert 0.75 < made["stored"][1] < 1.05  # grey values of the object again; phases alone leave them lower
    assert flipped[1] < 0.6
    size = np.abs(made["stored"][2]).max()
    for state in STATES[1:]:
        assert np.abs(made[state][2] - made["stored"][2]).max() < 2e-3 * size


def test_reprojections_look_like_the_images(place, tmp_path):
    f, _ = place
    for state in STATES:
        recon(
            f / f"{state}.hed", tmp_path / "v.hed", membership="all", weigh_ctf=True, overwrite=True,
            reprojections=tmp_path / "r.hed", errors=tmp_path / "e.hed",
        )  # fmt: skip
        images, seen = read_stack(f / f"{state}.hed")[0], read_stack(tmp_path / "r.hed")[0]
        mine = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, seen, strict=True)])
        assert mine > 0.4  # of 0.58 that SNR 0.5 allows
        with open_stack(tmp_path / "e.hed") as e:
            assert 0.7 < e.headers()["ERR3D"].mean() < 0.95


def test_angles_are_found_through_the_ctf(place, tmp_path):
    f, truth = place
    error, score = {}, {}
    for name, weigh in [(s, True) for s in STATES] + [("ignored", False)]:
        src = f / f"{'stored' if name == 'ignored' else name}.hed"
        recon(src, tmp_path / "v.hed", membership="all", weigh_ctf=weigh, wiener=True, folds=4, leave_out=tmp_path / "l.hed",
              overwrite=True)  # fmt: skip
        how = {"increment": 10.0, "max_frequency": Frequency(0.4), "weigh_ctf": weigh}
        _, found, _ = reconstitute(src, anchors=tmp_path / "l.hed", **how)
        error[name] = np.median(angular_distance(found.matrices(), truth.matrices()))
        score[name] = found.ccc3d.mean()
    assert error["stored"] < 3.0 and error["stored"] < 0.9 * error["ignored"]
    assert score["stored"] > score["ignored"]
    for state in STATES[1:]:
        assert error[state] == pytest.approx(error["stored"], abs=0.05)


def test_without_a_defocus_nothing_changes_but_the_message(place, tmp_path):
    f, poses = place
    with open_stack(f / "stored.hed") as images:
        headers = images.headers()
    for word, match in (("DEFOCUS1", "image 3 has no defocus"), ("VOLTAGE", "image 3 has no voltage")):
        h = headers.copy()
        h[word][2] = 0
        replace_headers(f / "stored.hed", h, tmp_path / "bad.hed", overwrite=True)
        with pytest.raises(InputError, match=match):
            recon(tmp_path / "bad.hed", tmp_path / "v.hed", membership="all", weigh_ctf=True)
        with pytest.raises(InputError, match=match):
            reconstitute(tmp_path / "bad.hed", anchors=f / "t.hed", weigh_ctf=True)
    with pytest.raises(UsageError, match="flip phases first"):
        recon(f / "stored.hed", tmp_path / "v.hed", membership="all", weigh_ctf=True, method="exact-filter")
    assert not (tmp_path / "v.hed").exists() and not (tmp_path / "v.img").exists()
