"""im4d copy, threed-copy and convert."""

import os
import stat
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from imagic_files import pattern, write_pair

from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import open_stack, read_stack


@pytest.fixture
def images(tmp_path):
    return write_pair(tmp_path / "images", pattern(12, 1, 6, 5))


@pytest.fixture
def volumes(tmp_path):
    return write_pair(tmp_path / "volumes", pattern(4, 3, 6, 5))


def names(folder):
    return sorted(os.listdir(folder))


def test_copy_keeps_densities_and_words(im4d, images, tmp_path):
    done = im4d("copy", images, tmp_path / "out.hed", "--json").json
    assert (done["objects"], done["lines"], done["pixels"], done["copied"]) == (12, 6, 5, 12)
    assert (tmp_path / "out.img").read_bytes() == (tmp_path / "images.img").read_bytes()
    a, b = (np.fromfile(tmp_path / f"{n}.hed", "<i4").reshape(12, 256) for n in ("images", "out"))
    changed = set(np.flatnonzero((a != b).any(0)) + 1)
    assert changed <= set(range(200, 257))  # the history is padded with blanks
    assert "12 images of 6 x 5" in im4d("copy", images, tmp_path / "again").stdout


@pytest.mark.parametrize(
    ("arguments", "want"),
    [(["{},3,5"], [2, 3, 4]), (["{}", "--loc", "9,3-5,11-"], [8, 2, 3, 4, 10, 11]), (["{},12"], [11])],
)
def test_copy_selects_images(im4d, images, tmp_path, arguments, want):
    first, *rest = (a.format(images) for a in arguments)
    im4d("copy", first, tmp_path / "out", *rest)
    data, h = read_stack(tmp_path / "out")
    assert np.array_equal(data, pattern(12, 6, 5)[want])
    assert h["IMN"].tolist() == list(range(1, len(want) + 1))
    assert h["IFOL"].tolist() == [len(want) - 1] + [0] * (len(want) - 1)
    assert h["REF3D"].tolist() == [k + 100 for k in want]


def test_copy_counts_images_and_threed_copy_volumes(im4d, volumes, tmp_path):
    data = pattern(4, 3, 6, 5)
    im4d("copy", f"{volumes},2,5", tmp_path / "a")
    assert np.array_equal(read_stack(tmp_path / "a")[0], data.reshape(12, 6, 5)[1:5])
    im4d("threed-copy", f"{volumes},2", tmp_path / "b")
    got, h = read_stack(tmp_path / "b")
    assert np.array_equal(got, data[1:2]) and h["I4LP"].tolist() == [1] * 3 and h["IZLP"].tolist() == [3] * 3
    im4d("threed-copy", volumes, tmp_path / "c", "--loc", "4,1")
    assert np.array_equal(read_stack(tmp_path / "c")[0], data[[3, 0]])
    im4d("copy", volumes, tmp_path / "d")
    assert np.array_equal(read_stack(tmp_path / "d")[0], data)


def test_copy_into_an_existing_file(im4d, images, tmp_path):
    im4d("copy", images, tmp_path / "out")
    before = (tmp_path / "out.img").stat().st_ino
    done = im4d("copy", f"{images},1,2", f"{tmp_path}/out,10", "--json").json
    assert (done["first"], done["copied"], done["objects"]) == (10, 2, 12)
    want = pattern(12, 6, 5)
    want[9:11] = want[:2].copy()
    data, h = read_stack(tmp_path / "out")
    assert np.array_equal(data, want) and h["REF3D"][8:].tolist() == [108, 100, 101, 111]
    assert (tmp_path / "out.img").stat().st_ino != before  # a new file took its place
    im4d("copy", f"{images},1,3", f"{tmp_path}/out,13")
    assert read_stack(tmp_path / "out")[1]["I4LP"].tolist() == [15] * 15
    assert "writing can start at 1 to 16" in im4d("copy", images, f"{tmp_path}/out,17", code=3).stderr
    assert "give the first only" in im4d("copy", images, f"{tmp_path}/out,2,3", code=4).stderr
    assert "not found" in im4d("copy", images, f"{tmp_path}/new,2", code=3).stderr
    assert names(tmp_path) == ["images.hed", "images.img", "out.hed", "out.img"]


