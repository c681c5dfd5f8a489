"""A durable JetStream consumer as a `Source`: made anew when it is gone, resumed where it was.

Attempts are exact. The server counts deliveries, which includes those that a stop or a crash cut
short, so its own ``max_deliver`` is unlimited; failures are counted by us, in a stream with one
small message for each failed one, written before the message goes back and read when it comes
again. Acknowledgements are plain and pipelined: a lost one costs a redelivery, which the inbox
makes harmless, where a confirmed one would cost everybody a round trip. Settings of an existing
consumer that are not ours stay as they are. Made by ``nats_consumer``; read ``nats_pull`` next.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.dead_letter import PREFIX, DeadLetter, kind_of, reason_of, to_headers
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.message import Message
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.connection import NatsConnection, size_of
from paceline.messaging.nats.errors import CONSUMER_NOT_FOUND, QueueError
from paceline.messaging.nats.jetstream import API, ID, KEY, Stream, ask, nanoseconds, read_receipt
from paceline.messaging.nats.pull import Pull

_ACK: Final = b"+ACK"
_PROGRESS: Final = b"+WPI"
_NAK: Final = b"-NAK"
_PATIENCE: Final = 5.0
_MAX_FETCH_BYTES: Final = 16 << 20
_REMEMBERED: Final = 7 * 86400.0
_FLOOR_EVERY: Final = 10.0


class _Sequences(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _ConsumerInfo(msgspec.Struct, frozen=True):
    config: dict[str, Any]  # a decode point: what we do not know goes back as it came
    ack_floor: _Sequences = _Sequences()
    num_pending: int = 0
    num_ack_pending: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages of the stream that nobody got yet, and those that somebody has in hand."""

    pending: int
    unsettled: int


