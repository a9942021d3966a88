"""Fourier inversion, exact filters, assignments."""

import numpy as np
import pytest
from oracle import gridding as naive

from imagic4d_core import fourier
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.fsc import shell_curves
from imagic4d_core.geometry import symmetry as sym
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.masks.shapes import soft_ball
from imagic4d_core.models import Model, project, volume
from imagic4d_core.recon import exact_filter
from imagic4d_core.recon.assignment import assign, by_state
from imagic4d_core.recon.fourier import (
    Accumulator,
    hamming_curve,
    reconstruct,
    ssnr_from_fsc,
    volumes_fsc,
)


def blobs(box, seed=1, count=30):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(count, 3))
    c *= (rng.random(count) ** (1 / 3) * 0.28 * box / np.linalg.norm(c, axis=1))[:, None]
    return Model("blobs", c, rng.uniform(0.9, 1.4, count), rng.uniform(0.5, 1.5, count))


def data(box, count, seed=2, noise=0.0, shift=1.5):
    model = blobs(box)
    rng = np.random.default_rng(seed)
    m, d = random_rotations(rng, count), rng.normal(size=(count, 2)) * shift
    images = project(model, m, d, box)
    images += noise * images.std() * rng.standard_normal(images.shape).astype(np.float32)
    return volume(model, box), images, m, -d


