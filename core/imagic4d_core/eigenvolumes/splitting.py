"""From images with poses to classes: band limit, number of eigenvolumes, coordinates, classes, and how stable they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.judging import Edge, noise_edge, variances
from imagic4d_core.eigenvolumes.mixing import mixture
from imagic4d_core.eigenvolumes.rounds import Fit, FitOptions, Information, fit, information, prepared
from imagic4d_core.eigenvolumes.sums import to_small
from imagic4d_core.eigenvolumes.views import F32, F64, Views
from imagic4d_core.masks.shapes import soft_ball
from imagic4d_core.msa.ward import ward
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.scores import adjusted_rand_index

#: Band limits tried, Fourier pixels for an object as wide as the box. Small differences of few images show best at few
#: frequencies, where noise has fewer voxels to hide in; fine differences at many.
BANDS = (4.5, 6.0, 8.0, 10.5)
#: Gain in what images tell that makes a higher band limit worth its noise and time.
WORTH = 1.1
#: Components looked for at first, and at most.
FIRST, MOST = 4, 16
#: Band limits that must show something where only a glance is taken.
GLANCED = 2
#: Fewest images of a class, and least share that it has in common with its like of another random start and of either half.
LEAST_CLASS, STABLE = 12, 0.7
#: Width of the soft edge of a sphere, fraction of the radius.
EDGE = 0.17


@dataclass(frozen=True)
class SplitOptions:
    """How images are analysed.

    Attributes
    ----------
    components : int or None
        Number of eigenvolumes; None: as many as are above the noise.
    radius : float
        Of the sphere in which images may differ, pixels of the box.
    r_max : int or None
        Band limit, Fourier pixels; None: the one of `BANDS` with the most components above the noise, the clearest of those.
    rounds : int
        Most rounds of a fit.
    states : int
        Most classes.
    seed : int
    glance : bool
        Where the first two band limits show nothing no other is tried, and imitations are made only as long as something may
        be above them: for images in which there mostly is nothing.
    """

    components: int | None = None
    radius: float = 24.0
    r_max: int | None = None
    rounds: int = 30
    states: int = 6
    seed: int = 0
    glance: bool = False


@dataclass(frozen=True)
class Analysis:
    """Eigenvolumes that mean something.

    Attributes
    ----------
    fit : Fit
        With these components only (the first one, where none is above the noise), in the band where they show best.
    mask, whole : ndarray, shape (small, small, small), float32
        Where images may differ, and where the mean 3D is.
    edge : Edge
    factors : int
        Components above the noise.
    variances : ndarray, float64
        Of the coordinates of all components that were looked for, in that band.
    """

    fit: Fit
    mask: F32
    whole: F32
    edge: Edge
    factors: int
    variances: F64


@dataclass(frozen=True)
class Classes:
    """One division of the images.

    Attributes
    ----------
    labels : ndarray, shape (n,), int32
        From 0, the largest class first.
    stability : ndarray, shape (K,), float64
        Of each class: share of images in common with its like (Jaccard index), the least over the witnesses.
    agreement : float
        Adjusted Rand index with the witness that agrees least.
    crossed : ndarray, shape (n,), int32, or None
        The same classes with every image put into one by eigenvolumes of the half of the images that it is not in; -1 where these
        have no such class.
    """

    labels: NDArray[np.int32]
    stability: F64
    agreement: float
    crossed: NDArray[np.int32] | None = None

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Images in each class."""
        return np.bincount(self.labels, minlength=len(self.stability))


