"""The levels, in the order of their weight, and which of them count at the moment.

One `Threshold` belongs to an output and so to every logger on it, however bound or prepared: an
operator raises the detail of a running process and lowers it again (``admin``), and nobody has to
be told. It is one number to compare. Rejected: a class of logger for each level, whose methods were
empty below it; that saved 20 ns, and the level was for ever. Read by ``logger`` and ``output``.
"""

from collections.abc import Callable
from typing import Final, Literal

Level = Literal["debug", "info", "warning", "error"]

WEIGHT: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Threshold:
    """``least``: the weight from which records count."""

    __slots__ = ("_followers", "least", "level")

    def __init__(self) -> None:
        self.level: Level = "debug"
        self.least: int = WEIGHT["debug"]
        self._followers: list[Callable[[Level], None]] = []

    def change(self, level: Level) -> None:
        """Let ``level`` and what is worse through from now on, and tell those who follow."""
        self.level = level
        self.least = WEIGHT[level]
        for follow in self._followers:
            follow(level)

    def follow(self, follow: Callable[[Level], None]) -> None:
        """Tell ``follow`` of every change: another system's filter, which goes along."""
        self._followers.append(follow)
