"""What must hold for the headers after every operation on images and volumes, read here word by word."""

import numpy as np
import pytest
from imagic_files import write_pair

from imagic4d_core.io import header as hdr
from imagic4d_core.io.stack import open_stack

#: Words about the file itself, the densities, and what made them; the others travel unless an operation means to change them.
OF_THE_FILE = {"IMN", "IFOL", "RSIZE", "IXLP", "IYLP", "TYPE", "COMPLEX", "IZLP", "I4LP", "AVDENS", "SIGMA", "DENSMAX", "DENSMIN",
               "NMONTH", "NDAY", "NYEAR", "NHOUR", "NMINUT", "NSEC", "IMAVERS", "HISTORY"}  # fmt: skip
MOVES = {"ANGLE", "XSHIFT", "YSHIFT", "ZSHIFT", "EANGLE", "EXSHIFT", "EYSHIFT", "EZSHIFT", "EALPHA", "EBETA", "EGAMMA",
         "MIRRORED"}  # fmt: skip
POSE = {"ALPHA", "BETA", "GAMMA", "RXSHIFT", "RYSHIFT"}
PLACE = {"IXOLD", "IYOLD", "IZOLD", "LOCOLD"}
DISTANCES = {"EZSHIFT", "RXSHIFT", "RYSHIFT", "ZSHIFT", "XSHIFT", "YSHIFT", "EXSHIFT", "EYSHIFT", "PIXSIZE"}

#: Command for images, and for volumes where it has another name; options; words that change; words in the history.
OPERATIONS = [
    ("copy threed-copy", "--loc 2-3", set(), None),
    ("excopy", "--operation reverse", {"LOCOLD"}, None),
    ("excopy", "--operation sort --by REF3D --down", {"LOCOLD"}, None),
    ("cut threed-cut", "--box 6", PLACE, "cut"),
    ("cut threed-cut", "--box 20", PLACE, "padded"),
    ("cut threed-cut", "--box 4 --at 5,6,3", PLACE | POSE, "cut"),
    ("blow-up threed-blowup", "--factor 0.5", DISTANCES, "magnified"),
    ("blow-up threed-blowup", "--factor 2 --method spline", DISTANCES, "magnified"),
    ("rotate threed-rotate", "--angle 30 --shift 1,2,0", MOVES | POSE, "rotated"),
    ("rotate threed-rotate", "--angle 90 --mirrored", MOVES | POSE, "mirrored"),
    ("center threed-center", "", MOVES | POSE | {"CCC"}, "centred"),
    ("center threed-center", "--criterion mass", MOVES | POSE, "centred"),
    ("arithmetic threed-arithmetic", "--operation add --value 3", set(), "added"),
    ("arithmetic threed-arithmetic", "--operation soft-mask", set(), "mask"),
    ("arithmetic threed-arithmetic", "--operation mirror", MOVES | POSE, "mirrored"),
    ("arithmetic threed-arithmetic", "--expr clip(a,0,5)*2", set(), "clip"),
    ("two-images threed-two-volumes", "{src} --operation add", set(), "add"),
    ("two-images threed-two-volumes", "{src},1 --operation correlation", {"CCC"}, "correlation"),
    ("norm-variance threed-norm-variance", "--outliers 3 --ramp", set(), "mean 0"),
    ("filter", "--high-pass 0.1 --low-pass 8A", set(), "pass"),
    ("auto-mask", "", set(), "mask"),
    ("incore threed-menu", "--mode amplitude", set(), "amplitude"),
    ("incore threed-menu", "--mode autocorrelation", {"CCC"}, "autocorrelation"),
    ("incore threed-menu", "--mode rotational-average", set(), "average"),
    ("incore threed-menu", "--mode power-curve", {"SINOSTRT", "SINOEND"}, "power"),
    ("incore threed-menu", "--mode local-variance", set(), "variance"),
    ("incore threed-menu", "--mode symmetrise --symmetry C3", set(), "C3"),
    ("incore threed-menu", "--mode histogram", set(), "histogram"),
]


