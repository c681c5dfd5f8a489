"""What travels: a `Message` to be published, an `Incoming` one with its value decoded.

Invariant: a message has an id from the moment it is made, so it can be published again and still be
one message: the broker drops the second within its deduplication window, if it has one, and
``paceline.postgres.inbox`` at any time. Neither type knows a broker.
"""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True):
    """A message to publish. Messages of one ``key`` stay in order; ``id`` is for deduplication.

    Example: ``Message("things.made", b"{}", id="7f3c…", key="thing-1")``.
    """

    subject: str
    data: bytes
    id: str
    key: str = ""
    headers: dict[str, str] = {}


class Incoming(msgspec.Struct, Generic[T], frozen=True):
    """A message as a handler gets it. ``attempt`` is 1, and one more after each failure."""

    id: str
    subject: str
    value: T
    attempt: int
    headers: dict[str, str] = {}
