"""im4d msa projections, msa volumes and msa classify --as-membership as they are called."""

import json
from pathlib import Path

import numpy as np
import pytest

from imagic4d_core.geometry.symmetry import rotations
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, read_stack


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """300 images of two states, the second a third of them, with poses; box 32."""
    from imagic4d_core.jobs.truth.simulate import simulate

    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(1)
    body = [
        {"x": float(x), "y": float(y), "z": float(z), "sigma": 2.0, "weight": 1.0} for x, y, z in rng.uniform(-6, 6, (14, 3))
    ]
    part = [{"x": 7.0, "y": 2.0, "z": -3.0, "sigma": 1.8, "weight": 2.0}]
    document = {
        "schema": 1, "box": 32, "pixel_size": 4.0,
        "models": [{"name": "with", "blobs": body + part}, {"name": "without", "blobs": body}],
    }  # fmt: skip
    (folder / "truth.blobs.json").write_text(json.dumps(document))
    simulate(str(folder / "truth.blobs.json"), str(folder / "images.hed"), images=300, snr=2.0, populations=(2, 1), seed=1)
    return folder


@pytest.fixture
def place(material, tmp_path, monkeypatch):
    """The images as the current folder."""
    for name in ("images.hed", "images.img"):
        (tmp_path / name).write_bytes((material / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_headers(path, headers):
    replace_headers(path, headers, "new.hed", overwrite=True)
    for end in ("hed", "img"):
        Path(f"new.{end}").replace(Path(path).with_suffix(f".{end}"))


RUN = ("msa", "projections", "images.hed", "root", "--seed", 1, "--band", "0.4", "--max-frequency", "0.4", "--threads", 1)


def test_from_coordinates_to_3ds(im4d, place):
    with open_stack("images.hed") as stack:
        true = stack.headers()["REF3D"].copy()
    before = (place / "images.hed").read_bytes()
    done = im4d(*RUN, "--images-out", "states.hed", "--as-membership", "--json").json
    assert (place / "images.hed").read_bytes() == before
    assert done["noise"]["factors"] == 1 and done["states"] == sorted(done["states"], reverse=True) and len(done["states"]) == 2
    with open_stack("states.hed") as stack:
        h = stack.headers()
    assert (h["REF3D"] == true).mean() > 0.97 and np.array_equal(h["CLASSNO"], h["REF3D"]) and (h["NUMEIGEN"] == 1).all()
    values = h["COOSMSA"][:, 0].astype(float)
    assert np.mean(values**2) == pytest.approx(done["eigenvalues"][0], rel=1e-4)
    assert np.sign(values[true == 2].mean()) != np.sign(values[true == 1].mean())
    im4d("recon", "states.hed", "volumes.hed", "--max-frequency", "0.4")
    volumes, _ = read_stack("volumes.hed")
    # the eigenvolume is the difference of the two states
    eigen, _ = read_stack("root.hed")
    inside = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) < 11
    assert abs(np.corrcoef((volumes[0] - volumes[1])[inside], np.squeeze(eigen)[inside])[0, 1]) > 0.8
    text = im4d("msa", "plot", "root", "--kind", "spectrum").stdout
    assert "factor" in text
    im4d("excopy", "states.hed", "some.hed", "--operation", "select", "--where", "coosmsa1 > 0")
    im4d("msa", "run", "images.hed", "again", "--reuse", "root", code=2)


def test_3ds_along_an_eigenvolume(im4d, place):
    im4d(*RUN, "--images-out", "states.hed")
    along = im4d("msa", "volumes", "root", "ends.hed", "--along=-2,0,2", "--json").json
    ends, _ = read_stack("ends.hed")
    mean, _ = read_stack("root_mean.hed")
    eigen, _ = read_stack("root.hed")
    assert np.array_equal(ends[1], mean[0])
    step = 2 * along["coordinates"][2][0]
    np.testing.assert_allclose(ends[2] - ends[0], step * np.squeeze(eigen), atol=1e-5 * np.abs(ends).max())
    im4d("msa", "volumes", "root", "more.hed", "--component", 9, code=2)
    assert (place / "ends.hed").exists() and not (place / "more.hed").exists()


def test_3ds_of_the_images_near_each_place(im4d, place):
    """The ends along the one eigenvolume are the two states; made of images they are, too."""
    im4d(*RUN, "--images-out", "states.hed")
    with open_stack("states.hed") as stack:
        h = stack.headers()
    z = h["COOSMSA"][:, 0].astype(float)
    ends = sorted([z[h["REF3D"] == k].mean() / z.std() for k in (1, 2)])
    along = f"--along={ends[0]:.3f},{ends[1]:.3f}"
    pictures = ("--strip", "strip.png", "--film", "film.png")
    words = ("msa", "volumes", "root", "ends.hed", along, "--number", 3, "--from-images", "states.hed")
    done = im4d(*words, *pictures, "--json").json
    assert len(done["images"]) == 3 and done["images"][0] > 30 and done["pictures"] == ["strip.png", "film.png"]
    assert done["at"][1][0] == pytest.approx(np.mean(ends), abs=0.01)
    made, _ = read_stack("ends.hed")
    eigen, _ = read_stack("root.hed")
    inside = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) < 11
    assert np.corrcoef((made[2] - made[0])[inside], np.squeeze(eigen)[inside])[0, 1] > 0.7
    film = (place / "film.png").read_bytes()
    assert film.startswith(b"\x89PNG") and film.count(b"fcTL") == 4 and b"acTL" in film
    assert "no image lies near" in im4d(
        "msa", "volumes", "root", "far.hed", "--along=50", "--from-images", "states.hed", code=3
    ).stderr  # fmt: skip
    assert not (place / "far.hed").exists()


