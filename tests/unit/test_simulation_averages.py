"""Simulated class averages: sizes of signal, noise and background, what CTF and envelope did, and who is junk."""

import numpy as np
import pytest

from imagic4d_core.ctf.transfer import ctf
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.euler import angular_distance
from imagic4d_core.jobs.truth.simulate import averages_from
from imagic4d_core.jobs.truth.truth_table import read_table, table_path, write_table
from imagic4d_core.models import project, random_family
from imagic4d_core.rng import rng_for
from imagic4d_core.simulation import CtfSettings, Recipe, draw
from imagic4d_core.simulation_averages import (
    JUNK,
    Averages,
    averages,
    background,
    coloured_noise,
    deal,
    levels,
    parse_range,
    signal,
)

BOX, PIXEL = 32, 4.0
FAMILY = random_family(11, 3, BOX)
PURE = {"mixed": 0.0, "junk": 0.0}


def projector(k, matrices, displacement):
    return project(FAMILY[k], matrices, displacement, BOX)


def make(recipe, how, start=0, stop=None):
    """(averages, the same without noise and background, level, deal) of some of the averages."""
    stop = stop or recipe.images
    whole = deal(recipe, how)
    dealt, level = whole.part(start, stop), levels(recipe, how, projector, BOX, PIXEL)
    drawn = draw(recipe, dealt.first, start)
    clean = signal(recipe, how, drawn, dealt, start, projector, BOX, PIXEL, level.signal)
    return averages(recipe, how, drawn, dealt, start, projector, BOX, PIXEL, level), clean, level, dealt


def recipe_of(images=120, **more):
    return Recipe(images, 3, ctf=CtfSettings(), seed=21, **more)


@pytest.mark.parametrize("snr", [None, 0.4])
def test_snr_of_averages(snr):
    """The noise's power goes as 1 / members; over all averages signal and noise have the ratio asked for."""
    noisy, clean, level, dealt = make(recipe_of(snr=snr), Averages(background=0.0, **PURE))
    noise = (noisy - clean).astype(float)
    variance = noise.var(axis=(1, 2))
    assert clean.astype(float).var(axis=(1, 2)).mean() / variance.mean() == pytest.approx(snr or 1.0, rel=0.15)
    few, many = dealt.members <= 15, dealt.members >= 35
    assert variance[few].mean() / variance[many].mean() == pytest.approx(
        (1 / dealt.members[few]).mean() / (1 / dealt.members[many]).mean(), rel=0.2
    )
    assert level.signal == pytest.approx(clean.std(axis=(1, 2)).mean(), rel=0.1)


def test_background_is_half_the_signal_and_smooth():
    recipe = recipe_of()
    with_it, _, level, _ = make(recipe, Averages(background=0.5, **PURE))
    without, _, _, _ = make(recipe, Averages(background=0.0, **PURE))
    field = (with_it - without).astype(float)
    assert field.std(axis=(1, 2)).mean() / level.signal == pytest.approx(0.5, rel=0.1)
    assert np.abs(field.mean(axis=(1, 2))).max() < 1e-4 * level.signal
    # one humped field: neighbouring pixels are nearly alike, those of white noise differ by sqrt(2)
    one = background(rng_for(1, "test"), BOX)
    assert np.diff(one, axis=0).std() < 0.25 and one.std() == pytest.approx(1.0)


def test_noise_is_coloured():
    power = np.mean([np.abs(np.fft.fft2(coloured_noise(rng_for(2, "test", i), BOX))) ** 2 / BOX**2 for i in range(300)], axis=0)
    k = 2.0 * np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.fftfreq(BOX))
    assert power.mean() == pytest.approx(1.0, rel=0.05)
    assert power[k < 0.1].mean() > 3.0 * power[(k > 0.8) & (k <= 1.0)].mean()
    assert power[(k > 0.8) & (k <= 1.0)].mean() > 0.2  # there is a white part


