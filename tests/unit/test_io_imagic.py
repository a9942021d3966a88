"""IMAGIC pairs of all kinds open with the right shape and values."""

import numpy as np
import pytest
from imagic_files import TYPES, pattern, write_pair

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io import header as hdr
from imagic4d_core.io.stack import open_stack


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("type_word", TYPES)
@pytest.mark.parametrize("shape", [(5, 1, 6, 9), (3, 4, 6, 5), (1, 1, 1, 7), (4, 1, 1, 8), (1, 3, 2, 2)])
def test_types_orders_and_shapes(tmp_path, order, type_word, shape):
    data = pattern(*shape, kind="c8" if TYPES[type_word] == "c8" else "f4", low=0 if type_word == "PACK" else -90, high=110)
    with open_stack(write_pair(tmp_path / "a", data, type_word, order=order)) as stack:
        assert stack.shape == shape
        assert stack.is_volumes == (shape[1] > 1)
        assert stack.pixel_size == 2.5
        flat = data.reshape(-1, *shape[2:])
        assert np.array_equal(stack.read_raw(), flat)
        assert stack.read_raw().dtype.isnative
        h = stack.headers()
        assert h["REF3D"].tolist() == [k + 100 for k in range(len(flat))]
        assert h["ALPHA"].tolist() == [k + 0.5 for k in range(len(flat))]
        assert h["NAME"][0].strip() == b"a title"
        assert stack.notes == []
        if type_word == "COMP":
            with pytest.raises(InputError, match="complex"):
                stack.read()
        else:
            assert stack.read().dtype == np.float32
            assert np.array_equal(stack.read(1, len(flat)), flat[1:].real)
            assert np.array_equal(stack.read_volumes(), data.real)


def test_pack_is_unsigned_and_intg_signed(tmp_path):
    with open_stack(write_pair(tmp_path / "p", np.full((1, 1, 2, 2), 200.0), "PACK")) as stack:
        assert stack.read().max() == 200
    with open_stack(write_pair(tmp_path / "i", np.full((1, 1, 2, 2), -3.0), "INTG", order=">")) as stack:
        assert stack.read().min() == -3


def test_several_header_records_per_image(tmp_path):
    data = pattern(4, 1, 3, 5)
    with open_stack(write_pair(tmp_path / "a", data, nblocks=3)) as stack:
        assert stack.shape == data.shape
        assert stack.headers()["REF3D"].tolist() == [100, 101, 102, 103]
        assert stack.extra_headers(2, 3).tolist() == [[2.0] * 512]


def test_one_header_per_volume(tmp_path):
    data = pattern(3, 4, 5, 6)
    with open_stack(write_pair(tmp_path / "a", data, per_volume=True)) as stack:
        assert stack.shape == data.shape
        assert stack.headers()["REF3D"].tolist() == [100] * 4 + [101] * 4 + [102] * 4
        assert stack.headers(5, 9)["REF3D"].tolist() == [101] * 3 + [102]
        assert np.array_equal(stack.read_volumes(1, 2)[0], data[1])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("words", [{2: -7}, {61: 513135264}, {61: 33, 62: 1}, {69: -245351352}, {61: 0, 62: 0}, {4: 0}, {4: 999}])
def test_garbage_is_settled_by_sizes(tmp_path, order, words):
    data = pattern(14, 1, 8, 8)
    with open_stack(write_pair(tmp_path / "a", data, order=order, words=words)) as stack:
        assert stack.shape == data.shape
        assert np.array_equal(stack.read(), data[:, 0])
        assert stack.headers()["I4LP"].tolist() == [14] * 14


def test_wrong_number_of_volumes_is_corrected(tmp_path):
    with open_stack(write_pair(tmp_path / "a", pattern(3, 4, 5, 6), words={62: 9})) as stack:
        assert stack.shape == (3, 4, 5, 6)
        assert any("word 62" in note for note in stack.notes)


def test_old_layout_hides_words_that_changed(tmp_path):
    root = write_pair(tmp_path / "a", pattern(3, 1, 8, 8), old=True, words={5: 26, 6: 3, 7: 112}, floats={101: 300.0})
    with open_stack(root) as stack:
        h = stack.headers()
        assert stack.pixel_size is None
        assert not h["REF3D"].any() and not h["VOLTAGE"].any() and not h["PIXSIZE"].any() and not h["IZOLD"].any()
        assert h["ALPHA"].tolist() == [0.5, 1.5, 2.5]
        assert (h["NMONTH"][0], h["NDAY"][0], h["NYEAR"][0]) == (3, 26, 2012)


def test_files_left_longer_than_said(tmp_path):
    root = write_pair(tmp_path / "a", pattern(4, 1, 8, 8), words={2: 2})
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[: 3 * 256])
    with open_stack(root) as stack:
        assert stack.objects == 3


