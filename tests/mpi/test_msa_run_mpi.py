"""msa run under mpiexec: the same bytes for 1, 2 and 3 ranks."""

import shutil

import numpy as np
import pytest
from compare import same_bytes

from imagic4d_core.io.stack import write_stack

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """More than one block of images, and volumes."""
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((6, 14, 16))
    write_stack(
        folder / "images.hed", (shapes[rng.integers(0, 6, 5000)] + rng.standard_normal((5000, 14, 16))).astype(np.float32)
    )
    write_stack(folder / "volumes.hed", rng.standard_normal((9, 6, 8, 8)).astype(np.float32))
    return folder


@pytest.mark.parametrize(
    "args",
    [
        "images.hed root --eigenimages 8 --solver covariance",
        "images.hed root --eigenimages 75 --solver krylov --images-out new.hed --metric euclidean",
        "volumes.hed root --eigenimages 4 --metric euclidean",
    ],
    ids=["covariance", "krylov", "gram"],
)
def test_same_bytes(args, mpiexec, im4d, material, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    made = []
    for ranks, threads in ((0, 1), (2, 2), (3, 1)):
        folder = tmp_path / "place"
        shutil.copytree(material, folder)
        words = ["msa", "run", *args.split(), "--threads", str(threads)]
        if ranks:
            done = mpiexec(ranks, "-m", "imagic4d_cli.main", *words, cwd=folder)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(folder)
            im4d(*words)
        made.append(folder.rename(tmp_path / str(ranks)))
    assert (made[0] / "root.json").is_file()
    for folder in made[1:]:
        same_bytes(made[0], folder)
