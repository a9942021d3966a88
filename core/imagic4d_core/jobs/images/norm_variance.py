"""Normalise images or volumes: mean 0 and a wanted standard deviation under a mask."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import UsageError, check_word
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.jobs.images.operating import Operated, box_of, in_order, open_unit, operate
from imagic4d_core.masks.shapes import resolved, round_mask
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels.normalise import Normalisation, normalise

REGIONS = ("whole", "circular", "soft", "file")


def norm_variance(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    unit: str = "images",
    region: str | None = None,
    mask_radius: float | None = None,
    falloff: float | None = None,
    mask: str | os.PathLike | None = None,
    sigma: float = 10.0,
    outliers: float | None = None,
    ramp: bool = False,
    apply_mask: bool = False,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:
    """Mean 0 and standard deviation `sigma` under a mask, for every object by itself.

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    region : {"whole", "circular", "soft", "file"}, optional
        Where mean and standard deviation are taken; by default what the other parameters say (a mask file, a soft mask where
        there is a falloff, a circular one where there is a radius), else the whole object.
    mask_radius, falloff : float, optional
        See `masks.shapes.resolved`.
    mask : path, optional
        File with one mask, weights 0 to 1.
    sigma : float
        Wanted standard deviation.
    outliers : float, optional
        Set densities farther than this many standard deviations from the mean to the mean, first.
    ramp : bool
        Take off the best linear function first.
    apply_mask : bool
        Multiply by the mask at the end.
    loc, overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    Operated
        Its values count constant objects (set to 0 and inactive, word 58) and replaced densities.
    """
    region = region or ("file" if mask else "soft" if falloff is not None else "circular" if mask_radius is not None else "whole")
    check_word("region", region, REGIONS)
    if (region == "file") != (mask is not None):
        raise UsageError("--mask FILE and --region file go together")
    if region == "whole" and (mask_radius is not None or falloff is not None or apply_mask):
        raise UsageError("--region whole takes no mask: leave out --mask-radius, --falloff and --apply-mask")
    with open_unit(src, unit, loc) as stack:
        box = box_of(stack)
    weights, said = None, f"the whole {unit.removesuffix('s')}"
    if mask is not None:
        weights, said = read_mask(mask, box), os.fspath(mask)
    elif region != "whole":
        r, edge = resolved(box, mask_radius, 0.0 if region == "circular" else falloff)
        weights, said = round_mask(box, r, edge), f"{r:g} pixels" + (f" and a falloff of {edge:g}" if edge else "")
    if weights is not None and not weights.any():
        raise UsageError(f"{said}: the mask is empty")
    how = Normalisation(sigma, weights, outliers, ramp, apply_mask)
    found: dict[int, tuple[int, int]] = {}

    def operation(data: NDArray, headers: NDArray, start: int) -> NDArray:
        data = np.ascontiguousarray(data)
        flat, replaced = normalise(data, how)
        headers["ACTIVE"][flat] = -1
        found[start] = int(flat.sum()), replaced
        return data

    out = operate(
        src, dst, operation, what=f"mean 0 and standard deviation {sigma:g} in {said}", unit=unit, loc=loc, overwrite=overwrite,
        any_order=weights is None and not ramp, comm=comm, threads=threads, progress=progress,
    )  # fmt: skip
    parts = in_order(comm, found)
    constant, replaced = (sum(p[k] for p in parts) for k in range(2))
    if constant:
        out.values[f"constant {unit}, set inactive (word 58)"] = constant
    if outliers is not None:
        out.values["outliers set to the mean"] = replaced
    return out
