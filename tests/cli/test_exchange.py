"""Images and poses in and out of RELION, cryoSPARC, FREALIGN, cisTEM, EMAN2 and SPIDER files."""

import os
import sys

import mrcfile
import numpy as np
import pytest
from imagic_files import pattern, write_pair
from numpy.lib.recfunctions import repack_fields

from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.io.star import read_star
from imagic4d_core.jobs.files.copying import copy


def posed(path, count=6, shape=(8, 10), pixel_size=2.0, **words):
    """Images with random poses, shifts, memberships and CTF; returns (densities, headers)."""
    rng = np.random.default_rng(count)
    poses = Poses.blank(count)
    poses.set_matrices(euler.random_rotations(rng, count))
    poses.shift[:] = rng.normal(0, 2, (count, 2))
    poses.ref3d[:] = 1 + np.arange(count) % 3
    poses.halfset[:] = 1 + np.arange(count) % 2
    h = poses.into_headers(blank_headers(count, *shape, pixel_size=pixel_size))
    values = {
        "DEFOCUS1": 15000 + np.arange(count), "DEFOCUS2": 14000, "DEFANGLE": 10.0 * np.arange(count), "VOLTAGE": 200e3,
        "SPABERR": 2.0, "CLASSNO": 5, "NUMCLS": 7 + np.arange(count), "MIDENT": 3,
    }  # fmt: skip
    for name, value in (values | words).items():
        h[name] = value
    data = pattern(count, *shape)
    write_stack(path, data, h, pixel_size=pixel_size)
    return data, h


def same_poses(a, b, atol=1e-3):
    p, q = (x if isinstance(x, Poses) else Poses.from_headers(x) for x in (a, b))
    assert np.max(euler.angular_distance(p.matrices(), q.matrices())) < 0.01
    assert np.allclose(p.shift, q.shift, atol=atol)
    assert p.ref3d.tolist() == q.ref3d.tolist()


WORDS = ("DEFOCUS1", "DEFOCUS2", "DEFANGLE", "VOLTAGE", "SPABERR", "CLASSNO", "NUMCLS", "MIDENT")


@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_star_there_and_back(im4d, tmp_path, shape):
    data, h = posed(tmp_path / "a.hed", shape=shape)
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    assert sorted(p.name for p in tmp_path.glob("b*")) == ["b.mrcs", "b.star"]
    done = im4d("info", tmp_path / "b.star", "--json").json["files"][0]
    assert done["format"] == "STAR" and done["pixel_size"] == 2.0
    for back in (tmp_path / "b.star", tmp_path / "b.mrcs"):
        got, g = read_stack(back)
        assert np.array_equal(got, data)
        same_poses(h, g)
        for word in WORDS:
            assert np.allclose(g[word], h[word], atol=1e-3), word
        assert (g["HALFSET"] == h["HALFSET"]).all() and np.allclose(g["PIXSIZE"], 2.0)
    optics = read_star(tmp_path / "b.star")["optics"]
    assert (optics["_rlnVoltage"], optics["_rlnSphericalAberration"]) == (["200"], ["2"])


def test_two_optics_groups(im4d, tmp_path):
    _, h = posed(tmp_path / "a.hed", VOLTAGE=[200e3, 300e3] * 3)
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    tables = read_star(tmp_path / "b.star")
    assert tables["optics"]["_rlnVoltage"] == ["200", "300"]
    assert tables["particles"]["_rlnOpticsGroup"] == ["1", "2"] * 3
    assert read_stack(tmp_path / "b.star")[1]["VOLTAGE"].tolist() == h["VOLTAGE"].tolist()


def test_images_without_poses_get_a_list_of_names_only(im4d, tmp_path):
    write_stack(tmp_path / "a.hed", pattern(3, 4, 4), pixel_size=1.5)
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    assert set(read_star(tmp_path / "b.star")["particles"]) == {"_rlnImageName", "_rlnOpticsGroup"}
    h = read_stack(tmp_path / "b.star")[1]
    assert not Poses.from_headers(h).any_set() and not h["VOLTAGE"].any()  # RELION's defaults are not data


