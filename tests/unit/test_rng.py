"""The random-number door: the same for any order of asking, different for each key."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagic4d_core.geometry.poses import fold_of
from imagic4d_core.rng import draw_seed, rng_for


def test_same_key_same_numbers():
    a = rng_for(5, "stage", 7).standard_normal(10)
    rng_for(5, "stage", 8).standard_normal(1000)
    assert np.array_equal(a, rng_for(5, "stage", 7).standard_normal(10))


def test_numbers_stay_from_release_to_release():
    assert rng_for(1, "a", 2).integers(0, 1 << 62, 2).tolist() == [1605836618106338982, 413701147899002783]


def test_every_part_of_the_key_counts():
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (1 << 40, "a", 0), (0, "a", (1 << 64) - 1), (0, "", 0)]
    assert len({rng_for(*key).integers(0, 1 << 62) for key in keys}) == len(keys)


def test_neighbouring_streams_do_not_correlate():
    x = np.array([rng_for(1, "t", i).standard_normal(200) for i in range(200)])
    c = np.corrcoef(x)[np.triu_indices(200, 1)]
    assert np.abs(c).max() < 0.4
    assert abs(c.std() - 1 / np.sqrt(200)) < 0.005


def test_draw_seed():
    seeds = {draw_seed() for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= s < 1 << 31 for s in seeds)


@given(st.integers(0, 1 << 31), st.integers(1, 12))
def test_folds(seed, folds):
    whole = fold_of(seed, folds, np.arange(500))
    assert whole.min() >= 1
    assert whole.max() <= folds
    assert np.array_equal(whole[100:200], fold_of(seed, folds, np.arange(100, 200)))
    assert int(fold_of(seed, folds, 17)) == whole[17]


def test_folds_are_even_and_independent():
    counts = np.bincount(fold_of(3, 5, np.arange(50000)), minlength=6)[1:]
    assert np.abs(counts - 10000).max() < 400
    same = np.mean(fold_of(3, 5, np.arange(50000)) == fold_of(4, 5, np.arange(50000)))
    assert abs(same - 0.2) < 0.01
