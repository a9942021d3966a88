"""The header commands: show, get, set, wipe, plt-out, plt-in."""

import os
import re

import numpy as np
import pytest
from compare import same_bytes
from imagic_files import pattern, write_pair

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.io.header import HEADER_DTYPE, TAG, WORDS, blank_headers
from imagic4d_core.io.plt import read_plt, write_plt
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.io.words import GROUPS, expression_names, label_of, set_word, word_values, words_to_wipe

N = 9


@pytest.fixture
def images(tmp_path, monkeypatch):
    """9 images of 5 x 4 with CCC, REF3D, Euler angles and MSA coordinates."""
    h = blank_headers(N, 5, 4, pixel_size=2.5)
    k = np.arange(1, N + 1)
    h["CCC"], h["REF3D"], h["ALPHA"], h["BETA"], h["GAMMA"] = k / 10, (k - 1) % 3 + 1, k * 10.5, k, k * 3 + 0.125
    h["EANGLE"], h["EXSHIFT"], h["EYSHIFT"], h["CLASSNO"] = -k, k / 7, -k / 3, k % 4
    h["COOSMSA"][:, 2] = k / 3
    h["NAME"] = b"an image"
    write_stack(tmp_path / "x.hed", pattern(N, 5, 4), h)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def headers(name: str) -> np.ndarray:
    return read_stack(name)[1]


def test_show_one_and_all(im4d, images):
    text = im4d("header", "show", "x").stdout
    assert "x.hed, image 1" in text and re.search(r"51 +REF3D +1 +3D membership", text) and "an image" in text
    assert "EULERERR" not in text, "words that are zero are left out"
    text = im4d("HEADERS", "SHOW", "x.hed", "--loc", "7").stdout
    assert "image 7" in text and "73.5" in text and "image 1\n" not in text
    table = im4d("header", "show", "x", "--word", "REF3D;104", "--word", "coosmsa(3)").stdout.splitlines()
    assert table[0].split() == ["location", "REF3D", "CCC", "COOSMSA(3)"] and len(table) == N + 1
    assert table[6].split() == ["6", "3", "0.6", "2"]
    doc = im4d("header", "show", "x,4,5", "--word", "REF3D", "--json").json
    assert doc["headers"] == [{"location": 4, "words": {"REF3D": 1}}, {"location": 5, "words": {"REF3D": 2}}]
    whole = im4d("header", "show", "x", "--json").json["headers"][0]["words"]
    assert set(whole) == {w.name for w in WORDS} and len(whole["COOSMSA"]) == 69 and whole["IXLP"] == 5


def test_get(im4d, images):
    assert im4d("header", "get", "x", "REF3D", "ccc", "--loc", "3-4").stdout == "3 0.3\n1 0.4\n"
    assert im4d("header", "get", "x", "123", "--loc", "1").stdout == "2.5\n"


def test_volumes_are_counted_as_volumes(im4d, images):
    h = blank_headers(6, 5, 4, 3)
    h["REF3D"] = [1, 1, 1, 2, 2, 2]
    write_stack("v.hed", pattern(2, 3, 5, 4), h)
    assert im4d("header", "get", "v", "REF3D").stdout == "1\n2\n"
    assert (
        im4d("header", "get", "v", "IMN", "REF3D", "IZLP", "--what", "images", "--loc", "4-6").stdout == "4 2 3\n5 2 3\n6 2 3\n"
    )
    im4d("header", "set", "v", "REF3D=9", "--loc", "2")
    assert headers("v")["REF3D"].tolist() == [1, 1, 1, 9, 9, 9]
    im4d("header", "set", "v", "REF3D=loc", "--loc", "2,6", "--what", "images")
    assert headers("v")["REF3D"].tolist() == [1, 2, 1, 9, 9, 6]
    with open_stack("v") as stack:
        assert stack.shape == (2, 3, 5, 4)


def test_set(im4d, images):
    before = (images / "x.img").read_bytes()
    im4d("header", "set", "x", "REF3D=5", "--loc", "2,4-")
    assert headers("x")["REF3D"].tolist() == [1, 5, 3, 5, 5, 5, 5, 5, 5]
    im4d("header", "set", "x", "y.hed", "ALPHA=gamma", "GAMMA=alpha", "NAME=new title", "20=LOC ** 2", "coosmsa(2)=1.5")
    x, y = headers("x"), headers("y")
    assert np.array_equal(y["ALPHA"], x["GAMMA"]) and np.array_equal(y["GAMMA"], x["ALPHA"]), "values as they were before"
    assert y["USER1"].tolist() == [k * k for k in range(1, N + 1)] and y["NAME"][0].strip() == b"new title"
    assert np.all(y["COOSMSA"][:, 1] == 1.5) and np.array_equal(y["COOSMSA"][:, 2], x["COOSMSA"][:, 2])
    assert os.stat("x.img").st_ino == os.stat("y.img").st_ino, "densities are shared"
    im4d("header", "set", "x", "ACTIVE=-1 if ccc < 0.35 else 1")
    assert headers("x")["ACTIVE"].tolist() == [-1] * 3 + [1] * 6
    assert (images / "x.img").read_bytes() == before
    im4d("header", "set", "x", "y", "REF3D=1", code=5)


