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
from typing import Any, Final, Self, TypeAlias

from paceline.errors import Code, Error

# When it strikes, in the loop's time, and the task it strikes.
_Deadline: TypeAlias = tuple[float, asyncio.Task[Any] | None]
# Seconds: event loops round timers to milliseconds, so a deadline may strike a little early.
_TIMERS_ROUND: Final = 0.001
_ambient: ContextVar[_Deadline | None] = ContextVar("paceline_deadline", default=None)


def remaining() -> float | None:
    """Seconds until the ambient deadline, at least 0; None when there is none."""
    deadline = _ambient.get()
    if deadline is None:
        return None
    return max(0.0, deadline[0] - asyncio.get_running_loop().time())


def moment() -> float | None:
    """The ambient deadline in the event loop's time; None when there is none."""
    deadline = _ambient.get()
    return None if deadline is None else deadline[0]


def adopt(when: float) -> None:
    """Make ``when``, in the event loop's time, the ambient deadline of the current task.

    For a task that begins, in a context of its own, and whose owner cancels it at that moment.
    """
    _ambient.set((when, asyncio.current_task()))


def struck() -> bool:
    """Whether the ambient deadline is over and cancels this very task: who is told, not killed.

    For whoever must say more about a cancellation than that time ran out: an `Error` raised in
    its place passes the block that set the deadline.
    """
    deadline = _ambient.get()
    return (
        deadline is not None
        and deadline[1] is asyncio.current_task()
        and deadline[0] <= asyncio.get_running_loop().time() + _TIMERS_ROUND
    )


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


class CommonDeadline:
    """`fail_after` for many blocks of one length: they share one timer.

    Blocks begin in the order in which they would run out, so only the oldest needs a timer, and a
    block that ends in time costs two dictionary operations. ``with deadline.block():`` may be used
    in any task of one event loop at a time. Errors: as for `fail_after`.
    """

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._name = name
        self._blocks: dict[_Block, None] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def block(self) -> "_Block":
        """One block, beginning when it is entered."""
        return _Block(self)

    def begin(self, block: "_Block", loop: asyncio.AbstractEventLoop) -> float:
        """Count ``block`` in; gives the moment at which it runs out."""
        when = loop.time() + self._seconds
        self._blocks[block] = None
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_at(when, self._strike)
        return when

    def end(self, block: "_Block") -> None:
        """Count ``block`` out. The timer stays: most likely the next block needs it."""
        self._blocks.pop(block, None)

    def expired(self) -> Error:
        """The error of a block that ran out."""
        message = f"{self._name} took longer than {self._seconds:g}s"
        return Error(Code.DEADLINE_EXCEEDED, message)

    def _strike(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._blocks:
            oldest = next(iter(self._blocks))
            if oldest.when > loop.time():
                self._timer = loop.call_at(oldest.when, self._strike)
                return
            del self._blocks[oldest]
            oldest.cancel()


class _Block:
    __slots__ = ("_cancelling", "_common", "_outer", "_struck", "_task", "_token", "when")
    _task: asyncio.Task[Any]
    _token: Token[_Deadline | None]
    _outer: _Deadline | None

    def __init__(self, common: CommonDeadline) -> None:
        self._common = common
        self._struck = False
        self.when = 0.0

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can cancel")
        self._task = task
        self._cancelling = task.cancelling()
        self.when = self._common.begin(self, loop)
        outer = self._outer = _ambient.get()
        sooner = outer is not None and outer[0] <= self.when
        self._token = _ambient.set(outer if sooner else (self.when, task))
        return self

    def lift(self) -> None:
        """Let the block go on for as long as it takes: what it was to bound is done."""
        if not self._struck:
            self._common.end(self)
            _ambient.set(self._outer)

    def cancel(self) -> None:
        """Strike."""
        self._struck = True
        self._task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _ambient.reset(self._token)
        self._common.end(self)
        if not self._struck:
            return
        # As in asyncio.timeout: ours only if nobody else cancelled the task, too.
        ours = self._task.uncancel() <= self._cancelling
        if ours and exc_type is asyncio.CancelledError:
            raise self._common.expired() from exc
