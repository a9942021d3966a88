"""Density maps from atomic coordinates.

An atom is the sum of five Gaussians of its electron scattering factor (International Tables C, table 4.3.2.2), widened by the
wanted resolution d: the transform is multiplied by ``exp(-d^2 s^2)``, 1/e at s = 1/d, which is a B-factor of 4 d^2 and a
Gaussian of standard deviation 0.225 d. Coordinates X, Y, Z (angstrom) run along pixels (right), against lines (up) and along
sections, so that a map written as MRC lies on its model in other programs.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core import fourier
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.parallel import map_blocks

#: Fine pixels per resolution: at their Nyquist frequency the transform has fallen to exp(-9).
FINE = 6.0
#: What a Gaussian may be when it is cut off, of its height.
LEAST = 1e-7
_SLAB = 8


@dataclass(frozen=True)
class Atoms:
    """Atoms of a structure.

    Attributes
    ----------
    place : ndarray, shape (n, 3), float64
        X, Y, Z in angstrom.
    element : ndarray of str, shape (n,)
    occupancy, b_iso : ndarray, shape (n,), float64
        B in angstrom squared.
    mass : ndarray, shape (n,), float64
        Dalton, times occupancy.
    """

    place: NDArray[np.float64]
    element: NDArray[np.str_]
    occupancy: NDArray[np.float64]
    b_iso: NDArray[np.float64]
    mass: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.place)

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of mass, angstrom, shape (3,)."""
        return np.asarray(self.mass @ self.place / self.mass.sum())


def read_atoms(path: str | os.PathLike) -> Atoms:
    """Read the first model of a PDB or mmCIF file, also compressed (.gz); waters are left out.

    Raises
    ------
    InputError
        Missing, unreadable, or without atoms.
    """
    import gemmi

    if not Path(path).is_file():
        raise InputError(f"{path}: not found; a PDB or mmCIF file is needed")
    try:
        structure = gemmi.read_structure(os.fspath(path))
        structure.setup_entities()
        structure.remove_waters()
        model: Any = structure[0] if len(structure) else []
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: is no PDB or mmCIF file that can be read: {reason}") from error
    rows, names = [], []
    for chain in model:
        for residue in chain:
            for atom in residue:
                rows.append((*atom.pos.tolist(), atom.occ, atom.b_iso, atom.element.weight * atom.occ))
                names.append(atom.element.name)
    table = np.array(rows, np.float64).reshape(-1, 6)
    if not len(table) or not np.isfinite(table).all() or not table[:, 5].sum() > 0:
        raise InputError(f"{path}: holds no atoms with finite coordinates and an occupancy above 0")
    return Atoms(table[:, :3], np.array(names), table[:, 3], table[:, 4], table[:, 5])


def density(
    atoms: Atoms, box: tuple[int, int, int], pixel_size: float, resolution: float, centre: NDArray[np.float64] | None = None, *,
    b_factors: bool = False, threads: int = 1,
) -> NDArray[np.float32]:  # fmt: skip
    """Sample the map of a structure.

    Parameters
    ----------
    atoms : Atoms
    box : tuple of int
        (sections, lines, pixels).
    pixel_size, resolution : float
        Angstrom; the resolution is at least 2 pixels.
    centre : ndarray, shape (3,), optional
        Place (X, Y, Z) that goes to index ``N // 2``; default: the centre of mass.
    b_factors : bool
        Widen each atom by its own B-factor as well.
    threads : int
        The same bytes for any number.

    Returns
    -------
    ndarray, shape (sections, lines, pixels), float32
        Electron scattering length density, angstrom^-2. Where pixels are coarse for the resolution the map is made on a finer
        grid and cut in Fourier space, so that nothing is folded back from beyond Nyquist.

    Raises
    ------
    UsageError
        Resolution below two pixels.
    """
    import gemmi

    from imagic4d_core.kernels.atoms import add_gaussians

    if resolution < 2 * pixel_size * (1 - 1e-9):
        raise UsageError(f"resolution {resolution:g} A is finer than two pixels ({2 * pixel_size:g} A): give a coarser one")
    finer = int(np.ceil(FINE * pixel_size / resolution - 1e-9))
    shape = tuple(n * finer for n in box)
    pixel = pixel_size / finer
    offset = atoms.centre if centre is None else np.asarray(centre, np.float64)
    at = (atoms.place - offset) / pixel
    middle = [n // 2 for n in shape]
    grid = np.zeros(shape)
    b_own = atoms.b_iso if b_factors else np.zeros(len(atoms))
    slabs = [(k, min(shape[0], k + _SLAB)) for k in range(0, shape[0], _SLAB)]
    for name, b in sorted(set(zip(atoms.element.tolist(), b_own.tolist(), strict=True))):
        here = np.flatnonzero((atoms.element == name) & (b_own == b))
        factor = gemmi.Element(name).c4322
        width = np.array(factor.b) + b + 4 * resolution**2  # B of each Gaussian
        heights = np.array(factor.a) * (4 * np.pi / width) ** 1.5
        falls = 4 * np.pi**2 / width * pixel**2
        places = np.column_stack([
            middle[0] + at[here, 2], middle[1] - at[here, 1], middle[2] + at[here, 0], atoms.occupancy[here]
        ])  # fmt: skip
        reach = float(np.sqrt(-np.log(LEAST) / falls.min()))

        def add(span: tuple[int, int], places: NDArray = places, heights: NDArray = heights, falls: NDArray = falls,
                reach: float = reach) -> None:  # fmt: skip
            add_gaussians(grid, places, heights, falls, reach, *span)

        map_blocks(add, slabs, threads)
    if finer == 1:
        return grid.astype(np.float32)
    cut = fourier.crop_rfftn(fourier.centred_rfftn(grid, 3), shape, box)
    return (fourier.centred_irfftn(cut, box) / finer**3).astype(np.float32)