def test_3ds_along_a_path(im4d, place):
    im4d(*RUN, "--eigenvolumes", 2, "--images-out", "states.hed")
    done = im4d("msa", "volumes", "root", "round.hed", "--path=-1,0;0,1;1,0", "--number", 5, "--json").json
    assert done["components"] == [1, 2]
    np.testing.assert_allclose(done["at"], [[-1, 0], [-0.5, 0.5], [0, 1], [0.5, 0.5], [1, 0]], atol=1e-9)
    assert "one coordinate for each" in im4d("msa", "volumes", "root", "x.hed", "--path=-1,0;1", code=2).stderr
    assert "two or more" in im4d("msa", "volumes", "root", "x.hed", "--along=1", "--number", 3, code=2).stderr
    im4d("excopy", "states.hed", "sorted.hed", "--operation", "sort", "--by", "COOSMSA(1)")
    with open_stack("sorted.hed") as stack:
        assert (np.diff(stack.headers()["COOSMSA"][:, 0]) >= 0).all()


def test_a_symmetric_mean_is_refused(im4d, place):
    unit = np.random.default_rng(1).uniform(2, 9, (4, 3))
    copies = np.concatenate([unit @ op.T for op in rotations("D4")])
    blobs = [{"x": float(x), "y": float(y), "z": float(z), "sigma": 1.6, "weight": 1.0} for x, y, z in copies]
    document = {"schema": 1, "box": 32, "pixel_size": 4.0, "models": [{"name": "D4", "blobs": blobs}]}
    (place / "d4.blobs.json").write_text(json.dumps(document))
    im4d("simulate", "d4.blobs.json", "sym.hed", "--images", 80, "--snr", 5, "--seed", 4)
    words = ("msa", "projections", "sym.hed", "symroot", "--images-out", "out.hed", "--seed", 1, "--band", "0.4")
    assert "point group D4" in im4d(*words, code=3).stderr
    assert not list(place.glob("symroot*")) and not (place / "out.hed").exists()


def test_classes_become_memberships(im4d, place):
    im4d(*RUN, "--states", 0, "--eigenvolumes", 2)
    im4d("msa", "classify", "images.hed", "classes", "--classes", 3, "--as-membership")
    with open_stack("images.hed") as stack:
        h = stack.headers()
    assert np.array_equal(h["REF3D"], h["CLASSNO"]) and sorted(set(h["REF3D"].tolist())) == [1, 2, 3]
    assert set(h["REF3DOLD"].tolist()) == {1, 2}


