"""What is drawn for simulated images, and the CTF."""

import math

import numpy as np
import pytest

from imagic4d_core.ctf.transfer import apply_ctf, astigmatic_defocus, ctf, frequency_grid, wavelength
from imagic4d_core.errors import UsageError
from imagic4d_core.models import project, random_family
from imagic4d_core.rng import rng_for
from imagic4d_core.simulation import (
    CtfSettings,
    Recipe,
    draw,
    images,
    memberships,
    noise_level,
    parse_defocus,
    parse_populations,
    parse_preferred,
    signal,
)

BOX = 24
FAMILY = random_family(1, 3, BOX)


def projector(k, matrices, displacement):
    return project(FAMILY[k], matrices, displacement, BOX)


def make(recipe, start=0, stop=None):
    part = memberships(recipe)[start:stop]
    drawn = draw(recipe, part, start)
    return images(recipe, drawn, start, projector, BOX, 4.0, noise_level(recipe, projector, BOX, 4.0)), drawn


def test_wavelength():
    """Table values of electron microscopy, angstrom."""
    for kv, value in ((100, 0.03701), (200, 0.02508), (300, 0.01969)):
        assert wavelength(kv) == pytest.approx(value, rel=5e-4)


def test_ctf_formula():
    lam = wavelength(200)
    for k, z in ((0.0, 1e4), (0.05, 1.2e4), (0.11, 2.3e4)):
        chi = math.pi * lam * k**2 * z - 0.5 * math.pi * 2.0e7 * lam**3 * k**4
        expected = math.sqrt(1 - 0.07**2) * math.sin(chi) + 0.07 * math.cos(chi)
        assert float(ctf(k, z, voltage_kv=200, cs_mm=2.0, amplitude=0.07)) == pytest.approx(expected, abs=1e-12)


def test_astigmatism():
    assert astigmatic_defocus(np.deg2rad(30), 2e4, 1e4, 30) == pytest.approx(2e4)
    assert astigmatic_defocus(np.deg2rad(120), 2e4, 1e4, 30) == pytest.approx(1e4)


@pytest.mark.parametrize("box", [12, 13])
def test_apply_ctf_multiplies_the_spectrum(box):
    x = rng_for(1, "test").standard_normal((2, box, box)).astype(np.float32)
    k, angle = frequency_grid((box, box), 3.0)
    assert k[1, 0] == pytest.approx(1 / (3.0 * box)) and angle[0, 1] == pytest.approx(np.pi / 2)
    out = apply_ctf(x, ctf(k, np.array([1e4, 2e4])[:, None, None]))
    full_k = np.hypot(np.fft.fftfreq(box, 3.0)[:, None], np.fft.fftfreq(box, 3.0))
    expected = np.fft.ifft2(np.fft.fft2(x[1]) * ctf(full_k, 2e4)).real
    np.testing.assert_allclose(out[1], expected, atol=1e-5)


@pytest.mark.parametrize("with_ctf", [False, True])
def test_snr_is_the_ratio_of_variances(with_ctf):
    recipe = Recipe(60, 3, snr=0.5, ctf=CtfSettings() if with_ctf else None, seed=4)
    noisy, drawn = make(recipe)
    clean = signal(recipe, drawn, projector, BOX, 4.0)
    ratio = clean.astype(float).var(axis=(1, 2)).mean() / (noisy - clean).astype(float).var()
    assert ratio == pytest.approx(0.5, rel=0.05)


def test_any_cut_gives_the_same_images():
    recipe = Recipe(20, 3, snr=1.0, shift_sigma=2.0, ctf=CtfSettings(), contrast_spread=0.2, seed=5)
    whole, drawn = make(recipe)
    part, some = make(recipe, 7, 12)
    assert np.array_equal(whole[7:12], part)
    assert np.array_equal(drawn.euler[7:12], some.euler) and np.array_equal(drawn.defocus[7:12], some.defocus)


def test_seeds_and_images_differ():
    a, _ = make(Recipe(4, 3, snr=1.0, seed=1))
    b, _ = make(Recipe(4, 3, snr=1.0, seed=2))
    assert not np.array_equal(a, b) and not np.array_equal(a[0], a[1])


