"""Ambient, named deadlines: everything that waits knows until when, and why it gave up.

Deadlines travel with the task (a context variable), like Go's context, and only ever shorten: an
inner one never outlives an outer one. What runs out becomes ``Error(DEADLINE_EXCEEDED)``, which
names the operation that was caught (it says `name_timeout` on its way out, so naming costs nothing
while all goes well) and whose deadline it was. Set at the edges (HTTP's timeout, gRPC's deadline,
the consumer), at start-up and by checks; what waits for a server reads `remaining`; a task with a
context of its own, such as a coalescer's trip, gets one by `inherit`.
"""

import asyncio
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from paceline.errors import Code, Error

# Seconds: event loops round timers to milliseconds, so a deadline may strike a little early.
_TIMERS_ROUND: Final = 0.001


class DeadlineExceeded(Error):
    """A deadline struck. ``hurried``: its caller allowed so little, so it may be nobody's fault."""

    def __init__(self, message: str, *, client_imposed: bool = False) -> None:
        super().__init__(Code.DEADLINE_EXCEEDED, message)
        self.client_imposed = client_imposed


@dataclass(frozen=True, slots=True)
class DeadlineSpec:
    """How long, for what, and who said so: ``by`` is read after "the 2s that"."""

    seconds: float
    name: str
    by: str | None = None
    client_imposed: bool = False

    def broken(self, operation: str | None) -> str:
        """The words for a deadline that ran out while ``operation`` was under way."""
        length = f"{round(self.seconds, 3):g}s"
        whose = f"of {self.name}" if self.by is None else f"that {self.by}"
        if operation is not None:
            return f"{operation} ran out of the {length} {whose}"
        return (
            f"{self.name} took longer than {length if self.by is None else f'the {length} {whose}'}"
        )


class Deadline:
    """When it strikes, in the loop's time, whom, on which terms; and whom it caught at what."""

    __slots__ = ("caught", "task", "terms", "when")

    def __init__(self, when: float, task: "asyncio.Task[Any] | None", terms: DeadlineSpec) -> None:
        self.when: float = when
        self.task: asyncio.Task[Any] | None = task
        self.terms: DeadlineSpec = terms
        self.caught: str | None = None

    def expired(self) -> DeadlineExceeded:
        """The error of what ran out."""
        return DeadlineExceeded(
            self.terms.broken(self.caught), client_imposed=self.terms.client_imposed
        )


_ambient: ContextVar[Deadline | None] = ContextVar("paceline_deadline", default=None)


def remaining() -> float | None:
    """Seconds until the ambient deadline, at least 0; None when there is none."""
    deadline = _ambient.get()
    if deadline is None:
        return None
    return max(0.0, deadline.when - asyncio.get_running_loop().time())


def ambient() -> Deadline | None:
    """The ambient deadline, for whoever hands work to a task with a context of its own."""
    return _ambient.get()


class inherit:  # noqa: N801 - reads as a statement: with adopted(deadline):
    """Make ``deadline`` the ambient one of the current task, too, for this block.

    For a task that begins, in a context of its own, and whose owner cancels it at that moment. A
    block, since a task whose context held on to its own deadline, and so to the task, would be
    left to the garbage collector.
    """

    __slots__ = ("_deadline", "_token")
    _token: Token[Deadline | None]

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        given = self._deadline
        own = Deadline(given.when, asyncio.current_task(), given.terms)
        self._token = _ambient.set(own)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _ambient.reset(self._token)


def _is_over(deadline: Deadline) -> bool:
    return deadline.when <= asyncio.get_running_loop().time() + _TIMERS_ROUND


def expired() -> bool:
    """Whether the ambient deadline is over and cancels this very task: who is told, not killed.

    For whoever must say more about a cancellation than that time ran out: an `Error` raised in
    its place passes the block that set the deadline.
    """
    deadline = _ambient.get()
    return deadline is not None and deadline.task is asyncio.current_task() and _is_over(deadline)


def name_timeout(operation: str) -> None:
    """Say, when cancelled, what was under way: the error of the deadline that struck names it.

    Nothing happens when it was not the ambient deadline that struck. The innermost, which says so
    first, is the one that is named.
    """
    deadline = _ambient.get()
    if deadline is not None and deadline.caught is None and _is_over(deadline):
        deadline.caught = operation


def timeout_message(operation: str) -> str | None:
    """The words for ``operation``, when the ambient deadline is over; None while it is not."""
    deadline = _ambient.get()
    if deadline is None or not _is_over(deadline):
        return None
    return deadline.terms.broken(operation)


