"""im4d excopy: which locations, in which order, into new and into existing files."""

from pathlib import Path

import numpy as np
import pytest
from compare import same_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from imagic_files import TYPES, pattern, write_pair

from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.files.selecting import excopy

N = 12


@pytest.fixture
def images(tmp_path):
    """12 images of 6 x 5 whose first pixel is their location; CCC, REF3D and ERRAR set."""
    data = np.arange(N * 30, dtype=np.float32).reshape(N, 6, 5)
    data[:, 0, 0] = np.arange(1, N + 1)
    h = blank_headers(N, 6, 5, pixel_size=2.5)
    h["CCC"] = [0.1, 0.9, 0.4, 0.4, 0.2, 0.8, 0.35, 0.3, 0.7, 0.05, 0.6, 0.5]
    h["REF3D"] = [1, 2] * 6
    h["ERRAR"], h["OVQUAL"] = h["CCC"] * 2, -h["CCC"]
    write_stack(tmp_path / "images.hed", data, h)
    return tmp_path


def order(path: Path) -> list[int]:
    """Locations in the input of the images in a file, by their pixels; LOCOLD and the counts must agree."""
    data, h = read_stack(str(path), what="images")
    found = data[:, 0, 0].astype(int).tolist()
    assert h["LOCOLD"].tolist() == found
    assert h["IMN"].tolist() == list(range(1, len(found) + 1))
    assert h["IFOL"][0] == len(found) - 1
    return found


CASES = {
    "extract --loc 3-5": [3, 4, 5],
    "extract --loc 9,1,1": [9, 1, 1],
    "exclude --loc 3-5,12": [1, 2, 6, 7, 8, 9, 10, 11],
    "exclude --where ref3d==1": [2, 4, 6, 8, 10, 12],
    "extract --parity odd": [1, 3, 5, 7, 9, 11],
    "extract --parity even --loc 1-5": [2, 4],
    "reverse": list(range(12, 0, -1)),
    "reverse --keep 2": [12, 11],
    "sort --by CCC --keep 3": [10, 1, 5],
    "sort --by 104 --down --keep 4": [2, 6, 9, 11],
    "sort --by ANGULAR_ERROR --keep 2": [10, 1],
    "sort --by OVERALL --keep 0 --loc 2,1,3": [2, 3, 1],
    "sort --by ccc --loc 3,4": [3, 4],  # equal: as they stand
    "sort --by ccc --down --loc 3,4": [3, 4],
}


@pytest.mark.parametrize("text", CASES)
def test_operations(im4d, images, text):
    operation, *rest = text.split()
    im4d("excopy", images / "images.hed", images / "out.hed", "--operation", operation, *rest)
    assert order(images / "out.hed") == CASES[text]


def test_conditions(im4d, images):
    src, out = images / "images.hed", images / "out.hed"
    done = im4d("EXCLUSIVE-COPY", src, out, "--operation", "SELECT", "--where", "ccc > 0.3 and ref3d == 2", "--json")
    assert order(out) == [2, 4, 6, 12]
    assert done.json["copied"] == 4 and done.json["available"] == 12 and done.json["operation"] == "select"
    im4d("excopy", src, out, "--operation", "extract", "--where", "loc % 5 == 0 or w104 > 0.85", "--overwrite")
    assert order(out) == [2, 5, 10]


def test_words_of_our_own_count_only_where_marked(images):
    data, h = read_stack(str(images / "images.hed"))
    h["MARGIN3D"][:6] = 9.0
    h["IM4DTAG"][:3] = 0x44344D49
    write_stack(images / "other.hed", data, h)
    excopy(images / "other.hed", images / "out.hed", operation="select", where="margin3d > 1")
    assert order(images / "out.hed") == [1, 2, 3]


