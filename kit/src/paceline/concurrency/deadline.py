"""Deadlines that travel with the task, and errors that say what was under way when time was up.

As with Go's ``context.WithTimeout``, code deep inside reads the deadline of the request it works
for (`remaining`) without a parameter for it; unlike there, the deadline is ambient: a context
variable, which the tasks that are started inside inherit. Invariant: deadlines only ever shorten;
an inner one never outlives an outer one.

An expired deadline cancels its block, which then raises `DeadlineExceeded`. The message names the
operation that was under way, and who set the deadline: "reading records exceeded the 0.2s set by
the client (Request-Timeout)". An operation names itself by `name_timeout` while the cancellation
passes through it, so naming costs nothing as long as nothing expires.

`fail_after` bounds one block; `SharedDeadline` bounds many blocks of equal length with one timer; a
task with a context of its own takes a deadline over by `inherit`.
"""

import asyncio
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from paceline.errors import Code, Error

# Seconds: event loops round timers to milliseconds, so a timer may fire a little early.
_TIMER_RESOLUTION: Final = 0.001


class DeadlineExceeded(Error):
    """A deadline expired.

    ``client_imposed``: the client asked for less time than the service allows, so that the timeout
    is no sign of a fault in the service. ``operation``: what was under way, if it named itself.
    """

    def __init__(
        self, message: str, *, client_imposed: bool = False, operation: str | None = None
    ) -> None:
        super().__init__(Code.DEADLINE_EXCEEDED, message)
        self.client_imposed = client_imposed
        self.operation = operation


@dataclass(frozen=True, slots=True)
class DeadlineSpec:
    """How many seconds, for what, and who set it: "the service (APP_REQUEST_TIMEOUT)"."""

    seconds: float
    name: str
    set_by: str | None = None
    client_imposed: bool = False

    def message(self, operation: str | None) -> str:
        """The error's text when the deadline expired while ``operation`` was under way."""
        length = f"{round(self.seconds, 3):g}s"
        if operation is None:
            limit = length if self.set_by is None else f"the {length} set by {self.set_by}"
            return f"{self.name} took longer than {limit}"
        limit = f"limit of {self.name}" if self.set_by is None else f"set by {self.set_by}"
        return f"{operation} exceeded the {length} {limit}"


class Deadline:
    """A moment in the loop's time (``when``) and the ``task`` that is cancelled then.

    ``operation``: what was under way when it expired, once `name_timeout` has said so.
    """

    __slots__ = ("operation", "spec", "task", "when")

    def __init__(self, when: float, task: "asyncio.Task[Any] | None", spec: DeadlineSpec) -> None:
        self.when: float = when
        self.task: asyncio.Task[Any] | None = task
        self.spec: DeadlineSpec = spec
        self.operation: str | None = None

    def error(self) -> DeadlineExceeded:
        """The error for a deadline that has expired."""
        return DeadlineExceeded(
            self.spec.message(self.operation),
            client_imposed=self.spec.client_imposed,
            operation=self.operation,
        )

    def is_over(self) -> bool:
        """Whether its time has come."""
        return self.when <= asyncio.get_running_loop().time() + _TIMER_RESOLUTION


_current: ContextVar[Deadline | None] = ContextVar("paceline_deadline", default=None)


def remaining() -> float | None:
    """Seconds until the current deadline, at least 0; None without a deadline."""
    deadline = _current.get()
    if deadline is None:
        return None
    return max(0.0, deadline.when - asyncio.get_running_loop().time())


def current_deadline() -> Deadline | None:
    """The current deadline, to hand it to a task with a context of its own; see `inherit`."""
    return _current.get()


class inherit:  # noqa: N801 - reads as a statement: with inherit(deadline):
    """Make another task's ``deadline`` the current one for this block; it sets no timer.

    For a task in a context of its own, which its owner cancels when the deadline expires.
    Rejected: starting the task in a context that holds the deadline already. The context would
    hold the deadline, and it the task, and the task its context: a cycle for the garbage collector.
    """

    __slots__ = ("_deadline", "_token")
    _token: Token[Deadline | None]

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        theirs = self._deadline
        own = Deadline(theirs.when, asyncio.current_task(), theirs.spec)
        self._token = _current.set(own)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)


def expired() -> bool:
    """Whether the current deadline is over and cancels this very task.

    For code that replaces the cancellation by an error which says more: an `Error` that is raised
    instead passes through the block of the deadline unchanged.
    """
    deadline = _current.get()
    return deadline is not None and deadline.task is asyncio.current_task() and deadline.is_over()


def name_timeout(operation: str, *, instead: bool = False) -> None:
    """Name what a cancellation interrupts, for the error of the deadline that caused it.

        try:
            return await connection.fetch(query)
        except asyncio.CancelledError:
            name_timeout("a database query")
            raise

    Without effect unless the current deadline is over. The first name, the innermost one, stays;
    ``instead``: this one counts, since what is inside is a detail of it.
    """
    deadline = _current.get()
    if deadline is None or not (instead or deadline.operation is None):
        return
    if deadline.is_over():
        deadline.operation = operation


def timeout_message(operation: str) -> str | None:
    """The text of the error for ``operation``, if the current deadline is over; None otherwise."""
    deadline = _current.get()
    if deadline is None or not deadline.is_over():
        return None
    return deadline.spec.message(operation)


