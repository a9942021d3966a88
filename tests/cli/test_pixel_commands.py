"""arithmetic, two-images, norm-variance, filter, incore, test-image and their twins through the command line."""

import hashlib
import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import create_stack, open_stack, read_stack, write_stack
from imagic4d_core.masks.shapes import round_mask

RELION = shutil.which("relion_image_handler")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a stack of images with poses, and one of volumes; neither square."""
    monkeypatch.chdir(tmp_path)
    write_stack("images.hed", noise(7, 20, 25) + 2, pixel_size=3.0)
    data, headers = read_stack("images.hed")
    poses = Poses.blank(7)
    poses.alpha, poses.beta, poses.gamma = np.arange(7) * 10.0, np.arange(7) * 5.0 + 1, np.arange(7) * 3.0
    poses.ref3d[:] = 2
    poses.shift[:] = [0.5, -1.5]
    write_stack("images.hed", data, poses.into_headers(headers), overwrite=True, pixel_size=3.0)
    write_stack("volumes.hed", noise(3, 10, 12, 14, seed=1), pixel_size=2.0)
    write_stack("mask.hed", round_mask((20, 25), 7, 2)[None])
    return tmp_path


def digest(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


EACH = {
    "arithmetic": ["--expr", "a * r + i"],
    "filter": ["--low-pass", "0.4", "--high-pass", "0.1"],
    "norm-variance": ["--region", "soft", "--mask-radius", "0.6"],
    "incore": ["--mode", "gradient"],
}
TWINS = {"arithmetic": "threed-arithmetic", "filter": "filter", "norm-variance": "threed-norm-variance", "incore": "threed-menu"}


@pytest.mark.parametrize("name", EACH)
def test_headers_travel_and_statistics_are_set(name, im4d, place):
    im4d(name, "images.hed", "out.hed", *EACH[name], "--loc", "2-5")
    (_, before), (data, after) = read_stack("images.hed"), read_stack("out.hed")
    assert data.shape == (4, 20, 25)
    kept = [w for w in after.dtype.names if w not in ("IMN", "IFOL", "I4LP", "AVDENS", "SIGMA", "DENSMAX", "DENSMIN", "HISTORY")]
    for word in kept:
        np.testing.assert_array_equal(after[word], before[word][1:5], err_msg=word)
    assert after["IMN"].tolist() == [1, 2, 3, 4] and after["IFOL"][0] == 3 and after["I4LP"][0] == 4
    np.testing.assert_allclose(after["AVDENS"], data.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(after["SIGMA"], data.std((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(after["DENSMAX"], data.max((1, 2)))
    assert after["PIXSIZE"][0] == 3 and all(b"im4d" in h for h in after["HISTORY"])


@pytest.mark.parametrize("name", EACH)
def test_volumes_stay_volumes(name, im4d, place):
    args = [a.replace("a * r + i", "a * r + i + mean") for a in EACH[name]]
    im4d(TWINS[name], "volumes.hed", "out.hed", *args)
    with open_stack("out.hed") as out:
        assert out.shape == (3, 10, 12, 14) and out.is_volumes and out.pixel_size == 2


def test_images_of_a_stack_are_sections_of_a_volume(im4d, place):
    """What works pixel by pixel, or image by image, is the same on a stack and on the sections of volumes."""
    volumes, _ = read_stack("volumes.hed")
    write_stack("flat.hed", volumes.reshape(-1, 12, 14), pixel_size=2.0)
    for name in EACH:
        im4d(name, "flat.hed", f"{name}_flat.hed", *EACH[name])
        im4d(name if name != "filter" else "arithmetic", "volumes.hed", f"{name}_v.hed",
             *(EACH[name] if name != "filter" else ["--expr", "a"]))  # fmt: skip
        flat, solid = read_stack(f"{name}_flat.hed")[0], read_stack(f"{name}_v.hed")[0]
        assert solid.shape == volumes.shape
        if name != "filter":
            np.testing.assert_array_equal(solid.reshape(flat.shape), flat)
    for operation, value in (("multiply", "1.5"), ("threshold-above", "0.3"), ("binary", "0.1")):
        im4d("arithmetic", "flat.hed", "a.hed", "--operation", operation, "--value", value, "--overwrite")
        im4d("threed-arithmetic", "volumes.hed", "b.hed", "--operation", operation, "--value", value, "--overwrite")
        np.testing.assert_array_equal(read_stack("b.hed")[0].reshape(-1, 12, 14), read_stack("a.hed")[0])


@pytest.mark.parametrize("expr", ["a*z + x - y", "where(z > 0, a, i)", "a - mean", "7"])
def test_formulas_on_volumes(expr, im4d, place):
    im4d("threed-arithmetic", "volumes.hed", "out.hed", "--expr", expr, "--loc", "2-3")
    a = read_stack("volumes.hed")[0][1:].astype(np.float64)
    z, x, y = np.meshgrid(*[np.arange(n) - n // 2 for n in a.shape[1:]], indexing="ij")
    names = {"a": a, "x": x, "y": y, "z": z, "i": np.arange(2, 4)[:, None, None, None], "where": np.where,
             "mean": a.mean((1, 2, 3), keepdims=True)}  # fmt: skip
    np.testing.assert_allclose(read_stack("out.hed")[0], np.broadcast_to(eval(expr, names), a.shape), atol=1e-5)


def test_mirror_keeps_poses_right(im4d, place):
    """Mirrored twice is as before, in densities, Euler angles, shifts and moves; once: seen from behind."""
    for axis in "xy":
        im4d("arithmetic", "images.hed", "once.hed", "--operation", "MIRROR", "--axis", axis, "--overwrite")
        im4d("arithmetic", "once.hed", "twice.hed", "--operation", "MIRROR", "--axis", axis, "--overwrite")
        (a, h), (b, once), (c, twice) = (read_stack(f"{n}.hed") for n in ("images", "once", "twice"))
        np.testing.assert_array_equal(a, c)
        # 20 lines: the first has no partner; 25 pixels: all have
        np.testing.assert_array_equal(b, np.concatenate([a[:, :1], a[:, :0:-1]], 1) if axis == "x" else a[:, :, ::-1])
        p, q, r = (Poses.from_headers(x) for x in (h, once, twice))
        np.testing.assert_allclose(r.matrices(), p.matrices(), atol=1e-5)
        np.testing.assert_allclose(r.shift, p.shift, atol=1e-5)
        flip = np.diag([1.0, -1.0, -1.0] if axis == "y" else [-1.0, 1.0, -1.0])
        np.testing.assert_allclose(q.matrices(), flip @ p.matrices(), atol=1e-5)
        np.testing.assert_allclose(q.shift, p.shift * (np.array([1, -1]) if axis == "y" else np.array([-1, 1])), atol=1e-5)
        assert once["MIRRORED"].all() and not twice["MIRRORED"].any()


def test_masks(im4d, place):
    im4d("arithmetic", "images.hed", "a.hed", "--operation", "CIRC_MASK", "--mask-radius", "0.5")
    im4d("arithmetic", "images.hed", "b.hed", "--operation", "soft", "--mask-radius", "7", "--falloff", "2", "--outside", "mean")
    im4d("arithmetic", "images.hed", "c.hed", "--operation", "mask", "--mask", "mask.hed")
    im4d("two-images", "images.hed", "mask.hed", "d.hed", "--operation", "multiply")
    a = read_stack("images.hed")[0]
    np.testing.assert_array_equal(read_stack("a.hed")[0], a * round_mask((20, 25), 5))
    np.testing.assert_array_equal(read_stack("c.hed")[0], read_stack("d.hed")[0])
    m = round_mask((20, 25), 7, 2)
    level = a[:, m < 0.5].mean(1)[:, None, None]
    np.testing.assert_allclose(read_stack("b.hed")[0], level + (a - level) * m, atol=1e-5)


def test_two_images_and_comparisons(im4d, place):
    im4d("two-images", "images.hed,2,7", "images.hed,1", "out.hed", "--operation", "subtract")
    a = read_stack("images.hed")[0]
    np.testing.assert_allclose(read_stack("out.hed")[0], a[1:] - a[0], atol=1e-6)
    im4d("arithmetic", "images.hed", "scaled.hed", "--expr", "3*a - 2")
    done = im4d("two-images", "images.hed", "scaled.hed", "zero.hed", "--operation", "subtract", "--fit", "--json").json
    assert done["values"]["scale of the second"] == pytest.approx(1 / 3, abs=1e-5)
    assert np.abs(read_stack("zero.hed")[0]).max() < 1e-4
    done = im4d("two-images", "images.hed", "scaled.hed", "ccc.hed", "--operation", "correlation", "--json").json
    np.testing.assert_allclose(done["values"], 1, atol=1e-6)
    data, h = read_stack("ccc.hed")
    np.testing.assert_array_equal(data, a)
    np.testing.assert_allclose(h["CCC"], 1, atol=1e-6)
    done = im4d("threed-two-volumes", "volumes.hed", "volumes.hed,1", "--operation", "phase-residual").stdout
    assert "phase-residual: mean" in done
    im4d("threed-two-volumes", "volumes.hed", "volumes.hed,1", "sum.hed", "--operation", "add")
    v = read_stack("volumes.hed")[0]
    np.testing.assert_allclose(read_stack("sum.hed")[0], v + v[0], atol=1e-6)


@pytest.mark.parametrize("lines", [8, 9])
def test_two_files_of_any_format(im4d, tmp_path, monkeypatch, lines):
    """From MRC to MRC no line is turned; what comes out is the same."""
    monkeypatch.chdir(tmp_path)
    a, b = noise(5, 4, lines, 7), noise(5, 4, lines, 7, seed=1)
    for name, data in (("a", a), ("b", b), ("one", b[:1]), ("alone", a[:1])):
        for end in ("hed", "mrc"):
            write_stack(f"{name}.{end}", data, pixel_size=1.0)
    cases = [("a", "b", a - b), ("a", "one", a - b[0]), ("alone", "one", a[:1] - b[:1])]
    for pre, images in (("two-images", True), ("threed-two-volumes", False)):
        for k, (first, second, expected) in enumerate(cases):
            if images and second == "one" and first == "a":
                continue  # four sections for twenty
            for ends in ("hed hed hed", "mrc mrc mrc", "mrc hed mrc", "hed mrc mrc", "mrc mrc hed"):
                x, y, z = ends.split()
                out = f"{pre}{k}{x}{y}.{z}"
                im4d(pre, f"{first}.{x}", f"{second}.{y}", out, "--operation", "subtract")
                np.testing.assert_array_equal(read_stack(out)[0].reshape(expected.shape), expected)


def test_norm_variance(im4d, place):
    im4d("norm-variance", "images.hed", "n.hed")
    data, h = read_stack("n.hed")
    np.testing.assert_allclose(data.mean((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(h["SIGMA"], 10, rtol=1e-5)
    write_stack("flat.hed", np.ones((3, 8, 8), np.float32))
    done = im4d("norm-variance", "flat.hed", "m.hed", "--json").json
    assert list(done["values"].values()) == [3]
    data, h = read_stack("m.hed")
    assert (h["ACTIVE"] == -1).all() and not data.any()
    im4d("threed-norm-variance", "volumes.hed", "v.hed", "--sigma", "1", "--region", "circular", "--mask-radius", "0.8")
    v, inside = read_stack("v.hed")[0], round_mask((10, 12, 14), 4) > 0
    np.testing.assert_allclose(v[:, inside].std(1), 1, rtol=1e-4)


def test_filter_takes_angstrom_and_decides_by_the_file(im4d, place):
    im4d("filter", "images.hed", "a.hed", "--low-pass", "15A")
    im4d("filter", "images.hed", "b.hed", "--low-pass", "0.4")
    np.testing.assert_array_equal(read_stack("a.hed")[0], read_stack("b.hed")[0])
    im4d("threed-filter", "volumes.hed", "c.hed", "--low-pass", "0.4")
    v = read_stack("volumes.hed")[0]
    k = [np.fft.fftfreq(n) for n in v.shape[1:]]
    f = 2 * np.sqrt(k[0][:, None, None] ** 2 + k[1][:, None] ** 2 + k[2] ** 2)
    expected = np.fft.ifftn(np.fft.fftn(v, axes=(1, 2, 3)) * np.exp(-np.log(2) * (f / 0.4) ** 2), axes=(1, 2, 3)).real
    np.testing.assert_allclose(read_stack("c.hed")[0], expected, atol=1e-5)
    im4d("filter", "images.hed", "d.hed", "--high-pass", "0.2", "--remaining", "0.25")
    np.testing.assert_allclose(read_stack("d.hed")[0].mean((1, 2)), 0.25 * read_stack("images.hed")[0].mean((1, 2)), atol=1e-5)


def test_fourier_space_and_back(im4d, place):
    for name, file, box in (("incore", "images.hed", (20, 25)), ("threed-menu", "volumes.hed", (10, 12, 14))):
        im4d(name, file, "f.hed", "--mode", "FFT", "--overwrite")
        with open_stack("f.hed") as f:
            assert f.is_complex and f.layout.type_word == "COMP"
        im4d(name, "f.hed", "back.hed", "--mode", "back-transform", "--overwrite")
        np.testing.assert_allclose(read_stack("back.hed")[0], read_stack(file)[0], atol=1e-5)
        # complex files take what makes sense: twice the transform is the transform of twice the image
        word = "arithmetic" if name == "incore" else "threed-arithmetic"
        im4d(word, "f.hed", "f2.hed", "--operation", "multiply", "--value", "2", "--overwrite")
        im4d(name, "f2.hed", "back2.hed", "--mode", "back-transform", "--overwrite")
        np.testing.assert_allclose(read_stack("back2.hed")[0], 2 * read_stack(file)[0], atol=1e-5)
        im4d(word, "f.hed", "abs.hed", "--operation", "abs", "--overwrite")
        im4d(name, file, "amp.hed", "--mode", "amplitude", "--overwrite")
        np.testing.assert_allclose(read_stack("abs.hed")[0], read_stack("amp.hed")[0], atol=1e-5)
        im4d(word, "f.hed", "g.hed", "--operation", "sqrt", code=3)
        assert read_stack("amp.hed")[0].shape[1:] == box


def test_curves_averages_and_lists(im4d, place):
    im4d("incore", "images.hed", "curve.hed", "--mode", "power-curve")
    data, h = read_stack("curve.hed")
    assert data.shape == (7, 1, 11)
    # largest wave number and step, 1/angstrom
    np.testing.assert_allclose(h["SINOSTRT"], 10 / 60)
    np.testing.assert_allclose(h["SINOEND"], 1 / 60)
    # a spectrum of one line is an image like any other
    im4d("arithmetic", "curve.hed", "log.hed", "--expr", "log10(a)")
    im4d("filter", "curve.hed", "smooth.hed", "--low-pass", "0.5")
    assert read_stack("smooth.hed")[0].shape == (7, 1, 11)
    a = read_stack("images.hed")[0].astype(np.float64)
    im4d("incore", "images.hed", "mean.hed", "--mode", "average")
    im4d("incore", "images.hed", "var.hed", "--mode", "variance")
    data, h = read_stack("mean.hed")
    np.testing.assert_allclose(data[0], a.mean(0), atol=1e-6)
    assert h["NALISUM"][0] == 7
    np.testing.assert_allclose(read_stack("var.hed")[0][0], a.var(0), rtol=1e-5)
    done = im4d("incore", "images.hed", "--mode", "histogram", "--bins", "7", "--json").json
    assert done["counts"] == np.histogram(a, np.linspace(a.min(), a.max(), 8))[0].tolist()
    done = im4d("incore", "images.hed", "--mode", "statistics", "--json").json
    np.testing.assert_allclose([row["sigma"] for row in done["objects"]], a.std((1, 2)), rtol=1e-5)
    im4d("incore", "images.hed", "ccf.hed", "--mode", "CCF", "--second", "images.hed,3")
    done = im4d("incore", "ccf.hed", "peaks.plt", "--mode", "peaks", "--number", "1", "--json").json
    third = done["peaks"][2]
    assert third["location"] == 3 and abs(third["x"]) < 1e-3 and third["height"] == pytest.approx(1, abs=1e-5)
    assert np.loadtxt("peaks.plt").shape == (7, 4)
    im4d("threed-menu", "volumes.hed", "sym.hed", "--mode", "symmetrise", "--symmetry", "C2")
    v = read_stack("sym.hed")[0]
    np.testing.assert_allclose(v[:, :, 1:, 1:], v[:, :, :0:-1, :0:-1], atol=1e-4)


def test_test_images(im4d, place):
    im4d("test-image-creation", "d.hed", "--size", "30,40", "--pattern", "disc", "--radius", "0.5", "--number", "2")
    np.testing.assert_array_equal(read_stack("d.hed")[0], np.stack([round_mask((30, 40), 7.5)] * 2))
    im4d("threed-test", "g.mrc", "--size", "12,14,10", "--pattern", "gaussian", "--radius", "2", "--pixel-size", "1.5")
    with open_stack("g.mrc") as g:
        assert g.shape == (1, 10, 12, 14) and g.pixel_size == 1.5
    im4d("test-image", "n.hed", "--size", "16", "--pattern", "noise", "--number", "3", "--seed", "5")
    im4d("test-image", "n5.hed", "--size", "16", "--pattern", "noise", "--number", "5", "--seed", "5")
    np.testing.assert_array_equal(read_stack("n5.hed")[0][:3], read_stack("n.hed")[0])


def test_map_of_a_model_lies_on_it(im4d, place, shared_data):
    model = shared_data / "models" / "2A73.pdb"
    done = im4d("threed-test", "m.mrc", "--pattern", "model", "--model", model, "--resolution", "20A", "--size", "40",
                "--pixel-size", "5", "--json").json  # fmt: skip
    assert done["values"]["atoms"] > 1000
    import gemmi

    with mrcfile.open("m.mrc") as m:
        data, origin = np.array(m.data), np.array([m.header.origin.x, m.header.origin.y, m.header.origin.z])
    structure = gemmi.read_structure(str(model))
    structure.setup_entities()
    structure.remove_waters()
    total = np.zeros(3)
    mass = 0.0
    for chain in structure[0]:
        for residue in chain:
            for atom in residue:
                total += np.array(atom.pos.tolist()) * atom.occ * atom.element.weight
                mass += atom.occ * atom.element.weight
    grid = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"))[::-1]  # x, y, z
    found = (data * grid).sum((1, 2, 3)) / data.sum() * 5 + origin
    np.testing.assert_allclose(found, total / mass, atol=0.5)


def test_maps_stay_where_they_are(im4d, place):
    """ORIGIN of an MRC file follows the box: the centre of mass lies at one place in angstrom, whatever was done."""
    rng = np.random.default_rng(1)
    z, x, y = np.meshgrid(*[np.arange(n) for n in (30, 32, 36)], indexing="ij")
    blob = sum(np.exp(-((z - a) ** 2 + (x - b) ** 2 + (y - c) ** 2) / 8) for a, b, c in rng.uniform(12, 18, (3, 3)))
    with create_stack("map.mrc", 1, 30, 32, 36, pixel_size=2.5, volumes=True, origin=(-40.0, 15.0, 7.5)) as out:
        out.write(0, blob.astype(np.float32))

    def mass(name):
        with mrcfile.open(name) as f:
            data = f.data.astype(np.float64)
            grid = np.stack(np.meshgrid(*[np.arange(n) for n in data.shape], indexing="ij"))[::-1]
            data = data.clip(0.05)  # what Fourier methods leave outside
            data -= data.min()
            return (data * grid).sum((1, 2, 3)) / data.sum() * f.voxel_size.x + [float(f.header.origin[k]) for k in "xyz"]

    was = mass("map.mrc")
    for args in (
        ["filter", "--low-pass", "0.9", "--edge-shape", "hard"],
        ["threed-arithmetic", "--operation", "multiply", "--value", "2"],
        ["threed-cut", "--box", "24,25,27"],
        ["threed-cut", "--box", "22,24,25", "--at", "17,15,14"],
        ["threed-cut", "--box", "41,40,50"],
        ["threed-blowup", "--factor", "2"],
        ["threed-blowup", "--factor", "0.75"],
        ["excopy", "--operation", "extract", "--loc", "1"],
        ["threed-copy", "--loc", "1"],
        ["threed-menu", "--mode", "average"],
    ):
        im4d(args[0], "map.mrc", "out.mrc", *args[1:], "--overwrite")
        np.testing.assert_allclose(mass("out.mrc"), was, atol=0.1, err_msg=" ".join(args))
    im4d("auto-mask", "map.mrc", "out.mrc", "--masked", "masked.mrc", "--overwrite")
    np.testing.assert_allclose(mass("masked.mrc"), was, atol=0.1)
    np.testing.assert_allclose(mass("out.mrc"), was, atol=2.5)


REAL = [
    "formats/EMD-3001.map", "imagic/smallStack.stk", "imagic/bsoft/rect_pack.hed", "imagic/bsoft/fourd_real.hed",
    "imagic/singleImage.spi", "formats/smallVolumeStack.stk",
]  # fmt: skip


@pytest.mark.parametrize("source", REAL)
def test_real_files_of_any_format(source, im4d, place, shared_data):
    path = shared_data / source
    with open_stack(path) as stack:
        volumes, shape = stack.is_volumes, stack.shape
    pre = "threed-" if volumes else ""
    im4d(f"{pre}arithmetic", path, "a.hed", "--operation", "multiply", "--value", "2")
    im4d("filter", "a.hed", "b.mrc", "--low-pass", "0.5")
    im4d(f"{pre}norm-variance", "a.hed", "c.hed", "--sigma", "1")
    im4d("threed-menu" if volumes else "incore", "c.hed", "d.hed", "--mode", "power")
    with open_stack("d.hed") as stack:
        assert stack.shape == shape


def bad(im4d, place, args, code, *words):
    before = {p.name: digest(p) for p in place.iterdir()}
    done = im4d(*args, code=code)
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line, line
    assert {p.name: digest(p) for p in place.iterdir()} == before


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["arithmetic", "images.hed", "o.hed"], 2, ["--operation or --expr"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "add"], 2, ["--value"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "abs", "--value", "1"], 2, ["no --value"]),
        (["arithmetic", "images.hed", "o.hed", "--expr", "a.b"], 3, ["character 1", "attribute"]),
        (["arithmetic", "images.hed", "o.hed", "--expr", "b + 1"], 3, ["b is not a known name"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "log"], 3, ["images.hed", "image 1", "threshold"]),
        (["arithmetic", "images.hed", "o.hed", "--expr", "a / (i - 3)"], 3, ["image 3"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "mirror", "--axis", "z"], 2, ["volumes"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "mask"], 2, ["--mask FILE"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "mask", "--mask", "volumes.hed,1"], 4, ["12 x 14", "20 x 25"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "circ", "--mask-radius", "0"], 2, ["radius 0"]),
        (["threed-arithmetic", "images.hed", "o.hed", "--operation", "abs"], 4, ["images.hed", "volumes"]),
        (["arithmetic", "images.hed", "o.hed", "--operation", "abs", "--loc", "9"], 3, ["images.hed", "9"]),
        (["two-images", "images.hed", "images.hed,1,3", "o.hed", "--operation", "add"], 4, ["3 images", "1 or 7"]),
        (["two-images", "images.hed", "mask.hed", "--operation", "add"], 2, ["output"]),
        (["two-images", "images.hed", "volumes.hed", "o.hed", "--operation", "add"], 4, ["12 x 14"]),
        (["norm-variance", "images.hed", "o.hed", "--region", "whole", "--mask-radius", "5"], 2, ["--mask-radius"]),
        (["norm-variance", "images.hed", "o.hed", "--region", "file"], 2, ["--mask FILE"]),
        (["filter", "images.hed", "o.hed"], 2, ["--low-pass"]),
        (["filter", "images.hed", "o.hed", "--low-pass", "0.1", "--high-pass", "0.2"], 2, ["empty"]),
        (["filter", "mask.hed", "o.hed", "--low-pass", "12A"], 3, ["--pixel-size"]),
        (["filter", "mask.hed", "o.hed", "--b-factor", "12"], 3, ["--pixel-size"]),
        (["filter", "images.hed", "o.hed", "--low-pass", "1.5"], 2, ["Nyquist"]),
        (["incore", "images.hed", "--mode", "power"], 2, ["output"]),
        (["incore", "images.hed", "o.hed", "--mode", "CCF"], 2, ["--second"]),
        (["incore", "images.hed", "o.hed", "--mode", "symmetrise"], 2, ["--symmetry"]),
        (["incore", "images.hed", "o.hed", "--mode", "symmetrise", "--symmetry", "D2"], 2, ["Cn only"]),
        (["incore", "images.hed", "o.hed", "--mode", "back-transform"], 3, ["COMP"]),
        (["incore", "images.hed", "o.hed", "--mode", "local-variance", "--window", "20"], 2, ["half the box"]),
        (["test-image", "o.hed", "--size", "8,9,10"], 2, ["lines and pixels"]),
        (["test-image", "o.hed", "--size", "2", "--pattern", "disc"], 2, ["too small"]),
        (["threed-test", "o.hed", "--pattern", "model"], 2, ["--model"]),
        (["threed-test", "o.hed", "--pattern", "model", "--model", "images.hed"], 3, ["images.hed"]),
        (["test-image", "images.hed", "--pattern", "disc"], 5, ["images.img", "--overwrite"]),
        (["arithmetic", "images.hed", "images.hed", "--operation", "abs"], 5, ["images.img"]),
    ],
)  # fmt: skip
def test_mistakes(args, code, words, im4d, place):
    bad(im4d, place, args, code, *words)


def test_not_finite_densities_are_refused(im4d, place):
    data = noise(3, 8, 8)
    data[1, 2, 3] = np.nan
    write_stack("nan.hed", data)
    for args in (["arithmetic", "--operation", "abs"], ["filter", "--low-pass", "0.5"], ["norm-variance"],
                 ["incore", "--mode", "power"]):  # fmt: skip
        bad(im4d, place, [args[0], "nan.hed", "o.hed", *args[1:]], 3, "nan.hed", "2")


COSINE = ["--edge-shape", "cosine", "--edge-width", "0.0625"]


@pytest.mark.skipif(RELION is None, reason="relion_image_handler is not installed")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["arithmetic", "--operation", "multiply", "--value", "2.5"], ["--multiply_constant", "2.5"]),
        (["arithmetic", "--operation", "threshold-above", "--value", "0.25"], ["--threshold_above", "0.25"]),
        (["filter", "--low-pass", "8A", *COSINE], ["--angpix", "1", "--lowpass", "8"]),
        (["filter", "--high-pass", "16A", *COSINE], ["--angpix", "1", "--highpass", "16"]),
        (["filter", "--b-factor", "40", "--low-pass", "1", "--edge-shape", "hard"], ["--angpix", "1", "--bfactor", "40"]),
    ],
)  # fmt: skip
def test_same_as_relion(ours, theirs, im4d, place):
    """Where the meaning is the same, so are the densities.

    RELION's edge is two shells wide, 4 / box of Nyquist, and its B-factor cuts off at Nyquist.
    """
    write_stack("square.mrcs", noise(4, 64, 64), pixel_size=1.0)
    im4d(ours[0], "square.mrcs", "ours.mrcs", *ours[1:])
    subprocess.run([RELION, "--i", "square.mrcs", "--o", "theirs.mrcs", *theirs], check=True, capture_output=True)
    a, b = mrcfile.read("ours.mrcs"), mrcfile.read("theirs.mrcs")
    np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("lines", [20, 21])
@pytest.mark.parametrize("end", ["mrcs", "hed"])
def test_mrc_files_keep_their_lines(lines, end, im4d, place, shared_data):
    """Operations that do not look at places leave the lines of MRC files as they are: the densities stay where they were."""
    data = noise(3, lines, 17)
    write_stack("a.mrcs", data)
    im4d("arithmetic", "a.mrcs", f"b.{end}", "--operation", "add", "--value", "1")
    np.testing.assert_array_equal(read_stack(f"b.{end}")[0], data + 1)
    im4d("norm-variance", "a.mrcs", f"c.{end}", "--sigma", "1")
    expected = (data - data.mean((1, 2), keepdims=True)) / data.std((1, 2), keepdims=True)
    np.testing.assert_allclose(read_stack(f"c.{end}")[0], expected, atol=1e-5)
    if end == "mrcs":
        odd_axes = shared_data / "formats" / "EMD-3001.map"
        im4d("threed-arithmetic", odd_axes, "d.mrc", "--operation", "invert")
        np.testing.assert_array_equal(read_stack("d.mrc")[0], -read_stack(odd_axes)[0])