LIST = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
1 one 2.0 300 2.7 0.1
2 two 2.0 200 2.0 0.1


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnAngleRot #3
_rlnAngleTilt #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
_rlnClassNumber #8
_rlnOpticsGroup #9
_rlnDefocusU #10
_rlnDefocusV #11
_rlnDefocusAngle #12
_rlnCustomThing #13
000003@Extract/job2/m1.mrcs m1.mrc 10 20 30 4 -2 2 1 10000 9000 40 x
000001@Extract/job2/m2.mrcs m2.mrc 11 21 31 0 0 1 2 12000 11000 50 y
000001@Extract/job2/m1.mrcs m1.mrc 12 22 32 2 6 2 1 10000 9000 40 z
"""


@pytest.fixture
def project(tmp_path):
    """A RELION project: stacks below Extract, a list below Refine3D that names them from the project's folder."""
    for k, name in enumerate(("m1", "m2")):
        write_stack(tmp_path / f"{name}.mrcs", pattern(3, 6, 6) + 300 * k)
        (tmp_path / "Extract" / "job2").mkdir(parents=True, exist_ok=True)
        os.replace(tmp_path / f"{name}.mrcs", tmp_path / "Extract" / "job2" / f"{name}.mrcs")
    folder = tmp_path / "Refine3D" / "job5"
    folder.mkdir(parents=True)
    (folder / "run_data.star").write_text(LIST)
    return folder / "run_data.star"


def test_list_of_several_stacks(im4d, project, tmp_path):
    data, h = read_stack(project)
    base = pattern(3, 6, 6)
    assert np.array_equal(data, [base[2], base[0] + 300, base[0]])
    assert h["REF3D"].tolist() == [2, 1, 2] and h["MIDENT"].tolist() == [1, 2, 1]
    assert h["LOCORIG"].tolist() == [1, 2, 3] and h["VOLTAGE"].tolist() == [300e3, 200e3, 300e3]
    assert (
        h["GAMMA"].tolist() == [100, 101, 102] and h["BETA"].tolist() == [20, 21, 22] and h["ALPHA"].tolist() == [300, 301, 302]
    )
    assert Poses.from_headers(h).shift.tolist() == [[1, 2], [0, 0], [-3, 1]]  # lines: minus y; pixels: x; 2 A each
    assert h["DEFANGLE"].tolist() == [130, 140, 130]
    assert h["NAME"][1].startswith(b"000001@m2.mrcs")
    with open_stack(f"{project},2,3") as part:
        assert np.array_equal(part.read(), data[1:]) and part.headers()["LOCORIG"].tolist() == [2, 3]
    im4d("copy", project, tmp_path / "out.hed", "--loc", "3,1")
    assert np.array_equal(read_stack(tmp_path / "out.hed")[0], data[[2, 0]])


def test_results_go_back_into_the_list(im4d, project, tmp_path):
    im4d("copy", project, tmp_path / "part.hed", "--loc", "3,1")
    data, h = read_stack(tmp_path / "part.hed")
    poses = Poses.from_headers(h)
    poses.set_relion([70, 71], [80, 81], [90, 91], [1, 2], [3, 4])
    poses.ref3d[:] = [5, 6]
    write_stack(tmp_path / "result.hed", data, poses.into_headers(h), pixel_size=2.0)
    done = im4d("convert", tmp_path / "result.hed", tmp_path / "new.star", "--template", project, "--json").json
    assert (done["rows"], done["of"]) == (2, 3)
    old, new = read_star(project), read_star(tmp_path / "new.star")
    assert dict(new["optics"]) == dict(old["optics"])
    table = new["particles"]
    assert table["_rlnImageName"] == ["000001@Extract/job2/m1.mrcs", "000003@Extract/job2/m1.mrcs"]
    assert table["_rlnCustomThing"] == ["z", "x"] and table["_rlnDefocusU"] == ["10000", "10000"]
    assert [float(v) for v in table["_rlnAngleRot"]] == [70, 71] and [float(v) for v in table["_rlnOriginXAngst"]] == [2, 4]
    assert [float(v) for v in table["_rlnOriginYAngst"]] == [6, 8] and table["_rlnClassNumber"] == ["5", "6"]
    assert not (tmp_path / "new.mrcs").exists()
    assert (
        "ending in .star" in im4d("convert", tmp_path / "result.hed", tmp_path / "new.hed", "--template", project, code=5).stderr
    )
    write_stack(tmp_path / "four.hed", pattern(4, 6, 6))
    message = im4d("convert", tmp_path / "four.hed", tmp_path / "n.star", "--template", project, code=4).stderr
    assert "word 73" in message and not (tmp_path / "n.star").exists()


