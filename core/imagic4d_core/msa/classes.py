"""Classes of images in factor space: members in order, and how good each class is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.msa.moving import centres_of, squared_distances


@dataclass
class Classes:
    """Classes of one cut.

    Attributes
    ----------
    labels : ndarray, shape (n,), int32
        Class of every image, from 0 on; -1: in no class.
    distance : ndarray, shape (n,), float64
        Squared distance from the centre of the class: the image's contribution to the variance inside it.
    sizes : ndarray, shape (classes,), int64
    intra : ndarray, shape (classes,), float64
        Variance inside each class: mean of the squared distances.
    represented : ndarray, shape (classes,), float64
        Representation quality: mean over the members of word 110, the share of an image that the factors of the run represent.
    overall : ndarray, shape (classes,), float64
        Overall quality: ``represented * (1 - intra / total)``. Near 1 for a tight class of well represented images, 0 for one
        that is as wide as the whole set.
    total : float
        Variance of all classified images: mean squared distance from their centre.
    """

    labels: NDArray[np.int32]
    distance: NDArray[np.float64]
    sizes: NDArray[np.int64]
    intra: NDArray[np.float64]
    represented: NDArray[np.float64]
    overall: NDArray[np.float64]
    total: float

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.sizes)

    @property
    def within(self) -> float:
        """Share of the total variance that lies inside the classes, 0 to 1; the rest is between them."""
        images = int(self.sizes.sum())
        return float((self.intra * self.sizes).sum() / (images * self.total)) if images and self.total > 0 else 0.0

    def members(self) -> list[NDArray[np.intp]]:
        """Images of each class, the nearest to its centre first; equal ones by number."""
        used = np.flatnonzero(self.labels >= 0)
        order = used[np.lexsort((used, self.distance[used], self.labels[used]))]
        return np.split(order, np.cumsum(self.sizes)[:-1])


def describe(points: NDArray[np.float64], labels: NDArray[np.int32], classes: int, represented: NDArray[np.float64]) -> Classes:
    """Quality measures of a classification.

    Parameters
    ----------
    points : ndarray, shape (n, d), float64
        Coordinates as they were classified.
    labels : ndarray, shape (n,), int32
        From 0 on; -1: in no class.
    classes : int
    represented : ndarray, shape (n,), float64
        Word 110 of the images.

    Returns
    -------
    Classes
    """
    centres, count = centres_of(points, labels, classes)
    distance = squared_distances(points, labels, centres)
    used = labels >= 0
    middle = points[used].mean(axis=0)
    total = float(squared_distances(points, np.where(used, 0, -1).astype(np.int32), middle[None]).sum() / max(1, int(used.sum())))
    many = np.maximum(count, 1)
    intra = np.bincount(labels[used], weights=distance[used], minlength=classes) / many
    share = np.bincount(labels[used], weights=represented[used], minlength=classes) / many
    overall = share * (1 - intra / total) if total > 0 else share.copy()
    return Classes(labels, distance, count, intra, share, overall, total)
