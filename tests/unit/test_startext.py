"""STAR text as programs write it: names with blanks, beyond ASCII, of any bytes, without quotes."""

import numpy as np
import pytest

from imagic4d_core.io import startext
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from tests.imagic_files import pattern

HEAD = "data_\n\nloop_\n_rlnAngleTilt #1\n_rlnImageName #2\n_rlnAnglePsi #3\n"


def _table(row, more="_rlnMicrographName #4\n"):
    return HEAD + more + row + "\n"


@pytest.mark.parametrize(("row", "want"), [
    ("1.5 1@my stack.mrcs -2e3 a mic.mrc", "1.5 '1@my stack.mrcs' -2e3 'a mic.mrc'"),
    ("1 1@a  b.mrcs 2 m.mrc", "1 '1@a  b.mrcs' 2 m.mrc"),
    ("1 1@a 2 b.mrcs 3 m.mrc", None),
    ("1 1@it's b.mrcs 3 m.mrc", None),
    ("1 1@a.mrcs 3 m.mrc 9", None),
    ("1 1@a.mrcs 3 x.mrc 5 m.mrc", None),
    ("1 1@a.mrcs 3 m.mrc", None),
])  # fmt: skip
def test_names_with_blanks(row, want):
    got = startext.joined(_table(row)).splitlines()[-1]
    assert got == (row if want is None else want)


def test_only_rows_of_tables_are_looked_at():
    text = "# a b c d\ndata_x y\n_pair a b c\nloop_\n_a\n1\n2\n\ndata_z\nloop_\n_rlnImageName\n1@a b.mrcs\n1@c.mrcs\n"
    assert startext.joined(text) == text.replace("1@a b.mrcs", "'1@a b.mrcs'")


@pytest.mark.parametrize("name", ["my stack.mrcs", "größe 1.mrcs", "größe.mrcs", "a  b c.mrcs"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_lists_with_such_names_are_read(tmp_path, name, bom):
    write_stack(tmp_path / name, pattern(3, 8, 8))
    text = HEAD + "".join(f"{k} {k}@{name} {10 * k}\n" for k in (2, 1))
    (tmp_path / "l.star").write_bytes(bom + text.encode())
    data, h = read_stack(tmp_path / "l.star")
    assert h["BETA"].tolist() == [2, 1] and np.array_equal(data, pattern(3, 8, 8)[[1, 0]])


def test_a_list_through_a_symbolic_link(tmp_path, im4d, monkeypatch):
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    write_stack(tmp_path / "far/away/p.mrcs", pattern(3, 8, 8))
    (tmp_path / "far/away/l.star").write_text(HEAD + "1 2@p.mrcs 3\n")
    (tmp_path / "near/link.star").symlink_to("../far/away/l.star")
    monkeypatch.chdir(tmp_path / "near")
    assert np.array_equal(read_stack("link.star")[0], pattern(3, 8, 8)[1:2])


def test_a_list_that_names_itself(tmp_path, im4d):
    for name, other in (("a", "a"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.star").write_text(HEAD + f"1 1@{other}.star 3\n")
        (tmp_path / f"{name}o.star").write_text(HEAD.replace("AnglePsi", "OriginXAngst") + f"1 1@{other}o.star 3\n")
    for name in ("a", "ao", "b", "bo"):
        assert "names itself" in im4d("info", tmp_path / f"{name}.star", code=3).stderr
    write_stack(tmp_path / "p.mrcs", pattern(3, 8, 8))
    (tmp_path / "d.star").write_text(HEAD + "1 1@e.star 3\n")
    (tmp_path / "e.star").write_text(HEAD + "1 2@p.mrcs 3\n")
    assert np.array_equal(read_stack(tmp_path / "d.star")[0], pattern(3, 8, 8)[1:2])


def test_a_list_whose_stacks_are_elsewhere(tmp_path, im4d):
    (tmp_path / "l.star").write_text(HEAD.replace("AnglePsi", "ClassNumber") + "7 1@x/q.mrcs 1\n0 2@x/q.mrcs 2\n0 1@r.mrcs 2\n")
    entry = im4d("info", tmp_path / "l.star", "--json").json["files"][0]
    poses = entry["poses"]
    assert entry["objects"] == 3 and poses["euler"] == 1 and poses["memberships"] == {"1": 1, "2": 2}
    said = im4d("info", tmp_path / "l.star").stdout
    assert "3 images of stacks that are not there" in said and "2 stacks, 0 of them there" in said
    im4d("copy", tmp_path / "l.star", tmp_path / "o.hed", code=3)


def test_origins_in_angstrom_without_optics(tmp_path):
    write_stack(tmp_path / "p.mrcs", pattern(3, 8, 8), pixel_size=2.0)
    text = "data_\nloop_\n_rlnImageName\n_rlnOriginXAngst\n_rlnOriginYAngst\n1@p.mrcs 4 -6\n"
    (tmp_path / "l.star").write_text(text)
    (tmp_path / "m.star").write_text(text.replace("Angst", "").replace("4 -6", "2 -3"))
    with open_stack(tmp_path / "l.star") as a, open_stack(tmp_path / "m.star") as b:
        for word in ("RXSHIFT", "RYSHIFT"):
            assert a.headers()[word] == b.headers()[word] != 0
