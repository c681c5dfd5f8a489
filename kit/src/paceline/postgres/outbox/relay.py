"""The relay: publishes the messages of the outbox in order, and deletes those that are published.

Invariant: one relay sends at a time, the one that holds the table's advisory lock; the lock is its
transaction's, so it is released however a relay dies. That, and one message of a key at a time
(``publishing``), keep the order of a key. Rejected: every relay taking rows with SKIP LOCKED, which
lets a later message of a key overtake an earlier one that another relay has; and a lock for each
share of the keys, since one relay fills the queue faster than the database's commits fill the
outbox. A relay that does not get the lock tries again within milliseconds. When nothing at all can
be published the queue is taken to be down: rows are left as they are, and the relay pauses.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from typing import Final

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.postgres import Pool
from paceline.postgres.outbox.publishing import Publisher, PublishResult, publish_by_key
from paceline.postgres.outbox.table import (
    OutboxStats,
    delete_sent,
    fetch_due,
    has_due,
    postpone,
    read_stats,
    try_lock,
)
from paceline.stats import StatsEntry

_FIRST_PAUSE: Final = 0.005
# Errors of one message, not of the connection to the queue.
_MESSAGE_ERRORS: Final = frozenset(
    {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION}
)


class PollResult(Enum):
    """What a poll of the outbox found."""

    MORE = "a full batch was sent, or some of it failed"
    EMPTY = "nothing, or everything that was due is sent"
    LOCKED = "another relay is sending"
    DOWN = "the queue takes nothing"


class OutboxRelay:
    """Sends the messages of the outbox. Any number may run; all times are in seconds.

    ``batch``: messages a transaction. ``poll_interval``: how long a message may wait that another
    process has written without calling `wake`. ``publish_timeout``: for a whole batch.
    ``retry_delay``, ``max_retry_delay``: how long a message waits that failed while others were
    published, first and at most; those behind it, of the same key, wait too. ``max_pause``: the
    longest pause while the queue or the database is down. ``stop_timeout``: how long `stop` waits
    for the current batch.

    *Resources*: a task from `start` to `stop`; one of the pool's connections during a batch.
    """

    name = "outbox relay"

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        log: Logger,
        *,
        batch: int = 512,
        poll_interval: float = 0.2,
        publish_timeout: float = 10.0,
        retry_delay: float = 0.5,
        max_retry_delay: float = 60.0,
        max_pause: float = 2.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._log = log
        self._batch = batch
        self._poll_interval = poll_interval
        self._publish_timeout = publish_timeout
        self._retry_delays = (retry_delay, max_retry_delay)
        self._max_pause = max_pause
        self._stop_timeout = stop_timeout
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failing = False
        self._down: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send."""
        if self._task is not None:
            raise RuntimeError("the outbox relay is started already")
        self._stopping.clear()
        self._woken.set()
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Finish the current batch, or abandon it: the next relay sends it again."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        self._woken.set()  # the task may be waiting for either
        left = remaining()
        grace = self._stop_timeout if left is None else min(self._stop_timeout, left / 2)
        try:
            await asyncio.wait((task,), timeout=grace)
        finally:
            task.cancel()
        await asyncio.wait((task,))

    def wake(self) -> None:
        """Poll at once: messages were committed, by this process or by another."""
        self._woken.set()

    async def ready(self) -> None:
        """A check for readiness: what is due could be sent. Errors: UNAVAILABLE.

        A server that is connected may take nothing all the same, such as NATS on a full disk.
        """
        if self._down is not None:
            raise Error(Code.UNAVAILABLE, "the queue takes no messages") from self._down

    async def stats(self) -> OutboxStats:
        """How many messages wait, and for how long. Errors: `DatabaseError`."""
        return await read_stats(self._pool)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what waits to be sent, by a query."""
        yield StatsEntry("outbox", self.name, query=self.stats)

    async def poll(self) -> PollResult:
        """Send a batch, if there is one and no other relay is sending.

        Errors: `DatabaseError`; what was sent by then is sent again, as the same messages.
        """
        woken = self._woken.is_set()
        self._woken.clear()  # before the query: what is committed from here on sets it again
        if not woken and not await has_due(self._pool):
            return PollResult.EMPTY
        async with self._pool.transaction() as tx:
            if not await try_lock(tx):
                return PollResult.LOCKED
            # A statement of its own, after the lock: it sees all that the last holder deleted. A
            # holder that lost its session may still be publishing: the same messages in the same
            # order, one of a key at a time, so the broker drops the copies and none overtakes.
            rows = await fetch_due(tx, self._batch)
            if not rows:
                return PollResult.EMPTY
            result = await publish_by_key(self._publisher, rows, self._publish_timeout)
            if _is_down(result):
                self._note_down(result.failed[0][1])
                return PollResult.DOWN
            await delete_sent(tx, result.sent)
            await postpone(tx, [row for row, _ in result.failed], *self._retry_delays)
        self._note_result(result)
        all_sent = len(rows) < self._batch and len(result.sent) == len(rows)
        return PollResult.EMPTY if all_sent else PollResult.MORE

    async def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            try:
                result = await self.poll()
            except Exception as exc:  # noqa: BLE001 - the rows are safe, so the relay goes on
                self._note_down(exc)
                result = PollResult.DOWN
            if result is not PollResult.DOWN:
                self._down = None
            if result is PollResult.MORE:
                pause = 0.0
                self._woken.set()
            elif result is PollResult.EMPTY:
                pause = 0.0
                await self._wait(self._woken, self._poll_interval)
            else:
                most = self._poll_interval if result is PollResult.LOCKED else self._max_pause
                pause = min(2 * pause or _FIRST_PAUSE, most)
                self._woken.set()  # after the pause, try for the lock without asking for rows first
                await self._wait(self._stopping, pause)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def _note_result(self, result: PublishResult) -> None:
        if result.sent and self._failing:
            self._failing = False
            self._log.info("outbox messages are sent again")
        new = [(row, exc) for row, exc in result.failed if not row.attempts]
        if new:
            row, exc = new[0]
            self._log.error(
                "outbox messages could not be sent",
                count=len(new), first=row.message.id, subject=row.message.subject, error=exc,
            )  # fmt: skip

    def _note_down(self, exc: Exception) -> None:
        self._down = exc
        if not self._failing:
            self._failing = True
            self._log.error("the outbox cannot be sent", error=exc)


def _is_down(result: PublishResult) -> bool:
    """Whether the queue failed, and not the messages."""
    return not result.sent and not any(
        isinstance(exc, Error) and exc.code in _MESSAGE_ERRORS for _, exc in result.failed
    )
