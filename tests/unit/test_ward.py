"""Ward's tree against the greedy twin, whatever the blocks, threads and lists."""

import os
import subprocess
import sys

import numpy as np
import pytest
from oracle.ward import greedy_ward, intra

from imagic4d_core.errors import InputError
from imagic4d_core.kernels import ward as loops
from imagic4d_core.msa import tree as trees
from imagic4d_core.msa import ward as module
from imagic4d_core.msa.ward import ward


def cloud(n, d, kind, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if kind == "groups":
        x = 3 * rng.normal(size=(7, d))[rng.integers(0, 7, n)] + x / np.sqrt(1 + np.arange(d))
    if kind == "far":
        x = 1e-3 * x + 5.0
    if kind == "tiny":
        x *= 1e-18
    return x


@pytest.mark.parametrize("kind", ["noise", "groups", "far", "tiny"])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (60, 3), (121, 8)])
def test_tree_is_the_greedy_one(n, d, kind):
    x = cloud(n, d, kind)
    tree, work = ward(x)
    naive = greedy_ward((x - x.mean(0)).tolist())
    assert tree.merges.tolist() == [[i, j] for i, j, _ in naive]
    np.testing.assert_allclose(tree.heights, [d for _, _, d in naive], rtol=1e-9)
    np.testing.assert_allclose(tree.heights.sum(), np.square(x - x.mean(0)).sum(), rtol=1e-9)
    assert (np.diff(tree.heights) >= 0).all()
    assert work.searches >= n


@pytest.mark.parametrize("kind", ["noise", "groups"])
def test_same_bits_for_any_lists_blocks_and_threads(kind, monkeypatch):
    x = cloud(1500, 12, kind)
    first, _ = ward(x, threads=1)
    for depth, width, task, threads in ((2, 512, 256, 2), (3, 64, 7, 2), (16, 100, 1000, 1)):
        monkeypatch.setattr(module, "WIDTH", width)
        monkeypatch.setattr(module, "TASK", task)
        other, _ = ward(x, depth=depth, threads=threads)
        assert other.merges.tobytes() == first.merges.tobytes()
        assert other.heights.tobytes() == first.heights.tobytes()


def test_blocks_out_of_reach_are_not_multiplied():
    rng = np.random.default_rng(1)
    x = 100 * rng.normal(size=(8, 4))[np.repeat(np.arange(8), 512)] + rng.normal(size=(4096, 4))
    _, work = ward(x)
    assert work.pairs < 0.4 * 4096**2


def test_duplicates_and_lattices():
    rng = np.random.default_rng(2)
    kinds = rng.normal(size=(9, 5))
    label = np.repeat(np.arange(9), 40)
    tree, work = ward(kinds[label])
    assert work.exact > 0
    assert (tree.heights[: 9 * 39] < 1e-20).all()
    same = tree.cut(9)
    assert len(set(zip(same, label, strict=True))) == 9
    lattice = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3)
    tree, _ = ward(lattice)
    np.testing.assert_allclose(tree.heights.sum(), np.square(lattice - 2.5).sum())
    assert (tree.heights[:108] == 0.5).all()


def test_identical_points_and_single_points():
    tree, _ = ward(np.ones((30, 3)))
    assert (tree.heights == 0).all()
    assert len(set(tree.cut(5))) == 5
    tree, _ = ward(np.ones((1, 3)))
    assert tree.cut(1).tolist() == [0]
    with pytest.raises(InputError, match="no objects"):
        ward(np.ones((0, 3)))
    with pytest.raises(InputError, match="not finite"):
        ward(np.array([[1.0], [np.nan]]))