def fsc(a, b):
    return shell_curves(a, b).fsc


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("width", [3, 4])
def test_exact_projections_give_the_volume(box, width):
    truth, images, m, d = data(box, 400)
    v = reconstruct(images, m, d, width=width)
    assert v.shape == truth.shape and v.dtype == np.float32
    assert (fsc(v, truth)[1 : box // 2 - 2] > 0.98).all()
    scale = (v * truth).sum() / (truth**2).sum()
    assert scale == pytest.approx(1, abs=0.01)
    assert np.sqrt(((v - truth) ** 2).mean() / (truth**2).mean()) < 0.06


def test_low_frequencies_on_a_small_grid():
    truth, images, m, d = data(64, 200)
    v = reconstruct(images, m, d, r_max=10)
    low = fourier.centred_irfftn(fourier.centred_rfftn(truth, 3) * (np.sqrt(sum(k**2 for k in _k3(64))) <= 10), (64, 64, 64))
    assert np.sqrt(((v - low) ** 2).mean() / (low**2).mean()) < 0.2  # nearly all of it in the last shell
    assert (fsc(v, low)[1:10] > 0.98).all()
    beyond = np.sqrt(sum(k**2 for k in _k3(64))) > 10
    power = np.abs(fourier.centred_rfftn(v, 3)) ** 2
    assert power[beyond].sum() < 0.02 * power.sum(), "only the edge of the mask puts anything beyond"
    small = reconstruct(images, m, d, r_max=10, out_box=32)
    np.testing.assert_allclose(small, v[::2, ::2, ::2], atol=3e-3 * np.abs(v).max())


def _k3(n):
    k = np.fft.fftfreq(n) * n
    return k[:, None, None], k[:, None], np.arange(n // 2 + 1)


def test_cut_spectra_are_enough():
    _, images, m, d = data(64, 20)
    full = fourier.centred_rfftn(images, 2)
    cut = fourier.crop_rfftn(full, (64, 64), (24, 24))
    sums = []
    for f in (full, cut):
        acc = Accumulator(1, 64, 10, amplitude=images.std())
        acc.insert(f, m, np.zeros(20), shifts=d)
        sums.append(acc)
    np.testing.assert_array_equal(sums[0].den, sums[1].den)
    np.testing.assert_allclose(sums[0].num, sums[1].num, atol=1e-4 * np.abs(sums[0].num).max())
    with pytest.raises(MismatchError, match="frequencies"):
        sums[1].insert(fourier.crop_rfftn(full, (64, 64), (20, 20)), m, np.zeros(20))


def test_sums_are_the_same_bits_for_any_split_and_threads():
    _, images, m, d = data(24, 60)
    f = fourier.centred_rfftn(images, 2)
    k = np.arange(60) % 3 - (np.arange(60) == 59)
    k[59] = -1
    whole = Accumulator(3, 24, amplitude=images.std())
    whole.insert(f, m, k, shifts=d)
    parts = [Accumulator(3, 24, amplitude=images.std()) for _ in range(2)]
    for i, part in enumerate((slice(0, 13), slice(13, 60))):
        parts[i].insert(f[part], m[part], k[part], shifts=d[part], threads=2 + 2 * i)
    parts[1].merge(parts[0])
    for a, b in zip(whole.arrays, parts[1].arrays, strict=True):
        assert np.array_equal(a, b)
    assert whole.counts.tolist() == [20, 20, 19]
    left = Accumulator(3, 24, amplitude=images.std())
    left.insert(f[30:], m[30:], k[30:], shifts=d[30:])
    first = Accumulator(3, 24, amplitude=images.std())
    first.insert(f[:30], m[:30], k[:30], shifts=d[:30])
    assert np.array_equal(whole.num - left.num, first.num), "leaving images out is exact"
    with pytest.raises(MismatchError, match="merged"):
        whole.merge(Accumulator(3, 24, amplitude=1e3))


def test_symmetry_makes_copies():
    box, group = 32, sym.rotations("D2")
    _, images, m, d = data(box, 150)
    v = reconstruct(images, m, d, symmetry=group)
    turned = v[::-1, ::-1, :]  # 2-fold about y; even box: compare away from the edge plane
    a, b = v[1:, 1:, 1:], turned[:-1, :-1, 1:]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.999
    copies = reconstruct(np.concatenate([images] * 4), np.concatenate([m @ g.T for g in group]), np.concatenate([d] * 4))
    np.testing.assert_allclose(v, copies, atol=1e-4 * np.abs(v).max())


def test_ctf_is_undone():
    box = 32
    truth, images, m, _ = data(box, 400, shift=0.0)
    f = fourier.centred_rfftn(images, 2)
    k = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.rfftfreq(box)) * box
    ctf = np.stack([np.cos(k * k * c) for c in np.linspace(0.004, 0.03, 400)]).astype(np.float32)
    acc = Accumulator(1, box, amplitude=images.std())
    acc.insert((f * ctf).astype(np.complex64), m, np.zeros(400), ctf=ctf)
    v = acc.finalise(acc.united([0]))
    assert (fsc(v, truth)[1:12] > 0.98).all()


def test_wiener_needs_signal():
    truth, images, m, d = data(32, 300, noise=3.0)
    acc = Accumulator(2, 32, amplitude=images.std())
    acc.insert(fourier.centred_rfftn(images, 2), m, np.arange(300) % 2, shifts=d)
    pairs = [acc.united([i]) for i in (0, 1)]
    halves = volumes_fsc(*(acc.finalise(one, mask_radius=12, out_box=acc.grid.small) for one in pairs), acc.grid.r_max)
    raw = acc.fsc(*pairs)
    assert halves[2] > 0.9 and raw[2] > 0.9 and halves[14] < 0.6 and len(halves) == len(raw) == 16
    both = acc.united([0, 1])
    plain = acc.finalise(both, mask_radius=12)
    better = acc.finalise(both, ssnr=ssnr_from_fsc(halves), mask_radius=12)
    assert ((better - truth) ** 2).sum() < 0.9 * ((plain - truth) ** 2).sum()
    nothing = acc.finalise(pairs[0], ssnr=np.zeros(16))
    assert not nothing.any()


def test_ssnr():
    s = ssnr_from_fsc([0.2, 0.5, 0.9, -0.1, 0.4])
    np.testing.assert_allclose(s[1:], [2.0, 18.0, 0.0, 0.0])


@pytest.mark.parametrize("h, at", [(1.0, [1, 1, 1]), (0.8, [1, 1, 0]), (0.5, [1, 0.5, 0]), (0.2, [1, 0, 0])])
def test_hamming(h, at):
    np.testing.assert_allclose(hamming_curve([0.0, 0.5, 1.0], h), at, atol=1e-12)
    assert hamming_curve(0.8, 0.8) == pytest.approx(0.5)
    assert hamming_curve(0.6, 0.8) == pytest.approx(1.0)


def test_mask_and_lowpass_of_the_volume():
    _, images, m, d = data(32, 100)
    v = reconstruct(images, m, d, mask_radius=8, mask_edge=3)
    assert not v[soft_ball(32, 11, 0) == 0].any()
    low = reconstruct(images, m, d, hamming=0.3)
    power = np.abs(fourier.centred_rfftn(low, 3))
    assert power[np.sqrt(sum(k**2 for k in _k3(32))) > 11].max() < 0.02 * power.max()


def test_empty_and_wild_images():
    acc = Accumulator(1, 16)
    assert not acc.finalise(acc.united([0])).any()
    f = np.full((1, 16, 9), np.nan, np.complex64)
    with pytest.raises(InputError, match="not finite"):
        acc.insert(f, np.eye(3)[None], [0])
    with pytest.raises(InputError, match="amplitude"):
        Accumulator(1, 16, amplitude=0.0)
    with pytest.raises(MismatchError):
        acc.insert(np.zeros((2, 16, 9), np.complex64), np.eye(3)[None], [0, 0])
    with pytest.raises(MismatchError, match="set 1"):
        acc.insert(np.zeros((1, 16, 9), np.complex64), np.eye(3)[None], [1])


def test_exact_filters_equal_the_quadratic_form():
    box, r, size = 32, 15, 0.7 * 32
    m = random_rotations(np.random.default_rng(8), 60)
    fast = exact_filter.exact_filters(exact_filter.slab_sum(m, box, r, size), m[:4], box, r)
    for i in range(4):
        slow = naive.slab_filter(m[:, 2], m[i], box, r, size)
        inside = slow > 0
        error = np.abs(fast[i][inside] - slow[inside]) / slow[inside]
        assert np.median(error) < 0.03 and error.max() < 0.25
        assert not fast[i][~inside].any()


def test_exact_filter_reconstruction():
    truth, images, m, d = data(32, 300)
    v = exact_filter.reconstruct(images, m, d, object_size=0.8)
    assert (fsc(v, truth)[1:13] > 0.93).all()
    assert (v * truth).sum() / (truth**2).sum() == pytest.approx(1, abs=0.06)
    with pytest.raises(UsageError, match="object size"):
        exact_filter.diameter(3.0, 32)


class TestAssignment:
    """IMAGIC's words, on 20 images of which 2 are inactive."""

    header = np.array([1, 2, 0, 4, 4, 4, 1, 1, 2, 2] * 2)
    active = np.ones(20, bool)
    active[[5, 19]] = False

    def make(self, kind, volumes=None, min_images=0, seed=1):
        return assign(kind, self.header, self.active, volumes, min_images, seed, "x.hed")

    def test_all(self):
        a = self.make("all")
        assert a.volumes == 1 and a.sizes().tolist() == [18]
        assert a.membership(20)[5] == 0 and a.membership(20).sum() == 18

    def test_header_renumbers(self):
        a = self.make("header")
        assert a.renumbered == {1: 1, 2: 2, 4: 3} and a.sizes().tolist() == [6, 5, 5]
        assert a.membership(20)[2] == 0 and a.membership(20)[3] == 3
        few = self.make("header", min_images=6)
        assert few.renumbered == {1: 1, 2: 0, 4: 0} and few.volumes == 1
        assert (few.membership(20) > 0).sum() == 6

    def test_split(self):
        a = self.make("split", 2)
        whole = self.make("header").membership(20)
        assert a.sizes().tolist() == [3, 3, 3, 2, 3, 2]
        part = a.membership(20)
        assert all(len(np.unique(whole[part == k])) == 1 for k in range(1, 7))

    def test_sequential(self):
        a = self.make("sequential", 3)
        assert a.sizes().tolist() == [6, 6, 6] and (np.diff(a.ref3d) >= 0).all()

    def test_random(self):
        a = self.make("random", 4)
        assert sorted(a.sizes().tolist()) == [4, 4, 5, 5] and len(np.unique(a.image)) == 18
        assert not np.array_equal(a.ref3d, self.make("random", 4, seed=2).ref3d)
        assert np.array_equal(a.ref3d, self.make("random", 4).ref3d)

    def test_multiple(self):
        a = self.make("multiple-random", 3)
        assert a.sizes().sum() == 18 and len(np.unique(a.image)) < 18 and not np.isin([5, 19], a.image).any()
        m = a.membership(20)
        assert set(np.flatnonzero(m)) == set(a.image)

    def test_states(self):
        state = np.where(self.header == 4, np.arange(20) % 2 + 3, 0)
        state[0] = 4  # an image that has come from another 3D, with the state that it had there
        given = by_state(self.header, state)
        assert set(given[self.header == 4]) == {3, 4} and (given[self.header == 1] == 1).all()
        assert (given[self.header == 0] == 0).all()
        assert (given[state == 3] == 3).all() and given[self.header == 2].tolist() == [2] * 6
        state[3] = 0  # one of unknown state goes to the largest
        state[[4, 5, 14]] = 3
        assert by_state(self.header, state)[3] == 3
        assert np.array_equal(by_state(self.header, np.zeros(20)), np.array([0, 1, 2, 0, 3])[self.header])
        assert by_state(np.zeros(3, int), np.ones(3, int)).tolist() == [0, 0, 0]

    def test_errors(self):
        with pytest.raises(UsageError, match="unknown assignment"):
            self.make("best")
        with pytest.raises(UsageError, match="--volumes"):
            self.make("random")
        with pytest.raises(MismatchError, match="19 3Ds cannot be made of 18"):
            self.make("sequential", 19)
        with pytest.raises(InputError, match="largest has 6"):
            self.make("header", min_images=7)
        with pytest.raises(InputError, match="REF3D"):
            assign("header", np.zeros(3, int), np.ones(3, bool))
        with pytest.raises(InputError, match="no active image"):
            assign("all", np.zeros(3, int), np.zeros(3, bool))
