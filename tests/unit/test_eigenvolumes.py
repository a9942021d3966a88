"""MSA in three dimensions on arrays: weighted reconstructions against naive twins, eigenvolumes, the noise edge, states."""

import numpy as np
import pytest
from oracle import components as naive

from imagic4d_core import fourier
from imagic4d_core.eigenvolumes import splitting
from imagic4d_core.eigenvolumes.judging import Edge, noise_edge, variances
from imagic4d_core.eigenvolumes.mixing import mixture
from imagic4d_core.eigenvolumes.rounds import FitOptions, Information, fit
from imagic4d_core.eigenvolumes.splitting import SplitOptions, sphere, split_views
from imagic4d_core.eigenvolumes.sums import component_sums
from imagic4d_core.eigenvolumes.views import make_views
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.forward import Projector
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.kernels import components as loops
from imagic4d_core.kernels.gridding import LEFT
from imagic4d_core.masks.shapes import soft_ball
from imagic4d_core.msa.ward import ward
from imagic4d_core.scores import adjusted_rand_index

BOX, R = 32, 6


def blob(place, sigma):
    g = np.arange(BOX) - BOX // 2
    z, x, y = np.meshgrid(g, g, g, indexing="ij")
    return np.exp(-((z - place[0]) ** 2 + (x - place[1]) ** 2 + (y - place[2]) ** 2) / (2 * sigma**2)).astype(np.float32)


