"""3Ds told apart: which of those kept belong together, and which image is in which."""

from types import SimpleNamespace

import numpy as np

from imagic4d_core.competition.agreement import Match
from imagic4d_core.competition.deciding import Decision, Kept
from imagic4d_core.jobs.scheme.apart import Apart, Looked


def decision(membership):
    membership = np.asarray(membership)
    kept = [Kept(c, int((membership == c).sum()), 1.0, 0.1, (1,), Match(1, 1)) for c in range(membership.max() + 1)]
    return Decision(kept, membership, 0.9, 0.01)


def apart(labels, active=None):
    n = len(labels[0])
    active = np.ones(n, bool) if active is None else active
    out = Apart(SimpleNamespace(active=active), None, 1)
    out.looked = [Looked(np.asarray(x) > 0, 0, np.asarray(x, np.int32)) for x in labels]
    return out


def test_classes_say_which_image_is_in_which_of_3ds_that_belong_together():
    classes = [1] * 8 + [2] * 4 + [0] * 6
    found = apart([classes])
    now = decision([0] * 7 + [1] * 4 + [0] + [2] * 6)  # one image on either wrong side, and a 3D of its own
    assert found.families(now).tolist() == [0, 0, 2]
    settled = found.settled(now)
    assert settled.membership.tolist() == [0] * 8 + [1] * 4 + [2] * 6 and [k.images for k in settled.kept] == [8, 4, 6]
    assert found.looked[0].sizes == [8, 4]


def test_images_that_went_to_another_3d_stay_there():
    found = apart([[1] * 8 + [2] * 4 + [0] * 6])
    now = decision([2] + [0] * 7 + [1] * 4 + [2] * 6)
    assert np.array_equal(found.settled(now).membership, now.membership)


def test_nothing_belongs_together_where_one_class_is_not_kept():
    found = apart([[1] * 8 + [2] * 4 + [0] * 6])
    now = decision([0] * 12 + [1] * 6)
    assert found.families(now).tolist() == [0, 1] and np.array_equal(found.settled(now).membership, now.membership)


def test_a_class_told_apart_again_is_of_the_same_family():
    found = apart([[1] * 8 + [2] * 4, [1] * 4 + [2] * 4 + [0] * 4])
    now = decision([0] * 4 + [1] * 4 + [2] * 4)
    # the first look's class 1 has half of its images in 3D 0
    assert len(set(found.families(now).tolist())) == 1


def test_inactive_images_are_in_none():
    active = np.ones(18, bool)
    active[3] = False
    found = apart([[1] * 8 + [2] * 4 + [0] * 6], active)
    now = decision([0] * 7 + [1] * 4 + [2] * 6)
    assert np.array_equal(found.settled(now).membership, now.membership)
