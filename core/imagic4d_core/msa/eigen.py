"""Leading eigenvectors of a symmetric positive semi-definite matrix, given as a matrix or by what it does to vectors.

Block Lanczos with full reorthogonalisation in float32, then Rayleigh-Ritz in float64 where the matrix is at hand. A start that
already points along the leading eigenvectors saves applications. Sources: Golub and Van Loan, Matrix Computations, 10.3; Wu and
Simon, SIAM J. Matrix Anal. Appl. 22 (2000) 602 (thick restart).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from imagic4d_core.parallel import map_blocks
from imagic4d_core.rng import rng_for

#: Relative residual |A u - l u| / l below which an eigenvalue counts as converged; its error is of second order in it.
TOLERANCE = 7e-4
#: Matrices up to this size are solved whole.
WHOLE = 1200
#: Lines of the matrix in a product.
STRIP = 1024
#: Floats of the basis (2^28: 1 GiB).
BASIS = 1 << 28


@dataclass
class Eigen:
    """Leading eigenpairs, largest first.

    Attributes
    ----------
    values : ndarray, shape (m,), float64
        At least as many as wanted: those beyond are as good as `residuals` says.
    vectors : ndarray, shape (size, wanted), float64
        Orthonormal columns, largest component positive.
    residuals : ndarray, shape (m,), float64
        Relative to the eigenvalue.
    applications : int
        Blocks of vectors that the matrix was applied to; 0 where it was solved whole.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    residuals: NDArray[np.float64]
    applications: int


def fix_signs(vectors: NDArray) -> NDArray:
    """Columns with their largest component (by absolute value, the first of equals) positive, in place."""
    if vectors.size:
        at = np.argmax(np.abs(vectors), axis=0)
        vectors *= np.where(vectors[at, np.arange(vectors.shape[1])] < 0, -1.0, 1.0).astype(vectors.dtype)
    return vectors


def solve_whole(matrix: NDArray, wanted: int) -> Eigen:
    """All eigenvalues, and the eigenvectors of the `wanted` largest, by LAPACK."""
    values, vectors = scipy.linalg.eigh(matrix)
    vectors = np.ascontiguousarray(vectors[:, ::-1][:, :wanted])
    values = np.maximum(values[::-1], 0.0)
    return Eigen(values, fix_signs(vectors), np.zeros(len(values)), 0)


