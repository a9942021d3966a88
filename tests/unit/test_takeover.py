"""Poses taken over from class averages to their members, proved by re-projection."""

import re

import numpy as np
import pytest

from imagic4d_core import models
from imagic4d_core.geometry.euler import angular_distance, matrix_from_euler, random_rotations
from imagic4d_core.geometry.inplane import mirrored, pose_of_original
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.cls import write_cls
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.io.words import own_words
from imagic4d_core.jobs.scheme.takeover import takeover
from imagic4d_core.resample.move import move, reflect
from imagic4d_core.rng import rng_for

BOX, CLASSES, EACH = 48, 5, 6


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation coefficients of images inside a disc."""
    x = np.arange(BOX) - BOX // 2
    disc = np.hypot(x[:, None], x) < 0.45 * BOX
    a, b = (v[:, disc] - v[:, disc].mean(1, keepdims=True) for v in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Originals of five views, each turned, shifted and perhaps mirrored; the aligned images; their averages with poses.

    The aligned images are exact projections of a structure; the originals come from them by moves the other way, pixel by pixel,
    so that nothing here goes through the code under test.
    """
    folder = tmp_path_factory.mktemp("world")
    rng = rng_for(3, "takeover")
    model = models.random_family(4, 1, BOX)[0]
    volume = models.volume(model, BOX)
    write_stack(folder / "volume.hed", volume[None])
    views, left = random_rotations(rng, CLASSES), rng.uniform(-1.5, 1.5, (CLASSES, 2))
    n = CLASSES * EACH
    of = np.arange(n) % CLASSES
    # aligned images are projections in the view of their class, off the centre by what the class says is left
    centred = models.project(model, views[of], -left[of], BOX)
    angle, shift, flip = rng.uniform(-180, 180, n), rng.uniform(-3, 3, (n, 2)), rng.uniform(0, 1, n) < 0.5
    # the original is what these moves turn into the aligned image: move back, then mirror back
    moves = Moves.turns(angle, shift)
    originals = move(np.ascontiguousarray(centred), moves.inverse(), method="fourier", fill=0.0)
    originals[flip] = reflect(np.ascontiguousarray(originals[flip]))
    h = blank_headers(n, BOX, BOX)
    own_words(h)
    h["EANGLE"], h["EXSHIFT"], h["EYSHIFT"], h["MIRRORED"] = angle, shift[:, 0], shift[:, 1], flip
    h["CLASSNO"], h["REF3D"] = of + 1, 9
    write_stack(folder / "aligned.hed", centred, h)
    write_stack(folder / "originals.hed", originals, h)
    write_stack(folder / "raw.hed", originals)
    averages = np.stack([centred[of == k].mean(0) for k in range(CLASSES)])
    a = blank_headers(CLASSES, BOX, BOX)
    poses = Poses.blank(CLASSES)
    poses.set_matrices(views)
    poses.shift[:] = left
    poses.ref3d[:], poses.confidence[:], poses.margin[:] = [1, 2, 1, 2, 3], 0.75, 4.0
    poses.into_headers(a)
    a["CLASSNO"] = np.arange(1, CLASSES + 1)
    write_stack(folder / "averages.hed", averages, a)
    return folder, model, of, flip


def reprojected(folder, model, name: str, box: int = BOX) -> tuple[np.ndarray, np.ndarray]:
    """Stored images, and exact projections of the structure as their headers say."""
    data, h = read_stack(str(folder / name))
    poses = Poses.from_headers(h)
    return data, models.project(model, poses.matrices(), -poses.shift, box)


def test_aligned_members_get_the_pose_of_their_average(world):
    folder, model, of, _ = world
    done = takeover(folder / "aligned.hed", folder / "averages.hed", folder / "a.hed", way="class-sums")
    assert (done.without, done.turned) == (0, 0)
    assert same(*reprojected(folder, model, "a.hed")).min() > 0.999
    poses = Poses.from_headers(read_stack(str(folder / "a.hed"))[1])
    assert poses.ref3d.tolist() == [[1, 2, 1, 2, 3][k] for k in of] and set(poses.ref3d_old) == {9}
    assert np.all(poses.confidence == 0.75) and np.all(poses.margin == 4)


