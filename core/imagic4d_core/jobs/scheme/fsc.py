"""FSC and FRC between stacks of volumes or images."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.fsc import THRESHOLDS, FscCurve, common_box, masked_curves, shell_curves, sphere_mask
from imagic4d_core.geometry.symmetry import order as group_order
from imagic4d_core.io.atomic import atomic_write, atomic_write_text, check_new
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.writer import create_stack, output_paths
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.jobs.images.operating import box_of
from imagic4d_core.jobs.scheme.neighbours import warn_of_symmetry
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks
from imagic4d_core.units import doubtful_resolution, in_pixels

CURVES = ("fsc", "three_sigma", "half_bit", "one_bit")
"""What is written of each pair, in the order of CSV columns and of IMAGIC images."""


@dataclass
class FscPair:
    """One curve; `number`, `a` and `b` count from 1."""

    number: int
    a: int
    b: int
    curve: FscCurve

    @property
    def values(self) -> dict[str, NDArray[np.float64]]:
        """The curves of `CURVES`."""
        c = self.curve
        return {
            "fsc": c.fsc,
            "three_sigma": c.threshold("3-sigma"),
            "half_bit": c.threshold("half-bit"),
            "one_bit": c.threshold("one-bit"),
        }

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: frequencies are fractions of Nyquist, resolutions angstrom."""
        c = self.curve
        curves = {"frequency": c.frequency, **self.values, "voxels": c.voxels, "n_eff": c.n_eff}
        if c.unmasked is not None and c.phase_randomised is not None:
            curves |= {"unmasked": c.unmasked, "phase_randomised": c.phase_randomised}
        return {
            "number": self.number,
            "label": f"{self.a}-{self.b}",
            "a": self.a,
            "b": self.b,
            "crossing": {name: c.crossing(name) for name in THRESHOLDS},
            "resolution": {name: c.resolution(name) for name in THRESHOLDS},
            **{name: values.tolist() for name, values in curves.items()},
        }


@dataclass
class FscSummary:
    """Curves of all pairs."""

    a: str
    b: str
    box: int
    pixel_size: float | None
    symmetry: str
    extent: float
    mask: str | None
    corrected: bool
    pairs: list[FscPair]
    output: str | None = None
    pixel_size_given: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        names = ("a", "b", "box", "pixel_size", "symmetry", "extent", "mask", "corrected", "output")
        return {name: getattr(self, name) for name in names} | {"curves": [p.as_dict() for p in self.pairs]}

    def lines(self) -> list[str]:
        """For people: a table of the frequencies where each curve falls below each threshold."""
        unit = "resolution in A" if self.pixel_size else "frequency as a fraction of Nyquist"
        said = [f"{self.a} against {self.b}: first crossing, {unit}"]
        said.append(f"{'pair':>12}" + "".join(f"{name:>10}" for name in THRESHOLDS))
        for p in self.pairs:
            pair = f"{p.a}-{p.b}"
            said.append(f"{pair:>12}" + "".join(f"{self._cell(p.curve, name):>10}" for name in THRESHOLDS))
        if any(p.curve.crossing(name) >= 1.0 for p in self.pairs for name in THRESHOLDS):
            said.append("< or >: above the threshold up to Nyquist")
        if not self.pixel_size_given:
            said += doubtful_resolution(self.pixel_size)
        if self.output:
            said.append(f"curves in {self.output}")
        return said

    def _cell(self, curve: FscCurve, name: str) -> str:
        crossing, resolution = curve.crossing(name), curve.resolution(name)
        if resolution is None:
            return f">{crossing:.3f}" if crossing >= 1.0 else f"{crossing:.3f}"
        if not np.isfinite(resolution):
            return "none"
        return f"<{resolution:.2f}" if crossing >= 1.0 else f"{resolution:.2f}"