def test_locations(tmp_path):
    data = pattern(4, 3, 5, 6)
    root = write_pair(tmp_path / "a", data)
    with open_stack(f"{root},2,3") as stack:
        assert stack.shape == (2, 3, 5, 6)
        assert np.array_equal(stack.read_volumes(), data[1:3])
        assert stack.headers()["REF3D"].tolist() == [103, 104, 105, 106, 107, 108]
    with open_stack(root, "4,1,4", what="images") as stack:
        assert stack.shape == (3, 1, 5, 6)
        assert np.array_equal(stack.read(), data.reshape(12, 5, 6)[[3, 0, 3]])
        assert stack.headers()["IMN"].tolist() == [1, 2, 3]
        assert np.array_equal(stack.read(1, 2), data[0, :1])
    with open_stack(f"{root}.img", "3-", what="volumes") as stack:
        assert stack.objects == 2
    with pytest.raises(InputError, match=r"location 5 is out of range.*4 volumes"):
        open_stack(f"{root},5")
    with pytest.raises(MismatchError, match="twice"):
        open_stack(f"{root},2", "3")


def test_images_are_no_volumes(tmp_path):
    with pytest.raises(MismatchError, match="volumes is needed"):
        open_stack(write_pair(tmp_path / "a", pattern(4, 1, 5, 6)), what="volumes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hed, img: img.unlink(), r"a\.img: not found.*pair"),
        (lambda hed, img: hed.unlink(), r"a\.hed: not found.*pair"),
        (lambda hed, img: img.write_bytes(img.read_bytes()[:-4]), "truncated"),
        (lambda hed, img: img.write_bytes(img.read_bytes()[: 2 * 120]), "truncated"),
        (lambda hed, img: hed.write_bytes(hed.read_bytes()[:-100]), "truncated"),
        (lambda hed, img: hed.write_bytes(b""), "is empty"),
        (lambda hed, img: img.write_bytes(b""), "is empty"),
        (lambda hed, img: hed.write_bytes(bytes(1024)), "word 15"),
        (lambda hed, img: img.write_bytes(img.read_bytes() * 2), "do not belong together"),
    ],
)
def test_damaged_pairs(tmp_path, change, message):
    root = write_pair(tmp_path / "a", pattern(4, 1, 5, 6))
    change(tmp_path / "a.hed", tmp_path / "a.img")
    with pytest.raises(InputError, match=message) as caught:
        open_stack(root)
    assert "\n" not in str(caught.value)


def test_vax_is_refused_with_its_word(tmp_path):
    root = write_pair(tmp_path / "a", pattern(2, 1, 5, 6), words={69: 16777216})
    with pytest.raises(InputError, match=r"word 69.*16777216.*VAX"):
        open_stack(root)
    write_pair(tmp_path / "b", pattern(2, 1, 5, 6), words={13: 0})
    with pytest.raises(InputError, match=r"words 13 and 14.*0 and 6"):
        open_stack(tmp_path / "b")


def test_nan_is_refused_where_densities_are_read(tmp_path):
    data = pattern(5, 1, 4, 4)
    data[3, 0, 1, 2] = np.nan
    data[4, 0, 0, 0] = np.inf
    root = write_pair(tmp_path / "a", data)
    with open_stack(root) as stack:
        assert stack.read(0, 3).shape == (3, 4, 4)
        with pytest.raises(InputError, match=r"a\.hed: image 4 holds 1 NaN"):
            stack.read()
        assert np.isnan(stack.read(finite=False)).sum() == 1
    with open_stack(root, "5,4") as stack, pytest.raises(InputError, match="image 5 holds"):
        stack.read()


def test_folder_and_nonsense(tmp_path):
    (tmp_path / "x").write_text("nothing of ours\n" * 100)
    for name, message in (("", "folder"), ("nix", "not found"), ("x", "neither")):
        with pytest.raises(InputError, match=message):
            open_stack(tmp_path / name if name else tmp_path)


def test_every_word_has_its_place():
    assert hdr.HEADER_DTYPE.itemsize == 1024
    for word in hdr.WORDS:
        assert hdr.HEADER_DTYPE.fields[word.name][1] == 4 * (word.number - 1)
    assert hdr.find_word(51) == hdr.find_word("ref3d") == ("REF3D", None)
    assert hdr.find_word("EIGVAL") == hdr.find_word(150) == ("COOSMSA", 19) == hdr.find_word("COOSMSA(20)")
    for wrong in (0, 257, "NOSUCH", "COOSMSA(70)"):
        with pytest.raises(KeyError, match="no header word"):
            hdr.find_word(wrong)
