"""Coalesced writes: many changes in one transaction, each with its own outcome.

Equal items are never merged. With ``max_in_flight=1`` items are applied in order of arrival across
batches too; with more, order holds within a batch only. A caller that is cancelled while its item
still waits takes the item back, and nothing is done. A caller that is cancelled while its batch is
in flight leaves the item in it, since a batch is not interrupted for one caller: that caller learns
that the outcome is unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from paceline.coalesce.batching import Batcher
from paceline.coalesce.observer import Observer
from paceline.coalesce.splitting import split_writes
from paceline.coalesce.stats import CoalescerStats
from paceline.concurrency import expired, name_timeout, timeout_message
from paceline.errors import Code, Error
from paceline.stats import StatsEntry

K = TypeVar("K")
V = TypeVar("V")

_UNKNOWN: Final = "outcome unknown: the change was under way when its caller stopped waiting"
_UNDONE: Final = "nothing was done: the change was still waiting for its turn"


class WriteOutcomeUnknown(Error):
    """The wait for a change ended while it was under way: it took effect wholly, or not at all.

    Read the current state before repeating the change, unless applying it twice is harmless.
    """

    kind: ClassVar[str] = "outcome-unknown"

    def __init__(self, code: Code = Code.UNKNOWN, why: str | None = None) -> None:
        super().__init__(code, _UNKNOWN if why is None else f"{_UNKNOWN}: {why}")


class WriteCoalescer(Generic[K, V]):
    """Concurrent calls become one ``apply`` of their items, in order of arrival.

        async def apply(drafts: Sequence[Draft]) -> list[Record | Exception]:
            names, owners = [draft.name for draft in drafts], [draft.owner for draft in drafts]
            rows = await pool.fetch("INSERT … FROM unnest($1, $2) … RETURNING …", names, owners)
            return [record_of(row) for row in rows]

        writes = WriteCoalescer(apply, name="inserting records")
        record = await writes.call(draft)

    For small writes that many requests make at the same time: they share one transaction and one
    flush of the log to disk. ``apply`` returns a value or an exception for each item, in order.
    What it *raises* concerns all items and means that nothing was done, unless the error says
    otherwise (``Code.UNKNOWN``). If one item may have caused that error, the halves are applied one
    after the other, and so on, so that only the call with that item fails.

    ``name``: for errors, metrics and spans. ``max_in_flight``: batches at once. ``max_batch``:
    items in a batch. ``max_waiting``: calls that may wait for a batch; a further one is refused.

    Errors: ``ValueError`` for a limit below 1. *Resources*: one task for each batch in flight;
    `stop` waits for them.
    """

    def __init__(
        self,
        apply: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        *,
        name: str,
        max_in_flight: int = 1,
        max_batch: int = 256,
        max_waiting: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self._batcher: Batcher[K, V] = Batcher(
            apply,
            WriteOutcomeUnknown,
            name=name,
            max_in_flight=max_in_flight,
            max_batch=max_batch,
            max_waiting=max_waiting,
            cancel_unawaited=False,
            should_split=split_writes,
            observer=observer,
        )

    @property
    def stats(self) -> CoalescerStats:
        """The counters."""
        return self._batcher.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("coalescers", self.name, lambda: self.stats)

    async def call(self, item: K) -> V:
        """Apply ``item`` and return its result.

        Errors: what ``apply`` returned or raised for the item; `WriteOutcomeUnknown`
        (DEADLINE_EXCEEDED) when the deadline expires while its batch is in flight;
        ``Error(DEADLINE_EXCEEDED)`` when it expires before, and nothing was done;
        RESOURCE_EXHAUSTED when too many calls wait; UNAVAILABLE after `stop`.
        """
        caller = self._batcher.submit(object(), item)
        try:
            return await caller.future
        except asyncio.CancelledError as exc:
            under_way = self._batcher.withdraw(caller)
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
        """Accept calls again after `stop`; a new coalescer accepts them already."""
        self._batcher.reopen()

    async def stop(self) -> None:
        """Accept no more calls and wait until all are answered.

        Cancelling this cancels the batches in flight, whose callers get `WriteOutcomeUnknown`;
        calls that still wait fail with UNAVAILABLE.
        """
        await self._batcher.drain()
