"""Poses proved against RELION itself: the same map and STAR file give the same images, in both directions."""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack

pytestmark = pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION (relion_project) is not on this machine")
SIZE, COUNT = 2.5, 8


def relion(*args, cwd=None):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def blobs(box):
    """A map without symmetry or mirror plane, smooth, clear of the edges; array (section, line, pixel)."""
    rng = np.random.default_rng(11)
    axes = np.arange(box) - box // 2
    volume = np.zeros((box, box, box))
    for centre, weight in zip(rng.normal(0, box / 10, (12, 3)), rng.uniform(0.5, 2, 12), strict=True):
        g = [np.exp(-((axes - c) ** 2) / (2 * 2.2**2)) for c in centre]
        volume += weight * g[0][:, None, None] * g[1][None, :, None] * g[2][None, None, :]
    return volume.astype(np.float32)


def correlations(a, b):
    return np.array([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])


def moved_back(images, box):
    """RELION 3.1 puts the centre of a map at N // 2, but that of its projections, in odd boxes, one pixel further (next test)."""
    return np.roll(images, (1, -1), (-2, -1)) if box % 2 else images


@pytest.fixture(params=[48, 49], ids=["even", "odd"])
def box(request):
    return request.param


def test_relion_projects_odd_boxes_one_pixel_off(tmp_path):
    for box in (48, 49):
        axes = np.arange(box) - box // 2
        g = np.exp(-(axes**2) / 18.0).astype(np.float32)
        with mrcfile.new(tmp_path / f"{box}.mrc") as mrc:
            mrc.set_data(g[:, None, None] * g[None, :, None] * g[None, None, :])
            mrc.voxel_size = SIZE
        relion("relion_project", "--i", tmp_path / f"{box}.mrc", "--o", tmp_path / f"p{box}.mrc", "--angpix", SIZE)
        with mrcfile.open(tmp_path / f"p{box}.mrc", permissive=True) as mrc:
            image = mrc.data.squeeze()
        peak = np.unravel_index(image.argmax(), image.shape)
        assert peak == (box // 2 + box % 2, box // 2 + box % 2)


def test_ours_in_relion(im4d, tmp_path, box):
    """Header poses, by convert into STAR: relion_project shows what forward shows."""
    poses = Poses.blank(COUNT)
    rng = np.random.default_rng(box)
    poses.set_matrices(euler.random_rotations(rng, COUNT))
    poses.shift, poses.ref3d = rng.normal(0, 2.5, (COUNT, 2)), np.ones(COUNT, np.int32)
    write_stack(tmp_path / "map.hed", blobs(box)[None], pixel_size=SIZE)
    h = poses.into_headers(blank_headers(COUNT, box, box, pixel_size=SIZE))
    write_stack(tmp_path / "posed.hed", rng.normal(size=(COUNT, box, box)).astype(np.float32), h, pixel_size=SIZE)
    im4d("forward", tmp_path / "map.hed", tmp_path / "ours.hed", "--angles-from", tmp_path / "posed.hed")
    im4d("convert", tmp_path / "posed.hed", tmp_path / "posed.star")
    im4d("convert", tmp_path / "map.hed", tmp_path / "map.mrc")
    out = tmp_path / "theirs"
    relion("relion_project", "--i", tmp_path / "map.mrc", "--ang", tmp_path / "posed.star", "--o", out, "--angpix", SIZE)
    ours, theirs = read_stack(tmp_path / "ours.hed")[0], moved_back(read_stack(f"{out}.mrcs")[0], box)
    assert correlations(ours, theirs).min() > 0.999
    assert correlations(ours, theirs[::-1]).max() < 0.99  # the check has teeth


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_relions_here(im4d, tmp_path, box, version):
    """A map and a STAR file of RELION's own: forward shows what relion_project shows, before and after convert."""
    rng = np.random.default_rng(box)
    rot, tilt, psi = rng.uniform(-180, 180, COUNT), rng.uniform(0, 180, COUNT), rng.uniform(-180, 180, COUNT)
    x, y = rng.normal(0, 2.5 * SIZE, (2, COUNT))
    with mrcfile.new(tmp_path / "map.mrc") as mrc:
        mrc.set_data(blobs(box))
        mrc.voxel_size = SIZE
    with mrcfile.new(tmp_path / "list.mrcs") as mrc:
        mrc.set_data(rng.normal(size=(COUNT, box, box)).astype(np.float32))
        mrc.voxel_size = SIZE
    labels = ["ImageName", "AngleRot", "AngleTilt", "AnglePsi"]
    if version == "3.1":
        optics = ["OpticsGroup", "OpticsGroupName", "ImagePixelSize", "ImageSize", "ImageDimensionality", "Voltage"]
        optics += ["SphericalAberration", "AmplitudeContrast"]
        text = "# version 30001\n\ndata_optics\n\nloop_\n" + "".join(f"_rln{k}\n" for k in optics)
        text += f"1 one {SIZE} {box} 2 300 2.7 0.1\n\n\ndata_particles\n\nloop_\n"
        labels += ["OriginXAngst", "OriginYAngst", "OpticsGroup"]
        last = [f"{a} {b} 1" for a, b in zip(x, y, strict=True)]
    else:
        text = "data_\n\nloop_\n"
        labels += ["OriginX", "OriginY", "Magnification", "DetectorPixelSize", "Voltage", "SphericalAberration"]
        labels += ["AmplitudeContrast"]
        last = [f"{a} {b} 10000 {SIZE} 300 2.7 0.1" for a, b in zip(x / SIZE, y / SIZE, strict=True)]
    text += "".join(f"_rln{k}\n" for k in labels)
    rows = zip(range(1, COUNT + 1), rot, tilt, psi, last, strict=True)
    (tmp_path / "list.star").write_text(text + "".join(f"{k:06d}@list.mrcs {a} {b} {c} {rest}\n" for k, a, b, c, rest in rows))
    out = tmp_path / "theirs"
    relion("relion_project", "--i", tmp_path / "map.mrc", "--ang", tmp_path / "list.star", "--o", out, "--angpix", SIZE)
    theirs = moved_back(read_stack(f"{out}.mrcs")[0], box)
    im4d("forward", tmp_path / "map.mrc", tmp_path / "ours.mrcs", "--angles-from", tmp_path / "list.star")
    assert correlations(read_stack(tmp_path / "ours.mrcs")[0], theirs).min() > 0.999
    im4d("convert", tmp_path / "list.star", tmp_path / "list.hed")
    im4d("convert", tmp_path / "map.mrc", tmp_path / "map.hed")
    im4d("forward", tmp_path / "map.hed", tmp_path / "again.hed", "--angles-from", tmp_path / "list.hed")
    assert correlations(read_stack(tmp_path / "again.hed")[0], theirs).min() > 0.999


@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION (relion_reconstruct) is not on this machine")
def test_relion_reconstructs_from_our_star(im4d, tmp_path, monkeypatch):
    """The stack is named from the current folder, as RELION looks for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Import").mkdir()
    write_stack(tmp_path / "map.hed", blobs(40)[None], pixel_size=SIZE)
    im4d("forward", tmp_path / "map.hed", "Import/p.star", "--directions", "random", "--number", "300", "--seed", "1")
    relion("relion_reconstruct", "--i", "Import/p.star", "--o", "rec.mrc", "--angpix", SIZE, cwd=tmp_path)
    assert read_stack("Import/p.star")[0].shape == (300, 40, 40)
    got, want = read_stack(tmp_path / "rec.mrc")[0][0], read_stack(tmp_path / "map.hed")[0][0]
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.98


def test_astigmatism_against_relion(im4d, tmp_path):
    """The axis of astigmatism of a STAR file means here what it means in RELION: the same images after the CTF."""
    box, rng = 64, np.random.default_rng(5)
    poses = Poses.blank(COUNT)
    poses.set_matrices(euler.random_rotations(rng, COUNT))
    h = poses.into_headers(blank_headers(COUNT, box, box, pixel_size=SIZE))
    h["DEFOCUS1"], h["DEFOCUS2"], h["DEFANGLE"] = 9000.0, 4000.0, 20.0 + 15.0 * np.arange(COUNT)
    h["VOLTAGE"], h["SPABERR"] = 300e3, 2.7
    write_stack(tmp_path / "map.hed", blobs(box)[None], pixel_size=SIZE)
    write_stack(tmp_path / "posed.hed", rng.normal(size=(COUNT, box, box)).astype(np.float32), h, pixel_size=SIZE)
    im4d("convert", tmp_path / "posed.hed", tmp_path / "posed.star")
    im4d("convert", tmp_path / "map.hed", tmp_path / "map.mrc")
    out = tmp_path / "theirs"
    given = ("--i", tmp_path / "map.mrc", "--ang", tmp_path / "posed.star", "--angpix", SIZE)
    relion("relion_project", *given, "--o", out, "--ctf")
    im4d("forward", tmp_path / "map.hed", tmp_path / "plain.hed", "--angles-from", tmp_path / "posed.hed")
    for name, star in (("ours", "posed.star"), ("turned", None)):
        if star is None:  # the check has teeth
            text = (tmp_path / "posed.star").read_text()
            (tmp_path / "turned.star").write_text(text.replace("9000 4000", "4000 9000"))
        source = tmp_path / (star or "turned.star")
        im4d("ctf", tmp_path / "plain.hed", tmp_path / f"{name}.hed", "--correct-by", "multiply", "--star", source)
    theirs = read_stack(f"{out}.mrcs")[0]
    ours, turned = (correlations(read_stack(tmp_path / f"{n}.hed")[0], theirs) for n in ("ours", "turned"))
    assert ours.min() > 0.999 and turned.max() < 0.98