@pytest.mark.parametrize("end", ["", ".mrc"])
def test_copy_into_volumes(im4d, images, volumes, tmp_path, end):
    out = f"{tmp_path}/out{end}"
    data = pattern(4, 3, 6, 5)
    im4d("threed-copy", volumes, out)
    im4d("copy", f"{images},1,2", f"{out},3")  # sections 3 and 4
    data.reshape(12, 6, 5)[2:4] = pattern(12, 6, 5)[:2]
    im4d("threed-copy", f"{volumes},1", f"{out},4")
    data[3] = pattern(4, 3, 6, 5)[0]
    im4d("threed-copy", f"{volumes},1,2", f"{out},5")
    want = np.concatenate([data, pattern(4, 3, 6, 5)[:2]])
    assert np.array_equal(read_stack(out)[0], want)
    assert "holds 18 images, and 2 images fit from 1 to 17" in im4d("copy", f"{images},1,2", f"{out},18", code=3).stderr
    assert "volumes is needed" in im4d("threed-copy", volumes, f"{tmp_path}/images,2", code=4).stderr
    other = write_pair(tmp_path / "other", pattern(1, 2, 6, 5))
    assert "cannot be put into" in im4d("threed-copy", other, f"{out},2", code=4).stderr
    assert np.array_equal(read_stack(out)[0], want)


@pytest.mark.parametrize("type_word", ["REAL", "LONG", "INTG", "PACK", "COMP", "RECO"])
@pytest.mark.parametrize("order", "<>")
def test_copy_of_all_types(im4d, tmp_path, type_word, order):
    data = pattern(5, 1, 4, 3, kind="c8" if type_word in ("COMP", "RECO") else "f4")
    root = write_pair(tmp_path / "a", data, type_word, order=order, nblocks=2)
    im4d("copy", root, tmp_path / "b", "--loc", "2-4")
    with open_stack(tmp_path / "b") as stack:
        assert stack.layout.type_word == type_word and stack.layout.dtype.str[0] in "<|"
        assert np.array_equal(stack.read_raw(), data[1:4, 0])
        assert stack.nblocks == 2 and stack.extra_headers()[:, 0].tolist() == [1, 2, 3]
        assert stack.headers()["REF3D"].tolist() == [101, 102, 103]
    assert im4d("validate", tmp_path / "b").exit_code == 0


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (4, 1, 7, 6), (1, 5, 6, 7), (3, 4, 7, 7), (3, 4, 6, 6)])
@pytest.mark.parametrize("end", [".mrc", ".mrcs", ".map"])
def test_there_and_back(im4d, tmp_path, shape, end):
    if end == ".mrcs" and shape[1] > 1 and shape[0] == 1:
        pytest.skip("a single volume is not called .mrcs")
    root = write_pair(tmp_path / "a", pattern(*shape))
    im4d("convert", root, tmp_path / f"b{end}")
    im4d("convert", tmp_path / f"b{end}", tmp_path / "c")
    with open_stack(root) as a, open_stack(tmp_path / "c") as c:
        assert a.shape == c.shape and a.pixel_size == c.pixel_size == 2.5
        assert np.array_equal(a.read(), c.read())
        step = shape[1]
        assert a.headers()["REF3D"][::step].tolist() == c.headers()["REF3D"][::step].tolist()
        assert np.allclose(a.headers()["ALPHA"][::step], c.headers()["ALPHA"][::step], atol=1e-4)
    with mrcfile.open(tmp_path / f"b{end}") as mrc:
        assert mrc.data.shape[-2:] == shape[2:]
        centre = shape[2] // 2
        assert np.array_equal(mrc.data.reshape(shape)[:, :, centre], pattern(*shape)[:, :, centre])
        assert np.isclose(mrc.voxel_size.x, 2.5)


def test_rows(im4d, tmp_path):
    data = pattern(2, 1, 4, 3)
    root = write_pair(tmp_path / "a", data)
    for rows, index in (("centre", [0, 3, 2, 1]), ("plain", [3, 2, 1, 0]), ("keep", [0, 1, 2, 3])):
        im4d("convert", root, tmp_path / f"{rows}.mrcs", "--rows", rows)
        with mrcfile.open(tmp_path / f"{rows}.mrcs") as mrc:
            assert np.array_equal(mrc.data, data[:, 0, index])
        im4d("convert", tmp_path / f"{rows}.mrcs", tmp_path / rows, "--rows", rows)
        assert np.array_equal(read_stack(tmp_path / rows)[0], data[:, 0])


