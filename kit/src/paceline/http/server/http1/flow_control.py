"""Back-pressure in both directions: reading that is paused, and writing that waits."""

import asyncio
from typing import Final

HIGH_WATER: Final = 64 * 1024
"""Bytes of a request's body that wait in memory before reading is paused."""


class FlowControl:
    """Pauses and resumes the reading of one transport, and lets its writers wait."""

    __slots__ = ("_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.read_paused: bool = False
        self.write_paused: bool = False
        self._transport = transport
        self._writable: asyncio.Event | None = None

    def pause_reading(self) -> None:
        """Let the client's bytes wait in the kernel; may be repeated."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again; may be repeated."""
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The transport takes more, or there is nobody to write to: nobody waits any longer."""
        self.write_paused = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def drain(self) -> None:
        """Wait while writing is paused."""
        if self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()
