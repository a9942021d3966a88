"""Files of other programs that are easily read wrongly without a word."""

import bz2
import gzip
import lzma

import mrcfile
import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from tests.imagic_files import pattern

N, K = 6, 3
CLASSES = np.array([1, 0, 2, 2, 1, 0])
BASE = [("uid", "<u8"), ("blob/path", "S40"), ("blob/idx", "<u4"), ("blob/psize_A", "<f4"), ("ctf/df1_A", "<f4")]


def _save(path, table):
    with open(path, "wb") as handle:
        np.save(handle, table)


def _filled(fields):
    table = np.zeros(N, BASE + fields)
    table["uid"], table["blob/idx"], table["blob/path"], table["blob/psize_A"] = np.arange(N) + 5, range(N), b">p.mrcs", 2
    return table


@pytest.fixture
def folder(tmp_path):
    write_stack(tmp_path / "p.mrcs", pattern(N, 8, 8))
    return tmp_path


def _posterior():
    post = np.full((N, K), 0.05)
    post[np.arange(N), CLASSES] = 0.9
    return post


def _multi(pose, shift):
    f = "alignments3D_multi/"
    kinds = [(f + "pose", "<f4", (K, 3)), (f + "shift", "<f4", (K, 2)), (f + "psize_A", "<f4"), (f + "class", "<u4", (K,))]
    table = _filled([*kinds, (f + "class_posterior", "<f4", (K,))])
    table[f + "pose"], table[f + "shift"], table[f + "class"], table[f + "psize_A"] = pose, shift, range(K), 2
    table[f + "class_posterior"] = _posterior()
    return table


def _each(prefix, count=K):
    def make(pose, shift):
        kinds = [("pose", "<f4", (3,)), ("shift", "<f4", (2,)), ("class_posterior", "<f4")]
        table = _filled([(f"{prefix}_{k}/{n}", *kind) for k in range(K) for n, *kind in kinds])
        for k in range(K):
            table[f"{prefix}_{k}/pose"], table[f"{prefix}_{k}/shift"] = pose[:, k], shift[:, k]
            table[f"{prefix}_{k}/class_posterior"] = _posterior()[:, k]
        return table

    return make


