"""Every real file of the data folder opens with the shape and the values its README states; row order is proven."""

import mrcfile
import numpy as np
import pytest

from imagic4d_core.io.stack import open_stack, read_stack

SHAPES = {
    "imagic/raw_stack_untiltstack.hed": (14, 1, 80, 80),
    "imagic/raw_stack_tiltstack.hed": (14, 1, 80, 80),
    "imagic/smallStack.hed": (4, 1, 64, 64),
    "imagic/smallStack.mrcs": (4, 1, 64, 64),
    "imagic/smallStack.stk": (4, 1, 64, 64),
    "imagic/singleImage.hed": (1, 1, 3, 3),
    "imagic/singleImage.mrc": (1, 1, 3, 3),
    "imagic/singleImage.spi": (1, 1, 3, 3),
    "imagic/bsoft/rect_real.hed": (4, 1, 48, 64),
    "imagic/bsoft/rect_intg.hed": (4, 1, 48, 64),
    "imagic/bsoft/rect_pack.hed": (4, 1, 48, 64),
    "imagic/bsoft/fourd_real.hed": (4, 24, 28, 32),
    "formats/singleImage_swap.spi": (1, 1, 3, 3),
    "formats/smallVolume.vol": (1, 4, 64, 64),
    "formats/smallVolumeStack.stk": (4, 4, 64, 64),
    "formats/EMD-3001.map": (1, 73, 25, 43),
    "formats/EMD-3197.map": (1, 20, 20, 20),
    "formats/rawu048b.mrc": (1, 1, 1600, 1600),
    "classes/mixture_2D.mrcs": (100, 1, 96, 96),
    "classes/nup82/7.spi": (1, 1, 112, 112),
    "particles/atp_synthase_parts.stk": (50, 1, 128, 128),
    "particles/empiar_10076_7.mrc": (7, 1, 320, 320),
    "synthetic/hand.mrcs": (100, 1, 64, 64),
    "maps/clean70SRibosome_vol_65p.mrc": (1, 65, 65, 65),
    "maps/groel-11.5A.mrc": (1, 100, 100, 100),
    "maps/emd_5556.map": (1, 80, 80, 80),
    "maps/flatiron_states/3.mrc": (1, 32, 32, 32),
}
PIXELS = {
    "formats/EMD-3197.map": 11.4,
    "maps/groel-11.5A.mrc": 2.7,
    "maps/emd_5556.map": 2.93,
    "particles/empiar_10076_7.mrc": 1.31,
    "classes/mixture_2D.mrcs": None,
    "imagic/bsoft/rect_real.hed": None,
    "particles/atp_synthase_parts.stk": None,
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(shared_data, name):
    with open_stack(shared_data / name) as stack:
        assert stack.shape == SHAPES[name]
        assert stack.is_volumes == (SHAPES[name][1] > 1)
        assert np.isfinite(stack.read()).all()
        assert not stack.headers()["ALPHA"].any()


@pytest.mark.parametrize("name", PIXELS)
def test_pixel_size(shared_data, name):
    with open_stack(shared_data / name) as stack:
        assert stack.pixel_size == (None if PIXELS[name] is None else pytest.approx(PIXELS[name], rel=1e-4))


def test_row_order_by_the_micrograph(shared_data):
    """Particle k of the tilted stack is rows y to y + 79 of the MRC micrograph, turned upside down."""
    stored = np.fromfile(shared_data / "formats/rawu048b.mrc", np.uint8)[1024:].reshape(1600, 1600)
    with open_stack(shared_data / "formats/rawu048b.mrc") as stack:
        micrograph = stack.read()[0]
    assert np.array_equal(micrograph[800], stored[800])  # the centre stays
    with open_stack(shared_data / "imagic/raw_stack_tiltstack") as stack:
        images, titles = stack.read(), stack.headers()["NAME"]
    for image, title in zip(images, titles, strict=True):
        x, y = (int(v) for v in title.split(b"\0")[0].split(b","))
        # in our order line i of the micrograph is row (1600 - i) % 1600 of the file
        first = 1600 - (y + 79)
        cut = micrograph[first : first + 80, x : x + 80]
        assert np.corrcoef(cut.ravel(), image.ravel())[0, 1] > 0.9999
        assert np.corrcoef(cut[::-1].ravel(), image.ravel())[0, 1] < 0.9


def test_one_stack_in_three_formats(shared_data):
    """Xmipp did not flip between its formats: MRC read with `keep` equals the IMAGIC and the SPIDER file."""
    folder = shared_data / "imagic"
    for root, mrc, spider in (
        ("smallStack", "smallStack.mrcs", "smallStack.stk"),
        ("singleImage", "singleImage.mrc", "singleImage.spi"),
    ):
        native = read_stack(folder / root)[0]
        assert np.array_equal(native, read_stack(folder / mrc, rows="keep")[0])
        assert np.array_equal(native, read_stack(folder / spider)[0])
    assert np.array_equal(native, read_stack(shared_data / "formats/singleImage_swap.spi")[0])


def test_volumes_in_spider(shared_data):
    native = read_stack(shared_data / "imagic/smallStack")[0]
    assert np.array_equal(read_stack(shared_data / "formats/smallVolume.vol")[0][0], native)
    stack = read_stack(shared_data / "formats/smallVolumeStack.stk")[0]
    assert np.array_equal(stack[0], native)


def test_rows_and_columns_are_not_exchanged(shared_data):
    native = read_stack(shared_data / "imagic/smallStack")[0]
    real = read_stack(shared_data / "imagic/bsoft/rect_real")[0]
    assert np.array_equal(real, native[:, 8:56])
    for name, step in (("rect_intg", 1e-4), ("rect_pack", 2e-2)):
        other = read_stack(shared_data / f"imagic/bsoft/{name}")[0]
        a, b = np.polyfit(real.ravel(), other.ravel(), 1)
        assert np.abs((other - b) / a - real).max() < step * np.ptp(real)


def test_stack_of_volumes(shared_data):
    """Four volumes with one header each; the writer did not flip, so `keep` shows the maps as it took them."""
    four = read_stack(shared_data / "imagic/bsoft/fourd_real")[0]
    for k in range(4):
        map_ = read_stack(shared_data / f"maps/flatiron_states/{k + 1}.mrc", rows="keep")[0][0]
        assert np.allclose(four[k], 1000 * map_[4:28, 2:30], rtol=1e-5)


@pytest.mark.parametrize("name", ["formats/EMD-3001.map", "formats/EMD-3197.map", "maps/emd_5556.map", "maps/groel-11.5A.mrc"])
def test_maps_against_mrcfile(shared_data, name):
    with mrcfile.open(shared_data / name) as mrc:
        axes = [int(mrc.header[k]) for k in ("maps", "mapr", "mapc")]
        standard = mrc.data.transpose([axes.index(k) for k in (3, 2, 1)])
    with open_stack(shared_data / name) as stack:
        got = stack.read_volumes()[0]
    lines = standard.shape[1]
    assert np.array_equal(got, standard[:, (2 * (lines // 2) - np.arange(lines)) % lines])


def test_particles_by_content(shared_data):
    with open_stack(shared_data / "particles/atp_synthase_parts.stk") as stack:
        assert stack.format == "MRC"
        assert stack.read().min() == pytest.approx(-94.62796) and stack.read().max() == pytest.approx(123.37204)
