"""The queue and the scheduler behind both kinds of coalescer.

A call adds its item to the queue. A batch is a task that first takes the oldest items of the queue
and then runs one function for all of them; what it has taken is fixed.

Invariants: while items are queued, either ``max_in_flight`` batches are in flight or one is
scheduled, that is, about to take them; and a batch frees its place when its items have their
outcomes, at the latest in its task's done callback, which always runs. So no wake-up is lost. A
batch runs in a context of its own under the latest of its callers' deadlines, and one caller cannot
cancel it for the others. One timer serves the deadlines of all batches, so a batch that ends in
time does not pay for one.

A call that nothing is in flight beside, after a batch that served one call, may run in its caller's
task: without a task, a future and two rounds of the loop it costs a fifth less time. Nobody can
join it, so cancelling the caller cancels nobody else.

Rejected: running every batch in its first caller's task, whose cancellation would be everybody's;
and doing so without looking at the batch before, as calls that come together would then be split.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any, Generic, TypeVar

from paceline.coalesce.observer import BatchStart, Observer
from paceline.coalesce.stats import CoalescerStats
from paceline.concurrency import Deadline, current_deadline, inherit
from paceline.errors import Code, Error, copy_exception

K = TypeVar("K")
V = TypeVar("V")


class Caller(Generic[K, V]):
    """One call: its future, its deadline and the item it waits for."""

    __slots__ = ("called_at", "captured", "deadline", "future", "item")

    def __init__(self, item: "_Item[K, V]", future: "asyncio.Future[V]") -> None:
        self.item: _Item[K, V] = item
        self.future: asyncio.Future[V] = future
        self.deadline: Deadline | None = current_deadline()
        self.captured: object = None
        self.called_at: float = 0.0


class _Item(Generic[K, V]):
    """One key to read or one change to write, and the callers that wait for it."""

    __slots__ = ("batch", "callers", "identity", "key")

    def __init__(self, identity: Hashable, key: K) -> None:
        self.identity: Hashable = identity
        self.key: K = key
        self.callers: list[Caller[K, V]] = []
        self.batch: _Batch[K, V] | None = None  # None while it is queued

    def resolve(self, outcome: V | Exception) -> None:
        """Give every caller the outcome; each gets its own copy of an exception."""
        for number, caller in enumerate(self.callers):
            if caller.future.done():
                continue
            if not isinstance(outcome, Exception):
                caller.future.set_result(outcome)
            else:
                caller.future.set_exception(copy_exception(outcome) if number else outcome)


class _Batch(Generic[K, V]):
    """Items that are processed together; empty while it is scheduled."""

    __slots__ = ("callers", "cut_off", "deadline", "items", "task")
    task: asyncio.Task[Any]  # of a call that runs alone, its caller's

    def __init__(self) -> None:
        self.items: list[_Item[K, V]] = []
        self.cut_off: bool = False  # cancelled by a stop
        self.callers: int = 0  # that still wait
        self.deadline: Deadline | None = None

    def seal(self, items: list[_Item[K, V]]) -> None:
        """Fix its items."""
        self.items = items
        for item in items:
            item.batch = self
            self.callers += len(item.callers)
        self.deadline = self._latest_deadline()

    def _latest_deadline(self) -> Deadline | None:
        """The latest of the callers' deadlines; None if one of them has none."""
        latest: Deadline | None = None
        for item in self.items:
            for caller in item.callers:
                deadline = caller.deadline
                if deadline is None:
                    return None
                if latest is None or deadline.when > latest.when:
                    latest = deadline
        return latest

    def fail(self, exc: Exception) -> None:
        """Resolve with ``exc`` every call that has no outcome yet."""
        for item in self.items:
            item.resolve(copy_exception(exc))

    def clear(self) -> None:
        """Break the reference cycles of items, callers and batch: spares the garbage collector."""
        for item in self.items:
            item.callers.clear()
        self.items.clear()


