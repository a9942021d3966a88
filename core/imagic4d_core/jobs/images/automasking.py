"""Automatic masks of images and volumes, file to file: IMAGIC's AUTOMATIC-MASK."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.automask import modulation as mod
from imagic4d_core.automask import region as reg
from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import Stack, StackWriter, create_stack, open_stack
from imagic4d_core.jobs.files.copying import shape_text
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.units import Frequency, as_fraction, in_pixels

MODES = ("do-it-all", "refine-threshold")
#: Median inside the mask below which nothing is claimed, standard deviations of the background.
FAINT = 3.3
#: What the outputs say of themselves in word 200.
_HISTORY = {"mask": "automatic mask", "modulation": "modulation map", "masked": "times its automatic mask"}


@dataclass
class ObjectMask:
    """The mask of one object.

    Attributes
    ----------
    location : int
    threshold : float
        In units of the modulation map: standard deviations of the background.
    inside : float
        Median of the modulation inside.
    percent : float
        Of the box.
    kilodalton : float or None
        Protein that would fill a volume's mask, where the pixel size is known.
    resolution : float or None
        Scale of the smoothing as a fraction of Nyquist; None where the modulation map was given.
    dark : bool
    """

    location: int
    threshold: float
    inside: float
    percent: float
    kilodalton: float | None
    resolution: float | None
    dark: bool = False

    @property
    def faint(self) -> bool:
        """Hardly anything above the background."""
        return not self.inside >= FAINT

    def text(self) -> str:
        """In a line."""
        mass = f", {self.kilodalton:.0f} kDa of protein" if self.kilodalton is not None else ""
        scale = f", smoothed at {self.resolution:.2f} of Nyquist" if self.resolution else ""
        side = ", dark" if self.dark else ""
        return f"threshold {self.threshold:.3g}, {self.percent:.2f} % of the box{mass}{scale}{side}"


@dataclass
class AutoMasked:
    """What was written.

    Attributes
    ----------
    input, output : str
    modulation, masked : str or None
        Further outputs.
    mode, what : str
    objects, sections, n_lines, pixels : int
    masks : list of ObjectMask
    """

    input: str
    output: str
    modulation: str | None
    masked: str | None
    mode: str
    what: str
    objects: int
    sections: int
    n_lines: int
    pixels: int
    masks: list[ObjectMask] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        rest = {("lines" if k == "n_lines" else k): v for k, v in vars(self).items() if k != "masks"}
        return rest | {"masks": [vars(m) | {"faint": m.faint} for m in self.masks]}

    def lines(self) -> list[str]:
        """For people; at most ten objects one by one."""
        out = [f"{self.output}: {shape_text(self.objects, self.sections, self.n_lines, self.pixels)}, masks"]
        out += [f"  {m.location}: {m.text()}" for m in self.masks[:10]]
        if len(self.masks) > 10:
            percent = [m.percent for m in self.masks]
            out.append(f"  ... masks of {min(percent):.2f} to {max(percent):.2f} %, median {np.median(percent):.2f} % of the box")
        faint = [str(m.location) for m in self.masks if m.faint]
        if faint:
            named = ", ".join(faint[:10]) + (" ..." if len(faint) > 10 else "")
            out.append(f"  hardly anything stands out of the background in {len(faint)} of {len(self.masks)}: {named}")
        return out


def auto_mask(
    src: str | os.PathLike, dst: str | os.PathLike, *, mode: str = "do-it-all", modulation: str | os.PathLike | None = None,
    from_modulation: str | os.PathLike | None = None,
    masked: str | os.PathLike | None = None, what: str | None = None, loc: Locations | None = None, contrast: str = "auto",
    low_pass: Frequency | float | None = None, high_pass: Frequency | float | None = None,
    sharpness: Frequency | float | None = None, threshold: float | None = None, percent: float | None = None,
    mass: float | None = None, pixel_size: float | None = None, components: int = 1, fill: bool = True, extend: float = 0.0,
    falloff: float | None = None, overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AutoMasked:  # fmt: skip
    """Masks from the densities; one mask for each image or volume.

    Parameters
    ----------
    src, dst : path
        Objects; their masks, 0 to 1.
    mode : {"do-it-all", "refine-threshold"}
        Make the modulation map, or take the one in `from_modulation` and only cut again.
    modulation : path, optional
        Where the map is written.
    from_modulation : path, optional
        A map that was written before.
    masked : path, optional
        Objects times masks.
    what : {"images", "volumes"}, optional
        Default: volumes of a file of volumes.
    loc : Locations, optional
    contrast, low_pass, high_pass, sharpness
        See `automask.modulation.modulation`.
    threshold : float, optional
        In standard deviations of the background; or one of
    percent : float, optional
        Percentage of the box inside, or
    mass : float, optional
        Of a protein, kDa; needs a pixel size, and volumes. Default: `automask.region.automatic_threshold`.
    pixel_size : float, optional
        Angstrom, in place of the file's.
    components : int
        Largest connected regions that are kept; 0: all.
    fill : bool
        Fill holes.
    extend : float
        Grow the region by so many pixels (below 1: fraction of half the box).
    falloff : float, optional
        Width of the soft edge beyond, pixels (below 1: fraction of half the box); default 3 pixels.
    overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    check_word("contrast", contrast, mod.CONTRASTS)
    again = _is_second(mode, from_modulation, modulation, (low_pass, high_pass, sharpness))
    if sum(v is not None for v in (threshold, percent, mass)) > 1:
        raise UsageError("threshold, percentage and mass say the same thing; give one of --threshold, --percent, --mass")
    outputs = _outputs(dst, modulation, masked)
    with ExitStack() as stack:
        objects = stack.enter_context(open_stack(src, loc, what=what or "auto"))
        if not objects.n_images:
            raise InputError(f"{objects.path}: no location is selected; give at least one")
        box = objects.shape[1:] if objects.is_volumes else objects.shape[2:]
        size = pixel_size or objects.pixel_size
        given = stack.enter_context(_given(str(from_modulation), objects, loc, what)) if again else None
        low, high, sharp = (None if f is None else as_fraction(f, size) for f in (low_pass, high_pass, sharpness))
        shape = reg.Shape(
            threshold, _wanted(objects, percent, mass, size), components, fill, in_pixels(extend, min(box)),
            3.0 if falloff is None else in_pixels(falloff, min(box)),
        )  # fmt: skip
        writers = {
            key: stack.enter_context(
                create_stack(
                    name, *objects.shape, pixel_size=size, overwrite=overwrite, comm=comm, volumes=objects.is_volumes,
                    nblocks=objects.nblocks, history=_HISTORY[key], origin=objects.origin,
                )
            ) for key, name in outputs.items()
        }  # fmt: skip

        def one(k: int) -> ObjectMask:
            data = objects.read_volumes(k, k + 1)[0].reshape(box)
            made: mod.Modulation | None = None
            if given is not None:
                level = given.read_volumes(k, k + 1)[0].reshape(box)
            else:
                made = mod.modulation(data, contrast=contrast, high=low, low=high, sharpness=sharp, pixel_size=size)
                level = made.map
            cut, inside, mask = shape.mask(level)
            _write(objects, k, writers, {"mask": mask, "modulation": level, "masked": data * mask})
            return _described(int(objects.locations[k]), level, cut, inside, size, made)

        blocks = comm.blocks(objects.objects, max(1, (1 << 20) // int(np.prod(box))))
        parts = map_blocks(lambda span: [one(k) for k in range(*span)], blocks, thread_count(threads), progress)
        masks = sorted((m for rank in comm.allgather(parts) for part in rank for m in part), key=lambda m: m.location)
        return AutoMasked(
            str(objects.path), str(writers["mask"].path), outputs.get("modulation"), outputs.get("masked"), mode,
            "volumes" if objects.is_volumes else "images", objects.objects, objects.sections, objects.lines, objects.pixels,
            masks,
        )  # fmt: skip


def _is_second(mode: str, given: object, wanted: object, filters: tuple[object, ...]) -> bool:
    """Whether a modulation map that was written before is cut again; UsageError for options that do not go with the mode."""
    check_word("mode", mode, MODES)
    if mode == "do-it-all":
        if given is not None:
            raise UsageError("--from-modulation belongs to --mode refine-threshold")
        return False
    if given is None:
        raise UsageError("refine-threshold needs --from-modulation: the map that do-it-all wrote by --modulation")
    if wanted is not None:
        raise UsageError("refine-threshold makes no new modulation map: leave out --modulation")
    if any(f is not None for f in filters):
        raise UsageError("--low-pass, --high-pass and --sharpness shape the modulation map; refine-threshold takes it as it is")
    return True


def _outputs(
    dst: str | os.PathLike, modulation: str | os.PathLike | None, masked: str | os.PathLike | None
) -> dict[str, str]:  # fmt: skip
    """Names of the files to be written, all different."""
    names = {"mask": dst, "modulation": modulation, "masked": masked}
    wanted = {key: os.fspath(name) for key, name in names.items() if name is not None}
    if len({os.path.realpath(n) for n in wanted.values()}) < len(wanted):
        raise UsageError("mask, modulation map and masked object need different names")
    return wanted


def _write(objects: Stack, k: int, writers: dict[str, StackWriter], outputs: dict[str, NDArray[np.float32]]) -> None:
    """Write what was made of object `k`, with its headers."""
    start, stop = k * objects.sections, (k + 1) * objects.sections
    headers, extra = objects.headers(start, stop), objects.extra_headers(start, stop)
    for key, writer in writers.items():
        writer.write(start, outputs[key].reshape(-1, objects.lines, objects.pixels))
        writer.set_headers(start, headers)
        writer.set_extra(start, extra)


def _described(
    location: int, level: NDArray[np.float32], cut: float, inside: NDArray[np.bool_], size: float | None,
    made: mod.Modulation | None,
) -> ObjectMask:  # fmt: skip
    count = int(inside.sum())
    weight = count * size**3 / reg.ANGSTROM3_PER_DALTON / 1000 if size and level.ndim == 3 else None
    median = float(np.median(level[inside])) if count else 0.0
    return ObjectMask(
        location, float(cut), median, 100.0 * count / inside.size, weight,
        None if made is None else mod.frequency_of(made.scale), made is not None and made.dark,
    )  # fmt: skip


def _wanted(objects: Stack, percent: float | None, mass: float | None, size: float | None) -> float | None:
    """Pixels wanted inside, or None."""
    count = objects.sections * objects.lines * objects.pixels
    if percent is not None:
        if not 0 < percent < 100:
            raise UsageError(f"{percent:g} % of the box cannot be inside; give a percentage between 0 and 100")
        return count * percent / 100
    if mass is None:
        return None
    if not objects.is_volumes:
        raise MismatchError(f"{objects.path}: holds images; a mass fills a volume, for images give --percent")
    if not size:
        raise InputError(f"{objects.path}: has no pixel size, which --mass needs; give --pixel-size")
    pixels = mass * 1000 * reg.ANGSTROM3_PER_DALTON / size**3
    if not 1 <= pixels < count:
        raise MismatchError(
            f"{objects.path}: {mass:g} kDa fill {pixels:.0f} voxels of {size:g} A, the box has {count}; check mass and pixel size"
        )
    return pixels


def _given(name: str, objects: Stack, loc: Locations | None, what: str | None) -> Stack:
    """The modulation map of the same objects: of all of the file, or of those selected."""
    found = open_stack(name, what=what or "auto")
    if loc is not None and found.objects > objects.objects:
        found.close()
        found = open_stack(name, loc, what=what or "auto")
    if found.shape != objects.shape:
        shapes = [shape_text(*s.shape) for s in (found, objects)]
        found.close()
        raise MismatchError(
            f"{name}: {shapes[0]}, but {objects.path} has {shapes[1]}; the modulation map of the same objects is needed"
        )
    return found
