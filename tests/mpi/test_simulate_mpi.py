"""simulate gives the same bytes for any number of ranks."""

import pytest
from compare import same_bytes

pytestmark = pytest.mark.mpi


def test_same_bytes_for_1_2_and_3_ranks(mpiexec, tmp_path):
    from imagic4d_core.jobs.truth.modelling import threed_test

    threed_test(tmp_path / "v.hed", number=2, size=16, seed=1)
    for ranks in (1, 2, 3):
        files = [tmp_path / "v.blobs.json", tmp_path / f"r{ranks}", "--truth", tmp_path / f"t{ranks}"]
        numbers = ["--images", 200, "--snr", 1, "--shift-sigma", 1, "--seed", 3]
        done = mpiexec(ranks, "-m", "imagic4d_cli.main", "simulate", *files, *numbers, extra={"SOURCE_DATE_EPOCH": "1"})
        assert done.returncode == 0, done.stderr
    for ranks in (2, 3):
        same_bytes(tmp_path / "r1", tmp_path / f"r{ranks}")
        same_bytes(tmp_path / "t1", tmp_path / f"t{ranks}")


def test_same_averages_for_1_2_and_3_ranks(mpiexec, tmp_path):
    from imagic4d_core.jobs.truth.modelling import threed_test

    threed_test(tmp_path / "v.hed", number=2, size=16, seed=1)
    for ranks in (1, 2, 3):
        files = [tmp_path / "v.blobs.json", tmp_path / f"r{ranks}", "--truth", tmp_path / f"t{ranks}"]
        numbers = ["--averages", "--images", 60, "--junk", 0.3, "--mixed", 0.2, "--seed", 3]
        done = mpiexec(ranks, "-m", "imagic4d_cli.main", "simulate", *files, *numbers, extra={"SOURCE_DATE_EPOCH": "1"})
        assert done.returncode == 0, done.stderr
    for ranks in (2, 3):
        same_bytes(tmp_path / "r1", tmp_path / f"r{ranks}")
        same_bytes(tmp_path / "t1", tmp_path / f"t{ranks}")
        assert (tmp_path / f"r{ranks}_truth.tsv").read_bytes() == (tmp_path / "r1_truth.tsv").read_bytes()
