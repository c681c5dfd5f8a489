"""The levels by severity, and the threshold that decides which of them are written.

One `Threshold` belongs to an output, and so to every logger on it, bound or not: the level of a
running process is changed in one place, and checking it is one comparison of numbers. Rejected: a
class of logger for each level, with empty methods below it; that saved 20 ns a call, and the level
could not change.
"""

from collections.abc import Callable
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error"]

SEVERITY: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Threshold:
    """``severity``: the lowest that is written."""

    __slots__ = ("_subscribers", "level", "severity")

    def __init__(self) -> None:
        self.level: Level = "debug"
        self.severity: int = SEVERITY["debug"]
        self._subscribers: list[Callable[[Level], None]] = []

    def set(self, level: Level) -> None:
        """Write records from ``level`` on, and notify the subscribers."""
        self.level = level
        self.severity = SEVERITY[level]
        for subscriber in self._subscribers:
            subscriber(level)

    def subscribe(self, subscriber: Callable[[Level], None]) -> None:
        """Call ``subscriber`` at every change; keeps the filter of another logging system equal."""
        self._subscribers.append(subscriber)