@dataclass(frozen=True)
class Split:
    """What images say about their states.

    Attributes
    ----------
    analysis : Analysis
    coordinates : ndarray, shape (n, factors), float64
        In units of the noise, as `Fit.coordinates`.
    states : Classes or None
        States told apart by their likelihood (`mixing`): the best single answer; None without components above the noise.
    cuts : dict of int to Classes
        Ward's classes by number, 2 to ...
    """

    analysis: Analysis
    coordinates: F64
    states: Classes | None
    cuts: dict[int, Classes]

    def told(self, least: float = STABLE, few: int = LEAST_CLASS) -> NDArray[np.int32]:
        """Numbers of the states that are stable and of some images, from 1, by all images and crossed: shape (2, n).

        0 where an image is in none of them, and for all where fewer than two are left.
        """
        out = np.zeros((2, len(self.coordinates)), np.int32)
        if self.states is None or self.states.crossed is None:
            return out
        good = np.flatnonzero((self.states.stability >= least) & (self.states.sizes >= few))
        if len(good) > 1:
            name = np.zeros(len(self.states.stability) + 1, np.int32)  # the last one: class -1
            name[good] = np.arange(1, len(good) + 1)
            out[0], out[1] = name[self.states.labels], name[self.states.crossed]
        return out

    def candidates(self, least: float = STABLE) -> list[NDArray[np.bool_]]:
        """Members of the classes that are stable, from all divisions, without those that say the same (Jaccard above 0.8)."""
        out: list[NDArray[np.bool_]] = []
        for division in ([self.states] if self.states is not None else []) + list(self.cuts.values()):
            for k in np.flatnonzero(division.stability >= least):
                mine = division.labels == k
                if all((mine & other).sum() <= 0.8 * (mine | other).sum() for other in out):
                    out.append(mine)
        return out


def bands_for(box: int, radius: float, limit: int) -> list[int]:
    """Band limits for an object of this radius, in Fourier pixels, none beyond `limit`."""
    wanted = [min(limit, max(4, round(k * box / (2 * radius)))) for k in BANDS]
    return sorted(set(wanted))


def sphere(views: Views, radius: float) -> F32:
    """Soft spherical mask in the small box; `radius` in pixels of the box."""
    scale = views.band.small / views.band.box
    return soft_ball(views.band.small, radius * scale, EDGE * radius * scale)


def analyse(
    views: Views, options: SplitOptions = SplitOptions(), *, focus: F32 | None = None, comm: Comm = SERIAL,
    threads: int = 1, progress: Callable[[int, int], None] | None = None,
) -> Analysis:  # fmt: skip
    """Find the band limit, the number of eigenvolumes, and these.

    Parameters
    ----------
    views : Views
        Up to the highest band limit that may be used.
    options : SplitOptions
    focus : ndarray, shape (box, box, box), float32, optional
        Where images may differ, 0 to 1; default: the sphere of the options.
    progress : callable, optional
        Called with (bands done, bands).

    Returns
    -------
    Analysis
    """
    bands = [options.r_max] if options.r_max else bands_for(views.band.box, options.radius, views.band.r_max)
    best: Analysis | None = None
    for done, r in enumerate(bands):
        found = _in_band(views.limited(r), focus, options, comm, threads)
        clearer = best is None or _clearer(found, best)
        if progress is not None:
            progress(done + 1, len(bands))
        if not clearer and best is not None and best.factors > 0:
            break  # noise gains on the signal with every further ring
        best = found if clearer else best
        if options.glance and best is not None and best.factors == 0 and done + 1 == GLANCED:
            break
    assert best is not None
    wanted = max(1, best.factors) if options.components is None else options.components
    if wanted < len(best.fit.volumes):
        short = FitOptions(wanted, options.rounds, options.seed)
        start = best.fit.volumes[:wanted]
        again = fit(best.fit.views, best.mask, short, whole=best.whole, comm=comm, threads=threads, start=start)
        best = replace(best, fit=again)
    return best


def _in_band(views: Views, focus: F32 | None, options: SplitOptions, comm: Comm, threads: int) -> Analysis:
    """A fit with its noise edge; more components where all are above it."""
    whole = sphere(views, options.radius)
    mask = whole if focus is None else np.clip(to_small(focus, views.band, 1.0), 0.0, 1.0) * whole
    count = FIRST if options.components is None else options.components + 1
    edge: Edge | None = None
    while True:
        settings = FitOptions(count, options.rounds, options.seed)
        found = fit(views, mask, settings, whole=whole, comm=comm, threads=threads)
        if edge is None:  # the first of few components of noise varies as the first of many
            edge = noise_edge(found, mask, settings, whole=whole, comm=comm, threads=threads, hasty=options.glance)
        above = edge.above(found, comm)
        if above < count or options.components is not None or count >= MOST:
            return Analysis(found, mask, whole, edge, above, variances(found, comm))
        count = min(MOST, 2 * count)


