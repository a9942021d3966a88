"""Pictures of volumes that are states of one thing: side by side, and one after the other as a film."""

from collections.abc import Sequence

import numpy as np

from imagic4d_core.pictures.grey import F32, U8, fit_tile, robust_limits, to_grey, to_rgb
from imagic4d_core.pictures.montage import Tile, montage_png, on_white
from imagic4d_core.pictures.png import encode_apng
from imagic4d_core.pictures.volumes import (
    VIEW_MATRICES,
    calmed,
    central_sections,
    crop_centre,
    isovalue,
    object_frame,
    surface_picture,
)

#: Side of a picture of one 3D in pixels; time of a frame of a film in milliseconds.
SIDE, FRAME = 144, 120


def _drawn(volumes: F32) -> list[list[U8]]:
    """Of each volume: surface from +z and from +y, and the section normal to z; one level and one grey scale for all."""
    mean = volumes.mean(0)
    level = isovalue(calmed(mean))
    frame = object_frame(mean, level)
    volumes = np.stack([crop_centre(v, frame) for v in volumes])
    cuts = [central_sections(v)[0] for v in volumes]
    limits = robust_limits(np.stack(cuts))
    return [
        [
            *(on_white(surface_picture(v, SIDE, level=level, view=VIEW_MATRICES[k])) for k in (0, 2)),
            to_rgb(to_grey(fit_tile(cut, SIDE), limits)),
        ]
        for v, cut in zip(volumes, cuts, strict=True)
    ]  # fmt: skip


def strip_png(volumes: F32, names: Sequence[str]) -> bytes:
    """PNG with a column for each volume: two surfaces and a section.

    Parameters
    ----------
    volumes : ndarray, shape (n, box, box, box), float32
    names : sequence of str
    """
    drawn = _drawn(volumes)
    tiles = [Tile(d[row], names[i] if row == 2 else "") for row in range(3) for i, d in enumerate(drawn)]
    return montage_png(tiles, len(volumes))


def film_png(volumes: F32, names: Sequence[str]) -> bytes:
    """Animated PNG: two surfaces and a section of one volume after the other, to and fro.

    Parameters
    ----------
    volumes, names
        As of `strip_png`; a film has no captions.
    """
    frames = [np.concatenate(d, axis=1) for d in _drawn(volumes)]
    return encode_apng([*frames, *frames[-2:0:-1]], FRAME)
