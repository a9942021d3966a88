"""Alignment in the plane: moves, interpolation, search, refinement, limits, decoys."""

import numpy as np
import pytest
from oracle import align as oracle

from imagic4d_core import fourier
from imagic4d_core.align import evidence, references, search
from imagic4d_core.align.moving import FLIP, Maps, moved
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.inplane import pose_of_original
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.header import TAG, blank_headers
from imagic4d_core.kernels.align import climb, pick_limited


def some_maps(n, seed=0, reach=3.0, mirror=True):
    rng = np.random.default_rng(seed)
    flags = rng.integers(0, 2, n).astype(bool) if mirror else np.zeros(n, bool)
    return Maps.of(rng.uniform(-np.pi, np.pi, n), rng.uniform(-reach, reach, (n, 2)), flags)


def turned(maps):
    """Rotation in degrees, unsigned."""
    return np.rad2deg(np.abs(maps.parts()[0]))


# moves


def test_maps_and_headers_say_the_same():
    maps, last = some_maps(20), some_maps(20, 1)
    h = blank_headers(20)
    h["CONFID3D"] = 7  # not ours: no tag
    maps.into_headers(h, last)
    back = Maps.from_headers(h)
    np.testing.assert_allclose(back.linear, maps.linear, atol=1e-6)
    np.testing.assert_allclose(back.offset, maps.offset, atol=1e-5)
    assert (h["IM4DTAG"] == TAG).all() and (h["CONFID3D"] == 0).all()
    assert (h["MIRRORED"] == (np.linalg.det(maps.linear) < 0)).all()
    plain = np.linalg.det(maps.linear) > 0
    moves = Moves.equivalent(h[plain], 2)
    np.testing.assert_allclose(moves.matrix, maps.linear[plain], atol=1e-6)
    angle, shift, mirrored = maps.parts()
    again = Maps.of(angle, shift, mirrored)
    np.testing.assert_allclose(again.linear, maps.linear, atol=1e-12)
    np.testing.assert_allclose(again.offset, maps.offset, atol=1e-12)


def test_maps_compose_and_undo():
    a, b = some_maps(9), some_maps(9, 1)
    q = np.random.default_rng(3).normal(size=(9, 2))

    def at(maps, points):
        return np.einsum("nij,nj->ni", maps.linear, points) + maps.offset

    np.testing.assert_allclose(at(a.then(b), q), at(b, at(a, q)), atol=1e-12)
    np.testing.assert_allclose(at(a.then(a.inverse()), q), q, atol=1e-12)


def test_poses_turn_with_the_pixels():
    maps = some_maps(12)
    rotations = random_rotations(np.random.default_rng(1), 12)
    moves, mirrored = maps.as_moves()
    back, shift = pose_of_original(maps.move_poses(rotations), np.zeros((12, 2)), moves, mirrored)
    np.testing.assert_allclose(back, rotations, atol=1e-12)
    # what centres the moved image, nothing, is the shift that was made to the original
    expected = maps.parts()[1]
    expected[mirrored] = expected[mirrored] @ FLIP
    np.testing.assert_allclose(shift, expected, atol=1e-12)


@pytest.mark.parametrize("box", [32, 33])
def test_interpolation_is_that_of_the_object(box):
    model, maps = oracle.blobs(1), some_maps(6)
    image = oracle.draw(box, model)
    expected = np.array([oracle.draw(box, model, m, t) for m, t in zip(maps.linear, maps.offset, strict=True)])
    found = moved(np.repeat(image[None], 6, 0), maps)
    assert np.abs(found - expected).max() < 2e-3 * image.max()


def test_no_move_no_change_and_quarter_turns():
    images = np.random.default_rng(1).normal(size=(3, 15, 15)).astype(np.float32)
    assert np.array_equal(moved(images, Maps.none(3)), images)
    quarter = moved(images, Maps.of(np.full(3, np.pi / 2), np.zeros((3, 2)), np.zeros(3, bool)))
    np.testing.assert_allclose(quarter, np.rot90(images, 1, (1, 2)), atol=2e-5)
    flipped = moved(images, Maps.of(np.zeros(3), np.zeros((3, 2)), np.ones(3, bool)))
    np.testing.assert_allclose(flipped, images[:, :, ::-1], atol=2e-5)
    wide = np.random.default_rng(1).normal(size=(1, 9, 14)).astype(np.float32)
    down = moved(wide, Maps.shifts([[2.0, 0.0]]))
    np.testing.assert_allclose(down[0, 2:], wide[0, :-2], atol=2e-5)
    edge = np.concatenate([wide[0, 0], wide[0, -1], wide[0, :, 0], wide[0, :, -1]]).mean()
    np.testing.assert_allclose(down[0, 0], edge, atol=1e-5)


