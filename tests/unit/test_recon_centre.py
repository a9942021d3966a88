"""recon --centre-3d: 3Ds come to lie in the centre of the box, and the shifts of their images say so."""

import hashlib

import numpy as np
import pytest

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, write_stack
from imagic4d_core.jobs.scheme.recon.reconstruct import recon
from imagic4d_core.models import Model, project

OFF = np.array([[3.0, -4.0, 2.0], [-1.0, 2.5, -5.0]])


def write_images(path, box=40, count=240, off=OFF, sym=1):
    """Projections of models that lie off the centre, with poses that do not know of it."""
    rng = np.random.default_rng(5)
    c = rng.normal(size=(25, 3)) * 0.1 * box
    c -= c.mean(0)
    turns = [
        np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in 2 * np.pi * np.arange(sym) / sym
    ]
    c = np.concatenate([c @ t.T for t in turns])
    m, shift = random_rotations(rng, count), rng.normal(size=(count, 2))
    ref3d = 1 + np.arange(count) % len(off)
    images = np.empty((count, box, box), np.float32)
    for k, o in enumerate(off):
        mine = ref3d == k + 1
        model = Model("off", c + o, np.full(len(c), 1.3), np.ones(len(c)))
        images[mine] = project(model, m[mine], -shift[mine], box)
    poses = Poses.blank(count)
    poses.set_matrices(m)
    poses.ref3d[:], poses.shift[:] = ref3d, shift
    write_stack(path, images, poses.into_headers(blank_headers(count, box, box)), pixel_size=2.0)
    return m, shift, ref3d


def poses_of(path):
    with open_stack(path) as stack:
        return Poses.from_headers(stack.headers())


def mass(volume):
    v = np.clip(volume - volume.mean() - volume.std(), 0, None)
    at = np.indices(v.shape) - v.shape[0] // 2
    return np.array([(v * at[a]).sum() / v.sum() for a in (1, 2, 0)])


def test_shifts_follow_the_centre_of_mass(tmp_path):
    m, shift, ref3d = write_images(tmp_path / "i.hed")
    done = recon(
        tmp_path / "i.hed", tmp_path / "v.hed", centre_3d=True, images_out=str(tmp_path / "o.hed"), folds=4,
        leave_out=str(tmp_path / "lo.hed"), halves=str(tmp_path / "h.hed"), threads=1,
    )  # fmt: skip
    # of what stands out of a model's density, not of all of it: the same in both, half a pixel off at most
    found = np.array(done.centres)
    assert np.abs(found - OFF).max() < 0.5 and np.abs((found[1] - found[0]) - (OFF[1] - OFF[0])).max() < 0.1
    want = shift - np.einsum("nij,nj->ni", m[:, :2], found[ref3d - 1])
    assert np.abs(poses_of(tmp_path / "o.hed").shift - want).max() < 1e-4
    for name in ("v", "lo", "h_a", "h_b"):
        with open_stack(tmp_path / f"{name}.hed") as stack:
            for v in stack.read_volumes(0, stack.objects):
                assert np.abs(mass(v)).max() < 0.5, name
    assert "off the centre" in "\n".join(done.lines())


def test_what_is_centred_stays(tmp_path):
    write_images(tmp_path / "i.hed")
    recon(tmp_path / "i.hed", tmp_path / "v.hed", centre_3d=True, images_out=str(tmp_path / "o.hed"), threads=1)
    again = recon(tmp_path / "o.hed", tmp_path / "w.hed", centre_3d=True, images_out=str(tmp_path / "p.hed"), threads=1)
    assert np.abs(again.centres).max() < 0.1
    plain = recon(tmp_path / "o.hed", tmp_path / "x.hed", images_out=str(tmp_path / "q.hed"), threads=1)
    assert plain.centres == []
    assert (poses_of(tmp_path / "q.hed").shift == poses_of(tmp_path / "o.hed").shift).all()


def test_along_an_axis_only(tmp_path):
    """What the point group turns cannot be off its axes: the centre may move along the axis of C4 and nowhere in D2."""
    write_images(tmp_path / "i.hed", off=np.array([[0.0, 0.0, 4.0]]), sym=4)
    c4 = recon(tmp_path / "i.hed", tmp_path / "v.hed", centre_3d=True, symmetry="C4", threads=1).centres[0]
    assert c4[:2] == pytest.approx([0, 0], abs=1e-12) and c4[2] == pytest.approx(4, abs=0.3)
    d2 = recon(tmp_path / "i.hed", tmp_path / "w.hed", centre_3d=True, symmetry="D2", threads=1).centres[0]
    assert d2 == pytest.approx([0, 0, 0], abs=1e-12)


def test_same_bytes_for_any_threads(tmp_path):
    write_images(tmp_path / "i.hed")
    seen = set()
    for threads in (1, 2, 3):
        recon(tmp_path / "i.hed", tmp_path / "v.hed", centre_3d=True, threads=threads, overwrite=True)
        seen.add(hashlib.sha256((tmp_path / "v.img").read_bytes()).hexdigest())
    assert len(seen) == 1


@pytest.mark.parametrize("options", [{"method": "exact-filter"}, {"membership": "multiple-random", "volumes": 2}])
def test_where_it_means_nothing(tmp_path, options):
    write_images(tmp_path / "i.hed", count=40)
    with pytest.raises(UsageError, match="--centre-3d needs"):
        recon(tmp_path / "i.hed", tmp_path / "v.hed", centre_3d=True, **options)
    assert not (tmp_path / "v.hed").exists()


def test_second_best_3ds_are_renumbered_too(tmp_path):
    """3D 1 is left out for having too few images: what was 2 is 1 now, also where it is the second best, and 1 is none."""
    write_images(tmp_path / "i.hed", count=60)
    with open_stack(tmp_path / "i.hed") as stack:
        headers = stack.headers()
    poses = Poses.from_headers(headers)
    poses.ref3d[:], poses.ref3d2[:] = 2, 1
    poses.ref3d[:3], poses.ref3d2[:3] = 1, 2
    replace_headers(tmp_path / "i.hed", poses.into_headers(headers), tmp_path / "j.hed")
    done = recon(tmp_path / "j.hed", tmp_path / "v.hed", min_images=5, images_out=str(tmp_path / "o.hed"), threads=1)
    assert done.renumbered == {1: 0, 2: 1}
    found = poses_of(tmp_path / "o.hed")
    assert found.ref3d.tolist() == [0] * 3 + [1] * 57 and found.ref3d2.tolist() == [1] * 3 + [0] * 57
