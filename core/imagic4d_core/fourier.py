"""The only door to FFTs: the compiled pocketfft of scipy.

Convention: arrays are real-space objects centred at index ``N // 2``. Spectra are in numpy's order (frequency 0 at
index 0), complex64, and have the phase of an object whose centre is at index 0, so a centred real symmetric
object has a real spectrum.
"""

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy import fft as _numpy_fft
from numpy.typing import NDArray


def _load() -> Any:
    """scipy's compiled pocketfft without the package scipy.fft around it: importing that takes longer than importing numpy.

    It is entered under the name by which scipy knows it. It is no part of scipy's public face: a scipy that has it elsewhere, or
    no longer, is used by its documented functions, which give the same numbers.
    """
    name = "scipy.fft._pocketfft.pypocketfft"
    found = None if name in sys.modules else importlib.util.find_spec("scipy")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(folder, "fft", "_pocketfft", f"pypocketfft{suffix}")
            spec = importlib.util.spec_from_file_location(name, path) if os.path.isfile(path) else None
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                sys.modules[name] = module
                return module
    try:
        return importlib.import_module(name)
    except ImportError:
        return _documented()


def _documented() -> Any:
    """The functions of `scipy.fft`, called as those of pocketfft."""
    from scipy import fft

    def c2r(f: NDArray, axes: tuple[int, ...], last: int, forward: bool, norm: int, out: None, workers: int) -> Any:
        return fft.irfftn(f, s=[*(f.shape[a] for a in axes[:-1]), last], axes=axes, workers=workers)

    def c2c(x: NDArray, axes: tuple[int, ...], forward: bool, norm: int, out: NDArray | None, workers: int) -> Any:
        return (fft.fftn if forward else fft.ifftn)(x, axes=axes, overwrite_x=out is not None, workers=workers)

    def r2c(x: NDArray, axes: tuple[int, ...], forward: bool, norm: int, out: None, workers: int) -> Any:
        return fft.rfftn(x, axes=axes, workers=workers)

    return SimpleNamespace(r2c=r2c, c2r=c2r, c2c=c2c, good_size=fft.next_fast_len)


_pocketfft = _load()


def _axes(ndim: int) -> tuple[int, ...]:
    return tuple(range(-ndim, 0))


def _numbers(x: NDArray) -> NDArray:
    """Floating-point numbers in native byte order; whole numbers become float64, float16 float32, as in scipy."""
    x = np.asarray(x)
    if x.dtype.kind not in "fc":
        return x.astype(np.float64)
    return np.require(x, np.float32 if x.dtype.itemsize == 2 else x.dtype.newbyteorder("="), "A")


def _fitted(f: NDArray, n: int, axis: int) -> NDArray:
    """The first `n` values along an axis, zeros where there are fewer."""
    have = f.shape[axis]
    if have >= n:
        return f[(*(slice(None),) * (axis % f.ndim), slice(0, n))]
    shape = list(f.shape)
    shape[axis] = n - have
    return np.concatenate([f, np.zeros(shape, f.dtype)], axis=axis)


def _real(x: NDArray, axes: tuple[int, ...], workers: int = 1) -> NDArray[np.complexfloating]:
    """Half spectra, the last of the axes halved."""
    return _pocketfft.r2c(_numbers(x), axes, True, 0, None, workers)