def test_originals_are_composed_with_their_moves(world):
    folder, model, of, flip = world
    assert 5 < flip.sum() < len(flip) - 5
    done = takeover(folder / "originals.hed", folder / "averages.hed", folder / "o.hed", way="class-sums", originals=True)
    assert done.turned == len(of) and done.mirrored == flip.sum()
    assert same(*reprojected(folder, model, "o.hed")).min() > 0.99
    h = read_stack(str(folder / "o.hed"))[1]
    assert not (h["EANGLE"].any() or h["EXSHIFT"].any() or h["EYSHIFT"].any() or mirrored(h).any()), "the pose holds them now"
    # without the mirror, or with the plain pose of the average, nothing fits
    h = read_stack(str(folder / "originals.hed"))[1]
    h["MIRRORED"] = 0
    write_stack(folder / "unflagged.hed", read_stack(str(folder / "originals.hed"))[0], h)
    takeover(folder / "unflagged.hed", folder / "averages.hed", folder / "u.hed", way="class-sums", originals=True)
    fits = same(*reprojected(folder, model, "u.hed"))
    assert fits[~flip].min() > 0.99 and np.median(fits[flip]) < 0.9


def test_moves_and_classes_of_another_file(world):
    folder, model, of, _ = world
    takeover(folder / "raw.hed", folder / "averages.hed", folder / "r.hed", way="class-sums", moves_from=folder / "aligned.hed")
    assert same(*reprojected(folder, model, "r.hed")).min() > 0.99
    assert read_stack(str(folder / "r.hed"))[1]["CLASSNO"].astype(int).tolist() == (of + 1).tolist()


def test_by_the_commands_alone(world, im4d):
    """rotate makes the aligned images from the originals and notes it; forward projects the volume as the headers say."""
    folder, _, of, _ = world
    raw = folder / "raw.hed"
    # two moves one after the other, the first with a mirror
    im4d("rotate", raw, folder / "m1.hed", "--angle", 25, "--shift", "1.5,-2", "--mirrored", "--interpolation", "fourier")
    im4d("rotate", folder / "m1.hed", folder / "m2.hed", "--angle", -70, "--shift", "-1,0.5", "--interpolation", "fourier")
    moved, h = read_stack(str(folder / "m2.hed"))
    assert mirrored(h).all()
    # poses of the moved images, from those of the originals by hand: then back again by takeover
    takeover(raw, folder / "averages.hed", folder / "t.hed", way="class-sums", moves_from=folder / "aligned.hed")
    truth = Poses.from_headers(read_stack(str(folder / "t.hed"))[1])
    n = len(of)
    total, flip = Moves.equivalent(h, 2), np.diag([1.0, -1.0])
    turn = np.tile(np.eye(3), (n, 1, 1))
    turn[:, :2, :2] = total.matrix
    behind = np.diag([1.0, -1.0, -1.0])
    poses = Poses.blank(n)
    poses.set_matrices(turn @ behind @ truth.matrices())
    poses.shift[:] = np.einsum("nij,nj->ni", total.matrix, truth.shift @ flip - total.shift)
    poses.ref3d[:] = 1
    a = poses.into_headers(blank_headers(n, BOX, BOX))
    a["CLASSNO"] = np.arange(1, n + 1)
    write_stack(folder / "each.hed", moved, a)
    h["CLASSNO"] = np.arange(1, n + 1)
    write_stack(folder / "m3.hed", moved, h)
    im4d("header", "takeover", raw, folder / "each.hed", folder / "back.hed", "--from", "CLASS_SUM_ANGREC",
         "--moves-from", folder / "m3.hed")  # fmt: skip
    found = Poses.from_headers(read_stack(str(folder / "back.hed"))[1])
    assert angular_distance(found.matrices(), truth.matrices()).max() < 1e-3
    assert np.abs(found.shift - truth.shift).max() < 1e-3
    im4d("forward", folder / "volume.hed", folder / "p.hed", "--angles-from", folder / "back.hed")
    projected = read_stack(str(folder / "p.hed"))[0]
    assert same(read_stack(str(raw))[0], projected).min() > 0.99


