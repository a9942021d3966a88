"""The geometric operations against relion_image_handler on the same files, and on real files of every format.

Objects lie well inside their boxes and are smooth. Elsewhere the two differ: RELION fills with 0, we with the mean of the edge;
the row that an even number of rows has more on one side is the first one there, the last one here; RELION keeps the lone Nyquist
frequency when a box is made smaller, and cuts the corners of the spectrum off when it is made larger.
"""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack, write_stack

relion = pytest.mark.skipif(shutil.which("relion_image_handler") is None, reason="RELION is not installed")

# ours, RELION's options, largest difference relative to the peak
CASES = {
    "pad": ("cut {src} {out} --box 40 --fill 0", "--new_box 40", 1e-6),
    "half": ("blow-up {src} {out} --factor 0.5", "--angpix 1 --rescale_angpix 2", 1e-3),
    "larger": ("blow-up {src} {out} --factor 1.5", "--angpix 1.5 --rescale_angpix 1", 1e-3),
    "mass": ("center {src} {out} --criterion mass --level 0 --interpolation bilinear --max-shift 9", "--shift_com", 5e-3),
    "shift": ("rotate {src} {out} --shift 1.5,2.5 --interpolation bilinear", "--shift_x 2.5 --shift_y -1.5", 5e-3),
}


@relion
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", sorted(CASES))
def test_as_relion_does(im4d, tmp_path, monkeypatch, name, dim):
    monkeypatch.chdir(tmp_path)
    ours, theirs, tolerance = CASES[name]
    box = (32,) * dim
    grid = np.meshgrid(*[np.arange(n) - n // 2 for n in box], indexing="ij")
    at = (1.5, -2.0, 2.5)[:dim]
    data = np.exp(-sum((g - a) ** 2 for g, a in zip(grid, at, strict=True)) / 14).astype(np.float32)
    end = "mrcs" if dim == 2 else "mrc"
    write_stack(f"a.{end}", np.stack([data, data]) if dim == 2 else data[None], pixel_size=1.0)
    command, *rest = ours.format(src=f"a.{end}", out=f"ours.{end}").split()
    if dim == 3:
        command = {"blow-up": "threed-blowup"}.get(command, f"threed-{command}")
        if name == "shift":
            rest[rest.index("1.5,2.5")] = "1.5,2.5,0.5"
            theirs += " --shift_z 0.5"
    im4d(command, *rest)
    peer = ["relion_image_handler", "--i", f"a.{end}", "--o", f"theirs.{end}", *theirs.split()]
    subprocess.run(peer, check=True, capture_output=True, timeout=60)
    with mrcfile.open(f"ours.{end}") as a, mrcfile.open(f"theirs.{end}") as b:
        assert a.data.shape == b.data.shape
        assert np.abs(a.data - b.data).max() < tolerance * max(1.0, b.data.max())
        assert np.isclose(a.voxel_size.x, b.voxel_size.x) or name == "larger"  # RELION was told another pixel size there


REAL = [
    ("images", "classes/nup82/0.spi"),
    ("images", "formats/singleImage_swap.spi"),
    ("images", "imagic/smallStack.stk"),
    ("images", "imagic/bsoft/rect_intg.hed"),
    ("images", "imagic/bsoft/rect_pack.hed"),
    ("images", "imagic/bsoft/fourd_real.hed"),
    ("volumes", "imagic/bsoft/fourd_real.hed"),
    ("volumes", "formats/smallVolumeStack.stk"),
    ("volumes", "formats/EMD-3001.map"),
]


@pytest.mark.parametrize(("unit", "name"), REAL)
def test_real_files(im4d, shared_data, tmp_path, unit, name):
    """Every command on files of other programs: they run, shapes and pixel sizes are right, headers are sound."""
    src = shared_data / name
    with open_stack(src, what=unit) as stack:
        box = stack.shape[1:] if unit == "volumes" else stack.shape[2:]
        size, count = stack.pixel_size, stack.objects
    pre = "threed-" if unit == "volumes" else ""
    wide = [n + 3 for n in box]
    text = ",".join(map(str, wide if unit == "images" else [wide[1], wide[2], wide[0]]))
    im4d(f"{pre}append", src, tmp_path / "a")
    im4d(f"{pre}cut", src, tmp_path / "c", "--box", text)
    im4d("threed-blowup" if pre else "blow-up", src, tmp_path / "b", "--factor", "2")
    im4d(f"{pre}rotate", src, tmp_path / "r", "--angle", "20")
    im4d(f"{pre}center", src, tmp_path / "m", "--criterion", "mass")
    for out, want in (("a", box), ("c", wide), ("b", [2 * n for n in box]), ("r", box), ("m", box)):
        assert im4d("validate", tmp_path / out).exit_code == 0
        with open_stack(tmp_path / out, what=unit if unit == "images" else "auto") as stack:
            got = stack.shape[1:] if unit == "volumes" else stack.shape[2:]
            assert list(got) == list(want) and stack.objects == count
            assert stack.pixel_size == pytest.approx(size / 2 if size and out == "b" else size)
    whole, _ = read_stack(src, what=unit)
    assert np.array_equal(read_stack(tmp_path / "a", what=unit)[0], whole)
