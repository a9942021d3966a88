"""Naive twin of `msa.ward`: the nearest pair of all, one merge at a time."""

import itertools


def _height(a, na, b, nb):
    return na * nb / (na + nb) * sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def greedy_ward(points):
    """Merges ``(i, j, added variance)``: leaves are 0 to n - 1, merge k makes n + k; ties by smaller, then larger number."""
    live = {i: (list(map(float, p)), 1) for i, p in enumerate(points)}
    out = []
    number = len(live)
    while len(live) > 1:
        d, i, j = min((_height(*live[i], *live[j]), i, j) for i, j in itertools.combinations(sorted(live), 2))
        (a, na), (b, nb) = live.pop(i), live.pop(j)
        live[number] = ([(na * x + nb * y) / (na + nb) for x, y in zip(a, b, strict=True)], na + nb)
        number += 1
        out.append((i, j, d))
    return out


def intra(points, labels):
    """Sum of squared distances from the class centres."""
    total = 0.0
    for k in set(labels):
        mine = [p for p, c in zip(points, labels, strict=True) if c == k]
        centre = [sum(x) / len(mine) for x in zip(*mine, strict=True)]
        total += sum(_height(p, 1, centre, 1e30) for p in mine)
    return total
