"""im4d append, cut, blow-up, center, rotate and their threed- twins: headers, formats, types, bad input, large files."""

import os
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from imagic_files import pattern, write_pair

from imagic4d_core.geometry.moves import Moves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import TAG
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.resample.move import move


@pytest.fixture
def images(tmp_path):
    return write_pair(tmp_path / "images", pattern(5, 1, 12, 9), words={58: -1})


@pytest.fixture
def volumes(tmp_path):
    return write_pair(tmp_path / "volumes", pattern(3, 6, 8, 7))


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def sound(im4d, path, objects, sections, lines, pixels):
    """The file is valid, and counts and numbers of its header are right."""
    assert im4d("validate", path).exit_code == 0
    data, h = read_stack(path)
    records = objects * sections
    assert data.shape == ((objects, sections, lines, pixels) if sections > 1 else (objects, lines, pixels))
    assert h["IMN"].tolist() == list(range(1, records + 1)) and h["IFOL"].tolist() == [records - 1] + [0] * (records - 1)
    assert (h["I4LP"] == objects).all() and (h["IZLP"] == sections).all()
    assert (h["IXLP"] == lines).all() and (h["IYLP"] == pixels).all()
    if h["DENSMAX"].any():  # else copied byte by byte from a file without statistics
        np.testing.assert_allclose(h["DENSMAX"].max(), data.max(), rtol=1e-6)
    return data, h


# append


def test_append_makes_and_grows(im4d, images, tmp_path):
    out = tmp_path / "all.hed"
    done = im4d("append", images, f"{images},2,3", out, "--json").json
    assert (done["objects"], done["appended"], done["first"]) == (7, 7, 1)
    sound(im4d, out, 7, 1, 12, 9)
    before = out.stat().st_ino
    done = im4d("append", f"{images},5", out, "--json").json
    assert (done["objects"], done["appended"], done["first"]) == (8, 1, 8)
    data, h = sound(im4d, out, 8, 1, 12, 9)
    assert np.array_equal(data, pattern(5, 12, 9)[[0, 1, 2, 3, 4, 1, 2, 4]])
    assert h["REF3D"].tolist() == [100, 101, 102, 103, 104, 101, 102, 104] and (h["ACTIVE"] == -1).all()
    assert out.stat().st_ino != before  # a complete new file took its place
    im4d("append", out, out)  # to itself
    assert read_stack(out)[0].shape == (16, 12, 9)
    im4d("append", images, out, "--overwrite")
    assert read_stack(out)[0].shape == (5, 12, 9)


def test_append_volumes(im4d, volumes, images, tmp_path):
    for end in ("hed", "mrc"):
        out = tmp_path / f"all.{end}"
        im4d("threed-append", f"{volumes},2", out)
        im4d("threed-append", volumes, f"{volumes},3", out)
        data, _ = read_stack(out)
        assert np.array_equal(data, pattern(3, 6, 8, 7)[[1, 0, 1, 2, 2]])
    sound(im4d, tmp_path / "all.hed", 5, 6, 8, 7)
    im4d("append", f"{volumes},1,6", tmp_path / "all.hed")  # six sections make a volume
    sound(im4d, tmp_path / "all.hed", 6, 6, 8, 7)
    assert "do not make whole volumes" in im4d("append", f"{volumes},1,5", tmp_path / "all.hed", code=4).stderr
    sections = write_pair(tmp_path / "sections", pattern(2, 1, 8, 7))
    im4d("append", volumes, sections)
    assert read_stack(sections)[0].shape == (20, 8, 7)
    assert "holds images" in im4d("threed-append", volumes, images, code=4).stderr


@pytest.mark.parametrize("type_word", ["REAL", "LONG", "INTG", "PACK", "COMP"])
def test_append_keeps_the_type(im4d, tmp_path, type_word):
    kind = "c8" if type_word == "COMP" else "f4"
    a = write_pair(tmp_path / "a", pattern(2, 1, 4, 5, kind=kind), type_word, nblocks=2)
    b = write_pair(tmp_path / "b", pattern(3, 1, 4, 5, kind=kind), type_word, order=">", nblocks=2)
    im4d("append", b, a)
    with open_stack(a) as stack:
        assert stack.layout.type_word == type_word and stack.n_images == 5 and stack.nblocks == 2
        assert stack.extra_headers()[:, 0].tolist() == [0, 1, 0, 1, 2]
    assert im4d("validate", a).exit_code == 0


def test_append_takes_other_formats(im4d, images, tmp_path):
    write_stack(tmp_path / "b.mrcs", pattern(2, 12, 9), pixel_size=2.5)
    im4d("append", tmp_path / "b.mrcs", images)
    assert np.array_equal(read_stack(images)[0][5:], pattern(2, 12, 9))
    im4d("append", images, tmp_path / "b.mrcs")
    assert read_stack(tmp_path / "b.mrcs")[0].shape == (9, 12, 9)
    assert (tmp_path / "b.star").is_file()  # poses came along


