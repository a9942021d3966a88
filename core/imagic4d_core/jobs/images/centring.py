"""Centre images and volumes: bring in what is far off, or centre on the total sum or on centres of mass."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.align.centre import centre_of_mass, normalised, total_sum_shifts
from imagic4d_core.align.offcentre import Placed, object_shifts
from imagic4d_core.errors import MismatchError, UsageError, check_word
from imagic4d_core.filters.band import Band, filtered
from imagic4d_core.geometry.moves import Moves
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import BLOCK_BYTES
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.images.operating import Operated, box_of, open_unit, operate
from imagic4d_core.parallel import SERIAL, Comm, thread_count
from imagic4d_core.resample.move import move
from imagic4d_core.resample.window import edge_mean
from imagic4d_core.units import Frequency, as_fraction, in_pixels

#: Most objects in a block of the total sum.
_BLOCK = 128


def centre(
    src: str | os.PathLike, dst: str | os.PathLike, *, unit: str = "images", loc: Locations | None = None,
    criterion: str = "total-sum", iterations: int = 5, max_shift: float = 0.4, max_frequency: Frequency | float | None = None,
    mask_radius: float | None = None, level: float | None = None, whole_pixels: bool = False, interpolation: str = "spline",
    fill: float | str = "edge", overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """Shift every object to its centre; found from what is in the file, interpolated once.

    Header words written: 112, 113 (111 for Z) the shift, 117, 118 (53) all shifts since the original, 104 the correlation with
    the reference (total sum), 100 zero; shifts still to be applied (80, 81) become less by what was done.

    Parameters
    ----------
    src, dst : path
    unit : {"images", "volumes"}
    loc : Locations, optional
    criterion : {"total-sum", "mass", "object"}
        Correlation with the rotational average of the sum of all (of volumes: average over spheres), found again and again; or
        the centre of mass; or, square images only, bring in those that are far off (`align.offcentre`).
    iterations : int
        Rounds of the total sum, or of the mask that follows the mass.
    max_shift : float
        Longest shift, pixels; below 1 a fraction of half the box. Centres of mass farther away are brought back to it.
    max_frequency : Frequency or float, optional
        Low-pass before the centre is looked for; default: 0.5 of Nyquist for the total sum, none for the mass.
    mask_radius : float, optional
        Mass: only what is inside this radius around the centre found counts.
    level : float, optional
        Mass: only densities above it count; default: the mean of the outermost pixels.
    whole_pixels : bool
        Round shifts, so that no pixel is interpolated.
    interpolation : {"spline", "bilinear", "nearest", "fourier"}
    fill : {"edge", "mean"} or float

    Returns
    -------
    Operated

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    n_threads = thread_count(threads)
    check_word("criterion", criterion, ("total-sum", "mass", "object"))
    if criterion == "object" and unit != "images":
        raise UsageError("criterion object is for images; volumes are centred by total-sum or mass")
    check_output(dst, overwrite)
    shifts: NDArray[np.float64] | None = None
    ccc: NDArray[np.float64] | None = None
    placed: Placed | None = None
    limited = None
    with open_unit(src, unit, loc) as stack:
        box, n = box_of(stack), stack.objects
        most = in_pixels(max_shift, min(box))
        if criterion == "object":
            if box[0] != box[1]:
                raise MismatchError(f"{os.fspath(src)}: images of {box[0]} x {box[1]}; criterion object needs square ones (cut)")
            placed = object_shifts(
                lambda span: normalised(stack.read(*span))[0], n, box[0], block=_BLOCK, max_shift=most, comm=comm,
                threads=n_threads, progress=progress,
            )  # fmt: skip
            shifts, limited = placed.shifts, placed.limited
        high = as_fraction(max_frequency, stack.pixel_size) if max_frequency is not None else None
        if criterion == "total-sum":
            planes = stack.sections if len(box) == 3 else 1
            block = max(1, min(_BLOCK, BLOCK_BYTES // (4 * int(np.prod(box)))))

            def read(span: tuple[int, int]) -> NDArray[np.float32]:
                data = stack.read(span[0] * planes, span[1] * planes).reshape(-1, *box)
                return normalised(data)[0]

            shifts, ccc = total_sum_shifts(
                read, n, box, block=block, iterations=iterations, max_shift=most, max_frequency=high or 0.5, comm=comm,
                threads=n_threads, progress=progress,
            )  # fmt: skip
            limited = np.sqrt((shifts**2).sum(1)) > most - 1.0
    made: dict[int, NDArray[np.float64]] = {}
    hits: dict[int, int] = {}
    radius = None if mask_radius is None else in_pixels(mask_radius, min(box))

    def work(data: NDArray, headers: NDArray, start: int) -> NDArray:
        stop = start + len(data)
        s = shifts[start:stop] if shifts is not None else _mass(data, high, level, radius, iterations)
        length = np.sqrt((s**2).sum(1))
        hits[start] = int((length > most).sum() if limited is None else limited[start:stop].sum())
        s = s * np.minimum(1.0, most / np.maximum(length, 1e-30))[:, None]
        if whole_pixels:
            s = np.rint(s)
        made[start] = s
        moves = Moves.shifts(s if s.shape[1] == 2 else s[:, [1, 2, 0]])
        moves.write(headers)
        if ccc is not None:
            headers["CCC"] = ccc[start:stop, None]
        return move(data, moves, method=interpolation, fill=fill, threads=n_threads if len(box) == 3 else 1)

    done = operate(
        src, dst, work, what="centred", unit=unit, loc=loc, overwrite=overwrite, comm=comm, threads=threads, progress=progress
    )
    every = [s for part in comm.allgather(list(made.values())) for s in part]
    length = np.sqrt((np.concatenate(every) ** 2).sum(1))
    done.values |= {"rms shift": float(np.sqrt((length**2).mean())), "largest shift": float(length.max())}
    done.values["at the limit"] = sum(sum(part) for part in comm.allgather(list(hits.values())))
    if placed is not None:
        done.values |= {"stayed": int(placed.stayed.sum()), "no object seen": int(placed.unseen.sum())}
    if ccc is not None:
        done.values["mean ccc"] = float(ccc.mean())
    return done


def _mass(data: NDArray, high: float | None, level: float | None, radius: float | None, iterations: int) -> NDArray[np.float64]:
    ndim = data.ndim - 1
    seen = data
    if high is not None:
        seen = filtered(data.copy(), ndim, Band(high=high).curve)
    base = edge_mean(seen, ndim) if level is None else level
    return centre_of_mass(seen, base, radius, iterations)
