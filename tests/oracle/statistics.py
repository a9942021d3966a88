"""Naive twin of `io.statistics`: one density at a time, exact sums."""

import math


def statistics(image):
    """(mean, variance, minimum, maximum) of the densities of one image."""
    values = [abs(complex(v)) if image.dtype.kind == "c" else float(v) for v in image.ravel()]
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values), min(values), max(values)
