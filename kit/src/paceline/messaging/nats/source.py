"""A durable JetStream consumer as a `MessageSource`, created again when it was deleted.

Attempts are exact. The server counts deliveries, including those that a stop or a crash cut short,
so its own ``max_deliver`` is switched off; failures are counted in a stream of their own, with one
small message for each message that failed, written before that goes back and read when it is
delivered again. Acknowledgements are plain and pipelined: a lost one costs a redelivery, which the
inbox makes harmless, where a confirmed one would cost every message a round trip. Settings of an
existing consumer that are not this module's stay as they are.

Positions and receipts are worth nothing for another stream of the same name, whose sequences begin
again: a position is kept together with the stream it belongs to, and what was delivered by a stream
that is gone is never acknowledged to the next.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.dead_letter import DEAD_LETTER_PREFIX, DeadLetter
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.message import Message
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.connection import NatsConnection, size_of
from paceline.messaging.nats.dead_letters import dead_letter_stream
from paceline.messaging.nats.errors import CONSUMER_NOT_FOUND, JetStreamError, NoStream
from paceline.messaging.nats.jetstream import (
    API,
    KEY,
    MESSAGE_ID,
    StreamIdentity,
    call_api,
    find_stream,
    nanoseconds,
    parse_ack_subject,
)
from paceline.messaging.nats.pull import PullSubscription
from paceline.messaging.nats.stream import NatsSubscription, Stream

_ACK: Final = b"+ACK"
_PROGRESS: Final = b"+WPI"
_NAK: Final = b"-NAK"
_TIMEOUT: Final = 5.0
_MAX_FETCH_BYTES: Final = 16 << 20
_FAILURES_MAX_AGE: Final = 7 * 86400.0


class _Sequences(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _ConsumerInfo(msgspec.Struct, frozen=True):
    config: dict[str, Any]  # a decode point: settings that are not ours are sent back as they came
    ack_floor: _Sequences = _Sequences()
    num_pending: int = 0
    num_ack_pending: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages that are not delivered yet, and those delivered and not settled."""

    pending: int
    unsettled: int


