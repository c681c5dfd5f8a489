"""Deletes old messages of a stream that every consumer has done with.

Invariant: a message that a durable consumer has not settled is never deleted, however old it is: an
outage, however long, loses nothing, which a stream's own ``max_age`` would. Any number of cleaners
may run: what one of them found to be done with stays so. Rejected: the policies ``interest`` and
``workqueue`` of streams, which cannot be given to a stream that exists, and which leave nothing to
look at when a message was handled wrongly.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec

from paceline.clock import Clock, SystemClock
from paceline.concurrency import BackgroundService
from paceline.errors import Error
from paceline.log import Logger
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.errors import MESSAGE_NOT_FOUND, STREAM_NOT_FOUND, JetStreamError


class _State(msgspec.Struct, frozen=True):
    first_seq: int
    last_seq: int


class _StreamInfo(msgspec.Struct, frozen=True):
    state: _State


class _Sequences(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _ConsumerConfig(msgspec.Struct, frozen=True):
    durable_name: str = ""


class _ConsumerInfo(msgspec.Struct, frozen=True):
    config: _ConsumerConfig
    ack_floor: _Sequences = _Sequences()
    num_pending: int = 0
    num_ack_pending: int = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of the stream is left to it."""
        return not self.num_pending and not self.num_ack_pending


class _ConsumerPage(msgspec.Struct, frozen=True):
    total: int
    consumers: list[_ConsumerInfo] | None = None


class _Message(msgspec.Struct, frozen=True):
    seq: int
    time: str


class _MessageAnswer(msgspec.Struct, frozen=True):
    message: _Message


class _Purged(msgspec.Struct, frozen=True):
    purged: int = 0


class StreamCleaner(BackgroundService):
    """Deletes messages of ``stream`` older than ``keep`` seconds, every ``interval`` seconds.

    Only those that all durable consumers have settled; a stream without any is left as it is.
    ``consumed=False``: age alone decides, as for dead letters, which nobody consumes.

    *Resources*: a task, from `start` to `stop`.
    """

    def __init__(
        self,
        bus: NatsBus,
        log: Logger,
        stream: str,
        *,
        keep: float,
        consumed: bool = True,
        interval: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.name: str = f"{stream} cleaner"
        self._bus = bus
        self._log = log
        self._stream = stream
        self._keep = timedelta(seconds=keep)
        self._consumed = consumed
        self._interval = interval
        self._clock: Clock = clock or SystemClock()

    async def clean(self) -> int:
        """Delete what is old now; gives how many messages. Errors: those of `NatsBus.call_api`."""
        try:
            info = await self._bus.call_api(f"STREAM.INFO.{self._stream}", None, _StreamInfo)
        except JetStreamError as exc:
            if exc.number == STREAM_NOT_FOUND:
                return 0
            raise
        first, last = info.state.first_seq, info.state.last_seq
        settled = await self._settled(last) if self._consumed else last
        place = await self._first_kept(first, settled + 1)
        if place <= first:
            return 0
        request = {"seq": place}  # all before it
        return (await self._bus.call_api(f"STREAM.PURGE.{self._stream}", request, _Purged)).purged

    async def run(self) -> None:
        """Clean until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.clean()
            except Error as exc:
                self._log.error("old messages could not be deleted", stream=self._stream, error=exc)

    async def _settled(self, last: int) -> int:
        """Up to where, of ``last``, all durable consumers have done with everything; 0 without any.

        ``last`` was read before, so to a consumer with nothing left it is settled.
        """
        floors: list[int] = []
        offset = 0
        while True:
            subject, request = f"CONSUMER.LIST.{self._stream}", {"offset": offset}
            page = await self._bus.call_api(subject, request, _ConsumerPage)
            found = page.consumers or []
            floors += [
                last if each.idle else each.ack_floor.stream_seq
                for each in found
                if each.config.durable_name
            ]
            offset += len(found)
            if not found or offset >= page.total:
                return min([last, *floors]) if floors else 0

    async def _first_kept(self, first: int, end: int) -> int:
        """The first place, up to ``end``, whose message is young enough, found by halving."""
        oldest = datetime.fromtimestamp(self._clock.time(), UTC) - self._keep
        while first < end:
            middle = (first + end) // 2
            message = await self._message_at(middle)
            if message is None or datetime.fromisoformat(message.time) > oldest:
                end = middle
            else:
                first = min(message.seq + 1, end)
        return first

    async def _message_at(self, place: int) -> _Message | None:
        """The message there, or the next one behind it; None when there is none."""
        request = {"seq": place, "next_by_subj": ">"}
        try:
            subject = f"STREAM.MSG.GET.{self._stream}"
            return (await self._bus.call_api(subject, request, _MessageAnswer)).message
        except JetStreamError as exc:
            if exc.number == MESSAGE_NOT_FOUND:
                return None
            raise