@pytest.mark.parametrize("b", [0.0, 300.0])
def test_members_carry_flipped_phases_and_an_envelope(b):
    """With one defocus and exact alignment an average is the projection times |CTF| exp(-B k^2 / 4), zeros and all."""
    recipe = Recipe(2, 3, ctf=CtfSettings(defocus=(21000.0, 21000.0)), seed=3)
    how = Averages(members=(4, 4), view_spread=0.0, jitter=0.0, b_factor=(b, b), **PURE)
    _, clean, _, dealt = make(recipe, how)
    drawn = draw(recipe, dealt.first, 0)
    k = np.hypot(np.fft.fftfreq(BOX, PIXEL)[:, None], np.fft.fftfreq(BOX, PIXEL))
    factor = np.abs(ctf(k, 21000.0)) * np.exp(-b * k**2 / 4)
    for i in range(2):
        image = project(FAMILY[dealt.first[i]], drawn.matrices[i : i + 1], None, BOX)[0].astype(float)
        expected = np.fft.fftshift(np.fft.ifft2(np.fft.fft2(np.fft.ifftshift(image)) * factor).real)
        np.testing.assert_allclose(clean[i], expected, atol=1e-5 * np.abs(expected).max())
    ring = [np.abs(np.fft.fft2(clean[0]))[(k * PIXEL * BOX).round() == r].mean() for r in range(BOX // 2)]
    asked = [np.abs(ctf(r / (BOX * PIXEL), 21000.0)) for r in range(BOX // 2)]
    zero = 3 + int(np.argmin(asked[3:8]))
    assert asked[zero] < 0.35 and ring[zero] < 0.6 * min(max(ring[zero - 2 : zero]), ring[zero + 1] + ring[zero - 1])


def test_members_scatter_about_the_class():
    """s.d. of 5 degrees about each axis, 1 px in each direction, about the view and the displacement of the class."""
    seen = []

    def spy(k, matrices, displacement):
        seen.append((matrices, displacement))
        return np.zeros((len(matrices), BOX, BOX), np.float32)

    recipe, how = recipe_of(40, shift_sigma=3.0), Averages(members=(30, 30), **PURE)
    dealt = deal(recipe, how)
    drawn = draw(recipe, dealt.first, 0)
    signal(recipe, how, drawn, dealt, 0, spy, BOX, PIXEL, 1.0)
    turn = np.concatenate([angular_distance(m, drawn.matrices[i]) for i, (m, _) in enumerate(seen)])
    move = np.concatenate([d - drawn.displacement[i] for i, (_, d) in enumerate(seen)])
    assert len(turn) == 1200
    assert np.sqrt(np.mean(turn**2)) == pytest.approx(5.0 * np.sqrt(3.0), rel=0.06)
    assert move.std(0) == pytest.approx(1.0, rel=0.07) and np.abs(move.mean(0)).max() < 0.1


def test_shares_of_junk_and_mixed():
    dealt = deal(Recipe(400, 3, populations=(3, 2, 1), seed=8), Averages(mixed=0.1, junk=0.2))
    assert (dealt.junk > 0).sum() == 80 and np.bincount(dealt.junk)[1:].tolist() == [16] * len(JUNK)
    mixed = dealt.second >= 0
    assert mixed.sum() == 40 and dealt.good.sum() == 280
    assert np.bincount(dealt.first[dealt.junk == 0]).tolist() == [160, 107, 53]
    assert (dealt.first[dealt.junk > 0] == -1).all() and (dealt.first[mixed] != dealt.second[mixed]).all()
    assert (2 * dealt.minor[mixed] < dealt.members[mixed]).all() and (dealt.minor[mixed] >= 0.2 * dealt.members[mixed]).all()
    assert dealt.members.min() == 10 and dealt.members.max() == 40
    assert np.flatnonzero(dealt.junk).std() > 80  # not all at one end


def test_mixed_averages_hold_both_structures():
    """The second 3D enters with its share of the members: with one defocus an average is a sum of two known images."""
    recipe = Recipe(40, 3, ctf=CtfSettings(defocus=(15000.0, 15000.0)), seed=5)
    how = Averages(mixed=0.5, junk=0.0, view_spread=0.0, jitter=0.0, b_factor=(0.0, 0.0))
    _, clean, _, dealt = make(recipe, how)
    drawn = draw(recipe, dealt.first, 0)
    k = np.hypot(np.fft.fftfreq(BOX, PIXEL)[:, None], np.fft.rfftfreq(BOX, PIXEL))
    mixed = np.flatnonzero(dealt.second >= 0)
    assert len(mixed) == 20
    for i in mixed:
        pose, share = drawn.matrices[i : i + 1], dealt.minor[i] / dealt.members[i]
        a, b = (project(FAMILY[k3], pose, None, BOX)[0].astype(float) for k3 in (dealt.first[i], dealt.second[i]))
        f = np.fft.rfft2((1 - share) * a + share * b) * np.abs(ctf(k, 15000.0))
        np.testing.assert_allclose(clean[i], np.fft.irfft2(f, (BOX, BOX)), atol=1e-5 * np.abs(clean[i]).max())


def test_no_two_junk_averages_are_alike():
    recipe, how = recipe_of(50), Averages(mixed=0.0, junk=1.0, background=0.0)
    _, clean, level, dealt = make(recipe, how)
    flat = clean.reshape(len(clean), -1).astype(float)
    shown = dealt.junk > 1
    assert (flat[~shown] == 0).all() and (~shown).sum() == 10
    assert flat[shown].std(1).mean() == pytest.approx(level.signal, rel=0.12)
    alike = np.abs(np.corrcoef(flat[shown]) - np.eye(shown.sum()))
    edges = dealt.junk[shown] == 1 + JUNK.index("edge")
    assert alike[np.ix_(~edges, ~edges)].max() < 0.75 and alike.max() < 0.98


def test_any_cut_gives_the_same_averages():
    recipe, how = recipe_of(40, snr=0.7, shift_sigma=1.0, contrast_spread=0.2), Averages(mixed=0.2, junk=0.3)
    whole, part = make(recipe, how)[0], make(recipe, how, 13, 29)[0]
    assert np.array_equal(whole[13:29], part)
    assert not np.array_equal(whole[:5], make(Recipe(40, 3, snr=0.7, ctf=CtfSettings(), seed=22), how)[0][:5])


def test_noise_only_leaves_no_particle():
    recipe = recipe_of(30, noise_only=True)
    noisy, clean, level, dealt = make(recipe, Averages())
    assert (clean == 0).all() and (dealt.junk == 1).all() and (dealt.first == -1).all()
    assert noisy.std() > 0.8 * level.signal


def test_one_3d_has_no_mixed_averages():
    assert (deal(Recipe(50, 1, seed=1), Averages(mixed=0.3)).second == -1).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"members": (0, 4)}, {"members": (5, 4)}, {"members": (2, 9)}, {"b_factor": (-1.0, 2.0)}, {"b_factor": (3.0, 2.0)},
        {"view_spread": -1.0}, {"jitter": -0.1}, {"background": -0.1}, {"mixed": 0.6, "junk": 0.5}, {"junk": -0.1},
    ],
)  # fmt: skip
def test_senseless_averages(bad):
    with pytest.raises(UsageError):
        Averages(**bad)


def test_options_of_the_command():
    assert averages_from(False) is None
    how = averages_from(True, members="5-9", b_factor="100", junk=0.2, view_spread=None)
    assert how == Averages(members=(5, 9), b_factor=(100.0, 100.0), junk=0.2)
    with pytest.raises(UsageError, match="--view-spread belongs to --averages"):
        averages_from(False, view_spread=2.0)
    for members in ("5.5-9", "a-9", "1-2-3", ""):
        with pytest.raises(UsageError, match="members"):
            averages_from(True, members=members)
    assert parse_range("2,3", "x", "y") == (2.0, 3.0)


def test_the_table_says_what_was_dealt(tmp_path):
    recipe = recipe_of(60, shift_sigma=2.0)
    dealt = deal(recipe, Averages(mixed=0.2, junk=0.25))
    path = table_path(tmp_path / "a.hed")
    assert path.name == "a_truth.tsv"
    write_table(path, dealt, draw(recipe, dealt.first, 0))
    table = read_table(path)
    assert len(table) == 60 and table.good.sum() == 33 and table.junk.sum() == 15
    assert np.array_equal(table.ref3d, dealt.first + 1) and np.array_equal(table.ref3d2, dealt.second + 1)
    assert np.array_equal(table.good, dealt.good)
    assert set(table.kind[table.junk]) == {f"junk:{name}" for name in JUNK}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the table"), ("image\tkind\n1\tgood\n", "not the table"),
        ("image\tkind\tref3d\tref3d2\n1\tfine\t1\t0\n", "line 2"), ("image\tkind\tref3d\tref3d2\n2\tgood\t1\t0\n", "line 2"),
        ("image\tkind\tref3d\tref3d2\n1\tgood\tx\t0\n", "line 2"), ("image\tkind\tref3d\tref3d2\n1\tgood\t1\n", "line 2"),
    ],
)  # fmt: skip
def test_other_files_are_no_tables(tmp_path, text, message):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.tsv")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "missing.tsv")
