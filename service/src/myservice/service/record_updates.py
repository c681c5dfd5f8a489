"""The stream of record updates: one reader of the change log a process, many subscribers.

While there are subscribers, one task reads new changes and queues each one for the subscribers
whose prefix matches. Notifications (LISTEN) wake the task; a slow poll makes up for lost ones.
Every subscriber's queue is bounded, and so is what all of them hold together: when it is half used
up, slow subscribers get a resync, and those that resume go on change by change; when it is, nobody
else may subscribe. One that resumes reads the log page by page until it has caught
up with the task, and only then gets its updates from the task: no queue grows meanwhile, and no
change is delivered twice. Rejected: each process publishing its own writes to its own subscribers,
who would never see those of other replicas.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import Final, Protocol

from myservice.domain.record_updates import END_OF_SEQ, Position, RecordUpdate
from myservice.service.record_subscription import HeldBytes, QueuedUpdate, Subscription
from paceline.clock import Clock
from paceline.cursor import CursorCodec
from paceline.errors import Code, Error, ValidationError, wrap
from paceline.log import Logger

_POSITION: Final = Struct(">QQ")
_REFUSED: Final = "not a position of this stream: start again without one"
_CURSORS: Final = CursorCodec(_POSITION.size, field="after", message=_REFUSED)
# Each subscriber that resumes holds one page, and a thousand may resume at once.
_CATCH_UP_PAGE: Final = 100
_CATCH_UP_BYTES: Final = 128 * 1024
_PAGES_AT_ONCE: Final = 8
_PAGE_BYTES: Final = 4 * 1024 * 1024
_DELIVERIES_PER_TURN: Final = 2_000  # before other tasks run: about a millisecond


@dataclass(frozen=True, slots=True)
class Change:
    """One change as the log has it; ``size`` is about how many bytes it takes in memory."""

    position: Position
    name: str
    name_before: str | None
    size: int
    update: RecordUpdate

    def matches(self, prefix: str) -> bool:
        """Whether a subscriber of ``prefix`` receives it."""
        before = self.name_before
        return self.name.startswith(prefix) or (before is not None and before.startswith(prefix))


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes in order.

    ``end``: where to read on. ``gap``: changes between ``after`` and ``end`` are no longer kept.
    """

    changes: list[Change]
    end: Position
    more: bool
    gap: bool = False


class ChangeLog(Protocol):
    """Where committed changes are read."""

    async def now(self) -> Position:
        """The position after all changes that are final."""
        ...

    async def read(self, after: Position, limit: int, max_bytes: int) -> ChangePage:
        """Up to ``limit`` changes after a position, up to the one that reaches ``max_bytes``."""
        ...


class Wakeup(Protocol):
    """A signal that the log may have new changes."""

    async def wait(self) -> None:
        """Wait for the next signal."""
        ...


class RecordUpdates(Protocol):
    """Where the handlers subscribe to updates of records."""

    def subscribe(
        self, prefix: str, after: str | None, caller: str
    ) -> AbstractAsyncContextManager[AsyncIterator[RecordUpdate]]:
        """Subscribe to the records whose name begins with ``prefix``, or did before the change.

        ``after``: the position of the last update that was seen; None to begin now. Once it is
        entered no update is missing, and a few may come that were committed just before. The
        iterator ends when the service stops. Errors on entering: ValidationError for a position
        that this stream never gave; RESOURCE_EXHAUSTED when the ``caller``, or all together, have
        as many streams as they may, or hold as much; UNAVAILABLE when shutting down or without
        database.
        """
        ...