class fail_after:  # noqa: N801 - reads as a statement: async with fail_after(2.0, "ready check"):
    """Cancel the block after ``seconds`` and raise `DeadlineExceeded`, as trio's ``fail_after``.

        async with fail_after(2.0, "the ready check"):
            await pool.ping()

    Errors: `DeadlineExceeded`: "the ready check took longer than 2s", or, when an operation has
    named itself, "a database query exceeded the 2s limit of the ready check". A cancellation from
    outside stays a cancellation.
    """

    __slots__ = ("_deadline", "_spec", "_timeout", "_token")
    _timeout: asyncio.Timeout | None
    _deadline: Deadline
    _token: Token[Deadline | None]

    def __init__(self, seconds: float, name: str) -> None:
        self._spec = DeadlineSpec(seconds, name)

    async def __aenter__(self) -> Self:
        when = asyncio.get_running_loop().time() + self._spec.seconds
        task = asyncio.current_task()
        outer = _current.get()
        spec = self._spec
        if outer is not None and outer.when <= when:
            if outer.task is task:
                # The outer one cancels this very task first, and names the error. Two timers for
                # one moment would cancel it twice, and the second cancellation would outlive both
                # blocks.
                self._timeout = None
                self._token = _current.set(outer)
                return self
            when, spec = outer.when, outer.spec
        self._timeout = asyncio.timeout_at(when)
        await self._timeout.__aenter__()
        self._deadline = Deadline(when, task, spec)
        self._token = _current.set(self._deadline)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        if self._timeout is None:
            return
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError as timeout:
            deadline = self._deadline
            if deadline.spec is not self._spec and deadline.operation is None:
                deadline.operation = self._spec.name
            raise deadline.error() from timeout


class SharedDeadline:
    """`fail_after` for many blocks of equal length, with one timer for all of them.

        requests = SharedDeadline(15.0, "the request", set_by="the service (APP_REQUEST_TIMEOUT)")
        with requests.scope():
            await handle(request)

    Blocks begin in the order in which they would expire, so only the oldest needs a timer, and a
    block that ends in time costs two dictionary operations. For any task of one event loop at a
    time. ``seconds`` is the length; ``name`` and ``set_by`` are for the error.

    Errors, of each block: `DeadlineExceeded`, as for `fail_after`.
    """

    def __init__(self, seconds: float, name: str, *, set_by: str | None = None) -> None:
        self.spec: DeadlineSpec = DeadlineSpec(seconds, name, set_by)
        self._scopes: dict[DeadlineScope, None] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def scope(self) -> "DeadlineScope":
        """One block; its time begins when it is entered."""
        return DeadlineScope(self)

    def shorter_scope(self, seconds: float, set_by: str) -> "DeadlineScope":
        """One block of at most ``seconds``, which the client asked for; never a longer one."""
        spec = self.spec
        if seconds >= spec.seconds:
            return self.scope()
        own = DeadlineSpec(seconds, spec.name, set_by, client_imposed=True)
        return DeadlineScope(_OwnTimer(own))

    def add(self, scope: "DeadlineScope", loop: asyncio.AbstractEventLoop) -> float:
        """Begin to time ``scope``; returns the moment at which it expires."""
        when = loop.time() + self.spec.seconds
        self._scopes[scope] = None
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_at(when, self._cancel_expired)
        return when

    def remove(self, scope: "DeadlineScope") -> None:
        """Time ``scope`` no longer. The timer stays: most likely the next block needs it."""
        self._scopes.pop(scope, None)

    def _cancel_expired(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._scopes:
            oldest = next(iter(self._scopes))
            if oldest.when > loop.time():
                self._timer = loop.call_at(oldest.when, self._cancel_expired)
                return
            del self._scopes[oldest]
            oldest.cancel()


class _OwnTimer:
    """The timer of one block with a length of its own."""

    def __init__(self, spec: DeadlineSpec) -> None:
        self.spec = spec
        self._timer: asyncio.TimerHandle | None = None

    def add(self, scope: "DeadlineScope", loop: asyncio.AbstractEventLoop) -> float:
        when = loop.time() + self.spec.seconds
        self._timer = loop.call_at(when, scope.cancel)
        return when

    def remove(self, scope: "DeadlineScope") -> None:
        del scope
        if self._timer is not None:
            self._timer.cancel()


class _Timer(Protocol):
    """What cancels a scope when its time is up."""

    spec: DeadlineSpec

    def add(self, scope: "DeadlineScope", loop: asyncio.AbstractEventLoop) -> float:
        """Begin to time it; returns the moment at which it expires."""
        ...

    def remove(self, scope: "DeadlineScope") -> None:
        """Time it no longer."""
        ...


class DeadlineScope(Deadline):
    """A ``with`` block under a deadline; made by `SharedDeadline`."""

    __slots__ = ("_cancelled", "_cancelling", "_outer", "_timer", "_token")
    _token: Token[Deadline | None]
    _outer: Deadline | None

    def __init__(self, timer: _Timer) -> None:
        self._timer = timer
        self._cancelled = False
        self.spec: DeadlineSpec = timer.spec
        self.operation: str | None = None
        self.when: float = 0.0

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task that it can cancel")
        self.task: asyncio.Task[Any] | None = task
        self._cancelling = task.cancelling()
        self.when = self._timer.add(self, loop)
        outer = self._outer = _current.get()
        sooner = outer is not None and outer.when <= self.when
        self._token = _current.set(outer if sooner else self)
        return self

    def disable(self) -> None:
        """Let the block go on without a deadline: what was to be bounded is done."""
        if not self._cancelled:
            self._timer.remove(self)
            _current.set(self._outer)

    def cancel(self) -> None:
        """Cancel the block's task: its time is up."""
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        self._timer.remove(self)
        if not self._cancelled or self.task is None:
            return
        # As in asyncio.timeout: ours only if nothing else has cancelled the task as well.
        ours = self.task.uncancel() <= self._cancelling
        if ours and exc_type is asyncio.CancelledError:
            raise self.error() from exc
