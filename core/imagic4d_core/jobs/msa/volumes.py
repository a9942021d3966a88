"""3Ds along an eigenvolume, or along a path through the coordinates: from eigenvolumes, or from the images near each place."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.rounds import half_of
from imagic4d_core.eigenvolumes.splitting import sphere
from imagic4d_core.eigenvolumes.sums import component_sums, component_volumes, half_set_ssnr, to_box
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import atomic_write, check_new
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import create_stack, open_stack, read_stack
from imagic4d_core.io.writer import check_output
from imagic4d_core.jobs.msa.projection_views import load_views
from imagic4d_core.msa import coordinates as heads
from imagic4d_core.msa import model as files
from imagic4d_core.msa.space import PROJECTION
from imagic4d_core.parallel import SERIAL, Comm, thread_count, warm_first
from imagic4d_core.recon.warm import warmup

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: Images that 3Ds are made of count with a normal curve around the place, of this standard deviation.
WIDTH = 0.5


@dataclass
class Along:
    """3Ds along an eigenvolume, or a path.

    Attributes
    ----------
    output, root : str
    components : list of int
        Eigenvolumes that change, from 1.
    at : list of list of float
        For each 3D: in standard deviations of the coordinates.
    coordinates : list of list of float
        The same as coordinates of the headers.
    images : list of float
        Images that each 3D is worth, ``(sum w)^2 / sum w^2``, where they are made of images.
    pictures : list of str
    """

    output: str
    root: str
    components: list[int]
    at: list[list[float]]
    coordinates: list[list[float]]
    images: list[float] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        where = "; ".join(",".join(f"{c:.2f}" for c in place) for place in self.coordinates)
        names = " and ".join(map(str, self.components))
        out = [f"{self.output}: {len(self.at)} 3Ds along eigenvolume {names} of {self.root}, at coordinates {where}"]
        if self.images:
            out.append("  each worth " + ", ".join(f"{n:.0f}" for n in self.images) + " images")
        return out + [f"  {name}" for name in self.pictures]


def places(points: Sequence[Sequence[float]], number: int | None) -> F64:
    """Points of a path, or `number` of them at equal distances along the straight lines between them; (n, components).

    Raises
    ------
    UsageError
    """
    if not len(points) or not all(len(p) == len(points[0]) > 0 for p in points):
        raise UsageError("a path is made of points with one coordinate for each eigenvolume, such as --path=-1,0;0,1;1,0")
    given = np.asarray(points, np.float64)
    if number is None:
        return given
    steps = np.linalg.norm(np.diff(given, axis=0), axis=1)
    if len(given) < 2 or not steps.all():
        raise UsageError("between two different points 3Ds can be made at equal distances; give --along or --path two or more")
    length = np.concatenate([[0.0], np.cumsum(steps)])
    where = np.linspace(0.0, length[-1], number)
    return np.stack([np.interp(where, length, given[:, k]) for k in range(given.shape[1])], 1)


def nearness(coordinates: F64, place: F64, width: float) -> F64:
    """Weights of images (n,) by their distance from a place, both in standard deviations: a normal curve, nothing beyond 3."""
    square = np.square((coordinates - place) / width).sum(1)
    return np.where(square < 9.0, np.exp(-0.5 * square), 0.0)


def msa_volumes(
    root: str | os.PathLike, output: str | os.PathLike, *, component: int = 1, at: Sequence[float] = (-2, -1, 0, 1, 2),
    path: Sequence[Sequence[float]] | None = None, number: int | None = None, images: str | os.PathLike | None = None,
    width: float = WIDTH, weigh_ctf: bool = False, amplitude_contrast: float = 0.1, strip: str | os.PathLike | None = None,
    film: str | os.PathLike | None = None, overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Along:  # fmt: skip
    """Write 3Ds along one eigenvolume or a path.

    Parameters
    ----------
    root : path
        ROOT of `msa_projections`.
    output : path
        Stack of volumes; COOSMSA of each volume holds its coordinates.
    component : int
        From 1.
    at : sequence of float
        Coordinates, in their standard deviations over the images.
    path : sequence of points, optional
        In place of `component` and `at`: coordinates along the first eigenvolumes, as many for each point.
    number : int, optional
        So many 3Ds at equal distances along the line through the places.
    images : path, optional
        Images with poses and coordinates: 3Ds are reconstructed from those near each place, in place of the mean plus
        eigenvolumes. Inactive images (word 58) do not count.
    width : float
        Standard deviation of the weight around a place, in standard deviations of the coordinates.
    weigh_ctf, amplitude_contrast
        As of `recon`, for `images`.
    strip, film : path, optional
        PNG: the 3Ds side by side; the same one after the other, to and fro (animated PNG).
    overwrite, comm, threads, progress
        As every job.

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    model = files.load(root)
    if model.space.metric != PROJECTION:
        raise InputError(f"{root}: holds eigenimages, not eigenvolumes of projections; run msa projections")
    values = np.asarray(model.document["eigenvalues"], np.float64)
    used = [component - 1] if path is None else list(range(len(path[0]) if len(path) else 0))
    if not all(0 <= k < len(values) for k in used):
        raise UsageError(f"{root}: holds {len(values)} eigenvolumes; number {max(used) + 1} is not there")
    if path is None and not len(at):
        raise UsageError("no coordinates are given")
    if not width > 0:
        raise UsageError(f"width {width:g}: above 0, in standard deviations")
    where = places([[a] for a in at] if path is None else path, number)
    found = where * np.sqrt(values[used])
    check_output(output, overwrite)
    for name in (strip, film):
        if name is not None:
            check_new(name, overwrite)
    mean, head = read_stack(files.stem(root) + "_mean.hed")
    box = mean.shape[-1]
    pixel_size = float(head["PIXSIZE"][0]) if "PIXSIZE" in (head.dtype.names or ()) else 0.0
    summary = Along(os.fspath(output), os.fspath(root), [k + 1 for k in used], where.tolist(), found.tolist())
    if images is None:
        directions = np.stack([model.space.image_of(model.vectors[:, k])[0] for k in used])
        volumes = (mean[0] + np.tensordot(found.astype(np.float32), directions, axes=1)).astype(np.float32)
    else:
        contrast = amplitude_contrast if weigh_ctf else None
        volumes, summary.images = _from_images(
            images, model.document, used, values, where, width, contrast, comm, thread_count(threads), progress
        )
    if comm.rank == 0:
        with create_stack(output, len(found), box, box, box, pixel_size=pixel_size or None, overwrite=overwrite) as out:
            out.write(0, volumes.reshape(-1, box, box))
            records = blank_headers(len(found) * box, box, box, box, pixel_size=pixel_size or None)
            for k, column in zip(used, found.T, strict=True):
                records["COOSMSA"][:, k] = np.repeat(column, box)
            records["NUMEIGEN"] = len(values)
            records["NAME"] = np.repeat([_name(used, place).encode() for place in where], box)
            out.set_headers(0, records)
        captions = [", ".join(f"{a:.2g}" for a in place) + " s.d." for place in where]
        summary.pictures = _pictures(volumes, captions, strip, film, overwrite)
    summary.pictures = comm.bcast(summary.pictures)
    return summary


