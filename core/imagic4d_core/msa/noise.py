"""How many factors mean something: where the eigenvalues of noise alone would end.

Two edges are given. *Fitted*: at the upper end of the spectrum of any noise, white or coloured, sorted eigenvalues lie at
``edge - c z_j`` with z_j the zeros of the Airy function, and the largest fluctuates by the Tracy-Widom law in units of the same c
(Tracy and Widom 1996; El Karoui, Ann. Probab. 35 (2007) 663). Fitting edge and c to the eigenvalues behind the signal
therefore needs no model of the noise, only its own tail. *White*: the Marchenko-Pastur edge for white noise of the variance
that the factors leave; lower than the truth for coloured noise. A factor counts when it is above both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: 99.9 % point of the Tracy-Widom law of order 1.
TRACY_WIDOM = 3.27
#: Eigenvalues of the tail that are fitted, at most and at least.
WINDOW, LEAST = 24, 8
#: Misfit of a good fit, in units of c; distance of a factor from the noise behind it, in units of c, that leaves no doubt.
GOOD, STRONG = 0.8, 10.0
#: The tail of the noise has not been seen while the last known eigenvalue is above the white edge by this factor.
UNSEEN = 1.5


@dataclass
class NoiseEdge:
    """Where noise ends.

    Attributes
    ----------
    factors : int
        Leading factors above the noise.
    edge : float
        Eigenvalue up to which noise reaches (1 in 1000).
    white : float
        Marchenko-Pastur edge of white noise.
    open : bool
        True where the tail of the noise is not among the eigenvalues known: more are needed to tell.
    """

    factors: int
    edge: float
    white: float
    open: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"factors": self.factors, "edge": self.edge, "white_edge": self.white, "more_needed": self.open}


def white_edge(values: NDArray[np.float64], trace: float, images: int, pixels: int, signals: int) -> float:
    """Marchenko-Pastur edge of the variance that the first `signals` factors leave, with the Tracy-Widom margin.

    Parameters
    ----------
    values : ndarray
        Leading eigenvalues, largest first.
    trace : float
        Sum of all eigenvalues.
    images, pixels : int
    signals : int
    """
    free = max(1, min(pixels, images) - signals)
    level = max(trace - float(values[:signals].sum()), 0.0) / (free * max(1.0, pixels / images))
    # with more pixels than images the variance is spread over `images` eigenvalues, each the sum over all pixels
    a, b = np.sqrt(images), np.sqrt(pixels)
    centre = (a + b) ** 2
    spread = (a + b) * (1 / a + 1 / b) ** (1 / 3)
    return float(level * (centre + TRACY_WIDOM * spread) / images)


def _fit(values: NDArray[np.float64], signals: int, window: int) -> tuple[float, float, float]:
    """Edge, c and misfit (rms, in units of c) of the eigenvalues behind the first `signals`."""
    tail = values[signals : signals + window]
    j = np.arange(1, len(tail) + 1)
    z = (3 * np.pi * (4 * j - 1) / 8) ** (2 / 3)
    slope, level = np.polyfit(z, tail, 1, w=np.sqrt(j))  # the first ones fluctuate most
    misfit = float(np.sqrt(np.average((tail - level - slope * z) ** 2, weights=j)))
    return float(level), float(max(-slope, 0.0)), misfit / max(-float(slope), 1e-300)


def noise_edge(values: NDArray[np.float64], trace: float, images: int, pixels: int) -> NoiseEdge:
    """The noise edge of a spectrum of which the leading part is known.

    A number of factors is consistent when as many eigenvalues lie above the edge that is fitted behind them, and the fit is good.
    Taken is the smallest such number from the last factor on that stands far off the noise. (Where noise differs much from object
    to object its spectrum has a long tail; larger numbers are then consistent as well, and mean nothing.)

    Parameters
    ----------
    values : ndarray, shape (m,), float64
        Leading eigenvalues, largest first.
    trace : float
        Sum of all eigenvalues.
    images, pixels : int
        Active images, and pixels under the mask.

    Returns
    -------
    NoiseEdge
    """
    rank = min(images - 1, pixels)
    values = np.asarray(values[:rank], np.float64)
    values = values[values > 1e-12 * max(float(values[0]), 1e-300)] if len(values) else values
    count = len(values)
    if count <= LEAST:
        white = white_edge(values, trace, images, pixels, 0) if count else 0.0
        return NoiseEdge(int((values > white).sum()), white, white, True)
    window = min(WINDOW, max(LEAST, count // 2))
    fits = []
    for signals in range(count - window + 1):
        level, c, misfit = _fit(values, signals, window)
        white = white_edge(values, trace, images, pixels, signals)
        edge = max(level + TRACY_WIDOM * c, white)
        consistent = int((values > edge).sum()) == signals
        strong = signals > 0 and consistent and misfit <= GOOD and values[signals - 1] > level + STRONG * c
        fits.append((signals, edge, white, misfit, consistent, strong))
    first = max((f[0] for f in fits if f[5]), default=0)
    possible = [f for f in fits[first:] if f[4]]
    good = [f for f in possible if f[3] <= GOOD]
    if not possible:
        return NoiseEdge(count - window, float(values[count - window]), fits[-1][2], True)
    signals, edge, white, *_ = good[0] if good else min(possible, key=lambda f: f[3])
    if count < rank and values[-1] > UNSEEN * white:
        return NoiseEdge(count, float(values[-1]), white, True)
    return NoiseEdge(signals, edge, white, False)
