"""MSA of images or volumes: eigenimages, and the coordinates of every object along them in the headers."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import MismatchError, OutputError, UsageError, check_word
from imagic4d_core.io import atomic
from imagic4d_core.io.header import TAG
from imagic4d_core.io.replacing import check_whole, stream_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.writer import output_format, output_paths
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.msa import coordinates as heads
from imagic4d_core.msa import model as files
from imagic4d_core.msa.noise import LEAST, noise_edge
from imagic4d_core.msa.solve import SOLVERS, Solution, block_size, solve
from imagic4d_core.msa.space import INVARIANTS, METRICS, PROJECTION, Source, Space, mask_index
from imagic4d_core.parallel import SERIAL, Comm, imap_blocks, thread_count
from imagic4d_core.units import in_pixels


@dataclass
class MsaRun:
    """What an MSA run found; `document` is ROOT.json."""

    output: str
    document: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"output": self.output, **self.document}

    def lines(self) -> list[str]:
        """For people."""
        d = self.document
        edge, values, percent = d["noise"], d["eigenvalues"], d["percent"]
        what = "volumes" if d["box"][0] > 1 else "images"
        out = [
            f"{self.output}: coordinates of {d['objects']} {what} along {len(values)} factors",
            f"  {d['active']} active, {d['pixels']} pixels, metric {d['metric']}, solver {d['solver']}",
            f"  the factors hold {sum(percent):.2f} % of the variance; the first: "
            + ", ".join(f"{p:.2f}" for p in percent[:6]) + " %",
        ]  # fmt: skip
        if len(d.get("spectrum", values)) <= LEAST:
            out.append("  too few eigenvalues to tell signal from noise")
        elif edge["more_needed"] or edge["factors"] > len(values):
            more = "" if edge["more_needed"] else f" ({edge['factors']} are)"
            out.append(f"  all {len(values)} factors are above the noise{more}: ask for more eigenimages")
        else:
            held = sum(percent[: edge["factors"]])
            out.append(f"  {edge['factors']} factors are above the noise (eigenvalue {edge['edge']:.4g}), with {held:.2f} %")
        return out + [f"  {note}" for note in d["notes"]]


def msa_run(
    src: str | os.PathLike, root: str | os.PathLike, out: str | os.PathLike | None = None, *, eigenimages: int = 25,
    metric: str = "modulation", mask: str | os.PathLike | None = None, mask_radius: float | None = None,
    invariant: str = "none", reuse: str | os.PathLike | None = None, passes: int = 25, solver: str = "auto",
    overwrite: bool = False, comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> MsaRun:  # fmt: skip
    """Multivariate statistical analysis of a file of images or volumes.

    Parameters
    ----------
    src : path
        Images or volumes; those with word 58 (ACTIVE) below 0 get coordinates but do not count.
    root : path
        Name of the results, see `imagic4d_core.msa.model`.
    out : path, optional
        Images with coordinates (the densities are linked); without it the headers of `src` are replaced.
    eigenimages : int
    metric : str
        One of `space.METRICS`.
    mask : path, optional
        Image or volume of the same box; pixels above 0.5 count.
    mask_radius : float, optional
        Circle or sphere, pixels (below 1: fraction of half the box); the largest ring with `invariant`.
    invariant : str
        One of `space.INVARIANTS`: what rotations (and shifts) do not change takes the place of the pixels.
    reuse : path, optional
        ROOT of an earlier run: its eigenimages, metric and mask are used, nothing is solved.
    passes : int
        Most passes over the densities beyond `solve.MOST_PIXELS` pixels.
    solver : str
        One of `solve.SOLVERS`.
    overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    MsaRun

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    check_word("metric", metric, METRICS)
    check_word("invariant", invariant, INVARIANTS)
    check_word("solver", solver, SOLVERS)
    n_threads = thread_count(threads)
    with open_stack(src) as stack:
        check_whole(stack)
        check_outputs(stack, root, out, overwrite)
        active, waiting = _active(stack, comm)
        box = stack.shape[1:]
        if reuse is not None:
            if mask is not None or mask_radius is not None or invariant != "none":
                raise UsageError("--reuse brings its own mask and metric: leave out --mask, --mask-radius and --invariant")
            model = files.load(reuse)
            if model.space.metric == PROJECTION:
                raise UsageError(f"{reuse}: holds eigenvolumes of projections; coordinates along them come from msa projections")
            if model.space.box != box:
                raise MismatchError(f"{reuse}: eigenimages of {_box(model.space.box)}; {stack.path} has {_box(box)}")
            source = Source(stack, model.space, active)
            document = dict(model.document, reused=os.fspath(reuse), notes=[])
        else:
            space = _space(stack, metric, mask, mask_radius, invariant)
            _check_count(stack, eigenimages, int(active.sum()), space.size)
            source = Source(stack, space, active)
            solution = solve(source, eigenimages, comm, n_threads, solver=solver, passes=passes, progress=progress)
            _check_count(stack, eigenimages, solution.counted, space.size)
            source.space = solution.space
            vectors = np.ascontiguousarray(comm.bcast(None if solution.eigen is None else solution.eigen.vectors), np.float32)
            document = _document(stack, solution, active, mask, mask_radius) if comm.rank == 0 else {}
            model = files.Model(solution.space, vectors, document)

        def save(document: dict[str, Any]) -> None:
            if waiting:
                document["notes"].append(f"{waiting} have shifts that wait in words 80 and 81; they are not applied")
            model.document = document
            files.save(root, model, stack.pixel_size, overwrite)

        found = comm.bcast(_coordinates(source, model, document, out, overwrite, comm, n_threads, progress, save))
    return MsaRun(os.fspath(out or src), found)


