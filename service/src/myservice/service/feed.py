"""One reader of the log of changes a process, many followers.

While somebody follows, one task reads what is new and hands each change to those whose prefix it
matches; a bell (LISTEN) says when to look, and a slow poll makes up for a lost one. Everybody's
queue is bounded (``follower``). Who resumes reads the log page by page until it has caught up with
the task, and only then joins: no queue grows meanwhile, and no change comes twice. Rejected: each
process telling its own followers of its own writes, which other replicas would never see.
Built by ``main``, after the servers: it stops first, so that streams end before they are waited
for. ``handler.updates`` calls `RecordFeed.subscribe`; ``repository.changes`` is the log.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from myservice.service.follower import Follower
from myservice.service.position import Position, decode_position, encode_position
from myservice.service.updates import RecordUpdate
from paceline.clock import Clock
from paceline.errors import Code, Error, wrap
from paceline.log import Logger

_CATCH_UP_PAGE: Final = 100  # each who resumes holds one of its own: a thousand may at once
_AT_ONCE: Final = 2_000  # deliveries, before others get their turn: about a millisecond


@dataclass(frozen=True, slots=True)
class Change:
    """One change as the log has it; ``size`` is about how many bytes it takes in memory."""

    position: Position
    name: str
    name_before: str | None
    size: int
    update: RecordUpdate

    def matches(self, prefix: str) -> bool:
        """Whether it concerns those who follow ``prefix``."""
        before = self.name_before
        return self.name.startswith(prefix) or (before is not None and before.startswith(prefix))


@dataclass(frozen=True, slots=True)
class Page:
    """Some changes in order. ``end``: where to read on; ``gap``: what was asked for is not kept."""

    changes: list[Change]
    end: Position
    more: bool
    gap: bool = False


class ChangeLog(Protocol):
    """Where committed changes are read."""

    async def now(self) -> Position:
        """The position of what is to come."""
        ...

    async def read(self, after: Position, limit: int) -> Page:
        """Up to ``limit`` changes after a position."""
        ...


class Wakeup(Protocol):
    """What tells that there may be something new."""

    async def wait(self) -> None:
        """Wait until then."""
        ...


class RecordFeed:
    """Implements ``updates.RecordUpdates``.

    Settings: ``poll``, seconds after which the log is read though no bell rang; ``page``, changes
    a read; ``max_waiting`` and ``max_bytes``, what may wait for one follower before it is told to
    resync; ``max_followers``; ``linger``, seconds to read on without any.

    *Resources*: while somebody follows, and a little longer, a task and what ``bells`` opens.
    """

    name = "updates"

    def __init__(
        self,
        log: ChangeLog,
        bells: Callable[[], AbstractAsyncContextManager[Wakeup]],
        clock: Clock,
        logger: Logger,
        *,
        poll: float = 1.0,
        page: int = 500,
        max_waiting: int = 1_000,
        max_bytes: int = 4 * 1024 * 1024,
        max_followers: int = 10_000,
        linger: float = 5.0,
    ) -> None:
        self._log = log
        self._bells = bells
        self._clock = clock
        self._logger = logger
        self._poll = poll
        self._page = page
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._max_followers = max_followers
        self._linger = linger
        self._open = False
        self._followers: set[Follower] = set()  # joined or catching up
        self._joined: dict[str, set[Follower]] = {}
        self._position = Position(0, 0)  # everybody who has joined was given all up to here
        self._tail: asyncio.Task[None] | None = None
        self._tails: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._catching_up = asyncio.Semaphore(2)  # a thousand who come back leave the pool alive

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._followers)

    async def start(self) -> None:
        """Let followers in, also again after `stop`."""
        self._open = True

    async def stop(self) -> None:
        """End every stream, and the reading."""
        self._open = False
        self._end_all()
        tails = tuple(self._tails)
        for tail in tails:
            tail.cancel()
        await asyncio.gather(*tails, return_exceptions=True)

    @asynccontextmanager
    async def subscribe(
        self, prefix: str, after: str | None
    ) -> AsyncGenerator[AsyncIterator[RecordUpdate], None]:
        """Follow; see ``updates.RecordUpdates``."""
        position = None if after is None else decode_position(after)
        self._check_open()
        if len(self._followers) >= self._max_followers:
            raise Error(Code.RESOURCE_EXHAUSTED, "too many follow already")
        follower = Follower(
            prefix, self._catch_up, max_waiting=self._max_waiting, max_bytes=self._max_bytes
        )
        self._followers.add(follower)
        try:
            with wrap("service.subscribe({!r})", prefix):
                await self._ensure_tail()
                if position is None:
                    self._join(follower, self._position)
                else:
                    follower.position = position
                    await self._read_for(follower)
            yield follower
        finally:
            follower.end()
            self._leave(follower)

    async def _ensure_tail(self) -> None:
        async with self._starting:
            if self._tail is None:
                position = await self._log.now()
                self._check_open()
                self._position = position
                # An empty context: the task must not inherit the deadline of who came first.
                tail = asyncio.create_task(self._run(), name="record feed", context=Context())
                self._tail = tail
                self._tails.add(tail)
                tail.add_done_callback(self._tails.discard)

    def _check_open(self) -> None:
        if not self._open:
            raise Error(Code.UNAVAILABLE, "shutting down")

    async def _run(self) -> None:
        me = asyncio.current_task()
        try:
            async with self._bells() as bell:
                await self._follow_log(bell)
        except Exception as exc:  # noqa: BLE001 - a bug must not leave followers waiting for ever
            self._logger.error("record feed failed", error=exc)
        finally:
            if self._tail is me:
                self._tail = None
                self._end_all()

    async def _follow_log(self, bell: Wakeup) -> None:
        loop = asyncio.get_running_loop()
        needed_at = loop.time()
        failing = False
        while True:
            if self._followers:
                needed_at = loop.time()
            elif loop.time() - needed_at >= self._linger:
                self._tail = None  # before anything is awaited: who comes now starts another
                return
            try:
                more = await self._deliver(await self._log.read(self._position, self._page))
            except Error as exc:
                if not failing:
                    self._logger.warning("record changes cannot be read", error=exc)
                failing, more = True, False
            else:
                failing = False
            if not more:
                await self._pause(bell)

    async def _pause(self, bell: Wakeup) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await bell.wait()
        except TimeoutError:
            pass

    async def _deliver(self, page: Page) -> bool:
        # First: who joins while we pause has read all of this page for itself.
        self._position = page.end
        if page.gap:
            self._logger.warning("record changes were lost to their retention")
            resync = self._resync(page.end)
            for followers in self._joined.values():
                for follower in followers:
                    if follower.position < page.end:
                        follower.restart(resync)
        given = 0
        for change in page.changes:
            given += self._give(change)
            if given >= _AT_ONCE:
                given = 0
                await asyncio.sleep(0)
        return page.more

    def _give(self, change: Change) -> int:
        given = 0
        for prefix, followers in self._joined.items():
            given += 1
            if change.matches(prefix):
                given += len(followers)
                for follower in followers:
                    if change.position > follower.position and not follower.put(
                        change.update, change.size
                    ):
                        follower.restart(self._resync(change.position))
        return given

    async def _catch_up(self, follower: Follower) -> None:
        """Give the next page of what was missed; at its end, go on with what is new."""
        while not follower.ended:
            try:
                await self._read_for(follower)
            except Error:
                # The reading task tells of it; here patience is all there is to do.
                await asyncio.sleep(self._poll)
            else:
                return

    async def _read_for(self, follower: Follower) -> None:
        async with self._catching_up:
            page = await self._log.read(follower.position, min(self._page, _CATCH_UP_PAGE))
        if page.gap:
            follower.restart(self._resync(page.end))
        follower.load([c.update for c in page.changes if c.matches(follower.prefix)])
        follower.position = page.end
        if follower.position >= self._position:
            self._join(follower, follower.position)

    def _join(self, follower: Follower, position: Position) -> None:
        """Let the reading task serve it, from ``position`` on, which is not behind the task's."""
        follower.position = position
        follower.behind = False
        if follower in self._followers:
            self._joined.setdefault(follower.prefix, set()).add(follower)

    def _leave(self, follower: Follower) -> None:
        self._followers.discard(follower)
        joined = self._joined.get(follower.prefix)
        if joined is not None:
            joined.discard(follower)
            if not joined:
                del self._joined[follower.prefix]

    def _end_all(self) -> None:
        for follower in self._followers:
            follower.end()

    def _resync(self, position: Position) -> RecordUpdate:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return RecordUpdate(encode_position(position), "resync", None, None, None, now)
