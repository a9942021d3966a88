"""Choice among the 3Ds of many starts, and what may be believed of them: on tables of scores with known truth."""

import itertools

import numpy as np
import pytest

from imagic4d_core.competition.agreement import match, same_poses
from imagic4d_core.competition.choice import Scores, choose, losses
from imagic4d_core.competition.deciding import decide, decide_number, for_both, others
from imagic4d_core.competition.explained import explained
from imagic4d_core.competition.verdict import Evidence, judged, statement
from imagic4d_core.geometry.euler import J_HAND, matrix_from_euler, random_rotations


def total(table, columns):
    """Mean over rows of the best score among some columns, by loops."""
    return sum(max(row[c] for c in columns) for row in table) / len(table)


@pytest.mark.parametrize("seed", range(6))
def test_choice_beside_all_choices(seed):
    """Greedy with exchanges comes within 1 - 1/e of the best of all choices, and here to within 1 %."""
    table = np.random.default_rng(seed).random((40, 9))
    best = max(total(table, c) for c in itertools.combinations(range(9), 3))
    found = choose(table, 3)
    assert len(set(found)) == 3 and found == sorted(found)
    assert total(table, found) >= 0.99 * best
    for j, other in itertools.product(range(3), range(9)):  # no single exchange is better
        swapped = found[:j] + found[j + 1 :] + [other]
        assert total(table, swapped) <= total(table, found) + 1e-9


def test_choice_of_more_than_there_are():
    assert choose(np.random.default_rng(1).random((5, 2)), 7) == [0, 1]


class Made:
    """A table as several starts would give it: structures, which of them each start has, and noise of images."""

    def __init__(self, starts, structures=3, images=240, noise=0.01, seed=0, separation=0.1):
        rng = np.random.default_rng(seed)
        self.truth = np.arange(images) % structures
        poses = random_rotations(rng, images)
        columns, matrices, run = [], [], []
        for r, content in enumerate(starts):
            for members in content:  # of which structures this 3D is made
                signal = np.where(np.isin(self.truth, members), 1.0 - separation * (len(members) - 1) / 2, 1.0 - separation)
                columns.append(signal)
                frame = random_rotations(rng, 1)[0]
                right = np.isin(self.truth, members)
                other = random_rotations(rng, images)
                seen = J_HAND @ poses @ J_HAND if (r + len(columns)) % 2 else poses
                matrices.append(np.where(right[:, None, None], seen @ frame, other))
                run.append(r)
        signal = np.array(columns).T

        def seen_with_noise():
            return signal + noise * rng.standard_normal(signal.shape)

        first, second = seen_with_noise(), seen_with_noise()
        self.scores = Scores((first + second) / 2, first, second)
        self.poses = np.array(matrices).transpose(1, 0, 2, 3)
        self.run = np.array(run)


def test_all_structures_kept_and_found_again():
    made = Made([[[0], [1], [2], [0]], [[0], [1], [2], [1]]])
    found = decide(made.scores, made.poses, made.run, 3)
    assert len(found.kept) == 3 and found.agreed
    groups = [set(made.truth[found.membership == j]) for j in range(3)]
    assert sorted(map(sorted, groups)) == [[0], [1], [2]]


def test_five_asked_for_where_there_are_three():
    made = Made([[[0], [1], [2], [0], [1]], [[0], [1], [2], [1], [2]]])
    found = decide(made.scores, made.poses, made.run, 5)
    assert len(found.kept) == 3 and len(found.removed) == 2
    assert decide_number(made.scores, made.poses, made.run, 8).columns == found.columns


def test_number_has_its_evidence():
    made = Made([[[0], [1], [2], [0]], [[0], [1], [2]]])
    gains = {int(r["volumes"]): (r["gain"], r["error"]) for r in decide_number(made.scores, made.poses, made.run, 6).by_number}
    assert gains[3][0] > 3 * gains[3][1]  # the third is needed
    assert all(gains[k][0] < 3 * gains[k][1] for k in (4, 5, 6))  # copies are not


def test_a_structure_of_one_start_is_not_called_found_again():
    """The second start has two of the three in one 3D: what only the first has is kept and not believed."""
    made = Made([[[0], [1], [2]], [[0], [1, 2]]])
    found = decide(made.scores, made.poses, made.run, 3)
    believed = {int(made.truth[found.membership == j][0]): bool(k.again) for j, k in enumerate(found.kept)}
    assert believed == {0: True, 1: False, 2: False} and not found.agreed


def test_one_structure_divided_by_chance_is_seen():
    """Copies that divide the images of one structure in each start in another way are a pair that one 3D could stand for."""
    rng = np.random.default_rng(3)
    n = 300
    poses = random_rotations(rng, n)
    frames = random_rotations(rng, 4)
    tastes = 0.02 * rng.standard_normal((n, 4))  # what an image prefers is the same in both halves of its samples
    scores = Scores(0.9 + tastes, 0.9 + tastes, 0.9 + tastes)
    seen = np.stack([poses @ f for f in frames], 1)
    found = decide(scores, seen, np.array([0, 0, 1, 1]), 2)
    assert not any(k.again for k in found.kept)
    (pair,) = for_both(scores, seen, found)
    assert pair[:2] == (0, 1)
    # where no 3D sees the images of both as the two see their own, there is none
    for c in range(4):
        wrong = found.membership == (0 if c == found.columns[1] else 1)
        seen[wrong, c] = random_rotations(rng, int(wrong.sum()))
    assert for_both(scores, seen, found) == []


