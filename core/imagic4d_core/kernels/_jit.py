"""The only use of numba's compiler."""

from collections.abc import Callable
from typing import Any

import numba

#: Floating-point freedoms that sums in vector lanes need; NaN and infinity keep their meaning.
LANES = {"reassoc", "nsz", "contract"}


def kernel(func: Callable | None = None, /, **opts: Any) -> Any:
    """Compile a kernel lazily, without the GIL, cached on disk where a cache folder can be written.

    Kernels take scalars, contiguous arrays and output arrays only; wrappers in the algorithm modules check them.

    With ``fastmath`` the order of operations is the optimiser's choice. A kernel called by kernels is optimised once by itself
    and once more inside its caller, and the process that compiles them runs another copy than one that loads them from the
    cache. So only kernels that no kernel calls may have it; helpers that need it are written into their caller by
    ``inline="always"``.
    """
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"} | opts

    def wrap(f: Callable) -> Any:
        try:
            return numba.njit(cache=True, **settings)(f)
        except RuntimeError:  # no writable cache folder: compile in each process
            return numba.njit(**settings)(f)

    return wrap(func) if func else wrap
