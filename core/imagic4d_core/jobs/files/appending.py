"""Append images and volumes to a file. The old file stays as it is until a complete new one takes its place.

Writing behind the end of the old file in place would be cheaper, but a pair of files cannot grow in one step, every header record
holds the number of objects, and a .img may be shared by hard links. The kernel copies the old densities, or shares their blocks
where the file system can.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.io.locations import split_spec
from imagic4d_core.io.stack import Stack, create_stack, open_stack
from imagic4d_core.io.writer import output_format, output_paths
from imagic4d_core.jobs.files.copying import _move, joined_type, shape_text
from imagic4d_core.jobs.images.operating import open_unit
from imagic4d_core.parallel import SERIAL

#: Pixel sizes further apart than this fraction are different.
_SAME_SIZE = 0.01


@dataclass
class Appended:
    """What was appended.

    Attributes
    ----------
    inputs : list of str
    output : str
    objects, sections, n_lines, pixels : int
        Shape of the output.
    appended : int
        Objects that came to it.
    first : int
        Location of the first of them.
    notes : list of str
    """

    inputs: list[str]
    output: str
    objects: int
    sections: int
    n_lines: int
    pixels: int
    appended: int
    first: int
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {("lines" if k == "n_lines" else k): v for k, v in vars(self).items()}

    def lines(self) -> list[str]:
        """For people."""
        shape = shape_text(self.objects, self.sections, self.n_lines, self.pixels)
        out = [f"{self.output}: {self.appended} appended from location {self.first} on; now {shape}"]
        return out + [f"  {note}" for note in self.notes]


def append(
    sources: Sequence[str | os.PathLike], dst: str | os.PathLike, *, unit: str = "images", overwrite: bool = False,
    comm: Any = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Appended:  # fmt: skip
    """Append images or volumes to a file, which is made when missing; headers travel along, counts and numbers are set right.

    Parameters
    ----------
    sources : sequence of path
        In this order; ``NAME,3,5`` selects locations.
    dst : path
        Its density type and format are kept, but whole numbers become REAL where real ones come.
    unit : {"images", "volumes"}
        What locations count. Sections of volumes may be appended to images, images to volumes only as whole volumes.
    overwrite : bool
        Make the file new, of the sources alone.
    comm, threads
        Not used, as in `copying.copy`.

    Returns
    -------
    Appended

    Raises
    ------
    InputError, OutputError
    MismatchError
        Other sizes of images or volumes, or other pixel sizes.
    """
    if split_spec(dst)[1] is not None:
        raise OutputError(
            f"{dst}: a location makes no sense here: images come behind the last one (copy puts them to a location)"
        )
    with ExitStack() as opened:
        new = [opened.enter_context(_open(src, unit)) for src in sources]
        old = None
        if not overwrite and any(p.exists() for p in output_paths(dst)):
            old = opened.enter_context(open_stack(dst))
            if old.format != output_format(dst):
                raise OutputError(f"{dst}: holds {old.format} data under a name of another format; rename it first")
            if unit == "volumes" and not old.is_volumes:
                raise MismatchError(f"{old.path}: holds images; volumes are appended to volumes (append takes them as sections)")
        home = old or new[0]
        sections = home.layout.sections if unit == "volumes" or old is not None else home.sections
        for stack in new:
            _check(stack, home, sections, unit)
        have = old.n_images if old else 0
        came = sum(s.n_images for s in new)
        if (have + came) % sections:
            raise MismatchError(
                f"{home.path}: holds volumes of {sections} sections; {came} images do not make whole volumes of it"
            )
        dtype, word, said = joined_type(home, new)
        with create_stack(
            dst, (have + came) // sections, sections, home.lines, home.pixels, pixel_size=home.pixel_size, overwrite=True,
            dtype=dtype, rows="centre", type_word=word, nblocks=max(s.nblocks for s in [home, *new]),
            origin=home.origin, volumes=home.layout.is_volumes if sections > 1 else None,
        ) as writer:  # fmt: skip
            at, total = 0, have + came
            for stack in ([old] if old else []) + new:
                _move(stack, writer, at, "centre", False, progress, at, total)
                at += stack.n_images
    return Appended(
        [os.fspath(s) for s in sources], str(writer.path), writer.objects, writer.sections, writer.lines, writer.pixels,
        came // sections, have // sections + 1, said + [f"{s.path}: {note}" for s in new for note in s.notes],
    )  # fmt: skip


def _open(src: str | os.PathLike, unit: str) -> Stack:
    """Images keep their volumes together where all of a file is taken."""
    if unit == "volumes" or split_spec(src)[1] is not None:
        return open_unit(src, unit)
    stack = open_stack(src)
    if not stack.n_images:
        stack.close()
        raise InputError(f"{stack.path}: no location is selected; give at least one")
    return stack


def _check(stack: Stack, home: Stack, sections: int, unit: str) -> None:
    same = (stack.lines, stack.pixels) == (home.lines, home.pixels)
    if not same or (unit == "volumes" and stack.sections != sections):
        sizes = [" x ".join(map(str, s.shape[1:] if unit == "volumes" else s.shape[2:])) for s in (stack, home)]
        raise MismatchError(f"{stack.path}: {unit} of {sizes[0]} cannot be appended to {home.path}, which holds {sizes[1]}; "
            "blow-up with --pixel-size-out and --box brings both to one pixel size and box")
    if stack.pixel_size and home.pixel_size and abs(stack.pixel_size / home.pixel_size - 1) > _SAME_SIZE:
        raise MismatchError(
            f"{stack.path}: has {stack.pixel_size:g} A per pixel, {home.path} {home.pixel_size:g}; bring them to one by blow-up, "
            "or set the right value by convert --pixel-size"
        )