def _back(f: NDArray, shape: Sequence[int], axes: tuple[int, ...], workers: int = 1) -> NDArray[np.floating]:
    """Inverse of `_real`, `shape` the real-space lengths along the axes."""
    f = _numbers(f)
    f = f if f.dtype.kind == "c" else f + 0j
    for n, axis in zip((*shape[:-1], shape[-1] // 2 + 1), axes, strict=True):
        f = _fitted(f, n, axis)
    return _pocketfft.c2r(f, axes, shape[-1], False, 2, None, workers)


def _complex(x: NDArray, axes: tuple[int, ...], forward: bool, over: bool = False) -> NDArray[np.complexfloating]:
    """Full spectra, or back; `over` lets it use the memory of a complex array."""
    x = _numbers(x)
    return _pocketfft.c2c(x, axes, forward, 0 if forward else 2, x if over and x.dtype.kind == "c" else None, 1)


def centred_rfftn(x: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Real FFT over the last `ndim` axes of arrays centred at ``N // 2``.

    Parameters
    ----------
    x : ndarray, shape (..., n1, ..., n_ndim), float32 or float64
    ndim : {1, 2, 3}

    Returns
    -------
    ndarray, shape (..., n1, ..., n_ndim // 2 + 1), complex64 or complex128
    """
    axes = _axes(ndim)
    return _real(_numpy_fft.ifftshift(x, axes=axes), axes)


def centred_irfftn(f: NDArray, shape: Sequence[int]) -> NDArray[np.floating]:
    """Inverse of `centred_rfftn`; `shape` is the real-space shape of the last ``len(shape)`` axes."""
    axes = _axes(len(shape))
    return _numpy_fft.fftshift(_back(f, shape, axes), axes=axes)


def good_size(n: int) -> int:
    """Smallest even FFT-friendly size >= n."""
    m = _pocketfft.good_size(int(n), True)
    while m % 2:
        m = _pocketfft.good_size(m + 1, True)
    return m


def crop_rfftn(f: NDArray, shape: Sequence[int], new: Sequence[int]) -> NDArray:
    """Cut or zero-pad half spectra to another real-space size (Fourier interpolation), values unscaled.

    Parameters
    ----------
    f : ndarray, shape (..., n1, ..., n_d // 2 + 1)
        Half spectra as given by `centred_rfftn`.
    shape, new : sequence of int
        Old and new real-space sizes of the last axes. The lone Nyquist plane of an even size is dropped when the
        size changes, so that real objects stay real.
    """
    d = len(shape)
    out = np.zeros((*f.shape[:-d], *new[:-1], new[-1] // 2 + 1), dtype=f.dtype)
    src: list[list[slice]] = []
    dst: list[list[slice]] = []
    for a, (n, m) in enumerate(zip(shape, new, strict=True)):
        k = min(n, m)
        # largest frequency kept: below Nyquist of the smaller grid, or all of it where nothing changes
        if n == m:
            src.append([slice(None)])
            dst.append([slice(None)])
            continue
        h = (k - 1) // 2
        if a == d - 1:
            src.append([slice(0, h + 1)])
            dst.append([slice(0, h + 1)])
        else:
            src.append([slice(0, h + 1), slice(n - h, n)])
            dst.append([slice(0, h + 1), slice(m - h, m)])
    for combo in np.ndindex(*[len(s) for s in src]):
        out[(..., *[dst[a][i] for a, i in enumerate(combo)])] = f[(..., *[src[a][i] for a, i in enumerate(combo)])]
    return out


def rfftn(x: NDArray, ndim: int, *, workers: int = 1) -> NDArray[np.complexfloating]:
    """Real FFT over the last `ndim` axes with the origin at index 0 (no centring); the same bytes for any number of `workers`."""
    return _real(x, _axes(ndim), workers)


def irfftn(f: NDArray, shape: Sequence[int], *, workers: int = 1) -> NDArray[np.floating]:
    """Inverse real FFT over the last ``len(shape)`` axes with the origin at index 0 (no centring)."""
    return _back(f, shape, _axes(len(shape)), workers)


def padded_rfft3(v: NDArray, size: int, keep: int) -> NDArray[np.complexfloating]:
    """Spectrum of a centred cube in a larger box, skipping the lines that hold only padding.

    Parameters
    ----------
    v : ndarray, shape (n, n, n), float32 or float64
    size : int
        Padded size P >= n.
    keep : int
        Columns 0..keep-1 of the half axis are returned, keep <= P // 2 + 1.

    Returns
    -------
    ndarray, shape (P, P, keep), complex64 or complex128
        As `centred_rfftn` of the padded cube.
    """

    def spread(a: NDArray, axis: int) -> NDArray:
        n = a.shape[axis]
        c = n // 2
        shape = list(a.shape)
        shape[axis] = size
        out = np.zeros(shape, a.dtype)
        lead = (slice(None),) * axis
        out[(*lead, slice(0, n - c))] = a[(*lead, slice(c, n))]
        out[(*lead, slice(size - c, size))] = a[(*lead, slice(0, c))]
        return out

    f = _real(spread(v, 2), (2,))[:, :, :keep]
    f = _complex(spread(f, 1), (1,), True, over=True)
    return _complex(spread(f, 0), (0,), True, over=True)


def cropped_irfft3(f: NDArray, size: int, box: int) -> NDArray[np.floating]:
    """Inverse of `padded_rfft3`: the central cube of `box` of the padded cube of `size`.

    Parameters
    ----------
    f : ndarray, shape (size, size, keep), complex
        Columns from `keep` on are taken as 0. Its memory is used: the values are gone afterwards.

    Returns
    -------
    ndarray, shape (box, box, box)
    """

    def centre(a: NDArray, axis: int) -> NDArray:
        c = box // 2
        lead = (slice(None),) * axis
        return np.concatenate([a[(*lead, slice(size - c, size))], a[(*lead, slice(0, box - c))]], axis=axis)

    a = centre(_complex(f, (0,), False, over=True), 0)
    a = centre(_complex(a, (1,), False, over=True), 1)
    return centre(_back(a, (size,), (2,)), 2)


def frequencies(n: int) -> np.ndarray:
    """Frequencies of a full spectrum of `n` samples in cycles per pixel, shape (n,), float64."""
    return _numpy_fft.fftfreq(int(n))


def half_frequencies(n: int) -> np.ndarray:
    """Frequencies of a half spectrum of `n` samples in cycles per pixel, shape (n // 2 + 1,), float64."""
    return _numpy_fft.rfftfreq(int(n))


@lru_cache(maxsize=8)
def shells(n: int, ndim: int) -> NDArray[np.int64]:
    """Shell of every coefficient of a half spectrum of a square or cube of edge `n`: ``|k|`` in units of 1 / n, rounded.

    Returns
    -------
    ndarray, shape (n, ..., n // 2 + 1), int64, read-only
    """
    axes = [np.rint(frequencies(n) * n)] * (ndim - 1) + [np.rint(half_frequencies(n) * n)]
    square = sum(k * k for k in np.meshgrid(*axes, indexing="ij", sparse=True))
    out = np.rint(np.sqrt(square)).astype(np.int64)
    out.setflags(write=False)
    return out


def half_weights(n: int) -> NDArray[np.float64]:
    """How often each column of a half spectrum of `n` samples stands for a coefficient of the full one, shape (n // 2 + 1,)."""
    column = np.arange(n // 2 + 1)
    return np.where((column == 0) | (2 * column == n), 1.0, 2.0)


def line_rfft(x: NDArray) -> NDArray[np.complexfloating]:
    """Half spectrum along axis 1, origin at index 0."""
    return _real(x, (1,))


def rfft_lines(x: NDArray, axis: int) -> NDArray[np.complexfloating]:
    """Half spectra along one axis, origin at index 0."""
    return _real(x, (axis,))


def irfft_lines(f: NDArray, n: int, axis: int) -> NDArray[np.floating]:
    """Inverse of `rfft_lines`, `n` the real-space length."""
    return _back(f, (n,), (axis,))


def amplitudes(x: NDArray) -> NDArray[np.floating]:
    """Amplitude spectra of images, shape (..., lines, pixels), frequency 0 at index ``N // 2``; a shift does not change them."""
    return np.abs(_numpy_fft.fftshift(_complex(x, (-2, -1), True), axes=(-2, -1)))


def centred_fftn(x: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Full complex FFT over the last `ndim` axes, with the origin at index ``N // 2`` in both spaces."""
    axes = _axes(ndim)
    return _numpy_fft.fftshift(_complex(_numpy_fft.ifftshift(x, axes=axes), axes, True), axes=axes)


def centred_ifftn(f: NDArray, ndim: int) -> NDArray[np.complexfloating]:
    """Inverse of `centred_fftn`."""
    axes = _axes(ndim)
    return _numpy_fft.fftshift(_complex(_numpy_fft.ifftshift(f, axes=axes), axes, False), axes=axes)


def to_centre(x: NDArray, ndim: int) -> NDArray:
    """Move the origin of the last `ndim` axes from index 0 to index ``N // 2``."""
    return _numpy_fft.fftshift(x, axes=_axes(ndim))


def fft_lines(f: NDArray[np.complexfloating], axis: int) -> NDArray[np.complexfloating]:
    """Complex FFT along one axis, origin at index 0."""
    return _complex(f, (axis,), True)


def ifft_lines(f: NDArray[np.complexfloating], axis: int) -> NDArray[np.complexfloating]:
    """Inverse of `fft_lines`."""
    return _complex(f, (axis,), False, over=True)
