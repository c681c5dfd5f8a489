"""Idempotency keys of the requests that this process is answering.

Invariant: a key is held by one request at a time, so a batch never contains a key twice. Across
replicas the unique index on the keys decides.
"""

from collections.abc import Generator
from contextlib import contextmanager

from myservice.domain.ledger import IdempotencyKey, KeyInFlight


class KeysInFlight:
    """The set of held keys."""

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
