"""Trips: what moves the calls of both kinds of coalescer.

A call takes a place among the waiting; a trip is a task that first takes the waiting aboard, in
order, and nothing joins a trip that has departed. Invariant: while somebody waits, either all lanes
are out or a trip is boarding, and a lane comes back by its task's done callback, which nothing can
skip; so no wake-up is lost. A trip runs in a context of its own, until the latest of its callers'
deadlines (one timer serves them all: a trip that ends in time pays for none), and no caller can
cancel it for another. Rejected: the first caller carrying the batch itself, since its cancellation
would be everybody's. Used by ``read`` and ``write``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Generic, TypeVar

from paceline.coalesce.observe import BatchStart, Observer
from paceline.concurrency import Deadline, ambient, inherit
from paceline.errors import Code, Error, copied

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class CoalescerStats:
    """What a coalescer has done: ``calls`` accepted, ``refused`` at the door, ``trips``, ``items``.

    ``largest`` is the biggest batch so far; ``waiting`` calls and trips ``out`` are of this moment.
    """

    calls: int
    refused: int
    trips: int
    items: int
    largest: int
    waiting: int
    out: int


class Caller(Generic[K, V]):
    """One call: where its answer goes, until when it waits, what it waits for."""

    __slots__ = ("deadline", "future", "item", "mark", "since")

    def __init__(self, item: "_Item[K, V]", future: "asyncio.Future[V]") -> None:
        self.item: _Item[K, V] = item
        self.future: asyncio.Future[V] = future
        self.deadline: Deadline | None = ambient()
        self.mark: object = None
        self.since: float = 0.0


class _Item(Generic[K, V]):
    """One key or one write, and everybody who waits for it."""

    __slots__ = ("callers", "key", "place", "trip")

    def __init__(self, place: Hashable, key: K) -> None:
        self.place: Hashable = place
        self.key: K = key
        self.callers: list[Caller[K, V]] = []
        self.trip: _Batch[K, V] | None = None  # None while it waits

    def answer(self, outcome: V | Exception) -> None:
        """Give every caller the outcome, an exception to each as its own."""
        for number, caller in enumerate(self.callers):
            if caller.future.done():
                continue
            if not isinstance(outcome, Exception):
                caller.future.set_result(outcome)
            else:
                caller.future.set_exception(copied(outcome) if number else outcome)


class _Batch(Generic[K, V]):
    """A batch on its way; empty until it departs."""

    __slots__ = ("aboard", "deadline", "items", "task")
    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.items: list[_Item[K, V]] = []
        self.aboard: int = 0
        self.deadline: Deadline | None = None

    def take(self, items: list[_Item[K, V]]) -> None:
        """Take them aboard."""
        self.items = items
        for item in items:
            item.trip = self
            self.aboard += len(item.callers)
        self.deadline = self._latest()

    def _latest(self) -> Deadline | None:
        """The latest of the callers' deadlines; None if one has none."""
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
        """Answer with ``exc`` whoever has no answer yet."""
        for item in self.items:
            item.answer(copied(exc))

    def dissolve(self) -> None:
        """Undo the rings of items, callers and trip: only the garbage collector could, later."""
        for item in self.items:
            item.callers.clear()
        self.items.clear()


