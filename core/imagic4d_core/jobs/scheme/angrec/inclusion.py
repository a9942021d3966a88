"""Images that are compared with 3Ds which they are part of: recognised, and said."""

import numpy as np

from imagic4d_core.jobs.scheme.angrec.anchors import Anchors
from imagic4d_core.jobs.scheme.angrec.images import Images
from imagic4d_core.parallel import Comm

#: Marks of images in 3Ds that must be found among the images: one may be there by chance.
FEWEST = 2


def inclusion(images: Images, anchors: Anchors, comm: Comm) -> float:
    """Share of the images that the 3Ds were made of which are compared with just these 3Ds; 0 where none is known to be.

    Estimated from the few images that each 3D keeps marks of; `images` are to have been read, each by one of the ranks.
    """
    kept: set[tuple[int, int]] = set()
    found: set[tuple[int, int]] = set()
    for q in np.unique(images.fold[images.active]).tolist():
        pairs = [(s, m) for s in anchors.of_fold(q) for m in sorted(anchors.made_of[s])]
        mine = images.marks[images.active & (images.fold == q)]
        there = np.isin(np.array([m for _, m in pairs], np.uint32), mine)
        kept.update(pairs)
        found.update(p for p, yes in zip(pairs, there, strict=True) if yes)
    found = set().union(*comm.allgather(found))
    return len(found) / len(kept) if len(found) >= FEWEST else 0.0


def inclusion_warning(share: float, anchors: Anchors) -> str:
    """What an `inclusion` above 0 means, for people."""
    if anchors.folds:
        return (
            f"{anchors.path} should have left out the images it is compared with, but contains some of them: they are in another "
            "order here, or other ones, than when it was made; make it anew from these images (im4d recon --folds 4 --leave-out)"
        )
    return (
        f"{anchors.path} was made of these images ({100 * share:.0f} % of its images are among them): an image finds its own "
        "noise in a 3D that it is part of and stays where it is; compare with volumes made without it "
        "(im4d recon --folds 4 --leave-out FILE, then --anchors FILE)"
    )
