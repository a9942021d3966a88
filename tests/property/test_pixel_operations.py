"""What must hold for filters, spectra, arithmetic and normalisation, whatever the densities and the box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagic4d_core.expression import Expression
from imagic4d_core.filters.band import EDGES, Band, filtered, lowpass_curve
from imagic4d_core.masks.shapes import distances, round_mask
from imagic4d_core.pixels import arithmetic, local, radial, spectra, two
from imagic4d_core.pixels.normalise import Normalisation, normalise, weighted_moments

BOXES = st.one_of(
    st.tuples(st.integers(4, 17), st.integers(4, 17)), st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(4, 9))
)
SEEDS = st.integers(0, 2**31)


def noise(box, seed, n=2):
    return np.random.default_rng(seed).standard_normal((n, *box)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(BOXES, SEEDS, st.sampled_from(EDGES), st.floats(0.1, 1.0), st.floats(1.0, 2.0))
def test_filters_are_linear(box, seed, edge, cut, padding):
    a, b = noise(box, seed), noise(box, seed + 1)
    curve = Band(high=cut, edge=edge).curve
    run = [filtered(x.copy(), len(box), curve, padding) for x in (a, b, 2 * a - b)]
    np.testing.assert_allclose(run[2], 2 * run[0] - run[1], atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(BOXES, SEEDS, st.sampled_from(EDGES), st.floats(0.05, 0.5), st.floats(0.55, 1.0))
def test_a_plane_wave_is_multiplied_by_the_curve(box, seed, edge, low, high):
    """Frequencies are cycles per pixel along every axis, so that boxes need not be square."""
    rng = np.random.default_rng(seed)
    k = [int(rng.integers(0, n // 2 + 1)) for n in box]
    grid = np.meshgrid(*[np.arange(n) for n in box], indexing="ij")
    wave = np.cos(sum(2 * np.pi * a * x / n for a, x, n in zip(k, grid, box, strict=True))).astype(np.float32)
    f = 2 * np.sqrt(sum((a / n) ** 2 for a, n in zip(k, box, strict=True)))
    band = Band(low, high, edge, remaining=0.25)
    found = filtered(wave[None].copy(), len(box), band.curve)[0]
    np.testing.assert_allclose(found, float(band.curve(np.float64(f))) * wave, atol=2e-5)


@pytest.mark.parametrize("edge", EDGES)
def test_low_pass_curves(edge):
    f = np.linspace(0, 1.5, 301)
    t = lowpass_curve(f, 0.5, edge)
    assert t[0] == pytest.approx(1, abs=1e-6) and (np.diff(t) <= 1e-12).all() and (t >= -1e-12).all()
    at = float(lowpass_curve(np.array([0.5]), 0.5, edge)[0])
    assert at == pytest.approx(1.0 if edge == "hard" else 0.5)
    high = Band(low=0.5, edge=edge, remaining=0.1).curve(f)
    assert high[0] == pytest.approx(0.1) and high[-1] == pytest.approx(1, abs=0.12)
    np.testing.assert_allclose(Band(low=0.5, edge=edge).curve(f), 1 - t, atol=1e-12)


def test_b_factor_of_a_gaussian_adds_to_its_width():
    """exp(-B/4 s^2) turns a Gaussian of variance v into one of variance v + B / (8 pi^2)."""
    box, pixel, b, sigma = 64, 1.5, 300.0, 3.0
    g = np.exp(-(distances((box, box)) ** 2) / (2 * sigma**2)).astype(np.float32)
    found = filtered(g[None].copy(), 2, Band(bfactor=b, pixel_size=pixel).curve)[0]
    wider = sigma**2 + b / (8 * np.pi**2) / pixel**2
    expected = sigma**2 / wider * np.exp(-(distances((box, box)) ** 2) / (2 * wider))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    mild = filtered(g[None].copy(), 2, Band(bfactor=60, pixel_size=pixel).curve)
    np.testing.assert_allclose(filtered(mild, 2, Band(bfactor=-60, pixel_size=pixel).curve)[0], g, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_parseval_and_there_and_back(box, seed):
    a = noise(box, seed)
    d = len(box)
    f = spectra.transform(a, d)
    assert (np.abs(f) ** 2).sum() == pytest.approx((a**2).sum(), rel=1e-5)
    np.testing.assert_allclose(spectra.power(a, d), spectra.amplitudes(a, d) ** 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(spectra.back_transform(f, d).real, a, atol=1e-5)
    turned = spectra.amplitudes(a, d) * np.exp(1j * np.deg2rad(spectra.phases(a, d).astype(np.float64)))
    np.testing.assert_allclose(turned, f, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_correlation_functions(box, seed):
    rng = np.random.default_rng(seed)
    a = noise(box, seed, 1)
    shift = tuple(int(rng.integers(-n // 2 + 1, n // 2)) for n in box)
    moved = np.roll(a, shift, axis=tuple(range(1, a.ndim)))
    auto = spectra.autocorrelation(a, len(box))[0]
    assert auto[tuple(n // 2 for n in box)] == pytest.approx(1, abs=1e-5) and auto.max() <= 1 + 1e-5
    cross = spectra.cross_correlation(moved, a, len(box))[0]
    where = np.unravel_index(cross.argmax(), box)
    assert tuple(int(w) - n // 2 for w, n in zip(where, box, strict=True)) == shift
    # each value is Pearson's coefficient at that shift
    other = noise(box, seed + 1, 1)
    far = np.roll(other, shift, axis=tuple(range(1, a.ndim)))
    here = tuple(n // 2 + s for n, s in zip(box, shift, strict=True))
    expected = np.corrcoef(a.ravel(), far.ravel())[0, 1]
    assert spectra.cross_correlation(a, other, len(box))[0][here] == pytest.approx(expected, abs=1e-5)
    assert two.correlation(a[0], far[0]) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_rotational_average_is_idempotent_and_keeps_the_sum(box, seed):
    a = noise(box, seed, 1)[0]
    once = radial.rotational_average(a)
    np.testing.assert_allclose(radial.rotational_average(once), once, atol=1e-6)
    assert once.sum() == pytest.approx(a.sum(), abs=1e-2)
    # power by frequency adds up to the power of the image, as far as the curve goes
    shell = radial.shells(box)
    assert radial.power_curve(a).shape == (min(box) // 2 + 1,)
    assert shell.max() >= min(box) // 2


@settings(max_examples=30, deadline=None)
@given(BOXES, SEEDS, st.floats(0.5, 20), st.booleans(), st.booleans(), st.booleans())
def test_normalised_objects_have_mean_0_and_sigma(box, seed, sigma, use_mask, ramp, outliers):
    data = noise(box, seed, 3) * 7 + 100
    mask = round_mask(box, min(box) / 3, 1.5) if use_mask else None
    how = Normalisation(sigma, mask, 6.0 if outliers else None, ramp)
    flat, _ = normalise(data, how)
    if (mask is None or mask.sum() > 12) and not flat.any():
        for one in data:
            mean, sd = weighted_moments(one, mask)
            assert mean == pytest.approx(0, abs=1e-4 * sigma) and sd == pytest.approx(sigma, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_a_ramp_goes_and_all_else_stays(box, seed):
    a = noise(box, seed, 1)
    axes = np.meshgrid(*[np.arange(n) - n // 2 for n in box], indexing="ij")
    plane = sum(c * x for c, x in zip((0.3, -0.2, 0.5), axes, strict=False)) + 4
    how = Normalisation(1.0, None, None, True)
    one, other = a.copy(), (a + plane).astype(np.float32)
    normalise(one, how)
    normalise(other, how)
    np.testing.assert_allclose(other, one, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(BOXES, SEEDS, st.sampled_from([n for n, o in arithmetic.OPERATIONS.items() if n not in ("log", "log10", "sqrt", "power")]))
def test_operations_are_those_of_numpy(box, seed, name):
    a = noise(box, seed)
    v = np.float32(0.75)
    expected = {
        "add": a + v, "multiply": a * v, "threshold-below": np.maximum(a, v), "threshold-above": np.minimum(a, v),
        "binary": (a > v).astype(np.float32), "invert": -a, "abs": np.abs(a), "square": a * a, "exp": np.exp(a),
    }[name]  # fmt: skip
    np.testing.assert_allclose(arithmetic.pointwise(a.copy(), name, float(v)), expected, rtol=1e-6)
    formula = {
        "add": "a + 0.75", "multiply": "a * 0.75", "threshold-below": "max(a, 0.75)", "threshold-above": "min(a, 0.75)",
        "binary": "a > 0.75", "invert": "-a", "abs": "abs(a)", "square": "a ** 2", "exp": "exp(a)",
    }[name]  # fmt: skip
    found = arithmetic.evaluate(a.copy(), Expression.parse(formula, arithmetic.NAMES), 0, box)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_formula_names(box, seed):
    a = noise(box, seed, 2)
    text = "x + 10 * y + 100 * z + 1000 * r + mean + sigma + min + max + i"
    found = arithmetic.evaluate(a.copy(), Expression.parse(text, arithmetic.NAMES), 4, box)
    axes = [np.arange(n) - n // 2 for n in box]
    grids = dict(zip(("z", "x", "y")[-len(box) :], np.meshgrid(*axes, indexing="ij"), strict=True))
    z = grids.get("z", 0)
    r = np.sqrt(grids["x"] ** 2 + grids["y"] ** 2 + z**2)
    for k in range(2):
        one = a[k].astype(np.float64)
        rest = one.mean() + one.std() + one.min() + one.max() + 5 + k
        np.testing.assert_allclose(found[k], grids["x"] + 10 * grids["y"] + 100 * z + 1000 * r + rest, rtol=1e-5, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS, st.sampled_from("xyz"))
def test_mirror_there_and_back_keeps_the_centre(box, seed, axis):
    if axis == "z" and len(box) == 2:
        return
    a = noise(box, seed)
    once = arithmetic.mirrored(a, axis)
    np.testing.assert_array_equal(arithmetic.mirrored(once, axis), a)
    centre = (slice(None), *[n // 2 for n in box])
    np.testing.assert_array_equal(once[centre], a[centre])


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS)
def test_two_images(box, seed):
    a, b = noise(box, seed, 1)[0], noise(box, seed + 1, 1)[0]
    for name, expected in {"add": a + b, "subtract": a - b, "multiply": a * b, "divide": a / b, "min": np.minimum(a, b),
                           "max": np.maximum(a, b)}.items():  # fmt: skip
        np.testing.assert_allclose(two.combine(a.copy(), b, name), expected, rtol=1e-6)
    zero = b.copy()
    zero.flat[0] = 0
    assert two.combine(a.copy(), zero, "divide").flat[0] == 0
    slope, offset = two.least_squares(3 * b - 2, b)
    assert slope == pytest.approx(3, rel=1e-4) and offset == pytest.approx(-2, abs=1e-3)
    assert two.phase_residual(a, 5 * a + 1) == pytest.approx(0, abs=0.1)
    assert two.phase_residual(a, -a) == pytest.approx(180, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(BOXES, SEEDS)
def test_peaks_are_local_maxima(box, seed):
    a = noise(box, seed, 1)[0]
    found = local.peaks(a, 5)
    assert found[0].height == a.max()
    heights = [p.height for p in found]
    assert heights == sorted(heights, reverse=True)
    # far apart when asked
    far = local.peaks(a, 5, distance=3.5)
    for i, p in enumerate(far):
        for q in far[:i]:
            assert np.linalg.norm(np.subtract(p.place, q.place)) > 3.5 - 2 * np.sqrt(len(box)) * 0.5


@settings(max_examples=20, deadline=None)
@given(
    BOXES,
    SEEDS,
    st.sampled_from(["a + i", "(a - mean) / sigma", "where(r < 3, a, min)", "x + 10 * y + 100 * z", "i", "clip(a, 0, max)"]),
)
def test_a_formula_does_not_see_its_neighbours(box, seed, text):
    a = noise(box, seed, 5)
    formula = Expression.parse(text, arithmetic.NAMES)
    whole = arithmetic.evaluate(a.copy(), formula, 3, box)
    alone = [arithmetic.evaluate(one[None].copy(), formula, 3 + k, box) for k, one in enumerate(a)]
    assert np.concatenate(alone).tobytes() == whole.tobytes()
    if len(box) == 3 and not arithmetic.needs_whole_object(formula):
        sections = arithmetic.evaluate(a.reshape(-1, 1, *box[1:]).copy(), formula, 3 * box[0], box, plane=True)
        assert sections.tobytes() == whole.tobytes()


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS, st.booleans(), st.booleans())
def test_objects_are_normalised_one_by_one(box, seed, use_mask, masked):
    a = noise(box, seed, 5) + 3
    a[2] = 0.1
    how = Normalisation(2.0, round_mask(box, min(box) / 3, 1.5) if use_mask else None, None, False, masked)
    together, alone = a.copy(), a.copy()
    flat, _ = normalise(together, how)
    assert list(flat) == [normalise(one[None], how)[0][0] for one in alone] and flat[2]
    assert together.tobytes() == alone.tobytes() and (together[2] == 0).all()


@settings(max_examples=20, deadline=None)
@given(BOXES, SEEDS, st.sampled_from([0.0, 2.5, "mean"]))
def test_masked_densities(box, seed, level):
    a = noise(box, seed, 4) + 3
    mask = round_mask(box, min(box) / 3, 1.5)
    outside = mask < 0.5
    expected = []
    for one in a.astype(np.float64):
        here = one[outside].mean() if level == "mean" else level
        expected.append(here + (one - here) * mask)
    np.testing.assert_allclose(arithmetic.masked(a.copy(), mask, level), expected, atol=1e-5)
