"""Pictures from arrays: greys, PNG, surfaces, direction maps, terminal text, figures."""

import io

import numpy as np
import pytest
from fake_run import fake_run

from imagic4d_core.geometry.euler import random_rotations
from imagic4d_core.pictures import curves, grey, montage, png, rundata, sphere, style, terminal, volumes
from imagic4d_core.rng import rng_for


def decode(data: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return np.rint(imread(io.BytesIO(data)) * 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3), (3, 5, 4), (1, 1)])
def test_png_is_read_back_by_another_program(shape):
    pixels = rng_for(1, "tests/png").integers(0, 256, shape).astype(np.uint8)
    if shape[-1:] == (4,) and len(shape) == 3:
        pixels[..., 3] = 255
    data = png.encode_png(pixels)
    assert decode(data).shape == shape
    assert np.array_equal(decode(data), pixels)
    assert data == png.encode_png(pixels)


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 2, 2), (2, 2, 2, 3)])
def test_png_refuses_what_is_no_picture(shape):
    with pytest.raises(ValueError, match="no picture"):
        png.encode_png(np.zeros(shape, np.uint8))


def test_contrast_ignores_hot_pixels_and_survives_constant_and_nan():
    image = rng_for(1, "tests/grey").normal(0, 1, (64, 64))
    image[0, 0], image[1, 1], image[2, 2] = 1e6, np.nan, np.inf
    low, high = grey.robust_limits(image)
    assert -4 < low < -2 and 2 < high < 4
    assert grey.to_grey(image)[0, 0] == 255 and grey.to_grey(image)[1, 1] == 0
    assert grey.robust_limits(np.full(9, 3.0)) == (2.5, 3.5)
    assert grey.robust_limits(np.full(9, np.nan)) == (0.0, 1.0)


