"""Choice among many 3Ds: those that together explain the images best.

The table of scores (image x 3D) is all that is needed: the mean over images of the best score among the chosen is the objective
of facility location, which is monotone and submodular, so a greedy choice comes within 1 - 1/e of the best (Nemhauser, Wolsey,
Fisher, Math. Program. 14, 1978, 265), and exchanges improve it.

The largest of many scores is large by luck as well: two copies of one 3D explain noise better than one. Gains are therefore
judged by a cross-validated score: one half of each image's Fourier samples says which 3D it prefers, the other half how well
that fits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of n images in m 3Ds, each image against 3Ds made without it.

    Attributes
    ----------
    whole, first, second : ndarray, shape (n, m), float64
        Correlation over all Fourier samples, and over either of two disjoint halves of them.
    """

    whole: F64
    first: F64
    second: F64

    def crossed(self, columns: list[int]) -> F64:
        """Cross-validated score (n,) of each image among some 3Ds: chosen by one half of its samples, scored by the other."""
        rows = np.arange(len(self.whole))
        a, b = self.first[:, columns], self.second[:, columns]
        return 0.5 * (b[rows, a.argmax(1)] + a[rows, b.argmax(1)])


def choose(table: F64, count: int) -> list[int]:
    """Columns with the largest mean over rows of their best score.

    Parameters
    ----------
    table : ndarray, shape (n, m), float64
    count : int
        How many; all of them where there are fewer.

    Returns
    -------
    list of int
        Ascending. Ties go to the lower column.
    """
    n, m = table.shape
    chosen: list[int] = []
    best = np.full(n, -np.inf)
    for _ in range(min(count, m)):
        total = np.maximum(best[:, None], table).mean(0)
        total[chosen] = -np.inf
        chosen.append(int(total.argmax()))
        best = np.maximum(best, table[:, chosen[-1]])
    return sorted(_exchanged(table, chosen))


def _exchanged(table: F64, chosen: list[int]) -> list[int]:
    """Exchange one column at a time for a better one until none is."""
    now = float(table[:, chosen].max(1).mean()) if chosen else 0.0
    better = True
    while better:
        better = False
        for j in range(len(chosen)):
            rest = chosen[:j] + chosen[j + 1 :]
            base = table[:, rest].max(1) if rest else np.full(len(table), -np.inf)
            total = np.maximum(base[:, None], table).mean(0)
            total[chosen] = -np.inf
            k = int(total.argmax())
            if total[k] > now + 1e-9:
                chosen[j], now, better = k, float(total[k]), True
    return chosen


def losses(scores: Scores, chosen: list[int]) -> tuple[F64, F64]:
    """What is lost when one of the chosen is taken away: mean over images of the cross-validated score, and its standard error.

    Returns
    -------
    loss, error : ndarray, shape (len(chosen),), float64
        Infinite and 0 for a single one.
    """
    if len(chosen) < 2:
        return np.full(len(chosen), np.inf), np.zeros(len(chosen))
    full = scores.crossed(chosen)
    loss, error = np.empty(len(chosen)), np.empty(len(chosen))
    for j in range(len(chosen)):
        d = full - scores.crossed(chosen[:j] + chosen[j + 1 :])
        loss[j], error[j] = d.mean(), d.std() / np.sqrt(len(d))
    return loss, error