def test_hand_is_kept(im4d, tmp_path):
    """Three marks that make a right hand in IMAGIC's axes make one in MRC's."""
    data = np.zeros((1, 9, 9, 9), np.float32)
    data[0, 4, 6, 4] = 1  # +X, down
    data[0, 4, 4, 6] = 2  # +Y, right
    data[0, 6, 4, 4] = 3  # +Z
    im4d("convert", write_pair(tmp_path / "a", data), tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        marks = [np.argwhere(mrc.data == k)[0][::-1] - 4 for k in (1, 2, 3)]  # x y z
    assert np.linalg.det(np.array(marks)) > 0


def test_types_of_convert(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(2, 1, 4, 3), "PACK")
    im4d("convert", root, tmp_path / "b.mrc")
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        assert mrc.data.dtype == np.uint16
    im4d("convert", root, tmp_path / "c", "--type", "real")
    with open_stack(tmp_path / "c") as stack:
        assert stack.layout.type_word == "REAL" and np.array_equal(stack.read(), pattern(2, 4, 3))
    im4d("convert", root, tmp_path / "d", "--type", "INTG", "--pixel-size", "4.5")
    with open_stack(tmp_path / "d") as stack:
        assert stack.layout.type_word == "INTG" and stack.pixel_size == 4.5
    big = write_pair(tmp_path / "big", pattern(1, 1, 4, 3) * 1000)
    assert "do not fit uint8" in im4d("convert", big, tmp_path / "e", "--type", "pack", code=5).stderr
    assert not (tmp_path / "e.hed").exists()


def test_sections_and_images(im4d, tmp_path):
    root = write_pair(tmp_path / "a", pattern(12, 1, 4, 4))
    im4d("convert", root, tmp_path / "v", "--what", "volumes")
    assert read_stack(tmp_path / "v")[0].shape == (3, 4, 4, 4)
    im4d("convert", root, tmp_path / "w.mrc", "--what", "volumes", "--sections", "6")
    assert read_stack(tmp_path / "w.mrc")[0].shape == (2, 6, 4, 4)
    im4d("convert", tmp_path / "v", tmp_path / "i", "--what", "images")
    assert np.array_equal(read_stack(tmp_path / "i")[0], pattern(12, 4, 4))
    assert "cannot be divided" in im4d("convert", root, tmp_path / "x", "--what", "volumes", "--sections", "5", code=4).stderr


def test_poses_go_through_star(im4d, tmp_path):
    root = write_pair(
        tmp_path / "a", pattern(4, 1, 6, 6), floats={66: 30.0, 67: 75.0, 80: 1.25, 81: -2.5}, words={79: 0x44344D49}
    )
    im4d("convert", root, tmp_path / "b.mrcs")
    assert "_rlnAngleTilt" in (tmp_path / "b.star").read_text()
    im4d("convert", tmp_path / "b.mrcs", tmp_path / "c")
    a, c = (Poses.from_headers(read_stack(tmp_path / n)[1]) for n in ("a", "c"))
    for field in ("alpha", "beta", "gamma", "shift", "ref3d"):
        assert np.allclose(getattr(a, field), getattr(c, field), atol=1e-4), field


def test_origin_of_maps_is_kept(im4d, tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(pattern(4, 6, 6))
        mrc.voxel_size = 2.0
        mrc.header.origin = (-5, 6, 7)
    im4d("copy", tmp_path / "a.mrc", tmp_path / "b.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as a, mrcfile.open(tmp_path / "b.mrc") as b:
        assert np.array_equal(a.data, b.data) and a.header.origin == b.header.origin
        assert b.header.dmax == a.header.dmax and b.is_volume()


def test_nan_passes_copy_but_not_convert(im4d, tmp_path):
    data = pattern(3, 1, 4, 4)
    data[1, 0, 0, 0] = np.nan
    root = write_pair(tmp_path / "a", data)
    im4d("copy", root, tmp_path / "b")
    assert "image 2 holds 1 NaN" in im4d("convert", root, tmp_path / "c.mrc", code=3).stderr
    assert "image 2 holds 1 NaN" in im4d("convert", root, tmp_path / "c", code=3).stderr
    assert names(tmp_path) == ["a.hed", "a.img", "b.hed", "b.img"]


@pytest.mark.parametrize("command", ["copy", "threed-copy", "convert"])
def test_bad_input_changes_nothing(im4d, volumes, tmp_path, command):
    lone = tmp_path / "lone.hed"
    lone.write_bytes((tmp_path / "volumes.hed").read_bytes())
    write_pair(tmp_path / "short", pattern(4, 3, 6, 5))
    os.truncate(tmp_path / "short.img", 1000)
    write_pair(tmp_path / "empty", pattern(4, 3, 6, 5))
    os.truncate(tmp_path / "empty.hed", 0)
    before = {n: (tmp_path / n).read_bytes() for n in names(tmp_path)}
    out = tmp_path / "out"
    assert "lone.img: not found" in im4d(command, lone, out, code=3).stderr
    assert "truncated" in im4d(command, tmp_path / "short", out, code=3).stderr
    assert "empty.hed: is empty" in im4d(command, tmp_path / "empty", out, code=3).stderr
    assert "nix: not found" in im4d(command, tmp_path / "nix", out, code=3).stderr
    assert "location 40 is out of range" in im4d(command, volumes, out, "--loc", "40", code=3).stderr
    assert "exists already" in im4d(command, volumes, tmp_path / "short", code=5).stderr
    assert "does not exist" in im4d(command, volumes, tmp_path / "no" / "out", code=5).stderr
    assert "not written" in im4d(command, volumes, tmp_path / "out.tif", code=5).stderr
    im4d(command, volumes, out, "--loc", "3-1", code=2)
    assert {n: (tmp_path / n).read_bytes() for n in names(tmp_path)} == before


def test_images_are_refused_by_threed_copy(im4d, images, tmp_path):
    assert "a file of volumes is needed" in im4d("threed-copy", images, tmp_path / "x", code=4).stderr


def test_read_only_folder(images, tmp_path):
    """Root may write everywhere, so the check runs as nobody."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    code = f"""
import os, sys
from imagic4d_core.errors import OutputError
import imagic4d_core.jobs.files.copying as jobs
os.chdir({str(tmp_path)!r})
if os.geteuid() == 0:
    os.setuid(65534)
try:
    jobs.copy("images", "closed/out")
except OutputError as error:
    sys.exit(0 if "cannot be written" in str(error) else 2)
sys.exit(3)
"""
    parents = [tmp_path, *tmp_path.parents][:3] if os.geteuid() == 0 else []
    modes = [p.stat().st_mode for p in parents]
    try:
        for parent in parents:
            parent.chmod(0o755)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    finally:
        for parent, mode in zip(parents, modes, strict=True):
            parent.chmod(mode)
    assert done.returncode == 0, done.stderr
    assert names(folder) == []


LIMITED = """
import resource, sys
import mrcfile.dtypes, gemmi
import imagic4d_core.jobs.files.copying, imagic4d_cli.main as main
size = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
limit = size + {extra}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    bytearray({total})
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
sys.argv[1:] = {arguments}
sys.exit(main.main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited on Linux only")
def test_stacks_larger_than_memory(tmp_path):
    count, box = 1600, 256  # 419 MB of densities, a hole in the file
    write_pair(tmp_path / "big", pattern(1, 1, box, box))
    record = np.fromfile(tmp_path / "big.hed", "<i4")
    h = np.tile(record, (count, 1))
    h[:, 0], h[0, 1], h[:, 61] = np.arange(1, count + 1), count - 1, count
    h.tofile(tmp_path / "big.hed")
    os.truncate(tmp_path / "big.img", count * box * box * 4)
    for arguments in (
        ["copy", "big", "whole"],
        ["copy", "big", "part", "--loc", "700-1600,1"],
        ["convert", "big", "big.mrcs"],
        ["copy", "big,1", "whole,1600"],
    ):
        code = LIMITED.format(extra=200 << 20, total=count * box * box * 4, arguments=arguments)
        env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    with open_stack(tmp_path / "whole") as stack:
        assert stack.objects == count
        assert np.array_equal(stack.read(count - 1)[0], pattern(box, box)) and np.array_equal(
            stack.read(0, 1)[0], pattern(box, box)
        )
    with open_stack(tmp_path / "big.mrcs") as stack:
        assert stack.objects == count and np.array_equal(stack.read(0, 1)[0], pattern(box, box))
    for name in names(tmp_path):
        (tmp_path / name).unlink()
