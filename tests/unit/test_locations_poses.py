"""Locations, folds, pose records."""

import numpy as np
import pytest

from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.header import HEADER_DTYPE, TAG
from imagic4d_core.io.locations import format_locations, parse_locations, split_spec


@pytest.mark.parametrize(
    ("text", "count", "want"),
    [
        ("3-5,9,20-", 21, [2, 3, 4, 8, 19, 20]),
        ("-2", 4, [0, 1]),
        ("3;1 , 1", 4, [2, 0, 0]),
        ("1-", 2, [0, 1]),
        ("2-2", 2, [1]),
    ],
)
def test_parse(text, count, want):
    assert parse_locations(text).resolve(count).tolist() == want


@pytest.mark.parametrize("text", ["", "0", "a", "3-1", "1,,2", "-", "1--3", "-0", "1.5"])
def test_nonsense(text):
    with pytest.raises(UsageError, match="locations"):
        parse_locations(text)


@pytest.mark.parametrize("text", ["5", "1-5", "5-", "1,2,9"])
def test_out_of_range(text):
    with pytest.raises(InputError, match=r"a\.hed: location [59] is out of range.*4 images"):
        parse_locations(text).resolve(4, "a.hed")


def test_imagic_notation(tmp_path):
    name, loc = split_spec("some/a.hed,3,5")
    assert (name, str(loc)) == ("some/a.hed", "3-5")
    assert [str(split_spec(f"a,{k}")[1]) for k in (7, "7,7")] == ["7", "7"]
    assert split_spec("a.mrc") == ("a.mrc", None)
    assert split_spec("a,b") == ("a,b", None)
    (tmp_path / "a,3.mrc").touch()
    (tmp_path / "b,3.hed").touch()
    for name in ("a,3.mrc", "b,3"):
        assert split_spec(tmp_path / name) == (str(tmp_path / name), None)
    with pytest.raises(UsageError, match="backwards"):
        split_spec("a,5,3")


def test_format():
    assert format_locations([3, 4, 5, 9, 20, 21, 2]) == "3-5,9,20-21,2"


def test_folds_are_even_independent_and_reproducible():
    index = np.arange(20000)
    fold = fold_of(7, 5, index)
    assert fold.dtype == np.int32 and set(fold) == {1, 2, 3, 4, 5}
    assert (np.abs(np.bincount(fold)[1:] - 4000) < 300).all()
    assert fold[:8].tolist() == fold_of(7, 5, index[:8]).tolist() == [int(fold_of(7, 5, k)) for k in range(8)]
    other = fold_of(8, 5, index)
    assert abs((fold == other).mean() - 0.2) < 0.02
    assert abs((fold[1:] == fold[:-1]).mean() - 0.2) < 0.02
    # fixed for ever: files carry fold numbers
    assert fold_of(1, 4, np.arange(12)).tolist() == FIRST
    assert set(fold_of(1, 1, index)) == {1}
    with pytest.raises(ValueError, match="folds"):
        fold_of(1, 0, index)


FIRST = [2, 4, 1, 4, 1, 4, 3, 1, 1, 1, 3, 4]


def test_own_words_count_only_where_tagged():
    h = np.zeros(3, HEADER_DTYPE)
    h["RXSHIFT"], h["CONFID3D"], h["REF3D"] = 5.0, 0.5, 2
    h["IM4DTAG"][1] = TAG
    poses = Poses.from_headers(h)
    assert poses.shift[:, 0].tolist() == [0, 5, 0] and poses.confidence.tolist() == [0, 0.5, 0]
    assert poses.ref3d.tolist() == [2, 2, 2]


def test_select_and_concatenate():
    poses = Poses.blank(4)
    poses.alpha[:] = [1, 2, 3, 4]
    part = poses.select(poses.alpha > 2)
    part.alpha += 10
    assert poses.alpha.tolist() == [1, 2, 3, 4]
    both = Poses.concatenate([part, poses])
    assert len(both) == 6 and both.alpha.tolist() == [13, 14, 1, 2, 3, 4]
    assert both.any_set() and not Poses.blank(3).any_set()
    copy = Poses.blank(4)
    copy.set_matrices(poses.matrices())
    assert np.allclose(copy.matrices(), poses.matrices())
