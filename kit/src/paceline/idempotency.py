"""Idempotency keys: a request with one takes effect once, however often it is sent.

Invariant: a key belongs to its subject and to one request, which is told by a digest of what was
decoded, so HTTP and gRPC agree on it; with another request it is refused (`KeyReused`). The names
and answers follow draft-ietf-httpapi-idempotency-key-header-07: 422 for another request, 409 while
the first is under way. What stores keys says how long it keeps them. Rejected: digests of bodies as
they came, by which a retry through another library's JSON would be another request.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Self

import msgspec

from paceline.errors import Code, Error

IdempotencyKeyText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[\x21-\x7e]{1,255}(?!\n)$",
        description="any text of your own; the same request with it takes effect once",
    ),
]
"""A key as callers write it: the header ``Idempotency-Key``, or a field of a gRPC request."""


class KeyReused(Error):
    """The idempotency key was used for another request."""

    kind = "idempotency-key-reused"

    def __init__(self) -> None:
        message = "this Idempotency-Key was used for another request: take a new one"
        super().__init__(Code.INVALID_ARGUMENT, message)


class KeyInFlight(Error):
    """A request with the same idempotency key has not been answered yet."""

    kind = "idempotency-key-in-flight"

    def __init__(self) -> None:
        message = "a request with this Idempotency-Key is under way: ask again in a moment"
        super().__init__(Code.ABORTED, message)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """An idempotency key: its subject, its text, and a digest of the one request it is for."""

    subject: str
    text: str
    fingerprint: bytes

    @classmethod
    def of(cls, subject: str, text: str | None, request: object) -> Self | None:
        """The subject's key for this request; None without a text.

        ``request``: what was asked for, with the name of the operation, as msgspec encodes it::

            key = IdempotencyKey.of(principal.subject, text, ("invoice", draft))
        """
        if text is None:
            return None
        encoded = msgspec.json.encode(request, order="deterministic")
        return cls(subject, text, hashlib.sha256(encoded).digest())


class KeysInFlight:
    """The keys of the requests that this process is answering: each is held by one at a time.

    Across replicas the unique index of the table that stores keys decides.
    """

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, key: IdempotencyKey) -> Generator[None]:
        """Hold ``key`` for the block. Errors: KeyInFlight when another request holds it."""
        held = (key.subject, key.text)
        if held in self._keys:
            raise KeyInFlight
        self._keys.add(held)
        try:
            yield
        finally:
            self._keys.discard(held)
