"""Correct images for the contrast transfer function of the microscope."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.ctf.parameters import DONE, WORDS, CtfParameters, correction, done
from imagic4d_core.ctf.transfer import apply_ctf
from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.io.locations import Locations
from imagic4d_core.io.stack import open_stack
from imagic4d_core.io.star import read_particles
from imagic4d_core.io.words import own_words
from imagic4d_core.jobs.images.operating import Operated, operate
from imagic4d_core.parallel import SERIAL, Comm


def ctf_correct(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    correct: str = "phase-flip",
    star: str | os.PathLike | None = None,
    noise_to_signal: float = 0.1,
    amplitude_contrast: float = 0.1,
    set_voltage: float | None = None,
    set_cs: float | None = None,
    again: bool = False,
    pixel_size: float | None = None,
    loc: Locations | None = None,
    overwrite: bool = False,
    comm: Comm = SERIAL,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Operated:
    """Flip phases, divide by the CTF after Wiener, or multiply by the CTF.

    Parameters
    ----------
    src, dst : path
        Images with defocus (words 25 to 27), voltage (101) and spherical aberration (102) in their headers.
    correct : {"phase-flip", "wiener", "multiply"}
    star : path, optional
        STAR file of RELION with the CTF of each image: rows that name the input's file, or as many rows as images.
    noise_to_signal : float
        Of the Wiener filter.
    amplitude_contrast : float
    set_voltage, set_cs : float, optional
        kV and mm, in place of words 101 and 102.
    again : bool
        Correct images that were corrected before (word 93) once more.
    pixel_size : float, optional
        Angstrom, in place of the file's.

    Raises
    ------
    UsageError, InputError, MismatchError, OutputError
    """
    check_word("correction", correct, DONE)
    if not noise_to_signal > 0:
        raise UsageError(f"noise to signal {noise_to_signal:g}: it must be above 0, or zeros of the CTF divide by nothing")
    with open_stack(src, loc, what="images") as stack:
        if stack.layout.is_volumes:
            raise MismatchError(f"{stack.path}: holds volumes; images are needed")
        path, size = stack.path, pixel_size or stack.pixel_size
        if not size:
            raise InputError(f"{path}: no pixel size is known, and the CTF needs one; give --pixel-size")
        found = _from_star(star, stack.path, stack.layout.n_images, stack.index) if star is not None else {}
        headers = stack.headers()
        CtfParameters.words(headers, found)
        before = np.flatnonzero(done(headers) > 0)
        if len(before) and not again:
            raise InputError(
                f"{path}: image {before[0] + 1} is corrected for the CTF already (word 93); take it as it was, or give --again"
            )
        # every image is looked at before the first is written
        CtfParameters.from_headers(headers, path, amplitude=amplitude_contrast, voltage_kv=set_voltage, cs_mm=set_cs)

    def operation(data: NDArray, records: NDArray, start: int) -> NDArray:
        h = records[:, 0].copy()
        CtfParameters.words(h, {name: values[start : start + len(h)] for name, values in found.items()})
        p = CtfParameters.from_headers(h, path, start=start, amplitude=amplitude_contrast, voltage_kv=set_voltage, cs_mm=set_cs)
        out = apply_ctf(data, correction(p.transfer(data.shape[1:], size), correct, noise_to_signal))
        own_words(h)
        h["DEFOCUS1"], h["DEFOCUS2"], h["DEFANGLE"] = p.defocus1, p.defocus2, p.axis
        h["VOLTAGE"], h["SPABERR"], h["CTFDONE"] = 1e3 * p.voltage_kv, p.cs_mm, DONE[correct]
        records[:, 0] = h
        return out

    what = {"phase-flip": "phases flipped", "wiener": "Wiener-filtered by the CTF", "multiply": "multiplied by the CTF"}[correct]
    done_ = operate(
        src, dst, operation, what=what, unit="images", loc=loc, overwrite=overwrite, comm=comm, threads=threads, progress=progress
    )
    first, second = headers["DEFOCUS1"].astype(float), headers["DEFOCUS2"].astype(float)
    mean = (first + np.where(second == 0, first, second)) / 2
    done_.values["underfocus"] = f"{mean.min():.0f} to {mean.max():.0f} angstrom"
    return done_


def _from_star(star: str | os.PathLike, src: Path, count: int, index: NDArray[np.intp] | None) -> dict[str, NDArray[np.float64]]:
    """Words of the selected images from a STAR file (InputError, MismatchError)."""
    listed = read_particles(star)
    words = {name: values for name, values in listed.metadata.words.items() if name in WORDS}
    if "DEFOCUS1" not in words:
        raise InputError(f"{star}: has no column _rlnDefocusU; a particle STAR file with the CTF is needed")
    mine = [k for k, name in enumerate(listed.files) if Path(name).stem == src.stem]
    if mine and (listed.file == mine[0]).any():
        rows = np.flatnonzero(listed.file == mine[0])
        place = np.full(count, -1)
        inside = listed.image[rows] < count
        place[listed.image[rows[inside]]] = rows[inside]
    elif len(listed) == count:
        place = np.arange(count)
    else:
        raise MismatchError(
            f"{star}: lists {len(listed)} images, none of them in {src.name}, which has {count}; rows for these images are needed"
        )
    place = place if index is None else place[index]
    lost = np.flatnonzero(place < 0)
    if len(lost):
        number = lost[0] if index is None else index[lost[0]]
        raise MismatchError(f"{star}: says nothing of image {number + 1} of {src.name}; a row for every image is needed")
    return {name: np.asarray(values, np.float64)[place] for name, values in words.items()}