def test_append_changes_all_or_nothing(im4d, images, tmp_path, monkeypatch):
    other = write_pair(tmp_path / "other", pattern(2, 1, 9, 12))
    fine = write_pair(tmp_path / "fine", pattern(2, 1, 12, 9), floats={123: 5.0})
    short = write_pair(tmp_path / "short", pattern(2, 1, 12, 9))
    os.truncate(f"{short}.img", 100)
    before = files(tmp_path)
    assert "cannot be appended" in im4d("append", images, other, images, code=4).stderr
    assert "5 A per pixel" in im4d("append", fine, images, code=4).stderr
    assert "truncated" in im4d("append", short, images, code=3).stderr
    assert "a location makes no sense" in im4d("append", images, f"{images},3", code=5).stderr
    assert "not found" in im4d("append", tmp_path / "none", images, code=3).stderr
    im4d("append", images, code=2)
    from imagic4d_core.io import atomic

    def full(*args, **kwargs):
        raise OSError(28, "the device is full")

    monkeypatch.setattr(atomic, "_inherit", full)
    im4d("append", images, images, code=5)
    assert files(tmp_path) == before


# cut


def test_cut_and_its_header(im4d, images, tmp_path):
    im4d("cut", f"{images},2,4", tmp_path / "out", "--box", "6,5", "--at", "4,5")
    data, h = sound(im4d, tmp_path / "out", 3, 1, 6, 5)
    assert np.array_equal(data, pattern(5, 12, 9)[1:4, 0:6, 2:7])  # line 4 is index 3, which becomes index 3
    assert h["IXOLD"].tolist() == [1] * 3 and h["IYOLD"].tolist() == [3] * 3 and h["LOCOLD"].tolist() == [2, 3, 4]
    assert (h["RXSHIFT"] == -3).all() and (h["RYSHIFT"] == 0).all()  # the centre, index 6, lies three lines below the new one
    assert h["REF3D"].tolist() == [101, 102, 103] and (h["ACTIVE"] == -1).all() and (h["PIXSIZE"] == 2.5).all()
    done = im4d("cut", images, tmp_path / "pad", "--box", "15,14", "--fill", "7", "--json").json
    data, h = sound(im4d, tmp_path / "pad", 5, 1, 15, 14)
    assert done["values"] == {"windows": 5, "partly outside": 0, "left out": 0}
    assert h["IXOLD"][0] == 0 and h["IYOLD"][0] == -2  # 12 // 2 - 15 // 2, from 1
    im4d("cut", tmp_path / "pad", tmp_path / "back", "--box", "12,9")
    assert np.array_equal(read_stack(tmp_path / "back")[0], pattern(5, 12, 9))
    assert data[0, 0, 0] == 7


def test_a_pose_follows_a_window_off_the_centre(im4d, tmp_path):
    """What --by-pose brings to the centre is the same, wherever the window lay; images without a pose get none."""
    root = write_pair(tmp_path / "a", pattern(2, 1, 40, 40), floats={65: 0.0, 66: 50.0})
    im4d("cut", root, tmp_path / "middle", "--box", "16")
    im4d("cut", root, tmp_path / "aside", "--box", "24", "--at", "19,24")
    im4d("rotate", tmp_path / "aside", tmp_path / "back", "--by-pose")
    assert np.array_equal(read_stack(tmp_path / "back")[0][:, 4:20, 4:20], read_stack(tmp_path / "middle")[0])
    im4d("header", "wipe", root, tmp_path / "bare", "--word", "ALL")
    im4d("cut", tmp_path / "bare", tmp_path / "none", "--box", "24", "--at", "19,24")
    assert not sound(im4d, tmp_path / "none", 2, 1, 24, 24)[1]["RXSHIFT"].any()


def test_cut_volumes(im4d, volumes, tmp_path):
    im4d("threed-cut", f"{volumes},2,3", tmp_path / "out", "--box", "4,3,2", "--at", "5,4,3")
    data, h = sound(im4d, tmp_path / "out", 2, 2, 4, 3)
    assert np.array_equal(data, pattern(3, 6, 8, 7)[1:, 1:3, 2:6, 2:5])
    assert (h["IXOLD"] == 3).all() and (h["IYOLD"] == 3).all() and (h["IZOLD"] == 2).all()
    assert h["LOCOLD"].tolist() == [2, 2, 3, 3]
    im4d("threed-cut", volumes, tmp_path / "pad.mrc", "--box", "10")
    got, _ = read_stack(tmp_path / "pad.mrc")
    assert got.shape == (3, 10, 10, 10) and np.array_equal(got[:, 2:8, 1:9, 2:9], pattern(3, 6, 8, 7))
    im4d("cut", volumes, tmp_path / "sections", "--box", "4")
    assert np.array_equal(read_stack(tmp_path / "sections")[0], pattern(18, 8, 7)[:, 2:6, 1:5])


@pytest.mark.parametrize("type_word", ["REAL", "LONG", "INTG", "PACK", "COMP"])
@pytest.mark.parametrize("order", "<>")
def test_cut_keeps_the_type(im4d, tmp_path, type_word, order):
    data = pattern(3, 1, 9, 40, kind="c8" if type_word == "COMP" else "f4")
    root = write_pair(tmp_path / "a", data, type_word, order=order, nblocks=2)
    im4d("cut", root, tmp_path / "b", "--box", "4,2", "--loc", "3,1")  # 2 of 40 pixels: line by line
    with open_stack(tmp_path / "b") as stack:
        assert stack.layout.type_word == type_word and stack.nblocks == 2
        assert np.array_equal(stack.read_raw(), data[[2, 0], 0, 2:6, 19:21])
        assert stack.headers()["LOCOLD"].tolist() == [3, 1] and stack.extra_headers()[:, 0].tolist() == [2, 0]
    im4d("cut", root, tmp_path / "c", "--box", "11", "--fill", "mean")


