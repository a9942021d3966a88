"""classify2d: what it writes, that it goes on with the same bytes, and that it finds what is there."""

import json
import re

import numpy as np
import pytest
from scipy import ndimage

from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.align.classify2d import classify2d
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate

RESULTS = ("averages.hed", "averages.img", "images.hed", "images.img", "summary.json", "journal.jsonl", "report.html")


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """160 turned and shifted images of five views of one structure, and their true view."""
    folder = tmp_path_factory.mktemp("particles")
    threed_test(folder / "v.hed", number=1, size=32, seed=3)
    simulate(folder / "v.blobs.json", folder / "views.hed", images=5, snr=1e6, shift_sigma=0.0, seed=5)
    views, _ = read_stack(folder / "views.hed")
    rng = np.random.default_rng(8)
    which = rng.permutation(np.arange(160) % 5)
    out = []
    for image in views[which]:
        turned = ndimage.rotate(image, rng.uniform(0, 360), reshape=False, order=3)
        out.append(ndimage.shift(turned, rng.normal(0, 1.0, 2), order=3))
    clean = np.array(out, np.float32)
    write_stack(folder / "particles.hed", clean + rng.normal(0, clean.std(), clean.shape).astype(np.float32))
    return folder / "particles.hed", which


def run(particles, folder, monkeypatch, **options):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    settings = {"classes": 10, "iterations": 6, "factors": 12, "max_shift": 0.4, "seed": 2} | options
    return classify2d(str(particles[0]), str(folder), **settings)


@pytest.fixture(scope="module")
def done(particles, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("runs") / "run"
        return folder, run(particles, folder, monkeypatch)


def test_classes_hold_one_view(particles, done):
    folder, summary = done
    with open_stack(folder / "images.hed") as stack:
        classes = stack.headers()["CLASSNO"].astype(int)
    with open_stack(folder / "averages.hed") as stack:
        words = stack.headers()
    assert sorted(words["CLASSNO"]) == list(range(1, 11))
    assert words["NUMCLS"].sum() == 160 == len(classes)
    right = sum(np.bincount(particles[1][classes == k]).max() for k in np.unique(classes))
    assert right >= 0.9 * 160
    stability = [a for a in summary.document["stability"] if a is not None]
    assert stability[-1] > stability[0]


def test_report_and_plots_of_the_folder(done, im4d, tmp_path):
    folder = done[0]
    assert "10 classes of 160 images" in im4d("report", folder, "--output", tmp_path / "r.html").stdout
    pages = [
        re.sub(r" \d{4}-\d\d-\d\d\.", "", p.read_text(encoding="utf-8")) for p in (tmp_path / "r.html", folder / "report.html")
    ]
    assert pages[0] == pages[1]  # but for the date of the run
    assert (tmp_path / "r.png").read_bytes() == (folder / "averages.png").read_bytes()
    im4d("report", folder, "--output", tmp_path / "r.html", code=5)
    assert "truth is for" in im4d("report", folder, "--truth", folder / "images.hed", code=2).stderr
    assert "stability of the classes" in im4d("plot", folder).stdout
    for name in ("", "images.hed", "averages.hed"):
        document = im4d("plot", folder / name, "--kind", "sizes", "--json").json
        assert document["count"] == 160
        assert "class, largest first" in im4d("plot", folder / name, "--kind", "sizes").stdout


def test_report_stands_alone(done):
    text = (done[0] / "report.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "data:image/png" in text
    assert 'src="http' not in text and "<script " not in text and text.count("<script>") == 1
    assert (done[0] / "averages.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("stop", [1, 3])
def test_goes_on_with_the_same_bytes(particles, done, tmp_path, monkeypatch, stop):
    class Stop(Exception):
        pass

    def progress(count, total):
        if count == stop:
            raise Stop

    folder = tmp_path / "run"
    with pytest.raises(Stop):
        run(particles, folder, monkeypatch, progress=progress)
    assert not (folder / "averages.hed").exists()
    monkeypatch.chdir(tmp_path)  # from wherever it goes on, the input has its first name
    classify2d(str(particles[0]), str(folder), resume=True)
    for name in RESULTS:
        assert (folder / name).read_bytes() == (done[0] / name).read_bytes(), name


def test_bad_input(particles, done, im4d, tmp_path):
    images = str(particles[0])
    new = tmp_path / "new"
    assert "ask for 2 to 80" in im4d("classify2d", images, str(new), "--classes", "100", code=4).stderr
    assert "one whole number" in im4d("classify2d", images, str(new), "--classes", "5,6", code=2).stderr
    assert "--classes N is needed" in im4d("classify2d", images, str(new), code=2).stderr
    assert "--resume to go on" in im4d("classify2d", images, str(done[0]), "--classes", "5", code=5).stderr
    im4d("copy", images, tmp_path / "other.hed")
    said = im4d("classify2d", tmp_path / "other.hed", str(done[0]), "--resume", code=4).stderr
    assert "is a run of " in said and "other.hed" in said
    assert "no run to go on with" in im4d("classify2d", images, str(new), "--resume", code=3).stderr
    assert not new.exists()


def test_pure_noise_is_named(tmp_path, im4d, monkeypatch):
    noise = np.random.default_rng(1).normal(size=(200, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "noise.hed", noise)
    monkeypatch.chdir(tmp_path)
    out = im4d("classify2d", "noise.hed", "run", "--classes", "5", "--iterations", "3", "--seed", "1", "--json").stdout
    assert "could be noise" in json.loads(out)["warnings"][0] and json.loads(out)["input"] == "noise.hed"
    assert "<h1>noise.hed</h1>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
