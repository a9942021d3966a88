"""Classes in the space of coordinates: states whose images differ by noise alone, with the precision that each image has.

An image that sees the difference says much about its state, one that looks along it little. So states are points m_c, and the
coordinates of an image scatter around its point by ``T A_i^-1``, A_i being the information of the image
(`rounds.Information`) and T
one number for all, near 1, that says how far the noise is underestimated. The points are found by expectation-maximisation;
candidates are
the centres of many classes of Ward's tree, taken one after the other while the likelihood gains more than a point costs (Schwarz
1978, doi:10.1214/aos/1176344136).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.rounds import Information
from imagic4d_core.eigenvolumes.views import F64
from imagic4d_core.msa.tree import Tree

#: Classes of the tree whose centres are tried.
CANDIDATES = 24
#: Rounds of expectation-maximisation for a trial, and until nothing happens any more.
TRIAL, MOST = 4, 60
#: A state has at least so many images.
LEAST_IMAGES = 8.0
#: Largest T: eigenvolumes know the noise of their own images a little; what is wider is no noise, but more states.
HOTTEST = 2.0
#: Gain in log likelihood that a state needs, in units of what the criterion of Schwarz asks for.
DEAR = 1.5


@dataclass(frozen=True)
class Mixture:
    """States.

    Attributes
    ----------
    points : ndarray, shape (K, q), float64
        In coordinates of unit variance.
    share : ndarray, shape (K,), float64
        Of the images.
    temperature : float
        Variance of the noise around the points, over what the images' information says.
    likelihood : float
        Logarithm, up to a constant of the data.
    belongs : ndarray, shape (n, K), float64
        Probability of each state for each image.
    """

    points: F64
    share: F64
    temperature: float
    likelihood: float
    belongs: F64

    @property
    def labels(self) -> NDArray[np.int32]:
        """Most probable state of each image, from 0."""
        return self.belongs.argmax(1).astype(np.int32)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Images in each state."""
        return np.bincount(self.labels, minlength=len(self.share))

    def by_size(self) -> "Mixture":
        """The same, the largest state first."""
        order = np.argsort(-self.sizes, kind="stable")
        return replace(self, points=self.points[order], share=self.share[order], belongs=self.belongs[:, order])


def _distances(info: Information, points: F64) -> F64:
    """``m A m - 2 m b`` for every image and point: squared distances up to a constant of the image, (n, K)."""
    quadratic = np.einsum("ck,nkl,cl->nc", points, info.a, points, optimize=True)
    return np.asarray(quadratic - 2.0 * info.b @ points.T)


def _own(info: Information) -> F64:
    """``b A^-1 b`` of every image; along what an image tells nothing of, it is 0."""
    return np.asarray(np.einsum("nk,nkl,nl->n", info.b, np.linalg.pinv(info.a, rcond=1e-12, hermitian=True), info.b))


def settle(info: Information, points: F64, share: F64, rounds: int) -> Mixture:
    """Expectation-maximisation from points and shares; states that lose their images are dropped.

    Parameters
    ----------
    info : Information
    points : ndarray, shape (K, q)
    share : ndarray, shape (K,)
    rounds : int
        Most rounds; it ends before when the likelihood stands.

    Returns
    -------
    Mixture
    """
    n, q = info.b.shape
    own = _own(info)
    heat, last = 1.0, -np.inf
    while True:
        # the temperature belongs to the points: a few rounds of it alone
        squared = own[:, None] + _distances(info, points)
        for _ in range(3):
            score = np.log(share) - 0.5 * squared / heat - 0.5 * q * np.log(heat)
            top = score.max(1, keepdims=True)
            weight = np.exp(score - top)
            total = weight.sum(1, keepdims=True)
            belongs = weight / total
            heat = min(max(1.0, float((belongs * squared).sum() / (n * q))), HOTTEST)
        value = float((top[:, 0] + np.log(total[:, 0])).sum())
        rounds -= 1
        if rounds < 0 or abs(value - last) < 1e-7 * n:
            return Mixture(points, share, heat, value, belongs)
        last = value
        share = belongs.mean(0)
        left = share * n >= (LEAST_IMAGES if len(share) > 1 else 0.0)
        if not left.all():
            left[share.argmax()] = True
            belongs, share, last = belongs[:, left], share[left], -np.inf
            belongs = belongs / np.maximum(belongs.sum(1, keepdims=True), 1e-300)
            share = share / share.sum()
        a = np.einsum("nc,nkl->ckl", belongs, info.a, optimize=True)
        points = np.linalg.solve(a + 1e-9 * np.eye(q), (belongs.T @ info.b)[..., None])[..., 0]


def mixture(info: Information, tree: Tree, most: int) -> list[Mixture]:
    """Mixtures of 1, 2, ... states, each from the one before and the candidate that gains most.

    Parameters
    ----------
    info : Information
        Of components above the noise alone.
    tree : Tree
        Ward's tree of the coordinates, all images.
    most : int
        States at most.

    Returns
    -------
    list of Mixture
        Ends where no further state is worth its price; the last one is the choice.
    """
    n, q = info.b.shape
    labels = tree.cut(min(CANDIDATES, n))
    centres = np.stack([
        np.linalg.solve(info.a[labels == c].sum(0) + 1e-9 * np.eye(q), info.b[labels == c].sum(0)) for c in
        range(labels.max() + 1)
    ])  # fmt: skip
    price = DEAR * 0.5 * (q + 1) * np.log(n)
    found = [settle(info, np.zeros((1, q)), np.ones(1), MOST)]
    while found[-1].belongs.shape[1] < most:
        now = found[-1]
        trials = []
        for c, centre in enumerate(centres):
            new = max(float((labels == c).mean()), LEAST_IMAGES / n)
            trial = settle(info, np.vstack([now.points, centre]), np.append(now.share * (1 - new), new), TRIAL)
            if len(trial.share) > len(now.share):
                trials.append(trial)
        if not trials:
            break
        best = max(trials, key=lambda m: m.likelihood)
        best = settle(info, best.points, best.share, MOST)
        if len(best.share) <= len(now.share) or best.likelihood - now.likelihood < price:
            break
        found.append(best)
    return found