def test_plt_file(im4d, images):
    plt = images / "wanted.plt"
    plt.write_text("  chosen by hand\n  7.0  0.1\n 2 0.3\n\n   12, .5\n")
    im4d("excopy", images / "images.hed", images / "out.hed", "--operation", "extract", "--plt", plt)
    assert order(images / "out.hed") == [7, 2, 12]


def test_random_extraction(im4d, images):
    src = images / "images.hed"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        im4d("excopy", src, images / f"{name}.hed", "--operation", "randex", "--keep", 6, "--seed", seed)
    first = order(images / "a.hed")
    assert len(set(first)) == 6
    same_bytes(images / "a.img", images / "b.img")
    assert order(images / "c.hed") != first
    assert "seed" in im4d("excopy", src, images / "d.hed", "--operation", "randex", "--json").json
    assert sorted(order(images / "d.hed")) == list(range(1, 13))


def test_images_into_a_volume(im4d, images):
    """IMAGIC's example: 2D locations 3 to 5 replace sections from section 10 on."""
    volumes = pattern(2, 14, 6, 5)
    h = blank_headers(28, 6, 5, 14)
    h["REF3D"] = np.repeat([7, 8], 14)
    write_stack(images / "my_3d.hed", volumes, h)
    done = im4d("excopy", images / "images.hed", images / "my_3d,10", "--operation", "extract", "--loc", "3-5")
    assert "3 put in from location 10 on" in done.stdout
    with open_stack(images / "my_3d") as stack:
        assert stack.shape == (2, 14, 6, 5)
        data, h = stack.read(), stack.headers()
    assert data[9:12, 0, 0].tolist() == [3, 4, 5]
    keep = np.r_[0:9, 12:28]
    assert np.array_equal(data[keep], volumes.reshape(28, 6, 5)[keep])
    assert h["LOCOLD"][9:12].tolist() == [3, 4, 5] and h["IZLP"].tolist() == [14] * 28
    assert h["REF3D"][:9].tolist() == [7] * 9 and h["REF3D"][9:12].tolist() == [1, 2, 1]


def test_volumes(im4d, images):
    """Volumes by volumes, sections of volumes as images, and volumes into a file of volumes."""
    volumes = pattern(5, 3, 6, 5)
    h = blank_headers(15, 6, 5, 3)
    h["CCC3D"] = np.repeat([0.3, 0.1, 0.5, 0.2, 0.4], 3)
    write_stack(images / "v.hed", volumes, h)
    im4d("excopy", images / "v", images / "best.hed", "--operation", "sort", "--by", "ccc3d", "--down", "--keep", 2)
    data, h = read_stack(str(images / "best.hed"))
    assert np.array_equal(data, volumes[[2, 4]]) and h["LOCOLD"].tolist() == [3] * 3 + [5] * 3
    im4d("excopy", images / "v", images / "sections.hed", "--operation", "extract", "--what", "images", "--loc", "4-6,1")
    data, h = read_stack(str(images / "sections.hed"))
    assert np.array_equal(data, volumes.reshape(15, 6, 5)[[3, 4, 5, 0]]) and h["IZLP"].tolist() == [1] * 4
    im4d("excopy", images / "best", images / "v,1", "--operation", "reverse")
    assert np.array_equal(read_stack(str(images / "v"))[0], np.concatenate([volumes[[4, 2]], volumes[2:]]))


@pytest.mark.parametrize("word", TYPES)
@pytest.mark.parametrize("order_", "<>")
def test_types_and_byte_orders(tmp_path, word, order_):
    kind = TYPES[word]
    data = pattern(7, 1, 5, 4, kind=kind)
    root = write_pair(tmp_path / "x", data, word, order=order_, nblocks=2)
    excopy(root, tmp_path / "y", operation="extract", plt=None, parity="even")
    with open_stack(tmp_path / "y") as stack:
        assert np.array_equal(stack.read_raw(), data[1::2, 0])
        assert stack.nblocks == 2 and stack.extra_headers()[:, 0].tolist() == [1, 3, 5]
        assert stack.headers()["REF3D"].tolist() == [101, 103, 105]
        assert stack.layout.type_word == word


