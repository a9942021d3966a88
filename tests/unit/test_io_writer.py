"""Writing stacks: what stands in the files, and that nothing is left behind when it goes wrong."""

import os
import threading

import numpy as np
import pytest
from imagic_files import pattern, write_pair

from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io import atomic
from imagic4d_core.io import header as hdr
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import create_stack, open_stack, read_stack, write_stack


def test_written_headers_keep_the_rules(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    data = pattern(3, 4, 5, 6)
    write_stack(tmp_path / "v", data, pixel_size=1.5)
    raw = (tmp_path / "v.hed").read_bytes()
    w = np.frombuffer(raw, "<i4").reshape(12, 256)
    f = w.view("<f4")
    assert w[:, 0].tolist() == list(range(1, 13))
    assert w[:, 1].tolist() == [11] + [0] * 11
    assert set(w[:, 3]) == {1} and set(w[:, 10]) == {5 * 6 * 4}
    assert w[0, 4:10].tolist() == [11, 14, 2023, 22, 13, 20]
    assert set(w[:, 12]) == {5} and set(w[:, 13]) == {6}
    assert raw[56:60] == b"REAL" and raw[116:196] == b" " * 80 and raw[796:1024] == b" " * 228
    assert set(w[:, 60]) == {4} and set(w[:, 61]) == {3}
    assert set(w[:, 68]) == {33686018} and (w[:, 67] > 19800000).all()
    assert set(f[:, 122]) == {1.5}
    assert np.allclose(f[4:8, 17], data[1].mean()) and np.allclose(f[4:8, 18], data[1].std())
    assert set(f[4:8, 21]) == {data[1].max()} and set(f[4:8, 22]) == {data[1].min()}
    assert np.array_equal(np.fromfile(tmp_path / "v.img", "<f4").reshape(data.shape), data)


def test_order_of_writing_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    data = pattern(40, 1, 8, 8) * 0.37
    write_stack(tmp_path / "a", data)
    with create_stack(tmp_path / "b", 40, 1, 8, 8) as out:
        threads = [threading.Thread(target=out.write, args=(k, data[k : k + 7, 0])) for k in range(35, -1, -7)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    for end in ("hed", "img"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


def test_images_that_were_forgotten_are_noticed(tmp_path):
    with pytest.raises(RuntimeError, match="image 3 and 1 others"), create_stack(tmp_path / "a", 4, 1, 2, 2) as out:
        out.write(0, np.zeros((2, 2, 2)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a", "a.mrcs"])
def test_nothing_remains_of_a_failure(tmp_path, name):
    with pytest.raises(ZeroDivisionError), create_stack(tmp_path / name, 2, 1, 4, 4) as out:
        out.write(0, np.zeros((1, 4, 4)))
        _ = 1 / 0
    assert os.listdir(tmp_path) == []


def test_existing_outputs_are_kept(tmp_path):
    write_stack(tmp_path / "a", np.ones((1, 2, 2)))
    before = (tmp_path / "a.img").read_bytes()
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        create_stack(tmp_path / "a.hed", 1, 1, 2, 2)
    with pytest.raises(ZeroDivisionError), create_stack(tmp_path / "a", 1, 1, 2, 2, overwrite=True):
        _ = 1 / 0
    assert (tmp_path / "a.img").read_bytes() == before
    write_stack(tmp_path / "a", np.zeros((1, 2, 2)), overwrite=True)
    assert not read_stack(tmp_path / "a")[0].any()
    assert sorted(os.listdir(tmp_path)) == ["a.hed", "a.img"]


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="does not exist"):
        create_stack(tmp_path / "no" / "a", 1, 1, 2, 2)
    with pytest.raises(OutputError, match="not written"):
        create_stack(tmp_path / "a.tif", 1, 1, 2, 2)
    with pytest.raises(OutputError, match="at least 1"):
        create_stack(tmp_path / "a", 0, 1, 2, 2)
    monkeypatch.setattr(atomic.os, "access", lambda *a: False)
    with pytest.raises(OutputError, match="cannot be written"):
        create_stack(tmp_path / "a", 1, 1, 2, 2)
    assert os.listdir(tmp_path) == []


def test_wrong_sizes_and_types(tmp_path):
    with pytest.raises(MismatchError, match="images of 4 x 5"), create_stack(tmp_path / "a", 2, 1, 4, 5) as out:
        out.write(0, np.zeros((1, 5, 4)))
    with pytest.raises(MismatchError, match="volumes of"), create_stack(tmp_path / "a", 2, 3, 4, 5) as out:
        out.write_volumes(0, np.zeros((1, 4, 4, 5)))
    with pytest.raises(OutputError, match="do not fit uint8"), create_stack(tmp_path / "a", 1, 1, 2, 2, dtype=np.uint8) as out:
        out.write(0, np.full((1, 2, 2), 300.0))
    with pytest.raises(MismatchError, match="complex"), create_stack(tmp_path / "a", 1, 1, 2, 2) as out:
        out.write(0, np.ones((1, 2, 2), complex))
    assert os.listdir(tmp_path) == []
    with create_stack(tmp_path / "a", 1, 1, 1, 3, dtype=np.int16) as out:
        out.write(0, [[1.4, -2.6, 7]])
    assert np.fromfile(tmp_path / "a.img", "<i2").tolist() == [1, -3, 7]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nblocks", [1, 2])
def test_replace_headers(tmp_path, order, nblocks):
    data = pattern(4, 1, 5, 6)
    root = write_pair(tmp_path / "a", data, order=order, nblocks=nblocks)
    with open_stack(root) as stack:
        h = stack.headers()
    h["REF3D"] = [7, 8, 9, 10]
    img = (tmp_path / "a.img").stat()
    replace_headers(root, h, tmp_path / "b")
    with open_stack(tmp_path / "b") as stack:
        assert stack.headers()["REF3D"].tolist() == [7, 8, 9, 10]
        assert np.array_equal(stack.read(), data[:, 0])
        assert stack.nblocks == nblocks
        if nblocks == 2:
            assert stack.extra_headers()[:, 0].tolist() == [0, 1, 2, 3]
    assert (tmp_path / "b.img").stat().st_ino == img.st_ino
    with open_stack(root) as stack:
        assert stack.headers()["REF3D"].tolist() == [100, 101, 102, 103]
    replace_headers(root, h)
    with open_stack(root) as stack:
        assert stack.headers()["REF3D"].tolist() == [7, 8, 9, 10]
        assert np.array_equal(stack.read(), data[:, 0])
    assert (tmp_path / "a.img").stat().st_mtime_ns == img.st_mtime_ns
    with pytest.raises(OutputError, match="exists"):
        replace_headers(root, h, tmp_path / "b")
    with pytest.raises(MismatchError, match="4 headers, 3 are given"):
        replace_headers(root, h[:3])
    replace_headers(root, h, tmp_path / "b", overwrite=True)
    replace_headers(tmp_path / "b", h, tmp_path / "b", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["a.hed", "a.img", "b.hed", "b.img"]


def test_replace_headers_of_a_symbolic_link(tmp_path):
    """The copy shares the densities of the file the link stands for, not the link, which means nothing in another folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    data = pattern(3, 1, 5, 6)
    write_pair(tmp_path / "data/a", data)
    for ext in ("hed", "img"):
        (tmp_path / f"link.{ext}").symlink_to(f"data/a.{ext}")
    with open_stack(tmp_path / "link.hed") as stack:
        replace_headers(stack.path, stack.headers(), tmp_path / "out/b")
    assert not (tmp_path / "out/b.img").is_symlink()
    with open_stack(tmp_path / "out/b") as stack:
        assert np.array_equal(stack.read(), data[:, 0])


def test_replace_headers_of_one_header_per_volume(tmp_path):
    root = write_pair(tmp_path / "a", pattern(2, 3, 4, 4), per_volume=True)
    with open_stack(root) as stack:
        replace_headers(root, stack.headers())
    with open_stack(root) as stack:
        assert stack.shape == (2, 3, 4, 4) and stack.notes == []


def test_replace_headers_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    root = write_pair(tmp_path / "a", pattern(4, 1, 5, 6))
    monkeypatch.setattr("imagic4d_core.io.writer.os.link", refuse)
    with open_stack(root) as stack:
        replace_headers(root, stack.headers(), tmp_path / "b")
    assert (tmp_path / "b.img").read_bytes() == (tmp_path / "a.img").read_bytes()
    assert len(os.listdir(tmp_path)) == 4


def test_replace_headers_of_mrc_writes_the_star_file(tmp_path):
    write_stack(tmp_path / "a.mrcs", pattern(3, 1, 4, 4), pixel_size=2.0)
    poses = Poses.blank(3)
    poses.ref3d[:] = [1, 2, 3]
    with open_stack(tmp_path / "a.mrcs") as stack:
        replace_headers(tmp_path / "a.mrcs", poses.into_headers(stack.headers()))
        replace_headers(tmp_path / "a.mrcs", poses.into_headers(stack.headers()), tmp_path / "b")
    for name in ("a.mrcs", "b"):
        with open_stack(tmp_path / name) as stack:
            assert stack.headers()["REF3D"].tolist() == [1, 2, 3]
            assert np.array_equal(stack.read(), pattern(3, 4, 4))


def test_atomic_write(tmp_path):
    path = tmp_path / "x.txt"
    atomic.atomic_write_text(path, "one")
    with pytest.raises(OutputError, match="exists"):
        atomic.atomic_write_text(path, "two")
    with pytest.raises(ZeroDivisionError), atomic.atomic_write(path, overwrite=True) as handle:
        handle.write(b"half")
        _ = 1 / 0
    assert path.read_text() == "one"
    atomic.atomic_write_json(path, {"a": [1, 2.5]}, overwrite=True)
    assert path.read_text().strip().startswith("{")
    with pytest.raises(OutputError, match="folder"):
        atomic.check_new(tmp_path)
    assert os.listdir(tmp_path) == ["x.txt"]


def test_header_words_survive(tmp_path):
    h = hdr.blank_headers(2, 3, 4)
    h["HISTORY"] = [b"cut;mask", b"none"]
    h["COOSMSA"][1] = np.arange(69)
    h["CLASSNO"] = [3, 4]
    write_stack(tmp_path / "a", np.ones((2, 3, 4)), h)
    got = read_stack(tmp_path / "a")[1]
    assert got["HISTORY"][0].strip() == b"cut;mask"
    assert got["COOSMSA"][1].tolist() == list(range(69))
    assert got["CLASSNO"].tolist() == [3, 4]


def test_truncated_while_read(tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 1, 5, 6))
    with open_stack(root) as stack:
        os.truncate(tmp_path / "a.img", 100)
        with pytest.raises(InputError, match="truncated"):
            stack.read()
