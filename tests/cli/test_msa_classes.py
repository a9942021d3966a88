"""msa classify and msa sum on stacks with coordinates in their headers: images and volumes."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from classified import make_stack
from oracle.classes import class_averages

from imagic4d_core.io.cls import read_cls, write_cls
from imagic4d_core.io.plt import read_plt
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.msa import sum as job
from imagic4d_core.jobs.msa.classify import msa_classify


@pytest.fixture
def stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_stack("images.hed")


@pytest.fixture
def volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_stack("volumes.hed", n=24, box=(8, 8), sections=8, kinds=3)


def test_classes_of_a_clear_mixture(im4d, stack):
    truth, _, _ = stack
    before = open_stack("images.hed").read()
    done = im4d("msa", "classify", "images.hed", "root", "--classes", 4, "--factors", 6, "--json").json
    assert (done["active"], done["ignored"], done["factors"]) == (90, 0, 6)
    found = read_cls("root.cls")
    assert [len({truth[k] for k in m}) for m in found.members] == [1, 1, 1, 1]
    with open_stack("images.hed") as images:
        h = images.headers()
        assert (images.read() == before).all()
    for number, mine in zip(found.numbers, found.members, strict=True):
        assert (h["CLASSNO"][mine] == number).all()
    table = read_plt("root.plt", 3)
    assert (table[:, 0] == np.arange(1, 91)).all() and (table[:, 1] == h["CLASSNO"]).all()
    for mine in found.members:  # best first
        assert (np.diff(table[mine, 2]) >= 0).all()
    assert done["cuts"][0]["within"] < 0.2


def test_one_tree_many_cuts(im4d, stack):
    out = im4d("msa", "classify", "images.hed", "root", "--classes", "8,4", "--factors", 6, "--dendrogram", "tree.png")
    assert "8 classes" in out.stdout and "4 classes" in out.stdout
    assert Path("tree.png").read_bytes()[:4] == b"\x89PNG"
    with open_stack("images.hed") as images:
        assert images.headers()["CLASSNO"].max() == 8
    im4d("msa-classify", "images.hed", "again", "--classes", "4", "--factors", 6, "--tree", "root.npz", "--images-out", "new.hed")
    assert Path("again.cls").read_text() == Path("root_4.cls").read_text()
    with open_stack("images.hed") as old, open_stack("new.hed") as new:
        assert old.headers()["CLASSNO"].max() == 8 and new.headers()["CLASSNO"].max() == 4
    assert Path("again.npz").read_bytes() == Path("root.npz").read_bytes()


def test_weights_leave_factors_out(im4d, stack):
    im4d("msa", "classify", "images.hed", "a", "--classes", 5, "--factors", 2, "--no-moving")
    im4d("msa", "classify", "images.hed", "b", "--classes", 5, "--factors", 6, "--weights", "1,1,0,0,0,0", "--no-moving")
    members = [[m.tolist() for m in read_cls(f"{n}.cls").members] for n in "ab"]
    assert members[0] == members[1]


def test_ignored_images_are_inactive_until_the_next_time(im4d, stack):
    done = im4d("msa", "classify", "images.hed", "root", "--classes", 4, "--factors", 6, "--ignore", 10, "--json").json
    assert done["ignored"] == 9
    with open_stack("images.hed") as images:
        h = images.headers()
    assert ((h["ACTIVE"] < 0) == (h["CLASSNO"] == 0)).all() and (h["CLASSNO"] == 0).sum() == 9
    assert sum(map(len, read_cls("root.cls").members)) == 81
    again = im4d("msa", "classify", "images.hed", "more", "--classes", 4, "--factors", 6, "--json").json
    assert again["active"] == 90
    with open_stack("images.hed") as images:
        assert (images.headers()["ACTIVE"] >= 0).all()


def test_inactive_images_stay_out(im4d, stack):
    data, h = read_stack("images.hed")
    h["ACTIVE"][[3, 50]] = -1
    write_stack("some.hed", data, h)
    done = im4d("msa", "classify", "some.hed", "root", "--classes", 4, "--factors", 6, "--json").json
    assert done["active"] == 88
    with open_stack("some.hed") as images:
        h = images.headers()
    assert (h["CLASSNO"][[3, 50]] == 0).all() and (h["ACTIVE"][[3, 50]] == -1).all()
    im4d("msa", "classify", "some.hed", "again", "--classes", 3, "--factors", 6, "--tree", "root.npz")
    im4d("msa", "classify", "images.hed", "no", "--classes", 3, "--factors", 6, "--tree", "root.npz", code=4)


def test_averages_against_the_twin(im4d, stack):
    _, data, _ = stack
    im4d("msa", "classify", "images.hed", "root", "--classes", 7, "--factors", 6)
    args = ("--ignore-worst", 20, "--downweight-small", "--variances", "var.hed", "--halves", "half.hed", "--members", "used.cls")
    done = im4d("msa", "sum", "images.hed", "root.cls", "out.hed", *args, "--json").json
    members = read_cls("root.cls").members
    averages, variances = class_averages(data, members, 20, True)
    got, h = read_stack("out.hed")
    np.testing.assert_allclose(got.reshape(7, -1), averages, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(read_stack("var.hed")[0].reshape(7, -1), variances, rtol=1e-4, atol=1e-5)
    used = read_cls("used.cls").members
    n = [len(m) for m in used]
    assert done["used"] == sum(n) < done["members"] == 90
    assert h["NUMCLS"].tolist() == n == h["NALISUM"].tolist()
    assert h["CLASSNO"].tolist() == list(range(1, 8))
    np.testing.assert_allclose(h["OVQUAL"], read_cls("root.cls").quality, rtol=1e-6)
    assert h["NAME"][0].decode().split() == ["class", "1,", str(n[0]), "members"]
    assert (h["ALPHA"] == 0).all() and (h["REF3D"] == 0).all() and (h["PIXSIZE"] == 2).all()
    a, b = read_stack("half_a.hed")[0], read_stack("half_b.hed")[0]
    whole = [data[m].mean(0)[0] for m in used]
    weights = np.array(n)[:, None, None]
    np.testing.assert_allclose((a * ((weights + 1) // 2) + b * (weights // 2)) / weights, whole, rtol=1e-4, atol=1e-4)
    assert done["frc"] == []  # not square
    assert done["unclassified"] == 0
    write_cls("some.cls", [4], [0.5], [np.array([8, 3])])
    said = im4d("msa", "sum", "images.hed", "some", "few.hed").stdout
    assert "  88 images of images.hed are in no class of some.cls\n" in said


def test_single_members_weighted_down_are_zero(im4d, stack):
    im4d("msa", "classify", "images.hed", "root", "--classes", 90, "--factors", 6)
    im4d("msa", "sum", "images.hed", "root", "out.hed", "--downweight-small")
    got, h = read_stack("out.hed")
    assert (got == 0).all() and (h["ACTIVE"] == -1).all()
    im4d("msa", "sum", "images.hed", "root", "plain.hed")
    assert read_stack("plain.hed")[0].std() > 0


def test_votes_for_membership(im4d, stack):
    truth, _, _ = stack
    im4d("msa", "classify", "images.hed", "root", "--classes", 4, "--factors", 6)
    im4d("msa", "sum", "images.hed", "root", "out.hed", "--vote-3d")
    first = [m[0] for m in read_cls("root.cls").members]
    assert read_stack("out.hed")[1]["REF3D"].tolist() == [truth[k] + 1 for k in first]


def test_volumes(im4d, volumes):
    truth, data, _ = volumes
    im4d("msa", "classify", "volumes.hed", "root", "--classes", 3, "--factors", 5)
    members = read_cls("root.cls").members
    assert all(len({truth[k] for k in m}) == 1 for m in members)
    done = im4d("msa", "sum", "volumes.hed", "root", "out.mrc", "--halves", "half.hed", "--json").json
    got, _ = read_stack("out.mrc")
    np.testing.assert_allclose(got, [data[m].mean(0) for m in members], rtol=1e-5, atol=1e-5)
    assert [row["class"] for row in done["frc"]] == [1, 2, 3]
    with open_stack("volumes.hed") as file:
        h = file.headers().reshape(24, 8)
    assert (h["CLASSNO"] == h["CLASSNO"][:, :1]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_other_types_and_several_passes(im4d, tmp_path, monkeypatch, dtype):
    monkeypatch.chdir(tmp_path)
    make_stack("images.hed", box=(9, 9), dtype=dtype)
    im4d("msa", "classify", "images.hed", "root", "--classes", 5)
    one = im4d("msa", "sum", "images.hed", "root", "one.hed", "--halves", "h1.hed", "--json").json
    monkeypatch.setattr(job, "BUDGET", 3000)
    two = im4d("msa", "sum", "images.hed", "root", "two.hed", "--halves", "h2.hed", "--json").json
    assert (one["passes"], two["passes"]) == (1, 3)
    assert one["frc"] == two["frc"] and len(one["frc"]) == 5
    assert Path("one.img").read_bytes() == Path("two.img").read_bytes()
    assert Path("h1_b.img").read_bytes() == Path("h2_b.img").read_bytes()


def test_one_bright_image_does_not_spoil_the_sums(im4d, stack):
    data, h = read_stack("images.hed")
    data[70] *= 1e14
    write_stack("images.hed", data, h, overwrite=True)
    im4d("msa", "classify", "images.hed", "root", "--classes", 3, "--factors", 6)
    im4d("msa", "sum", "images.hed", "root", "out.hed")
    members = read_cls("root.cls").members
    for got, mine in zip(read_stack("out.hed")[0], members, strict=True):
        np.testing.assert_allclose(got, data[mine].mean(0, dtype=float), rtol=1e-5, atol=1e-6 * np.abs(got).max())


def digests(folder):
    return {p.name: hashlib.sha1(p.read_bytes()).hexdigest() for p in folder.iterdir()}


BAD = [
    ("msa classify images.hed root --classes 91 --factors 6", 3, "91 classes cannot be made of 90 active images"),
    ("msa classify images.hed root --classes 86 --factors 6 --ignore 10", 3, "81 active images"),
    ("msa classify plain.hed root --classes 4", 3, "holds no MSA coordinates .*msa run"),
    ("msa classify plain.mrcs root --classes 4", 3, "msa run"),
    ("msa classify images.hed root --classes 0", 2, "whole number"),
    ("msa classify images.hed root --classes 4.5", 2, "whole number"),
    ("msa classify images.hed root --classes 4 --factors 6 --weights 0,0,0,0,0,0", 2, "weight 0"),
    ("msa classify images.hed root --classes 4 --factors 2 --weights 1,2,3", 2, "3 weights are given for 2"),
    ("msa classify images.hed root --classes 4 --dendrogram tree.jpg", 2, "png"),
    ("msa classify images.hed used --classes 4", 5, "used.cls: exists already"),
    ("msa classify images.hed root --classes 4 --tree used.cls", 3, "used.cls: is not a tree"),
    ("msa classify images.hed root --classes 4 --tree no.npz", 3, "no.npz: not found"),
    ("msa classify images.hed,3,9 root --classes 4", 3, "locations cannot be given"),
    ("msa classify images.hed no/root --classes 4", 5, "folder no does not exist"),
    ("msa classify inactive.hed root --classes 4", 3, "inactive"),
    ("msa classify nan.hed root --classes 4", 3, "object 8 are not finite"),
    ("msa sum images.hed big.cls out.hed", 4, "member 200, but images.hed holds 90 images: it belongs to another file"),
    ("msa sum images.hed none out.hed", 3, "none.cls: cannot be read"),
    ("msa sum images.hed plain.hed out.hed", 3, "cannot be read|no CLS"),
    ("msa sum images.hed used.cls plain.hed", 5, "exists already"),
    ("msa sum images.hed used.cls images.hed --overwrite", 5, "images.img: is an input"),
    ("msa sum plain.mrcs used.cls plain.mrcs --overwrite", 5, "plain.mrcs: is an input"),
    ("msa sum images.hed used.cls out.hed --members used --overwrite", 5, "used.cls: is an input"),
    ("msa sum images.hed used.cls out.hed --variances out.img", 5, "out.img: is an input, or another output"),
    ("msa sum images.hed,3 used.cls out.hed", 3, "locations cannot be given"),
    ("msa sum nan_image.hed used.cls out.hed", 3, "nan_image.* not finite|NaN|finite"),
]


@pytest.mark.parametrize(("line", "code", "words"), BAD)
def test_bad_input(im4d, stack, tmp_path, line, code, words):
    data, h = read_stack("images.hed")
    write_stack("plain.hed", data)
    write_stack("plain.mrcs", data)
    (tmp_path / "used.cls").write_text("1 2 0.5 1 2\n2 1 0.5 8\n")
    (tmp_path / "big.cls").write_text("1 2 0.5 1 200\n")
    bad = h.copy()
    bad["ACTIVE"] = -1
    write_stack("inactive.hed", data, bad)
    bad = h.copy()
    bad["COOSMSA"][7, 2] = np.nan
    write_stack("nan.hed", data, bad)
    write_stack("nan_image.hed", data, h)
    raw = np.fromfile("nan_image.img", "<f4").reshape(90, -1)
    raw[7] = np.nan
    raw.tofile("nan_image.img")
    before = digests(tmp_path)
    done = im4d(*line.split(), code=code)
    (text,) = [t for t in done.stderr.splitlines() if t]
    assert re.search(words, text), text
    assert digests(tmp_path) == before
    assert done.stdout == ""


@pytest.mark.parametrize("halves", [None, "h.hed"])
def test_stopped_calls_change_nothing(stack, tmp_path, halves):
    def stop(done, total):
        raise KeyboardInterrupt

    (tmp_path / "used.cls").write_text("1 2 0.5 1 2\n2 1 0.5 8\n")
    before = digests(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        msa_classify("images.hed", "root", classes=[4], factors=6, dendrogram="tree.png", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        job.msa_sum("images.hed", "used.cls", "out.hed", variances="v.hed", halves=halves, members="m.cls", progress=stop)
    assert digests(tmp_path) == before


def test_json_has_plain_numbers(im4d, stack):
    json.loads(im4d("msa", "classify", "images.hed", "r", "--classes", "3,6", "--factors", 4, "--json").stdout)