def _box(box: tuple[int, ...]) -> str:
    return " x ".join(str(k) for k in (box if box[0] > 1 else box[1:]))


def check_outputs(stack: Stack, root: str | os.PathLike, out: str | os.PathLike | None, overwrite: bool) -> None:
    """Refuse before the work what could not be written after it."""
    mine = {os.path.realpath(p) for p in output_paths(files.stem(stack.path))} if stack.format == "IMAGIC" else set()
    for path in files.paths(root):
        if os.path.realpath(path) in mine:
            raise OutputError(f"{path}: is the input; choose another ROOT")
        atomic.check_new(path, overwrite)
    if out is None:
        if stack.format != "IMAGIC":
            raise OutputError(
                f"{stack.path}: {stack.format} has no room for coordinates; give a third name (NAME.hed) for images with them"
            )
        return
    if output_format(out) != "IMAGIC":
        raise OutputError(f"{out}: coordinates stand in IMAGIC headers; use a name ending in .hed")
    for path in output_paths(out):
        if os.path.realpath(path) not in mine:
            atomic.check_new(path, overwrite)


def _active(stack: Stack, comm: Comm) -> tuple[NDArray[np.bool_], int]:
    """Which objects are active, by the first record of each, and how many have shifts that wait to be applied."""
    found: Any = None
    if comm.rank == 0:
        use, waiting, step = np.ones(stack.objects, bool), 0, stack.sections
        for start in range(0, stack.objects if stack.format == "IMAGIC" else 0, 4096):
            stop = min(stack.objects, start + 4096)
            records = stack.headers(start * step, stop * step)[::step]
            use[start:stop] = heads.active(records)
            moved = (records["RXSHIFT"] != 0) | (records["RYSHIFT"] != 0)
            waiting += int((moved & (records["IM4DTAG"] == TAG)).sum())
        found = use, waiting
    out: tuple[NDArray[np.bool_], int] = comm.bcast(found)
    return out


def _space(stack: Stack, metric: str, mask: str | os.PathLike | None, radius: float | None, invariant: str) -> Space:
    box = stack.shape[1:]
    wide = None if radius is None else in_pixels(radius, min(box[1:]))
    if invariant != "none":
        if stack.is_volumes:
            raise UsageError(f"{stack.path}: holds volumes; --invariant is for images")
        if mask is not None:
            raise UsageError("--invariant takes rings around the centre: leave out --mask (--mask-radius sets the largest ring)")
        largest = min(box[1:]) / 2 - 1 if wide is None else wide
        return Space(metric, box, box, np.empty(0, np.int64), invariant, largest)
    data = None
    if mask is not None:
        data = read_mask(mask, box)
    index = mask_index(data, wide, box, os.fspath(mask or stack.path))
    return Space(metric, box, box, index)


def _check_count(stack: Stack, wanted: int, active: int, size: int) -> None:
    most = min(active - 1, size)
    if wanted > most:
        what = "volumes" if stack.is_volumes else "images"
        raise MismatchError(
            f"{stack.path}: {active} active {what} of {size} pixels have {max(most, 0)} factors at most, "
            f"and {wanted} eigenimages are asked for" + (f"; use --eigenimages {most} or less" if most > 0 else "")
        )