def test_composition_agrees_with_rotated_images():
    """ALPHA - EANGLE without a mirror, and the moves of a move of a move."""
    m = random_rotations(rng_for(1, "compose"), 4)
    moves = Moves.turns([10.0, -50.0, 120.0, 0.0], [[1.0, 2.0]] * 4)
    new, shift = pose_of_original(m, np.zeros((4, 2)), moves)
    before, after = Poses.blank(4), Poses.blank(4)
    before.set_matrices(m)
    after.set_matrices(new)
    assert np.allclose((before.alpha - moves.angle - after.alpha) % 360, 0, atol=1e-9) or np.allclose(
        np.cos(np.deg2rad(before.alpha - moves.angle - after.alpha)), 1
    )
    assert np.allclose(shift, [[1, 2]] * 4)
    assert np.allclose(matrix_from_euler(after.alpha, after.beta, after.gamma), new)


def test_cls_file_and_members_without_an_average(world, im4d):
    folder, _, of, _ = world
    members = [np.flatnonzero(of == k) for k in range(CLASSES)]
    write_cls(folder / "c.cls", [1, 2, 4, 5, 77], [0.1] * 5, [members[k] for k in (0, 1, 3, 4, 2)], overwrite=True)
    data, h = read_stack(str(folder / "averages.hed"))
    h["ACTIVE"][3] = -1
    write_stack(folder / "junk.hed", data[[3, 1, 0, 4]], h[[3, 1, 0, 4]], overwrite=True)  # any order: word 108 says which
    done = im4d("header", "takeover", folder / "raw.hed", folder / "junk.hed", folder / "c.hed", "--from", "class-sums",
                "--class-file", folder / "c.cls", "--json", "--overwrite").json  # fmt: skip
    assert (done["without"], done["inactive"]) == (EACH, EACH)
    h = read_stack(str(folder / "c.hed"))[1]
    assert (h["REF3D"] == 0).tolist() == (of == 2).tolist() and (h["ACTIVE"] < 0).tolist() == (of == 3).tolist()
    assert h["REF3D"][of == 4].tolist() == [3] * EACH and h["CLASSNO"][of == 2].tolist() == [77] * EACH


def test_in_place_and_by_image(world, im4d, tmp_path):
    folder, _, _, _ = world
    data, h = read_stack(str(folder / "aligned.hed"))
    write_stack(tmp_path / "x.hed", data, h)
    before = (tmp_path / "x.img").read_bytes()
    im4d("header", "takeover", tmp_path / "x", folder / "averages.hed", "--from", "class-sums")
    assert (tmp_path / "x.img").read_bytes() == before
    with open_stack(tmp_path / "x") as stack:
        assert set(stack.headers()["REF3D"].tolist()) == {1, 2, 3}
    im4d("takeover", folder / "raw.hed", tmp_path / "x", tmp_path / "y")  # the old name, image by image
    x, y = (read_stack(str(tmp_path / n))[1] for n in "xy")
    assert np.array_equal(x["ALPHA"], y["ALPHA"]) and not y["EANGLE"].any()


