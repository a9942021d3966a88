"""The main job on known truth, at the size of the published success rates: minutes, so in the slow set."""

import numpy as np
import pytest

from imagic4d_core.io.stack import write_stack
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
