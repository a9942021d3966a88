"""What a file of another program leaves open, or cannot take along, is said."""

import mrcfile
import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack, write_stack

BOX, N = 16, 4
OPTICS = ("OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality")


@pytest.fixture
def listed(tmp_path):
    """Writes a RELION list of four images with some columns."""
    with mrcfile.new(tmp_path / "p.mrcs") as mrc:
        mrc.set_data(np.random.default_rng(1).normal(size=(N, BOX, BOX)).astype(np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = 1.5

    def write(name, columns, rows):
        text = "data_optics\n\nloop_\n" + "".join(f"_rln{k}\n" for k in OPTICS) + f"1 g 1.5 {BOX} 2\n\ndata_particles\n\nloop_\n"
        text += "".join(f"_rln{k}\n" for k in ("ImageName", "OpticsGroup", *columns))
        text += "".join(f"{k + 1:06d}@p.mrcs 1 {' '.join(map(str, row))}\n" for k, row in enumerate(rows))
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def words(path, *names):
    with open_stack(path) as stack:
        h = stack.headers()
    return [h[name].tolist() for name in names]


def test_classes_without_angles_are_of_2d_classification(im4d, tmp_path, listed):
    src = listed("c.star", ["ClassNumber"], [[2], [3], [1], [2]])
    im4d("convert", src, tmp_path / "c.hed")
    assert words(tmp_path / "c.hed", "REF3D", "CLASSNO") == [[0] * 4, [2, 3, 1, 2]]
    im4d("convert", tmp_path / "c.hed", tmp_path / "back.star")
    assert words(tmp_path / "back.star", "REF3D", "CLASSNO") == [[0] * 4, [2, 3, 1, 2]]


def test_memberships_without_angles_travel_as_memberships(im4d, tmp_path, listed):
    im4d("convert", listed("c.star", ["ClassNumber"], [[2], [3], [1], [2]]), tmp_path / "m.hed")
    im4d("header", "set", tmp_path / "m.hed", "REF3D=CLASSNO", "CLASSNO=0")
    im4d("convert", tmp_path / "m.hed", tmp_path / "m.star")
    assert words(tmp_path / "m.star", "REF3D", "CLASSNO") == [[2, 3, 1, 2], [0] * 4]


def test_angles_in_the_plane_are_no_poses(im4d, tmp_path, listed):
    columns = ["ClassNumber", "AnglePsi", "OriginXAngst", "OriginYAngst"]
    src = listed("run_it025_data.star", columns, [[2, 10, 1.5, 0], [3, 20, 0, 3], [1, -30, 0, 0], [2, 0, 0, 0]])
    assert "angles in the plane only in 3" in im4d("info", src).stdout
    done = im4d("recon", src, tmp_path / "v.hed", "--membership", "all", code=3)
    assert "angles in the plane only" in done.stderr and "angrec" in done.stderr and not list(tmp_path.glob("v*"))
    im4d("convert", src, tmp_path / "a.hed")
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    names = ("ALPHA", "BETA", "GAMMA", "RXSHIFT", "RYSHIFT", "CLASSNO")
    assert words(tmp_path / "b.star", *names) == words(src, *names)
    assert "_rlnAnglePsi" in (tmp_path / "b.star").read_text()


def test_images_without_pose_among_others(im4d, tmp_path, listed):
    rows = [[10, 20, 30, 1], [0, 0, 0, 1], [5, 90, 0, 1], [40, 60, 10, 1]]
    src = listed("h.star", ["AngleRot", "AngleTilt", "AnglePsi", "ClassNumber"], rows)
    said = im4d("recon", src, tmp_path / "v.hed", "--membership", "all").stderr
    assert "1 of 4 images have no Euler angles" in said
    im4d("convert", src, tmp_path / "h.hed")
    assert [w[1] for w in words(tmp_path / "h.hed", "ALPHA", "BETA", "GAMMA")] == [0, 0, 0]
    im4d("convert", tmp_path / "h.hed", tmp_path / "back.star")
    assert "000002@back.mrcs 0 0 0" in (tmp_path / "back.star").read_text()


def test_symmetry_of_the_job(im4d, tmp_path, listed):
    rows = [[10, 20, 30], [1, 2, 3], [5, 90, 0], [40, 60, 10]]
    src = listed("run_it025_data.star", ["AngleRot", "AngleTilt", "AnglePsi"], rows)
    (tmp_path / "run_it025_sampling.star").write_text("data_sampling_general\n\n_rlnSymmetryGroup I2\n")
    told = im4d("recon", src, tmp_path / "a.hed", "--membership", "all", "--symmetry", "I1").stderr
    assert "run_it025_sampling.star says I2, and --symmetry is I1" in told
    for fine in ("I", "C1"):
        said = im4d("recon", src, tmp_path / "a.hed", "--membership", "all", "--symmetry", fine, "--overwrite").stderr
        assert "sampling" not in said


def a_map(path, pixel_size=2.0, origin=(0, 0, 0), ispg=1, sections=BOX):
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.random.default_rng(2).normal(size=(sections, BOX, BOX)).astype(np.float32))
        mrc.voxel_size = pixel_size
        mrc.header.origin = origin
        mrc.header.ispg = ispg


def test_origin(im4d, tmp_path):
    a_map(tmp_path / "m.mrc", origin=(10.0, 20.5, -3.0))
    said = im4d("convert", tmp_path / "m.mrc", tmp_path / "m.hed").stderr
    assert "ORIGIN 10 20.5 -3 A" in said and ".mrc keeps it" in said
    assert "ORIGIN" not in im4d("convert", tmp_path / "m.mrc", tmp_path / "n.mrc").stderr
    assert "origin      10 20.5 -3 A" in im4d("info", tmp_path / "n.mrc").stdout


def test_space_group_0(im4d, tmp_path):
    a_map(tmp_path / "cube.mrc", ispg=0)
    assert "convert --what images" in im4d("info", tmp_path / "cube.mrc").stdout
    a_map(tmp_path / "flat.mrc", ispg=0, sections=10)
    told = im4d("info", tmp_path / "flat.mrc").stdout
    assert "10 images of 16 x 16" in told and "convert --what volumes --sections 10" in told
    assert "--what volumes --sections 10" in im4d("threed-copy", tmp_path / "flat.mrc", tmp_path / "o.mrc", code=4).stderr
    im4d("convert", tmp_path / "flat.mrc", tmp_path / "v.mrc", "--what", "volumes", "--sections", "10")
    assert "1 volume of 10 x 16 x 16" in im4d("info", tmp_path / "v.mrc").stdout


def test_sections_as_images_are_space_group_0(im4d, tmp_path):
    a_map(tmp_path / "m.mrc")
    im4d("convert", tmp_path / "m.mrc", tmp_path / "i.mrcs", "--what", "images")
    with mrcfile.open(tmp_path / "i.mrcs") as mrc:
        assert mrc.header.ispg == 0 and mrc.is_image_stack()
    np.testing.assert_array_equal(read_stack(tmp_path / "i.mrcs")[0], read_stack(tmp_path / "m.mrc")[0][0])


def test_a_pixel_size_of_1_is_a_placeholder(im4d, tmp_path):
    a_map(tmp_path / "m.mrc", pixel_size=1.0)
    assert "1 A (a common placeholder)" in im4d("info", tmp_path / "m.mrc").stdout
    said = im4d("fsc", tmp_path / "m.mrc", tmp_path / "m.mrc").stdout
    assert "1 A per pixel, a common placeholder" in said
    assert "placeholder" not in im4d("fsc", tmp_path / "m.mrc", tmp_path / "m.mrc", "--pixel-size", "1").stdout
    write_stack(tmp_path / "w.hed", np.zeros((1, 8, 8), np.float32), pixel_size=2.0)
    assert "placeholder" not in im4d("info", tmp_path / "w.hed").stdout


def test_sizes_of_class_averages(im4d, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.hdf", "w") as out:
        for k, (name, value) in enumerate((("ptcl_repr", 7), ("n_objects", 12), ("members", np.arange(5)))):
            group = out.create_group(f"MDF/images/{k}")
            group.create_dataset("image", data=np.full((8, 8), k, np.float32))
            group.attrs[f"EMAN.{name}"] = value
    im4d("convert", tmp_path / "a.hdf", tmp_path / "a.hed")
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.star")
    for name in ("a.hed", "b.star"):
        assert words(tmp_path / name, "NUMCLS") == [[7, 12, 5]]
