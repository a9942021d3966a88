"""MSA in three dimensions: a file of images with poses in; eigenvolumes, and coordinates in the headers out."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.eigenvolumes.mixing import Mixture, mixture
from imagic4d_core.eigenvolumes.rounds import energies, information, mean_volume, volumes_along
from imagic4d_core.eigenvolumes.splitting import Analysis, SplitOptions, analyse, bands_for, sphere
from imagic4d_core.eigenvolumes.sums import to_box, to_small
from imagic4d_core.eigenvolumes.views import Views, residuals, slices_of, with_strength_and_noise
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.replacing import check_whole, stream_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.jobs.images.masks import read_mask
from imagic4d_core.jobs.msa.projection_views import load_views
from imagic4d_core.jobs.msa.run import check_outputs
from imagic4d_core.jobs.msa.splitting import LEAST, RADIUS
from imagic4d_core.msa import coordinates as heads
from imagic4d_core.msa import model as files
from imagic4d_core.msa.space import PROJECTION, Space
from imagic4d_core.msa.ward import ward
from imagic4d_core.parallel import SERIAL, Comm, thread_count, warm_first
from imagic4d_core.pointgroup.find import find_symmetry
from imagic4d_core.recon.fourier import shells_of
from imagic4d_core.recon.warm import warmup
from imagic4d_core.units import Frequency, in_pixels

#: Highest frequency of the volumes written where none is asked for: fraction of Nyquist, Fourier pixels.
FRACTION, MOST = 0.65, 24


@dataclass
class ProjectionMsa:
    """What MSA in three dimensions found; `document` is ROOT.json."""

    output: str
    document: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"output": self.output, **self.document}

    def lines(self) -> list[str]:
        """For people."""
        d = self.document
        edge, values = d["noise"], d["eigenvalues"]
        spread = ", ".join(f"{v:.2f}" for v in d["spectrum"])
        out = [
            f"{self.output}: coordinates of {d['objects']} images along {len(values)} eigenvolumes, in units of the noise",
            f"  {d['active']} images counted; band limit {d['band']} Fourier pixels, volumes up to {d['r_max']}",
            f"  variances {spread}; noise reaches {edge['edge']:.2f}",
        ]
        if edge["factors"]:
            out.append(f"  {edge['factors']} eigenvolumes are above the noise")
        else:
            out.append("  none is above the noise: as far as this can tell the images differ by noise alone")
        if d["states"]:
            sizes = ", ".join(f"{k + 1}: {n}" for k, n in enumerate(d["states"]))
            out.append(f"  {len(d['states'])} states by likelihood (word 108): {sizes}")
        return out + [f"  {note}" for note in d["notes"]]


def msa_projections(
    src: str | os.PathLike, root: str | os.PathLike, out: str | os.PathLike | None = None, *, eigenvolumes: int | None = None,
    mask: str | os.PathLike | None = None, mask_radius: float | None = None, max_frequency: Frequency | None = None,
    band: Frequency | None = None, ref3d: int | None = None, weigh_ctf: bool = False, amplitude_contrast: float = 0.1,
    states: int = 6, as_membership: bool = False, asymmetric: bool = False, seed: int = 0, overwrite: bool = False,
    comm: Comm = SERIAL, threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> ProjectionMsa:  # fmt: skip
    """Eigenvolumes of images that are projections of one 3D in different states, and coordinates along them.

    Parameters
    ----------
    src : path
        Images with Euler angles and shifts; those with word 58 (ACTIVE) below 0 get coordinates but do not count.
    root : path
        Name of the results, as of `jobs.msa.run`.
    out : path, optional
        Images with coordinates (the densities are linked); without it the headers of `src` are replaced.
    eigenvolumes : int, optional
        How many; None: those above the noise.
    mask : path, optional
        Volume of the same box, 0 to 1: where images may differ.
    mask_radius : float, optional
        Of the sphere that holds the object, pixels or (below 1) a fraction of half the box.
    max_frequency : Frequency, optional
        Highest frequency of the volumes written.
    band : Frequency, optional
        Band limit of the analysis; None: where the eigenvolumes show best.
    ref3d : int, optional
        Only images of this 3D count.
    weigh_ctf, amplitude_contrast
        As of `recon`.
    states : int
        Most states told apart; below 2: none are.
    as_membership : bool
        The states are 3D memberships too (word 51).
    asymmetric : bool
        Go on also where the mean 3D has a point group.
    seed, overwrite, comm, threads, progress
        As every job.

    Returns
    -------
    ProjectionMsa

    Raises
    ------
    InputError, MismatchError, OutputError, UsageError
    """
    n_threads = thread_count(threads)
    if as_membership and states < 2:
        raise UsageError("3D memberships come from states: allow two or more")
    with open_stack(src, what="images") as stack:
        check_whole(stack)
        check_outputs(stack, root, out, overwrite)
        headers = stack.headers()
        poses = Poses.from_headers(headers)
        counts = headers["ACTIVE"] >= 0
        if ref3d is not None:
            counts &= poses.ref3d == ref3d
        if int(counts.sum()) < LEAST:
            of = "" if ref3d is None else f" in 3D {ref3d}"
            few = int(counts.sum())
            raise InputError(f"{stack.path}: {few} active images{of}; {LEAST} at least are needed to find differences")
        box = stack.lines
        radius = in_pixels(RADIUS if mask_radius is None else mask_radius, box)
        options = SplitOptions(eigenvolumes, radius, shells_of(band, box, stack.pixel_size), states=states, seed=seed)
        highest = shells_of(max_frequency, box, stack.pixel_size) or min(MOST, int(FRACTION * box / 2))
        limit = max(highest, options.r_max or bands_for(box, radius, (box - 1) // 2)[-1])
        focus = None if mask is None else read_mask(mask, (box, box, box))
        if comm.size > 1:
            warm_first(comm, warmup)
        contrast = amplitude_contrast if weigh_ctf else None
        every = load_views(stack, poses, limit, contrast=contrast, comm=comm, threads=n_threads)
        views = every.select(counts[every.number])
        if not asymmetric:
            _no_symmetry(views.limited(bands_for(box, radius, limit)[-1]), radius, stack, comm, n_threads)
        found = analyse(views, options, focus=focus, comm=comm, threads=n_threads, progress=progress)
        coordinates = _coordinates(every, found, comm, n_threads)
        told = _states(views, found, states, comm, n_threads) if states > 1 and found.factors else None
        model = _model(views.limited(highest), found, focus, radius, comm, n_threads)
        document = _document(stack, found, coordinates, counts, highest, mask, radius, told, seed)
        if comm.rank == 0:
            model.document = document
            files.save(root, model, stack.pixel_size, overwrite)
            _write_headers(stack, coordinates, counts, found, told, as_membership, out, overwrite)
        comm.barrier()
    return ProjectionMsa(os.fspath(out or src), document)


def _no_symmetry(views: Views, radius: float, stack: Stack, comm: Comm, threads: int) -> None:
    """Refuse a mean 3D with a point group.

    An image sees all units of a symmetric 3D at once, each in a state of its own, and in which of the poses that look the same it
    was put is chance: one coordinate for an image means nothing.
    """
    mean = mean_volume(views, sphere(views, radius), comm=comm, threads=threads)
    found = find_symmetry(mean) if comm.rank == 0 and mean.any() else None
    group = comm.bcast("C1" if found is None else found.group)
    if group != "C1":
        raise InputError(
            f"{stack.path}: the mean 3D has the point group {group}: an image shows units in several states at once, and its "
            "pose is one of several that look the same, so it has no one coordinate; --asymmetric goes on all the same"
        )


@dataclass
class _Coordinates:
    """Of all images of the file, on every rank: coordinates, energy of the residual, share that they explain."""

    values: NDArray[np.float64]
    energy: NDArray[np.float64]
    explained: NDArray[np.float64]


def _coordinates(every: Views, found: Analysis, comm: Comm, threads: int) -> _Coordinates:
    """Coordinates of all images, also of those that did not count; noise and eigenvolumes are those of the ones that did."""
    fit = found.fit
    views = replace(every.limited(fit.views.band.r_max), noise=fit.views.noise)
    views = replace(with_strength_and_noise(views, fit.mean, comm, threads), noise=fit.views.noise)
    place = np.searchsorted(views.number, fit.views.number)
    views.strength[place] = fit.views.strength
    project = slices_of(fit.mean, views.band)
    left = np.concatenate([residuals(views, project, part) for _, part in views.blocks()] or [views.spectra])
    info = information(views, left, fit.volumes, threads=threads)
    z, _ = info.posterior()
    energy = energies(views, left)
    gained = 2.0 * np.einsum("nk,nk->n", z, info.b) - np.einsum("nk,nkl,nl->n", z, info.a, z, optimize=True)
    share = np.clip(gained / np.maximum(energy, 1e-300), 0.0, 1.0)
    parts = comm.allgather((views.number, z * np.sqrt(fit.snr), energy, share))
    order = np.argsort(np.concatenate([p[0] for p in parts]))
    return _Coordinates(*(np.concatenate([p[k] for p in parts])[order] for k in (1, 2, 3)))


def _states(
    views: Views, found: Analysis, most: int, comm: Comm, threads: int
) -> tuple[NDArray[np.int64], Mixture] | None:  # fmt: skip
    """Numbers of the images that counted, and the states among them; made on rank 0."""
    info = found.fit.information
    parts = comm.gather((views.number, info.b, info.a, found.fit.coordinates))
    told = None
    if parts is not None:
        number = np.concatenate([p[0] for p in parts])
        order = np.argsort(number)
        b, a, y = (np.concatenate([p[k] for p in parts])[order] for k in (1, 2, 3))
        tree, _ = ward(y, threads=threads)
        told = number[order], mixture(replace(info, b=b, a=a), tree, most)[-1].by_size()
    return comm.bcast(told)  # type: ignore[no-any-return]


def _model(views: Views, found: Analysis, focus: NDArray | None, radius: float, comm: Comm, threads: int) -> files.Model:
    """Mean 3D and eigenvolumes for coordinates in units of the noise, up to the band limit of `views`, in the full box."""
    band = views.band
    whole = sphere(views, radius)
    mask = whole if focus is None else np.clip(to_small(focus, band, 1.0), 0.0, 1.0) * whole
    mean, volumes = volumes_along(views, whole, mask, found.fit.coordinates, comm=comm, threads=threads)
    large = to_box(np.concatenate([mean[None], volumes]), band, views.unit)
    inside = np.flatnonzero(to_box(whole[None], band, 1.0).ravel() > 1e-3)
    shape = (band.box,) * 3
    space = Space(PROJECTION, shape, shape, inside)
    space.centre = large[0].ravel()[inside]
    space.scale = np.ones(len(inside), np.float32)
    return files.Model(space, np.ascontiguousarray(large[1:].reshape(len(volumes), -1)[:, inside].T), {})


def _document(
    stack: Stack, found: Analysis, coordinates: _Coordinates, counts: NDArray[np.bool_], highest: int, mask: Any, radius: float,
    told: tuple[NDArray[np.int64], Mixture] | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    fit = found.fit
    values = np.square(coordinates.values[counts]).mean(0)
    trace = float(coordinates.energy[counts].mean())
    notes = []
    idle = int((~counts).sum())
    if idle:
        notes.append(f"{idle} images did not count (inactive, or of another 3D); they have coordinates all the same")
    if not fit.converged:
        notes.append(f"coordinates still moved after {fit.rounds} rounds")
    box = stack.lines
    return {
        "schema": 1, "kind": "msa projections", "images": os.fspath(stack.path), "metric": PROJECTION, "box": [box] * 3,
        "objects": stack.objects, "active": int(counts.sum()), "pixels": int((found.whole > 1e-3).sum()),
        "mask": None if mask is None else os.fspath(mask), "mask_radius": radius, "invariant": "none", "ring_radius": 0.0,
        "solver": "expectation-maximisation", "passes": fit.rounds, "residual": 0.0, "total_variance": trace,
        "eigenvalues": values.tolist(), "percent": (100 * values / trace).tolist(), "spectrum": found.variances.tolist(),
        "noise": {"factors": found.factors, "edge": found.edge.variance, "white_edge": 0.0, "more_needed": False},
        "reused": None, "band": fit.views.band.r_max, "r_max": highest, "snr": fit.snr.tolist(), "converged": fit.converged,
        "noise_power": (fit.views.noise * fit.views.unit**2).tolist(), "states": [] if told is None else told[1].sizes.tolist(),
        "seed": seed, "notes": notes,
    }  # fmt: skip


def _write_headers(
    stack: Stack, coordinates: _Coordinates, counts: NDArray[np.bool_], found: Analysis,
    told: tuple[NDArray[np.int64], Mixture] | None, as_membership: bool, out: Any, overwrite: bool,
) -> None:  # fmt: skip
    number = np.zeros(stack.objects, np.int32)
    if told is not None:
        number[told[0]] = told[1].labels + 1

    def window(start: int, stop: int) -> tuple[NDArray, NDArray | None]:
        part = slice(start, stop)
        records = stack.headers(start, stop)
        extra = heads.write_coordinates(records, stack.extra_headers(start, stop), coordinates.values[part])
        records["REPQUAL"], records["CMTOTVAR"] = coordinates.explained[part], coordinates.energy[part]
        records["ACTMSA"], records["NIACTIVE"] = counts[part], int(counts.sum())
        records["NMETRIC"] = heads.METRIC_NUMBERS[PROJECTION]
        if told is not None:
            records["CLASSNO"] = number[part]
            if as_membership:
                poses = Poses.from_headers(records)
                poses.ref3d_old, poses.ref3d = poses.ref3d, np.where(counts[part], number[part], poses.ref3d).astype(np.int32)
                poses.into_headers(records)
        return records, extra

    nblocks = max(stack.nblocks, heads.records_for(coordinates.values.shape[1]))
    stream_headers(stack, window, out, overwrite, nblocks)
