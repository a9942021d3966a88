"""Pixel operations against scipy, gemmi and analytic cases."""

import gemmi
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from imagic4d_core.atoms import Atoms, density, read_atoms
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.filters.band import Band, filtered
from imagic4d_core.geometry import symmetry as groups
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.images import measuring
from imagic4d_core.masks.shapes import distances, resolved, round_mask
from imagic4d_core.patterns.shapes import PATTERNS, Pattern, draw
from imagic4d_core.pixels import local, radial, spectra, two
from imagic4d_core.pixels.normalise import Normalisation, normalise
from imagic4d_core.pixels.symmetry import symmetrised


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(31, 40), (12, 13, 17)])
def test_local_operations_are_those_of_scipy(shape):
    a = noise(*shape) + 50
    np.testing.assert_allclose(local.laplace(a), ndimage.laplace(a.astype(np.float64), mode="nearest"), atol=1e-4)
    parts = [ndimage.correlate1d(a.astype(np.float64), [-0.5, 0, 0.5], axis=k, mode="nearest") for k in range(a.ndim)]
    np.testing.assert_allclose(local.gradient(a), np.sqrt(sum(p**2 for p in parts)), atol=1e-4)
    ball = round_mask((7,) * a.ndim, 3) > 0
    expected = ndimage.generic_filter(a.astype(np.float64), np.var, footprint=ball, mode="reflect")
    np.testing.assert_allclose(local.local_variance(a, 3), expected, atol=1e-5)


def test_peaks_to_a_fraction_of_a_pixel():
    place = np.array([3.3, -5.4])
    x, y = np.meshgrid(np.arange(32) - 16, np.arange(40) - 20, indexing="ij")
    blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 18).astype(np.float32)
    (peak,) = local.peaks(blob, 3, least=0.5)
    np.testing.assert_allclose(peak.place, place, atol=0.02)
    v = draw("delta", (8, 9, 10), Pattern(1.0))
    assert local.peaks(np.roll(v, (2, -1, 3), (0, 1, 2)), 1)[0].place == (-1, 3, 2)  # x, y, z


def test_rotational_average_against_a_loop():
    for shape in ((9, 12), (7, 6, 9)):
        a = noise(*shape)
        r = np.rint(distances(shape).astype(np.float64)).astype(int)
        expected = np.zeros(shape)
        for k in range(r.max() + 1):
            expected[r == k] = a[r == k].mean() if (r == k).any() else 0
        np.testing.assert_allclose(radial.rotational_average(a), expected, atol=1e-6)


def test_power_of_white_noise_is_its_variance_in_any_box():
    for shape in ((64, 64), (48, 80), (1, 500), (24, 30, 28)):
        a = 3 * noise(*shape)
        curve = radial.power_curve(a)
        assert curve[1:].mean() == pytest.approx(9, rel=0.25)
        assert spectra.power(a[None], a.ndim).mean() == pytest.approx((a**2).mean(), rel=1e-4)


