"""What followers of records are told: one `RecordUpdate` a change, each committed one once.

In order for each record; from when `RecordUpdates.subscribe` has returned nothing is missing, and a
few updates may come that were committed just before. ``resync`` says that updates were dropped (a
reader too slow, a position too old): read the records again, then go on; what the stream brings
after that may be in what was read, so compare versions. Handlers know this file; ``feed``
implements it.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from myservice.domain.records import Record


class RecordUpdate(msgspec.Struct, frozen=True):
    """One change of a record, or ``resync``: updates were dropped, read the records again.

    ``position`` is where to resume after this update. ``version`` is the record's new version; for
    a deletion the one that was deleted. ``record`` is its content at that version; null for
    deletions and for ``resync``.
    """

    position: str
    kind: Literal["created", "replaced", "deleted", "resync"]
    id: UUID | None
    version: int | None
    record: Record | None
    at: datetime


class RecordUpdates(Protocol):
    """Where changes of records are followed."""

    def subscribe(
        self, prefix: str, after: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[RecordUpdate]]:
        """Follow the records whose name begins with ``prefix``, or did before the change.

        ``after``: the position of the last update that was seen; None to begin now. The iterator
        ends when the service stops. Errors on entering: ValidationError for a position that was
        never given out; RESOURCE_EXHAUSTED; UNAVAILABLE when shutting down or without database.
        """
        ...
