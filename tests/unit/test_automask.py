"""auto-mask: against truth, in two and three dimensions, and as a command."""

import re

import numpy as np
import pytest
from compare import same_bytes
from scipy import ndimage

from imagic4d_core import fourier, models
from imagic4d_core.automask.modulation import background, frequency_of, modulation, scale_of, smoothed
from imagic4d_core.automask.region import automatic_threshold, region, soft_mask, threshold_for
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.images.automasking import auto_mask
from imagic4d_core.rng import rng_for


def density(box: int, seed: int, ndim: int = 3) -> np.ndarray:
    """A structure, or its projection."""
    v = models.volume(models.random_family(seed, 1, box)[0], box)
    return v if ndim == 3 else v.sum(0)


def envelope(v: np.ndarray) -> np.ndarray:
    """The fewest pixels that hold 95 % of the mass, seen with a blur of one pixel."""
    seen = smoothed(fourier.rfftn(v, v.ndim), v.shape, 1.0)
    order = np.sort(seen, axis=None)[::-1].astype(np.float64)
    return seen >= order[np.searchsorted(np.cumsum(order), 0.95 * order.sum())]


def noisy(v: np.ndarray, snr: float, seed: int) -> np.ndarray:
    noise = rng_for(seed, "test/auto-mask").standard_normal(v.shape).astype(np.float32)
    return v + noise * np.float32(v.std() / np.sqrt(snr))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def masked(x: np.ndarray, **settings) -> np.ndarray:
    made = modulation(x, **settings)
    return region(made.map, automatic_threshold(made.map))


@pytest.mark.parametrize(("snr", "least"), [(0.03, 0.85), (0.1, 0.88), (0.3, 0.9), (1.0, 0.91), (1e6, 0.9)])
@pytest.mark.parametrize("box", [48, 55])
def test_volumes_against_truth(snr, least, box):
    """Mean Dice of benchmarks/auto_mask.py is above 0.9 from SNR 0.1 on; these are single maps."""
    v = density(box, 7)
    assert dice(masked(noisy(v, snr, box)), envelope(v)) > least


@pytest.mark.parametrize(("snr", "least"), [(0.3, 0.88), (1.0, 0.92), (1e6, 0.93)])
def test_images_against_truth(snr, least):
    for box, seed in ((64, 3), (81, 4)):
        v = density(box, seed, 2)
        assert dice(masked(noisy(v, snr, seed)), envelope(v)) > least


def test_what_must_not_matter():
    """Grey scale, sign, place in the box."""
    x = noisy(density(40, 5), 0.3, 1)
    mask = masked(x)
    assert np.array_equal(masked(1000 * x + 77), mask)
    dark = modulation(-x)
    assert dark.dark and np.array_equal(region(dark.map, automatic_threshold(dark.map)), mask)
    moved = masked(np.roll(x, (3, -2, 4), (0, 1, 2)))
    assert dice(np.roll(moved, (-3, 2, -4), (0, 1, 2)), mask) > 0.999
    assert dice(masked(x, contrast="both"), mask) > 0.9
    assert not masked(x, contrast="dark").sum() > 0.2 * mask.sum()


def test_more_noise_more_smoothing():
    v = density(40, 6)
    scales = [modulation(noisy(v, snr, 2)).scale for snr in (0.01, 0.1, 1.0)]
    assert scales[0] > scales[1] > scales[2] >= 1.0
    assert modulation(noisy(v, 1.0, 2), pixel_size=1.0).scale >= scale_of(2 / 15), "not finer than 15 A"
    assert frequency_of(scale_of(0.4)) == pytest.approx(0.4)


def test_uneven_background_goes_with_a_high_pass():
    v = density(64, 8, 2)
    slope = np.linspace(0, 8 * v.std(), 64, dtype=np.float32)[:, None]
    x = noisy(v, 2.0, 3) + slope
    assert dice(masked(x, low=0.06), envelope(v)) > 0.6 > dice(masked(x), envelope(v))


