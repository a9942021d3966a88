"""Moving elements, qualities, class sums, and the files of classification."""

import numpy as np
import pytest
from oracle.classes import class_averages, wishes, within

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.cls import cls_path, read_classes, read_cls, write_cls, write_lis
from imagic4d_core.kernels.ward_sums import add_members, add_squares
from imagic4d_core.msa.averages import ClassSums, kept_members
from imagic4d_core.msa.classes import describe
from imagic4d_core.msa.moving import move_elements
from imagic4d_core.msa.ward import ward
from imagic4d_core.parallel import SERIAL


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("start", ["tree", "random"])
def test_moving_ends_where_nobody_wants_to_move(seed, start):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(150, 3))
    labels = ward(x)[0].cut(9) if start == "tree" else rng.integers(0, 9, 150).astype(np.int32)
    found = move_elements(x, labels, 9)
    assert found.before == pytest.approx(within(x.tolist(), labels.tolist()))
    assert found.after == pytest.approx(within(x.tolist(), found.labels.tolist()))
    assert found.after <= found.before
    assert found.passes == len(found.moved) < 50
    assert set(found.labels.tolist()) == set(range(9))
    assert wishes(x.tolist(), found.labels.tolist()) == [None] * 150


def test_first_pass_is_that_of_the_twin():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(80, 2))
    labels = rng.integers(0, 4, 80).astype(np.int32)
    wanted = wishes(x.tolist(), labels.tolist())
    once = move_elements(x, labels, 4, passes=1)
    assert once.labels.tolist() == [a if b is None else b for a, b in zip(labels.tolist(), wanted, strict=True)]


def test_moving_leaves_out_and_never_empties():
    x = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]])
    labels = np.array([0, 0, 1, 0, 1, -1], np.int32)
    found = move_elements(x, labels, 2)
    assert found.labels.tolist() in ([0, 0, 0, 1, 1, -1], [1, 1, 1, 0, 0, -1])
    same = move_elements(np.ones((6, 2)), np.array([0, 0, 1, 1, 2, 2], np.int32), 3)
    assert same.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert move_elements(x, np.zeros(6, np.int32), 1).passes == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_moving_is_the_same_for_any_threads(threads):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5000, 4))
    labels = rng.integers(0, 40, 5000).astype(np.int32)
    first = move_elements(x, labels, 40, threads=1)
    other = move_elements(x, labels, 40, threads=threads)
    assert other.labels.tobytes() == first.labels.tobytes()


def test_qualities():
    x = np.array([[0.0, 0], [2, 0], [10, 0], [10, 4], [10, 2], [7, 7]])
    labels = np.array([0, 0, 1, 1, 1, -1], np.int32)
    found = describe(x, labels, 2, np.array([0.5, 0.7, 1, 1, 1, 0]))
    assert found.sizes.tolist() == [2, 3]
    np.testing.assert_allclose(found.intra, [1, 8 / 3])
    np.testing.assert_allclose(found.distance, [1, 1, 4, 4, 0, 0])
    np.testing.assert_allclose(found.represented, [0.6, 1])
    total = np.square(x[:5] - x[:5].mean(0)).sum(1).mean()
    np.testing.assert_allclose(found.overall, [0.6 * (1 - 1 / total), 1 - 8 / 3 / total])
    assert found.within == pytest.approx((2 + 8) / 5 / total)
    assert [m.tolist() for m in found.members()] == [[0, 1], [4, 2, 3]]


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_class_sums(halves, squares, shift):
    rng = np.random.default_rng(1)
    images = (rng.normal(size=(40, 5, 7)) + shift).astype(np.float32)
    members = [rng.permutation(40)[:k] for k in (1, 2, 9)]
    for k, mine in enumerate(members):
        sums = ClassSums(3, 35, np.full(3, np.sqrt(np.square(images[0]).mean())), halves=halves, squares=squares)
        row, half = np.full(40, -1), np.zeros(40, np.int64)
        row[mine], half[np.sort(mine)] = k, np.arange(len(mine)) % 2
        for a in range(0, 40, 16):
            sums.add(images[a : a + 16], row[a : a + 16], half[a : a + 16])
        sums.over(SERIAL)
        assert not sums.overflown().any()
        counts = np.zeros((3, 2), np.int64)
        counts[k] = (len(mine) + 1) // 2, len(mine) // 2
        means = sums.means(0, counts)
        (average,), (variance,) = class_averages(images, [mine])
        np.testing.assert_allclose(means.average[k], average, rtol=1e-7, atol=1e-7)
        if squares:
            np.testing.assert_allclose(means.variance[k], variance, atol=1e-7 * (1 + shift**2), rtol=1e-5)
        if halves:
            for h in (0, 1):
                want = images[np.sort(mine)[h::2]].mean(0, dtype=float).ravel() if len(mine) > h else np.zeros(35)
                np.testing.assert_allclose(means.halves[h][k], want, rtol=1e-6, atol=1e-6)


