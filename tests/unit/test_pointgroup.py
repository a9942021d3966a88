"""Point groups found in maps of known symmetry."""

from dataclasses import replace

import numpy as np
import pytest

from imagic4d_core import models
from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.geometry import symmetry
from imagic4d_core.geometry.euler import matrix_from_rotvec, random_rotations
from imagic4d_core.pointgroup.find import check_symmetry, find_symmetry
from imagic4d_core.pointgroup.selfrotation import self_rotation
from imagic4d_core.pointgroup.working import extent, prepare, sample
from imagic4d_core.rng import rng_for
from imagic4d_core.volalign import VolumeAlignment, apply_alignment

BOX = 48


def blobs(group, seed, leave_out=0):
    """A structure of a group about a turned and shifted frame: model, frame (rotation), centre."""
    rng = rng_for(seed, "tests/pointgroup")
    ops = symmetry.rotations(group)
    unit = rng.normal(0, 3.0, (max(5, 60 // len(ops)), 3)) + 9.0 * random_rotations(rng, 1)[0][0]
    keep = ops[leave_out:]
    positions = (unit @ np.swapaxes(keep, 1, 2)).reshape(-1, 3)
    positions *= 15.0 / np.linalg.norm(positions, axis=1).max()
    weight = np.tile(rng.uniform(0.5, 1.5, len(unit)), len(keep))
    frame, centre = random_rotations(rng, 1)[0], rng.normal(0, 1.5, 3)
    model = models.Model(group, positions, np.full(len(positions), 1.3), weight).rotated(frame)
    return replace(model, positions=model.positions + centre), frame, centre


def noisy(model, seed, snr):
    volume = models.volume(model, BOX)
    noise = rng_for(seed, "tests/pointgroup/noise").standard_normal(volume.shape)
    return (volume + noise * np.sqrt(volume.var() / snr)).astype(np.float32)


@pytest.mark.parametrize("group", ["C2", "C3", "C5", "C8", "D2", "D3", "D7", "T", "O", "I"])
def test_group_axes_and_centre(group):
    model, frame, centre = blobs(group, 3)
    found = find_symmetry(noisy(model, 3, 0.5))
    assert found.group == group and found.holds
    q = found.rotation @ frame
    ops = symmetry.rotations(group)
    off = max(np.linalg.norm(ops - q @ g @ q.T, axis=(1, 2)).min() for g in ops)  # conjugated by the frame it is the same group
    assert off < np.deg2rad(1.5)
    away = -found.rotation.T @ found.shift - centre
    away -= (away @ frame[:, 2]) * frame[:, 2] if group[0] == "C" else 0  # Cn: anywhere along the axis
    assert np.linalg.norm(away) < 0.3


def test_aligned_map_has_its_axes_in_the_standard_setting():
    model, _, _ = blobs("D3", 5)
    volume = models.volume(model, BOX)
    found = find_symmetry(volume)
    laid = apply_alignment(volume, VolumeAlignment(found.rotation, found.shift, False, 1.0))
    for g in symmetry.rotations("D3")[1:]:
        turned = apply_alignment(laid, VolumeAlignment(g, np.zeros(3), False, 1.0))
        assert np.corrcoef(turned.ravel(), laid.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_asymmetric_is_c1(seed):
    found = find_symmetry(noisy(models.random_family(seed, 1, BOX)[0], seed, 0.5))
    assert found.group == "C1" and found.others


def test_a_missing_subunit_is_no_symmetry():
    assert find_symmetry(models.volume(blobs("C4", 7, leave_out=1)[0], BOX)).group == "C1"


def test_noise_is_c1():
    assert find_symmetry(rng_for(1, "tests/noise").standard_normal((BOX,) * 3).astype(np.float32)).group == "C1"


def test_given_group():
    volume = models.volume(blobs("D4", 11)[0], BOX)
    assert check_symmetry(volume, "D4").holds and check_symmetry(volume, "c2").holds
    no = check_symmetry(volume, "D3")
    assert not no.holds and no.group == "D3" and no.reason


def test_halves_tell_a_pseudo_symmetry():
    """Densities without the symmetry that both halves share: the map agrees with itself less than its halves do."""
    model, _, _ = blobs("C2", 13)
    pseudo = noisy(model, 13, 0.1)
    assert check_symmetry(pseudo, "C2").holds, "not a case in between: change the densities"
    with_halves = check_symmetry(pseudo, "C2", (pseudo, pseudo))
    assert not with_halves.holds and with_halves.promised == pytest.approx(1.0)
    true = models.volume(model, BOX)
    assert check_symmetry(true, "C2", (true, true)).holds


def test_self_rotation_is_the_correlation():
    """The table beside rotations made one by one."""
    volume = models.volume(blobs("C3", 17)[0], BOX)
    work = prepare(volume, extent(volume), 7.0)
    table = self_rotation(work)
    here = sample(work.splines, work.points)
    for i in (0, 100, 900):
        for degrees in (40.0, 120.0, 180.0):
            mate = sample(work.splines, work.points @ matrix_from_rotvec(table.axes[i] * np.deg2rad(degrees)).T)
            assert table.correlation(degrees)[i, 0] == pytest.approx(here @ mate / (here @ here), abs=0.05)


def test_bad_input():
    with pytest.raises(MismatchError, match="cubes"):
        find_symmetry(np.zeros((8, 8, 9), np.float32))
    with pytest.raises(InputError, match="constant or empty"):
        find_symmetry(np.ones((24, 24, 24), np.float32))
    with pytest.raises(InputError, match="not finite"):
        find_symmetry(np.full((24, 24, 24), np.nan, np.float32))


def test_command(im4d, tmp_path):
    from imagic4d_core.io.stack import read_stack
    from imagic4d_core.io.writer import create_stack
    from imagic4d_core.pixels.symmetry import symmetrised

    src = tmp_path / "v.mrc"
    volume = models.volume(blobs("D3", 5)[0], BOX)
    with create_stack(src, 1, BOX, BOX, BOX, pixel_size=3.0, volumes=True) as out:
        out.write(0, volume)
    found = im4d("threed-symmetry", str(src), str(tmp_path / "d3.mrc"), "--symmetrise", "--json").json
    assert found["found"][0]["group"] == "D3" and found["holds"]
    again = im4d("threed-symmetry", str(tmp_path / "d3.mrc"), "--symmetry", "D3").stdout
    other = im4d("threed-symmetry", str(src), str(tmp_path / "d3y.mrc"), "--symmetry", "D3Y", "--symmetrise", "--json").json
    assert other["found"][0]["group"] == "D3Y"
    laid, turned = (read_stack(tmp_path / f"{name}.mrc")[0][0] for name in ("d3", "d3y"))
    for name, here in (("D3", laid), ("D3Y", turned)):  # each agrees with itself about its own axes
        average = symmetrised(here, name)
        assert np.corrcoef(average.ravel(), here.ravel())[0, 1] > 0.98
        assert np.corrcoef(symmetrised(here, "D3" if name == "D3Y" else "D3Y").ravel(), here.ravel())[0, 1] < 0.95
    assert "volume 1: D3" in again
    assert "not C5" in im4d("threed-symmetry", str(src), str(tmp_path / "no.mrc"), "--symmetry", "C5", code=1).stdout
    assert not (tmp_path / "no.mrc").exists()
    rng = np.random.default_rng(2)
    for half in "ab":
        with create_stack(tmp_path / f"h_{half}.mrc", 1, BOX, BOX, BOX, pixel_size=3.0, volumes=True) as out:
            out.write(0, volume + rng.normal(0, 0.3 * volume.std(), volume.shape))
    told = im4d("threed-symmetry", str(src), "--halves", str(tmp_path / "h.mrc"), "--json").json["found"][0]
    assert told["group"] == "D3"
    assert "h_a" in im4d("threed-symmetry", str(src), "--halves", str(tmp_path / "none" / "h.mrc"), code=3).stderr