def test_cuts_nest_and_number_by_first_leaf():
    x = cloud(80, 4, "groups")
    tree, _ = ward(x)
    before = None
    for k in (1, 2, 5, 40, 80):
        label = tree.cut(k)
        assert label.max() + 1 == k
        firsts = [int(np.flatnonzero(label == c)[0]) for c in range(k)]
        assert firsts == sorted(firsts)
        np.testing.assert_allclose(intra(x.tolist(), label.tolist()), tree.heights[: 80 - k].sum(), rtol=1e-9, atol=1e-9)
        if before is not None:
            assert len(set(zip(before, label, strict=True))) == k
        before = label
    with pytest.raises(InputError, match="81 classes of 80"):
        tree.cut(81)


def test_late_singles_and_trees_without_them():
    x = np.concatenate([cloud(40, 3, "noise"), [[50.0, 0, 0], [0, 90.0, 0]]])
    tree, _ = ward(x)
    late = tree.late_singles(2)
    assert np.flatnonzero(late).tolist() == [40, 41]
    rest = tree.without(late)
    assert rest.leaves == 40
    assert (np.diff(rest.heights) >= 0).all()
    own, _ = ward(x[:40])
    assert rest.cut(2).tolist() == own.cut(2).tolist()
    assert tree.without(np.ones(42, bool) ^ (np.arange(42) == 3)).merges.shape == (0, 2)


def test_files_of_trees(tmp_path):
    tree, _ = ward(cloud(30, 3, "noise"))
    trees.save_tree(tmp_path / "a.npz", tree, {"factors": 3})
    again, about = trees.load_tree(tmp_path / "a.npz")
    assert again.merges.tobytes() == tree.merges.tobytes() and again.heights.tobytes() == tree.heights.tobytes()
    assert int(about["factors"]) == 3
    raw = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(raw[:-50])
    np.savez(tmp_path / "c.npz", x=1)
    np.savez(tmp_path / "d.npz", kind=trees.KIND, leaves=5, merges=np.full((4, 2), 9), heights=np.zeros(4))
    for name, word in (("b", "damaged"), ("c", "is not a tree"), ("d", "do not fit"), ("e", "not found")):
        with pytest.raises(InputError, match=word):
            trees.load_tree(tmp_path / f"{name}.npz")


def test_linkage_counts_leaves():
    tree, _ = ward(cloud(12, 2, "noise"))
    table = tree.linkage()
    assert table[-1, 3] == 12
    np.testing.assert_allclose(table[:, 2] ** 2, 2 * tree.heights)


def test_search_against_all_pairs():
    """The kernel lists what all pairs say, and its bound holds for the rest; also without the compiler."""
    rng = np.random.default_rng(5)
    centres, sizes = rng.normal(size=(700, 6)), rng.integers(1, 9, 700).astype(float)
    number = np.arange(700)
    columns = module.Columns(centres, sizes, number)
    rows = np.array([3, 511, 512, 699])
    arg, heights, bound, _, _ = columns.nearest(centres[rows], sizes[rows], number[rows], rows.astype(np.int32), 5)
    for i, row in enumerate(rows):
        every = np.array([np.inf if j == row else loops.height.py_func(centres[row], centres[j], 1 / sizes[row] + 1 / sizes[j])
                          for j in range(700)])  # fmt: skip
        kept = arg[i][arg[i] >= 0]
        assert len(kept) >= 4
        assert np.argsort(every)[: len(kept)].tolist() == kept[np.argsort(heights[i, : len(kept)])].tolist()
        np.testing.assert_array_equal(every[kept], heights[i, : len(kept)])
        rest = np.setdiff1d(np.arange(700), [*kept, row])
        assert every[rest].min() >= bound[i]


def test_same_tree_and_classes_without_the_compiler():
    code = (
        "import numpy as np; from imagic4d_core.msa.ward import ward; from imagic4d_core.msa.moving import move_elements;"
        "x = np.sin(np.arange(150.0) ** 2).reshape(50, 3); t, _ = ward(np.concatenate([x, x[:3]]));"
        "m = move_elements(x, t.cut(6)[:50], 6); print(t.merges.tolist(), t.heights.tolist(), m.labels.tolist())"
    )
    said = []
    for value in ("0", "1"):
        env = os.environ | {"NUMBA_DISABLE_JIT": value}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
