"""The report of a refine run: reads a RUNDIR, as much of it as is there, and writes report.html and report.png."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import Im4dError, InputError, UsageError
from imagic4d_core.geometry.euler import directions_from_matrix
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.atomic import atomic_write, atomic_write_text, check_new
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.jobs.runfolder import is_classification, legible
from imagic4d_core.parallel import SERIAL, Comm
from imagic4d_core.pictures.grey import fit_tile, to_grey
from imagic4d_core.pictures.overview import overview_png
from imagic4d_core.pictures.page import report_page
from imagic4d_core.pictures.rundata import Example, Run, Truth, example_indices, volume_tiles
from imagic4d_core.pictures.volumes import object_frame

if TYPE_CHECKING:
    from imagic4d_core.jobs.report.reporting_classes import ClassesReport

#: Headers are read this many at a time.
BLOCK = 16384


@dataclass
class ReportSummary:
    """What was written."""

    page: str
    picture: str
    volumes: int
    images: int
    missing: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.page}: report of {self.volumes} 3Ds and {self.images} images", f"{self.picture}: the same at a glance"]
        return said + [f"not in the report: {m}" for m in self.missing]


def report(
    rundir: str | Path,
    *,
    truth: str | None = None,
    truth_volumes: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "ReportSummary | ClassesReport | None":
    """Write the HTML page and the overview picture of a run; of a classification the page and the averages.

    Parameters
    ----------
    rundir : path
        Folder written by refine, or by classify2d.
    truth : str, optional
        Images file with the true poses and memberships in its headers, one record for each image of the run.
    truth_volumes : str, optional
        The true volumes; volume k belongs to true membership k.
    output : path, optional
        The page, by default ``RUNDIR/report.html``; the picture gets the same name with ``.png``.
    overwrite, comm, threads, progress
        As in all jobs; rank 0 does the work.

    Returns
    -------
    ReportSummary, or ClassesReport; None on other ranks

    Raises
    ------
    InputError
        `rundir` is no folder of a run, or a truth file cannot be read.
    MismatchError
        Truth of another number of images or another box.
    OutputError
        The page or the picture exists already.
    """
    if is_classification(rundir):
        from imagic4d_core.jobs.report.reporting_classes import report_classes

        if truth or truth_volumes:
            raise UsageError(f"{rundir}: a run of classify2d; truth is for runs of refine")
        return report_classes(rundir, output=output, overwrite=overwrite, comm=comm)
    if comm.rank:
        comm.barrier()
        return None
    page = Path(output) if output is not None else Path(rundir) / "report.html"
    picture = page.with_suffix(".png")
    check_rundir(rundir)
    for path in (page, picture):
        check_new(path, overwrite)
    with legible(rundir):
        run = read_run(rundir, truth=truth, truth_volumes=truth_volumes, progress=progress)
        png, text = overview_png(run), report_page(run)
    with atomic_write(picture, "wb", overwrite) as handle:
        handle.write(png)
    atomic_write_text(page, text, overwrite)
    comm.barrier()
    return ReportSummary(str(page), str(picture), len(run.volumes), int(run.ref3d.size), run.missing)


def check_rundir(rundir: str | Path) -> Path:
    """The folder, if it is one of refine (`InputError` otherwise)."""
    folder = Path(rundir)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the RUNDIR of im4d refine")
    known = ("summary.json", "fsc.json", "journal.jsonl", "volumes.hed", "images.hed")
    if not any((folder / name).exists() for name in known):
        raise InputError(f"{folder}: not the folder of a refine run: none of {', '.join(known)} is in it")
    return folder


def read_run(
    rundir: str | Path,
    *,
    truth: str | None = None,
    truth_volumes: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Read what a report shows; what is missing is named in ``Run.missing``. Arguments as in `report`."""
    folder = check_rundir(rundir)
    missing: list[str] = []
    summary, curves = (_document(folder / name, missing) for name in ("summary.json", "fsc.json"))
    provenance = _document(folder / "record.im4d.json", [])
    journal = read_journal(folder / "journal.jsonl", missing)
    poses = read_poses(folder / "images.hed", missing)
    n = len(poses)
    scored = n > 0 and bool(np.any(poses.ccc3d))
    judged = n > 0 and bool(np.any(poses.confidence))
    run = Run(
        name=folder.resolve().name,
        summary=summary,
        fsc=curves,
        journal=journal,
        volumes=[],
        directions=view_directions(poses),
        ref3d=poses.ref3d.astype(np.int64),
        ccc=poses.ccc3d if scored else np.full(n, np.nan),
        confidence=poses.confidence if judged else np.full(n, np.nan),
        margin=poses.margin if judged else np.full(n, np.nan),
        examples=[],
        provenance=provenance,
        missing=missing,
    )
    run.examples = _examples(folder, run, poses, missing)
    _volumes(folder, run, truth, truth_volumes, poses, progress)
    return run


