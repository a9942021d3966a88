"""The door for numbers from outside: NaN, infinity and senseless numbers in headers and lists are named, not used."""

import mrcfile
import numpy as np
import pytest

from imagic4d_core.errors import InputError
from imagic4d_core.io import outside
from imagic4d_core.io.header import HEADER_DTYPE, TAG
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from tests.imagic_files import pattern, write_pair

BAD = [("ALPHA", np.nan), ("BETA", np.inf), ("GAMMA", 1e20), ("EXSHIFT", -np.inf), ("EANGLE", np.nan), ("REF3D", 1075838976)]
BAD += [("CLASSNO", np.nan), ("DEFOCUS2", np.inf), ("PIXSIZE", np.nan), ("CCC3D", np.nan), ("NUMCLS", -3.0), ("VOLTAGE", np.nan)]
BAD_OWN = [("RXSHIFT", np.nan), ("RYSHIFT", 1e9), ("HALFSET", -1), ("FOLD", 2**31 - 1), ("CONFID3D", np.nan), ("REF3D2", 2**30)]


@pytest.mark.parametrize(("word", "value"), [*BAD, *BAD_OWN])
def test_every_word_is_checked_and_named(tmp_path, word, value):
    h = np.zeros(9, HEADER_DTYPE)
    h["IM4DTAG"] = TAG
    assert outside.bad_word(h) is None
    h[word][4] = value
    assert outside.bad_word(h)[:2] == (4, word)
    write_stack(tmp_path / "a.hed", pattern(9, 4, 4), h)
    with open_stack(tmp_path / "a.hed") as stack:
        with pytest.raises(InputError, match=rf"a\.hed: image 5: word \d+ \({word}\) is "):
            stack.headers()
        assert len(stack.headers(0, 4)) == 4
        assert len(stack.headers(checked=False)) == 9
    with open_stack(tmp_path / "a,5".replace("a,5", "a.hed"), "2,5") as stack, pytest.raises(InputError, match="image 5"):
        stack.headers()


def test_words_of_our_own_count_only_where_tagged(tmp_path):
    h = np.zeros(2, HEADER_DTYPE)
    h["RXSHIFT"], h["FOLD"] = np.nan, -7
    assert outside.bad_word(h) is None
    h["IM4DTAG"][1] = TAG
    assert outside.bad_word(h)[0] == 1


def test_limits_themselves_are_good():
    h = np.zeros(1, HEADER_DTYPE)
    h["REF3D"], h["ALPHA"], h["EXSHIFT"] = outside.MAX_NUMBER, -outside.MAX_ANGLE, outside.MAX_SHIFT
    assert outside.bad_word(h) is None


@pytest.mark.parametrize("command", [
    ["recon", "{src}", "o.hed", "--membership", "all"],
    ["forward", "v.hed", "o.hed", "--angles-from", "{src}"],
    ["convert", "{src}", "o.mrcs"],
    ["convert", "{src}", "o.hdf"],
    ["ctf", "{src}", "o.hed"],
    ["mra", "{src}", "i.hed", "o.hed"],
])  # fmt: skip
def test_commands_that_reckon_with_headers_refuse(tmp_path, im4d, monkeypatch, command):
    if "o.hdf" in command:
        pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    write_stack("v.hed", pattern(1, 8, 8, 8))
    h = np.zeros(5, HEADER_DTYPE)
    h["ALPHA"], h["IM4DTAG"], h["DEFOCUS1"], h["VOLTAGE"] = np.arange(5), TAG, 1e4, 3e5
    write_stack("i.hed", pattern(5, 8, 8), h, pixel_size=2.0)
    h["RXSHIFT"][2] = np.nan
    write_stack("bad.hed", pattern(5, 8, 8), h, pixel_size=2.0)
    before = sorted(p.name for p in tmp_path.iterdir())
    said = im4d(*[a.format(src="bad.hed") for a in command], code=3).stderr
    assert "image 3: word 80 (RXSHIFT) is nan" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_bad_word_is_found_by_validate_and_mended_by_header_set(tmp_path, im4d):
    write_pair(tmp_path / "a", pattern(3, 1, 8, 8), floats={65: np.nan})
    assert "error values: image 1: word 65 (ALPHA) is nan" in im4d("validate", tmp_path / "a.hed", code=1).stdout
    im4d("header", "show", tmp_path / "a.hed", "--word", "ALPHA")
    im4d("info", tmp_path / "a.hed")
    im4d("copy", tmp_path / "a.hed", tmp_path / "same.hed")  # IMAGIC to IMAGIC: words travel as they are
    im4d("header", "set", tmp_path / "a.hed", "ALPHA=12")
    assert "values" not in im4d("validate", tmp_path / "a.hed", code=None).stdout
    assert (read_stack(tmp_path / "a.hed")[1]["ALPHA"] == 12).all()


COLUMNS = ["AngleRot", "AngleTilt", "AnglePsi", "OriginX", "OriginY", "ClassNumber", "DefocusU", "RandomSubset"]


@pytest.mark.parametrize("value", ["nan", "-inf", "1e300"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_row_of_a_list_is_named(tmp_path, column, value):
    with mrcfile.new(tmp_path / "p.mrcs") as m:
        m.set_data(pattern(4, 8, 8))
        m.set_image_stack()
    text = "data_\n\nloop_\n_rlnImageName #1\n" + "".join(f"_rln{c} #{k}\n" for k, c in enumerate(COLUMNS, 2))
    for k in range(4):
        text += f"{k + 1}@p.mrcs " + " ".join(value if (c == column and k == 2) else "1" for c in COLUMNS) + "\n"
    (tmp_path / "l.star").write_text(text)
    with pytest.raises(InputError, match=rf"l\.star: row 3: _rln{column} is "):
        open_stack(tmp_path / "l.star")


def test_quality_of_a_failed_fit_is_not_known(tmp_path):
    with mrcfile.new(tmp_path / "p.mrcs") as m:
        m.set_data(pattern(2, 8, 8))
        m.set_image_stack()
    text = "data_\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n_rlnDefocusV #3\n_rlnDefocusAngle #4\n_rlnCtfFigureOfMerit #5\n"
    (tmp_path / "l.star").write_text(text + "1@p.mrcs 1e4 1e4 0 nan\n2@p.mrcs 1e4 1e4 0 0.25\n")
    with open_stack(tmp_path / "l.star") as stack:
        assert stack.headers()["CTFQUAL"].tolist() == [0.0, 0.25]


@pytest.mark.parametrize("field", ["alignments3D/pose", "alignments3D/shift", "ctf/df1_A", "blob/psize_A"])
def test_a_row_of_a_cs_file_is_named(tmp_path, field):
    with mrcfile.new(tmp_path / "p.mrcs") as m:
        m.set_data(pattern(3, 8, 8))
        m.set_image_stack()
    kinds = [("uid", "<u8"), ("blob/path", "S40"), ("blob/idx", "<u4"), ("blob/psize_A", "<f4"), ("ctf/df1_A", "<f4")]
    table = np.zeros(3, [*kinds, ("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,))])
    table["blob/path"], table["blob/idx"], table["blob/psize_A"], table["alignments3D/pose"] = b"p.mrcs", range(3), 1.5, 0.1
    table[field][1] = np.nan
    with open(tmp_path / "l.cs", "wb") as handle:
        np.save(handle, table)
    with pytest.raises(InputError, match=r"l\.cs: row 2: (word \d+|the pixel size) "):
        open_stack(tmp_path / "l.cs")
