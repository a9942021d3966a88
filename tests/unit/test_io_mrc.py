"""MRC: orientation, axis order, modes, sizes; checked against mrcfile. SPIDER, and STAR beside MRC."""

import itertools

import mrcfile
import numpy as np
import pytest
from imagic_files import pattern

from imagic4d_core.errors import InputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.layout import row_order
from imagic4d_core.io.stack import create_stack, open_stack, read_stack, write_stack
from imagic4d_core.io.star import read_star


def make(path, data, **header):
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        for name, value in header.items():
            mrc.header[name] = value
    return path


@pytest.mark.parametrize("lines", [1, 2, 5, 6])
def test_row_order_keeps_the_centre_and_undoes_itself(lines):
    rows = np.arange(lines)
    turned = rows[row_order(lines)]
    assert turned[lines // 2] == lines // 2
    assert turned[row_order(lines)].tolist() == rows.tolist()
    assert rows[row_order(lines, "plain")].tolist() == rows[::-1].tolist()
    assert rows[row_order(lines, "keep")].tolist() == rows.tolist()


@pytest.mark.parametrize("kind", ["i1", "i2", "u2", "f2", "f4", "c8"])
@pytest.mark.parametrize("order", "<>")
def test_modes(tmp_path, kind, order):
    data = pattern(3, 4, 5, kind=kind, low=0 if kind == "u2" else -90, high=100)
    with mrcfile.new(tmp_path / "a.mrcs", overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.header.dmin, mrc.header.dmax = -90, 100
    if order == ">":
        raw = (tmp_path / "a.mrcs").read_bytes()
        head = np.frombuffer(raw[:1024], mrc_dtype("<")).astype(mrc_dtype(">"))
        head["machst"][0] = (0x11, 0x11, 0, 0)
        (tmp_path / "a.mrcs").write_bytes(head.tobytes() + data.astype(np.dtype(kind).newbyteorder(">")).tobytes())
    with open_stack(tmp_path / "a.mrcs") as stack:
        assert stack.shape == (3, 1, 4, 5)
        assert np.array_equal(stack.read_raw(), data[:, row_order(4)])
        if kind != "c8":
            assert np.array_equal(stack.read(1, 3), data[1:, row_order(4)].astype(np.float32))


def mrc_dtype(order):
    from mrcfile.dtypes import HEADER_DTYPE

    return HEADER_DTYPE.newbyteorder(order)


def test_complex_of_short_integers(tmp_path):
    make(tmp_path / "a.mrc", np.zeros((2, 3, 4), np.float32), ispg=0)
    raw = bytearray((tmp_path / "a.mrc").read_bytes()[: 1024 + 2 * 3 * 4 * 4])
    raw[12:16] = np.int32(3).tobytes()
    raw[1024:] = np.arange(48, dtype="<i2").tobytes()
    (tmp_path / "a.mrc").write_bytes(raw)
    with open_stack(tmp_path / "a.mrc", rows="keep") as stack:
        assert stack.read_complex()[0, 0, 1] == 2 + 3j


def test_bytes_signed_or_not(tmp_path):
    smooth = (60 * np.sin(np.arange(64) / 6))[:, None] + np.zeros((1, 64))
    for name, shift in (("signed", 0), ("unsigned", 128)):
        data = np.round(smooth.T + shift).astype(np.int64)
        with mrcfile.new(tmp_path / "a.mrc", overwrite=True) as mrc:
            mrc.set_data(data.astype(np.uint8).view(np.int8))
            mrc.header.dmin = mrc.header.dmax = 0
        with open_stack(tmp_path / "a.mrc", rows="keep") as stack:
            assert np.array_equal(stack.read()[0], data), name


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_axis_orders(tmp_path, axes):
    std = pattern(4, 5, 6)  # z, y, x
    # storage (section, row, column) holds axes maps, mapr, mapc
    stored = std.transpose([3 - a for a in axes[::-1]])
    start = {1: 10, 2: 20, 3: 30}
    with mrcfile.new(tmp_path / "a.mrc", overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(stored))
        mrc.header.ispg = 1
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = axes
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = (start[a] for a in axes)
        mrc.header.mx, mrc.header.my, mrc.header.mz = 6, 5, 4
        mrc.header.cella = (12.0, 10.0, 8.0)
    with open_stack(tmp_path / "a.mrc") as stack:
        assert stack.shape == (1, 4, 5, 6)
        assert stack.pixel_size == 2.0
        assert stack.reader.origin == (20.0, 40.0, 60.0)
        assert np.array_equal(stack.read(), std[:, row_order(5)])
        assert np.array_equal(stack.read(1, 3), std[1:3, row_order(5)])


def test_kinds_of_content(tmp_path):
    data = pattern(6, 4, 4)
    for header, name, shape in (
        ({"ispg": 0}, "a.mrc", (6, 1, 4, 4)),
        ({"ispg": 1}, "a.mrc", (1, 6, 4, 4)),
        ({"ispg": 401, "mz": 3}, "a.mrc", (2, 3, 4, 4)),
        ({"ispg": 1}, "a.mrcs", (6, 1, 4, 4)),
    ):
        with open_stack(make(tmp_path / name, data, **header)) as stack:
            assert stack.shape == shape
            assert stack.is_volumes == (shape[1] > 1)
    (tmp_path / "a.star").write_text("data_\nloop_\n_rlnImageName\n" + "".join(f"{k}@a.mrc\n" for k in range(1, 7)))
    with open_stack(make(tmp_path / "a.mrc", data, ispg=1)) as stack:
        assert stack.shape == (6, 1, 4, 4)


def test_content_decides_before_the_name(tmp_path):
    make(tmp_path / "a.mrc", pattern(2, 3, 3), ispg=0).rename(tmp_path / "a.stk")
    with open_stack(tmp_path / "a.stk") as stack:
        assert stack.format == "MRC" and stack.objects == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-4], "truncated"),
        (lambda raw: raw[:12] + np.int32(77).tobytes() + raw[16:], r"word 4 \(mode\) is 77|neither"),
        (lambda raw: raw[:64] + np.array([1, 1, 3], "<i4").tobytes() + raw[76:], "axis order"),
        (lambda raw: np.zeros(3, "<i4").tobytes() + raw[12:], "empty file"),
        (lambda raw: raw[:500], "neither"),
    ],
)
def test_damaged(tmp_path, change, message):
    path = make(tmp_path / "a.mrc", pattern(2, 3, 3))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        open_stack(path)


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (1, 4, 5, 6), (3, 4, 5, 6), (1, 1, 5, 4)])
def test_written_files_satisfy_mrcfile(tmp_path, shape, capsys):
    data = pattern(*shape) * 0.5
    with create_stack(tmp_path / "a.mrc", *shape, pixel_size=1.25, origin=(1, 2, 3)) as out:
        out.write(0, data.reshape(-1, *shape[2:]))
    assert mrcfile.validate(tmp_path / "a.mrc"), capsys.readouterr().out
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert np.array_equal(mrc.data.reshape(shape), data[:, :, row_order(shape[2])])
        assert mrc.is_volume_stack() == (shape[0] > 1 and shape[1] > 1)
        assert mrc.is_volume() == (shape[0] == 1 and shape[1] > 1)
        assert np.isclose(mrc.voxel_size.x, 1.25) and np.isclose(mrc.voxel_size.y, 1.25)
        assert np.isclose(mrc.header.dmean, data.mean()) and np.isclose(mrc.header.rms, data.std())
        assert mrc.header.origin.z == 3
    with open_stack(tmp_path / "a.mrc") as stack:
        assert stack.shape == shape and stack.pixel_size == 1.25
        assert np.array_equal(stack.read(), data.reshape(-1, *shape[2:]))


