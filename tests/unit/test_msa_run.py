"""MSA against a naive twin: metrics, solvers, masks, active images, volumes, headers, re-use."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from oracle.msa import msa

from imagic4d_core.errors import InputError, MismatchError, OutputError, UsageError
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.msa.run import msa_run
from imagic4d_core.msa import model, rows, solve
from imagic4d_core.msa.coordinates import active, read_coordinates, records_for
from imagic4d_core.parallel import SERIAL

BOX = (12, 15)


def images(n=120, box=BOX, patterns=5, noise=0.3, seed=0):
    """Positive images of a few patterns with noise, shape (n, *box), float32, and their classes."""
    rng = np.random.default_rng(seed)
    shapes = rng.standard_normal((patterns, *box))
    kind = rng.integers(0, patterns, n)
    data = 3 + 0.3 * shapes[kind] * rng.uniform(0.7, 1.3, (n, *[1] * len(box))) + noise * rng.standard_normal((n, *box))
    return np.clip(data, 0.01, None).astype(np.float32), kind


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def coordinates(name):
    with open_stack(name) as stack:
        return read_coordinates(stack, 0, stack.objects)


def close(found, expected, tol):
    """Columns agree up to `tol` of their own size."""
    assert np.abs(found - expected).max(0) == pytest.approx(0, abs=tol * expected.std(0).max())


@pytest.mark.parametrize("many", [0, 1 << 26], ids=["compiled", "numpy"])
@pytest.mark.parametrize("solver", ["covariance", "gram", "krylov"])
@pytest.mark.parametrize("metric", ["euclidean", "chi-square", "modulation"])
def test_metrics_and_solvers_against_the_naive_table(place, metric, solver, many, monkeypatch):
    monkeypatch.setattr(rows, "MANY", many)
    x, _ = images()
    write_stack("a", x)
    values, vectors, expected, trace = msa(x.reshape(len(x), -1), metric, 6)
    done = msa_run("a", "root", "b", eigenimages=6, metric=metric, solver=solver, threads=2)
    d = done.document
    assert d["eigenvalues"] == pytest.approx(values, rel=1e-5)
    assert d["total_variance"] == pytest.approx(trace, rel=1e-6)
    assert d["percent"] == pytest.approx(100 * values / trace, rel=1e-5)
    assert d["check"] < 1e-5
    assert d["noise"]["factors"] == 4  # five patterns around their mean
    close(coordinates("b")[:, :4], expected[:, :4], 5e-4)
    eigenimages, heads = read_stack("root")
    close(eigenimages.reshape(6, -1)[:4].T, vectors[:, :4], 5e-4)
    assert heads["COOSMSA"][:, 19] == pytest.approx(values, rel=1e-5)  # word 150
    assert np.loadtxt("root.plt")[:, 1] == pytest.approx(values, rel=1e-5)
    assert read_stack("root_mean")[0][0] == pytest.approx(x.mean(0) if metric != "chi-square" else x.mean(0) / x.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("objects", "box", "way"),
    [
        (20000, (1, 64, 64), "covariance"),
        (20000, (1, 128, 128), "krylov"),
        (3000, (1, 128, 128), "gram"),
        (3000, (1, 256, 256), "krylov"),
        (500, (64, 64, 64), "gram"),
    ],
)
def test_the_way_to_solve_follows_the_sizes(objects, box, way):
    space = SimpleNamespace(size=int(np.prod(box)), shape=box, rings=None)
    assert solve.choose(SimpleNamespace(objects=objects, space=space), objects) == way


def test_large_masks_by_krylov_against_the_exact_way(place, monkeypatch):
    """Where auto takes krylov, eigenvalues are those of the exact way, and the coordinates agree with them."""
    x, _ = images(900, (40, 36), patterns=12, noise=0.6)
    write_stack("a", x)
    exact = msa_run("a", "exact", "b", eigenimages=8, mask_radius=0.95, solver="covariance").document
    monkeypatch.setattr(solve, "MOST_PIXELS", 500)
    monkeypatch.setattr(solve, "MOST_OBJECTS", 500)
    found = msa_run("a", "root", "c", eigenimages=8, mask_radius=0.95, threads=2).document
    assert (exact["solver"], found["solver"]) == ("covariance", "krylov")
    assert found["eigenvalues"] == pytest.approx(exact["eigenvalues"], rel=1e-5)
    assert found["total_variance"] == pytest.approx(exact["total_variance"], rel=1e-7)
    assert found["check"] < 1e-5 and found["notes"] == []
    close(coordinates("c").astype(float), coordinates("b").astype(float), 2e-3)


def test_krylov_says_when_it_needs_more_passes(place):
    write_stack("a", np.random.default_rng(0).standard_normal((3000, 24, 24)).astype(np.float32))
    done = msa_run("a", "root", eigenimages=8, solver="krylov", passes=2)
    (note,) = done.document["notes"]
    assert re.match(r"\d factors have not converged after 3 passes: give more --passes, or fewer eigenimages", note)
    assert f"  {note}" in done.lines()


def test_words_of_the_headers(place):
    x, _ = images()
    write_stack("a", x)
    msa_run("a", "root", eigenimages=5, metric="euclidean")
    _, h = read_stack("a")
    y = x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(0, dtype=np.float64)
    c = coordinates("a")
    assert c.shape == (120, 5)
    assert (h["NUMEIGEN"] == 5).all() and (h["NIACTIVE"] == 120).all() and (h["NMETRIC"] == 1).all() and (h["ACTMSA"] == 1).all()
    assert h["CMTOTVAR"] == pytest.approx((y**2).sum(1), rel=1e-5)
    assert h["REPQUAL"] == pytest.approx((c.astype(float) ** 2).sum(1) / (y**2).sum(1), rel=1e-5)
    assert (h["COOSMSA"][:, 5:] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_more_than_69_factors_go_to_further_records(place, dtype):
    x, _ = images()
    write_stack("a", np.rint(20 * x).astype(dtype))
    msa_run("a", "root", "b", eigenimages=100, metric="euclidean")
    assert records_for(100) == 2
    with open_stack("b") as stack:
        assert stack.nblocks == 2
        all_ = read_coordinates(stack, 3, 50)
        assert all_.shape == (47, 100)
        assert np.array_equal(all_[:, :69], stack.headers(3, 50)["COOSMSA"])
        assert np.array_equal(read_coordinates(stack, 3, 50, 7), all_[:, :7])
        assert np.array_equal(stack.read(0, 9), read_stack("a")[0][:9])
        with pytest.raises(InputError, match="along 100 factors"):
            read_coordinates(stack, 0, 1, 101)
    expected = msa(read_stack("a")[0].reshape(120, -1), "euclidean", 100)[0]
    values = json.loads((place / "root.json").read_text())["eigenvalues"]
    assert values == pytest.approx(expected, rel=1e-5)
    msa_run("b", "root", eigenimages=4, metric="euclidean", overwrite=True)  # fewer again: the first record decides
    with open_stack("b") as stack:
        assert read_coordinates(stack, 0, 5).shape == (5, 4)


def test_inactive_images_get_coordinates_but_do_not_count(place):
    x, _ = images()
    x[::7] += 5 * np.random.default_rng(3).standard_normal((18, *BOX)).astype(np.float32)
    write_stack("a", x)
    _, h = read_stack("a")
    h["ACTIVE"][::7] = -1
    h["ACTIVE"][1::7] = 1
    replace_headers("a", h)
    use = active(h)
    assert use.sum() == 102
    done = msa_run("a", "root", eigenimages=4, metric="modulation")
    values, _, expected, _ = msa(x[use].reshape(102, -1), "modulation", 4)
    assert done.document["eigenvalues"] == pytest.approx(values, rel=1e-5)
    assert done.document["active"] == 102 and "18 inactive" in done.document["notes"][0]
    close(coordinates("a")[use], expected, 1e-4)
    _, h = read_stack("a")
    assert np.array_equal(h["ACTMSA"] > 0, use)
    assert (np.abs(coordinates("a")[~use]).max(1) > 0).all()


@pytest.mark.parametrize("solver", ["covariance", "krylov"])
def test_constant_images_and_dead_pixels(place, solver):
    x, _ = images()
    x[5] = 3.0
    x[:, 0, :] = 0.0
    x[5, 0] = 3.0
    write_stack("a", x)
    done = msa_run("a", "root", eigenimages=4, metric="modulation", solver=solver)
    keep = np.arange(len(x)) != 5
    values, *_ = msa(x[keep].reshape(len(x) - 1, -1), "modulation", 4)
    assert done.document["eigenvalues"] == pytest.approx(values, rel=1e-5)
    assert done.document["notes"] == ["1 constant under the mask: they do not count", "15 pixels that never vary are left out"]
    assert np.isfinite(coordinates("a")).all()


def test_masks(place):
    x, _ = images(box=(14, 14))
    write_stack("a", x)
    mask = np.zeros((1, 14, 14), np.float32)
    mask[0, 3:11, 2:9] = 1
    write_stack("mask", mask)
    inside = mask[0] > 0.5
    i, j = np.indices((14, 14)) - 7
    for opts, use in (
        ({"mask": "mask"}, inside),
        ({"mask_radius": 5.0}, i**2 + j**2 <= 25),
        ({"mask": "mask", "mask_radius": 0.5}, inside & (i**2 + j**2 <= 3.5**2)),
    ):
        done = msa_run("a", "root", eigenimages=4, metric="euclidean", overwrite=True, **opts)
        assert done.document["pixels"] == use.sum()
        assert done.document["eigenvalues"] == pytest.approx(msa(x[:, use], "euclidean", 4)[0], rel=1e-5)
        eigenimages, _ = read_stack("root")
        assert (eigenimages[:, ~use] == 0).all()
        assert np.array_equal(read_stack("root_mean")[0][2] > 0, use)


@pytest.mark.parametrize("n", [14, 200])
@pytest.mark.parametrize("metric", ["modulation", "chi-square"])
def test_volumes(place, n, metric):
    x, _ = images(n, (5, 6, 7), patterns=3)
    write_stack("v", x)
    done = msa_run("v", "root", "w", eigenimages=3, metric=metric, mask_radius=0.9)
    i, j, k = np.indices((5, 6, 7)) - np.array([2, 3, 3])[:, None, None, None]
    use = i**2 + j**2 + k**2 <= 2.7**2
    values, _, expected, _ = msa(x[:, use], metric, 3)
    assert done.document["solver"] == ("gram" if n == 14 else "covariance")
    assert done.document["eigenvalues"] == pytest.approx(values, rel=1e-5)
    close(coordinates("w"), expected, 1e-3)
    with open_stack("w") as stack:
        assert stack.shape == (n, 5, 6, 7)
        h = stack.headers()
        assert np.array_equal(h["COOSMSA"].reshape(n, 5, 69)[:, 0], h["COOSMSA"].reshape(n, 5, 69)[:, 4])
    with open_stack("root") as stack:
        assert stack.shape == (3, 5, 6, 7)


def test_reuse_gives_the_same_coordinates(place):
    x, _ = images()
    write_stack("a", x)
    msa_run("a", "root", eigenimages=5, metric="chi-square", mask_radius=0.8)
    write_stack("part", x[30:50])
    done = msa_run("part", "again", reuse="root")
    assert coordinates("part") == pytest.approx(coordinates("a")[30:50], rel=1e-5, abs=1e-9)
    assert done.document["metric"] == "chi-square" and len(done.document["variances"]) == 5
    assert model.load("again").document["eigenvalues"] == model.load("root").document["eigenvalues"]
    write_stack("b", x[:, :-1])
    with pytest.raises(MismatchError, match=r"12 x 15; b.hed has 11 x 15"):
        msa_run("b", "other", reuse="root")
    with pytest.raises(UsageError, match="brings its own mask"):
        msa_run("part", "other", reuse="root", mask_radius=3.0)
    with pytest.raises(InputError, match=r"nothing.json: not found"):
        msa_run("part", "other", reuse="nothing")


def test_far_outliers_make_the_sums_again(place):
    """A sum beyond the room left for it is noticed, and made again with more."""
    x, _ = images(1000)
    x[211] *= 1e6
    write_stack("a", x)
    done = msa_run("a", "root", eigenimages=3, metric="euclidean", solver="covariance")
    assert done.document["eigenvalues"][:1] == pytest.approx(msa(x.reshape(1000, -1), "euclidean", 1)[0], rel=1e-5)
    assert done.document["passes"] == 2


def test_mrc_input_needs_an_output(place):
    x, _ = images(30)
    write_stack("a.mrcs", x)
    with pytest.raises(OutputError, match="has no room for coordinates"):
        msa_run("a.mrcs", "root", eigenimages=3)
    with pytest.raises(OutputError, match="a name ending in"):
        msa_run("a.mrcs", "root", "b.mrcs", eigenimages=3)
    msa_run("a.mrcs", "root", "b", eigenimages=3)
    assert coordinates("b").shape == (30, 3)
    assert np.array_equal(read_stack("b")[0], x)


@pytest.mark.parametrize(
    ("opts", "what", "error"),
    [
        ({"eigenimages": 120}, "120 active images of 180 pixels have 119 factors at most.*use --eigenimages 119", MismatchError),
        ({"mask": "small"}, r"holds 1 image of 6 x 6; one mask of 12 x 15 is needed", MismatchError),
        ({"mask": "zero"}, "the mask is empty", InputError),
        ({"mask": "a"}, "holds 120 images of 12 x 15; one mask of", MismatchError),
        ({"invariant": "rotation", "mask": "zero"}, "leave out --mask", UsageError),
    ],
)
def test_options_that_do_not_fit(place, opts, what, error):
    write_stack("a", images()[0])
    write_stack("small", np.ones((1, 6, 6), np.float32))
    write_stack("zero", np.zeros((1, *BOX), np.float32))
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    with pytest.raises(error, match=what):
        msa_run("a", "root", **opts)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before


@pytest.mark.parametrize("solver", ["covariance", "gram", "krylov"])
def test_densities_that_do_not_fit(place, solver):
    x, _ = images()
    write_stack("a", x)
    for name, value in (("nan", np.nan), ("inf", np.inf), ("negative", -0.25)):
        write_stack(name, x)
        raw = np.memmap(place / f"{name}.img", np.float32, "r+").reshape(x.shape)  # the writer has its own view of these
        raw[77, 3, 4] = value
        raw.flush()
    write_stack("same", np.repeat(x[:1], 40, axis=0))
    write_stack("flat", np.full((40, *BOX), 2.0, np.float32))
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    for name in ("nan", "inf"):
        with pytest.raises(InputError, match=rf"{name}.hed: image 78 holds NaN or infinite densities"):
            msa_run(name, "root", eigenimages=3, solver=solver)
    with pytest.raises(InputError, match=r"image 78 has negative densities .*-0.25.*use --metric modulation"):
        msa_run("negative", "root", eigenimages=3, metric="chi-square", solver=solver)
    with pytest.raises(InputError, match="all the same"):
        msa_run("same", "root", eigenimages=3, solver=solver)
    with pytest.raises(InputError, match=r"constant under the mask|0 active objects vary"):
        msa_run("flat", "root", eigenimages=3, solver=solver)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before


def test_an_interrupted_run_changes_nothing(place, monkeypatch):
    write_stack("a", images()[0])
    before = {p.name: p.read_bytes() for p in place.iterdir()}

    def stop(done, total):
        if stop.calls:
            raise KeyboardInterrupt
        stop.calls += 1

    stop.calls = 0
    with pytest.raises(KeyboardInterrupt):
        msa_run("a", "root", eigenimages=3, progress=stop)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before


def test_results_that_cannot_be_written_leave_the_headers_alone(place, monkeypatch):
    write_stack("a", images()[0])
    before = {p.name: p.read_bytes() for p in place.iterdir()}

    def full(*args, **kwargs):
        raise OutputError("root.img: cannot be written: No space left on device")

    monkeypatch.setattr("imagic4d_core.jobs.msa.run.files.save", full)
    with pytest.raises(OutputError):
        msa_run("a", "root", eigenimages=3)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before


def test_shifts_that_wait_are_mentioned(place):
    from imagic4d_core.geometry.poses import Poses

    write_stack("a", images()[0])
    h = read_stack("a")[1]
    poses = Poses.from_headers(h)
    poses.shift[:7] = 1.5
    replace_headers("a", poses.into_headers(h))
    notes = msa_run("a", "root", eigenimages=3).document["notes"]
    assert notes == ["7 have shifts that wait in words 80 and 81; they are not applied"]


def test_root_must_not_be_the_input(place):
    write_stack("a", images()[0])
    with pytest.raises(OutputError, match="is the input"):
        msa_run("a", "a", overwrite=True)
    write_stack("root_mean", images()[0])
    with pytest.raises(OutputError, match=r"root_mean.*exists already"):
        msa_run("a", "root")


def test_files_without_coordinates_say_so(place):
    write_stack("a", images(9)[0])
    with open_stack("a") as stack, pytest.raises(InputError, match="holds no MSA coordinates"):
        read_coordinates(stack, 0, 3)


@pytest.mark.parametrize("invariant", ["rotation", "rotation-shift"])
def test_invariant_numbers_do_not_know_the_rotation(place, invariant):
    from imagic4d_core.msa.features import RingSpectra

    x = np.zeros((1, 40, 40), np.float32)
    i, j = np.indices((40, 40)) - 20.0
    for a, b, s in ((5, 3, 2.5), (-6, 2, 3.0), (1, -7, 2.0)):
        x[0] += np.exp(-((i - a) ** 2 + (j - b) ** 2) / (2 * s * s))
    quarter = np.zeros_like(x)
    quarter[0, 1:, 1:] = np.rot90(x[0, 1:, 1:])  # about the centre 20, 20 of an even box
    other = np.zeros_like(x)
    for a, b, s in ((5, 3, 2.5), (6, -2, 3.0), (1, -7, 2.0)):
        other[0] += np.exp(-((i - a) ** 2 + (j - b) ** 2) / (2 * s * s))
    spectra = RingSpectra(40, 40, 18, invariant == "rotation-shift")
    moved = np.roll(quarter, (3, -2), (1, 2)) if invariant == "rotation-shift" else quarter
    one, two, three = spectra(x), spectra(moved), spectra(other)
    assert np.linalg.norm(one - two) < 0.02 * np.linalg.norm(one)
    assert np.linalg.norm(one - three) > 10 * np.linalg.norm(one - two)


def test_invariant_run_separates_classes_that_are_not_aligned(place):
    rng = np.random.default_rng(5)
    kind = rng.integers(0, 2, 150)
    i, j = np.indices((32, 32)) - 16.0
    data = []
    for k in kind:
        a = rng.uniform(0, 2 * np.pi)
        x, y = np.cos(a) * i + np.sin(a) * j, np.cos(a) * j - np.sin(a) * i
        arms = 3 if k else 2
        r, t = np.hypot(x, y), np.arctan2(y, x)
        data.append(np.exp(-((r - 9) ** 2) / 8) * (1 + np.cos(arms * t)))
    data = np.array(data, np.float32) + 0.4 * rng.standard_normal((150, 32, 32)).astype(np.float32)
    write_stack("a", data)
    msa_run("a", "plain", eigenimages=4, metric="euclidean")
    before = coordinates("a")[:, 0]
    done = msa_run("a", "root", eigenimages=4, metric="euclidean", invariant="rotation")
    after = coordinates("a")[:, 0]

    def apart(v):
        return abs(v[kind == 1].mean() - v[kind == 0].mean()) / (v[kind == 1].std() + v[kind == 0].std())

    assert apart(after) > 3 > 0.5 > apart(before)
    assert read_stack("root")[0].shape[1:] == model.load("root").space.shape[1:]
    write_stack("more", data[:20])
    msa_run("more", "again", reuse="root")
    assert coordinates("more") == pytest.approx(coordinates("a")[:20], rel=1e-4, abs=1e-6)
    assert done.document["invariant"] == "rotation"


@pytest.mark.parametrize("many", [0, 1 << 26], ids=["compiled", "numpy"])
def test_threads_do_not_change_the_bytes(place, monkeypatch, many):
    monkeypatch.setattr(rows, "MANY", many)
    monkeypatch.setattr(solve, "BLOCK", 32)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    write_stack("a", images(200)[0])
    for solver in ("covariance", "krylov", "gram"):
        made = []
        for threads in (1, 3):
            msa_run("a", "root", "b", eigenimages=5, solver=solver, threads=threads, overwrite=True, comm=SERIAL)
            made.append([(place / n).read_bytes() for n in ("root.hed", "root.img", "root_mean.img", "root.json", "b.hed")])
        assert made[0] == made[1]


def test_real_class_averages_and_states(place, shared_data):
    """Factors above the noise are of the particle (looked at in docs/msa.md), and four states have three factors."""
    averages = np.concatenate([read_stack(shared_data / "classes" / "nup82" / f"{k}.spi")[0] for k in range(23)])
    write_stack("averages", averages)
    found = msa_run("averages", "root", eigenimages=7, metric="euclidean", mask_radius=0.9).document
    assert found["noise"]["factors"] == 3 and sum(found["percent"][:3]) == pytest.approx(51.6, abs=0.2)
    r = np.hypot(*np.indices((112, 112)) - 56)
    power = np.square(read_stack("root")[0][:3])
    assert (power[:, r < 36].sum(1) / power.sum((1, 2)) > 0.8).all()

    states = np.stack([read_stack(shared_data / "maps" / "flatiron_states" / f"{k}.mrc")[0] for k in (1, 2, 3, 4)])
    states = states.reshape(4, *states.shape[-3:])
    write_stack("states", states)
    found = msa_run("states", "volumes", eigenimages=3, metric="euclidean").document
    u, s, _ = np.linalg.svd((states - states.mean(0)).reshape(4, -1).astype(float), full_matrices=False)
    assert found["eigenvalues"] == pytest.approx(s[:3] ** 2 / 4, rel=1e-5) and sum(found["percent"]) == pytest.approx(100)
    np.testing.assert_allclose(np.abs(coordinates("states")), np.abs(u * s)[:, :3], atol=1e-4 * s[0])
