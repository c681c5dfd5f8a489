"""What travels: a `Message` to be sent, an `Incoming` one with its value decoded.

Invariant: a message has an id from the moment it is made, so that it can be sent again, by whoever
finds it unsent, and still be one message: the queue drops the second within its window, the inbox
forever. Technology-free: the outbox stores a `Message`, handlers take `Incoming`. Sent by ``nats``,
received by ``consumer``.
"""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True):
    """To be sent. ``id``: the queue drops a second one with the same; ``key``: keeps its order."""

    subject: str
    data: bytes
    id: str
    key: str = ""
    headers: dict[str, str] = {}


class Incoming(msgspec.Struct, Generic[T], frozen=True):
    """Received and decoded. ``attempt`` is 1 at first, one more after each failure."""

    id: str
    subject: str
    value: T
    attempt: int
    headers: dict[str, str] = {}
