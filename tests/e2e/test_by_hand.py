"""examples/by_hand.sh: the loop of single commands, as it stands and with the numbers that a user changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "by_hand.sh"


def by_hand(im4d, folder, images, **settings):
    im4d("threed-test", "truth.hed", "--number", 2, "--size", 32, "--unrelated", "--seed", 5)
    im4d("simulate", "truth.blobs.json", "averages.hed", "--images", images, "--snr", 2, "--seed", 5, "--truth", "known.hed")
    tool = folder / "im4d"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m imagic4d_cli.main "$@"\n')
    tool.chmod(0o755)
    known = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", **settings}
    done = subprocess.run(["bash", SCRIPT, "averages.hed", "2", "run"], env=known, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


def test_every_step_finds_its_inputs_and_no_image_meets_itself(im4d, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = by_hand(im4d, tmp_path, 60, STARTS="2", NOISE="0.3 0", POLISH="0.5")
    assert said.count("changed 3D, median") == 6 and "2 runs explain 60 images best" in said
    assert "WARNING" not in said
    for name in ("volumes.hed", "halves_a.hed", "reprojections.hed", "images.hed", "fsc.png"):
        assert (tmp_path / "run" / name).exists()
    assert im4d("compare", "run/images.hed", "known.hed", "--json", code=None).json["images"] == 60


@pytest.mark.slow
def test_it_finds_what_is_there(im4d, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_hand(im4d, tmp_path, 200)
    done = im4d("compare", "run/images.hed", "known.hed", "--json", code=None).json
    assert done["membership"]["ari"] > 0.95
