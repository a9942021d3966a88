"""im4d show, plot and report through the command line."""

import numpy as np
import pytest
from fake_run import fake_run, write_rundir

from imagic4d_core import models
from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack


@pytest.fixture(scope="module")
def rundir(tmp_path_factory):
    return write_rundir(fake_run(2, 30, 24), tmp_path_factory.mktemp("show") / "run1")


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_show_images_as_text_and_png(im4d, rundir, tmp_path):
    plain = im4d("show", rundir / "images.hed", "--loc", "3-5,9").stdout
    assert "\x1b" not in plain and "▀" not in plain
    assert "4 of 30 shown" in plain
    for location in (3, 4, 5, 9):
        assert f"{location}  3D " in plain
    text = im4d("show", rundir / "images.hed", "--loc", "1", "--text").stdout
    assert "▀" in text and "\x1b[38;2;" in text
    assert "▀" not in im4d("show", rundir / "images.hed", "--loc", "1", "--text", "--no-colour").stdout
    out = tmp_path / "m.png"
    document = im4d("show", f"{rundir / 'images.hed'},2,4", "--output", out, "--json").json
    assert document["shown"] == 3 and document["total"] == 30 and is_png(out)
    im4d("show", rundir / "images.hed", "--output", out, code=5)
    im4d("show", rundir / "images.hed", "--output", out, "--overwrite", "--columns", "3")


def test_show_words(im4d, rundir, tmp_path):
    text = im4d("show", rundir / "images.hed", "--loc", "3", "--word", "REF3D;13").stdout
    rows = [row.strip() for row in text.splitlines()]
    assert "3" in rows and "REF3D 1" in rows and any(row.endswith(" 24") for row in rows)
    im4d("show", rundir / "images.hed", "--loc", "3", "--word", "CCC", "--output", tmp_path / "w.png")
    assert "header words stand below images" in im4d("show", rundir / "volumes.hed", "--word", "CCC", code=2).stderr
    assert "NOSUCH" in im4d("show", rundir / "images.hed", "--word", "NOSUCH", code=2).stderr


@pytest.mark.parametrize("what", ["auto", "montage", "sections", "projections", "surface"])
def test_show_volumes(im4d, rundir, tmp_path, what):
    out = tmp_path / "v.png"
    im4d("show", rundir / "volumes.hed", "--kind", what, "--output", out)
    assert is_png(out)
    assert "2: " in im4d("show", rundir / "volumes.hed", "--loc", "2", "--kind", what).stdout or what == "montage"


def test_show_reads_only_what_is_shown(im4d, tmp_path):
    data = np.zeros((40, 16, 16), np.float32)
    data[30] = np.nan
    write_stack(tmp_path / "a.hed", data)
    im4d("show", tmp_path / "a.hed", "--loc", "1-3")
    im4d("show", tmp_path / "a.hed")  # NaN is shown, not refused: one wants to see what is wrong


def test_show_faults(im4d, rundir, tmp_path):
    assert "location 99 is out of range" in im4d("show", rundir / "images.hed", "--loc", "99", code=3).stderr
    assert "for volumes" in im4d("show", rundir / "images.hed", "--kind", "surface", code=2).stderr
    assert ".png" in im4d("show", rundir / "images.hed", "--output", tmp_path / "a.jpg", code=2).stderr
    im4d("show", tmp_path / "none.hed", code=3)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("fsc.json", "auto"),
        ("images.hed", "auto"),
        ("images.hed", "sizes"),
        ("", "convergence"),
        ("", "fsc"),
        ("", "orientations"),
    ],
)
@pytest.mark.parametrize("end", ["png", "svg"])
def test_plot(im4d, rundir, tmp_path, source, what, end):
    out = tmp_path / f"p.{end}"
    im4d("plot", rundir / source, out, "--kind", what)
    if end == "png":
        assert is_png(out)
    else:
        from xml.etree import ElementTree

        assert ElementTree.parse(out).getroot().tag.endswith("svg")


