"""Sinogram correlation of images: what `plot --kind scf` draws."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.scf import CommonLine, best_line, common_line, half_lines, scf
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.report.reporting import centred_image
from imagic4d_core.masks.shapes import soft_disc
from imagic4d_core.pictures.scf import scf_figure
from imagic4d_core.units import Frequency, as_fraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: SCFs in a picture; highest frequency where none is given (fraction of Nyquist); radius of the mask (fraction of half the box).
MOST, LIMIT, RADIUS = 12, 0.4, 0.85


@dataclass
class Correlated:
    """The best common line of two images, and where their Euler angles put it."""

    first: int
    second: int
    best: CommonLine
    known: CommonLine | None
    known_value: float | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        out: dict[str, Any] = {"images": [self.first, self.second], "best": self.best.__dict__}
        return out | {"known": self.known.__dict__ | {"value": self.known_value} if self.known else None}

    def lines(self) -> list[str]:
        """For people."""
        b, k = self.best, self.known
        said = f"{self.first} with {self.second}: lines at {b.first:.1f} and {b.second:.1f} degrees correlate best, {b.value:.3f}"
        return [said + (f"; the Euler angles say {k.first:.1f} and {k.second:.1f}, {self.known_value:.3f}" if k else "")]


def correlate(
    src: str,
    anchors: str | None = None,
    max_frequency: Frequency | None = None,
    amplitude_filter: float = 0.0,
    pixel_size: float | None = None,
    locations: Locations | None = None,
) -> tuple["Figure", list[Correlated]]:
    """Correlate the sinogram of the first image with those of others.

    Parameters
    ----------
    src : str
        Images; the first one chosen is compared with the others, or with `anchors`. Pending shifts (words 80, 81) are applied.
    anchors : str, optional
        Images.
    max_frequency : Frequency, optional
        Default 0.4 of Nyquist.
    amplitude_filter : float
        See `angrec.scf.scf`.
    pixel_size : float, optional
        Ångström, where the header has none.
    locations : Locations, optional
        Images of `src` that count.

    Returns
    -------
    Figure
    list of Correlated
    """
    with open_stack(src, locations) as images, open_stack(anchors or src, None if anchors else locations) as others:
        for stack in (images, others):
            if stack.is_volumes:
                raise UsageError(f"{stack.path}: holds volumes; sinograms are those of images: project them by im4d forward")
            if stack.lines != stack.pixels:
                raise MismatchError(f"{stack.path}: images of {stack.lines} x {stack.pixels}; square ones are needed")
        box = images.lines
        if others.lines != box:
            raise MismatchError(f"{others.path}: images of box {others.lines}, but {images.path} has {box}")
        start = 0 if anchors else 1
        if others.n_images <= start:
            raise InputError(f"{images.path}: one image; give two (--loc 3,7), or --anchors")
        limit = as_fraction(max_frequency, pixel_size or images.pixel_size) if max_frequency is not None else LIMIT
        r_max = int(np.clip(round(limit * box / 2), 3, box // 2 - 1))
        count = 90 if r_max <= 35 else 180
        first, pose = _lines(images, 0, r_max, count)
        found, panels = [], []
        a = int(images.locations[0])
        for k in range(start, min(others.n_images, start + MOST)):
            lines, other = _lines(others, k, r_max, count)
            c, b = scf(first, lines, amplitude_filter), int(others.locations[k])
            best, known, value = best_line(c), None, None
            if _posed(pose) and _posed(other):
                known = common_line(pose.matrices()[0], other.matrices()[0])
            if known is not None:
                i = round(known.first * count / 180)
                j = round(known.second * count / 180) + count * (i // count)
                value = float(c[i % count, j % (2 * count)])
            found.append(Correlated(a, b, best, known, value))
            panels.append((f"{a} with {b}: {best.value:.2f}", c, best, known))
    return scf_figure(panels, f"image {a}", "the anchor" if anchors else "the other"), found


def _posed(pose: Poses) -> bool:
    return bool(pose.alpha[0] or pose.beta[0] or pose.gamma[0])


def _lines(stack: Stack, index: int, r_max: int, count: int) -> tuple[NDArray[np.complex64], Poses]:
    """Half lines of a centred, masked image, and its pose."""
    pose = Poses.from_headers(stack.headers(index, index + 1))
    image = centred_image(stack.read(index, index + 1)[0], pose.shift[0])
    half = stack.lines / 2
    mask = soft_disc(stack.lines, RADIUS * half, 0.1 * half)
    image = (image - np.average(image, weights=mask)) * mask
    if not image.any():
        raise InputError(f"{stack.path}: image {int(stack.locations[index])} is constant: it has no lines to correlate")
    return half_lines(image, r_max, count), pose