class RecordFeed:
    """Implements `RecordUpdates` on a `ChangeLog`.

    ``listen`` opens the notifications of new changes. Settings: ``poll``, seconds after which the
    log is read without a notification; ``page``, changes a read; ``max_queued`` and ``max_bytes``,
    the size of a subscriber's queue; ``max_held``, the bytes of all updates that subscribers hold;
    ``max_subscribers``, and ``max_per_caller`` of them; ``linger``, seconds for which the log is
    read on without subscribers.

    *Resources*: while there are subscribers, and for ``linger``, a task and what ``listen`` opens.
    """

    name = "updates"

    def __init__(
        self,
        log: ChangeLog,
        listen: Callable[[], AbstractAsyncContextManager[Wakeup]],
        clock: Clock,
        logger: Logger,
        *,
        poll: float = 1.0,
        page: int = 500,
        max_queued: int = 1_000,
        max_bytes: int = 4 * 1024 * 1024,
        max_held: int = 64 * 1024 * 1024,
        max_subscribers: int = 10_000,
        max_per_caller: int = 100,
        linger: float = 5.0,
    ) -> None:
        self._log = log
        self._listen = listen
        self._clock = clock
        self._logger = logger
        self._poll = poll
        self._page = page
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._max_subscribers = max_subscribers
        self._max_per_caller = max_per_caller
        self._budget = HeldBytes(max_held)
        self._callers: Counter[str] = Counter()
        self._linger = linger
        self._open = False
        self._subscriptions: set[Subscription] = set()  # live or catching up
        self._live: dict[str, set[Subscription]] = {}
        self._position = Position(0, 0)  # live subscriptions have everything up to here
        self._reader: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        # So that a thousand subscribers that resume at once leave connections to requests.
        self._catching_up = asyncio.Semaphore(2)

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return len(self._subscriptions)

    @property
    def held_bytes(self) -> int:
        """The size of all updates that they hold."""
        return self._budget.held

    async def start(self) -> None:
        """Accept subscribers, also again after `stop`."""
        self._open = True

    async def stop(self) -> None:
        """End every stream, and the reading."""
        self._open = False
        self._close_all()
        readers = tuple(self._readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    @asynccontextmanager
    async def subscribe(
        self, prefix: str, after: str | None, caller: str = ""
    ) -> AsyncGenerator[AsyncIterator[RecordUpdate], None]:
        """Subscribe; see `RecordUpdates`."""
        position = None if after is None else decode_position(after)
        self._check_open()
        self._check_room(caller)
        subscription = Subscription(
            prefix, self._catch_up, self._budget,
            max_queued=self._max_queued, max_bytes=self._max_bytes,
        )  # fmt: skip
        self._subscriptions.add(subscription)
        self._callers[caller] += 1
        try:
            with wrap("service.subscribe({!r})", prefix):
                await self._ensure_reader()
                if position is None:
                    self._go_live(subscription, self._position)
                else:
                    subscription.position = position
                    await self._read_page_for(subscription)
            yield subscription
        finally:
            subscription.close()
            self._remove(subscription)
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]

    def _check_room(self, caller: str) -> None:
        if self._callers[caller] >= self._max_per_caller:
            raise Error(
                Code.RESOURCE_EXHAUSTED, f"you have {self._max_per_caller} streams open already"
            )
        if len(self._subscriptions) >= self._max_subscribers or self._budget.full:
            raise Error(Code.RESOURCE_EXHAUSTED, "too many subscribers already")

    async def _ensure_reader(self) -> None:
        async with self._starting:
            if self._reader is None:
                position = await self._log.now()
                self._check_open()
                self._position = position
                # An empty context: the task must not inherit the first subscriber's deadline.
                reader = asyncio.create_task(self._run(), name="record feed", context=Context())
                self._reader = reader
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)

    def _check_open(self) -> None:
        if not self._open:
            raise Error(Code.UNAVAILABLE, "shutting down")

    async def _run(self) -> None:
        this = asyncio.current_task()
        try:
            async with self._listen() as wakeup:
                await self._read_log(wakeup)
        except Exception as exc:  # noqa: BLE001 - a bug must not leave subscribers waiting for ever
            self._logger.error("record feed failed", error=exc)
        finally:
            if self._reader is this:
                self._reader = None
                self._close_all()

    async def _read_log(self, wakeup: Wakeup) -> None:
        loop = asyncio.get_running_loop()
        needed_at = loop.time()
        failing = False
        while True:
            if self._subscriptions:
                needed_at = loop.time()
            elif loop.time() - needed_at >= self._linger:
                self._reader = None  # before any await: the next subscriber starts another
                return
            try:
                more = await self._deliver(
                    await self._log.read(self._position, self._page, _PAGE_BYTES)
                )
            except Error as exc:
                if not failing:
                    self._logger.warning("record changes cannot be read", error=exc)
                failing, more = True, False
            else:
                failing = False
            if not more:
                await self._pause(wakeup)

    async def _pause(self, wakeup: Wakeup) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await wakeup.wait()

    async def _deliver(self, page: ChangePage) -> bool:
        # First, because one that goes live while this task pauses has read all of this page itself.
        self._position = page.end
        if page.gap:
            self._logger.warning("record changes were lost to their retention")
            resync = self._resync(page.end)
            for subscriptions in self._live.values():
                for subscription in subscriptions:
                    if subscription.position < page.end:
                        subscription.resync(resync)
        deliveries = 0
        for change in page.changes:
            deliveries += self._deliver_change(change)
            if deliveries >= _DELIVERIES_PER_TURN:
                deliveries = 0
                await asyncio.sleep(0)
        return page.more

    def _deliver_change(self, change: Change) -> int:
        """Queue a change; gives how many prefixes and subscriptions were looked at."""
        deliveries = 0
        queued = QueuedUpdate(change.update, change.size)
        for prefix, subscriptions in self._live.items():
            deliveries += 1
            if change.matches(prefix):
                deliveries += len(subscriptions)
                for subscription in subscriptions:
                    if change.position > subscription.position and not subscription.put(queued):
                        subscription.resync(self._resync(change.position))
        return deliveries

    async def _catch_up(self, subscription: Subscription) -> None:
        """Queue the next page of what was missed; after the last one, go live."""
        while not subscription.closed:
            try:
                await self._read_page_for(subscription)
            except Error:
                await asyncio.sleep(self._poll)  # the reading task has the same error and logs it
            else:
                return

    async def _read_page_for(self, subscription: Subscription) -> None:
        async with self._catching_up:
            size = max(1, min(_CATCH_UP_BYTES, self._budget.plenty // _PAGES_AT_ONCE))
            page = await self._log.read(subscription.position, subscription.page_rows, size)
        found = max(1, len(page.changes))
        subscription.page_rows = min(2 * found, _CATCH_UP_PAGE, self._page)
        if page.gap:
            subscription.resync(self._resync(page.end))
        prefix = subscription.prefix
        subscription.put_page(
            QueuedUpdate(change.update, change.size)
            for change in page.changes
            if change.matches(prefix)
        )
        subscription.position = page.end
        if subscription.position >= self._position:
            self._go_live(subscription, subscription.position)

    def _go_live(self, subscription: Subscription, position: Position) -> None:
        """From ``position`` on, which is not behind the reading task's, that task delivers."""
        subscription.position = position
        subscription.catching_up = False
        if subscription in self._subscriptions:
            self._live.setdefault(subscription.prefix, set()).add(subscription)

    def _remove(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        live = self._live.get(subscription.prefix)
        if live is not None:
            live.discard(subscription)
            if not live:
                del self._live[subscription.prefix]

    def _close_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()

    def _resync(self, position: Position) -> RecordUpdate:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return RecordUpdate(encode_position(position), "resync", None, None, None, now)


def encode_position(position: Position) -> str:
    """The text that clients get for a position: always 28 characters."""
    return _CURSORS.encode(_POSITION.pack(*position))


def decode_position(text: str) -> Position:
    """Errors: ValidationError for a text that `encode_position` did not make."""
    position = Position(*_POSITION.unpack(_CURSORS.decode(text)))
    if max(position) > END_OF_SEQ:
        raise ValidationError("after", _REFUSED)
    return position
