"""Lists of other people: changed row by row, images without a pose, stacks of one name, pixel sizes that differ."""

import mrcfile
import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.io.star import read_star
from tests.imagic_files import pattern

OPTICS = (
    "\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName #2\n_rlnImagePixelSize #3\n_rlnImageSize #4\n"
    "_rlnImageDimensionality #5\n_rlnVoltage #6\n_rlnSphericalAberration #7\n_rlnAmplitudeContrast #8\n_rlnBeamTiltX #9\n"
)


def stack(path, count=3, box=8, pixel_size=1.0, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path) as m:
        m.set_data(np.random.default_rng(seed).normal(size=(count, box, box)).astype("f4"))
        m.set_image_stack()
        m.voxel_size = pixel_size


def table(labels, rows, optics=""):
    head = "data_particles\n\nloop_\n" + "".join(f"_rln{k} #{n}\n" for n, k in enumerate(labels, 1))
    return optics + "\n" + head + "".join(" ".join(map(str, r)) + "\n" for r in rows)


@pytest.fixture
def mine(tmp_path):
    """A list of somebody with columns, tables and rows that are nothing to us."""
    stack(tmp_path / "p.mrcs")
    rows = [(f"{k}@p.mrcs", "mics/a.mrc", 100 * k, "12.3450", 20 * k, 30, "3.00", 1) for k in (3, 1, 2)]
    rows.append(("000001@other/q.mrcs", "mics/b.mrc", 7, "1.5", 2, 3, "4.5", 2))
    labels = ["ImageName", "MicrographName", "CoordinateX", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OpticsGroup"]
    text = table(labels, rows, OPTICS + "1 og1 1.0 8 2 300 2.7 0.07 0.15\n2 og2 2.0 8 2 200 2.0 0.08 0.25\n")
    (tmp_path / "p.star").write_text(text + "\ndata_notes\n\n_myRemark 'keep me'\n")
    return tmp_path


def cells(path):
    return {name: {label: list(t[label]) for label in t} for name, t in read_star(path).items()}


def test_header_set_changes_only_its_column(mine, im4d):
    before = cells(mine / "p.star")
    im4d("header", "set", mine / "p.mrcs", "REF3D=4", "--loc", "2")
    after = cells(mine / "p.star")
    assert after["particles"].pop("_rlnClassNumber") == ["0", "0", "4", "0"]  # row 3 is image 2
    assert after == before
    im4d("header", "set", mine / "p.mrcs", "RYSHIFT=5", "--loc", "3")
    after = cells(mine / "p.star")
    assert after["particles"].pop("_rlnOriginXAngst") == ["5", "3", "3", "4.5"]
    assert after["particles"]["_rlnAngleRot"] == ["12.3450"] * 3 + ["1.5"]


def test_angles_change_row_by_row(mine, im4d):
    before = cells(mine / "p.star")
    im4d("header", "set", mine / "p.mrcs", "BETA=33")
    after = cells(mine / "p.star")
    assert [float(v) for v in after["particles"]["_rlnAngleTilt"]] == [33, 33, 33, 2]
    assert after["optics"] == before["optics"] and after["notes"] == before["notes"]
    assert read_stack(mine / "p.mrcs")[1]["BETA"].tolist() == [33, 33, 33]


@pytest.mark.parametrize("rows", [[("1@p.mrcs", 3)], [("1@else.mrcs", 3)]])
def test_a_list_that_cannot_hold_the_poses_stays(tmp_path, im4d, rows):
    stack(tmp_path / "p.mrcs")
    (tmp_path / "p.star").write_text(table(["ImageName", "ClassNumber"], rows))
    before = (tmp_path / "p.star").read_bytes()
    assert "p.star: lists " in im4d("header", "set", tmp_path / "p.mrcs", "REF3D=2", code=5).stderr
    assert (tmp_path / "p.star").read_bytes() == before


def test_no_pose_is_no_pose(tmp_path, im4d):
    write_stack(tmp_path / "a.hed", pattern(3, 8, 8), pixel_size=2.0)
    im4d("header", "set", tmp_path / "a.hed", "REF3D=2", "DEFOCUS1=1e4", "DEFOCUS2=1e4")
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    labels = set(read_star(tmp_path / "b.star")["particles"])
    assert not any(("Angle" in label and "Defocus" not in label) or "Origin" in label for label in labels)
    im4d("header", "set", tmp_path / "a.hed", "BETA=50", "ALPHA=20", "GAMMA=120", "--loc", "2")
    im4d("convert", tmp_path / "a.hed", tmp_path / "c.star")
    got = read_star(tmp_path / "c.star")["particles"]
    assert [[float(v) for v in got[f"_rlnAngle{k}"]] for k in ("Rot", "Tilt", "Psi")] == [[0, 30, 0], [0, 50, 0], [0, 110, 0]]
    _, h = read_stack(tmp_path / "c.star")
    assert [h[k].tolist() for k in ("ALPHA", "BETA", "GAMMA")] == [[0, 20, 0], [0, 50, 0], [0, 120, 0]]


def test_classes_of_2d_classification_stay_classes(tmp_path, im4d):
    stack(tmp_path / "p.mrcs", pixel_size=1.5)
    labels = ["ImageName", "AngleRot", "AngleTilt", "AnglePsi", "OriginX", "ClassNumber"]
    (tmp_path / "l.star").write_text(table(labels, [(f"{k}@p.mrcs", 0, 0, 40 * k + 0.5, k, k + 1) for k in (1, 2, 3)]))
    _, h = read_stack(tmp_path / "l.star")
    assert h["CLASSNO"].tolist() == [2, 3, 4]
    assert not (h["REF3D"].any() or h["BETA"].any() or h["GAMMA"].any())
    assert np.allclose(h["ALPHA"], [40.5, 80.5, 120.5])
    im4d("convert", tmp_path / "l.star", tmp_path / "a.hed")
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    got = read_star(tmp_path / "b.star")["particles"]
    assert got["_rlnClassNumber"] == ["2", "3", "4"]
    assert [float(v) for v in got["_rlnAnglePsi"]] == [40.5, 80.5, 120.5]
    assert not any(float(v) for k in ("Rot", "Tilt") for v in got[f"_rlnAngle{k}"])
    assert np.allclose([float(v) for v in got["_rlnOriginXAngst"]], [1.5, 3, 4.5])


def test_two_stacks_of_one_name(tmp_path, im4d):
    for k, folder in enumerate("AB"):
        stack(tmp_path / f"X/{folder}/m.mrcs", seed=k)
    rows = [(f"{n + 1}@X/{f}/m.mrcs", t + n) for f, t in (("A", 10), ("B", 50)) for n in range(3)]
    text = table(["ImageName", "AngleTilt"], rows)
    for folder, first in (("A", 10), ("B", 50)):
        (tmp_path / f"X/{folder}/m.star").write_text(text)
        assert read_stack(tmp_path / f"X/{folder}/m.mrcs")[1]["BETA"].tolist() == [first, first + 1, first + 2]
        (tmp_path / "poses.star").write_text(text)
        im4d("convert", tmp_path / f"X/{folder}/m.mrcs", tmp_path / "o.hed", "--poses", tmp_path / "poses.star", "--overwrite")
        assert read_stack(tmp_path / "o.hed")[1]["BETA"].tolist() == [first, first + 1, first + 2]
    (tmp_path / "list.star").write_text(text)
    assert len({im.tobytes() for im in read_stack(tmp_path / "list.star")[0]}) == 6
    other = tmp_path / "far/away"
    stack(other / "m.mrcs", seed=5)
    (other / "list.star").write_text(text.replace("X/", "gone/"))
    assert "cannot be both" in im4d("info", other / "list.star", code=3).stderr
    (other / "m.star").write_text(text.replace("X/", "gone/"))  # and it cannot be told whose poses are those of m.mrcs
    with open_stack(other / "m.mrcs") as found:
        assert not found.headers()["BETA"].any() and any("cannot be told" in n for n in found.notes)


def test_pixel_sizes_of_optics_groups_stay_apart(tmp_path, im4d):
    for name, size in (("p.mrcs", 1.0), ("q.mrcs", 2.0)):
        stack(tmp_path / name, pixel_size=size, count=2)
    rows = [(f"{k}@{n}.mrcs", "3.0", 10 * k, g) for n, g in (("p", 1), ("q", 2)) for k in (1, 2)]
    optics = OPTICS + "1 a 1.0 8 2 300 2.7 0.1 0\n2 b 2.0 8 2 300 2.7 0.1 0\n"
    (tmp_path / "l.star").write_text(table(["ImageName", "OriginXAngst", "AngleTilt", "OpticsGroup"], rows, optics))
    _, h = read_stack(tmp_path / "l.star")
    assert h["PIXSIZE"].tolist() == [1, 1, 2, 2] and h["RYSHIFT"].tolist() == [3, 3, 1.5, 1.5]
    im4d("convert", tmp_path / "l.star", tmp_path / "a.hed")
    im4d("convert", tmp_path / "l.star", tmp_path / "b.star")
    im4d("convert", tmp_path / "a.hed", tmp_path / "c.star", "--template", tmp_path / "l.star")
    for name in ("b.star", "c.star"):
        got = read_star(tmp_path / name)
        assert [float(v) for v in got["optics"]["_rlnImagePixelSize"]] == [1, 2]
        assert [float(v) for v in got["particles"]["_rlnOriginXAngst"]] == [3, 3, 3, 3]
        assert read_stack(tmp_path / name)[1]["RYSHIFT"].tolist() == [3, 3, 1.5, 1.5]
    for name in ("l.star", "a.hed"):
        said = im4d("recon", tmp_path / name, tmp_path / "v.hed", "--membership", "all", code=4).stderr
        assert "pixel sizes from 1 to 2 A" in said


@pytest.mark.parametrize("name", ["données/p q.mrcs", "日本/p.mrcs", "p.mrcs"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_names_beyond_ascii_and_byte_order_marks(tmp_path, im4d, name, start):
    stack(tmp_path / name)
    quoted = f"'1@{name}'" if " " in name else f"1@{name}"
    (tmp_path / "l.star").write_text(start + table(["ImageName", "AngleTilt"], [(quoted, 5)]), encoding="utf-8")
    assert read_stack(tmp_path / "l.star")[1]["BETA"].tolist() == [5]


def test_shifts_in_angstrom_with_the_pixel_size_of_the_stack(tmp_path):
    stack(tmp_path / "p.mrcs", pixel_size=1.5)
    (tmp_path / "l.star").write_text(table(["ImageName", "OriginXAngst", "OriginYAngst"], [("1@p.mrcs", 3, 0)]))
    assert read_stack(tmp_path / "l.star")[1]["RYSHIFT"].tolist() == [2]


def test_a_row_with_a_value_too_many_is_named(tmp_path, im4d):
    rows = [(f"{k}@p.mrcs", k) for k in range(1, 20)]
    rows[12] = (*rows[12], 9)
    (tmp_path / "l.star").write_text(table(["ImageName", "AngleTilt"], rows))
    assert "row 13 (line 19) has 3 values; the table has 2 columns" in im4d("info", tmp_path / "l.star", code=3).stderr
