"""Angular reconstitution with anchor sets: Euler angles, shifts and 3D membership into the headers of images.

The densities are not touched: the output shares them with the input (hard link) and has new headers.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.angrec.assign import Candidates, HalfPlane, Verdict, crowding, judge, refine_block, search_block
from imagic4d_core.angrec.polar import PolarSampler, line_count
from imagic4d_core.angrec.references import References, prepare_references
from imagic4d_core.angrec.search import make_bank, shift_grid
from imagic4d_core.ctf.parameters import CtfParameters, stored_transfer, with_white_noise
from imagic4d_core.errors import InputError, MismatchError, OutputError, UsageError
from imagic4d_core.geometry import sphere
from imagic4d_core.geometry.euler import angular_distance, random_rotations
from imagic4d_core.geometry.poses import Poses, fold_of
from imagic4d_core.io.replacing import replace_headers
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.writer import output_paths
from imagic4d_core.parallel import SERIAL, Comm, map_blocks, thread_count
from imagic4d_core.recon.fourier import Accumulator, shells_of
from imagic4d_core.rng import rng_for
from imagic4d_core.units import Frequency, in_pixels

#: Images of one matrix product: part of the result's definition, as rounding follows the blocks.
BLOCK = 32
#: References (3Ds x directions) in memory at a time.
BANK = 16384
MODES = ("single", "own", "each-to-best")
#: Frequency up to which all directions are tried when nothing is said, fraction of Nyquist.
SEARCH_LIMIT = 0.4


@dataclass
class AngrecSummary:
    """What angular reconstitution found; per-3D lists follow `numbers`."""

    images: int
    numbers: list[int]
    sizes: list[int]
    moved: float
    euler_change: float
    score: float
    confidence: list[float]
    directions: int
    increment: float
    max_frequency: float
    scores_3d: list[float] = field(default_factory=list)
    output: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.__dict__.copy()

    def lines(self) -> list[str]:
        """For people."""
        head = (
            f"{self.output}: {self.images} images, {self.directions} directions (increment {self.increment:g} degrees), "
            f"frequencies to {self.max_frequency:.2f} Nyquist"
        )
        rows = [
            f"  3D {k}: {n} images, mean correlation {s:.3f}, mean confidence {c:.2f}"
            for k, n, s, c in zip(self.numbers, self.sizes, self.scores_3d, self.confidence, strict=True)
        ]
        change = f"  {100 * self.moved:.1f} % changed 3D, median change of Euler angles {self.euler_change:.1f} degrees"
        return [head, *rows, change]


def angrec(
    src: str, dst: str | None, *, anchors: str | None, overwrite: bool = False, comm: Comm = SERIAL, **settings: Any
) -> AngrecSummary:
    """Find Euler angles, shift and 3D membership of images from anchor sets; parameters as `reconstitute`.

    Parameters
    ----------
    src : path
    anchors : path
    dst : path or None
        Images with the results in their headers (None: the headers of `src` are replaced). Words written: ALPHA, BETA,
        GAMMA, REF3D, REF3DOLD, CCC3D, ERRAR (1 - CCC3D), and our words 80 to 89 (shift, confidence, margin, second 3D,
        error of the pose, fold, z-score).
    overwrite : bool
    comm : Comm
    **settings
        See `reconstitute`.

    Returns
    -------
    AngrecSummary

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    if anchors is None:
        raise UsageError("--anchors is needed: projections with Euler angles (im4d forward), or volumes; or --mode new")
    if dst is not None and not overwrite:
        for path in output_paths(dst):
            if path.exists():
                raise OutputError(f"{path}: exists; give another name, or --overwrite")
    with open_stack(src) as images:
        if images.index is not None:
            raise UsageError(f"{src}: headers of some locations cannot be written apart; copy them to a file first")
    summary, poses, _ = reconstitute(src, anchors=anchors, comm=comm, **settings)
    if comm.rank == 0:
        with open_stack(src) as images:
            headers = images.headers()
        replace_headers(src, poses.into_headers(headers), dst, overwrite=overwrite)
    comm.barrier()
    summary.output = os.fspath(dst or src)
    return summary


