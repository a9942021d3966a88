"""The FFT door: centring, shift theorem, cutting and padding of spectra, even and odd sizes."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.fft

from imagic4d_core import fourier
from imagic4d_core.rng import rng_for

SHAPES = [(8,), (9,), (8, 9), (9, 8), (8, 8), (7, 8, 9), (8, 8, 8)]


def grids(shape):
    return np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape, dtype):
    x = rng_for(1, "test").standard_normal((3, *shape)).astype(dtype)
    f = fourier.centred_rfftn(x, len(shape))
    assert f.dtype == (np.complex64 if dtype == np.float32 else np.complex128)
    back = fourier.centred_irfftn(f, shape)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, x, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_centred_symmetric_object_has_a_real_spectrum(shape):
    f = fourier.centred_rfftn(np.exp(-0.5 * sum(g**2 for g in grids(shape)) / 1.2**2), len(shape))
    np.testing.assert_allclose(f.imag, 0, atol=3e-3 * f.real.max())
    delta = np.zeros(shape)
    delta[tuple(n // 2 for n in shape)] = 1
    np.testing.assert_allclose(fourier.centred_rfftn(delta, len(shape)), 1, atol=1e-12)


@pytest.mark.parametrize("n", [8, 9])
def test_shift_theorem(n):
    x = rng_for(2, "test").standard_normal((n, n))
    f = fourier.centred_rfftn(x, 2)
    ramp = np.exp(-2j * np.pi * (2 * fourier.frequencies(n)[:, None] - fourier.half_frequencies(n)))
    moved = fourier.centred_irfftn(f * ramp, (n, n))
    np.testing.assert_allclose(moved, np.roll(x, (2, -1), (0, 1)), atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(8, 12), (8, 13), (9, 12), (9, 15), (12, 8), (13, 8), (12, 9), (15, 9), (8, 8)])
def test_crop_keeps_a_band_limited_object(n, m):
    """Fourier interpolation of waves below both Nyquists is exact: the same function on a finer or coarser grid."""

    def wave(size):
        x, y = (g / size for g in grids((size, size)))
        return 1 + np.cos(2 * np.pi * (2 * x - y) + 0.3) + np.sin(2 * np.pi * 3 * y)

    f = fourier.crop_rfftn(fourier.centred_rfftn(wave(n), 2), (n, n), (m, m))
    np.testing.assert_allclose(fourier.centred_irfftn(f, (m, m)) * (m / n) ** 2, wave(m), atol=1e-10)


def test_crop_of_a_real_object_stays_real():
    x = rng_for(3, "test").standard_normal((2, 8, 8))
    f = fourier.crop_rfftn(fourier.centred_rfftn(x, 2), (8, 8), (12, 12))
    again = fourier.centred_rfftn(fourier.centred_irfftn(f, (12, 12)), 2)
    np.testing.assert_allclose(again, f, atol=1e-12)


@pytest.mark.parametrize(("n", "size"), [(8, 8), (8, 12), (9, 12), (7, 15)])
def test_padded_cube(n, size):
    v = rng_for(4, "test").standard_normal((n, n, n))
    big = np.zeros((size,) * 3)
    start = size // 2 - n // 2
    big[(slice(start, start + n),) * 3] = v
    want = fourier.centred_rfftn(big, 3)
    keep = size // 2
    np.testing.assert_allclose(fourier.padded_rfft3(v, size, keep), want[..., :keep], atol=1e-10)
    np.testing.assert_allclose(fourier.cropped_irfft3(want, size, n), v, atol=1e-10)


@pytest.mark.parametrize("n", [1, 7, 64, 97, 130, 257])
def test_good_sizes(n):
    size = fourier.good_size(n)
    assert size >= n
    assert size % 2 == 0
    for p in (2, 3, 5, 7, 11):
        while size % p == 0:
            size //= p
    assert size == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i2", ">f4"])
@pytest.mark.parametrize("shape", [(3, 8), (2, 9, 7), (2, 12, 8, 5)])
def test_the_same_bytes_as_scipy_fft(shape, dtype):
    """The door opens scipy's compiled module itself; the package around it must give the same."""
    x = (100 * rng_for(5, "test").standard_normal(shape)).astype(dtype)
    d = len(shape) - 1
    axes = tuple(range(-d, 0))
    same = [
        (fourier.rfftn(x, d), scipy.fft.rfftn(x, axes=axes)),
        (fourier.rfftn(x, d, workers=2), scipy.fft.rfftn(x, axes=axes)),
        (fourier.rfft_lines(x, 1), scipy.fft.rfft(x, axis=1)),
        (fourier.fft_lines(x, 1), scipy.fft.fft(x, axis=1)),
        (fourier.centred_fftn(x, d), scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(x, axes=axes), axes=axes), axes=axes)),
    ]
    f = scipy.fft.rfftn(x, axes=axes)
    same += [
        (fourier.irfftn(f, shape[1:]), scipy.fft.irfftn(f, s=shape[1:], axes=axes)),
        (fourier.irfftn(f, shape[1:], workers=3), scipy.fft.irfftn(f, s=shape[1:], axes=axes)),
        (fourier.irfft_lines(f, 21, -1), scipy.fft.irfft(f, n=21, axis=-1)),  # filled up with zeros
        (fourier.irfft_lines(f, 3, -1), scipy.fft.irfft(f, n=3, axis=-1)),  # cut
        (fourier.irfft_lines(f.real, 3, -1), scipy.fft.irfft(f.real, n=3, axis=-1)),
        (fourier.ifft_lines(f.copy(), 1), scipy.fft.ifft(f, axis=1)),
    ]
    for ours, theirs in same:
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
    assert [fourier.good_size(n) for n in (5, 14, 127, 513)] == [6, 16, 128, 540]
    for n in (1, 7, 8):
        assert fourier.frequencies(n).tobytes() == scipy.fft.fftfreq(n).tobytes()
        assert fourier.half_frequencies(n).tobytes() == scipy.fft.rfftfreq(n).tobytes()


