"""Transforms, correlation functions, averages and local operations on every image or volume of a file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.angrec.scf import sinogram
from imagic4d_core.errors import InputError, UsageError, check_word
from imagic4d_core.io.locations import Locations
from imagic4d_core.jobs.images import measuring
from imagic4d_core.jobs.images.operating import Operated, box_of, inner_threads, open_unit, operate
from imagic4d_core.jobs.images.two_images import Partner
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels import local, radial, spectra, symmetry
from imagic4d_core.units import in_pixels

#: Modes that make an object of each object; what they do, in words.
IMAGES = {
    "fourier": "Fourier transform, frequency 0 in the centre",
    "back-transform": "back from Fourier space",
    "amplitude": "Fourier amplitudes",
    "power": "power spectrum",
    "phases": "Fourier phases in degrees",
    "autocorrelation": "autocorrelation",
    "cross-correlation": "cross-correlation with {second}",
    "rotational-average": "rotational average",
    "local-variance": "variance within {radius:g} pixels",
    "gradient": "length of the gradient",
    "laplace": "Laplacian",
    "symmetrise": "symmetrised by {symmetry}",
    "sinogram": "sinogram, 360 lines of one degree",
}
#: Modes that make a line of each object.
CURVES = {"radial-curve": "mean by distance from the centre", "power-curve": "mean power by frequency"}


@dataclass
class _Context:
    """What a mode may need."""

    ndim: int
    box: tuple[int, ...]
    radius: float
    group: str
    interpolation: str
    partner: Partner | None
    threads: int


def _each(function: Callable[..., NDArray]) -> Callable[[NDArray, int, _Context], NDArray]:
    return lambda data, start, c: np.stack([function(one) for one in data])


_RUN: dict[str, Callable[[NDArray, int, _Context], NDArray]] = {
    "fourier": lambda data, start, c: spectra.transform(data, c.ndim),
    "amplitude": lambda data, start, c: spectra.amplitudes(data, c.ndim),
    "power": lambda data, start, c: spectra.power(data, c.ndim),
    "phases": lambda data, start, c: spectra.phases(data, c.ndim),
    "back-transform": lambda data, start, c: np.ascontiguousarray(spectra.back_transform(data, c.ndim).real),
    "autocorrelation": lambda data, start, c: spectra.autocorrelation(data, c.ndim),
    "cross-correlation": lambda data, start, c: spectra.cross_correlation(data, _partners(c, start, len(data)), c.ndim),
    "rotational-average": _each(radial.rotational_average),
    "gradient": _each(local.gradient),
    "laplace": _each(local.laplace),
    "local-variance": lambda data, start, c: np.stack([local.local_variance(one, c.radius) for one in data]),
    "symmetrise": lambda data, start, c: np.stack(
        [symmetry.symmetrised(one, c.group, c.interpolation, c.threads) for one in data]
    ),
    "sinogram": _each(sinogram),
    "radial-curve": _each(radial.radial_curve),
    "power-curve": _each(radial.power_curve),
}
MODES = (*IMAGES, *CURVES)


def _partners(c: _Context, start: int, count: int) -> NDArray:
    assert c.partner is not None
    return c.partner.objects(start, count)


def incore(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    mode: str,
    unit: str = "images",
    second: str | os.PathLike | None = None,
    window: float | None = None,
    symmetry: str = "C1",
    interpolation: str = "spline",
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:
    """One of `MODES` on every object.

    Parameters
    ----------
    src, dst : path
    mode : str
    unit : {"images", "volumes"}
    second : path, optional
        For the cross-correlation: one object for all, or one for each.
    window : float, optional
        Radius of the local variance, pixels (below 1: fraction of half the box); 3 without one.
    symmetry : str
        Point group; Cn for images.
    interpolation : str
        Of symmetrise: spline, bilinear or nearest.
    loc, overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    Operated
        Fourier transforms are of type COMP; curves have one line.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_word("mode", mode, MODES)
    if (mode == "cross-correlation") != (second is not None):
        raise UsageError("--second FILE and --mode cross-correlation go together")
    if mode == "symmetrise" and symmetry == "C1":
        raise UsageError("--mode symmetrise needs a point group: give --symmetry C4, D2, ...")
    with open_unit(src, unit, loc) as stack:
        path, box, size = stack.path, box_of(stack), stack.pixel_size
        threads_inside = inner_threads(stack, threads)
        is_complex = stack.is_complex and stack.layout.type_word != "RECO"
        objects = stack.objects
    if (mode == "back-transform") != is_complex and (is_complex or mode == "back-transform"):
        need = "complex densities (COMP), made by --mode fourier" if mode == "back-transform" else "real densities"
        raise InputError(f"{path}: --mode {mode} needs {need}")
    radius = in_pixels(3.0 if window is None else window, min(box))
    if mode == "local-variance" and not 1 <= radius < min((n for n in box if n > 1), default=1) / 2:
        raise UsageError(f"--window {radius:g} pixels: give 1 pixel or more, and less than half the box")
    partner = None if second is None else Partner.open(second, unit, box, objects, path)
    context = _Context(len(box), box, radius, symmetry, interpolation, partner, threads_inside)
    probe = np.zeros((1, *box), np.float32)
    new = (*(1,) * (len(box) - 1), len(_RUN[mode](probe, 0, context)[0])) if mode in CURVES else box
    if mode == "sinogram":
        if len(box) != 2:
            raise UsageError(f"{path}: sinograms are made of images: im4d incore takes the sections of volumes one by one")
        if box[0] != box[1]:
            raise UsageError(f"{path}: sinograms are of square images, not of {box[0]} x {box[1]}; use im4d cut")
        new = (360, box[1])
    try:

        def operation(data: NDArray, headers: NDArray, start: int) -> NDArray:
            out = _RUN[mode](data, start, context)
            if mode in ("cross-correlation", "autocorrelation"):
                headers["CCC"] = out.reshape(len(out), -1).max(axis=1)[:, None]
            if mode == "power-curve":  # words 28 and 29: largest wave number and step
                step = 1.0 / (min((n for n in box if n > 1), default=1) * (size or 1.0))
                headers["SINOSTRT"], headers["SINOEND"] = step * (new[-1] - 1), step
            if mode == "sinogram":  # words 28 and 29: angles of the first and of the last line
                headers["SINOSTRT"], headers["SINOEND"] = 0.0, new[0] - 1.0
            return np.ascontiguousarray(out).reshape(len(data), *new)

        said = (IMAGES | CURVES)[mode].format(second=second, radius=radius, symmetry=symmetry)
        return operate(
            src, dst, operation, what=said, unit=unit, loc=loc, box=new, takes_complex=is_complex,
            dtype=np.complex64 if mode == "fourier" else np.float32, overwrite=overwrite, comm=comm, threads=threads,
            progress=progress,
        )  # fmt: skip
    finally:
        if partner is not None:
            partner.close()


