"""Where the axes of every named setting lie, in the standard axes of other programs (x right, y up)."""

import shutil
import subprocess

import numpy as np
import pytest

from imagic4d_core.errors import UsageError
from imagic4d_core.geometry import symmetry as sym

#: Standard axes from IMAGIC's: x_std = y, y_std = -x.
STANDARD = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
G = (1 + 5**0.5) / 2
R8 = 8**0.5

#: Two axes (direction, fold) that fix each group: of RELION 3.1's operations, EMAN2's tables, ChimeraX's tables.
AXES = {
    "C7": [((0, 0, 1), 7)],
    "D2": [((0, 0, 1), 2), ((1, 0, 0), 2)],
    "D3": [((0, 0, 1), 3), ((1, 0, 0), 2)],
    "D7": [((0, 0, 1), 7), ((1, 0, 0), 2)],
    "D7Y": [((0, 0, 1), 7), ((0, 1, 0), 2)],
    "T": [((0, 0, 1), 3), ((0, -R8, 1), 3)],
    "TZ3": [((0, 0, 1), 3), ((0, R8, 1), 3)],
    "T222": [((0, 0, 1), 2), ((1, 1, 1), 3)],
    "O": [((0, 0, 1), 4), ((1, 1, 1), 3)],
    "I": [((0, 0, 1), 2), ((1, 0, G), 5)],
    "I1": [((0, 0, 1), 2), ((0, 1, G), 5)],
    "I3": [((0, 0, 1), 5), ((2, 0, -1), 5)],
    "I4": [((0, 0, 1), 5), ((2, 0, 1), 5)],
}


def in_standard_axes(name):
    return STANDARD @ sym.rotations(name) @ STANDARD.T


def same(a, b, most=1e-9):
    return len(a) == len(b) and max(np.abs(b - g).max((1, 2)).min() for g in a) < most


@pytest.mark.parametrize("name", AXES)
def test_axes(name):
    ops = in_standard_axes(name)
    for axis, fold in AXES[name]:
        a = np.array(axis) / np.linalg.norm(axis)
        assert (np.abs(ops @ a - a).max(1) < 1e-9).sum() == fold


@pytest.mark.parametrize(("name", "want"), [
    ("d7x", "D7"), ("D7y", "D7Y"), ("D4Y", "D4"), ("i2", "I"), ("icos", "I4"), ("tet", "TZ3"), ("oct", "O"), ("TZ3R", "T"),
    ("I222", "I1"), ("I222r", "I"), ("In25", "I3"), ("In25r", "I4"), (" c3 ", "C3"),
])  # fmt: skip
def test_names(name, want):
    assert sym.canonical(name) == want
    assert sym.rotations(name) is sym.rotations(want)


@pytest.mark.parametrize("name", ["C3X", "C3Y", "D", "I5", "T1", "OY", "TX"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match="not a point group"):
        sym.canonical(name)


def test_eman2():
    """Its tables: a tetrahedron with a face along z, an icosahedron with a 5-fold along z; Z(phi) X(alt) Z(az)."""

    def matrix(az, alt, phi):
        def z(t):
            return np.array([[np.cos(t), np.sin(t), 0], [-np.sin(t), np.cos(t), 0], [0, 0, 1]])

        x = np.array([[1, 0, 0], [0, np.cos(alt), np.sin(alt)], [0, -np.sin(alt), np.cos(alt)]])
        return z(phi) @ x @ z(az)

    def close(*generators):
        found = [np.eye(3)]
        for g in found:
            found += [h @ g for h in generators if not any(np.abs(h @ g - f).max() < 1e-6 for f in found)]
        return np.array(found)

    deg = np.deg2rad
    tet = close(matrix(0, 0, deg(120)), matrix(0, np.arccos(-1 / 3), deg(60)))
    icos = close(matrix(0, 0, deg(72)), matrix(deg(90), np.arctan(2), deg(36 - 90)))
    assert same(in_standard_axes("TZ3"), tet) and same(in_standard_axes("I4"), icos)
    assert same(in_standard_axes("D5"), close(matrix(deg(72), 0, 0), matrix(0, deg(180), 0)))


@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="RELION (relion_refine) is not on this machine")
@pytest.mark.parametrize("name", ["C3", "C7", "D2", "D3", "D5", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_operations_are_relions(name, tmp_path):
    call = ["relion_refine", "--sym", name, "--print_symmetry_ops", "--i", "none", "--o", "none"]
    lines = subprocess.run(call, capture_output=True, text=True, timeout=60, cwd=tmp_path).stdout.splitlines()
    starts = [k for k, line in enumerate(lines) if line.strip().startswith("R(")]
    theirs = np.array([[[float(v) for v in lines[k + row].split()] for row in (1, 2, 3)] for k in starts])
    assert same(in_standard_axes(name), theirs, 1e-4)
