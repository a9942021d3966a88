"""Weights of frequencies: against sums one by one, against the likelihood, and on data of known signal and noise."""

import numpy as np
import pytest

from imagic4d_core import fourier
from imagic4d_core.angrec.assign import HalfPlane
from imagic4d_core.angrec.weights import (
    independent_share,
    noise_spectrum_outside,
    ring_sums,
    weights_from_images,
    weights_from_pairs,
)
from imagic4d_core.masks.shapes import soft_disc
from tests.oracle import weights as naive

BOX, TOP = 32, 10


def _pairs(n, noise, decay=0.35, seed=0):
    """Sections of falling spectrum, images of them in noise (a function of the ring), rings and ring of each sample."""
    rng = np.random.default_rng(seed)
    points = HalfPlane.make(BOX, TOP).points
    radius = np.hypot(*points.T)
    ring = np.rint(radius).astype(np.int64)

    def draw():
        return (rng.standard_normal((n, len(ring))) + 1j * rng.standard_normal((n, len(ring)))) / np.sqrt(2)

    sections = draw() * np.exp(-decay * radius)
    return sections + draw() * np.sqrt(noise(ring)), sections, ring


def test_sums_and_correlations_are_those_of_single_coefficients():
    images, sections, ring = _pairs(7, lambda r: 0.01 + 0.0 * r)
    found = ring_sums(images, sections, ring)
    assert found.image.sum() == pytest.approx(7) and found.section.sum() == pytest.approx(7)
    assert found.samples.tolist() == (7 * np.bincount(ring)).tolist()
    assert found.correlation()[1:] == pytest.approx(naive.correlations(images, sections, ring)[1:], abs=1e-12)


def test_empty_pairs_do_not_count():
    images, sections, ring = _pairs(6, lambda r: 0.01 + 0.0 * r)
    blank = sections.copy()
    blank[2] = 0
    found, expected = ring_sums(images, blank, ring), ring_sums(np.delete(images, 2, 0), np.delete(sections, 2, 0), ring)
    for name in ("image", "section", "product", "samples"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_white_noise_leaves_the_weights_flat():
    images, sections, ring = _pairs(4000, lambda r: np.full(len(r), 0.02))
    found = weights_from_pairs(ring_sums(images, sections, ring), BOX)
    for curve in (found.image, found.reference):
        assert curve / curve[3] == pytest.approx(1.0, rel=0.12)


def test_coloured_noise_is_whitened():
    images, sections, ring = _pairs(4000, lambda r: 0.3 * np.exp(-0.5 * r))
    found = weights_from_pairs(ring_sums(images, sections, ring), BOX)
    r = np.arange(1, TOP + 1)
    wanted = np.exp(0.25 * r)
    assert found.image / found.image[3] == pytest.approx(wanted / wanted[3], rel=0.12)
    assert found.share.sum() == pytest.approx(1.0)


def test_weighted_correlation_orders_as_the_likelihood_does():
    images, sections, ring = _pairs(600, lambda r: 0.3 * np.exp(-0.5 * r), seed=3)
    found = weights_from_pairs(ring_sums(images, sections, ring), BOX)
    on = np.interp(ring / (BOX / 2), found.frequency, found.image)
    below = np.interp(ring / (BOX / 2), found.frequency, found.reference)
    trials = sections[:40]
    for image in images[:5]:
        x, s = image * on, trials * below
        score = (x * s.conj()).real.sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(x)
        likelihood = [naive.log_likelihood(image, t, on**-2.0, below / on) for t in trials]
        rising = np.where(score > 0, score**2, 0.0)
        positive = score > 0
        assert np.argsort(rising[positive]).tolist() == np.argsort(np.array(likelihood)[positive]).tolist()


def test_rings_without_signal_get_hardly_any_weight():
    images, sections, ring = _pairs(500, lambda r: np.where(r <= 5, 1e-3, 1e3))
    found = weights_from_pairs(ring_sums(images, sections, ring), BOX)
    assert found.share[:5].sum() > 0.999


def test_before_poses_each_spectrum_is_divided_by_the_root_of_its_amplitude():
    images, sections, ring = _pairs(2000, lambda r: np.full(len(r), 0.02))
    sums = ring_sums(images, sections, ring)
    found = weights_from_images(sums, BOX)
    power = sums.image[1:] / sums.samples[1:]
    assert found.image == pytest.approx(power**-0.25) and np.isnan(found.share).all()


def test_curves_on_grids_follow_the_frequency():
    images, sections, ring = _pairs(300, lambda r: 0.3 * np.exp(-0.5 * r))
    found = weights_from_pairs(ring_sums(images, sections, ring), BOX)
    plane, grid = found.on_images(BOX), found.on_references(48, 2.0, BOX)
    assert plane.shape == (BOX, BOX // 2 + 1) and grid.shape == (48, 48, 25)
    assert plane[0, 4] == pytest.approx(found.image[3]) and plane[-3, 4] == pytest.approx(found.image[4])
    assert grid[0, 0, 8] == pytest.approx(found.reference[3]) and grid[-6, 0, 8] == pytest.approx(found.reference[4])


def test_residuals_of_the_whole_box_are_independent_those_of_the_object_are_not():
    rng = np.random.default_rng(5)
    white = rng.standard_normal((400, BOX, BOX))
    assert independent_share(white) == pytest.approx(1.0, abs=0.03)
    disc = np.hypot(*np.meshgrid(*(np.arange(BOX) - BOX // 2,) * 2)) < 8
    assert independent_share(white * disc) == pytest.approx(disc.mean(), rel=0.05)


def test_noise_outside_is_that_which_was_put_in():
    rng = np.random.default_rng(7)
    shape = np.exp(-0.08 * np.arange(BOX // 2 + 1))
    f = fourier.centred_rfftn(rng.standard_normal((300, BOX, BOX)), 2)
    f *= np.interp(np.minimum(fourier.shells(BOX, 2), BOX // 2), np.arange(BOX // 2 + 1), shape)
    noise = fourier.centred_irfftn(f, (BOX, BOX))
    images = noise + 20 * soft_disc(BOX, 8, 2)
    found = noise_spectrum_outside(images, 11)
    assert found[3:] == pytest.approx(BOX**2 * shape[3:] ** 2, rel=0.15)


def test_outside_of_masked_images_tells_nothing():
    rng = np.random.default_rng(8)
    images = rng.standard_normal((20, BOX, BOX)) * soft_disc(BOX, 11, 1.5)
    assert noise_spectrum_outside(images, 12) is None
    assert noise_spectrum_outside(images, 30) is None
