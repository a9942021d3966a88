"""Sinogram correlations over predicted common lines, pair by pair."""

import numpy as np

from imagic4d_core.angrec.scf import common_line


def score(lines, image, known, poses, pose, group, sectors, chance):
    """Mean over sectors of the image's lines of the correlation at the nearest lines; lines (n images, n lines over 360, r)."""
    n = lines.shape[1]
    found = [[] for _ in range(sectors)]
    pairs = [(m, poses[k] @ g.T) for k, m in enumerate(known) for g in group]
    pairs += [(image, pose @ g.T) for g in group[1:]]
    for other, mate in pairs:
        r = pose @ mate.T
        if np.hypot(r[0, 2], r[1, 2]) < np.sin(np.deg2rad(8.0)):
            continue
        line = common_line(pose, mate)
        i, j = round(line.first * n / 360) % n, round(line.second * n / 360) % n
        found[int(line.first // (180 / sectors)) % sectors].append(float((lines[image, i] * lines[other, j].conj()).sum().real))
    return np.mean([np.mean(values) if values else chance for values in found])
