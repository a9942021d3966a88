"""Naive twins of `kernels.search` and `angrec`: full periodic grids, full circles, one sum at a time."""

import numpy as np


def full_spectrum(half):
    """Whole periodic spectrum (z, x, y) of a half one."""
    m = half.shape[0]
    out = np.empty((m, m, m), np.complex128)
    for y in range(m):
        for z in range(m):
            for x in range(m):
                out[z, x, y] = half[z, x, y] if y <= m // 2 else np.conj(half[-z % m, -x % m, m - y])
    return out


def trilinear(full, point):
    """Value of a whole spectrum at a point (x, y, z) in cells."""
    m = full.shape[0]
    low = np.floor(point).astype(int)
    f = point - low
    total = 0j
    for c in np.ndindex(2, 2, 2):
        w = np.prod([f[a] if c[a] else 1 - f[a] for a in range(3)])
        x, y, z = (low + c) % m
        total += w * full[z, x, y]
    return total


def section(full, os, matrix, points):
    """Central section at image frequencies (p, 2)."""
    return np.array([trilinear(full, os * (kx * matrix[0] + ky * matrix[1])) for kx, ky in points])


def circle(half_lines):
    """All lines over 360 degrees from those over 180."""
    return np.concatenate([half_lines, half_lines.conj()])


def turned_product(image, reference, turn):
    """Scalar product over the full circle; line t of the image meets line ``t - turn`` of the reference. Half lines (h, r)."""
    f, g = circle(image), circle(reference)
    return sum(float((f[t] * g[(t - turn) % len(f)].conj()).real.sum()) for t in range(len(f)))


def best_shift(image, reference, turn, ramps):
    """(score, number) of the best of some shifts."""
    scores = [turned_product(image * r, reference, turn) for r in ramps]
    return max(scores), int(np.argmax(scores))


def nudft(image, points):
    """Fourier transform of an image centred at ``n // 2``, at frequencies (p, 2) in Fourier pixels."""
    n = image.shape[0]
    x = np.arange(n) - n // 2
    phase = points[:, 0, None, None] * x[:, None] + points[:, 1, None, None] * x
    return (image * np.exp(-2j * np.pi * phase / n)).sum((1, 2))


def sinogram_correlation(lines, matrix, anchor_lines, anchors, n_alpha, weights):
    """Correlation of an image with all anchors along their common lines.

    Half lines (h, r) of the image seen at `matrix`, of anchors (j, h, r) seen at `anchors` (j, 3, 3); the nearest lines.
    """
    f = circle(lines)
    sums = np.zeros(3)
    for g, a in zip(anchor_lines, anchors, strict=True):
        c = np.cross(matrix[2], a[2])
        if np.linalg.norm(c) < 1e-6:
            continue
        at = [int(np.rint(np.arctan2(*(m @ c)[1::-1]) / (2 * np.pi) * n_alpha)) % n_alpha for m in (matrix, a)]
        u, v = f[at[0]], circle(g)[at[1]]
        sums += [(weights * x).real.sum() for x in (u * v.conj(), abs(u) ** 2, abs(v) ** 2)]
    return float(sums[0] / np.sqrt(sums[1] * sums[2]))


def pose_model(full, os, points, matrix, turn, scale, shift, box):
    """``a S(exp(turn) M) exp(2 pi i k s / box)``: what the unshifted image should be."""
    from imagic4d_core.geometry.euler import matrix_from_rotvec

    s = section(full, os, matrix_from_rotvec(np.asarray(turn, float)) @ matrix, points)
    return scale * s * np.exp(2j * np.pi * (points @ np.asarray(shift, float)) / box)