def test_image_by_image_moves_are_undone(world, im4d, tmp_path):
    """Poses found for aligned images go to the originals, and to images that were moved otherwise, proved by re-projection."""
    folder, model, of, flip = world
    how = ("--interpolation", "fourier")
    posed = tmp_path / "posed.hed"
    im4d("header", "takeover", folder / "aligned.hed", folder / "averages.hed", posed, "--from", "class-sums")
    done = takeover(folder / "raw.hed", posed, tmp_path / "raw.hed", originals=True)
    assert done.turned == len(of) and done.mirrored == flip.sum()
    assert same(*reprojected(tmp_path, model, "raw.hed")).min() > 0.99
    assert not read_stack(str(tmp_path / "raw.hed"))[1]["EANGLE"].any()
    # plain takeover keeps the pose of other pixels
    im4d("header", "takeover", folder / "raw.hed", posed, tmp_path / "plain.hed")
    assert np.median(same(*reprojected(tmp_path, model, "plain.hed"))) < 0.9
    # from moved images to the same ones moved in another way: mirrored, shifted, turned
    im4d("rotate", folder / "raw.hed", tmp_path / "m1.hed", "--angle", 40, "--shift", "1,-2", "--mirrored", *how)
    im4d("header", "takeover", tmp_path / "m1.hed", posed, tmp_path / "m2.hed", "--originals")
    assert same(*reprojected(tmp_path, model, "m2.hed")).min() > 0.98
    # nothing moved: the same poses, bit by bit
    im4d("header", "takeover", posed, posed, tmp_path / "same.hed", "--originals")
    a, b = (read_stack(str(p))[1] for p in (posed, tmp_path / "same.hed"))
    assert all(np.array_equal(a[w], b[w]) for w in ("ALPHA", "BETA", "GAMMA", "RXSHIFT", "RYSHIFT", "REF3D"))


def test_refusals(world, im4d, tmp_path):
    folder, _, _, _ = world
    call = ("header", "takeover", folder / "raw.hed", folder / "averages.hed", tmp_path / "x.hed")
    checks = [
        ((*call, "--from", "class-sums"), 4, "names no class"),
        (call, 4, f"{CLASSES} images"),
        ((*call, "--moves-from", folder / "aligned.hed"), 2, "belong to --from class-sums"),
        ((*call, "--originals"), 4, f"{CLASSES} images"),
        ((*call, "--from", "class-sums", "--moves-from", folder / "averages.hed"), 4, "as many are needed"),
        ((*call, "--from", "class-sums", "--class-file", folder / "no.cls"), 3, "no.cls"),
        ((*call, "--from", "classes"), 2, "is not one of"),
    ]
    (tmp_path / "far.cls").write_text("1 2 0.5\n1 500\n")
    checks.append(((*call, "--from", "class-sums", "--class-file", tmp_path / "far.cls"), 4, "belongs to another file"))
    for args, code, words in checks:
        assert re.search(words, im4d(*args, code=code).stderr), (args, words)
        assert not (tmp_path / "x.hed").exists()


def test_equivalent_moves_of_mirrored_images(world, im4d):
    """rotate --equivalent makes of the originals what several steps, one of them a mirror, made of them; and undoes it."""
    folder, _, _, flip = world
    raw = folder / "raw.hed"
    how = ("--interpolation", "fourier")
    im4d("rotate", raw, folder / "e1.hed", "--angle", 25, "--shift", "1.5,-2", "--mirrored", *how)
    im4d("rotate", folder / "e1.hed", folder / "e2.hed", "--angle", -70, *how)
    im4d("rotate", raw, folder / "e3.hed", "--equivalent", folder / "e2.hed", *how)
    assert same(read_stack(str(folder / "e2.hed"))[0], read_stack(str(folder / "e3.hed"))[0]).min() > 0.999
    im4d("rotate", raw, folder / "e4.hed", "--equivalent", folder / "aligned.hed", *how)  # some mirrored, some not
    assert same(read_stack(str(folder / "e4.hed"))[0], read_stack(str(folder / "aligned.hed"))[0]).min() > 0.995
    assert np.array_equal(mirrored(read_stack(str(folder / "e4.hed"))[1]), flip)
    im4d("rotate", folder / "e4.hed", folder / "e5.hed", "--equivalent", folder / "aligned.hed", "--inverse", *how)
    assert same(read_stack(str(folder / "e5.hed"))[0], read_stack(str(raw))[0]).min() > 0.98
    assert not mirrored(read_stack(str(folder / "e5.hed"))[1]).any()