def test_setting_our_words_marks_them(im4d, images):
    assert not (headers("x")["IM4DTAG"] == TAG).any()
    data, h = read_stack("x")
    h["CONFID3D"], h["RXSHIFT"] = 99, 99  # left over by another program
    write_stack("old.hed", data, h)
    im4d("header", "set", "old", "RXSHIFT=2.5", "--loc", "3")
    h = headers("old")
    assert (h["IM4DTAG"] == TAG).tolist() == [False, False, True] + [False] * 6
    assert h["RXSHIFT"][2] == 2.5 and h["CONFID3D"][2] == 0
    assert im4d("header", "get", "old", "RXSHIFT", "CONFID3D", "--loc", "2-3").stdout == "0 0\n2.5 0\n"


def test_big_endian_and_further_records_stay(im4d, images):
    write_pair(images / "b", pattern(4, 1, 5, 4), order=">", nblocks=3)
    im4d("header", "set", "b", "CCC=0.5")
    with open_stack("b") as stack:
        assert stack.reader.order == ">" and stack.nblocks == 3 and stack.extra_headers()[:, 5].tolist() == [0, 1, 2, 3]
        assert stack.headers()["CCC"].tolist() == [0.5] * 4 and stack.headers()["REF3D"].tolist() == [100, 101, 102, 103]


def test_mrc_keeps_poses_only(im4d, images, shared_data):
    src = shared_data / "imagic" / "smallStack.mrcs"
    im4d("header", "set", src, "a.mrcs", "REF3D=2", "ALPHA=30")
    assert headers("a.mrcs")["ALPHA"].tolist() == [30] * 4
    im4d("header", "set", "a.mrcs", "REF3D=LOC")
    assert headers("a.mrcs")["REF3D"].tolist() == [1, 2, 3, 4]
    assert "CLASSNO" in im4d("header", "set", "a.mrcs", "CLASSNO=1", code=5).stderr
    im4d("header", "set", src, "a.hed", "CLASSNO=1")
    assert headers("a")["CLASSNO"].tolist() == [1] * 4
    im4d("header", "wipe", "a.mrcs", "--word", "ALL")
    assert headers("a.mrcs")["REF3D"].tolist() == [0] * 4


def test_wipe(im4d, images):
    im4d("header", "wipe", "x", "y", "--word", "SHIFT;104", "--loc", "2-")
    x, y = headers("x"), headers("y")
    assert y["EANGLE"].tolist() == [-1] + [0] * 8 and y["CCC"].tolist()[1:] == [0] * 8 and y["CCC"][0] == x["CCC"][0]
    assert np.array_equal(y["ALPHA"], x["ALPHA"])
    im4d("header", "wipe", "x", "z", "--word", "all")
    z = headers("z")
    for name in HEADER_DTYPE.names:
        kept = name in ("NAME", "PIXSIZE", "AVDENS", "SIGMA", "DENSMIN", "DENSMAX") or name not in GROUPS["all"]
        blank = np.char.strip(z[name]) == b"" if z[name].dtype.kind == "S" else z[name] == 0
        assert np.array_equal(z[name], x[name]) if kept else blank.all(), name
    assert im4d("validate", "z").exit_code == 0
    assert words_to_wipe(["EUL", "51"])[:1] == ["REF3D"]
    with pytest.raises(UsageError, match="neither a group"):
        words_to_wipe(["XYZ"])


@pytest.mark.parametrize("option", ["euler", "SHIFT", "threed", "INDEX/LABEL", "MSA/CLASSIFICATION"])
def test_plt_there_and_back(im4d, images, option):
    extra = ["--word", "116;117;20;coosmsa(3)"] if "INDEX" in option else []
    im4d("header", "plt-out", "x", "a.plt", "--option", option, *extra)
    table = read_plt("a.plt")
    assert table.shape[0] == N
    im4d("header", "wipe", "x", "empty", "--word", "all")
    im4d("header", "plt-in", "empty", "a.plt", "back", "--option", option, *extra)
    im4d("header", "plt-out", "back", "b.plt", "--option", option, *extra)
    same_bytes("a.plt", "b.plt")
    if option == "euler":
        assert table[:, 0].tolist() == list(range(1, N + 1))
        for name in ("ALPHA", "BETA", "GAMMA"):
            assert np.array_equal(headers("x")[name], headers("back")[name]), "every bit"
    if "MSA" in option:
        assert table.shape[1] == 3 and not table[:, 1:].any()