def test_populations():
    assert np.bincount(memberships(Recipe(1000, 3, populations=(70, 20, 10)))).tolist() == [700, 200, 100]
    assert sorted(np.bincount(memberships(Recipe(100, 3))).tolist()) == [33, 33, 34]
    assert np.bincount(memberships(Recipe(10, 3, populations=(1, 0, 1))), minlength=3).tolist() == [5, 0, 5]


@pytest.mark.parametrize(("text", "axis"), [("0.5,20", [0, 0, 1]), ("0.5,20,x", [1, 0, 0]), ("0.5,20,Y", [0, 1, 0])])
def test_preferred_views(text, axis):
    recipe = Recipe(2000, 1, preferred=parse_preferred(text), seed=3)
    directions = draw(recipe, memberships(recipe), 0).matrices[:, 2]
    inside = directions @ np.array(axis) > np.cos(np.deg2rad(20))
    assert inside.mean() == pytest.approx(0.515, abs=0.03)  # half, and what falls there by chance
    # uniform over the cap: the cosine is
    cosine = (directions @ np.array(axis))[inside]
    assert cosine.mean() == pytest.approx((1 + np.cos(np.deg2rad(20))) / 2, abs=0.003)


def test_views_are_uniform():
    recipe = Recipe(3000, 1, seed=9)
    m = draw(recipe, memberships(recipe), 0).matrices
    np.testing.assert_allclose(m.mean(0), 0, atol=0.05)
    np.testing.assert_allclose((m[:, 2, :, None] * m[:, 2, None, :]).mean(0), np.eye(3) / 3, atol=0.02)


def test_shifts_have_the_sigma_asked_for():
    recipe = Recipe(2000, 1, shift_sigma=2.0, seed=9)
    assert draw(recipe, memberships(recipe), 0).displacement.std(0) == pytest.approx(2.0, rel=0.07)


def test_displacement_moves_the_particle_by_plus_d():
    recipe = Recipe(1, 3, shift_sigma=1.5, seed=2)
    image, drawn = make(recipe)
    grid = np.arange(BOX) - BOX // 2
    m = FAMILY[drawn.member[0]]
    centre = (drawn.matrices[0] @ (m.weight @ m.positions / m.mass))[:2] + drawn.displacement[0]
    total = image[0].sum()
    found = [(image[0] * grid[:, None]).sum() / total, (image[0] * grid).sum() / total]
    np.testing.assert_allclose(found, centre, atol=0.1)


def test_noise_only_has_no_signal_but_the_same_noise():
    a, drawn = make(Recipe(5, 3, snr=1.0, seed=6))
    b, _ = make(Recipe(5, 3, snr=1.0, noise_only=True, seed=6))
    np.testing.assert_allclose(a - signal(Recipe(5, 3, seed=6), drawn, projector, BOX, 4.0), b, atol=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        {"images": 0}, {"snr": 0.0}, {"snr": -1.0}, {"shift_sigma": -1.0}, {"populations": (1, 2)}, {"populations": (0, 0, 0)},
        {"populations": (1, -1, 1)}, {"contrast_spread": -0.1},
    ],
)  # fmt: skip
def test_senseless_recipes(bad):
    with pytest.raises(UsageError):
        Recipe(**({"images": 5, "volumes": 3} | bad))


@pytest.mark.parametrize("text", ["1,2,3,4", "a,2", "0.5", "2,20", "0.5,0", "0.5,20,q"])
def test_bad_preferred(text):
    with pytest.raises(UsageError):
        parse_preferred(text)


def test_parsers():
    assert parse_populations("70,20,10") == (70, 20, 10) and parse_populations(None) is None
    assert parse_defocus("1e4,2e4") == (1e4, 2e4) and parse_defocus("15000") == (15000, 15000)
    for text in ("x", "3,2", "1,2,3"):
        with pytest.raises(UsageError):
            parse_defocus(text)
    with pytest.raises(UsageError):
        parse_populations("a,b")
