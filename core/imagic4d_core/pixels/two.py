"""Operations on two images, or two volumes: combine, scale one to the other, compare."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io.statistics import pieces

CHUNK = 1 << 17


def _divide(a: NDArray, b: NDArray, out: NDArray) -> None:
    zero = b == 0
    np.divide(a, b, out=out, where=~zero)
    np.copyto(out, 0, where=zero)


COMBINE: dict[str, Callable[[NDArray, NDArray, NDArray], object]] = {
    "add": lambda a, b, out: np.add(a, b, out=out),
    "subtract": lambda a, b, out: np.subtract(a, b, out=out),
    "multiply": lambda a, b, out: np.multiply(a, b, out=out),
    "divide": _divide,
    "min": lambda a, b, out: np.minimum(a, b, out=out),
    "max": lambda a, b, out: np.maximum(a, b, out=out),
}
"""Pixel by pixel; a quotient is 0 where the second density is 0."""


def combine(first: NDArray, second: NDArray, name: str, slope: float = 1.0, offset: float = 0.0) -> NDArray:
    """``first OP (slope * second + offset)`` pixel by pixel, in the memory of `first`.

    Parameters
    ----------
    first : ndarray, shape (n, ...)
    second : ndarray, same shape, or (1, ...): one for all
    name : str
        One of `COMBINE`.
    slope, offset : float
        Scaling of the second.
    """
    a, b = (np.ascontiguousarray(x).reshape(len(x), -1) for x in (first, second))
    run = COMBINE[name]
    plain = slope == 1.0 and offset == 0.0
    for some, part in pieces(*a.shape, CHUNK):
        mine, other = a[some, part], b[some if len(b) == len(a) else slice(0, 1), part]
        if not plain:
            other = other * b.dtype.type(slope) + b.dtype.type(offset)
        run(mine, other, mine)
    return a.reshape(first.shape)


def _moments(a: NDArray, b: NDArray, mask: NDArray | None) -> tuple[float, float, float, float, float, float]:
    """Sum of weights, means of a and b, and sums of squares and products about them."""
    a, b = a.reshape(-1), b.reshape(-1)
    w = None if mask is None else mask.reshape(-1)
    # numpy's doubles: float32 less one of these is a double
    total: Any = float(a.size) if w is None else 0.0
    ma: Any = 0.0
    mb: Any = 0.0
    for start in range(0, a.size, CHUNK):
        piece = slice(start, start + CHUNK)
        x, y = a[piece].astype(np.float64), b[piece].astype(np.float64)
        if w is None:
            ma, mb = ma + x.sum(), mb + y.sum()
        else:
            v = w[piece].astype(np.float64)
            total, ma, mb = total + v.sum(), ma + v @ x, mb + v @ y
    if total <= 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    ma, mb = ma / total, mb / total
    aa: Any = 0.0
    bb: Any = 0.0
    ab: Any = 0.0
    for start in range(0, a.size, CHUNK):
        piece = slice(start, start + CHUNK)
        x, y = a[piece] - ma, b[piece] - mb
        v = x if w is None else x * w[piece]
        aa, ab = aa + v @ x, ab + v @ y
        bb += y @ y if w is None else (y * w[piece]) @ y
    return total, ma, mb, float(aa), float(bb), float(ab)


def least_squares(first: NDArray, second: NDArray, mask: NDArray | None = None) -> tuple[float, float]:
    """Slope and offset that make ``slope * second + offset`` closest to `first`, in least squares under the mask.

    A constant second gives slope 0 and the mean of the first.
    """
    _, ma, mb, _, bb, ab = _moments(first, second, mask)
    slope = ab / bb if bb > 0 else 0.0
    return slope, ma - slope * mb


def correlation(first: NDArray, second: NDArray, mask: NDArray | None = None) -> float:
    """Pearson's correlation under the mask (weights); 0 where one of the two is constant."""
    _, _, _, aa, bb, ab = _moments(first, second, mask)
    norm = np.sqrt(aa * bb)
    return float(ab / norm) if norm > 0 else 0.0


def phase_residual(first: NDArray, second: NDArray, max_frequency: float = 1.0) -> float:
    """Root mean square phase difference of two images or volumes, degrees, weighted by the sum of amplitudes.

    Parameters
    ----------
    first, second : ndarray, shape (*box)
    max_frequency : float
        Fraction of Nyquist; frequency 0 is left out.

    Notes
    -----
    ``sqrt(sum (|F| + |G|) d^2 / sum (|F| + |G|))``, d the phase difference (Frank, Verschoor, Boublik 1981, Science
    214:1353): 0 for the same phases, 103.9 for unrelated ones.
    """
    from imagic4d_core import fourier
    from imagic4d_core.filters.band import frequency_grid

    shape = first.shape
    f, g = fourier.rfftn(first, first.ndim), fourier.rfftn(second, second.ndim)
    radius = frequency_grid(shape)
    weight = (np.abs(f) + np.abs(g)) * ((radius > 0) & (radius <= max_frequency * (1 + 1e-6)))
    # the half that is not stored counts as well
    weight[..., 1 : (shape[-1] + 1) // 2] *= 2
    total = weight.sum(dtype=np.float64)
    if total <= 0:
        return 0.0
    difference = np.angle(f * np.conj(g)).astype(np.float64)
    return float(np.rad2deg(np.sqrt((weight * difference**2).sum(dtype=np.float64) / total)))
