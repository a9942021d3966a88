"""examples/first_steps.sh: every line runs, and it ends with a picture."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "first_steps.sh"


def looked_at(folder: Path) -> None:
    """What the script says is there."""
    picture = (folder / "steps.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    steps, _ = read_stack(str(folder / "steps.hed"))
    assert steps.shape == (16, 64, 64) and np.all(steps.std((1, 2)) > 0)
    with open_stack(folder / "best.hed") as best:
        assert np.all(np.diff(best.headers()["CCC"]) <= 0) and best.objects == 10
    with open_stack(folder / "upside_down.hed") as volumes:
        assert volumes.shape == (2, 64, 64, 64)
        assert np.array_equal(volumes.read(32, 33), read_stack(str(folder / "average.hed"))[0])


def test_every_line_runs(im4d, tmp_path, monkeypatch):
    """The commands of the script, in this process."""
    monkeypatch.chdir(tmp_path)
    lines = [line for line in SCRIPT.read_text().splitlines() if line.startswith("im4d ")]
    assert len(lines) > 35
    for line in lines:
        im4d(*shlex.split(line)[1:])
    looked_at(tmp_path)


@pytest.mark.slow
def test_the_script_itself(tmp_path):
    """As a user runs it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "im4d").write_text(f'#!/bin/sh\nexec {sys.executable} -m imagic4d_cli.main "$@"\n')
    (tools / "im4d").chmod(0o755)
    path = os.pathsep.join([str(ROOT / "core"), str(ROOT)])
    env = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
    subprocess.run(["bash", str(SCRIPT), "here"], cwd=tmp_path, env=env, check=True, timeout=1800, stdout=subprocess.DEVNULL)
    looked_at(tmp_path / "here")
