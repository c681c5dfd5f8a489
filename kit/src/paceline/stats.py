"""Figures that a part of a service has: for its metrics, and for the admin port's state.

A part names its figures; what becomes of them (names of metrics, types, labels) is a table of
``paceline.metrics``, which no part needs to know. Nothing is copied as it happens: a scrape reads.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class StatsEntry:
    """The figures of one thing, called ``name`` among those of its ``group``.

    ``read`` gives a dataclass of numbers, or None when there are none now. ``query`` asks another
    server for them, within a time limit, before each scrape. One of the two is given.
    """

    group: str
    name: str
    read: Callable[[], object] | None = None
    query: Callable[[], Awaitable[object]] | None = None


@runtime_checkable
class HasStats(Protocol):
    """A part with figures."""

    def stats_entries(self) -> Iterable[StatsEntry]:
        """All of them; the same ones whenever it is called."""
        ...