def pictures(count, minority, seed, noise=1.0, ctf=False):
    """Images of a body, the last `minority` of them without a small part; (views, state of each)."""
    rng = np.random.default_rng(seed)
    body = blob((0, 0, 0), 4) + blob((5, 3, -4), 2.5) + blob((-4, 4, 5), 2)
    part = 0.9 * blob((-3, -6, 1), 1.8)
    state = (np.arange(count) >= count - minority).astype(int)
    m = random_rotations(rng, count)
    f = np.empty((count, BOX, BOX // 2 + 1), np.complex64)
    for s, v in ((0, body + part), (1, body)):
        f[state == s] = Projector(v).slices(m[state == s])
    transfer = None
    if ctf:
        k = fourier.shells(BOX, 2) / BOX
        transfer = np.cos(rng.uniform(15, 40, count)[:, None, None] * np.pi * k**2 * 4).astype(np.float32)
        f *= transfer
    level = noise * np.sqrt(np.mean(np.abs(Projector(body).slices(m[:20])) ** 2) / BOX**2)
    x = fourier.centred_irfftn(f, (BOX, BOX)) + rng.normal(0, level, (count, BOX, BOX))
    return make_views(fourier.centred_rfftn(x, 2).astype(np.complex64), m, None, BOX, R, ctf=transfer), state


@pytest.mark.parametrize("q", [1, 3])
def test_sums_and_solution_equal_the_naive_twin(q):
    rng = np.random.default_rng(q)
    n, box, r = 3, 12, 4
    spectra = fourier.rfftn(rng.normal(size=(n, box, box)), 2).astype(np.complex64)
    ctf = rng.uniform(0.2, 1, (n, box, box // 2 + 1)).astype(np.float32)
    views = make_views(spectra, random_rotations(rng, n), None, box, r, ctf=ctf)
    z = rng.normal(size=(n, q))
    zz = z[:, :, None] * z[:, None, :] + 0.1 * np.eye(q)
    sums = component_sums(views, views.spectra, z, zz, np.array([0, 1, 0]))
    g = sums.grid
    cells = np.zeros((g.shape[0], g.shape[1], g.shape[2] - LEFT, sums.sums.shape[2]))
    loops.fold_components(sums.sums.sum(0), np.array(g.shape), q, 2.0**-30, cells)
    half = [views.band.put(a.astype(np.complex64)) for a in (views.spectra, views.ctf, views.ctf**2)]
    values, gains, powers = half[0], half[1].real, half[2].real
    # the stencil of the sums is sharper than the twin's: compare with the twin on the same stencil
    from oracle import gridding as twin

    from imagic4d_core.recon.grid import _beta

    beta = _beta(3, g.oversampling, g.sharpness)

    def stencil(u, width, oversampling):
        x = 2 * u / width
        return 0.0 if abs(x) > 1 else float(np.i0(beta * np.sqrt(1 - x * x))) * beta / (width * np.sinh(beta))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin, "stencil", stencil)
        num, den = naive.component_cells(
            g.padded, values, gains, powers, views.band.small, r, g.oversampling, views.matrices, z, zz, 1 / (r + 0.5)
        )
    reach = g.shape[0] // 2
    inside = min(reach, g.padded // 2 - 1)
    k = np.arange(-inside, inside + 1)
    take = np.ix_(k % g.padded, k % g.padded, np.arange(inside + 1))
    mine = cells[np.ix_(k + reach, k + reach, np.arange(inside + 1))]
    at = 2 * q
    for a in range(q):
        want = num[a][take]
        np.testing.assert_allclose(mine[..., 2 * a] + 1j * mine[..., 2 * a + 1], want, atol=2e-5 * np.abs(want).max())
        for b in range(a, q):
            np.testing.assert_allclose(mine[..., at], den[a, b][take], atol=2e-5 * np.abs(den[a, b]).max())
            at += 1
    out = np.zeros((q, g.padded, g.padded, g.shape[2] - LEFT), np.complex64)
    extra = np.full((q, r + 2), 0.05)
    loops.solve_components(cells, q, g.oversampling, g.oversampling * r, extra, out.view(np.float32).reshape(*out.shape, 2))
    near = [(z_, x_, y_) for z_ in (-3, 0, 2) for x_ in (-2, 1) for y_ in (0, 3)]
    pick = tuple(np.array(c) for c in zip(*((z_ % g.padded, x_ % g.padded, y_) for z_, x_, y_ in near), strict=True))
    want = naive.solved(
        np.stack([v[pick] for v in num]), np.stack([[v[pick] for v in row] for row in den]), np.full((q, len(near)), 0.05)
    )
    np.testing.assert_allclose(out[(slice(None), *pick)], want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("ctf", [False, True])
def test_a_minority_without_a_part_is_found(ctf):
    views, state = pictures(500, 50, 3, noise=0.3 if ctf else 0.5, ctf=ctf)
    found = split_views(views, SplitOptions(radius=12, r_max=R, seed=1))
    assert found.analysis.factors == 1 and found.states is not None
    assert adjusted_rand_index(found.states.labels, state) > 0.9
    assert any((c == (state == 1)).mean() > 0.96 for c in found.candidates())
    assert found.states.stability.min() > 0.7 and found.states.agreement > 0.8
    told, crossed = found.told()
    assert np.array_equal(told, found.states.labels + 1) and adjusted_rand_index(crossed, state) > 0.8
    assert not found.told(least=1.01).any() and not found.told(few=460).any()


def test_one_structure_has_no_component_above_the_noise():
    counts = []
    for seed in (11, 12, 13):
        views, _ = pictures(300, 0, seed)
        mask = soft_ball(views.band.small, 12 * views.band.small / BOX, 2)
        found = fit(views, mask, FitOptions(3, seed=seed))
        edge = noise_edge(found, mask, FitOptions(3, seed=seed))
        counts.append(edge.above(found))
        assert variances(found).max() > 0.3 * edge.variance  # the edge is near the noise, not far above it
    assert counts == [0, 0, 0]


def test_a_glance_ends_where_nothing_shows(monkeypatch):
    views, _ = pictures(300, 0, 11)
    mask = soft_ball(views.band.small, 12 * views.band.small / BOX, 2)
    found = fit(views, mask, FitOptions(3, seed=11))
    whole, hasty = (noise_edge(found, mask, FitOptions(3, seed=11), hasty=h) for h in (False, True))
    assert hasty.above(found) == 0 and hasty.variance <= whole.variance
    bands = []
    tried = splitting._in_band
    monkeypatch.setattr(splitting, "_in_band", lambda v, *a: bands.append(v.band.r_max) or tried(v, *a))
    monkeypatch.setattr(splitting, "BANDS", (4, 5, 6))
    split = split_views(views, SplitOptions(radius=16, seed=1, rounds=10, glance=True))
    assert split.states is None and not split.told().any() and bands == [4, 5]


def test_threads_and_blocks_change_no_bit():
    views, _ = pictures(600, 60, 4)
    mask = sphere(views, 12)
    one, two = (fit(views, mask, FitOptions(2, rounds=4, seed=1), threads=t) for t in (1, 2))
    assert np.array_equal(one.coordinates, two.coordinates) and np.array_equal(one.volumes, two.volumes)


def test_states_are_told_apart_by_the_precision_of_each_image():
    rng = np.random.default_rng(5)
    n = 800
    state = (np.arange(n) >= 700).astype(int)
    a = rng.uniform(2, 30, n)
    b = a * np.array([-0.3, 2.1])[state] + rng.normal(size=n) * np.sqrt(a)
    info = Information(b[:, None], a[:, None, None])
    z, _ = info.posterior()
    found = mixture(info, ward(z)[0], 6)[-1]
    assert len(found.share) == 2 and adjusted_rand_index(found.labels, state) > 0.9
    alone = Information((a * 0 + rng.normal(size=n) * np.sqrt(a))[:, None], a[:, None, None])
    assert len(mixture(alone, ward(alone.posterior()[0])[0], 6)[-1].share) == 1


def test_separation_takes_off_what_noise_adds():
    edge = Edge(1.0, 0.2)
    seen = edge.separation(np.array([0.5, 2.0, 20.0]))
    assert seen[0] == 0.0 and 0 < seen[1] < 2.0 and 19 < seen[2] < 20.0
    assert (Edge(1.0, 2.0).separation(np.array([20.0])) < seen[2]).all()


def test_what_does_not_fit_is_refused():
    f = np.zeros((3, 8, 5), np.complex64)
    with pytest.raises(InputError, match="empty"):
        make_views(f, np.stack([np.eye(3)] * 3), None, 8, 3)
    with pytest.raises(MismatchError, match="poses"):
        make_views(f + 1, np.eye(3), None, 8, 3)
