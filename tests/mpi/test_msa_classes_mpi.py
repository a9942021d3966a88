"""msa classify and msa sum under mpiexec: the same bytes for 1, 2 and 3 ranks, and for 1 and 2 threads."""

import shutil

import pytest
from classified import make_stack
from compare import same_bytes

pytestmark = pytest.mark.mpi

CALLS = (
    "msa classify images.hed root --classes 12,30 --factors 6 --ignore 5",
    "msa sum images.hed root_12 averages.hed --ignore-worst 10 --halves half.hed --variances var.hed --members used.cls",
)


def test_same_bytes(mpiexec, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "material").mkdir()
    make_stack(tmp_path / "material" / "images.hed", n=700, noise=2.0)
    made = []
    for ranks, threads in ((0, 1), (2, 2), (3, 1)):
        folder = tmp_path / "place"
        shutil.copytree(tmp_path / "material", folder)
        for call in CALLS:
            args = [*call.split(), "--threads", str(threads)]
            if ranks:
                done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, cwd=folder)
                assert done.returncode == 0, done.stderr
            else:
                monkeypatch.chdir(folder)
                im4d(*args)
        made.append(folder.rename(tmp_path / str(ranks)))
    for folder in made[1:]:
        same_bytes(made[0], folder)


def test_a_mistake_ends_all_ranks(mpiexec, tmp_path):
    make_stack(tmp_path / "images.hed")
    call = "msa classify images.hed root --classes 200 --factors 6"
    done = mpiexec(2, "-m", "imagic4d_cli.main", *call.split(), cwd=tmp_path)
    assert done.returncode == 3
    assert "200 classes cannot be made" in done.stderr