def test_states_of_each_3d(im4d, place):
    """Of two 3Ds one holds two states; recon makes three 3Ds; with --known states are found once more from bad ones."""
    with open_stack("images.hed") as stack:
        h = stack.headers()
        true = h["REF3D"].copy()
        few = np.arange(len(true)) % 5 == 0  # a 3D of one state
        h["REF3D"] = np.where(few & (true == 1), 2, 1)
        h["CLASSNO"] = np.arange(len(true))  # of averages: no states
    write_headers("images.hed", h)
    done = im4d("msa", "states", "images.hed", "states.hed", "--seed", 1, "--threads", 1, "--json").json
    assert list(done["sizes"]) == ["1"] and len(done["sizes"]["1"]) == 2  # 3D 2 has too few images
    with open_stack("states.hed") as stack:
        found = stack.headers()["CLASSNO"].astype(int)
        assert np.array_equal(stack.headers()["REF3D"], h["REF3D"])
    one = h["REF3D"] == 1
    assert (found[~one] == 0).all() and (found[one] == true[one]).mean() > 0.97
    im4d("recon", "states.hed", "volumes.hed", "--membership", "states", "--images-out", "made.hed", "--max-frequency", "0.4")
    with open_stack("made.hed") as stack:
        made = stack.headers()["REF3D"]
    assert np.array_equal(made, np.where(one, found, 3))
    bad = found.copy()
    bad[np.flatnonzero(one)[:60]] = 1
    h["CLASSNO"] = bad
    write_headers("images.hed", h)
    known = ("msa", "states", "images.hed", "again.hed", "--known", "--seed", 1, "--threads", 1, "--json")
    assert im4d(*known).json["moved"] > 10
    with open_stack("again.hed") as stack:
        again = stack.headers()["CLASSNO"].astype(int)
    assert (again[one] == true[one]).mean() > 0.97
    h["CLASSNO"] = 0  # no states are known: nothing to do
    write_headers("images.hed", h)
    assert im4d(*known, "--overwrite").json["sizes"] == {}


def test_states_need_memberships(im4d, place):
    im4d("header", "set", "images.hed", "bare.hed", "REF3D=0")
    before = (place / "bare.hed").read_bytes()
    assert "no image has a 3D membership" in im4d("msa", "states", "bare.hed", "--seed", 1, code=3).stderr
    assert (place / "bare.hed").read_bytes() == before


def test_images_that_do_not_count(im4d, place):
    done = im4d(*RUN, "--ref3d", 1, "--images-out", "states.hed", "--json").json
    with open_stack("images.hed") as stack:
        true = stack.headers()["REF3D"].copy()
    with open_stack("states.hed") as stack:
        h = stack.headers()
    assert done["active"] == int((true == 1).sum()) and any("did not count" in n for n in done["notes"])
    assert np.isfinite(h["COOSMSA"][:, 0]).all() and np.array_equal(h["ACTMSA"] > 0, true == 1)


@pytest.mark.parametrize(
    "args, code, said",
    [
        (["--ref3d", "7"], 3, "50 at least"),
        (["--as-membership", "--states", "0"], 2, "two or more"),
        (["--mask", "images.hed"], 4, "32 x 32 x 32"),
        (["--weigh-ctf"], 3, "defocus"),
    ],
)
def test_refusals_change_nothing(im4d, place, args, code, said):
    before = sorted((p.name, p.read_bytes()) for p in place.iterdir())
    assert said in im4d(*RUN, *args, code=code).stderr
    assert sorted((p.name, p.read_bytes()) for p in place.iterdir()) == before


def test_images_without_poses_are_refused(im4d, place):
    im4d("header", "wipe", "images.hed", "bare.hed", "--word", "EULER")
    assert "no Euler angles" in im4d("msa", "projections", "bare.hed", "root", "--seed", 1, code=3).stderr
