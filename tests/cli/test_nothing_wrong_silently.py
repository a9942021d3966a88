"""Values that used to go wrong without a word: masks that are no weights, rounded densities, statistics of other densities."""

import mrcfile
import numpy as np
import pytest

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.images.masks import as_weights, read_mask
from tests.imagic_files import pattern

RNG = np.random.default_rng(5)


def _noise(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def _mrc(path, data, **header):
    with mrcfile.new(path, overwrite=True) as m:
        m.set_data(data)
        m.set_image_stack()
        for key, value in header.items():
            m.header[key] = value


@pytest.mark.parametrize(("low", "high"), [(-128, -127), (0, 255), (-128, 127), (0, 100), (-128, -128 + 200)])
def test_two_levels_of_bytes_are_weights(low, high, caplog):
    inside = RNG.random((6, 6)) > 0.5
    got = as_weights(np.where(inside, high, low).astype(np.float32), "m")
    assert np.array_equal(got, inside) and "taken as weights" in caplog.text


def test_soft_masks_of_bytes(caplog):
    soft = np.rint(np.linspace(0, 255, 36)).astype(np.float32).reshape(6, 6)
    assert np.allclose(as_weights(soft, "m"), soft / 255) and caplog.text
    assert np.allclose(as_weights(soft - 128, "m"), soft / 255)


def test_weights_stay_as_they_are(caplog):
    soft = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)
    assert as_weights(soft, "m") is soft
    assert as_weights(np.ones((4, 4), np.float32), "m").all()
    wavy = as_weights(np.array([-0.01, 0.5, 1.02], np.float32), "m")
    assert wavy.tolist() == [0, 0.5, 1] and not caplog.text


@pytest.mark.parametrize("values", [[0, 0.5, 3], [-2, 0, 1], [0, 100, 200], [0, 0, 0], [-128, -128], [0, 1, 400], [7, 7]])
def test_what_is_no_mask_is_refused(values):
    with pytest.raises(InputError, match="m: "):
        as_weights(np.array(values, np.float32), "m")


