"""Loops of Ward's classification: nearest clusters by blocked matrix products, exact heights, lists that outlive merges.

Heights are Ward's added variances ``D = |c_a - c_b|^2 / (1/n_a + 1/n_b)``. Single precision only ever yields lower bounds that
decide what is looked at; every height that is compared or kept is computed by `height` in double precision.
"""

import numpy as np

from imagic4d_core.kernels._jit import kernel

#: Columns tested together before any of them is looked at.
CHUNK = 64
#: Relative slack of comparisons in single precision (a few units in the last place).
SLACK = 2e-6


@kernel
def height(a, b, inverse):
    """Added variance of merging centres `a` and `b` (float64, (d,)); the same bits when they are exchanged.

    ``inverse`` is 1/n_a + 1/n_b.
    """
    total = 0.0
    for k in range(a.shape[0]):
        x = a[k] - b[k]
        total += x * x
    return total / inverse


@kernel
def before(d, i, j, e, k, m):
    """Whether the pair (i, j) of height `d` stands before (k, m) of height `e`: by height, smaller number, larger number."""
    if d != e:
        return d < e
    i0, j0 = min(i, j), max(i, j)
    k0, m0 = min(k, m), max(k, m)
    return i0 < k0 or (i0 == k0 and j0 < m0)


@kernel
def any_below(row, inv, limit, offset):
    """Whether any ``row`` is below ``limit * inv + offset`` (all float32): a loop that the compiler turns into vectors."""
    found = False
    for j in range(row.shape[0]):
        found = found | (row[j] < limit * inv[j] + offset)
    return found


@kernel
def search(query, inv_query, own, blocks, inv_blocks, columns, lows, inv_least, order, top, arg):
    """The columns of smallest lower bound for every query, in ascending order.

    Parameters
    ----------
    query : float32 (m, p)
        Rows ``[-2 c, 1, |c|^2 (1 - eps)]``.
    inv_query : float32 (m,)
        1/n of the queries.
    own : int32 (m,)
        Column that is the query itself, -1 for none.
    blocks : float32 (nb, p, w)
        Columns ``[c, |c|^2 (1 - eps), 1]`` in blocks; the last one is padded.
    inv_blocks : float32 (nb, w)
        1/n of the columns.
    columns : int64
        Columns without the padding.
    lows : float32 (m, nb)
        Lower bounds of the squared distance from a query to any column of a block.
    inv_least : float32 (nb,)
        1/n of the lightest cluster in each block.
    order : int32 (nb,)
        Order in which the blocks are visited.
    top, arg : float32 (m, k), int32 (m, k)
        Output: lower bounds of the heights, ascending, and columns; inf and -1 where there are fewer.

    Returns
    -------
    int
        Pairs that were evaluated.
    """
    m, p = query.shape
    nb, _, width = blocks.shape
    k = top.shape[1]
    tile = np.empty((m, width), np.float32)
    part = np.empty((m, p), np.float32)
    which = np.empty(m, np.int32)
    work = 0
    for v in range(nb):
        b = order[v]
        live = 0
        for i in range(m):
            if not top[i, k - 1] * (inv_query[i] + inv_least[b]) <= lows[i, b]:
                which[live] = i
                live += 1
        if live == 0:
            continue
        work += live * width
        if live == m:
            np.dot(query, blocks[b], tile)
        else:
            for s in range(live):
                part[s] = query[which[s]]
            np.dot(part[:live], blocks[b], tile[:live])
        used = min(width, columns - b * width)
        for s in range(live):
            i = which[s]
            mine = inv_query[i]
            row = tile[s]
            inv = inv_blocks[b]
            start = 0
            while start < used:
                stop = min(used, start + CHUNK)
                limit = top[i, k - 1]
                if any_below(row[start:stop], inv[start:stop], limit, limit * mine):
                    for j in range(start, stop):
                        if row[j] < limit * (mine + inv[j]):
                            col = b * width + j
                            if col != own[i]:
                                d = row[j] / (mine + inv[j])
                                at = k - 1
                                while at > 0 and top[i, at - 1] > d:
                                    top[i, at] = top[i, at - 1]
                                    arg[i, at] = arg[i, at - 1]
                                    at -= 1
                                top[i, at] = d
                                arg[i, at] = col
                                limit = top[i, k - 1]
                start = stop
    return work


@kernel
def refine(query, inv_query, q_number, centres, inv, number, top, arg, heights, bound):
    """Exact heights of the columns that `search` found, and what is known of all others.

    Parameters
    ----------
    query : float64 (m, d)
    inv_query : float64 (m,)
    q_number : int64 (m,)
        Numbers that decide ties.
    centres : float64 (n, d)
    inv : float64 (n,)
    number : int64 (n,)
    top, arg : float32 (m, k), int32 (m, k)
        Of `search`; columns at or above the bound are taken off `arg` (-1), the rest stand first.
    heights : float64 (m, k)
        Output, inf where there is none.
    bound : float64 (m,)
        Output: every column that is not listed has at least this height.
    """
    m, k = top.shape
    for i in range(m):
        last = np.float64(top[i, k - 1])
        bound[i] = last - SLACK * abs(last) if last != np.inf else np.inf
        kept = 0
        for s in range(k):
            col = arg[i, s]
            if col < 0:
                break
            d = height(query[i], centres[col], inv_query[i] + inv[col])
            if d < bound[i]:
                arg[i, kept] = col
                heights[i, kept] = d
                kept += 1
        for s in range(kept, k):
            arg[i, s] = -1
            heights[i, s] = np.inf


