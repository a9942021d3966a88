"""Naive twins of moving elements and of class averages."""


def _d2(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def centre(rows):
    return [sum(x) / len(rows) for x in zip(*rows, strict=True)]


def within(points, labels):
    """Sum of squared distances from class centres."""
    total = 0.0
    for k in set(labels) - {-1}:
        mine = [p for p, c in zip(points, labels, strict=True) if c == k]
        c = centre(mine)
        total += sum(_d2(p, c) for p in mine)
    return total


def wishes(points, labels):
    """For every image the class where it adds less variance than where it is, or None; judged by the centres as they are."""
    centres = {k: centre([p for p, c in zip(points, labels, strict=True) if c == k]) for k in set(labels)}
    sizes = {k: labels.count(k) for k in centres}
    out = []
    for p, a in zip(points, labels, strict=True):
        if sizes[a] < 2:
            out.append(None)
            continue
        here = sizes[a] / (sizes[a] - 1) * _d2(p, centres[a])
        cost, b = min((sizes[k] / (sizes[k] + 1) * _d2(p, centres[k]), k) for k in centres if k != a)
        out.append(b if cost < here * (1 - 1e-12) else None)
    return out


def class_averages(images, members, ignore_worst=0.0, downweight=False):
    """Average and variance (n - 1) of each class, pixel by pixel; members best first."""
    averages, variances = [], []
    for mine in members:
        used = mine[: max(1, len(mine) - int(ignore_worst / 100 * len(mine)))]
        rows = [images[k].ravel().tolist() for k in used]
        n = len(rows)
        mean = centre(rows)
        variances.append([sum((r[j] - mean[j]) ** 2 for r in rows) / (n - 1) if n > 1 else 0.0 for j in range(len(mean))])
        averages.append([x * ((n - 1) / n if downweight else 1.0) for x in mean])
    return averages, variances
