"""Which image goes into which 3D: IMAGIC's assignments of THREED-RECONSTRUCTION."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.rng import rng_for

KINDS = ("all", "header", "split", "states", "sequential", "random", "multiple-random")


@dataclass
class Assignment:
    """Entries (image, 3D, weight), sorted by image.

    Attributes
    ----------
    image : ndarray, shape (m,), int64
        0-based image numbers; an image may come several times.
    ref3d : ndarray, shape (m,), int64
        1-based 3D numbers.
    weight : ndarray, shape (m,), float32
        How often the image goes in.
    renumbered : dict of int to int
        Old number of each 3D -> new number, 0 for those left out.
    """

    image: NDArray[np.int64]
    ref3d: NDArray[np.int64]
    weight: NDArray[np.float32]
    renumbered: dict[int, int]

    @property
    def volumes(self) -> int:
        """Number of 3Ds."""
        return max(self.renumbered.values(), default=0)

    def sizes(self) -> NDArray[np.int64]:
        """Images in each 3D (counted as often as they go in)."""
        return np.rint(np.bincount(self.ref3d, self.weight, self.volumes + 1)[1:]).astype(np.int64)

    def membership(self, count: int) -> NDArray[np.int32]:
        """One 3D for each of `count` images, 0 for none; of several the one it goes into most often, then the first."""
        out = np.zeros(count, np.int32)
        order = np.lexsort((-self.ref3d, self.weight))  # the last entry of an image stays
        out[self.image[order]] = self.ref3d[order]
        return out

    def even(self, seed: int) -> "Assignment":
        """The same with at most an equal share of the entries in each 3D, chosen at random: none is less noisy for its size."""
        share = max(1, round(len(self.image) / max(1, self.volumes)))
        keep = np.ones(len(self.image), bool)
        for k in range(1, self.volumes + 1):
            mine = np.flatnonzero(self.ref3d == k)
            if len(mine) > share:
                keep[rng_for(seed, "recon/even", k).permutation(mine)[share:]] = False
        return Assignment(self.image[keep], self.ref3d[keep], self.weight[keep], self.renumbered)


def by_state(ref3d: NDArray, state: NDArray) -> NDArray[np.int32]:
    """Memberships of 3Ds that are divided further by the states of their images.

    A state belongs to the 3D that most of its images are in. Images of a 3D that has states but whose own state is none of them
    go to its largest.

    Parameters
    ----------
    ref3d : ndarray of int, shape (n,)
        0: none.
    state : ndarray of int, shape (n,)
        0: none is known.

    Returns
    -------
    ndarray of int32, shape (n,)
        From 1, 3D by 3D and in the order of the states; 0 where `ref3d` is.
    """
    ref3d, state = np.maximum(ref3d, 0).astype(np.int64), np.maximum(state, 0).astype(np.int64)
    table = np.zeros((int(ref3d.max(initial=0)) + 1, int(state.max(initial=0)) + 1), np.int64)
    np.add.at(table, (ref3d, state), 1)
    home = table[1:].argmax(0) + 1 if len(table) > 1 else np.zeros(table.shape[1], np.int64)
    out, last = np.zeros(len(ref3d), np.int32), 0
    for k in range(1, len(table)):
        mine = ref3d == k
        own = [s for s in range(1, table.shape[1]) if home[s] == k and table[k, s] > 0]
        number = np.full(table.shape[1], last + 1, np.int32)
        if own:
            number[:] = last + 1 + int(np.argmax(table[k, own]))
            number[own] = np.arange(last + 1, last + 1 + len(own))
        out[mine] = number[state[mine]]
        last += max(1, len(own)) if mine.any() else 0
    return out


def assign(
    kind: str, header: NDArray, active: NDArray[np.bool_], volumes: int | None = None, min_images: int = 0, seed: int = 0,
    path: object = "images",
) -> Assignment:  # fmt: skip
    """Assign images to 3Ds.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    header : ndarray of int, shape (n,)
        Membership in the headers (0 = none); for ``states`` what `by_state` makes of it.
    active : ndarray of bool, shape (n,)
        Images that may be used.
    volumes : int, optional
        Number of 3Ds; for ``split`` the parts of each present 3D (default 2).
    min_images : int
        3Ds of fewer images are left out, the others renumbered 1..n.
    seed : int
    path
        For messages.

    Raises
    ------
    UsageError, InputError, MismatchError
    """
    check_word("assignment", kind, KINDS)
    use = np.flatnonzero(active)
    if not len(use):
        raise InputError(f"{path}: has no active image (word 58)")
    needs = kind in ("sequential", "random", "multiple-random")
    if needs and volumes is None:
        raise UsageError(f"--membership {kind} needs --volumes K, the number of 3Ds")
    count = volumes or 2
    if needs and count > len(use):
        raise MismatchError(f"{path}: {count} 3Ds cannot be made of {len(use)} images; at least one image each is needed")
    weight = np.ones(len(use), np.float32)
    given = header[use].astype(np.int64)
    if kind in ("header", "split", "states"):
        keep = given > 0
        if not keep.any():
            raise InputError(
                f"{path}: no image has a 3D membership (REF3D, word 51); run angrec, or use --membership all or random"
            )
        use, given, weight = use[keep], given[keep], weight[keep]
    if kind == "all":
        ref3d = np.ones(len(use), np.int64)
    elif kind in ("header", "states"):
        ref3d = given
    elif kind == "split":
        ref3d = np.zeros(len(use), np.int64)
        for k in np.unique(given):
            mine = np.flatnonzero(given == k)
            shuffled = rng_for(seed, "recon/split", int(k)).permutation(len(mine))
            ref3d[mine] = (k - 1) * count + 1 + shuffled * count // len(mine)
    elif kind == "sequential":
        ref3d = 1 + np.arange(len(use)) * count // len(use)
    elif kind == "random":
        ref3d = 1 + rng_for(seed, "recon/membership").permutation(len(use)) * count // len(use)
    else:
        drawn = rng_for(seed, "recon/membership").integers(0, len(use), len(use))
        pair = drawn * count + np.arange(len(use)) * count // len(use)
        pair, times = np.unique(pair, return_counts=True)
        use, ref3d, weight = use[pair // count], 1 + pair % count, times.astype(np.float32)
    sizes = np.bincount(ref3d, weight)
    alive = [k for k in range(1, len(sizes)) if sizes[k] >= max(1, min_images)]
    if not alive:
        raise InputError(f"{path}: no 3D has {min_images} images; the largest has {int(sizes.max())}")
    table = np.zeros(len(sizes), np.int64)
    table[alive] = np.arange(1, len(alive) + 1)
    seen = range(1, len(sizes)) if kind != "header" else np.flatnonzero(sizes)
    renumbered = {int(k): int(table[k]) for k in seen}
    ref3d = table[ref3d]
    keep = ref3d > 0
    return Assignment(use[keep], ref3d[keep], weight[keep], renumbered)