def test_sums_do_not_depend_on_order():
    rng = np.random.default_rng(2)
    images = (rng.normal(size=(500, 6)) * 10.0 ** rng.integers(-6, 3, (500, 1))).astype(np.float32)
    made = []
    for order in (np.arange(500), np.arange(500)[::-1], rng.permutation(500)):
        sums = ClassSums(1, 6, np.ones(1), halves=False, squares=True)
        sums.add(images[order], np.zeros(500, np.int64), np.zeros(500, np.int64))
        made.append(sums.sums.tobytes() + sums.squares.tobytes())
    assert len(set(made)) == 1


def test_too_large_sums_are_noticed():
    sums = ClassSums(2, 2, np.array([1e-6, 1.0]), halves=True, squares=True)
    sums.add(np.full((2, 1, 2), 1e3, np.float32), np.arange(2), np.zeros(2, np.int64))
    assert sums.overflown().tolist() == [True, False]


def test_kernels_without_the_compiler():
    images = np.arange(12, dtype=np.float32).reshape(3, 4)
    place = np.array([1, -1, 1])
    for kernel in (add_members, add_squares):
        a, b = np.zeros((2, 4)), np.zeros((2, 4))
        kernel(images, place, np.full(2, 1.5 * 2.0**40), a)
        kernel.py_func(images, place, np.full(2, 1.5 * 2.0**40), b)
        np.testing.assert_array_equal(a, b)
    assert a[1].tolist() == [64, 82, 104, 130]


@pytest.mark.parametrize("halves", [True, False])
def test_sums_by_numpy_have_the_bits_of_the_compiled_ones(halves):
    rng = np.random.default_rng(3)
    images = (rng.normal(size=(60, 5, 7)) * 10.0 ** rng.integers(-3, 3, (60, 1, 1))).astype(np.float32)
    row, half = rng.integers(-1, 4, 60), rng.integers(0, 2, 60)
    made = []
    for compiled in (True, False):
        sums = ClassSums(4, 35, np.array([0.01, 1, 3, 100]), halves=halves, squares=True, compiled=compiled)
        sums.add(images, row, half)
        made.append(sums.sums.tobytes() + sums.squares.tobytes())
    assert made[0] == made[1]


def test_worst_members_are_the_last():
    lists = [np.arange(10), np.arange(1), np.arange(3), np.arange(0)]
    assert [len(m) for m in kept_members(lists, 25)] == [8, 1, 3, 0]
    assert [len(m) for m in kept_members(lists, 99)] == [1, 1, 1, 0]


def test_cls_files(tmp_path):
    path = tmp_path / "a.cls"
    write_cls(path, [1, 2, 5], [0.5, 0.25, 1e-9], [np.arange(23), np.array([30]), np.array([], int)])
    found = read_cls(path)
    assert found.numbers.tolist() == [1, 2, 5]
    assert [m.tolist() for m in found.members] == [list(range(23)), [30], []]
    np.testing.assert_allclose(found.quality, [0.5, 0.25, 1e-9], rtol=1e-6)
    assert read_classes(path, 31).tolist() == [1] * 23 + [0] * 7 + [2]
    with pytest.raises(MismatchError, match="member 31, but the stack holds 30 images: it belongs to another file"):
        read_classes(path, 30)
    assert cls_path("x") == cls_path("x.cls") == "x.cls"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no class"),
        ("1 3 0.5\n 7 8\n", "cut short"),
        ("1 2 0.5\n 7 x\n", "no CLS file"),
        ("hello world foo", "no CLS file"),
        ("1 2 0.5 3 4 1 1 0.2 5", "number twice"),
        ("1 2 0.5 3 4 2 1 0.2 4", "location 4 is in two classes"),
        ("1 2 0.5 0 4", "below 1"),
        ("1 -2 0.5 0 4", "cut short|no CLS"),
        ("1 2", "cut short"),
    ],
)
def test_bad_cls_files(tmp_path, text, word):
    (tmp_path / "a.cls").write_text(text)
    with pytest.raises(InputError, match=word):
        read_cls(tmp_path / "a.cls")


def test_cls_file_as_imagic_writes_it(tmp_path):
    (tmp_path / "a.cls").write_text(
        "     1     4   0.12500E-01\n     7     2    11     5\n     2     3   0.21000D-01\n     9     1     3\n"
    )
    found = read_cls(tmp_path / "a.cls")
    assert [m.tolist() for m in found.members] == [[6, 1, 10, 4], [8, 0, 2]]
    np.testing.assert_allclose(found.quality, [0.0125, 0.021])


def test_lis_tables_are_sorted(tmp_path):
    found = describe(np.array([[0.0], [1], [10], [14]]), np.array([0, 0, 1, 1], np.int32), 2, np.ones(4))
    write_lis(tmp_path / "a.lis", ["title"], [("intra-class variance", found.intra), ("overall quality", found.overall)], found)
    rows = [line.split() for line in (tmp_path / "a.lis").read_text().splitlines()]
    assert ["Number", "of", "classes", "wanted", ":", "2"] in rows
    table = [(r[0], r[2], r[4]) for r in rows if len(r) == 5 and r[0].isdigit()]
    assert table == [("1", "1", "2"), ("2", "2", "2")] * 2