def test_shifts_of_mirrored_images(im4d, images):
    """Words 116 to 118 are half of the move where the image was mirrored before: said, with a way to keep both."""
    im4d("header", "set", "x", "m", "MIRRORED=LOC > 6")
    said = im4d("header", "plt-out", "m", "a.plt", "--option", "SHIFT").stdout
    assert "3 are mirrored" in said and "92;116;117;118" in said
    im4d("header", "plt-out", "m", "b.plt", "--option", "INDEX", "--word", "92;116;117;118")
    im4d("header", "plt-in", "x", "b.plt", "back", "--option", "INDEX", "--word", "92;116;117;118")
    for name in ("MIRRORED", "EANGLE", "EXSHIFT", "EYSHIFT"):
        assert np.array_equal(headers("back")[name], headers("m")[name])
    assert "mirrored" not in im4d("header", "plt-out", "x", "c.plt", "--option", "SHIFT").stdout


def test_plt_of_some(im4d, images):
    im4d("header", "plt-out", "x,3,4", "a.plt", "--option", "index", "--word", "104")
    assert read_plt("a.plt").tolist() == [[3, pytest.approx(0.3)], [4, pytest.approx(0.4)]]
    (images / "b.plt").write_text("4 0.9\n1 0.7\n")
    im4d("header", "plt-in", "x", "b.plt", "--option", "index", "--word", "104")
    assert headers("x")["CCC"][:4].tolist() == pytest.approx([0.7, 0.2, 0.3, 0.9])
    (images / "c.plt").write_text("0.5\n0.6\n")
    im4d("header", "plt-in", "x", "c.plt", "--option", "index", "--word", "104", "--loc", "8-9")
    assert headers("x")["CCC"][6:].tolist() == pytest.approx([0.7, 0.5, 0.6])


def test_plt_reader(tmp_path):
    path = tmp_path / "a.plt"
    path.write_text("title line\n  1, 0.1000E+02\n 2  -0.5D-1\n\n")
    assert read_plt(path).tolist() == [[1, 10], [2, -0.05]]
    for text, words in {
        "": "no line of numbers",
        "1 2\n3\n": "line 2 has 1 columns",
        "1 nan\n": "not finite",
        "1 2\n3 x\n": "not a line of numbers",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_plt(path)
    write_plt(tmp_path / "b.plt", [np.array([1.5], np.float32)], [7])
    assert (tmp_path / "b.plt").read_text().split() == ["7", "1.5"]


def test_word_values_and_names():
    h = np.zeros(2, HEADER_DTYPE)
    h["COOSMSA"][:, 0], h["NAME"] = [3, 4], b"abc  "
    assert word_values(h, 131).tolist() == [3, 4] and word_values(h, "coosmsa").tolist() == [3, 4]
    assert word_values(h, "name").tolist() == ["abc", "abc"] and label_of(133) == "COOSMSA(3)"
    assert {"CCC", "W51", "COOSMSA12", "EIGVAL", "LOC"} <= set(expression_names())
    with pytest.raises(InputError, match="whole numbers"):
        set_word(h, "REF3D", [1.5, 2])


WRONG = {
    "set x REF3D": (2, "WORD=VALUE"),
    "set x": (2, "nothing to set"),
    "set x IXLP=3": (2, "follows from the file itself"),
    "set x REF4D=3": (2, "did you mean REF3D"),
    "set x REF3D=1.5": (3, "whole numbers"),
    "set x CCC=log(0-1)": (3, "finite"),
    "set x CCC=": (2, "no value"),
    "set x CCC=foo": (3, "not a known name"),
    "set x,1,2 CCC=1": (3, "--loc"),
    "set x CCC=1 --loc 12": (3, "out of range"),
    "set no CCC=1": (3, "not found"),
    "wipe x --word IXLP": (2, "cannot be set"),
    "get x FOO": (2, "not a header word"),
    "show x --word 300": (2, "not a header word"),
    "show x --loc 77": (3, "out of range"),
    "plt-out x a.plt --word CCC": (2, "belongs to option index"),
    "plt-out x a.plt --option index": (2, "needs --word"),
    "plt-out x a.plt --option index --word NAME": (2, "is a text"),
    "plt-in x short.plt": (4, "2 lines, 9 images"),
    "plt-in x two.plt": (3, "has 2 columns"),
    "plt-in x twice.plt": (3, "twice"),
    "sho x": (2, "did you mean show"),
}


@pytest.mark.parametrize("text", WRONG)
def test_bad_input(im4d, images, text):
    (images / "short.plt").write_text("1 2 3\n4 5 6\n")
    (images / "two.plt").write_text("1 2\n")
    (images / "twice.plt").write_text("1 1 2 3\n1 4 5 6\n")
    before = {p.name: p.read_bytes() for p in images.iterdir()}
    code, words = WRONG[text]
    assert re.search(words, im4d("header", *text.split(), code=code).stderr)
    assert {p.name: p.read_bytes() for p in images.iterdir()} == before
