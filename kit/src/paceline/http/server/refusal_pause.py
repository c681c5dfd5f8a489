"""Connections that are refused again and again are not read for a moment.

A client that ignores ``Retry-After`` and is back within microseconds would take the time of those
that are served, for a refusal costs the kernel as much as an answer does. Its bytes wait in its
socket meanwhile. One timer for all: what is added while it runs is read again when it ends, so a
pause is at most that long. Rejected: to delay the refusal itself, which takes time from a client
that could ask another server.
"""

import asyncio
from typing import Final, Protocol

_PAUSE: Final = 0.02
TOO_SOON: Final = 0.05
"""Seconds between two refusals of a connection, of which the second one pauses it."""


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
        self._paused: list[Reading] = []

    def add(self, reading: Reading) -> None:
        """Do not read this connection for a moment."""
        if reading.read_paused:
            return
        if not self._paused:
            asyncio.get_running_loop().call_later(_PAUSE, self._resume)
        reading.pause_reading()
        self._paused.append(reading)

    def _resume(self) -> None:
        paused, self._paused = self._paused, []
        for reading in paused:
            reading.resume_reading()
