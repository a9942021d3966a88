"""Sinogram correlation functions: lines beside the polar sampler and the sinogram itself, common lines beside known poses."""

import numpy as np
import pytest

from imagic4d_core import fourier, models
from imagic4d_core.angrec.polar import PolarSampler
from imagic4d_core.angrec.scf import best_line, common_line, half_lines, scf, sinogram
from imagic4d_core.geometry.euler import random_rotations


def turn(a, b):
    """Difference of two angles, degrees."""
    return abs((a - b + 180) % 360 - 180)


@pytest.mark.parametrize("box", [24, 31])
def test_lines_are_those_of_the_polar_sampler(box):
    image = np.random.default_rng(1).normal(size=(box, box)).astype(np.float32)
    sampler = PolarSampler(box, 7, 24)
    spectra = fourier.centred_rfftn(image[None], 2).astype(np.complex64)
    shift = np.array([[1.5, -2.0]])
    theirs = sampler.sample(spectra) * sampler.ramps(shift)
    np.testing.assert_allclose(half_lines(image, 7, 12, (1.5, -2.0)), theirs[0], atol=2e-3)


def test_scf_is_the_correlation_of_sinogram_lines():
    """Against lines summed up in real space, along x and along y, without their mean."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 16, 16)).astype(np.float32)
    c = scf(half_lines(a, 7, 4), half_lines(b, 7, 4))

    def rows(image):  # projections onto x (0 degrees) and y (90), without the frequencies 0 and 8
        out = []
        for axis in (1, 0):
            f = np.fft.rfft(image.sum(axis))
            f[[0, 8]] = 0
            out.append(np.fft.irfft(f))
        return out

    for i, p in enumerate(rows(a)):
        for j, q in enumerate(rows(b)):
            assert c[2 * i, 2 * j] == pytest.approx(np.corrcoef(p, q)[0, 1], abs=1e-5)
    # the opposite ray of b runs the other way
    p, q = rows(a)[0], np.roll(rows(b)[1][::-1], 1)
    assert c[0, 2 + 4] == pytest.approx(np.corrcoef(p, q)[0, 1], abs=1e-5)
    assert np.abs(c).max() <= 1 + 1e-6


def test_projections_of_one_3d_correlate_best_on_their_common_line():
    model = models.random_family(3, 1, 48)[0]
    poses = random_rotations(np.random.default_rng(5), 5)
    images = models.project(model, poses, None, 48)
    lines = [half_lines(image, 16, 90) for image in images]
    for i in range(5):
        for j in range(i):
            c = scf(lines[i], lines[j])
            line, found = common_line(poses[i], poses[j]), best_line(c)
            assert 0 <= line.first < 180 and 0 <= line.second < 360
            assert c[round(line.first / 2) % 90, (round(line.second / 2) + 90 * (round(line.first / 2) // 90)) % 180] > 0.97
            assert found.value > 0.99
            other = turn(found.first, line.first), turn(found.second, line.second)
            wrapped = turn(found.first, line.first + 180), turn(found.second, line.second + 180)
            assert min(max(other), max(wrapped)) < 4
    assert common_line(poses[0], poses[0]) is None


def test_half_a_turn_of_the_first_repeats_the_other():
    rng = np.random.default_rng(3)
    a, b = (half_lines(rng.normal(size=(20, 20)), 6, 10) for _ in range(2))
    c = scf(a, b)
    np.testing.assert_allclose(scf(np.conj(a), b), np.roll(c, 10, axis=1), atol=1e-6)
    np.testing.assert_allclose(scf(b, a)[:, :10], c[:, :10].T, atol=1e-6)
    phases = scf(a, a, 1.0)
    np.testing.assert_allclose(np.diag(phases), 1, atol=1e-6)


def test_best_line_across_the_seam():
    first, second = 0.4, 130.7
    x, y = np.arange(0, 180, 2.0)[:, None], np.arange(0, 360, 2.0)
    d = np.minimum(turn_of(x, first) ** 2 + turn_of(y, second) ** 2, turn_of(x, first + 180) ** 2 + turn_of(y, second + 180) ** 2)
    found = best_line(np.exp(-d / 100))
    assert turn(found.first, first) < 0.1 and turn(found.second, second) < 0.1
    d = np.minimum(turn_of(x, 179.4) ** 2 + turn_of(y, second) ** 2, turn_of(x, -0.6) ** 2 + turn_of(y, second - 180) ** 2)
    found = best_line(np.exp(-d / 100))
    assert turn(found.first, 179.4) < 0.1 and turn(found.second, second) < 0.1


def turn_of(a, b):
    return (a - b + 180) % 360 - 180


@pytest.mark.parametrize("n", [31, 32])
def test_sinograms_are_projections(n):
    x, y = np.mgrid[:n, :n] - n // 2
    image = np.exp(-((x - 3) ** 2 + (y + 4) ** 2) / 8) + 0.5 * np.exp(-((x + 5) ** 2 + (y - 2) ** 2) / 18)
    found = sinogram(image)
    assert found.shape == (360, n)
    np.testing.assert_allclose(found[0], image.sum(1), atol=2e-4)
    np.testing.assert_allclose(found[90], image.sum(0), atol=2e-4)
    about = (2 * (n // 2) - np.arange(n)) % n  # the same line from the other side
    np.testing.assert_allclose(found[180:], found[:180][:, about], atol=1e-4)
    # a line at 30 degrees: the blobs' centres lie at their projections
    along = np.cos(np.pi / 6) * np.array([3, -5]) + np.sin(np.pi / 6) * np.array([-4, 2])
    s = np.arange(n) - n // 2
    want = np.sqrt(8 * np.pi) * np.exp(-((s - along[0]) ** 2) / 8) + 0.5 * np.sqrt(18 * np.pi) * np.exp(
        -((s - along[1]) ** 2) / 18
    )
    np.testing.assert_allclose(found[30], want, atol=2e-3)
