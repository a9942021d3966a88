"""Compile every kernel ahead of its first use."""

import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from imagic4d_core import kernels


@dataclass
class WarmupSummary:
    """Seconds by kernel module.

    Attributes
    ----------
    seconds : dict of str to float
    """

    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"seconds": self.seconds}

    def lines(self) -> list[str]:
        """For people."""
        total = f"{len(self.seconds)} kernel modules ready in {sum(self.seconds.values()):.1f} s"
        return [*(f"{name}: {value:.1f} s" for name, value in self.seconds.items()), total]


def warmup(*, progress: Callable[[int, int], None] | None = None) -> WarmupSummary:
    """Call ``warmup()`` of each module of `imagic4d_core.kernels` that has one.

    A module's ``warmup()`` calls its kernels on tiny arrays of the dtypes in use, so that numba compiles and caches them.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(kernels.__path__) if not m.name.startswith("_"))
    summary = WarmupSummary()
    for i, name in enumerate(names):
        start = time.perf_counter()
        module = import_module(f"{kernels.__name__}.{name}")
        if hasattr(module, "warmup"):
            module.warmup()
        summary.seconds[name] = round(time.perf_counter() - start, 3)
        if progress is not None:
            progress(i + 1, len(names))
    return summary
