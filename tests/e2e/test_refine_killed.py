"""A run of refine that is killed and resumed, and its script, give the bytes of an undisturbed run."""

import json
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
    _, errors = run.communicate()
    assert run.returncode == 0, errors
    return False


def test_killed_and_resumed(undisturbed):
    """Five kills in one run: in the first step, in the first start, in the second, while polishing, at the end."""
    folder = undisturbed / "killed"
    folder.mkdir()
    journal = folder / "run" / "journal.jsonl"

    starts = folder / "run" / "starts"

    def lines(path, n):
        return lambda: path.exists() and path.read_text().count("\n") >= n

    moments = [
        (folder / "run" / "run.json").exists, lines(starts / "1-start1" / "journal.jsonl", 2),
        lines(starts / "1-start2" / "journal.jsonl", 3), lines(journal, 2), (folder / "run" / "volumes.hed").exists,
    ]  # fmt: skip
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


def run_script(folder: Path, source: str, *settings: str) -> Path:
    """The folder where the printed script of a run was run by bash."""
    (folder / "bin").mkdir(parents=True)
    wrapper = folder / "bin" / "im4d"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagic4d_cli.main "$@"\n')
    wrapper.chmod(0o755)
    (folder / "empty").mkdir()
    env = environment()
    env["PATH"] = f"{folder / 'bin'}{os.pathsep}{env['PATH']}"
    args = ["im4d", "refine", source, "unused", *settings, "--script"]
    printed = subprocess.run(args, cwd=folder / "empty", env=env, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0, printed.stderr
    assert not list((folder / "empty").iterdir())
    del env["SOURCE_DATE_EPOCH"]  # the script sets its own
    done = subprocess.run(
        ["bash"], input=printed.stdout, cwd=folder / "empty", env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder / "empty"


def test_script_gives_the_same_bytes(undisturbed):
    made = run_script(undisturbed / "script", "../../images.hed", *SETTINGS)
    for name in PAIRS:
        same_bytes(undisturbed / "straight" / "run" / name, made / name)


def test_a_run_from_poses(undisturbed):
    """Settling ends where memberships are stable: killed and resumed, and as a script, which learns of it while it runs."""
    settings = ["--start", "header", "--iterations", "18", "--seed", "5"]
    for place in ("poses", "poses_killed"):
        (undisturbed / place).mkdir()
        (undisturbed / place / "images.hed").symlink_to("../images.hed")
        (undisturbed / place / "images.img").symlink_to("../images.img")
        (undisturbed / place / "in").mkdir()
    straight, killed = undisturbed / "poses/in", undisturbed / "poses_killed/in"
    _, errors = (run := start(straight, *settings)).communicate(timeout=300)
    assert run.returncode == 0, errors
    lines = [json.loads(line) for line in (straight / "run/journal.jsonl").read_text().splitlines()]
    settled = [e for e in lines if e["stage"] == "settle"]
    assert 2 <= len(settled) < 6 and settled[-1]["converged"]
    names = [e["name"] for e in lines]
    assert names[: len(settled) + 2] == ["i000", *(e["name"] for e in settled), "i007"]  # as if all six had been needed
    journal = killed / "run/journal.jsonl"
    run = start(killed, *settings)
    kill_after(run, lambda: journal.exists() and journal.read_text().count("\n") > len(settled), 0.0)
    _, errors = (run := start(killed, "--resume")).communicate(timeout=300)
    assert run.returncode == 0, errors
    made = run_script(undisturbed / "poses/script", "../../images.hed", *settings)
    for name in PAIRS:
        same_bytes(straight / "run" / name, killed / "run" / name)
        same_bytes(straight / "run" / name, made / name)
