"""Masks from files: weights from 0 to 1 of one object."""

import logging
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.files.copying import shape_text

log = logging.getLogger(__name__)

#: How far beyond 0 and 1 the weights of a mask may lie that was interpolated; they are cut there.
_RIPPLE = 0.05


def read_mask(mask: str | os.PathLike, box: Sequence[int]) -> NDArray[np.float32]:
    """The mask in a file of one object of the same box.

    Parameters
    ----------
    mask : path
    box : sequence of int
        (lines, pixels) or (sections, lines, pixels).

    Returns
    -------
    ndarray, shape `box`, float32
        0 to 1; bytes that mean this are scaled, with a warning (`as_weights`).

    Raises
    ------
    MismatchError
        Several objects, or another box.
    InputError
        Values that are no weights, or all of them 0.
    """
    with open_stack(mask) as stack:
        # a volume may be marked as a stack of its sections
        if (stack.n_images, stack.lines, stack.pixels) != (1, *box)[-3:]:
            need = " x ".join(map(str, box if box[0] > 1 else box[-2:]))
            raise MismatchError(f"{stack.path}: holds {shape_text(*stack.shape)}; one mask of {need} is needed")
        return as_weights(stack.read().reshape(box), stack.path)


def as_weights(values: NDArray[np.float32], path: str | os.PathLike) -> NDArray[np.float32]:
    """Weights of what a mask file holds.

    Whole numbers from 0 to 255 are divided by 255; from -128 on, they are bytes with a sign: 0 and 1 as IMOD stores them, or 0 to
    255. Both are said.

    Raises
    ------
    InputError
        Other values, or all of them 0.
    """
    low, high = float(values.min()), float(values.max())
    if low >= -_RIPPLE and high <= 1.0 + _RIPPLE:
        out, scaled = (values if low >= 0 and high <= 1 else np.clip(values, 0.0, 1.0)), ""
    else:
        if not (np.rint(values) == values).all() or low not in (0.0, -128.0) or not high - low <= 255:
            raise InputError(
                f"{path}: has values from {low:.6g} to {high:.6g}; those of a mask are weights from 0 to 1 "
                "(im4d arithmetic scales and cuts them)"
            )
        largest = high - low if ((values == low) | (values == high)).all() else 255.0
        if high - low not in (0.0, largest):
            raise InputError(
                f"{path}: has whole numbers from {low:g} to {high:g}; those of a mask are weights from 0 to 1, or bytes up "
                "to 255 (im4d arithmetic scales them)"
            )
        out = (values - np.float32(low)) / np.float32(largest or 1.0)
        scaled = f"{low:g} to {low + largest:g}"
    if not (out > 0).any():
        raise InputError(f"{path}: the mask is empty: no value is above 0")
    if scaled:
        log.warning("%s: mask values %s are taken as weights 0 to 1", path, scaled)
    return out