def test_old_star_with_pixel_origins(tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(2, 4, 4))
    (tmp_path / "old.star").write_text(
        "data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n_rlnAngleTilt #3\n_rlnAnglePsi #4\n_rlnOriginX #5\n_rlnOriginY #6\n"
        "_rlnMagnification #7\n_rlnDetectorPixelSize #8\n_rlnVoltage #9\n"
        "2@a.mrcs 10 20 30 1.5 -2.5 50000 14 300\n1@a.mrcs 0 0 0 0 0 50000 14 300\n"
    )
    with open_stack(tmp_path / "old.star") as stack:
        h = stack.headers()
        assert np.isclose(stack.pixel_size, 2.8) and np.array_equal(stack.read(), pattern(2, 4, 4)[::-1])
    assert Poses.from_headers(h).shift.tolist() == [[2.5, 1.5], [0, 0]] and h["VOLTAGE"].tolist() == [300e3, 300e3]


def test_classes_of_2d_classification(tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(2, 4, 4))
    head = "data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n_rlnAngleTilt #3\n_rlnAnglePsi #4\n_rlnClassNumber #5\n"
    (tmp_path / "c.star").write_text(head + "1@a.mrcs 0 0 30 7\n2@a.mrcs 0 0 40 9\n")
    h = read_stack(tmp_path / "c.star")[1]
    assert h["CLASSNO"].tolist() == [7, 9] and h["REF3D"].tolist() == [0, 0]
    copy(tmp_path / "c.star", tmp_path / "d.star")
    g = read_stack(tmp_path / "d.star")[1]
    assert g["CLASSNO"].tolist() == [7, 9] and not g["REF3D"].any()


def cs_file(path, stack, count, **fields):
    rng = np.random.default_rng(1)
    kinds = [
        ("uid", "u8"), ("blob/path", "S40"), ("blob/idx", "u4"), ("blob/psize_A", "f4"), ("alignments3D/pose", "f4", 3),
        ("alignments3D/shift", "f4", 2), ("alignments3D/class", "u4"), ("alignments3D/split", "u4"), ("ctf/df1_A", "f4"),
        ("ctf/df2_A", "f4"), ("ctf/df_angle_rad", "f4"), ("ctf/accel_kv", "f4"), ("ctf/cs_mm", "f4"),
    ]  # fmt: skip
    data = np.zeros(count, kinds)
    data["uid"], data["blob/path"], data["blob/idx"] = np.arange(count), stack, np.arange(count)[::-1]
    data["blob/psize_A"], data["alignments3D/pose"] = 2.0, rng.normal(0, 1, (count, 3))
    data["alignments3D/shift"], data["alignments3D/class"] = rng.normal(0, 2, (count, 2)), np.arange(count) % 2
    data["alignments3D/split"] = np.arange(count) % 2
    data["ctf/df1_A"], data["ctf/df2_A"], data["ctf/df_angle_rad"] = 9000, 8000, 0.5
    data["ctf/accel_kv"], data["ctf/cs_mm"] = 300, 2.7
    for name, value in fields.items():
        data[name] = value
    with open(path, "wb") as handle:
        np.save(handle, data)
    return data


