"""Dead letters: a message that could not be handled, with everything needed to judge it.

Its data are stored as they came; what else is known stands in headers that any tool can show, each
value percent-encoded where a header could not carry it, so that nothing is lost or injected. The
original's headers are encoded together into one of them: by themselves they might have the names of
ours, or be commands to the server (``Nats-…``).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import quote, unquote

import msgspec

from paceline.errors import Code, Error, chain
from paceline.log import masked, type_name
from paceline.messaging.delivery import Settlement

DEAD_LETTER_PREFIX: Final = "dead."
"""A dead letter is published under this and its message's subject."""

_HEADER_PREFIX: Final = "Dead-"
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%") + " "
_MAX_REASON: Final = 2000


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be handled.

    ``kind`` is the error's (see `kind_of`); ``reason`` is its whole chain, secrets masked, for
    operators only. ``truncated``: the length of the data when they were too long to be stored, 0
    when they are whole.
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

    @classmethod
    def of(cls, settlement: Settlement, consumer: str) -> Self:
        """The letter for a delivery that ``consumer`` could not handle, as of now."""
        delivery = settlement.delivery
        error = settlement.error or Error(Code.UNKNOWN, "the reason is not known")
        return cls(
            id=delivery.id,
            subject=delivery.subject,
            data=delivery.data,
            consumer=consumer,
            attempts=delivery.attempt,
            kind=kind_of(error),
            reason=masked(chain(error))[:_MAX_REASON],
            died_at=datetime.now(UTC),
            key=delivery.key,
            headers=delivery.headers,
        )

    def shortened(self, fits: Callable[[Self], bool]) -> Self:
        """The letter, or as much of it as ``fits``: without its data, then without headers too."""
        if fits(self):
            return self
        short = msgspec.structs.replace(self, data=b"", truncated=len(self.data))
        return short if fits(short) else msgspec.structs.replace(short, headers={}, key="")

    def to_headers(self) -> dict[str, str]:
        """Everything but the data, as headers."""
        fields = {
            "Id": self.id,
            "Subject": self.subject,
            "Consumer": self.consumer,
            "Attempts": str(self.attempts),
            "Kind": self.kind,
            "Reason": self.reason,
            "At": self.died_at.isoformat(),
            "Key": self.key,
            "Headers": msgspec.json.encode(self.headers).decode(),
            "Truncated": str(self.truncated),
        }
        return {f"{_HEADER_PREFIX}{name}": _escaped(value) for name, value in fields.items()}

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], data: bytes) -> Self:
        """Read what `to_headers` wrote. Errors: ``Error(DATA_LOSS)`` when it is no dead letter."""
        try:
            found = {
                name.removeprefix(_HEADER_PREFIX): unquote(value, errors="strict")
                for name, value in headers.items()
                if name.startswith(_HEADER_PREFIX)
            }
            return cls(
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


def kind_of(error: Exception) -> str:
    """A name for an error: its own kind, its code, or its type."""
    if isinstance(error, Error):
        return error.kind or error.code.name.lower().replace("_", "-")
    return type_name(error)


def _escaped(value: str) -> str:
    text = quote(value, safe=_SAFE, errors="replace")
    # A header loses the blanks at its ends.
    inner = text.strip(" ")
    before, after = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    return "%20" * before + inner + "%20" * after if inner else "%20" * len(text)
