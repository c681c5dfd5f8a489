"""Coalesced writes: many changes in one trip, each apart and in order of arrival.

Equal items are never made one. With one lane, what arrives first is applied first, across trips
too; with more, order holds within a trip only. A caller that leaves while its item waits takes it
along: nothing was done. One that leaves while the trip is out leaves the item to its fate, whole,
and is told that the outcome is unknown. Used by ``repository`` code for group commit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from paceline.coalesce.batching import Batcher, CoalescerStats
from paceline.coalesce.errors import is_about_an_item
from paceline.coalesce.observe import Observer
from paceline.concurrency import expired, name_timeout, timeout_message
from paceline.errors import Code, Error
from paceline.stats import StatsEntry

K = TypeVar("K")
V = TypeVar("V")

_UNKNOWN: Final = "outcome unknown: the change was under way when its caller stopped waiting"
_UNDONE: Final = "nothing was done: the change was still waiting for its turn"


class WriteOutcomeUnknown(Error):
    """The change was under way when the wait for it ended: it took effect whole, or not at all.

    Look before doing it again, unless doing it twice is harmless.
    """

    kind: ClassVar[str] = "outcome-unknown"

    def __init__(self, code: Code = Code.UNKNOWN, why: str | None = None) -> None:
        super().__init__(code, _UNKNOWN if why is None else f"{_UNKNOWN}: {why}")


class WriteCoalescer(Generic[K, V]):
    """Calls in flight together become one ``apply``, in order of arrival.

    ``apply`` gives a value or an exception for each item, in order; what it raises is about all of
    them, and nothing may have been done then unless the error says so (``Code.UNKNOWN``). If it is
    the fault of one item the halves are applied one after the other, so a poison item fails alone.

    ``lanes``, ``max_batch``, ``max_waiting``, ``name``: as for ``ReadCoalescer``.

    *Resources*: a task for each trip that is out; `stop` waits for them.
    """

    def __init__(
        self,
        apply: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        *,
        name: str,
        lanes: int = 1,
        max_batch: int = 256,
        max_waiting: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self._trips: Batcher[K, V] = Batcher(
            apply,
            WriteOutcomeUnknown,
            name=name,
            lanes=lanes,
            max_batch=max_batch,
            max_waiting=max_waiting,
            abandon=False,
            is_fault_of_one=is_about_an_item,
            observer=observer,
        )

    @property
    def stats(self) -> CoalescerStats:
        """What it has done so far."""
        return self._trips.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("coalescers", self.name, lambda: self.stats)

    async def call(self, item: K) -> V:
        """Apply ``item`` and give its result.

        Errors: the item's own; `WriteOutcomeUnknown` (DEADLINE_EXCEEDED) when the deadline passes
        while it is under way, ``Error(DEADLINE_EXCEEDED)`` when it was not begun;
        RESOURCE_EXHAUSTED when too many wait; UNAVAILABLE when shutting down.
        """
        caller = self._trips.join(object(), item)
        try:
            return await caller.future
        except asyncio.CancelledError as exc:
            under_way = self._trips.leave(caller)
            name_timeout(self.name)
            if not expired():
                exc.add_note(_UNKNOWN if under_way else _UNDONE)
                raise
            if under_way:
                raise WriteOutcomeUnknown(
                    Code.DEADLINE_EXCEEDED, timeout_message(self.name)
                ) from exc
            raise Error(Code.DEADLINE_EXCEEDED, f"{_UNDONE}: {timeout_message(self.name)}") from exc

    async def start(self) -> None:
        """Open the door, also again after `stop`."""
        self._trips.reopen()

    async def stop(self) -> None:
        """Let nobody in and wait until everybody is answered; cut off when cancelled."""
        await self._trips.drain()
