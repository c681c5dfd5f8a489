"""The relay: takes messages out of the outbox, hands them to the queue, removes what it has taken.

Invariant: one relay sends at a time, whoever holds the table's advisory lock; the lock is its
transaction's, so it goes with a relay that dies, however it dies. That, and rounds (``rounds``),
keep the order of a key. Rejected: every relay taking rows with SKIP LOCKED, which lets a later
message of a key pass an earlier one that another relay has in hand; and a lock for each share of
the keys, because one relay fills the queue faster than the database's commits fill the outbox.
The others stand by: one that finds the lead taken asks again within milliseconds. When nothing
at all gets through, the queue is away: rows are left as they are, and only the relay waits.
"""

import asyncio
from contextlib import suppress
from enum import Enum
from typing import Final, Protocol

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.postgres import Pool
from paceline.postgres.outbox.publishing import Attempt, Publisher, publish_in_rounds
from paceline.postgres.outbox.table import (
    OutboxStats,
    is_anything_due,
    lead,
    postpone,
    read_stats,
    remove,
    take,
)

_FIRST_PAUSE: Final = 0.005
# What is wrong with one message, not with the way to the queue.
_FAULTS_OF_A_MESSAGE: Final = frozenset(
    {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION}
)


class Logger(Protocol):
    """Where the relay tells when sending fails, and when it works again."""

    def info(self, event: str, /, **fields: object) -> object:
        """Log a recovery."""
        ...

    def error(self, event: str, /, **fields: object) -> object:
        """Log a failure."""
        ...


class Found(Enum):
    """What a look at the outbox came to."""

    MORE = "a full batch was sent"
    NOTHING = "nothing, or all there was"
    OTHER = "another relay is sending"
    AWAY = "the queue takes nothing"


class OutboxRelay:
    """Sends what stands in the outbox. Any number may run; all times are in seconds.

    ``batch``: messages a transaction. ``poll``: how long a message of a process that cannot `wake`
    this one may lie. ``publish_timeout``: what a batch may take, all its rounds together.
    ``retry_first``, ``retry_most``: how long a message waits that failed while others were taken;
    meanwhile those behind it, of the same key, wait too. ``pause_most``: the longest pause while
    the queue or the database is away. ``stop_timeout``: how long `stop` waits for a batch.

    *Resources*: `start` makes a task; it holds one of the pool's connections while a batch is out.
    """

    name = "outbox relay"

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        log: Logger,
        *,
        batch: int = 512,
        poll: float = 0.2,
        publish_timeout: float = 10.0,
        retry_first: float = 0.5,
        retry_most: float = 60.0,
        pause_most: float = 2.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._log = log
        self._batch = batch
        self._poll = poll
        self._publish_timeout = publish_timeout
        self._retry = (retry_first, retry_most)
        self._pause_most = pause_most
        self._stop_timeout = stop_timeout
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send."""
        if self._task is not None:
            raise RuntimeError("the outbox relay is started already")
        self._stopping.clear()
        self._wanted.set()
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """Finish the batch that is out, or give it up: whoever sends next sends it again."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        self._wanted.set()  # it may be waiting for either
        left = remaining()
        grace = self._stop_timeout if left is None else min(self._stop_timeout, left / 2)
        try:
            await asyncio.wait((task,), timeout=grace)
        finally:
            task.cancel()
        await asyncio.wait((task,))

    def wake(self) -> None:
        """Say that messages were committed: by who wrote them, or by a listener for others."""
        self._wanted.set()

    async def stats(self) -> OutboxStats:
        """How much waits, and for how long. Errors: `DatabaseError`."""
        return await read_stats(self._pool)

    async def look(self) -> Found:
        """Send a batch, if this relay may and there is one; the task of `start` does so for ever.

        Errors: `DatabaseError`; what was sent by then is sent again, as the same messages.
        """
        wanted = self._wanted.is_set()
        self._wanted.clear()  # before looking: what is committed from here on sets it again
        if not wanted and not await is_anything_due(self._pool):
            return Found.NOTHING
        async with self._pool.transaction() as tx:
            if not await lead(tx):
                return Found.OTHER
            # A statement of its own, after the lock: it sees all that the last leader removed. One
            # that lost its session may have a batch out yet: the same messages in the same order,
            # each after the one before it was taken, so no second one is let in and none overtakes.
            messages = await take(tx, self._batch)
            if not messages:
                return Found.NOTHING
            attempt = await publish_in_rounds(self._publisher, messages, self._publish_timeout)
            if _is_away(attempt):
                self._note(attempt.failed[0][1])
                return Found.AWAY
            await remove(tx, attempt.sent)
            await postpone(tx, [each for each, _ in attempt.failed], *self._retry)
        self._note_attempt(attempt)
        all_there_was = len(messages) < self._batch and len(attempt.sent) == len(messages)
        return Found.NOTHING if all_there_was else Found.MORE

    async def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            try:
                found = await self.look()
            except Exception as exc:  # noqa: BLE001 - the rows are safe, so the relay goes on
                self._note(exc)
                found = Found.AWAY
            if found is Found.MORE:
                pause = 0.0
                self._wanted.set()
            elif found is Found.NOTHING:
                pause = 0.0
                await self._wait(self._wanted, self._poll)
            else:
                most = self._poll if found is Found.OTHER else self._pause_most
                pause = min(2 * pause or _FIRST_PAUSE, most)
                self._wanted.set()  # look properly after the pause
                await self._wait(self._stopping, pause)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def _note_attempt(self, attempt: Attempt) -> None:
        if attempt.sent and self._failing:
            self._failing = False
            self._log.info("outbox messages are sent again")
        new = [(each, exc) for each, exc in attempt.failed if not each.attempts]
        if new:
            each, exc = new[0]
            self._log.error(
                "outbox messages could not be sent",
                count=len(new), first=each.message.id, subject=each.message.subject, error=exc,
            )  # fmt: skip

    def _note(self, exc: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._log.error("the outbox cannot be sent", error=exc)


def _is_away(attempt: Attempt) -> bool:
    """Whether it was not the messages that failed, but the way to the queue."""
    return not attempt.sent and not any(
        isinstance(exc, Error) and exc.code in _FAULTS_OF_A_MESSAGE for _, exc in attempt.failed
    )