def _clearer(a: Analysis, b: Analysis) -> bool:
    """Whether a shows more components above the noise than b, or as many, and these tell clearly more of an image."""

    def told(x: Analysis) -> float:
        return float(np.log1p(x.edge.separation(x.fit.snr[: x.factors])).sum())

    return a.factors > b.factors or (a.factors == b.factors and told(a) > WORTH * told(b))


def split_views(
    views: Views, options: SplitOptions = SplitOptions(), *, focus: F32 | None = None, threads: int = 1
) -> Split:
    """Coordinates and classes of images, and how stable the classes are.

    Witnesses are a second random start, and the eigenvolumes of either half of the images alone: with each all images get
    coordinates and classes anew.

    Parameters
    ----------
    views, options, focus
        As in `analyse`.

    Returns
    -------
    Split
    """
    found = analyse(views, options, focus=focus, threads=threads)
    n, k = len(views), min(found.factors, len(found.fit.volumes))
    if k == 0:
        return Split(found, np.zeros((n, 0)), None, {})
    y = found.fit.coordinates
    tree, _ = ward(y, threads=threads)
    states = mixture(found.fit.information, tree, options.states)[-1]
    cuts = {c: tree.cut(c) for c in range(2, options.states + 1) if c <= n}
    others = _witnesses(found, k, options, threads)
    trees = [ward(_scaled(info), threads=threads)[0] for info in others]
    count = len(states.share)
    told = [mixture(i, t, count)[-1].labels for i, t in zip(others, trees, strict=True)]
    division = _division(states.labels, told)
    division = replace(division, crossed=_crossed(division.labels, told[1:], views.number % 2))
    return Split(found, y, division, {c: _division(labels, [t.cut(c) for t in trees]) for c, labels in cuts.items()})


def _scaled(info: Information) -> F64:
    """Coordinates in units of the noise along each component."""
    z, _ = info.posterior()
    values, turn = np.linalg.eigh(info.a.mean(0))
    return np.asarray((z @ turn) * np.sqrt(np.maximum(values, 0.0)))


def _witnesses(found: Analysis, k: int, options: SplitOptions, threads: int) -> list[Information]:
    """Information of all images about coordinates along eigenvolumes found otherwise."""
    views, mask, whole = found.fit.views, found.mask, found.whole
    again = FitOptions(k, options.rounds, options.seed + 1)
    out = [fit(views, mask, again, whole=whole, threads=threads).information]
    ready, _, left = prepared(views, whole, threads=threads)
    for h in (0, 1):
        half = views.select(views.number % 2 == h)
        settings = replace(again, stage=f"eigenvolumes/half {h}")
        volumes = fit(half, mask, settings, whole=whole, threads=threads).volumes
        out.append(information(ready, left, volumes, threads=threads))
    return out


def _crossed(labels: NDArray[np.int32], halves: list[NDArray], half: NDArray[np.int64]) -> NDArray[np.int32]:
    """Classes of images by eigenvolumes of the other half, numbered as the classes that they have most images in common with.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        Classes by the eigenvolumes of all images.
    halves : list of two ndarray, shape (n,)
        Classes of all images by the eigenvolumes of half 0, and of half 1.
    half : ndarray, shape (n,)
        Half of each image.
    """
    out = np.full(len(labels), -1, np.int32)
    for h, other in enumerate(halves):
        shared = _jaccard(labels, other)
        name = np.full(shared.shape[1], -1, np.int32)
        best = shared.argmax(0)
        for c in range(len(name)):
            if shared[best[c]].argmax() == c and shared[best[c], c] > 0:
                name[c] = best[c]
        theirs = half != h
        out[theirs] = name[other[theirs]]
    return out


def _jaccard(mine: NDArray, other: NDArray) -> F64:
    """Images in common over images in either, for all classes of one division and all of another."""
    table = np.zeros((int(mine.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (mine, other), 1)
    union = table.sum(1)[:, None] + table.sum(0) - table
    return np.asarray(table / np.maximum(union, 1))


def _division(labels: NDArray, others: list[NDArray]) -> Classes:
    """A division, largest class first, with its stability beside other divisions."""
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    mine = rank[labels]
    stability, agreement = np.ones(len(order)), 1.0
    for other in others:
        stability = np.minimum(stability, _jaccard(mine, other).max(1))
        agreement = min(agreement, adjusted_rand_index(mine, other))
    return Classes(mine.astype(np.int32), stability, float(agreement))
