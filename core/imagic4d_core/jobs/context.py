"""Who works on a job, and what it may replace: one object in place of four parameters."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from imagic4d_core.parallel import SERIAL, Comm

Progress = Callable[[int, int], None]
"""``progress(done, total)``."""


@dataclass(frozen=True)
class Context:
    """How a job is run; nothing here changes its result.

    Attributes
    ----------
    comm : Comm
    threads : int or None
        Of each rank; None: see `parallel.thread_count`.
    overwrite : bool
        Existing outputs may be replaced.
    progress : callable or None
    """

    comm: Comm = SERIAL
    threads: int | None = None
    overwrite: bool = False
    progress: Progress | None = None

    @property
    def parallel(self) -> dict[str, Any]:
        """Keyword arguments ``comm`` and ``threads`` of a job."""
        return {"comm": self.comm, "threads": self.threads}

    def among(self, comm: Comm) -> "Context":
        """The same for other ranks, without a bar."""
        return replace(self, comm=comm, progress=None)