def known_poses(n):
    rng = np.random.default_rng(4)
    poses = Poses.blank(n)
    for name in ("alpha", "gamma"):
        getattr(poses, name)[:] = rng.uniform(0, 360, n)
    poses.beta[:] = rng.uniform(0, 180, n)
    poses.shift[:] = rng.normal(0, 3, (n, 2))
    for name in ("ref3d", "ref3d_old", "ref3d2", "fold", "halfset", "folds", "foldseed", "nimg3d"):
        getattr(poses, name)[:] = rng.integers(1, 9, n)
    for name in ("ccc3d", "errar", "err3d", "confidence", "margin", "zscore", "eulererr"):
        getattr(poses, name)[:] = rng.random(n)
    return poses


@pytest.mark.parametrize("name", ["a.hed", "a.mrcs"])
@pytest.mark.parametrize("pixel_size", [None, 2.5])
def test_poses_travel(tmp_path, name, pixel_size):
    poses = known_poses(5)
    with create_stack(tmp_path / name, 5, 1, 4, 4, pixel_size=pixel_size) as out:
        out.write(0, pattern(5, 4, 4))
        h = np.zeros(5, open_dtype())
        out.set_headers(0, poses.into_headers(h))
    with open_stack(tmp_path / name) as stack:
        back = Poses.from_headers(stack.headers())
        assert Poses.from_headers(stack.headers(2, 4)).ref3d.tolist() == poses.ref3d[2:4].tolist()
        assert stack.pixel_size == pixel_size
    for field in vars(poses):
        assert np.allclose(getattr(back, field), getattr(poses, field), atol=2e-4), field


def open_dtype():
    from imagic4d_core.io.header import HEADER_DTYPE

    return HEADER_DTYPE


