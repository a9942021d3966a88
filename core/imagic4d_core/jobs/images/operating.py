"""One operation over a whole file, of images or of volumes: the streaming that all image operations share.

An operation is a plain function over the trailing two or three axes; `operate` brings it the objects block by block, with
their headers, and takes away what it returns. Blocks are cut by object number and work on their own, so the same bytes come out
for any number of ranks and threads.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, create_stack, open_stack
from imagic4d_core.io.writer import output_format
from imagic4d_core.jobs.files.copying import say_lost_origin, shape_text
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count

UNITS = ("images", "volumes")
#: Bytes of float32 densities worked on at a time by a thread; small enough that memory is used again and not handed back.
BLOCK_BYTES = 1 << 23


class Operation(Protocol):
    """What `operate` calls for every block.

    ``data`` has shape (n, lines, pixels) for images, (n, sections, lines, pixels) for volumes, float32 (complex64 for a file of
    complex densities where the operation says that it takes them), and may be changed in place. ``headers`` has shape
    (n, sections), `HEADER_DTYPE`, and is edited in place; counts, sizes and statistics are set by the writer. ``start`` is the
    0-based number of the first object in the selection. Returned is an array (n, *new box).
    """

    def __call__(self, data: NDArray, headers: NDArray, start: int, /) -> NDArray:
        """Work on one block."""
        ...


@dataclass
class Operated:
    """What an operation wrote.

    Attributes
    ----------
    what : str
        The operation, in a word or two.
    input, output : str
    objects, sections, n_lines, pixels : int
        Shape of the output.
    values : dict
        Results of the operation itself, printed one to a line.
    notes : list of str
    """

    what: str
    input: str
    output: str
    objects: int
    sections: int
    n_lines: int
    pixels: int
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {("lines" if k == "n_lines" else k): v for k, v in vars(self).items()}

    def lines(self) -> list[str]:
        """For people."""
        out = [f"{self.output}: {shape_text(self.objects, self.sections, self.n_lines, self.pixels)}, {self.what}"]
        out += [f"  {k}: {v:.5g}" if isinstance(v, float) else f"  {k}: {v}" for k, v in self.values.items()]
        return out + [f"  {note}" for note in self.notes]


def open_unit(src: str | os.PathLike, unit: str, loc: Locations | None = None, rows: str | None = None) -> Stack:
    """Open a file for a command of a pair: images (sections of volumes one by one), or volumes; `rows` as `open_stack`.

    Raises
    ------
    InputError
        Also: no location is selected.
    MismatchError
        ``unit`` is "volumes" and the file holds images.
    """
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is neither images nor volumes")
    stack = open_stack(src, loc, what=unit, rows=rows)
    if not stack.n_images:
        stack.close()
        raise InputError(f"{stack.path}: no location is selected; give at least one")
    return stack


def kept_rows(
    src: str | os.PathLike, dst: str | os.PathLike, unit: str, loc: Locations | None = None, *more: str | os.PathLike
) -> str:
    """``rows`` of readers and writer for work that does not look where a density stands: from MRC to MRC no line is turned."""
    if output_format(dst) != "MRC":
        return "centre"
    for name, where in ((src, loc), *((other, None) for other in more)):
        with open_unit(name, unit, where) as stack:
            if stack.format != "MRC":
                return "centre"
    return "keep"


def box_of(stack: Stack) -> tuple[int, ...]:
    """(lines, pixels) of images, (sections, lines, pixels) of volumes."""
    return stack.shape[1:] if stack.is_volumes else stack.shape[2:]


def origin_of(
    stack: Stack, box: Sequence[int], at: Sequence[int] | None = None, scale: float = 1.0, pixel_size: float | None = None
) -> tuple[float, float, float]:  # fmt: skip
    """ORIGIN of a map in a new box, so that what is in it stays where it is beside models and other maps.

    Parameters
    ----------
    stack : Stack
    box : sequence of int
        New box, as `box_of`.
    at : sequence of int, optional
        Index (section, line, pixel) that comes to the new centre; default: the old centre.
    scale : float
        New pixel size over the old one.
    pixel_size : float, optional
        In place of what the file says.
    """
    old, size = box_of(stack), pixel_size or stack.pixel_size
    if tuple(box) == tuple(old) and at is None:
        return stack.origin
    if len(old) == 2 or not size:
        return 0.0, 0.0, 0.0
    was, new = np.array(old[::-1]) // 2, np.array(box)[::-1] // 2  # pixels, lines, sections: x, y, z of the file
    off = np.zeros(3) if at is None else np.array(at)[::-1] - was
    off[1] *= -1  # lines are counted downwards here, y upwards there
    x, y, z = (np.array(stack.origin) + (was + off) * size - new * size * scale).tolist()
    return x, y, z


def unit_of(src: str | os.PathLike, loc: Locations | None = None) -> tuple[str, float | None]:
    """ "volumes" or "images", whichever the file holds (for commands that take both), and the pixel size in angstrom."""
    with open_stack(src, loc) as stack:
        return "volumes" if stack.layout.is_volumes else "images", stack.pixel_size


def inner_threads(stack: Stack, threads: int | None = None) -> int:
    """Threads that the operation itself may use: what is left over when there are fewer blocks than threads."""
    step = max(1, BLOCK_BYTES // (4 * int(np.prod(box_of(stack)))))
    return max(1, thread_count(threads) // max(1, -(-stack.objects // step)))


def in_order(comm: Comm, found: dict[int, Any]) -> list[Any]:
    """What the blocks of all ranks found, keyed by the number of their first object, in that order."""
    parts = [item for part in comm.allgather(list(found.items())) for item in part]
    return [value for _, value in sorted(parts, key=lambda item: item[0])]


def operate(
    src: str | os.PathLike, dst: str | os.PathLike, operation: Operation, *, what: str, unit: str, loc: Locations | None = None,
    box: Sequence[int] | Callable[[tuple[int, ...]], Sequence[int]] | None = None,
    pixel_scale: float | Callable[..., float] = 1.0, pixel_size: float | None = None, dtype: Any = np.float32,
    takes_complex: bool = False, by_section: bool = False, any_order: bool = False, finite: bool = True, overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Operated:  # fmt: skip
    """Read objects, work on them, write them; memory is bounded by the block, not by the file.

    Parameters
    ----------
    src, dst : path
    operation : Operation
    what : str
        For the summary, e.g. ``"rotated by 90 degrees"``.
    unit : {"images", "volumes"}
        With "images" the sections of a file of volumes are worked on one by one, and the file stays one of volumes as long as
        the box and the selection are kept.
    loc : Locations, optional
    box : sequence of int, or function of the input's box, optional
        Box of the output; default: as the input.
    pixel_scale : float, or function of the input's box
        Pixel size of the output over that of the input.
    pixel_size : float, optional
        Pixel size of the input, angstrom, in place of what it says itself.
    dtype : dtype
        Of the output.
    takes_complex : bool
        Complex densities are handed over as they are, in place of being refused.
    by_section : bool
        The operation works pixel by pixel: volumes may be handed over section by section, as (1, 1, lines, pixels) or more.
    any_order : bool
        The operation does not look where in its box a density stands: lines of MRC files need not be turned, and turned back.
    finite : bool
        Refuse NaN and infinite densities.
    overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    Operated

    Raises
    ------
    InputError, MismatchError, OutputError
    """
    rows = kept_rows(src, dst, unit, loc) if any_order else "centre"
    with open_unit(src, unit, loc, rows) as stack:
        old = box_of(stack)
        new = tuple(int(k) for k in (box(old) if callable(box) else box or old))
        if len(new) != len(old):
            raise MismatchError(f"{stack.path}: holds {unit} of {len(old)} dimensions, the output has {len(new)}")
        scale = pixel_scale(old) if callable(pixel_scale) else pixel_scale
        own = pixel_size or stack.pixel_size
        size = own * scale if own else None
        planes = stack.sections if len(old) == 3 else 1
        out_planes = new[0] if len(new) == 3 else 1
        objects, sections = stack.objects, out_planes
        volumes = len(new) == 3
        if unit == "images" and stack.index is None and new == old and stack.layout.is_volumes:
            objects, sections, volumes = stack.layout.objects, stack.layout.sections, True
        pieces = by_section and planes == out_planes and planes > 1
        # a block is some objects or, where sections stand alone, some sections of the whole row of them
        count, plane = (stack.n_images, 1) if pieces else (stack.objects, planes)
        widest = max(planes * old[-2] * old[-1], out_planes * new[-2] * new[-1]) // (planes if pieces else 1)
        step = max(1, BLOCK_BYTES // (4 * widest))
        n_threads = thread_count(threads)
        with create_stack(
            dst, objects, sections, new[-2], new[-1], pixel_size=size, overwrite=overwrite, comm=comm, dtype=dtype,
            volumes=volumes, nblocks=stack.nblocks, history=what, rows=rows, origin=origin_of(stack, new, None, scale, own),
        ) as writer:  # fmt: skip
            if comm.rank == 0:
                say_lost_origin(stack, writer.path, writer.format)

            def block(span: tuple[int, int]) -> None:
                start, stop = span
                a, b = start * plane, stop * plane
                raw = stack.read_complex(a, b) if takes_complex and stack.is_complex else stack.read(a, b, finite=finite)
                data = raw.reshape(stop - start, *((1,) if pieces else ()), *(old if not pieces else old[-2:]))
                headers = stack.headers(a, b).reshape(stop - start, plane)
                out = operation(data, headers, start)
                given = 1 if pieces else out_planes
                if given != plane:  # sections were added or taken away: each new one has the record of the old one nearest to it
                    headers = headers[:, np.minimum(np.arange(given), plane - 1)]
                if scale != 1.0:
                    headers["PIXSIZE"] *= scale
                at = start * given
                writer.write(at, np.ascontiguousarray(out).reshape(-1, *new[-2:]))
                writer.set_headers(at, headers.ravel())
                if writer.nblocks > 1 and given == plane:
                    writer.set_extra(at, stack.extra_headers(a, b))

            map_blocks(block, comm.blocks(count, step), n_threads, progress)
        return Operated(
            what, str(stack.path), str(writer.path), writer.objects, writer.sections, writer.lines, writer.pixels, {},
            list(stack.notes),
        )  # fmt: skip


def survey(
    src: str | os.PathLike, look: Callable[[NDArray, NDArray, int], Any], *, unit: str, loc: Locations | None = None,
    takes_complex: bool = False, any_order: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Any]:  # fmt: skip
    """What a function finds in the blocks of a file, in order, on every rank; nothing is written.

    Parameters
    ----------
    look : callable
        (data, headers, start) as an `Operation`; what it returns is small and can be sent to other ranks.
    src, unit, loc, takes_complex, any_order, comm, threads, progress
        As `operate`.

    Returns
    -------
    list
        One result for each block; blocks do not depend on ranks or threads.
    """
    with open_unit(src, unit, loc, "keep" if any_order else None) as stack:
        box = box_of(stack)
        plane = stack.sections if len(box) == 3 else 1
        step = max(1, BLOCK_BYTES // (4 * int(np.prod(box))))

        def block(span: tuple[int, int]) -> tuple[int, Any]:
            start, stop = span
            a, b = start * plane, stop * plane
            raw = stack.read_complex(a, b) if takes_complex and stack.is_complex else stack.read(a, b)
            headers = stack.headers(a, b).reshape(stop - start, plane)
            return start, look(raw.reshape(stop - start, *box), headers, start)

        return in_order(comm, dict(map_blocks(block, comm.blocks(stack.objects, step), thread_count(threads), progress)))