# search


def problem(box=32, n=24, count=3, mirror=True, reach=2.5, seed=0, noise=0.0, **plan):
    """Images of moved references, the true moves back, classes; and the parts of a search."""
    models = [oracle.blobs(k) for k in range(count)]
    pictures = np.array([oracle.draw(box, m) for m in models])
    true = some_maps(n, seed, reach, mirror)
    kind = np.random.default_rng(seed + 1).integers(0, count, n)
    inverse = true.inverse()
    images = np.array([oracle.draw(box, models[c], a, t) for c, a, t in zip(kind, inverse.linear, inverse.offset, strict=True)])
    images += noise * np.random.default_rng(seed + 2).normal(size=images.shape).astype(np.float32)
    r_local = plan.pop("r_local", int(0.4 * box))
    how = search.plan(box, box // 4, r_local, **({"max_shift": 0.2 * box, "mirror": mirror} | plan))
    mask = references.ring_mask(box, 0, 0.48 * box)
    ready = references.prepare(
        references.masked(pictures, mask), how.sampler, r_local or box // 4, radius=0.48 * box,
        amplitude_filter=how.amplitude_filter,
    )  # fmt: skip
    spectra = fourier.centred_rfftn(images, 2).astype(np.complex64)
    return images, pictures, true, kind, how, ready, spectra


def align(how, ready, spectra, start=None, **settle):
    start = start or Maps.none(len(spectra))
    scores = search.search_block(spectra, start, start, search.make_bank(ready, how), how)
    return search.settle(spectra, start, start, scores, ready, how, **settle)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_finds_rotation_shift_mirror_and_reference(box, mirror, power):
    _, _, true, kind, how, ready, spectra = problem(box, mirror=mirror, amplitude_filter=power)
    found = align(how, ready, spectra)
    assert (found.ref == kind).all() and not found.still.any()
    rest = true.inverse().then(found.maps)
    assert (np.linalg.det(rest.linear) > 0).all()
    assert turned(rest).max() < 0.3 and np.hypot(*rest.offset.T).max() < 0.05
    assert found.ccc.min() > 0.99


def test_start_does_not_matter_but_is_kept_to():
    *_, true, kind, how, ready, spectra = problem()
    start = some_maps(len(spectra), 9, 1.0)
    found = align(how, ready, spectra, start)
    assert (found.ref == kind).all()
    rest = true.inverse().then(found.maps)
    assert (np.linalg.det(rest.linear) > 0).all() and turned(rest).max() < 0.3
    # one hand only: that of the start
    same = problem(mirror=False)
    flipped = Maps.of(np.zeros(24), np.zeros((24, 2)), np.ones(24, bool))
    found = align(same[4], same[5], same[6], flipped)
    assert (np.linalg.det(found.maps.linear) < 0).all()


def test_scores_are_those_of_plain_sums():
    images, pictures, _, _, how, ready, spectra = problem(16, 3, 2, noise=0.3, max_shift=2.0)
    mask = references.ring_mask(16, 0, 0.48 * 16)
    start = some_maps(3, 5, 1.0)
    bank = search.make_bank(ready, how)
    scores = search.search_block(spectra, start, start, bank, how)
    compared = references.masked(pictures, mask)
    for i in range(3):
        for j in range(4):  # both hands
            one = search._trials(start.select([i]), scores.arg[i, j, :1], scores.flipped[i, j, :1], how)
            expected = oracle.polar_score(
                images[i], compared[j % 2], how.sampler.r_max, how.sampler.n_alpha, one.linear[0], one.offset[0]
            )
            assert scores.score[i, j, 0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("rotation_first", [True, False])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_climb_against_naive(rotation_first, rounds):
    rng = np.random.default_rng(rounds)
    angles, n, k, copies = 8, 3, 2, 5
    scores = rng.normal(size=(angles, n, k * copies)).astype(np.float32)
    guard = np.array([False, False, True, False, True])
    best, arg = np.full((n, k, 3), -np.inf, np.float32), np.zeros((n, k, 3), np.int32)
    climb(scores, copies, rotation_first, rounds, guard, 0, best, arg)
    for i in range(n):
        for j in range(k):
            table = scores[:, i, j * copies : (j + 1) * copies]
            value, where = oracle.climb(table, rotation_first, rounds, guard, 0)
            assert best[i, j, 0] == value and arg[i, j, 0] == where


def test_limits_of_shift_and_rotation_against_naive():
    rng = np.random.default_rng(2)
    angles, n, k, trial = 12, 3, 2, np.array([[0.0, 0], [1, 0], [0, -1], [2, 2]])
    scores = rng.normal(size=(angles, n, k * 4)).astype(np.float32)
    present, guard = rng.normal(size=(n, 2)), np.array([False, False, False, True])
    allowed, room = rng.uniform(size=(n, angles)) > 0.4, np.full(n, 1.5**2)
    phi = np.arange(angles) * 2 * np.pi / angles
    best, arg = np.full((n, k, 3), -np.inf, np.float32), np.zeros((n, k, 3), np.int32)
    pick_limited(scores, 4, present, trial, np.stack([np.cos(phi), np.sin(phi)], 1), allowed, room, guard, best, arg)
    for i in range(n):
        for j in range(k):
            top = [-np.inf, -np.inf, -np.inf]
            for q in np.flatnonzero(allowed[i]):
                turn = np.array([[np.cos(phi[q]), -np.sin(phi[q])], [np.sin(phi[q]), np.cos(phi[q])]])
                for e in range(4):
                    total = turn @ present[i] + trial[e]
                    far = guard[e] or (e > 0 and total @ total > 1.5**2)
                    v = scores[q, i, 4 * j + e]
                    top[int(far)] = max(top[int(far)], v)
                    if e == 0:
                        top[2] = max(top[2], v)
            np.testing.assert_array_equal(best[i, j], np.array(top, np.float32))


@pytest.mark.parametrize("order", ["rotation-first", "translation-first"])
def test_search_in_turn_finds_centred_or_upright_images(order):
    reach = 0.4 if order == "rotation-first" else 2.5
    *_, true, kind, how, ready, spectra = problem(n=16, reach=reach, mirror=False, order=order, rounds=4)
    found = align(how, ready, spectra)
    good = (found.ref == kind) & (turned(true.inverse().then(found.maps)) < 1)
    assert good.mean() > (0.9 if order == "rotation-first" else 0.3)


def test_rotation_alone_and_translation_alone():
    *_, how, ready, spectra = problem(n=8, reach=1.0, mirror=False, order="rotation")
    assert np.abs(align(how, ready, spectra).maps.offset).max() < 1e-9
    *_, how, ready, spectra = problem(n=8, reach=1.0, mirror=False, order="translation")
    assert turned(align(how, ready, spectra).maps).max() < 1e-6


def test_what_would_move_too_far_is_left_or_kept_within():
    *_, true, kind, how, ready, spectra = problem(n=16, reach=4.0, max_shift=2.0, mirror=False)
    far = np.hypot(*true.offset.T) > 2.6
    near = np.hypot(*true.offset.T) < 1.6
    found = align(how, ready, spectra)
    assert found.still[far].all() and not found.still[near].any()
    assert np.abs(found.maps.offset[far]).max() < 1e-9
    assert (found.ref[near] == kind[near]).all()
    limited = align(how, ready, spectra, leave=False)
    length = np.hypot(*limited.maps.offset.T)
    assert length.max() <= 2.0 + 1e-3 and length[far].min() > 1.0


def test_range_of_rotation_and_of_this_run():
    *_, how, ready, spectra = problem(n=16, mirror=False, angles=(-40.0, 60.0))
    angle = np.rad2deg(align(how, ready, spectra).maps.parts()[0])
    assert angle.min() >= -40.0 - 1e-6 and angle.max() <= 60.0 + 1e-6
    *_, how, ready, spectra = problem(n=16, mirror=False, turns=(-10.0, 10.0), max_move=1.0)
    start = some_maps(16, 4, 2.0, mirror=False)
    found = align(how, ready, spectra, start)
    run = start.inverse().then(found.maps)
    assert turned(run).max() <= 10.0 + 1e-6
    assert np.hypot(*run.offset.T).max() <= 1.0 + 1e-3
    assert np.hypot(*found.maps.offset.T).max() <= np.maximum(0.2 * 32, np.hypot(*start.offset.T)).max() + 1e-3


def test_errors_are_those_of_many_trials():
    *_, true, _, how, ready, spectra = problem(n=60, count=1, mirror=False, noise=0.3, reach=1.0)
    found = align(how, ready, spectra)
    rest = true.inverse().then(found.maps)
    measured = np.sqrt((turned(rest) ** 2).mean())
    assert found.error[:, 0].mean() == pytest.approx(measured, rel=0.5)
    assert found.error[:, 1].mean() == pytest.approx(np.sqrt((rest.offset**2).mean()), rel=0.5)


def test_best_few_keep_the_winner():
    rng = np.random.default_rng(0)
    score = rng.normal(size=(5, 40, 3)).astype(np.float32)
    whole = search.Scores(score, np.zeros(score.shape, np.int32), np.zeros(score.shape, bool), np.tile(np.arange(40), (5, 1)))
    halves = [search.Scores(*(getattr(whole, f)[:, part] for f in ("score", "arg", "flipped", "column"))).best()
              for part in (slice(0, 17), slice(17, 40))]  # fmt: skip
    few = halves[0].beside(halves[1]).best()
    assert few.score.shape[1] == 2 * search.REFINED + 1
    for place in range(3):
        assert np.array_equal(few.score[..., place].max(1), score[..., place].max(1))
    at = few.score[..., 0].argmax(1)
    assert np.array_equal(few.column[np.arange(5), at], score[..., 0].argmax(1))


# evidence


def test_decoys_have_mask_and_spectrum_of_the_reference():
    pictures = np.array([oracle.draw(32, oracle.blobs(k)) for k in range(2)])
    mask = references.ring_mask(32, 0, 14)
    inside = references.masked(pictures, mask)
    false = references.decoys(inside, mask, 1, 2)
    assert np.array_equal(false[0], references.decoys(inside, mask, 1)[0])
    false = false[1]
    assert (false[:, mask == 0] == 0).all()
    k = np.rint(np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)) * 32).astype(int).ravel()
    for a, b in zip(inside, false, strict=True):
        pa, pb = (np.bincount(k, weights=np.abs(np.fft.rfft2(x)).ravel() ** 2)[1:6] for x in (a, b))
        assert np.abs(np.log(pb / pa)).max() < 0.8
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.8