def test_cryosparc(im4d, tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(4, 6, 6))
    cs = cs_file(tmp_path / "p.cs", b">J1/extract/a.mrcs", 4)
    data, h = read_stack(tmp_path / "p.cs")
    assert np.array_equal(data, pattern(4, 6, 6)[::-1])
    poses = Poses.from_headers(h)
    assert poses.ref3d.tolist() == [1, 2, 1, 2] and poses.halfset.tolist() == [1, 2, 1, 2]
    relion = poses.to_relion()
    assert np.allclose(relion["x"], cs["alignments3D/shift"][:, 0], atol=1e-5)
    assert np.allclose(relion["y"], cs["alignments3D/shift"][:, 1], atol=1e-5)
    for k in range(4):  # Rodrigues, written out; cryoSPARC's rotation is the transpose of RELION's matrix
        e = cs["alignments3D/pose"][k].astype(float)
        t = np.linalg.norm(e)
        x, y, z = e / t
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        want = (np.eye(3) + np.sin(t) * cross + (1 - np.cos(t)) * cross @ cross).T
        assert np.allclose(poses.standard_matrices()[k], want, atol=1e-5)
    assert np.allclose(h["DEFANGLE"], np.rad2deg(0.5) + 90) and (h["VOLTAGE"] == 300e3).all() and (h["PIXSIZE"] == 2).all()
    im4d("convert", tmp_path / "p.cs", tmp_path / "out.star")
    same_poses(h, read_stack(tmp_path / "out.star")[1])


def test_cryosparc_takes_names_from_the_passthrough_file(im4d, tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(4, 6, 6))
    both = cs_file(tmp_path / "all.cs", b"a.mrcs", 4)
    first = ["uid", *(n for n in both.dtype.names if n.startswith("alignments3D"))]
    rest = ["uid", *(n for n in both.dtype.names if n.split("/")[0] in ("blob", "ctf"))]
    for name, names, rows in (("P1_J2_particles", first, [0, 1, 2, 3]), ("P1_J2_passthrough_particles", rest, [3, 1, 0, 2])):
        with open(tmp_path / f"{name}.cs", "wb") as handle:
            np.save(handle, repack_fields(both[names][rows]))
    a, b = (read_stack(tmp_path / n) for n in ("all.cs", "P1_J2_particles.cs"))
    assert np.array_equal(a[0], b[0])
    same_poses(a[1], b[1])
    os.unlink(tmp_path / "P1_J2_passthrough_particles.cs")
    assert "passthrough" in im4d("info", tmp_path / "P1_J2_particles.cs", code=3).stderr


PAR = "C   PSI THETA PHI SHX SHY MAG FILM DF1 DF2 ANGAST OCC LogP SIGMA SCORE CHANGE\n"


def test_frealign(im4d, tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(2, 6, 6), pixel_size=2.0)
    rows = "{} 30 20 10 {} 6 50000 4 12000 11000 50 100 -5 1 20 0\n"
    (tmp_path / "a.par").write_text(PAR + rows.format(2, 4) + rows.format(1, 0) + "C a remark\n")
    data, h = read_stack(tmp_path / "a.par")
    assert np.array_equal(data, pattern(2, 6, 6)[::-1])
    poses = Poses.from_headers(h)
    assert [float(v[0]) for v in poses.to_relion().values()] == [10, 20, 30, -2, -3]  # 2 A per pixel
    assert h["MIDENT"].tolist() == [4, 4] and h["DEFANGLE"].tolist() == [140, 140]
    os.replace(tmp_path / "a.par", tmp_path / "run7.par")
    assert "--poses run7.par" in im4d("info", tmp_path / "run7.par", code=3).stderr
    im4d("convert", tmp_path / "a.mrcs", tmp_path / "b.hed", "--poses", tmp_path / "run7.par")
    got, g = read_stack(tmp_path / "b.hed")
    assert np.array_equal(got, pattern(2, 6, 6))
    same_poses(g[::-1], h)


