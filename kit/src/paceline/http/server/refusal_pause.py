"""Connections that are refused again and again are not read for a moment.

A client that ignores ``Retry-After`` and is back within microseconds would take the time of those
that are served, for a refusal costs the kernel as much as an answer does. Its bytes wait in its
socket meanwhile, for 20 ms at least, and for 100 ms where there are many such clients: so few of
them are read at a time that refusing them takes a small part of a core. Rejected: to delay the
refusal itself, which takes time from a client that could ask another server.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

_INTERVAL: Final = 0.02
_INTERVALS: Final = 5
_AT_ONCE: Final = 40
LONGEST: Final = _INTERVAL * _INTERVALS
"""Seconds that a pause takes at most."""
TOO_SOON: Final = 0.05
"""Seconds after a refusal or a pause within which another refusal pauses the connection."""


class Reading(Protocol):
    """The reading of one connection."""

    read_paused: bool

    def pause_reading(self) -> None:
        """Let the client's bytes wait in the kernel."""
        ...

    def resume_reading(self) -> None:
        """Read again; nothing happens when the connection is closed."""
        ...


class RefusalPause:
    """The connections of one server that are not read."""

    __slots__ = ("_paused",)

    def __init__(self) -> None:
        self._paused: deque[Reading] = deque()

    def add(self, reading: Reading) -> None:
        """Do not read this connection for a moment."""
        if reading.read_paused:
            return
        if not self._paused:
            self._schedule()
        reading.pause_reading()
        self._paused.append(reading)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_later(_INTERVAL, self._resume)

    def _resume(self) -> None:
        paused = self._paused
        for _ in range(min(len(paused), max(_AT_ONCE, len(paused) // _INTERVALS))):
            paused.popleft().resume_reading()
        if paused:
            self._schedule()