class Batcher(Generic[K, V]):
    """Queues calls and runs them in batches.

    ``run`` returns one outcome for each key, in order. If it raises, nothing may have taken effect
    unless the error says otherwise; that is why the halves may be run separately when
    ``should_split`` says that one item may have caused the error. ``cut_off`` makes the error for
    callers whose batch was cancelled. ``cancel_unawaited``: cancel a batch when no caller waits for
    it any more.
    """

    def __init__(
        self,
        run: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        cut_off: Callable[[], Error],
        *,
        name: str,
        max_in_flight: int,
        max_batch: int,
        max_waiting: int,
        cancel_unawaited: bool,
        should_split: Callable[[Exception], bool],
        observer: Observer | None,
    ) -> None:
        if max_in_flight < 1 or max_batch < 1 or max_waiting < 1:
            raise ValueError("max_in_flight, max_batch and max_waiting must be at least 1")
        self.name = name
        self._function = run
        self._cut_off = cut_off
        self._max_in_flight = max_in_flight
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._cancel_unawaited = cancel_unawaited
        self._should_split = should_split
        self._observer = observer
        self._queue: dict[Hashable, _Item[K, V]] = {}  # by identity, the oldest first
        self._waiting = 0  # callers of the queue's items
        self._in_flight: set[_Batch[K, V]] = set()  # the scheduled one, too
        self._scheduled: _Batch[K, V] | None = None
        self._last_was_alone = False  # the last batch served one call
        self._timer: asyncio.TimerHandle | None = None  # for the first deadline of those in flight
        self._closed = False
        self._changed = asyncio.Event()
        self._calls = self._refused = self._batches = self._items = self._largest = 0

    @property
    def stats(self) -> CoalescerStats:
        """The counters."""
        return CoalescerStats(
            self._calls,
            self._refused,
            self._batches,
            self._items,
            self._largest,
            self._waiting,
            len(self._in_flight),
        )

    def submit(self, identity: Hashable, key: K) -> Caller[K, V]:
        """Queue a call; it shares the item of a queued call with the same identity.

        Errors: UNAVAILABLE after `close`, RESOURCE_EXHAUSTED when too many calls wait.
        """
        if self._closed:
            raise Error(Code.UNAVAILABLE, f"{self.name} is shutting down")
        if self._waiting >= self._max_waiting:
            self._refused += 1
            raise Error(Code.RESOURCE_EXHAUSTED, f"too many calls wait for {self.name}: try later")
        loop = asyncio.get_running_loop()
        item = self._queue.get(identity)
        if item is None:
            item = self._queue[identity] = _Item(identity, key)
        caller = Caller(item, loop.create_future())
        if self._observer is not None:
            caller.captured, caller.called_at = self._observer.capture(), perf_counter()
        item.callers.append(caller)
        self._waiting += 1
        self._calls += 1
        if self._scheduled is None and len(self._in_flight) < self._max_in_flight:
            self._schedule()
        return caller

    def expects_no_company(self) -> bool:
        """Whether a call that comes now may run by `run_alone`."""
        return self._last_was_alone and not self._in_flight and not self._closed

    async def run_alone(self, key: K) -> V:
        """Run a batch of one call in its caller's task, which must not mind to cancel it.

        Errors: what the function returned or raised for the key; that of ``cut_off``.
        """
        batch: _Batch[K, V] = _Batch()
        task = batch.task = _current_task()
        cancelling = task.cancelling()
        self._in_flight.add(batch)
        self._calls += 1
        self._batches += 1
        self._items += 1
        try:
            if self._observer is None:
                outcomes = await self._function([key])
            else:
                start = BatchStart(self.name, 1, [self._observer.capture()], [0.0])
                with self._observer.batch(start):
                    outcomes = await self._function([key])
        except asyncio.CancelledError as exc:
            # As in asyncio.timeout: the stop's only if nothing else has cancelled the task as well.
            if batch.cut_off and task.uncancel() <= cancelling:
                raise self._cut_off() from exc
            raise
        finally:
            self._in_flight.discard(batch)
            self._schedule_next()
            if self._closed:
                self._changed.set()
        if len(outcomes) != 1:
            raise RuntimeError(f"{self.name}: {len(outcomes)} results for 1 item")
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def withdraw(self, caller: Caller[K, V]) -> bool:
        """Stop waiting. True if its batch has begun, so that the item may take effect or has."""
        item, future = caller.item, caller.future
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            future.exception()  # retrieved here, or asyncio would log that nobody did
        batch = item.batch
        if batch is None:
            if self._queue.get(item.identity) is item:  # else a cancelled drain has failed it
                self._unqueue(item, caller)
            return False
        batch.callers -= 1
        if self._cancel_unawaited and not batch.callers:
            batch.task.cancel()
        return True

    def _unqueue(self, item: _Item[K, V], caller: Caller[K, V]) -> None:
        item.callers.remove(caller)
        self._waiting -= 1
        if not item.callers:
            del self._queue[item.identity]
        self._changed.set()

    def close(self) -> None:
        """Refuse calls from now on."""
        self._closed = True

    def reopen(self) -> None:
        """Accept calls again."""
        self._closed = False

    async def drain(self) -> None:
        """Refuse new calls and wait until all others have their outcome.

        When this is cancelled, the batches in flight are cancelled and the queued calls fail, so
        that no call waits for ever.
        """
        self.close()
        try:
            while self._queue or self._in_flight:
                self._changed.clear()
                await self._changed.wait()
        except BaseException:
            await self._cancel_all()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _cancel_all(self) -> None:
        for item in self._queue.values():
            item.resolve(Error(Code.UNAVAILABLE, f"{self.name} is shutting down"))
        self._queue.clear()
        self._waiting = 0
        for batch in self._in_flight:
            batch.cut_off = True
            batch.task.cancel()
        while self._in_flight:
            self._changed.clear()
            await self._changed.wait()

    def _schedule(self) -> None:
        """Create the next batch, which calls may join until its task begins, a round later."""
        batch: _Batch[K, V] = _Batch()  # not _Batch[K, V](): that costs two microseconds
        self._scheduled = batch
        self._in_flight.add(batch)
        loop = asyncio.get_running_loop()
        batch.task = loop.create_task(self._run(batch), name=self.name, context=Context())
        batch.task.add_done_callback(partial(self._done, batch))

    def _seal(self, batch: _Batch[K, V]) -> None:
        """Move queued items into the batch; schedule another one for what is left."""
        self._scheduled = None
        batch.seal(self._take())
        self._waiting -= batch.callers
        if batch.items:
            self._batches += 1
            self._items += len(batch.items)
            self._largest = max(self._largest, len(batch.items))
            self._last_was_alone = batch.callers == 1
        self._schedule_next()

    def _schedule_next(self) -> None:
        if self._queue and self._scheduled is None and len(self._in_flight) < self._max_in_flight:
            self._schedule()

    def _take(self) -> list[_Item[K, V]]:
        if len(self._queue) <= self._max_batch:
            items = [*self._queue.values()]
            self._queue.clear()
            return items
        oldest = [*islice(self._queue, self._max_batch)]
        return [self._queue.pop(identity) for identity in oldest]

    def _done(self, batch: _Batch[K, V], task: asyncio.Task[None]) -> None:
        self._in_flight.discard(batch)
        if self._scheduled is batch:  # cancelled before it began
            self._scheduled = None
        if task.cancelled():
            batch.fail(self._cut_off())
        elif (failure := task.exception()) is not None:
            batch.fail(failure if isinstance(failure, Exception) else self._cut_off())
        batch.clear()
        self._schedule_next()
        if self._closed:
            self._changed.set()

    async def _run(self, batch: _Batch[K, V]) -> None:
        self._seal(batch)
        if not batch.items:
            pass  # all its callers have withdrawn
        elif batch.deadline is None:
            await self._run_observed(batch)
        else:
            self._set_timer(batch.deadline.when)
            with inherit(batch.deadline):
                await self._run_observed(batch)
        # All have their outcomes: the next batch need not wait for the callback, a round later.
        self._in_flight.discard(batch)
        self._schedule_next()

    async def _run_observed(self, batch: _Batch[K, V]) -> None:
        if self._observer is None:
            await self._process(batch.items)
            return
        with self._observed(batch, self._observer):
            await self._process(batch.items)

    def _observed(self, batch: _Batch[K, V], observer: Observer) -> AbstractContextManager[object]:
        now = perf_counter()
        callers = [caller for item in batch.items for caller in item.callers]
        captured = [caller.captured for caller in callers]
        waited = [now - caller.called_at for caller in callers]
        return observer.batch(BatchStart(self.name, len(batch.items), captured, waited))

    def _set_timer(self, until: float) -> None:
        """Have `_cancel_expired` called at that moment of the loop's time, or before."""
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until, self._cancel_expired)

    def _cancel_expired(self) -> None:
        """Cancel the batches whose deadline is over: all of their callers have timed out."""
        now = asyncio.get_running_loop().time()
        self._timer = None
        for batch in self._in_flight:
            if batch.deadline is not None and batch.deadline.when > now:
                self._set_timer(batch.deadline.when)
            elif batch.deadline is not None:
                batch.task.cancel()

    async def _process(self, items: Sequence[_Item[K, V]]) -> None:
        """Run the function for the items and resolve each; split them where that may help."""
        try:
            outcomes = await self._function([item.key for item in items])
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised in the callers
            if len(items) == 1 or not self._should_split(exc):
                for item in items:
                    item.resolve(copy_exception(exc))
                return
        else:
            if len(outcomes) != len(items):
                # No reason to split: the batch may well have taken effect.
                raise RuntimeError(f"{self.name}: {len(outcomes)} results for {len(items)} items")
            for item, outcome in zip(items, outcomes, strict=True):
                item.resolve(outcome)
            return
        middle = len(items) // 2
        await self._process(items[:middle])
        await self._process(items[middle:])


def _current_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a call needs a task that waits for it")
    return task
