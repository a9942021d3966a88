"""Sums of a reconstruction within a given memory: the same bytes, however they are held."""

from itertools import pairwise

import numpy as np
import pytest

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.jobs.scheme.recon import reconstruct, sums
from imagic4d_core.jobs.scheme.recon.sums import Room
from imagic4d_core.recon.fourier import Accumulator
from imagic4d_core.recon.grid import bands, grid_for

BOX, COUNT = 24, 90


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "in.hed"
    rng = np.random.default_rng(3)
    poses = Poses.blank(COUNT)
    poses.set_matrices(random_rotations(rng, COUNT))
    poses.ref3d[:], poses.shift = 1 + np.arange(COUNT) % 2, rng.normal(size=(COUNT, 2))
    write_stack(path, rng.normal(size=(COUNT, BOX, BOX)).astype(np.float32), poses.into_headers(blank_headers(COUNT, BOX, BOX)))
    return str(path)


CASES = {
    "folds": {"folds": 6, "leave_out": "lo.hed", "halves": "h.hed", "wiener": True, "symmetry": "C3"},
    "masked": {"folds": 4, "leave_out": "lo.hed", "wiener": True, "mask_radius": 0.7, "min_images": 3},
    "exact": {"method": "exact-filter", "halves": "h.hed"},
    "plain": {"centre_3d": True},
    "drawn": {"membership": "multiple-random", "volumes": 2, "halves": "h.hed"},
}


@pytest.mark.parametrize("case", CASES)
def test_same_bytes(case, images, tmp_path, monkeypatch):
    first = None
    for k, room in enumerate((None, Room(1), Room(0), Room(0, keep_whole=True), Room(0, bands=5), Room(0, bands=32))):
        folder = tmp_path / str(k)
        folder.mkdir()
        if room is not None:
            monkeypatch.setattr(sums, "room_for", lambda work, leave_out, room=room: room)
        options = {n: str(folder / v) if str(v).endswith(".hed") else v for n, v in CASES[case].items()}
        done = reconstruct.recon(images, str(folder / "v.hed"), seed=5, threads=1 + k % 3, **options)
        found = {p.name: p.read_bytes() for p in sorted(folder.glob("*.img"))}
        with open_stack(folder / "v.hed") as stack:
            found["images"] = stack.headers()["NIMG3D"].tolist()
        found["fsc"] = done.fsc
        first = first or found
        assert found == first, room


def test_what_fits_is_held(images):
    with open_stack(images) as stack:
        cells = int(np.prod(grid_for(BOX, None, width=Accumulator.WIDTH).shape))
        found = type("Found", (), {"volumes": 3})()
        dealt = type("Dealt", (), {"count": 6})()
        one = type("One", (), {"size": 1})()
        spectra = 2 * BOX * (BOX + 2) * 4 * (COUNT + 2 * sums.BLOCK)

        def room(per_cell, leave_out=True, given=True, threads=1):
            inversion = type("Inversion", (), {"r_max": None})()
            work = type("Work", (), {
                "box": BOX, "poses": range(COUNT), "memory": spectra + per_cell * cells, "memory_given": given, "images": stack,
                "inversion": inversion, "sets": dealt, "comm": one, "found": found,
                "threads": threads,
            })()  # fmt: skip
            return sums.room_for(work, leave_out)

        assert room(1000) == Room(3) and room(2 * 144 + 31) == Room(2) and room(144 + 31) == Room(1)
        assert room(144 + 29) == Room(0, keep_whole=True) and room(144 + 29, leave_out=False) == Room(0)
        assert room(144 + 61, threads=4) == Room(1, makers=2) and room(1000, threads=4) == Room(3, makers=4)
        assert room(40).bands == 2 and room(31).bands > 1
        with pytest.raises(UsageError, match=r"--memory .* too little.*GiB"):
            room(20)
        assert room(20, given=False).bands == sums.BANDS, "the default is no reason to refuse"


def test_bands_cover_the_rows_with_about_equal_work():
    grid = grid_for(64)
    for count in (1, 2, 7, 400):
        cut = bands(grid, 0, grid.shape[0], count)
        assert cut[0][0] == 0 and cut[-1][1] == grid.shape[0] and len(cut) <= count
        assert all(a[1] == b[0] for a, b in pairwise(cut)) and min(b - a for a, b in cut) >= grid.width
    low, middle, high = bands(grid, 0, grid.shape[0], 3)
    assert middle[1] - middle[0] < low[1] - low[0] and abs((low[1] - low[0]) - (high[1] - high[0])) <= 2


def test_command(im4d, images, tmp_path):
    refused = im4d("recon", images, tmp_path / "v.hed", "--membership", "all", "--memory", "0.001", code=2)
    assert "--memory 0.001 is too little" in refused.stderr and not list(tmp_path.iterdir())
    im4d("recon", images, tmp_path / "v.hed", "--membership", "all", "--memory", "0.0058")
    im4d("recon", images, tmp_path / "w.hed", "--membership", "all")
    assert (tmp_path / "v.img").read_bytes() == (tmp_path / "w.img").read_bytes()