def test_frealign_8_has_shifts_in_pixels(tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(1, 6, 6))
    (tmp_path / "a.par").write_text("1 30 20 10 4 6 50000 4 12000 11000 50 0.3\n")
    assert Poses.from_headers(read_stack(tmp_path / "a.par")[1]).to_relion()["x"].tolist() == [-4]


def test_cistem(tmp_path):
    write_stack(tmp_path / "a.mrc", pattern(2, 6, 6), pixel_size=2.0)
    labels = ["PositionInStack", "AnglePsi", "AngleTheta", "AnglePhi", "XShift", "YShift", "Defocus1", "Defocus2"]
    labels += ["DefocusAngle", "PixelSize"]
    text = "\ndata_\n\nloop_\n" + "".join(f"_cisTEM{name} #{k}\n" for k, name in enumerate(labels, 1))
    (tmp_path / "a.star").write_text(text + "2 30 20 10 4 6 12000 11000 50 2.0\n1 30 20 10 0 0 12000 11000 50 2.0\n")
    data, h = read_stack(tmp_path / "a.star")
    assert np.array_equal(data, pattern(2, 6, 6)[::-1])
    assert [float(v[0]) for v in Poses.from_headers(h).to_relion().values()] == [10, 20, 30, -2, -3]


def test_eman_there_and_back(im4d, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    data, h = posed(tmp_path / "a.hed")
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.hdf")
    got, g = read_stack(tmp_path / "b.hdf")
    assert np.array_equal(got, data)
    same_poses(h, g)
    for word in ("DEFOCUS1", "DEFOCUS2", "DEFANGLE", "VOLTAGE", "SPABERR", "NUMCLS", "PIXSIZE"):
        assert np.allclose(g[word], h[word], rtol=1e-5, atol=1e-2), word
    with h5py.File(tmp_path / "b.hdf") as file:
        first = file["MDF/images/0"]
        assert file["MDF/images"].attrs["imageid_max"] == 5 and first.attrs["EMAN.nx"] == 10
        centre = 8 // 2
        assert np.array_equal(first["image"][centre], data[0, centre]) and np.array_equal(first["image"][1], data[0, 7])
        matrix = np.array([first.attrs["EMAN.xform.projection"][0][k] for k in range(12)]).reshape(3, 4)
        relion = Poses.from_headers(h).to_relion()
        assert np.allclose(matrix[:, 3], [-relion["x"][0], -relion["y"][0], 0], atol=1e-4)
        r, t = np.deg2rad([relion["rot"][0], relion["tilt"][0]])
        assert np.allclose(matrix[2, :3], [np.sin(t) * np.cos(r), np.sin(t) * np.sin(r), np.cos(t)], atol=1e-5)
    im4d("convert", tmp_path / "a.hed", tmp_path / "c.hdf")
    assert (tmp_path / "b.hdf").read_bytes() == (tmp_path / "c.hdf").read_bytes()


def test_eman_volumes_and_reduced_bits(im4d, tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    volumes = pattern(2, 4, 6, 5)
    write_stack(tmp_path / "v.hed", volumes, pixel_size=3.0)
    im4d("convert", tmp_path / "v.hed", tmp_path / "v.hdf")
    assert np.array_equal(read_stack(tmp_path / "v.hdf")[0], volumes)
    im4d("threed-copy", tmp_path / "v.hdf", tmp_path / "w.hed", "--loc", "2")
    assert np.array_equal(read_stack(tmp_path / "w.hed")[0], volumes[1:])
    with h5py.File(tmp_path / "bits.hdf", "w") as file:
        group = file.create_group("MDF/images/0")
        group["image"] = np.array([[0, 255], [51, 102]], np.uint8)
        for name, value in (("renderbits", np.int32(8)), ("rendermin", np.float32(-1)), ("rendermax", np.float32(4))):
            group.attrs["EMAN.stored_" + name] = value
    with open_stack(tmp_path / "bits.hdf", rows="keep") as stack:
        assert np.allclose(stack.read()[0], [[-1, 4], [0, 1]])


def test_hdf_without_h5py(im4d, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    root = write_pair(tmp_path / "a", pattern(2, 1, 4, 4))
    assert "pip install imagic4d[hdf]" in im4d("convert", root, tmp_path / "b.hdf", code=7).stderr
    (tmp_path / "c.hdf").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    assert "pip install imagic4d[hdf]" in im4d("info", tmp_path / "c.hdf", code=7).stderr
    assert not list(tmp_path.glob("*b.hdf*"))


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (1, 1, 70, 300), (1, 5, 6, 7), (3, 4, 6, 6)])
@pytest.mark.parametrize("end", [".spi", ".stk", ".vol"])
def test_spider_there_and_back(im4d, tmp_path, shape, end):
    root = write_pair(tmp_path / "a", pattern(*shape))
    im4d("convert", root, tmp_path / f"b{end}")
    im4d("convert", tmp_path / f"b{end}", tmp_path / "c")
    with open_stack(root) as a, open_stack(tmp_path / "c") as c:
        assert a.shape == c.shape and c.pixel_size == 2.5 and np.array_equal(a.read(), c.read())
    words = np.fromfile(tmp_path / f"b{end}", "<f4", 256)
    assert (abs(words[0]), words[1], words[11]) == shape[1:] and words[4] == (3 if shape[1] > 1 else 1)
    assert words[21] == words[12] * shape[3] * 4 and words[23] == (2 if shape[0] > 1 else 0)


def test_spider_is_read_by_relion_in_the_same_way(im4d, tmp_path, shared_data):
    """The writer's headers have the words that Xmipp writes: number of objects, sizes and lengths."""
    theirs = np.fromfile(shared_data / "imagic" / "smallStack.stk", "<f4", 256)
    im4d("convert", shared_data / "imagic" / "smallStack.hed", tmp_path / "a.stk")
    ours = np.fromfile(tmp_path / "a.stk", "<f4", 256)
    for word in (1, 2, 5, 12, 13, 22, 23, 26):
        assert ours[word - 1] == theirs[word - 1], word
    assert np.array_equal(read_stack(tmp_path / "a.stk")[0], read_stack(shared_data / "imagic" / "smallStack.stk")[0])


def test_maps_of_relion_are_volumes(tmp_path):
    """RELION leaves space group 0 in its maps."""
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(pattern(6, 6, 6))
        mrc.voxel_size = 2.0
        mrc.header.ispg = 0
    with open_stack(tmp_path / "a.mrc") as stack:
        assert stack.is_volumes and stack.objects == 1 and "space group 0" in stack.notes[0]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("data_\nloop_\n_rlnAngleRot\n1\n", 3, "lists no images"),
        ("data_\nloop_\n_rlnImageName\n1@nowhere.mrcs\n", 3, "lists images of nowhere.mrcs, which is not there"),
        ("data_\nloop_\n_rlnImageName\n9@a.mrcs\n", 3, "lists image 9 of"),
        ("data_\nloop_\n_rlnImageName\nx@a.mrcs\n", 3, "counted from 1"),
        ("data_\nloop_\n_rlnImageName\n1@a.mrcs\n1@b.mrcs\n", 4, "all must have one size"),
        ("data_\nloop_\n_rlnImageName\n_rlnAngleRot\n1@a.mrcs ten\n", 3, "row 1: _rlnAngleRot is 'ten'"),
        ("data_\nloop_\n_rlnImageName\n_rlnOriginXAngst\n1@a.mrcs 3\n", 3, "no pixel size"),
        ("data_ no star {", 3, "cannot be read as STAR"),
    ],
)
def test_bad_lists(im4d, tmp_path, text, code, message):
    write_stack(tmp_path / "a.mrcs", pattern(3, 4, 4))
    write_stack(tmp_path / "b.mrcs", pattern(3, 5, 4))
    (tmp_path / "x.star").write_text(text)
    assert message in im4d("convert", tmp_path / "x.star", tmp_path / "out.hed", code=code).stderr
    assert not (tmp_path / "out.hed").exists()


