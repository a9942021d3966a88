"""A run of refine that is killed and resumed, and its script, give the bytes of an undisturbed run."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compare import same_bytes

PAIRS = [f"{n}.{e}" for n in ("volumes", "halves_a", "halves_b", "images", "reprojections") for e in ("hed", "img")]
RESULTS = [*PAIRS, "summary.json", "fsc.json", "journal.jsonl", "report.html"]
SETTINGS = ["--volumes", "2", "--iterations", "8", "--seed", "4"]


def environment():
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("IM4D_", "PMI_", "OMPI_", "SLURM_"))}
    return kept | {"SOURCE_DATE_EPOCH": "1700000000"}


def start(folder: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "imagic4d_cli.main", "refine", "../images.hed", "run", *args, "--threads", "1"]
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folder with images.hed and straight/run."""
    from imagic4d_core.jobs.truth import modelling, simulate

    folder = tmp_path_factory.mktemp("refine")
    modelling.threed_test(folder / "v.hed", number=2, size=24, seed=1)
    simulate.simulate(folder / "v.blobs.json", folder / "images.hed", images=60, snr=4.0, shift_sigma=1.0, seed=1)
    (folder / "straight").mkdir()
    _, errors = (run := start(folder / "straight", *SETTINGS)).communicate(timeout=300)
    assert run.returncode == 0, errors
    return folder


def kill_after(run: subprocess.Popen, reached, delay: float) -> bool:
    """Kill -9 `delay` seconds after `reached()` first holds; False if the run ended by itself."""
    due = None
    while run.poll() is None:
        if due is None and reached():
            due = time.monotonic() + delay
        if due is not None and time.monotonic() >= due:
            run.kill()
            run.communicate()
            return True
        time.sleep(0.005)
    assert run.returncode == 0, run.communicate()[1]
    return False


def test_killed_and_resumed(undisturbed):
    """Five kills in one run: in the first step, while annealing, around regrouping, while polishing, at the end."""
    folder = undisturbed / "killed"
    folder.mkdir()
    journal = folder / "run" / "journal.jsonl"

    def lines(n):
        return lambda: journal.exists() and journal.read_text().count("\n") >= n

    moments = [(folder / "run" / "run.json").exists, lines(2), lines(6), lines(8), (folder / "run" / "volumes.hed").exists]
    chosen = random.Random(os.urandom(8))
    kills = 0
    for i, moment in enumerate(moments):
        delay = chosen.uniform(0.0, 0.5)
        run = start(folder, *(["--resume"] if i else SETTINGS))
        kills += kill_after(run, moment, delay)
    assert kills >= 3
    for place in ("run", "run/work"):  # as a kill in the middle of a write leaves it
        (folder / place / ".volumes.img.1-0a1b2c3d.tmp").write_bytes(b"half")
    _, errors = (run := start(folder, "--resume")).communicate(timeout=300)
    assert run.returncode == 0, errors
    for name in RESULTS:
        same_bytes(undisturbed / "straight" / "run" / name, folder / "run" / name)
    assert not [p for p in (folder / "run").rglob(".*")]
    # once more: nothing is left to do, and nothing changes
    _, errors = (run := start(folder, "--resume")).communicate(timeout=300)
    assert run.returncode == 0, errors
    for name in RESULTS:
        same_bytes(undisturbed / "straight" / "run" / name, folder / "run" / name)


def test_script_gives_the_same_bytes(undisturbed):
    folder = undisturbed / "script"
    (folder / "bin").mkdir(parents=True)
    wrapper = folder / "bin" / "im4d"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagic4d_cli.main "$@"\n')
    wrapper.chmod(0o755)
    (folder / "empty").mkdir()
    env = environment()
    env["PATH"] = f"{folder / 'bin'}{os.pathsep}{env['PATH']}"
    args = ["im4d", "refine", "../../images.hed", "unused", *SETTINGS, "--script"]
    printed = subprocess.run(args, cwd=folder / "empty", env=env, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0, printed.stderr
    assert not list((folder / "empty").iterdir())
    del env["SOURCE_DATE_EPOCH"]  # the script sets its own
    done = subprocess.run(
        ["bash"], input=printed.stdout, cwd=folder / "empty", env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for name in PAIRS:
        same_bytes(undisturbed / "straight" / "run" / name, folder / "empty" / name)
