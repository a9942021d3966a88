"""examples/Makefile: every step finds its inputs, alone and in parallel; what is done is not done again; a real run under MPI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[2] / "examples" / "Makefile"
#: Stands for im4d: fails where an input is missing, makes the outputs (as empty files), and writes down what it was called with.
STUB = r"""
import os, sys
words = sys.argv[1:]
command, rest = words[0], words[1:]
taking = {"takeover": 2, "fsc": 2, "pool": 3}.get(command, 1)
inputs, outputs, plain = [], [], []
while rest:
    word = rest.pop(0)
    if not word.startswith("--"):
        plain.append(word)
    elif word in ("--anchors", "--prepared"):
        inputs.append(rest.pop(0))
    elif word in ("--images-out", "--leave-out", "--halves", "--reprojections", "--output"):
        outputs.append(rest.pop(0))
    elif word not in ("--overwrite", "--wiener", "--no-refine", "--even-sizes"):
        rest.pop(0)
inputs += plain[:taking]
outputs += plain[taking:]
outputs += [o.replace(".hed", f"_{k}.hed") for o in outputs if "halves" in o for k in "ab"]
missing = [i for i in inputs if not os.path.exists(i)]
with open("log", "a") as log:
    log.write(" ".join(words) + "\n")
if missing:
    sys.exit(f"{command}: {missing} missing")
for output in outputs:
    open(output, "w").close()
"""


@pytest.fixture
def make(tmp_path):
    """``make(*words) -> commands run``, with the stub as im4d."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    (tmp_path / "averages.hed").touch()

    def call(*words: str) -> list[str]:
        (tmp_path / "log").write_text("")
        im4d = f"{sys.executable} -S {stub}"
        command = ["make", "-f", str(MAKEFILE), "IMAGES=averages.hed", "K=2", f"IM4D={im4d}", f"SERIAL={im4d}", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
        return (tmp_path / "log").read_text().splitlines()

    return call


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_every_step_once_and_then_none(make, tmp_path, jobs):
    done = make(jobs)
    assert [c.split()[0] for c in done][:2] == ["prepare", "copy"]
    counts = {name: sum(c.startswith(name) for c in done) for name in ("angrec", "recon", "pool", "chance", "takeover", "fsc")}
    assert counts == {"angrec": 55, "recon": 60, "pool": 1, "chance": 1, "takeover": 1, "fsc": 1}
    assert all("--anchors run4d/lo/" in c for c in done if c.startswith("angrec"))
    assert len(set(done)) == len(done)
    for name in ("volumes.hed", "images.hed", "fsc.png", "chance.txt"):
        assert (tmp_path / "run4d" / name).exists()
    assert make(jobs) == []


def touched(path: Path, root: Path) -> None:
    """All files as if written long ago, and this one now."""
    now = path.stat().st_mtime
    for p in root.rglob("*"):
        os.utime(p, (now - 1000, now - 1000))
    os.utime(path, (now, now))


def test_only_what_depends_on_a_change_runs_again(make, tmp_path):
    first = make()
    touched(tmp_path / "run4d" / "a" / "pool-03.hed", tmp_path)
    again = make()
    start = next(k for k, c in enumerate(first) if "/a/pool-03.hed" in c and c.startswith("recon"))
    assert sorted(again) == sorted(first[start:])
    touched(tmp_path / "run4d" / "a" / "2-15.hed", tmp_path)
    again = make()
    assert sum(c.startswith("angrec") for c in again) == 8 and not any("run4d/a/1-" in c for c in again)
    (tmp_path / "run4d" / "volumes.hed").unlink()
    assert [c.split()[0] for c in make()] == ["recon", "fsc"]


@pytest.mark.slow
@pytest.mark.mpi
def test_whole_pipeline_under_mpi(im4d, tmp_path, monkeypatch):
    mpiexec = Path(sys.executable).parent / "mpiexec"
    if shutil.which("make") is None or not mpiexec.exists():
        pytest.skip("no make, or no mpiexec, here")
    pytest.importorskip("mpi4py", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    im4d("threed-test", "truth.hed", "--number", 2, "--size", 32, "--unrelated", "--seed", 5)
    im4d("simulate", "truth.blobs.json", "averages.hed", "--images", 100, "--snr", 2, "--seed", 5, "--truth", "known.hed")
    serial = f"{sys.executable} -m imagic4d_cli.main"
    words = ["make", "-f", str(MAKEFILE), "IMAGES=averages.hed", "K=2", f"SERIAL={serial}", f"IM4D={mpiexec} -n 2 {serial}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert im4d("info", "run4d/volumes.hed", "--json").json["files"][0]["objects"] == 2
    assert "above chance" in Path("run4d/chance.txt").read_text()
    assert im4d("compare", "run4d/images.hed", "known.hed", "--json", code=None).json["images"] == 100
    assert subprocess.run([*words, "-q"], timeout=60).returncode == 0
