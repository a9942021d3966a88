"""Compile every kernel ahead of its first use."""

import os
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import imagic4d_core

PACKAGES = ("kernels", "forward", "recon", "angrec", "align", "msa", "resample")


@dataclass
class WarmupSummary:
    """Seconds by module.

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
        total = f"all kernels ready in {sum(self.seconds.values()):.1f} s"
        return [*(f"{name}: {value:.1f} s" for name, value in self.seconds.items()), total]


def warmup(*, progress: Callable[[int, int], None] | None = None) -> WarmupSummary:
    """Call ``warmup()`` of each module of `PACKAGES` that has one.

    A ``warmup()`` calls kernels, or the algorithms that use them, on tiny arrays of the dtypes in use, so that numba
    compiles and caches them.
    """
    folders = [f"{folder}/{package}" for folder in imagic4d_core.__path__ for package in PACKAGES]
    found = [m for folder in folders for m in pkgutil.iter_modules([folder], f"{os.path.basename(folder)}.")]
    names = [m.name for m in found if not m.name.rpartition(".")[2].startswith("_")]
    summary = WarmupSummary()
    for i, name in enumerate(names):
        start = time.perf_counter()
        module = import_module(f"imagic4d_core.{name}")
        if hasattr(module, "warmup"):
            module.warmup()
            summary.seconds[name] = round(time.perf_counter() - start, 3)
        if progress is not None:
            progress(i + 1, len(names))
    return summary