@pytest.mark.parametrize("shape", [(20, 20, 20), (21, 21, 21)])
@pytest.mark.parametrize("group", ["C2", "C4", "D2", "D4", "T222", "O"])
def test_turns_by_right_angles_are_exact(shape, group):
    """Groups whose rotations map the grid onto itself: averages of voxels, whatever the interpolation."""
    v = noise(*shape)
    if group in ("T222", "O"):
        v = ndimage.gaussian_filter(v, 1)
    out = symmetrised(v, group, "bilinear")
    axes = [np.arange(n) - n // 2 for n in shape]
    z, x, y = np.meshgrid(*axes, indexing="ij")
    total, count = np.zeros(shape), np.zeros(shape)
    for g in groups.rotations(group):
        p = np.rint(np.einsum("ij,jabc->iabc", g, np.stack([x, y, z]))).astype(int)
        at = [p[2] + shape[0] // 2, p[0] + shape[1] // 2, p[1] + shape[2] // 2]
        inside = np.all([(q >= 0) & (q < n) for q, n in zip(at, shape, strict=True)], axis=0)
        clipped = [np.clip(q, 0, n - 1) for q, n in zip(at, shape, strict=True)]
        total += np.where(inside, v[tuple(clipped)], 0)
        count += inside
    np.testing.assert_allclose(out, total / count, atol=1e-5)
    np.testing.assert_allclose(symmetrised(v, group, "spline"), out, atol=1e-4)
    np.testing.assert_array_equal(out, symmetrised(v, group, "bilinear", threads=3))


@pytest.mark.parametrize("group", ["C3", "C7", "D3", "I"])
def test_symmetrised_twice_is_symmetrised_once(group):
    v = ndimage.gaussian_filter(noise(32, 32, 32), 2.5)
    once = symmetrised(v, group)
    inside = round_mask(v.shape, 13) > 0
    assert np.abs(symmetrised(once, group) - once)[inside].max() < 0.02 * once.std()
    if group.startswith("C"):
        flat = symmetrised(v[16], group)
        np.testing.assert_allclose(flat[inside[16]], once[16][inside[16]], atol=2e-5)


def test_images_have_cyclic_symmetry_only():
    with pytest.raises(UsageError, match="Cn only"):
        symmetrised(noise(8, 8), "D2")


def test_masks_have_one_radius_for_any_box():
    assert resolved((64, 40), 0.5, 0.25) == (10.0, 5.0)
    assert resolved((64, 40), None, None) == (18.0, 2.0)
    m = round_mask((30, 41), 9, 3)
    r = distances((30, 41))
    assert (m[r <= 9] == 1).all() and (m[r >= 12] == 0).all() and 0.4 < m[np.abs(r - 10.5) < 0.3].mean() < 0.6
    with pytest.raises(UsageError, match="radius 0"):
        resolved((8, 8), 0.0, None)


def test_outliers_and_constant_images():
    data = noise(4, 40, 40)
    data[1, 5, 5], data[1, 5, 6], data[2] = 500.0, 20.0, 7.5
    flat, replaced = normalise(data, Normalisation(1.0, None, 6.0))
    assert flat.tolist() == [False, False, True, False] and replaced == 2
    assert np.abs(data[1]).max() < 6 and not data[2].any()
    # a mask weighs, and cuts only when asked to
    mask = round_mask((40, 40), 10, 2)
    one = noise(1, 40, 40)
    two_ = one.copy()
    normalise(one, Normalisation(2.0, mask))
    normalise(two_, Normalisation(2.0, mask, masked=True))
    np.testing.assert_allclose(two_[0], one[0] * mask, atol=1e-5)
    assert np.abs(one[0][mask == 0]).max() > 0


def test_least_squares_looks_under_the_mask():
    a, b = noise(1, 30, 30)[0], noise(1, 30, 30, seed=1)[0]
    mask = round_mask((30, 30), 8)
    inside = mask > 0
    slope, offset = two.least_squares(a, b, mask)
    np.testing.assert_allclose((slope, offset), np.polyfit(b[inside], a[inside], 1), rtol=1e-4)
    assert two.correlation(a, b, mask) == pytest.approx(np.corrcoef(a[inside], b[inside])[0, 1], abs=1e-6)


def test_phase_residual_of_unrelated_phases():
    assert two.phase_residual(noise(64, 64), noise(64, 64, seed=1)) == pytest.approx(180 / np.sqrt(3), abs=3)


def test_padding_keeps_borders_apart():
    step = np.zeros((1, 32, 32), np.float32)
    step[:, :, :4] = 1.0
    plain = filtered(step.copy(), 2, Band(high=0.2).curve)
    padded = filtered(step.copy(), 2, Band(high=0.2).curve, 1.5)
    assert plain[0, 16, -1] > 0.3 and abs(padded[0, 16, -1]) < 0.01


@pytest.mark.parametrize("name", sorted(PATTERNS))
@pytest.mark.parametrize("shape", [(16, 21), (15, 16, 18)])
def test_patterns(name, shape):
    p = Pattern(5.0, 2.0, 6.0, "x", 3)
    a = draw(name, shape, p)
    assert a.shape == shape and a.dtype == np.float32 and np.isfinite(a).all() and a.std() > 0
    np.testing.assert_array_equal(a, draw(name, shape, p))
    assert np.array_equal(a, draw(name, shape, p, 1)) == (name not in ("noise", "blobs"))
    if name in ("disc", "gaussian", "delta", "zones", "sinus", "cross"):
        assert a[tuple(n // 2 for n in shape)] == a.max()


def test_helix_is_one_strand():
    """As thick across as its width says, at any slope, and in one piece."""
    p = Pattern(radius=9.6, period=24.0)
    a = draw("helix", (48, 48, 48), p)
    assert ndimage.label(a > 0.5)[1] == 1
    t = np.linspace(-1, 1, 20001)[:, None] * np.pi * 2 * 48 / 24
    curve = np.hstack([t * 24 / (2 * np.pi), 9.6 * np.cos(t), 9.6 * np.sin(t)])  # z, x, y
    at = np.argwhere(a > 0.3) - 24.0
    near = cKDTree(curve).query(at)[0]
    np.testing.assert_allclose(a[a > 0.3], np.exp(-(near**2) / (2 * 2.4**2)), atol=0.06)


def test_planes_of_a_pattern_of_volumes():
    """The middle section of a round pattern is the pattern of images."""
    for name in ("disc", "gaussian", "delta", "ring"):
        p = Pattern(5.0, 2.0)
        np.testing.assert_array_equal(draw(name, (14, 16, 18), p)[7], draw(name, (16, 18), p))


def test_density_of_one_atom_is_its_gaussians():
    atom = Atoms(np.array([[3.1, -4.2, 5.3]]), np.array(["S"]), np.array([0.5]), np.array([20.0]), np.array([16.0]))
    pixel, d = 1.25, 8.0
    v = density(atom, (30, 32, 36), pixel, d, np.zeros(3), b_factors=True)
    z, x, y = np.meshgrid(*[(np.arange(n) - n // 2) * pixel for n in (30, 32, 36)], indexing="ij")
    r2 = (y - 3.1) ** 2 + (-x + 4.2) ** 2 + (z - 5.3) ** 2  # X along pixels, Y against lines
    factor = gemmi.Element("S").c4322
    b = np.array(factor.b) + 20 + 4 * d**2
    expected = 0.5 * sum(a * (4 * np.pi / w) ** 1.5 * np.exp(-4 * np.pi**2 * r2 / w) for a, w in zip(factor.a, b, strict=True))
    np.testing.assert_allclose(v, expected, atol=1e-5 * expected.max())
    # the transform has fallen to 1/e at the resolution, beside the atom's own form factor
    assert v.sum() * pixel**3 == pytest.approx(0.5 * sum(factor.a), rel=1e-3)


def test_density_is_gemmis(shared_data):
    path = shared_data / "models" / "2A73.pdb"
    atoms = read_atoms(path)
    n, pixel, d = 80, 2.5, 10.0
    mine = density(atoms, (n, n, n), pixel, d)
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_waters()
    for chain in structure[0]:
        for residue in chain:
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) - atoms.centre + n // 2 * pixel))
                atom.b_iso, atom.aniso = 4 * d * d, gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    structure.cell = gemmi.UnitCell(n * pixel, n * pixel, n * pixel, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.setup_cell_images()
    made = gemmi.DensityCalculatorE()
    made.d_min, made.cutoff = 3 * pixel, 1e-8
    made.set_grid_cell_and_spacegroup(structure)
    made.grid.set_size(n, n, n)
    made.grid.fill(0)
    made.add_model_density_to_grid(structure[0])
    theirs = np.array(made.grid, copy=False).transpose(2, 1, 0)[:, (2 * (n // 2) - np.arange(n)) % n, :]
    # what lies outside the box comes in again on the other side there
    inside = round_mask(mine.shape, n // 2 - 2) > 0
    assert np.abs(mine - theirs)[inside].max() < 0.02 * theirs.max()
    assert np.corrcoef(mine[inside], theirs[inside])[0, 1] > 0.9999


def test_bad_models(tmp_path):
    with pytest.raises(InputError, match="not found"):
        read_atoms(tmp_path / "none.pdb")
    for text in ("", "END\n", "garbage\n"):
        (tmp_path / "bad.pdb").write_text(text)
        with pytest.raises(InputError, match=r"bad\.pdb"):
            read_atoms(tmp_path / "bad.pdb")
    atom = Atoms(np.zeros((1, 3)), np.array(["C"]), np.ones(1), np.zeros(1), np.ones(1))
    with pytest.raises(UsageError, match="finer than two pixels"):
        density(atom, (8, 8, 8), 2.0, 3.9)


@pytest.mark.parametrize("shape", [(9, 10, 12), (8, 7, 7)])
def test_gaussians_of_atoms_against_a_sum_over_all_pixels(shape):
    from oracle.atoms import gaussians

    from imagic4d_core.kernels.atoms import add_gaussians

    rng = np.random.default_rng(3)
    # some lie outside the grid
    places = np.column_stack([rng.uniform(-2, 12, (6, 3)), rng.uniform(0.5, 2, 6)])
    heights, falls = np.array([1.0, 0.3]), np.array([0.8, 0.4])
    expected = gaussians(shape, places, heights, falls)
    whole, parts = np.zeros(shape), np.zeros(shape)
    add_gaussians(whole, places, heights, falls, 20.0, 0, shape[0])
    for k in range(shape[0]):
        add_gaussians(parts, places, heights, falls, 20.0, k, k + 1)
    np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(parts, whole)
    plain = getattr(add_gaussians, "py_func", add_gaussians)
    again = np.zeros(shape)
    plain(again, places, heights, falls, 20.0, 0, shape[0])
    np.testing.assert_allclose(again, whole, rtol=1e-13)


def test_averages_of_many_blocks(tmp_path, monkeypatch):
    data = np.random.default_rng(4).normal(100, 3, (83, 9, 8)).astype(np.float32)
    write_stack(tmp_path / "a.mrcs", data)
    monkeypatch.setattr(measuring, "BLOCK_BYTES", 5 * 4 * 72)
    monkeypatch.setattr(measuring, "GROUPS", 4)
    for mode, wanted in (("average", data.mean(0, dtype=np.float64)), ("variance", data.var(0, dtype=np.float64))):
        found = []
        for threads in (1, 3):
            seen = []
            out = tmp_path / f"{mode}{threads}.mrc"
            measuring.set_statistics(
                tmp_path / "a.mrcs", out, mode=mode, threads=threads, progress=lambda *d, seen=seen: seen.append(d)
            )
            assert seen[-1] == (4, 4)
            found.append(out.read_bytes())
        assert found[0] == found[1]
        np.testing.assert_allclose(read_stack(out)[0][0], wanted, rtol=2e-6)
    data[80, 3, 3] = np.nan
    write_stack(tmp_path / "b.hed", data)
    with pytest.raises(InputError, match="image 81"):
        measuring.set_statistics(tmp_path / "b.hed", tmp_path / "c.hed", mode="average")
    assert not (tmp_path / "c.hed").exists()