def test_cut_around_coordinates(im4d, tmp_path):
    data = pattern(2, 1, 40, 30)
    root = write_pair(tmp_path / "m", data)
    (tmp_path / "xy.plt").write_text("  x y\n 10 12\n 1.4 29.6\n 0.2000E+02 0.1500E+02\n")
    im4d("cut", f"{root},2", tmp_path / "p", "--coordinates", tmp_path / "xy.plt", "--box", "6", "--border", "skip")
    got, h = sound(im4d, tmp_path / "p", 2, 1, 6, 6)
    assert np.array_equal(got, [data[1, 0, 6:12, 8:14], data[1, 0, 16:22, 11:17]])
    assert h["LOCORIG"].tolist() == [2, 2] and h["LOCMICRO"].tolist() == [1, 3] and h["LOCOLD"].tolist() == [2, 2]
    assert h["IXMICRO"].tolist() == [10, 20] and h["IYMICRO"].tolist() == [12, 15]
    assert h["IXOLD"].tolist() == [7, 17] and h["IYOLD"].tolist() == [9, 12]
    done = im4d("cut", root, tmp_path / "q", "--coordinates", tmp_path / "xy.plt", "--box", "6", "--fill", "0", "--json").json
    assert done["objects"] == 6 and done["values"]["partly outside"] == 2
    got, h = read_stack(tmp_path / "q")
    assert np.array_equal(got[1][3:, :4], data[0, 0, :3, 26:30]) and (got[1][:3] == 0).all()
    (tmp_path / "lxy.txt").write_text("2 10 12\n1 20 15\n")
    im4d("cut", root, tmp_path / "r", "--coordinates", tmp_path / "lxy.txt", "--box", "5")
    got, h = read_stack(tmp_path / "r")
    assert np.array_equal(got, [data[1, 0, 7:12, 9:14], data[0, 0, 17:22, 12:17]]) and h["LOCORIG"].tolist() == [2, 1]
    (tmp_path / "xyz.txt").write_text("20 15 2\n")
    stacked = write_pair(tmp_path / "v", pattern(2, 4, 40, 30))
    im4d("threed-cut", stacked, tmp_path / "s", "--coordinates", tmp_path / "xyz.txt", "--box", "4,4,2")
    assert np.array_equal(read_stack(tmp_path / "s")[0], pattern(2, 4, 40, 30)[:, 0:2, 17:21, 12:16])


def test_cut_from_a_micrograph_and_its_star_file(im4d, tmp_path):
    """Coordinates count from 0, rows upwards; what is cut has its centre there."""
    for lines in (40, 41):
        data = pattern(lines, 30)
        name = f"m{lines}.mrc"
        with mrcfile.new(tmp_path / name) as mrc:
            mrc.set_data(data)
        (tmp_path / "p.star").write_text(
            "data_\nloop_\n_rlnMicrographName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
            f"other.mrc 1 1\nmics/{name} 12 20\nmics/{name} 20.4 10.2\n"
        )
        out = tmp_path / f"out{lines}.mrcs"
        im4d("cut", tmp_path / name, out, "--coordinates", tmp_path / "p.star", "--box", "7")
        with mrcfile.open(out) as mrc:
            assert np.array_equal(mrc.data, [data[17:24, 9:16], data[7:14, 17:24]])


