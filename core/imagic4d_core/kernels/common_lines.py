"""Loops over predicted common lines: sums of sinogram correlations for trial poses."""

import math

import numpy as np

from imagic4d_core.kernels._jit import kernel

#: Sectors of half a turn that count alike, however many common lines fall into each.
SECTORS = 12


@kernel
def _angles(a, b, e, f, n, out):
    """Angles of a common line in both images, in lines of 360 / n degrees, from entries 02, 12, 20, 21 of the relative pose."""
    per = n / (2.0 * math.pi)
    out[0] = math.atan2(a, -b) * per
    out[1] = math.atan2(-e, f) * per


@kernel
def common_lines(pose, mates, turns, n, least, out):
    """Common lines of a pose with known ones and with its own symmetry mates.

    Parameters
    ----------
    pose : float64 (3, 3)
    mates : float64 (q, 3, 3)
        Poses of known images in all symmetric positions.
    turns : float64 (s, 3, 3)
        Rotations of the point group but the identity.
    n : int
        Lines over 360 degrees.
    least : float
        Views closer than this (sine of the angle) have no common line that could be told.
    out : float64 (q + s, 3)
        Angle in the image, angle in the other, both in lines; weight (0: no line), such that each sector of the image's lines
        that holds any has weight 1 in all.

    Returns
    -------
    int
        Sectors that hold a line.
    """
    count = np.zeros(SECTORS, np.int64)
    place = np.empty(out.shape[0], np.int64)
    m = np.empty((3, 3))
    g = np.empty((3, 3))
    for q in range(out.shape[0]):
        own = q >= mates.shape[0]
        for i in range(3):
            for j in range(3):
                g[i, j] = mates[q, i, j] if not own else 0.0
        if own:
            for i in range(3):
                for j in range(3):
                    for k in range(3):
                        g[i, j] += pose[i, k] * turns[q - mates.shape[0], j, k]
        for i in range(3):
            for j in range(3):
                m[i, j] = pose[i, 0] * g[j, 0] + pose[i, 1] * g[j, 1] + pose[i, 2] * g[j, 2]
        out[q, 2] = 0.0
        if m[0, 2] * m[0, 2] + m[1, 2] * m[1, 2] < least * least:
            continue
        _angles(m[0, 2], m[1, 2], m[2, 0], m[2, 1], n, out[q])
        sector = int(math.floor(out[q, 0] * (2.0 * SECTORS / n))) % SECTORS
        count[sector] += 1
        place[q] = sector
        out[q, 2] = 1.0
    for q in range(out.shape[0]):
        if out[q, 2] > 0.0:
            out[q, 2] = 1.0 / count[place[q]]
    return int((count > 0).sum())


@kernel
def scan_directions(tables, own, which, mates, turns, directions, least, chance, out):
    """Mean sinogram correlation of one image with known ones, for all trial directions and in-plane angles.

    The mean is over sectors of the image's lines: an arrangement in which all images share one line is worth one line. Sectors
    without a common line count as `chance`.

    Parameters
    ----------
    tables : float32 (m, n, n)
        Sinogram correlations with ``m`` known images: lines of the known image, lines of this one, ``n`` over 360 degrees.
    own : float32 (n, n)
        Those of the image with itself, for common lines with its own symmetry mates.
    which : int64 (q,)
        Table of each mate.
    mates, turns, least
        See `common_lines`.
    directions : float64 (d, 3, 3)
        Trial poses with in-plane angle 0.
    chance : float
        Mean of the tables.
    out : float32 (d, n)
        Column ``t`` stands for ``alpha = -t * 360 / n`` degrees.
    """
    n = own.shape[0]
    lines = np.empty((mates.shape[0] + turns.shape[0], 3))
    total = np.empty(n, np.float32)
    for d in range(directions.shape[0]):
        filled = common_lines(directions[d], mates, turns, n, least, lines)
        total[:] = (SECTORS - filled) * chance
        for q in range(lines.shape[0]):
            w = np.float32(lines[q, 2])
            if w == 0.0:
                continue
            i, j = int(round(lines[q, 0])) % n, int(round(lines[q, 1])) % n
            if q < mates.shape[0]:
                row = tables[which[q], j]
                for t in range(n - i):
                    total[t] += w * row[i + t]
                for t in range(n - i, n):
                    total[t] += w * row[i + t - n]
            else:  # both angles turn with the image
                for t in range(n):
                    total[t] += w * own[(j + t) % n, (i + t) % n]
        for t in range(n):
            out[d, t] = total[t] / SECTORS


@kernel
def score_poses(tables, own, which, mates, turns, poses, least, chance, out):
    """As `scan_directions` for whole poses (c, 3, 3), with correlations between lines interpolated; out: float64 (c,)."""
    n = own.shape[0]
    lines = np.empty((mates.shape[0] + turns.shape[0], 3))
    for c in range(poses.shape[0]):
        filled = common_lines(poses[c], mates, turns, n, least, lines)
        total = (SECTORS - filled) * chance
        for q in range(lines.shape[0]):
            if lines[q, 2] == 0.0:
                continue
            fx, fy = math.floor(lines[q, 0]), math.floor(lines[q, 1])
            x, y = lines[q, 0] - fx, lines[q, 1] - fy
            i, j = int(fx) % n, int(fy) % n
            i1, j1 = (i + 1) % n, (j + 1) % n
            table = tables[which[q]] if q < mates.shape[0] else own
            value = (1.0 - y) * ((1.0 - x) * table[j, i] + x * table[j, i1]) + y * ((1.0 - x) * table[j1, i] + x * table[j1, i1])
            total += lines[q, 2] * value
        out[c] = total / SECTORS