class NatsSource:
    """One durable consumer of ``stream``. Times are in seconds.

    ``subjects``: which messages of the stream. ``ack_wait``: after how long without a word a
    delivery goes to another. ``max_ack_pending``: deliveries without an answer, of all processes.
    ``heartbeat``: see `Pull`.

    *Resources*: a subscription from the first `fetch` to `close`.
    """

    def __init__(
        self,
        bus: NatsBus,
        log: Logger,
        *,
        stream: Stream,
        durable: str,
        subjects: Sequence[str],
        dead: Stream,
        ack_wait: float = 30.0,
        max_ack_pending: int = 20_000,
        heartbeat: float = 5.0,
    ) -> None:
        self._bus = bus
        self._log = log
        self._stream = stream
        self._durable = durable
        self._subjects = subjects
        self._dead = dead
        self._ack_wait = ack_wait
        self._max_ack_pending = max_ack_pending
        self._heartbeat = heartbeat
        self._pull: Pull | None = None
        self._begun = False
        self._floor: int | None = None
        self._floor_at = 0.0
        self._failures = Stream(
            name=f"{stream.name}_{durable}_failures",
            subjects=(f"failures.{stream.name}.{durable}.*",),
            replicas=stream.replicas,
            max_per_subject=1,
            max_age=_REMEMBERED,
        )

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """Deliveries, waited for; none when there is nothing, which is a sign of life.

        Errors: UNAVAILABLE: no connection, no consumer and none can be made, or it is silent.
        """
        try:
            pull = self._pull
            if pull is None or pull.connection.lost.is_set():
                pull = await self._open()
                if not self._begun:
                    self._begun = True
                    return []  # the consumer is there, and we listen: no need to wait for a word
            await self._note_floor(pull.connection)
            messages = await pull.take(limit)
        except Error:
            await self._leave()
            raise
        try:
            return await self._deliveries(pull.connection, messages)
        except BaseException:  # cancelled by a stop: nobody else knows of them yet
            await _give_back(pull.connection, messages)
            raise

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `Source`. What cannot be buried now goes back, and is buried when it comes again."""
        connection = await self._bus.connection(_PATIENCE)
        retried: list[Settlement] = []
        buried: list[Settlement] = []
        for each in settlements:
            if each.verdict is Disposition.ACK:
                await connection.send(each.delivery.receipt, _ACK)
            elif each.verdict is Disposition.RETURN:
                await connection.send(each.delivery.receipt, _NAK)
            else:
                (retried if each.verdict is Disposition.RETRY else buried).append(each)
        if retried:
            await self._retry(connection, retried)
        if buried:
            await self._bury(connection, buried)

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """See `Source`. Errors: UNAVAILABLE."""
        connection = await self._bus.connection(_PATIENCE)
        for delivery in deliveries:
            await connection.send(delivery.receipt, _PROGRESS)

    async def backlog(self) -> Backlog:
        """How far all consumers of this name are behind. Errors: UNAVAILABLE."""
        info = await self._find_info(await self._bus.connection(_PATIENCE))
        if info is None:
            raise Error(Code.UNAVAILABLE, f"there is no consumer {self._durable}")
        return Backlog(info.num_pending, info.num_ack_pending)

    async def close(self) -> None:
        """See `Source`. Errors: UNAVAILABLE: the server notices later."""
        pull, self._begun = self._pull, False
        await self._leave()
        if pull is not None and not pull.connection.lost.is_set():
            await pull.connection.ping()  # what was settled has then arrived

    async def _open(self) -> Pull:
        await self._leave()
        connection = await self._bus.connection(_PATIENCE)
        await self._ensure(connection)
        pull = Pull(
            connection,
            self._stream.name,
            self._durable,
            heartbeat=self._heartbeat,
            max_bytes=_MAX_FETCH_BYTES,
        )
        await pull.open()
        self._pull = pull
        return pull

    async def _leave(self) -> None:
        pull, self._pull = self._pull, None
        if pull is None:
            return
        await _give_back(pull.connection, await pull.close())

    async def _ensure(self, connection: NatsConnection) -> None:
        """See that the consumer is there, with our settings, and what it needs."""
        ours: dict[str, object] = {
            "ack_wait": nanoseconds(self._ack_wait),
            "max_deliver": -1,
            "max_ack_pending": self._max_ack_pending,
            "filter_subjects": [*self._subjects],
        }
        await self._bus.ensure_stream(self._failures)
        await self._bus.ensure_stream(self._dead)
        info = await self._find_info(connection)
        if info is None:
            config = {**self._where_to_begin(), **ours, "durable_name": self._durable}
            config |= {"ack_policy": "explicit", "replay_policy": "instant"}
        else:
            theirs = {key: value for key, value in info.config.items() if key != "filter_subject"}
            config = {**theirs, **ours}
            if all(theirs.get(key) == value for key, value in ours.items()):
                return
        await ask(
            connection,
            f"CONSUMER.CREATE.{self._stream.name}.{self._durable}",
            {"stream_name": self._stream.name, "config": {"name": self._durable, **config}},
            _ConsumerInfo,
            _PATIENCE,
        )
        if info is None and self._floor is not None:
            self._log.warning("consumer made anew", durable=self._durable, after=self._floor)

    def _where_to_begin(self) -> dict[str, object]:
        """Behind what was acknowledged when we last looked, not at the beginning of time."""
        if self._floor is None:
            return {"deliver_policy": "all"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._floor + 1}

    async def _find_info(self, connection: NatsConnection) -> _ConsumerInfo | None:
        subject = f"CONSUMER.INFO.{self._stream.name}.{self._durable}"
        try:
            return await ask(connection, subject, None, _ConsumerInfo, _PATIENCE)
        except QueueError as exc:
            if exc.number == CONSUMER_NOT_FOUND:
                return None
            raise

    async def _note_floor(self, connection: NatsConnection) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._floor_at < _FLOOR_EVERY:
            return
        self._floor_at = now
        info = await self._find_info(connection)
        if info is not None:
            self._floor = info.ack_floor.stream_seq

    async def _deliveries(
        self, connection: NatsConnection, messages: Sequence[Msg]
    ) -> Sequence[Delivery]:
        again = [message for message in messages if read_receipt(message.reply).deliveries > 1]
        failed = await self._failed(connection, again) if again else {}
        return [self._delivery(message, failed.get(message.reply, 0)) for message in messages]

    def _delivery(self, message: Msg, failed: int) -> Delivery:
        headers = message.headers or {}
        receipt = read_receipt(message.reply)
        return Delivery(
            id=headers.get(ID) or f"{self._stream.name}:{receipt.sequence}",
            subject=message.subject,
            data=message.data,
            receipt=message.reply,
            attempt=failed + 1,
            deliveries=receipt.deliveries,
            key=headers.get(KEY, ""),
            headers={key: value for key, value in headers.items() if not key.startswith("Nats-")},
        )

    async def _failed(self, connection: NatsConnection, messages: Sequence[Msg]) -> dict[str, int]:
        """How often those have failed, by their receipts; one that is not known has not."""
        asked: dict[str, asyncio.Future[Msg]] = {}
        counts: dict[str, int] = {}
        try:
            for message in messages:
                subject = f"{self._failures.name}.{self._failure_of(message.reply)}"
                asked[message.reply] = await connection.begin(f"{API}.DIRECT.GET.{subject}")
            await asyncio.wait(asked.values(), timeout=_PATIENCE)
        finally:
            for receipt, answer in asked.items():
                if not answer.done():
                    answer.cancel()
                elif answer.exception() is None and answer.result().data.isdigit():
                    counts[receipt] = int(answer.result().data)
        return counts

    def _failure_of(self, receipt: str) -> str:
        """The subject under which a message's failures are counted: its number and its moment."""
        known = read_receipt(receipt)
        name = f"{self._stream.name}.{self._durable}"
        return f"failures.{name}.{known.sequence}-{known.moment}"

    async def _retry(self, connection: NatsConnection, settlements: Sequence[Settlement]) -> None:
        counts: list[Message] = []
        for each in settlements:
            subject = self._failure_of(each.delivery.receipt)
            attempt = each.delivery.attempt
            counts.append(Message(subject, str(attempt).encode(), f"{subject}.{attempt}"))
        # If one cannot be stored the message is tried once more than it should be.
        await self._bus.publish_all(counts)
        for each in settlements:
            await connection.send(each.delivery.receipt, _nak(each.delay))

    async def _bury(self, connection: NatsConnection, settlements: Sequence[Settlement]) -> None:
        letters = [self._letter(each, connection.max_payload) for each in settlements]
        outcomes = await self._bus.publish_all(letters)
        for each, outcome in zip(settlements, outcomes, strict=True):
            if outcome is None:
                await connection.send(each.delivery.receipt, _ACK)
            else:
                self._log.error("cannot bury", id=each.delivery.id, error=outcome)
                await connection.send(each.delivery.receipt, _nak(self._ack_wait))

    def _letter(self, settlement: Settlement, max_payload: int) -> Message:
        delivery = settlement.delivery
        error = settlement.error or QueueError(Code.UNKNOWN)
        letter = DeadLetter(
            id=delivery.id,
            subject=delivery.subject,
            data=delivery.data,
            consumer=f"{self._stream.name}/{self._durable}",
            attempts=delivery.attempt,
            kind=kind_of(error),
            reason=reason_of(error),
            died_at=datetime.now(UTC),
            key=delivery.key,
            headers=delivery.headers,
        )
        ident = self._failure_of(delivery.receipt)
        headers = to_headers(letter)
        if size_of(delivery.data, {**headers, ID: ident}) > max_payload:
            cut = msgspec.structs.replace(letter, data=b"", truncated=len(delivery.data))
            headers = to_headers(cut)
            if size_of(b"", {**headers, ID: ident}) > max_payload:
                headers = to_headers(msgspec.structs.replace(cut, headers={}))
            return Message(f"{PREFIX}{delivery.subject}", b"", ident, headers=headers)
        return Message(f"{PREFIX}{delivery.subject}", delivery.data, ident, headers=headers)


async def _give_back(connection: NatsConnection, messages: Sequence[Msg]) -> None:
    with suppress(Error):
        for message in messages:
            await connection.send(message.reply, _NAK)


def _nak(seconds: float) -> bytes:
    return _NAK + b" " + msgspec.json.encode({"delay": nanoseconds(seconds)})
