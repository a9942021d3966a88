"""Geometric operations under mpiexec: the same bytes for 1 and 3 ranks, 1 and 2 threads."""

import shutil

import numpy as np
import pytest
from compare import same_bytes

from imagic4d_core.io.stack import write_stack
from imagic4d_core.rng import rng_for

pytestmark = pytest.mark.mpi

COMMANDS = {
    "center": "center images.hed new.hed --max-shift 4",
    "center-object": "center square.hed new.hed --criterion object",
    "rotate": "threed-rotate volumes.hed new.hed --angles 10,20,30 --shift 1,0.5,0.2",
    "cut": "cut images.hed new.hed --box 20,60 --fill mean",
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_same_bytes(name, mpiexec, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    material = tmp_path / "material"
    material.mkdir()
    rng = rng_for(1, "geometric")
    # more than one block of images
    write_stack(material / "images.hed", rng.standard_normal((1500, 40, 36)).astype(np.float32) + np.hanning(36).astype("f4"))
    square = rng.standard_normal((700, 36, 36)).astype(np.float32)
    square[::2, 4:14, 4:14] += 2
    write_stack(material / "square.hed", square)
    write_stack(material / "volumes.hed", rng.standard_normal((3, 12, 14, 16)).astype(np.float32))
    made = []
    for ranks, threads in ((0, 1), (3, 2)):
        folder = tmp_path / "place"
        shutil.copytree(material, folder)
        args = [*COMMANDS[name].split(), "--threads", str(threads)]
        if ranks:
            done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, cwd=folder)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(folder)
            im4d(*args)
        made.append(folder.rename(tmp_path / str(ranks)))
    assert len(list(made[0].iterdir())) > 4
    for folder in made[1:]:
        same_bytes(made[0], folder)