@pytest.mark.parametrize("source", ["fsc.json", "images.hed", "", "--kind sizes"])
def test_plot_in_the_terminal(im4d, rundir, source, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file, _, rest = source.partition("--")
    how = f"--{rest}".split() if rest else []
    plain = im4d("plot", rundir / file.strip(), *how).stdout
    assert "\x1b" not in plain and len(plain.splitlines()) > 15 and max(map(len, plain.splitlines())) <= 80
    assert "\x1b" in im4d("plot", rundir / file.strip(), *how, "--text").stdout
    assert im4d("plot", rundir / file.strip(), *how, "--json").json["output"] is None


def test_plot_scf(im4d, tmp_path):
    model = models.random_family(2, 1, 40)[0]
    poses = Poses.blank(4)
    poses.set_matrices(random_rotations(np.random.default_rng(8), 4))
    images = models.project(model, poses.matrices(), None, 40)
    images[2] = np.roll(images[2], 5, 1)
    write_stack(tmp_path / "i.hed", images, poses.into_headers(blank_headers(4, 40, 40)))
    poses.shift[2] = (0, -5)  # the shift that is still to be applied
    write_stack(tmp_path / "s.hed", images, poses.into_headers(blank_headers(4, 40, 40)))
    out = tmp_path / "scf.png"
    done = im4d("plot", f"{tmp_path / 's.hed'},2,4", out, "--kind", "scf", "--json").json
    assert [f["images"] for f in done["found"]] == [[2, 3], [2, 4]] and is_png(out)
    for f in done["found"]:
        assert f["best"]["value"] > 0.98 and f["known"]["value"] > 0.97
    off = im4d("plot", f"{tmp_path / 'i.hed'},2,4", "--kind", "scf", "--json").json
    assert off["found"][0]["known"]["value"] < done["found"][0]["known"]["value"]
    said = im4d(
        "plot", f"{tmp_path / 's.hed'},2", "--kind", "scf", "--anchors", tmp_path / "s.hed", "--amplitude-filter", "0.5"
    ).stdout
    assert said.count(" with ") == 8 and "2 with 1: lines at" in said and said.count("the Euler angles say") == 3
    assert "line of the anchor" in said
    some = im4d("plot", tmp_path / "s.hed", "--kind", "scf", "--loc", "1,4", "--json").json
    assert [f["images"] for f in some["found"]] == [[1, 4]]
    assert im4d("plot", tmp_path / "s.hed", "--loc", "2-3", "--json").json["count"] == 2


def test_plot_scf_faults(im4d, rundir, tmp_path):
    images, out = rundir / "images.hed", tmp_path / "a.png"
    assert "give two" in im4d("plot", f"{images},3", out, "--kind", "scf", code=3).stderr
    assert "forward" in im4d("plot", rundir / "volumes.hed", out, "--kind", "scf", code=2).stderr
    write_stack(tmp_path / "small.hed", np.ones((3, 16, 16), np.float32))
    assert "box 16" in im4d("plot", images, out, "--kind", "scf", "--anchors", tmp_path / "small.hed", code=4).stderr
    assert "is constant" in im4d("plot", tmp_path / "small.hed", out, "--kind", "scf", code=3).stderr
    write_stack(tmp_path / "wide.hed", np.ones((3, 16, 20), np.float32))
    assert "square" in im4d("plot", tmp_path / "wide.hed", out, "--kind", "scf", code=4).stderr
    assert "--loc chooses images" in im4d("plot", rundir / "fsc.json", out, "--loc", "1", code=2).stderr
    assert "--kind scf" in im4d("plot", images, out, "--anchors", images, code=2).stderr
    assert "exclude each other" in im4d("plot", images, out, "--text", code=2).stderr
    assert not out.exists()


def test_plot_csv_and_faults(im4d, tmp_path, rundir):
    table = tmp_path / "c.csv"
    table.write_text("frequency,fsc,half_bit\n0,1,0.5\n0.5,0.6,0.4\n1,0.01,0.3\n", encoding="utf-8")
    im4d("plot", table, tmp_path / "c.png", "--pixel-size", "2.5")
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    assert "'frequency' and 'fsc'" in im4d("plot", table, tmp_path / "d.png", code=3).stderr
    assert "no Euler angles" in im4d("plot", rundir / "reprojections.hed", tmp_path / "d.png", code=3).stderr
    assert "no memberships" in im4d("plot", rundir / "reprojections.hed", tmp_path / "d.png", "--kind", "sizes", code=3).stderr
    im4d("plot", rundir / "images.hed", tmp_path / "d.pdf", code=2)
    im4d("plot", tmp_path, tmp_path / "d.png", code=3)
    assert not list(tmp_path.glob("d.*"))


def test_report(im4d, rundir, tmp_path):
    out = tmp_path / "r.html"
    said = im4d("report", rundir, "--output", out).stdout
    assert (
        "2 3Ds and 30 images" in said
        and is_png(tmp_path / "r.png")
        and out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    )
    im4d("report", rundir, "--output", out, code=5)
    im4d("report", tmp_path / "none", code=3)


@pytest.mark.parametrize(
    "name",
    [
        "maps/EMD-3001.map",
        "maps/groel-11.5A.mrc",
        "imagic/smallStack.hed",
        "imagic/bsoft/fourd_real.hed",
        "formats/smallVolumeStack.stk",
    ],
)
def test_real_files_are_shown(im4d, shared_data, tmp_path, name):
    path = shared_data / name
    if not path.exists():
        path = shared_data / name.replace("maps/EMD", "formats/EMD")
    im4d("show", path, "--output", tmp_path / "a.png")
    im4d("show", path, "--loc", "1")
