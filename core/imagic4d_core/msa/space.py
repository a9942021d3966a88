"""The space of an MSA: which numbers of an object count, and how far apart two objects are (the metric).

An object's numbers are ``z = f x``: its pixels x under the mask, for chi-square divided by their mean. Rows of the analysis are
``y = (z - centre) * scale``, and an object counts with weight w:

==========  ===========  ======  =======================  ==============================================
metric      f            w       centre                   scale
==========  ===========  ======  =======================  ==============================================
euclidean   1            1       mean                     1
modulation  1            1       mean                     1 / standard deviation of the pixel over the set
chi-square  P / sum(x)   sum(x)  weighted mean (near 1)   1 / sqrt(P centre)
==========  ===========  ======  =======================  ==============================================

Eigenimages are the eigenvectors u of the weighted covariance of y, coordinates are ``y . u``; the weighted mean square of the
coordinates along u is its eigenvalue, and all eigenvalues sum up to the total variance. Chi-square is correspondence
analysis: distances between rows of y are chi-square distances between profiles, coordinates are the principal coordinates of the
rows, and the trivial factor is gone because the centre is subtracted. Sources: van Heel and Frank, Ultramicroscopy 6 (1981) 187
(chi-square); Borland and van Heel, J. Opt. Soc. Am. A 7 (1990) 601 (modulation); van Heel, Portugal and Schatz, Open J. Stat. 6
(2016) 701.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError
from imagic4d_core.msa.rows import loops_for

METRICS = ("euclidean", "chi-square", "modulation")
#: Metric of MSA in three dimensions (`eigenvolumes`): projections in units of the noise. Its coordinates do not follow from
#: pixels.
PROJECTION = "projection"
INVARIANTS = ("none", "rotation", "rotation-shift")
#: Standard deviations of pixels are not taken below this fraction of their median (modulation), so that pixels at the edge of
#: a mask, which hardly vary, do not come in as noise.
FLOOR = 0.01


@dataclass
class Space:
    """Numbers and metric.

    Attributes
    ----------
    metric : str
        One of `METRICS`.
    box : (int, int, int)
        Sections, lines, pixels of the objects.
    shape : (int, int, int)
        Box of the eigenimages: `box`, or that of invariant numbers.
    index : ndarray, shape (P,), int64
        Places inside `shape` that count, rising.
    invariant : str
        One of `INVARIANTS`.
    radius : float
        Largest ring of invariant numbers, pixels.
    centre, scale : ndarray, shape (P,), float32
    """

    metric: str
    box: tuple[int, int, int]
    shape: tuple[int, int, int]
    index: NDArray[np.int64]
    invariant: str = "none"
    radius: float = 0.0
    centre: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self.rings: Any = None
        if self.invariant != "none":
            from imagic4d_core.msa.features import RingSpectra  # and scipy's transforms: only where they are wanted

            self.rings = RingSpectra(self.box[1], self.box[2], self.radius, self.invariant == "rotation-shift")
            self.shape = self.rings.shape
            if not len(self.index):
                self.index = np.flatnonzero(self.rings.valid)

    @property
    def size(self) -> int:
        """Numbers of an object that count, P."""
        return len(self.index)

    def image_of(self, values: NDArray) -> NDArray[np.float32]:
        """Rows of numbers as images: shape (n, P) to (n, *shape), zero where nothing counts."""
        rows = np.atleast_2d(values)
        out = np.zeros((len(rows), int(np.prod(self.shape))), np.float32)
        out[:, self.index] = rows
        return out.reshape(len(rows), *self.shape)


class Source:
    """Objects of an open stack as rows of a `Space`.

    Parameters
    ----------
    stack : Stack
    space : Space
    active : ndarray, shape (objects,), bool
        Which objects the statistics count.
    """

    def __init__(self, stack: Any, space: Space, active: NDArray[np.bool_]) -> None:
        self.stack, self.space, self.active = stack, space, active
        self.objects = stack.objects
        self.loops = loops_for(stack.objects * space.size)
        """`kernels.rows`, or its twin for little data."""
        self.typical = 1.0
        """Sum of a typical row, which weights of chi-square are relative to."""

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Numbers of objects, shape (n, P), float32, and their sums and sums of squares, shape (n, 2).

        Raises
        ------
        InputError
            Densities that are not finite.
        """
        data = self.stack.read_volumes(start, stop, finite=False)
        if self.space.rings is not None:
            if not np.isfinite(data).all():
                self._bad(start, ~np.isfinite(data).reshape(len(data), -1).all(axis=1))
            data = self.space.rings(data[:, 0])
        flat = data.reshape(stop - start, -1)
        sums = np.empty((stop - start, 2))
        if self.space.size == flat.shape[1]:
            out = flat
            self.loops.row_sums(out, sums)
        else:
            out = np.empty((stop - start, self.space.size), np.float32)
            self.loops.gather_rows(flat, self.space.index, out, sums)
        bad = ~np.isfinite(sums[:, 1])
        if bad.any():
            self._bad(start, bad)
        return out, sums

    def _bad(self, start: int, bad: NDArray[np.bool_]) -> None:
        what = "volume" if self.stack.is_volumes else "image"
        raise InputError(
            f"{self.stack.path}: {what} {start + int(np.argmax(bad)) + 1} holds NaN or infinite densities; "
            "every density must be a finite number"
        )

    def factors(self, start: int, rows: NDArray, sums: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factor f and weight w of rows (w = 0: constant under the mask, not counted); see the module's table.

        Raises
        ------
        InputError
            Chi-square and negative densities.
        """
        size = self.space.size
        varies = sums[:, 1] - sums[:, 0] ** 2 / size > 1e-10 * sums[:, 1]
        weight = varies.astype(np.float32)
        factor = np.ones(len(rows), np.float32)
        if self.space.metric == "chi-square":
            low = rows.min(axis=1) if size else np.zeros(len(rows))
            bad = (low < 0) & self.active[start : start + len(rows)]
            if bad.any():
                k = int(np.argmax(bad))
                what = "volume" if self.stack.is_volumes else "image"
                raise InputError(
                    f"{self.stack.path}: {what} {start + k + 1} has negative densities under the mask (down to {low[k]:.4g}), "
                    "which chi-square cannot take: use --metric modulation, or add a constant to the densities first"
                )
            total = np.where(sums[:, 0] > 0, sums[:, 0], 1.0)
            factor = np.where(sums[:, 0] > 0, size / total, 0.0).astype(np.float32)
            weight = (weight * np.maximum(sums[:, 0], 0.0) / self.typical).astype(np.float32)
        return factor, weight

    def block(
        self, start: int, stop: int, centre: NDArray[np.float32], scale: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Active objects of a block as rows ``sqrt(w) y``, shape (n, P), and their sqrt(w), shape (n,)."""
        use = self.active[start:stop]
        if not use.any():
            return np.empty((0, self.space.size), np.float32), np.empty(0, np.float32)
        rows, sums = self.rows(start, stop)
        factor, weight = self.factors(start, rows, sums)
        keep = use & (weight > 0)
        if not keep.all():
            rows, factor, weight = rows[keep], factor[keep], weight[keep]
        root = np.sqrt(weight)
        self.loops.centre_rows(rows, factor, centre, scale, root, np.empty(len(rows)))
        return rows, root

    def coordinates(self, start: int, stop: int, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coordinates of all objects of a block, active or not.

        Parameters
        ----------
        vectors : ndarray, shape (P, K), float32

        Returns
        -------
        ndarray, shape (n, K + 2), float32
            Coordinates, then the squared distance from the centre, then the weight (0 for objects that do not count).
        """
        rows, sums = self.rows(start, stop)
        factor, weight = self.factors(start, rows, sums)
        energy = np.empty(len(rows))
        one = np.ones(len(rows), np.float32)
        self.loops.centre_rows(rows, factor, self.space.centre, self.space.scale, one, energy)
        out = np.empty((len(rows), vectors.shape[1] + 2), np.float32)
        out[:, :-2] = rows @ vectors
        out[:, -2] = energy
        out[:, -1] = weight * self.active[start:stop]
        return out

    def sample(self, most: int = 1024, values: int = 1 << 24) -> NDArray[np.float32]:
        """Numbers z of some active objects, evenly spread over the file, shape (n, P): the same on every rank.

        At most `most` objects and `values` numbers. Sets `typical`.
        """
        chosen = np.flatnonzero(self.active)
        step = max(4, min(most, values // max(1, int(np.prod(self.space.box)))))
        if len(chosen) <= step:
            spans = [(int(k), int(k) + 1) for k in chosen]
        else:
            length = max(1, step // 16)
            spans = [(int(k), min(self.objects, int(k) + length)) for k in chosen[:: max(1, len(chosen) // 16)][:16]]
        parts, totals = [], []
        for start, stop in spans:
            rows, sums = self.rows(start, stop)
            factor, weight = self.factors(start, rows, sums)
            keep = self.active[start:stop] & (weight > 0)
            parts.append(rows[keep] * factor[keep, None])
            totals.append(sums[keep, 0])
        out = np.concatenate(parts)
        if not len(out):
            raise InputError(f"{self.stack.path}: all objects looked at are constant under the mask; there is nothing to analyse")
        if self.space.metric == "chi-square":
            self.typical = float(np.concatenate(totals).mean())
        return out


def mask_index(mask: NDArray[np.float32] | None, radius: float | None, box: tuple[int, int, int], name: str = "") -> NDArray:
    """Places that count: mask above 0.5, and inside a circle or sphere around the centre ``N // 2``.

    Parameters
    ----------
    mask : ndarray or None, shape `box`
    radius : float or None
        Pixels.
    box : (int, int, int)
        Sections, lines, pixels.
    name : str
        Of the mask's file, for messages.

    Returns
    -------
    ndarray, shape (P,), int64

    Raises
    ------
    MismatchError
        Mask of another size.
    InputError
        Nothing is left.
    """
    use = np.ones(box, bool)
    if mask is not None:
        use &= mask.reshape(box) > 0.5
    if radius is not None:
        axes = [np.arange(n) - n // 2 for n in box]
        r2 = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
        use &= r2 <= radius**2
    if not use.any():
        raise InputError(f"{name or 'mask'}: no pixel is above 0.5" + (" inside the radius" if radius is not None else ""))
    return np.flatnonzero(use)