@pytest.mark.parametrize(("shape", "size"), [((32, 32), 96), ((256, 256), 96), ((20, 50), 100), ((33, 33), 33)])
def test_tiles_keep_aspect_mean_and_centre(shape, size):
    x, y = (np.arange(n) - n // 2 for n in shape)
    image = np.exp(-(x[:, None] ** 2 + y**2) / (2 * (0.1 * min(shape)) ** 2)).astype(np.float32)
    fitted = grey.fit_tile(image, size)
    assert max(fitted.shape) == size
    assert fitted.mean() == pytest.approx(image.mean(), rel=0.03)
    i, j = np.unravel_index(fitted.argmax(), fitted.shape)
    assert abs(i / fitted.shape[0] - 0.5) < 0.06 and abs(j / fitted.shape[1] - 0.5) < 0.06


def ball(n, centre=(0, 0, 0), radius=6.0):
    z, x, y = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    r = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return (1 / (1 + np.exp(2 * (r - radius)))).astype(np.float32)


@pytest.mark.parametrize("n", [32, 33])
def test_depth_of_a_ball_is_that_of_a_sphere(n):
    surface = volumes.ray_cast(ball(n), 0.5, n)
    c = n // 2
    assert surface.depth[c, c] == pytest.approx(6.0, abs=0.1)
    assert surface.depth[c + 3, c] == pytest.approx(np.sqrt(27), abs=0.15)
    assert np.isnan(surface.depth[0, 0])
    assert surface.normal[:, c, c] == pytest.approx([0, 0, 1], abs=0.05)
    assert np.count_nonzero(np.isfinite(surface.depth)) == pytest.approx(np.pi * 36, rel=0.06)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_surface_views_agree_with_projections(k):
    volume = ball(40, (5, -8, 3), 4) + ball(40, (-6, 2, -9), 5) + ball(40, (2, 9, 7), 3)
    seen = volumes.surface_picture(volume, 40, level=0.5, view=volumes.VIEW_MATRICES[k])[..., 3] > 127
    cast = volumes.projections((volume >= 0.5).astype(np.float32))[k] > 0
    assert np.count_nonzero(seen != cast) < 0.12 * np.count_nonzero(cast)
    assert np.allclose(volumes.VIEW_MATRICES[k] @ volumes.VIEW_MATRICES[k].T, np.eye(3))
    assert np.linalg.det(volumes.VIEW_MATRICES[k]) == pytest.approx(1.0)


def test_threshold_separates_object_from_noise_and_dust_goes():
    noisy = ball(32) + rng_for(2, "tests/surface").normal(0, 0.08, (32, 32, 32)).astype(np.float32)
    level = volumes.isovalue(noisy)
    assert 0.24 <= level < 0.9
    speck = ball(32).copy()
    speck[2, 2, 2] = 1.0
    assert volumes.without_dust(speck, 0.5)[2, 2, 2] < 0.5
    assert volumes.object_frame(ball(64)) < 0.35
    cut = volumes.crop_centre(ball(33), 0.5)
    assert cut[tuple(n // 2 for n in cut.shape)] == ball(33)[16, 16, 16]


@pytest.mark.parametrize("volume", [np.zeros((16, 16, 16)), np.ones((16, 16, 16)), np.full((12, 12, 12), np.nan)])
def test_empty_volumes_give_pictures_too(volume):
    assert volumes.surface_picture(volume, 32).shape == (32, 32, 4)
    assert len(rundata.volume_tiles(volume, 1).sections) == 3


def test_volumes_need_not_be_cubes():
    assert volumes.surface_picture(ball(32)[4:28, :, 2:30], 48)[..., 3].max() == 255


def test_equal_area_map_goes_there_and_back_and_keeps_area():
    d = random_rotations(rng_for(3, "tests/sphere"), 4000)[:, 2]
    points, upper = sphere.equal_area(d)
    back = np.where(upper[:, None], sphere.disc_directions(points, True), sphere.disc_directions(points, False))
    assert np.allclose(back, d, atol=1e-9)
    # uniform directions fill the disc evenly: half of them within radius sqrt(1/2)
    assert np.mean((points**2).sum(1) < 0.5) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("count", [500, 20000])
def test_density_of_uniform_views_is_one_and_of_preferred_ones_is_not(count):
    d = random_rotations(rng_for(4, "tests/density"), count)[:, 2]
    assert sphere.density(d, d[:200]).mean() == pytest.approx(1.0, abs=0.25)
    pole = np.concatenate([d, np.tile([0.0, 0.0, 1.0], (count, 1))])
    there = sphere.density(pole, [[0, 0, 1], [0, 0, -1]])
    assert there[0] > 5 and there[1] == pytest.approx(0.5, abs=0.4)
    assert np.array_equal(sphere.density(np.empty((0, 3)), d[:3]), np.zeros(3))


def test_half_blocks_hold_two_pixels_a_character():
    picture = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 0, 255], [0, 0, 0]]], np.uint8)
    assert terminal.half_blocks(picture) == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;0;0;48;2;0;0;0m▀\x1b[0m"
    assert terminal.half_blocks(picture, true_colour=False) == "\x1b[38;5;196;48;5;21m▀\x1b[38;5;16;48;5;16m▀\x1b[0m"
    greys = np.repeat(np.arange(0, 256, 28, dtype=np.uint8)[None], 2, axis=0)
    assert terminal.ascii_greys(greys) == terminal.RAMP
    wide = terminal.half_blocks(np.zeros((100, 200), np.uint8), 40).split("\n")
    assert len(wide) == 10 and all(line.count("▀") == 40 for line in wide)


def test_montage_holds_every_tile():
    tiles = [montage.Tile(np.full((20, 24), 40 * k, np.uint8), f"{k}") for k in range(5)]
    picture = decode(montage.montage_png(tiles, 3))
    assert picture.shape[1] == 5 + 3 * 29 and picture.shape[0] == 5 + 2 * (20 + 15 + 5)
    assert picture[8, 8, 0] == 0 and picture[8, 8 + 29, 0] == 40
    text = montage.montage_text(tiles, 3, 80, colour=False).splitlines()
    assert len(text) == 2 * 11 and "0" in text[10]
    assert montage.montage_text(tiles, 3, 80).count("▀") == 5 * 10 * 24
    assert montage.montage_png(tiles, 3) == montage.montage_png(tiles, 3)


def test_figures_are_the_same_bytes_twice_and_leave_settings_alone():
    import matplotlib

    run = fake_run(3, 40)
    before = dict(matplotlib.rcParams)

    def draw():
        with style.figures():
            views = sphere.orientation_figure({k: run.matrices[run.ref3d == k, 2] for k in (1, 2, 3)})
            figures = [
                curves.fsc_figure(run.fsc["volumes"], 3.0),
                curves.convergence_figure(run.journal, [20, 20]),
                curves.confidence_figure(run.confidence, run.margin, run.ref3d),
                curves.sizes_figure({1: 10, 2: 30}),
                views,
            ]
            return [style.figure_svg(f, f"f{k}", "a < b") for k, f in enumerate(figures)] + [style.figure_png(figures[0])]

    first, second = draw(), draw()
    assert first == second
    assert dict(matplotlib.rcParams) == before
    for svg in first[:-1]:
        assert svg.startswith("<svg") and "http:" not in svg and "<metadata" not in svg and 'aria-label="a &lt; b"' in svg
        assert "currentColor" in svg


@pytest.mark.parametrize(
    "journal", [[], [{"iteration": 1}], [{"iteration": 1, "sizes": [3, 4], "moved": None}], [{"iteration": 2, "sizes": []}]]
)
def test_thin_journals_are_drawn(journal):
    with style.figures():
        style.figure_png(curves.convergence_figure(journal), dpi=40)


def test_examples_do_not_overlap():
    groups = rundata.example_indices(np.array([0.1, np.nan, 0.9, 0.5, 0.7, 0.3, 0.2, 0.8, 0.6, 0.4]), each=3)
    assert [g for g, _ in groups] == ["best", "median", "worst"]
    assert [i.tolist() for _, i in groups] == [[2, 7, 4], [8, 3, 9], [5, 6, 0]]
    assert rundata.example_indices(np.full(4, np.nan)) == []
    assert len(rundata.example_indices(np.array([1.0, 0.5]))) == 1


def test_plain_words_admit_chance():
    run = fake_run(3, 40, noise=True)
    record = rundata.Run("r", run.summary, run.fsc, [], [], {}, run.ref3d, run.ccc, run.confidence, run.margin, [])
    text = " ".join(line for _, line in rundata.plain_words(record))
    for words in (
        "not above chance",
        "both hands are possible from projections alone",
        "halves share references: not independent",
    ):
        assert words in text
    record.fsc = {**run.fsc, "independent": True}
    assert "not independent" not in " ".join(line for _, line in rundata.plain_words(record))


@pytest.mark.parametrize("numbers", [np.arange(1, 9), np.arange(5, 45, 2)])
def test_classes_on_a_map_do_not_share_colours(numbers):
    from imagic4d_core.pictures.msa import map_figure

    points = np.random.default_rng(0).standard_normal((len(numbers) * 5, 2)).astype(np.float32)
    figure = map_figure(points, np.repeat(numbers, 5), [], (1, 2), None, "class")
    colours = [tuple(c.get_facecolor()[0]) for c in figure.axes[0].collections if len(c.get_offsets())]
    assert len(colours) == len(set(colours)) == min(len(numbers), 11)  # ten, and grey for the rest
