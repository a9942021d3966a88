"""im4d msa run and msa plot as they are called."""

import numpy as np
import pytest

from imagic4d_core.io.stack import write_stack


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Images of four kinds, as the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    shapes = rng.standard_normal((4, 16, 20))
    write_stack("images", (shapes[rng.integers(0, 4, 150)] + rng.standard_normal((150, 16, 20))).astype(np.float32))
    write_stack("volumes", rng.standard_normal((6, 8, 8, 8)).astype(np.float32))
    return tmp_path


def test_run_and_plot(im4d, place):
    found = im4d("msa", "run", "images", "root", "--eigenimages", "30", "--json").json
    assert found["noise"]["factors"] == 3 and len(found["eigenvalues"]) == 30 and found["metric"] == "modulation"
    for name, opts in (
        ("gallery.png", ["root"]),
        ("spectrum.png", ["root", "--kind", "spectrum"]),
        ("map.png", ["images", "--axes", "1", "3"]),
    ):
        im4d("msa", "plot", opts[0], name, *opts[1:])
        assert (place / name).read_bytes()[:4] == b"\x89PNG"
    assert "factors are above the noise" in im4d("msa-run", "images", "root", "--metric", "EUCLIDIAN", "--overwrite").stdout
    assert "NUMEIGEN" in im4d("header", "show", "images", "--loc", "1").stdout


def test_volumes(im4d, place):
    out = im4d("msa", "run", "volumes", "root", "--eigenimages", "4", "--images-out", "new.hed").stdout
    assert "coordinates of 6 volumes along 4 factors" in out and "too few" in out
    im4d("msa", "plot", "root", "gallery.png")
    for kind in ("eigenimages", "spectrum"):
        text = im4d("msa", "plot", "root", "--kind", kind).stdout
        assert len(text.splitlines()) > 7 and "\x1b" not in text and "\x1b" in im4d("msa", "plot", "root", "--text").stdout
    im4d("msa", "plot", "new", "map.png")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("run images root --eigenimages 150", 4, "have 149 factors at most, and 150 eigenimages are asked for"),
        ("run images root --mask volumes", 4, "; one mask of"),
        ("run images root --metric chi-square", 3, "use --metric modulation"),
        ("run images,3,5 root", 3, "locations cannot be given here"),
        ("run images root --images-out new.mrcs", 5, "coordinates stand in IMAGIC headers"),
        ("run nothing root", 3, "nothing: not found"),
        ("run images root --reuse volumes", 3, "volumes.json: not found"),
        ("run images root --metric round", 2, "is not one of modulation, euclidean, chi-square"),
        ("run volumes root --invariant rotation --eigenimages 3", 2, "--invariant is for images"),
        ("plot images map.png", 3, "holds no MSA coordinates"),
        ("plot images map.svg", 2, "written as PNG"),
        ("plot nothing map.png --kind spectrum", 3, "nothing.json: not found"),
    ],
)
def test_mistakes(im4d, place, args, code, said):
    before = sorted(p.name for p in place.iterdir())
    assert said in im4d("msa", *args.split(), code=code).stderr
    assert sorted(p.name for p in place.iterdir()) == before
