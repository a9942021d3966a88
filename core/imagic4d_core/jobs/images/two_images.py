"""Two files of images or volumes: combine them, or compare them, object by object."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.jobs.images.operating import Operated, box_of, in_order, kept_rows, open_unit, operate, survey
from imagic4d_core.masks.shapes import resolved, round_mask
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pixels import two
from imagic4d_core.units import Frequency, as_fraction

COMPARISONS = ("correlation", "phase-residual")
WORDS = (*two.COMBINE, *COMPARISONS)
#: Header word that takes the value of a comparison.
WORD = {"correlation": "CCC", "phase-residual": "USER1"}


@dataclass
class Compared:
    """What a comparison found.

    Attributes
    ----------
    operation, first, second : str
    values : list of float
        One for each object.
    locations : list of int
        Theirs in the first file.
    output : str or None
    """

    operation: str
    first: str
    second: str
    values: list[float]
    locations: list[int]
    output: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**vars(self), "mean": float(np.mean(self.values))}

    def lines(self) -> list[str]:
        """For people."""
        unit = " degrees" if self.operation == "phase-residual" else ""
        out = [f"{k}  {v:.6f}" for k, v in zip(self.locations[:20], self.values[:20], strict=True)]
        if len(self.values) > 20:
            out.append(f"... {len(self.values)} values; --json gives all")
        low, high = min(self.values), max(self.values)
        out.append(f"{self.operation}: mean {np.mean(self.values):.6f}{unit}, from {low:.6f} to {high:.6f}")
        if self.output:
            out.append(f"{self.output}: copy of the first, with the values in word {WORD[self.operation]}")
        return out


def two_images(
    first: str | os.PathLike,
    second: str | os.PathLike,
    dst: str | os.PathLike | None = None,
    *,
    operation: str,
    unit: str = "images",
    fit: bool = False,
    mask: str | os.PathLike | None = None,
    mask_radius: float | None = None,
    max_frequency: Frequency | float | str | None = None,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated | Compared:
    """Combine or compare the objects of two files, pair by pair; a single second object serves all first ones.

    Parameters
    ----------
    first, second, dst : path
        The output has the headers of the first; comparisons need none.
    operation : str
        One of `WORDS`.
    unit : {"images", "volumes"}
    fit : bool
        Scale the second by least squares to the first before they are combined.
    mask, mask_radius
        Where correlation and least squares look: a mask file, or a circle (pixels; below 1 a fraction of half the box).
    max_frequency : Frequency, float or str, optional
        For the phase residual: fraction of Nyquist, or angstrom.
    loc : Locations, optional
        Of the first file.
    overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    UsageError
        No output for an operation that makes one.
    MismatchError
        Boxes differ, or the second file holds neither one object nor as many as are selected of the first.
    """
    check_word("operation", operation, WORDS)
    if operation in two.COMBINE and dst is None:
        raise UsageError(f"--operation {operation} needs an output file")
    with open_unit(first, unit, loc) as one:
        box, count, path, size = box_of(one), one.objects, one.path, one.pixel_size
        is_complex = one.is_complex and one.layout.type_word != "RECO"
    if is_complex and (fit or operation not in ("add", "subtract", "multiply")):
        raise InputError(f"{path}: complex densities can be added, subtracted and multiplied only")
    plain = dst is not None and not fit and operation in two.COMBINE
    rows = kept_rows(first, dst, unit, loc, second) if dst is not None and plain else "centre"
    with Partner.open(second, unit, box, count, path, is_complex, rows) as partner:
        where = _where(mask, mask_radius, box)
        fraction = 1.0 if max_frequency is None else as_fraction(max_frequency, size)
        settings: dict[str, Any] = {"unit": unit, "loc": loc, "comm": comm, "threads": threads, "progress": progress}
        if operation in COMPARISONS:
            return _compare(first, partner, dst, operation, where, fraction, overwrite, settings)
        slopes: dict[int, list[float]] = {}
        by_section = not fit and unit == "volumes"

        def work(data: NDArray, headers: NDArray, start: int) -> NDArray:
            theirs = partner.plane(start, len(data)) if by_section else partner.objects(start, len(data))
            if not fit:
                return two.combine(data, theirs, operation)
            slopes[start] = []
            for k, mine in enumerate(data):
                b = theirs[k % len(theirs)]
                slope, offset = two.least_squares(mine, b, where)
                two.combine(mine[None], b[None], operation, slope, offset)
                slopes[start].append(slope)
            return data

        assert dst is not None
        out = operate(
            first, dst, work, what=f"{operation} {partner.stack.path}", dtype=np.complex64 if is_complex else np.float32,
            takes_complex=is_complex, by_section=by_section, any_order=rows == "keep", overwrite=overwrite, **settings,
        )  # fmt: skip
        if fit:
            found = [s for part in in_order(comm, slopes) for s in part]
            out.values["scale of the second"] = round(float(np.mean(found)), 6)
        return out


class Partner:
    """The second file of an operation on two: one object for all, or one for each; a context manager."""

    def __init__(self, stack: Stack, box: tuple[int, ...], count: int, is_complex: bool = False):
        self.stack, self.box, self.is_complex = stack, box, is_complex
        self.planes = box[0] if len(box) == 3 else 1
        self._one = self._read(0, self.planes).reshape(1, *box) if stack.objects < count else None

    @classmethod
    def open(
        cls, spec: str | os.PathLike, unit: str, box: tuple[int, ...], count: int, first: object, is_complex: bool = False,
        rows: str = "centre",
    ) -> "Partner":  # fmt: skip
        """Open the partner of `count` objects of a box in the file `first` (for messages); `rows` as `open_stack`.

        Raises
        ------
        MismatchError
            Another box, or neither one object nor `count`.
        """
        stack = open_unit(spec, unit, rows=rows)
        try:
            if box_of(stack) != box:
                have, need = " x ".join(map(str, box_of(stack))), " x ".join(map(str, box))
                raise MismatchError(f"{stack.path}: {unit} of {have}; {need} are needed, as in {first}")
            if stack.objects not in (1, count):
                raise MismatchError(f"{stack.path}: holds {stack.objects} {unit}; 1 or {count} are needed, as in {first}")
            return cls(stack, box, count, is_complex)
        except BaseException:
            stack.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.stack.close()

    def __enter__(self) -> "Partner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, a: int, b: int) -> NDArray:
        if self.is_complex and self.stack.is_complex:
            return self.stack.read_complex(a, b)
        return self.stack.read(a, b).astype(np.complex64 if self.is_complex else np.float32, copy=False)

    def objects(self, start: int, count: int) -> NDArray:
        """Partners of some objects, shape (count or 1, *box)."""
        if self._one is not None:
            return self._one
        return self._read(start * self.planes, (start + count) * self.planes).reshape(count, *self.box)

    def plane(self, start: int, count: int) -> NDArray:
        """Partners of single sections, shape (count, 1, lines, pixels)."""
        if self._one is not None:
            return self._one[0][(start + np.arange(count)) % self.planes][:, None]
        return self._read(start, start + count)[:, None]


def _where(mask: str | os.PathLike | None, radius: float | None, box: tuple[int, ...]) -> NDArray[np.float32] | None:
    if mask is not None and radius is not None:
        raise UsageError("give either --mask or --mask-radius")
    if mask is not None:
        return read_mask(mask, box)
    return None if radius is None else round_mask(box, resolved(box, radius, 0.0)[0])


def _compare(
    first: str | os.PathLike, partner: Partner, dst: str | os.PathLike | None, operation: str, where: NDArray[np.float32] | None,
    fraction: float, overwrite: bool, settings: dict[str, Any],
) -> Compared:  # fmt: skip
    found: dict[int, list[float]] = {}

    def value(a: NDArray, b: NDArray) -> float:
        if operation == "correlation":
            return two.correlation(a, b, where)
        return two.phase_residual(a if where is None else a * where, b if where is None else b * where, fraction)

    def look(data: NDArray, headers: NDArray, start: int) -> list[float]:
        theirs = partner.objects(start, len(data))
        return [value(mine, theirs[k % len(theirs)]) for k, mine in enumerate(data)]

    def work(data: NDArray, headers: NDArray, start: int) -> NDArray:
        found[start] = look(data, headers, start)
        headers[WORD[operation]] = np.array(found[start])[:, None]
        return data

    if dst is None:
        parts = survey(first, look, **settings)
    else:
        operate(first, dst, work, what=operation, overwrite=overwrite, **settings)
        parts = in_order(settings["comm"], found)
    values = [v for part in parts for v in part]
    with open_unit(first, settings["unit"], settings["loc"]) as stack:
        location = stack.locations.tolist()
    return Compared(
        operation, os.fspath(first), str(partner.stack.path), values, location, None if dst is None else os.fspath(dst)
    )