def test_cut_finds_the_particles_of_the_real_micrograph(im4d, shared_data, tmp_path):
    """Fourteen particles that another program cut (and scaled), pixel by pixel."""
    want, h = read_stack(shared_data / "imagic" / "raw_stack_tiltstack.hed")
    corner = np.array([[int(v) for v in name.decode().strip().split(",")] for name in h["NAME"]])
    lines = 1600 - corner[:, 1] - 39 + 1  # the row of index 40 of the window, counted from above
    np.savetxt(tmp_path / "xy.plt", np.stack([lines, corner[:, 0] + 41], -1), fmt="%d")
    im4d("cut", shared_data / "formats" / "rawu048b.mrc", tmp_path / "p", "--coordinates", tmp_path / "xy.plt", "--box", "80")
    for ours, theirs in zip(read_stack(tmp_path / "p")[0], want, strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999


def test_cut_refuses(im4d, images, volumes, tmp_path):
    (tmp_path / "far.plt").write_text("5 5\n100 5\n")
    (tmp_path / "four.plt").write_text("1 2 3 4\n")
    (tmp_path / "edge.plt").write_text("1 1\n")
    (tmp_path / "no.star").write_text("data_\nloop_\n_rlnImageName #1\n1@a.mrcs\n")
    before = files(tmp_path)
    out = tmp_path / "out"
    cut = ("cut", images, out, "--box", "4")
    assert (
        "coordinates 2: the window around 100,5 lies wholly outside"
        in im4d(*cut, "--coordinates", tmp_path / "far.plt", code=3).stderr
    )
    assert "partly outside" in im4d(*cut, "--coordinates", tmp_path / "edge.plt", "--border", "error", code=3).stderr
    assert "nothing is left" in im4d(*cut, "--coordinates", tmp_path / "edge.plt", "--border", "skip", code=3).stderr
    assert "has 4 columns" in im4d(*cut, "--coordinates", tmp_path / "four.plt", code=3).stderr
    assert "_rlnCoordinateX" in im4d(*cut, "--coordinates", tmp_path / "no.star", code=3).stderr
    assert "cannot be read" in im4d(*cut, "--coordinates", tmp_path / "none.plt", code=3).stderr
    assert "given twice" in im4d(*cut, "--at", "3,3", "--coordinates", tmp_path / "far.plt", code=2).stderr
    assert "2 numbers are needed" in im4d("cut", images, out, "--box", "4,5,6", code=2).stderr
    assert "3 numbers are needed" in im4d("threed-cut", volumes, out, "--box", "4,5", code=2).stderr
    assert "not a box" in im4d("cut", images, out, "--box", "0", code=2).stderr
    im4d("cut", images, out, code=2)
    assert files(tmp_path) == before


# blow-up


@pytest.mark.parametrize("method", ["fourier", "spline", "bilinear", "nearest", "coarse"])
def test_blow_up_and_its_header(im4d, tmp_path, method):
    floats = {80: 1.0, 81: -2.0, 112: 3.0, 113: 4.0, 117: 5.0, 118: 6.0, 111: 7.0, 53: 8.0}
    root = write_pair(tmp_path / "a", pattern(4, 1, 12, 8), words={79: TAG}, floats=floats)
    im4d("blow-up", root, tmp_path / "b", "--factor", "0.5", "--method", method)
    _, h = sound(im4d, tmp_path / "b", 4, 1, 6, 4)
    assert (h["PIXSIZE"] == 5.0).all()
    for number, name in ((80, "RXSHIFT"), (81, "RYSHIFT"), (112, "XSHIFT"), (113, "YSHIFT"), (117, "EXSHIFT"), (118, "EYSHIFT")):
        assert (h[name] == floats[number] / 2).all()
    assert (h["ZSHIFT"] == 3.5).all() and (h["EZSHIFT"] == 4.0).all() and h["REF3D"].tolist() == [100, 101, 102, 103]


def test_blow_up_to_a_pixel_size_and_to_a_box(im4d, volumes, images, tmp_path):
    done = im4d("threed-blowup", volumes, tmp_path / "b.mrc", "--pixel-size-out", "1.25", "--json").json
    assert (done["objects"], done["sections"], done["lines"], done["pixels"]) == (3, 12, 16, 14)
    with open_stack(tmp_path / "b.mrc") as stack:
        assert np.isclose(stack.pixel_size, 1.25)
    im4d("blow-up", images, tmp_path / "c", "--box", "16,12")
    _, h = sound(im4d, tmp_path / "c", 5, 1, 16, 12)
    assert np.allclose(h["PIXSIZE"], 2.5 * 12 / 16)
    done = im4d("blow-up", images, tmp_path / "d", "--pixel-size", "3", "--pixel-size-out", "2", "--json").json
    assert done["values"] == {"factor": 1.5, "pixel size": 2.0} and np.allclose(read_stack(tmp_path / "d")[1]["PIXSIZE"], 2.0)
    done = im4d("blow-up", images, tmp_path / "e", "--pixel-size-out", "3.2", "--box", "10", "--json").json
    assert done["values"]["pixel size"] == 3.2 and not done["notes"] and (done["lines"], done["pixels"]) == (10, 10)
    done = im4d("blow-up", images, tmp_path / "g", "--pixel-size-out", "5.02", "--method", "coarse", "--json").json
    assert done["values"]["pixel size"] == 5.0 and "was asked for" in done["notes"][0]
    plain = write_pair(tmp_path / "plain", pattern(2, 1, 8, 8), floats={123: 0.0})
    im4d("blow-up", plain, tmp_path / "f.mrcs", "--pixel-size", "3", "--factor", "2")
    with open_stack(tmp_path / "f.mrcs") as stack:
        assert stack.pixel_size == 1.5


def test_maps_of_other_sampling_come_to_one(im4d, tmp_path):
    for name, side, size in (("a", 30, 2.3), ("b", 17, 4.1)):
        write_stack(tmp_path / f"{name}.mrc", pattern(1, side, side, side), pixel_size=size)
        done = im4d("threed-blowup", tmp_path / f"{name}.mrc", tmp_path / f"{name}8.mrc", "--pixel-size-out", 8, "--box", 12)
        assert "was asked for" not in done.stdout
    im4d("threed-append", tmp_path / "a8.mrc", tmp_path / "b8.mrc", tmp_path / "all.mrc")
    with open_stack(tmp_path / "all.mrc") as stack:
        assert stack.shape == (2, 12, 12, 12) and abs(stack.pixel_size - 8) < 1e-3
    said = im4d("threed-append", tmp_path / "a.mrc", tmp_path / "all.mrc", code=4).stderr
    assert "blow-up with --pixel-size-out and --box" in said


def test_blow_up_refuses(im4d, images, tmp_path):
    plain = write_pair(tmp_path / "plain", pattern(2, 1, 8, 8), floats={123: 0.0})
    before = files(tmp_path)
    out = tmp_path / "out"
    assert "give one of" in im4d("blow-up", images, out, code=2).stderr
    assert "give one of" in im4d("blow-up", images, out, "--factor", "2", "--box", "9", code=2).stderr
    assert "by one factor" in im4d("blow-up", images, out, "--box", "12", code=2).stderr
    assert "has no pixel size" in im4d("blow-up", plain, out, "--pixel-size-out", "2", code=3).stderr
    assert "whole number" in im4d("blow-up", images, out, "--factor", "0.7", "--method", "coarse", code=2).stderr
    assert "leaves nothing" in im4d("blow-up", images, out, "--factor", "0.0001", code=2).stderr
    im4d("blow-up", images, out, "--factor", "-1", code=2)
    assert files(tmp_path) == before


# rotate


def spots(n=3, box=(36, 33)):
    grid = np.meshgrid(*[np.arange(k) - k // 2 for k in box], indexing="ij")
    out = [np.exp(-((grid[0] - 3 - k) ** 2 + (grid[1] + 2) ** 2) / 10) for k in range(n)]
    return np.array(out, np.float32)


@pytest.mark.parametrize("end", ["hed", "mrcs"])
def test_rotate_there_and_back(im4d, tmp_path, end):
    x = spots()
    write_stack(tmp_path / "a.hed", x)
    args = ("--angle", "50", "--shift", "1.5,-1", "--fill", "0")
    im4d("rotate", tmp_path / "a.hed", tmp_path / f"b.{end}", *args)
    im4d("rotate", tmp_path / f"b.{end}", tmp_path / "c.hed", *args, "--inverse")
    assert np.abs(read_stack(tmp_path / "c.hed")[0] - x).max() < 0.02
    if end == "hed":
        _, h = sound(im4d, tmp_path / "b.hed", 3, 1, 36, 33)
        for name, value in {"ANGLE": 50, "XSHIFT": 1.5, "YSHIFT": -1, "EANGLE": 50, "EXSHIFT": 1.5, "EYSHIFT": -1}.items():
            np.testing.assert_allclose(h[name], value, atol=1e-5)
        h = read_stack(tmp_path / "c.hed")[1]
        for name in ("EANGLE", "EXSHIFT", "EYSHIFT"):
            np.testing.assert_allclose(h[name], 0, atol=1e-5)


def test_equivalent_moves_are_applied_to_the_originals(im4d, tmp_path):
    """Moved twice, and once by the equivalent move of the headers: the same images, and the same equivalent words."""
    x = spots()
    write_stack(tmp_path / "a.hed", x)
    im4d("rotate", tmp_path / "a.hed", tmp_path / "b.hed", "--angle", "20", "--shift", "2,1", "--fill", "0")
    im4d("rotate", tmp_path / "b.hed", tmp_path / "c.hed", "--angle", "35", "--shift", "-1,0.5", "--fill", "0")
    im4d("rotate", tmp_path / "a.hed", tmp_path / "d.hed", "--equivalent", tmp_path / "c.hed", "--fill", "0")
    (c, hc), (d, hd) = read_stack(tmp_path / "c.hed"), read_stack(tmp_path / "d.hed")
    assert np.abs(c - d).max() < 0.01
    for name in ("EANGLE", "EXSHIFT", "EYSHIFT"):
        np.testing.assert_allclose(hc[name], hd[name], atol=1e-4)
    im4d("rotate", tmp_path / "c.hed", tmp_path / "e.hed", "--equivalent", tmp_path / "c.hed", "--inverse", "--fill", "0")
    assert np.abs(read_stack(tmp_path / "e.hed")[0] - x).max() < 0.03
    im4d("rotate", f"{tmp_path}/a.hed,2,3", tmp_path / "f.hed", "--equivalent", f"{tmp_path}/c.hed,2,3")
    assert (
        "one header is needed"
        in im4d("rotate", tmp_path / "a.hed", tmp_path / "g", "--equivalent", f"{tmp_path}/c.hed,2,3", code=4).stderr
    )
    assert (
        "would be shifted by"
        in im4d(
            "rotate", tmp_path / "a.hed", tmp_path / "g", "--equivalent", tmp_path / "c.hed", "--max-move", "1", code=3
        ).stderr
    )
    assert not (tmp_path / "g.hed").exists()


def test_rotate_by_pose(im4d, tmp_path):
    x = spots()
    centred = move(x, Moves.turns([0, 0, 0]), fill=0.0)
    poses = Poses.blank(3)
    poses.alpha[:], poses.beta[:], poses.shift[:] = [30, 200, 300], 40.0, [[1, 2], [0, -1], [0.5, 0.5]]
    stored = move(centred, Moves.turns(poses.alpha), fill=0.0)
    stored = move(stored, Moves.shifts(-poses.shift), fill=0.0)
    from imagic4d_core.io.header import blank_headers

    write_stack(tmp_path / "a.hed", stored, poses.into_headers(blank_headers(3, 36, 33)))
    im4d("rotate", tmp_path / "a.hed", tmp_path / "b.hed", "--by-pose", "--fill", "0")
    got, h = read_stack(tmp_path / "b.hed")
    after = Poses.from_headers(h)
    assert np.abs(got - x).max() < 0.03
    assert np.allclose((after.alpha + 180) % 360, 180, atol=1e-3) and np.allclose(after.shift, 0, atol=1e-4)
    assert np.allclose(after.beta, 40)


def test_rotate_volumes(im4d, tmp_path):
    v = np.zeros((2, 16, 20, 18), np.float32)
    grid = np.meshgrid(*[np.arange(k) - k // 2 for k in v.shape[1:]], indexing="ij")
    for k in range(2):
        v[k] = np.exp(-((grid[0] - 1) ** 2 + (grid[1] + 2 + k) ** 2 + (grid[2] - 2) ** 2) / 6)
    write_stack(tmp_path / "a.hed", v)
    args = ("--angles", "30,60,45", "--shift", "1,-0.5,0.25", "--fill", "0")
    im4d("threed-rotate", tmp_path / "a.hed", tmp_path / "b.hed", *args)
    _, h = sound(im4d, tmp_path / "b.hed", 2, 16, 20, 18)
    for name, value in {
        "EALPHA": 30,
        "EBETA": 60,
        "EGAMMA": 45,
        "EXSHIFT": 1,
        "EYSHIFT": -0.5,
        "EZSHIFT": 0.25,
        "ZSHIFT": 0.25,
    }.items():
        np.testing.assert_allclose(h[name], value, atol=1e-4)
    im4d("threed-rotate", tmp_path / "a.hed", tmp_path / "e.mrc", "--equivalent", tmp_path / "b.hed", "--fill", "0")
    np.testing.assert_allclose(read_stack(tmp_path / "e.mrc")[0], read_stack(tmp_path / "b.hed")[0], atol=1e-5)
    im4d("threed-rotate", tmp_path / "b.hed", tmp_path / "c.hed", *args, "--inverse")
    assert np.abs(read_stack(tmp_path / "c.hed")[0] - v).max() < 0.08
    im4d("rotate", tmp_path / "a.hed", tmp_path / "s.hed", "--angle", "40", "--fill", "0")
    im4d("threed-rotate", tmp_path / "a.hed", tmp_path / "t.hed", "--angle", "40", "--fill", "0")
    np.testing.assert_allclose(read_stack(tmp_path / "s.hed")[0], read_stack(tmp_path / "t.hed")[0], atol=1e-5)


def test_mirror(im4d, images, tmp_path):
    im4d("rotate", images, tmp_path / "m", "--mirrored")
    got, h = sound(im4d, tmp_path / "m", 5, 1, 12, 9)
    assert np.array_equal(got, pattern(5, 12, 9)[..., ::-1])
    im4d("rotate", tmp_path / "m", tmp_path / "back", "--mirrored")
    assert np.array_equal(read_stack(tmp_path / "back")[0], pattern(5, 12, 9))
    write_stack(tmp_path / "a.hed", spots())
    im4d("rotate", tmp_path / "a.hed", tmp_path / "b.hed", "--mirrored", "--angle", "25", "--shift", "1,2", "--fill", "0")
    im4d(
        "rotate",
        tmp_path / "b.hed",
        tmp_path / "c.hed",
        "--mirrored",
        "--angle",
        "25",
        "--shift",
        "1,2",
        "--fill",
        "0",
        "--inverse",
    )
    got, h = read_stack(tmp_path / "c.hed")
    assert (
        np.abs(got - spots()).max() < 0.02 and np.allclose(h["EXSHIFT"], 0, atol=1e-5) and np.allclose(h["EANGLE"], 0, atol=1e-5)
    )


def test_equivalent_moves_mirror_too(im4d, tmp_path):
    """Word 92 of the other file says which images were mirrored before."""
    x = spots()
    write_stack(tmp_path / "a.hed", x)
    im4d("rotate", tmp_path / "a.hed", tmp_path / "b.hed", "--mirrored", "--angle", "25", "--shift", "1,2", "--fill", "0")
    im4d("rotate", tmp_path / "b.hed", tmp_path / "c.hed", "--angle", "-70", "--shift", "0,1", "--fill", "0")
    im4d("rotate", f"{tmp_path}/a.hed,2", tmp_path / "d.hed", "--angle", "40", "--fill", "0")
    im4d("append", f"{tmp_path}/c.hed,1", tmp_path / "d.hed", f"{tmp_path}/c.hed,3", tmp_path / "e.hed")
    moved, h = read_stack(tmp_path / "e.hed")
    assert h["MIRRORED"].tolist() == [1, 0, 1]
    im4d("rotate", tmp_path / "a.hed", tmp_path / "f.hed", "--equivalent", tmp_path / "e.hed", "--fill", "0")
    got, hf = read_stack(tmp_path / "f.hed")
    assert np.abs(got - moved).max() < 0.02 and hf["MIRRORED"].tolist() == [1, 0, 1]
    im4d("rotate", tmp_path / "e.hed", tmp_path / "g.hed", "--equivalent", tmp_path / "e.hed", "--inverse", "--fill", "0")
    got, hg = read_stack(tmp_path / "g.hed")
    assert np.abs(got - x).max() < 0.03 and (hg["MIRRORED"] == 0).all() and np.allclose(hg["EXSHIFT"], 0, atol=1e-5)


def test_rotate_refuses(im4d, images, volumes, tmp_path):
    nan = pattern(2, 1, 6, 6)
    nan[1, 0, 0, 0] = np.nan
    bad, complex_ = write_pair(tmp_path / "nan", nan), write_pair(tmp_path / "c", pattern(2, 1, 6, 6, kind="c8"), "COMP")
    before = files(tmp_path)
    out = tmp_path / "out"
    assert "nothing to do" in im4d("rotate", images, out, code=2).stderr
    assert "give one of them" in im4d("rotate", images, out, "--angle", "3", "--by-pose", code=2).stderr
    assert "needs 2 numbers" in im4d("rotate", images, out, "--shift", "1,2,3", code=2).stderr
    assert "ALPHA,BETA,GAMMA" in im4d("threed-rotate", volumes, out, "--angles", "3", code=2).stderr
    assert "NaN" in im4d("rotate", bad, out, "--angle", "3", code=3).stderr
    assert "complex" in im4d("rotate", complex_, out, "--angle", "3", code=3).stderr
    assert "volumes is needed" in im4d("threed-rotate", images, out, "--angle", "3", code=4).stderr
    im4d("rotate", images, out, "--angle", "x", code=2)
    im4d("rotate", images, out, "--angle", "3", "--interpolation", "cubist", code=2)
    assert files(tmp_path) == before


@pytest.mark.parametrize("type_word", ["LONG", "INTG", "PACK"])
def test_types_become_real(im4d, tmp_path, type_word):
    root = write_pair(tmp_path / "a", pattern(2, 1, 9, 8), type_word)
    im4d("rotate", root, tmp_path / "b", "--angle", "90", "--interpolation", "NEAREST")
    with open_stack(tmp_path / "b") as stack:
        assert stack.layout.type_word == "REAL"


def test_spectra_stay_spectra(im4d, tmp_path):
    """Files of one line an image go through every command."""
    x = (
        np.exp(-((np.arange(40) - 20.0) ** 2) / 30)[None, None].astype(np.float32)
        * np.array([1, 2, 3], np.float32)[:, None, None]
    )
    write_stack(tmp_path / "a.hed", x)
    for method in ("fourier", "spline", "coarse"):
        im4d("blow-up", tmp_path / "a.hed", tmp_path / method, "--factor", "0.5", "--method", method)
        got, _ = sound(im4d, tmp_path / method, 3, 1, 1, 20)
        assert np.abs(got - x[..., ::2]).max() < 0.1
    im4d("cut", tmp_path / "a.hed", tmp_path / "c", "--box", "1,10")
    assert np.array_equal(read_stack(tmp_path / "c")[0], x[..., 15:25])
    im4d("rotate", tmp_path / "a.hed", tmp_path / "r", "--shift", "0,1.5")
    im4d("center", tmp_path / "r", tmp_path / "m", "--criterion", "mass", "--max-shift", "5")
    assert np.abs(read_stack(tmp_path / "m")[0] - x).max() < 0.02
    im4d("center", tmp_path / "r", tmp_path / "t", "--max-shift", "5")
    im4d("append", tmp_path / "r", tmp_path / "a.hed")
    sound(im4d, tmp_path / "a.hed", 6, 1, 1, 40)


# center


@pytest.mark.parametrize("criterion", ["TOTSUM", "mass"])
def test_center_finds_shifts(im4d, tmp_path, criterion):
    rng = np.random.default_rng(2)
    true = rng.uniform(-3, 3, (30, 2))
    grid = np.meshgrid(np.arange(32) - 16, np.arange(33) - 16, indexing="ij")
    x = np.array([np.exp(-((grid[0] - a) ** 2 + (grid[1] - b) ** 2) / 18) for a, b in true], np.float32) + 5
    write_stack(tmp_path / "a.hed", x)
    done = im4d("center", tmp_path / "a.hed", tmp_path / "b.hed", "--criterion", criterion, "--max-shift", "6", "--json").json
    got, h = sound(im4d, tmp_path / "b.hed", 30, 1, 32, 33)
    found = np.stack([h["XSHIFT"], h["YSHIFT"]], -1)
    error = found + true
    assert np.abs(error - error.mean(0)).max() < 0.3 and np.abs(error.mean(0)).max() < 0.7
    np.testing.assert_allclose(found, np.stack([h["EXSHIFT"], h["EYSHIFT"]], -1), atol=1e-6)
    assert got.std(0).max() < 0.1 * x.std(0).max() + 0.02
    if criterion == "TOTSUM":
        assert (h["CCC"] > 0.9).all() and done["values"]["mean ccc"] > 0.9


@pytest.mark.parametrize("criterion", ["mass", "total-sum", "object"])
def test_center_says_how_many_reached_the_limit(im4d, tmp_path, criterion):
    grid = np.meshgrid(np.arange(48) - 24, np.arange(48) - 24, indexing="ij")
    far = np.array([11.0 if i % 5 == 0 else 0.0 for i in range(20)])
    x = np.array([np.exp(-((grid[0] - a) ** 2 + grid[1] ** 2) / 18) for a in far], np.float32)
    write_stack(tmp_path / "a.hed", x + 0.01 * np.random.default_rng(1).standard_normal(x.shape).astype(np.float32))
    how = ["--criterion", criterion, "--json"]
    short = im4d("center", tmp_path / "a.hed", tmp_path / "b.hed", "--max-shift", "6", *how).json
    wide = im4d("center", tmp_path / "a.hed", tmp_path / "c.hed", "--max-shift", "15", *how).json
    assert (short["values"]["at the limit"], wide["values"]["at the limit"]) == (4, 0)


def test_center_object_is_for_images(im4d, tmp_path):
    write_stack(tmp_path / "v.hed", np.ones((2, 8, 8, 8), np.float32))
    error = im4d("threed-center", tmp_path / "v.hed", tmp_path / "o.hed", "--criterion", "object", code=2).stderr
    assert "total-sum or mass" in error and not (tmp_path / "o.hed").exists()


def test_center_volumes(im4d, tmp_path):
    true = [[2.0, -1.0, 1.0], [-1.0, 2.0, 0.0], [0.0, 0.0, -2.0]]
    grid = np.meshgrid(*[np.arange(k) - k // 2 for k in (16, 18, 20)], indexing="ij")
    v = np.array([np.exp(-sum((g - s) ** 2 for g, s in zip(grid, t, strict=True)) / 8) for t in true], np.float32)
    write_stack(tmp_path / "a.hed", v)
    for criterion in ("total-sum", "mass"):
        out = tmp_path / f"{criterion}.hed"
        im4d("threed-center", tmp_path / "a.hed", out, "--criterion", criterion, "--max-shift", "5", "--whole-pixels")
        got, h = sound(im4d, out, 3, 16, 18, 20)
        h = h[::16]
        assert np.array_equal(-np.stack([h["ZSHIFT"], h["XSHIFT"], h["YSHIFT"]], -1), true)
        assert np.abs(got - got[0]).max() < 0.02
        assert (h["EZSHIFT"] == h["ZSHIFT"]).all()


def test_center_takes_off_the_shift_to_come(im4d, tmp_path):
    root = write_pair(tmp_path / "a", spots(2, (32, 32))[:, None], words={79: TAG}, floats={80: 1.0, 81: 2.0})
    im4d("center", root, tmp_path / "b", "--criterion", "mass", "--max-shift", "6", "--whole-pixels")
    h = read_stack(tmp_path / "b")[1]
    assert np.array_equal(h["RXSHIFT"], 1 - h["XSHIFT"]) and np.array_equal(h["RYSHIFT"], 2 - h["YSHIFT"])


def test_center_of_constant_images_moves_nothing(im4d, tmp_path):
    root = write_pair(tmp_path / "a", np.full((2, 1, 8, 8), 3.0, np.float32))
    for criterion in ("total-sum", "mass"):
        im4d("center", root, tmp_path / criterion, "--criterion", criterion)
        assert (read_stack(tmp_path / criterion)[0] == 3).all()


# large files

LIMITED = """
import resource, sys
import mrcfile.dtypes, gemmi, scipy.fft
import imagic4d_core.resample.warm as warm
warm.warmup()
from imagic4d_core.jobs.images import rotating, cutting, centring, zooming
import imagic4d_core.jobs.files.appending, imagic4d_cli.main as main
size = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = size + {extra}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    bytearray({total})
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
for arguments in {calls}:
    sys.argv[1:] = arguments
    code = main.main()
    if code:
        sys.exit(code)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited on Linux only")
def test_stacks_larger_than_memory(tmp_path):
    count, box = 1200, 256  # 315 MB of densities, a hole in the file
    write_pair(tmp_path / "big", pattern(1, 1, box, box))
    record = np.fromfile(tmp_path / "big.hed", "<i4")
    h = np.tile(record, (count, 1))
    h[:, 0], h[0, 1], h[:, 61] = np.arange(1, count + 1), count - 1, count
    h.tofile(tmp_path / "big.hed")
    os.truncate(tmp_path / "big.img", count * box * box * 4)
    (tmp_path / "xy.plt").write_text("1 128 128\n1200 1 1\n")
    calls = [
        ["append", "big", "big,1,3", "all"],
        ["cut", "big", "cut", "--box", "64,32"],
        ["cut", "big", "windows", "--coordinates", "xy.plt", "--box", "20"],
        ["blow-up", "big", "half", "--factor", "0.5", "--method", "coarse"],
        ["rotate", "big", "turned", "--angle", "180", "--interpolation", "nearest"],
        ["center", "big", "centred", "--criterion", "mass", "--whole-pixels"],
    ]
    calls = [[*c, "-q"] + ([] if c[0] == "append" else ["--threads", "2"]) for c in calls]
    code = LIMITED.format(extra=220 << 20, total=count * box * box * 4, calls=calls)
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with open_stack(tmp_path / "all") as stack:
        assert stack.objects == count + 3 and np.array_equal(stack.read(count, count + 1)[0], pattern(box, box))
    for path in tmp_path.iterdir():
        path.unlink()
