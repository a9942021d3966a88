"""msa projections under mpiexec: the same bytes for 1, 2 and 3 ranks."""

import shutil

import pytest
from compare import same_bytes

pytestmark = pytest.mark.mpi


def test_same_bytes(mpiexec, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    start = tmp_path / "start"
    start.mkdir()
    im4d("threed-test", start / "truth.hed", "--number", 2, "--size", 32, "--pattern", "blobs", "--seed", 1)
    im4d("simulate", start / "truth.blobs.json", start / "images.hed", "--images", 600, "--snr", 1, "--ctf", "--seed", 2)
    words = ["msa", "projections", "images.hed", "root", "--images-out", "new.hed", "--seed", "1", "--band", "0.35"]
    words.append("--weigh-ctf")
    made = []
    for ranks, threads in ((0, 1), (2, 2), (3, 1)):
        folder = tmp_path / "place"
        shutil.copytree(start, folder)
        if ranks:
            done = mpiexec(ranks, "-m", "imagic4d_cli.main", *words, "--threads", str(threads), cwd=folder)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(folder)
            im4d(*words, "--threads", threads)
        made.append(folder.rename(tmp_path / str(ranks)))
    assert (made[0] / "root.json").is_file()
    for folder in made[1:]:
        same_bytes(made[0], folder)


def test_states_have_the_same_bytes(mpiexec, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    start = tmp_path / "start"
    start.mkdir()
    im4d("threed-test", start / "truth.hed", "--number", 2, "--size", 32, "--pattern", "blobs", "--seed", 1)
    im4d("simulate", start / "truth.blobs.json", start / "images.hed", "--images", 240, "--snr", 1, "--seed", 2)
    words = ["msa", "states", "images.hed", "new.hed", "--seed", "1"]
    made = []
    for ranks, threads in ((0, 1), (2, 1), (3, 2)):
        folder = tmp_path / "place"
        shutil.copytree(start, folder)
        if ranks:
            done = mpiexec(ranks, "-m", "imagic4d_cli.main", *words, "--threads", str(threads), cwd=folder)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(folder)
            im4d(*words, "--threads", threads)
        made.append(folder.rename(tmp_path / str(ranks)))
    for folder in made[1:]:
        same_bytes(made[0], folder)
