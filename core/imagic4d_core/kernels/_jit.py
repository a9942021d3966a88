"""The only use of numba's compiler."""

from collections.abc import Callable
from typing import Any

import numba

prange = numba.prange


def kernel(func: Callable | None = None, /, **opts: Any) -> Any:
    """Compile a kernel lazily, without the GIL, cached on disk where a cache folder can be written.

    Kernels take scalars, contiguous arrays and output arrays only; wrappers in the algorithm modules check them.
    """
    opts = {"nogil": True, "error_model": "numpy"} | opts

    def wrap(f: Callable) -> Any:
        try:
            return numba.njit(cache=True, **opts)(f)
        except RuntimeError:  # no writable cache folder: compile in each process
            return numba.njit(**opts)(f)

    return wrap(func) if func else wrap
