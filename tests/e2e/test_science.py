"""The main job on known truth, at the size of the published success rates: minutes, so in the slow set."""

import numpy as np
import pytest

from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.jobs.scheme.refine import refine
from imagic4d_core.jobs.truth.compare import compare
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.rng import rng_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", [{"snr": 1.0}, {"snr": 1.0, "populations": "60,25,15"}])
def test_three_structures_come_out(tmp_path, case):
    """Random angles and membership to memberships, poses and volumes that agree with the truth."""
    threed_test(tmp_path / "truth.hed", number=3, size=64, pixel_size=4.0, seed=2001)
    simulate(
        tmp_path / "truth.blobs.json", tmp_path / "sim.hed", images=1000, shift_sigma=2.0, seed=2002,
        truth=tmp_path / "known.hed", **case,
    )  # fmt: skip
    run = refine(str(tmp_path / "sim.hed"), str(tmp_path / "run"), volumes=3, seed=2003, report=False).document
    assert run["membership_above_chance"] and run["fsc_above_chance"]
    scores = compare(
        tmp_path / "run/images.hed", tmp_path / "known.hed", volumes=tmp_path / "run/volumes.hed",
        truth_volumes=tmp_path / "truth.blobs.json",
    ).as_dict()  # fmt: skip
    assert scores["ari"] >= 0.95
    assert scores["pose_error"]["median"] <= 3.0
    assert len(scores["volumes"]) == 3 and min(v["fsc05"] for v in scores["volumes"]) >= 0.6


def test_noise_gives_no_claim(tmp_path):
    """Pure noise in: nothing is above chance."""
    images = np.stack([rng_for(2004, "test/noise", i).standard_normal((64, 64), dtype=np.float32) for i in range(600)])
    write_stack(tmp_path / "noise.hed", images)
    run = refine(str(tmp_path / "noise.hed"), str(tmp_path / "run"), volumes=3, seed=2005, report=False).document
    assert not run["membership_above_chance"] and not run["fsc_above_chance"]
    assert "not above chance" in run["statement"]


def deal(src, folder, volumes, seed, **options):
    """The images with memberships drawn at random, as the nine steps do it before the single images compete."""
    recon(
        src,
        folder / "dealt_3d.hed",
        membership="random",
        volumes=volumes,
        seed=seed,
        images_out=str(folder / "dealt.hed"),
        **options,
    )
    return str(folder / "dealt.hed")


def test_memberships_settle_from_poses(tmp_path):
    """Poses as class averages give them (8 degrees off, the 3D 5 pixels off the centre) and random memberships to the truth."""
    threed_test(tmp_path / "truth.hed", number=3, size=48, pixel_size=4.0, seed=2011)
    simulate(
        tmp_path / "truth.blobs.json", tmp_path / "sim.hed", images=1500, shift_sigma=2.0, seed=2012, snr=0.3,
        truth=tmp_path / "known.hed",
    )  # fmt: skip
    headers = read_stack(tmp_path / "known.hed")[1]
    poses = Poses.from_headers(headers)
    draw = rng_for(2013, "test/poses")
    for name in ("alpha", "beta", "gamma"):
        setattr(poses, name, getattr(poses, name) + draw.normal(0, 8, len(poses)))
    poses.shift += (poses.matrices() @ np.array([3.0, -4.0, 1.0]))[:, :2] + draw.normal(0, 0.5, (len(poses), 2))
    replace_headers(tmp_path / "sim.hed", poses.into_headers(headers), tmp_path / "posed.hed")
    source = deal(tmp_path / "posed.hed", tmp_path, 3, 2014)
    run = refine(source, str(tmp_path / "run"), volumes=3, start="header", seed=2015, report=False).document
    assert run["converged"] and run["membership_above_chance"]
    scores = compare(tmp_path / "run/images.hed", tmp_path / "known.hed").as_dict()
    assert scores["ari"] >= 0.95 and scores["pose_error"]["median"] <= 5.0
    # the 3Ds were laid into the centre: shifts are true ones again
    found = Poses.from_headers(read_stack(tmp_path / "run/images.hed")[1])
    truth = Poses.from_headers(read_stack(tmp_path / "known.hed")[1])
    assert np.median(np.linalg.norm(found.shift - truth.shift, axis=1)) < 2.0


def test_noise_with_poses_gives_no_claim(tmp_path):
    images = np.stack([rng_for(2016, "test/noise", i).standard_normal((48, 48), dtype=np.float32) for i in range(500)])
    write_stack(tmp_path / "noise.hed", images)
    source = deal(tmp_path / "noise.hed", tmp_path, 2, 2017, euler="random")
    run = refine(source, str(tmp_path / "run"), volumes=2, start="header", seed=2018, report=False).document
    assert not run["membership_above_chance"] and not run["fsc_above_chance"]
