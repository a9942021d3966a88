"""FSC against its naive twin, thresholds against the printed constants, masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.shells import fsc_loop

from imagic4d_core import fsc
from imagic4d_core.errors import MismatchError, UsageError
from imagic4d_core.rng import rng_for


def noise(seed, *shape):
    return rng_for(seed, "test").standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(10, 10, 10), (9, 9, 9), (12, 12), (13, 13)])
def test_curve_equals_the_loop(shape):
    a, b = noise(1, *shape), noise(2, *shape)
    b += a
    expected, count = fsc_loop(a, b)
    curve = fsc.shell_curves(a, b)
    np.testing.assert_allclose(curve.fsc, expected, atol=1e-5)
    np.testing.assert_array_equal(curve.voxels, count)
    np.testing.assert_allclose(curve.frequency, np.arange(shape[0] // 2 + 1) * 2 / shape[0])


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 10), st.floats(-3, 3).filter(lambda x: abs(x) > 0.1), st.integers(0, 99))
def test_scale_and_sign(s, t, seed):
    a, b = noise(seed, 8, 8, 8), noise(seed + 100, 8, 8, 8)
    plain = fsc.shell_curves(a, b).fsc
    np.testing.assert_allclose(fsc.shell_curves(s * a, t * b).fsc, np.sign(t) * plain, atol=1e-4)
    assert np.all(np.abs(plain) <= 1 + 1e-6)
    np.testing.assert_allclose(fsc.shell_curves(a, a).fsc, 1, atol=1e-6)


def test_empty_shells_have_no_correlation():
    assert np.all(fsc.shell_curves(np.zeros((8, 8)), noise(0, 8, 8)).fsc == 0)


def test_thresholds_have_the_printed_constants():
    n = np.array([2.0, 7.0, 50.0, 4000.0])
    root = np.sqrt(n)
    np.testing.assert_allclose(fsc.bit_threshold(n, 0.5), (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root), atol=1e-4)
    np.testing.assert_allclose(fsc.bit_threshold(n, 1.0), (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root), atol=1e-4)


def test_independent_voxels():
    a, b = noise(1, 16, 16, 16), noise(2, 16, 16, 16)
    plain, symmetric = fsc.shell_curves(a, b), fsc.shell_curves(a, b, symmetry_order=4)
    half = fsc.shell_curves(a, b, object_size=1 / 3)
    np.testing.assert_allclose(plain.n_eff, np.maximum(plain.voxels / 2, 1))
    np.testing.assert_allclose(symmetric.n_eff, np.maximum(plain.voxels / 8, 1))
    np.testing.assert_allclose(half.n_eff, np.maximum(plain.voxels / 8, 1))
    np.testing.assert_allclose(plain.threshold("3-sigma"), 3 / np.sqrt(plain.n_eff))


def test_noise_stays_below_three_sigma_nearly_always():
    outside = 0
    for seed in range(20):
        c = fsc.shell_curves(noise(seed, 16, 16, 16), noise(seed + 50, 16, 16, 16))
        outside += int((c.fsc[1:] > c.threshold("3-sigma")[1:]).sum())
    assert outside <= 1


def test_crossing_is_interpolated():
    f = np.linspace(0, 1, 5)
    low = np.zeros(5)
    assert fsc.first_crossing(f, np.array([1, 1, 0.75, 0.25, 0.1]), low + 0.5) == pytest.approx(0.625)
    assert fsc.first_crossing(f, np.ones(5), low + 0.5) == 1.0
    assert fsc.first_crossing(f, np.array([1, 0.1, 0.1, 0.1, 0.1]), low + 0.5) == 0.0
    assert fsc.first_crossing(f, np.array([1, 1, np.nan, 0.1, 0.1]), low + 0.5) == 0.25
    # a threshold of 1 cannot be passed by any shell: it is no crossing
    assert fsc.first_crossing(f, np.array([1, 0.9, 0.75, 0.25, 0.1]), np.array([3, 1.2, 0.5, 0.5, 0.5])) == pytest.approx(0.625)


def test_resolution_in_angstrom():
    a = noise(1, 16, 16, 16)
    b = a + 0.5 * noise(2, 16, 16, 16)
    curve = fsc.shell_curves(a, b, pixel_size=3.0)
    assert curve.resolution("0.5") == pytest.approx(6.0 / curve.crossing("0.5"))
    assert fsc.shell_curves(a, b).resolution("0.5") is None
    with pytest.raises(UsageError):
        curve.threshold("two-bit")


def test_mask_correction_takes_out_the_masks_correlation():
    """Two independent noise maps under one tight mask correlate; corrected they do not."""
    box = 32
    mask = fsc.sphere_mask(box, 3, 6.0, 2.0)
    a, b = noise(1, box, box, box) + 3.0, noise(2, box, box, box) + 3.0
    masked = fsc.masked_curves(a, b, mask, correct=False)
    corrected = fsc.masked_curves(a, b, mask)
    assert corrected.unmasked is not None and corrected.phase_randomised is not None
    start = int(np.flatnonzero(corrected.unmasked[1:] < 0.8)[0]) + 1
    np.testing.assert_array_equal(corrected.fsc[: start + 2], masked.fsc[: start + 2])
    late = slice(start + 2, None)
    np.testing.assert_allclose(
        corrected.fsc[late],
        (masked.fsc[late] - corrected.phase_randomised[late]) / (1 - corrected.phase_randomised[late]),
        atol=1e-9,
    )
    assert abs(corrected.fsc[4:].mean()) < 0.1


def test_random_phases_keep_amplitudes_and_low_shells():
    a = noise(1, 16, 16, 16)
    b = fsc.randomise_phases(a, 4, 7)
    assert b.dtype == np.float32
    curve = fsc.shell_curves(a, b)
    np.testing.assert_allclose(curve.fsc[:4], 1, atol=1e-4)
    assert np.abs(curve.fsc[5:]).max() < 0.5
    np.testing.assert_allclose(np.abs(np.fft.fftn(b))[1:8, 1:8, 1:8], np.abs(np.fft.fftn(a))[1:8, 1:8, 1:8], rtol=1e-3)


@pytest.mark.parametrize("box", [16, 17])
def test_sphere_mask(box):
    m = fsc.sphere_mask(box, 3, 0.5, 3.0)
    assert m[box // 2, box // 2, box // 2] == 1 and m[0, 0, 0] == 0
    assert np.all((m >= 0) & (m <= 1))
    np.testing.assert_array_equal(m, m.transpose(2, 0, 1))
    assert np.array_equal(fsc.sphere_mask(box, 2, 5.0, 3.0), fsc.sphere_mask(box, 3, 5.0, 3.0)[box // 2])


def test_shapes_must_fit():
    with pytest.raises(MismatchError):
        fsc.shell_curves(np.zeros((8, 8)), np.zeros((8, 9)))
    with pytest.raises(MismatchError):
        fsc.shell_curves(np.zeros((8, 9)), np.zeros((8, 9)))