def test_clear_structures_are_no_pair():
    """Structures that other starts have as well, and that differ clearly, are not looked at again even where poses are shared."""
    made = Made([[[0], [1], [2]], [[0], [1], [2]], [[0, 1], [2]]])
    found = decide(made.scores, made.poses, made.run, 3)
    assert all(k.again for k in found.kept) and for_both(made.scores, made.poses, found) == []
    assert others(found, made.scores) is not None


def test_same_images_in_other_poses_are_not_the_same():
    made = Made([[[0], [1], [2]], [[0], [1], [2]]])
    made.poses[:, 3] = random_rotations(np.random.default_rng(5), len(made.truth))
    found = decide(made.scores, made.poses, made.run, 3)
    believed = {int(made.truth[found.membership == j][0]): bool(k.again) for j, k in enumerate(found.kept)}
    assert believed == {0: False, 1: True, 2: True}


def test_losses_by_hand():
    first = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.3], [0.6, 0.5, 0.4], [0.1, 0.2, 0.7]])
    second = np.array([[0.8, 0.4, 0.2], [0.3, 0.7, 0.2], [0.1, 0.6, 0.5], [0.2, 0.3, 0.6]])

    def crossed(columns):
        out = []
        for a, b in zip(first, second, strict=True):
            i = max(columns, key=lambda c: a[c])
            j = max(columns, key=lambda c: b[c])
            out.append((b[i] + a[j]) / 2)
        return np.array(out)

    loss, error = losses(Scores((first + second) / 2, first, second), [0, 1, 2])
    for j in range(3):
        d = crossed([0, 1, 2]) - crossed([c for c in range(3) if c != j])
        assert loss[j] == pytest.approx(d.mean()) and error[j] == pytest.approx(d.std() / 2)
    assert losses(Scores(first, first, first), [1])[0][0] == np.inf


def test_poses_within_ten_degrees_either_hand():
    poses = random_rotations(np.random.default_rng(8), 60)
    frame = random_rotations(np.random.default_rng(9), 1)[0]
    small = matrix_from_euler(np.full(60, 4.0), np.zeros(60), np.zeros(60))
    large = matrix_from_euler(np.full(60, 25.0), np.zeros(60), np.zeros(60))
    half = np.where(np.arange(60)[:, None, None] % 2, small @ poses @ frame, large @ large @ large @ poses @ frame)
    assert same_poses(small @ poses @ frame, poses) == 1.0
    assert same_poses(J_HAND @ poses @ J_HAND @ frame, poses) == 1.0
    assert same_poses(half, poses) == pytest.approx(0.5)
    assert same_poses(poses[:2], poses[:2]) == 0.0  # two images always agree after some rotation, or nearly
    both = match(np.arange(60) < 40, np.arange(60) < 50, poses @ frame, poses)
    assert both.jaccard == pytest.approx(0.8) and both.posed == 1.0


def test_starts_that_gather_junk():
    """Images that starts gather in the same way, but see in other poses each time: kept beside those asked for, not believed."""
    made = Made([[[0], [1], [2]], [[0], [1], [2]]])
    rng = np.random.default_rng(5)
    for c in (2, 5):
        made.poses[:, c] = random_rotations(rng, len(made.truth))
    found = decide(made.scores, made.poses, made.run, 3)
    odd = {int(made.truth[found.membership == j][0]): k.like_junk for j, k in enumerate(found.kept)}
    assert odd == {0: False, 1: False, 2: True} and found.agreed and found.particles == 2


def test_images_that_nothing_explains():
    """Junk scores like decoys; of data that all score a little above them, or like them, none is told from the others."""
    rng = np.random.default_rng(2)
    decoy = rng.normal(0.4, 0.04, 500)
    score = decoy + np.where(np.arange(500) < 100, rng.normal(0.03, 0.04, 500), rng.normal(0.35, 0.05, 500))
    found = explained(score, decoy)
    assert (~found.images[:100]).mean() > 0.95 and found.images[100:].mean() > 0.98
    assert 0.1 < found.threshold < 0.25
    noise = explained(decoy + rng.normal(0.02, 0.04, 500), decoy)
    assert noise.images.all() and noise.threshold == -np.inf
    faint = explained(decoy + rng.normal(0.1, 0.04, 500), decoy)
    assert faint.images.mean() > 0.97
    constant = explained(np.full(9, 0.5), np.full(9, 0.4))
    assert constant.images.all()


def evidence(**changes):
    base = {
        "runs": 4, "again": 3, "jaccard": 0.95, "posed": 0.98, "stayed": 0.95, "effect": 9.0, "above_chance": True, "poor": False,
        "images": 100, "duplicate_of": None,
    }  # fmt: skip
    return Evidence(**(base | changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "right"), ({"again": 0}, "not reproduced"), ({"runs": 1, "again": 0}, "not compared"),
        ({"stayed": 0.3}, "reproduced"), ({"above_chance": False}, "noise"), ({"poor": True}, "poor"),
        ({"duplicate_of": 2, "again": 0}, "repeats another"), ({"duplicate_of": 2}, "right"), ({"states": 3}, "mixed"),
        ({"views_missing": True}, "reproduced"),
    ],
)  # fmt: skip
def test_word_of_a_3d(changes, word):
    assert judged(evidence(**changes))[0] == word


def test_last_line_counts_what_may_be_believed():
    assert "All 3 3Ds" in statement(["right"] * 3) and "2 of 3" in statement(["right", "right", "not reproduced"])
    assert "Nothing is claimed" in statement(["noise", "noise"]) and "not above chance" in statement(["noise"])