class Batcher(Generic[K, V]):
    """Waiting calls, lanes, and the trips that are out.

    ``carry`` gives one outcome for each key, in order. If it raises, nothing may have taken effect
    unless the error says otherwise: that is what makes it right to carry the halves again when
    ``is_fault_of_one`` says that the error is about one item. ``lost`` makes the error for callers
    whose trip was cut off. ``abandon``: cancel a trip when its last caller has left.
    """

    def __init__(
        self,
        carry: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        lost: Callable[[], Error],
        *,
        name: str,
        lanes: int,
        max_batch: int,
        max_waiting: int,
        abandon: bool,
        is_fault_of_one: Callable[[Exception], bool],
        observer: Observer | None,
    ) -> None:
        if lanes < 1 or max_batch < 1 or max_waiting < 1:
            raise ValueError("lanes, max_batch and max_waiting must be at least 1")
        self.name = name
        self._carry = carry
        self._lost = lost
        self._lanes = lanes
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._abandon = abandon
        self._is_fault_of_one = is_fault_of_one
        self._observer = observer
        self._items: dict[Hashable, _Item[K, V]] = {}  # that wait, the oldest first
        self._waiting = 0  # callers
        self._out: set[_Batch[K, V]] = set()
        self._boarding: _Batch[K, V] | None = None
        self._timer: asyncio.TimerHandle | None = None  # for the first deadline of those out
        self._closed = False
        self._changed = asyncio.Event()
        self._calls = self._refused = self._departed = self._carried = self._largest = 0

    @property
    def stats(self) -> CoalescerStats:
        """The figures."""
        return CoalescerStats(
            self._calls,
            self._refused,
            self._departed,
            self._carried,
            self._largest,
            self._waiting,
            len(self._out),
        )

    def join(self, place: Hashable, key: K) -> Caller[K, V]:
        """Wait for a trip, together with whoever waits in the same place.

        Errors: UNAVAILABLE after `close`, RESOURCE_EXHAUSTED when too many wait.
        """
        if self._closed:
            raise Error(Code.UNAVAILABLE, f"{self.name} is shutting down")
        if self._waiting >= self._max_waiting:
            self._refused += 1
            raise Error(Code.RESOURCE_EXHAUSTED, f"too many calls wait for {self.name}: try later")
        loop = asyncio.get_running_loop()
        item = self._items.get(place)
        if item is None:
            item = self._items[place] = _Item(place, key)
        caller = Caller(item, loop.create_future())
        if self._observer is not None:
            caller.mark, caller.since = self._observer.mark(), perf_counter()
        item.callers.append(caller)
        self._waiting += 1
        self._calls += 1
        if self._boarding is None and len(self._out) < self._lanes:
            self._board()
        return caller

    def leave(self, caller: Caller[K, V]) -> bool:
        """Stop waiting. True when the item has departed, so that it may have or yet take effect."""
        item, future = caller.item, caller.future
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            future.exception()  # nobody else will look at it, and asyncio would complain
        trip = item.trip
        if trip is None:
            if self._items.get(item.place) is item:  # else it was refused at the end
                self._step_back(item, caller)
            return False
        trip.aboard -= 1
        if self._abandon and not trip.aboard:
            trip.task.cancel()
        return True

    def _step_back(self, item: _Item[K, V], caller: Caller[K, V]) -> None:
        item.callers.remove(caller)
        self._waiting -= 1
        if not item.callers:
            del self._items[item.place]
        self._changed.set()

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True

    def reopen(self) -> None:
        """Let callers in again."""
        self._closed = False

    async def drain(self) -> None:
        """Let nobody in and wait until everybody is answered.

        When it is cancelled the trips are cut off and who still waits is told so: nobody hangs.
        """
        self.close()
        try:
            while self._items or self._out:
                self._changed.clear()
                await self._changed.wait()
        except BaseException:
            await self._cut_off()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _cut_off(self) -> None:
        for item in self._items.values():
            item.answer(Error(Code.UNAVAILABLE, f"{self.name} is shutting down"))
        self._items.clear()
        self._waiting = 0
        tasks = [trip.task for trip in self._out]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _board(self) -> None:
        """Begin a trip. Whoever calls before its task begins, in this round, comes along."""
        trip: _Batch[K, V] = _Batch()  # not _Trip[K, V](): that costs two microseconds
        self._boarding = trip
        self._out.add(trip)
        loop = asyncio.get_running_loop()
        trip.task = loop.create_task(self._travel(trip), name=self.name, context=Context())
        trip.task.add_done_callback(partial(self._came_back, trip))

    def _depart(self, trip: _Batch[K, V]) -> None:
        """Take aboard who waits, and let the next lane do so with who is left."""
        self._boarding = None
        trip.take(self._first_items())
        self._waiting -= trip.aboard
        if trip.items:
            self._departed += 1
            self._carried += len(trip.items)
            self._largest = max(self._largest, len(trip.items))
        self._go_on()

    def _go_on(self) -> None:
        if self._items and self._boarding is None and len(self._out) < self._lanes:
            self._board()

    def _first_items(self) -> list[_Item[K, V]]:
        if len(self._items) <= self._max_batch:
            items = [*self._items.values()]
            self._items.clear()
            return items
        places = [*islice(self._items, self._max_batch)]
        return [self._items.pop(place) for place in places]

    def _came_back(self, trip: _Batch[K, V], task: asyncio.Task[None]) -> None:
        self._out.discard(trip)
        if self._boarding is trip:  # cancelled before it began
            self._boarding = None
        if task.cancelled():
            trip.fail(self._lost())
        elif (failure := task.exception()) is not None:
            trip.fail(failure if isinstance(failure, Exception) else self._lost())
        trip.dissolve()
        self._go_on()
        if self._closed:
            self._changed.set()

    async def _travel(self, trip: _Batch[K, V]) -> None:
        self._depart(trip)
        if not trip.items:  # all have left meanwhile
            return
        if trip.deadline is None:
            await self._go(trip)
            return
        self._watch(trip.deadline.when)
        with inherit(trip.deadline):
            await self._go(trip)

    async def _go(self, trip: _Batch[K, V]) -> None:
        if self._observer is None:
            await self._deliver(trip.items)
            return
        with self._observed(trip, self._observer):
            await self._deliver(trip.items)

    def _watch(self, until: float) -> None:
        """See to it that `_strike` is called at that moment, or before."""
        if self._timer is not None:
            if self._timer.when() <= until:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until, self._strike)

    def _strike(self) -> None:
        """Cut off the trips whose time is over: their callers have given up, one and all."""
        now = asyncio.get_running_loop().time()
        self._timer = None
        for trip in self._out:
            if trip.deadline is not None and trip.deadline.when > now:
                self._watch(trip.deadline.when)
            elif trip.deadline is not None:
                trip.task.cancel()

    def _observed(self, trip: _Batch[K, V], observer: Observer) -> AbstractContextManager[object]:
        now = perf_counter()
        callers = [caller for item in trip.items for caller in item.callers]
        marks = [caller.mark for caller in callers]
        waited = [now - caller.since for caller in callers]
        return observer.trip(BatchStart(self.name, len(trip.items), marks, waited))

    async def _deliver(self, items: Sequence[_Item[K, V]]) -> None:
        """Carry the items and answer each; halve them if they fail for the fault of one."""
        try:
            outcomes = await self._carry([item.key for item in items])
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the callers'
            if len(items) == 1 or not self._is_fault_of_one(exc):
                for item in items:
                    item.answer(copied(exc))
                return
        else:
            if len(outcomes) != len(items):
                # Not a failure to halve for: the batch may well have taken effect.
                raise RuntimeError(f"{self.name}: {len(outcomes)} results for {len(items)} items")
            for item, outcome in zip(items, outcomes, strict=True):
                item.answer(outcome)
            return
        middle = len(items) // 2
        await self._deliver(items[:middle])
        await self._deliver(items[middle:])