@kernel
def search_exact(query, inv_query, q_number, own, centres, inv, number):
    """The one best column of one query, in double precision: for rows where single precision cannot decide.

    Parameters
    ----------
    query : float64 (d,)
    inv_query : float
    q_number, own : int
    centres, inv, number : as in `refine`

    Returns
    -------
    column, height : int, float
        -1 and inf where there is none.
    """
    best, at = np.inf, -1
    for j in range(centres.shape[0]):
        if j == own:
            continue
        d = height(query, centres[j], inv_query + inv[j])
        if at < 0 or before(d, q_number, number[j], best, q_number, number[at]):
            best, at = d, j
    return at, best


@kernel
def first_of(number, arg, heights, best, at):
    """The nearest cluster of every cluster: the entry of its list that stands first by `before`.

    Parameters
    ----------
    number : int64 (n,)
    arg, heights : int32 (n, k), float64 (n, k)
    best, at : float64 (n,), int32 (n,)
        Output; inf and -1 for an empty list.
    """
    n, k = arg.shape
    for i in range(n):
        best[i], at[i] = np.inf, -1
        for s in range(k):
            j = arg[i, s]
            if j < 0:
                break
            if at[i] < 0 or before(heights[i, s], number[i], number[j], best[i], number[i], number[at[i]]):
                best[i], at[i] = heights[i, s], j


@kernel
def relink(into, fresh, centres, inv, arg, heights, bound):
    """Bring the lists of clusters that were not merged up to date after a round of merges.

    An entry that was merged is replaced by the cluster it went into where that is nearer than the bound; otherwise the bound
    covers it (Ward's heights are reducible: a merged cluster is no nearer than the nearer of its two parts).

    Parameters
    ----------
    into : int32 (n,)
        Where each cluster of before the round is now.
    fresh : bool (n,)
        Whether a cluster took part in a merge.
    centres, inv : float64 (n, d), float64 (n,)
        After the round, at the places of before; a merged cluster stands at the place of its first part.
    arg, heights, bound : int32 (n, k), float64 (n, k), float64 (n,)
        In the places of before; changed for clusters that are not fresh.
    """
    n, k = arg.shape
    for i in range(n):
        if fresh[i]:
            continue
        kept = 0
        for s in range(k):
            j = arg[i, s]
            if j < 0:
                break
            d = heights[i, s]
            if fresh[j]:
                j = into[j]
                seen = False
                for t in range(kept):
                    seen |= arg[i, t] == j
                if seen:
                    continue
                d = height(centres[i], centres[j], inv[i] + inv[j])
                if not d < bound[i]:
                    continue
            arg[i, kept] = j
            heights[i, kept] = d
            kept += 1
        for s in range(kept, k):
            arg[i, s] = -1
            heights[i, s] = np.inf


@kernel
def inherit(first, second, merged, sizes, into, fresh, centres, inv, arg, heights, bound):
    """Lists of merged clusters from those of their parts, as far as these reach.

    By the formula of Lance and Williams a cluster c that is in neither list has at least the height
    ``((n_a + n_c) A + (n_b + n_c) B - n_c D_ab) / (n_a + n_b + n_c)``, where A and B are the bounds of the parts; it grows with
    n_c, so n_c = 1 gives the bound of the merged cluster. Places as in `relink`, which must come after.

    Parameters
    ----------
    first, second : int32 (m,)
        The parts; the merged cluster takes the place of the first.
    merged : float64 (m,)
        D_ab.
    sizes : float64 (n,)
        Before the round.
    """
    k = arg.shape[1]
    new_arg = np.empty((first.shape[0], k), np.int32)
    new_heights = np.empty((first.shape[0], k), np.float64)
    for r in range(first.shape[0]):
        a, b = first[r], second[r]
        na, nb = sizes[a], sizes[b]
        limit = ((na + 1.0) * bound[a] + (nb + 1.0) * bound[b] - merged[r]) / (na + nb + 1.0)
        limit *= 1.0 - 1e-12
        kept = 0
        for part in range(2):
            parent = a if part == 0 else b
            for s in range(k):
                j = arg[parent, s]
                if j < 0:
                    break
                j = into[j]
                if j == a:
                    continue
                seen = False
                for t in range(kept):
                    seen |= new_arg[r, t] == j
                if seen:
                    continue
                d = height(centres[a], centres[j], inv[a] + inv[j])
                if not d < limit:
                    continue
                if kept < k:
                    new_arg[r, kept] = j
                    new_heights[r, kept] = d
                    kept += 1
                else:  # the list is full: the farthest goes, and is what the bound says from now on
                    far = 0
                    for t in range(1, k):
                        if new_heights[r, t] > new_heights[r, far]:
                            far = t
                    if d < new_heights[r, far]:
                        limit = new_heights[r, far]
                        new_arg[r, far] = j
                        new_heights[r, far] = d
                    else:
                        limit = d
        # entries at the bound itself are covered by it
        left = 0
        for t in range(kept):
            if new_heights[r, t] < limit:
                new_arg[r, left] = new_arg[r, t]
                new_heights[r, left] = new_heights[r, t]
                left += 1
        for t in range(left, k):
            new_arg[r, t] = -1
            new_heights[r, t] = np.inf
        bound[b] = limit  # the place of the second part is free
    for r in range(first.shape[0]):
        a, b = first[r], second[r]
        for s in range(k):
            arg[a, s] = new_arg[r, s]
            heights[a, s] = new_heights[r, s]
        bound[a] = bound[b]