def solve_matrix(matrix: NDArray[np.float64], wanted: int, spare: int = 0, threads: int = 1) -> Eigen:
    """Leading eigenpairs of a matrix.

    Parameters
    ----------
    matrix : ndarray, shape (P, P), float64
        Symmetric, positive semi-definite.
    wanted : int
    spare : int
        Eigenvalues beyond the wanted ones that are reported where they come for nothing.
    threads : int
        Each takes some lines of the matrix; the result does not depend on how many.

    Returns
    -------
    Eigen
    """
    size = len(matrix)
    if size <= WHOLE or wanted + spare > size // 4:
        return solve_whole(matrix, wanted)
    single = matrix.astype(np.float32)
    strips = [single[k : k + STRIP] for k in range(0, size, STRIP)]

    def apply(v: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate(map_blocks(lambda strip: strip @ v, strips, threads))

    found = lanczos(apply, size, wanted, block=16, spare=spare)
    # float32 rounding of the large eigenvalues must not reach the small ones: refine in the subspace found
    v = found.vectors
    av = matrix @ v
    values, s = scipy.linalg.eigh(v.T @ av, v.T @ v)
    v = v @ s[:, ::-1]
    values = values[::-1]
    residuals = np.linalg.norm(av @ s[:, ::-1] - v * values, axis=0) / np.maximum(values, 1e-300)
    found.values[:wanted] = values
    found.residuals[:wanted] = residuals
    found.vectors = fix_signs(v)
    return found


def lanczos(
    apply: Callable[[NDArray[np.float32]], NDArray], size: int, wanted: int, *, block: int = 16, spare: int = 0,
    tolerance: float = TOLERANCE, most: int = 1000, start: NDArray | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Eigen:  # fmt: skip
    """Block Lanczos with full reorthogonalisation and thick restart.

    Parameters
    ----------
    apply : callable
        ``apply(v)``, v of shape (size, b), float32, gives the matrix times v; each call is a pass over streamed data.
    size, wanted : int
    block : int
        Vectors in a block.
    spare : int
        Further eigenvalues to report.
    tolerance : float
        See `TOLERANCE`.
    most : int
        Most calls of `apply`.
    start : ndarray, shape (size, m), optional
        Vectors to begin with; filled up by random ones.
    progress : callable, optional
        ``progress(calls, worst relative residual)``.

    Returns
    -------
    Eigen
    """
    random = rng_for(0, "msa/krylov").standard_normal((size, block), dtype=np.float32)
    new = random if start is None else np.concatenate([start.astype(np.float32), random], axis=1)[:, : max(block, start.shape[1])]
    new = np.linalg.qr(new)[0].astype(np.float32)
    limit = min(size, max(4 * (wanted + new.shape[1]), BASIS // size))
    basis = np.empty((size, min(limit + new.shape[1], size)), np.float32, order="F")
    t = np.zeros((basis.shape[1],) * 2)
    m = calls = check = 0
    near, norm = 0, 1e-30
    while True:
        b = new.shape[1]
        basis[:, m : m + b] = new
        w = np.asarray(apply(np.ascontiguousarray(new)), dtype=np.float32)
        calls += 1
        norm = max(norm, float(np.sqrt(np.square(w).sum(axis=0).max())))
        # in exact arithmetic only the last two blocks count; the rest is rounding, taken off in the second go
        last = basis[:, near : m + b]
        h = np.zeros((m + b, b), np.float32)
        h[near:] = last.T @ w
        w = w - last @ h[near:]
        have = basis[:, : m + b]
        again = have.T @ w
        w -= have @ again
        t[: m + b, m : m + b] = h + again
        t[m : m + b, : m + b] = t[: m + b, m : m + b].T
        near = m
        m += b
        full = m + b > limit or m >= size
        if m >= min(size, wanted + b) and (m >= check or full or calls >= most):
            few = min(m, wanted + max(spare, b, wanted // 2))
            # good enough to judge by, at half the time; the last one is in double precision
            values, s, residuals = _ritz(t[:m, :m].astype(np.float32), w, few)
            live = values[:wanted] > 1e-6 * values[0]  # rounding of float32 is all there is below
            worst = float(residuals[:wanted][live].max())
            check = m + max(b, m // (12 if worst < 0.03 else 4))
            if progress is not None:
                progress(calls, worst)
            done = worst <= tolerance or calls >= most or m >= size
            if done or full:
                values, s, residuals = _ritz(t[:m, :m], w, few)
            if done:
                break
            if full:  # keep the best of what was found
                keep = min(m - b, few)
                basis[:, :keep] = basis[:, :m] @ s[:, :keep].astype(np.float32)
                t[:] = 0.0
                t[np.arange(keep), np.arange(keep)] = values[:keep]
                m = keep
                near = 0
        new = _next_block(w, basis[:, :m], min(b, size - m), norm)
    count = min(m, wanted + spare)
    vectors = fix_signs((basis[:, :m] @ s[:, :wanted].astype(np.float32)).astype(np.float64))
    return Eigen(np.maximum(values[:count], 0.0).copy(), vectors, residuals[:count], calls)


def _ritz(t: NDArray, w: NDArray, few: int) -> tuple[NDArray, NDArray, NDArray]:
    """Largest `few` Ritz values, their vectors in the basis, and their relative residuals; `w` is what the last block left."""
    m, b = len(t), w.shape[1]
    values, s = scipy.linalg.eigh(t, subset_by_index=(m - few, m - 1))
    values, s = values[::-1], s[:, ::-1]
    r = np.linalg.qr(w, mode="r")
    return values, s, np.linalg.norm(r @ s[m - b : m], axis=0) / np.maximum(values, 1e-300)


def _next_block(w: NDArray[np.float32], basis: NDArray[np.float32], columns: int, norm: float) -> NDArray[np.float32]:
    """Orthonormal columns that span `w`, orthogonal to the basis; random ones where nothing but rounding is left of `w`."""
    q, r = np.linalg.qr(w)
    size = np.abs(np.diagonal(r))
    weak = size <= 3e-6 * norm
    if weak.any():
        q[:, weak] = rng_for(1, "msa/krylov", basis.shape[1]).standard_normal((len(w), int(weak.sum())), dtype=np.float32)
    if (size <= 0.03 * norm).any():  # what rounding has along the basis is no longer small beside the rest
        for _ in range(2):
            q -= basis @ (basis.T @ q)
            q = np.linalg.qr(q)[0]
    return np.ascontiguousarray(q[:, :columns], dtype=np.float32)
