"""Ambient, named deadlines: everything that waits knows until when, and why it gave up.

Deadlines travel with the task (a context variable), like Go's context, and only ever shorten:
an inner `fail_after` never outlives an outer one. What runs out becomes
``Error(DEADLINE_EXCEEDED)`` with the deadline's name, so the log says which wait it was.
Set by the HTTP timeout middleware, start-up and readiness checks; read by ``paceline.pg``
through `remaining`.
"""

import asyncio
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, TypeAlias

from paceline.errors import Code, Error

# When it strikes, in the loop's time, and the task it strikes.
_Deadline: TypeAlias = tuple[float, asyncio.Task[Any] | None]
_ambient: ContextVar[_Deadline | None] = ContextVar("paceline_deadline", default=None)


def remaining() -> float | None:
    """Seconds until the ambient deadline, at least 0; None when there is none."""
    deadline = _ambient.get()
    if deadline is None:
        return None
    return max(0.0, deadline[0] - asyncio.get_running_loop().time())


class fail_after:  # noqa: N801 - reads as a statement: async with fail_after(2.0, "ready check"):
    """Bound a block: after ``seconds`` it is cancelled and raises ``Error(DEADLINE_EXCEEDED)``.

    Errors: ``Error(DEADLINE_EXCEEDED, "<name> took longer than <seconds>s")``. A cancellation from
    outside stays a cancellation.
    """

    __slots__ = ("_name", "_seconds", "_timeout", "_token")
    _timeout: asyncio.Timeout | None
    _token: Token[_Deadline | None]

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._name = name

    async def __aenter__(self) -> Self:
        when = asyncio.get_running_loop().time() + self._seconds
        task = asyncio.current_task()
        outer = _ambient.get()
        if outer is not None and outer[0] <= when:
            when = outer[0]
            if outer[1] is task:
                # It strikes this very task first, under its own name. Two timers for one moment
                # would cancel twice, and the second cancellation would outlive both blocks.
                self._timeout = None
                self._token = _ambient.set(outer)
                return self
        self._timeout = asyncio.timeout_at(when)
        await self._timeout.__aenter__()
        self._token = _ambient.set((when, task))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _ambient.reset(self._token)
        if self._timeout is None:
            return
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError as timeout:
            message = f"{self._name} took longer than {self._seconds:g}s"
            raise Error(Code.DEADLINE_EXCEEDED, message) from timeout
