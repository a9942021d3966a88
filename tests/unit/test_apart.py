"""3Ds told apart: which of those kept belong together, and which image is in which."""

import json
from types import SimpleNamespace

import numpy as np

from imagic4d_core.competition.agreement import Match
from imagic4d_core.competition.deciding import Decision, Kept
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.context import Context
from imagic4d_core.jobs.scheme.apart import Apart, Looked
from imagic4d_core.jobs.scheme.pool import Pool, PoolOptions
from imagic4d_core.jobs.truth.simulate import simulate
from imagic4d_core.recon.assignment import by_state
from imagic4d_core.scores import adjusted_rand_index


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


def test_a_minority_that_starts_do_not_find_is_kept(tmp_path):
    """Two runs with all images in one 3D, in right poses: its two states are told apart, kept, and written as states of one."""
    rng = np.random.default_rng(1)
    body = [
        {"x": float(x), "y": float(y), "z": float(z), "sigma": 2.0, "weight": 1.0} for x, y, z in rng.uniform(-6, 6, (14, 3))
    ]
    part = [{"x": 7.0, "y": 2.0, "z": -3.0, "sigma": 1.8, "weight": 2.0}]
    models = [{"name": "with", "blobs": body + part}, {"name": "without", "blobs": body}]
    (tmp_path / "m.blobs.json").write_text(json.dumps({"schema": 1, "box": 32, "pixel_size": 4.0, "models": models}))
    images = str(tmp_path / "images.hed")
    simulate(str(tmp_path / "m.blobs.json"), images, images=200, snr=2.0, shift_sigma=0.0, populations=(4, 1), seed=1)
    with open_stack(images) as stack:
        headers = stack.headers()
    true = headers["REF3D"].copy()
    headers["REF3D"] = 1
    headers["CLASSNO"] = 7  # of another life
    replace_headers(images, headers, tmp_path / "one.hed", overwrite=True)
    pool, context = Pool(str(tmp_path / "one.hed"), tmp_path, PoolOptions(mask_radius=0.85)), Context(threads=1, overwrite=True)
    for name in ("1-start1", "1-start2"):
        pool.add(name, str(tmp_path / "one.hed"), context)
        # so few pixels do not hold poses as real images do
        pool.runs[-1].matrix[:, 0], pool.runs[-1].shift[:] = Poses.from_headers(headers).matrices(), 0.0
    before = pool.decide(2)
    assert len(before.kept) == 1 and before.kept[0].again
    found = Apart(pool, tmp_path, 1)
    assert found.look(before, 1, context) == ["1-apart", "1-crossed"] and sorted(found.looked[0].sizes)[0] > 30
    assert found.look(before, 2, context) == []  # it has been looked at
    now = found.settled(pool.decide(2))
    assert len(now.kept) == 2 and all(k.again for k in now.kept)
    assert adjusted_rand_index(now.membership, true) > 0.95
    found.write_images(now, str(tmp_path / "together.hed"), context, together=True)
    found.write_images(now, str(tmp_path / "apart.hed"), context)
    with open_stack(tmp_path / "together.hed") as a, open_stack(tmp_path / "apart.hed") as b:
        one, two = a.headers(), b.headers()
    assert (one["REF3D"] == 1).all() and adjusted_rand_index(one["CLASSNO"].astype(int), true) > 0.95
    assert (two["CLASSNO"] == 0).all() and np.array_equal(by_state(one["REF3D"], one["CLASSNO"]), two["REF3D"])
    assert np.array_equal(one["ALPHA"], two["ALPHA"])  # in the poses of the one 3D
