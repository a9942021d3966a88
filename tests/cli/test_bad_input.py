"""Bad input, over all commands: one clear line, the table's exit code, nothing changed."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from imagic4d_cli import registry

# arguments of a call that works, after the name of the command; {out} is a new output
WORKING = {
    "align-parallel": ["images.hed", "images.hed", "{out}.hed"],
    "align-refs": ["images.hed", "{out}.hed"],
    "angrec": ["images.hed", "{out}.hed", "--anchors", "anchors.hed", "--mode", "each-to-best"],
    "append": ["images.hed", "{out}.hed"],
    "arithmetic": ["images.hed", "{out}.hed", "--operation", "abs"],
    "auto-mask": ["volumes.hed", "{out}.hed", "--modulation", "{out}_mod.hed"],
    "blow-up": ["images.hed", "{out}.hed", "--factor", "0.5"],
    "center": ["images.hed", "{out}.hed"],
    "chance": ["images.hed"],
    "classify2d": ["images.hed", "{out}", "--classes", "4"],
    "compare": ["images.hed", "truth.hed"],
    "convert": ["images.hed", "{out}.mrcs"],
    "copy": ["images.hed", "{out}.hed"],
    "ctf": ["images.hed", "{out}.hed"],
    "cut": ["images.hed", "{out}.hed", "--box", "16"],
    "excopy": ["images.hed", "{out}.hed", "--operation", "reverse"],
    "filter": ["images.hed", "{out}.hed", "--low-pass", "0.5"],
    "forward": ["volumes.hed", "{out}.hed", "--increment", "40"],
    "fsc": ["volumes.hed", "volumes.hed", "--output", "{out}.csv"],
    "header get": ["images.hed", "CCC"],
    "header plt-in": ["images.hed", "angles.plt", "{out}.hed"],
    "header plt-out": ["images.hed", "{out}.plt"],
    "header set": ["images.hed", "{out}.hed", "CCC=1"],
    "header show": ["images.hed", "--word", "CCC"],
    "header takeover": ["images.hed", "truth.hed", "{out}.hed"],
    "header wipe": ["images.hed", "{out}.hed", "--word", "CCC"],
    "incore": ["images.hed", "{out}.hed", "--mode", "power"],
    "info": ["images.hed"],
    "moves": ["images.hed", "truth.hed"],
    "mra": ["images.hed", "anchors.hed", "{out}.hed"],
    "msa run": ["images.hed", "{out}", "--eigenimages", "5"],
    "norm-variance": ["images.hed", "{out}.hed"],
    "prepare": ["images.hed", "{out}.hed"],
    "recon": ["images.hed", "{out}.hed"],
    "refine": ["images.hed", "{out}", "--volumes", "2"],
    "regroup": ["images.hed", "{out}.hed", "--volumes", "2"],
    "rotate": ["images.hed", "{out}.hed", "--angle", "20"],
    "show": ["images.hed", "--output", "{out}.png"],
    "simulate": ["volumes.hed", "{out}.hed", "--images", "4"],
    "threed-append": ["volumes.hed", "{out}.hed"],
    "threed-arithmetic": ["volumes.hed", "{out}.hed", "--operation", "abs"],
    "threed-blowup": ["volumes.hed", "{out}.hed", "--factor", "0.5"],
    "threed-center": ["volumes.hed", "{out}.hed"],
    "threed-copy": ["volumes.hed", "{out}.hed"],
    "threed-cut": ["volumes.hed", "{out}.hed", "--box", "16"],
    "threed-menu": ["volumes.hed", "{out}.hed", "--mode", "power"],
    "threed-norm-variance": ["volumes.hed", "{out}.hed"],
    "threed-rotate": ["volumes.hed", "{out}.hed", "--angle", "20"],
    "threed-two-volumes": ["volumes.hed", "volumes.hed", "{out}.hed", "--operation", "add"],
    "two-images": ["images.hed", "images.hed", "{out}.hed", "--operation", "add"],
    "validate": ["images.hed"],
}
COMMANDS = [name for name in WORKING if name in registry.TABLE]
READING = [name for name in COMMANDS if name != "validate"]  # which answers no, where others refuse
WRITING = [name for name in COMMANDS if any("{out}" in a for a in WORKING[name])]
FOLDERS = ("refine", "classify2d")  # their output is a folder, which they make
HEADERS = ("header", "info", "show", "compare", "chance", "moves")  # first words of those that need no densities
BYTES = ("append", "copy", "cut", "excopy", "convert")  # those that carry densities along as they are


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Two small 3Ds, images of them, anchors; made once."""
    from imagic4d_core.jobs.scheme import forward
    from imagic4d_core.jobs.truth import modelling, simulate

    folder = tmp_path_factory.mktemp("material")
    modelling.threed_test(folder / "volumes.hed", number=2, size=24, seed=1)
    simulate.simulate(folder / "volumes.hed", folder / "images.hed", images=20, snr=2.0, seed=1, ctf=True)
    (folder / "angles.plt").write_text("".join(f"{k + 1} 10 20 30\n" for k in range(20)))
    shutil.copy(folder / "images.hed", folder / "truth.hed")
    shutil.copy(folder / "images.img", folder / "truth.img")
    forward.forward(folder / "volumes.hed", folder / "anchors.hed", increment=40.0)
    return folder


