"""How a message is stored in a Kafka record, and in one that is to be tried again.

A message's id and what is known of a failed one are stored in headers that any tool can show.
Invariant: every record, whoever wrote it, becomes a delivery: a header that is not text is read as
well as possible, one that is not ours or broken is ignored. Only a record of the retry topic may
state attempts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from paceline.messaging.delivery import Delivery
from paceline.messaging.message import Message

MESSAGE_ID: Final = "Message-Id"
_SUBJECT: Final = "Retry-Subject"
_ATTEMPT: Final = "Retry-Attempt"
_NOT_BEFORE: Final = "Retry-Not-Before"
RESERVED: Final = frozenset({MESSAGE_ID, _SUBJECT, _ATTEMPT, _NOT_BEFORE})
"""Headers that a message cannot have for itself."""

_LONGEST_WAIT: Final = 3600.0
_MAX_ATTEMPT: Final = 1_000_000

Headers: TypeAlias = list[tuple[str, bytes]]


class Record(Protocol):
    """A record as the client gives it."""

    @property
    def topic(self) -> str: ...  # noqa: D102 - Kafka's words
    @property
    def partition(self) -> int: ...  # noqa: D102 - as above
    @property
    def offset(self) -> int: ...  # noqa: D102 - as above
    @property
    def key(self) -> bytes | None: ...  # noqa: D102 - as above
    @property
    def value(self) -> bytes | None: ...  # noqa: D102 - as above
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A delivery, and when it may be handled: seconds since the epoch, 0 for at once."""

    delivery: Delivery
    not_before: float = 0.0


def to_headers(message: Message) -> Headers:
    """The headers of a message; its key is the record's key."""
    own = [(name, text.encode()) for name, text in message.headers.items() if name not in RESERVED]
    return [*own, (MESSAGE_ID, message.id.encode())]


def to_retry_headers(delivery: Delivery, attempt: int, not_before: float) -> Headers:
    """The headers of a message that failed and is to be tried as ``attempt``."""
    again = Message(delivery.subject, b"", delivery.id, headers=delivery.headers)
    return [
        *to_headers(again),
        (_SUBJECT, delivery.subject.encode()),
        (_ATTEMPT, str(attempt).encode()),
        (_NOT_BEFORE, str(int(1000 * not_before)).encode()),
    ]


def parse_record(record: Record, *, retry_topic: str, now: float) -> ParsedRecord:
    """Read a record. ``now`` (seconds since the epoch) bounds how far off ``not_before`` may be."""
    receipt = f"{record.topic}:{record.partition}:{record.offset}"
    found = {name: _text(value) for name, value in record.headers}
    subject, attempt, not_before = record.topic, 1, 0.0
    if record.topic == retry_topic:
        subject = found.get(_SUBJECT) or record.topic
        attempt = max(1, _number(found.get(_ATTEMPT, ""), _MAX_ATTEMPT))
        wait = _number(found.get(_NOT_BEFORE, ""), int(1000 * (now + _LONGEST_WAIT)))
        not_before = wait / 1000
    delivery = Delivery(
        id=found.get(MESSAGE_ID) or receipt,
        subject=subject,
        data=record.value or b"",
        receipt=receipt,
        attempt=attempt,
        deliveries=attempt,
        key=_text(record.key),
        headers={name: text for name, text in found.items() if name not in RESERVED},
    )
    return ParsedRecord(delivery, not_before)


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _number(text: str, most: int) -> int:
    """0 for what is no number; never more than ``most``."""
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text), most) if len(text) <= len(str(most)) else most
