"""Bringing in images that lie far off centre."""

import numpy as np
import pytest

from imagic4d_core.align.centre import normalised
from imagic4d_core.align.offcentre import fitted, object_shifts
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.models import project, random_family
from imagic4d_core.parallel import SERIAL


def views(seed, places, box=64, noise=1.0):
    """Projections of a structure at places (n, 2), with white noise of `noise` times the signal's standard deviation."""
    rng = np.random.default_rng(seed)
    signal = project(random_family(seed, 1, box)[0], random_rotations(rng, len(places)), places, box)
    return signal + (noise * signal.std() * rng.standard_normal(signal.shape)).astype(np.float32)


def placed(images, max_shift=0.4, **how):
    box = images.shape[1]
    ready = normalised(images.copy())[0]
    return object_shifts(lambda span: ready[slice(*span)], len(images), box, block=32, max_shift=max_shift * box / 2, **how)


@pytest.mark.parametrize("seed", [3, 4])
def test_centred_stays_centred(seed):
    got = placed(views(seed, np.zeros((120, 2))))
    assert got.stayed.sum() >= 118 and np.hypot(*got.shifts.T).max() < 4
    assert got.spread < 2.0


@pytest.mark.parametrize("box", [48, 63, 64, 96])
def test_far_off_is_brought_in(box):
    rng = np.random.default_rng(box)
    angle = rng.uniform(0, 2 * np.pi, 120)
    true = 10 * box / 64 * np.stack([np.cos(angle), np.sin(angle)], 1)
    got = placed(views(5, true, box))
    left = np.hypot(*(true + got.shifts).T)
    assert np.sqrt(np.square(left).mean()) < 1.5 * box / 64 and not got.stayed.any()


def test_a_few_far_off_among_centred_ones():
    true = np.zeros((120, 2))
    true[::12] = (0.0, -10.0)
    got = placed(views(6, true))
    assert np.hypot(*(true + got.shifts)[::12].T).max() < 2.5
    assert np.delete(got.stayed, np.s_[::12]).mean() > 0.97


def test_follows_a_move_of_all_images():
    """Translation equivariance: images rolled by whole pixels are brought in by as much more."""
    rng = np.random.default_rng(7)
    true = 6.0 * rng.standard_normal((100, 2)).clip(-1.2, 1.2)
    images = views(7, true)
    one, two = placed(images), placed(np.roll(images, (2, -3), (1, 2)))
    both = ~(one.stayed | two.stayed | one.unseen | two.unseen | one.limited | two.limited)
    assert both.sum() > 50
    change = (two.shifts - one.shifts)[both]
    np.testing.assert_allclose(np.median(change, 0), (-2, 3), atol=0.3)


def test_background_moves_no_image():
    images = views(8, np.zeros((120, 2)))
    x = np.linspace(-1, 1, 64)
    tilt = np.random.default_rng(8).standard_normal((120, 2))
    ground = tilt[:, :1, None] * x[:, None] + tilt[:, 1:, None] * x
    got = placed(images + (images.std() * ground).astype(np.float32))
    assert got.stayed.mean() > 0.97


def test_noise_alone_and_constant_images_stay():
    noise = np.random.default_rng(9).standard_normal((100, 64, 64)).astype(np.float32)
    noise[3] = 0
    got = placed(noise)
    assert np.sqrt(np.square(got.shifts).sum(1).mean()) < 2.0 and not got.shifts[3].any()
    assert np.isfinite(got.shifts).all()


def test_limit_is_counted():
    true = np.zeros((60, 2))
    true[::6, 0] = 11.0
    got = placed(views(10, true), max_shift=0.25)
    assert got.limited.sum() >= 8 and not got.limited[1::6].any()
    np.testing.assert_allclose(np.hypot(*got.shifts[got.limited].T), 8.0, rtol=1e-6)


def test_one_image_and_threads():
    true = np.array([[9.0, 3.0]])
    image = views(11, true, noise=0.5)
    assert np.hypot(*(true + placed(image).shifts).T)[0] < 3
    many = views(12, np.random.default_rng(1).normal(0, 4, (100, 2)).clip(-9, 9))
    assert placed(many).shifts.tobytes() == placed(many, comm=SERIAL, threads=3).shifts.tobytes()


@pytest.mark.parametrize("wide", [0.3, 4.0])
def test_mixture_tells_error_from_place(wide):
    """Estimates drawn from the model: spread and errors are found again, blind estimates too."""
    rng = np.random.default_rng(13)
    place = wide * rng.standard_normal((2000, 2))
    e = np.stack([place + 1.5 * rng.standard_normal((2000, 2)), place + 0.9 * rng.standard_normal((2000, 2))], 1)
    blind = rng.uniform(size=2000) < 0.2
    angle, r = rng.uniform(0, 2 * np.pi, 2000), 15 * np.sqrt(rng.uniform(size=2000))
    e[blind, 0] = np.stack([r * np.cos(angle), r * np.sin(angle)], 1)[blind]
    m = fitted(e, 15.0)
    np.testing.assert_allclose(np.sqrt(m.variances), (1.5, 0.9), rtol=0.2)
    assert abs(m.blind[0] - 0.2) < 0.05 and m.blind[1] < 0.05
    found = m.shares @ np.square(np.array([0.3, 1.0, 2.0, 4.0, 8.0]))
    assert found == pytest.approx(wide**2, rel=0.2, abs=0.3)
