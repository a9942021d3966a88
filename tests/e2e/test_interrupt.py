"""A run that is stopped leaves nothing behind."""

import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_leaves_nothing(how, im4d, tmp_path):
    im4d("threed-test", tmp_path / "v.hed", "--number", "1", "--size", "32", "--seed", "1")
    before = sorted(p.name for p in tmp_path.iterdir())
    args = ["simulate", tmp_path / "v.blobs.json", tmp_path / "out.hed", "--images", "3000000", "--snr", "1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "imagic4d_cli.main", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            if len(list(tmp_path.iterdir())) > len(before):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the run did not start writing")
        time.sleep(0.5)
        run.send_signal(how)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
    assert (run.returncode, out, err.strip()) == (130, "", "im4d: error: interrupted")
    assert sorted(p.name for p in tmp_path.iterdir()) == before
