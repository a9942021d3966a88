"""Rotation by shears: every line is shifted by a Fourier phase, so nothing is lost of what is band-limited.

A rotation in a plane is three shears (Unser, Thevenaz, Yaroslavsky, IEEE Trans. Image Process. 4 (1995) 1371,
doi:10.1109/83.465102); one in space is three rotations in planes. Quarter turns are exchanges of pixels. Frequencies in the
corners of the spectrum, beyond about 0.9 of Nyquist, are not kept by angles near 45 degrees.
"""

import math

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.geometry import euler
from imagic4d_core.geometry.moves import Moves

#: Edge of the working box over that of the object.
MARGIN = 1.5
#: Planes in work at a time.
_CHUNK = 8


def shift_lines(x: NDArray, axis: int, shifts: NDArray[np.float64] | float) -> NDArray:
    """Shift lines along an axis, cyclically, by any distance.

    Parameters
    ----------
    x : ndarray, shape (..., n along `axis`, ...)
    axis : int
    shifts : float, or ndarray that broadcasts against `x` with length 1 along `axis`
        Pixels.
    """
    n = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = -1
    k = fourier.half_frequencies(n).astype(np.float32).reshape(shape)
    phase = (-2.0 * np.pi) * k * np.asarray(shifts, np.float32)
    turn = np.empty(phase.shape, np.complex64)
    turn.real, turn.imag = np.cos(phase), np.sin(phase)
    return fourier.irfft_lines(fourier.rfft_lines(x, axis) * turn, n, axis)


def fourier_shift(x: NDArray, shift: NDArray[np.float64]) -> NDArray:
    """Shift the trailing ``len(shift)`` axes cyclically by Fourier phases, axis after axis."""
    d = len(shift)
    for axis, s in zip(range(-d, 0), shift, strict=True):
        if abs(s) > 1e-9:
            x = shift_lines(x, axis, float(s))
    return x


def _quarter(x: NDArray, turns: int) -> NDArray:
    """Rotate planes (..., P, P), P even, by quarter turns: (a, b) to (-b, a), about P // 2, cyclically."""
    p = x.shape[-1]
    minus = (p - np.arange(p)) % p
    turns %= 4
    if turns == 1:  # out(a', b') = in(b', -a')
        return x.swapaxes(-1, -2)[..., minus, :]
    if turns == 2:
        return x[..., minus, :][..., minus]
    if turns == 3:
        return x.swapaxes(-1, -2)[..., minus]
    return x


def rotate_planes(x: NDArray, degrees: float) -> NDArray:
    """Rotate planes (m, P, P), P even, cyclically: axes (a, b) turn by the active rotation (cos, -sin; sin, cos)."""
    turns = round(degrees / 90.0)
    rest = math.radians(degrees - 90.0 * turns)
    x = _quarter(x, turns)
    if abs(rest) < 1e-12:
        return np.ascontiguousarray(x)
    p = x.shape[-1]
    c = np.arange(p) - p // 2
    along_a, along_b = -math.tan(rest / 2) * c[None, :], math.sin(rest) * c[:, None]
    out = np.empty(x.shape, x.dtype)
    for k in range(0, len(x), _CHUNK):
        part = shift_lines(x[k : k + _CHUNK], -2, along_a)
        part = shift_lines(part, -1, along_b)
        out[k : k + _CHUNK] = shift_lines(part, -2, along_a)
    return out


def shear_move(one: NDArray, move: Moves, level: float) -> NDArray:
    """Shift and rotate one object.

    Parameters
    ----------
    one : ndarray, shape (lines, pixels) or (sections, lines, pixels)
    move : Moves
        Of length 1.
    level : float
        What lies outside.
    """
    shift = move.shift[0] if move.ndim == 2 else move.shift[0][[2, 0, 1]]
    if np.abs(move.matrix[0] - np.eye(move.ndim)).max() < 1e-12:
        return _shifted(one, shift, level)
    p = fourier.good_size(math.ceil(MARGIN * max(one.shape)))
    where = tuple(slice(p // 2 - n // 2, p // 2 - n // 2 + n) for n in one.shape)
    x = np.zeros((p,) * one.ndim, one.dtype)
    x[where] = one - one.dtype.type(level)
    x = fourier_shift(x, shift)
    if move.ndim == 2:
        x = rotate_planes(x[None], -float(move.angle[0]))[0]
    else:
        alpha, beta, gamma = (float(v[0]) for v in euler.euler_from_matrix(move.matrix))
        x = rotate_planes(x, -gamma)
        x = rotate_planes(x.transpose(2, 0, 1), -beta).transpose(1, 2, 0)  # planes (z, x), one for each y
        x = rotate_planes(x, -alpha)
    return x[where] + one.dtype.type(level)


def _shifted(one: NDArray, shift: NDArray[np.float64], level: float) -> NDArray:
    """A shift: the fraction cyclically, by phases; whole pixels as a copy."""
    from imagic4d_core.resample.window import cut

    steps = np.rint(shift).astype(int)
    x = fourier_shift(one, shift - steps)
    centre = [n // 2 - int(s) for n, s in zip(one.shape, steps, strict=True)]
    return cut(x[None], one.shape, centre, level)[0]