def filled(root, data, type_word="REAL", **options):
    """A pair whose words all hold something, different in every record."""
    write_pair(root, data, type_word, **options)
    order, step = options.get("order", "<"), 256 * options.get("nblocks", 1)
    raw = np.fromfile(f"{root}.hed", f"{order}i4").reshape(-1, step)
    real = raw.view(f"{order}f4")
    kept = OF_THE_FILE | {"NBLOCKS", "I5LP", "I6LP", "REALTYPE", "NAME"}
    for word in hdr.WORDS:
        if word.name in kept or word.type[0] == "C" or 94 <= word.number < 100:
            continue
        for number in range(word.number, word.number + word.length):
            (raw if word.type == "I" else real)[:, number - 1] = number + np.arange(len(raw))
    raw[:, 78], raw[:, 91], raw[:, 57] = hdr.TAG, 0, 1
    real[:, 122] = 2.5
    densities = data.reshape(len(raw), -1)
    for number, value in ((18, densities.mean(1)), (19, densities.std(1)), (22, densities.max(1)), (23, densities.min(1))):
        real[:, number - 1] = value
    raw.view(np.uint8).reshape(len(raw), -1)[:, 796:804] = np.frombuffer(b"by hand.", np.uint8)
    raw.tofile(f"{root}.hed")
    return root


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    filled("images", rng.standard_normal((5, 1, 12, 14)).astype(np.float32), order=">", nblocks=2)
    filled("volumes", rng.standard_normal((3, 8, 9, 10)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("source", ["images", "volumes"])
@pytest.mark.parametrize(("command", "options", "changed", "said"), OPERATIONS, ids=lambda v: v if isinstance(v, str) else None)
def test_words(source, command, options, changed, said, im4d, place):
    name = command.split()[-1 if source == "volumes" else 0]
    if source == "images":
        options = options.replace("5,6,3", "5,6").replace("1,2,0", "1,2")
    words = options.replace("{src}", f"{source}.hed").split()
    first = words.pop(0) if words and words[0].startswith(source) else None
    im4d(name, f"{source}.hed", *([first] if first else []), "out.hed", *words)

    raw = np.fromfile("out.hed", "<i4")
    raw = raw.reshape(-1, 256 * raw[3])[:, :256]
    count, real = len(raw), raw.copy().view("<f4")
    with open_stack("out.hed") as stack:
        objects, sections, lines, pixels = stack.shape
        data, heads = stack.read(), stack.headers()
    assert raw[:, 0].tolist() == list(range(1, count + 1)) and raw[0, 1] == count - 1
    assert (raw[:, 61] == objects).all() and (raw[:, 60] == sections).all() and objects * sections == count
    assert (raw[:, 12] == lines).all() and (raw[:, 13] == pixels).all() and (raw[:, 10] == 4 * lines * pixels).all()
    assert (raw[:, 68] == hdr.LITTLE).all()

    # statistics: of each image; of a volume those of the whole one, except where a plain copy carries those that were there
    per = data.reshape(count if name in ("excopy", "threed-copy") else objects, -1).astype(np.float64)
    wanted = np.stack([per.mean(1), per.std(1), per.max(1), per.min(1)], 1)
    found = real[:, [17, 18, 21, 22]]
    np.testing.assert_allclose(found, np.repeat(wanted, count // len(per), 0), rtol=1e-4, atol=1e-5 * np.abs(per).max())

    # every other word travels
    with open_stack(source) as stack:
        old = stack.headers()
    number = np.arange(len(old)).reshape(-1, 8 if source == "volumes" else 1)
    if "--loc" in words:
        number = number[1:3]
    if name == "excopy":
        number = number[::-1]
    if sections != number.shape[1]:
        number = number[:, np.minimum(np.arange(sections), number.shape[1] - 1)]
    same = [n for n in hdr.HEADER_DTYPE.names if n not in OF_THE_FILE | changed | {"REALTYPE", "NBLOCKS", "IERROR"}]
    for word in same:
        assert np.array_equal(heads[word], old[number.ravel()][word]), word
    history = bytes(heads["HISTORY"][0]).decode()
    assert history.startswith("by hand.") and ("im4d" in history) == (said is not None)
    assert said is None or said in history


@pytest.mark.parametrize("mode", ["average", "variance"])
def test_one_object_of_all_says_what_it_is(mode, im4d, place):
    im4d("incore", "images", "out.hed", "--mode", mode)
    with open_stack("out.hed") as stack:
        (head,) = stack.headers()
    assert head["NALISUM"] == 5 and head["PIXSIZE"] == 2.5 and f"{mode} of 5 images" in bytes(head["HISTORY"]).decode()


def test_sinograms_have_their_angles(im4d, place):
    filled("square", np.random.default_rng(1).standard_normal((2, 1, 12, 12)).astype(np.float32))
    im4d("incore", "square", "out.hed", "--mode", "SINO")
    with open_stack("out.hed") as stack:
        assert stack.lines == 360 and (stack.headers()["SINOSTRT"] == 0).all() and (stack.headers()["SINOEND"] == 359).all()


def test_locations_are_those_of_the_file(im4d, place):
    """Numbers of images that were selected are theirs in the file, in tables, PLT files, formulas and messages."""
    every = im4d("incore", "images", "--mode", "statistics", "--json").json["objects"]
    some = im4d("incore", "images", "--mode", "statistics", "--loc", "3-4", "--json").json["objects"]
    assert some == every[2:4] and [row["location"] for row in some] == [3, 4]
    im4d("incore", "images", "peaks.plt", "--mode", "peaks", "--number", "1", "--loc", "4,2")
    assert [line.split()[0] for line in (place / "peaks.plt").read_text().splitlines()] == ["4", "2"]
    found = im4d("two-images", "images", "images,1", "--operation", "correlation", "--loc", "1,5", "--json").json
    assert found["locations"] == [1, 5] and found["values"][0] == pytest.approx(1)
    assert im4d("auto-mask", "volumes", "mask.hed", "--loc", "3", "--json").json["masks"][0]["location"] == 3
    im4d("arithmetic", "images", "i.hed", "--expr", "i", "--loc", "5,2")
    assert im4d("header", "get", "i.hed", "AVDENS").stdout.split() == ["5", "2"]
    assert "image 4 " in im4d("arithmetic", "images", "j.hed", "--expr", "a / (i - 4)", "--loc", "3-5", code=3).stderr


@pytest.mark.parametrize("mode", ["amplitude", "power-curve", "local-variance", "rotational-average"])
def test_images_of_one_pixel(mode, im4d, place):
    filled("dot", np.ones((2, 1, 1, 1), np.float32))
    im4d("incore", "dot", "out.hed", "--mode", mode, code=2 if mode == "local-variance" else 0)
    if mode == "amplitude":
        im4d("auto-mask", "dot", "mask.hed")
