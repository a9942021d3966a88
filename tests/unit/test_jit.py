"""The compiler door works where no cache folder can be written; compiled and cached code give the same bits."""

import os
import subprocess
import sys
import textwrap

CODE = """
    import numba.core.caching as caching
    def nowhere(*args, **kwargs):
        raise RuntimeError("cannot cache function: no locator available for file")
    caching.FunctionCache.__init__ = nowhere
    from imagic4d_core.kernels._jit import kernel

    @kernel
    def twice(x):
        return 2 * x

    @kernel(fastmath=True)
    def thrice(x):
        return 3 * x

    print(twice(2), thrice(2.0))
"""


def test_without_a_cache_folder():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE)], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "4 6.0"


SAME = """
    import hashlib
    import numpy as np
    from imagic4d_core.kernels import align, local

    rng = np.random.default_rng(5)
    k = np.arange(-8, 9)
    points = np.array([(x, y) for x in k for y in range(9) if 0 < x * x + y * y < 64], float)

    def spectrum(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    n, m = 100, 48
    images = spectrum(n, len(points))
    angle, shift, out = rng.uniform(0, 6, n), rng.normal(size=(n, 2)), np.empty((n, 5))
    which, limits, room = rng.integers(0, 2, n), np.array([0.1, 1.0, 6.0, 0.0]), np.array([9.0, 9.0])
    flat, start = spectrum(2, m, m // 2 + 1), np.zeros((n, 2))
    align.refine_moves(images, points, flat, which, 2.0, 24, angle, shift, limits, start, room, out)
    found = [angle, shift, out]
    mats, shift, out = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0], rng.normal(size=(n, 2)), np.empty((n, 5))
    limits, cube = np.array([0.2, 2.0, 6.0, 9.0]), spectrum(2, m, m, m // 2 + 1)
    local.refine_poses(images, points, np.ones((1, len(points)), np.float32), cube, which, 2.0, 24, mats, shift, limits, out)
    found += [mats, shift, out]
    print(sum(align.refine_moves.stats.cache_hits.values()), *(hashlib.sha1(a.tobytes()).hexdigest() for a in found))
"""


def test_the_process_that_compiles_gets_the_bits_of_the_cache(tmp_path):
    env = dict(os.environ) | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", textwrap.dedent(SAME)], capture_output=True, text=True, timeout=300, env=env)
        for _ in range(2)
    ]
    assert [r.returncode for r in runs] == [0, 0], runs[0].stderr
    (compiled, *first), (loaded, *second) = (r.stdout.split() for r in runs)
    assert (compiled, loaded) == ("0", "1")
    assert first == second
