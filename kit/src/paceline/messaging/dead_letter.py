"""Dead letters: a message that could not be handled, with everything needed to judge it.

Its data are as they came; what else is known stands in headers that people can read with any tool,
each value percent-encoded where a header could not carry it, so that nothing is lost or injected.
The original's headers travel together in one of them: they might be called like ours, or command
the server (``Nats-…``). Written by ``nats_source``, read by ``dead_letters``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from paceline.errors import Code, Error, chain
from paceline.log import masked, type_name

PREFIX: Final = "dead."
"""Before the original subject, the letter's."""

_FIELDS: Final = "Dead-"
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "
_MAX_REASON: Final = 2000


class DeadLetter(msgspec.Struct, frozen=True):
    """What is known of a dead message.

    ``kind`` is the error's, ``reason`` its whole story, for operators only. ``truncated``: how
    long the data were, when they were too long to be kept; 0 when they are whole.
    """

    id: str
    subject: str
    data: bytes
    consumer: str
    attempts: int
    kind: str
    reason: str
    died_at: datetime
    key: str = ""
    headers: dict[str, str] = {}
    truncated: int = 0


def kind_of(error: Exception) -> str:
    """A name for what went wrong: the error's own kind, its code, or its type."""
    if isinstance(error, Error):
        return error.kind or error.code.name.lower().replace("_", "-")
    return type_name(error)


def reason_of(error: Exception) -> str:
    """The story of an error, secrets masked, bounded."""
    return masked(chain(error))[:_MAX_REASON]


def to_headers(letter: DeadLetter) -> dict[str, str]:
    """The headers of a letter; its data are not in them."""
    fields = {
        "Id": letter.id,
        "Subject": letter.subject,
        "Consumer": letter.consumer,
        "Attempts": str(letter.attempts),
        "Kind": letter.kind,
        "Reason": letter.reason,
        "At": letter.died_at.isoformat(),
        "Key": letter.key,
        "Headers": msgspec.json.encode(letter.headers).decode(),
        "Truncated": str(letter.truncated),
    }
    return {f"{_FIELDS}{name}": _escaped(value) for name, value in fields.items()}


def from_headers(headers: Mapping[str, str], data: bytes) -> DeadLetter:
    """The letter again. Errors: ``Error(DATA_LOSS)`` when it is none, or a broken one."""
    try:
        found = {
            name.removeprefix(_FIELDS): unquote(value, errors="strict")
            for name, value in headers.items()
            if name.startswith(_FIELDS)
        }
        return DeadLetter(
            id=found["Id"],
            subject=found["Subject"],
            data=data,
            consumer=found["Consumer"],
            attempts=int(found["Attempts"]),
            kind=found["Kind"],
            reason=found["Reason"],
            died_at=datetime.fromisoformat(found["At"]).astimezone(UTC),
            key=found["Key"],
            headers=msgspec.json.decode(found["Headers"], type=dict[str, str]),
            truncated=int(found["Truncated"]),
        )
    except (KeyError, ValueError, msgspec.MsgspecError) as exc:
        raise Error(Code.DATA_LOSS, "this is not a dead letter") from exc


def _escaped(value: str) -> str:
    text = quote(value, safe=_SAFE, errors="replace")
    # A header loses the blanks at its ends.
    inner = text.strip(" ")
    before, after = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    return "%20" * before + inner + "%20" * after if inner else "%20" * len(text)
