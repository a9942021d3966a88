"""Scoring an image against a 3D that it is part of: recognised by the single commands, in whatever file both come."""

import numpy as np
import pytest

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.recon.members import KEPT, history_line, least_marks, marks_in, marks_of

N, BOX = 48, 24
SEARCH = ("--increment", "30", "--max-frequency", "0.4", "--no-refine", "--max-shift", "1", "--json")


@pytest.fixture
def images(tmp_path):
    """Noise with random poses in two 3Ds."""
    rng = np.random.default_rng(5)
    poses = Poses.blank(N)
    poses.set_matrices(random_rotations(rng, N))
    poses.ref3d = (1 + np.arange(N) % 2).astype(np.int32)
    path = tmp_path / "i.hed"
    write_stack(path, rng.normal(size=(N, BOX, BOX)).astype(np.float32), poses.into_headers(blank_headers(N, BOX, BOX)))
    return path


def angrec(im4d, images, anchors):
    done = im4d("angrec", images, images.parent / "out.hed", "--anchors", anchors, *SEARCH, "--overwrite").json
    return done["included"], done["warnings"]


@pytest.mark.parametrize("name", ["v.hed", "v.mrc"])
def test_a_loop_without_leave_out_volumes_is_warned_of(im4d, images, name):
    folder = images.parent
    im4d("recon", images, folder / name, "--images-out", folder / "r.hed")
    share, said = angrec(im4d, folder / "r.hed", folder / name)
    assert share == 1 and len(said) == 1 and str(folder / name) in said[0] and "--leave-out" in said[0]
    text = im4d("angrec", images, folder / "o2.hed", "--anchors", folder / name, *SEARCH[:-1]).stdout
    assert "  WARNING: " in text and text.count("finds its own noise") == 1
    # projections of such volumes, and volumes made from those by another command, say the same
    im4d("forward", folder / name, folder / "a.hed", "--increment", "40")
    assert angrec(im4d, images, folder / "a.hed")[0] == 1
    im4d("filter", folder / name, folder / "f.hed", "--low-pass", "0.5")
    assert angrec(im4d, images, folder / "f.hed")[0] == 1


def test_leave_out_volumes_are_not_warned_of(im4d, images):
    folder = images.parent
    im4d(
        "recon", images, folder / "v.hed", "--folds", "4", "--seed", "3", "--leave-out", folder / "lo.hed",
        "--images-out", folder / "r.hed", "--halves", folder / "h.hed",
    )  # fmt: skip
    assert angrec(im4d, folder / "r.hed", folder / "lo.hed") == (0, [])
    im4d("forward", folder / "lo.hed", folder / "a.hed", "--increment", "40")
    assert angrec(im4d, folder / "r.hed", folder / "a.hed") == (0, [])
    share, said = angrec(im4d, folder / "r.hed", folder / "h_a.hed")
    assert share == 1 and said
    # leave-out volumes go by location: in another order they contain what they should not
    im4d("excopy", images, folder / "turned.hed", "--operation", "reverse")
    share, said = angrec(im4d, folder / "turned.hed", folder / "lo.hed")
    assert 0 < share < 1 and "another order" in said[0]


def test_other_images_are_not_warned_of_and_parts_are(im4d, images):
    folder = images.parent
    im4d("recon", images, folder / "v.hed")
    other = np.random.default_rng(6).normal(size=(N, BOX, BOX)).astype(np.float32)
    write_stack(folder / "other.hed", other)
    assert angrec(im4d, folder / "other.hed", folder / "v.hed") == (0, [])
    im4d("excopy", images, folder / "half.hed", "--operation", "extract", "--loc", "1-36")
    share, said = angrec(im4d, folder / "half.hed", folder / "v.hed")
    assert 0.4 < share < 1 and said
    # another grey scale, another format: still the same images
    im4d("norm-variance", images, folder / "n.mrcs", "--sigma", "10")
    assert angrec(im4d, folder / "n.mrcs", folder / "v.hed")[0] == 1


def test_marks():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 20, 20)).astype(np.float32)
    x[3] = 2.5
    marks = marks_of(x)
    assert marks[3] == 0 and len(set(marks.tolist())) == 50
    np.testing.assert_array_equal(marks_of(3 * x + 7)[:3], marks[:3])
    kept = least_marks(marks)
    assert kept.tolist() == sorted(m for m in marks.tolist() if m)[:KEPT]
    assert marks_in(b"im4d:x;" + history_line(kept).encode() + b";im4d:y  ") == frozenset(kept.tolist())
    assert marks_in(b"made-of:zz;made-of:;nothing") == frozenset()


def test_the_line_outlives_others(tmp_path):
    from imagic4d_core.io.header import add_history

    h = blank_headers(1, 4, 4)
    add_history(h, history_line(np.arange(1, 7, dtype=np.uint32)))
    for i in range(9):
        add_history(h, f"{i} " + "x" * 70)
    assert marks_in(h["HISTORY"][0]) == frozenset(range(1, 7)) and b"8 x" in h["HISTORY"][0]
    write_stack(tmp_path / "a.hed", np.zeros((1, 4, 4), np.float32), h)
    assert marks_in(read_stack(tmp_path / "a.hed")[1]["HISTORY"][0]) == frozenset(range(1, 7))
