"""Eigen-solvers, sums free of order, and the noise edge."""

import numpy as np
import pytest

from imagic4d_core.io.stack import write_stack
from imagic4d_core.jobs.msa.run import msa_run
from imagic4d_core.msa import eigen, solve
from imagic4d_core.msa.noise import noise_edge
from imagic4d_core.msa.sums import CrossProducts, ExactSum, quantum_for
from imagic4d_core.parallel import SERIAL


def spectrum(values, seed=0):
    """A matrix with these eigenvalues, and its eigenvectors."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return (q * values) @ q.T, q


@pytest.mark.parametrize("kind", ["gap", "decay", "bulk", "multiple"])
def test_lanczos_against_lapack(kind, monkeypatch):
    monkeypatch.setattr(eigen, "WHOLE", 100)
    n = 400
    k = np.arange(1, n + 1.0)
    values = {
        "gap": np.where(k <= 6, 50 / k, 1e-3 / k),
        "decay": 1e3 / k**2,
        "bulk": np.linspace(2, 0.1, n) + np.where(k <= 4, 20 / k, 0),
        "multiple": np.where(k <= 30, 7.0, 1.0 / k),
    }[kind]
    matrix, _ = spectrum(values)
    found = eigen.solve_matrix((matrix + matrix.T) / 2, 20, 10, threads=2)
    assert found.applications > 0
    assert found.values[:20] == pytest.approx(values[:20], rel=1e-5, abs=1e-9 * values[0])
    v = found.vectors
    assert np.abs(v.T @ v - np.eye(20)).max() < 1e-5
    assert np.abs(matrix @ v - v * found.values[:20]).max() < 3e-3 * values[0]
    assert (v[np.argmax(np.abs(v), 0), np.arange(20)] > 0).all()


def test_lanczos_restarts_and_takes_a_start(monkeypatch):
    values = 10 / np.arange(1, 501.0) ** 0.5
    matrix, q = spectrum(values)
    monkeypatch.setattr(eigen, "BASIS", 1)  # the smallest basis there may be
    calls = []

    def apply(v):
        calls.append(v.shape[1])
        return matrix @ v

    found = eigen.lanczos(apply, 500, 8, block=10)
    assert len(calls) > 8 and found.values[:8] == pytest.approx(values[:8], rel=1e-5)
    cold = len(calls)
    calls.clear()
    warm = eigen.lanczos(apply, 500, 8, block=10, start=q[:, :10] + 1e-3)
    assert warm.values[:8] == pytest.approx(values[:8], rel=1e-5) and len(calls) < cold
    assert eigen.lanczos(apply, 500, 8, block=10, most=3).applications == 3


def test_signs():
    v = np.array([[0.6, -0.1, 0.0], [-0.8, 0.2, -1.0]])
    assert np.array_equal(eigen.fix_signs(v.copy()), [[-0.6, -0.1, 0.0], [0.8, 0.2, 1.0]])


def test_exact_sums_do_not_know_the_order():
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((3, 5)).astype(np.float32) * 10.0 ** rng.integers(-3, 3) for _ in range(200)]
    totals = []
    for order in (range(200), reversed(range(200)), rng.permutation(200)):
        total = ExactSum((3, 5), quantum_for(1e5))
        for k in order:
            total.add(parts[k])
        totals.append(total.over(SERIAL))
        assert total.held(totals[-1])
    assert np.array_equal(totals[0], totals[1]) and np.array_equal(totals[0], totals[2])
    assert totals[0] == pytest.approx(np.sum(parts, axis=0, dtype=np.float64), abs=1e-6)
    small = ExactSum((1, 1), quantum_for(1.0))
    small.add(np.full((1, 1), 3000.0))
    assert not small.held(small.over(SERIAL))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_by_numpy_do_what_the_compiled_loops_do(dtype, monkeypatch):
    from imagic4d_core.kernels import rows as compiled
    from imagic4d_core.msa import rows as plain

    monkeypatch.setattr(plain, "STRIP", 100)  # several strips, the last one short
    assert plain.loops_for(plain.MANY) is compiled and plain.loops_for(plain.MANY - 1) is plain
    rng = np.random.default_rng(4)
    flat = (rng.standard_normal((37, 50)) * 10.0 ** rng.integers(-3, 3, (37, 1))).astype(np.float32)
    index = np.sort(rng.permutation(50)[:33])
    factor, weight = rng.uniform(0.5, 2, (2, 37)).astype(np.float32)
    centre, scale = rng.uniform(0.5, 2, (2, 33)).astype(np.float32)
    made = []
    for loops in (compiled, plain):
        out, sums, again, energy, columns = np.empty((37, 33), np.float32), *np.empty((2, 37, 2)), np.empty(37), np.empty((2, 33))
        loops.gather_rows(flat, index, out, sums)
        loops.row_sums(out, again)
        assert np.array_equal(out, flat[:, index])
        loops.centre_rows(out, factor, centre, scale, weight, energy)
        loops.column_sums(out, weight, columns)
        total = np.ones((40, 35))
        loops.add_rounded(total[1:38, 2:], out.astype(dtype), 1.5 * 2.0**52 * 2.0**-30)
        made.append((sums, again, out, energy, columns, total))
    for a, b in zip(*made, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-6, atol=1e-6 * np.abs(a).max())
    rounded = [np.zeros((37, 33)) for _ in range(2)]
    for loops, total in zip((compiled, plain), rounded, strict=True):
        loops.add_rounded(total, made[0][2].astype(dtype), 1.5 * 2.0**52 * 2.0**-30)
    assert rounded[0].tobytes() == rounded[1].tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_by_numpy_show_what_is_not_finite(value):
    from imagic4d_core.msa import rows as plain

    data = np.ones((4, 6), np.float32)
    data[2, 1] = value
    sums = np.empty((4, 2))
    plain.row_sums(data, sums)
    assert np.isfinite(sums[:, 1]).tolist() == [True, True, False, True]


@pytest.mark.parametrize("size", [5, 1024, 1100])
def test_cross_products(size):
    rng = np.random.default_rng(2)
    t = rng.standard_normal((60, size))
    total = CrossProducts(size, quantum_for(100.0))
    for part in (t[:25], t[25:]):
        total.add(part)
    found = total.over(SERIAL)
    assert np.array_equal(found, found.T)
    assert np.abs(found - t.T @ t).max() < 1e-8


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("n", "p"), [(1200, 300), (200, 900)])
@pytest.mark.parametrize("signals", [0, 5])
def test_noise_edge(n, p, signals, colour):
    right = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n, p))
        if colour:
            x *= np.linspace(0.2, 2, p)
        x += 3 * (1 + np.sqrt(p / n)) ** 0.5 * rng.standard_normal((n, signals)) @ spectrum(np.ones(p), seed)[1][:signals]
        x -= x.mean(0)
        values = np.linalg.svd(x, compute_uv=False) ** 2 / n
        edge = noise_edge(values[:60], values.sum(), n, p)
        assert abs(edge.factors - signals) <= 1 and not edge.open
        right += edge.factors == signals
    assert right >= 3


def test_noise_edge_says_when_there_is_no_tail():
    values = np.array([50.0, 20.0, 9.0, 1.0])
    edge = noise_edge(values, values.sum() + 300, 500, 300)
    assert edge.open and edge.factors == 3


@pytest.mark.parametrize("metric", ["euclidean", "modulation"])
def test_float32_products_are_close_enough_or_made_again(tmp_path, monkeypatch, metric):
    """Eigenvalues to 1e-5 of LAPACK's where products are float32, also where the last ones are tiny."""
    from oracle.msa import msa

    rng = np.random.default_rng(3)
    patterns = rng.standard_normal((30, 256))
    x = rng.standard_normal((3000, 30)) * 0.6 ** np.arange(30) @ patterns + 4.0
    noisy = x + 1.5 * rng.standard_normal(x.shape)
    x += 1e-4 * rng.standard_normal(x.shape)
    monkeypatch.setattr(solve, "SMALL", 0.0)
    passes = []
    for name, data in (("clean", x), ("noisy", noisy)):
        data = data.astype(np.float32)
        write_stack(tmp_path / name, data.reshape(-1, 16, 16))
        done = msa_run(tmp_path / name, tmp_path / f"{name}_root", eigenimages=20, metric=metric, solver="covariance")
        assert done.document["eigenvalues"] == pytest.approx(msa(data, metric, 20)[0], rel=1e-5)
        passes.append(done.document["passes"])
    assert passes == [2, 1]