def test_bad_metadata_files(im4d, tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(3, 4, 4))
    (tmp_path / "a.par").write_text("1 2 3\n")
    assert "has 3 columns" in im4d("info", tmp_path / "a.par", code=3).stderr
    np.save(tmp_path / "plain.npy", np.arange(3))
    os.replace(tmp_path / "plain.npy", tmp_path / "plain.cs")
    assert "not of cryoSPARC" in im4d("info", tmp_path / "plain.cs", code=3).stderr
    (tmp_path / "two.star").write_text("data_\nloop_\n_rlnImageName\n1@q.mrcs\n2@q.mrcs\n")
    message = im4d("convert", tmp_path / "a.mrcs", tmp_path / "b", "--poses", tmp_path / "two.star", code=4).stderr
    assert "2 rows, none of a.mrcs" in message
    write_stack(tmp_path / "v.hed", pattern(2, 3, 4, 4))
    assert "not volumes" in im4d("convert", tmp_path / "v.hed", tmp_path / "v.star", code=5).stderr


def test_many_stacks_are_not_all_held_open(tmp_path, monkeypatch):
    from imagic4d_core.io import listing

    monkeypatch.setattr(listing, "_OPEN", 3)
    for k in range(9):
        write_stack(tmp_path / f"s{k}.mrcs", pattern(2, 4, 4) + k)
    rows = "".join(f"{i}@s{k}.mrcs\n" for i in (1, 2) for k in range(9))
    (tmp_path / "x.star").write_text("data_\nloop_\n_rlnImageName\n" + rows)
    with open_stack(tmp_path / "x.star") as stack:
        data = stack.read()
        assert len(stack.reader._readers) <= 3
    assert np.array_equal(data, [pattern(2, 4, 4)[i] + k for i in (0, 1) for k in range(9)])


