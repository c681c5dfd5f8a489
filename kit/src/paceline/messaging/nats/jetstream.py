"""What JetStream is told and answers, as far as this room speaks with it.

Settings of a stream that we do not know are sent back as they came: rejected is the client
library's manager, whose classes drop what is newer than they are, so that adding a subject would
reset an operator's settings. Names of headers are here, too. Used by ``nats``, ``nats_consumer``
and ``dead``.
"""

from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from paceline.errors import Code
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import STREAM_NAME_IN_USE, STREAM_NOT_FOUND, QueueError, refusal

T = TypeVar("T")

API: Final = "$JS.API"
ID: Final = "Nats-Msg-Id"
KEY: Final = "Paceline-Key"
_NANO: Final = 1_000_000_000
# Where the count of deliveries stands: new servers put their domain and account before it.
_OLD, _OLD_LENGTH, _NEW = 4, 9, 6


class Stream(msgspec.Struct, frozen=True):
    """A stream: kept in files, by default for ever.

    ``replicas``: 3 survives the loss of a server of three. ``duplicate_window`` and ``max_age``
    are seconds (0: no limit); ``max_bytes`` and ``max_per_subject`` are limits, -1 for none.
    """

    name: str
    subjects: tuple[str, ...]
    replicas: int = 1
    duplicate_window: float = 120.0
    max_age: float = 0.0
    max_bytes: int = -1
    max_per_subject: int = -1


class PubAck(msgspec.Struct, frozen=True):
    """JetStream holds the message; or held it before, under the same id."""

    stream: str
    seq: int
    duplicate: bool = False


class Done(msgspec.Struct, frozen=True):
    """JetStream has done something that has no other answer."""

    success: bool = True


class _Failure(msgspec.Struct, frozen=True):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Failure | None = None


class _StreamInfo(msgspec.Struct, frozen=True):
    config: dict[str, Any]  # a decode point: what we do not know goes back as it came


def decode_answer(data: bytes, kind: type[T]) -> T:
    """The answer. Errors: `QueueError` for a refusal; INTERNAL for what cannot be read."""
    try:
        failure = msgspec.json.decode(data, type=_Answer).error
        if failure is None:
            return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise QueueError(Code.INTERNAL, "the queue's answer cannot be read") from exc
    raise refusal(failure.code, failure.err_code, failure.description)


class Receipt(NamedTuple):
    """What the address for an acknowledgement says of a delivery."""

    deliveries: int
    sequence: int
    moment: str


def read_receipt(subject: str) -> Receipt:
    """Read ``$JS.ACK.…``, of old servers or new. Errors: `QueueError` INTERNAL for anything else.

    Many times cheaper than the client's own, which makes a date and two objects of it.
    """
    words = subject.split(".")
    first = _OLD if len(words) == _OLD_LENGTH else _NEW
    try:
        return Receipt(int(words[first]), int(words[first + 1]), words[first + 3])
    except (ValueError, IndexError) as exc:
        raise QueueError(Code.INTERNAL, "the queue's delivery cannot be read") from exc


def nanoseconds(seconds: float) -> int:
    """JetStream's unit of time."""
    return int(seconds * _NANO)


async def ask(
    connection: NatsConnection, subject: str, request: object, kind: type[T], seconds: float
) -> T:
    """A request to the API, ``subject`` without its prefix, which may be done twice.

    Errors: as `decode_answer`; UNAVAILABLE; DEADLINE_EXCEEDED.
    """
    body = b"" if request is None else msgspec.json.encode(request)
    message = await connection.insist(f"{API}.{subject}", body, seconds)
    return decode_answer(message.data, kind)


async def ensure_stream(connection: NatsConnection, stream: Stream, seconds: float) -> None:
    """Create it, or add the subjects that it lacks."""
    try:
        found = await _find(connection, stream.name, seconds)
        if found is None:
            await ask(
                connection, f"STREAM.CREATE.{stream.name}", _new(stream), _StreamInfo, seconds
            )
            return
    except QueueError as exc:
        if exc.number != STREAM_NAME_IN_USE:
            raise
        # Somebody else was quicker, with other settings.
        found = await _find(connection, stream.name, seconds) or {}
    subjects = [*found.get("subjects", ())]
    lacking = [subject for subject in stream.subjects if subject not in subjects]
    if lacking:
        config = {**found, "subjects": [*subjects, *lacking]}
        await ask(connection, f"STREAM.UPDATE.{stream.name}", config, _StreamInfo, seconds)


async def _find(connection: NatsConnection, name: str, seconds: float) -> dict[str, Any] | None:
    try:
        return (await ask(connection, f"STREAM.INFO.{name}", None, _StreamInfo, seconds)).config
    except QueueError as exc:
        if exc.number == STREAM_NOT_FOUND:
            return None
        raise


def _new(stream: Stream) -> dict[str, object]:
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