def _name(used: list[int], place: F64) -> str:
    if len(used) == 1:
        return f"eigenvolume {used[0] + 1} at {place[0]:.4g} s.d."
    return "at " + ", ".join(f"{a:.3g}" for a in place) + " s.d."


def _from_images(
    src: str | os.PathLike, document: dict[str, Any], used: list[int], values: F64, where: F64, width: float,
    contrast: float | None, comm: Comm, threads: int, progress: Callable[[int, int], None] | None,
) -> tuple[F32, list[float]]:  # fmt: skip
    """A 3D of the images near each place, and how many images it is worth."""
    with open_stack(src, what="images") as stack:
        box = int(document["box"][0])
        if stack.lines != box:
            raise MismatchError(f"{stack.path}: images of box {stack.lines}; the eigenvolumes are of box {box}")
        if (count := heads.factor_count(stack)) < max(used) + 1:
            raise InputError(f"{stack.path}: holds {count} coordinates of each image; {max(used) + 1} are needed")
        headers = stack.headers()
        if comm.size > 1:
            warm_first(comm, warmup)
        views = load_views(
            stack, Poses.from_headers(headers), int(document["r_max"]), contrast=contrast, which=headers["ACTIVE"] >= 0,
            comm=comm, threads=threads,
        )  # fmt: skip
        own = heads.read_coordinates(stack, 0, stack.objects)[:, used].astype(np.float64) / np.sqrt(values[used])
    mask = sphere(views, float(document["mask_radius"]) * (box / 2 if document["mask_radius"] < 1 else 1))
    active = np.flatnonzero(headers["ACTIVE"] >= 0)
    made, worth = [], []
    for i, place in enumerate(where):
        every = nearness(own[active], place, width)
        if not every.sum() > 0:
            raise InputError(f"{src}: no image lies near the coordinates {', '.join(f'{a:g}' for a in place)} (s.d.)")
        w = nearness(own[views.number], place, width)
        # images of weight 0 need not be put in
        sums = component_sums(
            views, views.spectra, w[:, None], w[:, None, None], np.where(w > 0, half_of(views), -1), comm=comm, threads=threads
        )
        made.append(component_volumes(sums, half_set_ssnr(sums, mask), mask)[0])
        worth.append(float(every.sum() ** 2 / np.square(every).sum()))
        if progress is not None:
            progress(i + 1, len(where))
    return to_box(np.stack(made), views.band, views.unit), worth


def _pictures(volumes: F32, names: list[str], strip: Any, film: Any, overwrite: bool) -> list[str]:
    from imagic4d_core.pictures.motion import film_png, strip_png

    made = []
    for name, draw in ((strip, strip_png), (film, film_png)):
        if name is not None:
            with atomic_write(name, "wb", overwrite) as handle:
                handle.write(draw(volumes, names))
            made.append(os.fspath(name))
    return made
