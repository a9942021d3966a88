"""The compiler door works where no cache folder can be written."""

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