@pytest.fixture
def place(material, tmp_path, monkeypatch):
    """A private copy, as the current folder."""
    folder = tmp_path / "place"
    shutil.copytree(material, folder)
    monkeypatch.chdir(folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha1(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def refused(im4d, place: Path, args: list[str], code: int, *words: str) -> None:
    """The call fails with `code` and one line that holds `words`; no file appears, changes or goes."""
    before = digests(place)
    done = im4d(*args, code=code)
    (line,) = [text for text in done.stderr.splitlines() if text]
    for word in words:
        assert re.search(word, line), line
    assert done.stdout == ""
    assert digests(place) == before


def call(name: str, out: str = "new", **swap: str) -> list[str]:
    """Arguments of the working call, with some replaced."""
    args = [a.replace("{out}", out) for a in WORKING[name]]
    return [name, *(swap.get(a.replace(".", "_"), a) for a in args)]


def first_input(name: str) -> str:
    return next(a for a in WORKING[name] if a.endswith(".hed") and "{out}" not in a)


def swapped(name: str, new: str) -> list[str]:
    args = call(name)
    args[args.index(first_input(name))] = new
    return args


@pytest.mark.parametrize("name", COMMANDS)
def test_missing_input(name, im4d, place):
    refused(im4d, place, swapped(name, "nothing.hed"), 3, "nothing", "not found")


@pytest.mark.parametrize("name", READING)
def test_missing_half_of_a_pair(name, im4d, place):
    os.unlink(Path(first_input(name)).with_suffix(".img"))
    refused(im4d, place, call(name), 3, r"\.img", "not found|missing")


@pytest.mark.parametrize("name", READING)
def test_truncated_densities(name, im4d, place):
    path = Path(first_input(name)).with_suffix(".img")
    os.truncate(path, path.stat().st_size - 100)
    refused(im4d, place, call(name), 3, Path(first_input(name)).stem, "bytes")


def test_truncated_densities_are_not_valid(im4d, place):
    os.truncate("images.img", 1000)
    assert "not valid" in im4d("validate", "images.hed", code=1).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_empty_file(name, im4d, place):
    stem = Path(first_input(name)).stem
    for end in (".hed", ".img"):
        Path(stem + end).write_bytes(b"")
    if name == "validate":
        im4d(*call(name), code=1)
    else:
        refused(im4d, place, call(name), 3, stem)


@pytest.mark.parametrize("name", COMMANDS)
def test_not_an_image_file(name, im4d, place):
    Path("text.mrc").write_text("this is not an MRC file\n" * 100)
    if name == "validate":
        im4d(*swapped(name, "text.mrc"), code=1)
    else:
        refused(im4d, place, swapped(name, "text.mrc"), 3, r"text\.mrc")


@pytest.mark.parametrize("name", READING)
def test_location_out_of_range(name, im4d, place):
    stem = Path(first_input(name)).stem
    refused(im4d, place, swapped(name, f"{stem},900"), 3, stem, "900", "out of range")


@pytest.mark.parametrize("name", [n for n in WRITING if n not in ("append", "threed-append")])  # which go on with it
def test_output_that_exists(name, im4d, place):
    for end in ("", ".hed", ".img", ".mrcs", ".csv", ".plt", ".png"):
        path = Path("old" + end)
        if end or name in FOLDERS:
            path.write_text("precious") if end else path.mkdir()
            (path / "precious").write_text("") if not end else None
    refused(im4d, place, call(name, "old"), 5, "old", "exists|empty")


@pytest.mark.parametrize("name", [n for n in WRITING if n not in FOLDERS])
def test_output_in_a_folder_that_is_not_there(name, im4d, place, monkeypatch):
    """Said before any work is done: nobody waits for hours to hear it."""

    def read(*args, **kwargs):
        raise AssertionError("densities are read")

    for way in ("read", "read_raw", "read_complex"):
        monkeypatch.setattr(f"imagic4d_core.io.stack.Stack.{way}", read)
    refused(im4d, place, call(name, "no/such"), 5, "no")


@pytest.mark.parametrize("out", ["there/", ".", "..", "there/."])
def test_output_that_is_a_folder(out, im4d, place):
    """Where cp would put a file into it: no hidden there/.hed is made."""
    Path("there").mkdir()
    for name in ("copy", "rotate", "mra"):
        args = [name, *(a.replace("{out}.hed", out) for a in WORKING[name])]
        refused(im4d, place, args, 5, "no file name")
    assert not list(Path("there").iterdir())


@pytest.mark.parametrize("name", WRITING)
def test_read_only_folder(name, im4d, place):
    closed = Path("/proc")  # root may write into any other folder
    if os.geteuid() != 0:
        closed = Path("closed")
        closed.mkdir(mode=0o555)
    refused(im4d, place, call(name, f"{closed}/new"), 5, str(closed), "written|made|permission")


@pytest.mark.parametrize("name", [n for n in COMMANDS if n in ("forward", "angrec", "recon", "refine", "fsc")])
def test_unknown_symmetry(name, im4d, place):
    refused(im4d, place, [*call(name), "--symmetry", "X3"], 2, "X3", "point group")


@pytest.mark.parametrize(
    "name", [n for n in READING if n.split()[0] not in HEADERS and n.removeprefix("threed-") not in BYTES]
)  # fmt: skip
def test_nan_densities(name, im4d, place):
    stem = Path(first_input(name)).stem
    with open(f"{stem}.img", "r+b") as handle:
        handle.seek(4 * 24 * 24 * 6 + 40)
        handle.write(b"\xff\xff\xff\xff")
    shown = "start1" if name == "regroup" else stem  # its copy of the images
    refused(im4d, place, call(name), 3, shown, "7" if stem == "images" else "1", "NaN")


@pytest.mark.parametrize("name", READING)
def test_folder_in_place_of_a_file(name, im4d, place):
    Path("folder.hed").mkdir()
    refused(im4d, place, swapped(name, "folder.hed"), 3, "folder")


@pytest.mark.parametrize("name", [n for n in WRITING if "{out}.hed" in WORKING[n] and "append" not in n])
def test_output_that_is_the_input(name, im4d, place):
    stem = Path(first_input(name)).stem
    refused(im4d, place, call(name, stem), 5, stem, "exists|input")


@pytest.mark.skipif("recon" not in registry.TABLE, reason="no recon yet")
def test_more_volumes_than_images(im4d, place):
    args = ["--membership", "random", "--volumes", "21", "--seed", "1"]
    refused(im4d, place, [*call("recon"), *args], 4, "21", "20")


@pytest.mark.skipif("refine" not in registry.TABLE, reason="no refine yet")
def test_refine_of_more_volumes_than_images(im4d, place):
    refused(im4d, place, ["refine", "images.hed", "run", "--volumes", "21"], 4, "21", "20")


@pytest.mark.skipif("angrec" not in registry.TABLE, reason="no angrec yet")
def test_anchors_of_another_box(im4d, place):
    im4d("threed-test", "big.hed", "--number", "1", "--size", "28", "--seed", "1")
    im4d("forward", "big.hed", "anchors.hed", "--increment", "40", "--overwrite")
    refused(im4d, place, call("angrec"), 4, "24", "28")
