"""Laws of the geometric operations: there and back, composition, shift theorem, linearity, 2D as sections of 3D, projection."""

import numpy as np
import pytest

from imagic4d_core import fourier
from imagic4d_core.align.centre import centre_of_mass, correlated
from imagic4d_core.forward.project import Projector
from imagic4d_core.geometry import euler
from imagic4d_core.geometry.moves import Moves, scale_distances
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import TAG, blank_headers
from imagic4d_core.pixels.radial import rotational_average
from imagic4d_core.resample.move import METHODS, move, reflect
from imagic4d_core.resample.shear import fourier_shift
from imagic4d_core.resample.window import cut
from imagic4d_core.resample.zoom import plan, zoom
from imagic4d_core.rng import rng_for

SQUARES = [(32, 32), (33, 33), (30, 36), (35, 28)]
CUBES = [(20, 20, 20), (21, 19, 24)]


def blobs(box, count=4, width=2.5, seed=1, scale=1.0, move_=None, of=None):
    """Gaussians well inside a box (of another one, `of`), sampled exactly; `scale` magnifies, `move_` moves them."""
    rng = rng_for(seed, "blobs")
    d = len(box)
    axes = [0, 1] if d == 2 else [1, 2, 0]  # array axis of x, y(, z)
    grid = np.meshgrid(*[(np.arange(n) - n // 2) / scale for n in box], indexing="ij")
    out = np.zeros(box)
    reach = min(of or box) / 2 - 3.5 * width
    for _ in range(count):
        at = rng.uniform(-1, 1, d) * reach / np.sqrt(d)
        weight = rng.uniform(0.5, 2)
        if move_ is not None:
            at = move_.matrix[0] @ (at + move_.shift[0])
        out += weight * np.exp(-sum((grid[axes[k]] - at[k]) ** 2 for k in range(d)) / (2 * width**2))
    return out[None].astype(np.float32)


TOLERANCE = {"spline": 0.01, "bilinear": 0.12, "nearest": 0.5, "fourier": 0.004}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("box", SQUARES + CUBES)
def test_moves_do_what_they_say(box, method):
    """Moved Gaussians are Gaussians at moved places: order, signs and centre of every convention at once."""
    width = 2.5 if len(box) == 2 else 1.6
    m = Moves.turns([37.0], [1.3, -0.6]) if len(box) == 2 else Moves.rotations([30.0], [60.0], [45.0], [0.4, -0.7, 0.3])
    want = blobs(box, width=width, move_=m)
    got = move(blobs(box, width=width), m, method=method, fill=0.0)
    assert np.abs(got - want).max() < TOLERANCE[method] * want.max()


@pytest.mark.parametrize("method", ["spline", "fourier"])
@pytest.mark.parametrize("box", SQUARES + CUBES[:1])
def test_there_and_back(box, method):
    x = blobs(box, width=2.0 if len(box) == 2 else 1.6)
    m = Moves.turns([-123.0], [0.7, 1.4]) if len(box) == 2 else Moves.rotations([10.0], [100.0], [200.0], [0.4, 0.7, -0.2])
    back = move(move(x, m, method=method, fill=0.0), m.inverse(), method=method, fill=0.0)
    assert np.abs(back - x).max() < {"spline": 0.03, "fourier": 0.008}[method] * x.max()


@pytest.mark.parametrize("method", METHODS)
def test_linearity(method):
    a, b = (rng_for(k, "x").standard_normal((1, 15, 18)).astype(np.float32) for k in (1, 2))
    m = Moves.turns([25.0], [0.3, 2.0])
    left = move(2 * a - b, m, method=method)
    right = 2 * move(a, m, method=method) - move(b, m, method=method)
    np.testing.assert_allclose(left, right, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("box", [(12, 12), (13, 16)])
def test_sections_turn_as_images_do(box, method):
    """(ANGLE, 0, 0) and a shift in the plane: a volume's sections one by one."""
    volume = rng_for(5, "volume").standard_normal((1, 5, *box)).astype(np.float32)
    whole = move(volume, Moves.rotations([40.0], [0.0], [0.0], [1.3, -0.4, 0.0]), method=method, fill=0.0)[0]
    single = move(volume[0], Moves.turns(np.full(5, 40.0), [1.3, -0.4]), method=method, fill=0.0)
    np.testing.assert_allclose(whole, single, atol=2e-5)


def test_rotation_is_the_one_of_forward_projection():
    """Rotate a volume by (A, B, G), sum along z: the projection with these Euler angles."""
    volume = blobs((32, 32, 32), width=2.2)
    angles = (30.0, 60.0, 45.0)
    turned = move(volume, Moves.rotations(*[[a] for a in angles]), method="fourier", fill=0.0)[0].sum(0)
    image = Projector(volume[0]).project(euler.matrix_from_euler(*angles)[None])[0]
    assert np.corrcoef(turned.ravel(), image.ravel())[0, 1] > 0.9999


def test_positive_angles_turn_clockwise_on_the_screen():
    x = np.zeros((1, 9, 9), np.float32)
    x[0, 1, 4] = 1  # above the centre
    for method in METHODS:
        assert np.unravel_index(move(x, Moves.turns([90.0]), method=method)[0].argmax(), (9, 9)) == (4, 7)  # to the right of it


@pytest.mark.parametrize("ndim", [2, 3])
def test_moves_are_a_group(ndim):
    rng = rng_for(6, "moves")

    def some():
        s = rng.uniform(-3, 3, (5, ndim))
        return Moves.turns(rng.uniform(-180, 180, 5), s) if ndim == 2 else Moves.rotations(*rng.uniform(0, 180, (3, 5)), s)

    a, b = some(), some()
    p = rng.uniform(-5, 5, (5, ndim))

    def apply(m, q):
        return np.einsum("nij,nj->ni", m.matrix, q + m.shift)

    np.testing.assert_allclose(apply(a.then(b), p), apply(b, apply(a, p)), atol=1e-12)
    np.testing.assert_allclose(apply(a.inverse(), apply(a, p)), p, atol=1e-12)
    j = np.ones(ndim)
    j[1] = -1
    np.testing.assert_allclose(apply(a.reflected(), j * p), j * apply(a, p), atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_equivalent_moves_add_up_in_headers(ndim):
    """Two moves written one after the other are found as one, and that one does the same to the pixels."""
    h = blank_headers(3)
    one = Moves.turns([10.0, 0, -50], [[1, 2], [0, 0], [3, -1]])
    two = Moves.turns([100.0, 20, 30], [[0.5, 0], [1, 1], [0, 2]])
    if ndim == 3:
        one, two = Moves.rotations([10.0, 0, 40], [20, 0, 50], [30, 0, 60], 1.5), Moves.rotations([5.0, 6, 7], 70, 80, [0, 1, 2])
    one.write(h)
    two.write(h)
    total = Moves.equivalent(h, ndim)
    want = one.then(two)
    np.testing.assert_allclose(total.matrix, want.matrix, atol=1e-6)
    np.testing.assert_allclose(total.shift, want.shift, atol=1e-5)
    np.testing.assert_allclose(h["XSHIFT"], two.shift[:, 0])
    if ndim == 2:
        np.testing.assert_allclose(h["ANGLE"], [100, 20, 30], atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
def test_poses_go_with_the_pixels(mirrored):
    """An image of known pose is moved; its new pose makes the same image out of the volume."""
    volume = blobs((32, 32, 32), count=6, width=1.8)
    h = blank_headers(1, 32, 32)
    poses = Poses.blank(1)
    poses.alpha[:], poses.beta[:], poses.gamma[:], poses.shift[:] = 20.0, 50.0, 70.0, [[1.0, -2.0]]
    poses.into_headers(h)
    centred = Projector(volume[0]).project(poses.matrices())
    image = move(centred, Moves.shifts([[-1.0, 2.0]]), fill=0.0)  # words 80, 81 are still to be applied
    m = Moves.turns([35.0], [2.0, 1.0])
    moved = move(reflect(image) if mirrored else image, m, method="fourier", fill=0.0)
    m.write(h, reflect=mirrored)
    after = Poses.from_headers(h)
    assert np.isclose(after.alpha[0] % 360, 55.0 if not mirrored else after.alpha[0] % 360)
    made = move(Projector(volume[0]).project(after.matrices()), Moves.shifts(-after.shift), method="fourier", fill=0.0)
    assert np.corrcoef(made.ravel(), moved.ravel())[0, 1] > 0.9995
    left = Moves.pending(h)
    left.write(h)
    assert np.allclose(Poses.from_headers(h).shift, 0, atol=1e-5) and np.allclose((h["ALPHA"] + 180) % 360, 180, atol=1e-4)


def test_images_without_pose_get_none():
    h = blank_headers(2)
    Moves.turns([30.0, 40.0], [1.0, 2.0]).write(h)
    assert not Poses.from_headers(h).any_set() and (h["IM4DTAG"] == 0).all()


def test_distances_follow_the_pixel_size():
    h = blank_headers(1)
    for name in ("RXSHIFT", "XSHIFT", "EYSHIFT", "ZSHIFT", "EZSHIFT"):
        h[name] = 2.0
    scale_distances(h, 1.5)
    assert h["XSHIFT"][0] == h["EYSHIFT"][0] == h["ZSHIFT"][0] == h["EZSHIFT"][0] == 3.0 and h["RXSHIFT"][0] == 2.0
    h["IM4DTAG"] = TAG
    scale_distances(h, 0.5)
    assert h["RXSHIFT"][0] == 1.0


@pytest.mark.parametrize("shape", [(9,), (8,), (9, 12), (6, 7, 9)])
def test_shift_theorem(shape):
    """A Fourier shift multiplies the spectrum by a phase; by whole pixels it is a cyclic copy."""
    x = rng_for(7, "x").standard_normal((2, *shape))
    d = len(shape)
    s = np.array([1.0, -2.0, 3.0][:d])
    np.testing.assert_allclose(fourier_shift(x, s), np.roll(x, s.astype(int), tuple(range(1, d + 1))), atol=1e-6)
    if all(n % 2 for n in shape):
        t = np.array([0.3, -1.7, 2.2][:d])
        f = fourier.rfftn(fourier_shift(x, t), d)
        phase = sum(
            k.reshape([-1 if i == a else 1 for i in range(d)]) * t[a]
            for a, k in enumerate([*map(fourier.frequencies, shape[:-1]), fourier.half_frequencies(shape[-1])])
        )
        np.testing.assert_allclose(f, fourier.rfftn(x, d) * np.exp(-2j * np.pi * phase), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("box", [(9, 8), (6, 7, 5)])
def test_whole_shifts_are_copies(box, method):
    x = rng_for(8, "x").standard_normal((1, *box)).astype(np.float32)
    s = np.array([2.0, -3.0, 1.0][: len(box)])
    got = move(x, Moves.shifts(s[None]), method=method, fill=9.0)[0]
    axes = s if len(box) == 2 else s[[2, 0, 1]]
    want = cut(x, box, [n // 2 - int(k) for n, k in zip(box, axes, strict=True)], 9.0)[0]
    assert np.array_equal(got, want)
    assert (got == 9.0).sum() == x.size - np.prod([n - abs(k) for n, k in zip(box, axes, strict=True)])


@pytest.mark.parametrize("box", [(8, 8), (9, 10), (5, 6, 7)])
@pytest.mark.parametrize("size", [11, 12])
def test_cut_takes_padding_back(box, size):
    x = rng_for(9, "x").standard_normal((2, *box)).astype(np.float32)
    for fill in ("edge", "mean", 3.0):
        wide = cut(x, (size,) * len(box), None, fill)
        assert np.array_equal(cut(wide, box), x)
        assert (wide[(slice(None), *[n // 2 for n in wide.shape[1:]])] == x[(slice(None), *[n // 2 for n in box])]).all()


@pytest.mark.parametrize("box", [(16, 16), (15, 15), (16, 24), (12, 18), (12, 12, 12), (9, 9, 9)])
@pytest.mark.parametrize("factor", [2.0, 1.5, 4 / 3])
def test_zoom_there_and_back_is_exact_for_what_is_band_limited(box, factor):
    x = rng_for(10, "x").standard_normal((1, *box)).astype(np.float32)
    d = len(box)
    low = fourier.rfftn(x, d)
    for a, n in enumerate(box):  # without the lone frequency of an even size
        k = fourier.half_frequencies(n) if a == d - 1 else fourier.frequencies(n)
        low *= (np.abs(k) < 0.49).reshape([-1 if i == a else 1 for i in range(d)])
    x = fourier.irfftn(low, box)
    z = plan(box, factor=factor)
    y = zoom(x, z)
    back = zoom(y, plan(z.box, new=box))
    if z.padded == box:
        np.testing.assert_allclose(back, x, atol=2e-5)
        assert np.isclose(y.mean(), x.mean(), atol=1e-5)


@pytest.mark.parametrize("method", ["fourier", "spline", "bilinear"])
@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2.0, 1.23])
@pytest.mark.parametrize("box", SQUARES + CUBES)
def test_zoom_keeps_the_centre(box, factor, method):
    width = 2.5 if len(box) == 2 else 2.0
    x = blobs(box, width=width)
    z = plan(box, factor=factor, method=method)
    want = blobs(z.box, width=width, scale=z.factor, of=box)
    got = zoom(x, z, method)
    assert np.abs(got - want).max() < (0.02 if method != "bilinear" else 0.12) * want.max()
    com_old, com_new = centre_of_mass(x), centre_of_mass(got)
    np.testing.assert_allclose(com_new, com_old * z.factor, atol=0.06)


def test_mass_and_correlation_find_a_shift():
    for box in ((33, 32), (20, 21, 22)):
        d = len(box)
        axes = [0, 1] if d == 2 else [1, 2, 0]
        grid = np.meshgrid(*[np.arange(n) - n // 2.0 for n in box], indexing="ij")
        at = np.array([1.4, -2.3, 0.7][:d])
        x = np.exp(-sum((grid[axes[k]] - at[k]) ** 2 for k in range(d)) / 8)[None].astype(np.float32)
        shift = centre_of_mass(x)
        np.testing.assert_allclose(shift[0][axes] if d == 3 else shift[0], -at, atol=0.01)
        middle = np.exp(-sum(g**2 for g in grid) / 8).astype(np.float32)
        found, ccc = correlated(fourier.centred_rfftn(x, d).astype(np.complex64), middle, 8.0, 1.0)
        np.testing.assert_allclose(found[0][axes] if d == 3 else found[0], -at, atol=0.1)
        assert ccc[0] > 0.9
        r = rotational_average(middle)
        assert np.abs(r - middle).max() < 0.2 and r.dtype == np.float32


@pytest.mark.parametrize(
    ("method", "frequency", "limit"),
    [("fourier", 0.85, 1e-3), ("fourier", 0.9, 5e-3), ("spline", 0.5, 0.03), ("bilinear", 0.5, 0.3)],
)
def test_a_wave_turns_with_the_image(method, frequency, limit):
    """A wave packet, at fractions of Nyquist: the figures of docs/image-operations.md."""
    n = 96
    grid = np.meshgrid(*[np.arange(n) - n // 2] * 2, indexing="ij")

    def packet(k):
        envelope = np.exp(-(grid[0] ** 2 + grid[1] ** 2) / (2 * 10**2))
        return (envelope * np.cos(2 * np.pi * (k[0] * grid[0] + k[1] * grid[1])))[None].astype(np.float32)

    for angle in (10.0, 45.0, 77.0):
        for direction in np.deg2rad([0.0, 45.0, 80.0]):
            k = np.array([np.cos(direction), np.sin(direction)]) * frequency / 2
            m = Moves.turns([angle])
            assert np.abs(move(packet(k), m, method=method, fill=0.0) - packet(m.matrix[0] @ k)).max() < limit