ORDERS = {
    "ours first": "from imagic4d_core import fourier as f; import scipy.fft, scipy.ndimage",
    "scipy first": "import scipy.fft, scipy.signal; from imagic4d_core import fourier as f",
    "moved": "import importlib.machinery as m; m.EXTENSION_SUFFIXES = []; import imagic4d_core.fourier as f; import scipy.fft",
}


@pytest.mark.parametrize("order", ORDERS)
def test_scipy_fft_and_the_door_live_together(order):
    code = f"{ORDERS[order]}\nimport numpy as np, sys; x = np.arange(12.0).reshape(3, 4)\n"
    code += "assert (f.rfftn(x, 2) == scipy.fft.rfftn(x)).all() and (scipy.fft.fft(x) == f.fft_lines(x, 1)).all()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scipy_fft_itself_is_not_loaded():
    code = "import sys, imagic4d_core.fourier; sys.exit(bool({'scipy.fft', 'scipy.special'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(3, 8), (2, 7), (2, 6, 9), (2, 5, 8, 7)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_documented_functions_of_scipy_do_as_well(monkeypatch, shape, kind):
    """Where scipy's compiled pocketfft lies elsewhere: the same bytes from its public face."""
    x = np.random.default_rng(3).standard_normal(shape).astype(kind)
    ndim = len(shape) - 1

    def everything():
        half = fourier.rfftn(x, ndim)
        out = [half, fourier.irfftn(half, shape[1:]), fourier.centred_rfftn(x, ndim)]
        out.append(fourier.centred_irfftn(out[2], shape[1:]))
        out += [fourier.amplitudes(x), fourier.centred_fftn(x, ndim), fourier.line_rfft(x)]
        out += [fourier.centred_ifftn(out[-2], ndim), fourier.irfft_lines(out[-1], shape[1], 1)]
        return [a.tobytes() for a in out], fourier.good_size(101), fourier.good_size(67)

    want = everything()
    monkeypatch.setattr(fourier, "_pocketfft", fourier._documented())
    assert everything() == want