def _document(
    stack: Stack, solution: Solution, active: NDArray[np.bool_], mask: Any, mask_radius: float | None
) -> dict[str, Any]:
    eigen, space, trace = solution.eigen, solution.space, solution.trace
    assert eigen is not None
    wanted = eigen.vectors.shape[1]
    good = np.flatnonzero(eigen.residuals > 0.02)
    known = eigen.values[: good[0] if len(good) and good[0] > wanted else len(eigen.values)]
    edge = noise_edge(known, trace, solution.counted, space.size)
    notes = []
    inactive = int((~active).sum())
    if inactive:
        notes.append(f"{inactive} inactive (word 58): they get coordinates, but do not count")
    flat = int(active.sum()) - solution.counted
    if flat:
        notes.append(f"{flat} constant under the mask: they do not count")
    dead = int((space.scale == 0).sum()) if space.scale is not None else 0
    if dead:
        notes.append(f"{dead} pixels that never vary are left out")
    worst = float(eigen.residuals[:wanted].max()) if solution.solver != "gram" else 0.0
    slow = int((eigen.residuals[:wanted] > 2e-3).sum())
    if slow:
        notes.append(
            f"{slow} factors have not converged after {solution.passes} passes: give more --passes, or fewer eigenimages"
        )
    values = eigen.values[:wanted]
    return {
        "schema": 1, "kind": "msa", "images": os.fspath(stack.path), "metric": space.metric, "box": list(space.box),
        "objects": stack.objects, "active": solution.counted, "pixels": space.size,
        "mask": None if mask is None else os.fspath(mask), "mask_radius": mask_radius,
        "invariant": space.invariant, "ring_radius": space.radius, "solver": solution.solver,
        "passes": solution.passes, "residual": worst, "total_variance": trace, "eigenvalues": values.tolist(),
        "percent": (100 * values / trace).tolist(), "spectrum": known.tolist(), "noise": edge.as_dict(), "reused": None,
        "notes": notes,
    }  # fmt: skip


def _coordinates(
    source: Source, model: files.Model, document: dict[str, Any], out: str | os.PathLike | None, overwrite: bool, comm: Comm,
    threads: int, progress: Callable[[int, int], None] | None, save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Coordinates of all objects into the headers: every rank makes those of its blocks, rank 0 writes them in order.

    The other files are saved before the headers take their place: where that fails, the input stays as it was.
    """
    stack, size = source.stack, block_size(source.space.size)
    count = -(-source.objects // size)
    vectors = model.vectors
    factors = vectors.shape[1]
    mine = imap_blocks(lambda span: source.coordinates(*span, vectors), comm.blocks(source.objects, size), threads)
    if comm.rank:
        for b, part in zip(range(comm.rank, count, comm.size), mine, strict=True):
            comm.send(part, 0, tag=b % 32768)
        return {}
    sums = np.zeros(factors + 2)
    counted = int(document["active"])
    number = heads.METRIC_NUMBERS[source.space.metric]

    def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
        first, last = start // stack.sections, stop // stack.sections
        b = first // size
        owner = b % comm.size
        like = np.empty((last - first, factors + 2), np.float32)
        part = next(mine) if owner == 0 else comm.recv(like, owner, tag=b % 32768)
        weight = part[:, -1].astype(np.float64)
        squares = np.square(part[:, :-1].astype(np.float64))
        squares[:, -1] = part[:, -2]
        sums[:-1] += weight @ squares
        sums[-1] += weight.sum()
        energy = part[:, -2].astype(np.float64)
        records = stack.headers(start, stop)
        extra = heads.write_coordinates(records, stack.extra_headers(start, stop), part[:, :-2])
        explained = np.where(energy > 0, squares[:, :-1].sum(1) / np.where(energy > 0, energy, 1.0), 0.0)
        for name, value in (("REPQUAL", explained), ("CMTOTVAR", energy), ("ACTMSA", weight > 0)):
            records[name] = np.repeat(value, stack.sections)
        records["NIACTIVE"], records["NMETRIC"] = counted, number
        if progress is not None:
            progress(b + 1, count)
        if last == source.objects:
            save(_with_variances(document, sums, source))
        return records, extra

    nblocks = max(stack.nblocks, heads.records_for(factors))
    stream_headers(stack, window, out, overwrite, nblocks, size * stack.sections)
    return document


def _with_variances(document: dict[str, Any], sums: NDArray[np.float64], source: Source) -> dict[str, Any]:
    """The document with what the coordinates say of the eigenvalues; `sums`: squares along each factor, all squares, count."""
    stack, factors = source.stack, len(sums) - 2
    variances = sums[:factors] / max(sums[-1], 1e-300)
    if document["reused"] is not None:
        trace = float(sums[factors] / max(sums[-1], 1e-300))
        document.update(
            images=os.fspath(stack.path), objects=stack.objects, active=int(source.active.sum()), variances=variances.tolist(),
            variance_around_mean=trace, percent=(100 * variances / trace if trace > 0 else 0 * variances).tolist(),
        )  # fmt: skip
        document["notes"] = [f"eigenimages of {document['reused']}; percent are of the variance of these objects"]
    else:
        values = np.asarray(document["eigenvalues"])
        live = values > 1e-6 * values[0]
        document["check"] = float(np.abs(variances[live] / values[live] - 1).max())
    return document
