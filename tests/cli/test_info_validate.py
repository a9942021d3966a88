"""im4d info and validate."""

import mrcfile
import numpy as np
import pytest
from imagic_files import pattern, write_pair

from imagic4d_core.io.stack import write_stack
from imagic4d_core.jobs.files.inspecting import FINDINGS


def codes(done):
    return {f["code"] for file in done.json["files"] for f in file["findings"]}


def test_info(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 3, 6, 5), order=">", words={51: 2})
    done = im4d("info", root, "--json", "--statistics").json["files"][0]
    assert (done["objects"], done["sections"], done["lines"], done["pixels"]) == (4, 3, 6, 5)
    assert done["format"] == "IMAGIC" and done["type"] == "REAL" and done["byte_order"] == ">" and done["pixel_size"] == 2.5
    assert done["poses"] == {"euler": 4, "in_plane": 0, "shifts": 0, "memberships": {"2": 4}}
    data = pattern(4, 3, 6, 5)
    assert done["statistics"]["mean"] == pytest.approx(data.mean()) and done["statistics"]["sigma"] == pytest.approx(data.std())
    text = im4d("info", root).stdout
    for part in ("4 volumes of 3 x 6 x 5", "big-endian", "2.5 A", "Euler angles in 4", "3D 2: 4", "a title"):
        assert part in text
    assert im4d("info", f"{root},2,3", "--json").json["files"][0]["objects"] == 2


def test_info_of_several(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 1, 6, 5))
    write_stack(tmp_path / "b.mrc", pattern(1, 3, 4, 4), pixel_size=3.0)
    done = im4d("info", root, tmp_path / "b.mrc", "--json").json["files"]
    assert [f["format"] for f in done] == ["IMAGIC", "MRC"] and done[1]["voxel_size"] == [3, 3, 3]
    assert "nix: not found" in im4d("info", root, tmp_path / "nix", code=3).stderr


def test_notes_are_said_at_v(im4d, tmp_path, capfd):
    root = write_pair(tmp_path / "a", pattern(4, 1, 6, 5), words={61: 77777})
    assert "word 61 (sections) is 77777" in im4d("copy", root, tmp_path / "b", "-v").stderr + capfd.readouterr().err
    assert "word 61" not in im4d("copy", root, tmp_path / "c").stderr + capfd.readouterr().err


def test_own_files_are_valid(im4d, tmp_path):
    for name, shape in (("a", (5, 6, 7)), ("b", (2, 3, 6, 7)), ("c.mrc", (2, 3, 6, 7)), ("d.mrcs", (5, 6, 7))):
        write_stack(tmp_path / name, pattern(*shape) / 7, pixel_size=2.0)
        done = im4d("validate", tmp_path / name, "--json")
        assert done.json["valid"] and codes(done) == set(), name
    assert "valid" in im4d("validate", tmp_path / "a", tmp_path / "d.mrcs").stdout


@pytest.mark.parametrize(
    ("opts", "found", "code"),
    [
        ({"words": {2: 7}}, {"counts"}, 1),
        ({"words": {61: 5}}, {"counts"}, 1),
        ({"words": {62: 1}}, {"counts"}, 1),
        ({"words": {1: 3}}, {"numbers"}, 1),
        ({"words": {69: 7}}, {"stamp"}, 1),
        ({"words": {3: -1}}, {"running"}, 1),
        ({"words": {4: 0}}, {"records"}, 1),
        ({"old": True}, {"old"}, 0),
        ({"words": {68: 1}}, {"version"}, 0),
        ({"words": {5: 22, 6: 11}}, {"date"}, 0),
        ({"words": {11: 30}}, {"bytes"}, 0),
    ],
)
def test_findings(im4d, tmp_path, opts, found, code):
    root = write_pair(tmp_path / "a", pattern(4, 1, 6, 5), **opts)
    assert codes(im4d("validate", root, "--json", "--headers-only", code=code)) == found


def test_findings_in_densities(im4d, tmp_path):
    data = pattern(4, 1, 6, 5)
    data[1], data[2, 0, 0, 0] = 3.0, np.nan
    done = im4d("validate", write_pair(tmp_path / "a", data), "--json", code=1)
    assert codes(done) == {"flat", "finite", "statistics"}
    assert "images 3" in im4d("validate", tmp_path / "a", code=1).stdout


def test_unreadable_and_missing(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 1, 6, 5))
    (tmp_path / "a.img").write_bytes(b"1234")
    assert codes(im4d("validate", root, "--json", code=1)) == {"unreadable"}
    (tmp_path / "a.img").unlink()
    assert "not found" in im4d("validate", root, code=1).stdout
    im4d("validate", tmp_path / "nix", code=3)


def test_one_header_per_volume_is_not_valid_until_copied(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 3, 6, 5), per_volume=True)
    assert "records" in codes(im4d("validate", root, "--json", code=1))
    im4d("copy", root, tmp_path / "b")
    assert im4d("validate", tmp_path / "b", "--json").json["valid"]


def test_mrc_findings(im4d, tmp_path):
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(pattern(3, 4, 4))
    raw = bytearray((tmp_path / "a.mrcs").read_bytes())
    raw[212] = 0
    raw[40:52] = bytes(12)
    (tmp_path / "a.mrcs").write_bytes(raw + b"more")
    (tmp_path / "a.star").write_text("nonsense {")
    assert codes(im4d("validate", tmp_path / "a.mrcs", "--json", code=1)) == {"mrc-stamp", "mrc-cell", "length", "star"}


def test_every_finding_has_a_severity():
    assert {severity for severity, _ in FINDINGS.values()} == {"error", "warning"}


def test_findings_are_documented(root):
    text = (root / "docs" / "files.md").read_text(encoding="utf-8")
    rows = [f"| {code} | {severity} | {meaning} |" for code, (severity, meaning) in FINDINGS.items()]
    assert [row for row in rows if row not in text] == []
