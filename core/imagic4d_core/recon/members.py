"""Which images a 3D was made of: marks of a few of them, kept with the 3D, by which they are known again.

An image that is compared with a 3D that it is part of finds its own noise there and is drawn back to where it was (algorithms
2.3). A loop of single commands cannot know it from file names, so each volume keeps the least few of the hash values of its
images (bottom-k sketch, Broder, Compression and Complexity of Sequences 1997, 21): a sample that is the same for the same images
in any order, and of which every part of the images has its share.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.io.header import MADE_OF, made_of_lines

#: Images whose marks are kept with a 3D: as many as fit a line of the history (word 200).
KEPT = 6
#: Lines of an image that are looked at, around its middle.
LINES = 16


def marks_of(images: NDArray[np.float32]) -> NDArray[np.uint32]:
    """A hash value for each image, by which it is known again in another file and after a change of grey scale.

    Parameters
    ----------
    images : ndarray, shape (n, lines, pixels), float32

    Returns
    -------
    ndarray, shape (n,), uint32
        Of the signs of differences between neighbours in a line; 0 for images without contrast there: nothing known.
    """
    first = max(0, images.shape[1] // 2 - LINES // 2)
    middle = images[:, first : first + LINES]
    up = (middle[:, :, 1:] > middle[:, :, :-1]).reshape(len(images), -1)
    rows = np.packbits(up, axis=1)
    marks = [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=4).digest(), "little") for row in rows]
    return np.where(up.any(1), np.array(marks, np.uint32), np.uint32(0))


def least_marks(marks: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Those that are kept of the marks of the images of a 3D, ascending."""
    return np.unique(marks[marks > 0])[:KEPT]


def history_line(marks: NDArray[np.uint32]) -> str:
    """The line of a 3D's history that keeps its marks."""
    return (MADE_OF + b"".join(b"%08x" % m for m in marks.tolist())).decode()


def marks_in(history: bytes) -> frozenset[int]:
    """Marks that a history (word 200) keeps; none where it says nothing that can be read."""
    found: set[int] = set()
    for line in made_of_lines([history]):
        digits = line[len(MADE_OF) :]
        try:
            found.update(int(digits[i : i + 8], 16) for i in range(0, len(digits) - 7, 8))
        except ValueError:
            continue
    return frozenset(found - {0})