def _document(path: Path, missing: list[str]) -> dict[str, Any]:
    """A JSON object, empty where the file is not there or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        missing.append(f"{path.name}: {(error.strerror or str(error)).lower()}")
        return {}
    except (ValueError, RecursionError) as error:
        missing.append(f"{path.name}: not JSON: {error}")
        return {}
    if not isinstance(value, dict):
        missing.append(f"{path.name}: not a JSON object")
        return {}
    return value


def read_journal(path: str | Path, missing: list[str] | None = None) -> list[dict[str, Any]]:
    """Entries of journal.jsonl by iteration, the last of each; a line cut short by a crash is left out and noted in `missing`."""
    path, missing = Path(path), [] if missing is None else missing
    try:
        rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        missing.append(f"{path.name}: {(error.strerror or str(error)).lower()}")
        return []
    entries: dict[int, dict[str, Any]] = {}
    broken = 0
    for row in rows:
        try:
            entry = json.loads(row)
            entries[int(entry["iteration"])] = entry
        except (ValueError, KeyError, TypeError, RecursionError):
            broken += bool(row.strip())
    if broken:
        missing.append(f"{path.name}: {broken} lines are not entries of a journal")
    return [entries[k] for k in sorted(entries)]


def read_poses(path: str | Path, missing: list[str] | None = None, locations: Locations | None = None) -> Poses:
    """Poses of an image file, or of some locations, read in blocks; blank where unreadable, and `missing` takes the reason."""
    try:
        with open_stack(str(path), locations) as stack:
            out = Poses.blank(stack.n_images)
            for start in range(0, stack.n_images, BLOCK):
                stop = min(start + BLOCK, stack.n_images)
                part = Poses.from_headers(stack.headers(start, stop))
                for name, values in vars(part).items():
                    getattr(out, name)[start:stop] = values
            return out
    except (Im4dError, OSError) as error:
        if missing is None:
            raise
        missing.append(f"{Path(path).name}: {error}")
        return Poses.blank(0)


def view_directions(poses: Poses) -> dict[int, NDArray[np.float64]]:
    """View directions by 3D; 0 stands for all images where no membership is set; empty without angles."""
    if not len(poses) or not (np.any(poses.beta) or np.any(poses.gamma) or np.any(poses.alpha)):
        return {}
    d = directions_from_matrix(poses.matrices())
    numbers = np.unique(poses.ref3d[poses.ref3d > 0])
    return {int(k): d[poses.ref3d == k] for k in numbers} or {0: d}


def centred_image(image: NDArray[np.float32], shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """An image moved by `shift` = (lines, pixels), for pictures."""
    from scipy import ndimage

    return ndimage.shift(np.asarray(image, dtype=np.float32), shift, order=3, mode="nearest") if np.any(shift) else image


def _examples(folder: Path, run: Run, poses: Poses, missing: list[str], size: int = 96) -> list[Example]:
    if not len(poses):
        return []
    found: list[Example] = []
    try:
        with open_stack(str(folder / "images.hed")) as images, open_stack(str(folder / "reprojections.hed")) as projections:
            if projections.n_images != images.n_images:
                missing.append(f"reprojections.hed: {projections.n_images} re-projections of {images.n_images} images")
                return []
            for group, indices in example_indices(run.ccc):
                for i in indices.tolist():
                    image = centred_image(images.read(i, i + 1)[0], poses.shift[i])
                    projection = projections.read(i, i + 1)[0]
                    tiles = [to_grey(fit_tile(p, size)) for p in (image, projection)]
                    found.append(Example(group, i + 1, int(poses.ref3d[i]), float(run.ccc[i]), *tiles))
    except (Im4dError, OSError) as error:
        missing.append(str(error))
    return found


def _volumes(
    folder: Path,
    run: Run,
    truth: str | None,
    truth_volumes: str | None,
    poses: Poses,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Draw the volumes one after the other, so that memory holds one 3D and its truth, and fill ``run.truth``."""
    from imagic4d_core.jobs.report.reporting_truth import draw_against, score_headers

    starts: dict[int, Any] = {}
    if truth and len(poses):
        run.truth, starts = score_headers(poses, read_poses(truth), truth)
    elif truth_volumes:
        run.truth = Truth()
    try:
        stack = open_stack(str(folder / "volumes.hed"))
    except (Im4dError, OSError) as error:
        run.missing.append(f"volumes.hed: {error}")
        return
    with stack:
        count = stack.objects
        sizes = (96, 112) if count > 8 else (128, 176)
        if truth_volumes:
            draw_against(run, stack, truth_volumes, starts, sizes, progress)
            return
        frame = max(object_frame(stack.read_volumes(k, k + 1, finite=False)[0]) for k in range(count))
        for k in range(count):
            volume = stack.read_volumes(k, k + 1, finite=False)[0]
            run.volumes.append(volume_tiles(volume, k + 1, size=sizes[0], surface_size=sizes[1], frame=frame))
            if progress:
                progress(k + 1, count)