WHOLE = ("average", "variance", "histogram", "peaks", "statistics")
"""Modes of `menu` that look at a whole file."""


def menu(
    src: str | os.PathLike, dst: str | os.PathLike | None, *, mode: str, number: int | None = None, bins: int = 32,
    least: float | None = None, **settings: Any,
) -> Any:  # fmt: skip
    """`incore`, or what looks at a whole file (`jobs.images.measuring`), as `mode` says; further parameters as there.

    Raises
    ------
    UsageError
        No output for a mode that makes one.
    """
    common = {k: v for k, v in settings.items() if k in ("unit", "loc", "overwrite", "comm", "threads", "progress")}
    if mode == "histogram":
        return measuring.histogram(src, dst, bins=bins, **common)
    if mode == "peaks":
        return measuring.peak_search(src, dst, number=number or 10, window=settings.get("window"), least=least, **common)
    if mode == "statistics":
        if dst is not None:
            raise UsageError("--mode statistics is printed: give no output file")
        common.pop("overwrite", None)
        return measuring.statistics(src, **common)
    if dst is None:
        raise UsageError(f"--mode {mode} needs an output file")
    if mode in ("average", "variance"):
        return measuring.set_statistics(src, dst, mode=mode, **common)
    return incore(src, dst, mode=mode, **settings)
