"""`--symmetry` on files of other programs: a map, its projections in RELION's angles, and the map that comes back."""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

BOX, SIGMA = 32, 1.6
AXIS = np.arange(BOX) - BOX // 2


def turn(axis, degrees):
    a, t = np.array(axis, float) / np.linalg.norm(axis), np.radians(degrees)
    k = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    return np.eye(3) + np.sin(t) * k + (1 - np.cos(t)) * k @ k


def group(*generators):
    found = [np.eye(3)]
    for g in found:
        found += [h @ g for h in generators if not any(np.abs(h @ g - f).max() < 1e-4 for f in found)]
    return found


Z, GOLD = (0, 0, 1), (1 + 5**0.5) / 2
#: In standard axes (x right, y up): what RELION 3.1 and, for D3Y, cryoSPARC mean by these names.
GENERATORS = {
    "C3": [turn(Z, 120)],
    "C7": [turn(Z, 360 / 7)],
    "D2": [turn(Z, 180), turn((1, 0, 0), 180)],
    "D3": [turn(Z, 120), turn((1, 0, 0), 180)],
    "D3Y": [turn(Z, 120), turn((0, 1, 0), 180)],
    "D5": [turn(Z, 72), turn((1, 0, 0), 180)],
    "D7": [turn(Z, 360 / 7), turn((1, 0, 0), 180)],
    "T": [turn(Z, 120), turn((0, 2**0.5, 1), 180)],
    "T222": [turn(Z, 180), turn((1, 1, 1), 120)],
    "O": [turn(Z, 90), turn((1, 1, 1), 120)],
    "I1": [turn(Z, 180), turn((1, 1, 1), 120), turn((0, 1, GOLD), 72)],
    "I2": [turn(Z, 180), turn((1, 1, 1), 120), turn((1, 0, GOLD), 72)],
}
QUICK = ("D3", "D3Y", "T", "I1")


def relion_matrix(rot, tilt, psi):
    return turn(Z, -psi) @ turn((0, 1, 0), -tilt) @ turn(Z, -rot)


def gauss(points, axis):
    return np.exp(-((AXIS - points[:, [axis]]) ** 2) / (2 * SIGMA**2))


def make(folder, name, count=60):
    """A map of a group, and a RELION list of its projections: the points themselves are turned, so no program is trusted."""
    ops = group(*GENERATORS[name])
    rng = np.random.default_rng(5)
    base = rng.normal(size=(3, 3))
    base *= np.array([[6.0], [8.0], [10.5]]) / np.linalg.norm(base, axis=1, keepdims=True)
    points, weight = np.concatenate([base @ g.T for g in ops]), np.tile([0.6, 1.0, 1.4], len(ops))
    truth = np.einsum("i,iz,iy,ix->zyx", weight, *(gauss(points, k) for k in (2, 1, 0)), optimize=True).astype(np.float32)
    rot, psi = rng.uniform(-180, 180, (2, count))
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, count)))
    images = np.empty((count, BOX, BOX), np.float32)
    for k in range(count):
        seen = points @ relion_matrix(rot[k], tilt[k], psi[k]).T
        images[k] = np.einsum("i,iy,ix->yx", weight, gauss(seen, 1), gauss(seen, 0), optimize=True)
    with mrcfile.new(folder / "p.mrcs", overwrite=True) as mrc:
        mrc.set_data(images)
        mrc.set_image_stack()
        mrc.voxel_size = 2.0
    labels = ("OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality", "Voltage")
    labels = (*labels, "SphericalAberration", "AmplitudeContrast")
    optics = "data_optics\n\nloop_\n" + "".join(f"_rln{label}\n" for label in labels) + f"1 g 2.0 {BOX} 2 300 2.7 0.1\n\n"
    labels = ("ImageName", "AngleRot", "AngleTilt", "AnglePsi", "OpticsGroup")
    text = optics + "data_particles\n\nloop_\n" + "".join(f"_rln{label}\n" for label in labels)
    text += "".join(f"{k + 1:06d}@p.mrcs {rot[k]:.5f} {tilt[k]:.5f} {psi[k]:.5f} 1\n" for k in range(count))
    (folder / "parts.star").write_text(text)
    return truth


def agreement(path, truth):
    inside = np.sqrt((np.stack(np.meshgrid(AXIS, AXIS, AXIS)) ** 2).sum(0)) < BOX // 2 - 2
    return float(np.corrcoef(mrcfile.read(path).reshape(truth.shape)[inside], truth[inside])[0, 1])


NAMES = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in GENERATORS]


@pytest.mark.parametrize("name", NAMES)
def test_recon_about_the_axes_of_the_list(name, im4d, tmp_path):
    truth = make(tmp_path, name)
    im4d("recon", tmp_path / "parts.star", tmp_path / "o.mrc", "--membership", "all", "--symmetry", name)
    assert agreement(tmp_path / "o.mrc", truth) > 0.98
    im4d("threed-menu", tmp_path / "o.mrc", tmp_path / "s.mrc", "--mode", "symmetrise", "--symmetry", name)
    assert agreement(tmp_path / "s.mrc", truth) > 0.98


@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION (relion_reconstruct) is not on this machine")
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("D3Y",) and getattr(n, "values", [n])[0] != "T222"])
def test_relion_reconstructs_the_same(name, im4d, tmp_path):
    truth = make(tmp_path, name)
    call = ["relion_reconstruct", "--i", "parts.star", "--o", "r.mrc", "--sym", name, "--angpix", "2"]
    subprocess.run(call, capture_output=True, timeout=300, cwd=tmp_path, check=True)
    im4d("recon", tmp_path / "parts.star", tmp_path / "o.mrc", "--membership", "all", "--symmetry", name)
    theirs, ours = (agreement(tmp_path / file, truth) for file in ("r.mrc", "o.mrc"))
    print(f"{name}: correlation with the true map, RELION {theirs:.4f}, im4d {ours:.4f}")  # the table of docs/conventions.md
    assert theirs > 0.98 and ours > 0.98
