"""Reference-free centring of images and volumes: correlation with the rotational average of the total sum (IMAGIC's CENTER-IMAGE,
TOTSUM), and centres of mass (MASS)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.masks.shapes import distances
from imagic4d_core.parallel import SERIAL, Comm, map_blocks
from imagic4d_core.pixels.radial import rotational_average

#: Fixed point of the total sum: images have standard deviation 1.
UNIT = 2.0**30


def _grid(box: Sequence[int]) -> list[NDArray[np.float64]]:
    """Frequencies of half spectra along each axis, ready to broadcast."""
    d = len(box)
    axes = [fourier.frequencies(n) for n in box[:-1]] + [fourier.half_frequencies(box[-1])]
    return [k.reshape([-1 if i == axis else 1 for i in range(d)]) for axis, k in enumerate(axes)]


def shifted(spectra: NDArray[np.complex64], shifts: NDArray[np.float64], box: int | Sequence[int]) -> NDArray[np.complex64]:
    """Half spectra (n, ..., box // 2 + 1) of objects moved by `shifts` (n, d), pixels in the order of array axes.

    `box` is the real-space shape, or one number for a square.
    """
    shape = (box, box) if isinstance(box, int) else tuple(box)
    spread = (slice(None), *(None,) * len(shape))
    phase = sum(k * shifts[:, axis][spread] for axis, k in enumerate(_grid(shape)))
    return (spectra * np.exp(-2j * np.pi * phase)).astype(np.complex64)


def correlated(
    spectra: NDArray[np.complex64], reference: NDArray[np.float32], max_shift: float, max_frequency: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shifts that bring objects onto a reference: place of the highest correlation, to a fraction of a pixel.

    Parameters
    ----------
    spectra : ndarray, shape (n, ..., N // 2 + 1), complex64
        Half spectra of images or volumes.
    reference : ndarray, shape (..., N), float32
    max_shift : float
        Pixels.
    max_frequency : float
        Low-pass, fraction of Nyquist.

    Returns
    -------
    shifts : ndarray, shape (n, d), float64
        In the order of array axes.
    ccc : ndarray, shape (n,), float64
        Correlation coefficient at the peak pixel, of what passes the low-pass.
    """
    box = reference.shape
    d = len(box)
    k = np.sqrt(sum(g**2 for g in _grid(box))) if d > 2 else np.hypot(*_grid(box))
    keep = (k <= max_frequency / 2) & (k > 0)
    f = fourier.centred_rfftn(reference, d) * keep
    ccf = fourier.centred_irfftn(spectra * np.conj(f), box)
    flat = np.where(distances(box, dtype=np.float64) <= max_shift, ccf, -np.inf).reshape(len(ccf), -1).argmax(1)
    index = np.unravel_index(flat, box)
    peak = np.stack([i - n // 2 + _parabola(ccf, index, axis) for axis, (i, n) in enumerate(zip(index, box, strict=True))], 1)
    twice = np.full(box[-1] // 2 + 1, 2.0)
    twice[0] = 1.0
    if box[-1] % 2 == 0:
        twice[-1] = 1.0
    weight = keep * twice
    size = float(np.prod(box))
    power = (np.square(np.abs(spectra)) * weight).reshape(len(spectra), -1).sum(1, dtype=np.float64)
    own = float((np.square(np.abs(f)) * weight).sum(dtype=np.float64))
    norm = np.sqrt(power * own) / size
    ccc = ccf.reshape(len(ccf), -1)[np.arange(len(ccf)), flat] / np.where(norm > 0, norm, 1.0)
    return -peak, ccc.astype(np.float64)


def _parabola(ccf: NDArray, index: tuple[NDArray, ...], axis: int) -> NDArray[np.float64]:
    n = ccf.shape[axis + 1]
    k = np.arange(len(ccf))
    low_at, high_at = list(index), list(index)
    low_at[axis], high_at[axis] = index[axis] - 1, (index[axis] + 1) % n
    low, mid, high = ccf[(k, *low_at)], ccf[(k, *index)], ccf[(k, *high_at)]
    bend = low - 2 * mid + high
    return np.clip(np.where(bend < 0, 0.5 * (low - high) / np.where(bend < 0, bend, 1), 0.0), -0.5, 0.5).astype(np.float64)


def normalised(data: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Objects (n, ...) with mean 0 and standard deviation 1, in place; and which of them are constant (and become 0)."""
    axes = tuple(range(1, data.ndim))
    mean = data.mean(axis=axes, keepdims=True, dtype=np.float64)
    sd = data.std(axis=axes, keepdims=True, dtype=np.float64)
    flat = sd.ravel() <= 1e-12 * np.maximum(1.0, np.abs(mean.ravel()))
    data -= mean.astype(np.float32)
    data /= np.where(sd > 0, sd, 1.0).astype(np.float32)
    data[flat] = 0
    return data, flat


def total_sum_shifts(
    read: Callable[[tuple[int, int]], NDArray[np.float32]], count: int, box: Sequence[int], *, block: int, iterations: int,
    max_shift: float, max_frequency: float = 0.5, comm: Comm = SERIAL, threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Shifts that bring objects onto the rotational average of their own sum, found again and again.

    Parameters
    ----------
    read : callable
        Normalised objects of a block (start, stop), shape (n, *box), float32.
    count : int
        Number of objects.
    box : sequence of int
    block : int
        Objects in a block.
    iterations : int
    max_shift : float
        Pixels.
    max_frequency : float
        Low-pass of the correlation, fraction of Nyquist.

    Returns
    -------
    shifts : ndarray, shape (count, d), float64
        Array axes; the same bits for any number of ranks and threads (the sum is one of integers).
    ccc : ndarray, shape (count,), float64
    """
    d, shape = len(box), tuple(box)
    shifts, ccc = np.zeros((count, d)), np.zeros(count)
    blocks = comm.blocks(count, block)
    inside = distances(shape, dtype=np.float64) < 0.95 * min(shape) / 2 + 1
    for done in range(iterations):
        total = np.zeros(shape, np.int64)

        def add(span: tuple[int, int]) -> NDArray[np.int64]:
            f = shifted(fourier.centred_rfftn(read(span), d), shifts[slice(*span)], shape)
            return np.rint(fourier.centred_irfftn(f, shape).astype(np.float64) * UNIT).astype(np.int64).sum(0)

        for part in map_blocks(add, blocks, threads):
            total += part
        total = comm.allreduce(total)
        reference = rotational_average(total * (inside / (UNIT * count)))

        def find(span: tuple[int, int], reference: NDArray[np.float32] = reference) -> tuple[NDArray, NDArray]:
            f = fourier.centred_rfftn(read(span), d).astype(np.complex64)
            return correlated(f, reference, max_shift, max_frequency)

        found = map_blocks(find, blocks, threads)
        for part in comm.allgather(list(zip(blocks, found, strict=True))):
            for (a, b), (move, score) in part:
                shifts[a:b], ccc[a:b] = move, score
        if progress is not None:
            progress(done + 1, iterations)
    return shifts, ccc


def centre_of_mass(
    data: NDArray[np.float32], level: float | np.floating | NDArray = 0.0, radius: float | None = None, iterations: int = 5
) -> NDArray[np.float64]:
    """Shifts that bring the centre of mass of what is above a level to index N // 2.

    Parameters
    ----------
    data : ndarray, shape (n, *box)
    level : float or ndarray, shape (n,)
        Only densities above it have mass, by as much as they are above.
    radius : float, optional
        Only what is inside this radius around the centre found counts, pixels; it is then found again, `iterations` times.
    iterations : int

    Returns
    -------
    ndarray, shape (n, d), float64
        Array axes; 0 where nothing is above the level.
    """
    n, box = len(data), data.shape[1:]
    levels = np.broadcast_to(np.asarray(level, np.float32), (n,))
    shift = np.stack([_moments(one, base, None, np.zeros(len(box))) for one, base in zip(data, levels, strict=True)])
    for _ in range(iterations if radius is not None else 0):
        shift = np.stack([_moments(one, base, radius, s) for one, base, s in zip(data, levels, shift, strict=True)])
    return shift


def _moments(one: NDArray, level: np.float32, radius: float | None, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift to the centre of mass of one object, of what is inside a radius around the centre that `shift` gives."""
    planes = one.reshape(-1, *one.shape[-2:])
    x = [np.arange(k, dtype=np.float64) - k // 2 for k in one.shape]
    near = [np.square(c + s) for c, s in zip(x, shift, strict=True)]
    down, right, deep = np.zeros(one.shape[-2]), np.zeros(one.shape[-1]), np.zeros(len(planes))
    for z, plane in enumerate(planes):  # a section at a time stays in the cache
        mass = plane - level
        np.maximum(mass, 0, out=mass)
        if radius is not None:
            flat = near[-2][:, None] + near[-1]
            mass *= flat + (near[0][z] if one.ndim == 3 else 0.0) <= radius**2
        lines = mass.sum(1, dtype=np.float64)
        down += lines
        right += mass.sum(0, dtype=np.float64)
        deep[z] = lines.sum()
    total = deep.sum()
    if not total > 0:
        return np.zeros(one.ndim)
    sums = [down, right] if one.ndim == 2 else [deep, down, right]
    return np.array([-(line @ c) / total for line, c in zip(sums, x, strict=True)])