def reconstitute(
    src: str,
    *,
    anchors: str,
    mode: str = "each-to-best",
    increment: float = 5.0,
    symmetry: str = "C1",
    max_shift: float | None = None,
    shift_search: str = "winner",
    shift_range: float = 3.0,
    amplitude_filter: float = 0.0,
    max_frequency: Frequency | None = None,
    refine: bool = True,
    refine_frequency: Frequency | None = None,
    mask_radius: float | None = None,
    noise: float = 0.0,
    spread: float = 0.0,
    score: str = "ccc",
    same_spectrum: bool = True,
    weigh_ctf: bool = False,
    amplitude_contrast: float = 0.1,
    seed: int = 0,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[AngrecSummary, Poses, Candidates]:
    """Find poses of images from anchor sets.

    Parameters
    ----------
    src : path
        Images. Poses in their headers are where the search goes on from: the shift, and with `refine` the angles too.
    anchors : path
        Projections with Euler angles and REF3D in their headers, or volumes, of which every central section is an anchor.
        Volumes that left out a fold (``recon --leave-out``) compete only for the images of that fold.
    mode : {"single", "own", "each-to-best"}
        One anchor set for all images, whatever their 3D; the set of the image's own REF3D; or all sets compete and the
        image takes over the membership of the best.
    increment : float
        Degrees between trial directions.
    symmetry : str
        Point group of the 3Ds: directions of one asymmetric unit are tried.
    max_shift : float, optional
        Largest total shift, pixels (below 1: fraction of half the box). None: 0.2; 0: no shift search.
    shift_search : {"winner", "full"}
        Try shifts with the best direction of each 3D only, or with all directions.
    shift_range : float
        Trial shifts go this far from the present one, pixels.
    amplitude_filter : float
        Exponent p of ``F |F|^-p`` in the search: 0 plain correlation, 0.5 ASQ filter, 1 phases only.
    max_frequency : Frequency, optional
        Limit of the search over all directions (default 0.4 Nyquist).
    refine : bool
        Refine the best pose of each 3D locally, up to `refine_frequency` (default: as `max_frequency`).
    mask_radius : float, optional
        Soft spherical mask on the anchors' 3Ds, pixels (below 1: fraction of half the box); default 0.85.
    noise : float
        Annealing noise, in standard deviations of an image's scores over directions.
    spread : float
        Handicap of crowded view directions: this many standard deviations of the scores times the logarithm of the present
        density of the 3D's views there (1: even). Without it a start from nothing may end in 3Ds drawn out along one
        view, each made of one family of views.
    score : {"ccc", "zscore"}
        Compare correlation coefficients, or each 3D's coefficients relative to its own scores at mismatched directions.
    same_spectrum : bool
        Give all 3Ds the same radial spectrum first.
    weigh_ctf : bool
        Compare images with sections as they look through the CTF in the headers (words 25 to 27, 101, 102; word 93 says what
        was corrected), with this `amplitude_contrast`.
    seed : int
        Of the noise, and of the turn of the grid of directions when there is noise.

    Returns
    -------
    AngrecSummary
    Poses
        Of all images; those that took no part (inactive) keep what they had.
    Candidates
        Best pose in every 3D, rows by image, columns by `AngrecSummary.numbers`.

    Raises
    ------
    UsageError, InputError, MismatchError
    """
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown: {', '.join(MODES)}")
    n_threads = thread_count(threads)
    with open_stack(src) as images:
        box = _check_images(images)
        headers = images.headers()
        before = Poses.from_headers(headers)
        limit = shells_of(max_frequency or Frequency(SEARCH_LIMIT), box, images.pixel_size)
        r_search = min(limit, (box - 3) // 2)
        wanted = shells_of(refine_frequency or max_frequency or Frequency(SEARCH_LIMIT), box, images.pixel_size)
        r_local = min(max(wanted, 2), (box - 3) // 2) if refine else r_search
        radius = in_pixels(0.85 if mask_radius is None else mask_radius, box)
        references, folds, fold_seed = _anchors(
            anchors, images, max(r_search, r_local), radius, symmetry, same_spectrum, n_threads
        )
        numbers = references.numbers()
        active = headers["ACTIVE"] >= 0
        if not active.any():
            raise InputError(f"{images.path}: all images are inactive (word 58)")
        own = np.searchsorted(numbers, before.ref3d)
        own = np.where((own < len(numbers)) & (numbers[np.minimum(own, len(numbers) - 1)] == before.ref3d), own, -1)
        if mode == "own" and (own[active] < 0).any():
            first = int(np.flatnonzero(active & (own < 0))[0])
            raise MismatchError(
                f"{images.path}: image {first + 1} has 3D membership {before.ref3d[first]}, but {anchors} has anchors for "
                f"{', '.join(map(str, numbers))} only; use --mode each-to-best"
            )
        if mode == "single" and len(numbers) > 1:
            raise MismatchError(
                f"{anchors}: has anchor sets of {len(numbers)} 3Ds; --mode single needs one, each-to-best lets them compete"
            )
        folds_of_images = fold_of(fold_seed, folds, np.arange(images.n_images)) if folds else np.zeros(images.n_images, np.int32)
        rng = rng_for(seed, "angrec/directions")
        beta, gamma = sphere.directions(increment, symmetry)
        directions = sphere.matrices(beta, gamma)
        if noise > 0 and symmetry.upper() == "C1":
            directions = directions @ random_rotations(rng, 1)[0]  # another grid each time, so that no direction is favoured
        sampler = PolarSampler(box, r_search, line_count(r_search, increment))
        most = in_pixels(0.2 if max_shift is None else max_shift, box)
        reach = min(shift_range, most)
        step = max(1.0, box / ((4.0 if shift_search == "full" else 6.0) * r_search))
        grid = shift_grid(reach, step) if reach > 0 else np.zeros((1, 2))
        variants, scan = (grid, np.zeros((1, 2))) if shift_search == "full" else (np.zeros((1, 2)), grid)
        plane = HalfPlane.make(box, r_local) if refine else None
        ctf = amplitude_contrast if weigh_ctf else None
        if weigh_ctf:
            CtfParameters.from_headers(headers, images.path)  # what is missing is said with the number of the image

        blocks: list[tuple[int, NDArray[np.int64]]] = []
        for q in np.unique(folds_of_images[active]):
            index = np.flatnonzero(active & (folds_of_images == q))
            blocks += [(int(q), index[i : i + BLOCK]) for i in range(0, len(index), BLOCK)]
        mine = blocks[comm.rank :: comm.size]
        known = before.any_set() and bool((before.alpha != 0).any() or (before.beta != 0).any() or (before.gamma != 0).any())
        matrices = before.matrices()
        handicap = None
        if spread > 0 and known:
            crowd = crowding(matrices[active, 2], own[active], directions[:, 2], len(numbers))
            handicap = spread * np.log(np.maximum(crowd, 0.3))
        per_block: list[tuple[NDArray[np.int64], Candidates]] = []
        done = 0
        for q in sorted({q for q, _ in mine}):
            sets = references.of_fold(q)
            missing = [int(n) for n in numbers if int(n) not in sets]
            if missing:
                raise MismatchError(f"{anchors}: no 3D {missing[0]} that left out fold {q}; make all with one recon --leave-out")
            columns = [sets[int(n)] for n in numbers]
            chunk = max(1, BANK // len(columns))
            parts = [directions[i : i + chunk] for i in range(0, len(directions), chunk)]
            todo = [index for fold, index in mine if fold == q]
            results: list[Candidates | None] = [None] * len(todo)
            for p, part in enumerate(parts):
                bank = make_bank(
                    references, columns, part, sampler, object_radius=min(0.5, radius / box), amplitude_filter=amplitude_filter
                )
                crowded = None if handicap is None else handicap[:, p * chunk : p * chunk + len(part)]
                bound = (bank, p, part, parts, columns, results, crowded)

                def run(item: tuple[int, NDArray[np.int64]], bound: tuple[Any, ...] = bound) -> Candidates:
                    bank, p, part, parts, columns, results, crowded = bound
                    last = p == len(parts) - 1
                    number, index = item
                    spectra, transfer = _spectra(images, index, headers, ctf)
                    found = search_block(
                        spectra, before.shift[index], bank, part, len(columns), sampler, variants=variants, scan=scan,
                        noise=noise, handicap=crowded, seed=seed, stage=f"angrec/noise/{p}", images=index,
                        max_shift=max(most, 1e-9), amplitude_filter=amplitude_filter, ctf=transfer,
                    )  # fmt: skip
                    found = _merge(results[number], found, len(part) / len(directions))
                    if last and len(parts) > 1:
                        found.sd = np.sqrt(np.maximum(found.sd - found.mean**2, 0.0))
                    if last and plane is not None:
                        start = (own[index], matrices[index], before.shift[index]) if known and noise == 0 else None
                        which = np.broadcast_to(np.array(columns), found.score.shape).copy()
                        if mode == "own":
                            which[np.arange(len(columns)) != own[index][:, None]] = -1
                        refine_block(spectra, found, references, which, plane, ctf=transfer, start=start, max_shift=most)
                    return found

                results = map_blocks(run, list(enumerate(todo)), n_threads)
                done += len(todo)
                if progress is not None:
                    progress(done, len(mine) * len(parts))
            per_block += list(zip(todo, [r for r in results if r is not None], strict=True))
        found, index = _gather(comm, per_block, images.n_images, len(numbers))
        if mode == "own":
            low = np.arange(len(numbers)) != own[:, None]
            found.score[low & active[:, None]] = found.noisy[low & active[:, None]] = -np.inf
        centre, scale, unit = _levels(found, index, score)
        verdict = judge(found, centre, scale, unit)
        after = _take(before, found, verdict, index, numbers, folds_of_images, folds, fold_seed)
    sizes = [int((after.ref3d[index] == n).sum()) for n in numbers]
    mean = [[float(v[index][after.ref3d[index] == n].mean()) if s else 0.0 for n, s in zip(numbers, sizes, strict=True)]
            for v in (after.ccc3d, after.confidence)]  # fmt: skip
    turned = angular_distance(matrices[index], after.matrices()[index])
    summary = AngrecSummary(
        images=len(index), numbers=[int(n) for n in numbers], sizes=sizes,
        moved=float((after.ref3d != before.ref3d)[index].mean()),
        euler_change=float(np.median(turned)), score=float(after.ccc3d[index].mean()), scores_3d=mean[0], confidence=mean[1],
        directions=len(directions), increment=increment, max_frequency=max(r_search, r_local) / (box / 2),
    )  # fmt: skip
    return summary, after, found


def _check_images(images: Stack) -> int:
    if images.is_volumes:
        raise MismatchError(f"{images.path}: holds volumes; images are needed")
    if images.lines != images.pixels:
        raise MismatchError(f"{images.path}: images of {images.lines} x {images.pixels}; square ones are needed (cut-image)")
    if images.n_images == 0:
        raise InputError(f"{images.path}: holds no image")
    return images.lines


def _spectra(
    images: Stack, index: NDArray[np.int64], headers: NDArray, contrast: float | None
) -> tuple[NDArray[np.complex64], NDArray[np.float32] | None]:
    """Spectra of scattered images, read run by run, and their CTF if its amplitude contrast is given."""
    runs = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1)
    data = np.concatenate([images.read(int(r[0]), int(r[-1]) + 1) for r in runs])
    spectra = fourier.centred_rfftn(data, 2).astype(np.complex64)
    if contrast is None:
        return spectra, None
    shape = (images.lines, images.pixels)
    transfer, state = stored_transfer(headers[index], images.path, shape, images.pixel_size, amplitude=contrast)
    with_white_noise(spectra, transfer, state)
    return spectra, transfer


def _anchors(
    path: str, images: Stack, r_max: int, mask_radius: float, symmetry: str, same_spectrum: bool, threads: int
) -> tuple[References, int, int]:
    """References, number of folds and their seed."""
    with open_stack(path) as stack:
        if (stack.lines, stack.pixels) != (images.lines, images.pixels):
            raise MismatchError(
                f"{stack.path}: anchors of {stack.lines} x {stack.pixels}, but {images.path} has images of "
                f"{images.lines} x {images.pixels}; cut or zoom one of them"
            )
        poses = Poses.from_headers(stack.headers()[:: stack.sections] if stack.is_volumes else stack.headers())
        if stack.is_volumes:
            if stack.sections != stack.lines:
                raise MismatchError(f"{stack.path}: volumes of {stack.sections} sections, {stack.lines} lines; cubes are needed")
            ref3d = poses.ref3d.astype(np.int64)
            if not ref3d.any():
                ref3d = np.arange(1, len(ref3d) + 1)
            volumes = [stack.read_volumes(i, i + 1)[0] for i in range(stack.objects)]
            fold = poses.fold.astype(np.int64)
        else:
            if len(poses) > 1 and not (poses.alpha.any() or poses.beta.any() or poses.gamma.any()):
                raise InputError(f"{stack.path}: anchors without Euler angles in their headers; make them with im4d forward")
            volumes, ref3d, fold = _sections(stack, poses, r_max, symmetry)
        folds, seed = int(poses.folds.max(initial=0)), int(poses.foldseed.max(initial=0))
        if not fold.any():
            folds = 0
        return prepare_references(
            volumes, ref3d, fold, r_max, mask_radius=mask_radius, same_spectrum=same_spectrum, threads=threads
        ), folds, seed  # fmt: skip


def _sections(
    stack: Stack, poses: Poses, r_max: int, symmetry: str
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], NDArray[np.int64]]:
    """Insert anchor projections as central sections, one 3D per anchor set.

    Where a trial section crosses the section of an anchor lies their common line, so the score of the trial section is the mean
    sinogram correlation over the anchors (algorithms 1.5).
    """
    from imagic4d_core.geometry.symmetry import rotations

    number = np.where(poses.ref3d > 0, poses.ref3d, 1)
    keys = sorted({(int(k), int(f)) for k, f in zip(number, poses.fold, strict=True)})
    which = np.array([keys.index((int(k), int(f))) for k, f in zip(number, poses.fold, strict=True)])
    spread = float(stack.read(0, min(stack.n_images, 64)).std())
    if not spread > 0:
        raise InputError(f"{stack.path}: anchors are constant")
    sums = Accumulator(len(keys), stack.lines, r_max + 1, amplitude=spread, symmetry=rotations(symmetry))
    for a in range(0, stack.n_images, 512):
        b = min(a + 512, stack.n_images)
        spectra = fourier.centred_rfftn(stack.read(a, b), 2).astype(np.complex64)
        sums.insert(spectra, poses.matrices()[a:b], which[a:b], shifts=poses.shift[a:b])
    volumes = [sums.finalise(sums.num[s], sums.den[s]) for s in range(len(keys))]
    return volumes, np.array([k for k, _ in keys]), np.array([f for _, f in keys])


def _merge(old: Candidates | None, new: Candidates, share: float) -> Candidates:
    """Candidates over several parts of the directions: the better pose, and pooled mean and mean square.

    `share` is the part's share of all directions.
    """
    if share == 1:
        return new
    new.sd = (new.sd**2 + new.mean**2) * share
    new.mean *= share
    if old is None:
        return new
    better = new.noisy > old.noisy
    for name in ("score", "noisy", "matrix", "shift"):
        a, b = getattr(old, name), getattr(new, name)
        a[better] = b[better]
    old.mean += new.mean
    old.sd += new.sd
    return old


def _gather(
    comm: Comm, per_block: list[tuple[NDArray[np.int64], Candidates]], n: int, k: int
) -> tuple[Candidates, NDArray[np.int64]]:
    """Candidates of all images on every rank, and which images took part. A few numbers for each image travel, no data."""
    names = ("score", "noisy", "matrix", "shift", "mean", "sd", "error")
    everything = Candidates.empty(n, k)
    for part in comm.allgather([(i, {f: getattr(c, f) for f in names}, c.samples) for i, c in per_block]):
        for index, values, samples in part:
            for name in names:
                getattr(everything, name)[index] = values[name]
            everything.samples = samples
    index = np.flatnonzero(np.isfinite(everything.score).any(1))
    return everything, index


def _levels(
    found: Candidates, index: NDArray[np.int64], score: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centre and scale of each 3D's scores at mismatched directions, and the unit of each image's margins."""
    k = found.score.shape[1]
    mean, sd = found.mean[index], found.sd[index]
    unit = np.zeros(len(found.score))
    unit[index] = np.sqrt((sd**2).mean(1) + mean.var(1))
    if score == "ccc" or not len(index):
        pooled = float(np.sqrt((sd**2).mean())) if len(index) else 1.0
        return np.full(k, float(mean.mean()) if len(index) else 0.0), np.full(k, pooled or 1.0), unit
    scale = np.sqrt((sd**2).mean(0))
    return mean.mean(0), np.where(scale > 0, scale, 1.0), unit


def _take(
    before: Poses, found: Candidates, verdict: Verdict, index: NDArray[np.int64], numbers: NDArray[np.int64],
    fold: NDArray[np.int32], folds: int, seed: int,
) -> Poses:  # fmt: skip
    """Poses after the competition; images that took no part keep what they had."""
    after = before.copy()
    column = verdict.column[index]
    euler = before.copy()
    euler.set_matrices(found.matrix[np.arange(len(found.score)), verdict.column])
    for name in ("alpha", "beta", "gamma"):
        getattr(after, name)[index] = getattr(euler, name)[index]
    after.shift[index] = found.shift[index, column]
    after.ref3d_old[index] = before.ref3d[index]
    after.ref3d[index] = numbers[column]
    second = verdict.second[index]
    after.ref3d2[index] = np.where(second >= 0, numbers[np.maximum(second, 0)], 0)
    after.ccc3d[index] = found.score[index, column]
    after.errar[index] = 1.0 - found.score[index, column]
    for name in ("zscore", "margin", "confidence"):
        getattr(after, name)[index] = getattr(verdict, name)[index]
    after.eulererr[index] = found.error[index, column]
    after.fold[:] = fold
    after.folds[:], after.foldseed[:] = folds, seed
    return after
