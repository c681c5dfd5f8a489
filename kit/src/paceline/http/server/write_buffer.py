"""Responses that are written together, at the end of the event loop's round.

A write to a socket wakes its reader, on this machine or through the network card, and that costs
more than the write: a batch's answers written one by one, between the handlers that make them, wake
their clients one by one. So the first write of a round waits for its end, and then all are written
in a row. Only the first one: a response of several parts is written directly, so that back-pressure
holds. Flush a connection before closing it.

A response beside which no other is being made has nothing to wait for: it is sent at once
(`WriteBuffer.is_empty`, `send_now`), before its request is logged and measured.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

_LARGE: Final = 64 * 1024


class WriteBuffer:
    """What waits for the end of the round, for one event loop."""

    __slots__ = ("_callbacks", "_context", "_waiting")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self._waiting: dict[asyncio.Transport, bytes] = {}
        self._context = Context()  # not that of whichever request writes first

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and not self._callbacks

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write ``data`` at the end of the round; at once if it is large or not the first."""
        waiting = self._waiting
        if transport in waiting or len(data) > _LARGE:
            self.flush(transport)
            transport.write(data)
            return
        if not waiting and not self._callbacks:
            self._schedule()
        waiting[transport] = data

    def at_end_of_round(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, which writes what a connection has collected, among the writes."""
        if not self._callbacks and not self._waiting:
            self._schedule()
        self._callbacks.append(callback)

    def flush(self, transport: asyncio.Transport) -> None:
        """Write what waits for this connection now."""
        data = self._waiting.pop(transport, None)
        if data is not None and not transport.is_closing():
            transport.write(data)

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush_all, context=self._context)

    def _flush_all(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        waiting, self._waiting = self._waiting, {}
        for transport, data in waiting.items():
            if not transport.is_closing():
                transport.write(data)
