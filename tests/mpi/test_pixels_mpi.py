"""Pixel operations under mpiexec: the same bytes for 0, 2 and 3 ranks, with several blocks for each rank."""

import numpy as np
import pytest
from compare import same_bytes

from imagic4d_core.io.stack import write_stack

pytestmark = pytest.mark.mpi

PROGRAM = """
import sys
from pathlib import Path
from imagic4d_core import parallel
from imagic4d_core.jobs.images import arithmetic, filtering, incore, measuring
from imagic4d_core.jobs.images import norm_variance, operating, test_patterns, two_images

operating.BLOCK_BYTES = 4096
test_patterns.BLOCK_BYTES = 4096
comm = parallel.get_comm()
more = {"comm": comm, "threads": int(sys.argv[1])}
arithmetic.arithmetic("images.hed", "arithmetic.hed", expr="a * r + i - mean", **more)
arithmetic.arithmetic("volumes.hed", "by_section.hed", unit="volumes", expr="a * z + i", **more)
filtering.filter_file("volumes.hed", "filter.hed", low_pass=0.4, **more)
norm_variance.norm_variance("images.hed", "norm.hed", region="soft", outliers=3.0, ramp=True, **more)
two_images.two_images("images.hed", "images.hed,3", "two.hed", operation="subtract", fit=True, **more)
found = two_images.two_images("images.hed", "arithmetic.hed", operation="correlation", **more)
incore.menu("images.hed", "power.hed", mode="power", **more)
incore.menu("volumes.hed", "average.hed", mode="average", unit="volumes", **more)
incore.menu("images.hed", "variance.hed", mode="variance", **more)
counts = incore.menu("images.hed", "histogram.hed", mode="histogram", **more)
peaks = incore.menu("images.hed", "peaks.plt", mode="peaks", number=2, **more)
test_patterns.make_test("noise.hed", number=20, size=(20,), pattern="noise", seed=3, **more)
if comm.rank == 0:
    Path("printed.txt").write_text("\\n".join([*found.lines(), *counts.lines(), *peaks.lines()]))
"""


def test_same_bytes(mpiexec, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    rng = np.random.default_rng(0)
    made = []
    images, volumes = rng.standard_normal((30, 16, 21)).astype(np.float32), rng.standard_normal((5, 8, 12, 10)).astype(np.float32)
    for ranks, threads in ((0, 1), (2, 2), (3, 1)):
        folder = tmp_path / "place"
        folder.mkdir()
        write_stack(folder / "images.hed", images, pixel_size=2.0)
        write_stack(folder / "volumes.hed", volumes, pixel_size=2.0)
        done = mpiexec(ranks or 1, "-c", PROGRAM, str(threads), cwd=folder)
        assert done.returncode == 0, done.stderr
        made.append(folder.rename(tmp_path / str(ranks)))
    assert len(list(made[0].iterdir())) > 20
    for folder in made[1:]:
        same_bytes(made[0], folder)
