"""What uneven views mean for a map, in words."""

from typing import Any

from numpy.typing import NDArray

from imagic4d_core.geometry.sphere import angles
from imagic4d_core.views.conical import conical_fsc
from imagic4d_core.views.sampling import CROWD, F64, Sampling, sampling

#: Set on simulated views, 5 sets each of 100, 300, 1,000 and 10,000: even ones have an SCF* of 0.93 to 0.99, side views (10
#: degrees about an equator) 0.75 to 0.82, half of the views within 20 degrees of an axis 0.59 to 0.69, 60 % 0.46 to 0.58, nine
#: tenths 0.12 to 0.17, top views alone (all within 20 degrees) 0.01 to 0.09.
UNEVEN, MISSING = 0.7, 0.3
#: Two directions are called one within so many degrees (cosine).
_ONE = 0.9


def place(direction: F64) -> tuple[float, float]:
    """BETA and GAMMA of a direction or its opposite, whole degrees, BETA at most 90."""
    beta, gamma = angles((direction if direction[2] >= 0 else -direction)[None])
    return float(round(float(beta[0]))), float(round(float(gamma[0])) % 360)


def warning(s: Sampling) -> str:
    """What to expect of a map of such views; empty where they are even enough, or lie all around an axis."""
    if s.scf >= UNEVEN:
        return ""
    crowd, poor = place(s.crowd), place(s.poorest)
    views = (
        f"{100 * s.share:.0f} % of its views lie within {CROWD:.0f} degrees of BETA {crowd[0]:.0f}, GAMMA {crowd[1]:.0f} "
        f"(or opposite; of even views {100 * s.even:.0f} %)"
    )
    along = "along this direction" if abs(float(s.crowd @ s.poorest)) > _ONE else f"along BETA {poor[0]:.0f}, GAMMA {poor[1]:.0f}"
    if s.scf < MISSING:
        none = f", {100 * s.empty:.0f} % of Fourier space has no view" if s.empty > 0.01 else ""
        return f"{views}{none}: the map is drawn out {along}, and only details across it can be trusted; other views are needed"
    return f"{views}: the map is less well resolved {along}, and may be somewhat drawn out"


def described(views: F64, group: F64, first: NDArray, second: NDArray) -> dict[str, Any]:
    """How evenly views cover a 3D, for summaries.

    Parameters
    ----------
    views : ndarray, shape (n, 3), float64
        View directions of its images.
    group : ndarray, shape (g, 3, 3), float64
        Rotations of its point group.
    first, second : ndarray, shape (n, n, n)
        Half maps.
    """
    s, ratio = sampling(views, group), conical_fsc(first, second).cfar
    return {
        "scf": round(s.scf, 4), "cfar": round(ratio, 4) if ratio == ratio else None, "empty": round(s.empty, 4),
        "crowd": place(s.crowd), "share": round(s.share, 4), "even": round(s.even, 4), "drawn_out": place(s.poorest),
        "lowest": round(s.lowest, 4), "missing": bool(s.scf < MISSING), "warning": warning(s),
    }  # fmt: skip
