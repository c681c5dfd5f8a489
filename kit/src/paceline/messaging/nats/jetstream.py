"""JetStream's API, as far as this room uses it: streams, requests, and acknowledgement addresses.

Invariant: settings of a stream that this module does not know are sent back as they came. Rejected:
the client library's manager, whose classes drop settings that are newer than they are, so adding a
subject would reset an operator's settings.
"""

from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from paceline.errors import Code
from paceline.messaging.errors import QueueError
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import (
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    JetStreamError,
    refusal,
)
from paceline.messaging.nats.stream import Stream

T = TypeVar("T")

API: Final = "$JS.API"
"""The prefix of the API's subjects."""
MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header by which a stream recognizes duplicates."""
KEY: Final = "Paceline-Key"
"""The header for `Message.key`."""
_NANO: Final = 1_000_000_000
# Where the count of deliveries stands: newer servers put their domain and account before it.
_OLD, _OLD_LENGTH, _NEW = 4, 9, 6


class PubAck(msgspec.Struct, frozen=True):
    """JetStream has stored the message, or had stored one with the same id before."""

    stream: str
    seq: int
    duplicate: bool = False


class Success(msgspec.Struct, frozen=True):
    """JetStream's answer to a request that has no other answer."""

    success: bool = True


class _Failure(msgspec.Struct, frozen=True):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Failure | None = None


class _StreamInfo(msgspec.Struct, frozen=True):
    config: dict[str, Any]  # a decode point: settings that are not ours are sent back as they came


class _StreamState(msgspec.Struct, frozen=True):
    last_seq: int = 0


class StreamIdentity(msgspec.Struct, frozen=True):
    """Which stream has the name: one that was deleted and made anew has another ``created``."""

    created: str
    state: _StreamState = _StreamState()

    @property
    def last_sequence(self) -> int:
        """The sequence of the message that was stored last."""
        return self.state.last_seq

    def continues(self, earlier: "StreamIdentity") -> bool:
        """Whether it is the same stream, and was not set back to a time before ``earlier``."""
        same = self.created == earlier.created
        return same and self.last_sequence >= earlier.last_sequence


def decode_answer(data: bytes, kind: type[T]) -> T:
    """Decode an answer. Errors: `JetStreamError` for a refusal; INTERNAL if it cannot be read."""
    try:
        failure = msgspec.json.decode(data, type=_Answer).error
        if failure is None:
            return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise QueueError(Code.INTERNAL, "the queue's answer cannot be read") from exc
    raise refusal(failure.code, failure.err_code, failure.description)


class AckInfo(NamedTuple):
    """What the address for an acknowledgement says of a delivery.

    ``timestamp``: when the message was stored, as JetStream writes it.
    """

    deliveries: int
    sequence: int
    timestamp: str


def parse_ack_subject(subject: str) -> AckInfo:
    """Parse ``$JS.ACK.…``, of old servers or new. Errors: `QueueError` INTERNAL for anything else.

    Many times cheaper than the client's own, which makes a date and two objects of it.
    """
    words = subject.split(".")
    first = _OLD if len(words) == _OLD_LENGTH else _NEW
    try:
        return AckInfo(int(words[first]), int(words[first + 1]), words[first + 3])
    except (ValueError, IndexError) as exc:
        raise QueueError(Code.INTERNAL, "the queue's delivery cannot be read") from exc


def nanoseconds(seconds: float) -> int:
    """JetStream's unit of time."""
    return int(seconds * _NANO)


async def call_api(
    connection: NatsConnection, subject: str, request: object, kind: type[T], seconds: float
) -> T:
    """A request to the API, ``subject`` without its prefix, which may be done more than once.

    Errors: as `decode_answer`; UNAVAILABLE; DEADLINE_EXCEEDED.
    """
    body = b"" if request is None else msgspec.json.encode(request)
    message = await connection.request_repeatedly(f"{API}.{subject}", body, seconds)
    return decode_answer(message.data, kind)


async def find_stream(connection: NatsConnection, name: str, seconds: float) -> StreamIdentity:
    """Errors: as `call_api`; `STREAM_NOT_FOUND` is the number when there is none."""
    return await call_api(connection, f"STREAM.INFO.{name}", None, StreamIdentity, seconds)


async def ensure_stream(connection: NatsConnection, stream: Stream, seconds: float) -> bool:
    """Create it, or add the subjects that it lacks; gives whether it was created."""
    try:
        config = await _find_config(connection, stream.name, seconds)
        if config is None:
            new = _new_config(stream)
            await call_api(connection, f"STREAM.CREATE.{stream.name}", new, _StreamInfo, seconds)
            return True
    except JetStreamError as exc:
        if exc.number != STREAM_NAME_IN_USE:
            raise
        # Another process has just created it, with other settings.
        config = await _find_config(connection, stream.name, seconds) or {}
    subjects = [*config.get("subjects", ())]
    missing = [subject for subject in stream.subjects if subject not in subjects]
    if missing:
        config = {**config, "subjects": [*subjects, *missing]}
        await call_api(connection, f"STREAM.UPDATE.{stream.name}", config, _StreamInfo, seconds)
    return False


async def _find_config(
    connection: NatsConnection, name: str, seconds: float
) -> dict[str, Any] | None:
    try:
        info = await call_api(connection, f"STREAM.INFO.{name}", None, _StreamInfo, seconds)
    except JetStreamError as exc:
        if exc.number == STREAM_NOT_FOUND:
            return None
        raise
    return info.config


def _new_config(stream: Stream) -> dict[str, object]:
    return {
        "name": stream.name,
        "subjects": stream.subjects,
        "storage": "file",
        "retention": "limits",
        "num_replicas": stream.replicas,
        "duplicate_window": nanoseconds(stream.duplicate_window),
        "max_age": nanoseconds(stream.max_age),
        "max_bytes": stream.max_bytes,
        "max_msgs_per_subject": stream.max_per_subject,
        "allow_direct": True,
    }
