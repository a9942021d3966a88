"""Scores of found poses over two disjoint halves of the Fourier samples: what one half prefers, the other can judge."""

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.assign import Candidates, HalfPlane
from imagic4d_core.angrec.references import References
from imagic4d_core.kernels.search import take_linear

F64 = NDArray[np.float64]


def half_scores(
    spectra: NDArray[np.complex64], found: Candidates, references: References, sets: NDArray[np.int64], plane: HalfPlane,
    ctf: NDArray[np.float32] | None = None,
) -> tuple[F64, F64]:  # fmt: skip
    """Correlation coefficients over either half of a half plane, divided like the squares of a chessboard.

    Noise that is stationary over the box is independent from one Fourier sample to the next, while the signal of an object
    that fills half the box is shared by neighbours: so both halves see the same structure and different noise.

    Parameters
    ----------
    spectra : ndarray, shape (n, box, box // 2 + 1), complex64
    found : Candidates
        Poses, n images in k 3Ds.
    references : References
    sets : ndarray of int, shape (n, k)
        Set of `references` of each image and 3D; negative: does not compete.
    plane : HalfPlane
    ctf : ndarray, shape (n, box, box // 2 + 1), float32, optional
        Contrast transfer of the images.

    Returns
    -------
    first, second : ndarray, shape (n, k), float64
        -inf where a 3D does not compete.
    """
    n, k = found.score.shape
    data = plane.take(spectra)
    seen = None if ctf is None else plane.take(ctf)
    x, y = plane.points[:, 0], plane.points[:, 1]
    even = (x + y) % 2 == 0
    out = np.full((2, n, k), -np.inf)
    for column in range(k):
        use = np.flatnonzero(np.isfinite(found.score[:, column]) & (sets[:, column] >= 0))
        if not len(use):
            continue
        slices = np.empty((len(use), len(plane.points)), np.complex64)
        for s in np.unique(sets[use, column]):
            mine = np.flatnonzero(sets[use, column] == s)
            part = np.empty((len(mine), len(plane.points)), np.complex64)
            take_linear(references.grids[s], references.oversampling, found.matrix[use[mine], column], plane.points, part)
            slices[mine] = part
        shift = found.shift[use, column]
        phase = (-2 * np.pi / references.box) * (shift[:, :1] * x + shift[:, 1:] * y)
        image = data[use] * np.exp(1j * phase)
        if seen is not None:
            slices = slices * seen[use if len(seen) > 1 else 0]
        for half, keep in enumerate((even, ~even)):
            a, b = image[:, keep], slices[:, keep]
            size = np.sqrt((np.abs(a) ** 2).sum(1, dtype=np.float64) * (np.abs(b) ** 2).sum(1, dtype=np.float64))
            product = (a.real * b.real + a.imag * b.imag).sum(1, dtype=np.float64)
            out[half, use, column] = product / np.where(size > 0, size, 1.0)
    return out[0], out[1]
