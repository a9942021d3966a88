"""Projections and reconstructions: the same bytes for any number of ranks and threads."""

import numpy as np
import pytest

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack

pytestmark = pytest.mark.mpi
FIXED = {"SOURCE_DATE_EPOCH": "1000000000"}


@pytest.fixture
def work(tmp_path):
    rng = np.random.default_rng(5)
    write_stack(tmp_path / "v.hed", rng.normal(size=(3, 16, 16, 16)).astype(np.float32), pixel_size=2.0)
    poses = Poses.blank(300)
    poses.set_matrices(random_rotations(rng, 300))
    poses.shift = rng.normal(size=(300, 2))
    poses.ref3d = rng.integers(0, 4, 300).astype(np.int32)
    h = poses.into_headers(blank_headers(300, 16, 16, pixel_size=2.0))
    write_stack(tmp_path / "i.hed", rng.normal(size=(300, 16, 16)).astype(np.float32), h)
    return tmp_path


def run(mpiexec, work, ranks, threads, *command):
    """All files a command leaves in a folder of its own: name -> bytes."""
    out = work / f"{command[0]}_{ranks}_{threads}"
    out.mkdir()
    args = [a.replace("OUT/", f"{out}/").replace("IN/", f"{work}/") for a in command]
    done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, "--threads", str(threads), extra=FIXED)
    assert done.returncode == 0, done.stderr
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix in (".hed", ".img", ".mrcs", ".star")}


COMMANDS = {
    "even": ["forward", "IN/v.hed", "OUT/p.hed", "--increment", "8"],
    "as images": ["forward", "IN/v.hed", "OUT/p.mrcs", "--angles-from", "IN/i.hed"],
    "folds": ["recon", "IN/i.hed", "OUT/r.hed", "--folds", "4", "--leave-out", "OUT/l.hed", "--halves", "OUT/h.hed", "--wiener",
              "--reprojections", "OUT/re.hed", "--errors", "OUT/er.hed", "--images-out", "OUT/o.hed", "--seed", "3"],
    "random": ["recon", "IN/i.hed", "OUT/r.hed", "--membership", "multiple-random", "--volumes", "4", "--euler", "random",
               "--images-out", "OUT/o.hed", "--seed", "3", "--symmetry", "C2"],
    "exact": ["recon", "IN/i.hed", "OUT/r.hed", "--method", "exact-filter", "--halves", "OUT/h.hed", "--seed", "3"],
}  # fmt: skip


@pytest.mark.parametrize("which", COMMANDS)
def test_same_bytes(mpiexec, work, which):
    one = run(mpiexec, work, 1, 1, *COMMANDS[which])
    assert one
    for ranks, threads in ((1, 2), (2, 1), (3, 2)):
        other = run(mpiexec, work, ranks, threads, *COMMANDS[which])
        assert other.keys() == one.keys()
        assert [n for n in one if one[n] != other[n]] == [], f"{ranks} ranks, {threads} threads"


def test_a_mistake_ends_all_ranks(mpiexec, work):
    done = mpiexec(3, "-m", "imagic4d_cli.main", "recon", str(work / "i.hed"), str(work / "x.hed"), "--min-images", "500")
    assert done.returncode == 3, done.stderr
    assert "the largest has" in done.stderr and not (work / "x.hed").exists()