def test_evidence_of_signal_and_of_none():
    rng = np.random.default_rng(1)
    decoy = rng.normal(size=(64, 5, 3))
    none = evidence.weigh(rng.normal(size=(64, 3)), decoy)
    assert not none.found and none.wins < 0.35
    signal = evidence.weigh(rng.normal(size=(64, 3)) + 3.0, decoy)
    assert signal.found and signal.wins > 0.8 and signal.poor == []
    mixed = rng.normal(size=(400, 2))
    mixed[:300, 0] += 5.0
    judged = evidence.weigh(mixed, rng.normal(size=(400, 5, 2)))
    assert judged.found and judged.poor == [1]
    assert not evidence.weigh(np.ones((3, 1)), np.zeros((3, 5, 1))).found  # too few to tell


def test_sums_of_the_same_images_are_recognised():
    images, refs = blank_headers(10), blank_headers(2)
    assert evidence.own_classes(images, refs) is None
    images["CLASSNO"] = [1, 1, 1, 2, 2, 2, 2, 0, 0, 0]
    assert evidence.own_classes(images, refs) is None
    refs["NUMCLS"] = [3, 4]
    word, number = evidence.own_classes(images, refs)
    assert word == "CLASSNO" and number.tolist() == [1, 1, 1, 2, 2, 2, 2, 0, 0, 0]
    refs["NUMCLS"] = [4, 4]
    assert evidence.own_classes(images, refs) is None
    images["REF"] = [1] * 5 + [2] * 5
    assert evidence.own_classes(images, refs)[0] == "REF"


def test_sample_is_even():
    active = np.ones(100, bool)
    active[:50] = False
    assert np.flatnonzero(evidence.sampled(active, 5)).tolist() == [50, 60, 70, 80, 90]
    assert evidence.sampled(active, 500).sum() == 50
