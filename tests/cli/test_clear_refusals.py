"""Inputs at the edge: nothing in them, too few, names of any bytes, control characters; one clear line, or the right result."""

import os

import mrcfile
import numpy as np
import pytest

from imagic4d_core.errors import InputError
from imagic4d_core.io.header import HEADER_DTYPE
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from tests.imagic_files import pattern


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stack("p.mrcs", pattern(6, 12, 12), pixel_size=4.0)
    return tmp_path


@pytest.mark.parametrize(("text", "what"), [("", "holds no coordinates"), ("3 nan\n", "row 1: _rlnCoordinateY is nan")])
def test_picks_of_nothing(folder, im4d, text, what):
    (folder / "c.star").write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n" + text + "\n")
    assert what in im4d("cut", "p.mrcs", "o.hed", "--coordinates", "c.star", "--box", 4, code=3).stderr
    assert not list(folder.glob("o.*"))


def test_one_image(folder, im4d, recwarn):
    write_stack("one.mrcs", pattern(1, 12, 12), pixel_size=4.0)
    assert "needs 4 at least" in im4d("classify2d", "one.mrcs", "c", "--classes", 2, code=4).stderr
    assert not (folder / "c").exists()
    h = np.zeros(1, HEADER_DTYPE)
    h["ALPHA"], h["REF3D"] = 3, 1
    write_stack("one.hed", pattern(1, 12, 12), h)
    assert "1 active image" in im4d("chance", "one.hed", code=4).stderr
    assert not recwarn.list
    assert sorted(p.name for p in folder.iterdir()) == ["one.hed", "one.img", "one.mrcs", "p.mrcs"]


def test_an_empty_list(folder, im4d, recwarn):
    for name, text in {"e.par": "", "f.par": "C only words\n\n", "g.star": "data_\nloop_\n_rlnImageName #1\n\n"}.items():
        (folder / name).write_text(text)
        assert "lists no images" in im4d("info", name, code=3).stderr
    assert not recwarn.list


@pytest.mark.parametrize("command", ["info", "validate"])
def test_those_that_can_be_read_are_reported(folder, im4d, command):
    done = im4d(command, "p.mrcs", "missing.mrc", "also.mrc", code=3)
    assert "p.mrcs" in done.stdout and "missing.mrc" in done.stderr and "also.mrc" in done.stderr
    document = im4d(command, "--json", "missing.mrc", "p.mrcs", code=3).json
    assert [f["file"] for f in document["files"]] == ["p.mrcs"] and "missing.mrc" in document["unread"][0]
    assert im4d(command, "missing.mrc", "also.mrc", code=3).stdout == ""


def test_names_that_are_no_utf8(folder, im4d):
    name, other = (os.fsdecode(n) for n in (b"caf\xe9.star", b"b\xff\xfe c.mrcs"))
    write_stack(other, pattern(3, 8, 8), pixel_size=2.0)
    assert "caf\\xe9.mrcs: 6 images" in im4d("convert", "p.mrcs", name).stdout
    assert b"000001@caf\xe9.mrcs" in (folder / name).read_bytes()
    assert np.array_equal(read_stack(name)[0], read_stack("p.mrcs")[0])
    im4d("header", "set", other, "REF3D=2")
    side = os.fsdecode(b"b\xff\xfe c.star")
    im4d("header", "set", other, "REF3D=3", "--loc", 2)
    assert read_stack(side)[1]["REF3D"].tolist() == [2, 3, 2]
    im4d("info", name, other, "--json")
    im4d("copy", other, os.fsdecode(b"\xe9.hed"))
    im4d("validate", os.fsdecode(b"\xe9.hed"))
    assert "\\xe9x.mrc: not found" in im4d("info", os.fsdecode(b"\xe9x.mrc"), code=3).stderr


def test_names_leave_without_quotes(folder, im4d):
    for name in ("a_b.mrcs", "_x.mrcs", "é_ü.mrcs", "a#b.mrcs"):
        write_stack(name, pattern(2, 8, 8), pixel_size=2.0)
        im4d("header", "set", name, "REF3D=2")
        side = folder / name.replace(".mrcs", ".star")
        im4d("header", "set", name, "REF3D=1", "--loc", 2)  # written anew, row by row
        assert f"\n000001@{name} " in side.read_text(encoding="utf-8")
        assert read_stack(side)[1]["REF3D"].tolist() == [2, 1]
    write_stack("a b.mrcs", pattern(2, 8, 8), pixel_size=2.0)
    im4d("header", "set", "a b.mrcs", "REF3D=2")
    assert "'000001@a b.mrcs'" in (folder / "a b.star").read_text()
    assert read_stack("a b.star")[1]["REF3D"].tolist() == [2, 2]


def test_control_characters_of_files_do_not_reach_the_terminal(folder, im4d):
    h = np.zeros(2, HEADER_DTYPE)
    h["NAME"] = b"\x1b]0;gone\x07 \x1b[2J title"
    write_stack("a.hed", pattern(2, 8, 8), h)
    for command in (["info", "a.hed"], ["header", "show", "a.hed", "--word", "NAME"], ["header", "get", "a.hed", "NAME"]):
        done = im4d(*command, code=None)
        assert "\x1b" not in done.stdout + done.stderr and "\x07" not in done.stdout
    assert "\\x1b[2J title" in im4d("info", "a.hed").stdout
    bad = "x\x1b[31m.mrc"
    assert "\x1b" not in im4d("info", bad, code=3).stderr
    (folder / "l.star").write_text("data_\nloop_\n_rlnImageName #1\n1@\x1b[31mred.mrcs\n")
    assert "\x1b" not in im4d("info", "l.star", code=3).stderr


@pytest.mark.parametrize("more", [3, 512, 5000])
def test_bytes_behind_the_densities(folder, im4d, more):
    data = pattern(5, 12, 12)
    write_stack("i.hed", data)
    with open("i.img", "ab") as handle:
        handle.write(bytes(more))
    got, h = read_stack("i.hed")
    assert np.array_equal(got, data) and len(h) == 5
    assert f"{more} bytes behind" in im4d("info", "i.hed").stdout
    assert "warning length" in im4d("validate", "i.hed").stdout
    with mrcfile.new("old.mrc") as m:
        m.set_data(data)
    raw = bytearray((folder / "old.mrc").read_bytes())
    raw[208:216] = bytes(8)
    (folder / "old.mrc").write_bytes(bytes(raw) + bytes(more))
    with open_stack("old.mrc") as stack:
        assert stack.shape[1:] == (5, 12, 12) or stack.shape == (5, 1, 12, 12)
        assert any("behind the densities" in n for n in stack.notes)
    im4d("copy", "i.hed", "j.hed")
    assert (folder / "j.img").stat().st_size == data.nbytes


def test_whole_images_more_are_of_another_file(folder):
    write_stack("i.hed", pattern(2, 12, 12))
    with open("i.img", "ab") as handle:
        handle.write(bytes(3 * 12 * 12 * 4))
    with pytest.raises(InputError, match="do not belong together"):
        open_stack("i.hed")
