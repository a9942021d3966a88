"""Naive twins of `scores`: every pair of images, every matching of 3Ds."""

import itertools


def rand_index_by_pairs(a, b):
    """Adjusted Rand index from the four kinds of pairs (Hubert & Arabie 1985)."""
    both = only_a = only_b = neither = 0
    for i, j in itertools.combinations(range(len(a)), 2):
        in_a, in_b = a[i] == a[j], b[i] == b[j]
        both += in_a and in_b
        only_a += in_a and not in_b
        only_b += in_b and not in_a
        neither += not in_a and not in_b
    below = (both + only_a) * (only_a + neither) + (both + only_b) * (only_b + neither)
    return 1.0 if below == 0 else 2.0 * (both * neither - only_a * only_b) / below


def best_accuracy(estimated, true):
    """Share of images in the right 3D under the best one-to-one matching, by trying all; 0 is unassigned."""
    mine = sorted(set(estimated) - {0})
    theirs = sorted(set(true))
    blanks = [None] * len(mine)
    best = 0
    for chosen in itertools.permutations(theirs + blanks, len(mine)):
        partner = dict(zip(mine, chosen, strict=True))
        best = max(best, sum(e != 0 and partner[e] == t for e, t in zip(estimated, true, strict=True)))
    return best / len(true)
