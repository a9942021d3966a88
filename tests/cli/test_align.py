"""mra, align-parallel, align-refs and ctf from the command line: options, IMAGIC's words, mistakes."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from oracle import align as oracle

from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    d = tmp_path_factory.mktemp("align")
    refs = np.array([oracle.draw(24, oracle.blobs(k)) for k in range(2)])
    h = blank_headers(2, 24, 24)
    h["REF3D"] = [1, 2]
    write_stack(d / "refs.hed", refs, h)
    noise = np.random.default_rng(1).normal(size=(10, 24, 24)).astype(np.float32)
    h = blank_headers(10, 24, 24, pixel_size=3.0)
    h["DEFOCUS1"], h["VOLTAGE"], h["SPABERR"] = 15000, 300, 2.7
    h["REF3D"] = np.arange(10) % 2 + 1
    write_stack(d / "images.hed", np.roll(refs[np.arange(10) % 2], 1, 1) + 0.05 * noise, h)
    write_stack(d / "small.hed", refs[:, :16, :16].copy())
    write_stack(d / "plain.hed", refs)
    write_stack(d / "flat.hed", np.zeros_like(refs))
    write_stack(d / "volumes.hed", np.zeros((2, 8, 8, 8), np.float32))
    return d


@pytest.fixture
def place(material, tmp_path, monkeypatch):
    folder = tmp_path / "place"
    shutil.copytree(material, folder)
    monkeypatch.chdir(folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha1(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_mra(im4d, place):
    done = im4d("mra", "images.hed", "refs.hed", "out.hed", "--max-shift", "3", "--no-mirror", "--json", "--seed", "1")
    found = json.loads(done.stdout)
    assert found["schema"] == 1 and found["aligned"] == 10 and found["sizes"] == [5, 5] and found["seed"] == 1
    h = read_stack("out.hed")[1]
    assert (np.abs(h["EXSHIFT"] + 1) < 0.1).all() and (np.abs(h["EYSHIFT"]) < 0.1).all()


def test_imagic_words(im4d, place):
    im4d("M-R-A", "images.hed", "refs.hed", "a.hed", "--references", "OWN_REF3D_REFERENCES", "--search", "ROTATION_FIRST",
         "--correlation", "MCF", "--iterations", "2")  # fmt: skip
    im4d("alipara", "images.hed,1,2", "refs.hed", "b.hed", "--search", "ALL", "--max-shift", "0.3")
    im4d("ALIREFS", "refs.hed", "c.hed", "--mirror")
    im4d("ctf", "images.hed", "d.hed", "--correct-by", "PHASE_FLIPPING")
    assert all(Path(f"{n}.hed").is_file() for n in "abcd")


@pytest.mark.parametrize(
    ("code", "args", "words"),
    [
        (3, ["mra", "missing.hed", "refs.hed", "x.hed"], "missing.hed"),
        (3, ["mra", "images.hed", "missing.hed", "x.hed"], "missing.hed"),
        (4, ["mra", "images.hed", "small.hed", "x.hed"], "box 16"),
        (4, ["mra", "images.hed", "plain.hed", "x.hed", "--references", "own-ref3d"], "word 51"),
        (3, ["mra", "images.hed", "flat.hed", "x.hed"], "constant"),
        (5, ["mra", "images.hed", "refs.hed", "images.hed"], "exists already"),
        (2, ["mra", "images.hed", "refs.hed", "x.hed", "--search", "both-ways"], "both-ways"),
        (2, ["mra", "images.hed", "refs.hed", "x.hed", "--radii", "0.9,0.1"], "radii"),
        (2, ["mra", "images.hed", "refs.hed", "x.hed", "--rotation-range", "10"], "two numbers"),
        (3, ["mra", "images.hed,30,31", "refs.hed", "x.hed"], "30"),
        (4, ["mra", "images.hed", "refs.hed", "x.hed", "--from-originals", "refs.hed"], "very same"),
        (4, ["align-parallel", "images.hed", "refs.hed", "x.hed"], "10 images"),
        (4, ["align-parallel", "images.hed", "small.hed", "x.hed"], "box 16"),
        (3, ["align-refs", "refs.hed,1", "x.hed"], "two at least"),
        (3, ["align-refs", "flat.hed", "x.hed"], "constant"),
        (3, ["ctf", "refs.hed", "x.hed"], "pixel size"),
        (3, ["ctf", "refs.hed", "x.hed", "--pixel-size", "3"], "no defocus"),
        (4, ["ctf", "volumes.hed", "x.hed"], "volumes"),
        (3, ["ctf", "images.hed", "x.hed", "--star", "missing.star"], "missing.star"),
        (2, ["ctf", "images.hed", "x.hed", "--noise-to-signal", "0"], "noise-to-signal"),
    ],
)
def test_mistakes(im4d, place, code, args, words):
    before = digests(place)
    done = im4d(*args, code=code)
    line = [text for text in done.stderr.splitlines() if text][-1]
    assert words in line and done.stdout == ""
    assert digests(place) == before


def test_not_a_number_in_the_input(im4d, place):
    images, h = read_stack("images.hed")
    images[3, 2, 2] = np.nan
    write_stack("bad.hed", images, h)
    done = im4d("mra", "bad.hed", "refs.hed", "x.hed", code=3)
    assert "bad.hed" in done.stderr and not Path("x.hed").exists()