def fsc(
    a: str | Path,
    b: str | Path,
    *,
    output: str | Path | None = None,
    all_pairs: bool = False,
    mask: str | Path | None = None,
    mask_radius: float | None = None,
    edge: float = 5.0,
    correct: bool = True,
    symmetry: str = "C1",
    extent: float = 0.66,
    pixel_size: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FscSummary | None:
    """Correlate volumes (FSC) or images (FRC) shell by shell.

    Parameters
    ----------
    a, b : path
        Stacks of one box size; object k of `a` is compared with object k of `b`, one single object with all of the other file.
    output : path, optional
        Curves as a picture (.png), a table (.csv), or a stack with one image of one line per curve (fsc, 3-sigma, half-bit,
        one-bit of every pair).
    all_pairs : bool
        Every object of `a` with every one of `b`.
    mask : path, optional
        Volume or image of values 0 to 1.
    mask_radius : float, optional
        Radius of a soft sphere in place of a file: pixels, or a fraction of half the box when below 1.
    edge : float
        Width of the sphere's edge, pixels.
    correct : bool
        Take out the mask's own correlation by random phases.
    symmetry : str
        Point group, for the thresholds.
    extent : float
        Linear size of the object as a fraction of the box, for the thresholds.
    pixel_size : float, optional
        Angstrom; from the files without one.
    seed : int
        Of the random phases.
    overwrite, comm, threads, progress
        As in all jobs.

    Returns
    -------
    FscSummary
        None on ranks other than 0.
    """
    if comm.rank:
        return None
    order = group_order(symmetry)
    warn_of_symmetry(a, symmetry, comm)
    if mask is not None and mask_radius is not None:
        raise UsageError("a mask file and a mask radius exclude each other; give one")
    if output is not None:
        for path in _targets(output):
            check_new(path, overwrite)
    with open_stack(a) as first, open_stack(b) as second:
        box = _check(first, second)
        numbers = _pairs(first, second, all_pairs)
        pixel = pixel_size or _pixel_size(first, second)
        weights = _mask(first, mask, mask_radius, edge)

        def one(pair: tuple[int, int]) -> FscCurve:
            x, y = _object(first, pair[0]), _object(second, pair[1])
            for stack, k, data in ((first, pair[0], x), (second, pair[1], y)):
                _refuse_constant(stack, k, data, weights)
            options: dict[str, Any] = {"symmetry_order": order, "object_size": extent, "pixel_size": pixel}
            if weights is None:
                return shell_curves(x, y, **options)
            return masked_curves(x, y, weights, correct=correct, seed=seed, **options)

        pairs = []
        for k, curve in enumerate(imap_blocks(one, numbers, threads)):
            pairs.append(FscPair(k + 1, numbers[k][0] + 1, numbers[k][1] + 1, curve))
            if progress is not None:
                progress(k + 1, len(numbers))
    shown = str(mask) if mask is not None else None if mask_radius is None else f"sphere of {in_pixels(mask_radius, box):g} px"
    result = FscSummary(str(a), str(b), box, pixel, symmetry, extent, shown, correct and weights is not None, pairs)
    result.pixel_size_given = pixel_size is not None
    if output is not None:
        result.output = str(output)
        _write(result, output, overwrite)
    return result


def _check(first: Stack, second: Stack) -> int:
    """Box of two stacks that can be compared."""
    shapes = (first.sections, first.lines, first.pixels), (second.sections, second.lines, second.pixels)
    if shapes[0] != shapes[1]:
        sizes = [" x ".join(str(n) for n in s) for s in shapes]
        raise MismatchError(f"{second.path}: objects of {sizes[1]} cannot be compared with those of {first.path}, {sizes[0]}")
    flat = np.empty(shapes[0][1:]) if not first.is_volumes else np.empty(shapes[0])
    return common_box(flat, flat)


def _pairs(first: Stack, second: Stack, all_pairs: bool) -> list[tuple[int, int]]:
    n, m = first.objects, second.objects
    if all_pairs:
        return [(i, j) for i in range(n) for j in range(m)]
    if n != m and 1 not in (n, m):
        raise MismatchError(
            f"{first.path} holds {n} objects and {second.path} {m}: give the same number, one single object, or --all-pairs"
        )
    return [(min(k, n - 1), min(k, m - 1)) for k in range(max(n, m))]


def _pixel_size(first: Stack, second: Stack) -> float | None:
    sizes = [s.pixel_size for s in (first, second) if s.pixel_size]
    if len(sizes) == 2 and abs(sizes[0] - sizes[1]) > 1e-3 * sizes[0]:
        raise MismatchError(
            f"{second.path}: {sizes[1]:g} A per pixel, but {first.path} has {sizes[0]:g}; use one scale or give --pixel-size"
        )
    return sizes[0] if sizes else None


def _object(stack: Stack, k: int) -> NDArray[np.float32]:
    return stack.read_volumes(k, k + 1)[0] if stack.is_volumes else stack.read(k, k + 1)[0]


def _refuse_constant(stack: Stack, k: int, data: NDArray[np.float32], weights: NDArray[np.float32] | None) -> None:
    seen = data if weights is None else data[weights > 0]
    if seen.min() == seen.max():
        where = "" if weights is None else " under the mask"
        raise InputError(
            f"{stack.path}: {'volume' if stack.is_volumes else 'image'} {int(stack.locations[k])} is constant{where}; "
            "there is nothing to compare"
        )


def _mask(like: Stack, path: str | Path | None, radius: float | None, edge: float) -> NDArray[np.float32] | None:
    if radius is not None:
        return sphere_mask(like.lines, 3 if like.is_volumes else 2, in_pixels(radius, like.lines), edge)
    if path is None:
        return None
    return read_mask(path, box_of(like))


def _targets(output: str | Path) -> list[Path]:
    return [Path(output)] if Path(output).suffix.lower() in (".png", ".csv") else output_paths(output)


def _write(result: FscSummary, output: str | Path, overwrite: bool) -> None:
    kind = Path(output).suffix.lower()
    if kind == ".csv":
        atomic_write_text(output, _csv(result), overwrite)
    elif kind == ".png":
        with atomic_write(output, "wb", overwrite) as handle:
            handle.write(_png(result))
    else:
        shells = len(result.pairs[0].curve.fsc)
        count = len(CURVES) * len(result.pairs)
        with create_stack(output, count, 1, 1, shells, pixel_size=result.pixel_size, overwrite=overwrite) as out:
            for k, (name, values) in enumerate(_named(result)):
                headers = blank_headers(1, 1, shells, pixel_size=result.pixel_size)
                headers["NAME"] = name.encode("ascii")
                out.write(k, values[None].astype(np.float32))
                out.set_headers(k, headers)


def _named(result: FscSummary) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for p in result.pairs:
        for name, values in p.values.items():
            yield f"{name} {p.a}-{p.b}", values


def _csv(result: FscSummary) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["number", "a", "b", "frequency", "resolution", *CURVES, "voxels"])
    for p in result.pairs:
        c = p.curve
        for r in range(len(c.fsc)):
            angstrom = f"{2 * result.pixel_size / c.frequency[r]:.6g}" if result.pixel_size and r else ""
            numbers = [f"{p.values[name][r]:.9g}" for name in CURVES]
            table.writerow([p.number, p.a, p.b, f"{c.frequency[r]:.9g}", angstrom, *numbers, int(c.voxels[r])])
    return text.getvalue()


def _png(result: FscSummary) -> bytes:
    # matplotlib takes half a second to import: only where a picture is wanted
    from imagic4d_core.pictures.curves import fsc_figure
    from imagic4d_core.pictures.style import figure_png, figures

    with figures():
        return figure_png(fsc_figure([p.as_dict() for p in result.pairs], result.pixel_size, prefix="pair"))