class NatsSource:
    """The durable consumer that ``subscription`` names. ``heartbeat`` is in seconds.

    *Resources*: a subscription from the first `fetch` to `close`.
    """

    def __init__(
        self, bus: NatsBus, log: Logger, subscription: NatsSubscription, *, heartbeat: float
    ) -> None:
        self._bus = bus
        self._log = log
        self._subscription = subscription
        self._name = f"{subscription.stream}.{subscription.durable}"
        self._heartbeat = heartbeat
        self._dead_letters = dead_letter_stream(replicas=subscription.replicas)
        self._failures = Stream(
            name=f"{subscription.stream}_{subscription.durable}_failures",
            subjects=(f"failures.{self._name}.*",),
            replicas=subscription.replicas,
            max_per_subject=1,
            max_age=_FAILURES_MAX_AGE,
        )
        self._pull: PullSubscription | None = None
        self._opened = False
        self._stream: StreamIdentity | None = None
        self._ack_floor: int | None = None
        self._ack_floor_at = 0.0
        self._receipts: set[str] = set()

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See `MessageSource`. Errors: UNAVAILABLE.

        There is no connection, the consumer does not exist and cannot be created, or it is silent.
        """
        try:
            pull = self._pull
            if pull is None or pull.connection.lost.is_set():
                pull = await self._open()
                if not self._opened:
                    self._opened = True
                    return []  # the consumer exists and we are subscribed: a sign of life
            await self._read_ack_floor(pull.connection)
            messages = await pull.take(limit)
        except Error:
            await self._close_pull()
            raise
        try:
            return await self._deliveries(pull.connection, messages)
        except BaseException:  # cancelled by a stop: nothing else refers to these messages
            await _nak_all(pull.connection, messages)
            raise

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `MessageSource`. A dead letter that cannot be stored is delivered again."""
        try:
            await self._settle(await self._bus.connection(_TIMEOUT), settlements)
        finally:
            self._receipts.difference_update(each.delivery.receipt for each in settlements)

    async def _settle(self, connection: NatsConnection, settlements: Sequence[Settlement]) -> None:
        retried: list[Settlement] = []
        dead: list[Settlement] = []
        lost: list[Settlement] = []
        for each in settlements:
            if each.delivery.receipt not in self._receipts:
                if each.disposition is not Disposition.ACK:
                    lost.append(each)
            elif each.disposition is Disposition.ACK:
                await connection.send(each.delivery.receipt, _ACK)
            elif each.disposition is Disposition.REQUEUE:
                await connection.send(each.delivery.receipt, _NAK)
            else:
                (retried if each.disposition is Disposition.RETRY else dead).append(each)
        if retried:
            await self._retry(connection, retried)
        if dead:
            await self._store_dead_letters(connection, dead)
        if lost:
            await self._store_lost(connection, lost)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """See `MessageSource`. Errors: UNAVAILABLE."""
        connection = await self._bus.connection(_TIMEOUT)
        for delivery in deliveries:
            if delivery.receipt in self._receipts:
                await connection.send(delivery.receipt, _PROGRESS)

    async def backlog(self) -> Backlog:
        """How far all processes with this durable consumer are behind. Errors: UNAVAILABLE."""
        info = await self._find_info(await self._bus.connection(_TIMEOUT))
        if info is None:
            message = f"there is no consumer {self._subscription.durable}"
            raise Error(Code.UNAVAILABLE, message)
        return Backlog(info.num_pending, info.num_ack_pending)

    async def close(self) -> None:
        """See `MessageSource`. Errors: UNAVAILABLE: the server notices it later."""
        pull, self._opened = self._pull, False
        await self._close_pull()
        if pull is not None and not pull.connection.lost.is_set():
            await pull.connection.ping()  # so that all settlements have reached the server

    async def _open(self) -> PullSubscription:
        await self._close_pull()
        connection = await self._bus.connection(_TIMEOUT)
        await self._ensure_consumer(connection)
        pull = PullSubscription(
            connection,
            self._subscription.stream,
            self._subscription.durable,
            heartbeat=self._heartbeat,
            max_bytes=_MAX_FETCH_BYTES,
        )
        await pull.open()
        self._pull = pull
        return pull

    async def _close_pull(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            await _nak_all(pull.connection, await pull.close())

    async def _ensure_consumer(self, connection: NatsConnection) -> None:
        """Create the consumer, or give it our settings; create the streams that it needs."""
        subscription = self._subscription
        ours: dict[str, object] = {
            "ack_wait": nanoseconds(subscription.ack_wait),
            "max_deliver": -1,
            "max_ack_pending": subscription.max_ack_pending,
            "filter_subjects": [*subscription.subjects],
        }
        await self._bus.restore_streams()
        await self._bus.ensure_stream(self._failures)
        await self._bus.ensure_stream(self._dead_letters)
        await self._identify_stream(connection)
        info = await self._find_info(connection)
        if info is None:
            config = {**self._start_position(), **ours, "durable_name": subscription.durable}
            config |= {"ack_policy": "explicit", "replay_policy": "instant"}
        else:
            theirs = {key: value for key, value in info.config.items() if key != "filter_subject"}
            config = {**theirs, **ours}
            if all(theirs.get(key) == value for key, value in ours.items()):
                return
        await call_api(
            connection,
            f"CONSUMER.CREATE.{self._name}",
            {
                "stream_name": subscription.stream,
                "config": {"name": subscription.durable, **config},
            },
            _ConsumerInfo,
            _TIMEOUT,
        )
        if info is None and self._ack_floor is not None:
            self._log.warning(
                "consumer created again", durable=subscription.durable, after=self._ack_floor
            )

    def _start_position(self) -> dict[str, object]:
        """Behind the acknowledgements last seen; without any, the start of the stream."""
        if self._ack_floor is None:
            return {"deliver_policy": "all"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._ack_floor + 1}

    async def _find_info(self, connection: NatsConnection) -> _ConsumerInfo | None:
        subject = f"CONSUMER.INFO.{self._name}"
        try:
            return await call_api(connection, subject, None, _ConsumerInfo, _TIMEOUT)
        except JetStreamError as exc:
            if exc.number == CONSUMER_NOT_FOUND:
                return None
            raise

    async def _identify_stream(self, connection: NatsConnection) -> None:
        """Forget the position and the deliveries of a stream that is gone."""
        stream = await find_stream(connection, self._subscription.stream, _TIMEOUT)
        if self._stream is not None and not stream.continues(self._stream):
            self._log.warning(
                "stream replaced: consuming from its beginning",
                stream=self._subscription.stream,
                created=stream.created,
            )
            self._ack_floor = None
            self._receipts = set()
        self._stream = stream

    async def _read_ack_floor(self, connection: NatsConnection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._ack_floor_at < self._subscription.position_interval:
            return
        self._ack_floor_at = now
        await self._identify_stream(connection)  # first: the floor is then of this stream, or lower
        info = await self._find_info(connection)
        if info is not None:
            self._ack_floor = info.ack_floor.stream_seq

    async def _deliveries(
        self, connection: NatsConnection, messages: Sequence[Msg]
    ) -> Sequence[Delivery]:
        again = [each for each in messages if parse_ack_subject(each.reply).deliveries > 1]
        failures = await self._count_failures(connection, again) if again else {}
        deliveries = [self._delivery(each, failures.get(each.reply, 0)) for each in messages]
        self._receipts.update(message.reply for message in messages)
        return deliveries

    def _delivery(self, message: Msg, failures: int) -> Delivery:
        headers = message.headers or {}
        ack = parse_ack_subject(message.reply)
        return Delivery(
            id=headers.get(MESSAGE_ID)
            or f"{self._subscription.stream}:{ack.sequence}-{ack.timestamp}",
            subject=message.subject,
            data=message.data,
            receipt=message.reply,
            attempt=failures + 1,
            deliveries=ack.deliveries,
            key=headers.get(KEY, ""),
            headers={key: value for key, value in headers.items() if not key.startswith("Nats-")},
        )

    async def _count_failures(
        self, connection: NatsConnection, messages: Sequence[Msg]
    ) -> dict[str, int]:
        """How often each has failed, by receipt; one of which nothing is stored has not."""
        replies: dict[str, asyncio.Future[Msg]] = {}
        counts: dict[str, int] = {}
        try:
            for message in messages:
                subject = f"{self._failures.name}.{self._failure_subject(message.reply)}"
                replies[message.reply] = await connection.start_request(
                    f"{API}.DIRECT.GET.{subject}"
                )
            await asyncio.wait(replies.values(), timeout=_TIMEOUT)
        finally:
            for receipt, reply in replies.items():
                if not reply.done():
                    reply.cancel()
                elif reply.exception() is None and reply.result().data.isdigit():
                    counts[receipt] = int(reply.result().data)
        return counts

    def _failure_subject(self, receipt: str) -> str:
        """Where a message's failures are counted: its sequence is used again if the stream is."""
        ack = parse_ack_subject(receipt)
        return f"failures.{self._name}.{ack.sequence}-{ack.timestamp}"

    async def _retry(self, connection: NatsConnection, settlements: Sequence[Settlement]) -> None:
        counts: list[Message] = []
        for each in settlements:
            subject = self._failure_subject(each.delivery.receipt)
            attempt = each.delivery.attempt
            counts.append(Message(subject, str(attempt).encode(), f"{subject}.{attempt}"))
        # A count that cannot be stored costs one attempt more than the policy allows.
        await self._restore(await self._bus.publish_all(counts))
        for each in settlements:
            await connection.send(each.delivery.receipt, _nak(each.delay))

    async def _store_dead_letters(
        self, connection: NatsConnection, settlements: Sequence[Settlement]
    ) -> None:
        letters = [self._letter(each, connection.max_payload) for each in settlements]
        outcomes = await self._bus.publish_all(letters)
        for each, outcome in zip(settlements, outcomes, strict=True):
            if outcome is None:
                await connection.send(each.delivery.receipt, _ACK)
            else:
                self._log.error("cannot dead-letter", id=each.delivery.id, error=outcome)
                await connection.send(each.delivery.receipt, _nak(self._subscription.ack_wait))
        await self._restore(outcomes)

    async def _restore(self, outcomes: Sequence[Exception | None]) -> None:
        """Create our own streams again when one of them was deleted while we ran."""
        if any(isinstance(each, NoStream) for each in outcomes):
            for stream in (self._failures, self._dead_letters):
                with suppress(Error):  # the next failure tries again
                    await self._bus.ensure_stream(stream)

    async def _store_lost(
        self, connection: NatsConnection, settlements: Sequence[Settlement]
    ) -> None:
        """Keep as dead letters what is to be handled again, but went with its stream."""
        letters: list[Message] = []
        for each in settlements:
            error = Error(Code.DATA_LOSS, "its stream was deleted before it was handled")
            error.__cause__ = each.error
            settlement = Settlement(each.delivery, Disposition.DEAD_LETTER, error=error)
            letters.append(self._letter(settlement, connection.max_payload))
        self._log.error("messages lost with their stream", count=len(letters))
        for each, outcome in zip(settlements, await self._bus.publish_all(letters), strict=True):
            if outcome is not None:
                self._log.error("cannot dead-letter", id=each.delivery.id, error=outcome)

    def _letter(self, settlement: Settlement, max_payload: int) -> Message:
        ident = self._failure_subject(settlement.delivery.receipt)

        def fits(letter: DeadLetter) -> bool:
            headers = {**letter.to_headers(), MESSAGE_ID: ident}
            return size_of(letter.data, headers) <= max_payload

        consumer = f"{self._subscription.stream}/{self._subscription.durable}"
        letter = DeadLetter.of(settlement, consumer).shortened(fits)
        subject = f"{DEAD_LETTER_PREFIX}{letter.subject}"
        return Message(subject, letter.data, ident, headers=letter.to_headers())


async def _nak_all(connection: NatsConnection, messages: Sequence[Msg]) -> None:
    with suppress(Error):
        for message in messages:
            await connection.send(message.reply, _NAK)


def _nak(seconds: float) -> bytes:
    return _NAK + b" " + msgspec.json.encode({"delay": nanoseconds(seconds)})