class fail_after:  # noqa: N801 - reads as a statement: async with fail_after(2.0, "ready check"):
    """Bound a block: after ``seconds`` it is cancelled and raises ``Error(DEADLINE_EXCEEDED)``.

    Errors: ``Error(DEADLINE_EXCEEDED)``: "<name> took longer than <seconds>s", or "<operation> ran
    out of the <seconds>s of <name>" when one has said so. A cancellation from outside stays a
    cancellation.
    """

    __slots__ = ("_deadline", "_terms", "_timeout", "_token")
    _timeout: asyncio.Timeout | None
    _deadline: Deadline
    _token: Token[Deadline | None]

    def __init__(self, seconds: float, name: str) -> None:
        self._terms = DeadlineSpec(seconds, name)

    async def __aenter__(self) -> Self:
        when = asyncio.get_running_loop().time() + self._terms.seconds
        task = asyncio.current_task()
        outer = _ambient.get()
        terms = self._terms
        if outer is not None and outer.when <= when:
            if outer.task is task:
                # It strikes this very task first, under its own name. Two timers for one moment
                # would cancel twice, and the second cancellation would outlive both blocks.
                self._timeout = None
                self._token = _ambient.set(outer)
                return self
            when, terms = outer.when, outer.terms
        self._timeout = asyncio.timeout_at(when)
        await self._timeout.__aenter__()
        self._deadline = Deadline(when, task, terms)
        self._token = _ambient.set(self._deadline)
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
            deadline = self._deadline
            if deadline.terms is not self._terms and deadline.caught is None:
                deadline.caught = self._terms.name
            raise deadline.expired() from timeout


class SharedDeadline:
    """`fail_after` for many blocks of one length: they share one timer.

    Blocks begin in the order in which they would run out, so only the oldest needs a timer, and a
    block that ends in time costs two dictionary operations. ``with deadline.block():`` may be used
    in any task of one event loop at a time. ``by``: who sets it, to be read after "the 2s that".
    Errors: as for `fail_after`.
    """

    def __init__(self, seconds: float, name: str, *, by: str | None = None) -> None:
        self.terms: DeadlineSpec = DeadlineSpec(seconds, name, by)
        self._blocks: dict[Block, None] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def block(self) -> "Block":
        """One block, beginning when it is entered."""
        return Block(self)

    def shorter(self, seconds: float, by: str) -> "Block":
        """One block of a length of its own, if that is less: for a caller in a hurry."""
        terms = self.terms
        if seconds >= terms.seconds:
            return self.block()
        return Block(_Alone(DeadlineSpec(seconds, terms.name, by, client_imposed=True)))

    def begin(self, block: "Block", loop: asyncio.AbstractEventLoop) -> float:
        """Count ``block`` in; gives the moment at which it runs out."""
        when = loop.time() + self.terms.seconds
        self._blocks[block] = None
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_at(when, self._strike)
        return when

    def end(self, block: "Block") -> None:
        """Count ``block`` out. The timer stays: most likely the next block needs it."""
        self._blocks.pop(block, None)

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


class _Alone:
    """The timer of one block that has a length of its own."""

    def __init__(self, terms: DeadlineSpec) -> None:
        self.terms = terms
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, block: "Block", loop: asyncio.AbstractEventLoop) -> float:
        when = loop.time() + self.terms.seconds
        self._timer = loop.call_at(when, block.cancel)
        return when

    def end(self, block: "Block") -> None:
        del block
        if self._timer is not None:
            self._timer.cancel()


class _Timing(Protocol):
    """Who strikes a block."""

    terms: DeadlineSpec

    def begin(self, block: "Block", loop: asyncio.AbstractEventLoop) -> float:
        """Count it in; gives the moment at which it runs out."""
        ...

    def end(self, block: "Block") -> None:
        """Count it out."""
        ...


class Block(Deadline):
    """``with`` a deadline; made by `SharedDeadline`."""

    __slots__ = ("_cancelling", "_outer", "_struck", "_timing", "_token")
    task: asyncio.Task[Any]
    _token: Token[Deadline | None]
    _outer: Deadline | None

    def __init__(self, timing: _Timing) -> None:
        self._timing = timing
        self._struck = False
        self.terms: DeadlineSpec = timing.terms
        self.caught: str | None = None
        self.when: float = 0.0

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can cancel")
        self.task = task
        self._cancelling = task.cancelling()
        self.when = self._timing.begin(self, loop)
        outer = self._outer = _ambient.get()
        sooner = outer is not None and outer.when <= self.when
        self._token = _ambient.set(outer if sooner else self)
        return self

    def lift(self) -> None:
        """Let the block go on for as long as it takes: what it was to bound is done."""
        if not self._struck:
            self._timing.end(self)
            _ambient.set(self._outer)

    def cancel(self) -> None:
        """Strike."""
        self._struck = True
        self.task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _ambient.reset(self._token)
        self._timing.end(self)
        if not self._struck:
            return
        # As in asyncio.timeout: ours only if nobody else cancelled the task, too.
        ours = self.task.uncancel() <= self._cancelling
        if ours and exc_type is asyncio.CancelledError:
            raise self.expired() from exc