def test_star_file_is_relion(tmp_path):
    poses = Poses.blank(2)
    poses.shift[:] = [[1.0, 2.0], [-3.0, 0.5]]
    poses.alpha[:], poses.beta[:], poses.gamma[:] = 10, 20, 30
    with create_stack(tmp_path / "a.mrcs", 2, 1, 4, 4, pixel_size=2.0) as out:
        out.write(0, pattern(2, 4, 4))
        out.set_headers(0, poses.into_headers(np.zeros(2, open_dtype())))
    tables = read_star(tmp_path / "a.star")
    assert tables["optics"]["_rlnImagePixelSize"] == ["2"]
    table = tables["particles"]
    assert table["_rlnImageName"] == ["000001@a.mrcs", "000002@a.mrcs"]
    assert [float(table[f"_rlnAngle{k}"][0]) for k in ("Rot", "Tilt", "Psi")] == [300.0, 20.0, 100.0]
    # our lines run down, RELION's rows up
    assert [float(v) for v in table["_rlnOriginXAngst"]] == [4.0, 1.0]
    assert [float(v) for v in table["_rlnOriginYAngst"]] == [-2.0, 6.0]


def test_star_of_other_programs(tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(3, 4, 4))
    (tmp_path / "a.star").write_text(
        "data_\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n_rlnOriginX #3\n_rlnClassNumber #4\n"
        "3@some/where/a.mrcs 10 1.5 2\n1@some/where/a.mrcs 20 0 1\n1@other.mrcs 99 0 7\n"
    )
    poses = Poses.from_headers(read_stack(tmp_path / "a.mrcs")[1])
    assert poses.ref3d.tolist() == [1, 0, 2]
    assert poses.alpha.tolist() == [20.0, 0.0, 10.0]  # without tilt only the sum of the others counts
    assert not poses.gamma.any()
    assert poses.shift.tolist() == [[0, 0], [0, 0], [0, 1.5]]


def test_poses_of_images_that_were_replaced_go(tmp_path):
    """A STAR file that tells of the old images is replaced with them; one of other images stays."""
    poses = Poses.blank(3)
    poses.beta[:], poses.ref3d[:] = 20, 2
    with create_stack(tmp_path / "a.mrcs", 3, 1, 4, 4, pixel_size=2.0) as out:
        out.write(0, pattern(3, 4, 4))
        out.set_headers(0, poses.into_headers(np.zeros(3, open_dtype())))
    with create_stack(tmp_path / "a.mrcs", 3, 1, 4, 4, overwrite=True) as out:
        out.write(0, pattern(3, 4, 4))
    with open_stack(tmp_path / "a.mrcs") as stack:
        assert not Poses.from_headers(stack.headers()).any_set() and stack.pixel_size is None and not stack.notes
    write_stack(tmp_path / "b.mrcs", pattern(3, 4, 4))
    for text in ("no star at all {", "data_\nloop_\n_rlnImageName\n1@other.mrcs\n"):
        (tmp_path / "b.star").write_text(text)
        write_stack(tmp_path / "b.mrcs", pattern(3, 4, 4), overwrite=True)
        assert (tmp_path / "b.star").read_text() == text


@pytest.mark.parametrize("text", ["no star at all {", "data_\nloop_\n_rlnImageName\n_rlnAngleRot\n9@a.mrcs 1\n"])
def test_unusable_star_files_do_not_hide_the_images(tmp_path, text):
    write_stack(tmp_path / "a.mrcs", pattern(3, 4, 4))
    (tmp_path / "a.star").write_text(text)
    with open_stack(tmp_path / "a.mrcs") as stack:
        assert np.array_equal(stack.read(), pattern(3, 4, 4))
        assert "not used" in stack.notes[0]


def test_relion_conventions_by_projection():
    """A projection made by our convention, read bottom-up as MRC, is what RELION's (rot, tilt, psi) predicts."""
    poses = known_poses(4)
    points = np.random.default_rng(1).normal(size=(7, 3))  # in IMAGIC axes: lines, pixels, sections
    relion = poses.to_relion()
    to_standard = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    for k in range(4):
        ours = points @ poses.matrices()[k].T
        r, t, p = (np.deg2rad(relion[a][k]) for a in ("rot", "tilt", "psi"))
        zyz = turn_z(p) @ turn_y(t) @ turn_z(r)  # RELION's Euler_angles2matrix
        theirs = (points @ to_standard.T) @ zyz.T
        assert np.allclose(ours @ to_standard.T, theirs, atol=1e-9)
        shift = to_standard[:2, :2] @ poses.shift[k]
        assert np.allclose([relion["x"][k], relion["y"][k]], shift)
    back = Poses.blank(4)
    back.set_relion(**relion)
    assert np.allclose(back.matrices(), poses.matrices()) and np.allclose(back.shift, poses.shift)


def turn_z(a):
    return np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])


def turn_y(a):
    return np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
