"""Messages on stderr: one handler, set up when a command starts (`logging` costs start-up time, so not before)."""

import logging
import sys

from imagic4d_cli.report import visible

log = logging.getLogger("im4d")


class _Formatter(logging.Formatter):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"im4d: {self.where}{level}{visible(record.getMessage())}"
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def set_up(verbosity: int, rank: int, size: int) -> None:
    """Warnings and worse by default; each ``-v`` shows more, each ``-q`` less; ranks above 0 show warnings at most.

    Parameters
    ----------
    verbosity : int
        Number of ``-v`` less number of ``-q``.
    rank, size : int
        Printed as ``[rank/size]`` when there are several.
    """
    level = logging.WARNING - 10 * verbosity
    if rank > 0:
        level = max(level, logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"[{rank}/{size}] " if size > 1 else ""))
    for logger in (log, logging.getLogger("imagic4d_core")):
        logger.handlers[:] = [handler]
        logger.setLevel(max(level, logging.DEBUG))
        logger.propagate = False
