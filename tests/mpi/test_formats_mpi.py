"""Outputs of all formats under mpiexec: the same bytes as from one process."""

import importlib.util

import pytest

from imagic4d_core.jobs.truth import modelling, simulate

pytestmark = pytest.mark.mpi

ENDS = [".hed", ".mrcs", ".star", ".stk", *([".hdf"] if importlib.util.find_spec("h5py") else [])]


@pytest.mark.parametrize("end", ENDS)
def test_same_bytes(mpiexec, im4d, tmp_path, monkeypatch, end):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    modelling.threed_test(tmp_path / "v.hed", number=2, size=16, seed=1)
    simulate.simulate(tmp_path / "v.hed", tmp_path / "a.star", images=31, snr=2.0, shift_sigma=1.0, seed=1)
    monkeypatch.chdir(tmp_path)
    for folder in ("one", "three"):
        (tmp_path / folder).mkdir()
    args = ["norm-variance", tmp_path / "a.star", f"out{end}"]  # a list of images in, each format out
    monkeypatch.chdir(tmp_path / "one")
    im4d(*args)
    done = mpiexec(3, "-m", "imagic4d_cli.main", *args, cwd=tmp_path / "three")
    assert done.returncode == 0, done.stderr
    made = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert made == sorted(p.name for p in (tmp_path / "three").iterdir())
    for name in made:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes(), name