def test_other_formats_and_real_files(shared_data, tmp_path):
    src = shared_data / "imagic" / "smallStack.mrcs"
    whole = read_stack(str(src))[0]
    excopy(src, tmp_path / "a.hed", operation="reverse")
    excopy(shared_data / "imagic" / "smallStack.stk", tmp_path / "b.mrcs", operation="extract", parity="odd")
    assert np.array_equal(read_stack(str(tmp_path / "a.hed"))[0], whole[::-1])
    assert len(read_stack(str(tmp_path / "b.mrcs"))[0]) == 2
    excopy(shared_data / "imagic" / "bsoft" / "fourd_real", tmp_path / "c", operation="reverse")
    four = read_stack(str(shared_data / "imagic" / "bsoft" / "fourd_real"))[0]
    assert np.array_equal(read_stack(str(tmp_path / "c"))[0], four[::-1])


@settings(max_examples=25, deadline=None)
@given(keep=st.integers(1, N), down=st.booleans(), values=st.lists(st.floats(-10, 10, width=32), min_size=N, max_size=N))
def test_sort_is_numpys(tmp_path_factory, keep, down, values):
    folder = tmp_path_factory.mktemp("sort")
    h = blank_headers(N, 3, 2)
    h["USER1"] = values
    data = np.zeros((N, 3, 2), np.float32)
    data[:, 0, 0] = np.arange(1, N + 1)
    write_stack(folder / "a.hed", data, h)
    excopy(folder / "a", folder / "b", operation="sort", by=20, down=down, keep=keep)
    key = -h["USER1"] if down else h["USER1"]
    assert order(folder / "b.hed") == (np.argsort(key, kind="stable")[:keep] + 1).tolist()


WRONG = {
    "--operation sort": (2, "--by"),
    "--operation select": (2, "--where"),
    "--operation exclude": (2, "--loc, --plt or --where"),
    "--operation extract --by CCC": (2, "belong to sort"),
    "--operation sort --by CCCC": (2, "did you mean CCC"),
    "--operation sort --by NAME": (2, "is a text"),
    "--operation extract --loc 3-13": (3, "13 is out of range.*12 images"),
    "--operation select --where ccc>2": (3, "nothing is left"),
    "--operation select --where ccc+1": (3, "not a condition"),
    "--operation select --where cc>1": (3, "not a known name"),
    "--operation extract --plt no.plt": (3, "no.plt"),
    "--operation extract --plt bad.plt": (3, "1.5 is not a location"),
    "--operation extract --plt far.plt": (3, "99 is out of range"),
    "--operation extract --plt far.plt --loc 1": (2, "one of the two"),
    "--operation extract --what volumes": (4, "file of volumes is needed"),
    "--operation turn": (2, "is not one of"),
}


@pytest.mark.parametrize("text", WRONG)
def test_bad_input(im4d, images, monkeypatch, text):
    monkeypatch.chdir(images)
    (images / "bad.plt").write_text("1.5\n")
    (images / "far.plt").write_text("99\n")
    before = sorted(p.name for p in images.iterdir())
    code, words = WRONG[text]
    done = im4d("excopy", "images.hed", "out.hed", *text.split(), code=code)
    import re

    assert re.search(words, done.stderr), done.stderr
    assert sorted(p.name for p in images.iterdir()) == before


def test_outputs_are_safe(im4d, images):
    src = images / "images.hed"
    im4d("excopy", src, src, "--operation", "reverse", code=5)
    im4d("excopy", src, images / "new,4", "--operation", "reverse", code=3)
    write_stack(images / "small.hed", pattern(3, 4, 4))
    assert "cannot be put into" in im4d("excopy", src, images / "small,1", "--operation", "reverse", code=4).stderr
    im4d("excopy", f"{src.with_suffix('')},1,2", images / "x", "--operation", "extract", "--loc", "1", code=4)