@pytest.mark.parametrize("make", [_multi, _each("alignments_class"), _each("alignments_class3D")])
def test_the_most_likely_class_of_cryosparc(folder, make):
    rng = np.random.default_rng(1)
    pose, shift = rng.normal(size=(N, K, 3)), rng.normal(size=(N, K, 2))
    _save(folder / "a.cs", make(pose, shift))
    rows = np.arange(N)
    one = [("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,)), ("alignments3D/class", "<u4")]
    plain = _filled(one)
    plain["alignments3D/pose"], plain["alignments3D/shift"] = pose[rows, CLASSES], shift[rows, CLASSES]
    plain["alignments3D/class"] = CLASSES
    _save(folder / "b.cs", plain)
    got, want = read_stack(folder / "a.cs")[1], read_stack(folder / "b.cs")[1]
    assert got["REF3D"].tolist() == (CLASSES + 1).tolist()
    for word in ("ALPHA", "BETA", "GAMMA", "RXSHIFT", "RYSHIFT", "REF3D"):
        assert np.array_equal(got[word], want[word])
    assert np.allclose(got["CONFID3D"], 0.9)


def test_poses_of_an_earlier_job_are_not_taken(folder):
    rng = np.random.default_rng(2)
    whole = _each("alignments_class")(rng.normal(size=(N, K, 3)), np.zeros((N, K, 2)))
    names = [n for n in whole.dtype.names if n == "uid" or n.startswith("alignments")]
    _save(folder / "J2_particles.cs", whole[names].astype([(n, whole.dtype[n]) for n in names]))
    old = _filled([("alignments3D/pose", "<f4", (3,)), ("alignments3D/class", "<u4"), ("alignments2D/class", "<u4")])
    old["alignments3D/pose"] = [0, 0, 0.5]
    _save(folder / "J2_passthrough_particles.cs", old)
    _save(folder / "whole.cs", whole)
    got, want = read_stack(folder / "J2_particles.cs")[1], read_stack(folder / "whole.cs")[1]
    for word in ("ALPHA", "BETA", "GAMMA", "REF3D", "CLASSNO"):
        assert np.array_equal(got[word], want[word])
    bare = np.zeros(N, [("uid", "<u8")])  # a job without poses of its own passes them on
    bare["uid"] = old["uid"]
    _save(folder / "J2_particles.cs", bare)
    assert read_stack(folder / "J2_particles.cs")[1]["REF3D"].tolist() == [1] * N


def test_a_cs_file_of_many_fields(folder):
    _save(folder / "a.cs", _filled([(f"field_with_a_long_name_{k:04d}/value", "<f4") for k in range(600)]))
    assert len(read_stack(folder / "a.cs")[0]) == N


@pytest.mark.parametrize(("end", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("name", ["v.map", "p.mrcs", "a.cs", "l.star", "s.spi"])
def test_compressed_files_are_read(folder, im4d, name, end, pack):
    write_stack(folder / "v.map", pattern(1, 6, 6, 6), pixel_size=2.0)
    write_stack(folder / "s.spi", pattern(2, 6, 6))
    (folder / "l.star").write_text("data_\nloop_\n_rlnImageName #1\n_rlnAngleTilt #2\n2@p.mrcs 7\n1@p.mrcs 8\n")
    _save(folder / "a.cs", _filled([]))
    raw = (folder / name).read_bytes()
    (folder / "sub").mkdir()
    (folder / f"sub/{name}.{end}").write_bytes(pack(raw))
    want, h = read_stack(folder / name)
    got, g = read_stack(folder / f"sub/{name}.{end}")
    assert np.array_equal(got, want) and np.array_equal(g["BETA"], h["BETA"])
    im4d("convert", folder / f"sub/{name}.{end}", folder / "out.hed")
    (folder / f"sub/{name}.{end}").write_bytes(pack(raw)[: -len(pack(raw)) // 3])
    im4d("info", folder / f"sub/{name}.{end}", code=3)


def test_types_of_hdf_images_do_not_wrap(folder, im4d):
    h5py = pytest.importorskip("h5py")
    data = np.random.default_rng(0).normal(size=(3, 8, 8)).astype("f4")
    with h5py.File(folder / "a.hdf", "w") as out:
        for k, kind in enumerate(("u1", "f4", "f4")):
            group = out.create_group(f"MDF/images/{k}")
            group.create_dataset("image", data=np.abs(data[k]).astype(kind) if kind == "u1" else data[k])
            group.attrs["EMAN.apix_x"] = np.float32(1 + k)
    with open_stack(folder / "a.hdf", rows="keep") as stack:
        assert np.array_equal(stack.read()[1:], data[1:]) and stack.dtype == np.float32
        assert stack.headers()["PIXSIZE"].tolist() == [1, 2, 3]
        assert any("several types" in n for n in stack.notes) and any("pixel sizes from 1 to 3" in n for n in stack.notes)
    im4d("convert", folder / "a.hdf", folder / "b.hed")
    im4d("convert", folder / "b.hed", folder / "c.hdf")
    for name in ("b.hed", "c.hdf"):
        assert read_stack(folder / name)[1]["PIXSIZE"].tolist() == [1, 2, 3]


def test_spider_stack_with_an_index_is_refused(folder, im4d):
    write_stack(folder / "s.spi", pattern(2, 8, 8))
    raw = bytearray((folder / "s.spi").read_bytes())
    raw[23 * 4 : 24 * 4] = np.array([-10], "<f4").tobytes()
    (folder / "s.spi").write_bytes(bytes(raw))
    assert "ISTACK) is -10" in im4d("info", folder / "s.spi", code=3).stderr


def test_mrc_of_mode_2_is_untouched_by_gzip_names(folder):
    with mrcfile.new(folder / "x.gz") as m:  # not compressed, whatever its name
        m.set_data(pattern(1, 4, 4))
    assert read_stack(folder / "x.gz")[0].shape[-2:] == (4, 4)
