"""The progress bar, on terminals only: rich is imported with this module, not before."""

import threading

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Callable ``bar(done, total)`` for jobs; a new total starts the bar again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rich = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._rich.add_task("im4d", total=None)
        self._started = False

    def __call__(self, done: int, total: int) -> None:
        with self._lock:
            if not self._started:
                self._rich.start()
                self._started = True
            self._rich.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._started:
                self._rich.stop()
