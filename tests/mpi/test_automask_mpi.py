"""auto-mask under mpiexec: the same bytes for 1 and 3 ranks, 1 and 2 threads."""

import shutil

import numpy as np
import pytest
from compare import same_bytes

from imagic4d_core import models
from imagic4d_core.io.stack import write_stack
from imagic4d_core.rng import rng_for

pytestmark = pytest.mark.mpi


def test_same_bytes(mpiexec, im4d, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    material = tmp_path / "material"
    material.mkdir()
    volumes = np.stack([models.volume(m, 24) for m in models.random_family(1, 5, 24)])
    noise = rng_for(1, "auto-mask/mpi").standard_normal(volumes.shape).astype(np.float32)
    write_stack(material / "v.hed", volumes + noise * volumes.std(), pixel_size=8.0)
    made = []
    for ranks, threads in ((0, 1), (3, 2)):
        folder = tmp_path / "place"
        shutil.copytree(material, folder)
        for what in ("volumes", "images"):
            args = [
                "auto-mask",
                "v.hed",
                f"{what}.hed",
                "--what",
                what,
                "--modulation",
                f"{what}_mod.mrcs",
                "--threads",
                str(threads),
            ]
            args[-4:-4] = ["--masked", f"{what}_masked.hed"]
            if ranks:
                done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, cwd=folder)
                assert done.returncode == 0, done.stderr
            else:
                monkeypatch.chdir(folder)
                im4d(*args)
        made.append(folder.rename(tmp_path / str(ranks)))
    assert len(list(made[0].iterdir())) >= 12
    same_bytes(*made)