@pytest.mark.parametrize("command", [
    ["arithmetic", "s.mrcs", "o.hed", "--operation", "mask"],
    ["norm-variance", "s.mrcs", "o.hed"],
    ["two-images", "s.mrcs", "s.mrcs", "--operation", "correlation"],
    ["fsc", "s.mrcs", "s.mrcs"],
    ["msa", "run", "s.mrcs", "o", "--images-out", "x.hed", "--eigenimages", "2"],
])  # fmt: skip
def test_all_commands_with_a_mask_check_it(tmp_path, im4d, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    data = _noise(4, 16, 16)
    write_stack("s.mrcs", data)
    inside = np.hypot(*np.mgrid[-8:8, -8:8]) < 6
    _mrc("imod.mrc", (inside.astype("i2") - 128).astype("i1")[None])
    _mrc("bad.mrc", (5 * data[:1]).astype("f4"))
    _mrc("empty.mrc", np.zeros((1, 16, 16), "f4"))
    assert "taken as weights" in im4d(*command, "--mask", "imod.mrc").stderr
    for name, what in (("bad.mrc", "weights from 0 to 1"), ("empty.mrc", "empty")):
        assert what in im4d(*command, "--mask", name, "--overwrite", code=3).stderr


def test_a_mask_volume_marked_as_a_stack(tmp_path):
    mask = (RNG.random((6, 6, 6)) > 0.5).astype(np.float32)
    _mrc(tmp_path / "m.mrcs", mask)
    assert np.array_equal(read_mask(tmp_path / "m.mrcs", (6, 6, 6)).sum(), mask.sum())
    with pytest.raises(MismatchError, match="one mask of 6 x 6 is needed"):
        read_mask(tmp_path / "m.mrcs", (1, 6, 6))


def test_fsc_of_nothing_is_refused(tmp_path, im4d, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = _noise(1, 16, 16, 16)
    write_stack("a.mrc", a)
    write_stack("z.mrc", 0 * a + 3)
    write_stack("m.mrc", (a > 4.9).astype(np.float32))
    a[:, 4:12, 4:12, 4:12] = 1
    write_stack("hollow.mrc", a)
    inner = np.zeros_like(a)
    inner[:, 5:11, 5:11, 5:11] = 1
    write_stack("inner.mrc", inner)
    assert "z.mrc: volume 1 is constant; there is nothing" in im4d("fsc", "a.mrc", "z.mrc", code=3).stderr
    assert "constant under the mask" in im4d("fsc", "a.mrc", "hollow.mrc", "--mask", "inner.mrc", code=3).stderr
    assert "empty" in im4d("fsc", "a.mrc", "a.mrc", "--mask", "m.mrc", code=3).stderr


@pytest.mark.parametrize("home", ["i2", "u1"])
@pytest.mark.parametrize("how", [["append", "r.hed", "w.hed"], ["copy", "r.hed", "w.hed,2"], ["excopy", "r.hed", "w.hed,2"]])
def test_real_densities_are_not_rounded_into_whole_numbers(tmp_path, im4d, monkeypatch, home, how):
    monkeypatch.chdir(tmp_path)
    whole, real = RNG.integers(0, 100, (3, 8, 8)).astype(home), _noise(2, 8, 8)
    write_stack("w.hed", whole)
    write_stack("r.hed", real)
    more = ["--operation", "reverse"] if how[0] == "excopy" else []
    said = im4d(*how, *more)
    assert "made REAL" in said.stdout + said.stderr
    with open_stack("w.hed") as stack:
        got = stack.read()
        assert stack.layout.type_word == "REAL"
    at = 3 if how[0] == "append" else 1
    assert np.array_equal(got[at : at + 2], real[::-1] if more else real) and np.array_equal(got[0], whole[0])


def test_long_and_real_are_not_joined(tmp_path, im4d):
    write_stack(tmp_path / "w.hed", np.full((2, 8, 8), 2**30 + 1, "i4"))
    write_stack(tmp_path / "r.hed", _noise(2, 8, 8))
    before = (tmp_path / "w.img").read_bytes()
    assert "neither type holds both" in im4d("append", tmp_path / "r.hed", tmp_path / "w.hed", code=4).stderr
    assert (tmp_path / "w.img").read_bytes() == before
    im4d("append", tmp_path / "w.hed", tmp_path / "r.hed")


@pytest.mark.parametrize("kind", ["f4", "i2", "u2"])
def test_statistics_of_mrc_are_computed(tmp_path, im4d, kind):
    data = (10 * _noise(5, 12, 12) + 20).clip(0, 200).astype(kind)
    _mrc(tmp_path / "w.mrcs", data, dmin=-100, dmax=300, dmean=5, rms=2)
    assert "warning statistics: minimum (word 20) is -100" in im4d("validate", tmp_path / "w.mrcs").stdout
    im4d("copy", tmp_path / "w.mrcs", tmp_path / "o.mrcs")
    im4d("append", tmp_path / "w.mrcs", tmp_path / "w.mrcs", tmp_path / "p.mrcs")
    for name in ("o.mrcs", "p.mrcs"):
        with mrcfile.open(tmp_path / name) as m:
            found = [float(m.header[k]) for k in ("dmin", "dmax", "dmean", "rms")]
        assert np.allclose(found, [data.min(), data.max(), data.mean(dtype=float), data.std(dtype=float)], rtol=1e-5)
        assert "warning statistics" not in im4d("validate", tmp_path / name).stdout


@pytest.mark.parametrize("known", [{"dmin": 0, "dmax": 0, "dmean": 0, "rms": 0}, {"dmin": 0, "dmax": -1, "dmean": -2, "rms": -1}])
def test_statistics_that_are_not_known_are_no_fault(tmp_path, im4d, known):
    _mrc(tmp_path / "w.mrcs", _noise(2, 8, 8), **known)
    assert ("warning statistics" in im4d("validate", tmp_path / "w.mrcs").stdout) == (known["dmax"] == 0)


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_statistics_of_nan(tmp_path, im4d):
    data = pattern(2, 8, 8)
    data[1, 2, 3] = np.nan
    _mrc(tmp_path / "a.mrcs", data)
    said = im4d("info", tmp_path / "a.mrcs", "--statistics").stdout
    assert "not finite 1" in said and "min inf" not in said and "mean nan" not in said
    data[:] = np.nan
    _mrc(tmp_path / "a.mrcs", data)
    assert "densities   not finite 128" in im4d("info", tmp_path / "a.mrcs", "--statistics").stdout


def test_quotients_with_one_second_image(tmp_path, im4d):
    a = _noise(3, 8, 8)
    a[1, 2, 2:5] = 0
    write_stack(tmp_path / "a.hed", a)
    for name in two_operations():
        im4d("two-images", tmp_path / "a.hed", f"{tmp_path}/a.hed,2", tmp_path / f"{name}.hed", "--operation", name)
    got = read_stack(tmp_path / "divide.hed")[0]
    assert not got[:, 2, 2:5].any()
    assert np.allclose(got[:, 0], a[:, 0] / a[1, 0])


def two_operations():
    from imagic4d_core.pixels.two import COMBINE

    return tuple(COMBINE)


def _own_list(folder, rows, more=""):
    write_stack(folder / "u.mrcs", _noise(3, 8, 8), pixel_size=2.0)
    text = f"data_particles\nloop_\n_rlnImageName\n_rlnAngleRot\n{more}" + rows
    (folder / "u.star").write_text(text)
    return (folder / "u.mrcs").read_bytes(), text


@pytest.mark.parametrize(("rows", "more"), [
    ("1@u.mrcs 1\n2@u.mrcs 2\n3@u.mrcs 3\n7@other.mrcs 5\n", ""),
    ("1@u.mrcs 1 a\n2@u.mrcs 2 b\n3@u.mrcs 3 c\n", "_rlnOfMine\n"),
    ("1@u.mrcs 1 .07 9\n2@u.mrcs 2 .07 9\n3@u.mrcs 3 .07 9\n", "_rlnAmplitudeContrast\n_rlnDefocusU\n"),
])  # fmt: skip
@pytest.mark.parametrize("how", [
    ["append", "p.hed", "u.mrcs"], ["copy", "p.hed", "u.mrcs,2"], ["copy", "p.hed", "u.mrcs", "--overwrite"],
])  # fmt: skip
def test_a_list_of_the_users_own_is_not_replaced(tmp_path, im4d, monkeypatch, rows, more, how):
    monkeypatch.chdir(tmp_path)
    densities, text = _own_list(tmp_path, rows, more)
    write_stack("p.hed", _noise(2, 8, 8), pixel_size=2.0)
    assert "u.star: belongs to u.mrcs by its name, and would lose" in im4d(*how, code=5).stderr
    assert (tmp_path / "u.star").read_text() == text and (tmp_path / "u.mrcs").read_bytes() == densities
    im4d("header", "set", "u.mrcs", "REF3D=2")  # row by row: all else stays
    new = (tmp_path / "u.star").read_text()
    assert ("_rlnOfMine" in new) == ("_rlnOfMine" in text) and ("7@other.mrcs 5" in new) == ("other" in text)
    (tmp_path / "u.star").rename(tmp_path / "elsewhere.star")
    im4d(*how)


def test_an_unrelated_list_of_the_same_name(tmp_path, im4d):
    (tmp_path / "o.star").write_text("data_\nloop_\n_rlnImageName\n1@other.mrcs\n")
    write_stack(tmp_path / "p.hed", _noise(2, 8, 8))
    im4d("copy", tmp_path / "p.hed", tmp_path / "o.mrcs")
    im4d("header", "set", tmp_path / "p.hed", "REF3D=1")
    im4d("copy", tmp_path / "p.hed", tmp_path / "o.mrcs", "--overwrite", code=5)
    assert "1@other.mrcs" in (tmp_path / "o.star").read_text()


def test_words_that_make_no_sense_are_not_set(tmp_path, im4d):
    write_stack(tmp_path / "a.hed", _noise(2, 8, 8))
    for change in ("ALPHA=1e30", "REF3D=2000000", "RXSHIFT=1e9"):
        assert "too large" in im4d("header", "set", tmp_path / "a.hed", change, code=3).stderr
    im4d("convert", tmp_path / "a.hed", tmp_path / "b.hed", "--pixel-size", "1e300", code=2)
    im4d("cut", tmp_path / "a.hed", tmp_path / "b.hed", "--box", 4, "--at", "1e20,1", code=2)
    (tmp_path / "c.plt").write_text("1e200 4\n")
    im4d("cut", tmp_path / "a.hed", tmp_path / "b.hed", "--box", 4, "--coordinates", tmp_path / "c.plt", code=3)