def test_pure_noise_claims_nothing(tmp_path, im4d):
    x = rng_for(0, "noise").standard_normal((3, 32, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "n.hed", x)
    done = im4d("auto-mask", tmp_path / "n.hed", tmp_path / "m.hed")
    assert "hardly anything stands out of the background in 3 of 3" in done.stdout
    assert read_stack(str(tmp_path / "m.hed"))[0].mean() < 0.05


def test_background_of_masked_maps():
    """The surround of a map that was masked before is no background."""
    x = rng_for(0, "background").standard_normal((48, 48)).astype(np.float32) * 3 + 10
    assert background(x).mean == pytest.approx(10, abs=0.3) and background(x).sd == pytest.approx(3, rel=0.05)
    grid = np.arange(48) - 24
    outside = np.hypot(grid[:, None], grid) > 18
    x[outside] = 0
    assert background(x).mean == pytest.approx(10, abs=0.4) and background(x).sd == pytest.approx(3, rel=0.08)
    assert background(np.zeros((8, 8))).sd > 0


def test_region_and_edge():
    level = np.zeros((20, 30), np.float32)
    level[2:9, 3:12] = 5
    level[4:6, 5:8] = 0  # a hole
    level[12:15, 20:24] = 5
    one = region(level, 2)
    assert one.sum() == 63 and not one[12:15, 20:24].any() and one[4, 5]
    assert region(level, 2, fill=False).sum() == 57
    assert region(level, 2, components=2).sum() == 75 and region(level, 2, components=0).sum() == 75
    soft = soft_mask(one, 2, 4)
    distance = ndimage.distance_transform_edt(~one)
    assert np.all(soft[distance <= 2] == 1) and np.all(soft[distance >= 6] == 0)
    assert np.all(soft[(distance > 2) & (distance < 6)] > 0) and soft.max() == 1
    assert not soft_mask(np.zeros((4, 4), bool), 1, 1).any()
    ramp = np.add.outer(np.arange(40.0), np.arange(40.0)).astype(np.float32)
    _, found = threshold_for(ramp, 400)
    assert abs(int(found.sum()) - 400) < 30


@pytest.fixture
def volumes(tmp_path, monkeypatch):
    """Two noisy volumes of 28 x 30 x 33 with headers."""
    v = np.stack([noisy(np.ascontiguousarray(density(36, k)[4:32, 3:33, 2:35]), 0.5, k) for k in (1, 2)])
    h = blank_headers(56, 30, 33, 28, pixel_size=5.0)
    h["REF3D"] = np.repeat([4, 5], 28)
    write_stack(tmp_path / "v.hed", v, h)
    monkeypatch.chdir(tmp_path)
    return v


def test_outputs(im4d, volumes):
    done = im4d(
        "AUTOMATIC-MASK", "v", "m.hed", "--mode", "DO_IT_ALL", "--modulation", "mod.hed", "--masked", "x.hed", "--json"
    ).json
    mask, h = read_stack("m")
    level, masked_ = read_stack("mod")[0], read_stack("x")[0]
    assert mask.shape == volumes.shape and mask.min() == 0 and mask.max() == 1
    assert np.array_equal(masked_, volumes * mask)
    assert h["REF3D"].tolist() == [4] * 28 + [5] * 28 and h["DENSMAX"].tolist() == [1] * 56
    for k, said in enumerate(done["masks"]):
        inside = region(level[k], said["threshold"])
        assert said["location"] == k + 1 and said["percent"] == pytest.approx(100 * inside.mean())
        assert said["kilodalton"] == pytest.approx(inside.sum() * 125 / 1210)
        assert np.all(mask[k][inside] == 1)
    # again from the map: the same, then another size
    im4d("auto-mask", "v", "again", "--mode", "REFINE_THRESHOLD", "--from-modulation", "mod")
    same_bytes("again.img", "m.img")
    done = im4d("auto-mask", "v", "ten", "--mode", "refine", "--from-modulation", "mod", "--percent", "10", "--json").json
    assert [m["percent"] for m in done["masks"]] == pytest.approx([10, 10], abs=0.1)
    done = im4d("auto-mask", "v,2", "heavy", "--mass", "300", "--falloff", "0", "--json").json
    assert done["masks"][0]["kilodalton"] == pytest.approx(300, rel=0.02) and done["objects"] == 1
    done = im4d("auto-mask", "v", "t", "--threshold", "4", "--extend", "0.1", "--components", "0", "--keep-holes", "--json").json
    assert [m["threshold"] for m in done["masks"]] == [4, 4]


def test_images_of_any_format_and_sections(im4d, volumes, tmp_path, shared_data):
    im4d("auto-mask", "v", "s.mrcs", "--what", "images", "--loc", "10-14")
    mask = read_stack("s.mrcs")[0]
    assert mask.shape == (5, 30, 33)
    assert np.array_equal(mask[2], soft_mask(masked(volumes[0, 11], pixel_size=5.0), 0, 3))
    im4d("auto-mask", shared_data / "imagic" / "bsoft" / "rect_intg", "r")
    im4d("auto-mask", shared_data / "formats" / "smallVolumeStack.stk", "spider.hed")
    assert read_stack("r")[0].shape == (4, 48, 64) and read_stack("spider")[0].shape == (4, 4, 64, 64)


def test_real_maps(shared_data, tmp_path):
    """The particle is found whole, and nothing at the border."""
    for name, low, high in (("clean70SRibosome_vol_65p.mrc", 7, 11), ("groel-11.5A.mrc", 8, 11), ("emd_5556.map", 6, 10)):
        done = auto_mask(shared_data / "maps" / name, tmp_path / "m.mrc", overwrite=True)
        assert low < done.masks[0].percent < high and not done.masks[0].faint
        mask = read_stack(str(tmp_path / "m.mrc"))[0][0]
        middle = tuple(slice(n // 4, -(n // 4)) for n in mask.shape)
        assert mask[middle].sum() > 0.6 * mask.sum()


def test_same_bytes_for_any_threads(volumes):
    for threads in (1, 3):
        auto_mask("v", f"t{threads}", threads=threads)
    same_bytes("t1.img", "t3.img")


WRONG = {
    "--threshold 2 --mass 5": (2, "one of --threshold"),
    "--percent 100": (2, "between 0 and 100"),
    "--mass 1e9": (4, "the box has 27720"),
    "--mode refine-threshold": (2, "needs --from-modulation"),
    "--mode refine-threshold --from-modulation no": (3, "not found"),
    "--mode refine-threshold --from-modulation v,1": (4, "same objects"),
    "--mode refine-threshold --from-modulation v --low-pass 0.3": (2, "takes it as it is"),
    "--from-modulation v": (2, "belongs to --mode"),
    "--mode refine-threshold --from-modulation v --modulation w": (2, "no new modulation"),
    "--what images --mass 5": (4, "for images give --percent"),
    "--modulation m.hed": (2, "different names"),
    "--loc 3": (3, "out of range"),
    "--low-pass 12B": (2, "not a frequency"),
}


@pytest.mark.parametrize("text", WRONG)
def test_bad_input(im4d, volumes, tmp_path, text):
    before = sorted(p.name for p in tmp_path.iterdir())
    code, words = WRONG[text]
    assert re.search(words, im4d("auto-mask", "v", "m.hed", *text.split(), code=code).stderr)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_mass_needs_a_pixel_size(im4d, tmp_path):
    write_stack(tmp_path / "v.hed", density(24, 1)[None])
    assert "--pixel-size" in im4d("auto-mask", tmp_path / "v", tmp_path / "m", "--mass", "100", code=3).stderr
    im4d("auto-mask", tmp_path / "v", tmp_path / "m", "--mass", "100", "--pixel-size", "5")