def test_angles_of_frealign_predict_images_left_out(im4d, tmp_path, shared_data):
    """50 real particles: a 3D of one half predicts the other half with the angles as read, not with the inverse rotations."""
    data, h = read_stack(shared_data / "particles" / "atp_synthase_parts-15_128x128f.par")
    data = -(data - data.mean((1, 2), keepdims=True)).reshape(50, 64, 2, 64, 2).mean((2, 4))
    axis = np.arange(64) - 32
    disc = np.hypot(axis[:, None], axis) < 26
    k = np.fft.fftfreq(64)
    low = np.exp(-((np.hypot(k[:, None], k) / 0.12) ** 2))
    found = []
    for inverse in (False, True):
        poses = Poses.from_headers(h)
        poses.shift[:] = 0
        poses.ref3d[:] = 1
        if inverse:
            poses.set_matrices(np.swapaxes(poses.matrices(), 1, 2))
        for name, part in (("used", slice(0, None, 2)), ("left", slice(1, None, 2))):
            some = poses.select(part).into_headers(blank_headers(25, 64, 64, pixel_size=5.0))
            write_stack(tmp_path / f"{name}.hed", data[part].astype(np.float32), some, pixel_size=5.0, overwrite=True)
        im4d("recon", tmp_path / "used.hed", tmp_path / "map.hed", "--membership", "all", "--overwrite")
        im4d("forward", tmp_path / "map.hed", tmp_path / "p.hed", "--angles-from", tmp_path / "left.hed", "--overwrite")
        pairs = zip(read_stack(tmp_path / "p.hed")[0], data[1::2], strict=True)
        smooth = [[np.fft.ifft2(np.fft.fft2(x) * low).real[disc] for x in pair] for pair in pairs]
        found.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in smooth]))
    assert found[0] > 0.35 and found[1] < 0.25
